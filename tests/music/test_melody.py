"""Melody tokens against Magenta's own converter."""

import note_seq
import numpy as np
import pytest

from va_magenta.music import grid, melody


def _random_tokens(rng, steps=32):
  """A melody of notes, rests and holds that begins with a note."""
  tokens = rng.choice([0, 1, 2], size=steps, p=[.6, .1, .3])
  notes = tokens == 2
  tokens[notes] = rng.integers(2, grid.NUM_TOKENS, notes.sum())
  tokens[0] = rng.integers(2, grid.NUM_TOKENS)
  return tokens


def _canonical(tokens):
  """The same melody without note-offs in silence, which no note marks."""
  sounding, out = False, []
  for token in tokens:
    out.append(0 if token == 1 and not sounding else token)
    sounding = token > 1 or (sounding and token != 1)
  return np.array(out)


@pytest.fixture(scope='module')
def converter():
  magenta_compat = pytest.importorskip('va_magenta.magenta_compat')
  converter = magenta_compat.configs.CONFIG_MAP[
      'cat-mel_2bar_small'].data_converter
  converter.set_mode('eval')
  return converter


def test_tokens_to_sequence_is_magentas(converter):
  rng = np.random.default_rng(0)
  for _ in range(20):
    # Any tokens at all, also note-offs and holds before the first note.
    tokens = rng.integers(0, grid.NUM_TOKENS, 32) * rng.integers(0, 2, 32)
    [magentas] = converter.from_tensors([np.eye(grid.NUM_TOKENS)[tokens]])
    assert melody.tokens_to_sequence(tokens) == magentas


def test_sequence_to_tokens_is_magentas(converter):
  rng = np.random.default_rng(1)
  for _ in range(20):
    sequence = melody.tokens_to_sequence(_random_tokens(rng))
    tokens = melody.sequence_to_tokens(sequence)
    if len(tokens) != 32:
      continue  # Ends in a silent bar, which is no 2-bar example to Magenta.
    [magentas] = converter.to_tensors(sequence).inputs
    np.testing.assert_array_equal(tokens, magentas.argmax(-1))


def test_round_trip_keeps_pitch_rhythm_and_tempo():
  rng = np.random.default_rng(2)
  for steps in (32, 64):
    tokens = _canonical(_random_tokens(rng, steps))
    tokens[-1] = 2  # So that no bar at the end is silent.
    sequence = melody.tokens_to_sequence(tokens, tempo_qpm=90, program=73)
    np.testing.assert_array_equal(melody.sequence_to_tokens(sequence), tokens)


def test_a_note_is_placed_in_time():
  tokens = np.array([0, 0, 41, 0, 1, 0, 89, 0])
  sequence = melody.tokens_to_sequence(
      tokens, tempo_qpm=60, program=40, velocity=33)
  assert [(n.pitch, n.start_time, n.end_time, n.program, n.velocity)
          for n in sequence.notes] == [
              (60, 0.5, 1.0, 40, 33), (108, 1.5, 2.0, 40, 33)]
  assert sequence.tempos[0].qpm == 60
  assert sequence.total_time == 2.0


def test_empty_bars_before_the_first_note_are_kept():
  tokens = np.zeros(48, int)
  tokens[20], tokens[47] = 50, 52
  np.testing.assert_array_equal(
      melody.sequence_to_tokens(melody.tokens_to_sequence(tokens)), tokens)


@pytest.mark.parametrize('tokens', [
    [90], [-1], [0.5], [[1, 2]]])
def test_other_tokens_are_refused(tokens):
  with pytest.raises(ValueError, match='melody'):
    melody.tokens_to_sequence(tokens)


def _piece(*notes, **fields):
  sequence = note_seq.NoteSequence(**fields)
  for pitch, instrument in notes:
    sequence.notes.add(
        pitch=pitch, instrument=instrument, velocity=80, start_time=0,
        end_time=1)
  sequence.total_time = 1
  return sequence


@pytest.mark.parametrize(('sequence', 'complaint'), [
    (_piece(), 'one instrument, got 0'),
    (_piece((60, 0), (62, 1)), 'one instrument, got 2'),
    (_piece((20, 0)), 'pitches 21..108, got 20..20'),
    (_piece((60, 0), time_signatures=[{'numerator': 3, 'denominator': 4}]),
     'in 4/4'),
    (_piece((60, 0), tempos=[{'qpm': 120}, {'qpm': 90, 'time': 0.5}]),
     'one tempo'),
])
def test_other_pieces_are_refused(sequence, complaint):
  with pytest.raises(ValueError, match=complaint):
    melody.sequence_to_tokens(sequence)


def test_padding_is_silence():
  tune = np.array([41, 0, 0, 0])
  assert melody.pad(tune, 8).tolist() == [41, 0, 0, 0, 1, 0, 0, 0]
  assert melody.pad(tune, 4).tolist() == tune.tolist()
  rest = np.array([41, 1, 0])
  assert melody.pad(rest, 4).tolist() == [41, 1, 0, 0]
  [note] = melody.tokens_to_sequence(melody.pad(tune, 256)).notes
  assert note.end_time == .5
