"""Training: exact resume, frozen parts, learning, what a run refuses."""

import dataclasses
import json

import numpy as np
import pytest

from va_magenta.va_to_music import configs, examples, magenta_weights, training
from va_magenta.va_to_music.music_vae import MusicVae, load

_CONFIG = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=8, output_depths=(90,),
    level_lengths=None, z_size=6, enc_rnn_size=(12,), dec_rnn_size=(10, 8),
    transpose_range=(-5, 5), batch_size=4, max_beta=0.2, beta_rate=0.99,
    learning_rate=0.01)


def _corpus(num_pieces=40, config=_CONFIG):
  random = np.random.default_rng(0)
  shape = (num_pieces, config.max_seq_len, len(config.output_depths))
  tokens = random.integers(0, 90, shape).astype(np.int16)
  return examples.Examples(
      tokens, np.arange(num_pieces, dtype=np.int32),
      [f'piece {i}' for i in range(num_pieces)])


def _weights(run_dir):
  return magenta_weights.read(run_dir / 'weights.npz')


@pytest.mark.parametrize('schedule', ['constant', 'inverse_sigmoid'])
def test_a_run_in_two_parts_equals_a_run_in_one(tmp_path, schedule):
  rate = 2.0 if schedule == 'inverse_sigmoid' else 0.0
  config = dataclasses.replace(
      _CONFIG, sampling_schedule=schedule, sampling_rate=rate)
  corpus = _corpus()
  one = training.train(config, corpus, tmp_path / 'one', num_steps=7, seed=3)
  training.train(config, corpus, tmp_path / 'two', num_steps=4, seed=3)
  two = training.train(config, corpus, tmp_path / 'two', num_steps=7, seed=3)
  assert one == two
  for name, array in _weights(tmp_path / 'one').items():
    np.testing.assert_array_equal(array, _weights(tmp_path / 'two')[name])


def test_another_seed_is_another_run(tmp_path):
  for seed in (0, 1):
    training.train(
        _CONFIG, _corpus(), tmp_path / str(seed), num_steps=2, seed=seed)
  assert any(
      (a != _weights(tmp_path / '1')[name]).any()
      for name, a in _weights(tmp_path / '0').items())


def test_training_learns(tmp_path):
  corpus = _corpus(12)
  config = dataclasses.replace(_CONFIG, transpose_range=(0, 0))
  model = MusicVae(config)
  before = training.evaluate(model, corpus.split('train'))
  training.train(config, corpus, tmp_path, num_steps=250)
  after = training.evaluate(load(tmp_path), corpus.split('train'))
  assert after['losses/r_loss'] < 0.6 * before['losses/r_loss']
  assert after['metrics/accuracy'] > before['metrics/accuracy'] + 0.2


@pytest.mark.parametrize('freeze', ['encoder', 'decoder'])
def test_a_frozen_part_stays_and_the_other_moves(tmp_path, freeze):
  first = MusicVae(_CONFIG, seed=5)
  magenta_weights.save(first, tmp_path / 'first.npz')
  training.train(_CONFIG, _corpus(), tmp_path / 'run', num_steps=3,
                 warm_start=tmp_path / 'first.npz', freeze=freeze)
  before = magenta_weights.read(tmp_path / 'first.npz')
  for name, array in _weights(tmp_path / 'run').items():
    assert (array == before[name]).all() == name.startswith(freeze), name


def test_warm_start_may_lack_variables_and_says_which(tmp_path, capsys):
  magenta_weights.save(MusicVae(_CONFIG, seed=5), tmp_path / 'whole.npz')
  arrays = dict(np.load(tmp_path / 'whole.npz'))
  lacking = 'encoder|mu|kernel'
  del arrays[lacking]
  np.savez(tmp_path / 'part.npz', **arrays)
  training.train(_CONFIG, _corpus(), tmp_path / 'run', num_steps=1,
                 warm_start=tmp_path / 'part.npz')
  assert 'encoder/mu/kernel: it begins at random' in capsys.readouterr().out
  with pytest.raises(ValueError, match='lacks encoder/mu/kernel'):
    magenta_weights.load(MusicVae(_CONFIG), tmp_path / 'part.npz')


def test_a_run_dir_of_another_config_is_refused(tmp_path):
  training.train(_CONFIG, _corpus(), tmp_path, num_steps=1)
  other = dataclasses.replace(_CONFIG, z_size=7)
  with pytest.raises(ValueError, match='another z_size'):
    training.train(other, _corpus(), tmp_path, num_steps=2)


def test_events_carry_magentas_names(tmp_path):
  import tensorflow as tf

  training.train(_CONFIG, _corpus(), tmp_path, num_steps=2, log_every=1)
  tags = {}
  for part in ('train', 'eval'):
    events, = (tmp_path / part).glob('events.out.tfevents.*')
    tags[part] = {
        (event.step, value.tag)
        for record in tf.data.TFRecordDataset(str(events))
        for event in [tf.compat.v1.Event.FromString(record.numpy())]
        for value in event.summary.value}
  for name in ('loss', 'losses/r_loss', 'losses/kl_loss', 'losses/kl_bits',
               'losses/kl_beta', 'metrics/accuracy', 'learning_rate'):
    assert {(1, name), (2, name)} <= tags['train']
  assert (2, 'metrics/free_accuracy') in tags['eval']


def test_figures_are_written(tmp_path):
  figures = training.train(_CONFIG, _corpus(), tmp_path, num_steps=1)
  written = json.loads((tmp_path / 'figures.json').read_text())
  assert written['metrics/accuracy'] == figures['metrics/accuracy']
  assert written['test_examples'] == len(_corpus().split('test'))


def test_batches_are_a_function_of_the_step():
  tokens = _corpus().tokens
  whole = training.Batches(tokens, _CONFIG, 0, 0, 30)
  late = training.Batches(tokens, _CONFIG, 0, 17, 30)
  assert (len(whole), len(late)) == (30, 13)
  for i in range(13):
    np.testing.assert_array_equal(
        whole[17 + i][0]['tokens'], late[i][0]['tokens'])
  # Ten batches of four are one epoch: every example once.
  config = dataclasses.replace(_CONFIG, transpose_range=(0, 0))
  epoch = training.Batches(tokens, config, 0, 0, 10)
  seen = np.concatenate([epoch[i][0]['tokens'] for i in range(10)])
  np.testing.assert_array_equal(
      np.unique(seen, axis=0), np.unique(tokens, axis=0))


def test_transposition_moves_pitches_only_and_stays_in_range():
  config = dataclasses.replace(
      _CONFIG, output_depths=(90, 90, 512), transpose_range=(-5, 5))
  tokens = np.zeros((200, 4, 3), np.int32)
  tokens[:, 1] = [2, 40, 7]  # The lowest pitch cannot go down.
  tokens[:, 2] = [1, 45, 500]
  moved = training.transpose(tokens, config, np.random.default_rng(0))
  shift = moved[:, 1, 0] - 2
  assert set(shift) == set(range(6))
  np.testing.assert_array_equal(moved[:, 1, 1], 40 + shift)
  np.testing.assert_array_equal(moved[:, 2, 1], 45 + shift)
  np.testing.assert_array_equal(moved[:, :, 2], tokens[:, :, 2])
  assert (moved[:, 2, 0] == 1).all() and (moved[:, 3] == 0).all()


def test_learning_rate_decays_as_magentas():
  rate = training.MagentaDecay(_CONFIG)
  for step in (0, 1000):
    expected = (0.01 - 1e-5) * 0.9999**step + 1e-5
    assert float(rate(step)) == pytest.approx(expected, rel=1e-4)

