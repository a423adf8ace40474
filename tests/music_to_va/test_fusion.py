"""Whom to believe, and how much, is learned from ratings."""

import json
import pathlib

import numpy as np
import pytest

from va_magenta.music_to_va import fusion


def _synthetic(n=4000, seed=0):
  """Ratings of pieces, and estimates whose errors are known.

  The notes are right about valence but for noise of .3, the audio but for .4
  and for a quarter of arousal that it takes for valence; both know arousal, the
  audio better.
  """
  random = np.random.default_rng(seed)
  truth = random.uniform(-.8, .8, (n, 2))
  noise = random.normal(size=(n, 4)) * [.3, .2, .4, .1]
  estimates = truth[:, [0, 1, 0, 1]] + noise
  estimates[:, 2] += .25 * truth[:, 1]
  return estimates, truth, np.arange(n) // 5


@pytest.fixture(scope='module')
def synthetic():
  return _synthetic()


@pytest.fixture(scope='module')
def fused(synthetic):
  return fusion.fit(*synthetic)


def _right_weights(estimates, truth):
  """Of the least squared error, from the true moments of that population."""
  variance = 1.6**2 / 12 * np.eye(2)
  mixing = np.array([[1, 0, 1, 0], [0, 1, .25, 1]])
  covariance = mixing.T @ variance @ mixing + np.diag(
      [.3**2, .2**2, .4**2, .1**2])
  weights = np.linalg.solve(covariance, mixing.T @ variance)
  error = variance - variance @ mixing @ weights
  return weights, np.diag(error)


def test_finds_the_right_weights(synthetic, fused):
  weights, variance = _right_weights(*synthetic[:2])
  np.testing.assert_allclose(fused.both.weights, weights, atol=.03)
  np.testing.assert_allclose(fused.both.bias, 0, atol=.02)
  # What audio takes for valence and is arousal is taken off again.
  assert fused.both.weights[3, 0] < -.05 < .2 < (
      fused.both.weights[2, 0])
  # The notes alone: var / (var + noise).
  alone = 1.6**2 / 12 / (1.6**2 / 12 + np.array([.3, .2])**2)
  np.testing.assert_allclose(
      fused.symbolic.weights, np.diag(alone), atol=.03)


def test_std_is_that_of_new_pieces(fused):
  estimates, truth, _ = _synthetic(seed=1)
  labels, std = fused.apply(estimates)
  _, variance = _right_weights(None, None)
  np.testing.assert_allclose(
      np.mean((labels - truth)**2, axis=0), variance, rtol=.1)
  np.testing.assert_allclose(np.mean(std**2, axis=0), variance, rtol=.1)
  estimates[:, 2:] = np.nan
  labels, deaf_std = fused.apply(estimates)
  assert (deaf_std.mean(axis=0) > std.mean(axis=0)).all()
  np.testing.assert_allclose(
      np.var(labels - truth, axis=0), np.mean(deaf_std**2, axis=0), rtol=.1)


def test_people_agree_on_extremes():
  """Noise that falls from the middle on, in its logarithm."""
  random = np.random.default_rng(0)
  n = 20000
  labels = random.uniform(-.9, .9, (n, 2))
  weights = np.array([[-3, -2.5], [-1, 0], [.5, -2]])
  std = np.exp((weights[0] + labels**2 @ weights[1:]) / 2)
  ratings = labels + random.normal(size=(n, 2)) * std
  found = fusion.Spread.fit(labels, ratings)
  np.testing.assert_allclose(found.weights, weights, atol=.15)
  np.testing.assert_allclose(found(labels), std, rtol=.05)
  # Who is never wrong is sure, and no more than that.
  sure = fusion.Spread.fit(labels, labels)(labels)
  np.testing.assert_allclose(sure, 1e-3, rtol=.01)


def test_audio_may_be_missing(synthetic):
  estimates, ratings, groups = (array[:200].copy() for array in synthetic)
  whole = fusion.fit(estimates, ratings, groups)
  estimates[100:, 2:] = np.nan
  half = fusion.fit(estimates, ratings, groups)
  np.testing.assert_allclose(
      half.symbolic.weights, whole.symbolic.weights)
  # Half of them are enough to learn from, but other ones.
  for found in (whole, half):
    assert (np.abs(found.both.weights[2:]).sum(axis=0) > .1).all()
  estimates[:, 2:] = np.nan
  none = fusion.fit(estimates, ratings, groups)
  labels, std = none.apply(estimates)
  heard, heard_std = none.apply(synthetic[0][:200])
  np.testing.assert_allclose(labels, heard)
  np.testing.assert_allclose(std, heard_std)
  assert (std > 0).all()


def test_applies_row_by_row(synthetic, fused):
  estimates = synthetic[0][:6].copy()
  estimates[1, 2:] = np.nan
  estimates[2, 3] = np.nan  # Half of a point is none.
  estimates[3, :2] = np.nan
  estimates[4] = 5
  labels, std = fused.apply(estimates)
  np.testing.assert_allclose(
      labels[1], fused.symbolic(estimates[1, :2]))
  np.testing.assert_allclose(
      std[1:3], fused.symbolic_spread(labels[1:3]))
  np.testing.assert_allclose(std[4:], fused.both_spread(labels[4:]))
  assert np.isnan(labels[3]).all() and np.isnan(std[3]).all()
  assert (labels[4] == 1).all()
  one, one_std = fused.apply(estimates[5:])
  np.testing.assert_allclose(one[0], labels[5])
  np.testing.assert_allclose(one_std[0], std[5])


def test_is_saved(fused, notes_alone, tmp_path):
  path = tmp_path / 'fusion.json'
  alone = notes_alone(np.array([.2, .1]))['window']
  fusion.save(path, {'piece': fused, 'window': alone})
  assert path.stat().st_size < 5000
  found = fusion.load(path)
  estimates = _synthetic(50, seed=2)[0]
  for kind, made in (('piece', fused), ('window', alone)):
    for a, b in zip(
        found[kind].apply(estimates), made.apply(estimates), strict=True):
      np.testing.assert_array_equal(a, b)
  assert [p.name for p in tmp_path.iterdir()] == ['fusion.json']


def test_damaged_files_are_refused(fused, tmp_path):
  path = tmp_path / 'fusion.json'
  fusion.save(path, {'piece': fused, 'window': fused})
  content = json.loads(path.read_text())
  del content['window']['lines']['both']
  for text in ('', '[]', '{}', '3', path.read_text()[:-20], json.dumps(content),
               path.read_text().replace('"bias": [', '"bias": [0,'),
               path.read_text().replace('"bias": [', '"bias": ["a",')):
    path.write_text(text)
    with pytest.raises(ValueError, match='is not a fusion') as info:
      fusion.load(path)
    assert '\n' not in str(info.value) and str(path) in str(info.value)
  with pytest.raises(FileNotFoundError):
    fusion.load(pathlib.Path(tmp_path / 'none.json'))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda e, r, g: (e[:, :3], r, g), 'estimates \\[n, 4\\]'),
    (lambda e, r, g: (e, r[:-1], g), 'ratings \\[n, 2\\]'),
    (lambda e, r, g: (e, r * 9, g), r'ratings must lie in \[-1, 1\]'),
    (lambda e, r, g: (e, r * np.nan, g), r'ratings must lie in \[-1, 1\]'),
    (lambda e, r, g: (e * np.nan, r, g), 'symbolic estimates must be finite'),
    (lambda e, r, g: (e, r, 0 * g), 'at least, got 40 in 1'),
    (lambda e, r, g: (e[:9], r[:9], g[:9]), 'at least, got 9'),
])
def test_bad_ratings_are_refused(synthetic, change, message):
  with pytest.raises(ValueError, match=message):
    fusion.fit(*change(*(array[:40] for array in synthetic)))
