"""What a band is made of is trained on JAX, where TensorFlow is not installed.

Each test is a process of its own, as Keras has one backend.
"""

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec('jax') is None, reason='JAX is not installed')

_BEGIN = '''
import dataclasses, importlib.abc, sys
import numpy as np

class Blocked(importlib.abc.MetaPathFinder):
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] == 'tensorflow':
      raise ImportError('no TensorFlow here')

sys.meta_path.insert(0, Blocked())
import keras
from va_magenta.training.music_vae import examples, latent_pretraining
from va_magenta.training.music_vae import prior as prior_training
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import configs, music_vae, prior

assert keras.backend.backend() == 'jax'
random = np.random.default_rng(0)
sizes = dict(
    output_depths=(5, 7), enc_rnn_size=(4,), dec_rnn_size=(6,),
    control_depth=5, context_depth=3, batch_size=4, learning_rate=0.01)
flat = dataclasses.replace(
    configs.get('va-cat-band_2bar'), max_seq_len=8, z_size=3, **sizes)

def corpus(steps, stretches):
  tokens = np.stack([
      random.integers(0, depth, (24, steps)) for depth in (5, 7)], axis=-1)
  return examples.Examples(
      tokens.astype(np.int16), np.arange(24, dtype=np.int32) // 2,
      [str(i) for i in range(12)],
      random.uniform(-1, 1, (24, stretches, 5)).astype(np.float16),
      ['test', 'validation'] + ['train'] * 10)
'''


def _run(script, tmp_path):
  done = subprocess.run(
      [sys.executable, '-c', _BEGIN + textwrap.dedent(script)], cwd=tmp_path,
      env={**os.environ, 'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'},
      capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_band_and_the_levels_above_it_are_trained(tmp_path):
  _run('''
    one = training.train(flat, corpus(8, 2), 'one', num_steps=3, seed=2)
    random = np.random.default_rng(0)  # The same corpus again.
    training.train(flat, corpus(8, 2), 'two', num_steps=1, seed=2)
    random = np.random.default_rng(0)
    assert one == training.train(
        flat, corpus(8, 2), 'two', num_steps=3, seed=2)
    assert np.isfinite(list(one.values())).all()

    config = dataclasses.replace(
        configs.get('va-hierdec-band_16bar'), max_seq_len=24, z_size=5,
        level_lengths=(3, 8), conductor_rnn_size=(9, 3), **sizes)
    model = latent_pretraining.load_flat('one', config, None)
    pieces = corpus(24, 6)
    figures = latent_pretraining.train(
        config, model, pieces, latent_pretraining.read(model, pieces, config),
        'levels', num_steps=2)
    assert np.isfinite(list(figures.values())).all()
    tokens = music_vae.load('levels').sample(
        np.zeros((2, 5)), seed=0, controls=np.zeros((2, 6, 5)))
    assert tokens.shape == (2, 24, 2)
    ''', tmp_path)


@pytest.mark.slow
def test_the_critic_is_in_a_bands_loss(tmp_path):
  _run('''
    class StandIn(keras.Model):
      def call(self, x, context):
        notes = keras.ops.mean(x[..., 2:4], axis=(1, 2))
        return keras.ops.stack(
            [notes, keras.ops.mean(context, axis=(1, 2))], axis=-1)

    config = dataclasses.replace(
        flat, va_weight=1.0, kl_control_weight=0.1, independence_weight=0.1)
    pieces = corpus(8, 2)
    training.train(flat, pieces, 'begin', num_steps=1)
    figures = training.train(
        config, pieces, 'run', num_steps=2, critic=StandIn(),
        warm_start='begin')
    assert np.isfinite(list(figures.values())).all()
    assert 'control/valence_r' in figures
    ''', tmp_path)


@pytest.mark.slow
def test_a_prior_and_harmony_are_trained(tmp_path):
  _run('''
    import pathlib
    from va_magenta.music import chords
    from va_magenta.training import harmony
    from va_magenta.va_to_music import harmony as harmonies

    rows = np.arange(80).reshape(20, 4)
    latents = prior_training.Latents(
        mu=random.normal(size=(80, 3)).astype(np.float16),
        sigma=np.full((80, 3), 0.05, np.float16),
        va=random.uniform(-1, 1, (80, 2)).astype(np.float32),
        context=np.zeros((80, 1), np.uint8), whole=1,
        rows={'train': rows[:16], 'validation': rows[16:]}, shares=np.ones(16))
    config = prior.PriorConfig(
        z_size=3, context_depth=1, length=4, width=8, num_blocks=1,
        num_heads=2)
    figures = prior_training.train(
        config, latents, 'prior', num_steps=3, batch_size=4)
    assert np.isfinite(figures['losses/flow'])
    z = prior.load('prior').sample(
        np.zeros((2, 4, 2)), noise=np.zeros((2, 4, 3)),
        context=np.zeros((2, 4, 1)))
    assert z.shape == (2, 4, 3) and np.isfinite(z).all()

    told = np.tile(chords.parse_progression('C F G C'), 8)
    pieces = harmony.windows([
        harmony.piece(name, i % 2, told, np.zeros((16, 2)), (1, 1, 0, 1))
        for i, name in enumerate(('00', '14', 'ff', 'fe'))])
    path = pathlib.Path('harmony')
    path.mkdir()
    model = harmony.train(
        pieces, path, num_steps=3, batch_size=4, learning_rate=0.01, seed=0,
        report=print, config=harmonies.HarmonyConfig(units=(8,)))
    drawn = model.sample(np.zeros((2, 2, 2)), np.ones((2, 4)), seed=0)
    assert drawn.shape == (2, 8)
    ''', tmp_path)
