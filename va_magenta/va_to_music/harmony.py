"""Chord progressions given VA, learned from people's.

  harmony = harmony.load(checkpoints.path('va-cat-band_2bar'))
  chords = harmony.sample(va, present, seed=1, mode='minor')  # [n, half bars]

A recurrent decoder writes a chord every half bar, in the key without
accidentals (C major, A minor): numbers of `music.chords`, to be transposed to
the key that is wanted. It is conditioned on VA and position of each segment of
two bars, on who plays and on the mode.

What shall stand is never drawn: chords asked for, segments of a letter that was
there before, and the end on the tonic. How a piece comes to its end is learned,
too: of several progressions one is drawn by how likely the tonic is after each
(importance resampling), which leaves the progressions that people end so.
"""

import dataclasses
import os
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from va_magenta import checkpoints
from va_magenta.music import chords as chord_names
from va_magenta.va_to_music.decoders import CategoricalDecoder
from va_magenta.va_to_music.tensors import compiled_sampler, shift

SEGMENT_CHORDS = 4  # of two bars
MODES = (None, 'major', 'minor')
NUM_VOICES = 4
_PHRASE_SEGMENTS = 4  # Eight bars, whose positions differ.
# VA, whether it is given; the half bar of the segment, the segment of the
# phrase; whether the segment is the first and the last of the piece.
_CONTROL_DEPTH = 2 + 1 + SEGMENT_CHORDS + _PHRASE_SEGMENTS + 2
_ENDING = 2  # half bars on the tonic
_CANDIDATES = 4
_TONICS = tuple(chord_names.Key(*key).tonic_chord
                for key in ((0, 'major'), (9, 'minor')))


@dataclasses.dataclass(frozen=True)
class HarmonyConfig:
  """Sizes of a model of harmony.

  Attributes:
    units: of the decoder's LSTM layers.
  """

  units: tuple[int, ...] = (128, 128)


class Harmony(keras.Model):
  """p(chords of a piece | VA of its segments, who plays, mode)."""

  def __init__(self, config: HarmonyConfig | None = None, **kwargs):
    super().__init__(**kwargs)
    self.config = config or HarmonyConfig()
    self.decoder = CategoricalDecoder(
        chord_names.NUM_CHORDS, NUM_VOICES + len(MODES), _CONTROL_DEPTH,
        tuple(self.config.units), name='decoder')
    self.loss_tracker = keras.metrics.Mean(name='loss')
    self._draw = compiled_sampler(self._sample_and_weigh)
    self.built = True

  # --- Training.

  def call(self, inputs, training=False):
    """Nats a half bar of each example, with teacher forcing.

    Args:
      inputs: dict of 'chords' int `[batch, half bars]`; 'seen', bool of the
        same shape, which chords the next ones may see; 'weight', float of the
        same shape; 'piece' `[batch, 7]`, see `describe`; 'controls'
        `[batch, half bars, 13]`, see `controls`.
      training: ignored.

    Returns:
      `[batch]`.
    """
    del training
    log_p = self._log_p(
        inputs['chords'], inputs['seen'], inputs['piece'], inputs['controls'])
    weight = inputs['weight']
    return -ops.sum(log_p * weight, axis=1) / ops.maximum(
        ops.sum(weight, axis=1), 1.0)

  def _log_p(self, chords, seen, piece, controls):
    """Log-likelihood of each chord, `[batch, half bars]`."""
    hot = ops.one_hot(chords, chord_names.NUM_CHORDS)
    logits = self.decoder(
        shift(hot * ops.cast(seen, 'float32')[..., None]), piece, controls)
    return ops.sum(hot * ops.log_softmax(logits), axis=-1)

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    """The mean of nats a half bar."""
    del x, y, sample_weight, training
    loss = ops.mean(y_pred)
    self.loss_tracker.update_state(loss)
    return loss

  # --- Use.

  def sample(
      self, va, present, *,
      seed: int | None = None,
      uniform: np.ndarray | None = None,
      mode: str | None = None,
      temperature: float = 1.0,
      guidance: float = 1.0,
      form: str | None = None,
      chords=None,
      final: bool = True) -> np.ndarray:
    """Draws progressions.

    Args:
      va: float `[n, segments, 2]`, in [-1, 1].
      present: which voices play, `[n, 4]` (see `music.band`).
      seed: of the draws; None for another one every time.
      uniform: in place of a seed the randomness itself, `[n, 4, 1 + 4
        segments]` in [0, 1).
      mode: 'major' or 'minor'; None leaves it open.
      temperature: divides the logits.
      guidance: how clearly VA is followed: 1 as was learned, 0 not at all;
        above 1, more.
      form: a letter for each segment; those of the same letter have the same
        chords, but for the end of the piece.
      chords: what shall stand, int `[4 segments]` or `[n, 4 segments]`, in the
        key without accidentals; -1 where a chord is drawn.
      final: whether the last bar is the end of the piece, on the tonic.

    Returns:
      int `[n, 4 segments]`, a chord every half bar.

    Raises:
      ValueError: if an argument does not fit.
    """
    va = np.asarray(va, np.float32)
    n, num_segments = va.shape[:2]
    length = SEGMENT_CHORDS * num_segments
    self._check(va, present, mode, temperature, guidance, form)
    if chords is None:
      chords = -1
    fixed = np.array(np.broadcast_to(chords, (n, length)), np.int32)
    if fixed.max() >= chord_names.NUM_CHORDS or fixed.min() < -1:
      raise ValueError(
          f'chords must lie in -1..{chord_names.NUM_CHORDS - 1}, got '
          f'{fixed.min()}..{fixed.max()}')
    if (fixed >= 0).all():
      return fixed
    if uniform is None:
      uniform = np.random.default_rng(seed).random(
          (n, _CANDIDATES, 1 + length), np.float32)
    elif uniform.shape != (n, _CANDIDATES, 1 + length):
      raise ValueError(
          f'uniform must have shape {[n, _CANDIDATES, 1 + length]}, got '
          f'{list(uniform.shape)}')
    fixed = np.repeat(fixed, _CANDIDATES, axis=0)
    ends = np.zeros((len(fixed), length), bool)
    if final:
      free = fixed[:, -_ENDING:] < 0
      ends[:, -_ENDING:] = free
      # Where the mode is left open, the resampling chooses the tonic, too.
      tonics = _TONICS if mode is None else (
          _TONICS[MODES.index(mode) - 1],)
      tonic = np.resize(tonics, len(fixed))[:, None]
      fixed[:, -_ENDING:] = np.where(free, tonic, fixed[:, -_ENDING:])
    piece = describe(np.repeat(present, _CANDIDATES, 0), mode)
    conditioning = controls(
        np.repeat(va, _CANDIDATES, 0), np.arange(num_segments),
        np.arange(num_segments) == (num_segments - 1 if final else -1))
    origins = _origins(form, num_segments)
    for _ in range(num_segments):
      drawn, weight = map(ops.convert_to_numpy, self._draw(
          piece, conditioning, fixed, ends.astype(np.float32),
          uniform[..., 1:].reshape(-1, length), np.float32(temperature),
          np.float32(guidance)))
      repeated = np.where(fixed >= 0, fixed, drawn[:, origins])
      if (repeated == drawn).all():
        break
      # The same randomness draws the same up to the first segment that is fixed
      # now and was not before.
      fixed = _fixed_so_far(fixed, drawn, repeated, origins)
    drawn, weight = (
        x.reshape(n, _CANDIDATES, *x.shape[1:]) for x in (drawn, weight))
    share = np.exp(weight - weight.max(1, keepdims=True))
    below = np.cumsum(share, 1) <= uniform[:, 0, :1] * share.sum(
        1, keepdims=True)
    best = np.minimum(below.sum(1), _CANDIDATES - 1)
    return drawn[np.arange(n), best]

  def _check(self, va, present, mode, temperature, guidance, form):
    if va.ndim != 3 or va.shape[2] != 2 or not va.shape[1]:
      raise ValueError(
          f'va must have shape [n, segments, 2], got {list(va.shape)}')
    if np.shape(present) != (len(va), NUM_VOICES):
      raise ValueError(
          f'present must have shape {[len(va), NUM_VOICES]}, got '
          f'{list(np.shape(present))}')
    if mode not in MODES:
      raise ValueError(f'mode must be major, minor or None, got {mode!r}')
    if not temperature > 0 or not guidance >= 0:
      raise ValueError(
          'temperature must be above 0 and guidance 0 or more, got '
          f'{temperature} and {guidance}')
    if form is not None and len(form) != va.shape[1]:
      raise ValueError(
          f'the form {form} has {len(form)} letters for {va.shape[1]} segments')

  def _sample_and_weigh(
      self, piece, controls, fixed, ends, uniform, temperature, guidance):
    """Chords `[n, half bars]`, and the log-likelihood of their ends `[n]`."""
    unconditional = ops.concatenate(
        [ops.zeros_like(controls[..., :3]), controls[..., 3:]], axis=-1)
    piece = ops.concatenate([piece, piece])
    controls = ops.concatenate([controls, unconditional])
    chords = self.decoder.sample(
        piece[None], ops.transpose(uniform), temperature, controls, guidance,
        ops.maximum(ops.transpose(fixed), 0), ops.transpose(fixed) >= 0)
    hot = ops.one_hot(chords, chord_names.NUM_CHORDS)
    with_va, without = ops.split(self.decoder(
        shift(ops.concatenate([hot, hot])), piece, controls), 2)
    log_p = ops.sum(hot * ops.log_softmax(
        without + guidance * (with_va - without)), axis=-1)
    return chords, ops.sum(log_p * ends, axis=1)


def describe(present, mode: str | Sequence[str | None] | None) -> np.ndarray:
  """What is known of pieces: who plays `[n, 4]`, and the mode of all or each.

  Returns:
    float32 `[n, 7]`.
  """
  present = np.asarray(present, np.float32)
  modes = [mode] * len(present) if mode is None or isinstance(
      mode, str) else mode
  return np.concatenate(
      [present, np.eye(len(MODES), dtype=np.float32)[
          [MODES.index(m) for m in modes]].reshape(-1, len(MODES))], axis=1)


def controls(va, position, is_last, given=True) -> np.ndarray:
  """What is known of each half bar.

  Args:
    va: float `[n, segments, 2]`.
    position: of each segment in its piece, int `[n, segments]` or `[segments]`.
    is_last: whether a segment is the end of its piece, bool of that shape.
    given: whether VA is, bool that broadcasts to `[n, segments]`.

  Returns:
    float32 `[n, 4 segments, 13]`.
  """
  va = np.asarray(va, np.float32)
  shape = va.shape[:2]
  position, is_last, given = (
      np.broadcast_to(x, shape) for x in (position, is_last, given))
  segments = np.concatenate([
      va * given[..., None], given[..., None],
      np.eye(_PHRASE_SEGMENTS)[position % _PHRASE_SEGMENTS],
      np.stack([position == 0, is_last], -1)], axis=-1)
  halves = np.broadcast_to(
      np.tile(np.eye(SEGMENT_CHORDS), (shape[1], 1)),
      (shape[0], SEGMENT_CHORDS * shape[1], SEGMENT_CHORDS))
  segments = np.repeat(segments, SEGMENT_CHORDS, axis=1)
  return np.concatenate(
      [segments[..., :3], halves, segments[..., 3:]], -1).astype(np.float32)


def _origins(form: str | None, num_segments: int) -> np.ndarray:
  """Of each half bar the first that has its chord, `[half bars]`."""
  first = np.arange(num_segments) if form is None else np.array(
      [form.index(letter) for letter in form])
  return (SEGMENT_CHORDS * first[:, None]
          + np.arange(SEGMENT_CHORDS)).reshape(-1)


def _fixed_so_far(fixed, drawn, repeated, origins):
  """As `fixed`, and every repetition of what will not be drawn anew."""
  at = np.arange(len(origins))
  # Up to here all is as it will be.
  settled = at[(repeated != drawn).any(0)].min()
  return np.where((origins < at) & (origins < settled), repeated, fixed)


def _variables(model: Harmony) -> dict:
  """A model's variables by name."""
  decoder = model.decoder
  named = {
      'initial_kernel': decoder.initial_state.dense.kernel,
      'initial_bias': decoder.initial_state.dense.bias,
      'output_kernel': decoder.output_projection.kernel,
      'output_bias': decoder.output_projection.bias}
  for i, (kernel, bias) in enumerate(
      zip(decoder.lstm.kernels, decoder.lstm.biases, strict=True)):
    named |= {f'lstm_kernel_{i}': kernel, f'lstm_bias_{i}': bias}
  return named


def save(model: Harmony, folder: str | os.PathLike):
  """Writes `harmony.json` and `harmony.npz`, in half precision."""
  checkpoints.write(
      folder, checkpoints.HARMONY, dataclasses.asdict(model.config), {
          name: ops.convert_to_numpy(v).astype(np.float16)
          for name, v in _variables(model).items()})


def load(folder: str | os.PathLike) -> Harmony:
  """The model of harmony of a checkpoint.

  Args:
    folder: with `harmony.json` and `harmony.npz`.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if one is damaged, or they do not fit.
  """
  return checkpoints.load(folder, checkpoints.HARMONY, _build)


def _build(config, arrays) -> Harmony:
  model = Harmony(HarmonyConfig(units=tuple(config.pop('units')), **config))
  for name, variable in _variables(model).items():
    variable.assign(arrays[name].astype(np.float32))
  return model
