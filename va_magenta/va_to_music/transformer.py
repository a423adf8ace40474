"""A transformer over short sequences, such as the latents of a piece.

Pre-norm blocks of attention and a feed-forward network (Vaswani et al. 2017),
conditioned at every position, and by the time of a flow through the scale and
shift of its norms (Peebles & Xie, "Scalable diffusion models with
transformers", 2023). In `keras.ops` only.
"""

import keras
import numpy as np
from keras import layers, ops

_TIME_FREQUENCIES = 64


class _Block(layers.Layer):
  """Attention and feed-forward, each on a residual path."""

  def __init__(self, width: int, num_heads: int, dropout: float, **kwargs):
    super().__init__(**kwargs)
    self.num_heads = num_heads
    self.ln1 = layers.LayerNormalization(
        center=False, epsilon=1e-5, name='ln1')
    self.ln2 = layers.LayerNormalization(
        center=False, epsilon=1e-5, name='ln2')
    small = keras.initializers.VarianceScaling(0.1)
    self.mod = layers.Dense(
        2 * width, name='mod',
        kernel_initializer=keras.initializers.VarianceScaling(1e-4))
    self.qkv = layers.Dense(3 * width, name='qkv')
    self.proj = layers.Dense(width, name='proj', kernel_initializer=small)
    self.up = layers.Dense(4 * width, name='up')
    self.down = layers.Dense(width, name='down', kernel_initializer=small)
    self.dropout = layers.Dropout(dropout, name='dropout')
    for layer, depth in (
        (self.ln1, width), (self.ln2, width), (self.mod, width),
        (self.qkv, width), (self.proj, width), (self.up, width),
        (self.down, 4 * width)):
      layer.build((None, None, depth))
    self.built = True

  def call(self, x, time, training=False):
    """`[batch, positions, width]` -> the same; time is `[batch, 1, width]`."""
    scale, shift = ops.split(self.mod(time), 2, axis=-1)
    y = self.qkv(self.ln1(x) * (1 + scale) + shift)
    batch, length, depth = ops.shape(y)[0], x.shape[1], x.shape[2]
    q, k, v = ops.unstack(ops.reshape(
        y, (batch, length, 3, self.num_heads, depth // self.num_heads)), axis=2)
    y = v
    if length > 1:  # One position can attend to nothing but itself.
      scores = ops.einsum('bqhd,bkhd->bhqk', q, k) / np.sqrt(q.shape[-1])
      y = ops.einsum('bhqk,bkhd->bqhd', ops.softmax(scores), v)
    y = self.proj(ops.reshape(y, (batch, length, depth)))
    x = x + self.dropout(y, training=training)
    y = self.down(ops.gelu(self.up(self.ln2(x))))
    return x + self.dropout(y, training=training)


class Transformer(layers.Layer):
  """Sequences and their conditions -> sequences.

  Args:
    input_depth: of each position.
    condition_depth: of what is known of each position.
    width: of the residual path.
    num_blocks: of attention and feed-forward.
    num_heads: of attention; they divide `width`.
    max_length: most positions.
    dropout: share of each block's output that training drops.
  """

  def __init__(self, input_depth: int, condition_depth: int, width: int,
               num_blocks: int, num_heads: int, max_length: int,
               dropout: float = 0.0, **kwargs):
    super().__init__(**kwargs)
    self.embed = layers.Dense(width, name='in')
    self.cond = layers.Dense(width, name='cond')
    self.t1 = layers.Dense(width, 'silu', name='t1')
    self.t2 = layers.Dense(width, 'silu', name='t2')
    self.blocks = [
        _Block(width, num_heads, dropout, name=f'l{i}')
        for i in range(num_blocks)]
    self.lnf = layers.LayerNormalization(
        center=False, epsilon=1e-5, name='lnf')
    self.out = layers.Dense(
        input_depth, name='out',
        kernel_initializer=keras.initializers.VarianceScaling(1e-4))
    self.pos = self.add_weight(
        shape=(max_length, width), name='pos',
        initializer=keras.initializers.RandomNormal(stddev=0.02))
    for layer, depth in (
        (self.embed, input_depth), (self.cond, condition_depth),
        (self.t1, 2 * _TIME_FREQUENCIES), (self.t2, width), (self.lnf, width),
        (self.out, width)):
      layer.build((None, None, depth))
    self.built = True

  def named_variables(self) -> dict:
    """Its variables, by names that do not depend on Keras' counting."""
    named = {'pos': self.pos}
    for layer in (
        self.embed, self.cond, self.t1, self.t2, self.lnf, self.out):
      named |= {f'{layer.name}/{v.name}': v for v in layer.variables}
    for block in self.blocks:
      for layer in (block.ln1, block.ln2, block.mod, block.qkv, block.proj,
                    block.up, block.down):
        named |= {
            f'{block.name}/{layer.name}/{v.name}': v for v in layer.variables}
    return named

  def call(self, x, condition, time, training=False):
    """One pass.

    Args:
      x: `[batch, positions, input_depth]`.
      condition: `[batch, positions, condition_depth]`.
      time: `[batch]`, in [0, 1].
      training: whether dropout applies.

    Returns:
      `[batch, positions, input_depth]`.
    """
    frequencies = np.exp(
        np.linspace(0, np.log(1000), _TIME_FREQUENCIES)).astype(np.float32)
    angles = time[:, None, None] * frequencies
    time = self.t2(self.t1(
        ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)))
    x = self.embed(x) + self.cond(condition) + self.pos[:x.shape[1]]
    for block in self.blocks:
      x = block(x, time, training=training)
    return self.out(self.lnf(x))
