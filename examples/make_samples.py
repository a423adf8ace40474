"""Writes examples/samples/: a piece for each of the example pictures.

  python examples/make_samples.py
  python examples/make_samples.py --quadrants

Of each picture NAME.jpg the band's piece as NAME.mid and NAME.ogg, and its
piano roll as NAME.png. With --quadrants, what the cards of the models of 16
bars show: a melody, and a trio, of each quadrant, with piano rolls.
"""

import pathlib

from absl import app, flags

from va_magenta import files, generation
from va_magenta.composing import composer, request
from va_magenta.figures import plots
from va_magenta.music import midi, synthesis
from va_magenta.va import VA

FOLDER = pathlib.Path(__file__).parent
SAMPLES = FOLDER / 'samples'
CHECKPOINTS = ('hierdec-mel_16bar', 'hierdec-trio_16bar')
TARGETS = {
    'Q1': VA(0.6, 0.6), 'Q2': VA(-0.6, 0.6), 'Q3': VA(-0.6, -0.6),
    'Q4': VA(0.6, -0.6)}
SEED = 1
# Half of a CD's: a third less to download.
RATE_HZ = 22050

_QUADRANTS = flags.DEFINE_boolean(
    'quadrants', False, 'Those of the models of 16 bars.')
_PICTURES = flags.DEFINE_list(
    'pictures', None, 'Only of these; by default of all.')


def main(argv):
  """Makes the samples."""
  del argv  # Unused.
  SAMPLES.mkdir(exist_ok=True)
  if _QUADRANTS.value:
    make_quadrants()
  else:
    for path in sorted(FOLDER.glob('*.jpg')):
      if _PICTURES.value is None or path.stem in _PICTURES.value:
        make_piece(path)


def make_piece(picture: pathlib.Path):
  """Writes the band's piece for a picture."""
  sequence, = generation.generate(picture, seed=SEED)
  with files.writing(SAMPLES / f'{picture.stem}.mid') as path:
    path.write_bytes(midi.to_bytes(sequence))
  with files.writing(SAMPLES / f'{picture.stem}.ogg') as path:
    synthesis.save(path, sequence, sample_rate_hz=RATE_HZ)
  plots.plot_piano_rolls(
      SAMPLES / f'{picture.stem}.png', {'♪': sequence})
  print(f'{picture.stem}: {sequence.total_time:.1f} s')


def make_quadrants():
  """Writes melodies and trios of each quadrant."""
  for checkpoint in CHECKPOINTS:
    rolls = {}
    for quadrant, target in TARGETS.items():
      piece, = composer.compose(
          target, request.Settings(checkpoint=checkpoint, seed=SEED))
      rolls[quadrant] = piece.sequence
      with files.writing(
          SAMPLES / f'{checkpoint}-{quadrant}.mid') as path:
        path.write_bytes(midi.to_bytes(piece.sequence))
      print(checkpoint, quadrant, f'distance {piece.distance:.2f}')
    plots.plot_piano_rolls(SAMPLES / f'{checkpoint}.png', rolls)


if __name__ == '__main__':
  app.run(main)
