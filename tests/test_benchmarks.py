"""The scripts behind the figures run, on the smallest of sizes."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / 'benchmarks'


def _run(name, *args, **environment):
  done = subprocess.run(
      [sys.executable, str(BENCHMARKS / name), *args], capture_output=True,
      text=True, timeout=600, env={**os.environ, **environment})
  assert not done.returncode, done.stderr
  return done.stdout


@pytest.fixture
def midi_dir(tmp_path, midi_file):
  """A folder of three tunes of two parts, 4 seconds long."""
  folder = tmp_path / 'tunes'
  folder.mkdir()
  for key in range(3):
    parts = []
    for channel, octave in ((0, 72), (1, 48)):
      notes = [
          (240 * i + off, bytes([
              0x90 - 0x10 * bool(off) | channel,
              octave + key + (0, 4, 7, 5)[i % 4], 80]))
          for i in range(16) for off in (0, 200)]
      parts.append([(0, bytes([0xc0 | channel, 40 * channel])), *notes])
    (folder / f'{key}.mid').write_bytes(midi_file(*parts))
  return folder


def test_reach():
  out = _run(
      'reach.py', '--candidates=4', '--candidates=16', '--seeds=2',
      '--targets=1')
  few, many = re.findall(
      r'^\(0.4, 0.6\), best of \d+: ([\d.]+) ± [\d.]+$', out, re.MULTILINE)
  assert 0 <= float(many) <= float(few) < 2


def test_pieces(tmp_path):
  path = tmp_path / 'report.json'
  path.write_text('{"command": "c", "pieces": {"band": {"of 1": 2}}}')
  out = _run(
      'pieces.py', '--checkpoints=cat-mel_2bar', '--candidates=8', '--rounds=1',
      f'--report={path}')
  first, = re.match(
      r'cat-mel_2bar: 16 bars, first ([\d.]+) s, of 8 cand', out).groups()
  report = json.loads(path.read_text())
  assert report['command'] == 'c' and report['pieces']['band'] == {'of 1': 2}
  found = report['pieces']['cat-mel_2bar']
  assert found['command'] == (
      'python benchmarks/pieces.py --checkpoints=cat-mel_2bar --candidates=8 '
      '--rounds=1')
  assert found['bars'] == 16
  assert found['first'] == pytest.approx(float(first), abs=.06)
  assert found['of 8'] > 0


def test_paths():
  out = _run(
      'paths.py', '--checkpoints=cat-mel_2bar', '--num_seeds=1',
      '--candidates=1')
  lines = re.findall(
      r'^cat-mel_2bar (\w+): r (-?[\d.]+) valence, (-?[\d.]+) arousal$', out,
      re.MULTILINE)
  assert [line[0] for line in lines] == ['up', 'down', 'across']
  assert all(-1 <= float(r) <= 1 for line in lines for r in line[1:])


def test_symbolic_features(midi_dir, tmp_path):
  """With a music21 whose every feature is 1, as it need not be installed."""
  music21 = tmp_path / 'site' / 'music21'
  music21.mkdir(parents=True)
  (music21 / '__init__.py').write_text('''
from types import SimpleNamespace
__version__ = '0'
converter = SimpleNamespace(parse=lambda path: path)
class Feature:
  def __init__(self, data): pass
  def extract(self): return SimpleNamespace(vector=[1])
class AnyFeature:
  def __getattr__(self, name): return Feature
features = SimpleNamespace(
    DataInstance=lambda stream: stream, jSymbolic=AnyFeature(),
    FeatureException=KeyError)
''')
  out = _run(
      'symbolic_features.py', f'--midi_dir={midi_dir}', '--num_files=3',
      PYTHONPATH=str(music21.parent))
  assert re.search(r'^ours, \d+ features: [\d.]+ files a second$', out, re.M)
  same = dict(re.findall(r'^(\w+) +([\d.]+) +\S+$', out, re.MULTILINE))
  assert len(same) == 36
  assert same['relative_prevalence_of_top_pitches'] == '1.00'
  assert same['number_of_pitched_instruments'] == '0.00'  # There are two.


def test_symbolic_features_says_what_it_lacks(midi_dir, tmp_path):
  (tmp_path / 'music21.py').write_text('raise ImportError')
  done = subprocess.run(
      [sys.executable, str(BENCHMARKS / 'symbolic_features.py'),
       f'--midi_dir={midi_dir}'], capture_output=True, text=True,
      env={**os.environ, 'PYTHONPATH': str(tmp_path)})
  assert done.returncode == 1
  assert done.stderr.startswith('music21 is not installed')


@pytest.mark.slow
def test_cold_start():
  out = _run('cold_start.py', '--rounds=1')
  seconds = [float(s) for s in re.findall(r': ([\d.]+) s$', out, re.MULTILINE)]
  assert len(seconds) == 3 and min(seconds) > 0


@pytest.mark.slow
@pytest.mark.skipif(
    sys.prefix == sys.base_prefix, reason='measures a virtual environment')
def test_install_size():
  out = _run('install_size.py')
  sizes = {what: float(megabytes) for megabytes, what in re.findall(
      r'^ *([\d.]+)  (environment|wheel of va_magenta)', out, re.MULTILINE)}
  assert 10 < sizes['wheel of va_magenta'] < 140
  assert sizes['environment'] > 0


@pytest.mark.slow
def test_music_vae():
  out = _run(
      'music_vae.py', '--config=cat-mel_2bar_small', '--batch_size=2',
      '--hparams=z_size=2,enc_rnn_size=[4],dec_rnn_size=[4]', '--rounds=1',
      '--steps=1')
  assert re.findall(
      r'^cat-mel_2bar_small ([^:]+): .*ratio [\d.]+$', out, re.MULTILINE) == [
          'sampling', 'sampling, tensors alone', 'training']


@pytest.mark.slow
def test_kill():
  out = _run('kill.py', '--jobs=label', '--num_kills=1')
  *_, columns, _, row = out.splitlines()
  counts = dict(zip(
      columns.split(' | ')[1:], row.strip('| ').split(' | ')[1:], strict=True))
  assert counts.pop('kills') == '1' and int(counts.pop('ended')) >= 1
  assert {count.strip(' |') for count in counts.values()} == {'0'}


@pytest.mark.slow
def test_audio_to_va(midi_dir):
  from va_magenta.music import synthesis

  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))
  out = _run(
      'audio_to_va.py', f'--midi_dir={midi_dir}', '--num_files=3',
      '--max_seconds=2', '--num_workers=1', '--num_robust=20')
  assert out.startswith(f'3 files of {midi_dir}, 6 seconds of music (0 left ')
  assert re.search(r'^ratio: [\d.]+ by the clock', out, re.MULTILINE)
  assert ('20 short files, 1 of them broken: 19 labelled, 1 with a reason, '
          '0 lost') in out
