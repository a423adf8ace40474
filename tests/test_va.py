"""The plane: what is a point of it, its quadrants, distances and scales."""

import doctest
import math

import numpy as np
import pytest

from va_magenta import va
from va_magenta.va import VA, Quadrant, Scale


def test_examples_in_docstrings():
  results = doctest.testmod(va)
  assert results.attempted >= 2
  assert results.failed == 0


@pytest.mark.parametrize('bad', [
    1.0001, -1.0001, math.nan, math.inf, -math.inf, None, 'high', [0.5]])
@pytest.mark.parametrize('axis', ['valence', 'arousal'])
def test_only_numbers_in_minus_1_to_1_are_points(axis, bad):
  with pytest.raises(ValueError, match=rf'{axis} must be .* in \[-1, 1\]'):
    VA(**({'valence': 0, 'arousal': 0} | {axis: bad}))


def test_coordinates_become_floats():
  point = VA(np.float32(0.5), 1)
  assert type(point.valence) is type(point.arousal) is float
  assert point == VA(0.5, 1.0)
  assert len({point, VA(0.5, 1.0)}) == 1


@pytest.mark.parametrize(('valence', 'arousal', 'quadrant'), [
    (1, 1, Quadrant.Q1), (-1, 1, Quadrant.Q2), (-1, -1, Quadrant.Q3),
    (1, -1, Quadrant.Q4), (0, 0, Quadrant.Q1), (-1e-9, 0, Quadrant.Q2),
    (0, -1e-9, Quadrant.Q4), (-0.0, -0.0, Quadrant.Q1)])
def test_quadrants_turn_counter_clockwise_and_0_is_high(
    valence, arousal, quadrant):
  assert VA(valence, arousal).quadrant is quadrant


def test_distance_is_euclidean():
  assert VA(0.3, -0.2).distance(VA(0.0, 0.2)) == pytest.approx(0.5)
  assert VA(-1, -1).distance(VA(1, 1)) == pytest.approx(2 * math.sqrt(2))
  assert VA(0.1, 0.2).distance(VA(0.1, 0.2)) == 0


def test_clip_brings_estimates_onto_the_plane():
  assert VA.clip(1.2, -7) == VA(1, -1)
  assert VA.clip(0.25, 0.5) == VA(0.25, 0.5)
  with pytest.raises(ValueError, match='finite'):
    VA.clip(math.nan, 0)
  with pytest.raises(ValueError, match='finite'):
    VA.clip(0, math.inf)


@pytest.mark.parametrize(('scale', 'low', 'high'), [
    (Scale.OASIS, 1, 7), (Scale.EMOTIC, 1, 10), (Scale.DEAM, 1, 9),
    (Scale.EIMG, 1, 9), (Scale.EMOTION6, 1, 9), (Scale.UNIT, 0, 1)])
def test_scales_map_their_ends_and_middle_onto_the_plane(scale, low, high):
  middle = (low + high) / 2
  np.testing.assert_array_equal(
      scale.to_plane(np.array([low, middle, high])), [-1, 0, 1])
  ratings = np.linspace(low, high, 13)
  np.testing.assert_allclose(
      scale.from_plane(scale.to_plane(ratings)), ratings, atol=1e-12)
