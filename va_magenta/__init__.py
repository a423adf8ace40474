"""va_magenta: music that feels like a picture.

An image becomes a point on the valence-arousal plane, the point becomes music,
and the music is heard back as a point.

  import va_magenta
  sequences = va_magenta.generate('picture.jpg')  # list of NoteSequence
"""

import pathlib

from va_magenta.va import VA, Quadrant, Scale

__version__ = '0.1.0'
__all__ = ['VA', 'Quadrant', 'Scale', 'generate', 'generate_and_save']

# Installed, datasets/ and checkpoints/ stand within this package; in a clone
# they stand beside it, and Python run in the clone's folder must find them too.
_CLONE = pathlib.Path(__file__).parents[1]
if (_CLONE / 'setup.py').is_file():
  __path__.append(str(_CLONE))

from va_magenta import datasets  # noqa: E402  (it may stand beside us)

datasets.register()  # tfds.load('oasis_va')


def __getattr__(name):
  # TensorFlow is loaded when it is needed, so that `import va_magenta` and
  # every command's --help stay instant.
  if name in ('generate', 'generate_and_save'):
    from va_magenta import generation
    return getattr(generation, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
