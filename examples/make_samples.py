"""Writes examples/samples/: a piece of each quadrant by the models of 16 bars.

  python examples/make_samples.py

MIDI files, and for each model a PNG of their piano rolls.
"""

import pathlib

from va_magenta import files
from va_magenta.composing import composer, request
from va_magenta.figures import plots
from va_magenta.va import VA

SAMPLES = pathlib.Path(__file__).parent / 'samples'
CHECKPOINTS = ('hierdec-mel_16bar', 'hierdec-trio_16bar')
TARGETS = {
    'Q1': VA(0.6, 0.6), 'Q2': VA(-0.6, 0.6), 'Q3': VA(-0.6, -0.6),
    'Q4': VA(0.6, -0.6)}
SEED = 1


def main():
  """Makes the samples."""
  SAMPLES.mkdir(exist_ok=True)
  for checkpoint in CHECKPOINTS:
    rolls = {}
    for quadrant, target in TARGETS.items():
      piece, = composer.compose(
          target, request.Settings(checkpoint=checkpoint, seed=SEED))
      rolls[quadrant] = piece.sequence
      import note_seq  # After Keras, before which it would print.
      with files.writing(SAMPLES / f'{checkpoint}-{quadrant}.mid') as path:
        note_seq.sequence_proto_to_midi_file(piece.sequence, path)
      print(checkpoint, quadrant, f'distance {piece.distance:.2f}')
    plots.plot_piano_rolls(SAMPLES / f'{checkpoint}.png', rolls)


if __name__ == '__main__':
  main()
