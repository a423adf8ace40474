"""Processes work quietly, and of a killed one a line is said."""

import concurrent.futures
import os
import signal
import time

import pytest

from va_magenta import processes


def test_processes_are_quiet_and_without_a_gpu():
  with processes.Pool(1, os.putenv, 'VA_MAGENTA_TEST', 'started') as pool:
    assert pool.submit(os.getenv, 'CUDA_VISIBLE_DEVICES').result() == ''
    assert pool.submit(
        signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN
    # `start` was called: who is started there inherits it.
    assert pool.submit(
        os.system, 'test "$VA_MAGENTA_TEST" = started').result() == 0
    assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]
    assert pool.submit(os.getpid).result() != os.getpid()


def test_a_killed_process_is_told_in_a_line():
  with (
      pytest.raises(OSError, match='counted was killed.*: try less, with more')
      as info,
      processes.told_if_killed('counted', 'try less'),
      processes.Pool(1) as pool,
  ):
    pool.submit(os._exit, 1).result()
  assert '\n' not in str(info.value)
  assert isinstance(info.value.__cause__, concurrent.futures.BrokenExecutor)


def test_other_errors_are_not_hidden_and_do_not_wait():
  start = time.monotonic()
  with (
      pytest.raises(KeyboardInterrupt),
      processes.told_if_killed('slept'),
      processes.Pool(1) as pool,
  ):
    for _ in range(1000):
      pool.submit(time.sleep, .2)
    raise KeyboardInterrupt
  assert time.monotonic() - start < 60
