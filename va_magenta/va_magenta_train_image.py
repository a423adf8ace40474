r"""Trains the model that places a picture on the valence-arousal plane.

Fits the head of a pretrained backbone on OASIS, measures it by cross-validation
and writes a checkpoint with its card into --run_dir:

  va_magenta_train_image --oasis_dir=OASIS \
      --backbone_weights=efficientnetb0_notop.weights.h5 --run_dir=image_va

OASIS has OASIS.csv and images/THEME.jpg. The backbone's weights are what
keras.applications saves of it with include_top=False.
"""

import os
import sys

from absl import app, flags, logging

from va_magenta import command

_OASIS_DIR = flags.DEFINE_string(
    'oasis_dir', None, 'Folder with OASIS.csv and images/.', required=True)
_BACKBONE_WEIGHTS = flags.DEFINE_string(
    'backbone_weights', None,
    'Pretrained weights of the backbone without its top, .weights.h5.',
    required=True)
_RUN_DIR = flags.DEFINE_string(
    'run_dir', None, 'Folder that the checkpoint is written to.', required=True)
_BACKBONE = flags.DEFINE_string(
    'backbone', 'EfficientNetB0',
    'A model in keras.applications that takes RGB in 0..255.')
_IMAGE_SIZE = flags.DEFINE_list(
    'image_size', ['384', '288'], 'Width,height that pictures are resized to.')
_FEATURE_LAYERS = flags.DEFINE_list(
    'feature_layers',
    ['block5c_add', 'block6d_add', 'block7a_project_bn', 'top_activation'],
    'Layers of the backbone that the head reads.')
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 5, 'Folds of the cross-validation.', lower_bound=2)
_NUM_REPEATS = flags.DEFINE_integer(
    'num_repeats', 3, 'Times that pictures are dealt to folds.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of every split.')


def main(argv):
  """Trains, and prints the figures of what ships."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  try:
    width, height = (int(side) for side in _IMAGE_SIZE.value)
  except ValueError:
    width = height = 0
  if min(width, height) < 32:
    raise ValueError(
        '--image_size must be WIDTH,HEIGHT of at least 32 pixels each, got '
        f'{",".join(_IMAGE_SIZE.value)}')
  logging.set_verbosity(max(logging.get_verbosity(), logging.INFO))
  from va_magenta.image_to_va import model, training
  results = training.train(
      _OASIS_DIR.value,
      _RUN_DIR.value,
      model.Config(
          backbone=_BACKBONE.value,
          image_height=height,
          image_width=width,
          feature_layers=_FEATURE_LAYERS.value),
      _BACKBONE_WEIGHTS.value,
      num_folds=_NUM_FOLDS.value,
      num_repeats=_NUM_REPEATS.value,
      seed=_SEED.value,
      command=' '.join(
          [os.path.basename(sys.argv[0]).removesuffix('.py'), *sys.argv[1:]]))
  for name, validation in results.items():
    for key, values in validation.figures['calibrated'].items():
      print(f'{name:15} {key:22} {values.mean():.3f} ± {values.std():.3f}')
  print(f'wrote {_RUN_DIR.value}')
  return 0


def console_entry_point():
  """Runs the command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
