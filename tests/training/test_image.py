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

from va_magenta.image_to_va import images, model
from va_magenta.training import image as training

_THEMES = (
    'Acorns Beach Cat Dog Egg Fire Goat Hail Ice Jeep Kite Lamp').split()
_ROOT = pathlib.Path(__file__).parents[2]
_TINY = model.Config(
    backbones=('efficientnet_lite2',), image_height=32, image_width=32)


@pytest.fixture
def linear_world():
  """Features [240, 20] that know ratings [240, 2] but for noise; groups."""
  rng = np.random.default_rng(0)
  features = rng.normal(3, 2, (240, 20))
  ratings = features @ rng.normal(0, 0.03, (20, 2))
  ratings += rng.normal(0, ratings.std(), ratings.shape)
  ratings = np.clip(ratings - ratings.mean(axis=0) + (0.1, -0.2), -1, 1)
  return features, ratings, np.arange(240) // 3


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
    rows.append((f'joy/{i}.jpg', 1 + 8 * level, 1 + 8 * rng.random()))
  pd.DataFrame(rows, columns=['image_filename', 'valence', 'arousal']).to_csv(
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
  features, ratings, groups = linear_world
  fit = training.fit_head(features, ratings, groups)
  columns = np.c_[features, np.ones(len(features))]
  best, *_ = np.linalg.lstsq(columns, ratings, rcond=None)
  estimates = training.apply_head(fit.head, features)
  for axis in range(2):
    assert np.corrcoef(
        estimates[:, axis], columns @ best[:, axis])[0, 1] > 0.9


def test_the_network_computes_what_was_fitted(linear_world):
  features, ratings, groups = linear_world
  fit = training.fit_head(
      features, ratings, groups,
      training.learn_opinions([(features[:90] + 1, ratings[:90] / 2)]))
  assert np.abs(fit.head.others_weights).max() > 0
  layer = model.Similarity(fit.calibrated_head())
  np.testing.assert_allclose(
      layer(features.astype(np.float32)),
      training.apply_head(fit.calibrated_head(), features), atol=1e-3)


def test_raters_of_another_dataset_help_on_another_scale(linear_world):
  features, ratings, groups = linear_world
  # Many pictures, rated on half the scale and about another middle.
  rng = np.random.default_rng(1)
  true, *_ = np.linalg.lstsq(features - 3, ratings, rcond=None)
  more = rng.normal(3, 2, (600, 20))
  others = [(more, 0.5 * (more - 3) @ true + 0.3)]
  few = slice(0, 60)
  test = slice(60, None)
  alone = training.fit_head(features[few], ratings[few], groups[few])
  helped = training.fit_head(
      features[few], ratings[few], groups[few],
      training.learn_opinions(others))
  errors = [
      np.mean((training.apply_head(fit.head, features[test]) - ratings[test])
              ** 2) for fit in (alone, helped)]
  assert errors[1] < 0.95 * errors[0]


def test_calibration_gives_held_out_estimates_the_spread_of_ratings(
    linear_world):
  features, ratings, groups = linear_world
  result = training.cross_validate(features, ratings, groups, by_group=True)
  np.testing.assert_allclose(
      result.estimates.std(axis=0), ratings.std(axis=0), rtol=0.15)
  np.testing.assert_allclose(
      result.estimates.mean(axis=0), ratings.mean(axis=0), atol=0.05)
  calibrated = result.figures['calibrated']
  plain = result.figures['least squares']
  for axis in ('valence', 'arousal'):
    assert calibrated[f'{axis}/rmse'].mean() > plain[f'{axis}/rmse'].mean()
    assert calibrated[f'{axis}/ccc'].mean() > plain[f'{axis}/ccc'].mean()


def test_no_group_is_in_training_and_test():
  # Features that name the group: of one never seen, nothing can be told.
  groups = np.arange(160) // 4
  features = np.eye(40)[groups]
  ratings = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 2))[groups]
  random, by_group = (
      training.cross_validate(
          features, ratings, groups, by_group=by_group, num_folds=3)
      .figures['least squares'] for by_group in (False, True))
  for axis in ('valence', 'arousal'):
    assert random[f'{axis}/pearson_r'].mean() > 0.9
    assert by_group[f'{axis}/r2'].max() < 0.05


def test_repeats_deal_anew_and_seeds_reproduce(linear_world):
  kwargs = {'by_group': False, 'num_folds': 2, 'num_repeats': 2}
  first = training.cross_validate(*linear_world, **kwargs)
  again = training.cross_validate(*linear_world, **kwargs)
  rmse = first.figures['calibrated']['valence/rmse']
  assert len(set(rmse)) == 4
  np.testing.assert_array_equal(
      rmse, again.figures['calibrated']['valence/rmse'])


def test_a_dataset_is_read_with_its_groups(pictures_dir, run):
  dataset = training.Dataset('oasis_va', pictures_dir / 'tfds', pictures_dir)
  ratings = dataset.ratings()
  assert len(dataset) == len(ratings) == 36 and ratings.num_raters == 100
  assert len(set(ratings.groups)) == 12
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
  rmse = results['folds by group']['calibrated']['arousal/rmse']
  assert f'{rmse.mean():.3f} ± {rmse.std():.3f}' in card
  assert 'the command' in card and 'nan' not in card
  assert 'oasis_va to emotion6_va' in card and '12 groups' in card
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
    for key, values in estimators['calibrated'].items():
      np.testing.assert_allclose(
          again[name]['calibrated'][key], values, atol=1e-4)
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
