"""The whole evaluation of a generator that does what it is asked."""

import dataclasses
import functools
import json
import types

import note_seq
import numpy as np
import pytest

from va_magenta.composing import composer, models
from va_magenta.evaluation import (
  control,
  judges,
  people,
  pictures,
  study,
  systems,
)
from va_magenta.figures import plots
from va_magenta.music import band
from va_magenta.music.corpus import split_of

OPTIONS = {'grid': 3, 'num_seeds': 2, 'num_heard': 0}
SYSTEMS = [
    systems.Asked('asked', {}), systems.Prior('unconditioned', {}),
    systems.Template()]


@pytest.fixture
def no_plots(monkeypatch):
  """They take most of the time; one test draws them."""
  for name in ('plot_asked_against_obtained', 'plot_arrows', 'plot_pictures',
               'plot_curves'):
    monkeypatch.setattr(plots, name, lambda path, **kwargs: None)


def _run(tmp_path, compared=None, **options):
  return study.run(
      compared or SYSTEMS, tmp_path / 'out',
      study.Options(**{**OPTIONS, **options}), tell=lambda text: None)


def _mean(found, system, figure):
  return found['control'][system][figure]['mean']


def test_an_oracle_gets_full_marks_and_its_baselines_do_not(oracle, tmp_path):
  found = _run(tmp_path)
  for axis in ('valence', 'arousal'):
    assert _mean(found, 'asked', f'{axis}/pearson_r') > .999
    assert _mean(found, 'unconditioned', f'{axis}/pearson_r') < .9
    assert _mean(found, study.SHUFFLED, f'{axis}/pearson_r') < .9
  assert _mean(found, 'asked', 'quadrant_accuracy') == 1
  assert _mean(found, 'asked', 'distance') < .02
  assert _mean(found, study.MIDDLE, 'distance') == pytest.approx(
      np.linalg.norm(control.grid(3), axis=1).mean())
  folder = tmp_path / 'out'
  assert {p.name for p in folder.iterdir()} == {
      'report.json', 'report.md', 'index.html', 'plane.png',
      'asked_against_obtained.png', 'midi', 'cache'}
  assert len(list(folder.glob('midi/*/*.mid'))) == 3 * 9
  written = json.loads((folder / 'report.json').read_text())
  assert written['control']['asked'] == found['control']['asked']
  assert written['options']['grid'] == 3
  assert written['redrawn'] == {s.name: 0 for s in SYSTEMS}
  text = (folder / 'report.md').read_text()
  assert 'No other system is better than asked' in text
  assert 'EMOPIA' in text
  halves = text.partition('## Half planes')[2].partition('## ')[0]
  assert next(
      line for line in halves.splitlines() if line.startswith('| asked')
  ).count('1.00 ± 0.00') == 2
  page = (folder / 'index.html').read_text()
  assert 'midi/unconditioned/valence+0.67_arousal-0.67.mid' in page


def test_a_baseline_that_wins_is_told(oracle, no_plots, tmp_path):
  _run(tmp_path, [SYSTEMS[1], SYSTEMS[0]])
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert 'valence r: better than unconditioned' in text


def test_a_killed_run_goes_on_and_ends_alike(
    oracle, no_plots, tmp_path, monkeypatch):
  compose = composer.compose
  calls = []

  def killed(target, settings):
    calls.append(target)
    if len(calls) == 12:
      raise KeyboardInterrupt
    return compose(target, settings)

  monkeypatch.setattr(composer, 'compose', killed)
  with pytest.raises(KeyboardInterrupt):
    _run(tmp_path)
  assert not (tmp_path / 'out' / 'report.json').exists()
  monkeypatch.setattr(composer, 'compose', compose)
  oracle.clear()
  report = tmp_path / 'out' / 'report.json'
  _run(tmp_path)
  found = report.read_text()
  assert len(oracle) == 2 * 2 * 9 - 11
  oracle.clear()
  _run(tmp_path)
  assert not oracle
  assert report.read_text() == found
  _run(tmp_path / 'anew')
  assert (tmp_path / 'anew' / 'out' / 'report.json').read_text() == found


def test_pieces_are_heard(oracle, no_plots, tmp_path, monkeypatch):
  listened = []

  class Listener:
    def __init__(self, student):
      pass

    def listen(self, sequence):
      listened.append(sequence)
      return [(sequence.notes[0].pitch - 60) / 35, 0.0]

    def by_ear(self, heard):
      return heard

    def fuse(self, pieces, heard):
      assert len(pieces) == len(heard)
      return -heard

  monkeypatch.setattr(judges, 'Listener', Listener)
  found = _run(tmp_path, num_heard=8)
  assert len(listened) <= 3 * 8
  heard = found['heard']['asked']
  assert heard['by ear/valence/pearson_r']['mean'] > .999
  assert heard['fused/valence/pearson_r']['mean'] < -.999
  assert np.isnan(heard['by ear/arousal/pearson_r']['mean'])
  listened.clear()
  _run(tmp_path, num_heard=8)
  assert not listened
  assert '## By ear' in (tmp_path / 'out' / 'report.md').read_text()


def test_from_pictures_to_music(oracle, tmp_path, monkeypatch):
  monkeypatch.setattr(plots, 'plot_arrows', lambda path, **kwargs: None)
  monkeypatch.setattr(
      plots, 'plot_asked_against_obtained', lambda path, **kwargs: None)
  rng = np.random.default_rng(0)
  rated = rng.uniform(-.6, .6, (40, 2))
  shown = pictures.Pictures(rated, rated)
  monkeypatch.setattr(pictures, 'held_out', lambda *args: shown)
  (tmp_path / 'OASIS.csv').touch()
  found = _run(tmp_path, SYSTEMS[:2], oasis_dir=str(tmp_path), num_pictures=30,
               num_picture_seeds=2)
  assert found['pictures']['num_pictures'] == 30
  asked = found['pictures']['systems']['asked']
  assert asked['distance']['mean'] < .02
  assert asked['shuffled/distance']['mean'] > .3
  assert found['pictures']['systems']['unconditioned']['distance']['mean'] > .3
  assert (tmp_path / 'out' / 'pictures.png').is_file()
  assert 'pictures.png' in (tmp_path / 'out' / 'index.html').read_text()


def test_melodies_by_people_stand_beside(
    oracle, no_plots, tmp_path, monkeypatch):
  real = np.zeros((50, 32), np.int32)
  real[:, ::4] = np.random.default_rng(0).integers(30, 60, (50, 8))
  monkeypatch.setattr(study, '_real', lambda *args: real)
  monkeypatch.setattr(study, '_reconstruction', lambda *args: {
      'x': {'accuracy': {'mean': .9, 'sd': .01}}})
  (tmp_path / 'a.mid').touch()
  found = _run(tmp_path, examples_path=str(tmp_path))
  assert found['quality']['2 bars by people']['notes_per_bar'] == 4
  assert 0 <= found['quality']['asked']['in_key/overlap'] <= 1
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert '2 bars by people' in text and '## Reconstruction' in text
  assert '## Structure' not in text


def test_whole_pieces_are_asked_for_their_structure(
    oracle, tmp_path, monkeypatch):
  rng = np.random.default_rng(0)
  # People repeat two bars again and again.
  real = np.zeros((60, 256), np.int32)
  real[:, ::4] = np.tile(rng.integers(30, 60, (60, 8)), 8)
  lengths = []

  def read(work_dir, options, num_bars):
    lengths.append(num_bars)
    return real[:, :16 * num_bars]

  monkeypatch.setattr(study, '_real', read)
  monkeypatch.setattr(study, '_reconstruction', lambda *args: {})
  for name in ('plot_asked_against_obtained', 'plot_arrows'):
    monkeypatch.setattr(plots, name, lambda path, **kwargs: None)
  (tmp_path / 'a.mid').touch()
  found = _run(
      tmp_path, [
          systems.Asked('chained', {'bars': 16}), systems.Asked('short', {}),
          systems.Template('rule', num_bars=16)],
      examples_path=str(tmp_path))
  assert lengths == [2, 16]
  measured = found['structure']['measures']
  assert list(measured) == ['chained', 'rule', '16 bars by people']
  people = measured['16 bars by people']
  assert people['repeated_bars'] > 14 / 16
  assert people['rhythm_1'] == people['pitch_2'] == 1
  assert people['pitch_distance'] < .1
  assert measured['rule']['repeated_bars'] < .3
  assert measured['rule']['pitch_distance'] > .2
  assert list(found['quality'])[-2:] == [
      '2 bars by people', '16 bars by people']
  text = (tmp_path / 'out' / 'report.md').read_text()
  assert '## Structure' in text
  assert 'structure.png' in (tmp_path / 'out' / 'index.html').read_text()
  assert (tmp_path / 'out' / 'structure.png').is_file()
  written = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert len(written['structure']['curves']['rule']['rhythm']) == 15


def test_structure_without_people_to_compare_with(oracle, no_plots, tmp_path):
  found = _run(tmp_path, [systems.Template(num_bars=32)])
  assert list(found['structure']['measures']) == ['template']
  assert 'pitch_distance' not in found['structure']['measures']['template']
  assert '## Structure' in (tmp_path / 'out' / 'report.md').read_text()


def test_each_checkpoint_gives_back_music_of_its_kind(
    tmp_path, monkeypatch, random_music_vae):
  from va_magenta.training.music_vae import examples
  from va_magenta.training.music_vae import train as training
  from va_magenta.va_to_music import configs

  melodies = configs.Config(
      name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
      level_lengths=None, z_size=4, enc_rnn_size=(4,), dec_rnn_size=(8,))
  own = {
      'a': melodies,
      'b': dataclasses.replace(
          melodies, name='va-hierdec-trio_16bar', max_seq_len=128,
          output_depths=(90, 90, 512), level_lengths=(4, 32), control_depth=2,
          conductor_control=True)}
  converted, evaluated = [], []

  def convert(name, cache_dir, *, examples_path):
    converted.append(name)
    shape = (40, 256, 3) if 'trio' in name else (40, 32, 1)
    return examples.Examples(
        np.random.default_rng(0).integers(0, 90, shape).astype(np.int16),
        np.arange(40), list(map(str, range(40))))

  def evaluate(model, tokens):
    evaluated.append((model.config.name, bool(model.critic), tokens))
    return {'metrics/accuracy': np.array([.5, .7])}

  monkeypatch.setattr(examples, 'convert', convert)
  monkeypatch.setattr(training, 'evaluate', evaluate)
  monkeypatch.setattr(
      study.checkpoints, 'resolve', lambda name, *kind: tmp_path / name)
  monkeypatch.setattr(
      models, 'music_vae', lambda name: random_music_vae(own[name]))
  found = study._reconstruction([
      systems.Asked('one', {'checkpoint': 'a'}),
      systems.Prior('two', {'checkpoint': 'a'}),
      systems.Asked('three', {'checkpoint': 'b'}), systems.Template()],
      tmp_path, study.Options(examples_path='x'))
  assert converted == ['cat-mel_2bar_small', 'hierdec-trio_16bar']
  (flat, is_told, short), (trio, trio_is_told, long) = evaluated
  assert (flat, is_told) == ('cat-mel_2bar_small', False)
  assert (trio, trio_is_told) == ('va-hierdec-trio_16bar', True)
  num_test = sum(split_of(str(i)) == 'test' for i in range(40))
  assert short.shape == (num_test, 32, 1)
  assert long.shape == (2 * num_test, 128, 3)
  assert set(found) == {'a', 'b'}
  assert found['b']['accuracy']['mean'] == pytest.approx(.6)


@pytest.mark.parametrize(('options', 'message'), [
    ({'grid': 1}, 'grid must lie in 2'), ({'num_seeds': 0}, 'num_seeds'),
    ({'num_pictures': 2}, 'num_pictures'), ({'seed': -1}, 'seed must')])
def test_options_out_of_range(options, message):
  with pytest.raises(ValueError, match=message):
    study.Options(**options)


def test_names_are_different(oracle, tmp_path):
  with pytest.raises(ValueError, match='names of their own'):
    _run(tmp_path, [SYSTEMS[0], SYSTEMS[0]])
  assert not (tmp_path / 'out').exists()


def test_bands_are_compared_with_people_and_kept(tmp_path, monkeypatch):
  # Some of people's pieces and a forest each are enough to tell noise.
  some = people.shipped()[:200]
  monkeypatch.setattr(people, 'shipped', lambda: some)
  monkeypatch.setattr(people, 'compare_all', functools.partial(
      people.compare_all, num_seeds=1))
  monkeypatch.setattr(people, 'SETS', {
      name: people.SETS[name] for name in ('melody', 'accompaniment')})
  random = np.random.default_rng(0)
  tokens = random.integers(2, 40, (12, 256, 4))
  tokens[..., band.COMPING] %= 7
  chords = random.integers(1, 97, (12, 32))
  pieces = [
      note_seq.NoteSequence(id=str(i)) for i in range(12)]
  scores = {piece.id: (t, c) for piece, t, c in zip(
      pieces, tokens, chords, strict=True)}
  composer = types.SimpleNamespace(score=lambda piece: scores[piece.id])
  found = study._as_people_write(
      {'band': [pieces]}, composer, tmp_path, study.Options())
  own = found['music']['band']
  assert own['num_pieces'] == 12
  # Noise is told at once.
  assert own['told_apart']['melody']['mean'] > 0.99
  assert own['told_apart']['accompaniment']['mean'] > 0.99
  kept = people.read(tmp_path / 'band.npz')
  np.testing.assert_array_equal(kept.tokens, tokens)
  np.testing.assert_array_equal(kept.groups, np.arange(12))
