"""Looks for the latent vectors whose notes a critic finds nearest to a target.

Gradient descent through critic and decoder. Of a hierarchy the critic is given
segment by segment, each with its own target. What it is given is what will be
played, token by token, drawn with the same randomness at every step; only the
gradient is that of a relaxation (straight-through Gumbel-softmax, the decoder
fed the tokens that were drawn). A penalty keeps z as long as draws of the
prior are, where the decoder knows its way about.

A Keras model whose only weights are latent vectors is trained for this, so that
any backend will do.
"""

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music import va_losses
from va_magenta.va_to_music.music_vae import MusicVAE
from va_magenta.va_to_music.tensors import one_hot, split_outputs

NUM_STEPS = 40
_LEARNING_RATE = 0.1
_RELAXATION_TEMPERATURE = 1.0


class _Latents(keras.Model):
  """Latent vectors as weights, one-hots played from them -> their VA.

  Args:
    z: [n, z_size], where the search begins.
    estimate: (one-hots [n, steps, depth], z) -> VA [n, segments, 2],
      differentiable.
  """

  def __init__(self, z, estimate, **kwargs):
    super().__init__(**kwargs)
    self.z = self.add_weight(
        shape=z.shape, initializer=lambda *args, **kwargs: z, name='z')
    self.estimate = estimate
    self.built = True

  def call(self, x):
    return self.estimate(x, self.z)

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    del x, sample_weight, training
    # A sum: latent vectors are searched for side by side, not together.
    distance = ops.mean(va_losses.distance(y_pred, y), axis=-1)
    return ops.sum(distance + _norm_penalty(self.z))


def _norm_penalty(z):
  """How much longer or shorter than draws of N(0, I) z is, [n]."""
  length = ops.sqrt(ops.mean(ops.square(z), axis=-1) + 1e-12)
  return ops.square(length - 1.0)


def search(
    model: MusicVAE, critic, z: np.ndarray, targets: np.ndarray, *,
    temperature: float, seed: int, guidance: float = 1.0,
    num_steps: int = NUM_STEPS) -> np.ndarray:
  """The nearest pieces that were passed on the way.

  Args:
    model: decodes; one with controls is conditioned on the targets.
    critic: a Keras model, one-hots or probabilities `[n, steps, depth]` -> VA
      `[n, 2]`.
    z: `[n, z_size]`, where to begin.
    targets: `[n, segments, 2]`, VA; a flat model has one segment.
    temperature: see `MusicVAE.sample`.
    seed: likewise.
    guidance: likewise.
    num_steps: of the descent.

  Returns:
    Tokens, as of `MusicVAE.sample`. The critic finds none of them farther from
    its targets, on average over segments, than what is played from where the
    search began.
  """
  random = keras.random.SeedGenerator(seed)
  config = model.config
  z = np.asarray(z, np.float32)
  targets = np.asarray(targets, np.float32)
  options = {'temperature': temperature, 'seed': seed}
  controls = neutral = None
  if config.control_depth:
    options |= {'controls': targets, 'guidance': guidance}
    controls = model.broadcast_controls(ops.convert_to_tensor(targets))
    neutral = ops.zeros_like(controls)

  def judge(x):
    segments = ops.reshape(
        x, (-1, config.max_seq_len // targets.shape[1], config.depth))
    return ops.reshape(critic(segments), (-1, targets.shape[1], 2))

  def estimate(x, z):
    logits = model.decoder(x, z, controls)
    if guidance != 1 and controls is not None:
      unconditional = model.decoder(x, z, neutral)
      logits = unconditional + guidance * (logits - unconditional)
    return judge(ops.concatenate([
        va_losses.straight_through(
            one_hots, of_output, _RELAXATION_TEMPERATURE, random)
        for one_hots, of_output in zip(
            split_outputs(x, config.output_depths),
            split_outputs(logits, config.output_depths), strict=True)],
        axis=-1))

  latents = _Latents(z, estimate, name='latents')
  latents.compile(keras.optimizers.Adam(_LEARNING_RATE), jit_compile=False)
  best = np.full(len(z), np.inf)
  nearest = np.zeros(
      (len(z), config.max_seq_len, len(config.output_depths)), np.int32)
  for step in range(num_steps + 1):
    played = model.sample(ops.convert_to_numpy(latents.z), **options)
    x = one_hot(ops.convert_to_tensor(played), config.output_depths)
    distance = np.linalg.norm(
        ops.convert_to_numpy(judge(x)) - targets, axis=-1).mean(-1)
    nearer = distance < best
    best[nearer] = distance[nearer]
    nearest[nearer] = played[nearer]
    if step < num_steps:
      latents.train_on_batch(x, targets)
  return nearest
