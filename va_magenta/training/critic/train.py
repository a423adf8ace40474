"""Trains the critic on pairs, and where its own gradient leads."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tqdm

from va_magenta import processes
from va_magenta.music.grid import NUM_TOKENS, STEPS_PER_BAR
from va_magenta.training.critic.pairs import WINDOW_BARS, Opinion, Pairs
from va_magenta.training.critic.voices import (
  features_of_many,
  frequency_of,
  one_hot,
)
from va_magenta.va import AXES

CERTAINTY = .9  # Of the tokens of a melody whose logits are moved.
# How likely a batch is of so many bars.
SHARES = {2: .6, 4: .1, 8: .15, 16: .15}
# Between two rounds of training so many melodies are led along the gradient,
# each way of each axis.
NUM_ASCENDED = 800
ASCENT_SIZE = 2.0, 8.0
STEPS_PER_BATCH = 128 * WINDOW_BARS * STEPS_PER_BAR
_LEARNING_RATE = 3e-3


def _gumbel_softmax(
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


def relax(
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
  other = _gumbel_softmax(
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
  x[::2] = relax(x[::2], frequency, rng)
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
    report: takes a line: the loss, the mean of both axes' squared errors.
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


def add_ascents(
    model, pairs: dict[int, Pairs], teacher: Opinion, pool: processes.Pool,
    rng: np.random.Generator) -> dict[int, Pairs]:
  """Adds pairs of 2 bars that the critic's own gradient has led to.

  Nothing else goes there, and there the critic errs.
  """
  known = pairs[WINDOW_BARS]
  rows = rng.permutation(len(known.tokens))[:NUM_ASCENDED]
  before = known.tokens[rows, 0]
  after = np.concatenate([
      gradient_ascent(model, before, axis, sign, int(rng.integers(2**32)),
            size=rng.uniform(*ASCENT_SIZE))
      for axis in range(len(AXES)) for sign in (1, -1)]).astype(np.int16)
  labels = teacher(features_of_many(after, pool, 'labelling moved melodies'))
  rows = np.tile(rows, len(after) // len(rows))
  added = Pairs(
      np.stack([known.tokens[rows, 0], after], axis=1), known.piece[rows],
      np.stack([known.va[rows, 0], labels], axis=1))
  return {**pairs, WINDOW_BARS: Pairs(*(
      np.concatenate([getattr(part, field.name) for part in (known, added)])
      for field in dataclasses.fields(Pairs)))}


def calibrated(model, scale, tokens: np.ndarray, spread: np.ndarray):
  """The same critic in other units.

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
        model, one_hot(np.stack([melodies[i] for i in rows.tolist()])))
  return points


def gradient_ascent(
    model, tokens: np.ndarray, axis: int, sign: int, seed: int,
    num_moves: int = 10, size: float = 4.0) -> np.ndarray:
  """Melodies moved along the critic's gradient, as a generator would.

  A decoder is made up that gives each token of a melody most of the probability
  and the rest to tokens as they are frequent; its logits are moved.

  Args:
    model: the critic.
    tokens: int [n, steps, voices].
    axis: 0 for valence, 1 for arousal.
    sign: 1 to raise it, -1 to lower it.
    seed: of the noise.
    num_moves: how often.
    size: of a move, Euclidean, in logits of a melody.

  Returns:
    The likeliest tokens afterwards, int [n, steps, voices].
  """
  by_voice = (*tokens.shape, NUM_TOKENS)
  sure = one_hot(tokens)
  noise = _gumbel_softmax(
      by_voice, frequency_of(tokens), 1, np.random.default_rng(seed))
  logits = np.log(
      CERTAINTY * sure + (1 - CERTAINTY) * noise.reshape(sure.shape) + 1e-6)
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
