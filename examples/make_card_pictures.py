"""Draws the pictures of cards that no training command draws.

  python examples/make_card_pictures.py

They are four melodies of cat-mel_2bar_small; and of examples/samples/meadow.mid
the chords that are recognised, and how loud each note is played.
"""

import pathlib

import numpy as np
import pretty_midi
from matplotlib.figure import Figure

from va_magenta import checkpoints
from va_magenta.figures import plots
from va_magenta.music import chord_recognition, chords, melody, midi
from va_magenta.va_to_music import music_vae

ROOT = pathlib.Path(__file__).parents[1]
COLORS = ('#2b9aa8', '#f2a33a', '#d96c7b')


def draw_melodies(path: pathlib.Path):
  """Four melodies, from z that are drawn from N(0, 1)."""
  model = music_vae.load(checkpoints.resolve('cat-mel_2bar_small'))
  z = np.random.default_rng(3).normal(size=(16, 256)).astype(np.float32)
  tokens = model.sample(z, temperature=0.5, seed=3)[..., 0]
  played = tokens[(tokens >= 2).sum(axis=1) >= 4]  # Some have hardly a note.
  plots.plot_piano_rolls(path, {
      str(i): melody.tokens_to_sequence(row)
      for i, row in enumerate(played[:4], 1)})


def draw_chords(path: pathlib.Path):
  """The first eight bars of the meadow's piece with their chords."""
  notes = midi.read_notes(ROOT / 'examples' / 'samples' / 'meadow.mid')
  notes = notes[~notes['is_drum'] & (notes['start_beats'] < 32)]
  parts = [
      np.round(np.column_stack([
          4 * part['start_beats'], 4 * part['end_beats'], part['pitch']
      ])).astype(int)
      for number in np.unique(notes['part'])
      for part in [notes[notes['part'] == number]]]
  tune, *others = sorted(parts, key=lambda part: -part[:, 2].mean())
  bass = min(others, key=lambda part: part[:, 2].mean())
  comping = next(part for part in others if part is not bass)
  found = chord_recognition.load().recognise(comping, bass, tune, 16)
  figure = Figure(figsize=(8.4, 2.6), dpi=100, facecolor='white')
  axes = figure.add_axes((0.02, 0.16, 0.96, 0.7))
  for part, color in zip((tune, bass, comping), COLORS, strict=True):
    axes.barh(part[:, 2], part[:, 1] - part[:, 0], left=part[:, 0], color=color)
  for i, chord in enumerate(found.tolist()):
    if i == 0 or chord != found[i - 1]:
      axes.text(8 * i, 1.03, chords.name(chord), fontsize=9,
                transform=axes.get_xaxis_transform())
  axes.set(xlim=(0, 128), xticks=range(0, 128, 16), yticks=[],
           xticklabels=range(1, 9))
  axes.set_xlabel('bar', fontsize=9)
  axes.grid(axis='x', color='#e4e4ea')
  axes.set_axisbelow(True)
  figure.savefig(path)


def draw_velocities(path: pathlib.Path):
  """How loud each note of the meadow's piece is, voice by voice."""
  notes = midi.read_notes(ROOT / 'examples' / 'samples' / 'meadow.mid')
  figure = Figure(figsize=(8.4, 2.6), dpi=100, facecolor='white')
  axes = figure.add_axes((0.07, 0.18, 0.91, 0.7))
  for number, color in zip(
      np.unique(notes['part']), (*COLORS, plots.INK), strict=False):
    part = notes[notes['part'] == number]
    name = 'drums' if part['is_drum'][0] else (
        pretty_midi.program_to_instrument_name(int(part['program'][0])))
    axes.plot(part['start_beats'] / 4 + 1, part['velocity'], '.',
              color=color, label=name)
  axes.set_xlabel('bar', fontsize=9)
  axes.set_ylabel('velocity', fontsize=9)
  axes.grid(color='#e4e4ea')
  axes.legend(fontsize=8, ncols=4, loc='lower center', frameon=False,
              bbox_to_anchor=(0.5, 0.98))
  figure.savefig(path)


def main():
  """Draws them."""
  folder = ROOT / 'checkpoints'
  draw_melodies(folder / 'cat-mel_2bar_small' / 'samples.png')
  draw_chords(folder / 'chord_recognition' / 'example.png')
  draw_velocities(folder / 'expression_va' / 'velocities.png')


if __name__ == '__main__':
  main()
