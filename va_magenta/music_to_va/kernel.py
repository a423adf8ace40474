"""Ridge regression with a Gaussian kernel, as a few arrays that numpy reads.

The kernel is approximated by random cosines (Rahimi and Recht, "Random features
for large-scale kernel machines", NIPS 2007), so that no training example has to
be kept.
"""

import numpy as np


class KernelRidge:
  """The regression.

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


def draw(
    num_features: int, num_cosines: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Random directions [features, cosines] and phases [cosines].

  The directions are of the kernel exp(-|x - y|^2 / 2); times sqrt(2 gamma) they
  are of exp(-gamma |x - y|^2).
  """
  rng = np.random.default_rng(seed)
  return (
      rng.normal(size=(num_features, num_cosines)),
      rng.uniform(0, 2 * np.pi, num_cosines).astype(np.float32))


def ridge(
    cosines: np.ndarray, targets: np.ndarray, penalty: float) -> np.ndarray:
  """Weights of least squares with a penalty on their squares.

  Args:
    cosines: float32 [n, cosines].
    targets: [n] or [n, k], about 0.
    penalty: of the sum of squared weights.

  Returns:
    Float64 [cosines] or [cosines, k].
  """
  from scipy import linalg

  # By whichever of the two normal equations is smaller.
  is_wide = len(cosines) < cosines.shape[1]
  gram = (cosines @ cosines.T if is_wide else cosines.T @ cosines).astype(
      np.float64)
  gram[np.diag_indices_from(gram)] += penalty
  if is_wide:
    return cosines.T @ linalg.solve(gram, targets, assume_a='pos')
  return linalg.solve(gram, cosines.T @ targets, assume_a='pos')
