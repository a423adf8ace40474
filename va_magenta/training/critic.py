"""Fits `critic` to what people feel in notes alone, and measures it.

People rated clips of EIMG. The top line of each, or its top and bottom lines,
played plainly (`notes_of`), keep their clip's rating, and so do excerpts: from
these a `Student` of `training.symbolic`, here the teacher, learns what notes
alone tell of VA. The teacher labels melodies of a corpus, or melodies with
their basses, and what chance makes of them; the critic, which is
differentiable, learns the labels.

What is called a melody here has one voice or two: int [steps, voices].

EIMG's groups are dealt into two halves. The teacher knows the half of the
student `generator`; people's ratings of the other, on which the student `judge`
was fitted, test what has been learned.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np
import tqdm

from va_magenta import checkpoints, files, processes
from va_magenta.figures import metrics
from va_magenta.music.notes import NOTE_DTYPE, read_midi
from va_magenta.music_to_va import symbolic, symbolic_features
from va_magenta.training import ratings
from va_magenta.training import symbolic as symbolic_training
from va_magenta.va import AXES, Scale

# Melodies, as Magenta's MusicVAE has them.
STEPS_PER_BEAT, STEPS_PER_BAR = 4, 16
NUM_TOKENS = 90
HOLD, NOTE_OFF, FIRST_PITCH = 0, 1, 2
LOWEST_PITCH = 21  # MIDI pitch of FIRST_PITCH.
# How a melody is played that is judged by its notes alone.
TEMPO_QPM = 120
VELOCITY = 80

TIMED_BATCH = 128
NUM_DRAWS = 200  # Of groups, for the spread of a figure.
NUM_CLIMBS = 100  # Melodies that are moved along the gradient.
CERTAINTY = .9  # Of a token that is there, before it is moved.

# Of a rated melody, so many excerpts of so many bars.
EXCERPTS = {2: 2, 4: 2, 8: 1}
# So many pairs of a melody and what was made of it, by the number of bars; and
# how likely a batch is of that length.
NUM_PAIRS = {2: 16_000, 4: 800, 8: 800, 16: 800}
SHARES = {2: .6, 4: .1, 8: .15, 16: .15}
NUM_TEST = {2: 1000, 16: 200}
# Training goes in rounds, each so large a share of the steps. Between two, so
# many melodies are led along the gradient, each way of each axis.
ROUNDS = .3, .2, .5
NUM_CLIMBED = 800
CLIMBED_SIZE = 2.0, 8.0
WINDOW_BARS = 2  # What the corpus consists of.
STEPS_PER_BATCH = 128 * WINDOW_BARS * STEPS_PER_BAR
_LEARNING_RATE = 3e-3
_TRANSPOSE = 6  # Semitones.

# From features [n, features] to points [n, 2].
Opinion = Callable[[np.ndarray], np.ndarray]


# Melodies.


def notes_of(tokens: np.ndarray) -> np.ndarray:
  """A melody played plainly: 120 qpm, velocity 80, piano.

  Args:
    tokens: int [steps, voices], one a sixteenth; 0 goes on, 1 ends a note,
      2..89 begin one of MIDI pitch 21..108.

  Returns:
    Array of `NOTE_DTYPE`, by start and then pitch; it may be
    empty.
  """
  voices = []
  for part, voice in enumerate(tokens.T):
    events = np.flatnonzero(voice != HOLD)
    starts = events[voice[events] >= FIRST_PITCH]
    ends = np.append(events, len(voice))[np.searchsorted(events, starts) + 1]
    notes = np.zeros(len(starts), NOTE_DTYPE)
    for edge, steps in (('start', starts), ('end', ends)):
      notes[f'{edge}_beats'] = steps / STEPS_PER_BEAT
      notes[f'{edge}_seconds'] = steps / STEPS_PER_BEAT * 60 / TEMPO_QPM
    notes['pitch'] = voice[starts].astype(int) - FIRST_PITCH + LOWEST_PITCH
    notes['velocity'] = VELOCITY
    notes['part'] = part
    voices.append(notes)
  notes = np.concatenate(voices)
  return notes[np.lexsort((notes['pitch'], notes['start_beats']))]


def tokens_of(*voices: np.ndarray) -> np.ndarray:
  """The tokens of voices on a grid of sixteenths, in whole bars.

  Args:
    *voices: arrays of NOTE_DTYPE, each of one voice on that grid; beat 0 is the
      first step.

  Returns:
    int16 [steps, voices].
  """
  last = np.rint(STEPS_PER_BEAT * max(
      voice['end_beats'].max(initial=0) for voice in voices)).astype(int)
  num_steps = -(-last // STEPS_PER_BAR) * STEPS_PER_BAR
  tokens = np.zeros((num_steps + 1, len(voices)), np.int16)
  for i, voice in enumerate(voices):
    start, end = (
        np.rint(voice[f'{edge}_beats'] * STEPS_PER_BEAT).astype(int)
        for edge in ('start', 'end'))
    tokens[end, i] = NOTE_OFF
    tokens[start, i] = np.clip(
        voice['pitch'] - LOWEST_PITCH + FIRST_PITCH, FIRST_PITCH,
        NUM_TOKENS - 1)
  return tokens[:num_steps]


def lines_of(notes: np.ndarray, num_voices: int) -> np.ndarray:
  """The tokens of a piece's top line, or of its top and its bottom line.

  Args:
    notes: array of NOTE_DTYPE, as `read_midi` gives it.
    num_voices: 1 or 2.

  Returns:
    int16 [steps, voices], from the first note of the top line on. Where one
    note is top and bottom, it is the top's.
  """
  top = symbolic_training.melody_rendering(notes)
  if num_voices == 1:
    return tokens_of(top)
  mirrored = notes.copy()
  mirrored['pitch'] = 127 - notes['pitch']
  mirrored = mirrored[
      np.lexsort((mirrored['pitch'], mirrored['start_seconds']))]
  bottom = symbolic_training.melody_rendering(mirrored)
  bottom['pitch'] = 127 - bottom['pitch']
  of_top = set(zip(top['start_beats'], top['pitch'], strict=True))
  return tokens_of(top, bottom[[
      note not in of_top
      for note in zip(bottom['start_beats'], bottom['pitch'], strict=True)]])


def features_of(tokens: np.ndarray) -> np.ndarray:
  """Symbolic features of a melody played plainly, float32 [features]."""
  return symbolic_features.extract(notes_of(tokens))


def features_of_many(
    melodies: Sequence[np.ndarray], pool: processes.Pool, what: str
) -> np.ndarray:
  """`features_of` each, float32 [n, features].

  Args:
    melodies: tokens, n times int [steps, voices].
    pool: of processes that extract them.
    what: what the progress bar says.
  """
  return np.stack(list(tqdm.tqdm(
      pool.map(features_of, melodies, chunksize=32), what, len(melodies),
      unit='melody', mininterval=2, leave=False)))


# What chance makes of melodies: each takes tokens, int [steps], and a numpy
# Generator, and gives other tokens.


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
  return np.where(out, rng.choice([HOLD, NOTE_OFF]), tokens)


def shorten(tokens, rng):
  """Some held steps become note-offs, or some note-offs are held."""
  chosen = rng.random(len(tokens)) < rng.random()
  old, new = rng.permutation([HOLD, NOTE_OFF])
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


CHANGES = (
    transpose, move_notes, bend_scale, snap_to_scale, gather, thin_out, shorten,
    fill_in, replace, stretch, rotate, invent)


def alike(
    function: Callable, tokens: np.ndarray, rng: np.random.Generator, *args
) -> np.ndarray:
  """Does one thing to all voices: `function(voice, rng, *args)` to each.

  Each draws the same numbers, so that voices are transposed together.

  Args:
    function: one of `CHANGES`.
    tokens: int [steps, voices].
    rng: numpy Generator.
    *args: of the function.
  """
  before, voices = rng.bit_generator.state, []
  for voice in tokens.T:
    rng.bit_generator.state = before
    voices.append(function(voice, rng, *args))
  return np.stack(voices, axis=1)


def change(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """One or several changes of int [steps, voices], one after the other.

  Of two voices, each change is made to both alike, or to one.
  """
  for i in rng.integers(len(CHANGES), size=rng.choice([1, 1, 1, 2, 3])):
    num_voices = tokens.shape[1]
    chosen = slice(None)
    if num_voices > 1 and rng.random() < .5:
      chosen = [rng.integers(num_voices)]
    tokens = tokens.copy()
    tokens[:, chosen] = alike(CHANGES[i], tokens[:, chosen], rng)
  return tokens.astype(np.int16)


# What people rated.


@dataclasses.dataclass(frozen=True)
class Rated:
  """Melodies that have their clips' ratings; lists and rows in one order.

  Attributes:
    melodies: tokens, each int16 [steps, voices].
    ratings: float64 [n, 2], valence and arousal in [-1, 1].
    groups: int [n]; clips of one group share material.
    is_whole: bool [n]; False for an excerpt.
  """

  melodies: list[np.ndarray]
  ratings: np.ndarray
  groups: np.ndarray
  is_whole: np.ndarray

  def __getitem__(self, rows: np.ndarray) -> 'Rated':
    return Rated(
        [self.melodies[i] for i in np.flatnonzero(rows)], self.ratings[rows],
        self.groups[rows], self.is_whole[rows])


def read_eimg(folder: pathlib.Path, num_voices: int, seed: int) -> Rated:
  """`lines_of` EIMG's clips (IEEE TMM 2023), and excerpts of these.

  Args:
    folder: holds labels.csv and midi/.
    num_voices: of each.
    seed: of the choice of excerpts.

  Raises:
    OSError, ValueError: if a file is missing or is not what it should be.
  """
  rng = np.random.default_rng(seed)
  rows = ratings.read_table(
      folder / 'labels.csv', ('file', 'valence', 'arousal', 'group'))
  melodies, clips = [], []
  for clip, row in enumerate(rows):
    whole = lines_of(
        read_midi(folder / 'midi' / row['file']), num_voices)
    cuts = [whole]
    for num_bars, most in EXCERPTS.items():
      num_starts = len(whole) // STEPS_PER_BAR - num_bars + 1
      for bar in rng.permutation(max(num_starts, 0))[:most]:
        cut = whole[STEPS_PER_BAR * bar:STEPS_PER_BAR * (bar + num_bars)]
        if np.count_nonzero(cut[:, 0] >= FIRST_PITCH) > 1:
          cuts.append(cut)
    melodies += cuts
    clips += [clip] * len(cuts)
  clips = np.array(clips)
  points = np.array([[float(row[axis]) for axis in AXES] for row in rows])
  return Rated(
      melodies, Scale.EIMG.to_plane(points)[clips],
      np.array([int(row['group']) for row in rows])[clips],
      np.diff(clips, prepend=-1) > 0)


# The teacher.


def teach(rated: Rated, features: np.ndarray, seed: int) -> Opinion:
  """A student of `training.symbolic` that reads melodies played plainly.

  Args:
    rated: n melodies.
    features: float32 [n, features], of these.
    seed: of what is random in it.

  Returns:
    From features [n, features] to expected ratings, float64 [n, 2].
  """
  student = symbolic_training.Student.fit(
      symbolic_training.Examples(
          features, rated.ratings, rated.groups,
          np.where(rated.is_whole, 'melody', 'melody excerpt')), seed)
  mean = rated.ratings.mean(axis=0)

  def opinion(features):
    is_silent = np.isnan(features).all(axis=1, keepdims=True)
    return np.where(is_silent, mean, student.regress(features))

  return opinion


# What the teacher labels.


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Melodies of one length, and what was made of each.

  Attributes:
    tokens: int16 [pairs, 2, steps, voices].
    piece: of the corpus, int [pairs].
    va: the teacher's labels, [pairs, 2, 2].
  """

  tokens: np.ndarray
  piece: np.ndarray
  va: np.ndarray


def draw(
    tokens: np.ndarray, piece: np.ndarray, num_windows: int, num: int,
    rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Melodies of several windows of one piece, one after the other.

  Args:
    tokens: int16 [n, steps, voices], windows.
    piece: int [n], the piece that a window was cut from, in order.
    num_windows: in each melody; they may repeat, as music does.
    num: of melodies; fewer if the corpus has not that many windows.
    rng: numpy Generator.

  Returns:
    int16 [num, num_windows * steps, voices], and of each its piece, int [num].
  """
  first = rng.permutation(len(tokens))[:num]
  start = np.searchsorted(piece, piece[first], 'left')
  end = np.searchsorted(piece, piece[first], 'right')
  others = rng.integers(
      start[:, None], end[:, None], (len(first), num_windows - 1))
  rows = np.concatenate([first[:, None], others], axis=1)
  return tokens[rows].reshape(len(rows), -1, tokens.shape[2]), piece[first]


def make_pairs(
    tokens: np.ndarray, piece: np.ndarray, num_pairs: dict[int, int],
    teacher: Opinion, pool, rng: np.random.Generator, most: int
) -> dict[int, Pairs]:
  """Labelled pairs by number of bars.

  Args:
    tokens: int16 [n, steps, voices], windows of the corpus.
    piece: int [n], the piece of each, in order.
    num_pairs: how many by number of bars.
    teacher: labels them.
    pool: `processes.Pool` in which features are computed.
    rng: numpy Generator.
    most: melodies are transposed by up to so many semitones.
  """
  drawn = {}
  for num_bars, num in num_pairs.items():
    melodies, pieces = draw(
        tokens, piece, num_bars // WINDOW_BARS, num, rng)
    before = [alike(transpose, melody, rng, most) for melody in melodies]
    after = [change(melody, rng) for melody in before]
    drawn[num_bars] = np.stack([before, after], axis=1), pieces
  made = {}
  for num_bars, (tokens, pieces) in drawn.items():
    features = features_of_many(
        tokens.reshape(-1, *tokens.shape[2:]), pool,
        f'labelling melodies of {num_bars} bars')
    made[num_bars] = Pairs(
        tokens, pieces, teacher(features).reshape(-1, 2, 2))
  return made


# Training.


def one_hot(tokens: np.ndarray) -> np.ndarray:
  """One-hots side by side, float32 [..., 90 voices], of int [..., voices]."""
  return np.eye(NUM_TOKENS, dtype=np.float32)[tokens].reshape(
      *tokens.shape[:-1], -1)


def frequency_of(tokens: np.ndarray) -> np.ndarray:
  """How often each token is among int [..., voices]; float32 [voices, 90].

  No token is never.
  """
  counts = np.stack([
      np.bincount(voice.ravel(), minlength=NUM_TOKENS) + 1
      for voice in np.moveaxis(tokens, -1, 0)])
  return (counts / counts.sum(axis=-1, keepdims=True)).astype(np.float32)


def _doubts(
    shape: tuple, frequency: np.ndarray, temperature, rng: np.random.Generator
) -> np.ndarray:
  """Gumbel-softmax of tokens by their frequency, float32 `shape`.

  Args:
    shape: (melodies, steps, voices, 90).
    frequency: [..., voices, 90].
    temperature: of each melody, or of all.
    rng: numpy Generator.
  """
  uniform = rng.random(shape, np.float32) * .9998 + 1e-4
  other = np.exp((np.log(frequency) - np.log(-np.log(uniform))) / temperature)
  return other / other.sum(axis=-1, keepdims=True)


def soften(
    x: np.ndarray, frequency: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
  """Makes a decoder's sure tokens unsure; the likeliest remains.

  Each step is mixed with a Gumbel-softmax at a temperature that a melody draws,
  from one other token to a bit of all, in which frequent tokens count for more,
  by how much a melody draws too.

  Args:
    x: one-hots or mixtures, float32 [n, steps, 90 voices].
    frequency: of each token, [voices, 90].
    rng: numpy Generator.
  """
  each = (len(x), 1, 1, 1)
  other = _doubts(
      (*x.shape[:2], *frequency.shape),
      frequency**rng.random(each, np.float32),
      np.exp(rng.uniform(-2, 1.5, each)).astype(np.float32), rng)
  share = .45 * rng.random(each[:3], np.float32) * rng.random(
      (*x.shape[:2], 1), np.float32)
  return x + share * (other.reshape(x.shape) - x)


def batch_of(
    pairs: Pairs, size: int, frequency: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
  """Inputs [size, steps, 90 voices] and labels [size, 2].

  A third are melodies, a third what was made of them. A third lie between the
  two, in tokens and in label, so that the slope from a token to another is that
  of the label. Half of all are softened.
  """
  rows = rng.integers(len(pairs.tokens), size=size)
  kind = rng.integers(3, size=size)
  between = np.where(kind == 2, rng.random(size), kind).astype(np.float32)
  weights = np.stack([1 - between, between], axis=1)
  x = sum(
      one_hot(pairs.tokens[rows, i]) * weights[:, i, None, None]
      for i in range(2))
  x[::2] = soften(x[::2], frequency, rng)
  return x, (pairs.va[rows] * weights[..., None]).sum(axis=1)


def train(
    model, pairs: dict[int, Pairs], scale: tuple[np.ndarray, np.ndarray],
    num_steps: int, rng: np.random.Generator, report: Callable[[str], None]):
  """Teaches a critic the teacher's labels, in `scale`.

  Args:
    model: the critic; its weights are changed.
    pairs: by number of bars.
    scale: mean and deviation of labels, each [2]: the critic learns labels less
      that mean, in that deviation.
    num_steps: batches.
    rng: numpy Generator.
    report: is told of the loss, the mean of both axes' squared errors.
  """
  import keras

  model.compile(
      keras.optimizers.AdamW(
          keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, num_steps),
          weight_decay=1e-4, global_clipnorm=1.0),
      loss='mse', jit_compile=False)  # Compiling takes as long as it saves.
  frequency = frequency_of(pairs[WINDOW_BARS].tokens)
  bars = list(pairs)
  shares = np.array([SHARES[num_bars] for num_bars in bars])
  losses = []
  for step in tqdm.trange(
      1, num_steps + 1, desc='training', unit='step', mininterval=2,
      leave=False):
    num_bars = bars[rng.choice(len(bars), p=shares / shares.sum())]
    x, va = batch_of(
        pairs[num_bars], STEPS_PER_BATCH // (num_bars * STEPS_PER_BAR),
        frequency, rng)
    losses.append(model.train_on_batch(x, (va - scale[0]) / scale[1]))
    if step % 500 == 0 or step == num_steps:
      report(f'step {step} of {num_steps}: loss {np.mean(losses[-500:]):.3f}')


def add_climbs(
    model, pairs: dict[int, Pairs], teacher: Opinion, pool: processes.Pool,
    rng: np.random.Generator) -> dict[int, Pairs]:
  """Pairs with more of 2 bars: melodies that the critic's gradient has led.

  Where that goes nothing else does, and there the critic errs.
  """
  known = pairs[WINDOW_BARS]
  rows = rng.permutation(len(known.tokens))[:NUM_CLIMBED]
  before = known.tokens[rows, 0]
  after = np.concatenate([
      climb(model, before, axis, sign, int(rng.integers(2**32)),
            size=rng.uniform(*CLIMBED_SIZE))
      for axis in range(len(AXES)) for sign in (1, -1)]).astype(np.int16)
  labels = teacher(features_of_many(after, pool, 'labelling climbed melodies'))
  rows = np.tile(rows, len(after) // len(rows))
  added = Pairs(
      np.stack([known.tokens[rows, 0], after], axis=1), known.piece[rows],
      np.stack([known.va[rows, 0], labels], axis=1))
  return {**pairs, WINDOW_BARS: Pairs(*(
      np.concatenate([getattr(part, field.name) for part in (known, added)])
      for field in dataclasses.fields(Pairs)))}


def calibrated(model, scale, tokens: np.ndarray, spread: np.ndarray):
  """A critic that says the same in other units.

  Args:
    model: as `train` leaves it.
    scale: as `train` takes.
    tokens: melodies, int [n, steps, voices], over which it shall find (0, 0)
      on average.
    spread: deviation that it shall find over these, [2].

  Returns:
    A critic whose `regress` is the expected rating.
  """
  from va_magenta.music_to_va import critic

  *weights, kernel, bias = model.get_weights()
  weights += [kernel * scale[1], bias * scale[1] + scale[0]]
  model.set_weights(weights)
  found = estimate(model, one_hot(tokens))
  result = critic.Critic(
      found.mean(axis=0), spread / found.std(axis=0), tokens.shape[-1])
  result.set_weights(weights)
  return result


def estimate(model, x: np.ndarray, batch_steps: int = 2**13) -> np.ndarray:
  """`model.regress` of many, float32 [n, 2]."""
  import keras

  size = max(1, batch_steps // x.shape[1])
  return np.concatenate([
      keras.ops.convert_to_numpy(model.regress(x[i:i + size]))
      for i in range(0, len(x), size)])


def estimate_each(model, melodies: Sequence[np.ndarray]) -> np.ndarray:
  """`model.regress` of melodies of any lengths, float32 [n, 2]."""
  lengths = np.array([len(melody) for melody in melodies])
  points = np.zeros((len(melodies), len(AXES)), np.float32)
  for length in np.unique(lengths):
    rows = np.flatnonzero(lengths == length)
    points[rows] = estimate(
        model, one_hot(np.stack([melodies[i] for i in rows])))
  return points


# Measuring.


def climb(
    model, tokens: np.ndarray, axis: int, sign: int, seed: int,
    num_moves: int = 10, size: float = 4.0) -> np.ndarray:
  """Melodies moved along the critic's gradient, as a generator would.

  A decoder is made up that is fairly sure of a melody, and whose doubts are
  spread as tokens are frequent; its logits are moved.

  Args:
    model: the critic.
    tokens: int [n, steps, voices].
    axis: 0 for valence, 1 for arousal.
    sign: 1 to raise it, -1 to lower it.
    seed: of the doubts.
    num_moves: how often.
    size: of a move, Euclidean, in logits of a melody.

  Returns:
    The likeliest tokens afterwards, int [n, steps, voices].
  """
  by_voice = (*tokens.shape, NUM_TOKENS)
  sure = one_hot(tokens)
  doubts = _doubts(
      by_voice, frequency_of(tokens), 1, np.random.default_rng(seed))
  logits = np.log(
      CERTAINTY * sure + (1 - CERTAINTY) * doubts.reshape(sure.shape) + 1e-6)
  direction = sign * np.eye(len(AXES), dtype=np.float32)[axis]
  move = _mover(model)
  for _ in range(num_moves):
    logits = move(logits, direction, np.float32(size))
  return np.argmax(np.reshape(logits, by_voice), axis=-1)


def _mover(model):
  """Moves logits by a gradient; compiled once for a critic."""
  import tensorflow as tf

  if not hasattr(model, 'move'):
    @tf.function
    def move(logits, direction, size):
      with tf.GradientTape() as tape:
        tape.watch(logits)
        by_voice = tf.reshape(
            logits, (*logits.shape[:2], model.num_voices, NUM_TOKENS))
        x = tf.reshape(tf.nn.softmax(by_voice), logits.shape)
        aim = tf.reduce_sum(model(x) * direction)
      gradient = tape.gradient(aim, logits)
      length = tf.norm(gradient, axis=(1, 2), keepdims=True)
      return logits + size * gradient / (length + 1e-9)

    model.move = move
  return lambda *arguments: model.move(*map(tf.convert_to_tensor, arguments))


def _agreement(labels: np.ndarray, estimates: np.ndarray) -> dict[str, float]:
  figures = metrics.evaluate(labels, estimates)
  return {
      f'{axis} {name}': figures[f'{axis}/{metric}'] for axis in AXES
      for name, metric in (('R2', 'r2'), ('r', 'pearson_r'))}


def spread_over(
    groups: np.ndarray, measure: Callable[[np.ndarray], dict[str, float]],
    seed: int) -> dict[str, str]:
  """Figures of all rows, and their deviation over draws of whole groups.

  Args:
    groups: int [n].
    measure: figures by name, of rows of the n.
    seed: of the draws (bootstrap).
  """
  rng = np.random.default_rng(seed)
  names = np.unique(groups)
  rows = [np.flatnonzero(groups == name) for name in names]
  drawn = [
      measure(np.concatenate([
          rows[i] for i in rng.integers(len(rows), size=len(rows))]))
      for _ in range(NUM_DRAWS)]
  return {
      name: f'{value:.3f} ± {np.std([d[name] for d in drawn], ddof=1):.3f}'
      for name, value in measure(np.arange(len(groups))).items()}


def _table(rows: dict[str, dict[str, str]]) -> str:
  """Markdown: a line a row, a column a figure."""
  names = next(iter(rows.values()))
  lines = ['| | ' + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|']
  lines += [
      f'| {row} | ' + ' | '.join(figures.values()) + ' |'
      for row, figures in rows.items()]
  return '\n'.join(lines)


def against_people(
    rated: Rated, estimates: dict[str, np.ndarray], seed: int) -> str:
  """A table: R2 and r of each reader, of whole melodies and excerpts."""
  kinds = {'whole': rated.is_whole, **{
      f'{num_bars} bars': ~rated.is_whole & np.array([
          len(melody) == num_bars * STEPS_PER_BAR for melody in rated.melodies])
      for num_bars in EXCERPTS}}
  return _table({
      f'{reader}, {kind}': spread_over(
          rated.groups[rows], lambda chosen, r=rated.ratings[rows],
          e=estimate[rows]: _agreement(r[chosen], e[chosen]), seed)
      for reader, estimate in estimates.items() for kind, rows in kinds.items()
      if rows.any()})


def against_teacher(model, pairs: dict[int, Pairs], seed: int) -> str:
  """A table: R2 and r on melodies of pieces that were not learned from."""
  rng = np.random.default_rng(seed)
  rows = {}
  for num_bars, of_length in pairs.items():
    for i, what in enumerate(('melodies', 'changed by chance')):
      x, labels = one_hot(of_length.tokens[:, i]), of_length.va[:, i]
      soft = soften(x, frequency_of(of_length.tokens), rng)
      for how, inputs in (('one-hot', x), ('softened', soft)):
        found = estimate(model, inputs)
        rows[f'{num_bars} bars, {what}, {how}'] = spread_over(
            of_length.piece, lambda chosen, a=labels, b=found: _agreement(
                a[chosen], b[chosen]), seed)
  return _table(rows)


def climbs(
    model, tokens: np.ndarray, readers: dict[str, Callable], seed: int) -> str:
  """A table: what readers say of melodies moved along the gradient.

  Args:
    model: the critic.
    tokens: int [n, steps, voices].
    readers: each from int [n, steps, voices] to points [n, 2].
    seed: as `climb` takes.
  """
  before = {name: reader(tokens) for name, reader in readers.items()}
  rows = {}
  for axis, axis_name in enumerate(AXES):
    for sign, sign_name in ((1, 'up'), (-1, 'down')):
      moved = climb(model, tokens, axis, sign, seed)
      figures = {'steps changed': f'{np.mean(moved != tokens):.2f}'}
      for name, reader in readers.items():
        change = reader(moved)[:, axis] - before[name][:, axis]
        figures[name] = (
            f'{change.mean():+.3f} ± {change.std(ddof=1):.3f}, '
            f'{np.mean(sign * change > 0):.0%}')
      rows[f'{axis_name} {sign_name}'] = figures
  return _table(rows)


def milliseconds(model, num_steps: int) -> float:
  """Processor time of an estimate and its gradient, for a batch."""
  import tensorflow as tf

  rng = np.random.default_rng(0)
  x = tf.constant(one_hot(rng.integers(
      NUM_TOKENS, size=(TIMED_BATCH, num_steps, model.num_voices))))

  @tf.function
  def gradient(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      total = tf.reduce_sum(model(x))
    return tape.gradient(total, x)

  times = []
  for _ in range(8):
    start = time.process_time()
    gradient(x)
    times.append(time.process_time() - start)
  return 1000 * float(np.median(times))


# The job.

_CARD = '''# The critic: valence and arousal of what a {decoder} decoder emits

A small network ({num_weights} weights), differentiable in its input;
`va_magenta.music_to_va.critic.load()` reads it. It is for training a
generator with, not for judging one: `symbolic_va` is better at that, and has a
part (`judge`) that this critic never saw.

- It reads {reads}.
- It knows notes only. All melodies are played at 120 qpm, velocity 80, on a
  piano: what tempo, loudness and instrument add is not its business.
- `critic.regress(x)` is the expected rating in [-1, 1]. `critic(x)` is
  (regress(x) - mean) * slope of each axis, neither clipped, with `mean` and
  `slope` in `config.json`: over the melodies of 2 bars that it was trained on
  its mean is 0 and its deviation that of people's ratings of EIMG's clips
  ({rated_spread}).

Made by

    va_magenta_train_midi --model={name} --eimg_dir=EIMG \\
      --examples_path=MIDI --cache_dir=EXAMPLES \\
      --run_dir=checkpoints/{name}_va --seed={seed} --num_steps={num_steps}

## What taught it

- People: EIMG (MIDI clips of about 15 s, piano, each rated by six people; IEEE
  TMM 2023; no licence stated, research use). The {lines} of each
  clip on a grid of sixteenths, played plainly, and excerpts of 2, 4 and 8 bars,
  keep the rating of the clip.
- The teacher: trees and a kernel as the student's (`training.symbolic`), on the
  features of those melodies, of the half of EIMG's groups that the student
  `symbolic_va/generator` was fitted to. It is in this file only as a column.
- The corpus: {corpus},
  cut from MIDI files of the open web in the layout of the Lakh MIDI Dataset
  (copyrighted works, Nottingham, POP909 and others; none is in this folder).
  Labelled by the teacher, transposed by up to {transpose} semitones, each with
  a partner made of it by chance (notes moved, left out, added, another scale,
  another rhythm, or nothing of it kept{both}).
  Longer melodies are windows of one piece in a row. Pairs:
  {num_pairs}.
- Training went in {num_rounds} rounds. Between them melodies were led along the
  gradient of the critic as it was then, and labelled: {num_climbed} of the
  pairs of 2 bars. So it is right where an optimiser would lead it.
- Inputs were one-hot, mixtures of a melody and its partner with the label
  between theirs, and softened: mixed with a Gumbel-softmax of random
  temperature. So the slope from one token to another is that of the label.

## Against people

EIMG's other half: {num_groups} groups that neither the teacher nor the student
`generator` saw. All read the melody played plainly; `student` is that of whole
pieces, `symbolic_va/generator`. None is calibrated. Figure ± standard
deviation over draws of groups (bootstrap).

{people}

![critic against teacher and people](held_out.png)

## Against the teacher

Melodies of {num_test} pieces of the corpus' test split, ± standard deviation
over draws of pieces. `softened`: the label is that of the likeliest tokens.

{teacher}

## Spread

What `critic(x)` says of the same melodies, valence / arousal:

{spread}

## Along the gradient

{num_climbs} melodies of 2 bars of the test split, as a decoder would emit them
that is sure of each token by .9 and doubts it as tokens are frequent, were
moved ten steps of a fixed size along the gradient of `critic(x)` with respect
to the logits, and the likeliest tokens taken. Change of the expected rating of
the result, mean ± standard deviation over melodies, and the share of melodies
that moved the asked way, by the teacher and by the student
`symbolic_va/judge`, fitted to the other half of EIMG:

{climbs}

## Speed

An estimate and its gradient for a batch of {batch}, processor time where this
was made: {speed} ms for 2 bars, {speed_long} ms for 16 bars.
'''


# What critics of one and of two voices read.
_LINES = {1: 'top line', 2: 'top and bottom lines'}
_TEXTS = {
    1: {
        'name': 'critic',
        'decoder': 'melody',
        'reads': "the first 90 of each step's depth: the melody, in all configs"
                 ' of\n  MusicVAE. Bass and drums of a trio are not read',
        'corpus': "melodies of Magenta's converter for `cat-mel_2bar_small`",
        'both': '',
    },
    2: {
        'name': 'trio_critic',
        'decoder': 'trio',
        'reads': "the first 180 of each step's depth: melody and bass of a "
                 'trio. Drums\n  are not read',
        'corpus': "melodies and basses of Magenta's converter for "
                  '`hierdec-trio_16bar`',
        'both': ', of one voice or of both',
    },
}


def _numbers(values: np.ndarray) -> str:
  return ' / '.join(f'{value:.2f}' for value in values)


def _spread(model, pairs: dict[int, Pairs]) -> str:
  """A table: mean and deviation of what the critic finds, valence / arousal."""
  rows = {}
  for num_bars, of_length in pairs.items():
    for i, what in enumerate(('melodies', 'changed by chance')):
      points = model.slope * (
          estimate(model, one_hot(of_length.tokens[:, i])) - model.mean)
      rows[f'{num_bars} bars, {what}'] = {
          'mean': _numbers(points.mean(axis=0)),
          'deviation': _numbers(points.std(axis=0)),
          'outside [-1, 1]': f'{np.mean(np.abs(points) > 1):.1%}'}
  return _table(rows)


def _plot(path: pathlib.Path, panels: dict[str, tuple], names: Sequence[str]):
  """Estimates over labels, a row a panel and a column an axis.

  Args:
    path: of the PNG.
    panels: labels [n, 2] and estimates [n, 2] by the labels' name.
    names: of the columns.
  """
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 8.4), layout='constrained')
  axes = figure.subplots(len(panels), len(names))
  for row, (label_name, (labels, estimates)) in zip(
      axes, panels.items(), strict=True):
    for i, (panel, name) in enumerate(zip(row, names, strict=True)):
      panel.scatter(
          labels[:, i], estimates[:, i], s=6, alpha=.35, linewidths=0,
          color='#00798c')
      ends = [labels[:, i].min(), labels[:, i].max()]
      panel.plot(ends, ends, color='#8d90a5', linewidth=.8)
      panel.set(xlabel=label_name, ylabel='critic', title=name)
  with files.writing(path) as temporary:
    figure.savefig(temporary, dpi=100, format='png')


def run(
    *, melodies, eimg_dir: pathlib.Path, run_dir: pathlib.Path, seed: int,
    num_steps: int, report: Callable[[str], None]):
  """Trains, measures and writes the critic with its card to `run_dir`.

  Args:
    melodies: a corpus: `tokens`, int16 [n, 32, voices], of the voices that the
      critic shall read, the `piece` of each, int [n] in order, and
      `of_split(name)`, bool [n].
    eimg_dir: EIMG: labels.csv and midi/.
    run_dir: is made if it is not there.
    seed: of everything random.
    num_steps: of training.
    report: is told how it goes.

  Raises:
    OSError, ValueError: if a file is missing or is not what it should be, or a
      split of the corpus is empty.
  """
  import keras

  from va_magenta.music_to_va import critic

  generator, judge = (
      checkpoints.path('symbolic_va') / name for name in ('generator', 'judge'))
  student = symbolic.load(generator)
  groups = json.loads((generator / 'config.json').read_text())['groups']
  splits = {}
  for split in ('train', 'test'):
    rows = melodies.of_split(split)
    if not rows.any():
      raise ValueError(f'the corpus has no melody in its {split} split')
    splits[split] = melodies.tokens[rows], melodies.piece[rows]
  num_voices = melodies.tokens.shape[-1]
  rng = np.random.default_rng(seed)
  with (
      processes.told_if_killed('read melodies'),
      processes.Pool(None, os.nice, 10) as pool,
  ):
    rated = read_eimg(eimg_dir, num_voices, seed)
    features = features_of_many(rated.melodies, pool, 'reading EIMG')
    report(f'the {_LINES[num_voices]} of {rated.is_whole.sum()} clips of EIMG, '
           f'{np.sum(~rated.is_whole)} excerpts of these')
    is_known = np.isin(rated.groups, groups)
    teacher = teach(rated[is_known], features[is_known], seed)
    pairs = make_pairs(
        *splits['train'], NUM_PAIRS, teacher, pool, rng, _TRANSPOSE)
    tests = make_pairs(*splits['test'], NUM_TEST, teacher, pool, rng, 0)

    keras.utils.set_random_seed(seed)
    windows = pairs[WINDOW_BARS]
    num_made = len(windows.piece)
    scale = windows.va[:, 0].mean(axis=0), windows.va[:, 0].std(axis=0)
    model = critic.Critic(num_voices=num_voices)
    for i, share in enumerate(ROUNDS):
      if i:
        pairs = add_climbs(model, pairs, teacher, pool, rng)
      train(model, pairs, scale, max(1, int(share * num_steps)), rng, report)
    model = calibrated(
        model, scale, windows.tokens[:, 0],
        rated.ratings[rated.is_whole].std(axis=0))
    run_dir.mkdir(parents=True, exist_ok=True)
    critic.save(model, run_dir)
    model = critic.load(run_dir)  # As float16 has left it.
    report(f'wrote {run_dir}; measuring')

    def reader(predict):
      return lambda tokens: predict(
          features_of_many(tokens, pool, 'judging'))

    others = rated[~is_known]
    judged = features[~is_known]
    estimates = {
        'student': student.regress(judged),
        'teacher': teacher(judged),
        'critic': estimate_each(model, others.melodies),
    }
    windows = tests[WINDOW_BARS]
    card = _CARD.format(
        **_TEXTS[num_voices], lines=_LINES[num_voices],
        seed=seed, num_steps=num_steps,
        num_weights=f'{model.count_params():,}',
        num_pairs=', '.join(
            f'{len(p.tokens):,} of {n} bars' for n, p in pairs.items()),
        num_rounds=len(ROUNDS),
        num_climbed=f'{len(pairs[WINDOW_BARS].piece) - num_made:,}',
        num_groups=len(set(others.groups.tolist())),
        num_test=len(np.unique(windows.piece)),
        people=against_people(others, estimates, seed),
        teacher=against_teacher(model, tests, seed),
        climbs=climbs(
            model, windows.tokens[:NUM_CLIMBS, 0],
            {'teacher': reader(teacher),
             'judge': reader(symbolic.load(judge).regress)}, seed),
        spread=_spread(model, tests),
        transpose=_TRANSPOSE, num_climbs=len(windows.tokens[:NUM_CLIMBS]),
        rated_spread=_numbers(rated.ratings[rated.is_whole].std(axis=0)),
        batch=TIMED_BATCH,
        speed=f'{milliseconds(model, 32):.0f}',
        speed_long=f'{milliseconds(model, 256):.0f}')
  _plot(run_dir / 'held_out.png', {
      'teacher, melodies of 2 bars': (
          windows.va[:, 0], estimate(model, one_hot(windows.tokens[:, 0]))),
      f'people, {_LINES[num_voices]}': (
          others.ratings[others.is_whole],
          estimates['critic'][others.is_whole]),
  }, AXES)
  with files.writing(run_dir / 'README.md') as temporary:
    temporary.write_text(card)
  report(f'wrote {run_dir}')
