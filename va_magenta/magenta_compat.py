"""The only file that knows what has rotted in Magenta since its last release.

Magenta 2.1.4 (2022) is imported from its own unmodified wheel, here and nowhere
else; other modules write

  from va_magenta.magenta_compat import configs, data

Magenta's modules that are not named here work too once this one is imported.

Four things broke underneath it. Each remedy stands beside its cause:

1. `tf.layers` and `tf.nn.rnn_cell` exist in Keras 2 only. TensorFlow takes them
   from the package tf-keras if TF_USE_LEGACY_KERAS=1 is set before they are
   first used. `import keras` still gives Keras 3; both live in one process.
2. `np.bool`, `np.int`, `np.float` and `np.object` stand as default arguments
   and left numpy in 1.24 (`np.bool` came back in 2.0).
3. `tf.data.Dataset.unbatch` has crashed the process (segmentation fault) on
   components of width zero since TensorFlow 2.13, and Magenta's converters make
   them whenever there is no control.
4. protobuf 7 took away `MessageToString(float_format=...)`, which Magenta's
   training calls. This one cannot be repaired from here; it is refused.
"""

import os

os.environ['TF_USE_LEGACY_KERAS'] = '1'  # 1.

import google.protobuf
import numpy as np
import tensorflow as tf

for _name in ('bool', 'int', 'float', 'object'):  # 2.
  if _name not in np.__dict__:
    setattr(np, _name, getattr(__import__('builtins'), _name))


def _unbatch(dataset: tf.data.Dataset, name: str | None = None):
  return dataset.flat_map(
      lambda *element: tf.data.Dataset.from_tensor_slices(
          element if len(element) > 1 else element[0]), name=name)


tf.data.Dataset.unbatch = _unbatch  # 3.  # pyright: ignore

if int(google.protobuf.__version__.split('.')[0]) >= 7:  # 4.
  raise ImportError(
      f'Magenta does not run on protobuf {google.protobuf.__version__}: '
      'pip install "protobuf<7"')

try:
  from magenta.models.music_vae import TrainedModel, configs, data
except ModuleNotFoundError as error:
  if error.name != 'magenta':
    raise
  raise ModuleNotFoundError(
      'Magenta is not installed (its own pins cannot be solved on a living '
      "Python): pip install --no-deps -r requirements.txt, from va_magenta's "
      'repository', name='magenta') from None

__all__ = ['TrainedModel', 'configs', 'data', 'encode_by', 'structure_of']


def structure_of(config) -> dict:
  """What a config of `CONFIG_MAP` says by its classes, where nobody may ask.

  Returns:
    `output_depths` and `level_lengths` (None for a flat decoder), tuples of
    int, and `transpose_range` in semitones.
  """
  decoder = config.model.decoder
  level_lengths = getattr(decoder, '_level_lengths', None)
  core = getattr(decoder, '_core_decoder', decoder)
  output_depths = getattr(core, '_output_depths', None) or [
      config.data_converter.output_depth]
  augmenter = config.note_sequence_augmenter
  return {
      'output_depths': tuple(output_depths),
      'level_lengths': tuple(level_lengths) if level_lengths else None,
      'transpose_range': augmenter._transpose_range if augmenter else (0, 0)}


def encode_by(converter, function):
  """Has a data converter hand what it has cut to a function of ours.

  Args:
    converter: of melodies or drums; it is changed.
    function: takes lists of pieces, a list for each part, and gives what the
      converter shall encode.
  """
  converter._dedupe_and_sample = function
