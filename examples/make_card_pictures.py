"""Draws the pictures of cards that no training command draws.

  python examples/make_card_pictures.py
  python examples/make_card_pictures.py FIRST.npz CHOSEN.npz

The first draws four melodies of cat-mel_2bar_small, and the chords that are
recognised in examples/samples/meadow.mid. The second draws how likely by people
the chooser holds bands as they come and as they are chosen (.npz as of
`va_magenta_evaluate --people`), beside people's held-out pieces.
"""

import pathlib
import sys

import numpy as np
from matplotlib.figure import Figure

from va_magenta import checkpoints
from va_magenta.composing import plausibility
from va_magenta.evaluation import people
from va_magenta.figures import plots
from va_magenta.music import chord_recognition, chords, measures, melody, midi
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


def draw_choice(path: pathlib.Path, first: str, chosen: str):
  """Log odds of people's pieces, of ours as they come, and of those chosen."""
  chooser = plausibility.load()
  table = people.shipped()
  shown = [people.NAMES.index(name) for name in measures.SELECTION]
  odds = {'people, held out': chooser._trees.predict(table.values[:, shown])}
  for name, source in (
      ('ours, one candidate', first), ('ours, chosen', chosen)):
    music = people.read(source)
    odds[name] = np.array([
        chooser(tokens, harmony) for tokens, harmony in zip(
            music.tokens, music.chords, strict=True)])
  figure = Figure(figsize=(8.4, 2.6), dpi=100, facecolor='white')
  axes = figure.add_axes((0.06, 0.2, 0.92, 0.75))
  bins = np.linspace(
      min(map(np.min, odds.values())), max(map(np.max, odds.values())), 40)
  for (name, values), color in zip(odds.items(), COLORS, strict=True):
    axes.hist(values, bins, density=True, alpha=0.6, color=color, label=name)
  axes.axvline(chooser.least, color='#2b2d42')
  axes.set(yticks=[], xlabel='log odds that a piece is by people')
  axes.legend(frameon=False, fontsize=9)
  figure.savefig(path)


def main():
  """Draws what it has the means for."""
  folder = ROOT / 'checkpoints'
  if sys.argv[1:]:
    draw_choice(folder / 'plausibility' / 'odds.png', *sys.argv[1:])
    return
  draw_melodies(folder / 'cat-mel_2bar_small' / 'samples.png')
  draw_chords(folder / 'chord_recognition' / 'example.png')


if __name__ == '__main__':
  main()
