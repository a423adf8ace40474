"""Where z comes from: a learned prior over the latents of a piece, given VA.

A MusicVAE whose z holds 150 to 200 bits does not live at N(0, 1): decoded from
there, it plays noise. This prior learns where it lives, for all segments of a
piece together: a flow from noise to sequences of latents (flow matching: Lipman
et al. 2023; Mittal et al., "Symbolic music generation with diffusion models",
2021, did likewise by diffusion), with classifier-free guidance (Ho & Salimans
2022).

It is learned on posterior means, which are sharper than samples. A flow's time
runs from 0, a latent, to 1, noise; the transformer says which way noise lies.

Pieces may be shorter or longer than what was learned from: of longer ones
windows that overlap by half are moved together, each position by the mean of
its windows (Bar-Tal et al., "MultiDiffusion", 2023). Segments of the same
letter in a form begin as the same noise and move together, so that they come
out alike.
"""

import dataclasses
import os

import keras
import numpy as np
from keras import ops

from va_magenta import checkpoints
from va_magenta.va_to_music.tensors import compiled_sampler
from va_magenta.va_to_music.transformer import Transformer

# Of the flow's time in training: the logistic of a normal of this deviation,
# which visits the middle most often (Esser et al. 2024).
_TIME_DEVIATION = 1.2
# Of each posterior's sigma, in training: a little of it makes a few windows
# more.
_POSTERIOR_NOISE = 0.25
# Deviations of the noise at temperature 0, and what it has more at 1.
_LEAST_NOISE, _NOISE = 0.65, 0.4


@dataclasses.dataclass(frozen=True)
class PriorConfig:
  """Sizes of a prior.

  Attributes:
    z_size: of each segment's latent.
    context_depth: of what is known of each segment beside its VA: who plays,
      chords. 0 for nothing.
    length: segments of a window.
    width: of the transformer.
    num_blocks: likewise.
    num_heads: likewise.
    dropout: in training.
    va_dropout: share of examples that training shows without their VA.
  """

  z_size: int
  context_depth: int = 0
  length: int = 8
  width: int = 256
  num_blocks: int = 6
  num_heads: int = 8
  dropout: float = 0.05
  va_dropout: float = 0.15


class LatentPrior(keras.Model):
  """p(latents of a piece's segments | VA of each, context of each).

  Args:
    config: its sizes.
    seed: of the training's randomness.
  """

  def __init__(self, config: PriorConfig, seed: int = 0, **kwargs):
    super().__init__(**kwargs)
    self.config = config
    self.random = keras.random.SeedGenerator(seed)
    self.net = Transformer(
        config.z_size, 3 + config.context_depth, config.width,
        config.num_blocks, config.num_heads, config.length, config.dropout,
        name='net')
    self.mean = self.add_weight(
        shape=(config.z_size,), trainable=False, name='mean',
        initializer='zeros')
    self.std = self.add_weight(
        shape=(config.z_size,), trainable=False, name='std',
        initializer='ones')
    self.loss_tracker = keras.metrics.Mean(name='loss')
    self._velocity = None
    self.built = True

  def set_statistics(self, mu: np.ndarray, sigma: np.ndarray):
    """Takes the latents' mean and deviation, of which the flow sees units.

    Args:
      mu: posterior means, `[..., z_size]`.
      sigma: their deviations.
    """
    mu, sigma = (
        np.asarray(x, np.float32).reshape(-1, self.config.z_size)
        for x in (mu, sigma))
    self.mean.assign(mu.mean(0))
    self.std.assign(np.sqrt(mu.var(0) + (sigma ** 2).mean(0)))

  # --- Training.

  def call(self, inputs, training=False):
    """The error of the velocity at a random time of each example.

    Args:
      inputs: dict of 'mu' and 'sigma' `[batch, segments, z_size]`, 'va'
        `[batch, segments, 2]`, 'context' `[batch, segments, context_depth]`,
        and 'weight' `[batch, segments]`, 0 where a piece has no such segment.
      training: whether VA and blocks are dropped.

    Returns:
      `[batch]`, the mean squared error.
    """
    mu, sigma, weight = inputs['mu'], inputs['sigma'], inputs['weight']
    batch = ops.shape(mu)[0]
    noise = keras.random.normal(ops.shape(mu), seed=self.random)
    z = (mu + _POSTERIOR_NOISE * sigma * noise - self.mean) / self.std
    given = ops.ones((batch, 1, 1))
    if training:
      given = ops.cast(keras.random.uniform(
          (batch, 1, 1), seed=self.random) >= self.config.va_dropout, 'float32')
    time = ops.sigmoid(_TIME_DEVIATION * keras.random.normal(
        (batch,), seed=self.random))
    noise = keras.random.normal(ops.shape(mu), seed=self.random)
    t = time[:, None, None]
    velocity = self.net(
        (1 - t) * z + t * noise,
        condition(inputs['va'], given, inputs['context']), time,
        training=training)
    error = ops.mean(ops.square(velocity - (noise - z)), axis=-1)
    return ops.sum(error * weight, axis=1) / ops.sum(weight, axis=1)

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    """The mean squared error of the velocity."""
    del x, y, sample_weight, training
    loss = ops.mean(y_pred)
    self.loss_tracker.update_state(loss)
    return loss

  # --- Use.

  def sample(self, va, *, noise: np.ndarray, context=None,
             guidance: float = 1.0, temperature: float = 0.5,
             num_steps: int = 16, form: str | None = None) -> np.ndarray:
    """Draws latents: follows the flow from noise.

    Args:
      va: float `[n, segments, 2]`, in [-1, 1].
      noise: float `[n, segments, z_size]`, the randomness.
      context: float `[n, segments, context_depth]`, or None if its depth is 0.
      guidance: how clearly VA is followed: 1 as was learned, 0 not at all;
        above 1, more.
      temperature: of the draw. The noise is shrunk by it, which brings leaps
        and notes out of key to what people write.
      num_steps: of the flow.
      form: a letter for each segment. Those of the same letter begin as the
        same noise; where VA and context are the same too, they come out the
        same.

    Returns:
      float32 `[n, segments, z_size]`.

    Raises:
      ValueError: if the shapes do not fit.
    """
    va, noise = np.asarray(va, np.float32), np.asarray(noise, np.float32)
    n, length = va.shape[:2]
    if context is None:
      context = np.zeros((n, length, 0))
    context = np.asarray(context, np.float32)
    depths = (va.shape[-1], noise.shape[-1], context.shape[-1])
    expected = (2, self.config.z_size, self.config.context_depth)
    if depths != expected or not (
        va.shape[:2] == noise.shape[:2] == context.shape[:2]):
      raise ValueError(
          f'va, noise and context must be [n, segments, {expected}], got '
          f'{[x.shape for x in (va, noise, context)]}')
    if self._velocity is None:
      self._velocity = compiled_sampler(self._guided_velocity)
    first = _first(form, length)
    same = _same(np.concatenate([va, context], axis=-1), first)
    x = noise[:, first] * np.float32(_LEAST_NOISE + _NOISE * temperature)
    windows = _windows(length, self.config.length)
    times = np.linspace(1, 0, num_steps + 1).astype(np.float32)
    for time, step in zip(times[:-1], np.diff(times), strict=True):
      velocity = np.zeros_like(x)
      for at in windows:
        velocity[:, at] += ops.convert_to_numpy(self._velocity(
            x[:, at], va[:, at], context[:, at], time, np.float32(guidance)))
      velocity /= np.sum(
          [np.isin(np.arange(length), at) for at in windows], axis=0
      )[None, :, None]
      x = x + step * np.einsum('nst,ntz->nsz', same, velocity)
    return x * ops.convert_to_numpy(self.std) + ops.convert_to_numpy(self.mean)

  def _guided_velocity(self, x, va, context, time, guidance):
    """The velocity with VA, and as far again from that without."""
    n = ops.shape(x)[0]
    given = ops.concatenate([ops.ones((n, 1, 1)), ops.zeros((n, 1, 1))])
    twice = [ops.concatenate([t, t]) for t in (x, va, context)]
    velocity = self.net(
        twice[0], condition(twice[1], given, twice[2]),
        ops.broadcast_to(time, (2 * n,)))
    conditional, unconditional = ops.split(velocity, 2)
    return unconditional + guidance * (conditional - unconditional)


def condition(va, given, context):
  """VA (where given), whether it is, and context, side by side."""
  ones = ops.ones_like(va[..., :1])
  return ops.concatenate([va * given, ones * given, context], axis=-1)


def _windows(length: int, longest: int) -> list[np.ndarray]:
  """Positions of windows that cover a piece, overlapping by half."""
  starts = list(range(0, max(length - longest, 0), max(longest // 2, 1)))
  starts.append(max(length - longest, 0))
  return [np.arange(s, min(s + longest, length)) for s in starts]


def _first(form: str | None, length: int) -> np.ndarray:
  """Where each segment's letter stands first, int `[segments]`."""
  if form is None:
    return np.arange(length)
  if len(form) != length:
    raise ValueError(
        f'the form {form} has {len(form)} letters for {length} segments')
  return np.array([form.index(letter) for letter in form])


def _same(known, first) -> np.ndarray:
  """Averages over segments that come out the same, `[n, segments, segments]`.

  Args:
    known: of each segment, `[n, segments, depth]`.
    first: see `_first`.
  """
  same = (first[:, None] == first) & (
      known[:, :, None] == known[:, None]).all(-1)
  return (same / same.sum(-1, keepdims=True)).astype(np.float32)


def save(model: LatentPrior, folder: str | os.PathLike):
  """Writes a prior to a checkpoint's folder, rounded."""
  checkpoints.write(
      folder, checkpoints.PRIOR, dataclasses.asdict(model.config), {
          name: checkpoints.rounded(ops.convert_to_numpy(v))
          for name, v in _variables(model).items()})


def load(folder: str | os.PathLike) -> LatentPrior:
  """The prior of a checkpoint.

  Args:
    folder: what `save` filled.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is damaged.
  """
  return checkpoints.load(folder, checkpoints.PRIOR, _build)


def restore(model: LatentPrior, folder: str | os.PathLike):
  """Gives a prior the weights of another of its size, as far as they go.

  What that one does not know of the context begins with no influence.
  """
  _, arrays = checkpoints.open(folder, checkpoints.PRIOR)
  _fill(model, arrays)


def _build(config, arrays) -> LatentPrior:
  model = LatentPrior(PriorConfig(**config))
  _fill(model, arrays)
  return model


def _fill(model, arrays):
  for name, variable in _variables(model).items():
    array = arrays[name].astype(np.float32)
    if name == 'cond/kernel' and len(array) < variable.shape[0]:
      array = np.pad(array, ((0, variable.shape[0] - len(array)), (0, 0)))
    variable.assign(array)


def _variables(model) -> dict:
  """A prior's variables by name."""
  return {'mean': model.mean, 'std': model.std, **model.net.named_variables()}
