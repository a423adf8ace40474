"""What the loss of a VA-conditioned MusicVAE is made of, term by term.

Each function takes tensors and returns the term of each example, or of the
batch where it is about the batch; `MusicVAE` weighs and sums them. `keras.ops`
only.
"""

import keras
from keras import ops

# A melody of fewer notes says nothing about how it feels.
MIN_NOTES = 3
# Widths of the kernel of `mmd`, in units of the distance of two draws of the
# prior: Tolstikhin et al.'s.
_MMD_WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def distance(va, target):
  """Euclidean distance of points on the VA plane, `[..., 2]` -> `[...]`."""
  # The gradient of a root at 0 is infinite.
  return ops.sqrt(ops.sum(ops.square(va - target), axis=-1) + 1e-12)


def kl_to_prior(mu, sigma):
  """KL divergence of posteriors from N(0, I), nats: `[batch, z_size]` each."""
  return ops.sum(
      0.5 * (ops.square(mu) + ops.square(sigma) - 1.0) - ops.log(sigma), -1)


def divergence(logits, reference):
  """KL divergence of sequences of tokens from a reference, in nats.

  Args:
    logits: `[batch, steps, tokens]`.
    reference: likewise; no gradient goes there.

  Returns:
    `[batch]`, summed over the steps.
  """
  log_p = ops.log_softmax(logits)
  log_q = ops.log_softmax(ops.stop_gradient(reference))
  return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=(1, 2))


def is_audible(melody):
  """Whether melodies have notes enough that something can be said of them.

  A critic learned from melodies that have, and finds that fewer notes make them
  calmer. Of the last few that is not true, and who left them out to be calm
  would, by gradients, never find the way back.

  Args:
    melody: one-hots `[..., steps, tokens]`, of which the first two hold a note
      and end it.

  Returns:
    1.0 or 0.0, `[...]`.
  """
  notes = ops.sum(melody[..., 2:], axis=(-2, -1))
  return ops.cast(notes >= MIN_NOTES, 'float32')


def straight_through(one_hots, logits, temperature, seed):
  """Tokens that were drawn, with the gradient of their Gumbel-softmax.

  The value is that of the draw, the gradient that of the relaxed draw with the
  same noise (Jang et al. 2017). The noise is drawn afterwards, given what came
  out: Paulus et al., "Rao-Blackwellizing the straight-through Gumbel-softmax
  gradient estimator" (2021), equation 12. So whoever drew need not have kept
  it.

  Args:
    one_hots: the tokens drawn from `logits`, `[..., tokens]`.
    logits: `[..., tokens]`.
    temperature: of the relaxation, > 0.
    seed: `keras.random.SeedGenerator`.

  Returns:
    `one_hots`, differentiable with respect to `logits`.
  """
  exponential = -ops.log(keras.random.uniform(
      ops.shape(logits), minval=1e-7, seed=seed))
  # The largest of all is the drawn one's; the others' lie below it.
  largest = ops.sum(exponential * one_hots, axis=-1, keepdims=True)
  others = exponential * (1 - one_hots) / (ops.softmax(logits) + 1e-20)
  perturbed = logits + ops.stop_gradient(-ops.log(others + largest) - logits)
  soft = ops.softmax(perturbed / temperature)
  return one_hots + soft - ops.stop_gradient(soft)


@ops.custom_gradient
def reverse_gradient(x):
  """x, through which gradients go back with their sign changed.

  Ganin et al., "Domain-adversarial training of neural networks" (2016): what
  stands behind it learns a task, and what stands before it learns to make that
  task impossible.
  """
  def grad(*args, upstream=None):
    return -(args[0] if upstream is None else upstream)

  return x + 0.0, grad


class Discriminator(keras.layers.Layer):
  """A network that tells z of pieces from draws of the prior.

  Args:
    z_size: depth of z.
    num_units: of its two hidden layers.
  """

  def __init__(self, z_size, num_units=128, **kwargs):
    super().__init__(**kwargs)
    self.layers = [
        keras.layers.Dense(n, activation)
        for n, activation in (
            (num_units, 'relu'), (num_units, 'relu'), (1, None))]
    for layer, depth in zip(
        self.layers, (z_size, num_units, num_units), strict=True):
      layer.build((None, depth))

  def call(self, z):
    """Logits `[batch]`, high for the prior, of z `[batch, z_size]`."""
    for layer in self.layers:
      z = layer(z)
    return z[:, 0]


def cross_correlation(z, va):
  """Squared correlations of z with VA over a batch, summed over VA's axes.

  For each axis, the mean over z's dimensions times the size of the batch: 1 is
  what independence gives, by chance.

  Args:
    z: `[batch, z_size]`.
    va: `[batch, 2]`.
  """
  def standardised(x):
    x = x - ops.mean(x, axis=0)
    return x / ops.sqrt(ops.mean(ops.square(x), axis=0) + 1e-6)

  n = ops.cast(ops.shape(z)[0], 'float32')
  correlation = ops.matmul(
      ops.transpose(standardised(z)), standardised(va)) / n
  return n * ops.sum(ops.mean(ops.square(correlation), axis=0))


def mmd(z, prior):
  """Maximum mean discrepancy of a batch of z from as many draws of the prior.

  Tolstikhin et al., "Wasserstein auto-encoders" (2018): the unbiased estimate,
  with inverse multiquadratic kernels C / (C + |x - y|^2), averaged over widths
  C around 2 z_size, the squared distance of two draws of the prior. It may be
  negative by chance.

  Args:
    z: `[batch, z_size]`.
    prior: likewise.
  """
  n = ops.cast(ops.shape(z)[0], 'float32')
  off_diagonal = 1 - ops.eye(ops.shape(z)[0])

  def kernel(x, y):
    squares = ops.sum(ops.square(x), -1)[:, None] + ops.sum(ops.square(y), -1)
    squared_distance = ops.relu(squares - 2 * ops.matmul(x, ops.transpose(y)))
    return sum(
        width * 2 * z.shape[1] / (width * 2 * z.shape[1] + squared_distance)
        for width in _MMD_WIDTHS) / len(_MMD_WIDTHS)

  within = ops.sum((kernel(z, z) + kernel(prior, prior)) * off_diagonal)
  return within / (n * (n - 1)) - 2 * ops.mean(kernel(z, prior))
