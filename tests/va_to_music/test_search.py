"""Latent vectors that are searched for, with a critic that a test can be."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from va_magenta.va_to_music import configs, search
from va_magenta.va_to_music.tensors import one_hot

CONFIG = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
    level_lengths=None, z_size=8, enc_rnn_size=(4,), dec_rnn_size=(16,))


class _Critic(keras.Model):
  """Hears valence in the register of the first bar, arousal in the second's."""

  def call(self, x):
    notes = ops.reshape(x[..., 2:], (-1, 2, 16, 88))
    pitches = ops.sum(notes, axis=2)
    register = ops.matmul(pitches, np.arange(88, dtype=np.float32)) / (
        ops.sum(pitches, axis=-1) + 1e-3)
    return register / 44 - 1


@pytest.fixture(scope='module')
def model(random_music_vae):
  return random_music_vae(CONFIG, seed=2)


def _distances(tokens, targets):
  x = one_hot(tokens, (90,))
  return np.linalg.norm(
      ops.convert_to_numpy(_Critic()(x)) - targets, axis=-1)


def test_search_comes_nearer_and_never_farther(model):
  z = np.random.default_rng(0).standard_normal((8, 8))
  targets = np.tile([[-0.3, -0.2], [0.3, 0.2]], (4, 1))
  options = {'temperature': 0.5, 'seed': 3}
  before = _distances(model.sample(z, **options), targets)
  weights = [w.numpy().copy() for w in model.weights]
  found = search.search(model, _Critic(), z, targets[:, None], **options)
  assert found.shape == (8, 32, 1)
  after = _distances(found, targets)
  assert (after <= before).all()
  assert after.mean() < 0.6 * before.mean()
  # Better than as many draws that know no gradient.
  random = np.random.default_rng(1)
  blind = np.min([
      _distances(model.sample(
          random.standard_normal((8, 8)), **options), targets)
      for _ in range(search.NUM_STEPS)], axis=0)
  assert after.mean() < blind.mean()
  # The decoder is as it was.
  for a, b in zip(weights, model.weights, strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_same_seed_finds_the_same(model):
  z = np.random.default_rng(0).standard_normal((8, 8))
  options = {'temperature': 0.5, 'num_steps': 4}
  targets = [[[0.5, 0.5]]] * 8
  first, again = (
      search.search(model, _Critic(), z, targets, seed=3, **options)
      for _ in range(2))
  np.testing.assert_array_equal(first, again)


def test_no_step_is_a_sample(model):
  z = np.random.default_rng(0).standard_normal((8, 8))
  np.testing.assert_array_equal(
      search.search(model, _Critic(), z, [[[0.5, 0.5]]] * 8, seed=3,
                    temperature=0.7, num_steps=0),
      model.sample(z, seed=3, temperature=0.7))


def test_latent_vectors_stay_as_long_as_draws_of_the_prior():
  z = np.random.default_rng(0).standard_normal((1000, 256))
  penalty = ops.convert_to_numpy(search._norm_penalty(z))
  assert penalty.max() < 0.03
  assert ops.convert_to_numpy(search._norm_penalty(1.5 * z)).min() > 0.05
  assert ops.convert_to_numpy(search._norm_penalty(0.5 * z)).min() > 0.05


def test_conditioned_model_is_asked_with_guidance(random_music_vae):
  conditioned = random_music_vae(
      dataclasses.replace(CONFIG, control_depth=2), seed=2)
  z = np.random.default_rng(0).standard_normal((8, 8))
  targets = np.tile([[-0.3, -0.2], [0.3, 0.2]], (4, 1)).astype(np.float32)
  options = {'temperature': 0.5, 'seed': 3, 'guidance': 2.0}
  before = _distances(
      conditioned.sample(z, controls=targets, **options), targets)
  after = _distances(search.search(
      conditioned, _Critic(), z, targets[:, None], num_steps=10, **options),
                     targets)
  assert after.mean() < 0.9 * before.mean()


def test_segments_of_a_trio_are_heard_one_by_one(random_music_vae):
  trios = random_music_vae(dataclasses.replace(
      CONFIG, max_seq_len=64, output_depths=(90, 90, 512),
      level_lengths=(2, 32), control_depth=2, conductor_control=True), seed=2)
  heard = []

  class Critic(_Critic):
    def call(self, x):
      heard.append(x.shape[1:])
      return super().call(x[..., :90])

  z = np.random.default_rng(0).standard_normal((8, 8))
  targets = np.tile([[-0.3, -0.2], [0.3, 0.2]], (8, 1, 1)).astype(np.float32)
  options = {'temperature': 0.5, 'seed': 3}

  def distances(tokens):
    return _distances(tokens[..., :1].reshape(16, 32, 1),
                      targets.reshape(16, 2)).reshape(8, 2).mean(1)

  before = distances(trios.sample(z, controls=targets, **options))
  found = search.search(trios, Critic(), z, targets, num_steps=20, **options)
  assert set(heard) == {(32, 692)}
  assert found.shape == (8, 64, 3)
  after = distances(found)
  assert (after <= before + 1e-6).all()
  assert after.mean() < 0.9 * before.mean()
