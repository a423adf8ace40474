"""va_magenta_evaluate: what it hands on, prints, and every bad input."""

import functools
import json

import numpy as np
import pytest

from va_magenta.evaluation import judges, study


@pytest.fixture
def run(tmp_path, monkeypatch, run_command):
  """Runs the command in an empty folder: (exit code, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(run_command, 'va_magenta_evaluate')


@pytest.fixture
def handed(monkeypatch):
  """What the command hands on, in place of the work."""
  found = {}

  def study_run(compared, output_dir, options):
    found.update(compared=compared, output_dir=output_dir, options=options)

  monkeypatch.setattr(study, 'run', study_run)
  return found


def test_flags_are_handed_on(run, handed, tmp_path):
  (tmp_path / 'no_loss').mkdir()
  code, out, err = run(
      '--output_dir=found', '--grid=5', '--num_seeds=4', '--seed=7',
      '--num_heard=0', '--emopia_dir=emopia', '--oasis_dir=oasis',
      '--num_pictures=50', '--num_picture_seeds=2', '--examples_path=midi',
      '--cache_dir=kept', '--audio', '--checkpoint=mine', '--candidates=8',
      '--guidance=2', '--system=no loss:checkpoint=no_loss')
  assert (code, err) == (0, '')
  assert out == 'wrote found/index.html, report.json and report.md\n'
  assert handed['output_dir'] == 'found'
  assert handed['options'] == study.Options(
      grid=5, num_seeds=4, seed=7, num_heard=0, emopia_dir='emopia',
      examples_path='midi', cache_dir='kept', oasis_dir='oasis',
      num_pictures=50, num_picture_seeds=2, audio=True)
  by_name = {system.name: system for system in handed['compared']}
  assert list(by_name) == [
      'asked', 'unselected', 'plain', 'unconditioned', 'best of 16',
      'best of 64', 'template', 'no loss']
  own = {'checkpoint': 'mine', 'candidates': 8, 'guidance': 2.0}
  assert by_name['asked'].settings == own
  assert by_name['plain'].settings == own | {'performance': 'plain'}
  assert by_name['unselected'].settings == own | {'candidates': 1}
  assert by_name['no loss'].settings == own | {'checkpoint': 'no_loss'}
  assert by_name['best of 16'].candidates == 16
  assert by_name['best of 16'].settings == {
      'checkpoint': 'cat-mel_2bar_small'}
  assert by_name['template'].num_bars == 2


def test_all_systems_are_as_long_as_is_said(run, handed):
  code, _, err = run(
      '--bars=16', '--checkpoint=cat-mel_2bar', '--system=short:bars=2')
  assert (code, err) == (0, '')
  assert {s.name: s.num_bars for s in handed['compared']} == {
      **dict.fromkeys((
          'asked', 'unselected', 'plain', 'unconditioned', 'best of 16',
          'best of 64', 'template'), 16), 'short': 2}


def test_systems_in_the_order_asked_for(run, handed):
  assert run('--systems=template,best of 16')[0] == 0
  assert [s.name for s in handed['compared']] == ['template', 'best of 16']
  assert handed['options'] == study.Options()
  assert run('--systems=', '--system=mine:candidates=1')[0] == 0
  assert [s.name for s in handed['compared']] == ['mine']


@pytest.mark.parametrize(('args', 'complaint'), [
    (['--systems=asked,dream'], "not 'dream'"),
    (['--systems='], 'must name one system at least'),
    (['--system=mine'], 'NAME:SETTING=VALUE'),
    (['--system=mine:colour=red'], "no setting 'colour'"),
    (['--system=mine:candidates=0'], 'candidates must lie in'),
    (['--grid=1'], 'grid must lie in'),
    (['--num_seeds=0'], 'num_seeds must lie in'),
    (['--seed=-1'], 'seed must lie in'),
    (['--candidates=0'], 'candidates must lie in'),
    (['--bars=-1'], 'bars must lie in'),
    (['--system=a:checkpoint=none'], "no checkpoint 'none'"),
    (['--checkpoint=none'], "no checkpoint 'none'"),
    (['--systems=asked', '--system=asked:candidates=1'], 'names of their own'),
])
def test_errors_are_one_line(run, tmp_path, check_one_line, args, complaint):
  check_one_line(run(*args), complaint)
  assert not list(tmp_path.iterdir())


def test_without_the_students_of_the_halves(
    run, tmp_path, monkeypatch, check_one_line):
  (tmp_path / 'checkpoints').mkdir()
  monkeypatch.setattr(
      judges.checkpoints, 'path', lambda name: tmp_path / 'checkpoints')
  check_one_line(run('--systems=template'), 'is written by va_magenta_train')


@pytest.mark.parametrize('flag', ['emopia_dir', 'oasis_dir', 'examples_path'])
def test_folders_without_data(run, check_one_line, flag):
  check_one_line(
      run('--systems=template', '--grid=2', '--num_seeds=1', '--num_heard=0',
          f'--{flag}=nowhere'), 'nowhere')


def test_a_real_generator_is_evaluated(run, tmp_path):
  code, out, err = run(
      '--systems=unselected,template', '--grid=2', '--num_seeds=2',
      '--num_heard=1', '--output_dir=found', '--audio')
  assert code == 0, err
  assert '## Asked against obtained' in out and '## By ear' in out
  found = json.loads((tmp_path / 'found' / 'report.json').read_text())
  r = found['control']['template']['arousal/pearson_r']['by_seed']
  assert np.mean(r) > .5
  assert len(list((tmp_path / 'found').glob('wav/*/*.wav'))) == 4
  pieces = (tmp_path / 'found' / 'cache' / 'pieces.jsonl').read_text()
  # Eight pieces that were composed, and one of each system that was heard.
  assert pieces.count('\n') == 10
