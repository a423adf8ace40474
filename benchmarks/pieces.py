r"""How long a piece takes to make, and how much memory, with each checkpoint.

  python benchmarks/pieces.py
  python benchmarks/pieces.py --checkpoints=my_run --candidates=1,16

By default the MusicVAEs that ship. Each is measured in a process of its own:
seconds of the first piece, which loads and compiles all that is needed;
seconds of a further one, the best of some rounds, by how many candidates it is
chosen from; and the largest resident memory up to then.
"""

import multiprocessing
import resource
import sys
import time

import reporting
from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_list('checkpoints', None, 'Names or paths of MusicVAEs.')
flags.DEFINE_list('candidates', ['1', '64'], 'Pieces to choose from.')
flags.DEFINE_integer('rounds', 5, 'Pieces that are timed.')


def _measure(checkpoint: str, candidates: list[int], rounds: int, results):
  """Prints a line, and puts its figures into a queue."""
  from va_magenta.composing import composer, request
  from va_magenta.music import grid
  from va_magenta.va import VA

  def seconds(number, seed):
    start = time.perf_counter()
    pieces = []
    # Of a random draw with few candidates there may be none with notes.
    try:
      pieces = composer.compose(VA(0.4, 0.6), request.Settings(
          checkpoint=checkpoint, candidates=number, seed=seed))
    except ValueError as error:
      if 'different pieces with notes' not in str(error):
        raise
    elapsed = time.perf_counter() - start
    for piece in pieces:
      figures['bars'] = len(piece.score[0]) // grid.STEPS_PER_BAR
    return elapsed

  figures = {}
  figures['first'] = seconds(candidates[0], 0)
  for number in candidates:
    seconds(number, 0)  # Compiles.
    figures[f'of {number}'] = min(
        seconds(number, seed) for seed in range(1, rounds + 1))
  figures['MiB'] = round(
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
          1 if sys.platform == 'darwin' else 1024) / 2**20)
  print(f'{checkpoint}: {figures["bars"]} bars, first '
        f'{figures["first"]:.1f} s, ' + ''.join(
            f'of {number} candidates {figures[f"of {number}"]:.2f} s, '
            for number in candidates)
        + f'{figures["MiB"]:,} MiB', flush=True)
  results.put(figures)


def main(argv):
  """Measures one checkpoint after the other."""
  del argv
  from va_magenta import checkpoints

  names = FLAGS.checkpoints or [
      name for name in checkpoints.names()
      if not checkpoints.TABLE[name].url]
  context = multiprocessing.get_context('spawn')
  results = context.SimpleQueue()
  for name in names:
    process = context.Process(target=_measure, args=(
        name, list(map(int, FLAGS.candidates)), FLAGS.rounds,
        results))
    process.start()
    process.join()
    if process.exitcode:
      sys.exit(process.exitcode)
    reporting.add(results.get(), name)


if __name__ == '__main__':
  app.run(main)
