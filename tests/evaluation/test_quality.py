"""Measures of melodies whose answers are known."""

import math

import numpy as np
import pytest

from va_magenta.evaluation import quality
from va_magenta.music import melody, trio

C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]


def _measures(pitches, steps=None):
  steps = np.arange(len(pitches)) * 2 if steps is None else np.array(steps)
  return quality.measures(steps, np.array(pitches, int))


def test_a_scale_in_eighths():
  found = _measures(C_MAJOR)
  assert found['in_key'] == 1
  assert found['leaps'] == found['repetition'] == 0
  assert found['duration_entropy'] == 0
  # Seven pitch classes, one of them twice.
  assert found['pitch_class_entropy'] == pytest.approx(
      -6 / 8 * math.log2(1 / 8) - 2 / 8 * math.log2(2 / 8))
  assert found['notes_per_bar'] == 8


def test_chromatic_notes_are_out_of_key():
  assert _measures(range(60, 72))['in_key'] == pytest.approx(7 / 12)
  assert _measures([60, 60, 60, 61])['in_key'] == 1  # That of A flat major.


def test_leaps_and_repetition():
  found = _measures([60, 60, 65, 71, 60])
  assert found['repetition'] == pytest.approx(1 / 4)
  assert found['leaps'] == pytest.approx(2 / 4)


def test_two_kinds_of_length_are_one_bit():
  assert _measures([60] * 5, [0, 2, 6, 8, 12])['duration_entropy'] == 1


def test_a_bar_that_comes_again():
  bar = np.array([0, 4, 8])
  same = _measures([60, 62, 64] * 2, [*bar, *(bar + 16)])
  assert same['self_similarity'] == 1
  half = _measures([60, 62, 64, 60, 62, 65], [*bar, *(bar + 16)])
  assert half['self_similarity'] == pytest.approx(2 / 4)


@pytest.mark.parametrize('pitches', [[], [60]])
def test_too_short_is_nan_and_not_an_error(pitches):
  found = _measures(pitches)
  assert math.isnan(found['leaps'])
  assert math.isnan(found['duration_entropy'])


def test_a_note_sequence_and_its_tokens_are_the_same_melody():
  tokens = np.zeros(32, np.int32)
  tokens[[0, 4, 7, 20]] = 41, 43, 1, 45
  steps, pitches = quality.of_tokens(tokens)
  assert steps.tolist() == [0, 4, 20]
  assert pitches.tolist() == [60, 62, 64]
  for tempo_qpm in (47.0, 120.0, 173.3):
    again = quality.melody_of(
        melody.tokens_to_sequence(tokens, tempo_qpm=tempo_qpm))
    np.testing.assert_array_equal(again, (steps, pitches))


def test_of_a_trio_the_melody_is_read():
  tokens = np.zeros((32, 3), np.int32)
  tokens[[0, 4, 20], 0] = 41, 43, 45
  tokens[::2, 1] = 60  # A bass that lies above it.
  tokens[:, 2] = 1
  sequence = trio.tokens_to_sequence(tokens)
  np.testing.assert_array_equal(
      quality.melody_of(sequence), quality.of_tokens(tokens[:, 0]))


def test_distinct_pieces_are_counted_but_for_transposition():
  steps, pitches = np.arange(3), np.array([60, 62, 64])
  pieces = [(steps, pitches), (steps, pitches + 5), (steps, pitches[::-1])]
  assert quality.distinct(pieces) == pytest.approx(2 / 3)


def test_overlap_of_distributions():
  rng = np.random.default_rng(0)
  some = rng.normal(size=4000)
  assert quality.overlap(some, some) == pytest.approx(1)
  assert quality.overlap(some, some + 20) == 0
  # That of N(0, 1) and N(2, 1) is twice the tail beyond 1.
  assert quality.overlap(some, rng.normal(2, 1, 4000)) == pytest.approx(
      2 * .1587, abs=.05)
  assert quality.overlap(some, np.append(some, np.nan)) == pytest.approx(1)


def test_compare_with_melodies_by_people():
  pieces = [(np.arange(8) * 2, np.array(C_MAJOR))] * 4
  found = quality.compare(pieces, pieces)
  assert found['in_key'] == found['in_key/overlap'] == 1
  assert found['distinct'] == 1 / 4
  assert 'in_key/overlap' not in quality.compare(pieces)
