"""Control figures of music whose answers are known."""

import numpy as np
import pytest

from va_magenta.evaluation import control
from va_magenta.figures import metrics


def _music(function, side=5, num_seeds=3, seed=0):
  """Targets, and what a function (targets, rng) makes of them."""
  targets = control.grid(side)
  rng = np.random.default_rng(seed)
  return targets, np.stack([function(targets, rng) for _ in range(num_seeds)])


def test_grid_is_the_middles_of_cells():
  grid = control.grid(3)
  np.testing.assert_allclose(
      np.unique(grid), [-2 / 3, 0, 2 / 3], atol=1e-8)
  assert len(np.unique(grid, axis=0)) == 9
  np.testing.assert_allclose(control.grid(9).mean(axis=0), 0, atol=1e-9)
  with pytest.raises(ValueError, match='2 targets a side at least, got 1'):
    control.grid(1)


def test_an_oracle_is_perfect():
  figures = control.figures(*_music(lambda targets, rng: targets))
  assert len(figures) == 16
  for name, values in figures.items():
    assert values.shape == (3,)
    perfect = 0 if name.endswith(('mae', 'distance')) else 1
    np.testing.assert_allclose(values, perfect, atol=1e-9, err_msg=name)


def test_a_generator_that_does_not_listen():
  def random(targets, rng):
    return rng.uniform(-1, 1, targets.shape)

  targets, obtained = _music(random, side=9, num_seeds=40)
  figures = control.figures(targets, obtained)
  for axis in metrics.AXES:
    assert figures[f'{axis}/pearson_r'].mean() == pytest.approx(0, abs=.05)
    assert figures[f'{axis}/linearity'].mean() < .05
    # Uniform in an attribute of 0..1 has a deviation of 1/sqrt(12).
    for name in ('consistency', 'restrictiveness'):
      assert figures[f'{axis}/{name}'].mean() == pytest.approx(
          1 - 12**-.5, abs=.03)
  assert figures['quadrant_accuracy'].mean() == pytest.approx(.25, abs=.03)


def test_shuffling_takes_all_agreement():
  targets, obtained = _music(lambda t, rng: t, side=9, num_seeds=40)
  figures = control.figures(targets, control.shuffled(obtained, seed=1))
  assert abs(figures['valence/pearson_r'].mean()) < .05
  assert figures['quadrant_accuracy'].mean() == pytest.approx(.25, abs=.03)
  # The music is the same, in another order; and again the same.
  again = control.shuffled(obtained, seed=1)
  np.testing.assert_array_equal(again, control.shuffled(obtained, seed=1))
  np.testing.assert_array_equal(
      np.sort(again[0], axis=0), np.sort(obtained[0], axis=0))


def test_what_ignores_its_targets_is_restrictive_and_no_more():
  figures = control.figures(*_music(
      lambda targets, rng: np.full_like(targets, rng.uniform(-1, 1))))
  assert np.isnan(figures['arousal/pearson_r']).all()
  np.testing.assert_allclose(figures['valence/restrictiveness'], 1)
  assert figures['valence/consistency'].mean() < 1


def test_an_axis_that_moves_the_other_is_not_restrictive():
  def entangled(targets, rng):
    return np.stack([targets[:, 0], targets[:, 0]], axis=1)

  figures = control.figures(*_music(entangled))
  # Arousal varies with the target of valence: deviation of -.8, -.4, ... .8.
  assert figures['valence/restrictiveness'][0] == pytest.approx(
      1 - np.std([-.4, -.2, 0, .2, .4]))
  assert figures['arousal/restrictiveness'][0] == pytest.approx(1)
  assert figures['valence/consistency'][0] == pytest.approx(1)


def test_noise_of_a_known_size_lowers_consistency_by_half_of_it():
  figures = control.figures(*_music(
      lambda t, rng: t + rng.normal(0, .2, t.shape), side=9, num_seeds=30))
  assert figures['arousal/consistency'].mean() == pytest.approx(.9, abs=.005)


def test_targets_on_a_border_are_in_no_quadrant():
  targets = control.grid(3)
  obtained = np.where(targets == 0, -1, targets)[None]
  assert control.quadrant_accuracy(targets, obtained) == 1


def test_halves_are_told_axis_by_axis():
  targets = control.grid(3)
  # Valence is obeyed on the right only, arousal is turned round; what is asked
  # on the border does not count.
  obtained = np.stack([np.abs(targets[:, 0]) + .1, -targets[:, 1]], axis=-1)
  figures = control.figures(targets, obtained[None])
  assert figures['valence/half_plane_accuracy'] == [.5]
  assert figures['arousal/half_plane_accuracy'] == [0]


def test_shapes_must_match():
  with pytest.raises(ValueError, match=r'\[9, 2\] targets need as many'):
    control.figures(control.grid(3), np.zeros((2, 8, 2)))
