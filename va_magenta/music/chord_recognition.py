"""Which chord sounds in each half bar of a piece, learned from people.

  recogniser = chord_recognition.load()
  chords = recogniser.recognise(accompaniment, bass, melody, num_half_bars=64)

A small network sees what each pitch class is to a root: how long it sounds in
accompaniment, bass and melody in either half of the half bar, in the half bars
around, near by and in the whole piece. It does so for each of the twelve
roots, with the same weights, and the likeliest root and quality are the chord.
So a piece that is transposed has its chords transposed.
"""

import dataclasses
import os

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import chords
from va_magenta.music.grid import STEPS_PER_CHORD

_PARTS = 2  # of a half bar, that are kept apart
_AROUND = 3  # half bars before and after
_NEAR = 16
_LONGEST_NOTE = 16  # sixteenths that a note counts for
_SILENT_BAR = 2  # sixteenths; a bar with less has no chord
# Parts of a half bar and the half bars around for each of three voices; where
# the bass begins; what sounds near by, and in the whole piece.
NUM_CHANNELS = 3 * (_PARTS + 2 * _AROUND) + 1 + 2
# By root; and whether the half bar is the second of its bar.
NUM_FEATURES = 12 * NUM_CHANNELS + 1


def features(
    accompaniment, bass, melody, num_half_bars: int) -> np.ndarray:
  """The input of the network.

  Args:
    accompaniment: notes, int `[n, 3]`: start and end in sixteenths, MIDI pitch.
    bass: likewise.
    melody: likewise.
    num_half_bars: of the piece.

  Returns:
    float32 `[half bars, channels, 12]`, by pitch class from C.
  """
  bass = np.asarray(bass, np.int64).reshape(-1, 3)
  voices = [
      np.sqrt(_PARTS * _sounding(notes, num_half_bars) / STEPS_PER_CHORD)
      for notes in (accompaniment, bass, melody)]
  channels = [voice[:, part] for voice in voices for part in range(_PARTS)]
  early = bass[bass[:, 0] % STEPS_PER_CHORD < STEPS_PER_CHORD // 2]
  early = early[early[:, 0] < STEPS_PER_CHORD * num_half_bars]
  begins = np.zeros((num_half_bars, 12))
  begins[early[:, 0] // STEPS_PER_CHORD, early[:, 2] % 12] = 1
  channels.append(begins)
  means = [voice.mean(1) for voice in voices]
  padded = [np.pad(m, ((_AROUND, _AROUND), (0, 0))) for m in means]
  channels += [
      p[_AROUND + shift:_AROUND + shift + num_half_bars]
      for shift in range(-_AROUND, _AROUND + 1) if shift for p in padded]
  sums = np.concatenate([np.zeros((1, 12)), np.cumsum(sum(means), axis=0)])
  at = np.arange(num_half_bars)
  first = np.maximum(at - _NEAR, 0)
  end = np.minimum(at + _NEAR + 1, num_half_bars)
  channels += [
      (sums[end] - sums[first]) / (end - first)[:, None],
      np.broadcast_to(sums[-1] / max(num_half_bars, 1), (num_half_bars, 12))]
  return np.stack(channels, axis=1).astype(np.float32)


def _sounding(notes, num_half_bars: int) -> np.ndarray:
  """Sixteenths by pitch class, `[half bars, parts, 12]`."""
  start, end, pitch = np.asarray(notes, np.int64).reshape(-1, 3).T
  end = np.minimum(
      np.minimum(end, start + _LONGEST_NOTE),
      STEPS_PER_CHORD * num_half_bars)
  length = np.maximum(end - start, 0)
  steps = np.repeat(start - np.cumsum(length) + length, length) + np.arange(
      length.sum())
  cell = steps * _PARTS // STEPS_PER_CHORD * 12 + np.repeat(
      pitch % 12, length)
  return np.bincount(
      cell, minlength=num_half_bars * _PARTS * 12).reshape(-1, _PARTS, 12)


def from_each_root(x: np.ndarray) -> np.ndarray:
  """Features relative to each root.

  Args:
    x: see `features`, of a whole piece.

  Returns:
    float32 `[half bars, 12, NUM_FEATURES]`.
  """
  roots = (np.arange(12)[:, None] + np.arange(12)) % 12
  rolled = np.moveaxis(x[..., roots], 2, 1).reshape(len(x), 12, -1)
  is_second = np.broadcast_to(
      (np.arange(len(x)) % 2)[:, None, None], (len(x), 12, 1))
  return np.concatenate([rolled, is_second], -1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class ChordRecogniser:
  """A network of one hidden layer.

  Attributes:
    kernels: float32 `[NUM_FEATURES, units]` and `[units, 8]`.
    biases: `[units]` and `[8]`.
  """

  kernels: tuple[np.ndarray, np.ndarray]
  biases: tuple[np.ndarray, np.ndarray]

  def log_odds(self, x: np.ndarray) -> np.ndarray:
    """Of each chord but none, `[half bars, 96]`, up to a constant."""
    hidden = np.maximum(
        from_each_root(x) @ self.kernels[0] + self.biases[0], 0)
    return (hidden @ self.kernels[1] + self.biases[1]).reshape(len(x), -1)

  def recognise(
      self, accompaniment, bass, melody, num_half_bars: int) -> np.ndarray:
    """The chords of a piece.

    Args:
      accompaniment: see `features`.
      bass: likewise.
      melody: likewise.
      num_half_bars: even.

    Returns:
      uint8 `[half bars]`; bars in which nothing sounds have no chord.
    """
    x = features(accompaniment, bass, melody, num_half_bars)
    found = 1 + self.log_odds(x).argmax(1)
    sounds = np.sum([
        _sounding(notes, num_half_bars).sum((1, 2))
        for notes in (accompaniment, bass, melody)], axis=0)
    silent = sounds.reshape(-1, 2).sum(1) < _SILENT_BAR
    found[np.repeat(silent, 2)] = chords.NO_CHORD
    return found.astype(np.uint8)


def load(folder: str | os.PathLike | None = None) -> ChordRecogniser:
  """A recogniser.

  Args:
    folder: what `va_magenta_train_harmony --model=recognition` wrote; by
      default the one that ships.

  Raises:
    FileNotFoundError: if it is not there.
    ValueError: if it is damaged.
  """
  return checkpoints.load(folder, checkpoints.RECOGNITION, _build)


def _build(config: dict, arrays: dict) -> ChordRecogniser:
  del config
  kernels, biases = (
      tuple(arrays[f'{name}_{i}'].astype(np.float32) for i in range(2))
      for name in ('kernel', 'bias'))
  if kernels[0].shape[0] != NUM_FEATURES or kernels[1].shape[1] != len(
      chords.QUALITIES):
    raise ValueError(
        f'kernels of shapes {[k.shape for k in kernels]} fit another network')
  return ChordRecogniser(kernels, biases)


def save(folder: str | os.PathLike, recogniser: ChordRecogniser, config: dict):
  """Writes what `load` reads, in half precision."""
  arrays = {}
  for i in range(2):
    arrays[f'kernel_{i}'] = recogniser.kernels[i].astype(np.float16)
    arrays[f'bias_{i}'] = recogniser.biases[i].astype(np.float16)
  checkpoints.write(folder, checkpoints.RECOGNITION, config, arrays)
