"""Fits the halves of `music_to_va.trees_and_kernel`."""

import numpy as np

from va_magenta.music_to_va.trees_and_kernel import KernelRidge


def fit_kernel(
    scores: np.ndarray, target: np.ndarray, *, gamma: float, penalty: float,
    num_cosines: int, seed: int, weights: np.ndarray | None = None,
    relevance: np.ndarray | float = 1.0) -> KernelRidge:
  """Ridge regression with the kernel exp(-gamma |x - y|^2).

  Args:
    scores: float32 [n, features].
    target: float64 [n].
    gamma: of the kernel.
    penalty: of the sum of squared weights.
    num_cosines: that approximate the kernel.
    seed: of their directions.
    weights: of the rows, [n].
    relevance: what each feature is multiplied by, [features].
  """
  arrays = draw(scores.shape[1], gamma, num_cosines, seed, relevance)
  root = np.ones(len(target), np.float32) if weights is None else np.sqrt(
      weights).astype(np.float32)
  mean = np.average(target, weights=weights)
  found = ridge(
      KernelRidge.cosines(arrays, scores) * root[:, None],
      (target - mean) * root, penalty)
  return KernelRidge({
      **arrays, 'weights': found.astype(np.float32), 'mean': np.array(mean)})


def draw(
    num_features: int, gamma: float, num_cosines: int, seed: int,
    relevance: np.ndarray | float = 1.0) -> dict[str, np.ndarray]:
  """`directions` and `phases` of a `KernelRidge`, as `fit_kernel` has them."""
  rng = np.random.default_rng(seed)
  directions = rng.normal(size=(num_features, num_cosines))
  directions *= np.reshape(relevance, (-1, 1))
  return {
      'directions': (directions * np.sqrt(2 * gamma)).astype(np.float16),
      'phases': rng.uniform(0, 2 * np.pi, num_cosines).astype(np.float32)}


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
