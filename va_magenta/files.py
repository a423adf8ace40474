"""Files that are either whole or not there."""

import contextlib
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


def _umask() -> int:
  umask = os.umask(0)
  os.umask(umask)
  return umask
