"""Training: nothing leaks, the spread is people's, the files are whole."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from va_magenta.evaluation import pictures
from va_magenta.image_to_va import images, model
from va_magenta.training import image as training

_THEMES = (
    'Acorns Beach Cat Dog Egg Fire Goat Hail Ice Jeep Kite Lamp').split()
_ROOT = pathlib.Path(__file__).parents[2]
_TINY = model.Config(
    backbones=('efficientnet_lite2',), image_height=32, image_width=32)


def data(features, points, groups=None, depths=None):
  """A dataset of features and points."""
  groups = np.arange(len(points)) if groups is None else groups
  return training.Data(
      training.Ratings('some_va', points, groups, 9, 'about'), features,
      depths or ([features.shape[1]], 0))


@pytest.fixture
def linear_world():
  """Features [240, 20] that know ratings [240, 2] but for noise, by threes."""
  rng = np.random.default_rng(0)
  features = rng.normal(3, 2, (240, 20))
  ratings = features @ rng.normal(0, 0.03, (20, 2))
  ratings += rng.normal(0, ratings.std(), ratings.shape)
  ratings = np.clip(ratings - ratings.mean(axis=0) + (0.1, -0.2), -1, 1)
  return data(features, ratings, np.arange(240) // 3)


@pytest.fixture(scope='module')
def pictures_dir(tmp_path_factory):
  """A manual_dir of pictures whose brightness is their valence."""
  manual_dir = tmp_path_factory.mktemp('data')
  rng = np.random.default_rng(0)

  def save(path):
    level = rng.random()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(255 * level * rng.random((40, 50, 3)))).save(path)
    return level

  rows = []
  for i in range(36):
    theme = f'{_THEMES[i // 3]} {i % 3}'
    level = save(manual_dir / f'oasis/images/{theme}.jpg')
    rows.append((
        theme, 1 + 6 * level, 1.5, 100, 1 + 6 * rng.random(), 1.5, 100))
  pd.DataFrame(rows, columns=[
      'Theme', 'Valence_mean', 'Valence_SD', 'Valence_N', 'Arousal_mean',
      'Arousal_SD', 'Arousal_N']).to_csv(manual_dir / 'oasis/OASIS.csv')
  rows = []
  for i in range(12):
    level = save(manual_dir / f'emotion6/images/joy/{i}.jpg')
    rows.append((
        f'joy/{i}.jpg', 1 + 8 * level, 1 + 8 * rng.random(), *rng.random(7)))
  pd.DataFrame(rows, columns=[
      'image_filename', 'valence', 'arousal', 'p_anger', 'p_disgust', 'p_fear',
      'p_joy', 'p_sadness', 'p_surprise', 'p_neutral']).to_csv(
      manual_dir / 'emotion6/emotion6.csv', index=False)
  return manual_dir


@pytest.fixture(scope='module')
def train(pictures_dir, randomize):
  """Runs a whole little job: run_dir, config -> results."""
  def function(run_dir, config=_TINY):
    return training.train(
        ['oasis_va', 'emotion6_va'], run_dir, config,
        data_dir=pictures_dir / 'tfds', manual_dir=pictures_dir, num_folds=2,
        num_repeats=1, command='the command')

  with pytest.MonkeyPatch.context() as patch:
    # No pretrained weights can be had here; random ones see brightness.
    build = model.build_features
    patch.setattr(
        model, 'build_features',
        lambda config, weights=(), pretrained=False: randomize(build(config)))
    yield function


@pytest.fixture(scope='module')
def run(train, tmp_path_factory):
  """A whole little job: its run_dir and results."""
  run_dir = tmp_path_factory.mktemp('run') / 'new/run'
  return run_dir, train(run_dir)


def test_head_finds_what_is_linear(linear_world):
  fit = training.fit_head(linear_world)
  columns = np.c_[linear_world.features, np.ones(240)]
  best, *_ = np.linalg.lstsq(columns, linear_world.ratings.points, rcond=None)
  estimates = training.apply_head(fit.head, linear_world.features)
  for axis in range(2):
    assert np.corrcoef(
        estimates[:, axis], columns @ best[:, axis])[0, 1] > 0.9


def test_the_network_computes_what_was_fitted(linear_world):
  other = data(
      linear_world.features[:90] + 1, linear_world.ratings.points[:90] / 2)
  fit = training.fit_head(
      linear_world, [training.learn_opinions(other)],
      training.learn_kinds([linear_world, other]))
  features = np.concatenate(
      [linear_world.features, 5 * linear_world.features[:5]])
  expected = training.apply_head(fit.head, features)
  assert np.ptp(expected, axis=0).min() > 1e-3
  np.testing.assert_allclose(
      model.Mixture(fit.head)(features.astype(np.float32)), expected,
      atol=1e-3)


def test_raters_of_another_dataset_help_on_another_scale(linear_world):
  # Many pictures, rated on half the scale and about another middle.
  rng = np.random.default_rng(1)
  true, *_ = np.linalg.lstsq(
      linear_world.features - 3, linear_world.ratings.points, rcond=None)
  more = rng.normal(3, 2, (600, 20))
  other = training.learn_opinions(data(more, 0.5 * (more - 3) @ true + 0.3))
  few, test = linear_world[:60], linear_world[60:]
  r = [
      np.corrcoef(
          training.apply_head(
              training.fit_head(few, others).head, test.features)[:, axis],
          test.ratings.points[:, axis])[0, 1]
      for others in ([], [other]) for axis in (0, 1)]
  assert r[2] > r[0] + 0.02 and r[3] > r[1] + 0.02


def test_each_kind_of_picture_is_estimated_as_its_raters_would(linear_world):
  # Of another kind (far off), where what is pleasant is the other way about.
  rng = np.random.default_rng(1)
  true, *_ = np.linalg.lstsq(
      linear_world.features - 3, linear_world.ratings.points, rcond=None)
  features = rng.normal(3, 2, (300, 20)) + np.r_[np.zeros(10), np.full(10, 9)]
  points = -(features - features.mean(axis=0)) @ true
  train, test = data(features, points)[:200], features[200:]
  kinds = training.learn_kinds([linear_world, train])
  fit = training.fit_head(
      linear_world, [training.learn_opinions(train)], (*kinds[:2], np.inf))
  for axis in (0, 1):
    assert np.corrcoef(
        training.apply_head(fit.head, test)[:, axis],
        points[200:, axis])[0, 1] > 0.8


def test_a_picture_unlike_all_is_not_extreme():
  rng = np.random.default_rng(0)
  features = rng.normal(0, 1, (200, 5))
  other = data(features, 0.3 * features[:, :2])
  first = data(features + 0.01, 0.3 * features[:, :2])
  fit = training.fit_head(
      first, [training.learn_opinions(other)],
      training.learn_kinds([first, other]))
  near, far = training.apply_head(
      fit.head, np.array([[2.0, 2, 2, 2, 2], [99, 99, 99, 99, 99]]))
  assert np.abs(far[:2]).max() < 1.2 * np.abs(near[:2]).max()


def test_early_depths_do_not_tell_what_is_alike_but_are_heard():
  rng = np.random.default_rng(0)
  early, late = rng.normal(0, 1, (200, 4)), rng.normal(0, 1, (200, 16))
  both = np.c_[early, late]
  rated = data(both, 0.2 * early[:, :2], depths=([4, 16], 1))
  alone = training.fit_head(rated)
  heard = training.learn_opinions(rated)
  points = rated.ratings.points
  assert np.abs(heard.calibration.held_out - points).mean() < 0.1
  shifted = both + np.r_[np.full(4, 9.0), np.zeros(16)]
  np.testing.assert_allclose(
      training.apply_head(alone.head, shifted),
      training.apply_head(alone.head, both))


def test_the_less_is_known_the_less_extreme(linear_world):
  result = training.cross_validate(linear_world, by_group=True)
  points = linear_world.ratings.points
  for axis, name in enumerate(('valence', 'arousal')):
    r = result.figures['mixture'][f'{name}/pearson_r'].mean()
    assert result.estimates[:, axis].std() / points[:, axis].std() == (
        pytest.approx(np.sqrt(r), rel=0.15))
  # The spread says how far off estimates are.
  off = np.sqrt(((result.estimates[:, :2] - points)**2).mean(axis=0))
  np.testing.assert_allclose(
      result.estimates[:, 2:].mean(axis=0), off, rtol=0.15)
  assert 0.3 < training.covered(points, result.estimates) < 0.5


def test_caution_covers_what_was_not_seen():
  """Who is off by .4 where the head's errors say .2, is off twice as much."""
  rng = np.random.default_rng(0)
  points = rng.normal(0, .4, (2000, 2))
  unseen = training.Unseen(
      points, np.zeros_like(points), np.full_like(points, .2**2),
      np.zeros_like(points))
  caution = training.caution_of([unseen])
  assert caution == pytest.approx(2, rel=0.1)
  assert training.covered(points, unseen.estimates(caution)) == (
      pytest.approx(training.COVERED, abs=0.01))
  # What the datasets' raters disagree by is not counted twice.
  torn = dataclasses.replace(unseen, disagreement=np.full_like(points, .12))
  assert training.caution_of([torn]) < 1.3


def test_a_dataset_that_was_left_out_is_judged_by_the_others(linear_world):
  datasets = [linear_world, linear_world[:100], linear_world[100:]]
  opinions = [training.learn_opinions(d) for d in datasets]
  found = training.leave_out(datasets, opinions, 2)
  points = datasets[2].ratings.points
  for axis in (0, 1):
    assert np.corrcoef(found.points[:, axis], points[:, axis])[0, 1] > 0.5
  assert (found.errors > 0).all() and (found.disagreement >= 0).all()
  kinds = training.learn_kinds(datasets[:2])
  heads = [
      training.fit_head(
          datasets[0], opinions[1:2], kinds, caution=caution).head
      for caution in (1, 3)]
  np.testing.assert_allclose(heads[1].errors, 3 * heads[0].errors)


def test_no_group_is_in_training_and_test():
  # Features that name the group: of one never seen, nothing can be told.
  groups = np.arange(160) // 4
  features = np.eye(40)[groups]
  ratings = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 2))[groups]
  random, by_group = (
      training.cross_validate(
          data(features, ratings, labels), by_group=True, num_folds=3)
      .figures['mixture'] for labels in (np.arange(160), groups))
  for axis in ('valence', 'arousal'):
    assert random[f'{axis}/pearson_r'].mean() > 0.9
    assert by_group[f'{axis}/r2'].max() < 0.05


def test_repeats_deal_anew_and_seeds_reproduce(linear_world):
  kwargs = {'by_group': False, 'num_folds': 2, 'num_repeats': 2}
  first = training.cross_validate(linear_world, **kwargs)
  again = training.cross_validate(linear_world, **kwargs)
  rmse = first.figures['mixture']['valence/rmse']
  assert len(set(rmse)) == 4
  np.testing.assert_array_equal(
      rmse, again.figures['mixture']['valence/rmse'])


def test_a_dataset_is_read_with_its_groups(pictures_dir, run):
  dataset = training.Dataset('oasis_va', pictures_dir / 'tfds', pictures_dir)
  ratings = dataset.ratings()
  assert len(dataset) == len(ratings) == 36 and ratings.num_raters == 100
  assert len(set(ratings.groups)) == 12 and ratings.said().shape == (36, 2)
  assert training.Dataset(
      'emotion6_va', pictures_dir / 'tfds', pictures_dir
  ).ratings().said().shape == (12, 9)
  assert -1 <= ratings.points.min() < 0 < ratings.points.max() <= 1
  brightness = [picture.mean() for picture in dataset.pictures(0)]
  assert np.corrcoef(brightness, ratings.points[:, 0])[0, 1] > 0.95
  assert len(list(dataset.pictures(30))) == 6


def test_datasets_that_are_not(pictures_dir, tmp_path):
  with pytest.raises(ValueError, match="no dataset called 'nosuch_va'"):
    training.Dataset('nosuch_va')
  with pytest.raises(FileNotFoundError, match='Emotion6') as error:
    training.Dataset('emotion6_va', tmp_path, tmp_path)
  assert '\n' not in str(error.value)
  with pytest.raises(ValueError, match='different datasets are needed'):
    training.train(['oasis_va', 'oasis_va'], tmp_path, _TINY)


def test_train_writes_a_checkpoint_with_its_card(pictures_dir, run):
  run_dir, results = run
  assert {p.name for p in run_dir.iterdir()} == {
      'README.md', 'config.json', 'features', 'predicted_vs_rated.png',
      'weights.npz'}
  card = (run_dir / 'README.md').read_text()
  rmse = results['folds by group']['mixture']['arousal/rmse']
  assert f'{rmse.mean():.3f} ± {rmse.std():.3f}' in card
  assert 'the command' in card and 'nan' not in card
  assert 'emotion6_va, left out' in card and '12 groups' in card
  for table in re.findall(r'(?:^\|.*\n)+', card, re.MULTILINE):
    assert len({line.count('|') for line in table.splitlines()}) == 1
  assert json.loads((run_dir / 'config.json').read_text())['image_width'] == 32
  assert images.load_image(run_dir / 'predicted_vs_rated.png').std() > 1
  # What is saved is what was fitted: bright noise is pleasant here.
  dataset = training.Dataset('oasis_va', pictures_dir / 'tfds', pictures_dir)
  estimates = model.load(run_dir).predict(list(dataset.pictures(0)))
  assert np.corrcoef(
      [p.valence for p in estimates],
      dataset.ratings().points[:, 0])[0, 1] > 0.5


def test_pictures_are_estimated_by_heads_that_did_not_see_them(
    pictures_dir, run, tmp_path):
  found = pictures.held_out(pictures_dir / 'oasis', tmp_path, 0, run[0])
  dataset = training.Dataset('oasis_va', pictures_dir / 'tfds', pictures_dir)
  np.testing.assert_array_equal(found.rated, dataset.ratings().points)
  assert found.estimated.shape == (36, 2)
  valence, arousal = (
      np.corrcoef(found.rated[:, i], found.estimated[:, i])[0, 1]
      for i in range(2))
  # Brightness is valence, and tells nothing of arousal.
  assert valence > 0.5 > abs(arousal)


def test_a_run_goes_on_from_features_and_gives_the_same(
    train, run, monkeypatch):
  run_dir, results = run
  (run_dir / 'features/emotion6_va-000000.npy').unlink()
  looked_at = []
  run_network = model.run_network

  def spy(network, config, pictures):
    looked_at.append(len(pictures))
    return run_network(network, config, pictures)

  monkeypatch.setattr(model, 'run_network', spy)
  again = train(run_dir)
  assert 12 in looked_at and 36 not in looked_at
  for name, estimators in results.items():
    for key, values in estimators['mixture'].items():
      np.testing.assert_allclose(
          again[name]['mixture'][key], values, atol=1e-4)
  with pytest.raises(ValueError, match='holds features of other') as error:
    train(run_dir, dataclasses.replace(_TINY, image_width=64))
  assert '\n' not in str(error.value)


def run_command(*args):
  """Runs va_magenta_train_image."""
  return subprocess.run(
      [sys.executable, '-m', 'va_magenta.va_magenta_train_image', *args],
      cwd=_ROOT, capture_output=True, text=True, check=False)


def test_command_help_and_one_line_errors(tmp_path):
  done = run_command('--help')
  assert '--manual_dir' in done.stdout and 'tensorflow' not in done.stderr
  done = run_command('--run_dir=y', '--image_size=big')
  assert done.returncode == 1
  assert re.fullmatch(r'.*error: --image_size must be .*\n', done.stderr)
