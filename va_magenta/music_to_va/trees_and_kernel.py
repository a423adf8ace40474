"""The mean of boosted trees and of a kernel regression, as arrays for numpy.

So estimate `symbolic` and `audio`; `training.trees_and_kernel` fits them. The
Gaussian kernel is approximated by random cosines (Rahimi and Recht, "Random
features for large-scale kernel machines", NIPS 2007), so that no training
example has to be kept.
"""

from collections.abc import Mapping

import numpy as np

from va_magenta.trees import Trees
from va_magenta.va import AXES


class KernelRidge:
  """Ridge regression with a Gaussian kernel.

  Attributes:
    arrays: `directions` [features, cosines], float16; `phases` [cosines];
      `weights` [cosines]; `mean`, a number.
  """

  def __init__(self, arrays: dict[str, np.ndarray]):
    self.arrays = arrays

  @staticmethod
  def cosines(arrays: dict[str, np.ndarray], scores: np.ndarray) -> np.ndarray:
    """Float32 [n, cosines], whose products approximate the kernel."""
    directions = arrays['directions'].astype(np.float32)
    return np.sqrt(np.float32(2 / directions.shape[1])) * np.cos(
        scores @ directions + arrays['phases'])

  def predict(self, scores: np.ndarray) -> np.ndarray:
    """Float64 [n] for float32 [n, features]."""
    return self.arrays['mean'] + (
        self.cosines(self.arrays, scores) @ self.arrays['weights']
    ).astype(np.float64)


class TreesAndKernel:
  """Estimates valence and arousal.

  Attributes:
    kernels: by axis.
    trees: by axis.
    calibration: by axis; see `training.held_out.calibration_of`.
    mean: of the ratings that were learned from, (valence, arousal).
    residual_std: standard deviation of people's mean rating about `regress`,
      (valence, arousal), measured on pieces that were not trained on.
  """

  def __init__(
      self, kernels: Mapping[str, KernelRidge], trees: Mapping[str, Trees],
      calibration: Mapping[str, Mapping[str, float]]):
    self.kernels, self.trees, self.calibration = kernels, trees, calibration
    self.mean, self.residual_std = (
        np.array([calibration[axis][name] for axis in AXES])
        for name in ('mean', 'residual_std'))

  def arrays(self) -> dict[str, np.ndarray]:
    """Kernels and trees by name, as `below` reads them."""
    return {
        f'{axis}/{part}/{name}': array
        for part, models in (('kernel', self.kernels), ('trees', self.trees))
        for axis in AXES for name, array in models[axis].arrays.items()}

  def _mean_of_both(
      self, inputs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Float64 [n, 2]; trees see `inputs`, kernels `scores`, [n, features]."""
    return np.stack([
        (self.trees[axis].predict(inputs) + self.kernels[axis].predict(scores))
        / 2 for axis in AXES], axis=1)

  def calibrate(self, expected: np.ndarray) -> np.ndarray:
    """Stretches estimates [n, 2] about the mean to the spread of ratings.

    What is expected of uncertain pieces lies near the mean; stretched, the
    estimates of many pieces cover as much of the plane as ratings do.
    """
    return calibrated(expected, self.calibration)


def calibrated(
    expected: np.ndarray, calibration: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
  """Estimates [n, 2] stretched about the mean; see `TreesAndKernel`."""
  mean, slope = (
      np.array([calibration[axis][name] for axis in AXES])
      for name in ('mean', 'slope'))
  return mean + (expected - mean) * slope


def below(arrays: Mapping[str, np.ndarray], part: str, kind: type) -> dict:
  """Models by axis, of the arrays that are named AXIS/PART/NAME."""
  return {
      axis: kind({
          name.removeprefix(f'{axis}/{part}/'): array
          for name, array in arrays.items()
          if name.startswith(f'{axis}/{part}/')}) for axis in AXES}
