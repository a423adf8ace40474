"""va_magenta_build_lakh_va: a folder of MIDI files becomes a dataset."""

import functools
import hashlib
import json
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pretty_midi
import pytest

from va_magenta.music.corpus import file_md5
from va_magenta.music_to_va import labelling

CONFIG = 'full'


@pytest.fixture
def midi(tmp_path):
  """A folder `midi` with pieces of two parts, for all splits."""
  (tmp_path / 'midi').mkdir()
  for seed in range(12):
    song = pretty_midi.PrettyMIDI()
    for program in (0, 32):
      instrument = pretty_midi.Instrument(program)
      pitches = np.random.default_rng(seed).integers(60, 72, 16) - program
      instrument.notes += [
          pretty_midi.Note(80, int(pitch), i * .5, (i + .8) * .5)
          for i, pitch in enumerate(pitches)]
      song.instruments.append(instrument)
    song.write(str(tmp_path / f'midi/{seed}.mid'))
  return tmp_path / 'midi'


@pytest.fixture
def run(tmp_path, monkeypatch, run_command, threads):
  """Runs the command in `tmp_path`, on threads: (exit code, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(
      run_command, 'va_magenta_build_lakh_va', '--midi_dir=midi',
      '--data_dir=tfds', f'--configs={CONFIG}')


@pytest.fixture
def heard(monkeypatch):
  """Paths that were heard, by a teacher in whose ears all is .125."""
  def teacher():
    def hear(path, windows, max_seconds):
      assert max_seconds == labelling.LAKH_VA.max_audio_seconds
      paths.append(path)
      return np.full((1 + len(windows), 2), .125)
    return hear

  paths = []
  monkeypatch.setattr(labelling, 'teacher', teacher)
  return paths


def _examples(data_dir='tfds'):
  """Examples of all splits by id."""
  import tensorflow_datasets as tfds

  splits = tfds.load(
      f'lakh_va/{CONFIG}', data_dir=str(data_dir), download=False)
  return {
      example['id'].decode(): example
      for dataset in splits.values() for example in tfds.as_numpy(dataset)}


def _files(folder):
  return {
      path.relative_to(folder) for path in pathlib.Path(folder).rglob('*')
      if path.is_file()}


@pytest.mark.slow
def test_from_midi_to_dataset(run, midi, heard):
  code, out, err = run()
  assert code == 0 and 'error' not in err
  assert '12 pieces, 24 windows; 12 pieces with estimates from sound' in out
  assert 'wrote midi/labels.parquet' in out
  assert out.splitlines()[-1] == 'prepared tfds/lakh_va/full/1.0.0'
  assert len(heard) == 12
  found = _examples()
  assert found.keys() == {
      hashlib.md5(path.read_bytes()).hexdigest() for path in midi.glob('*.mid')}
  table = labelling.read('midi/labels.parquet').set_index(['md5', 'window'])
  for name, example in found.items():
    assert example['valence'] == table['valence'][name, -1]
    assert example['audio_arousal'] == np.float32(.12)
  # Nothing is left but the table and the dataset.
  assert _files('midi') == {
      *(pathlib.Path(f'{i}.mid') for i in range(12)),
      pathlib.Path('labels.parquet')}
  assert {path.parent.name for path in _files('tfds')} == {'.config', '1.0.0'}

  # Again: nothing is done twice.
  heard.clear()
  dataset, *_ = pathlib.Path('tfds/lakh_va/full/1.0.0').glob('*.tfrecord*')
  made = dataset.stat().st_mtime_ns
  table = pathlib.Path('midi/labels.parquet').read_bytes()
  code, out, _ = run()
  assert code == 0 and '12 pieces were known' in out
  assert not heard and dataset.stat().st_mtime_ns == made
  assert pathlib.Path('midi/labels.parquet').read_bytes() == table


@pytest.mark.slow
def test_more_files_make_another_dataset(run, midi, heard):
  last = midi / '11.mid'
  away = last.rename(midi.parent / '11.mid')
  run('--noaudio')
  assert len(_examples()) == 11 and not heard
  assert np.isnan([e['audio_valence'] for e in _examples().values()]).all()
  away.rename(last)
  left = pathlib.Path('tfds/lakh_va/full/incomplete.ABCDEF_1.0.0')
  left.mkdir()  # By a run that was killed.
  (midi / 'broken.mid').write_bytes(b'no')
  (midi / 'twin.mid').write_bytes(last.read_bytes())
  code, out, err = run()
  assert code == 0
  assert 'broken.mid: not a readable MIDI file' in err
  assert 'left out: 1 files: duplicate' in out
  assert 'left out: 1 files: not a readable MIDI file' in out
  assert re.search(
      r'lakh_va: left out of files of \S*midi: 1 (duplicate|no label), 1', out)
  assert len(_examples()) == 12 and len(heard) == 12 and not left.exists()


def test_labels_may_stand_elsewhere(run, midi):
  code, out, _ = run('--labels=labels.parquet', '--noaudio')
  assert code == 0 and 'wrote labels.parquet' in out
  assert not (midi / 'labels.parquet').exists()
  info = json.loads(
      pathlib.Path('tfds/lakh_va/full/1.0.0/metadata.json').read_text())
  assert info['labels_md5'] == file_md5('labels.parquet')


@pytest.mark.parametrize(('args', 'message'), [
    (('--midi_dir=',), 'a path must not be empty'),
    (('--midi_dir=none',), 'no folder'),
    (('--midi_dir=empty',), 'empty has no MIDI files'),
    (('--configs=fulll',), "no config 'fulll': it has full, clean, 2bar-mel"),
    (('--labels=no/o',), 'no, where o shall be written, is no folder'),
    (('--labels=midi/0.mid',), 'midi/0.mid is not a table of labels'),
    (('--num_workers=0',), 'num_workers'),
])
def test_errors_are_one_line(run, midi, tmp_path, args, message):
  (tmp_path / 'empty').mkdir()
  code, _, err = run('--noaudio', *args)
  assert code == 1
  line, = [line for line in err.splitlines() if 'error: ' in line]
  assert message in line and 'Traceback' not in err
  assert not (tmp_path / 'tfds').exists()
  assert not list(midi.glob('*.parquet*'))


# On a thread, in blocks of two pieces; the 8th piece, or the dataset, stops.
_STOPS = '''
import concurrent.futures, sys, threading
from va_magenta import command, processes, va_magenta_build_lakh_va
from va_magenta.datasets.lakh_va import pieces
from va_magenta.music_to_va import labelling

class Pool(concurrent.futures.ThreadPoolExecutor):
  def __init__(self, num_workers, start, *args):
    start(*args)
    super().__init__(1)

  def shutdown(self, **options):
    is_over.set()
    super().shutdown(**options)

def estimate(path, *args):
  if when == 'labelling' and len(done) == 7:
    stop()
  done.append(path)
  print('estimated', flush=True)
  return labels_of(path, *args)

def stop(*_):
  print('stopped', flush=True)
  is_over.wait()

when, done, is_over = sys.argv.pop(), [], threading.Event()
processes.Pool, labelling._BLOCK_SIZE = Pool, 2
labels_of, labelling.estimate = labelling.estimate, estimate
if when == 'preparing':
  pieces.whole_piece = stop
command.run(va_magenta_build_lakh_va.main)
'''


@pytest.mark.slow
@pytest.mark.parametrize(('when', 'how', 'num_first', 'num_again'), [
    # What a killed run may lose is the block in work.
    ('labelling', signal.SIGTERM, 7, 6),
    ('preparing', signal.SIGKILL, 12, 0),
])
def test_killed_and_started_again_it_goes_on(
    midi, tmp_path, when, how, num_first, num_again):
  def start(name, when):
    (tmp_path / name).mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, '-c', _STOPS, '--midi_dir=midi', '--noaudio',
         '--configs=full', f'--labels={name}/labels.parquet',
         f'--data_dir={name}', when],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL)

  whole = start('whole', 'never')
  process = start('killed', when)
  lines = list(iter(process.stdout.readline, 'stopped\n'))
  process.send_signal(how)
  process.communicate()
  assert process.returncode == {signal.SIGTERM: 143, signal.SIGKILL: -9}[how]
  assert lines.count('estimated\n') == num_first
  again = start('killed', 'never')
  out, _ = again.communicate()
  assert again.returncode == 0 and out.count('estimated') == num_again
  assert whole.communicate()[0].count('estimated') == 12
  assert _files(tmp_path / 'killed') == _files(tmp_path / 'whole')
  made, expected = (_examples(tmp_path / name) for name in ('killed', 'whole'))
  assert made.keys() == expected.keys()
  for name, example in made.items():
    assert repr(example) == repr(expected[name])
