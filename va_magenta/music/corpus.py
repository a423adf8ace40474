"""A corpus of MIDI files: finding, naming and splitting its pieces."""

import hashlib
import os
import pathlib

from va_magenta.music import midi


def split_of(name: str) -> str:
  """The split of a piece: 8 of 10 'train', 1 'validation', 1 'test'."""
  digit = int(hashlib.md5(name.encode()).hexdigest(), 16) % 10
  return {0: 'test', 1: 'validation'}.get(digit, 'train')


def find_midi(folder: str | os.PathLike) -> list[str]:
  """MIDI files in a folder and the folders in it, sorted.

  Raises:
    FileNotFoundError: if there are none.
  """
  folder = pathlib.Path(folder).expanduser()
  found = sorted(
      os.fspath(p) for p in folder.rglob('*')
      if p.suffix.lower() in midi.SUFFIXES and p.is_file())
  if not found:
    raise FileNotFoundError(
        f'{folder} has no MIDI files, or is no folder; give one with files '
        'NAME.mid in it or in folders in it')
  return found


def file_md5(path: str | os.PathLike) -> str:
  """The md5 of a file's content, by which a piece is named."""
  return hashlib.md5(pathlib.Path(path).read_bytes()).hexdigest()


def is_held_out(md5: str) -> bool:
  """Whether a piece of the corpus of bands is kept from all that is learned.

  Args:
    md5: of its file, in hex; one of 20 is held out.
  """
  return int(md5[:2], 16) % 20 == 0
