"""Files that are either whole or not there, and arrays that are read whole."""

import contextlib
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
    OSError: if the folder is missing or cannot be written to.
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
  finally:
    temporary.unlink(missing_ok=True)


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
