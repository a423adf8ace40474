"""What a decoder emits -> VA, differentiable: the student's twin for training.

  model = critic.load()
  va = model(x)  # [batch, steps, depth] -> [batch, 2]: (valence, arousal)

`x` is one-hot or of probabilities, of any number of steps (sixteenths). The
first 90 of each step are the melody in all of MusicVAE's configs (0 goes on, 1
ends a note, 2..89 begin one of MIDI pitch 21..108), and of a trio the next 90
are the bass. A critic of one voice reads the melody, one of two voices both;
nobody reads drums. VA is that of the notes alone, as if played at one tempo and
loudness on a piano.

It is a small network that has learned what a student of such voices says, which
has learned from people; `va_magenta_train_midi --model=critic` makes it, and
the cards in `checkpoints/critic_va` and `trio_critic_va` say how well it does.
What it reads is written down rather than left to be found: of a step, the
token, the note before it and its age; of all steps, how often and how long each
pitch and pitch class sounds, how well that fits keys, and which intervals the
voices make. All is `keras.ops`.
"""

import os
import pathlib

import keras
import numpy as np
from keras import ops

from va_magenta import checkpoints
from va_magenta.music.grid import FIRST_PITCH, NUM_TOKENS
from va_magenta.va import AXES

_NOTE_UNITS = 24
_STEP_UNITS = 48
_KEY_UNITS = 32
_REGISTER_UNITS = 32
_HIDDEN_UNITS = (96, 48)
# log(0) where a token is impossible; a note then leaks into the next by this.
_EPSILON = 1e-4


def carried(keep):
  """How much of what began at step j is there at step t, [batch, t, j].

  The closed form of state_t = start_t + keep_t * state_{t-1}, for any state.

  Args:
    keep: how likely a state outlasts a step, in [0, 1], [batch, steps].
  """
  total = ops.cumsum(ops.log(keep + _EPSILON), axis=1)
  steps = ops.arange(ops.shape(keep)[1])
  is_past = steps[:, None] >= steps
  # Not the exponential of what is to come, which may overflow.
  return ops.exp(ops.where(
      is_past, total[:, :, None] - total[:, None, :], -1e9))


def rotations():
  """Row r are the 12 pitch classes, counted from r; int [12, 12]."""
  return (np.arange(12)[:, None] + np.arange(12)) % 12


def _fixed_projection():
  """From tokens to pitch classes, whether a note starts, and to hold or rest.

  Only how pitch classes lie to one another counts, so any is the first.
  """
  tokens = np.arange(NUM_TOKENS)
  is_note = tokens >= FIRST_PITCH
  return np.concatenate([
      np.eye(12)[tokens % 12] * is_note[:, None],
      np.stack([is_note, tokens == 0, ~is_note], axis=1),
  ], axis=1).astype(np.float32)


def _at_step_before(x):
  return ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))


class Voice(keras.layers.Layer):
  """Reads one voice."""

  def __init__(self, **kwargs):
    super().__init__(**kwargs)
    dense = keras.layers.Dense
    self.note = self.add_weight(
        shape=(NUM_TOKENS - FIRST_PITCH, _NOTE_UNITS), name='note')
    self.step = dense(_STEP_UNITS, 'silu')
    self.around = keras.layers.Conv1D(
        _STEP_UNITS, 5, padding='same', activation='silu')
    self.register = dense(_REGISTER_UNITS, 'silu')

  def call(self, x):
    """What there is to say of a voice.

    Args:
      x: float [batch, steps, 90].

    Returns:
      [batch, features], what it says by itself; how long each pitch class
      sounds and how often it is struck, both [batch, 12]; and the pitch classes
      that begin at each step [batch, steps, 12], and how much of what began at
      step j sounds at step t, [batch, t, j].
    """
    projection = ops.concatenate([
        ops.pad(self.note, ((FIRST_PITCH, 0), (0, 0))), _fixed_projection(),
    ], axis=-1)
    # One product, as taking tokens apart is what would take the time.
    note, classes, onset, hold, no_onset = ops.split(
        ops.matmul(x, projection),
        np.cumsum([_NOTE_UNITS, 12, 1, 1]).tolist(), axis=-1)
    last = carried(no_onset[..., 0])
    sounding = carried(hold[..., 0])

    before = _at_step_before(ops.concatenate([
        ops.matmul(last, ops.concatenate([note, onset], axis=-1)),
        ops.matmul(sounding, onset),
        ops.log(1 + ops.sum(last, axis=-1, keepdims=True)),
    ], axis=-1))
    step = self.step(ops.concatenate([note, onset, hold, before], axis=-1))
    around = self.around(step)

    num_notes = ops.sum(onset, axis=1) + 1e-2

    def over_notes(values):
      return ops.sum(values * onset, axis=1) / num_notes

    # How long what starts at a step sounds.
    length = ops.sum(sounding, axis=1)[..., None]
    heard = ops.sum(classes * length, axis=1)

    count = ops.sum(x, axis=1)[:, FIRST_PITCH:]
    register = self.register(ops.concatenate(
        [count / num_notes, 1 - ops.exp(-2 * count)], axis=-1))

    phase = ops.one_hot(ops.arange(ops.shape(x)[1]) % 16, 16)
    num_steps = ops.cast(ops.shape(x)[1], x.dtype)
    summary = ops.concatenate([
        over_notes(step), over_notes(around), ops.mean(around, axis=1),
        register, ops.matmul(onset[..., 0], phase) / num_notes,
        num_notes / num_steps,
        ops.sum(heard, axis=-1, keepdims=True) / num_steps,
        ops.log(num_notes),
    ], axis=-1)
    return summary, heard, ops.sum(classes, axis=1), classes, sounding


def intervals(lower, upper):
  """How often one voice is so many semitones above another, [batch, 12].

  Args:
    lower: the pitch classes that sound at each step, [batch, steps, 12].
    upper: likewise.
  """
  together = ops.matmul(ops.transpose(lower, (0, 2, 1)), upper)
  # Row by row from the diagonal on, so that columns are intervals.
  rotated = ops.take(
      ops.reshape(together, (-1, 144)),
      (12 * np.arange(12)[:, None] + rotations()).ravel(), axis=1)
  return ops.sum(ops.reshape(rotated, (-1, 12, 12)), axis=1) / (
      ops.cast(ops.shape(lower)[1], lower.dtype))


class Critic(keras.Model):
  """Estimates VA from what a decoder emits.

  Attributes:
    mean: what `regress` says of a corpus on average, (valence, arousal).
    slope: what stretches the corpus to the spread of people's ratings.
    num_voices: how many are read: 1, the melody; 2, the bass too.
  """

  kind = checkpoints.CRITIC
  # Of its attributes what is saved: of each axis, and as it is.
  calibration = ('mean', 'slope')
  settings = ('num_voices',)

  def __init__(
      self, mean=(0.0, 0.0), slope=(1.0, 1.0), num_voices=1, **kwargs):
    super().__init__(**kwargs)
    self.mean = np.asarray(mean, np.float32)
    self.slope = np.asarray(slope, np.float32)
    self.num_voices = num_voices
    dense = keras.layers.Dense
    self.voices = [Voice() for _ in range(num_voices)]
    self.key = dense(_KEY_UNITS, 'silu')
    self.hidden = [dense(units, 'silu') for units in _HIDDEN_UNITS]
    self.out = dense(2)
    # Makes the weights.
    self(np.zeros((1, 16, num_voices * NUM_TOKENS), np.float32))

  def regress(self, x):
    """Expected rating, the estimate of least squared error.

    Args:
      x: float [batch, steps, depth], of which the first 90, or with two voices
        twice 90, are one-hot or probabilities of tokens.

    Returns:
      float [batch, 2], valence and arousal, not clipped.
    """
    x = ops.convert_to_tensor(x)
    summaries, heard, struck, classes, sounding = zip(*(
        voice(x[..., i * NUM_TOKENS:(i + 1) * NUM_TOKENS])
        for i, voice in enumerate(self.voices)), strict=True)
    shares = ops.concatenate([
        ops.take(x / (ops.sum(x, axis=-1, keepdims=True) + 1e-2),
                 rotations(), axis=1)
        for of_voice in zip(heard, struck, strict=True) for x in of_voice],
        axis=-1)
    key = self.key(shares)
    summary = [*summaries, ops.max(key, axis=1), ops.mean(key, axis=1)]
    if self.num_voices > 1:
      upper, lower = map(ops.matmul, sounding, classes)
      summary.append(intervals(lower, upper))
    summary = ops.concatenate(summary, axis=-1)
    for layer in self.hidden:
      summary = layer(summary)
    return self.out(summary)

  def call(self, x):
    """VA: `regress` stretched over the plane. Shapes are the same."""
    return (self.regress(x) - self.mean) * self.slope


def shipped(num_outputs: int) -> pathlib.Path:
  """The folder of the critic for decoders of so many outputs."""
  return checkpoints.path('critic_va' if num_outputs == 1 else 'trio_critic_va')


def load(folder: str | os.PathLike | None = None,
         model_class: type[keras.Model] = Critic):
  """The critic that `save` wrote, frozen.

  Args:
    folder: holds config.json and weights.npz; by default the shipped one of
      the class.
    model_class: of the critic.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the files are damaged or were made for another critic.
  """
  def build(config, arrays):
    model = model_class(
        **{name: [float(config['calibration'][axis][name]) for axis in AXES]
           for name in model_class.calibration},
        **{name: config[name] for name in model_class.settings})
    model.set_weights([arrays[str(i)] for i in range(len(arrays))])
    return model

  model = checkpoints.load(folder, model_class.kind, build)
  model.trainable = False
  return model


def save(model, folder: str | os.PathLike):
  """Writes what `load` reads; each file is whole or not there.

  Args:
    model: weights are written as float16, which moves no estimate by .01.
    folder: exists.
  """
  checkpoints.write(folder, model.kind, {
      **{name: getattr(model, name) for name in model.settings},
      'calibration': {
          axis: {name: float(getattr(model, name)[i])
                 for name in model.calibration}
          for i, axis in enumerate(AXES)},
  }, {
      str(i): keras.ops.convert_to_numpy(weight).astype(np.float16)
      for i, weight in enumerate(model.weights)})
