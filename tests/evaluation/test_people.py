"""Melodies of files are read for comparison as every command reads MIDI."""

import numpy as np
import pytest

from va_magenta.evaluation import people
from va_magenta.music import measures

STEPS = 2  # Of a note.


def _tune(num_bars):
  return [
      event for i in range(8 * num_bars) for event in (
          (240 * i, bytes([0x90, 60 + i % 8, 80])),
          (240 * (i + 1), bytes([0x80, 60 + i % 8, 0])))]


def _song(num_bars):
  tune = sorted(_tune(num_bars), key=lambda e: (e[0], e[1][0]))
  odd = [
      (0, b'\xff\x51\x03\x0f\x42\x40'),  # 60 a minute
      (960, b'\xff\x51\x03\x07\xa1\x20'),  # then 120
      (0, b'\xff\x59\x02\x08\0')]  # A key signature of 8 sharps.
  return tune, odd


def test_tempos_on_any_track_leave_the_grid(midi_file, tmp_path):
  tune, odd = _song(people.NUM_BARS)
  (tmp_path / 'plain.mid').write_bytes(midi_file(tune))
  (tmp_path / 'tempos.mid').write_bytes(midi_file(tune, odd))
  plain, tempos = people.read(tmp_path).tokens
  np.testing.assert_array_equal(plain, tempos)
  line = plain[:, measures.MELODY]
  assert line[::STEPS].tolist() == [41 + i % 8 for i in range(
      people.NUM_STEPS // STEPS)]


def test_a_piece_too_long_is_refused_by_name(midi_file, tmp_path):
  path = tmp_path / 'long.mid'
  path.write_bytes(midi_file([
      (0, b'\xff\x51\x03\0\0\1'), (0, b'\x90\x3c\x50'),
      (2**28 - 1, b'\x80\x3c\0')], ticks=24))
  with pytest.raises(ValueError, match=f'{path} has more than 100,000 bars'):
    people.read(tmp_path)
