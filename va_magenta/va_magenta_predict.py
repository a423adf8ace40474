"""Says where pictures, MIDI files and audio files lie on the VA plane.

  va_magenta_predict picture.jpg song.mid recording.mp3
  va_magenta_predict my_folder --plot=plane.png
  va_magenta_predict my_folder another --json > points.json
  va_magenta_predict picture.jpg --explain=saliency.png
  va_magenta_predict song.mid --synthesize --soundfont=better.sf2

It prints a table, a line a file. Audio is WAV, FLAC, OGG or MP3. A folder
stands for all such files in it and in the folders in it; what is hidden is left
out. A file is what its content says, whatever its name ends in.

--json prints an array of objects with these keys instead:
  path      as given, or as found in the folder that was given
  kind      "picture", "midi" or "audio"
  valence   from -1 (unpleasant) to 1 (pleasant)
  arousal   from -1 (calm) to 1 (excited)
  quadrant  "Q1" pleasant and excited, "Q2" unpleasant and excited,
            "Q3" unpleasant and calm, "Q4" pleasant and calm
  spread    of a picture, [valence, arousal]: standard deviations that people's
            mean rating is expected to have about the estimate; null of music

A MIDI file is estimated from its notes, which is more accurate for valence;
--synthesize estimates from its sound, as for audio.

A file that cannot be read is told in a line on stderr and left out; the others
are printed, and the command exits with 1.
"""

import json
import sys
import unicodedata
from collections.abc import Sequence

from absl import flags

from va_magenta import command

_JSON = flags.DEFINE_boolean(
    'json', False, 'Print JSON instead of a table.')
_PLOT = command.DEFINE_path(
    'plot', None, 'PNG file to write: the plane with all points.')
_EXPLAIN = command.DEFINE_path(
    'explain', None, 'PNG file to write for one picture: what in it the '
    'estimate hangs on most.')
_IMAGE_MODEL = command.DEFINE_path(
    'image_model', None, 'Image model of your own: the --run_dir of '
    'va_magenta_train_image; of this and the following the one that ships if '
    'not given.')
_ESTIMATOR = command.DEFINE_path(
    'estimator', None, 'Estimator of notes: the --run_dir of '
    'va_magenta_train_midi --model=student.')
_AUDIO_MODEL = command.DEFINE_path(
    'audio_model', None, 'Estimator of sound: the --run_dir of '
    'va_magenta_train_audio.')
_SYNTHESIZE = flags.DEFINE_boolean(
    'synthesize', False, 'Estimate MIDI files from their sound, as for audio.')
_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play them with; the model knows that of '
    'pretty_midi, which is the default.')
_START_SECONDS = flags.DEFINE_float(
    'start_seconds', 0.0, 'Where to begin to listen.', lower_bound=0)
_MAX_SECONDS = flags.DEFINE_float(
    'max_seconds', 600.0, 'How long to listen at most.', lower_bound=0.25)
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace files that exist.')


def main(argv: Sequence[str]) -> int:
  """Finds the files, predicts, prints and draws; 1 if any could not be read."""
  if not argv[1:]:
    raise ValueError(
        'give the paths of pictures, MIDI files, audio files or folders '
        '(--help tells more)')
  from va_magenta import prediction

  command.check_file(_SOUNDFONT.value, 'soundfont')
  errors = []

  def report(error: Exception):
    errors.append(error)
    _print_error(error)

  files = prediction.find_files(argv[1:], on_error=report)
  outputs = [o for o in (_PLOT.value, _EXPLAIN.value) if o is not None]
  prediction.check_outputs(
      outputs, [*files, _IMAGE_MODEL.value, _ESTIMATOR.value,
                _AUDIO_MODEL.value, _SOUNDFONT.value],
      overwrite=_OVERWRITE.value)
  if _EXPLAIN.value is None:
    predictions = prediction.predict(
        files, image_model=_IMAGE_MODEL.value, estimator=_ESTIMATOR.value,
        audio_model=_AUDIO_MODEL.value, synthesize=_SYNTHESIZE.value,
        on_error=report, soundfont=_SOUNDFONT.value,
        start_seconds=_START_SECONDS.value, max_seconds=_MAX_SECONDS.value)
  elif len(files) + len(errors) != 1:
    raise ValueError(
        f'--explain takes one picture, not {len(files) + len(errors)} files')
  else:
    predictions = [
        prediction.explain(path, _EXPLAIN.value, image_model=_IMAGE_MODEL.value)
        for path in files]
  if _JSON.value:
    print(json.dumps([p.as_dict() for p in predictions], indent=2))
  elif predictions:
    print(_table(predictions))
  if _PLOT.value is not None and predictions:
    prediction.plot(_PLOT.value, predictions)
  return 1 if errors else 0


def _table(predictions) -> str:
  from va_magenta import prediction

  rows = [('path', 'kind', 'valence', 'arousal', 'quadrant')]
  rows += [
      (prediction.printable(p.path), p.kind, f'{p.va.valence:+.2f}',
       f'{p.va.arousal:+.2f}', f'{p.va.quadrant.name} {p.va.quadrant.value}')
      for p in predictions
  ]
  path_width = max(_width(row[0]) for row in rows)
  return '\n'.join(
      f'{path}{" " * (path_width - _width(path))}  {kind:7}  {valence:>7}  '
      f'{arousal:>7}  {quadrant}'
      for path, kind, valence, arousal, quadrant in rows)


def _width(text: str) -> int:
  """Columns of a terminal: Chinese characters have two, accents none."""
  return sum(
      2 if unicodedata.east_asian_width(c) in 'FW'
      else not unicodedata.combining(c) for c in text)


def _print_error(error: Exception):
  import tqdm

  # Not into the middle of a progress bar.
  tqdm.tqdm.write(command.error_line(error), file=sys.stderr)


def console_entry_point():
  """The installed command."""
  command.run(main, takes_arguments=True)


if __name__ == '__main__':
  console_entry_point()
