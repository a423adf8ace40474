"""Processes work quietly, and of a killed one a line is said."""

import concurrent.futures
import os
import signal
import subprocess
import sys
import time

import pytest

from va_magenta import processes

_PID = "__import__('os').getpid()"


def test_processes_are_quiet_and_without_a_gpu():
  with processes.Pool(1, os.putenv, 'VA_MAGENTA_TEST', 'started') as pool:
    assert [*pool.map(os.getenv, ['CUDA_VISIBLE_DEVICES'])] == ['']
    assert [*pool.map(signal.getsignal, [signal.SIGINT])] == [signal.SIG_IGN]
    # `start` was called: who is started there inherits it.
    assert [*pool.map(os.system, ['test "$VA_MAGENTA_TEST" = started'])] == [0]
    assert [*pool.map(abs, range(-9, 9), chunksize=4)] == [
        *map(abs, range(-9, 9))]
    assert [*pool.map(eval, [_PID])] != [os.getpid()]
    with pytest.raises(TypeError, match='bad operand'):
      list(pool.map(abs, [1, 'a', 2]))


@pytest.mark.parametrize('chunksize', [1, 3])
def test_an_item_that_hangs_costs_itself(monkeypatch, chunksize):
  monkeypatch.setattr(processes, 'TIMEOUT_SECONDS', 2.)
  start = time.monotonic()
  with processes.Pool(2) as pool:
    assert [*pool.map(time.sleep, [0, 1000, 0, 0], chunksize)] == [
        None, processes.Lost('takes more than 2 seconds'), None, None]
  assert time.monotonic() - start < 60


def test_an_item_that_kills_its_process_costs_itself():
  lost = processes.Lost('kills the process that reads it')
  kills = "__import__('os')._exit(1)"
  with processes.Pool(1) as pool:
    assert [*pool.map(eval, ['1', kills, '2', kills, '3'], chunksize=3)] == [
        1, lost, 2, lost, 3]


def test_processes_that_are_killed_whatever_they_do_are_told_in_a_line():
  with (
      pytest.raises(OSError, match='counted was killed.*: try less, with more')
      as info,
      processes.told_if_killed('counted', 'try less'),
      processes.Pool(1) as pool,
  ):
    list(pool.map(os._exit, [1] * 10))
  assert '\n' not in str(info.value)
  assert isinstance(info.value.__cause__, concurrent.futures.BrokenExecutor)


def test_other_errors_are_not_hidden_and_do_not_wait():
  start = time.monotonic()
  with (
      pytest.raises(KeyboardInterrupt),
      processes.told_if_killed('slept'),
      processes.Pool(1) as pool,
  ):
    for _ in pool.map(time.sleep, [.2] * 1000):
      raise KeyboardInterrupt
  assert time.monotonic() - start < 60


def test_what_is_done_is_kept_in_files(tmp_path):
  paths = [tmp_path / f'{i}.txt' for i in range(3)]
  made = []

  def make(pool, block):
    made.append(block)
    yield from pool.map(abs, block)

  def write(path, first, results):
    path.write_text(f'{first}: {results}')

  def run():
    processes.resumable_map(
        make, [-1, -2, -3, -4, -5], paths, write, block_size=2, what='counted')

  run()
  assert [p.read_text() for p in paths] == ['0: [1, 2]', '2: [3, 4]', '4: [5]']
  assert made == [[-1, -2], [-3, -4], [-5]]
  paths[1].unlink()
  run()
  assert made[3:] == [[-3, -4]] and paths[1].read_text() == '2: [3, 4]'
  run()
  assert len(made) == 4


# A command whose processes are at work for long.
_WORKS = '''
import os, time
from va_magenta import command, processes

def main(argv):
  with processes.Pool(2) as pool:
    print(*set(pool.map(eval, ["__import__('os').getpid()"] * 9)), flush=True)
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
