"""A generator and a student whose answers are known."""

import types

import numpy as np
import pytest

from va_magenta.composing import composer
from va_magenta.evaluation import judges, systems
from va_magenta.music import melody
from va_magenta.music_to_va import symbolic_features

_PITCH, _VELOCITY = (
    symbolic_features.FEATURE_NAMES.index(name)
    for name in ('mean_pitch', 'mean_dynamics'))


class Student:
  """Reads valence from the mean pitch and arousal from the mean velocity."""

  def regress(self, features):
    features = np.asarray(features, np.float64)
    return np.stack([
        (features[:, _PITCH] - 60) / 35, (features[:, _VELOCITY] - 64) / 60],
                    axis=1)

  def calibrate(self, expected):
    return expected


def play(valence, arousal, seed):
  """A melody that says its VA to `Student`, otherwise of the seed's rhythm."""
  tokens = np.zeros(32, np.int32)
  onsets = np.random.default_rng(seed).permutation(31)[:6] + 1
  tokens[[0, *onsets]] = 60 + round(35 * valence) - 19
  return melody.tokens_to_sequence(tokens, velocity=64 + round(60 * arousal))


@pytest.fixture
def oracle(monkeypatch):
  """A generator that does what it is asked; the list of what it was asked."""
  asked = []

  def compose(target, settings):
    asked.append((target, settings))
    return [types.SimpleNamespace(sequence=play(
        target.valence, target.arousal, settings.seed), score=None)]

  monkeypatch.setattr(composer, 'compose', compose)
  monkeypatch.setattr(judges, 'student', lambda half: Student())
  # No weights are there to be told apart.
  monkeypatch.setattr(
      systems.Composer, '_digest', lambda self, folder: str(folder))
  return asked
