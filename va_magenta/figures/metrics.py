"""How well estimated valence and arousal agree with people's ratings.

Conventions
-----------
Points are rows `(valence, arousal)` of an array [num_points, 2], in [-1, 1] (a
point estimated outside is measured as it is, not clipped). People's ratings
come first, estimates second. A metric of one axis takes the column of that axis
as an array [num_points]. At least two points are needed, and every number must
be finite: anything else is a `ValueError`.

Errors (`rmse`, `mae`) are in the units of what they are given. `evaluate` gives
them on the scale that it is asked for, because the literature states them on
the dataset's own scale.

A metric that is undefined is NaN, not 0: `pearson_r` where either side is
constant, `r2` where the ratings are, `ccc` where both are and are the same.

Metrics
-------
* `pearson_r`: linear correlation; blind to offset and to spread.
* `r2`: coefficient of determination, 1 - residual / total sum of squares; 0 is
  as good as the mean of these ratings, negative is worse.
* `ccc`: concordance correlation coefficient (Lin, "A concordance correlation
  coefficient to evaluate reproducibility", Biometrics 1989); falls with a wrong
  offset or spread as well as with poor correlation.
* `rmse`: root mean squared error.
* `mae`: mean absolute error.
* `sign_accuracy`: share of points on the right side of the axis' middle.
* `quadrant_accuracy`: share of points in the right quadrant of the plane.
* `evaluate`: all of them, for both axes.
"""

import numpy as np

from va_magenta import va
from va_magenta.va import AXES


def _validated(rated, predicted, shape) -> tuple[np.ndarray, np.ndarray]:
  """Both sides as float64, or a ValueError; `shape` is that of one point."""
  rated = np.asarray(rated, np.float64)
  predicted = np.asarray(predicted, np.float64)
  for name, values in (('rated', rated), ('predicted', predicted)):
    if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
      wanted = ', '.join(['num_points', *map(str, shape)])
      raise ValueError(
          f'{name} must have the shape [{wanted}], got {list(values.shape)}')
    if not np.isfinite(values).all():
      raise ValueError(f'{name} holds NaN or infinity')
  if len(rated) != len(predicted):
    raise ValueError(
        f'{len(rated)} rated points cannot be compared with {len(predicted)} '
        'predicted ones')
  if len(rated) < 2:
    raise ValueError(f'at least 2 points are needed, got {len(rated)}')
  return rated, predicted


def pearson_r(rated, predicted) -> float:
  """Pearson's correlation of two arrays [num_points], in [-1, 1]."""
  rated, predicted = _validated(rated, predicted, ())
  # Not by the standard deviation: that of a constant is not quite 0 in floats.
  if np.ptp(rated) == 0 or np.ptp(predicted) == 0:
    return float('nan')
  return float(np.corrcoef(rated, predicted)[0, 1])


def r2(rated, predicted) -> float:
  """Coefficient of determination of two arrays [num_points], at most 1."""
  rated, predicted = _validated(rated, predicted, ())
  if np.ptp(rated) == 0:
    return float('nan')
  residual = np.sum((rated - predicted)**2)
  return float(1 - residual / np.sum((rated - rated.mean())**2))


def ccc(rated, predicted) -> float:
  """Lin's concordance of two arrays [num_points], in [-1, 1]."""
  rated, predicted = _validated(rated, predicted, ())
  covariance = np.mean((rated - rated.mean()) * (predicted - predicted.mean()))
  disagreement = (rated.mean() - predicted.mean())**2
  total = rated.var() + predicted.var() + disagreement
  return float(2 * covariance / total) if total > 0 else float('nan')


def rmse(rated, predicted) -> float:
  """Root mean squared error of two arrays [num_points], in their units."""
  rated, predicted = _validated(rated, predicted, ())
  return float(np.sqrt(np.mean((rated - predicted)**2)))


def mae(rated, predicted) -> float:
  """Mean absolute error of two arrays [num_points], in their units."""
  rated, predicted = _validated(rated, predicted, ())
  return float(np.mean(np.abs(rated - predicted)))


def sign_accuracy(rated, predicted) -> float:
  """Share of an axis [num_points] on the right side of 0, in [0, 1].

  Exactly 0 counts as high, as in `va.Quadrant`.
  """
  rated, predicted = _validated(rated, predicted, ())
  return float(np.mean((rated >= 0) == (predicted >= 0)))


def quadrant_accuracy(rated, predicted) -> float:
  """Share of points [num_points, 2] in the right quadrant, in [0, 1]."""
  rated, predicted = _validated(rated, predicted, (2,))
  return float(np.mean(np.all((rated >= 0) == (predicted >= 0), axis=1)))


def evaluate(
    rated, predicted, scale: va.Scale | None = None) -> dict[str, float]:
  """Every metric, for both axes.

  Args:
    rated: people's points, [num_points, 2] in [-1, 1].
    predicted: estimated points, [num_points, 2] in [-1, 1].
    scale: the scale whose units `rmse` and `mae` are in, such as
      `va.Scale.OASIS` for 1..7; the plane's own -1..1 if None.

  Returns:
    `{'valence/pearson_r': ..., ..., 'arousal/mae': ..., 'quadrant_accuracy':
    ...}`, in the order that this module's docstring lists the metrics.

  Raises:
    ValueError: if the points are not as the module's conventions say.
  """
  rated, predicted = _validated(rated, predicted, (2,))
  units = 1.0
  if scale is not None:
    units = scale.from_plane(1.0) - scale.from_plane(0.0)
  figures = {}
  for i, axis in enumerate(AXES):
    pair = rated[:, i], predicted[:, i]
    for metric in (pearson_r, r2, ccc):
      figures[f'{axis}/{metric.__name__}'] = metric(*pair)
    for metric in (rmse, mae):
      figures[f'{axis}/{metric.__name__}'] = units * metric(*pair)
    figures[f'{axis}/sign_accuracy'] = sign_accuracy(*pair)
  figures['quadrant_accuracy'] = quadrant_accuracy(rated, predicted)
  return figures


def bootstrap(
    function, *arrays, seed: int = 0, num_draws: int = 300) -> float:
  """Standard deviation of a figure over draws of its rows with replacement.

  Args:
    function: of arrays with as many rows as `arrays`, gives a number.
    *arrays: [n, ...] each, drawn together.
    seed: of the draws.
    num_draws: how many.
  """
  rng = np.random.default_rng(seed)
  n = len(arrays[0])
  values = np.array([
      function(*(array[rows] for array in arrays))
      for rows in rng.integers(n, size=(num_draws, n))])
  values = values[~np.isnan(values)]  # A draw may be of one row alone.
  return float(values.std(ddof=1)) if len(values) > 1 else float('nan')
