"""Long-range structure of melodies whose answers are known."""

import numpy as np
import pytest

from va_magenta.evaluation import quality, structure
from va_magenta.music import melody

A = ((0, 60), (4, 64), (8, 67))
B = ((2, 61), (6, 63))


def _melody(*bars):
  """Of bars, each of (place, pitch)."""
  notes = [(16 * i + place, pitch)
           for i, bar in enumerate(bars) for place, pitch in bar]
  return tuple(np.array(notes, int).reshape(-1, 2).T)


def _transposed(bar, semitones):
  return tuple((place, pitch + semitones) for place, pitch in bar)


def test_bars_are_compared_by_rhythm_and_by_pitch_class():
  piece = _melody(
      A, _transposed(A, 12), _transposed(A, 1), ((0, 60), (4, 60), (9, 67)))
  rhythm, pitch = (
      function(piece)[:4, :4] for function in (
          structure.rhythm_similarity, structure.pitch_similarity))
  np.testing.assert_allclose(rhythm[0], [1, 1, 1, 2 / 4])
  # C E G; C E G; D flat, F, A flat; C C G, of which all but an E and a C.
  np.testing.assert_allclose(pitch[0], [1, 1, 0, 2 / 4])
  for similarity in (rhythm, pitch):
    np.testing.assert_array_equal(similarity, similarity.T)
    np.testing.assert_array_equal(np.diag(similarity), 1)


def test_empty_bars_are_like_no_others_and_not_comparable_with_each_other():
  similarity = structure.rhythm_similarity(_melody(A, (), A))
  assert similarity.shape == (16, 16)
  assert similarity[0, 1] == similarity[0, 15] == 0
  assert similarity[0, 2] == 1
  assert np.isnan(similarity[1, 3])


def test_what_comes_back_is_found_at_its_lag():
  piece = _melody(*[A, B, A, B] * 4)
  found = structure.measures(piece)
  for kind in structure.KINDS:
    assert found[f'{kind}_1'] == 0
    assert found[f'{kind}_2'] == found[f'{kind}_4'] == found[f'{kind}_8'] == 1
  assert found['repeated_bars'] == 14 / 15
  period = structure.measures(_melody(*[A, A, A, A, B, B, B, B] * 2))
  assert period['rhythm_4'] == 0
  assert period['rhythm_8'] == 1
  assert period['rhythm_1'] == pytest.approx(12 / 15)


def test_repeats_may_be_transposed_and_must_be_exact():
  longer = (*A, (12, 60))
  assert structure.repeated_bars(_melody(A, _transposed(A, 5))) == 1
  assert structure.repeated_bars(_melody(A, longer)) == 0
  # Empty bars repeat nothing, and are not counted.
  assert structure.repeated_bars(_melody(A, (), (), B, A)) == 1 / 2
  assert structure.repeated_bars(_melody(((0, 60),), ((4, 60),))) == 0


def test_notes_after_the_sixteenth_bar_are_left_out():
  piece = _melody(*[A] * 16)
  longer = _melody(*[A] * 16, *[B] * 8)
  assert structure.measures(longer) == structure.measures(piece)


@pytest.mark.parametrize('bars', [(), (A,)])
def test_too_short_is_undefined_and_no_error(bars):
  found = structure.measures(_melody(*bars))
  assert np.isnan(found['repeated_bars'])
  assert found['rhythm_1'] == 0 if bars else np.isnan(found['rhythm_1'])
  everything = structure.evaluate([_melody(*bars)], [_melody(*bars)])
  assert np.isnan(everything['repeated_bars'])


def test_tokens_and_note_sequences_are_the_same():
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, 90, 256) * (rng.random(256) < .2)
  pieces = [quality.of_tokens(tokens)] + [
      quality.melody_of(melody.tokens_to_sequence(tokens, tempo_qpm=qpm))
      for qpm in (120, 93.7)]
  assert structure.measures(pieces[0]) == structure.measures(
      pieces[1]) == structure.measures(pieces[2])


def _random(rng, repeated):
  bars = [tuple((place, int(rng.integers(50, 80)))
                for place in np.flatnonzero(rng.random(16) < .3))
          for _ in range(16)]
  if repeated:
    bars[8:] = bars[:8]
  return _melody(*bars)


def test_a_set_that_repeats_as_people_do_is_nearer_to_them():
  rng = np.random.default_rng(0)
  people, alike, other = (
      [_random(rng, repeated) for _ in range(60)]
      for repeated in (True, True, False))
  near, far = (structure.evaluate(own, people) for own in (alike, other))
  for kind in structure.KINDS:
    assert near[f'{kind}_8'] == 1
    assert near[f'{kind}_distance'] < .03
    assert far[f'{kind}_distance'] > .04
    assert near[f'{kind}_8/overlap'] == 1
    assert far[f'{kind}_8/overlap'] == 0
    # Where neither returns they are alike.
    assert far[f'{kind}_4/overlap'] > .6
  assert near['repeated_bars'] > .5 > far['repeated_bars']
  assert set(structure.evaluate(alike)) == {
      name for name in near if '/' not in name and 'distance' not in name}
  # The distance is that of the curves.
  curves = [structure.curve(own, 'pitch') for own in (other, people)]
  assert far['pitch_distance'] == pytest.approx(np.abs(
      curves[0] - curves[1]).mean())
