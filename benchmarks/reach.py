"""How near to a point of the plane the best of some melodies comes.

  python benchmarks/reach.py

For each target it prints the distance of the nearest of so many melodies, as
mean and standard deviation over the seeds. The distance is measured with the
model that also selects: it says what can be reached, and not what listeners
hear.
"""

import numpy as np
from absl import app, flags

from va_magenta.va import VA

FLAGS = flags.FLAGS

flags.DEFINE_string('checkpoint', 'cat-mel_2bar', 'Model that writes melodies.')
flags.DEFINE_multi_integer(
    'candidates', [8, 64, 512], 'Melodies to choose from.')
flags.DEFINE_integer('seeds', 5, 'Seeds.')

_TARGETS = [(0.4, 0.6), (-0.4, 0.6), (-0.4, -0.5), (0.4, -0.5), (0.8, 0.8)]


def main(argv):
  """Prints a line a target."""
  del argv
  from va_magenta import generation

  for target in (VA(*point) for point in _TARGETS):
    for candidates in FLAGS.candidates:
      distances = [
          target.distance(generation.compose(target, generation.Settings(
              checkpoint=FLAGS.checkpoint, candidates=candidates, seed=seed
          ))[0].va) for seed in range(FLAGS.seeds)]
      print(f'({target.valence}, {target.arousal}), best of {candidates}: '
            f'{np.mean(distances):.2f} ± {np.std(distances):.2f}', flush=True)


if __name__ == '__main__':
  app.run(main)
