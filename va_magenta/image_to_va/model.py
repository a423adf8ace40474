"""The Keras model that places a picture on the valence-arousal plane.

Pretrained backbones look at the picture; means and standard deviations over
positions of their activations at a few depths are its features. The head
compares them with those of the rated pictures that it was fitted on.

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
  """What `Similarity` computes with; arrays of float32.

  With features f, z = (f - mean) * scale; others = z @ others_kernel; and the
  similarity of z to a center c is exp(-|z - c|^2 / 2). Then
  (valence, arousal) = similarities @ center_weights + others @ others_weights
  + bias.

  Attributes:
    mean: [num_features].
    scale: [num_features].
    others_kernel: [num_features, num_others], what raters of other datasets
      would say, up to a constant.
    centers: [num_centers, num_features], z of the pictures fitted on.
    center_weights: [num_centers, 2].
    others_weights: [num_others, 2].
    bias: [2].
  """

  mean: np.ndarray
  scale: np.ndarray
  others_kernel: np.ndarray
  centers: np.ndarray
  center_weights: np.ndarray
  others_weights: np.ndarray
  bias: np.ndarray


class Similarity(keras.layers.Layer):
  """Features [n, num_features] to (valence, arousal) [n, 2]; see `Head`."""

  def __init__(self, head: Head, **kwargs):
    super().__init__(**kwargs)
    for field in dataclasses.fields(head):
      value = np.asarray(getattr(head, field.name), np.float32)
      weight = self.add_weight(
          shape=value.shape, name=field.name, trainable=False)
      weight.assign(value)
      setattr(self, field.name, weight)

  def call(self, features):
    """Estimates, not clipped to the plane."""
    ops = keras.ops
    z = (features - self.mean) * self.scale
    distances = (
        ops.sum(z**2, axis=1, keepdims=True) + ops.sum(self.centers**2, axis=1)
        - 2 * z @ ops.transpose(self.centers))
    return (
        ops.exp(-distances / 2) @ self.center_weights
        + z @ self.others_kernel @ self.others_weights + self.bias)

  def head(self) -> Head:
    """What it was made from."""
    return Head(**{
        field.name: keras.ops.convert_to_numpy(getattr(self, field.name))
        for field in dataclasses.fields(Head)})


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
    A model with the output [n, num_features].

  Raises:
    ImportError, OSError, ValueError: if the config names something that does
      not exist or the weights do not fit.
  """
  if weights and len(weights) != len(config.backbones):
    raise ValueError(
        f'{len(config.backbones)} backbones take as many files of weights, '
        f'got {len(weights)}')
  pictures = keras.Input((config.image_height, config.image_width, 3))
  features = []
  for i, name in enumerate(config.backbones):
    for x in backbones_lib.build(
        name, pictures, weights[i] if weights else None, pretrained):
      features.append(_MeanAndDeviation()(x) if len(x.shape) > 2 else x)
  return keras.Model(
      pictures, keras.layers.Concatenate()(features))


class ImageToVa:
  """A network and what it needs to know about pictures.

  Attributes:
    config: what the network was built from.
    network: RGB in 0..255 [n, height, width, 3] to (valence, arousal) [n, 2],
      nominally in [-1, 1] but not clipped.
  """

  def __init__(self, config: Config, features: keras.Model, head: Head):
    self.config = config
    self._features = features
    self._head = Similarity(head, name='va')
    self.network = keras.Model(features.input, self._head(features.output))

  def predict(self, images: Sequence[np.ndarray]) -> list[VA]:
    """The points of pictures, uint8 RGB [height, width, 3] of any sizes.

    Raises:
      ValueError: if an array is not a picture.
    """
    estimates = run_network(self.network, self.config, images)
    return [VA.clip(float(v), float(a)) for v, a in estimates]

  def save(self, folder: str | os.PathLike):
    """Writes config and weights (as float16: half the size) into `folder`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # In order, not by name: Keras numbers unnamed layers anew in every build.
    arrays = {
        f'backbones/{i:04}': keras.ops.convert_to_numpy(variable)
        for i, variable in enumerate(self._features.weights)}
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
