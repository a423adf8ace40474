"""Processes work quietly, and of a killed one a line is said."""

import concurrent.futures
import os
import signal
import subprocess
import sys
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


# A command whose processes are at work for long.
_WORKS = '''
import os, time
from va_magenta import command, processes

def main(argv):
  with processes.Pool(2) as pool:
    print(*{pool.submit(os.getpid).result() for _ in range(9)}, flush=True)
    list(pool.map(time.sleep, [100] * 9))

if __name__ == '__main__':
  command.run(main)
'''


@pytest.mark.parametrize(('how', 'code'), [
    (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)])
def test_they_end_when_their_parent_does(tmp_path, how, code):
  (tmp_path / 'works.py').write_text(_WORKS)
  with subprocess.Popen(
      [sys.executable, tmp_path / 'works.py'], text=True,
      stdout=subprocess.PIPE) as process:
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert workers
    process.send_signal(how)
    assert process.wait(timeout=50) == code
    # They hold the other end: it is closed when the last has ended.
    assert process.stdout.read() == ''
