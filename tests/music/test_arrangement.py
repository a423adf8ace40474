"""Endings: the last chord, who holds it, and how a piece slows down."""

import numpy as np
import pytest

from va_magenta.music import arrangement, band, chords


def _piece(progression='C G Am F'):
  """A bar a chord: a melody, bass and drums on each beat, struck chords."""
  progression = chords.parse_progression(progression)
  tokens = np.zeros((len(progression) * 8, 4), int)
  tokens[::4, band.MELODY] = 67 - 19
  tokens[::4, band.BASS] = 41 - 19
  tokens[::4, band.DRUMS] = 1
  tokens[::8, band.COMPING] = band.STRUCK
  return tokens, progression


def test_a_bar_of_the_tonic_is_added():
  tokens, progression = _piece()
  ended, ended_chords = arrangement.end(tokens, progression)
  assert ended.shape == (80, 4) and len(ended_chords) == 10
  np.testing.assert_array_equal(ended[:64], tokens)
  assert not ended[65:].any()  # Nothing but what is held.
  assert [chords.name(c) for c in ended_chords[-2:]] == ['C', 'C']
  melody, bass, drums, comping = ended[64]
  assert melody + 19 == 67  # Of the chord, and where the melody was.
  assert bass + 19 == 36  # The root nearest to F.
  assert drums == 0b10000001  # Bass drum and crash cymbal.
  assert comping == band.STRUCK


def test_the_root_is_preferred_where_it_is_near():
  tokens, progression = _piece()
  tokens[tokens[:, 0] > 0, band.MELODY] = 71 - 19
  assert arrangement.end(tokens, progression)[0][64, 0] + 19 == 72


@pytest.mark.parametrize('progression, minor', [
    ('Am F C G Am', True), ('C Am', True), ('Am F G', True), ('F G C', False),
    ('F Am G Dm', True), ('Dm G', False)])
def test_major_or_minor(progression, minor):
  assert arrangement.is_minor(chords.parse_progression(progression)) == minor
  ended = arrangement.end(*_piece(progression))[1]
  assert chords.name(ended[-1]) == ('Am' if minor else 'C')


def test_who_rests_still_rests():
  tokens, progression = _piece()
  tokens[:, [band.MELODY, band.DRUMS]] = 0
  ended, _ = arrangement.end(tokens, progression)
  assert band.who_plays(ended).tolist() == [False, True, False, True]
  tokens, progression = _piece()
  tokens[48:, band.DRUMS] = 0  # They have gone before.
  assert not arrangement.end(tokens, progression)[0][48:, band.DRUMS].any()


def test_a_melody_that_is_given_ends_where_it_ended():
  ended, _ = arrangement.end(*_piece(), keeps_melody=True)
  notes = band.voice(ended, np.resize(_piece()[1], 10))
  melody = notes[notes['voice'] == band.MELODY]
  assert len(melody) == 16 and melody['end'].max() == 64


def test_what_ends_by_itself_stays():
  tokens, progression = _piece('C G F C')
  tokens[49:] = 0
  ended, ended_chords = arrangement.end(tokens, progression)
  assert len(ended) == 64 and len(ended_chords) == 8


def test_ritardandi_end_slowly():
  tempos = arrangement.ritardando(np.full(20, 100.0), drums=False)
  assert (tempos[:12] == 100).all()
  assert (np.diff(tempos[11:]) <= 0).all()
  np.testing.assert_allclose(tempos[-4:], 60)
  with_drums = arrangement.ritardando(np.full(20, 100.0), drums=True)
  np.testing.assert_allclose(with_drums[-4:], 80)
  assert len(arrangement.ritardando(np.full(4, 100.0), drums=False)) == 4


def test_how_long_the_last_chord_is_held():
  assert [arrangement.hold_beats(qpm) for qpm in (30, 60, 200)] == [2, 3, 4]


def test_bars_of_a_length():
  def bars(seconds, tempo, ends=False):
    return arrangement.bars_within(
        seconds, tempo, ends=ends, multiple=2, least=2, most=128)
  assert bars(32, 120) == 16
  assert bars(30, 120) == 14 or bars(30, 120) == 16
  assert bars(32, 60) == 8
  assert bars(1, 60) == 2
  assert bars(300, 200) == 128 or bars(300, 200) == 126
  assert bars(35, 120, ends=True) == 16
