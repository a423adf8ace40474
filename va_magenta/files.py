"""Files that are either whole or not there, and folders for one at a time."""

import contextlib
import fcntl
import io
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator


def local(path: str | os.PathLike) -> pathlib.Path:
  """A path as people write it: `~` is their home, and addresses are none.

  Raises:
    ValueError: if it is the address of something elsewhere.
  """
  text = os.fspath(path)
  if isinstance(text, str) and _ADDRESS.match(text):
    raise ValueError(
        f'{text} is an address: fetch the file, and give its path')
  return pathlib.Path(path).expanduser()


_ADDRESS = re.compile('[a-z][a-z0-9+.-]+://', re.IGNORECASE)


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a temporary name to write to, and renames it to `path` at the end.

  If the body raises, the temporary file is removed and `path` is as it was.

  Args:
    path: where the file shall be; its folder must exist. The temporary name
      lies in the same folder and ends in the same suffix.

  Raises:
    OSError: if the folder is missing or cannot be written to, or the disk is
      full.
  """
  path = pathlib.Path(path)
  try:
    handle, name = tempfile.mkstemp(
        prefix='.', suffix=path.suffix, dir=path.parent)
  except OSError as error:
    error.filename = str(path)  # And not the temporary name.
    raise
  os.close(handle)
  temporary = pathlib.Path(name)
  try:
    yield temporary
    os.chmod(temporary, 0o666 & ~_umask())
    os.replace(temporary, path)
  except OSError as error:
    # Who writes to a full disk is not told which file it was.
    if error.errno and error.filename in (None, name):
      error.filename = str(path)
    raise
  finally:
    temporary.unlink(missing_ok=True)


def check_outputs(
    outputs: Iterable[str | os.PathLike],
    *,
    inputs: Iterable[str | os.PathLike | None] = (),
    overwrite: bool = False,
):
  """Raises now what must not, or cannot, be written after the work.

  No command writes over what it reads, nor over anything else unless the user
  says so.

  Args:
    outputs: files that shall be written, in folders that exist.
    inputs: files that are read, and folders all files in which are; None counts
      as nothing.
    overwrite: whether files that exist may be replaced.

  Raises:
    ValueError: if an output is an input, by whatever path, or two outputs are
      one.
    FileExistsError: if an output exists, unless `overwrite`.
    OSError: if an output is a folder, or its folder cannot be written to.
  """
  outputs = [pathlib.Path(output) for output in outputs]
  places = [os.path.realpath(output) for output in outputs]
  if len(set(places)) < len(places):
    raise ValueError(
        f'{outputs[0].name} would be written twice: name different files')
  existing = [output for output in outputs if os.path.lexists(output)]
  for output in existing:
    if output.is_dir():
      raise IsADirectoryError(f'{output} is a folder, a file shall be there')
  read = {
      _identity(path) for path in inputs if path is not None
      for path in _files_of(pathlib.Path(path))} if existing else set()
  for output in existing:
    if output.exists() and _identity(output) in read:
      raise ValueError(
          f'{output} is read, and would be written over: write to another')
    if not overwrite:
      raise FileExistsError(
          f'{output} exists: allow overwrite, or write to another')
  for folder in {output.parent for output in outputs}:
    if not folder.is_dir():
      raise FileNotFoundError(f'there is no folder {folder} to write to')
    try:
      tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
      raise OSError(
          f'cannot write to the folder {folder}: {error.strerror}; give '
          'another') from error


def _files_of(path: pathlib.Path) -> list[pathlib.Path]:
  paths = path.iterdir() if path.is_dir() else [path]
  return [p for p in paths if p.is_file()]


def _identity(path: pathlib.Path) -> tuple[int, int]:
  stat = path.stat()
  return stat.st_dev, stat.st_ino


@contextlib.contextmanager
def writing_set(
    folder: str | os.PathLike,
    *,
    inputs: Iterable[str | os.PathLike | None] = (),
    overwrite: bool = False,
    replaced: Callable[[], Iterable[pathlib.Path]] = tuple,
) -> Iterator[pathlib.Path]:
  """Gives an empty folder; at the end its files move to `folder` as one.

  All of them appear or none. Of two processes that write sets with a file in
  common the later one fails, unless it may overwrite: then its set replaces the
  other. Folders that were made for this are removed if the body raises.

  Args:
    folder: where to; it is made if it does not exist.
    inputs: see `check_outputs`.
    overwrite: likewise.
    replaced: called at the end; gives files of an earlier set, which go when
      this one comes, whatever they are called.

  Raises:
    ValueError, OSError: as of `check_outputs`, or if the folder cannot be made.
  """
  folder = pathlib.Path(folder)
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  try:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      temporary = tempfile.TemporaryDirectory(prefix='.', dir=folder)
    except OSError as error:
      raise OSError(
          f'cannot write to the folder {folder}: {error.strerror}; give '
          'another output_dir') from error
    with temporary as name:
      new = pathlib.Path(name, 'new')
      new.mkdir()
      try:
        yield new
      except OSError as error:
        # The user knows the file by its place, not by its temporary one.
        if error.errno and error.filename is None:
          error.filename = str(folder)
        elif str(error.filename).startswith(str(new)):
          error.filename = str(folder / pathlib.Path(error.filename).name)
        raise
      _take_places(new, folder, inputs, overwrite, replaced)
  except BaseException:
    for path in missing:
      with contextlib.suppress(OSError):  # Others may have put files there.
        path.rmdir()
    raise


def _take_places(new, folder, inputs, overwrite, replaced):
  """Moves files from one folder to another, in place of older ones."""
  aside = new.with_name('old')
  aside.mkdir()
  undo = []

  def move(source, target):
    os.rename(source, target)
    undo.append((target, source))

  with _alone(folder):
    places = [folder / path.name for path in sorted(new.iterdir())]
    old = [p for p in dict.fromkeys([*places, *replaced()])
           if os.path.lexists(p)]
    check_outputs(
        dict.fromkeys([*places, *old]), inputs=inputs, overwrite=overwrite)
    try:
      for path in old:
        move(path, aside / path.name)
      for path in places:
        os.chmod(new / path.name, 0o666 & ~_umask())
        move(new / path.name, path)
    except BaseException:
      for target, source in reversed(undo):
        os.rename(target, source)
      raise


@contextlib.contextmanager
def _alone(folder: pathlib.Path) -> Iterator[None]:
  """Waits until no other process of ours moves files in a folder."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    with contextlib.suppress(OSError):  # Some file systems have no locks.
      fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)


@contextlib.contextmanager
def held(folder: str | os.PathLike) -> Iterator[None]:
  """Makes a folder and keeps it for this process alone, while the body runs.

  At the end it is removed if it is empty. However the process ends, the system
  lets go of it.

  Raises:
    OSError: if it cannot be made, or another process has it.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(handle)
    raise OSError(
        f'{folder} is in use by another process: wait for its end, or choose '
        'another') from error
  except OSError:
    pass  # Some file systems have no locks.
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # It is not empty, or gone.
      folder.rmdir()
    os.close(handle)


def read_npz(path: str | os.PathLike) -> dict:
  """All arrays of an `.npz` by name; nothing in it is unpickled.

  Raises:
    OSError: if the file cannot be read.
    ValueError: if it is damaged, or no `.npz` of plain arrays.
  """
  import numpy as np

  content = pathlib.Path(path).read_bytes()
  try:
    # From memory: what goes wrong now is the fault of the content. zip, zlib
    # and numpy each have their own way to say so, the system's among them.
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
      return dict(arrays)
  except Exception as error:
    reason = ' '.join(str(error).split()) or type(error).__name__
    raise ValueError(
        f'{path} is not a whole .npz of plain arrays: {reason}') from error


def _umask() -> int:
  umask = os.umask(0)
  os.umask(umask)
  return umask
