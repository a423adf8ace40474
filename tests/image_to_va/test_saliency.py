"""The saliency lies on what the estimate hangs on, and nowhere else."""

import types

import keras
import numpy as np
import pytest

from va_magenta.image_to_va import saliency

HEIGHT, WIDTH = 48, 64
# (rows, columns) of the only pixels that each output sees.
SEEN = (
    (slice(4, 16), slice(6, 22)),  # valence
    (slice(26, 42), slice(40, 60)))  # arousal


def _model(weights=(1.0, 1.0)):
  """Valence is the contrast in one rectangle, arousal that in another."""
  pixels = keras.Input((HEIGHT, WIDTH, 3))
  outputs = []
  for (rows, columns), weight in zip(SEEN, weights, strict=True):
    seen = keras.layers.Cropping2D((
        (rows.start, HEIGHT - rows.stop),
        (columns.start, WIDTH - columns.stop)))(pixels)
    contrast = keras.layers.Lambda(
        lambda x, weight=weight: weight * keras.ops.std(
            x, axis=(1, 2, 3), keepdims=True)[:, 0, 0] / 255,
        output_shape=(1,))(seen)
    outputs.append(contrast)
  return types.SimpleNamespace(
      network=keras.Model(pixels, keras.layers.Concatenate()(outputs)),
      config=types.SimpleNamespace(image_height=HEIGHT, image_width=WIDTH))


@pytest.fixture(scope='module')
def model():
  return _model()


def _picture(height=96, width=128, seed=0):
  """Blobs of color all over, of any size."""
  rng = np.random.default_rng(seed)
  blobs = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8)
  return blobs.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]


def _share(of_axis, rectangle, slack=4):
  """How much of a map lies in a rectangle and the blur around it."""
  rows, columns = rectangle
  return of_axis[
      max(rows.start - slack, 0):rows.stop + slack,
      max(columns.start - slack, 0):columns.stop + slack].sum()


@pytest.mark.parametrize('seed', range(3))
def test_each_axis_lies_on_what_it_sees(model, seed):
  maps = saliency.saliency(model, _picture(seed=seed))
  assert maps.shape == (2, HEIGHT, WIDTH)
  assert maps.min() >= 0
  np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1, rtol=1e-4)
  for axis in range(2):
    # The picture's other four fifths get nothing.
    assert _share(maps[axis], SEEN[axis]) > 0.97
    assert _share(maps[axis], SEEN[1 - axis]) < 0.01


def test_the_same_seed_gives_the_same_map(model):
  picture = _picture()
  maps = saliency.saliency(model, picture)
  np.testing.assert_array_equal(maps, saliency.saliency(model, picture))
  assert np.abs(maps - saliency.saliency(model, picture, seed=1)).max() > 1e-6


def test_noise_is_averaged_over_all_samples(model):
  """Two draws agree better the more samples each takes."""
  picture = _picture()

  def difference(num_samples):
    first, second = (
        saliency.saliency(model, picture, num_samples=num_samples, seed=seed)
        for seed in (1, 2))
    return np.abs(first - second).mean()

  assert difference(16) < 0.6 * difference(1)


def test_what_the_picture_does_not_decide_has_no_saliency():
  maps = saliency.saliency(_model(weights=(0.0, 1.0)), _picture())
  assert (maps[0] == 0).all()
  assert maps[1].sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize('shape', [(1, 1), (9, 300), (200, 5)])
def test_pictures_of_any_shape(model, shape):
  maps = saliency.saliency(model, _picture(*shape))
  assert maps.shape == (2, HEIGHT, WIDTH)
  assert np.isfinite(maps).all()


def test_a_picture_of_one_color(model):
  # Without noise it would be NaN: a standard deviation has no slope at 0.
  maps = saliency.saliency(model, np.full((20, 30, 3), 90, np.uint8))
  assert np.isfinite(maps).all()
