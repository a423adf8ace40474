r"""Labels MIDI files, and two bars after two bars of them, with VA.

From the notes alone:

  va_magenta_label --midi_dir=lmd_full --output=labels.parquet

And from the sound of the first minute of each piece as well, played by a
synthesiser (some ten times slower):

  va_magenta_label --midi_dir=lmd_full --output=labels.parquet --audio

Later, more pieces, a better student of the notes, or better weights of the one
against the other, without doing again what an earlier table holds (estimates
from sound are kept; those from notes only if the student is the same):

  va_magenta_label --midi_dir=lmd_full --output=labels.parquet \
    --labels=labels.parquet --fusion=fusion.json --overwrite

The table (Parquet; pandas.read_parquet reads it) has a row a piece and a row
every two bars:
  md5            of the MIDI file, by which a piece is named
  window         -1 for the whole piece, else the number of the two bars, from 0
  start_seconds, end_seconds
  symbolic_valence, symbolic_arousal   from the notes, -1..1
  audio_valence, audio_arousal         from sound, -1..1; NaN if there is none
  valence, arousal                     the label: both, weighted as people's
                                       ratings taught it
  valence_std, arousal_std             how far people's ratings lie from it

Started again, a run that was killed goes on where it stood. Files that cannot
be labelled are listed on stderr with the reason and left out; the table is
written, and the command exits with 1.
"""

import functools
import sys

from absl import flags

from va_magenta import command

_MIDI_DIR = command.DEFINE_path(
    'midi_dir', None, 'Folder with MIDI files, in it or in folders in it.',
    required=True)
_OUTPUT = command.DEFINE_path(
    'output', None, 'Parquet file to write.', required=True)
_AUDIO = flags.DEFINE_boolean(
    'audio', False, 'Listen too: synthesise pieces and ask the audio teacher.')
_LABELS = command.DEFINE_path(
    'labels', None, 'An earlier table, whose estimates are kept: those from '
    'sound, and those of this student from notes; with --audio, those from '
    'sound that are missing are added.')
_ESTIMATOR = command.DEFINE_path(
    'estimator', None, 'Estimator of notes of your own: the --run_dir of '
    'va_magenta_train_midi --model=student.')
_AUDIO_MODEL = command.DEFINE_path(
    'audio_model', None, 'Estimator of sound: the --run_dir of '
    'va_magenta_train_audio.')
_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play pieces with; the teacher knows that '
    'of pretty_midi, which is the default.')
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace the table if it exists.')
_FUSION = command.DEFINE_path(
    'fusion', None, 'JSON file that says how notes and sound become one label; '
    'by default the one that ships.')
_NUM_WORKERS = flags.DEFINE_integer(
    'num_workers', None, 'Processes; all cores if not given.', lower_bound=1)
_MAX_SECONDS = flags.DEFINE_float(
    'max_seconds', 600, 'Of a longer piece so much is read.', lower_bound=1)
_MAX_AUDIO_SECONDS = flags.DEFINE_float(
    'max_audio_seconds', 60, 'Of a longer piece so much is synthesised.',
    lower_bound=1)
_MIN_AUDIO_PARTS = flags.DEFINE_integer(
    'min_audio_parts', 1, 'Pieces with fewer instruments or tracks are '
    'estimated from notes alone.', lower_bound=1)


def main(argv) -> int:
  """Labels as the flags say; 1 if any file could not be labelled."""
  command.check_file(_SOUNDFONT.value, 'soundfont')
  from va_magenta.music_to_va import fusion, labelling

  report = labelling.label(
      _MIDI_DIR.value, _OUTPUT.value, fusion.load(_FUSION.value),
      settings=labelling.Settings(
          max_seconds=_MAX_SECONDS.value,
          max_audio_seconds=_MAX_AUDIO_SECONDS.value,
          min_audio_parts=_MIN_AUDIO_PARTS.value,
          estimator=_ESTIMATOR.value,
          audio_model=_AUDIO_MODEL.value),
      make_by_ear=functools.partial(
          labelling.teacher, _AUDIO_MODEL.value, _SOUNDFONT.value)
                if _AUDIO.value else None,
      overwrite=_OVERWRITE.value,
      known=labelling.read(_LABELS.value) if _LABELS.value else None,
      num_workers=_NUM_WORKERS.value)
  for path, reason in sorted(
      report.unlabelled.items(), key=lambda item: item[::-1]):
    print(command.error_line(f'{path}: {reason}'), file=sys.stderr)
  for line in report.lines():
    print(line)
  print(f'wrote {_OUTPUT.value}')
  return 1 if report.unlabelled else 0


def console_entry_point():
  """The command `va_magenta_label`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
