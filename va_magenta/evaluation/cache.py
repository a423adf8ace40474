"""Results that took long, kept a line each, so that a killed run goes on."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable


class Cache:
  """A file of JSON lines, each a key and a value.

  A line is written when its value is there. One that a kill cut short is left
  out when the file is read, and what it held is made again.
  """

  def __init__(self, path: str | os.PathLike):
    """Reads what is there.

    Args:
      path: of the file, in a folder that exists.

    Raises:
      OSError: if it cannot be read or written.
    """
    self._values = {}
    path = pathlib.Path(path)
    text = path.read_text() if path.exists() else ''
    for line in text.splitlines():
      try:
        key, value = json.loads(line)
        self._values[key] = value
      except (ValueError, TypeError):
        pass
    self._file = path.open('a')
    if text and not text.endswith('\n'):
      self._file.write('\n')

  def __len__(self):
    return len(self._values)

  def get(self, about, make: Callable[[], object]):
    """The value of a key; made and kept if it is not there.

    Args:
      about: what the value depends on, which JSON can say.
      make: gives the value, which JSON can say too.
    """
    key = hashlib.md5(
        json.dumps(about, sort_keys=True).encode()).hexdigest()
    if key not in self._values:
      value = make()
      self._file.write(json.dumps([key, value]) + '\n')
      self._file.flush()
      self._values[key] = value
    return self._values[key]

  def close(self):
    """No more is kept after this."""
    self._file.close()

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()
