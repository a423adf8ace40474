"""Looks for the latent vectors whose notes a critic hears nearest to a target.

Gradient descent through critic and decoder. What is heard is what will be
played, token by token, drawn with the same randomness at every step; only the
gradient is that of a relaxation (straight-through Gumbel-softmax, the decoder
hearing the tokens that were drawn). A penalty keeps z as long as draws of the
prior are, where the decoder knows its way about.

A Keras model whose only weights are latent vectors is trained for this, so that
any backend will do.
"""

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music import va_losses
from va_magenta.va_to_music.music_vae import MusicVae

NUM_STEPS = 40
_LEARNING_RATE = 0.1
_RELAXATION_TEMPERATURE = 1.0


class _Latents(keras.Model):
  """Latent vectors as weights, one-hots played from them -> their VA.

  Args:
    z: [n, z_size], where the search begins.
    hear: (one-hots [n, steps, depth], z) -> VA [n, 2], differentiable.
  """

  def __init__(self, z, hear, **kwargs):
    super().__init__(**kwargs)
    self.z = self.add_weight(
        shape=z.shape, initializer=lambda *args, **kwargs: z, name='z')
    self.hear = hear
    self.built = True

  def call(self, x):
    return self.hear(x, self.z)

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    del x, sample_weight, training
    # A sum: latent vectors are searched for side by side, not together.
    return ops.sum(va_losses.distance(y_pred, y) + _off_prior(self.z))


def _off_prior(z):
  """How much longer or shorter than draws of N(0, I) z is, [n]."""
  length = ops.sqrt(ops.mean(ops.square(z), axis=-1) + 1e-12)
  return ops.square(length - 1.0)


def search(
    model: MusicVae, critic, z: np.ndarray, targets: np.ndarray, *,
    temperature: float, seed: int, controls: np.ndarray | None = None,
    guidance: float = 1.0, num_steps: int = NUM_STEPS) -> np.ndarray:
  """The nearest melodies that were passed on the way.

  Args:
    model: decodes.
    critic: a Keras model, one-hots or probabilities `[n, steps, depth]` -> VA
      `[n, 2]`.
    z: `[n, z_size]`, where to begin.
    targets: `[n, 2]`, VA.
    temperature: see `MusicVae.sample`.
    seed: likewise.
    controls: likewise, `[n, control_depth]`.
    guidance: likewise.
    num_steps: of the descent.

  Returns:
    Tokens int `[n, steps]`. The critic finds none of them farther from its
    target than what is played from where the search began.
  """
  random = keras.random.SeedGenerator(seed)
  z = np.asarray(z, np.float32)
  targets = np.asarray(targets, np.float32)
  options = {'temperature': temperature, 'seed': seed}
  asked = neutral = None
  if controls is not None:
    options |= {'controls': controls, 'guidance': guidance}
    asked = model.every_step(ops.convert_to_tensor(controls, 'float32'))
    neutral = ops.zeros_like(asked)

  def hear(x, z):
    logits = model.decoder(x, z, asked)
    if guidance != 1 and asked is not None:
      unasked = model.decoder(x, z, neutral)
      logits = unasked + guidance * (logits - unasked)
    return critic(va_losses.straight_through(
        x, logits, _RELAXATION_TEMPERATURE, random))

  latents = _Latents(z, hear, name='latents')
  latents.compile(keras.optimizers.Adam(_LEARNING_RATE), jit_compile=False)
  best = np.full(len(z), np.inf)
  tokens = np.zeros((len(z), model.config.max_seq_len), int)
  for step in range(num_steps + 1):
    played = model.sample(ops.convert_to_numpy(latents.z), **options)
    distance = np.linalg.norm(
        ops.convert_to_numpy(critic(played)) - targets, axis=-1)
    nearer = distance < best
    best[nearer] = distance[nearer]
    tokens[nearer] = played[nearer].argmax(-1)
    if step < num_steps:
      latents.train_on_batch(played, targets)
  return tokens
