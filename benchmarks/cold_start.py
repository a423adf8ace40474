r"""How long the command takes from a cold process, against TensorFlow's import.

  python benchmarks/cold_start.py

Each is a process of its own, in turns; the figures are of the best rounds:
`va_magenta_generate --help`; `python -c "import tensorflow"`; one picture to
one MIDI file.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

import reporting
from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_integer('rounds', 3, 'Rounds of each.')

_PICTURE = pathlib.Path(__file__).parents[1] / 'examples' / 'lake.jpg'
_GENERATE = [sys.executable, '-m', 'va_magenta.va_magenta_generate']


def main(argv):
  """Runs each command in turns and prints the best times."""
  del argv
  with tempfile.TemporaryDirectory() as folder:
    commands = {
        '--help': [*_GENERATE, '--help'],
        'import tensorflow': [sys.executable, '-c', 'import tensorflow'],
        'one picture to one MIDI': [
            *_GENERATE, f'--image={_PICTURE}', f'--output_dir={folder}',
            '--overwrite', '--seed=0'],
    }
    best = dict.fromkeys(commands, float('inf'))
    for _ in range(FLAGS.rounds):
      for name, command in commands.items():
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best[name] = min(best[name], time.perf_counter() - start)
  for name, seconds in best.items():
    print(f'{name}: {seconds:.2f} s')
  ratio = best['one picture to one MIDI'] / best['import tensorflow']
  print(f'one picture to one MIDI / import tensorflow: {ratio:.2f}')
  reporting.add({
      'help, seconds': best['--help'],
      'picture to MIDI, against importing TensorFlow': ratio})


if __name__ == '__main__':
  app.run(main)
