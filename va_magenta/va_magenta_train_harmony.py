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

_MODEL = flags.DEFINE_enum(
    'model', None, ['recognition', 'harmony'], 'What to train.', required=True)
_POP909_CL_DIR = command.DEFINE_path(
    'pop909_cl_dir', None, 'POP909-CL: NNN.mid.', required=True)
_BAND = command.DEFINE_path(
    'band', None, 'Corpus of bands (.npz), of harmony.')
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Folder to write.', required=True)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 5, 'Folds of cross-validation, of recognition.', lower_bound=2)
_NUM_EPOCHS = flags.DEFINE_integer(
    'num_epochs', 5, 'Epochs of recognition.', lower_bound=1)
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 2000, 'Training steps of harmony.', lower_bound=1)


def main(argv):
  """Trains as the flags say."""
  del argv
  if _MODEL.value == 'harmony' and _BAND.value is None:
    raise ValueError('--band must be given for --model=harmony')
  import pathlib

  run_dir = pathlib.Path(_RUN_DIR.value).expanduser()
  made_by = (f'va_magenta_train_harmony --model={_MODEL.value} '
             '--pop909_cl_dir=POP909_CL \\\n      ')
  if _MODEL.value == 'recognition':
    from va_magenta.training import chord_recognition

    chord_recognition.run(
        pop909_cl_dir=_POP909_CL_DIR.value, run_dir=run_dir,
        num_folds=_NUM_FOLDS.value, num_epochs=_NUM_EPOCHS.value,
        seed=_SEED.value, report=print,
        command=f'{made_by}--run_dir=checkpoints/chord_recognition '
                f'--num_folds={_NUM_FOLDS.value} --num_epochs='
                f'{_NUM_EPOCHS.value} --seed={_SEED.value}')
    return
  from va_magenta import checkpoints
  from va_magenta.music_to_va import symbolic
  from va_magenta.training import harmony

  harmony.run(
      pop909_cl_dir=_POP909_CL_DIR.value, band_path=_BAND.value,
      run_dir=run_dir, num_steps=_NUM_STEPS.value, seed=_SEED.value,
      report=print,
      student=symbolic.load(checkpoints.path('symbolic_va') / 'generator'),
      judge=symbolic.load(checkpoints.path('symbolic_va') / 'judge'),
      command=f'{made_by}--band=band.npz --run_dir=HARMONY '
              f'--num_steps={_NUM_STEPS.value} --seed={_SEED.value}')


def console_entry_point():
  """The command `va_magenta_train_harmony`."""
  command.run(main, any_backend=True)


if __name__ == '__main__':
  console_entry_point()
