"""Trios: equal to Magenta's converter, and what is none is told."""

import numpy as np
import pytest

from va_magenta.music import trio


@pytest.fixture(scope='module')
def converter():
  pytest.importorskip('va_magenta.magenta_compat')
  from va_magenta.magenta_compat import configs

  return configs.CONFIG_MAP['hierdec-trio_16bar'].data_converter


def _notes(sequence):
  """In an order that does not depend on how drums of one time are ordered."""
  return sorted(note.SerializeToString() for note in sequence.notes)


@pytest.mark.parametrize('seed', range(6))
def test_trios_are_those_of_magentas_converter(converter, seed):
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, trio.OUTPUT_DEPTHS, (256, 3))
  # Held notes and silent drums, as in music, and all tokens.
  tokens[rng.random((256, 3)) < (0, .5, .9)[seed % 3]] = 0
  one_hots = np.concatenate([
      np.eye(depth)[column] for depth, column in zip(
          trio.OUTPUT_DEPTHS, tokens.T, strict=True)], axis=1)
  [expected] = converter.from_tensors([one_hots])
  ours = trio.tokens_to_sequence(tokens)
  assert _notes(ours) == _notes(expected)
  for sequence in (ours, expected):
    del sequence.notes[:]
  assert ours == expected


def test_tempo_and_programs():
  tokens = np.zeros((16, 3), int)
  tokens[4] = 41, 17, 0b101
  sequence = trio.tokens_to_sequence(tokens, tempo_qpm=60, programs=(11, 39))
  assert {n.start_time for n in sequence.notes} == {1}
  assert [
      (n.instrument, n.program, n.pitch, n.is_drum)
      for n in sorted(sequence.notes, key=lambda n: (n.instrument, n.pitch))
  ] == [(0, 11, 60, False), (1, 39, 36, False), (9, 0, 36, True),
        (9, 0, 42, True)]
  assert sequence.total_time == 4


@pytest.mark.parametrize(('tokens', 'complaint'), [
    (np.zeros((16, 2), int), r'rows of 3 tokens, got int64 \(16, 2\)'),
    (np.zeros(48, int), 'rows of 3 tokens'),
    (np.full((16, 3), [2, 2, 512]), r'0\.\.511, got 512\.\.512'),
    (np.full((16, 3), [2, 90, 0]), r'0\.\.89, got 90\.\.90')])
def test_what_is_no_trio_is_told(tokens, complaint):
  with pytest.raises(ValueError, match=complaint):
    trio.tokens_to_sequence(tokens)
