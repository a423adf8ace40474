"""Magenta is Magenta's own, repaired, and only where it is asked for."""

import importlib
import inspect
import pathlib
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import va_magenta

_SITE_PACKAGES = ('site-packages', 'dist-packages')


@pytest.fixture(scope='module')
def compat():
  return pytest.importorskip('va_magenta.magenta_compat')


def _is_from_the_wheel(thing):
  path = pathlib.Path(inspect.getfile(thing))
  return 'magenta' in path.parts and path.parts[
      path.parts.index('magenta') - 1] in _SITE_PACKAGES


def test_classes_come_from_magentas_wheel(compat):
  from va_magenta.va_to_music import configs

  assert compat.TrainedModel.__module__ == (
      'magenta.models.music_vae.trained_model')
  for thing in (compat.TrainedModel, compat.configs, compat.data):
    assert _is_from_the_wheel(thing)
  assert compat.configs.CONFIG_MAP is sys.modules[
      'magenta.models.music_vae.configs'].CONFIG_MAP
  for name in configs.MAGENTAS:
    config = configs._magenta_config(name)
    assert config is compat.configs.CONFIG_MAP[name]
    parts = [config, config.model, config.model.encoder, config.model.decoder,
             configs.data_converter(name)]
    for part in parts:
      assert type(part).__module__.startswith('magenta.models.music_vae.')
      assert _is_from_the_wheel(type(part))


def test_the_wheel_is_unmodified(compat):
  import base64
  import hashlib
  from importlib import metadata

  distribution = metadata.distribution('magenta')
  assert distribution.version == '2.1.4'
  checked = 0
  for file in distribution.files:
    if file.suffix == '.py' and 'music_vae' in file.parts:
      digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
      assert base64.urlsafe_b64encode(digest).decode().rstrip('=') == (
          file.hash.value), file
      checked += 1
  assert checked > 10


def test_no_class_of_ours_is_a_copy(compat):
  from magenta.models.music_vae import base_model, lstm_models, lstm_utils

  theirs = {
      name for module in (compat.configs, compat.data, base_model, lstm_models,
                          lstm_utils, sys.modules[
                              compat.TrainedModel.__module__])
      for name, thing in vars(module).items()
      if inspect.isclass(thing) and thing.__module__ == module.__name__}
  assert {'TrainedModel', 'OneHotMelodyConverter', 'HierarchicalLstmDecoder',
          'Config'} <= theirs
  for path in pathlib.Path(va_magenta.__file__).parent.rglob('*.py'):
    ours = set(re.findall(r'^ *class (\w+)', path.read_text(), re.MULTILINE))
    # These share a name with Magenta's, and nothing else: our hyperparameters
    # with its tuple of model, converter and hyperparameters; and what is called
    # MusicVAE everywhere.
    assert not ours & (theirs - {'Config', 'MusicVAE'}), path


def test_only_the_compat_file_imports_magenta():
  package = pathlib.Path(va_magenta.__file__).parent
  importing = {
      path.name for path in package.rglob('*.py')
      # A dataset's test stands beside its builder, and tries Magenta on it.
      if not path.name.endswith('_test.py') and re.search(
          r'^\s*(import|from) magenta\b', path.read_text(), re.MULTILINE)}
  assert importing == {'magenta_compat.py'}


def test_components_of_width_zero_can_be_unbatched(compat):
  import tensorflow as tf

  rows = np.arange(6, dtype=np.float32).reshape(3, 2)
  dataset = tf.data.Dataset.from_tensors(
      (rows, np.zeros((3, 4, 0), np.float32), [5, 6, 7])).unbatch()
  found = list(dataset.as_numpy_iterator())
  assert len(found) == 3
  for i, (row, nothing, number) in enumerate(found):
    np.testing.assert_array_equal(row, rows[i])
    assert nothing.shape == (4, 0)
    assert number == 5 + i
  # One component alone is no tuple.
  assert list(tf.data.Dataset.from_tensors([1, 2]).unbatch(
      ).as_numpy_iterator()) == [1, 2]


def test_keras_2_for_magenta_and_keras_3_for_us_live_together(compat):
  import keras
  import tensorflow as tf

  assert keras.__version__.startswith('3.')
  assert tf.compat.v1.layers.dense
  assert tf.compat.v1.nn.rnn_cell.LSTMCell
  assert np.bool is bool or np.bool is np.bool_
  assert (np.int, np.float, np.object) == (int, float, object)


class _Missing:
  """Stands first in `sys.meta_path`; there is no such package."""

  def __init__(self, package):
    self.package = package

  def find_spec(self, name, path=None, target=None):
    if name == self.package:
      raise ModuleNotFoundError(f'No module named {name!r}', name=name)


def _without(monkeypatch, package):
  for name in list(sys.modules):
    if (name.split('.')[0] in ('magenta', package)
        or name == 'va_magenta.magenta_compat'):
      monkeypatch.delitem(sys.modules, name)
  monkeypatch.setattr(sys, 'meta_path', [_Missing(package), *sys.meta_path])


@pytest.mark.parametrize(('package', 'remedy'), [
    ('magenta', 'pip install --no-deps -r requirements.txt'),
    ('tf_slim', "No module named 'tf_slim'"),  # What Magenta itself imports.
])
def test_what_is_missing_is_named_in_one_line(
    compat, monkeypatch, package, remedy):
  _without(monkeypatch, package)
  with pytest.raises(ModuleNotFoundError) as info:
    importlib.import_module('va_magenta.magenta_compat')
  assert info.value.name == package
  assert remedy in str(info.value)
  assert '\n' not in str(info.value)


def test_a_protobuf_that_breaks_magenta_is_refused(compat, monkeypatch):
  import google.protobuf

  monkeypatch.delitem(sys.modules, 'va_magenta.magenta_compat')
  monkeypatch.setattr(google.protobuf, '__version__', '7.35.0')
  with pytest.raises(ImportError, match=r'pip install "protobuf<7"'):
    importlib.import_module('va_magenta.magenta_compat')


def test_generating_imports_no_magenta():
  program = textwrap.dedent('''
      import sys
      import va_magenta
      sequence, = va_magenta.generate(
          valence=0.1, arousal=0.1, candidates=4, seed=0)
      assert sequence.notes
      print([m for m in ('magenta', 'va_magenta.magenta_compat')
             if m in sys.modules])
      ''')
  process = subprocess.run(
      [sys.executable, '-c', program], capture_output=True, text=True,
      check=False)
  assert process.returncode == 0, process.stderr
  # pyfluidsynth, too, has something to say where CI is set.
  assert process.stdout.splitlines()[-1] == '[]'
