"""Encoders of MusicVAE: pieces -> the posterior of z."""

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.lstm import LSTM


class Bidirectional(keras.layers.Layer):
  """Stacked bidirectional LSTMs.

  Args:
    depth: of the input.
    units: of each layer, in each direction.
    precision: see `MusicVAE`.
  """

  def __init__(self, depth, units, precision='float32', **kwargs):
    super().__init__(**kwargs)
    self.forward, self.backward = [], []
    for i, n in enumerate(units):
      self.forward.append(
          LSTM(depth, (n,), dtype=precision, name=f'forward_{i}'))
      self.backward.append(
          LSTM(depth, (n,), dtype=precision, name=f'backward_{i}'))
      depth = 2 * n
    self.output_depth = depth
    self.built = True

  def call(self, x):
    """`[batch, steps, depth]` -> both directions' last output, side by side."""
    return self._run(
        ops.shape(x)[0], lambda lstm: lstm.project(ops.transpose(x, (1, 0, 2))))

  def read(self, tokens, output_depths, controls=None):
    """As `call`, of one-hots side by side, and the controls beside them.

    Args:
      tokens: int `[batch, steps, outputs]`.
      output_depths: of the one-hots.
      controls: `[batch, steps, control_depth]`.
    """
    rows = np.cumsum([0, *output_depths]).tolist()
    tokens = ops.transpose(tokens, (1, 0, 2))

    def project(lstm):
      gates = lstm.biases[0] + sum(
          lstm.project_tokens(tokens[..., i], row)
          for i, row in enumerate(rows[:-1]))
      if controls is None:
        return gates
      return gates + lstm.multiply(
          ops.transpose(controls, (1, 0, 2)),
          lstm.kernels[0][rows[-1]:lstm.input_depths[0]])

    return self._run(ops.shape(tokens)[1], project)

  def _run(self, batch_size, project_input):
    """All layers, of which `project_input` gives the first their gates."""
    x = None
    for forward, backward in zip(self.forward, self.backward, strict=True):
      zero = forward.zero_state(batch_size)
      ahead, back = (
          lstm.run(
              project_input(lstm) if x is None else lstm.project(x), zero,
              reverse=lstm is backward)
          for lstm in (forward, backward))
      x = ops.concatenate([ahead, back], axis=-1)
    return ops.concatenate([ahead[-1], back[0]], axis=-1)


class BidirectionalEncoder(Bidirectional):
  """Stacked bidirectional LSTMs and the posterior's mean and deviation."""

  def __init__(self, depth, units, z_size, precision='float32', **kwargs):
    super().__init__(depth, units, precision, **kwargs)
    small = keras.initializers.RandomNormal(stddev=0.001)
    self.mu = keras.layers.Dense(z_size, kernel_initializer=small, name='mu')
    self.sigma = keras.layers.Dense(
        z_size, 'softplus', kernel_initializer=small, name='sigma')
    self.mu.build((None, self.output_depth))
    self.sigma.build((None, self.output_depth))

  def call(self, x):
    """The posterior of sequences float `[batch, steps, depth]`.

    Returns:
      mu, sigma, both `[batch, z_size]`.
    """
    return self._posterior(super().call(x))

  def read(self, *args, **kwargs):
    """The posterior of tokens; arguments are those of `Bidirectional.read`."""
    return self._posterior(super().read(*args, **kwargs))

  def _posterior(self, last):
    return self.mu(last), self.sigma(last)


class HierarchicalEncoder(keras.layers.Layer):
  """Reads each segment, and then what it made of them, in both directions.

  As Magenta's `HierarchicalLstmEncoder`, but that segments are passed on as
  embeddings of the depth of the conductor's: what goes up is what comes down.
  """

  def __init__(self, config: Config, precision='float32', **kwargs):
    super().__init__(**kwargs)
    self.num_segments = config.num_segments
    self.segments = Bidirectional(
        config.depth + config.control_depth, config.enc_rnn_size, precision,
        name='segments')
    depth = config.embedding_depth
    self.embedding = keras.layers.Dense(depth, name='embedding')
    self.embedding.build((None, self.segments.output_depth))
    self.above = BidirectionalEncoder(
        depth, (depth,), config.z_size, precision, name='above')
    self.built = True

  def read(self, tokens, output_depths, controls=None):
    """As `BidirectionalEncoder.read`."""
    tokens, controls = (
        x if x is None else ops.reshape(
            x, (-1, x.shape[1] // self.num_segments, x.shape[2]))
        for x in (tokens, controls))
    embeddings = self.embedding(
        self.segments.read(tokens, output_depths, controls))
    return self.above(ops.reshape(
        embeddings, (-1, self.num_segments, embeddings.shape[-1])))


def make_encoder(config: Config, precision='float32'):
  """The encoder of a config."""
  if config.hierarchical_encoder:
    return HierarchicalEncoder(config, precision, name='encoder')
  return BidirectionalEncoder(
      config.depth + config.control_depth, config.enc_rnn_size, config.z_size,
      precision, name='encoder')
