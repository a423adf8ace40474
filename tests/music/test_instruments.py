"""Instruments: their names, their ranges, and who plays what in a band."""

import numpy as np
import pytest

from va_magenta.music import instruments


@pytest.mark.parametrize('name, program', [
    ('piano', 0), ('Flute', 73), ('violin', 40), ('acoustic bass', 32),
    ('String Ensemble 1', 48), ('strings', 48), ('clarinet', 71), ('11', 11),
    ('electric_guitar (jazz)', 26), ('oboe', 68), ('trumpet', 56)])
def test_names(name, program):
  assert instruments.parse(name) == program


@pytest.mark.parametrize('name', ['kazoo', '', '128', '-1'])
def test_what_is_no_instrument(name):
  with pytest.raises(ValueError, match='is no instrument: give a name'):
    instruments.parse(name)


def test_who_plays_what():
  def band(text):
    return instruments.parse_band(text.split(','))
  assert band('piano,strings,bass,drums') == {
      'melody': 0, 'comping': 48, 'bass': 33, 'drums': None}
  assert band('drums,acoustic bass,flute') == {
      'drums': None, 'bass': 32, 'melody': 73}
  for text, left in (
      ('piano,flute,violin', 'violin'), ('bass,slap bass 1', 'slap bass 1')):
    with pytest.raises(ValueError, match=f"nothing is left for '{left}'"):
      band(text)


def test_ranges():
  assert instruments.range_of(0) == instruments.range_of(89) == (21, 108)
  low, high = zip(*(instruments.range_of(i) for i in range(128)), strict=True)
  assert all(b - a >= 16 for a, b in zip(low, high, strict=True))
  assert min(low) >= 21 and max(high) <= 108
  assert instruments.range_of(40)[0] == 55  # A violin's G.


def test_lines_come_where_they_can_be_played():
  line = np.array([60, 64, 67])
  np.testing.assert_array_equal(instruments.fold(line, 0), line)
  np.testing.assert_array_equal(instruments.fold(line, 40), line)
  # A whole octave up for the piccolo, down for the contrabass.
  np.testing.assert_array_equal(instruments.fold(line, 9), line + 24)
  np.testing.assert_array_equal(instruments.fold(line + 12, 43), line - 12 + 12)
  # Of a line that is too wide only what is outside moves.
  wide = np.array([50, 60, 62, 64, 65, 97])
  np.testing.assert_array_equal(
      instruments.fold(wide, 73), [62, 60, 62, 64, 65, 97])
  rng = np.random.default_rng(0)
  for program in range(128):
    low, high = instruments.range_of(program)
    pitches = rng.integers(21, 109, 40)
    folded = instruments.fold(pitches, program)
    assert low <= folded.min() and folded.max() <= high
    assert not ((folded - pitches) % 12).any()
