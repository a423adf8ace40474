"""va_magenta_train_midi: what is wrong with its flags and folders."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(('args', 'line'), [
    ([], '--model must be given, --run_dir must be given (--help lists the '
     'flags)'),
    (['--model=student'],
     '--run_dir must be given (--help lists the flags)'),
    (['--model=student', '--run_dir=run', '--eimg_dir=eimg'],
     '--emopia_dir must be given'),
    (['--model=fusion', '--run_dir=run', '--eimg_dir=eimg'],
     '--eimg_labels must be given'),
    (['--model=critic', '--run_dir=run', '--eimg_dir=eimg',
      '--cache_dir=cache'],
     'name one corpus: either examples_path or tfds_name'),
    (['--model=student', '--run_dir=run', '--eimg_dir=nowhere',
      '--emopia_dir=neither'],
     'neither/label.csv: No such file or directory'),
])
def test_bad_flags_are_one_line(tmp_path, args, line):
  done = subprocess.run(
      [sys.executable, '-m', 'va_magenta.va_magenta_train_midi', *args],
      cwd=tmp_path, capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (1, '')
  assert done.stderr == f'va_magenta_train_midi: error: {line}\n'
  assert not (tmp_path / 'run').exists()
