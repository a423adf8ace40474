"""Files that are either whole or not there, and folders for one at a time."""

import contextlib
import fcntl
import io
import os
import pathlib
import tempfile
from collections.abc import Iterator


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
