"""`tfds.load` knows our datasets after `import va_magenta`, in any order."""

import pathlib
import subprocess
import sys

import pytest

from va_magenta import datasets


def _python(code, *args):
  done = subprocess.run(
      [sys.executable, '-c', code, *args], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  return done.stdout


@pytest.mark.parametrize('imports', [
    'import tensorflow_datasets as tfds, va_magenta',
    'import va_magenta, tensorflow_datasets as tfds',
    'import va_magenta; from tensorflow_datasets.core import load as tfds',
    # Looking for TFDS without importing it must not use the hook up.
    'import va_magenta, importlib.util; '
    'assert importlib.util.find_spec("tensorflow_datasets"); '
    'import tensorflow_datasets as tfds',
])
def test_tfds_knows_our_datasets(imports):
  output = _python(
      f'{imports}; import sys; '
      'print(*(tfds.builder_cls(name).name for name in sys.argv[1:]))',
      *datasets.NAMES)
  assert output.split() == list(datasets.NAMES)


def test_tfds_lists_our_datasets_among_its_own():
  output = _python(
      'import va_magenta, tensorflow_datasets as tfds; '
      'print(*tfds.list_builders())')
  assert {*datasets.NAMES, 'mnist', 'coco'} <= {*output.split()}


def test_import_of_va_magenta_imports_no_tfds():
  assert _python(
      'import sys, va_magenta, va_magenta.datasets; '
      "print({'tensorflow_datasets', 'tensorflow', 'numpy'} & {*sys.modules})"
  ) == 'set()\n'


def test_import_of_tfds_with_our_datasets_imports_no_tensorflow():
  assert _python(
      'import sys, va_magenta, tensorflow_datasets; '
      "print({'tensorflow', 'pandas', 'scipy'} & {*sys.modules})") == 'set()\n'


def test_every_folder_is_a_dataset():
  folders = pathlib.Path(datasets.__file__).parent.glob('*/__init__.py')
  assert sorted(f.parent.name for f in folders) == sorted(datasets.NAMES)


def test_registering_twice_is_no_error():
  datasets.register()
  datasets.register()
