"""MIDI -> VA: what people would say a piece feels like, from its notes alone.

  estimator = symbolic.load()
  points = estimator.estimate_va(sequences)  # list of VA, one a NoteSequence
  points = estimator.estimate_va_of_midi(['a.mid', 'b.mid'])

Boosted regression trees on `symbolic_features`, fitted by LightGBM (Ke et al.
2017) to people's ratings of EIMG clips; `va_magenta_train_symbolic` makes them.
"""

import json
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from va_magenta import checkpoints, files
from va_magenta.music_to_va import symbolic_features
from va_magenta.music_to_va.trees import Trees
from va_magenta.va import VA

AXES = ('valence', 'arousal')


class SymbolicVA:
  """Estimates VA from notes.

  Attributes:
    residual_std: standard deviation of people's mean rating about `regress`,
      (valence, arousal), measured on pieces that were not trained on.
  """

  def __init__(self, trees: dict[str, Trees], calibration: dict):
    self._trees = trees
    self._mean = np.array([calibration[axis]['mean'] for axis in AXES])
    self._slope = np.array([calibration[axis]['slope'] for axis in AXES])
    self.residual_std = np.array(
        [calibration[axis]['residual_std'] for axis in AXES])

  def regress(self, features: np.ndarray) -> np.ndarray:
    """Expected rating, the estimate of least squared error.

    Args:
      features: float32 [n, len(FEATURE_NAMES)].

    Returns:
      float64 [n, 2], valence and arousal, not clipped. A row of NaN (nothing
      sounds) gets the mean of the training ratings.
    """
    features = np.asarray(features, np.float32)
    expected = np.stack(
        [self._trees[axis].predict(features) for axis in AXES], axis=1)
    return np.where(
        np.isnan(features).all(axis=1, keepdims=True), self._mean, expected)

  def calibrate(self, expected: np.ndarray) -> np.ndarray:
    """Stretches `regress` about the mean to the spread of people's ratings.

    What is expected of uncertain pieces lies near the mean; stretched, the
    estimates of many pieces cover as much of the plane as ratings do.
    """
    return self._mean + (expected - self._mean) * self._slope

  def _points(self, pieces: Iterable[np.ndarray]) -> list[VA]:
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
    return self._points(map(symbolic_features.from_note_sequence, sequences))

  def estimate_va_of_midi(
      self, paths: Iterable[str | os.PathLike]) -> list[VA]:
    """Calibrated estimates for MIDI files, in their order.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if a file is not MIDI, is damaged or has no notes.
    """
    return self._points(map(symbolic_features.from_midi, paths))


def load(folder: str | os.PathLike | None = None) -> SymbolicVA:
  """The estimator that `va_magenta_train_symbolic` wrote.

  Args:
    folder: holds config.json and trees.npz; by default the shipped one.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the files are damaged or were made for other features.
  """
  folder = pathlib.Path(folder or checkpoints.path('symbolic_va'))
  try:
    config = json.loads((folder / 'config.json').read_text())
    with np.load(folder / 'trees.npz') as arrays:
      trees = {
          axis: Trees({
              name.removeprefix(f'{axis}/'): arrays[name]
              for name in arrays.files if name.startswith(f'{axis}/')
          }) for axis in AXES
      }
    names, calibration = config['feature_names'], config['calibration']
    estimator = SymbolicVA(trees, calibration)
  except FileNotFoundError:
    raise
  except Exception as error:  # zip, json and numpy each have their own.
    raise ValueError(
        f'{folder}: damaged ({type(error).__name__}: {error}); '
        'va_magenta_train_symbolic writes it anew') from error
  if tuple(names) != symbolic_features.FEATURE_NAMES:
    raise ValueError(
        f'{folder}: was trained on other features than this version extracts; '
        'va_magenta_train_symbolic writes it anew')
  return estimator


def save(
    folder: pathlib.Path, trees: dict[str, Trees], calibration: dict):
  """Writes what `load` reads; each file is whole or not there.

  Args:
    folder: exists.
    trees: by axis.
    calibration: `mean`, `slope` and `residual_std` by axis.
  """
  with files.writing(folder / 'trees.npz') as temporary:
    np.savez_compressed(temporary, **{
        f'{axis}/{name}': array
        for axis in AXES for name, array in trees[axis].arrays.items()
    })
  with files.writing(folder / 'config.json') as temporary:
    temporary.write_text(json.dumps({
        'calibration': calibration,
        'feature_names': symbolic_features.FEATURE_NAMES,
    }, indent=1) + '\n')
