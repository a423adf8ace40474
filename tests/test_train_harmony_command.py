"""va_magenta_train_harmony: what is wrong with its flags and folders."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(('args', 'line'), [
    (['--model=harmony'], '--band must be given for --model=harmony'),
    (['--model=harmony', '--band=none.npz'], 'none.npz'),
    (['--model=recognition'], 'songs has no MIDI files'),
])
def test_bad_flags_are_one_line(tmp_path, args, line):
  done = subprocess.run(
      [sys.executable, '-m', 'va_magenta.va_magenta_train_harmony',
       '--pop909_cl_dir=songs', '--run_dir=run', *args],
      cwd=tmp_path, capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (1, '')
  # TensorFlow may have its say before.
  *_, last = done.stderr.splitlines()
  assert last.startswith('va_magenta_train_harmony: error: ')
  assert line in last and 'Traceback' not in done.stderr
  assert not (tmp_path / 'run').exists()
