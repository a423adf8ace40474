"""The hand-made melody follows its rules."""

import numpy as np
import pytest

from va_magenta import VA
from va_magenta.evaluation import control, judges, quality, template
from va_magenta.music_to_va import symbolic


def _notes(valence, arousal, seed=0):
  sequence = template.compose(VA(valence, arousal), seed)
  return sequence, quality.melody_of(sequence)


@pytest.mark.parametrize('seed', range(20))
def test_two_bars_in_one_scale(seed):
  for valence in (-1, -.2, 0, .7, 1):
    tokens = template.tokens(valence, seed)
    assert tokens.shape == (32,)
    steps, pitches = quality.of_tokens(tokens)
    assert len(steps) >= 4
    assert quality.measures(steps, pitches)['in_key'] == 1
    assert 36 <= pitches.min() <= pitches.max() <= 96


def test_valence_changes_mode_and_register_and_not_the_rhythm():
  _, (steps, low) = _notes(-.9, 0)
  _, (again, high) = _notes(.9, 0)
  np.testing.assert_array_equal(steps, again)
  assert high.mean() - low.mean() > 12
  thirds = [
      {(p - round(52 + (v + 1) / 2 * 24)) % 12 for s in range(30)
       for p in _notes(v, 0, s)[1][1]} & {3, 4} for v in (-.9, .9)]
  assert thirds == [{3}, {4}]


def test_arousal_changes_tempo_and_loudness_and_no_note():
  calm, melody = _notes(.3, -1)
  wild, again = _notes(.3, 1)
  np.testing.assert_array_equal(melody, again)
  assert (calm.tempos[0].qpm, wild.tempos[0].qpm) == template.TEMPO_QPM
  assert (calm.notes[0].velocity, wild.notes[0].velocity) == template.VELOCITY


def test_a_student_hears_what_it_wants_to_say():
  targets = control.grid(3)
  reader = judges.Reader(symbolic.load())
  obtained = np.stack([
      reader([template.compose(VA(*t), seed) for t in targets])
      for seed in range(2)])
  figures = control.figures(targets, obtained)
  assert figures['arousal/pearson_r'].mean() > .7
