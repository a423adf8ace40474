"""Draws the pictures of cards that no training command draws.

  python examples/make_card_pictures.py

They are four melodies of cat-mel_2bar_small; in how many pieces by people each
voice plays, as bands are arranged; and of examples/samples/meadow.mid the
chords that are recognised, how loud each note is played, and where the critic
of bands places each two bars.
"""

import pathlib

import numpy as np
import pretty_midi
from matplotlib.figure import Figure

from va_magenta import checkpoints
from va_magenta.figures import plots
from va_magenta.music import (
  band,
  band_reader,
  chord_recognition,
  chords,
  melody,
  midi,
)
from va_magenta.music_to_va import band_critic
from va_magenta.va_to_music import arranger, music_vae

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


def _chart():
  """A figure as wide as a card, and its axes."""
  figure = Figure(figsize=(8.4, 2.6), dpi=100, facecolor='white')
  return figure, figure.add_axes((0.07, 0.18, 0.91, 0.7))


def _save(figure, axes, path: pathlib.Path, **legend):
  """Writes a chart with its grid, and its legend above it."""
  axes.grid(color='#e4e4ea')
  axes.legend(loc='lower center', frameon=False, bbox_to_anchor=(0.5, 0.98),
              **legend)
  figure.savefig(path)


def draw_velocities(path: pathlib.Path):
  """How loud each note of the meadow's piece is, voice by voice."""
  notes = midi.read_notes(ROOT / 'examples' / 'samples' / 'meadow.mid')
  figure, axes = _chart()
  for number, color in zip(
      np.unique(notes['part']), (*COLORS, plots.INK), strict=False):
    part = notes[notes['part'] == number]
    name = 'drums' if part['is_drum'][0] else (
        pretty_midi.program_to_instrument_name(int(part['program'][0])))
    axes.plot(part['start_beats'] / 4 + 1, part['velocity'], '.',
              color=color, label=name)
  axes.set_xlabel('bar', fontsize=9)
  axes.set_ylabel('velocity', fontsize=9)
  _save(figure, axes, path, fontsize=8, ncols=4)


def draw_players(path: pathlib.Path):
  """In how many of people's pieces, calm and excited, each voice plays when."""
  _, arrays = checkpoints.open(None, checkpoints.ARRANGER)
  arousal = arrays['pieces.va'][:, 1].astype(float)
  plays = arrays['pieces.plays']
  middle = np.median(arousal)
  figure, axes = _chart()
  for i, (voice, color) in enumerate(zip(
      arranger.VOICES, COLORS, strict=True)):
    for chosen, style, name in (
        (arousal < middle, '--', 'calm'), (arousal >= middle, '-', 'excited')):
      axes.plot(range(1, 9), plays[chosen, :, i].mean(0), style, color=color,
                label=f'{band.VOICE_NAMES[voice]}, {name}')
  axes.set_xlabel('eighth of the piece', fontsize=9)
  axes.set_ylabel('share of pieces', fontsize=9)
  _save(figure, axes, path, fontsize=7, ncols=6)


def draw_critic(path: pathlib.Path):
  """Where the critic of bands places each two bars of the meadow's piece."""
  piece = band_reader.from_score(
      midi.read(ROOT / 'examples' / 'samples' / 'meadow.mid'))
  count = len(piece.tokens) // 32
  tokens = piece.tokens[:32 * count].reshape(count, 32, 4).astype(int)
  x = np.concatenate([
      np.eye(depth, dtype=np.float32)[tokens[..., i]]
      for i, depth in enumerate(band.OUTPUT_DEPTHS)], axis=-1)
  context = band.context(
      np.tile(piece.plays, (count, 1)), piece.chords[:4 * count].reshape(-1, 4))
  va = np.array(band_critic.load(
      checkpoints.path('band_critic_va'))(x, context.astype(np.float32)))
  figure, axes = _chart()
  for values, name, color in zip(
      va.T, ('valence', 'arousal'), COLORS, strict=False):
    axes.step(2 * np.arange(count) + 1, values, where='post', color=color,
              label=name)
  axes.set(ylim=(-1, 1))
  axes.set_xlabel('bar', fontsize=9)
  _save(figure, axes, path, fontsize=8, ncols=2)


def main():
  """Draws them."""
  folder = ROOT / 'checkpoints'
  draw_melodies(folder / 'cat-mel_2bar_small' / 'samples.png')
  draw_chords(folder / 'chord_recognition' / 'example.png')
  draw_velocities(folder / 'expression_va' / 'velocities.png')
  draw_players(folder / 'arranger_va' / 'players.png')
  draw_critic(folder / 'band_critic_va' / 'meadow.png')


if __name__ == '__main__':
  main()
