"""Writes examples/meadow_va_plane.png: the meadow, its point, its melodies.

  python examples/make_overview.py

Below what va_magenta_generate draws it shows the first melody as a piano roll.
"""

import pathlib
import tempfile

import numpy as np
from PIL import Image

from va_magenta import generation
from va_magenta.figures import plots

EXAMPLES = pathlib.Path(__file__).parent


def main():
  """Makes music for the meadow, and draws it."""
  with tempfile.TemporaryDirectory() as folder:
    saved = generation.generate_and_save(
        EXAMPLES / 'meadow.jpg', num_outputs=3, candidates=512, seed=1,
        output_dir=folder)
    roll = pathlib.Path(folder) / 'roll.png'
    plots.plot_piano_rolls(roll, {'1': saved.pieces[0].sequence})
    parts = [
        np.array(Image.open(path).convert('RGB'))
        for path in (saved.png_path, roll)]
  image = Image.fromarray(np.concatenate(parts)).quantize(256)
  image.save(EXAMPLES / 'meadow_va_plane.png', optimize=True)


if __name__ == '__main__':
  main()
