r"""Trains what knows chords, on the songs of POP909-CL.

Chord recognition, which tells the chords of a piece from its notes:

  va_magenta_train_harmony --model=recognition --pop909_cl_dir=DATA/pop909_cl \
    --run_dir=checkpoints/chord_recognition

Harmony, which writes chord progressions given valence and arousal, from these
songs and from a corpus of bands; a run that was stopped goes on:

  va_magenta_train_harmony --model=harmony --pop909_cl_dir=DATA/pop909_cl \
    --band=band.npz --run_dir=my_harmony

Each writes to --run_dir what the package loads, with a card.
"""

from absl import flags

from va_magenta import command

FLAGS = flags.FLAGS

flags.DEFINE_enum(
    'model', None, ['recognition', 'harmony'], 'What to train.', required=True)
command.DEFINE_path(
    'pop909_cl_dir', None, 'POP909-CL: NNN.mid.', required=True)
command.DEFINE_path(
    'band', None, 'Corpus of bands (.npz), of harmony.')
command.DEFINE_path('run_dir', None, 'Folder to write.', required=True)
flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)
flags.DEFINE_integer(
    'num_folds', 5, 'Folds of cross-validation, of recognition.', lower_bound=2)
flags.DEFINE_integer(
    'num_epochs', 5, 'Epochs of recognition.', lower_bound=1)
flags.DEFINE_integer(
    'num_steps', 2000, 'Training steps of harmony.', lower_bound=1)


def main(argv):
  """Trains as the flags say."""
  del argv
  if FLAGS.model == 'harmony' and FLAGS.band is None:
    raise ValueError('--band must be given for --model=harmony')
  import pathlib

  run_dir = pathlib.Path(FLAGS.run_dir).expanduser()
  made_by = (f'va_magenta_train_harmony --model={FLAGS.model} '
             '--pop909_cl_dir=POP909_CL \\\n      ')
  if FLAGS.model == 'recognition':
    from va_magenta.training import chord_recognition

    chord_recognition.run(
        pop909_cl_dir=FLAGS.pop909_cl_dir, run_dir=run_dir,
        num_folds=FLAGS.num_folds, num_epochs=FLAGS.num_epochs,
        seed=FLAGS.seed, report=print,
        command=f'{made_by}--run_dir=checkpoints/chord_recognition '
                f'--num_folds={FLAGS.num_folds} --num_epochs='
                f'{FLAGS.num_epochs} --seed={FLAGS.seed}')
    return
  from va_magenta import checkpoints
  from va_magenta.music_to_va import symbolic
  from va_magenta.training import harmony

  harmony.run(
      pop909_cl_dir=FLAGS.pop909_cl_dir, band_path=FLAGS.band,
      run_dir=run_dir, num_steps=FLAGS.num_steps, seed=FLAGS.seed,
      report=print,
      student=symbolic.load(checkpoints.path('symbolic_va') / 'generator'),
      judge=symbolic.load(checkpoints.path('symbolic_va') / 'judge'),
      command=f'{made_by}--band=band.npz --run_dir=HARMONY '
              f'--num_steps={FLAGS.num_steps} --seed={FLAGS.seed}')


def console_entry_point():
  """The command `va_magenta_train_harmony`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
