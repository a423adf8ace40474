"""Writes examples/meadow_va_plane.png: the meadow, its point, its melodies.

  python examples/make_overview.py

Below what va_magenta_generate draws it shows the first melody as a piano roll.
"""

import pathlib
import tempfile

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from va_magenta import generation

EXAMPLES = pathlib.Path(__file__).parent
# As `plots` draws the plane.
DPI = 150
INK, FAINT, COLOR = '#2b2d42', '#8d90a5', '#00798c'


def draw_roll(path: pathlib.Path, piece: generation.Piece):
  """Writes a PNG: pitches over time; louder is darker."""
  figure = Figure(figsize=(8.4, 1.9), dpi=DPI, facecolor='white')
  axes = figure.add_axes((0.075, 0.26, 0.895, 0.66))
  for note in piece.sequence.notes:
    axes.barh(
        note.pitch, note.end_time - note.start_time, left=note.start_time,
        height=0.8, color=COLOR, alpha=0.25 + note.velocity / 170)
  pitches = [note.pitch for note in piece.sequence.notes]
  octaves = range(0, 128, 12)
  axes.set(
      xlim=(0, piece.sequence.total_time),
      ylim=(min(pitches) - 2, max(pitches) + 2), xlabel='seconds', yticks=[
          pitch for pitch in octaves
          if min(pitches) - 2 < pitch < max(pitches) + 2])
  axes.set_yticklabels([f'C{pitch // 12 - 1}' for pitch in axes.get_yticks()])
  axes.set_ylabel('1', rotation=0, color=COLOR, fontweight='bold', labelpad=14)
  axes.xaxis.label.set_color(INK)
  axes.grid(axis='y', color='#e4e4ea')
  axes.set_axisbelow(True)
  axes.tick_params(colors=FAINT, labelsize=8, length=0)
  for spine in axes.spines.values():
    spine.set_color('#e4e4ea')
  figure.savefig(path)


def main():
  """Makes music for the meadow, and draws it."""
  with tempfile.TemporaryDirectory() as folder:
    saved = generation.generate_and_save(
        EXAMPLES / 'meadow.jpg', num_outputs=3, candidates=512, seed=1,
        output_dir=folder)
    roll = pathlib.Path(folder) / 'roll.png'
    draw_roll(roll, saved.pieces[0])
    parts = [
        np.array(Image.open(path).convert('RGB'))
        for path in (saved.png_path, roll)]
  image = Image.fromarray(np.concatenate(parts)).quantize(256)
  image.save(EXAMPLES / 'meadow_va_plane.png', optimize=True)


if __name__ == '__main__':
  main()
