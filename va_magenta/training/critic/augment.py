"""What chance makes of melodies, so that the critic knows more than a corpus.

Each augmentation takes tokens, int [steps], and a numpy Generator, and gives
other tokens.
"""

from collections.abc import Callable

import numpy as np

from va_magenta.music.grid import FIRST_PITCH, GO_ON, NOTE_OFF, NUM_TOKENS


def _shift(tokens: np.ndarray, semitones) -> np.ndarray:
  """Pitches moved; what would leave the range is moved by octaves."""
  moved = tokens + semitones
  moved = np.where(moved < FIRST_PITCH, moved + 12 * -(
      (moved - FIRST_PITCH) // 12), moved)
  over = np.maximum(moved - (NUM_TOKENS - 1), 0)
  moved = moved - 12 * -(-over // 12)
  return np.where(tokens >= FIRST_PITCH, moved, tokens)


def transpose(tokens, rng, most=12):
  """All notes by one interval."""
  return _shift(tokens, rng.integers(-most, most + 1))


def move_notes(tokens, rng):
  """Some notes, each by an interval of its own."""
  most = rng.choice([1, 2, 5, 12, 24])
  moves = rng.integers(-most, most + 1, len(tokens))
  return _shift(tokens, moves * (rng.random(len(tokens)) < rng.random()))


def bend_scale(tokens, rng):
  """Some pitch classes by a semitone, as major becomes minor."""
  moves = np.zeros(12, int)
  chosen = rng.choice(12, rng.integers(1, 5), replace=False)
  moves[chosen] = rng.choice([-1, 1], len(chosen))
  return _shift(tokens, moves[tokens % 12])


def snap_to_scale(tokens, rng):
  """All notes into a random major or minor scale."""
  scale = rng.choice([
      (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 8, 11),
      (0, 3, 5, 7, 10, 0, 3)])
  inside = np.zeros(12, bool)
  inside[(scale + rng.integers(12)) % 12] = True
  down = np.array([
      next(i for i in range(12) if inside[(k - i) % 12]) for k in range(12)])
  return _shift(tokens, -down[tokens % 12])


def gather(tokens, rng):
  """The range of pitches stretched or squeezed, down to one note repeated."""
  is_note = tokens >= FIRST_PITCH
  if not is_note.any():
    return tokens
  mean = tokens[is_note].mean()
  by = rng.choice([0, rng.uniform(0, 1), rng.uniform(1, 3)], p=[.15, .5, .35])
  moved = np.rint(mean + by * (tokens - mean)).astype(int) - tokens
  return _shift(tokens, moved)


def thin_out(tokens, rng):
  """Some notes left out: the one before goes on, or a rest is there."""
  out = (tokens >= FIRST_PITCH) & (rng.random(len(tokens)) < rng.random())
  return np.where(out, rng.choice([GO_ON, NOTE_OFF]), tokens)


def shorten(tokens, rng):
  """Some held steps become note-offs, or some note-offs are held."""
  chosen = rng.random(len(tokens)) < rng.random()
  old, new = rng.permutation([GO_ON, NOTE_OFF])
  return np.where(chosen & (tokens == old), new, tokens)


def fill_in(tokens, rng):
  """Notes near those that are there, where nothing new began."""
  last = np.maximum.accumulate(
      np.where(tokens >= FIRST_PITCH, np.arange(len(tokens)), 0))
  near = np.where(tokens[last] >= FIRST_PITCH, tokens[last], 45)
  most = rng.choice([0, 2, 7, 12])
  near = _shift(near, rng.integers(-most, most + 1, len(tokens)))
  grid = np.arange(len(tokens)) % rng.choice([1, 2, 4]) == 0
  chosen = (tokens < FIRST_PITCH) & grid & (
      rng.random(len(tokens)) < rng.random())
  return np.where(chosen, near, tokens)


def replace(tokens, rng):
  """Some tokens by any, as a decoder errs."""
  chosen = rng.random(len(tokens)) < rng.choice([.05, .15, .4])
  pitches = rng.integers(FIRST_PITCH, NUM_TOKENS, len(tokens))
  anything = np.where(
      rng.random(len(tokens)) < .5, pitches, rng.integers(0, 2, len(tokens)))
  return np.where(chosen, anything, tokens)


def stretch(tokens, rng):
  """Twice as slow, or twice as fast and then again."""
  half = len(tokens) // 2
  if rng.random() < .5:
    slow = np.zeros_like(tokens)
    slow[::2] = tokens[:half]
    return slow
  fast = np.maximum(tokens[::2], tokens[1::2])
  return np.concatenate([fast, fast])


def rotate(tokens, rng):
  """Another beginning, by sixteenths: other notes fall on the beat."""
  return np.roll(tokens, rng.integers(1, len(tokens)))


def invent(tokens, rng):
  """Nothing of the melody: a walk, or notes by chance, dense or sparse."""
  steps = len(tokens)
  low = rng.integers(FIRST_PITCH, NUM_TOKENS - 12)
  high = rng.integers(low, NUM_TOKENS)
  if rng.random() < .5:
    most = rng.choice([1, 2, 4, 7])
    pitches = rng.integers(low, high + 1) + np.cumsum(
        rng.integers(-most, most + 1, steps))
    pitches = np.clip(pitches, FIRST_PITCH, NUM_TOKENS - 1)
  else:
    pitches = rng.integers(low, high + 1, steps)
  grid = np.arange(steps) % rng.choice([1, 2, 4]) == 0
  is_note = grid & (rng.random(steps) < rng.random())
  rests = rng.random(steps) < rng.choice([0, .1, .5])
  return np.where(is_note, pitches, rests)


AUGMENTATIONS = (
    transpose, move_notes, bend_scale, snap_to_scale, gather, thin_out, shorten,
    fill_in, replace, stretch, rotate, invent)


def same_for_all_voices(
    function: Callable, tokens: np.ndarray, rng: np.random.Generator, *args
) -> np.ndarray:
  """Augments all voices in one way: `function(voice, rng, *args)` of each.

  Each draws the same numbers, so that voices are transposed together.

  Args:
    function: one of `AUGMENTATIONS`.
    tokens: int [steps, voices].
    rng: numpy Generator.
    *args: of the function.
  """
  before, voices = rng.bit_generator.state, []
  for voice in tokens.T:
    rng.bit_generator.state = before
    voices.append(function(voice, rng, *args))
  return np.stack(voices, axis=1)


def augment(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """One or several augmentations of int [steps, voices], one after another.

  Of two voices, each is made to both alike, or to one.
  """
  for i in rng.integers(len(AUGMENTATIONS), size=rng.choice([1, 1, 1, 2, 3])):
    num_voices = tokens.shape[1]
    chosen = slice(None)
    if num_voices > 1 and rng.random() < .5:
      chosen = [rng.integers(num_voices)]
    tokens = tokens.copy()
    tokens[:, chosen] = same_for_all_voices(
        AUGMENTATIONS[i], tokens[:, chosen], rng)
  return tokens.astype(np.int16)
