r"""Builds the dataset lakh_va of a folder of MIDI files: labels, then TFDS.

  va_magenta_build_lakh_va --midi_dir=lmd_full --data_dir=~/tensorflow_datasets

Every piece is estimated from its notes, and pieces of two parts and more from
their sound too (--noaudio spares that: most of the time goes there).
The table of labels is written to --labels, by default labels.parquet in
--midi_dir; then the configs asked for are prepared in --data_dir, for

  tfds.load('lakh_va/2bar-melody', data_dir=...)

Run it again after an interruption: it goes on where it stood, and does nothing
twice. Run it again with more files, a better student or other weights, and it
does what is new: no piece is synthesised again, and a config is only prepared
again if its labels have changed. What is left out, and why, is printed.
"""

import pathlib
import shutil
import sys

from absl import flags, logging

from va_magenta import command

_MIDI_DIR = command.DEFINE_path(
    'midi_dir', None, 'Folder with MIDI files, in it or in folders in it.',
    required=True)
_LABELS = command.DEFINE_path(
    'labels', None, 'Table of labels (Parquet), read if it is there, and '
    'written; by default labels.parquet in --midi_dir.')
_CONFIGS = flags.DEFINE_list(
    'configs', 'full,2bar-melody', 'Configs of lakh_va to prepare.')
_DATA_DIR = command.DEFINE_path(
    'data_dir', None, "Folder of TFDS's datasets; by default its own.")
_AUDIO = flags.DEFINE_boolean(
    'audio', True, 'Listen to pieces of two parts and more.')
_NUM_WORKERS = flags.DEFINE_integer(
    'num_workers', None, 'Processes that label; all cores if not given.',
    lower_bound=1)


def main(argv):
  """Builds as the flags say."""
  if logging.get_verbosity() == logging.INFO:  # TFDS tells of every file.
    logging.set_verbosity(logging.WARNING)
  from va_magenta.datasets.lakh_va import lakh_va_dataset_builder as lakh_va
  from va_magenta.music_to_va import fusion, labelling

  names = [config.name for config in lakh_va.Builder.BUILDER_CONFIGS]
  unknown = [name for name in _CONFIGS.value if name not in names]
  if unknown:
    raise ValueError(
        f'lakh_va has no config {unknown[0]!r}: it has {", ".join(names)}')
  midi_dir = pathlib.Path(_MIDI_DIR.value).expanduser()
  labels = pathlib.Path(
      _LABELS.value or midi_dir / lakh_va.LABELS.name).expanduser()
  report = labelling.label(
      midi_dir, labels, fusion.load(), settings=labelling.LAKH_VA,
      make_by_ear=labelling.teacher if _AUDIO.value else None,
      known=labelling.read(labels) if labels.exists() else None,
      num_workers=_NUM_WORKERS.value, overwrite=True)
  for path, reason in sorted(report.unlabelled.items()):
    print(command.error_line(f'{path}: {reason}'), file=sys.stderr)
  for line in report.lines():
    print(line)
  print(f'wrote {labels}')
  for name in _CONFIGS.value:
    print(f'prepared {_prepare(name, midi_dir, labels)}')


def _prepare(
    config: str, midi_dir: pathlib.Path, labels: pathlib.Path) -> str:
  """Prepares a config unless it stands with these labels; says where."""
  import tensorflow_datasets as tfds

  from va_magenta.datasets.lakh_va import lakh_va_dataset_builder as lakh_va
  from va_magenta.music.corpus import file_md5

  def make_builder():
    return lakh_va.Builder(
        labels=labels, config=config, data_dir=_DATA_DIR.value)

  builder = make_builder()
  if builder.is_prepared() and (
      builder.info.metadata.get('labels_md5') != file_md5(labels)):
    shutil.rmtree(builder.data_dir)
    builder = make_builder()
  # Of a run that was killed outright.
  for left in pathlib.Path(builder.data_dir).parent.glob('incomplete.*'):
    shutil.rmtree(left)
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(manual_dir=midi_dir))
  return builder.data_dir


def console_entry_point():
  """The command `va_magenta_build_lakh_va`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
