"""Tensors of tokens and controls, and how their functions are compiled."""

import keras
import numpy as np
from keras import ops


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
  """Zeroes the VA of some examples, which makes them unconditional.

  Args:
    va: `[batch, stretches, 2]`.
    share: of the batch.
    seed: `keras.random.SeedGenerator`.
  """
  keep = keras.random.uniform((ops.shape(va)[0], 1, 1), seed=seed) >= share
  return va * ops.cast(keep, 'float32')
