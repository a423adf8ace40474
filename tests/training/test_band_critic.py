"""A critic of bands learns what is said of four voices."""

import numpy as np
import pytest

from va_magenta.music import band
from va_magenta.music_to_va import band_critic, critic, symbolic_features
from va_magenta.training import band_critic as training


def _pairs(n, seed):
  """Windows whose valence are their melody's notes, and arousal their drums."""
  random = np.random.default_rng(seed)
  density = random.random((n, 2, 1, 4))
  tokens = np.stack([
      random.integers(low, high, (n, 2, 32)) for low, high in (
          (40, 60), (20, 40), (1, 8), (2, 7))], axis=-1)
  tokens *= random.random(tokens.shape) < density
  va = np.stack([(tokens[..., 0] > 1).mean(2), (tokens[..., 2] > 0).mean(2)],
                axis=-1)
  return training.Pairs(
      tokens.astype(np.int16), random.integers(1, 97, (n, 2, 4)),
      np.ones((n, 4), bool), va)


def test_it_learns_and_is_written_and_read(tmp_path):
  labels = np.random.default_rng(2).normal([0.1, -0.2], [0.3, 0.4], (500, 2))
  told = []
  model = training.train(
      _pairs(300, 0), labels, num_steps=120, batch_size=32, report=told.append)
  figures = training.agreement(model, _pairs(100, 1))
  assert min(figures.values()) > 0.7
  assert told[-1].startswith('step 120 of 120')
  critic.save(model, tmp_path)
  again = band_critic.load(tmp_path)
  assert not again.trainable
  held_out = _pairs(200, 3)
  x = training.one_hot(held_out.tokens[:, 0])
  context = band.context(held_out.plays, held_out.chords[:, 0])
  found = np.array(again(x, context))
  np.testing.assert_allclose(found, np.array(model(x, context)), atol=0.02)
  # It speaks on the scale of the labels.
  np.testing.assert_allclose(found.mean(0), labels.mean(0), atol=0.1)
  np.testing.assert_allclose(found.std(0), labels.std(0), rtol=0.3)


def test_bands_are_all_played_alike():
  pairs = _pairs(1, 0)
  features = training.features_of(pairs.tokens[0, 0], pairs.chords[0, 0])
  assert features.shape == (len(symbolic_features.FEATURE_NAMES),)
  named = dict(zip(symbolic_features.FEATURE_NAMES, features, strict=True))
  assert named['bass_prevalence'] > 0


def test_a_batch_mixes_pairs_and_their_labels():
  pairs = _pairs(5, 0)
  x, context, va = training.batch_of(pairs, 60, np.random.default_rng(0))
  assert x.shape == (60, 32, 699) and context.shape == (60, 4, 29)
  np.testing.assert_allclose(x.sum(-1), 4, rtol=1e-5)
  is_pure = ((x == 0) | (x == 1)).all((1, 2))
  assert 20 <= is_pure.sum() < 60
  pure = {tuple(np.round(v, 5)) for v in pairs.va.reshape(-1, 2)}
  assert all(tuple(np.round(v, 5)) in pure for v in va[is_pure].astype(float))


def test_what_is_no_critic_is_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match='it has no config.json'):
    band_critic.load(tmp_path)


def test_pairs_are_windows_and_what_was_made_of_them(monkeypatch):
  monkeypatch.setattr(
      training, 'partners', lambda vae, tokens, *others: tokens + 1)
  monkeypatch.setattr(
      training, 'features_of', lambda tokens, chords: tokens.mean(0)[:2])
  starts, asked = np.arange(0, 20, 2), {}

  class Corpus:
    def windows(self, num_bars, every, held_out):
      asked['held_out'] = held_out
      return starts[:0 if held_out else None]

    def cut(self, starts, num_bars):
      n = len(starts)
      return (
          np.broadcast_to(starts[:, None, None], (n, 32, 4)),
          np.ones((n, 4), int), np.full((n, 2, 2), np.nan), np.ones((n, 4)))

  def make(held_out):
    return training.make_pairs(
        Corpus(), None, lambda features: features, 6, held_out,
        np.random.default_rng(0))

  pairs = make(False)
  assert pairs.tokens.shape == (6, 2, 32, 4)
  assert set(pairs.tokens[:, 0, 0, 0]) < set(starts.tolist())
  # The estimate is of the very notes.
  np.testing.assert_allclose(pairs.va[..., 0], pairs.tokens[:, :, 0, 0])
  with pytest.raises(ValueError, match='in pieces that are held out'):
    make(True)
