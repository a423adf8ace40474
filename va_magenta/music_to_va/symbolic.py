"""MIDI -> VA: what people would say a piece feels like, from its notes alone.

  estimator = symbolic.load()
  points = estimator.estimate_va(sequences)  # list of VA, one a NoteSequence

The mean of boosted regression trees (LightGBM, Ke et al. 2017) and of a kernel
ridge regression on `symbolic_features`, fitted to people's ratings of EIMG's
clips by `va_magenta_train_midi --model=student`. More trees say how far people
may be from the estimate of a piece.

Beside the one that is trained on all of EIMG ship two that are trained on one
half of its groups each, so that what one of them taught can be judged by the
other, which knows none of its clips: `load(folder / 'generator')`, and
`'judge'`, of the folder `checkpoints.path('symbolic_va')`.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.music.notes import from_note_sequence
from va_magenta.music_to_va import symbolic_features
from va_magenta.music_to_va.trees_and_kernel import (
  KernelRidge,
  TreesAndKernel,
  below,
)
from va_magenta.trees import Trees
from va_magenta.va import AXES, VA

_MAX_SCORE = 3.0
_SHARE_OF_MELODY = symbolic_features.FEATURE_NAMES.index(
    'top_line_share_of_notes')


@dataclasses.dataclass(frozen=True)
class Standardizer:
  """What the kernel regression sees: features by their mean and deviation.

  Attributes:
    mean: float32 [features].
    std: float32 [features].
  """

  mean: np.ndarray
  std: np.ndarray

  @classmethod
  def of(cls, features: np.ndarray) -> 'Standardizer':
    """Statistics of float32 [n, features]; what is NaN does not count."""
    defined = np.ma.masked_invalid(features)
    return cls(
        defined.mean(axis=0).filled(0).astype(np.float32),
        defined.std(axis=0).filled(0).astype(np.float32) + np.float32(1e-6))

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """Float32 [n, features]; the undefined is at the mean."""
    scores = ((features - self.mean) / self.std).clip(-_MAX_SCORE, _MAX_SCORE)
    return np.nan_to_num(scores)


def spread_inputs(expected: np.ndarray, features: np.ndarray) -> np.ndarray:
  """What tells how far people may be from an estimate.

  Args:
    expected: [n, 2], as `SymbolicVA.regress` gives.
    features: float32 [n, len(FEATURE_NAMES)].

  Returns:
    float32 [n, 3]: where the estimate lies, and whether the piece is all
    melody.
  """
  return np.column_stack(
      [expected, features[:, _SHARE_OF_MELODY]]).astype(np.float32)


class SymbolicVA(TreesAndKernel):
  """Estimates VA from notes.

  Attributes:
    scores: what the kernels see.
    spread: by axis, of the logarithm of the variance.
  """

  def __init__(
      self, scores: Standardizer, spread: Mapping[str, Trees], kernels, trees,
      calibration):
    super().__init__(kernels, trees, calibration)
    self.scores, self.spread = scores, spread

  def regress(self, features: np.ndarray) -> np.ndarray:
    """Expected rating, the estimate of least squared error.

    Args:
      features: float32 [n, len(FEATURE_NAMES)].

    Returns:
      float64 [n, 2], valence and arousal, not clipped. A row of NaN (nothing
      sounds) gets the mean of the training ratings.
    """
    features = np.asarray(features, np.float32)
    return np.where(
        np.isnan(features).all(axis=1, keepdims=True), self.mean,
        self._mean_of_both(features, self.scores(features)))

  def std(self, features: np.ndarray) -> np.ndarray:
    """Standard deviation of people's mean rating about `regress`.

    Args:
      features: float32 [n, len(FEATURE_NAMES)].

    Returns:
      float64 [n, 2], valence and arousal.
    """
    features = np.asarray(features, np.float32)
    inputs = spread_inputs(self.regress(features), features)
    # The trees add up to the logarithm of the variance.
    return np.stack([
        np.exp(self.spread[axis].predict(inputs) / 2) for axis in AXES
    ], axis=1)

  def estimate_va_of_notes(self, pieces: Iterable[np.ndarray]) -> list[VA]:
    """Calibrated estimates for arrays of notes, in their order.

    Args:
      pieces: [notes] of `music.notes.NOTE_DTYPE`; one in which nothing
        sounds gets the mean of the training ratings.
    """
    features = [symbolic_features.extract(notes) for notes in pieces]
    if not features:
      return []
    points = self.calibrate(self.regress(np.stack(features)))
    return [VA.clip(*point) for point in points.tolist()]

  def estimate_va(self, sequences: Iterable) -> list[VA]:
    """Calibrated estimates for NoteSequences, in their order.

    Args:
      sequences: `note_seq.NoteSequence`s; one in which nothing sounds gets the
        mean of the training ratings.
    """
    return self.estimate_va_of_notes(map(from_note_sequence, sequences))


def load(folder: str | os.PathLike | None = None) -> SymbolicVA:
  """The estimator that `va_magenta_train_midi --model=student` wrote.

  Args:
    folder: holds config.json and weights.npz; by default the shipped one.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the files are damaged or were made for other features.
  """
  return checkpoints.load(folder, checkpoints.SYMBOLIC, _build)


def _build(config: dict, arrays: dict) -> SymbolicVA:
  if tuple(config['feature_names']) != symbolic_features.FEATURE_NAMES:
    raise ValueError('it was trained on other features than are extracted now')

  return SymbolicVA(
      Standardizer(arrays['mean'], arrays['std']),
      below(arrays, 'spread', Trees), below(arrays, 'kernel', KernelRidge),
      below(arrays, 'trees', Trees), config['calibration'])


def save(
    folder: pathlib.Path, estimator: SymbolicVA, groups: Sequence[int]):
  """Writes what `load` reads; each file is whole or not there.

  Args:
    folder: exists.
    estimator: to be written.
    groups: of EIMG, trained on: who measures on EIMG holds them out.
  """
  checkpoints.write(folder, checkpoints.SYMBOLIC, {
      'calibration': estimator.calibration,
      'groups': [int(group) for group in groups],
      'feature_names': symbolic_features.FEATURE_NAMES,
  }, {
      'mean': estimator.scores.mean, 'std': estimator.scores.std,
      **estimator.arrays(),
      **{f'{axis}/spread/{name}': array for axis in AXES
         for name, array in estimator.spread[axis].arrays.items()}})
