r"""Trains what plays the music: tempo, loudness, articulation, instruments.

  va_magenta_train_performance --eimg_dir=DATA/eimg --lakh_dir=DATA/lmd_full \
    --labels=labels.parquet --run_dir=checkpoints/performance_va

Learns from EIMG's rated MIDI clips (labels.csv, midi/) how a melody is played,
and which instruments play it, which basses go with it, and how loud these and
the drums are, from MIDI files in Lakh's layout, with the labels that
va_magenta_label made of them. Of EIMG only those groups are read that the
student in --student learned from; by default that is the half which does not
judge the generator. Writes to --run_dir what `performance.load` reads, with a
card (README.md) and a plot of the means (means.png). About 10 minutes.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_EIMG_DIR = command.DEFINE_path(
    'eimg_dir', None, 'Folder of EIMG: labels.csv and midi/.', required=True)
_LAKH_DIR = command.DEFINE_path(
    'lakh_dir', None, 'Folder of MIDI files: 0/MD5.mid to f/MD5.mid.',
    required=True)
_LABELS = command.DEFINE_path(
    'labels', None, 'Their labels, a table by va_magenta_label.', required=True)
_STUDENT = command.DEFINE_path(
    'student', None, "Folder of the student whose groups of EIMG are read; by "
    "default the shipped generator's.")
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Where to write the model and its card.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of the folds.')


def main(argv: Sequence[str]):
  """Runs the command."""
  import json
  import pathlib

  from va_magenta import checkpoints
  from va_magenta.music_to_va import labelling
  from va_magenta.training import performance

  student = pathlib.Path(
      _STUDENT.value or checkpoints.path('symbolic_va') / 'generator')
  path = student / 'config.json'
  try:
    groups = json.loads(path.read_text())['groups']
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
        f'{path} does not list the groups of EIMG that a student learned from; '
        'va_magenta_train_midi --model=student writes one that does') from error
  performance.run(
      eimg_dir=pathlib.Path(_EIMG_DIR.value),
      groups=groups,
      lakh_dir=pathlib.Path(_LAKH_DIR.value),
      labels=labelling.points(_LABELS.value),
      run_dir=pathlib.Path(_RUN_DIR.value),
      seed=_SEED.value,
      command='va_magenta_train_performance --eimg_dir=EIMG --lakh_dir=LAKH '
              '\\\n      --labels=LABELS --run_dir=checkpoints/performance_va '
              f'--seed={_SEED.value}',
      report=print)


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
