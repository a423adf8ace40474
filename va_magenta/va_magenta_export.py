r"""Writes a MusicVAE for others: Magenta, magenta.js, or this package's users.

For Magenta's `TrainedModel` and its commands:

  va_magenta_export --checkpoint=/tmp/run --output_dir=/tmp/magenta

For a web page, `new mm.MusicVAE('/my/folder')` of @magenta/music:

  va_magenta_export --checkpoint=/tmp/run --output_dir=/tmp/js --format=js

To be handed on, with weights rounded, a third of the size of a run's:

  va_magenta_export --checkpoint=/tmp/run --output_dir=/tmp/r --format=release

A model that follows valence and arousal takes them as a control of depth 2:
`c_input`, float [steps, 2], in `TrainedModel`, whose config's data converter
must be told so (`config.data_converter._control_depth = 2`); and in magenta.js
`{extraControls: {va: tensor of shape [steps, 2]}}`.
"""

import shutil

from absl import flags

from va_magenta import command

_CHECKPOINT = command.DEFINE_path(
    'checkpoint', None, 'Folder of a run, or name of a checkpoint that ships.',
    required=True)
_OUTPUT_DIR = command.DEFINE_path(
    'output_dir', None, 'Folder to write to.', required=True)
_FORMAT = flags.DEFINE_enum(
    'format', 'magenta', ['magenta', 'js', 'release'],
    'A TensorFlow checkpoint; weights for magenta.js; or what '
    '`--checkpoint` takes, rounded.')
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace files that exist.')


def main(argv):
  """Exports as the flags say."""
  from va_magenta import checkpoints, files
  from va_magenta.va_to_music import magenta_weights, music_vae

  source = checkpoints.locate(_CHECKPOINT.value, checkpoints.MUSIC_VAE)
  with files.writing_set(
      _OUTPUT_DIR.value, inputs=[source], overwrite=_OVERWRITE.value) as folder:
    model = music_vae.load(source)
    if _FORMAT.value == 'js':
      magenta_weights.save_javascript(model, folder)
      written = 'config.json and weights_manifest.json'
    elif _FORMAT.value == 'release':
      magenta_weights.save(model, folder / 'weights.npz', release=True)
      model.config.save(folder / 'config.json')
      for kind in (checkpoints.PRIOR, checkpoints.FORMS, checkpoints.HARMONY):
        for name in (kind.config_file, kind.weights_file):
          if name and (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
      written = 'config.json and weights.npz'
    else:
      magenta_weights.save(model, folder / 'model.ckpt-0')
      written = 'model.ckpt-0'
  print(f'wrote {_OUTPUT_DIR.value}/{written}')


def console_entry_point():
  """The command `va_magenta_export`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
