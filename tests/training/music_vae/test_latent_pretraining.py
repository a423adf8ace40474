"""Levels above segments: begun from a flat model, trained on its latents."""

import dataclasses
import json

import numpy as np
import pytest

from va_magenta.training.music_vae import examples
from va_magenta.training.music_vae import latent_pretraining as pretraining
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import (
  configs,
  magenta_weights,
  music_vae,
  tensors,
)

_FLAT = configs.Config(
    name='va-cat-trio_2bar', max_seq_len=4, output_depths=(90, 90, 512),
    level_lengths=None, z_size=8, enc_rnn_size=(7,), dec_rnn_size=(9, 8),
    control_depth=2, control_gain=3.0)
_CONFIG = dataclasses.replace(
    _FLAT, name='va-hierdec-trio_16bar_small', max_seq_len=12, z_size=5,
    level_lengths=(3, 4), hierarchical_encoder=True, conductor_control=True,
    transpose_range=(-2, 2), batch_size=16, control_dropout=0.1,
    control_gain=2.0, learning_rate=0.01, max_beta=0.01)


def _corpus(num_pieces=60):
  """Pieces of three segments of which the first and the last are alike."""
  random = np.random.default_rng(0)
  segments = np.stack([
      random.integers(0, depth, (num_pieces, 2, 4))
      for depth in _CONFIG.output_depths], axis=-1)
  tokens = segments[:, [0, 1, 0]].reshape(num_pieces, 12, 3)
  return examples.Examples(
      tokens.astype(np.int16), np.arange(num_pieces, dtype=np.int32),
      [f'piece {i}' for i in range(num_pieces)])


@pytest.fixture
def flat(tmp_path, random_music_vae, stand_in_critic, write_checkpoint):
  """A flat model, as `load_flat` gives it."""
  folder = write_checkpoint(
      tmp_path / 'flat', _FLAT, random_music_vae(_FLAT))
  return pretraining.load_flat(folder, _CONFIG, stand_in_critic(_CONFIG.depth))


def test_segments_are_read_and_played_as_the_flat_model_does(flat):
  model = music_vae.MusicVAE(_CONFIG, critic=flat.critic.func)
  pretraining.grow(model, flat)
  tokens = _corpus(2).tokens.astype(np.int32)
  segments = tokens.reshape(6, 4, 3)
  va = model.critic_va(tokens)
  assert va.shape == (2, 3, 2)
  mu, _ = flat.encode(segments, va.reshape(6, 2))
  controls = np.repeat(va.reshape(6, 1, 2), 4, axis=1)
  # Both told what they hear of a control, which their gains multiply.
  read = model.encoder.embedding(model.encoder.segments.read(
      segments, _CONFIG.output_depths, controls * _CONFIG.control_gain))
  np.testing.assert_allclose(pretraining.SCALE * np.array(read), mu, atol=1e-5)
  x = np.array(tensors.one_hot(segments, _CONFIG.output_depths))
  x_input = np.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
  for i, (ours, theirs) in enumerate(zip(
      model.decoder.cores, flat.decoder.cores, strict=True)):
    part = np.split(x_input, np.cumsum(_CONFIG.output_depths)[:-1], -1)[i]
    np.testing.assert_allclose(
        ours(part, mu / pretraining.SCALE, controls * _CONFIG.control_gain),
        theirs(part, mu, controls * flat.config.control_gain), atol=1e-4)


def test_each_segment_is_read_once_and_as_the_flat_model_reads_it(
    flat, tmp_path):
  corpus = _corpus()
  latents = pretraining.read(
      flat, corpus, _CONFIG, num_transpositions=2, cache_dir=tmp_path)
  assert latents.rows.shape == (2, 60, 3)
  np.testing.assert_array_equal(latents.rows[:, :, 0], latents.rows[:, :, 2])
  # Some transpositions are by nothing.
  assert 120 < len(latents.mu) <= 240
  rows = latents.rows[0, :4]
  segments = corpus.tokens[:4].reshape(12, 4, 3)
  va = flat.critic_va(segments)[:, 0]
  found = latents.gather(rows)
  np.testing.assert_allclose(found['controls'].reshape(12, 2), va, atol=1e-6)
  for name, values in zip(
      ('mu', 'sigma'), flat.encode(segments, va), strict=True):
    np.testing.assert_allclose(
        found[name].reshape(12, -1), values, rtol=2e-3, atol=1e-3)
  (kept,) = tmp_path.glob('latents-*.npz')
  kept_at = kept.stat().st_mtime_ns
  again = pretraining.read(
      flat, corpus, _CONFIG, num_transpositions=2, cache_dir=tmp_path)
  np.testing.assert_array_equal(again.rows, latents.rows)
  assert kept.stat().st_mtime_ns == kept_at
  kept.write_bytes(kept.read_bytes()[:-100])
  with pytest.raises(ValueError, match='latents-.* is damaged .* remove it'):
    pretraining.read(
        flat, corpus, _CONFIG, num_transpositions=2, cache_dir=tmp_path)


def test_a_band_has_levels_that_hear_its_context(
    tmp_path, random_music_vae, write_checkpoint):
  config = dataclasses.replace(
      configs.get('va-hierdec-band_16bar'), max_seq_len=24,
      level_lengths=(3, 8), output_depths=(5, 7), z_size=5, enc_rnn_size=(4,),
      dec_rnn_size=(6,), conductor_rnn_size=(9, 3), control_depth=5,
      context_depth=3)
  flat_config = dataclasses.replace(
      configs.get('va-cat-band_2bar'), max_seq_len=8, output_depths=(5, 7),
      z_size=3, enc_rnn_size=(4,), dec_rnn_size=(6,), control_depth=5,
      context_depth=3)
  folder = write_checkpoint(
      tmp_path / 'flat', flat_config, random_music_vae(flat_config))
  flat = pretraining.load_flat(folder, config, None)
  random = np.random.default_rng(0)
  tokens = np.repeat(random.integers(0, 5, (4, 8, 2)), 3, axis=0).reshape(
      4, 24, 2).astype(np.int16)
  # Two half bars a segment; the same notes three times, twice alike in all.
  controls = random.uniform(-1, 1, (4, 6, 5)).astype(np.float16)
  controls[:, 4:] = controls[:, :2]
  corpus = examples.Examples(
      tokens, np.arange(4, dtype=np.int32), list('abcd'), controls)
  latents = pretraining.read(flat, corpus, config)
  assert latents.rows.shape == (1, 4, 3)
  np.testing.assert_array_equal(latents.rows[:, :, 0], latents.rows[:, :, 2])
  assert len(latents.mu) == 8
  inputs = latents.gather(latents.rows[0])
  np.testing.assert_allclose(
      inputs['controls'], controls.reshape(4, 3, 2, 5).mean(2), atol=1e-3)
  mu, _ = flat.encode(
      tokens.reshape(12, 8, 2), controls.reshape(12, 2, 5).astype(np.float32))
  np.testing.assert_allclose(inputs['mu'].reshape(12, 3), mu, atol=1e-3)

  model = music_vae.MusicVAE(config)
  pretraining.grow(model, flat)
  levels = pretraining.Levels(model)
  outputs = levels(inputs, training=True)
  assert outputs['expected'].shape == (4, 3, 3)
  assert outputs['mu'].shape == (4, 5)
  assert np.isfinite(levels.compute_loss(x=inputs, y_pred=outputs))
  # VA and the context move what the conductor says.
  z = np.zeros((1, 5), np.float32)
  said = [np.array(levels.conduct(z, np.eye(5, dtype=np.float32)[[[i] * 3]]))
          for i in range(5)]
  assert len({x.tobytes() for x in said}) == 5
  played = model.sample(
      np.zeros((2, 5)), seed=0, controls=controls[:2].astype(np.float32))
  assert played.shape == (2, 24, 2)


@pytest.mark.slow
def test_a_run_in_two_parts_equals_a_run_in_one_and_learns(flat, tmp_path):
  corpus = _corpus()
  latents = pretraining.read(flat, corpus, _CONFIG)

  def run(name, num_steps):
    return pretraining.train(
        _CONFIG, flat, corpus, latents, tmp_path / name, num_steps=num_steps)

  few = run('few', 1)
  one = run('one', 300)
  run('two', 120)
  assert run('two', 300) == one
  ours, theirs = (
      magenta_weights.read(tmp_path / name) for name in ('one', 'two'))
  for name, array in ours.items():
    np.testing.assert_array_equal(array, theirs[name])
  assert one['metrics/explained'] > few['metrics/explained'] + 0.1
  assert json.loads((tmp_path / 'one' / 'figures.json').read_text()) == {
      'step': 300, **one}
  # What comes of it is a MusicVAE, and goes on in notes.
  model = music_vae.load(tmp_path / 'one')
  assert model.config == _CONFIG
  training.train(
      _CONFIG, corpus, tmp_path / 'notes', num_steps=2, freeze='encoder',
      warm_start=tmp_path / 'one', critic=flat.critic.func)
  for name, array in magenta_weights.read(tmp_path / 'notes').items():
    assert (array == ours[name]).all() == name.startswith('encoder'), name
  with pytest.raises(ValueError, match='holds a run with another seed'):
    pretraining.train(_CONFIG, flat, corpus, latents, tmp_path / 'one',
                 num_steps=301, seed=1)
  with pytest.raises(ValueError, match='has done 300 steps already'):
    run('one', 299)


@pytest.mark.parametrize(('changes', 'complaint'), [
    ({'max_seq_len': 6}, 'its max_seq_len is 6, 4 is needed'),
    ({'z_size': 7}, 'its z_size is 7, 8 is needed'),
    ({'output_depths': (90,)}, r'output_depths is \(90,\), \(90, 90, 512\)'),
    ({'control_depth': 0}, 'its control_depth is 0, 2 is needed'),
])
def test_what_are_no_segments_of_a_hierarchy(tmp_path, changes, complaint):
  dataclasses.replace(_FLAT, **changes).save(tmp_path / 'config.json')
  with pytest.raises(ValueError, match=complaint):
    pretraining.load_flat(tmp_path, _CONFIG, None)


def test_what_has_no_segments(tmp_path):
  with pytest.raises(FileNotFoundError, match='has no config.json'):
    pretraining.load_flat(tmp_path, _CONFIG, None)
  _FLAT.save(tmp_path / 'config.json')
  with pytest.raises(ValueError, match='is no hierarchy above segments'):
    pretraining.load_flat(tmp_path, dataclasses.replace(
        _CONFIG, hierarchical_encoder=False), None)


def test_what_is_saved_of_a_hierarchy_is_loaded(tmp_path, random_music_vae):
  model = random_music_vae(_CONFIG)
  _CONFIG.save(tmp_path / 'config.json')
  magenta_weights.save(model, tmp_path / 'weights.npz')
  loaded = music_vae.load(tmp_path)
  for ours, theirs in zip(
      model.encoder.weights + model.decoder.weights,
      loaded.encoder.weights + loaded.decoder.weights, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
  with pytest.raises(ValueError, match='Magenta cannot read'):
    magenta_weights.save(model, tmp_path / 'model.ckpt')


def test_a_trio_begins_as_the_melody_that_it_was(tmp_path, random_music_vae):
  melody = random_music_vae(dataclasses.replace(_FLAT, output_depths=(90,)))
  magenta_weights.save(melody, tmp_path / 'weights.npz')
  trio = music_vae.MusicVAE(_FLAT, seed=1)
  missing = magenta_weights.load(
      trio, tmp_path / 'weights.npz', allow_missing=True)
  assert {name.split('/')[0] for name in missing} == {
      'core_decoder_1', 'core_decoder_2'}
  tokens = _corpus(2).tokens[:, :4].astype(np.int32)
  va = np.array([[0.3, -0.2], [0.8, 0.1]])
  for ours, theirs in zip(
      trio.encode(tokens, va), melody.encode(tokens[..., :1], va), strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
  z = np.random.default_rng(0).normal(size=(2, _FLAT.z_size))
  np.testing.assert_array_equal(
      trio.sample(z, temperature=0, controls=va)[..., :1],
      melody.sample(z, temperature=0, controls=va))
  with pytest.raises(ValueError, match='is not a checkpoint of'):
    magenta_weights.load(trio, tmp_path / 'weights.npz')


def test_stretches_are_cut_from_examples():
  tokens = np.arange(16, dtype=np.int16).reshape(2, 8, 1) % 12
  corpus = examples.Examples(
      np.concatenate([tokens, tokens[:1]]), np.array([4, 5, 4], np.int32),
      ['piece'] * 6)
  cut = examples.cut(corpus, 4)
  # In piece 5 the stretch 0..3 stands for itself; in 4 it is not said twice.
  assert cut.tokens[..., 0].tolist() == [
      [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [0, 1, 2, 3]]
  assert cut.piece.tolist() == [4, 4, 5, 5]
  assert cut.names is corpus.names
