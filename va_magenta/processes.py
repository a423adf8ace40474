"""Processes that do the same to many files, and what is said of a killed one.

  with (processes.told_if_killed('converted pieces'),
        processes.Pool(2, start, 'argument') as pool):
    results = list(pool.map(function, paths))

They are started anew ('spawn'), as TensorFlow and FluidSynth bear no fork, so
`function` must be importable.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator


class Pool(concurrent.futures.ProcessPoolExecutor):
  """Processes without a GPU, quiet, and ended by their parent or its end.

  They are ended in the middle of what they do if the body raises, so files are
  for the parent to write.
  """

  def __init__(
      self, num_workers: int | None = None, start: Callable | None = None,
      *args):
    """Starts none yet.

    Args:
      num_workers: as many as there are cores if None.
      start: called once in each process, if given.
      *args: of `start`.
    """
    super().__init__(
        num_workers or os.cpu_count(), multiprocessing.get_context('spawn'),
        _start, (start, args))

  def __exit__(self, kind, *more):
    if kind:  # Who is interrupted does not wait for what is still to be done.
      for process in list((self._processes or {}).values()):
        process.terminate()
    self.shutdown(cancel_futures=True)


def _start(start: Callable | None, args: tuple):
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent sees to it.
  signal.signal(signal.SIGTERM, signal.SIG_DFL)
  threading.Thread(target=_end_with_parent, daemon=True).start()
  os.environ['CUDA_VISIBLE_DEVICES'] = ''
  warnings.simplefilter('ignore')  # MIDI files give each its own.
  if start:
    start(*args)


def _end_with_parent():
  multiprocessing.parent_process().join()
  os._exit(1)  # A killed parent cannot say so.


@contextlib.contextmanager
def told_if_killed(what: str, remedy: str = 'run it again') -> Iterator[None]:
  """Raises OSError if a process of a `Pool` is killed in the body.

  Args:
    what: 'a process that WHAT was killed', the error says.
    remedy: what it advises.
  """
  try:
    yield
  except concurrent.futures.BrokenExecutor as error:
    raise OSError(
        f'a process that {what} was killed, which is what a system short of '
        f'memory does: {remedy}, with more memory or fewer processes'
    ) from error
