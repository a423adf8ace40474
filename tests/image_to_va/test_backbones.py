"""The backbones: what they are built of, and whose weights they take."""

import importlib.util
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest

from va_magenta.image_to_va import backbones, model

_CONFIG = model.Config(
    backbones=('efficientnet_lite2',), image_height=64, image_width=96)


def save_as_pytorch(path, arrays):
  """Writes {name: array} as PyTorch before 1.6 did, without PyTorch."""
  class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, key, array):
      self.key, self.array = key, array

  class Pickler(pickle._Pickler):
    """Names PyTorch's functions, which are not there to be pickled."""

    def save_name(self, module, name):
      self.write(b'c' + f'{module}\n{name}\n'.encode())

    def save(self, thing, *args, **kwargs):
      if not isinstance(thing, Tensor):
        return super().save(thing, *args, **kwargs)
      self.save_name('torch._utils', '_rebuild_tensor_v2')
      self.write(b'(')
      # The storage: ('storage', type, key, location, size, view).
      self.write(b'(')
      super().save('storage')
      self.save_name('torch', 'FloatStorage')
      for part in (thing.key, 'cpu', thing.array.size, None):
        super().save(part)
      self.write(b'tQ')
      super().save(0)
      # Strided: the last axis is the slowest, as in converted weights.
      super().save(thing.array.shape)
      super().save(tuple(
          int(np.prod(thing.array.shape[:i]))
          for i in range(thing.array.ndim)))
      self.write(b'tR')

  with path.open('wb') as file:
    for header in (0x1950a86a20f9469cfc6c, 1001, {'little_endian': True}):
      Pickler(file, 2).dump(header)
    Pickler(file, 2).dump({
        name: Tensor(str(i), array)
        for i, (name, array) in enumerate(arrays.items())})
    Pickler(file, 2).dump([str(i) for i in range(len(arrays))])
    for array in arrays.values():
      file.write(array.size.to_bytes(8, 'little'))
      file.write(array.astype(np.float32).tobytes(order='F'))


def test_pytorch_tensors_are_read_as_they_were_strided(tmp_path):
  arrays = {
      'a': np.arange(24, dtype=np.float32).reshape(2, 3, 4),
      'b': np.ones(5, np.float32)}
  save_as_pytorch(tmp_path / 'w.pth', arrays)
  read = backbones._read_pytorch(tmp_path / 'w.pth')
  for name, array in arrays.items():
    np.testing.assert_array_equal(read[name], array)


def test_a_file_of_weights_runs_nothing(tmp_path):
  class Evil:
    def __reduce__(self):
      return print, ('ran',)

  (tmp_path / 'w.pth').write_bytes(pickle.dumps(Evil()))
  with pytest.raises(ValueError, match='not a file of weights') as error:
    backbones._read_pytorch(tmp_path / 'w.pth')
  assert '\n' not in str(error.value) and 'print' in str(error.value)


def test_a_tensor_outside_its_storage_is_refused(tmp_path):
  save_as_pytorch(tmp_path / 'w.pth', {'a': np.zeros((2, 3), np.float32)})
  whole = (tmp_path / 'w.pth').read_bytes()
  (tmp_path / 'w.pth').write_bytes(whole[:-8])
  with pytest.raises(ValueError, match='not a file of weights'):
    backbones._read_pytorch(tmp_path / 'w.pth')


def test_lite2_takes_its_weights_with_batch_norms_folded(tmp_path):
  """A batch norm applied after the stem is what the folded stem computes."""
  pictures = keras.Input((32, 32, 3))
  network = keras.Model(
      pictures, backbones.build('efficientnet_lite2', pictures))
  rng = np.random.default_rng(0)
  arrays = {}
  for layer in network.layers:
    if not layer.weights:
      continue
    kernel = layer.get_weights()[0]
    if isinstance(layer, keras.layers.DepthwiseConv2D):
      kernel = kernel.swapaxes(2, 3)
    kernel = kernel.transpose(3, 2, 0, 1)
    arrays[f'{layer.name}.weight'] = kernel
    for name in ('gamma', 'beta', 'mean', 'variance'):
      arrays[f'{layer.name}.{name}'] = rng.uniform(0.5, 2, kernel.shape[0])
    arrays[f'{layer.name}.count'] = np.zeros(1)
  save_as_pytorch(tmp_path / 'w.pth', arrays)
  stem = network.get_layer('lite2_stem')
  plain = keras.Model(pictures, stem.output)
  batch = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
  before = plain.predict(batch, verbose=0)
  gamma, beta, mean, variance = (
      arrays[f'lite2_stem.{name}'] for name in (
          'gamma', 'beta', 'mean', 'variance'))
  expected = gamma * (before - mean) / np.sqrt(variance + 1e-3) + beta

  loaded = keras.Model(pictures, backbones.build(
      'efficientnet_lite2', pictures, tmp_path / 'w.pth'))
  folded = keras.Model(pictures, loaded.get_layer('lite2_stem').output)
  np.testing.assert_allclose(
      folded.predict(batch, verbose=0), expected, rtol=1e-3, atol=1e-3)
  # Of all stages, and not one too many or too few.
  arrays.popitem()
  save_as_pytorch(tmp_path / 'w.pth', arrays)
  with pytest.raises(ValueError, match='does not hold the weights'):
    backbones.build('efficientnet_lite2', pictures, tmp_path / 'w.pth')


def test_weights_that_are_not(tmp_path):
  config = model.Config(image_height=32, image_width=32)
  with pytest.raises(FileNotFoundError, match='no weights of efficientnet_b0'):
    model.build_features(config, [tmp_path / 'a', tmp_path / 'b'])
  with pytest.raises(ValueError, match='2 backbones take as many files'):
    model.build_features(config, [tmp_path / 'a'])
  text = tmp_path / 'text.weights.h5'
  text.write_text('no')
  with pytest.raises(ValueError, match='not hold the weights of Effic'):
    model.build_features(config, [text, text])
  with pytest.raises(ValueError, match='not a file of weights that PyTorch'):
    model.build_features(_CONFIG, [text])
  with pytest.raises(ValueError, match='efficientnet-lite2-.*pth'):
    model.build_features(_CONFIG, pretrained=True)


def test_without_keras_hub_one_line_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'keras_hub', None)
  with pytest.raises(ImportError, match='pip install keras-hub') as error:
    model.build_features(model.Config(backbones=('clip_vit_base_patch32',)))
  assert '\n' not in str(error.value)


def test_presets_of_keras_hub():
  """By a process of its own: where KerasHub is imported, Magenta cannot be."""
  if importlib.util.find_spec('keras_hub') is None:
    pytest.skip('KerasHub is not installed (it takes Python 3.11)')
  tests = pathlib.Path(__file__).with_name('keras_hub_presets.py')
  done = subprocess.run(
      [sys.executable, '-m', 'pytest', '-q', tests], capture_output=True,
      text=True, check=False)
  assert done.returncode == 0 and '2 passed' in done.stdout, done.stdout
