"""Processes that do the same to many files, of which one may hang or kill them.

  with processes.Pool(2, start, 'argument') as pool:
    for result in pool.map(function, paths):
      ...  # A `Lost` in place of the result of a file that hangs.

They are started anew ('spawn'), as TensorFlow and FluidSynth bear no fork, so
`function` must be importable. `resumable_map` keeps what is done in files.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from va_magenta import files

# After so long a file hangs: the largest take a minute of a busy machine.
TIMEOUT_SECONDS = 300.0
# So many processes killed in a row are no fault of the files.
_MAX_KILLED = 6
_TRIES = 2


@dataclasses.dataclass(frozen=True)
class Lost:
  """In place of a result: the item's process was ended.

  Attributes:
    reason: in a few words.
  """

  reason: str


class Pool:
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
    import pebble

    self._num_workers = num_workers or os.cpu_count() or 1
    self._pool = pebble.ProcessPool(
        self._num_workers, initializer=_start, initargs=(start, args),
        context=multiprocessing.get_context('spawn'))
    self._num_killed = 0

  def __enter__(self):
    return self

  def __exit__(self, kind, *more):
    if kind:  # Who is interrupted does not wait for what is still to be done.
      self._pool.stop()
    else:
      self._pool.close()
    self._pool.join()

  def map(
      self, function: Callable, items: Iterable, chunksize: int = 1
  ) -> Iterator[Any]:
    """What `function` makes of each item, in order.

    Args:
      function: of an item.
      items: whatever can be pickled.
      chunksize: items that are sent to a process at once; those of a chunk that
        is lost are tried one by one.

    Yields:
      Results; `Lost` of an item that takes more than `TIMEOUT_SECONDS`, or
      whose process is killed twice.

    Raises:
      BrokenExecutor: if processes are killed whatever they do.
    """
    items, waiting = iter(items), collections.deque()
    try:
      while True:
        while len(waiting) < 4 * self._num_workers and (
            chunk := list(itertools.islice(items, chunksize))):
          waiting.append((chunk, self._schedule(function, chunk)))
        if not waiting:
          return
        chunk, future = waiting.popleft()
        try:
          yield from self._results(function, chunk, future)
        except BaseException:
          future.cancel()
          raise
    finally:
      for _, future in waiting:
        future.cancel()

  def _schedule(self, function, chunk):
    return self._pool.schedule(
        _apply, (function, chunk), timeout=TIMEOUT_SECONDS * len(chunk))

  def _results(self, function, chunk, future, tries=_TRIES) -> list:
    import pebble

    try:
      results = future.result()
      self._num_killed = 0
      return results
    except concurrent.futures.TimeoutError:
      reason, tries = f'takes more than {TIMEOUT_SECONDS:g} seconds', 0
    except pebble.ProcessExpired as error:
      reason, tries = 'kills the process that reads it', tries - 1
      self._num_killed += 1
      if self._num_killed == _MAX_KILLED:
        raise concurrent.futures.BrokenExecutor(
            f'{_MAX_KILLED} processes in a row were killed') from error
    if len(chunk) == 1 and not tries:
      return [Lost(reason)]
    return [
        result for item in chunk for result in self._results(
            function, [item], self._schedule(function, [item]), tries or 1)]


def _apply(function: Callable, chunk: list) -> list:
  return [function(item) for item in chunk]


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
  """Raises OSError if processes of a `Pool` are killed in the body.

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


def resumable_map(
    make: Callable[[Pool, list], Iterable], items: Sequence,
    paths: Sequence[pathlib.Path],
    write: Callable[[pathlib.Path, int, list], None], *,
    block_size: int, what: str, start: tuple = (),
    num_workers: int | None = None):
  """Maps a corpus block by block, each kept in a file when it is done.

  A run that was killed loses at most the block in work; of files that are there
  nothing is made again.

  Args:
    make: of a pool and a block's items, gives their results in order, for
      instance by `pool.map`.
    items: what the corpus consists of.
    paths: of the blocks' files, one for each `block_size` items; their folder
      exists.
    write: of a path, the number of a block's first item, and its results.
    block_size: items of a block; the last may have fewer.
    what: processes do, as in 'labelled pieces', for `told_if_killed`.
    start: what each process calls first, and its arguments.
    num_workers: processes; all cores if None.

  Raises:
    OSError: if processes are killed whatever they do.
  """
  import tqdm

  todo = [i for i, path in enumerate(paths) if not path.exists()]
  if not todo:
    return
  blocks = [list(items[i * block_size:(i + 1) * block_size]) for i in todo]
  with (
      told_if_killed(
          what, f'what is in {paths[0].parent} is whole; run it again'),
      Pool(num_workers, *start) as pool,
      tqdm.tqdm(
          total=len(items), desc=what, unit='piece',
          initial=len(items) - sum(map(len, blocks))) as progress,
  ):
    for i, block in zip(todo, blocks, strict=True):
      results = []
      for result in make(pool, block):
        results.append(result)
        progress.update()
      with files.writing(paths[i]) as temporary:
        write(temporary, i * block_size, results)
