"""Training: exact resume, frozen parts, learning, what a run refuses."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from va_magenta.va_to_music import configs, examples, magenta_weights, training
from va_magenta.va_to_music.music_vae import MusicVae, load

_CONFIG = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=4, output_depths=(90,),
    level_lengths=None, z_size=6, enc_rnn_size=(12,), dec_rnn_size=(10, 8),
    transpose_range=(-5, 5), batch_size=4, max_beta=0.2, beta_rate=0.99,
    learning_rate=0.01)


def _corpus(num_pieces=40, held_out=True):
  """Random pieces; if none is held out, a run has nothing to evaluate."""
  random = np.random.default_rng(0)
  tokens = random.integers(0, 90, (num_pieces, _CONFIG.max_seq_len, 1))
  names = (f'piece {i}' for i in itertools.count())
  if not held_out:
    names = (n for n in names if examples.split_of(n) == 'train')
  return examples.Examples(
      tokens.astype(np.int16), np.arange(num_pieces, dtype=np.int32),
      list(itertools.islice(names, num_pieces)))


def _means(figures):
  return {name: values.mean() for name, values in figures.items()}


def _weights(run_dir):
  return magenta_weights.read(run_dir / 'weights.npz')


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """(folder of a run of two steps with everything to it, its figures)."""
  folder = tmp_path_factory.mktemp('run')
  return folder, training.train(
      _CONFIG, _corpus(), folder, num_steps=2, log_every=1)


# Without scheduled sampling: tests/test_train_command.py, with a kill.
def test_a_run_in_two_parts_equals_a_run_in_one(tmp_path):
  config = dataclasses.replace(
      _CONFIG, sampling_schedule='inverse_sigmoid', sampling_rate=2.0)
  corpus = _corpus()
  one = training.train(config, corpus, tmp_path / 'one', num_steps=7, seed=3)
  training.train(config, corpus, tmp_path / 'two', num_steps=4, seed=3)
  two = training.train(config, corpus, tmp_path / 'two', num_steps=7, seed=3)
  assert one == two
  for name, array in _weights(tmp_path / 'one').items():
    np.testing.assert_array_equal(array, _weights(tmp_path / 'two')[name])


def test_another_seed_is_another_run(finished, tmp_path):
  training.train(
      _CONFIG, _corpus(held_out=False), tmp_path, num_steps=2, seed=1)
  first, other = _weights(finished[0]), _weights(tmp_path)
  assert any((array != other[name]).any() for name, array in first.items())


def test_training_learns(tmp_path):
  corpus = _corpus(12, held_out=False)
  config = dataclasses.replace(_CONFIG, transpose_range=(0, 0))
  model = MusicVae(config)
  before = _means(training.evaluate(model, corpus.split('train')))
  training.train(config, corpus, tmp_path, num_steps=400)
  magenta_weights.load(model, tmp_path / 'weights.npz')
  after = _means(training.evaluate(model, corpus.split('train')))
  assert after['losses/r_loss'] < 0.6 * before['losses/r_loss']
  assert after['metrics/accuracy'] > before['metrics/accuracy'] + 0.2


@pytest.mark.parametrize(('freeze', 'lacking'), [
    ('encoder', None), ('decoder', 'encoder/mu/kernel')])
def test_a_frozen_part_stays_and_the_other_moves(
    tmp_path, capsys, freeze, lacking):
  first = tmp_path / 'first.npz'
  magenta_weights.save(MusicVae(_CONFIG, seed=5), first)
  before = magenta_weights.read(first)
  if lacking:
    # What a checkpoint lacks begins at random, and that is told.
    arrays = dict(np.load(first))
    del arrays[lacking.replace('/', '|')]
    np.savez(first, **arrays)
    with pytest.raises(ValueError, match=f'lacks {lacking}'):
      magenta_weights.load(MusicVae(_CONFIG), first)
  training.train(_CONFIG, _corpus(held_out=False), tmp_path / 'run',
                 num_steps=3, warm_start=first, freeze=freeze)
  told = f'{first} lacks {lacking}: it begins at random\n'
  assert capsys.readouterr().out == (told if lacking else '')
  for name, array in _weights(tmp_path / 'run').items():
    assert (array == before[name]).all() == name.startswith(freeze), name
    if name != lacking:
      # Three steps from where it began, and not from somewhere else.
      np.testing.assert_allclose(array, before[name], atol=0.1)


@pytest.mark.parametrize(('changes', 'complaint'), [
    ({'config': dataclasses.replace(_CONFIG, z_size=7)}, 'another z_size'),
    ({'seed': 1}, 'another seed'),
    ({'freeze': 'encoder'}, 'another freeze'),
    ({'warm_start': 'cat-mel_2bar'}, 'another warm_start'),
    ({'corpus': _corpus(30)}, 'another corpus'),
    ({'num_steps': 1}, 'has done 2 steps already: --num_steps'),
])
def test_a_run_that_is_another_one_is_refused(finished, changes, complaint):
  folder, _ = finished
  before = {p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}
  flags = {'config': _CONFIG, 'corpus': _corpus(), 'num_steps': 3, **changes}
  with pytest.raises(ValueError, match=complaint):
    training.train(**flags, run_dir=folder)
  assert before == {
      p: p.read_bytes() for p in folder.rglob('*') if p.is_file()}


def test_a_corpus_without_training_examples_is_refused(tmp_path):
  corpus = dataclasses.replace(_corpus(1), names=['piece 4'])
  with pytest.raises(ValueError, match='no example in its train split'):
    training.train(_CONFIG, corpus, tmp_path / 'run', num_steps=1)


def test_events_carry_magentas_names(finished):
  import tensorflow as tf

  tags = {}
  for part in ('train', 'eval'):
    events, = (finished[0] / part).glob('events.out.tfevents.*')
    tags[part] = {
        (event.step, value.tag)
        for record in tf.data.TFRecordDataset(str(events))
        for event in [tf.compat.v1.Event.FromString(record.numpy())]
        for value in event.summary.value}
  for name in ('loss', 'losses/r_loss', 'losses/kl_loss', 'losses/kl_bits',
               'losses/kl_beta', 'metrics/accuracy', 'learning_rate'):
    assert {(1, name), (2, name)} <= tags['train']
  assert (2, 'metrics/free_accuracy') in tags['eval']


def test_figures_are_written(finished):
  folder, figures = finished
  written = json.loads((folder / 'figures.json').read_text())
  assert written == {'step': 2, **figures}
  assert figures['test_examples'] == len(_corpus().split('test')) > 1


def test_a_run_is_a_checkpoint(finished):
  folder, figures = finished
  for name, values in training.evaluate(
      load(folder), _corpus().split('test')).items():
    assert figures[name] == pytest.approx(values.mean())
    # Every piece of this corpus is one example.
    assert figures[f'{name}/sd_over_pieces'] == pytest.approx(values.std())


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

