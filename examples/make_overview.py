"""Writes what README.md shows of the meadow and of its music.

  python examples/make_overview.py

It draws examples/meadow.png: the picture, and beside it, as a piano roll, the
piece that make_samples.py wrote for it.
"""

import pathlib
import tempfile

from PIL import Image

from va_magenta.figures import plots
from va_magenta.music import midi

EXAMPLES = pathlib.Path(__file__).parent


def main():
  """Draws both."""
  sequence = midi.read(EXAMPLES / 'samples' / 'meadow.mid').to_sequence()
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'roll.png'
    plots.plot_piano_rolls(path, {'♪': sequence})
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
