r"""Trains what reads valence and arousal from MIDI, one model after the other.

The student, from people's ratings of EIMG's clips; EMOPIA tests it. 4
minutes of one core for its three parts:

  va_magenta_train_midi --model=student --eimg_dir=DATA/eimg \
    --emopia_dir=DATA/emopia --run_dir=checkpoints/symbolic_va

How estimates from notes and from sound become one label, from tables that
`va_magenta_label --audio` made of the same clips:

  va_magenta_train_midi --model=fusion \
    --eimg_dir=DATA/eimg --eimg_labels=eimg.parquet \
    --emopia_dir=DATA/emopia --emopia_labels=emopia.parquet \
    --run_dir=checkpoints/fusion_va

The critic, the student's differentiable twin for what a decoder emits, from
2-bar melodies of any MIDI files:

  va_magenta_train_midi --model=critic --eimg_dir=DATA/eimg \
    --examples_path=lmd_full --cache_dir=EXAMPLES \
    --run_dir=checkpoints/critic_va

And one of trios, which reads the bass too: --model=trio_critic; and one of
bands, from bands.npz of va_magenta_train --prior_of:

  va_magenta_train_midi --model=band_critic --band_path=PRIOR/bands.npz \
    --num_steps=800 --run_dir=checkpoints/band_critic_va

Each writes to --run_dir what the package loads, with a card (README.md) and
plots.
"""

from absl import flags

from va_magenta import command

# Whose examples a critic reads, and how many of their voices.
_CRITICS = {
    'critic': ('cat-mel_2bar_small', 1),
    'trio_critic': ('hierdec-trio_16bar', 2),
}

_MODEL = flags.DEFINE_enum(
    'model', None, ['student', 'fusion', *_CRITICS, 'band_critic'],
    'What to train.', required=True)
_EIMG_DIR = command.DEFINE_path('eimg_dir', None, 'EIMG: labels.csv and midi/.')
_EMOPIA_DIR = command.DEFINE_path(
    'emopia_dir', None, 'EMOPIA: label.csv and midi/.')
_EIMG_LABELS = command.DEFINE_path(
    'eimg_labels', None, "Table of EIMG's midi/ by va_magenta_label --audio.")
_EMOPIA_LABELS = command.DEFINE_path(
    'emopia_labels', None,
    "Table of EMOPIA's midi/ by va_magenta_label --audio.")
_EXAMPLES_PATH = command.DEFINE_path(
    'examples_path', None,
    'Folder or glob of MIDI files, or glob of TFRecord files of NoteSequences, '
    'whose melodies the critic reads.')
_TFDS_NAME = flags.DEFINE_string(
    'tfds_name', None, 'Instead, a TensorFlow Dataset whose examples carry '
    'MIDI, such as lakh_va.')
_CACHE_DIR = command.DEFINE_path(
    'cache_dir', None, 'Folder for the converted melodies; that of '
    'va_magenta_train will do.')
_BAND_PATH = command.DEFINE_path(
    'band_path', None, 'Corpus of bands: bands.npz.')
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Folder to write.', required=True)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 10, 'Folds of cross-validation.', lower_bound=2)
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 6000, 'Training steps of the critic.', lower_bound=1)

# What each model needs beside --run_dir and --seed.
_TAKES = {
    'student': (_EIMG_DIR, _EMOPIA_DIR, _NUM_FOLDS),
    'fusion': (
        _EIMG_DIR, _EIMG_LABELS, _EMOPIA_DIR, _EMOPIA_LABELS, _NUM_FOLDS),
    'band_critic': (_BAND_PATH, _NUM_STEPS),
    **dict.fromkeys(_CRITICS, (_EIMG_DIR, _CACHE_DIR, _NUM_STEPS)),
}


def main(argv):
  """Trains as the flags say."""
  import dataclasses
  import pathlib

  arguments = {}
  for flag in (*_TAKES[_MODEL.value], _RUN_DIR, _SEED):
    if flag.value is None:
      raise ValueError(f'--{flag.name} must be given')
    arguments[flag.name] = pathlib.Path(flag.value).expanduser() if isinstance(
        flag.value, str) else flag.value
  if _MODEL.value == 'student':
    from va_magenta.training import symbolic as training
  elif _MODEL.value == 'fusion':
    from va_magenta.training import fusion as training
  elif _MODEL.value == 'band_critic':
    from va_magenta.training import band_critic as training
  else:
    from va_magenta.music import grid
    from va_magenta.training.critic import job as training
    from va_magenta.training.critic import pairs
    from va_magenta.training.music_vae import examples

    config, num_voices = _CRITICS[_MODEL.value]
    corpus = examples.convert(
        config, str(arguments.pop('cache_dir')),
        examples_path=_EXAMPLES_PATH.value, tfds_name=_TFDS_NAME.value)
    num_steps = pairs.WINDOW_BARS * grid.STEPS_PER_BAR
    if corpus.tokens.shape[1] > num_steps:
      corpus = examples.cut(dataclasses.replace(
          corpus, tokens=corpus.tokens[..., :num_voices]), num_steps)
    arguments['melodies'] = corpus
  training.run(**arguments, report=print)


def console_entry_point():
  """The command `va_magenta_train_midi`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
