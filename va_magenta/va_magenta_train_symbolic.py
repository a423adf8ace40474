r"""Trains the estimator that reads valence and arousal from notes.

  va_magenta_train_symbolic --eimg_dir=DATA/eimg --emopia_dir=DATA/emopia \
    --run_dir=checkpoints/symbolic_va

Trains on EIMG's rated MIDI clips (labels.csv, midi/), measures by grouped
cross-validation and on EMOPIA (label.csv, midi/), which is not trained on, and
writes to --run_dir what `symbolic.load` reads: config.json and trees.npz, with
a card (README.md) and a plot of what the trees look at (importances.png). About
10 minutes on one core.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_EIMG_DIR = flags.DEFINE_string(
    'eimg_dir', None, 'Folder of EIMG: labels.csv and midi/.', required=True)
_EMOPIA_DIR = flags.DEFINE_string(
    'emopia_dir', None, 'Folder of EMOPIA: label.csv and midi/.',
    required=True)
_RUN_DIR = flags.DEFINE_string(
    'run_dir', None, 'Where to write the model and its card.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of folds, excerpts and trees.')
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 10, 'Of cross-validation.', lower_bound=2)


def main(argv: Sequence[str]):
  """Runs the command."""
  del argv  # Unused.
  import pathlib

  from va_magenta.music_to_va import symbolic_training

  symbolic_training.run(
      eimg_dir=pathlib.Path(_EIMG_DIR.value),
      emopia_dir=pathlib.Path(_EMOPIA_DIR.value),
      run_dir=pathlib.Path(_RUN_DIR.value),
      seed=_SEED.value,
      num_folds=_NUM_FOLDS.value,
      report=print)


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
