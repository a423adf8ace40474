"""What a band's decoders emit -> VA, differentiable: a critic of four voices.

  model = band_critic.load()
  va = model(x, context)  # [batch, 2]: (valence, arousal)

`x` `[batch, steps, 699]` are one-hots or probabilities of melody, bass, drums
and comping side by side, as `music.band` has them; `context` `[batch,
stretches, 29]` says who plays, and the chords. VA is that of the notes alone:
all are played by piano, bass and drums at one tempo and loudness.

It learned what the symbolic student says of such renderings of two bars
(`training.band_critic`). As `critic`, it reads what is written down rather than
left to be found: which pitch classes sound, counted from any, how often and how
long; intervals from voice to voice; and the rhythm of each voice.
"""

import os

import keras
import numpy as np
from keras import ops

from va_magenta import checkpoints
from va_magenta.music import band
from va_magenta.music.grid import STEPS_PER_BAR
from va_magenta.music_to_va import critic
from va_magenta.music_to_va.critic import (
  Voice,
  carried,
  intervals,
  rotations,
)

_KEY_UNITS = 48
_STEP_UNITS = 64
_HIDDEN_UNITS = (128, 64)
_NUM_KINDS = len(band.DRUM_KINDS)
# Bits of each drum token, [512, 9].
_DRUM_BITS = (
    np.arange(band.OUTPUT_DEPTHS[band.DRUMS])[:, None]
    >> np.arange(_NUM_KINDS) & 1).astype(np.float32)


class BandCritic(keras.Model):
  """Estimates VA from what a band's decoders emit.

  Attributes:
    mean: of `regress` over the corpus, (valence, arousal).
    slope: what stretches the corpus to the spread of its labels.
    center: likewise, the labels' mean.
  """

  kind = checkpoints.BAND_CRITIC
  calibration = ('mean', 'slope', 'center')
  settings = ()

  def __init__(self, mean=(0.0, 0.0), slope=(1.0, 1.0), center=(0.0, 0.0),
               **kwargs):
    super().__init__(**kwargs)
    self.mean, self.slope, self.center = (
        np.asarray(x, np.float32) for x in (mean, slope, center))
    dense = keras.layers.Dense
    self.melody, self.bass = Voice(name='melody'), Voice(name='bass')
    self.step = dense(_STEP_UNITS, 'silu')
    self.around = keras.layers.Conv1D(
        _STEP_UNITS, 5, padding='same', activation='silu')
    self.key = dense(_KEY_UNITS, 'silu')
    self.hidden = [dense(units, 'silu') for units in _HIDDEN_UNITS]
    self.out = dense(2)
    # Makes the weights.
    self(np.zeros((1, 32, sum(band.OUTPUT_DEPTHS)), np.float32),
         np.zeros((1, 4, band.CONTEXT_DEPTH), np.float32))

  def regress(self, x, context):
    """Expected rating.

    Args:
      x: float [batch, steps, 699].
      context: float [batch, stretches, 29], of stretches of equal length.

    Returns:
      float [batch, 2], valence and arousal, not clipped.
    """
    x = ops.convert_to_tensor(x)
    num_steps = x.shape[1]
    melody, bass, drums, comping = ops.split(
        x, np.cumsum(band.OUTPUT_DEPTHS)[:-1].tolist(), axis=-1)
    chord = ops.repeat(
        context[..., len(band.VOICES):], num_steps // context.shape[1], axis=1)
    root, members = chord[..., 1:13], chord[..., 13:]
    drums = ops.matmul(drums, _DRUM_BITS)
    summaries, heard, struck, classes, sounding = zip(
        self.melody(melody), self.bass(bass), strict=True)
    # Of a chord all its notes are struck, or one.
    attack = comping[..., 2:3] + 0.25 * ops.sum(
        comping[..., 3:], axis=-1, keepdims=True)
    held = ops.matmul(carried(comping[..., 0]), attack * members)
    num_onsets = ops.sum(comping[..., 2:], axis=(1, 2))[:, None]

    upper, lower = map(ops.matmul, sounding, classes)
    shares = ops.concatenate([
        ops.take(y / (ops.sum(y, axis=-1, keepdims=True) + 1e-2), rotations(),
                 axis=1)
        for y in (*heard, *struck, ops.sum(held, axis=1),
                  ops.mean(members, axis=1), ops.mean(root, axis=1))], axis=-1)
    key = self.key(shares)
    step = self.step(ops.concatenate([
        drums, comping, ops.sum(upper, axis=-1, keepdims=True),
        ops.sum(lower, axis=-1, keepdims=True),
        *(ops.sum(c, axis=-1, keepdims=True) for c in classes)], axis=-1))
    around = self.around(step)
    phase = ops.one_hot(ops.arange(num_steps) % STEPS_PER_BAR, STEPS_PER_BAR)
    rhythm = ops.concatenate([drums, comping], axis=-1)
    # How often each drum and token comes at each sixteenth of a bar.
    pattern = ops.matmul(ops.transpose(rhythm, (0, 2, 1)), phase) / (
        num_steps / STEPS_PER_BAR)
    summary = ops.concatenate([
        *summaries, ops.max(key, axis=1), ops.mean(key, axis=1),
        intervals(lower, upper), intervals(held, upper), intervals(lower, held),
        ops.mean(step, axis=1), ops.mean(around, axis=1),
        ops.reshape(pattern, (-1, pattern.shape[1] * STEPS_PER_BAR)),
        num_onsets / num_steps, ops.mean(ops.sum(held, axis=-1), axis=1)[
            :, None]], axis=-1)
    for layer in self.hidden:
      summary = layer(summary)
    return self.out(summary)

  def call(self, x, context):
    """VA on the scale of the corpus' labels; shapes as in `regress`."""
    return self.center + (self.regress(x, context) - self.mean) * self.slope


def load(folder: str | os.PathLike | None = None) -> BandCritic:
  """A critic of bands that `critic.save` wrote, frozen; see `critic.load`."""
  return critic.load(folder, BandCritic)
