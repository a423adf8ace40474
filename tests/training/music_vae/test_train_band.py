"""Training of what is conditioned on more than VA: who plays, and chords."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from va_magenta.music import band
from va_magenta.music_to_va import band_critic
from va_magenta.training.music_vae import examples
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import configs, tensors
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.music_vae import MusicVAE

_TINY = Config(
    name='va-cat-band_2bar', max_seq_len=8, output_depths=(5, 7),
    level_lengths=None, z_size=4, enc_rnn_size=(5,), dec_rnn_size=(6,),
    control_depth=5, context_depth=3, batch_size=4, token_dropout=0.3,
    control_dropout=0.3, va_weight=1.0, va_share=0.5, independence_weight=0.1)


class StandInCritic(keras.Model):
  """Valence by the first output's notes, arousal by the context."""

  def __init__(self):
    super().__init__()
    self.scale = self.add_weight(shape=(), initializer='ones')

  def call(self, x, context):
    notes = keras.ops.mean(keras.ops.sum(x[..., 2:5], axis=-1), axis=1)
    return self.scale * keras.ops.stack(
        [2 * notes - 1, keras.ops.mean(context, axis=(1, 2))], axis=-1)


def _corpus(config=_TINY, num_pieces=12):
  random = np.random.default_rng(0)
  n = 4 * num_pieces
  tokens = np.stack([
      random.integers(0, depth, (n, config.max_seq_len))
      for depth in config.output_depths], axis=-1).astype(np.int16)
  controls = random.uniform(-1, 1, (n, 2, config.control_depth))
  return examples.Examples(
      tokens, np.repeat(np.arange(num_pieces), 4).astype(np.int32),
      [str(i) for i in range(num_pieces)], controls.astype(np.float16),
      ['test', 'validation'] + ['train'] * (num_pieces - 2))


def test_a_run_in_two_parts_equals_a_run_in_one(tmp_path):
  run = functools.partial(
      training.train, _TINY, _corpus(), seed=3, critic=StandInCritic())
  one = run(tmp_path / 'one', num_steps=5)
  run(tmp_path / 'two', num_steps=2)
  assert one == run(tmp_path / 'two', num_steps=5)
  states = [dict(np.load(tmp_path / part / 'train' / 'state.npz'))
            for part in ('one', 'two')]
  for name, array in states[0].items():
    np.testing.assert_array_equal(array, states[1][name])
  assert one['test_examples'] == 4
  assert {'control/valence_r', 'metrics/accuracy'} <= one.keys()


def test_batches_keep_examples_and_their_controls_together():
  corpus = _corpus()
  batches = training.Batches(
      corpus.tokens, _TINY, 0, 0, 9, controls=corpus.controls)
  known = {t.tobytes(): c for t, c in zip(
      corpus.tokens.astype(np.int32), corpus.controls, strict=True)}
  for i in range(9):
    inputs = batches[i][0]
    for tokens, controls in zip(*inputs.values(), strict=True):
      np.testing.assert_array_equal(controls, known[tokens.tobytes()])


@pytest.mark.parametrize(('changes', 'corpus', 'complaint'), [
    ({}, {'controls': None}, 'trained with controls in its examples'),
    ({'va_weight': 0.0}, {}, 'it is trained without a critic'),
])
def test_context_controls_and_critic_go_together(
    tmp_path, changes, corpus, complaint):
  with pytest.raises(ValueError, match=complaint):
    training.train(
        dataclasses.replace(_TINY, **changes),
        dataclasses.replace(_corpus(), **corpus), tmp_path, num_steps=1,
        critic=StandInCritic())


def test_dropped_controls_keep_their_context():
  controls = np.random.default_rng(0).uniform(1, 2, (400, 2, 5))
  dropped = np.array(tensors.drop_controls(
      controls.astype(np.float32), 0.25, keras.random.SeedGenerator(0), 3))
  np.testing.assert_allclose(dropped[..., 2:], controls[..., 2:], rtol=1e-6)
  is_dropped = (dropped[..., :2] == 0).all((1, 2))
  assert 0.15 < is_dropped.mean() < 0.35
  np.testing.assert_allclose(
      dropped[~is_dropped], controls[~is_dropped], rtol=1e-6)


def test_tokens_are_dropped_for_each_output_by_itself():
  x = np.array(tensors.one_hot(np.zeros((50, 8, 2), np.int32), (5, 7)))
  dropped = np.array(tensors.drop_tokens(
      x, (5, 7), 0.3, keras.random.SeedGenerator(0)))
  first, second = dropped[..., 0], dropped[..., 5]
  assert set(np.unique(dropped)) == {0, 1}
  assert abs(first.mean() - 0.7) < 0.08 and abs(second.mean() - 0.7) < 0.08
  assert (first != second).any()
  np.testing.assert_array_equal(dropped.sum(-1), first + second)


def test_the_gradient_of_the_critic_reaches_every_decoder():
  import tensorflow as tf

  config = dataclasses.replace(
      configs.get('va-cat-band_2bar'), z_size=6, enc_rnn_size=(5,),
      dec_rnn_size=(6, 6), va_weight=1.0, va_share=1.0, batch_size=4)
  random = np.random.default_rng(0)
  tokens = np.stack([
      np.where(random.random((4, 32)) < .5, random.integers(
          0, depth, (4, 32)), 0) for depth in config.output_depths], axis=-1)
  controls = band.controls(
      random.uniform(-1, 1, (4, 2)), np.ones((4, 4)),
      random.integers(1, 97, (4, 4)))
  critic = band_critic.BandCritic()
  model = MusicVAE(config, critic=critic)
  weights = [
      weight.value for core in model.decoder.cores
      for weight in (core.lstm.kernels[0], core.output_projection.kernel)]
  with tf.GradientTape() as tape:
    outputs = model({
        'tokens': tf.constant(tokens, tf.int32),
        'controls': tf.constant(controls)}, training=True)
    loss = tf.reduce_mean(outputs['va_loss'])
  assert outputs['va_loss'].shape == (4,)
  assert not {id(w) for w in model.weights} & {id(w) for w in critic.weights}
  gradients = iter(tape.gradient(loss, weights))
  for core in model.decoder.cores:
    kernel, projection = next(gradients), next(gradients)
    va_row = core.lstm.input_depths[0] - config.control_depth
    assert np.abs(kernel[va_row:va_row + 2]).max() > 0
    assert np.abs(projection).max() > 0
