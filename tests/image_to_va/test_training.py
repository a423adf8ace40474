"""Training: nothing leaks, the spread is people's, the files are whole."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from va_magenta.image_to_va import images, model, training

_THEMES = (
    'Acorns Beach Cat Dog Egg Fire Goat Hail Ice Jeep Kite Lamp').split()
_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def linear_world():
  """Features [300, 20] that know ratings [300, 2] but for noise; themes."""
  rng = np.random.default_rng(0)
  features = rng.normal(3, 2, (300, 20))
  ratings = features @ rng.normal(0, 0.03, (20, 2))
  ratings += rng.normal(0, ratings.std(), ratings.shape)
  ratings = np.clip(ratings - ratings.mean(axis=0) + (0.1, -0.2), -1, 1)
  return features, ratings, np.arange(300) // 3


@pytest.fixture
def little_oasis(tmp_path):
  """A folder like OASIS: 36 pictures whose brightness is their valence."""
  rng = np.random.default_rng(0)
  (tmp_path / 'oasis/images').mkdir(parents=True)
  rows = []
  for i in range(36):
    theme = f'{_THEMES[i // 3]} {i % 3}'
    level = rng.random()
    Image.fromarray(np.uint8(255 * level * rng.random((40, 50, 3)))).save(
        tmp_path / f'oasis/images/{theme}.jpg')
    rows.append((f' {theme} ' if i == 5 else theme, 1 + 6 * level,
                 1 + 6 * rng.random()))
  pd.DataFrame(rows, columns=['Theme', 'Valence_mean', 'Arousal_mean']).to_csv(
      tmp_path / 'oasis/OASIS.csv')
  return tmp_path / 'oasis'


def test_read_oasis(little_oasis):
  oasis = training.read_oasis(little_oasis)
  assert len(oasis.paths) == 36 and oasis.paths[5].name == 'Beach 2.jpg'
  assert list(oasis.themes[:4]) == ['Acorns'] * 3 + ['Beach']
  assert oasis.ratings.shape == (36, 2)
  assert -1 <= oasis.ratings.min() < 0 < oasis.ratings.max() <= 1


def test_read_real_oasis(shared_data):
  oasis = training.read_oasis(shared_data / 'oasis')
  assert len(oasis.paths) == len(oasis.ratings) > 700
  assert 200 < len(set(oasis.themes)) < 300


def test_folders_that_are_not_oasis(little_oasis, tmp_path):
  with pytest.raises(FileNotFoundError, match='no OASIS.csv'):
    training.read_oasis(tmp_path)
  (little_oasis / 'images/Cat 1.jpg').unlink()
  with pytest.raises(FileNotFoundError, match='Cat 1.jpg'):
    training.read_oasis(little_oasis)
  table = little_oasis / 'OASIS.csv'
  whole = pd.read_csv(table)
  whole.assign(Valence_mean=9).to_csv(table)
  with pytest.raises(ValueError, match='outside 1..7'):
    training.read_oasis(little_oasis)
  whole.drop(columns='Theme').to_csv(table)
  with pytest.raises(ValueError, match="no column 'Theme'"):
    training.read_oasis(little_oasis)
  table.write_bytes(b'')
  with pytest.raises(ValueError, match='is not a table'):
    training.read_oasis(little_oasis)


def test_head_finds_what_is_linear(linear_world):
  features, ratings, themes = linear_world
  head = training.fit_head(features, ratings, themes)
  estimates = features @ head.kernel + head.bias
  best, *_ = np.linalg.lstsq(
      np.c_[features, np.ones(300)], ratings, rcond=None)
  for axis in range(2):
    assert np.corrcoef(
        estimates[:, axis],
        np.c_[features, np.ones(300)] @ best[:, axis])[0, 1] > 0.98


def test_calibration_gives_held_out_estimates_the_spread_of_ratings(
    linear_world):
  features, ratings, themes = linear_world
  result = training.cross_validate(features, ratings, themes, by_theme=True)
  np.testing.assert_allclose(
      result.estimates.std(axis=0), ratings.std(axis=0), rtol=0.15)
  np.testing.assert_allclose(
      result.estimates.mean(axis=0), ratings.mean(axis=0), atol=0.05)
  calibrated = result.figures['calibrated']
  plain = result.figures['least squares']
  for axis in ('valence', 'arousal'):
    assert calibrated[f'{axis}/rmse'].mean() > plain[f'{axis}/rmse'].mean()
    assert calibrated[f'{axis}/ccc'].mean() > plain[f'{axis}/ccc'].mean()


def test_no_theme_is_in_training_and_test():
  # Features that name the theme: of a theme never seen, nothing can be told.
  themes = np.arange(160) // 4
  features = np.eye(40)[themes]
  ratings = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 2))[themes]
  random, by_theme = (
      training.cross_validate(
          features, ratings, themes, by_theme=by_theme, num_folds=3)
      .figures['least squares'] for by_theme in (False, True))
  for axis in ('valence', 'arousal'):
    assert random[f'{axis}/pearson_r'].mean() > 0.9
    assert np.isnan(by_theme[f'{axis}/pearson_r']).all()


def test_repeats_deal_anew_and_seeds_reproduce(linear_world):
  kwargs = {'by_theme': False, 'num_folds': 2, 'num_repeats': 2}
  first = training.cross_validate(*linear_world, **kwargs)
  again = training.cross_validate(*linear_world, **kwargs)
  rmse = first.figures['calibrated']['valence/rmse']
  assert len(set(rmse)) == 4
  np.testing.assert_array_equal(
      rmse, again.figures['calibrated']['valence/rmse'])


def test_train_writes_a_checkpoint_with_its_card(little_oasis, tmp_path):
  run_dir = tmp_path / 'new/run'
  config = model.Config(
      image_height=32, image_width=32,
      feature_layers=('block1a_project_bn', 'top_activation'))
  results = training.train(
      little_oasis, run_dir, config, num_folds=2, num_repeats=1,
      command='the command')
  assert {p.name for p in run_dir.iterdir()} == {
      'README.md', 'config.json', 'predicted_vs_rated.png', 'weights.npz'}
  card = (run_dir / 'README.md').read_text()
  rmse = results['folds by theme'].figures['calibrated']['arousal/rmse']
  assert f'{rmse.mean():.3f} ± {rmse.std():.3f}' in card
  assert 'the command' in card and 'nan' not in card
  tables = [line for line in card.splitlines() if line.startswith('|')]
  assert len({line.count('|') for line in tables}) == 1
  assert json.loads((run_dir / 'config.json').read_text())['image_width'] == 32
  assert images.load_image(run_dir / 'predicted_vs_rated.png').std() > 1
  # What is saved is what was fitted: bright noise is pleasant here.
  loaded = model.load(run_dir)
  oasis = training.read_oasis(little_oasis)
  valence = [p.valence for p in loaded.predict(
      [images.load_image(path) for path in oasis.paths])]
  assert np.corrcoef(valence, oasis.ratings[:, 0])[0, 1] > 0.5


def run_command(*args):
  """Runs va_magenta_train_image."""
  return subprocess.run(
      [sys.executable, '-m', 'va_magenta.va_magenta_train_image', *args],
      cwd=_ROOT, capture_output=True, text=True, check=False)


def test_command_help_and_one_line_errors(tmp_path):
  done = run_command('--help')
  assert '--oasis_dir' in done.stdout and 'tensorflow' not in done.stderr
  done = run_command(
      f'--oasis_dir={tmp_path}', '--backbone_weights=x', '--run_dir=y',
      '--image_size=big')
  assert done.returncode == 1
  assert re.fullmatch(r'.*error: --image_size must be .*\n', done.stderr)
