r"""Trains how loud, and how early or late, each note of a band is played.

  va_magenta_train_expression --pop909_dir=POP909 --groove_dir=GROOVE \
    --index_path=LAKH/index.csv --labels=LABELS \
    --run_dir=checkpoints/expression_va

Learns from POP909-CL's piano (NNN.mid), whose songs' valence and arousal are
looked up in LABELS by way of index.csv (md5, collection, source_path), and
from the Groove MIDI Dataset's drummers (info.csv and MIDI files). Writes to
--run_dir what `expression.load` reads, with a card (README.md). Some minutes on
one core.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_POP909_DIR = command.DEFINE_path(
    'pop909_dir', None, 'Folder of POP909-CL.', required=True)
_GROOVE_DIR = command.DEFINE_path(
    'groove_dir', None, 'Folder of the Groove MIDI Dataset.', required=True)
_INDEX_PATH = command.DEFINE_path(
    'index_path', None, 'index.csv of labelled MIDI files.', required=True)
_LABELS = command.DEFINE_path(
    'labels', None, 'Their labels, a table by va_magenta_label.', required=True)
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Where to write the model and its card.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of models, folds and noise.')


def main(argv: Sequence[str]):
  """Runs the command."""
  del argv  # Unused.
  import pathlib

  from va_magenta.music_to_va import labelling
  from va_magenta.training import expression

  expression.run(
      pop909_dir=pathlib.Path(_POP909_DIR.value),
      groove_dir=pathlib.Path(_GROOVE_DIR.value),
      index_path=pathlib.Path(_INDEX_PATH.value),
      labels=labelling.points(_LABELS.value),
      run_dir=pathlib.Path(_RUN_DIR.value),
      seed=_SEED.value,
      command='va_magenta_train_expression --pop909_dir=POP909 '
              '--groove_dir=GROOVE \\\n      --index_path=LAKH/index.csv '
              '--labels=LABELS --run_dir=checkpoints/expression_va \\\n'
              f'      --seed={_SEED.value}',
      report=print)


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
