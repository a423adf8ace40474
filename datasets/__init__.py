"""TensorFlow Datasets builders of va_magenta, one folder each.

`import va_magenta` calls `register`, whereupon `tfds.load('oasis_va')` works.
"""

import importlib.abc
import sys

NAMES = ('dvisa_va', 'emotic_va', 'emotion6_va', 'lakh_va', 'oasis_va')
_LIBRARY = 'tensorflow_datasets'


def register():
  """Makes our datasets known to TFDS, now or as soon as it is imported.

  A builder registers itself when its module is imported, which takes TFDS; and
  who never loads a dataset shall not wait for TFDS.
  """
  if _LIBRARY in sys.modules:
    _import_builders()
  elif not any(isinstance(f, _AfterImport) for f in sys.meta_path):
    sys.meta_path.insert(0, _AfterImport())


def _import_builders():
  for name in NAMES:
    importlib.import_module(
        f'va_magenta.datasets.{name}.{name}_dataset_builder')


class _AfterImport(importlib.abc.MetaPathFinder):
  """Lets the other finders find TFDS, and imports our builders after it."""

  def find_spec(self, fullname, path, target=None):
    if fullname != _LIBRARY:
      return None
    others = (f for f in sys.meta_path if f is not self)
    specs = (f.find_spec(fullname, path, target) for f in others)
    spec = next((s for s in specs if s), None)
    if spec:
      execute = spec.loader.exec_module

      def execute_and_import_builders(module):
        execute(module)
        # A loader may serve several modules, as that of a zip does.
        if module.__name__ == _LIBRARY:
          _import_builders()

      spec.loader.exec_module = execute_and_import_builders
    return spec
