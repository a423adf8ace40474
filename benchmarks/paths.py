r"""How well pieces of 16 bars follow a path across the plane.

  python benchmarks/paths.py
  python benchmarks/paths.py --checkpoints=my_run --num_seeds=20

Each checkpoint makes pieces along three paths. Each piece is cut into quarters,
equally long in seconds, and the student that judges the generator (see
`va_magenta.evaluation.judges`) places them. Printed are the correlations of
where quarters should lie with where they do, over pieces and quarters.
"""

import numpy as np
from absl import app, flags

from va_magenta import checkpoints
from va_magenta.va import VA

FLAGS = flags.FLAGS

flags.DEFINE_list(
    'checkpoints', ['hierdec-mel_16bar', 'hierdec-trio_16bar'],
    'Names or paths of MusicVAEs.')
flags.DEFINE_integer('num_seeds', 8, 'Pieces a path.')
flags.DEFINE_integer('candidates', 16, 'Pieces to choose each from.')

PATHS = {
    'up': (VA(-0.6, -0.6), VA(0.6, 0.6)),
    'down': (VA(0.6, 0.6), VA(-0.6, -0.6)),
    'across': (VA(-0.6, 0.6), VA(0.6, -0.6))}


def _quarters(sequence) -> list:
  import note_seq

  # The last nothing of the last note may not be cut at.
  times = np.linspace(0, sequence.total_time - 1e-3, 5)
  return [
      note_seq.extract_subsequence(sequence, start, end)
      for start, end in zip(times[:-1], times[1:], strict=True)]


def main(argv):
  """Prints a line a checkpoint and path."""
  del argv
  from va_magenta.composing import composer, request
  from va_magenta.evaluation import judges
  from va_magenta.va_to_music import form

  judge = judges.Reader(judges.student(judges.JUDGE))
  for checkpoint in FLAGS.checkpoints:
    for name, path in PATHS.items():
      found = []
      for seed in range(FLAGS.num_seeds):
        [piece] = composer.compose(path, request.Settings(
            checkpoint=checkpoint, candidates=FLAGS.candidates, seed=seed,
            bars=16,
            estimator=checkpoints.path('symbolic_va') / judges.SELECTOR))
        found.append(judge(_quarters(piece.sequence)))
      asked = np.array([
          (va.valence, va.arousal) for va in form.along(list(path), 4)])
      asked = np.broadcast_to(asked, np.shape(found))
      valence, arousal = (
          np.corrcoef(asked[..., i].ravel(), np.array(found)[..., i].ravel())[
              0, 1] for i in range(2))
      print(f'{checkpoint} {name}: r {valence:.2f} valence, {arousal:.2f} '
            'arousal', flush=True)


if __name__ == '__main__':
  app.run(main)
