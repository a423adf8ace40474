"""va_magenta: music that feels like a picture.

An image becomes a point on the valence-arousal plane, the point becomes music,
and the music is heard back as a point.

  import va_magenta
  sequences = va_magenta.generate('picture.jpg')  # list of NoteSequence
"""

import importlib.util
import pathlib
import sys

from va_magenta.va import VA, Quadrant, Scale

__version__ = '0.2.0'
__all__ = ['VA', 'Quadrant', 'Scale', 'generate', 'generate_and_save']

# Installed, datasets/ stands within this package; in a clone it stands beside
# it, and Python run in the clone's folder must find it too.
_BESIDE = pathlib.Path(__file__).parents[1] / 'datasets'
if (_BESIDE.parent / 'setup.py').is_file():
  _spec = importlib.util.spec_from_file_location(
      'va_magenta.datasets', _BESIDE / '__init__.py',
      submodule_search_locations=[str(_BESIDE)])
  datasets = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
  _spec.loader.exec_module(datasets)
else:
  from va_magenta import datasets

datasets.register()  # tfds.load('oasis_va')


def __getattr__(name):
  # TensorFlow is loaded when it is needed, so that `import va_magenta` and
  # every command's --help stay instant.
  if name in ('generate', 'generate_and_save'):
    from va_magenta import generation
    return getattr(generation, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
