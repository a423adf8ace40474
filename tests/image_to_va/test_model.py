"""The picture model: its checkpoint, its input, and what ships."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pandas as pd
import pytest

from va_magenta import VA, Scale, checkpoints
from va_magenta.figures import metrics
from va_magenta.image_to_va import images, model

_EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
_TINY = model.Config(
    backbones=('efficientnet_lite2',), image_height=32, image_width=64)


def random_head(num_features, num_centers=5, num_opinions=4, seed=0):
  """A head of two datasets that gives different points."""
  rng = np.random.default_rng(seed)
  scale = 1 / np.sqrt(num_features)
  compared = np.arange(num_features) > 0
  return model.Head(
      mean=rng.normal(0, 1, num_features),
      scale=rng.uniform(0.5, 1, num_features) * scale,
      compared=compared,
      reach=np.array([0.8]),
      opinions_kernel=rng.normal(0, 1, (num_features, num_opinions)),
      centers=rng.normal(0, scale, (num_centers, num_features)) * compared,
      center_weights=rng.normal(0, 0.5, (num_centers, 2)),
      opinions_weights=rng.normal(0, 0.02, (num_opinions, 4)),
      bias=np.array([0.1, -0.2, -0.3, 0.4]),
      errors=np.array([0.3, 0.2, 0.4, 0.1]),
      kinds_weights=rng.normal(0, 0.2, (num_opinions, 2)),
      kinds_bias=np.array([0.5, 0.4]))


@pytest.fixture(scope='module')
def tiny(randomize):
  """A random model."""
  features = randomize(model.build_features(_TINY))
  return model.ImageToVa(
      _TINY, features, random_head(features.output_shape[-1]))


@pytest.fixture(scope='module')
def shipped():
  """The model that ships."""
  return model.load()


def pictures(num, seed=0):
  """Random blocks of color of different sizes."""
  rng = np.random.default_rng(seed)
  return [
      np.kron(rng.integers(0, 256, (3 + i % 3, 4, 3)),
              np.ones((20, 20, 1))).astype(np.uint8) for i in range(num)]


def coordinates(points):
  """Points as an array [n, 2]."""
  return np.array([[p.valence, p.arousal] for p in points])


def test_few_and_many_pictures_give_the_same(shipped):
  many = pictures(model.BATCH_SIZE + 1)
  assert len({p.shape for p in many}) > 1
  together = coordinates(shipped.predict(many))
  few = coordinates(shipped.predict(many[-3:]))
  np.testing.assert_allclose(together[-3:], few, atol=1e-4)
  assert together.std(axis=0).min() > 1e-3


def test_no_pictures(tiny):
  assert tiny.predict([]) == []


def test_the_head_computes_what_its_docstring_says():
  head = random_head(7)
  features = np.random.default_rng(1).normal(0, 1, (9, 7)).astype(np.float32)
  outputs = keras.ops.convert_to_numpy(model.Mixture(head)(features))
  limited = set()
  for f, output in zip(features, outputs, strict=True):
    z = (f - head.mean) * head.scale
    length = np.linalg.norm(z[1:])
    limited.add(bool(length > 0.8))
    opinions = z @ head.opinions_kernel * min(1, 0.8 / length)
    points = (opinions @ head.opinions_weights + head.bias).reshape(2, 2)
    for center, weights in zip(
        head.centers, head.center_weights, strict=True):
      points[0] += np.exp(-np.sum((z[1:] - center[1:])**2) / 2) * weights
    shares = np.maximum(0, opinions @ head.kinds_weights + head.kinds_bias)
    shares /= shares.sum()
    point = shares @ points
    variance = shares @ (head.errors.reshape(2, 2)**2 + (points - point)**2)
    np.testing.assert_allclose(
        output, [*0.9 * np.tanh(point / 0.9), *np.sqrt(variance)], rtol=1e-3,
        atol=1e-4)
  assert limited == {False, True}


def test_where_raters_disagree_the_spread_is_wide(tiny):
  head = dataclasses.replace(
      random_head(3), opinions_weights=np.zeros((4, 4)),
      center_weights=np.zeros((5, 2)), kinds_weights=np.zeros((4, 2)))
  features = np.zeros((1, 3), np.float32)

  def spread(bias):
    layer = model.Mixture(dataclasses.replace(head, bias=np.array(bias)))
    return keras.ops.convert_to_numpy(layer(features))[0, 2:]

  agreed, apart = spread([0.2, 0, 0.2, 0]), spread([0.8, 0, -0.4, 0])
  assert apart[0] > 1.5 * agreed[0] and apart[1] == pytest.approx(agreed[1])


def test_estimates_have_a_spread(tiny):
  images_ = pictures(2)
  estimates = tiny.estimate(images_)
  assert [e.va for e in estimates] == tiny.predict(images_)
  assert all(0 < s < 2 for e in estimates for s in e.spread)


def test_gradients_reach_the_pixels_of_a_flat_picture(tiny):
  # A root's slope at 0, of a channel that nowhere differs, is infinite.
  tf = pytest.importorskip('tensorflow')
  pixels = tf.fill((1, 32, 64, 3), 80.0)
  with tf.GradientTape() as tape:
    tape.watch(pixels)
    valence = tiny.network(pixels)[0, 0]
  gradient = tape.gradient(valence, pixels).numpy()
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_a_checkpoint_gives_back_its_model(tiny, tmp_path):
  tiny.save(tmp_path)
  loaded = model.load(tmp_path)
  assert loaded.config.image_width == 64
  assert {p.name for p in tmp_path.iterdir()} == {'config.json', 'weights.npz'}
  batch = np.stack([p[:32, :64] for p in pictures(3)]).astype(np.float32)
  expected = keras.ops.convert_to_numpy(tiny.network(batch))
  assert np.ptp(expected[:, :2], axis=0).min() > 1e-4
  np.testing.assert_allclose(
      loaded.network(batch), expected, rtol=0.02,
      atol=0.03 * np.ptp(expected[:, :2], axis=0).min())


@pytest.mark.parametrize('picture', [
    np.zeros((9, 9), np.uint8),
    np.zeros((9, 9, 4), np.uint8),
    np.zeros((0, 9, 3), np.uint8),
    np.zeros((9, 9, 3), np.float32),
])
def test_not_a_picture(tiny, picture):
  with pytest.raises(ValueError, match=r'uint8 \[height, width, 3\]'):
    tiny.predict([picture])


def test_checkpoints_that_are_not(tiny, tmp_path):
  with pytest.raises(FileNotFoundError, match='no config.json'):
    model.load(tmp_path)
  tiny.save(tmp_path)
  config = tmp_path / 'config.json'
  whole = config.read_text()
  for text in ('{', '[]', '{"colour": 1}'):
    config.write_text(text)
    with pytest.raises(ValueError, match='is not an image model') as error:
      model.load(tmp_path)
    assert '\n' not in str(error.value)
  other = json.loads(whole) | {'backbones': ['efficientnet_b0']}
  config.write_text(json.dumps(other))
  with pytest.raises(ValueError, match='is not an image model of this'):
    model.load(tmp_path)
  config.write_text(whole)
  weights = tmp_path / 'weights.npz'
  weights.write_bytes(weights.read_bytes()[:1000])
  with pytest.raises(ValueError, match='not a whole .npz of plain arrays'):
    model.load(tmp_path)


def test_what_ships_agrees_with_the_ratings_it_was_fitted_on(
    shipped, shared_data):
  table = pd.read_csv(shared_data / 'oasis/OASIS.csv')[::25]
  rated = Scale.OASIS.to_plane(
      table[['Valence_mean', 'Arousal_mean']].to_numpy(float))
  estimates = coordinates(shipped.predict([
      images.load_image(shared_data / f'oasis/images/{name.strip()}.jpg')
      for name in table.Theme]))
  for axis in range(2):
    assert metrics.pearson_r(rated[:, axis], estimates[:, axis]) > 0.8
  # A picture people find extreme does not come out grey.
  assert (estimates.std(axis=0) > 0.6 * rated.std(axis=0)).all()


def test_what_ships_is_small_and_has_a_card():
  folder = checkpoints.path('image_va')
  assert sum(p.stat().st_size for p in folder.iterdir()) < 30e6
  card = (folder / 'README.md').read_text()
  for word in (
      'oasis_va', 'dvisa_va, left out', 'Apache-2.0', 'pearson_r',
      'va_magenta_train_image'):
    assert word in card


def test_estimate_va_of_files_and_arrays(tmp_path):
  path = _EXAMPLES / 'meadow.jpg'
  estimate = model.estimate_va(path)
  assert isinstance(estimate, VA)
  assert estimate == model.estimate_va(images.load_image(path))
  with pytest.raises(FileNotFoundError):
    model.estimate_va(tmp_path / 'none.jpg')


def test_examples_lie_where_they_should(shipped):
  names = ('meadow', 'lake', 'storm', 'fireworks', 'rain', 'explosion')
  points = dict(zip(names, shipped.predict(
      [images.load_image(_EXAMPLES / f'{name}.jpg') for name in names]),
                    strict=True))
  for happy in ('meadow', 'lake', 'fireworks'):
    for sad in ('storm', 'rain', 'explosion'):
      assert points[happy].valence > points[sad].valence, (happy, sad)
  for excited in ('fireworks', 'explosion'):
    for calm in ('meadow', 'lake', 'rain'):
      assert points[excited].arousal > points[calm].arousal, (excited, calm)


