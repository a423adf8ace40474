"""Which phrases a piece has, and how they join."""

import itertools

import numpy as np
import pytest

from va_magenta.va import VA
from va_magenta.va_to_music import form


def test_phrases_stay_near_their_theme_and_in_the_prior():
  z = form.draw(np.random.default_rng(0), 200, 8, 64)
  assert z.shape == (200, 8, form.VERSIONS, 64)
  assert z.dtype == np.float32

  def likeness(a, b):
    a, b = z[:, a, 0], z[:, b, 1]
    return np.mean(np.sum(a * b, 1) / np.linalg.norm(a, axis=1)
                   / np.linalg.norm(b, axis=1))

  # A A' B A'' A ...: the theme returns, the bridge is the furthest from it.
  assert likeness(0, 1) > 0.9
  assert likeness(0, 3) > 0.9
  assert likeness(0, 4) > likeness(0, 1)
  assert 0.3 < likeness(0, 2) < 0.8
  for phrase in range(8):
    assert z[:, phrase].std() == pytest.approx(1, abs=0.02)
  # Of the theme there is one version, of the others several.
  np.testing.assert_array_equal(z[:, 0, 0], z[:, 0, 1])
  assert not np.array_equal(z[:, 1, 0], z[:, 1, 1])


def test_themes_do_not_depend_on_the_length():
  first = form.draw(np.random.default_rng(5), 10, 1, 16)
  assert first.shape == (10, 1, 1, 16)
  longer = form.draw(np.random.default_rng(5), 10, 4, 16)
  np.testing.assert_array_equal(first[:, 0, 0], longer[:, 0, 0])


def test_path_is_walked_from_its_first_point_to_its_last():
  path = [VA(-1, 0), VA(0, 0.5), VA(0, -0.5)]
  assert form.along(path, 5) == [
      VA(-1, 0), VA(-0.5, 0.25), VA(0, 0.5), VA(0, 0), VA(0, -0.5)]
  assert form.along([VA(0.3, 0.2)], 3) == [VA(0.3, 0.2)] * 3


def _phrase(*pitches):
  tokens = np.zeros(32, int)
  tokens[4:4 + 4 * len(pitches):4] = pitches
  tokens[30] = 1
  return tokens


def _join(melodies):
  return form.join(melodies[..., None])[..., 0]


def test_versions_that_make_the_least_leaps_are_taken():
  theme, empty = _phrase(40, 60), np.zeros(32, int)
  # What goes on best from the theme leads nowhere: the next begins at 48.
  second = [_phrase(61, 20), _phrase(70, 50), _phrase(80, 50)]
  joined = _join(np.array([
      [[theme] * 3, second, [_phrase(48)] * 3],
      # An empty one is taken if there is no other.
      [[theme] * 3, [_phrase(85), _phrase(75), empty], [empty] * 3],
  ]))
  assert joined.shape == (2, 96)
  np.testing.assert_array_equal(
      joined[0], np.concatenate([theme, second[1], _phrase(48)]))
  np.testing.assert_array_equal(
      joined[1], np.concatenate([theme, _phrase(75), empty]))


def test_best_of_all_ways_is_found():
  """Against trying all of them."""
  random = np.random.default_rng(0)
  versions = np.zeros((20, 4, 3, 32), int)
  versions[..., 3], versions[..., 20] = random.integers(2, 90, (2, 20, 4, 3))

  def leaps(tokens):
    phrases = tokens.reshape(4, 32)
    seams = np.abs(phrases[1:, 3] - phrases[:-1, 20])
    return np.maximum(seams - form.LARGEST_SEAM, 0).sum()

  for piece, joined in zip(versions, _join(versions), strict=True):
    assert leaps(joined) == min(
        leaps(np.concatenate([piece[i, v] for i, v in enumerate(way)]))
        for way in itertools.product(range(3), repeat=4))


def test_single_phrases_are_left_as_they_are():
  tokens = np.random.default_rng(0).integers(0, 90, (5, 1, 1, 32, 3))
  np.testing.assert_array_equal(form.join(tokens), tokens[:, 0, 0])


def test_of_trios_the_melody_joins_and_takes_the_others_along():
  random = np.random.default_rng(0)
  versions = random.integers(0, 90, (20, 4, 3, 32, 3))
  joined = form.join(versions)
  np.testing.assert_array_equal(joined[..., 0], _join(versions[..., 0]))
  for piece, whole in zip(versions, joined, strict=True):
    for phrase, own in zip(piece, np.split(whole, 4), strict=True):
      assert any((version == own).all() for version in phrase)
