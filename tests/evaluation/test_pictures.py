"""From picture to music: figures whose answers are known."""

import numpy as np
import pytest

from va_magenta.evaluation import pictures

RATED = np.random.default_rng(0).uniform(-.6, .6, (150, 2))


def test_music_that_lies_where_the_pictures_do():
  figures = pictures.figures(RATED, RATED, np.stack([RATED] * 3), seed=0)
  for prefix in ('', 'picture/', 'music/'):
    assert figures[f'{prefix}distance'] == (0, 0)
    assert figures[f'{prefix}valence/pearson_r'][0] == pytest.approx(1)
  assert abs(figures['shuffled/arousal/pearson_r'][0]) < .2
  # Two points in a square lie .5214 of its side apart, on average.
  assert figures['shuffled/distance'][0] == pytest.approx(.5214 * 1.2, abs=.06)
  # And a point from its middle .3826.
  assert figures['mean rating/distance'][0] == pytest.approx(
      .3826 * 1.2, abs=.03)


def test_the_way_is_taken_apart():
  rng = np.random.default_rng(1)
  estimated = RATED + [.3, .4]
  judged = np.stack([estimated + rng.normal(0, .05, RATED.shape)] * 2)
  figures = pictures.figures(RATED, estimated, judged, seed=0)
  assert figures['picture/distance'][0] == pytest.approx(.5)
  assert figures['picture/distance'][1] == pytest.approx(0)
  assert figures['music/distance'][0] == pytest.approx(
      .05 * np.sqrt(np.pi / 2), abs=.01)
  assert figures['distance'][0] == pytest.approx(.5, abs=.02)
  assert figures['arousal/pearson_r'][0] > .95


def test_spread_is_the_standard_error_over_pictures():
  judged = np.stack([np.zeros_like(RATED)] * 2)
  judged[:, :, 0] = np.random.default_rng(2).normal(size=len(RATED))
  _, sd = pictures.figures(RATED, RATED, judged, seed=0)['distance']
  distances = np.linalg.norm(RATED - judged[0], axis=1)
  assert sd == pytest.approx(distances.std() / len(RATED)**.5, rel=.2)


def test_some_pictures_are_drawn_alike_every_time():
  shown = pictures.Pictures(RATED, RATED / 2)
  some = shown.some(20, seed=3)
  assert some.rated.shape == (20, 2)
  np.testing.assert_array_equal(some.rated, some.estimated * 2)
  np.testing.assert_array_equal(some.rated, shown.some(20, seed=3).rated)
  assert len(shown.some(1000, seed=3).rated) == len(RATED)
