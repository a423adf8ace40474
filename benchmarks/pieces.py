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

from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_list('checkpoints', None, 'Names or paths of MusicVAEs.')
flags.DEFINE_list('candidates', ['1', '64'], 'Pieces to choose from.')
flags.DEFINE_integer('rounds', 5, 'Pieces that are timed.')


def _measure(checkpoint: str, candidates: list[int], rounds: int):
  """Prints a line."""
  from va_magenta.composing import composer, request
  from va_magenta.va import VA

  def seconds(number, seed):
    start = time.perf_counter()
    # Of a random draw with few candidates there may be none with notes.
    try:
      composer.compose(VA(0.4, 0.6), request.Settings(
          checkpoint=checkpoint, candidates=number, seed=seed))
    except ValueError as error:
      if 'different pieces with notes' not in str(error):
        raise
    return time.perf_counter() - start

  words = [f'{checkpoint}: {composer.phrase_bars(checkpoint)} bars']
  words.append(f'first {seconds(candidates[0], 0):.1f} s')
  for number in candidates:
    seconds(number, 0)  # Compiles.
    best = min(seconds(number, seed) for seed in range(1, rounds + 1))
    words.append(f'of {number} candidates {best:.2f} s')
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
      1 if sys.platform == 'darwin' else 1024)
  print(', '.join([*words, f'{peak / 2**20:,.0f} MiB']), flush=True)


def main(argv):
  """Measures one checkpoint after the other."""
  del argv
  from va_magenta import checkpoints

  names = FLAGS.checkpoints or [
      name for name in checkpoints.names()
      if not checkpoints.TABLE[name].url]
  context = multiprocessing.get_context('spawn')
  for name in names:
    process = context.Process(target=_measure, args=(
        name, list(map(int, FLAGS.candidates)), FLAGS.rounds))
    process.start()
    process.join()
    if process.exitcode:
      sys.exit(process.exitcode)


if __name__ == '__main__':
  app.run(main)
