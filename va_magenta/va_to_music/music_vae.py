"""MusicVAE in Keras 3, in Magenta's sizes and with Magenta's weights.

Roberts et al., "A Hierarchical Latent Vector Model for Learning Long-Term
Structure in Music" (2018). A bidirectional LSTM encodes a piece into a latent
vector z; an LSTM decodes z, flat for two bars, or through a conductor LSTM that
gives every bar an embedding of its own.

Every variable has the shape and the gate order (i, j, f, o; forget bias 1 added
at run time) that it has in Magenta's checkpoints, so that weights travel both
ways unchanged (`magenta_weights.py`). What differs is the order of the work:

- The conductor does not hear what the bars play (Magenta's
  `disable_autoregression`), so with teacher forcing all bars decode side by
  side, as one batch.
- What is known before a loop is projected before it: the whole input at once
  with teacher forcing, z and the control once a sequence when sampling. The
  loop itself multiplies by the recurrent part alone.

Everything here is `keras.ops`, so the same file runs on any Keras backend.

Shapes: a batch is tokens int `[batch, steps, outputs]` or their one-hots side
by side, float `[batch, steps, depth]`. Controls are float `[batch, steps,
control_depth]`, fed to encoder and decoder at every step: (valence, arousal) in
[-1, 1] where a config is conditioned, and then (0, 0) is also what it is given
when nothing is asked for.
"""

import functools
import math
import os
import pathlib

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music import va_losses
from va_magenta.va_to_music.configs import Config


def compiled(function, xla: bool = False):
  """A function compiled as the Keras backend does that.

  Args:
    function: takes and returns tensors.
    xla: whether TensorFlow shall leave it to XLA.
  """
  if keras.backend.backend() == 'tensorflow':
    import tensorflow as tf
    return tf.function(function, autograph=False, jit_compile=xla)
  if keras.backend.backend() == 'jax':
    import jax
    return jax.jit(function)
  return function


def one_hot(tokens, output_depths):
  """Tokens int `[..., outputs]` as one-hots side by side `[..., depth]`."""
  return ops.concatenate([
      ops.one_hot(tokens[..., i], depth)
      for i, depth in enumerate(output_depths)
  ], axis=-1)


def split_outputs(x, output_depths):
  """The inverse of side by side: `[..., depth]` as one tensor an output."""
  ends = np.cumsum(output_depths)[:-1].tolist()
  return ops.split(x, ends, axis=-1) if ends else [x]


def shift(x):
  """What a decoder is given at each step: the step before, at first zeros."""
  return ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))


def drop_controls(va, share, seed):
  """Takes from some examples their VA, so that nothing is asked of them.

  Args:
    va: `[batch, stretches, 2]`.
    share: of the batch.
    seed: `keras.random.SeedGenerator`.
  """
  keep = keras.random.uniform((ops.shape(va)[0], 1, 1), seed=seed) >= share
  return va * ops.cast(keep, 'float32')


def _activate(gates):
  """Summed gates `[batch, 4 units]` as i, j, f, o, each `[batch, units]`."""
  i, j, f, o = ops.split(gates, 4, axis=-1)
  return ops.sigmoid(i), ops.tanh(j), ops.sigmoid(f + 1.0), ops.sigmoid(o)


class Lstm(keras.layers.Layer):
  """A stack of LSTM layers with Magenta's kernels: rows are (input, h).

  Of a `dtype` that is mixed, `run` and `multiply` work in its compute dtype:
  the gates and h, which are what is large. c is added to at every step and goes
  on in float32, which halves the error. Inputs, outputs, weights and `step` are
  float32.
  """

  def __init__(self, input_depth: int, units: tuple[int, ...], **kwargs):
    super().__init__(**kwargs)
    self.input_depths = [input_depth, *units[:-1]]
    self.units = list(units)
    self.kernels = [
        self.add_weight(
            shape=(n_in + n, 4 * n), initializer='glorot_uniform',
            name=f'kernel_{i}')
        for i, (n_in, n) in enumerate(
            zip(self.input_depths, units, strict=True))
    ]
    self.biases = [
        self.add_weight(shape=(4 * n,), initializer='zeros', name=f'bias_{i}')
        for i, n in enumerate(units)
    ]
    self.built = True

  def multiply(self, x, rows):
    """Inputs `[..., n]` times n rows of a kernel, by the compute dtype."""
    return ops.cast(ops.matmul(
        ops.cast(x, self.compute_dtype), ops.cast(rows, self.compute_dtype)),
        'float32')

  def project(self, x, layer=0):
    """What inputs `[..., input_depth]` add to a layer's gates, and the bias."""
    rows = self.kernels[layer][:self.input_depths[layer]]
    return self.multiply(x, rows) + self.biases[layer]

  def project_tokens(self, tokens, first_row=0):
    """What one-hots of tokens int `[...]` add to the first layer's gates.

    Of a one-hot, rows are taken where others would be multiplied with zero.
    """
    return ops.take(self.kernels[0], first_row + tokens, axis=0)

  def zero_state(self, batch_size):
    """States at rest: (c, h) of each layer."""
    return [(ops.zeros((batch_size, n)), ops.zeros((batch_size, n)))
            for n in self.units]

  def step(self, gates, state, recurrent_kernel):
    """One step of the whole stack.

    Args:
      gates: `[batch, 4 units]`, the input's part of the first layer's gates.
      state: (c, h) of each layer, before.
      recurrent_kernel: the first layer's, from `recurrent_kernel(0)`; it is a
        copy, to be made before the loop.

    Returns:
      Output `[batch, units]` of the last layer, and the state after.
    """
    after = []
    for layer, (c, h) in enumerate(state):
      if layer:
        inputs = ops.concatenate([after[-1][1], h], axis=-1)
        gates = ops.matmul(inputs, self.kernels[layer]) + self.biases[layer]
      else:
        gates = gates + ops.matmul(h, recurrent_kernel)
      i, j, f, o = _activate(gates)
      c = c * f + i * j
      after.append((c, ops.tanh(c) * o))
    return after[-1][1], after

  def run(self, gates, state, reverse=False):
    """All steps, one layer after the other.

    Args:
      gates: `[steps, batch, 4 units]`, the input's part of the first layer's
        gates at every step.
      state: (c, h) of each layer, before.
      reverse: whether to run from the last step to the first.

    Returns:
      Outputs `[steps, batch, units]` of the last layer.
    """
    outputs = None
    for layer, (c, h) in enumerate(state):
      if layer:
        gates = self.project(outputs, layer)
      gates, kernel, h = (
          ops.cast(x, self.compute_dtype)
          for x in (gates, self.recurrent_kernel(layer), h))
      outputs = _run_layer(gates, kernel, c, h, reverse)
    return ops.cast(outputs, 'float32')

  def recurrent_kernel(self, layer):
    """What a layer multiplies its h with, `[units, 4 units]`."""
    return self.kernels[layer][self.input_depths[layer]:]


def _run_layer(gates, recurrent_kernel, c, h, reverse):
  """All steps of one layer; shapes are those of `_lstm_layer`."""
  if not reverse:
    return _lstm_layer(gates, recurrent_kernel, c, h)
  return ops.flip(
      _lstm_layer(ops.flip(gates, 0), recurrent_kernel, c, h), 0)


@ops.custom_gradient
def _lstm_layer(gates, recurrent_kernel, c, h):
  """One LSTM layer over all steps, with its gradient written out.

  Backpropagation through time as two loops, which XLA compiles in a second
  whatever the number of steps. Left to automatic differentiation, a loop runs
  at half the speed, and steps that are unrolled take minutes to compile for
  sixteen bars.

  Args:
    gates: the inputs' part of the gates, `[steps, batch, 4 units]`.
    recurrent_kernel: `[units, 4 units]`, of the same dtype.
    c: before the first step, `[batch, units]`, float32.
    h: likewise, of the dtype of the gates.

  Returns:
    h after each step, `[steps, batch, units]`.
  """
  # Without stop_gradient an eager tape would look for a gradient inside.
  cells, hidden, activations = _forward_loop(
      *map(ops.stop_gradient, (gates, recurrent_kernel, c, h)))

  def grad(*args, upstream=None):
    # TensorFlow passes the gradient by position, the other backends by name.
    d_hidden = args[0] if upstream is None else upstream
    d_gates, d_c, d_h = _backward_loop(
        d_hidden, recurrent_kernel, cells, activations)
    # The recurrent kernel met, at each step, the h of the step before.
    h_before = ops.concatenate([h[None], hidden[:-1]])
    units = recurrent_kernel.shape[0]
    d_kernel = ops.matmul(
        ops.transpose(ops.reshape(h_before, (-1, units))),
        ops.reshape(d_gates, (-1, 4 * units)))
    return d_gates, d_kernel, d_c, d_h

  return hidden, grad


@functools.partial(compiled, xla=True)
def _forward_loop(gates, recurrent_kernel, c, h):
  """c before and h after each step, and the gates' activations."""
  num_steps = gates.shape[0]

  def step(t, c, h, cells, hidden, activations):
    cells = ops.slice_update(cells, (t, 0, 0), c[None])
    i, j, f, o = activated = _activate(ops.cast(
        gates[t] + ops.matmul(h, recurrent_kernel), c.dtype))
    c = c * f + i * j
    h = ops.cast(ops.tanh(c) * o, h.dtype)
    return (
        t + 1, c, h, cells, ops.slice_update(hidden, (t, 0, 0), h[None]),
        ops.slice_update(activations, (t, 0, 0), ops.cast(
            ops.concatenate(activated, -1), gates.dtype)[None]))

  shape = (num_steps, *ops.shape(h))
  return ops.while_loop(
      lambda t, *_: t < num_steps, step,
      (0, c, h, ops.zeros(shape, c.dtype), ops.zeros(shape, h.dtype),
       ops.zeros_like(gates)))[3:]


@functools.partial(compiled, xla=True)
def _backward_loop(d_hidden, recurrent_kernel, cells, activations):
  """Gradients of the gates at each step, and of c and h before the first."""
  num_steps = cells.shape[0]
  transposed = ops.transpose(recurrent_kernel)

  def step(t, d_c, d_h, d_gates):
    i, j, f, o = ops.split(
        ops.cast(activations[t], cells.dtype), 4, axis=-1)
    tanh_c = ops.tanh(cells[t] * f + i * j)
    d_h = ops.cast(d_h + d_hidden[t], cells.dtype)
    d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
    d_now = ops.cast(ops.concatenate([
        d_c * j * i * (1 - i),
        d_c * i * (1 - j * j),
        d_c * cells[t] * f * (1 - f),
        d_h * tanh_c * o * (1 - o)], axis=-1), activations.dtype)
    return (t - 1, d_c * f, ops.matmul(d_now, transposed),
            ops.slice_update(d_gates, (t, 0, 0), d_now[None]))

  _, d_c, d_h, d_gates = ops.while_loop(
      lambda t, *_: t >= 0, step,
      (num_steps - 1, ops.zeros_like(cells[0]), ops.zeros_like(d_hidden[0]),
       ops.zeros_like(activations)))
  return d_gates, d_c, d_h


class Bidirectional(keras.layers.Layer):
  """Stacked bidirectional LSTMs.

  Args:
    depth: of the input.
    units: of each layer, in each direction.
    precision: see `MusicVae`.
  """

  def __init__(self, depth, units, precision='float32', **kwargs):
    super().__init__(**kwargs)
    self.forward, self.backward = [], []
    for i, n in enumerate(units):
      self.forward.append(
          Lstm(depth, (n,), dtype=precision, name=f'forward_{i}'))
      self.backward.append(
          Lstm(depth, (n,), dtype=precision, name=f'backward_{i}'))
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

  def _run(self, batch_size, project):
    """All layers, of which `project` gives an LSTM of the first its gates."""
    for forward, backward in zip(self.forward, self.backward, strict=True):
      zero = forward.zero_state(batch_size)
      ahead = forward.run(project(forward), zero)
      back = backward.run(project(backward), zero, reverse=True)
      x = ops.concatenate([ahead, back], axis=-1)

      def project(lstm, x=x):
        return lstm.project(x)

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
    depth = config.dec_rnn_size[-1]
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


class CategoricalDecoder(keras.layers.Layer):
  """LSTM decoder of one categorical output.

  Attributes:
    depth: number of tokens.
  """

  def __init__(self, depth, z_size, control_depth, units, precision='float32',
               **kwargs):
    super().__init__(**kwargs)
    self.depth, self.z_size = depth, z_size
    self.lstm = Lstm(depth + z_size + control_depth, units, dtype=precision,
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
             truth=None, told=None):
    """Tokens drawn one after the other.

    Args:
      z: `[segments, batch, z_size]`, an embedding for each stretch of steps.
        The state begins anew with each, and the token before goes on.
      uniform: `[steps, batch]` in [0, 1), the randomness.
      temperature: scalar > 0, divides the logits.
      controls: `[batch, steps, control_depth]`.
      guidance: scalar, how many times as far as the controls move the logits
        from those of the neutral control they shall be moved; None for once,
        at half the price. With it, `z` and `controls` are those asked for, and
        after them, as many again, the neutral ones.
      truth: int `[steps, batch]`, tokens to go on from in place of those drawn.
      told: with `truth`, bool `[steps, batch]`, where that is done.

    Returns:
      int `[batch, steps]`, the tokens that were gone on from.
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
        asked, neutral = ops.split(logits, 2)
        logits = neutral + guidance * (asked - neutral)
      now = _draw(logits / temperature, uniform[t])
      if truth is not None:
        now = ops.where(told[t], truth[t], now)
      heard = now if guidance is None else ops.concatenate([now, now])
      return (t + 1, self.lstm.project_tokens(heard), state,
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
    embedding_depth = config.z_size
    if config.level_lengths:
      # Magenta's conductor has an input of one zero, and so a row for it. Its
      # control is ours.
      heard = config.control_depth if config.conductor_control else 0
      self.conductor = Lstm(
          1 + heard, config.dec_rnn_size, dtype=precision, name='conductor')
      self.conductor_state = InitialState(
          config.z_size, config.dec_rnn_size, name='conductor_state')
      embedding_depth = config.dec_rnn_size[-1]
    self.cores = [
        CategoricalDecoder(
            depth, embedding_depth, config.control_depth, config.dec_rnn_size,
            precision, name=f'core_{i}')
        for i, depth in enumerate(config.output_depths)
    ]
    self.built = True

  def embed_segments(self, z, controls=None):
    """z as an embedding for each segment, `[batch, segments, depth]`.

    With `conductor_control` the conductor hears, at each segment, the mean of
    the segment's `controls`, `[batch, steps, control_depth]`.
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
        each step hears is the step before it.
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
      guidance: scalar, or None for 1.
    """
    if guidance is not None:
      # Both hear the same tokens, side by side in one batch.
      z = ops.concatenate([z, z])
      controls = ops.concatenate([controls, ops.zeros_like(controls)])
    embeddings = ops.transpose(self.embed_segments(z, controls), (1, 0, 2))
    return ops.stack([
        core.sample(embeddings, ops.transpose(uniform[..., i]), temperature,
                    controls, guidance)
        for i, core in enumerate(self.cores)], axis=-1)


# What brings z to its prior, by objective.
_PRIOR_LOSSES = {
    'elbo': 'kl_loss', 'wae_mmd': 'mmd_loss', 'wae_gan': 'gan_loss'}


class MusicVae(keras.Model):
  """A MusicVAE: encoder, decoder, loss, sampling.

  Args:
    config: its sizes and schedules.
    seed: of the initial weights' and the training's randomness.
    critic: a Keras model that estimates VA, one-hots `[batch, steps, depth]` ->
      `[batch, 2]`, which training a conditioned config takes. It is left as it
      is.
    reference: another model of the same config, unasked the one whose music
      this one's shall stay near (see `Config.kl_control_weight`). It is left as
      it is too.
    precision: Keras' dtype policy of the LSTMs where the steps to come are
      known, which is what training spends its time on: 'float32',
      'mixed_bfloat16' or 'mixed_float16'. All else, sampling, logits and losses
      among it, is float32.
  """

  def __init__(self, config: Config, seed: int = 0, critic=None,
               reference=None, precision: str = 'float32', **kwargs):
    super().__init__(**kwargs)
    if (config.sampling_rate or config.sampling_schedule != 'constant') and (
        config.level_lengths or len(config.output_depths) > 1):
      raise ValueError(
          'scheduled sampling is for flat decoders of one output: set '
          'sampling_schedule=constant,sampling_rate=0')
    self.config = config
    # How many there are that share a batch, whose losses Keras adds.
    self.num_replicas = 1
    self.random = keras.random.SeedGenerator(seed)
    self.encoder = make_encoder(config, precision)
    self.decoder = Decoder(config, precision, name='decoder')
    # Partials, so that Keras does not take them for parts of the model: their
    # weights are neither trained nor saved.
    self.critic = critic and functools.partial(critic)
    self.reference = reference and functools.partial(reference.decoder)
    if config.objective == 'wae_gan':
      self.discriminator = va_losses.Discriminator(
          config.z_size, name='discriminator')
    self.trackers = {
        name: keras.metrics.Mean(name=name)
        for name in (
            *(f'losses/{name}' for name in self._loss_weights(0)),
            'losses/kl_loss', 'losses/kl_bits', 'losses/kl_beta',
            'metrics/accuracy')
    }
    self._encode = compiled(lambda tokens, controls: self.encoder.read(
        tokens, config.output_depths, controls))
    self._label = compiled(self.label)
    # One loop, which XLA compiles in a second and runs nearly twice as fast.
    self._sample = compiled(self.decoder.sample, xla=True)
    self.built = True

  # --- Training.

  def label(self, x):
    """The VA that pieces are learned with: what the critic finds.

    It is that of the very tokens: transposition changes it. Without a critic it
    is neutral, and of a config without control it is None.

    Args:
      x: one-hots `[batch, steps, depth]`.

    Returns:
      `[batch, stretches, 2]`: of each segment with `conductor_control`, and of
      the whole, as one stretch, without.
    """
    if not self.config.control_depth:
      return None
    if self.critic is None:
      return ops.zeros((
          ops.shape(x)[0], self._num_stretches, self.config.control_depth))
    return ops.stop_gradient(ops.clip(self._hear(x), -1.0, 1.0))

  @property
  def _num_stretches(self):
    """How many stretches of a piece have a VA of their own."""
    return self.config.num_segments if self.config.conductor_control else 1

  def _hear(self, x):
    """The critic's VA of each stretch: one-hots -> `[batch, stretches, 2]`."""
    stretches = ops.reshape(
        x, (-1, x.shape[1] // self._num_stretches, x.shape[2]))
    return ops.reshape(self.critic(stretches), (-1, self._num_stretches, 2))

  def call(self, inputs, training=False):
    """The forward pass of training.

    Args:
      inputs: dict of 'tokens' int `[batch, steps, outputs]`.
      training: whether control dropout and scheduled sampling apply, and
        whether the decoder plays by itself too.

    Returns:
      dict of 'logits' `[batch, steps, depth]`; 'mu', 'sigma' and 'z' `[batch,
      z_size]`; 'va' `[batch, stretches, 2]` or None; and, in training, if
      `va_weight` is not 0, for each example that was played 'va_loss' and, with
      a reference, 'kl_control_loss'.
    """
    tokens = inputs['tokens']
    x = one_hot(tokens, self.config.output_depths)
    va = self.label(x)
    asked = va
    if training and self.config.control_dropout:
      asked = drop_controls(va, self.config.control_dropout, self.random)
    controls = self.every_step(asked)
    mu, sigma = self.encoder.read(tokens, self.config.output_depths, controls)
    z = mu + sigma * keras.random.normal(ops.shape(mu), seed=self.random)
    heard = x
    if training and self._sampling_probability() is not None:
      # Scheduled sampling (Bengio et al. 2015): the decoder hears some of its
      # own samples. No gradient goes through them, so they are drawn ahead.
      shape = (tokens.shape[1], ops.shape(tokens)[0])
      told = keras.random.uniform(shape, seed=self.random) >= (
          self._sampling_probability())
      heard = one_hot(ops.stop_gradient(self.decoder.cores[0].sample(
          z[None], keras.random.uniform(shape, seed=self.random), 1.0, controls,
          truth=ops.transpose(tokens[..., 0]), told=told))[..., None],
                      self.config.output_depths)
    outputs = {'logits': self.decoder(heard, z, controls), 'mu': mu,
               'sigma': sigma, 'z': z, 'va': va}
    if training and self.config.va_weight:
      outputs |= self._play(z, va)
    return outputs

  def every_step(self, va):
    """VA of stretches, or None, as what layers hear at each step.

    Args:
      va: `[batch, stretches, 2]`.
    """
    if va is None:
      return None
    return ops.repeat(
        va * self.config.control_gain, self.config.max_seq_len // va.shape[1],
        axis=1)

  def _play(self, z, va):
    """How far what the decoder plays by itself is from what it was asked for.

    VA is drawn independently of z, and z from the posterior and the prior by
    halves, so that the decoder learns to follow VA, not to find it in z. Of
    each axis VA is spread as among the batch's own pieces: what no piece has,
    no piece can be made to have. What the decoder hears are its own samples,
    drawn ahead; the gradient goes through what it plays, and not through what
    it has heard.

    Args:
      z: `[batch, z_size]`, of the posterior.
      va: `[batch, stretches, 2]`, of the pieces.

    Returns:
      Of each example of the share of the batch that is played, 'va_loss', the
      mean of its stretches' distances on the VA plane, where one that has
      hardly a note counts 0; and, with a
      reference, 'kl_control_loss': how far the decoder's choices are, in nats,
      from those of the reference, which is asked for nothing (KL-control:
      Jaques et al., "Sequence Tutor", 2017). Music that is only to please the
      critic is no music.
    """
    config = self.config
    count = ops.cast(
        ops.ceil(config.va_share * ops.cast(ops.shape(z)[0], 'float32')),
        'int32')
    prior = keras.random.normal((count - count // 2, z.shape[1]),
                                seed=self.random)
    z = ops.stop_gradient(ops.concatenate([z[:count // 2], prior]))
    target = ops.stack([
        keras.random.shuffle(axis, seed=self.random)[:count]
        for axis in ops.unstack(va, axis=-1)], axis=-1)
    controls = self.every_step(target)
    uniform = keras.random.uniform(
        (count, config.max_seq_len, len(config.output_depths)),
        seed=self.random)
    x = one_hot(
        self._sample(z, uniform, ops.convert_to_tensor(1.0), controls, None),
        config.output_depths)
    logits = self.decoder(x, z, controls)
    played = ops.concatenate([
        va_losses.straight_through(
            one_hots, of_output, config.va_temperature, self.random)
        for one_hots, of_output in zip(
            split_outputs(x, config.output_depths),
            split_outputs(logits, config.output_depths), strict=True)], axis=-1)
    distance = va_losses.distance(self._hear(played), target)
    melody = ops.reshape(
        split_outputs(x, config.output_depths)[0],
        (-1, self._num_stretches, config.max_seq_len // self._num_stretches,
         config.output_depths[0]))
    losses = {'va_loss': ops.mean(
        distance * va_losses.is_audible(melody), axis=-1)}
    if self.reference:
      unasked = self.reference(x, z, ops.zeros_like(controls))
      losses['kl_control_loss'] = sum(
          va_losses.divergence(*pair) for pair in zip(
              split_outputs(logits, config.output_depths),
              split_outputs(unasked, config.output_depths), strict=True))
    return losses

  def _sampling_probability(self):
    """Share of inputs that are samples, as Magenta schedules it, or None."""
    schedule, rate = self.config.sampling_schedule, self.config.sampling_rate
    if schedule == 'constant':
      return rate or None
    step = ops.cast(self.optimizer.iterations, 'float32')
    if schedule == 'inverse_sigmoid':
      return 1.0 - rate / (rate + ops.exp(step / rate))
    if schedule == 'exponential':
      return 1.0 - ops.power(rate, step)
    raise ValueError(
        f'unknown sampling_schedule {schedule!r}: constant, inverse_sigmoid or '
        'exponential')

  def losses_of(self, tokens, outputs) -> dict:
    """The terms of the loss and what it is watched by, for each example.

    Args:
      tokens: int `[batch, steps, outputs]`, the truth.
      outputs: what `call` returned.

    Returns:
      Each `[batch]`: 'r_loss', the reconstruction's cross-entropy in nats;
      'kl_loss', the KL divergence above the free bits, in nats, unweighted;
      'kl_bits', all of it, in bits; 'accuracy', the share of steps whose
      likeliest token is right, averaged over the outputs.
    """
    depths = self.config.output_depths
    r_loss, accuracy = 0.0, 0.0
    for i, logits in enumerate(split_outputs(outputs['logits'], depths)):
      truth = tokens[..., i]
      r_loss += ops.sum(keras.losses.sparse_categorical_crossentropy(
          truth, logits, from_logits=True), axis=-1)
      hit = ops.equal(ops.cast(ops.argmax(logits, -1), truth.dtype), truth)
      accuracy += ops.mean(ops.cast(hit, 'float32'), axis=-1) / len(depths)
    kl = va_losses.off_prior(outputs['mu'], outputs['sigma'])
    return {
        'r_loss': r_loss,
        'kl_loss': ops.maximum(
            kl - self.config.free_bits * math.log(2), 0.0),
        'kl_bits': kl / math.log(2),
        'accuracy': accuracy,
    }

  def _loss_weights(self, step) -> dict:
    """The terms of the loss by name, and their weights at a step."""
    config = self.config
    beta = (1.0 - ops.power(config.beta_rate, step)) * config.max_beta
    weights = {
        'r_loss': 1.0,
        _PRIOR_LOSSES[config.objective]: beta}
    if config.va_weight:
      weights['va_loss'] = config.va_weight
      if self.reference:
        weights['kl_control_loss'] = config.kl_control_weight
    if config.independence_weight:
      weights['independence_loss'] = config.independence_weight
    return weights

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    """The sum of all terms by their weights, with Magenta's schedule of beta.

    Beside those of `losses_of`: 'mmd_loss' or 'gan_loss', which bring z to its
    prior where that is not left to 'kl_loss'; 'va_loss', distance between the
    VA asked for and played; 'kl_control_loss', which keeps what is played to
    music; 'independence_loss', which makes z forget VA.
    """
    del y, sample_weight, training
    config, outputs = self.config, y_pred
    losses = {
        name: ops.mean(values)
        for name, values in self.losses_of(x['tokens'], outputs).items()
    }
    if config.objective != 'elbo':
      prior = keras.random.normal(ops.shape(outputs['z']), seed=self.random)
    if config.objective == 'wae_mmd':
      losses['mmd_loss'] = va_losses.mmd(outputs['z'], prior)
    elif config.objective == 'wae_gan':
      # Cross-entropy of telling z from draws of the prior.
      losses['gan_loss'] = ops.mean(
          ops.softplus(self.discriminator(
              va_losses.reverse_gradient(outputs['z'])))
          + ops.softplus(-self.discriminator(prior)))
    if config.va_weight:
      losses['va_loss'] = ops.mean(outputs['va_loss'])
      if self.reference:
        losses['kl_control_loss'] = ops.mean(outputs['kl_control_loss'])
    if config.independence_weight:
      losses['independence_loss'] = va_losses.cross_correlation(
          outputs['mu'], ops.mean(outputs['va'], axis=1))
    weights = self._loss_weights(ops.cast(self.optimizer.iterations, 'float32'))
    watched = {
        'kl_beta': weights[_PRIOR_LOSSES[config.objective]], **losses}
    for name, tracker in self.trackers.items():
      tracker.update_state(watched[name.rpartition('/')[-1]])
    return sum(
        weight * losses[name] for name, weight in weights.items()
    ) / self.num_replicas

  # --- Use.

  def encode(self, tokens, controls=None) -> tuple[np.ndarray, np.ndarray]:
    """The posterior of pieces.

    Args:
      tokens: int `[n, steps, outputs]`.
      controls: float `[n, control_depth]`, or `[n, stretches, control_depth]`
        of stretches of equal length.

    Returns:
      mu and sigma, float32 `[n, z_size]`.
    """
    tokens = ops.convert_to_tensor(tokens, 'int32')
    mu, sigma = self._encode(
        tokens, self._check_controls(controls, *tokens.shape[:2]))
    return ops.convert_to_numpy(mu), ops.convert_to_numpy(sigma)

  def critic_va(self, tokens) -> np.ndarray:
    """The critic's VA of pieces, in [-1, 1]; neutral without a critic.

    Args:
      tokens: int `[n, steps, outputs]`.

    Returns:
      float32 `[n, stretches, 2]`, see `label`; None of a config without
      control.
    """
    va = self._label(one_hot(
        ops.convert_to_tensor(tokens, 'int32'), self.config.output_depths))
    return va if va is None else ops.convert_to_numpy(va)

  def sample(self, z, *, temperature: float = 1.0, seed: int | None = None,
             controls=None, guidance: float = 1.0) -> np.ndarray:
    """Decodes latent vectors by drawing one token after the other.

    Args:
      z: float `[n, z_size]`.
      temperature: divides the logits; 0 takes the likeliest token every time.
      seed: of the draws; None for another one every time.
      controls: as in `encode`.
      guidance: how strongly the controls are followed (Ho & Salimans,
        "Classifier-free diffusion guidance", 2022): 1 as the model learned, 0
        not at all, and above 1 more than it learned, at twice the time.

    Returns:
      One-hots side by side, float32 `[n, max_seq_len, depth]`.

    Raises:
      ValueError: if a shape or the temperature is wrong.
    """
    config = self.config
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.shape[1] != config.z_size:
      raise ValueError(
          f'z must have shape [n, {config.z_size}], got {list(z.shape)}')
    if not np.isfinite(z).all():
      raise ValueError('z has numbers that are not finite')
    if not 0 <= temperature < math.inf:
      raise ValueError(f'temperature must be 0 or more, got {temperature}')
    if not 0 <= guidance < math.inf:
      raise ValueError(f'guidance must be 0 or more, got {guidance}')
    if guidance != 1 and not config.control_depth:
      raise ValueError(
          f'{config.name} hears no control: guidance must be 1, got {guidance}')
    controls = self._check_controls(controls, len(z), config.max_seq_len)
    shape = (len(z), config.max_seq_len, len(config.output_depths))
    if temperature:
      uniform = np.random.default_rng(seed).random(shape, np.float32)
    else:
      # The middle of a distribution that is all on the likeliest token.
      uniform = np.full(shape, 0.5, np.float32)
    tokens = self._sample(
        ops.convert_to_tensor(z), ops.convert_to_tensor(uniform),
        ops.convert_to_tensor(max(temperature, 1e-6), 'float32'), controls,
        None if guidance == 1 else ops.convert_to_tensor(guidance, 'float32'))
    return ops.convert_to_numpy(one_hot(tokens, config.output_depths))

  def _check_controls(self, controls, n, num_steps):
    depth = self.config.control_depth
    if controls is None:
      if depth:
        raise ValueError(
            f'{self.config.name} needs controls of depth {depth}')
      return None
    controls = np.asarray(controls, np.float32)
    given, controls = controls.shape, (
        controls[:, None] if controls.ndim == 2 else controls)
    stretches = controls.shape[1] if controls.ndim == 3 else 0
    if controls.shape != (n, stretches, depth) or (
        not stretches or num_steps % stretches):
      raise ValueError(
          f'controls must have shape [{n}, {depth}], or [{n}, stretches, '
          f'{depth}] with stretches that divide {num_steps} steps, got '
          f'{list(given)}')
    if not np.isfinite(controls).all():
      raise ValueError('controls have numbers that are not finite')
    return self.every_step(ops.convert_to_tensor(controls))


def load(path: str | os.PathLike) -> MusicVae:
  """A trained model from the folder of a checkpoint.

  Args:
    path: folder with `config.json` and `weights.npz`.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the weights are not those of the config.
  """
  from va_magenta.va_to_music import magenta_weights

  path = pathlib.Path(path)
  for name in ('config.json', 'weights.npz'):
    if not (path / name).is_file():
      raise FileNotFoundError(
          f'{path} is not the folder of a checkpoint: it has no {name}')
  model = MusicVae(Config.load(path / 'config.json'))
  magenta_weights.load(model, path / 'weights.npz')
  return model
