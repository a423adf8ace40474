"""Sound -> VA: what people would say that music feels like, from its sound.

  estimator = audio.load()
  points = estimator.estimate_va(['song.mp3', 'piece.mid', sequence])
  windows = estimator.estimate_windows('song.mp3')  # [windows, 2]

Music is the path of a MIDI or audio file, a NoteSequence, or samples with their
rate. What has notes is synthesised in memory; nothing touches the disk.

The model is fitted to people's ratings of DEAM's recordings by
`va_magenta_train_audio`: the mean of boosted trees and of a kernel ridge
regression, both on the means of openSMILE's 65 descriptors. Synthesised MIDI
sounds unlike recordings in ways that have nothing to do with emotion, so each
descriptor is first z-scored by the statistics of its own kind of source:
`RECORDING` or `SYNTHESISED`.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import midi
from va_magenta.music_to_va import audio_features
from va_magenta.music_to_va.trees_and_kernel import (
  KernelRidge,
  TreesAndKernel,
  below,
)
from va_magenta.trees import Trees
from va_magenta.va import VA

SOURCES = RECORDING, SYNTHESISED = 'recording', 'synthesised'
# The means of the descriptors. Those of their deltas are the difference between
# a piece's end and its beginning, divided by its length.
DESCRIPTORS = audio_features.FEATURE_NAMES[:65]
# What these measure spans orders of magnitude, so its logarithm is taken.
_IN_LOGARITHM = np.array([
    any(part in name for part in (
        'F0final', 'audspec', 'audSpec', 'RMSenergy', 'zcr', 'fband', 'RollOff',
        'Flux', 'Centroid', 'Variance', 'Kurtosis', 'Sharpness', 'Harmonicity'))
    for name in DESCRIPTORS])
_MAX_SCORE = 3.0
# A point for a window of half a second is of so many seconds about it.
SMOOTHING_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Normalisation:
  """What makes descriptors of several sources comparable.

  Attributes:
    floor: [65], added before the logarithm is taken.
    mean: [65] by source, of the descriptors after that.
    std: [65] by source.
  """

  floor: np.ndarray
  mean: dict[str, np.ndarray]
  std: dict[str, np.ndarray]

  @classmethod
  def of(
      cls, means: dict[str, np.ndarray], floor: np.ndarray | None = None
  ) -> 'Normalisation':
    """Statistics of pieces: float [n, 65] or wider, by source.

    Without a floor recordings must be among them: it is made a hundredth of
    their median.
    """
    if floor is None:
      floor = .01 * np.abs(
          np.median(means[RECORDING][:, :len(DESCRIPTORS)], axis=0))
    stretched = {
        source: _stretch(values, floor) for source, values in means.items()}
    return cls(
        floor,
        {source: values.mean(axis=0) for source, values in stretched.items()},
        {source: values.std(axis=0) + 1e-9
         for source, values in stretched.items()})

  def apply(self, means: np.ndarray, source: str) -> np.ndarray:
    """z-scores, float32 [n, 65], of means [n, 65] or wider (rest ignored)."""
    scores = (
        _stretch(means, self.floor) - self.mean[source]) / self.std[source]
    return scores.clip(-_MAX_SCORE, _MAX_SCORE).astype(np.float32)


def _stretch(means: np.ndarray, floor: np.ndarray) -> np.ndarray:
  means = np.asarray(means, np.float64)[:, :len(DESCRIPTORS)]
  floor = np.where(_IN_LOGARITHM, floor, 1)  # The others' may be 0.
  return np.where(
      _IN_LOGARITHM, np.log(np.maximum(means, 0) + floor), means)


class AudioVA(TreesAndKernel):
  """Estimates VA from sound.

  Attributes:
    normalisation: what both trees and kernels see.
  """

  def __init__(self, normalisation: Normalisation, kernels, trees, calibration):
    super().__init__(kernels, trees, calibration)
    self.normalisation = normalisation

  def regress(self, means: np.ndarray, source: str) -> np.ndarray:
    """Expected rating, the estimate of least squared error.

    Args:
      means: float [n, 65] or wider, in the order of `DESCRIPTORS`: the mean of
        each over a piece.
      source: one of `SOURCES`.

    Returns:
      float64 [n, 2], valence and arousal, not clipped.
    """
    if source not in SOURCES:
      raise ValueError(
          f'source must be one of {", ".join(SOURCES)}, got {source!r}')
    scores = self.normalisation.apply(means, source)
    return self._mean_of_both(scores, scores)

  def _points(self, means: np.ndarray, source: str) -> np.ndarray:
    return self.calibrate(self.regress(means, source)).clip(-1, 1)

  def of_windows(self, windows: np.ndarray, source: str) -> np.ndarray:
    """Points along a piece.

    Args:
      windows: float [windows, 260], as `audio_features.extract` gives.
      source: one of `SOURCES`.

    Returns:
      float64 [windows, 2], calibrated, in [-1, 1]; that of window i is of the
      `SMOOTHING_SECONDS` about it.
    """
    reach = int(SMOOTHING_SECONDS / audio_features.WINDOW_SECONDS / 2)
    total = np.cumsum(np.pad(
        windows[:, :len(DESCRIPTORS)].astype(np.float64), ((1, 0), (0, 0))),
        axis=0)
    i = np.arange(len(windows))
    first = np.maximum(i - reach, 0)
    last = np.minimum(i + reach + 1, len(windows))
    return self._points(
        (total[last] - total[first]) / (last - first)[:, None], source)

  def of_piece(self, windows: np.ndarray, source: str) -> VA:
    """The point of a whole piece, of what `audio_features.extract` gives."""
    return VA.clip(*self._points(
        windows.mean(axis=0, dtype=np.float64)[None], source)[0].tolist())

  def estimate_va(self, music: Iterable, **how) -> list[VA]:
    """Calibrated estimates, in their order.

    Args:
      music: paths of MIDI or audio files, NoteSequences, or pairs of samples
        and sample rate.
      **how: as `extract` takes.

    Raises:
      OSError: if a file cannot be read, or FluidSynth is missing.
      ValueError: if a file is damaged, silent or too short.
    """
    return [self.of_piece(*extract(piece, **how)) for piece in music]

  def estimate_windows(self, music, **how) -> np.ndarray:
    """Estimates along one piece, as `of_windows`; arguments as `extract`'s."""
    return self.of_windows(*extract(music, **how))


def extract(
    music,
    *,
    source: str | None = None,
    start_seconds: float = 0.0,
    max_seconds: float = audio_features.MAX_SECONDS,
    soundfont: str | os.PathLike | None = None,
) -> tuple[np.ndarray, str]:
  """Features of music, and the kind of its source.

  Args:
    music: path of a MIDI or audio file, NoteSequence, or (samples, sample rate
      in Hz).
    source: one of `SOURCES`; by default `SYNTHESISED` for what has notes and
      `RECORDING` for other sound.
    start_seconds: where to begin.
    max_seconds: of longer music this much is used.
    soundfont: for what has notes; the model knows the default one.

  Returns:
    float32 [windows, 260], and the source.

  Raises:
    OSError: if a file cannot be read, or FluidSynth is missing.
    ValueError: if a file is damaged, silent or too short. It names the file.
  """
  is_file = isinstance(music, (str, os.PathLike))
  try:
    if isinstance(music, tuple):
      samples, rate = music
      begin = round(start_seconds * rate)
      samples = samples[begin:begin + round(max_seconds * rate)]
      kind = RECORDING
    elif is_file and not _is_midi(music):
      samples, rate = audio_features.read(
          music, start_seconds=start_seconds, max_seconds=max_seconds)
      kind = RECORDING
    else:
      from va_magenta.music import synthesis

      samples, rate = synthesis.synthesize(
          music, soundfont=soundfont, start_seconds=start_seconds,
          max_seconds=max_seconds)
      kind = SYNTHESISED
    return audio_features.extract(samples, rate), source or kind
  except ValueError as error:
    if is_file and str(music) not in str(error):
      raise ValueError(f'{music}: {error}') from error
    raise


def _is_midi(path: str | os.PathLike) -> bool:
  with open(path, 'rb') as file:
    head = file.read(audio_features.HEAD_BYTES)
  # A broken MIDI file shall be called that; but sound is sound by any name.
  return midi.begins_as_midi(head) or (
      pathlib.Path(path).suffix.lower() in midi.SUFFIXES
      and not audio_features.begins_as_sound(head))


def load(folder: str | os.PathLike | None = None) -> AudioVA:
  """The estimator that `va_magenta_train_audio` wrote.

  Args:
    folder: holds config.json and weights.npz; by default the shipped one.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the files are damaged or were made for other features.
  """
  return checkpoints.load(folder, checkpoints.AUDIO, _build)


def _build(config: dict, arrays: dict) -> AudioVA:
  if tuple(config['descriptors']) != DESCRIPTORS:
    raise ValueError('it was trained on other features than are extracted now')

  return AudioVA(
      Normalisation(
          arrays['floor'],
          {source: arrays[f'mean/{source}'] for source in SOURCES},
          {source: arrays[f'std/{source}'] for source in SOURCES}),
      below(arrays, 'kernel', KernelRidge), below(arrays, 'trees', Trees),
      config['calibration'])


def save(folder: pathlib.Path, estimator: AudioVA):
  """Writes what `load` reads; each file is whole or not there."""
  seen = estimator.normalisation
  checkpoints.write(folder, checkpoints.AUDIO, {
      'calibration': estimator.calibration, 'descriptors': DESCRIPTORS}, {
          'floor': seen.floor,
          **{f'mean/{source}': seen.mean[source] for source in SOURCES},
          **{f'std/{source}': seen.std[source] for source in SOURCES},
          **estimator.arrays()})
