"""Opens a page in the browser: drop in a picture, drag its point, hear music.

  pip install "va_magenta[app]"
  va_magenta_app
  va_magenta_app --port=8000 --noopen --checkpoint=my_va_run

The page shows where a picture lies on the VA plane, or several with the path
between them, lets the points be dragged, and makes pieces for them: piano roll
with chords, player, key and chords to edit, files to download. Nothing is kept,
and nothing comes from the network but a checkpoint that you choose and that is
not here yet. Ctrl+C ends it.
"""

import threading
from collections.abc import Sequence

from absl import flags

from va_magenta import command

_HOST = flags.DEFINE_string(
    'host', '127.0.0.1', 'Address to listen at. The default is reached from '
    'this machine alone; 0.0.0.0 from all that know its name.')
_PORT = flags.DEFINE_integer(
    'port', None, 'Port to listen at; by default the first free one from 7860 '
    'on.', lower_bound=1, upper_bound=65535)
_OPEN = flags.DEFINE_boolean(
    'open', True, 'Open the page in a browser.')
_CHECKPOINT = command.DEFINE_multi_path(
    'checkpoint', [], 'MusicVAE of your own to offer on the page: a --run_dir, '
    'a folder, a .tar; may be given again.')
_IMAGE_MODEL = command.DEFINE_path(
    'image_model', None, 'Image model of your own: the --run_dir of '
    'va_magenta_train_image.')
_ESTIMATOR = command.DEFINE_path(
    'estimator', None, 'Model that selects among candidates: the --run_dir of '
    'va_magenta_train_midi --model=student.')
_PERFORMANCE_MODEL = command.DEFINE_path(
    'performance_model', None, 'Model of performances: the --run_dir of '
    'va_magenta_train_performance.')

_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play music with; by default the best of '
    'the system, or a small one.')


def main(argv: Sequence[str]):
  """Serves the page until it is interrupted."""
  del argv
  from va_magenta.app import page

  command.check_file(_SOUNDFONT.value, 'soundfont')
  with page.serve(
      _HOST.value, _PORT.value, own_checkpoints=_CHECKPOINT.value,
      image_model=_IMAGE_MODEL.value, estimator=_ESTIMATOR.value,
      performance_model=_PERFORMANCE_MODEL.value,
      soundfont=_SOUNDFONT.value,
      open_browser=_OPEN.value) as url:
    print(f'{url} (Ctrl+C ends it)', flush=True)
    try:
      threading.Event().wait()
    except KeyboardInterrupt:
      pass


def console_entry_point():
  """The installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
