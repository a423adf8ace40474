"""Learns a prior over the latents of a corpus, once a MusicVAE is there.

  latents = read(vae, corpus, ...)      # posterior means of every segment
  train(PriorConfig(z_size=256), latents, run_dir, num_steps=20000)

What is learned from is `Latents`: posteriors of segments, VA and context of
each, and which segments follow each other in pieces.
"""

import dataclasses
import json
import os
import pathlib

import keras
import numpy as np
from keras import ops

from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import prior
from va_magenta.va_to_music.prior import LatentPrior, PriorConfig

BATCH_SIZE = 64
_LEARNING_RATE = 5e-4
_WARM_UP_STEPS = 200
# What ships is the mean of the weights over the last steps: about so many, and
# no more than a tenth of all.
_AVERAGED_STEPS = 333
_NUM_VALIDATION = 512
# Each validation sees the same noise.
_VALIDATION_SEED = 7


@dataclasses.dataclass(frozen=True)
class Latents:
  """What a MusicVAE makes of the segments of a corpus.

  Attributes:
    mu: float16 `[segments, z_size]`, of the posterior.
    sigma: float16 `[segments, z_size]`.
    va: float32 `[segments, 2]`.
    context: `[segments, context_depth]`, what else is known of each.
    whole: int, so many columns of the context, the first, are flags of the
      whole window: raised if one of its segments raises them.
    rows: dict of int `[windows, length]`, segments that follow each other, of
      the splits 'train' and 'validation'.
    shares: float `[windows]`, how often each of 'train' is drawn, of 1.
  """

  mu: np.ndarray
  sigma: np.ndarray
  va: np.ndarray
  context: np.ndarray
  whole: int
  rows: dict[str, np.ndarray]
  shares: np.ndarray

  def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Inputs of `LatentPrior.call` for rows of segments."""
    found = {
        name: getattr(self, name)[rows].astype(np.float32)
        for name in ('mu', 'sigma', 'va', 'context')}
    found['context'][..., :self.whole] = found['context'][
        ..., :self.whole].max(1, keepdims=True)
    found['weight'] = np.ones(rows.shape, np.float32)
    return found


class Batches(keras.utils.PyDataset):
  """Batches of windows, each a function of (seed, step)."""

  def __init__(self, latents: Latents, batch_size: int, seed: int,
               first_step: int, last_step: int):
    super().__init__()
    self.latents, self.batch_size, self.seed = latents, batch_size, seed
    self.first_step, self.last_step = first_step, last_step
    self.cumulative = np.cumsum(latents.shares)
    self.cumulative /= self.cumulative[-1]

  def __len__(self):
    return self.last_step - self.first_step

  def __getitem__(self, index):
    random = np.random.default_rng([self.seed, self.first_step + index])
    chosen = np.searchsorted(
        self.cumulative, random.random(self.batch_size), side='right')
    return (self.latents.gather(self.latents.rows['train'][chosen]),)


def train(
    config: PriorConfig, latents: Latents, run_dir: str | os.PathLike, *,
    num_steps: int, warm_start: str | os.PathLike | None = None, seed: int = 0,
    batch_size: int = BATCH_SIZE, log_every: int = 100,
    save_every_seconds: float = 300) -> dict[str, float]:
  """Trains a prior, or goes on with the run that `run_dir` holds.

  Afterwards `run_dir` holds `prior.json` and `prior.npz`, the mean of the
  weights over the last steps.

  Args:
    config: sizes of the prior.
    latents: what it learns from.
    run_dir: folder of the run.
    num_steps: steps in all.
    warm_start: folder of another prior to begin with.
    seed: of initial weights, order and noise.
    batch_size: windows a step.
    log_every: steps between TensorBoard's scalars.
    save_every_seconds: time between saves.

  Returns:
    'losses/flow' of the validation split: the mean squared error of the
    velocity, where 2 is that of a guess at the mean.

  Raises:
    ValueError: if there is nothing to learn from, or `run_dir` holds another
      run.
  """
  run_dir = pathlib.Path(run_dir).expanduser()
  if not len(latents.rows['train']):
    raise ValueError(
        f'the corpus has no {config.length} segments in a row in its train '
        'split')
  (run_dir / 'train').mkdir(parents=True, exist_ok=True)
  identity = json.loads(json.dumps({
      **dataclasses.asdict(config), 'seed': seed, 'batch_size': batch_size,
      # The learning rate falls towards the last step.
      'num_steps': num_steps,
      'warm_start': str(warm_start) if warm_start else None,
      'latents': training.digest(
          [latents.mu, latents.va, latents.context, latents.rows['train']])}))
  goes_on = training.check_origin(run_dir, identity)
  keras.utils.set_random_seed(seed)
  model = LatentPrior(config, seed=seed)
  if warm_start and not goes_on:
    prior.restore(model, warm_start)
  seen = np.unique(latents.rows['train'])
  model.set_statistics(latents.mu[seen], latents.sigma[seen])
  optimizer = keras.optimizers.Adam(
      keras.optimizers.schedules.CosineDecay(
          0.0, num_steps, alpha=0.01, warmup_target=_LEARNING_RATE,
          warmup_steps=min(_WARM_UP_STEPS, num_steps)),
      beta_2=0.99, global_clipnorm=1.0, use_ema=True,
      ema_momentum=1 - 1 / max(min(_AVERAGED_STEPS, num_steps // 10), 2))
  optimizer.build(model.trainable_variables)
  model.compile(optimizer, jit_compile=True)
  first_step = training.load_state(model, run_dir) if goes_on else 0
  training.check_steps(run_dir, first_step, num_steps)
  training.write_identity(run_dir, identity)
  validation = latents.rows['validation']
  validation = validation[np.linspace(
      0, len(validation) - 1, min(_NUM_VALIDATION, len(validation))
  ).astype(int)]
  if first_step < num_steps:
    progress = training.Progress(
        run_dir, first_step, num_steps,
        lambda: _with_mean_weights(model, lambda: prior.save(model, run_dir)),
        lambda: _with_mean_weights(
            model, lambda: evaluate(model, latents, validation)),
        log_every, save_every_seconds)
    model.fit(
        Batches(latents, batch_size, seed, first_step, num_steps),
        verbose=0, shuffle=False, callbacks=[progress])
    progress.save()
  figures = evaluate(prior.load(run_dir), latents, validation)
  training.write_report(run_dir, num_steps, figures)
  return figures


def _with_mean_weights(model: LatentPrior, use):
  """What `use` returns while the model has the mean of its weights."""
  variables = model.trainable_variables
  kept = [ops.convert_to_numpy(v) for v in variables]
  for variable, mean in zip(
      variables, model.optimizer._model_variables_moving_average, strict=True):
    variable.assign(mean)
  try:
    return use()
  finally:
    for variable, value in zip(variables, kept, strict=True):
      variable.assign(value)


def evaluate(
    model: LatentPrior, latents: Latents, rows: np.ndarray
) -> dict[str, float]:
  """'losses/flow', the mean squared error of windows' velocity.

  Args:
    model: the prior.
    latents: of segments.
    rows: int `[windows, length]`.
  """
  if not len(rows):
    return {}
  state = ops.convert_to_numpy(model.random.state)
  model.random.state.assign(
      ops.convert_to_numpy(keras.random.SeedGenerator(_VALIDATION_SEED).state))
  losses = [
      ops.convert_to_numpy(model(latents.gather(rows[i:i + BATCH_SIZE])))
      for i in range(0, len(rows), BATCH_SIZE)]
  model.random.state.assign(state)
  return {'losses/flow': float(np.concatenate(losses).mean())}
