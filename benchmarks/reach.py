"""How near to a point of the plane the best of some melodies comes.

  python benchmarks/reach.py

For each target it prints the distance of the nearest of so many melodies, as
mean and standard deviation over the seeds. The distance is measured with the
model that also selects: it says what can be reached, and not what listeners
hear. Of a few melodies none may have notes enough, where calm is asked for:
such seeds are left out, and counted.
"""

import contextlib

import numpy as np
from absl import app, flags

from va_magenta.va import VA

FLAGS = flags.FLAGS

flags.DEFINE_string('checkpoint', 'cat-mel_2bar', 'Model that writes melodies.')
flags.DEFINE_multi_integer(
    'candidates', [8, 64, 512], 'Melodies to choose from.')
flags.DEFINE_integer('seeds', 5, 'Seeds.')
flags.DEFINE_integer('targets', None, 'Only so many targets.')

_TARGETS = [(0.4, 0.6), (-0.4, 0.6), (-0.4, -0.5), (0.4, -0.5), (0.8, 0.8)]


def main(argv):
  """Prints a line a target."""
  del argv
  from va_magenta.composing import composer, models, request

  # What is wrong with it is told here; later only a lack of notes can be.
  models.music_vae(FLAGS.checkpoint)
  for target in (VA(*point) for point in _TARGETS[:FLAGS.targets]):
    for candidates in FLAGS.candidates:
      distances = []
      for seed in range(FLAGS.seeds):
        settings = request.Settings(
            checkpoint=FLAGS.checkpoint, candidates=candidates, seed=seed)
        with contextlib.suppress(ValueError):
          distances.append(
              target.distance(composer.compose(target, settings)[0].va))
      text = f'({target.valence}, {target.arousal}), best of {candidates}: '
      if distances:
        text += f'{np.mean(distances):.2f} ± {np.std(distances):.2f}'
      if len(distances) < FLAGS.seeds:
        text += (f' (without notes: {FLAGS.seeds - len(distances)} of '
                 f'{FLAGS.seeds} seeds)')
      print(text, flush=True)


if __name__ == '__main__':
  app.run(main)
