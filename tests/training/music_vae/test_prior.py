"""Priors are learned, resumed, and drawn from."""

import dataclasses

import numpy as np
import pytest

from va_magenta.training.music_vae import prior as training
from va_magenta.va_to_music import prior

CONFIG = prior.PriorConfig(
    z_size=4, context_depth=1, length=4, width=16, num_blocks=2, num_heads=2,
    dropout=0.0)


@pytest.fixture(scope='module')
def latents():
  """Rows of segments whose first dimension is their valence, plus a little."""
  random = np.random.default_rng(0)
  va = random.uniform(-1, 1, (400, 2)).astype(np.float32)
  mu = random.normal(0, 0.1, (400, 4))
  mu[:, 0] += 3 * va[:, 0]
  rows = np.arange(400).reshape(100, 4)
  return training.Latents(
      mu=mu.astype(np.float16), sigma=np.full((400, 4), 0.05, np.float16),
      va=va, context=np.zeros((400, 1), np.uint8), whole=1,
      rows={'train': rows[:90], 'validation': rows[90:]},
      shares=np.ones(90))


@pytest.fixture(scope='module')
def run(latents, tmp_path_factory):
  """A prior that was trained, and its figures."""
  folder = tmp_path_factory.mktemp('prior')
  figures = training.train(
      CONFIG, latents, folder, num_steps=300, batch_size=64)
  return folder, figures


def _draw(model, va, **kwargs):
  noise = np.random.default_rng(0).normal(size=(*va.shape[:2], 4))
  return model.sample(
      va, noise=noise, context=np.zeros((*va.shape[:2], 1)), **kwargs)


def test_what_is_drawn_follows_va_as_what_was_learned_from(run):
  folder, figures = run
  assert figures['losses/flow'] < 1.6
  va = np.zeros((32, 4, 2))
  va[:16, :, 0], va[16:, :, 0] = -0.8, 0.8
  z = _draw(prior.load(folder), va)
  assert z[16:, :, 0].mean() - z[:16, :, 0].mean() > 2.0
  unguided = _draw(prior.load(folder), va, guidance=0.0)
  assert abs(unguided[16:, :, 0].mean() - unguided[:16, :, 0].mean()) < 1.0


def test_segments_of_a_letter_are_the_same(run):
  model = prior.load(run[0])
  z = _draw(model, np.zeros((3, 4, 2)), form='ABAC')
  np.testing.assert_allclose(z[:, 0], z[:, 2], atol=1e-5)
  assert np.abs(z[:, 0] - z[:, 1]).max() > 0.05
  moving = np.zeros((3, 4, 2))
  moving[:, 2, 0] = 0.9
  z = _draw(model, moving, form='ABAC')
  assert np.abs(z[:, 0] - z[:, 2]).max() > 0.05


@pytest.mark.parametrize('length', [1, 3, 6, 11])
def test_pieces_may_be_of_any_length(run, length):
  z = _draw(prior.load(run[0]), np.zeros((2, length, 2)))
  assert z.shape == (2, length, 4)
  assert np.isfinite(z).all()


def test_a_form_of_another_length_is_refused(run):
  with pytest.raises(ValueError, match='3 letters for 4'):
    _draw(prior.load(run[0]), np.zeros((1, 4, 2)), form='ABA')


def test_shapes_that_do_not_fit_are_refused(run):
  with pytest.raises(ValueError, match='va, noise and context'):
    prior.load(run[0]).sample(np.zeros((1, 4, 2)), noise=np.zeros((1, 3, 4)))


def test_a_run_that_was_stopped_comes_out_as_one_that_was_not(
    latents, tmp_path, monkeypatch):
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  training.train(CONFIG, latents, whole, num_steps=12, batch_size=8)

  class StoppedError(Exception):
    pass

  # Of an error in a dataset TensorFlow makes another.
  def stop(self, index):
    if index == 6:
      raise StoppedError
    return get(self, index)

  get = training.Batches.__getitem__
  with monkeypatch.context() as patched:
    patched.setattr(training.Batches, '__getitem__', stop)
    with pytest.raises(Exception, match='StoppedError|^$'):
      training.train(CONFIG, latents, parts, num_steps=12, batch_size=8,
                     save_every_seconds=0)
  training.train(CONFIG, latents, parts, num_steps=12, batch_size=8)
  with np.load(whole / 'prior.npz') as a, np.load(parts / 'prior.npz') as b:
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


def test_a_run_with_other_settings_is_refused(latents, run):
  with pytest.raises(ValueError, match='another seed'):
    training.train(CONFIG, latents, run[0], num_steps=300, seed=1)


def test_a_wider_context_starts_without_influence(run):
  wider = prior.LatentPrior(dataclasses.replace(CONFIG, context_depth=3))
  prior.restore(wider, run[0])
  noise = np.random.default_rng(0).normal(size=(2, 4, 4))
  context = np.random.default_rng(1).normal(size=(2, 4, 3))
  va = np.full((2, 4, 2), 0.5)
  np.testing.assert_allclose(
      wider.sample(va, noise=noise, context=context),
      prior.load(run[0]).sample(va, noise=noise, context=context[..., :1]),
      atol=1e-4)
