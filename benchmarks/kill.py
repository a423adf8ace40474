"""Kills jobs at random moments, again and again; counts what that has broken.

python benchmarks/kill.py --num_kills=34
python benchmarks/kill.py --jobs=train --num_kills=100 --kill_seed=1

Each job does something small: it labels MIDI files, builds the dataset lakh_va
of them, or trains a MusicVAE. It runs once undisturbed. Then it is begun in a
new folder, is killed with all its processes (SIGKILL) at a random moment, and
is started again, until it ends by itself; and so on until there were as many
kills as asked for. Printed are the counts:

  ended    jobs that ended after some kills, whose files were then compared
  damaged  kills after which a file under its final name was not whole
  lost     kills after which less was done than before
  failed   jobs that, started again, said that something is wrong
  other    jobs that ended with other files than the undisturbed one

A kill may leave files under temporary names, which begin with a dot, and
TensorBoard's events say when they were written: neither is compared.
"""

import collections
import dataclasses
import importlib
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable

from absl import app, flags

FAULTS = ('damaged', 'lost', 'failed', 'other')


@dataclasses.dataclass
class Job:
  """What is done in a folder, beside which MIDI files are in `midi`.

  Attributes:
    command: of va_magenta.
    arguments: of the command.
    prepare: called before it: what makes the job small, and many files of it.
  """

  command: str
  arguments: list[str]
  prepare: Callable[[], None]


def _label_in_small_blocks():
  from va_magenta.music_to_va import labelling

  labelling._BLOCK_SIZE = 1


def _in_threads():
  """Processes would spend their time with imports."""
  import concurrent.futures

  from va_magenta import processes

  def pool(num_workers=None, start=None, *args):
    if start:
      start(*args)
    return concurrent.futures.ThreadPoolExecutor(1)

  processes.Pool = pool


def _build_in_small_blocks():
  _label_in_small_blocks()
  _in_threads()


def _save_every_step():
  import functools

  import tensorflow as tf

  from va_magenta.training.music_vae import examples
  from va_magenta.training.music_vae import train as training

  _in_threads()
  tf.config.run_functions_eagerly(True)  # To trace takes longer than to train.
  examples._BLOCK_SIZE = 3
  training.train = functools.partial(
      training.train, save_every_seconds=0, num_validation=0)


JOBS = {
    'label': Job(
        'va_magenta_label',
        # It may be killed between its last write and its end.
        ['--midi_dir=../midi', '--output=labels.parquet', '--num_workers=2',
         '--overwrite'],
        _label_in_small_blocks),
    'dataset': Job(
        'va_magenta_build_lakh_va',
        ['--midi_dir=../midi', '--labels=labels.parquet', '--data_dir=.',
         '--configs=full', '--noaudio'],
        _build_in_small_blocks),
    'train': Job(
        'va_magenta_train',
        ['--config=cat-mel_2bar_small', '--examples_path=../midi',
         '--run_dir=run', '--num_steps=8',
         '--hparams=batch_size=2,z_size=2,enc_rnn_size=[2],dec_rnn_size=[2],'
         'sampling_schedule=constant,sampling_rate=0'],
        _save_every_step),
}


def write_midi(folder: pathlib.Path):
  """Twelve tunes of two parts."""
  import numpy as np
  import pretty_midi

  folder.mkdir()
  for seed in range(12):
    song = pretty_midi.PrettyMIDI()
    for program in (0, 32):
      instrument = pretty_midi.Instrument(program)
      pitches = np.random.default_rng(seed).integers(60, 72, 16) - program
      instrument.notes += [
          pretty_midi.Note(80, int(pitch), i / 2, (i + .8) / 2)
          for i, pitch in enumerate(pitches)]
      song.instruments.append(instrument)
    song.write(str(folder / f'{seed}.mid'))


def import_all():
  """Here once, so that each job, a fork of this process, need not."""
  for name in ('va_magenta.magenta_compat', 'tensorflow_datasets',
               'va_magenta.datasets.lakh_va.lakh_va_dataset_builder',
               'va_magenta.training.music_vae.train'):
    importlib.import_module(name)


def run(job: Job, folder: pathlib.Path, seconds: float) -> int:
  """Runs a job, and kills it after so many seconds; its exit status.

  What it prints is added to a file beside the folder.
  """
  log = folder.with_suffix('.log')
  child = os.fork()
  if not child:
    code = 1
    try:
      os.chdir(folder)
      terminal = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
      os.dup2(terminal, 1)
      os.dup2(terminal, 2)
      sys.argv = [job.command, *job.arguments]
      job.prepare()
      importlib.import_module(
          f'va_magenta.{job.command}').console_entry_point()
    except SystemExit as error:
      code = error.code or 0
    except BaseException:
      traceback.print_exc()
    finally:
      os._exit(code)
  os.setpgid(child, child)  # A group with the processes that it starts.
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended:
      return os.waitstatus_to_exitcode(status)
    time.sleep(.002)
  os.killpg(child, signal.SIGKILL)
  return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def final_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Files with a final name, that hold no times."""
  return sorted(
      path for path in folder.rglob('*') if path.is_file()
      and not path.name.startswith(('.', 'events.out'))
      and not any(part.startswith('incomplete.') for part in path.parts))


def contents(folder: pathlib.Path) -> dict[str, bytes]:
  """What a job has made, by the path in its folder."""
  return {
      str(path.relative_to(folder)): path.read_bytes()
      for path in final_files(folder)}


def damaged(folder: pathlib.Path) -> str:
  """What is wrong with the first file that is not whole."""
  from va_magenta import files
  from va_magenta.music_to_va import labelling

  readers = {
      '.npz': files.read_npz, '.parquet': labelling.read,
      '.json': lambda path: json.loads(path.read_text())}
  for path in final_files(folder):
    try:
      readers.get(path.suffix, pathlib.Path.read_bytes)(path)
    except ValueError as error:
      return f'{path}: {error}'
  return ''


def progress(folder: pathlib.Path) -> tuple[int, int]:
  """How much is done: stages that have ended, and blocks or steps of one."""
  from va_magenta import files

  made = final_files(folder)
  stages = [path for path in made if path.name in (
      'labels.parquet', 'dataset_info.json', 'state.npz', 'figures.json')]
  states = [path for path in stages if path.name == 'state.npz']
  if states:
    return len(stages), int(files.read_npz(states[0])['step'])
  return len(stages), 0 if stages else len(made)


def kill(job: Job, folder: pathlib.Path, num_kills: int, rng: random.Random
        ) -> tuple[collections.Counter, list[str]]:
  """Kills a job so often; counts, and what was wrong.

  Args:
    job: is run in folders in `folder`.
    folder: where MIDI files are in `midi`.
    num_kills: in all.
    rng: says when.
  """
  counts, faults = collections.Counter(), []

  def fault(kind, what):
    counts[kind] += 1
    faults.append(f'{kind}: {what}')

  whole = folder / 'whole'
  whole.mkdir()
  begin = time.monotonic()
  code = run(job, whole, float('inf'))
  seconds = time.monotonic() - begin
  if code:
    raise OSError(f'{job.command} ended with {code} undisturbed; it said '
                  f'{whole.with_suffix(".log").read_text()[-2000:]}')
  expected = contents(whole)
  while counts['kills'] < num_kills:
    attempt = folder / f'attempt-{counts["ended"]}'
    attempt.mkdir()
    done, code = (0, 0), -signal.SIGKILL
    while code == -signal.SIGKILL:
      left = num_kills - counts['kills']
      begin = time.monotonic()
      code = run(
          job, attempt, rng.uniform(0, seconds) if left else float('inf'))
      if code != -signal.SIGKILL:
        if done == (0, 0):  # Nothing was done before.
          seconds = time.monotonic() - begin  # The machine may do other work.
        break
      counts['kills'] += 1
      if wrong := damaged(attempt):
        fault('damaged', wrong)
        break
      before, done = done, progress(attempt)
      if done < before:
        fault('lost', f'{attempt}: {before} were done, then {done}')
    counts['ended'] += 1
    if code not in (0, -signal.SIGKILL):
      said = attempt.with_suffix('.log').read_text().strip().splitlines()
      fault('failed', f'{attempt}: {code}: {said[-1]}')
    elif code == 0 and (found := contents(attempt)) != expected:
      names = [
          name for name in sorted(found.keys() | expected.keys())
          if found.get(name) != expected.get(name)]
      fault('other', f'{attempt}: {names}')
  return counts, faults


def main(argv):
  """Kills every job."""
  del argv
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ['CUDA_VISIBLE_DEVICES'] = ''
  import_all()
  columns = ('kills', 'ended', *FAULTS)
  print('| job |', *(f'{name} |' for name in columns))
  print('|---|' + '---|' * len(columns), flush=True)
  for name in flags.FLAGS.jobs:
    with tempfile.TemporaryDirectory() as folder:
      write_midi(pathlib.Path(folder, 'midi'))
      counts, faults = kill(
          JOBS[name], pathlib.Path(folder), flags.FLAGS.num_kills,
          random.Random(f'{name} {flags.FLAGS.kill_seed}'))
    print(f'| {name} |', *(f'{counts[column]} |' for column in columns))
    for fault in faults:
      print(f'  {fault}')
    sys.stdout.flush()


if __name__ == '__main__':
  flags.DEFINE_integer('num_kills', 34, 'Kills of each job.')
  flags.DEFINE_list('jobs', list(JOBS), 'Jobs to kill.')
  flags.DEFINE_integer('kill_seed', 0, 'Says at which moments.')
  app.run(main)
