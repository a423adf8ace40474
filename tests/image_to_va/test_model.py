"""The picture model: its checkpoint, its input, and what ships."""

import json
import pathlib

import keras
import numpy as np
import pytest

from va_magenta import VA, checkpoints
from va_magenta.evaluation import metrics
from va_magenta.image_to_va import images, model, training

_EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
_TINY = model.Config(
    backbone='EfficientNetB0', image_height=32, image_width=64,
    feature_layers=('block2b_add', 'top_activation'))


@pytest.fixture(scope='module')
def tiny():
  """A random model with a head that gives different points."""
  keras.utils.set_random_seed(0)
  network = model.ImageToVa(_TINY, model.build_backbone(_TINY))
  rng = np.random.default_rng(0)
  normalization, = (
      layer for layer in network.network.layers
      if isinstance(layer, keras.layers.Normalization))
  normalization.set_weights([rng.random(3), 0.1 + rng.random(3), np.array(9)])
  normalization.finalize_state()
  num_features = network.network.get_layer('va').kernel.shape[0]
  network.set_head(
      rng.normal(0, 1, (num_features, 2)), np.array([0.1, -0.2]))
  return network


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


def test_a_mirror_image_feels_the_same(shipped):
  picture = pictures(1)[0]
  there, back = shipped.predict([picture, picture[:, ::-1]])
  assert there.distance(back) < 1e-5


def test_a_checkpoint_gives_back_its_model(tiny, tmp_path):
  tiny.save(tmp_path)
  loaded = model.load(tmp_path)
  assert loaded.config.image_width == 64
  assert {p.name for p in tmp_path.iterdir()} == {'config.json', 'weights.npz'}
  batch = np.stack([p[:32, :64] for p in pictures(3)]).astype(np.float32)
  expected = keras.ops.convert_to_numpy(tiny.network(batch))
  assert np.ptp(expected, axis=0).min() > 1e-4
  np.testing.assert_allclose(
      loaded.network(batch), expected, rtol=0.01,
      atol=0.02 * np.ptp(expected, axis=0).min())


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
    with pytest.raises(ValueError, match='is not the config') as error:
      model.load(tmp_path)
    assert '\n' not in str(error.value)
  other = json.loads(whole) | {'feature_layers': ['top_activation']}
  config.write_text(json.dumps(other))
  with pytest.raises(ValueError, match='does not hold the weights'):
    model.load(tmp_path)
  config.write_text(json.dumps(other | {'feature_layers': ['nose']}))
  with pytest.raises(ValueError, match='nose'):
    model.load(tmp_path)
  config.write_text(json.dumps(other | {'backbone': 'NoSuchNet'}))
  with pytest.raises(ValueError, match='NoSuchNet'):
    model.load(tmp_path)
  config.write_text(whole)
  weights = tmp_path / 'weights.npz'
  weights.write_bytes(weights.read_bytes()[:1000])
  with pytest.raises(ValueError, match='damaged or cut short'):
    model.load(tmp_path)


def test_backbone_weights_that_are_not(tmp_path):
  with pytest.raises(FileNotFoundError, match='no backbone weights'):
    model.build_backbone(_TINY, tmp_path / 'none.weights.h5')
  (tmp_path / 'text.weights.h5').write_text('no')
  with pytest.raises(ValueError, match='does not hold the weights'):
    model.build_backbone(_TINY, tmp_path / 'text.weights.h5')


def test_what_ships_agrees_with_the_ratings_it_was_fitted_on(
    shipped, shared_data):
  oasis = training.read_oasis(shared_data / 'oasis')
  some = slice(None, None, 25)
  estimates = coordinates(shipped.predict(
      [images.load_image(path) for path in oasis.paths[some]]))
  for axis in range(2):
    assert metrics.pearson_r(
        oasis.ratings[some, axis], estimates[:, axis]) > 0.8


def test_what_ships_is_small_and_has_a_card():
  folder = checkpoints.path('image_va')
  assert sum(p.stat().st_size for p in folder.iterdir()) < 10e6
  card = (folder / 'README.md').read_text()
  for word in ('OASIS', 'Apache-2.0', 'pearson_r', 'va_magenta_train_image'):
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


