"""The Keras model that places a picture on the valence-arousal plane.

Pretrained backbones look at the picture; means and standard deviations over
positions of their activations at a few depths are its features. The head
compares them with those of the rated pictures that it was fitted on, and mixes
what the raters of each dataset would say by how much the picture is of the
dataset's kind.

  from va_magenta.image_to_va import model
  model.estimate_va('picture.jpg')                   # the shipped model
  model.load('my_checkpoint').predict([pixels, ...])  # any other, many pictures
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from va_magenta import checkpoints
from va_magenta.image_to_va import backbones as backbones_lib
from va_magenta.image_to_va import images as images_lib
from va_magenta.va import VA

# Estimates stay this near the middle: hardly any mean of many ratings lies
# farther out, and an estimate that would was extrapolated.
EDGE = 0.9
# Pictures a call of the network.
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Config:
  """What the network is built from; `config.json` of a checkpoint.

  Attributes:
    backbones: names that `backbones.build` knows, whose features are joined.
    image_height: rows that a picture is resized to; proportions are not kept.
    image_width: columns that a picture is resized to.
  """

  backbones: Sequence[str] = ('efficientnet_b0', 'efficientnet_lite2')
  image_height: int = 256
  image_width: int = 320


@dataclasses.dataclass(frozen=True)
class Head:
  """What `Mixture` computes with; arrays of float32.

  With features f, z = (f - mean) * scale, and z' is z where `compared` is 1
  and 0 elsewhere. The opinions are z @ opinions_kernel, times reach / |z'| if
  that is below 1: a picture unlike all that was seen is not extreme for it. The
  similarity of z to a center c is exp(-|z' - c|^2 / 2). Each dataset's raters
  would say similarities @ center_weights (the first dataset) + opinions @
  opinions_weights + bias, and be off by `errors`. They count by how much the
  picture is of their kind: max(0, opinions @ kinds_weights + kinds_bias),
  divided by their sum. What comes out is the mean, bent to `EDGE` x tanh(mean /
  `EDGE`), and the standard deviation of that mixture.

  Attributes:
    mean: [num_features].
    scale: [num_features].
    compared: [num_features], 1 or 0.
    reach: [1].
    opinions_kernel: [num_features, num_opinions].
    centers: [num_centers, num_features], z' of the pictures fitted on.
    center_weights: [num_centers, 2].
    opinions_weights: [num_opinions, 2 * num_datasets].
    bias: [2 * num_datasets].
    errors: [2 * num_datasets], standard deviations.
    kinds_weights: [num_opinions, num_datasets].
    kinds_bias: [num_datasets].
  """

  mean: np.ndarray
  scale: np.ndarray
  compared: np.ndarray
  reach: np.ndarray
  opinions_kernel: np.ndarray
  centers: np.ndarray
  center_weights: np.ndarray
  opinions_weights: np.ndarray
  bias: np.ndarray
  errors: np.ndarray
  kinds_weights: np.ndarray
  kinds_bias: np.ndarray


class Mixture(keras.layers.Layer):
  """Features [n, num_features] to points and spreads [n, 4]; see `Head`."""

  def __init__(self, head: Head, **kwargs):
    super().__init__(**kwargs)
    for field in dataclasses.fields(head):
      value = np.asarray(getattr(head, field.name), np.float32)
      weight = self.add_weight(
          shape=value.shape, name=field.name, trainable=False)
      weight.assign(value)
      setattr(self, field.name, weight)

  def call(self, features):
    """(valence, arousal, their spreads)."""
    ops = keras.ops
    z = (features - self.mean) * self.scale
    squares = ops.sum((z * self.compared)**2, axis=1, keepdims=True)
    distances = (
        squares + ops.sum(self.centers**2, axis=1)
        - 2 * z @ ops.transpose(self.centers))
    opinions = z @ self.opinions_kernel * ops.minimum(
        1.0, self.reach * ops.rsqrt(squares + 1e-6))
    points = opinions @ self.opinions_weights + self.bias
    first = ops.exp(-distances / 2) @ self.center_weights
    points = ops.reshape(
        ops.concatenate([points[:, :2] + first, points[:, 2:]], axis=1),
        (-1, self.kinds_bias.shape[0], 2))
    shares = 1e-6 + ops.relu(opinions @ self.kinds_weights + self.kinds_bias)
    shares = (shares / ops.sum(shares, axis=1, keepdims=True))[:, :, None]
    point = ops.sum(shares * points, axis=1)
    variance = ops.sum(
        shares * (ops.reshape(self.errors, (-1, 2))**2
                  + (points - point[:, None])**2), axis=1)
    return ops.concatenate(
        [EDGE * ops.tanh(point / EDGE), ops.sqrt(variance + 1e-8)], axis=1)

  def head(self) -> Head:
    """What it was made from."""
    return Head(**{
        field.name: keras.ops.convert_to_numpy(getattr(self, field.name))
        for field in dataclasses.fields(Head)})


@dataclasses.dataclass(frozen=True)
class Estimate:
  """Where a picture lies, and how sure that is.

  Attributes:
    va: the point.
    spread: standard deviations of valence and arousal that people's mean
      rating is expected to have about it, in the plane's unit.
  """

  va: VA
  spread: tuple[float, float]


class _MeanAndDeviation(keras.layers.Layer):
  """[n, ..., channels] to [n, 2 * channels]."""

  def call(self, activations):
    mean, variance = keras.ops.moments(
        activations, axes=list(range(1, len(activations.shape) - 1)))
    # A root has no slope at 0, where a channel is silent throughout.
    return keras.ops.concatenate(
        [mean, keras.ops.sqrt(variance + 1e-6)], axis=-1)


def build_features(
    config: Config,
    weights: Sequence[str | os.PathLike] = (),
    pretrained: bool = False,
) -> keras.Model:
  """The headless network: RGB in 0..255 [n, height, width, 3] to features.

  Args:
    config: what to build.
    weights: a file for each backbone, in order; see `backbones.build`.
    pretrained: without `weights`: see `backbones.build`.

  Returns:
    A model with the output [n, num_features], early depths first (see
    `depths`).

  Raises:
    ImportError, OSError, ValueError: if the config names something that does
      not exist or the weights do not fit.
  """
  if weights and len(weights) != len(config.backbones):
    raise ValueError(
        f'{len(config.backbones)} backbones take as many files of weights, '
        f'got {len(weights)}')
  pictures = keras.Input((config.image_height, config.image_width, 3))
  early, late = [], []
  for i, name in enumerate(config.backbones):
    depths = [
        _MeanAndDeviation()(x) if len(x.shape) > 2 else x
        for x in backbones_lib.build(
            name, pictures, weights[i] if weights else None, pretrained)]
    num_early = backbones_lib.NUM_EARLY.get(name, 0)
    early += depths[:num_early]
    late += depths[num_early:]
  return keras.Model(
      pictures, keras.layers.Concatenate(name='features')(early + late))


def depths(config: Config, network: keras.Model) -> tuple[list[int], int]:
  """The depths whose features `build_features` joined, early ones first.

  Returns:
    How many features each has, and how many depths are early.
  """
  joined = network.get_layer('features').input
  sizes = [x.shape[-1] for x in keras.tree.flatten(joined)]
  return sizes, sum(
      backbones_lib.NUM_EARLY.get(name, 0) for name in config.backbones)


class ImageToVa:
  """A network and what it needs to know about pictures.

  Attributes:
    config: what the network was built from.
    features: the network up to the head, of `build_features`.
    network: RGB in 0..255 [n, height, width, 3] to [n, 4]: valence and
      arousal, within `EDGE`, and their spreads.
  """

  def __init__(self, config: Config, features: keras.Model, head: Head):
    self.config = config
    self.features = features
    self._head = Mixture(head, name='va')
    self.network = keras.Model(features.input, self._head(features.output))

  def predict(self, images: Sequence[np.ndarray]) -> list[VA]:
    """The points of pictures; see `estimate`."""
    return [estimate.va for estimate in self.estimate(images)]

  def estimate(self, images: Sequence[np.ndarray]) -> list[Estimate]:
    """Points and spreads of pictures, uint8 RGB [height, width, 3] of any size.

    Raises:
      ValueError: if an array is not a picture.
    """
    return [
        Estimate(VA.clip(valence, arousal), tuple(spread))
        for valence, arousal, *spread in run_network(
            self.network, self.config, images).tolist()]

  def save(self, folder: str | os.PathLike):
    """Writes config and weights (as float16: half the size) into `folder`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # In order, not by name: Keras numbers unnamed layers anew in every build.
    arrays = {
        f'backbones/{i:04}': keras.ops.convert_to_numpy(variable)
        for i, variable in enumerate(self.features.weights)}
    arrays |= {
        f'head/{name}': value
        for name, value in dataclasses.asdict(self._head.head()).items()}
    for name, value in arrays.items():
      if np.issubdtype(value.dtype, np.floating):
        arrays[name] = value.astype(np.float16)
    checkpoints.write(
        folder, checkpoints.IMAGE, dataclasses.asdict(self.config), arrays)


def run_network(
    network: keras.Model,
    config: Config,
    images: Sequence[np.ndarray],
) -> np.ndarray:
  """Output of a network for pictures; its first call compiles the network.

  Args:
    network: takes RGB in 0..255 [n, height, width, 3].
    config: says the height and width.
    images: uint8 RGB [height, width, 3] of any sizes.

  Returns:
    float32 [num_images, network's outputs].

  Raises:
    ValueError: if an array is not a picture.
  """
  size = (config.image_width, config.image_height)
  outputs = [np.zeros((0, network.output_shape[-1]), np.float32)]
  for start in range(0, len(images), BATCH_SIZE):
    batch = np.stack([
        _resized(image, size) for image in images[start:start + BATCH_SIZE]
    ]).astype(np.float32)
    # Not eagerly, which takes ten times as long for each picture.
    outputs.append(network.predict_on_batch(batch))
  return np.concatenate(outputs)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
  image = np.asarray(image)
  if (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3
      or 0 in image.shape):
    raise ValueError(
        'a picture must be an array of uint8 [height, width, 3], got '
        f'{image.dtype} {list(image.shape)}')
  return np.asarray(
      Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def load(folder: str | os.PathLike | None = None) -> ImageToVa:
  """Loads a checkpoint that `ImageToVa.save` wrote; the shipped one if None.

  Raises:
    FileNotFoundError: if the folder or a file in it is missing.
    ValueError: if a file is not what it should be.
  """
  return checkpoints.load(folder, checkpoints.IMAGE, _build)


def _build(config: dict, arrays: dict) -> ImageToVa:
  config = Config(**config)
  features = build_features(config)
  features.set_weights([
      value for name, value in arrays.items() if name.startswith('backbones/')
  ])
  head = Head(**{
      name.removeprefix('head/'): value for name, value in arrays.items()
      if name.startswith('head/')})
  model = ImageToVa(config, features, head)
  for layer in features.layers:
    if isinstance(layer, keras.layers.Normalization):
      layer.finalize_state()  # Or it goes on with what it was built with.
  return model


@functools.cache
def _shipped() -> ImageToVa:
  return load()


def estimate_va(picture: str | os.PathLike | np.ndarray) -> VA:
  """The point of one picture, by the model that ships.

  Args:
    picture: a file (see `images.load_image`) or uint8 RGB [height, width, 3].

  Raises:
    OSError, ValueError: if it is not a picture that can be read.
  """
  if not isinstance(picture, np.ndarray):
    picture = images_lib.load_image(picture)  # Errors come before the weights.
  return _shipped().predict([picture])[0]
