"""Writes what README.md shows of the meadow and of its music.

  python examples/make_overview.py

It runs README's command with a seed and sound (`--seed=1 --audio=ogg`), keeps
the piece as meadow.mid and .ogg in examples/samples, and draws
examples/meadow.png: the picture, and beside it the piece as a piano roll.
"""

import pathlib
import shutil
import tempfile

from PIL import Image

from va_magenta import generation
from va_magenta.figures import plots

EXAMPLES = pathlib.Path(__file__).parent
SAMPLES = EXAMPLES / 'samples'


def main():
  """Makes music for the meadow, and draws both."""
  with tempfile.TemporaryDirectory() as folder:
    saved = generation.generate_and_save(
        EXAMPLES / 'meadow.jpg', seed=1, audio='ogg', output_dir=folder)
    for path in (*saved.midi_paths, *saved.audio_paths):
      shutil.copy(path, SAMPLES / f'meadow{path.suffix}')
    path = pathlib.Path(folder) / 'roll.png'
    plots.plot_piano_rolls(path, {'♪': saved.pieces[0].sequence})
    roll = Image.open(path).convert('RGB')
  picture = Image.open(EXAMPLES / 'meadow.jpg').convert('RGB')
  picture = picture.resize(
      (round(picture.width * roll.height / picture.height), roll.height))
  image = Image.new('RGB', (picture.width + roll.width, roll.height), 'white')
  image.paste(picture, (0, 0))
  image.paste(roll, (picture.width, 0))
  image.quantize(256).save(EXAMPLES / 'meadow.png', optimize=True)


if __name__ == '__main__':
  main()
