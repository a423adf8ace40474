r"""Trains the estimator of valence and arousal from sound.

  va_magenta_train_audio --deam_dir=DATA/deam --lmd_dir=DATA/lmd_layout \
    --emopia_dir=DATA/emopia --eimg_dir=DATA/eimg --cache_dir=/tmp/features \
    --run_dir=checkpoints/audio_va

Trains on the openSMILE features and ratings of DEAM's songs (static.csv,
opensmile_song_means.csv), measures by nested cross-validation and on
synthesised clips that people labelled (EMOPIA, EIMG), and takes the statistics
of synthesised MIDI from pieces of --lmd_dir (index.csv, X/MD5.mid). Writes to
--run_dir what `audio.load` reads: config.json and weights.npz, with a card
(README.md) and a plot of held-out estimates (held_out.png).

Features that were extracted stay in --cache_dir: a job that was interrupted
goes on where it stood. On one core about 20 minutes of listening and 20 of
fitting.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_DEAM_DIR = command.DEFINE_path(
    'deam_dir', None,
    'Folder of DEAM: static.csv and opensmile_song_means.csv.', required=True)
_LMD_DIR = command.DEFINE_path(
    'lmd_dir', None,
    'Folder of MIDI files in the layout of the Lakh MIDI Dataset, with '
    'index.csv.', required=True)
_EMOPIA_DIR = command.DEFINE_path(
    'emopia_dir', None, 'Folder of EMOPIA: label.csv and midi/.',
    required=True)
_EIMG_DIR = command.DEFINE_path(
    'eimg_dir', None, 'Folder of EIMG: labels.csv and midi/.', required=True)
_CACHE_DIR = command.DEFINE_path(
    'cache_dir', None, 'Where features of clips are kept.', required=True)
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Where to write the model and its card.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of folds, clips and models.')
_NUM_FOLDS = flags.DEFINE_integer(
    'num_folds', 5, 'Of the outer cross-validation.', lower_bound=2)
_NUM_REFERENCE = flags.DEFINE_integer(
    'num_reference', 240, 'Pieces of --lmd_dir to take statistics of.',
    lower_bound=2)
_NUM_EMOPIA = flags.DEFINE_integer(
    'num_emopia', 240, 'Clips of EMOPIA to compare with.', lower_bound=4)
_NUM_EIMG = flags.DEFINE_integer(
    'num_eimg', 160, 'Clips of EIMG to compare with.', lower_bound=2)
_NUM_WORKERS = flags.DEFINE_integer(
    'num_workers', None, 'Processes that listen; all cores by default.',
    lower_bound=1)

_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play clips with; by default that of '
    'pretty_midi.')


def main(argv: Sequence[str]):
  """Runs the command."""
  del argv  # Unused.
  import pathlib

  command.check_file(_SOUNDFONT.value, 'soundfont')
  from va_magenta.training import audio as audio_training

  audio_training.run(
      deam_dir=pathlib.Path(_DEAM_DIR.value),
      lmd_dir=pathlib.Path(_LMD_DIR.value),
      emopia_dir=pathlib.Path(_EMOPIA_DIR.value),
      eimg_dir=pathlib.Path(_EIMG_DIR.value),
      cache_dir=pathlib.Path(_CACHE_DIR.value),
      run_dir=pathlib.Path(_RUN_DIR.value),
      seed=_SEED.value,
      num_folds=_NUM_FOLDS.value,
      num_reference=_NUM_REFERENCE.value,
      num_emopia=_NUM_EMOPIA.value,
      num_eimg=_NUM_EIMG.value,
      num_workers=_NUM_WORKERS.value,
      report=print,
      soundfont=_SOUNDFONT.value and pathlib.Path(_SOUNDFONT.value))


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
