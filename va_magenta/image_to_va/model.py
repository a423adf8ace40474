"""The Keras model that places a picture on the valence-arousal plane.

A convolutional backbone looks at the picture and at its mirror image (which
feels the same); its activations at a few depths are averaged over positions,
and one linear layer reads valence and arousal from them.

  from va_magenta.image_to_va import model
  model.estimate_va('picture.jpg')                   # the shipped model
  model.load('my_checkpoint').predict([pixels, ...])  # any other, many pictures
"""

import dataclasses
import functools
import json
import os
import pathlib
import zipfile
from collections.abc import Sequence

import keras
import numpy as np
from PIL import Image

from va_magenta import checkpoints
from va_magenta.image_to_va import images as images_lib
from va_magenta.va import VA

_CONFIG_FILE = 'config.json'
_WEIGHTS_FILE = 'weights.npz'
# Pictures a call of the network, each with its mirror image.
BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Config:
  """What the network is built from; `config.json` of a checkpoint.

  Attributes:
    backbone: name of a model in `keras.applications` that takes RGB in 0..255.
    image_height: rows that a picture is resized to; proportions are not kept.
    image_width: columns that a picture is resized to.
    feature_layers: layers of the backbone whose activations are read.
  """

  backbone: str = 'EfficientNetB0'
  image_height: int = 288
  image_width: int = 384
  feature_layers: Sequence[str] = (
      'block5c_add', 'block6d_add', 'block7a_project_bn', 'top_activation')


def build_backbone(
    config: Config, weights: str | os.PathLike | None = None) -> keras.Model:
  """The headless network: RGB in 0..255 [n, height, width, 3] to features.

  Args:
    config: what to build.
    weights: `.weights.h5` of `keras.applications`' model without its top;
      random if None.

  Returns:
    A model with the output [n, num_features].

  Raises:
    OSError, ValueError: if the config names something that does not exist or
      the weights do not fit.
  """
  application = getattr(keras.applications, config.backbone, None)
  if not callable(application):
    raise ValueError(
        f'keras.applications has no backbone called {config.backbone!r}')
  backbone = application(
      weights=None, include_top=False,
      input_shape=(config.image_height, config.image_width, 3))
  if weights is not None:
    if not os.path.isfile(weights):
      raise FileNotFoundError(f'there are no backbone weights at {weights}')
    try:
      backbone.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
      raise ValueError(
          f'{weights} does not hold the weights of {config.backbone} without '
          f'its top: {error}') from error
  pool = keras.layers.GlobalAveragePooling2D
  pooled = [
      pool(name=f'{name}_mean')(backbone.get_layer(name).output)
      for name in config.feature_layers
  ]
  features = keras.layers.Concatenate(name='features')(
      pooled) if len(pooled) > 1 else pooled[0]
  return keras.Model(backbone.input, features, name=config.backbone)


class ImageToVa:
  """A network with its head and what it needs to know about pictures.

  Attributes:
    config: what the network was built from.
    network: RGB in 0..255 [n, height, width, 3] to (valence, arousal) [n, 2],
      nominally in [-1, 1] but not clipped.
  """

  def __init__(self, config: Config, backbone: keras.Model):
    self.config = config
    self.network = keras.Model(
        backbone.input, keras.layers.Dense(2, name='va')(backbone.output))

  def set_head(self, kernel: np.ndarray, bias: np.ndarray):
    """Sets the linear layer: kernel [num_features, 2] and bias [2]."""
    self.network.get_layer('va').set_weights([kernel, bias])

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
    weights = []
    for variable in self.network.weights:
      value = keras.ops.convert_to_numpy(variable)
      floating = np.issubdtype(value.dtype, np.floating)
      weights.append(value.astype(np.float16) if floating else value)
    temporary = folder / f'.{_WEIGHTS_FILE}.tmp'
    with temporary.open('wb') as file:
      np.savez_compressed(file, *weights)
    os.replace(temporary, folder / _WEIGHTS_FILE)
    temporary = folder / f'.{_CONFIG_FILE}.tmp'
    temporary.write_text(
        json.dumps(dataclasses.asdict(self.config), indent=2) + '\n')
    os.replace(temporary, folder / _CONFIG_FILE)


def run_network(
    network: keras.Model,
    config: Config,
    images: Sequence[np.ndarray],
) -> np.ndarray:
  """Output of a network for pictures, averaged with their mirror images'.

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
  # Tracing the network costs more than several eager calls, so it pays only
  # where there are many.
  one_batch = len(images) <= BATCH_SIZE
  outputs = [np.zeros((0, network.output_shape[-1]), np.float32)]
  for start in range(0, len(images), BATCH_SIZE):
    pixels = np.stack([
        _resized(image, size) for image in images[start:start + BATCH_SIZE]])
    batch = np.concatenate([pixels, pixels[:, :, ::-1]]).astype(np.float32)
    if one_batch:
      output = keras.ops.convert_to_numpy(network(batch, training=False))
    else:
      output = network.predict_on_batch(batch)
    outputs.append(output.reshape(2, len(pixels), -1).mean(axis=0))
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
  folder = pathlib.Path(folder or checkpoints.path('image_va'))
  for name in (_CONFIG_FILE, _WEIGHTS_FILE):
    if not (folder / name).is_file():
      raise FileNotFoundError(
          f'{folder} is not an image model: it has no {name}')
  try:
    config = Config(**json.loads((folder / _CONFIG_FILE).read_text()))
  except (TypeError, ValueError) as error:
    raise ValueError(
        f'{folder / _CONFIG_FILE} is not the config of an image model: {error}'
    ) from error
  path = folder / _WEIGHTS_FILE
  try:
    with np.load(path, allow_pickle=False) as file:
      weights = [file[name] for name in file.files]
  except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f'{path} is damaged or cut short: {error}') from error
  model = ImageToVa(config, build_backbone(config))
  try:
    model.network.set_weights(weights)
  except ValueError as error:
    raise ValueError(
        f'{path} does not hold the weights that {_CONFIG_FILE} beside it asks '
        f'for: {error}') from error
  for layer in model.network.layers:
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
