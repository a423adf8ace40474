"""Which files a corpus has."""

import pytest

from va_magenta.music import corpus


def test_midi_files_of_any_name_are_found(tmp_path):
  (tmp_path / 'below').mkdir()
  names = ['a.mid', 'b.MID', 'below/c.midi', 'd.kar', 'e.rmi']
  for name in [*names, 'f.txt', 'mid']:
    (tmp_path / name).write_bytes(b'')
  assert corpus.find_midi(tmp_path) == [
      str(tmp_path / name) for name in sorted(names)]


def test_a_folder_without_midi_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match='has no MIDI files'):
    corpus.find_midi(tmp_path)
