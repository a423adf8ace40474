"""Decoders of MusicVAE: z and controls -> tokens, flat or below a conductor."""

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.lstm import LSTM
from va_magenta.va_to_music.tensors import (
  shift,
  split_outputs,
  unconditional,
)


class CategoricalDecoder(keras.layers.Layer):
  """LSTM decoder of one categorical output.

  Attributes:
    depth: number of tokens.
  """

  def __init__(self, depth, z_size, control_depth, units, precision='float32',
               **kwargs):
    super().__init__(**kwargs)
    self.depth, self.z_size = depth, z_size
    self.lstm = LSTM(depth + z_size + control_depth, units, dtype=precision,
                     name='lstm')
    self.initial_state = InitialState(z_size, units, name='initial_state')
    self.output_projection = keras.layers.Dense(depth, name='output_projection')
    self.output_projection.build((None, units[-1]))
    self.built = True

  def _project_embedding(self, z):
    """What z `[..., z_size]` adds to the gates, with the bias."""
    rows = self.lstm.kernels[0][self.depth:self.depth + self.z_size]
    return ops.matmul(z, rows) + self.lstm.biases[0]

  def _project_controls(self, controls):
    """What controls `[..., control_depth]` add to the gates."""
    rows = self.lstm.kernels[0][
        self.depth + self.z_size:self.lstm.input_depths[0]]
    return ops.matmul(controls, rows)

  def call(self, x_input, z, controls=None):
    """Logits with teacher forcing.

    Args:
      x_input: the token before each step, as one-hots, zeros for none: float
        `[batch, steps, depth]`.
      z: `[batch, z_size]`.
      controls: `[batch, steps, control_depth]`.

    Returns:
      `[batch, steps, depth]`.
    """
    gates = self._project_embedding(z)[:, None] + self.lstm.multiply(
        x_input, self.lstm.kernels[0][:self.depth])
    if controls is not None:
      gates = gates + self._project_controls(controls)
    outputs = self.lstm.run(
        ops.transpose(gates, (1, 0, 2)), self.initial_state(z))
    return ops.transpose(self.output_projection(outputs), (1, 0, 2))

  def sample(self, z, uniform, temperature, controls=None, guidance=None,
             truth=None, teacher_forced=None):
    """Tokens drawn one after the other.

    Args:
      z: `[segments, batch, z_size]`, an embedding for each stretch of steps.
        The state begins anew with each, and the token before goes on.
      uniform: `[steps, batch]` in [0, 1), the randomness.
      temperature: scalar > 0, divides the logits.
      controls: `[batch, steps, control_depth]`.
      guidance: scale of classifier-free guidance, a scalar; None for 1, at half
        the cost. With it `z` and `controls` hold the conditional half of the
        batch, and after it the unconditional half.
      truth: int `[steps, batch]`, tokens to feed back in place of those drawn.
      teacher_forced: with `truth`, bool `[steps, batch]`, where that is done.

    Returns:
      int `[batch, steps]`, the tokens that were fed back.
    """
    # All that does not change within the loop stands before it.
    constants, begin = self._project_embedding(z), self.initial_state(z)
    recurrent_kernel = self.lstm.recurrent_kernel(0)
    if controls is not None:
      controls = ops.transpose(self._project_controls(controls), (1, 0, 2))
    num_steps = uniform.shape[0]
    segment_steps = num_steps // z.shape[0]

    def step(t, embedded, state, tokens):
      segment = t // segment_steps
      if z.shape[0] > 1:
        first = ops.equal(t % segment_steps, 0)
        state = [(ops.where(first, c0[segment], c),
                  ops.where(first, h0[segment], h))
                 for (c0, h0), (c, h) in zip(begin, state, strict=True)]
      gates = embedded + constants[segment]
      if controls is not None:
        gates = gates + controls[t]
      output, state = self.lstm.step(gates, state, recurrent_kernel)
      logits = self.output_projection(output)
      if guidance is not None:
        conditional, unconditional = ops.split(logits, 2)
        logits = unconditional + guidance * (conditional - unconditional)
      now = _draw(logits / temperature, uniform[t])
      if truth is not None:
        now = ops.where(teacher_forced[t], truth[t], now)
      fed_back = now if guidance is None else ops.concatenate([now, now])
      return (t + 1, self.lstm.project_tokens(fed_back), state,
              ops.slice_update(tokens, (t, 0), now[None]))

    state = [(c[0], h[0]) for c, h in begin]
    tokens = ops.zeros_like(uniform, dtype='int32')
    tokens = ops.while_loop(
        lambda t, *_: t < num_steps, step,
        (0, ops.zeros_like(constants[0]), state, tokens))[-1]
    return ops.transpose(tokens)


def _draw(logits, uniform):
  """Tokens int `[batch]`: the inverse of the cumulative distribution.

  The randomness comes in from outside, so the same seed gives the same notes on
  every backend, and however samples are batched.
  """
  cumulative = ops.cumsum(ops.softmax(logits), axis=-1)
  # Of the total, which rounding may leave a little short of 1.
  below = ops.cast(
      cumulative <= uniform[:, None] * cumulative[:, -1:], 'int32')
  return ops.minimum(ops.sum(below, axis=-1), logits.shape[-1] - 1)


class InitialState(keras.layers.Layer):
  """Initial LSTM state from an embedding: tanh(W z + b) as c0, h0, c1, h1."""

  def __init__(self, embedding_depth, units, **kwargs):
    super().__init__(**kwargs)
    self.units = list(units)
    self.dense = keras.layers.Dense(
        2 * sum(units), 'tanh', name='dense',
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.001))
    self.dense.build((None, embedding_depth))
    self.built = True

  def call(self, z):
    """(c, h) of each layer from `[batch, embedding_depth]`."""
    sizes = [n for n in self.units for _ in range(2)]
    parts = ops.split(self.dense(z), np.cumsum(sizes)[:-1].tolist(), axis=-1)
    return list(zip(parts[::2], parts[1::2], strict=True))


class Decoder(keras.layers.Layer):
  """One categorical decoder an output, below a conductor if there is one."""

  def __init__(self, config: Config, precision='float32', **kwargs):
    super().__init__(**kwargs)
    self.config = config
    self.conductor = None
    if config.level_lengths:
      # Magenta's conductor has an input of one zero, and so a row for it. Its
      # control is ours.
      control_depth = config.control_depth if config.conductor_control else 0
      units = config.conductor_rnn_size or config.dec_rnn_size
      self.conductor = LSTM(
          1 + control_depth, units, dtype=precision, name='conductor')
      self.conductor_state = InitialState(
          config.z_size, units, name='conductor_state')
    self.cores = [
        CategoricalDecoder(
            depth, config.embedding_depth, config.control_depth,
            config.dec_rnn_size, precision, name=f'core_{i}')
        for i, depth in enumerate(config.output_depths)
    ]
    self.built = True

  def embed_segments(self, z, controls=None):
    """z as an embedding for each segment, `[batch, segments, depth]`.

    With `conductor_control` the conductor is given, at each segment, the mean
    of the segment's `controls`, `[batch, steps, control_depth]`.
    """
    if self.conductor is None:
      return z[:, None]
    gates = ops.broadcast_to(
        self.conductor.biases[0],
        (self.config.num_segments, ops.shape(z)[0],
         self.conductor.biases[0].shape[0]))
    if self.config.conductor_control:
      means = ops.reshape(
          ops.mean(self._to_segments(controls), axis=1),
          (-1, self.config.num_segments, self.config.control_depth))
      rows = self.conductor.kernels[0][1:self.conductor.input_depths[0]]
      gates = gates + ops.matmul(ops.transpose(means, (1, 0, 2)), rows)
    return ops.transpose(
        self.conductor.run(gates, self.conductor_state(z)), (1, 0, 2))

  def _to_segments(self, x):
    """`[batch, steps, ...]` as `[batch * segments, steps of one, ...]`."""
    return ops.reshape(
        x, (-1, x.shape[1] // self.config.num_segments, *x.shape[2:]))

  def _from_segments(self, x):
    return ops.reshape(
        x, (-1, x.shape[1] * self.config.num_segments, *x.shape[2:]))

  def call(self, x_target, z, controls=None):
    """Logits with teacher forcing.

    Args:
      x_target: one-hots to be predicted, float `[batch, steps, depth]`; what
        each step is given is the step before it.
      z: `[batch, z_size]`.
      controls: `[batch, steps, control_depth]`.

    Returns:
      `[batch, steps, depth]`, the outputs' logits side by side.
    """
    x_input = shift(x_target)
    embeddings = self.embed_segments(z, controls)
    embeddings = ops.reshape(embeddings, (-1, embeddings.shape[-1]))
    if controls is not None:
      controls = self._to_segments(controls)
    logits = [
        core(self._to_segments(x), embeddings, controls)
        for core, x in zip(
            self.cores, split_outputs(x_input, self.config.output_depths),
            strict=True)
    ]
    return self._from_segments(ops.concatenate(logits, axis=-1))

  def sample(self, z, uniform, temperature, controls=None, guidance=None):
    """Tokens drawn freely, int `[batch, steps, outputs]`.

    Args:
      z: `[batch, z_size]`.
      uniform: `[batch, steps, outputs]` in [0, 1), the randomness.
      temperature: scalar > 0.
      controls: `[batch, steps, control_depth]`.
      guidance: scale of classifier-free guidance, or None for 1.
    """
    if guidance is not None:
      # Both are fed the same tokens, side by side in one batch.
      z = ops.concatenate([z, z])
      controls = ops.concatenate([
          controls, unconditional(controls, self.config.context_depth)])
    embeddings = ops.transpose(self.embed_segments(z, controls), (1, 0, 2))
    return ops.stack([
        core.sample(embeddings, ops.transpose(uniform[..., i]), temperature,
                    controls, guidance)
        for i, core in enumerate(self.cores)], axis=-1)
