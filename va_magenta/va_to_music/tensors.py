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


def compiled_sampler(function):
  """As `compiled`, of what draws: by XLA if there is a GPU.

  On a CPU it was measured: no faster (0.90 s for 128 latents of a band, 0.85
  without), and each shape takes 1 to 2.5 s more to compile.
  """
  if keras.backend.backend() != 'tensorflow':
    return compiled(function)
  import tensorflow as tf

  return compiled(function, xla=bool(tf.config.list_physical_devices('GPU')))


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


def unconditional(controls, context_depth=0):
  """Controls that ask for no VA; the context that comes after it stays."""
  depth = controls.shape[-1] - context_depth
  return ops.concatenate([
      ops.zeros_like(controls[..., :depth]), controls[..., depth:]], axis=-1)


def drop_controls(controls, share, seed, context_depth=0):
  """Makes some examples unconditional.

  Args:
    controls: `[batch, stretches, depth]`.
    share: of the batch.
    seed: `keras.random.SeedGenerator`.
    context_depth: how many of the controls are no VA, and stay.
  """
  keep = keras.random.uniform(
      (ops.shape(controls)[0], 1, 1), seed=seed) >= share
  return ops.where(keep, controls, unconditional(controls, context_depth))


def drop_tokens(x, output_depths, share, seed):
  """Zeroes some tokens, of each output others.

  Args:
    x: one-hots side by side, `[batch, steps, depth]`.
    output_depths: of the one-hots.
    share: of the tokens.
    seed: `keras.random.SeedGenerator`.
  """
  keep = ops.cast(keras.random.uniform(
      (*ops.shape(x)[:2], len(output_depths)), seed=seed) >= share, x.dtype)
  return ops.concatenate([
      of_output * keep[..., i:i + 1]
      for i, of_output in enumerate(split_outputs(x, output_depths))], axis=-1)
