"""Metrics against values worked out by hand and against scipy and sklearn."""

import math

import numpy as np
import pytest
import sklearn.metrics
from scipy import stats

from va_magenta import VA, Scale
from va_magenta.figures import metrics


@pytest.fixture
def points():
  """Ratings and correlated estimates of them, each [200, 2]."""
  rng = np.random.default_rng(0)
  rated = rng.uniform(-1, 1, (200, 2))
  return rated, 0.6 * rated + 0.1 + 0.2 * rng.standard_normal((200, 2))


def test_one_axis_against_scipy_and_sklearn(points):
  rated, predicted = (side[:, 0] for side in points)
  assert metrics.pearson_r(rated, predicted) == pytest.approx(
      stats.pearsonr(rated, predicted).statistic)
  assert metrics.r2(rated, predicted) == pytest.approx(
      sklearn.metrics.r2_score(rated, predicted))
  assert metrics.mae(rated, predicted) == pytest.approx(
      sklearn.metrics.mean_absolute_error(rated, predicted))
  assert metrics.rmse(rated, predicted) == pytest.approx(
      sklearn.metrics.root_mean_squared_error(rated, predicted))


def test_ccc_by_hand():
  # Means 2 and 3, variances 2/3 and 2/3, covariance 2/3.
  assert metrics.ccc([1, 2, 3], [2, 3, 4]) == pytest.approx(
      2 * (2 / 3) / (2 / 3 + 2 / 3 + 1))


def test_ccc_sees_the_offset_and_spread_that_pearson_r_does_not():
  rated = np.linspace(-1, 1, 11)
  for predicted in (rated + 0.5, rated / 4):
    assert metrics.pearson_r(rated, predicted) == pytest.approx(1)
    assert metrics.ccc(rated, predicted) < 0.8


def test_perfect_estimates(points):
  rated, _ = points
  figures = metrics.evaluate(rated, rated)
  for name, value in figures.items():
    perfect = 0 if name.endswith(('rmse', 'mae')) else 1
    assert value == pytest.approx(perfect), name


def test_the_order_of_arguments_matters_to_r2(points):
  rated, predicted = (side[:, 0] for side in points)
  assert metrics.r2(rated, predicted) != pytest.approx(
      metrics.r2(predicted, rated))


def test_the_mean_of_the_ratings_has_r2_zero_and_no_correlation():
  rated = np.array([-0.5, 0.1, 0.7])
  mean = np.full(3, rated.mean())
  assert metrics.r2(rated, mean) == pytest.approx(0)
  assert metrics.ccc(rated, mean) == pytest.approx(0)
  assert math.isnan(metrics.pearson_r(rated, mean))


def test_undefined_is_nan():
  constant = [0.1, 0.1, 0.1]
  assert math.isnan(metrics.pearson_r(constant, [0, 1, 2]))
  assert math.isnan(metrics.r2(constant, [0, 1, 2]))
  assert math.isnan(metrics.ccc([0.5, 0.5], [0.5, 0.5]))


def test_quadrant_accuracy_agrees_with_va(points):
  rated, predicted = points
  expected = np.mean([
      VA.clip(*r).quadrant == VA.clip(*p).quadrant
      for r, p in zip(rated, predicted, strict=True)
  ])
  assert 0 < expected < 1
  assert metrics.quadrant_accuracy(rated, predicted) == expected


def test_zero_counts_as_high():
  assert metrics.sign_accuracy([0.0, 0.0], [0.5, -0.5]) == 0.5
  assert metrics.quadrant_accuracy([[0, 0], [0, 0]], [[1, 1], [1, -1]]) == 0.5


def test_evaluate_names_both_axes_and_states_errors_on_the_scale(points):
  rated, predicted = points
  plane = metrics.evaluate(rated, predicted)
  oasis = metrics.evaluate(rated, predicted, Scale.OASIS)
  assert plane.keys() == oasis.keys()
  assert plane['arousal/rmse'] == metrics.rmse(rated[:, 1], predicted[:, 1])
  for axis in ('valence', 'arousal'):
    for metric in ('rmse', 'mae'):
      assert oasis[f'{axis}/{metric}'] == pytest.approx(
          3 * plane[f'{axis}/{metric}'])
    assert oasis[f'{axis}/pearson_r'] == plane[f'{axis}/pearson_r']
  assert oasis['quadrant_accuracy'] == plane['quadrant_accuracy']


@pytest.mark.parametrize('rated, predicted, message', [
    ([0, 1], [0, 1, 2], '2 rated points'),
    ([0], [1], 'at least 2'),
    ([0, math.nan], [0, 1], 'rated holds NaN'),
    ([0, 1], [0, math.inf], 'predicted holds NaN or infinity'),
    ([[0, 1], [0, 1]], [0, 1], r'rated must have the shape \[num_points\]'),
])
def test_bad_input_is_one_clear_line(rated, predicted, message):
  with pytest.raises(ValueError, match=message) as error:
    metrics.rmse(rated, predicted)
  assert '\n' not in str(error.value)


def test_evaluate_wants_both_axes():
  with pytest.raises(ValueError, match=r'\[num_points, 2\]'):
    metrics.evaluate([0, 1], [0, 1])


def test_bootstrap_is_the_standard_error_of_a_mean():
  values = np.random.default_rng(0).normal(size=400)
  assert metrics.bootstrap(np.mean, values, seed=0) == pytest.approx(
      values.std() / 20, rel=.15)
