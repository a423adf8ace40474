r"""Trains what reads valence and arousal from MIDI, one model after the other.

The student, from people's ratings of EIMG's clips; EMOPIA tests it. 4
minutes of one core for its three parts:

  va_magenta_train_midi --model=student --eimg_dir=DATA/eimg \
    --emopia_dir=DATA/emopia --run_dir=checkpoints/symbolic_va

How what the notes say and what is heard become one label, from tables that
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

And one of trios, which reads the bass too: --model=trio_critic.

Each writes to --run_dir what the package loads, with a card (README.md) and
plots.
"""

from absl import flags

from va_magenta import command
from va_magenta.music import grid

FLAGS = flags.FLAGS

# The flags, beside --run_dir and --seed, that each model needs.
_TAKES = {
    'student': ('eimg_dir', 'emopia_dir', 'num_folds'),
    'fusion': ('eimg_dir', 'eimg_labels', 'emopia_dir', 'emopia_labels',
               'num_folds'),
    'critic': ('eimg_dir', 'cache_dir', 'num_steps'),
    'trio_critic': ('eimg_dir', 'cache_dir', 'num_steps'),
}
# Whose examples a critic reads, and how many of their voices.
_CRITICS = {
    'critic': ('cat-mel_2bar_small', 1),
    'trio_critic': ('hierdec-trio_16bar', 2),
}

flags.DEFINE_enum('model', None, list(_TAKES), 'What to train.')
command.DEFINE_path('eimg_dir', None, 'EIMG: labels.csv and midi/.')
command.DEFINE_path('emopia_dir', None, 'EMOPIA: label.csv and midi/.')
command.DEFINE_path(
    'eimg_labels', None, "Table of EIMG's midi/ by va_magenta_label --audio.")
command.DEFINE_path(
    'emopia_labels', None,
    "Table of EMOPIA's midi/ by va_magenta_label --audio.")
command.DEFINE_path(
    'examples_path', None,
    'Folder or glob of MIDI files, or glob of TFRecord files of NoteSequences, '
    'whose melodies the critic reads.')
flags.DEFINE_string(
    'tfds_name', None, 'Instead, a TensorFlow Dataset whose examples carry '
    'MIDI, such as lakh_va.')
command.DEFINE_path(
    'cache_dir', None, 'Folder for the converted melodies; that of '
    'va_magenta_train will do.')
command.DEFINE_path('run_dir', None, 'Folder to write.')
flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)
flags.DEFINE_integer(
    'num_folds', 10, 'Folds of cross-validation.', lower_bound=2)
flags.DEFINE_integer(
    'num_steps', 6000, 'Training steps of the critic.', lower_bound=1)


def main(argv):
  """Trains as the flags say."""
  for name in ('model', 'run_dir', *_TAKES.get(FLAGS.model, ())):
    if FLAGS[name].value is None:
      raise ValueError(f'--{name} must be given')
  import dataclasses
  import pathlib

  arguments = {
      name: FLAGS[name].value for name in _TAKES[FLAGS.model] + (
          'run_dir', 'seed')}
  for name, value in arguments.items():
    if isinstance(value, str):
      arguments[name] = pathlib.Path(value).expanduser()
  if FLAGS.model == 'student':
    from va_magenta.training import symbolic as training
  elif FLAGS.model == 'fusion':
    from va_magenta.training import fusion as training
  else:
    from va_magenta.training.critic import job as training
    from va_magenta.training.critic import pairs
    from va_magenta.training.music_vae import examples

    config, num_voices = _CRITICS[FLAGS.model]
    corpus = examples.convert(
        config, str(arguments.pop('cache_dir')),
        examples_path=FLAGS.examples_path, tfds_name=FLAGS.tfds_name)
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
