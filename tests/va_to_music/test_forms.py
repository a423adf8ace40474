"""Bars return where those of a piece by people do."""

import numpy as np
import pytest

from va_magenta.music import band, grid
from va_magenta.va_to_music import forms

MELODY, RHYTHM = 0, 1


def _bars(*pitches):
  """Melody of one note on each beat, of these pitches, a list a bar."""
  tokens = np.zeros((len(pitches) * 16, 4), int)
  for i, bar in enumerate(pitches):
    for beat, pitch in enumerate(bar):
      tokens[16 * i + 4 * beat, band.MELODY] = pitch and grid.token_of(pitch)
  return tokens


def _form(num_bars, **rows):
  """A form of which nothing returns but what is said."""
  form = np.tile(np.arange(num_bars), (1, len(forms.ROWS), 1))
  for name, values in rows.items():
    form[0, forms.ROWS.index(name.replace('_', ' '))] = values
  return form


def _repeat(tokens, form, chords=None, va=None):
  num_bars = len(tokens) // 16
  chords = np.ones(2 * num_bars, int) if chords is None else chords
  va = np.zeros((num_bars, 2)) if va is None else va
  return forms.repeat(tokens[None], chords[None], va[None], form)[0]


def test_the_form_of_a_piece():
  tokens = _bars([60, 62], [64, 65], [60, 62], [0, 0], [60])
  tokens[::16, band.DRUMS] = 3, 3, 5, 3, 5
  tokens[[0, 16, 32], band.COMPING] = 2
  tokens[8, band.COMPING] = 1  # Where a chord ends is not looked at.
  form = dict(zip(forms.ROWS, forms.of_piece(tokens).tolist(), strict=True))
  assert form['melody'] == [0, 1, 0, forms.EMPTY, 4]
  assert form['melody rhythm'] == [0, 0, 0, forms.EMPTY, 4]
  assert form['bass'] == [forms.EMPTY] * 5
  assert form['drums'] == [0, 0, 2, 0, 2]
  assert form['comping'] == [0, 0, 0, 3, 3]


def test_a_piece_has_its_own_form_already():
  random = np.random.default_rng(0)
  bars = random.integers(0, 90, (3, 16, 4))
  bars[..., band.COMPING] %= 7
  tokens = bars[[0, 1, 0, 2, 1, 0]].reshape(-1, 4)
  np.testing.assert_array_equal(
      _repeat(tokens, forms.of_piece(tokens)[None]), tokens)


def test_bars_return_note_for_note():
  tokens = _bars([60, 62], [64, 65], [70, 71, 72], [67])
  tokens[:, band.DRUMS] = np.arange(64)
  played = _repeat(tokens, _form(4, melody=[0, 1, 0, 0], drums=[0, 0, 0, 0]))
  np.testing.assert_array_equal(
      played[32:48, band.MELODY], tokens[:16, band.MELODY])
  np.testing.assert_array_equal(played[16:32, band.DRUMS], np.arange(16))
  # The end is its own.
  np.testing.assert_array_equal(played[48:], tokens[48:])


@pytest.mark.parametrize('change', ['chords', 'va'])
def test_notes_return_only_where_chords_and_va_do(change):
  tokens = _bars([60, 62, 64, 65], [70, 0, 71], [67])
  form = _form(3, melody=[0, 0, 2])
  other = np.array([1, 1, 9, 9, 1, 1]) if change == 'chords' else (
      np.array([[0, 0], [0, 0.3], [0, 0]]))
  np.testing.assert_array_equal(
      _repeat(tokens, form, **{change: other}), tokens)


def test_a_rhythm_returns_on_the_notes_that_are_there():
  tokens = _bars([60, 62, 64, 65], [70, 0, 71], [67])
  played = _repeat(tokens, _form(3, melody_rhythm=[0, 0, 2]))
  np.testing.assert_array_equal(
      grid.line(played[:, band.MELODY])[:, 2],
      [60, 62, 64, 65, 70, 70, 71, 71, 67])


def test_the_melody_rests_where_the_form_does():
  tokens = _bars([60], [62], [64])
  played = _repeat(tokens, _form(3, melody=[0, forms.EMPTY, 2]))
  np.testing.assert_array_equal(
      grid.line(played[:, band.MELODY]), [[0, 16, 60], [32, 16, 64]])


def test_chords_return_with_the_melody():
  form = _form(4, melody=[0, 1, 0, 0])
  chords = np.array([[1, 2, 3, 4, 5, 6, 7, 8]])
  va = np.zeros((1, 4, 2))
  np.testing.assert_array_equal(
      forms.tie(chords, va, form), [[1, 2, 3, 4, 1, 2, 7, 8]])
  va[0, 2] = 1
  np.testing.assert_array_equal(forms.tie(chords, va, form), chords)


def test_forms_are_drawn_of_pieces_near_in_va():
  theirs = forms.Forms(
      np.arange(2)[:, None, None] * np.ones((2, len(forms.ROWS), 16), np.int8),
      np.array([[-0.8, -0.8], [0.8, 0.8]]))
  uniform = np.random.default_rng(0).random((50, 2))
  drawn = theirs.draw(uniform, np.full((50, 2), 0.8), 16)
  assert drawn.shape == (50, len(forms.ROWS), 16)
  assert (drawn == 1).all()
  both = theirs.draw(uniform, np.zeros((50, 2)), 16)[:, 0, 0]
  assert 10 < both.sum() < 40


def test_long_pieces_are_sections_a_a_b_a():
  theirs = forms.Forms(
      np.tile(np.arange(16, dtype=np.int8), (1, len(forms.ROWS), 1)),
      np.zeros((1, 2)))
  drawn = theirs.draw(np.zeros((1, 2)), np.zeros((1, 2)), 64)[0, 0]
  at = np.arange(16)
  np.testing.assert_array_equal(drawn, [*at, *at, *(at + 32), *at])
  assert theirs.draw(np.zeros((1, 2)), np.zeros((1, 2)), 6).shape[-1] == 6


def test_a_form_in_letters():
  form = forms.of_letters(
      'ABA', _form(6, drums=[0, 0, 2, 2, 2, 5], comping=[0, 0, 0, 0, 0, 0]))[0]
  np.testing.assert_array_equal(form[MELODY], [0, 1, 2, 3, 0, 1])
  np.testing.assert_array_equal(form[RHYTHM], [0, 1, 2, 3, 0, 1])
  np.testing.assert_array_equal(form[4], [0, 0, 2, 2, 0, 0])
  np.testing.assert_array_equal(form[5], 0)
  assert forms.letters(form, 2) == 'ABA'


def test_letters_are_the_same_where_all_of_a_segment_returns():
  form = _form(8, melody=[0, 1, 0, 3, 0, 1, forms.EMPTY, 1])[0]
  assert forms.letters(form, 2) == 'ABAC'
