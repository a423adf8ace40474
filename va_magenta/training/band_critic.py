"""Fits `music_to_va.band_critic` to what a symbolic student says of bands.

People's two bars, and what a band's MusicVAE makes of them when it is asked for
another VA, are played alike (piano, bass and drums, one tempo and loudness), so
that the student hears notes alone. The critic, which is differentiable, learns
its estimates, and between a pair what lies between their estimates: so the
slope from one token to another is that of the label.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import tqdm

from va_magenta import checkpoints
from va_magenta.figures import metrics
from va_magenta.music import band
from va_magenta.music_to_va import critic, symbolic, symbolic_features
from va_magenta.music_to_va.band_critic import BandCritic
from va_magenta.training import band_corpus, cards

TEMPO_QPM, VELOCITY = 120, 80
PROGRAMS = (0, 33, 0, 0)  # piano, electric bass, drums, piano
NUM_PAIRS, NUM_TEST = 3000, 500
_LEARNING_RATE = 2e-3
_WINDOW_BARS = 2
_BATCH_SIZE = 500  # Of what is made at once, for one guidance.


@dataclasses.dataclass(frozen=True)
class Pairs:
  """People's windows, and what was made of each.

  Attributes:
    tokens: int `[pairs, 2, steps, 4]`.
    chords: int `[pairs, 2, half bars]`.
    plays: bool `[pairs, 4]`.
    va: float `[pairs, 2, 2]`, the student's estimates.
  """

  tokens: np.ndarray
  chords: np.ndarray
  plays: np.ndarray
  va: np.ndarray


def features_of(tokens: np.ndarray, chords: np.ndarray) -> np.ndarray:
  """What a student reads of a band played plainly, float32 [features]."""
  return symbolic_features.extract(band.play(
      band.voice(tokens, chords), tempo_qpm=TEMPO_QPM, programs=PROGRAMS,
      velocities=(VELOCITY,) * len(band.VOICES)))


def partners(vae, tokens, chords, plays, va, seed: int) -> np.ndarray:
  """What a band's MusicVAE makes of windows when asked for others' VA.

  Args:
    vae: a `MusicVAE` of bands.
    tokens: int `[n, steps, 4]`.
    chords: int `[n, half bars]`.
    plays: bool `[n, 4]`.
    va: float `[n, 2]`.
    seed: of whose VA each is asked for, and of the draws.

  Returns:
    int16 `[n, steps, 4]`.
  """
  random = np.random.default_rng(seed)
  mu, sigma = vae.encode(tokens, band.controls(va, plays, chords))
  z = mu + sigma * random.normal(size=mu.shape)
  asked = np.stack([random.permutation(axis) for axis in va.T], axis=-1)
  return vae.sample(
      z, seed=seed, guidance=float(random.uniform(1, 4)),
      temperature=float(random.uniform(0.2, 1.2)),
      controls=band.controls(asked, plays, chords)).astype(np.int16)


def one_hot(tokens: np.ndarray) -> np.ndarray:
  """One-hots side by side, float32 `[..., 699]`, of int `[..., 4]`."""
  return np.concatenate([
      np.eye(depth, dtype=np.float32)[tokens[..., i]]
      for i, depth in enumerate(band.OUTPUT_DEPTHS)], axis=-1)


def batch_of(pairs: Pairs, size: int, random: np.random.Generator):
  """Inputs `[size, steps, 699]`, contexts and labels `[size, 2]`.

  Of a third of the batch each: people's, what was made of it, and mixtures.
  """
  rows = random.integers(len(pairs.tokens), size=size)
  kind = random.integers(3, size=size)
  share = np.where(kind == 2, random.random(size), kind).astype(np.float32)
  weights = np.stack([1 - share, share], axis=1)

  def mixed(values):
    extra = (None,) * (values.ndim - 2)
    return (values * weights[(..., *extra)]).sum(1).astype(np.float32)

  contexts = band.context(
      np.repeat(pairs.plays[rows, None], 2, axis=1), pairs.chords[rows])
  return mixed(one_hot(pairs.tokens[rows])), mixed(contexts), mixed(
      pairs.va[rows])


def train(pairs: Pairs, labels: np.ndarray, *, num_steps: int,
          batch_size: int = 64, seed: int = 0,
          report: Callable[[str], None] = print) -> BandCritic:
  """A critic of bands.

  Args:
    pairs: to learn from.
    labels: float `[n, 2]`, VA of the corpus, to whose mean and deviation
      people's windows are stretched.
    num_steps: batches.
    batch_size: windows in each.
    seed: of initial weights and batches.
    report: is told how the error falls.
  """
  keras.utils.set_random_seed(seed)
  random = np.random.default_rng(seed)
  mean, deviation = pairs.va[:, 0].mean(0), pairs.va[:, 0].std(0) + 1e-6
  model = BandCritic()
  fitted = Fitted(model)
  fitted.compile(keras.optimizers.AdamW(
      keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, num_steps),
      weight_decay=1e-4, global_clipnorm=1.0), loss='mse', jit_compile=False)
  errors = []
  for step in range(1, num_steps + 1):
    x, context, va = batch_of(pairs, batch_size, random)
    errors.append(float(
        fitted.train_on_batch((x, context), (va - mean) / deviation)))
    if step % 200 == 0 or step == num_steps:
      report(f'step {step} of {num_steps}: squared error '
             f'{np.mean(errors[-200:]):.3f} of the deviation')
  # The critic learned deviations from the mean.
  found = estimate(model, pairs.tokens[:, 0], pairs.chords[:, 0], pairs.plays)
  model.mean, spread = found.mean(0), found.std(0) + 1e-6
  model.center = labels.mean(0).astype(np.float32)
  model.slope = (labels.std(0) / spread).astype(np.float32)
  return model


class Fitted(keras.Model):
  """A critic as `train_on_batch` calls it: with one argument."""

  def __init__(self, critic):
    super().__init__()
    self.critic = critic

  def call(self, inputs):
    """`regress` of one-hots and contexts."""
    return self.critic.regress(*inputs)


def estimate(model, tokens, chords, plays, batch_size: int = 256) -> np.ndarray:
  """`model.regress` of windows, float32 `[n, 2]`."""
  return np.concatenate([
      np.asarray(keras.ops.convert_to_numpy(model.regress(
          one_hot(tokens[i:i + batch_size]),
          band.context(plays[i:i + batch_size], chords[i:i + batch_size]))))
      for i in range(0, len(tokens), batch_size)])


def agreement(model, pairs: Pairs) -> dict[str, float]:
  """Pearson's r with the student, of people's windows and of what was made."""
  figures = {}
  for i, what in enumerate(('people', 'made')):
    found = estimate(
        model, pairs.tokens[:, i], pairs.chords[:, i], pairs.plays)
    for axis, name in enumerate(('valence', 'arousal')):
      figures[f'{what}/{name}_r'] = metrics.pearson_r(
          pairs.va[:, i, axis], found[:, axis])
  return figures


def make_pairs(corpus, vae, estimate_va, count: int, held_out: bool,
               random: np.random.Generator) -> Pairs:
  """Windows of a corpus, and what a band's MusicVAE makes of each.

  Args:
    corpus: `band_corpus.Corpus`.
    vae: a `MusicVAE` of bands.
    estimate_va: of features `[n, features]`, VA `[n, 2]`.
    count: so many pairs, if there are as many windows.
    held_out: whether of pieces that are held out.
    random: the randomness.

  Raises:
    ValueError: if there is no window.
  """
  starts = random.permutation(
      corpus.windows(_WINDOW_BARS, _WINDOW_BARS, held_out))[:count]
  if not len(starts):
    raise ValueError(
        f'the corpus has no {_WINDOW_BARS} bars with a melody in pieces that '
        f'are {"" if held_out else "not "}held out')
  tokens, chords, va, plays = corpus.cut(starts, _WINDOW_BARS)
  va = np.nan_to_num(va[:, 0])
  made = []
  for i in range(0, len(starts), _BATCH_SIZE):
    rows = slice(i, i + _BATCH_SIZE)
    made.append(partners(
        vae, tokens[rows], chords[rows], plays[rows], va[rows],
        int(random.integers(2**31))))
  tokens = np.stack([tokens, np.concatenate(made)], axis=1)
  chords = np.stack([chords, chords], axis=1)
  features = np.stack([
      features_of(*window) for window in tqdm.tqdm(
          zip(tokens.reshape(-1, *tokens.shape[2:]),
              chords.reshape(-1, chords.shape[-1]), strict=True),
          total=2 * len(starts), desc='labelling', unit='window')])
  return Pairs(tokens, chords, plays, estimate_va(features).reshape(-1, 2, 2))


def run(
    *, band_path: pathlib.Path, run_dir: pathlib.Path, seed: int,
    num_steps: int, report: Callable[[str], None]):
  """Trains, measures and writes the critic with its card to `run_dir`.

  Args:
    band_path: of a corpus of bands.
    run_dir: is made if it is not there.
    seed: of everything random.
    num_steps: of training.
    report: takes a line of progress.

  Raises:
    OSError, ValueError: if a file is missing or is not what it should be.
  """
  from va_magenta.va_to_music import music_vae

  corpus = band_corpus.load(band_path)
  vae = music_vae.load(checkpoints.path('va-cat-band_2bar'))
  student = symbolic.load(checkpoints.path('symbolic_va') / 'generator')
  random = np.random.default_rng(seed)
  pairs, tests = (
      make_pairs(corpus, vae, student.regress, count, held_out, random)
      for count, held_out in ((NUM_PAIRS, False), (NUM_TEST, True)))
  labelled = corpus.va[(corpus.va != band_corpus.NO_LABEL).all(1)] / 100
  model = train(
      pairs, labelled, num_steps=num_steps, seed=seed, report=report)
  run_dir.mkdir(parents=True, exist_ok=True)
  critic.save(model, run_dir)
  cards.write(
      run_dir, 'band_critic', seed=seed, num_steps=num_steps,
      num_weights=f'{model.count_params():,}', num_pairs=len(pairs.tokens),
      num_test=len(tests.tokens), **{
          name.replace('/', '_'): f'{value:.3f}'
          for name, value in agreement(model, tests).items()})
  report(f'wrote {run_dir}')
