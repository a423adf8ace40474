"""Training: exact resume, frozen parts, learning, what a run refuses."""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap

import numpy as np
import PIL.Image
import pytest

from va_magenta.music.corpus import split_of
from va_magenta.training.music_vae import examples
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import configs, magenta_weights
from va_magenta.va_to_music.music_vae import MusicVAE, load

_CONFIG = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=4, output_depths=(90,),
    level_lengths=None, z_size=6, enc_rnn_size=(12,), dec_rnn_size=(10, 8),
    transpose_range=(-5, 5), batch_size=4, max_beta=0.2, beta_rate=0.99,
    learning_rate=0.01)


_VA_CONFIG = dataclasses.replace(
    _CONFIG, name='va-cat-mel_2bar', control_depth=2, control_dropout=0.3,
    va_weight=5.0, va_share=0.5, independence_weight=0.5)

_VA_TRIO = dataclasses.replace(
    _VA_CONFIG, name='va-hierdec-trio_16bar', output_depths=(90, 90, 512),
    level_lengths=(2, 2), dec_rnn_size=(9,))


def _corpus(num_pieces=40, held_out=True):
  """Random pieces; if none is held out, a run has nothing to evaluate."""
  random = np.random.default_rng(0)
  tokens = random.integers(0, 90, (num_pieces, _CONFIG.max_seq_len, 1))
  names = (f'piece {i}' for i in itertools.count())
  if not held_out:
    names = (n for n in names if split_of(n) == 'train')
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


# Plain: tests/test_train_command.py, with a kill.
@pytest.mark.parametrize(('config', 'precision'), [
    (dataclasses.replace(
        _CONFIG, sampling_schedule='inverse_sigmoid', sampling_rate=2.0),
     'float32'),
    (dataclasses.replace(_VA_CONFIG, objective='wae_gan'), 'float32'),
    (_CONFIG, 'mixed_float16'),
], ids=['scheduled sampling', 'va', 'mixed_float16'])
@pytest.mark.slow
def test_a_run_in_two_parts_equals_a_run_in_one(
    tmp_path, stand_in_critic, config, precision):
  corpus = _corpus()
  run = functools.partial(
      training.train, config, corpus, seed=3, precision=precision,
      critic=stand_in_critic() if config.control_depth else None)
  one = run(tmp_path / 'one', num_steps=7)
  run(tmp_path / 'two', num_steps=4)
  two = run(tmp_path / 'two', num_steps=7)
  assert one == two
  for name, array in _weights(tmp_path / 'one').items():
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, _weights(tmp_path / 'two')[name])
  states = [dict(np.load(tmp_path / part / 'train' / 'state.npz'))
            for part in ('one', 'two')]
  for name, array in states[0].items():
    np.testing.assert_array_equal(array, states[1][name])


def test_another_seed_is_another_run(finished, tmp_path):
  training.train(
      _CONFIG, _corpus(held_out=False), tmp_path, num_steps=2, seed=1)
  first, other = _weights(finished[0]), _weights(tmp_path)
  assert any((array != other[name]).any() for name, array in first.items())


@pytest.mark.slow
@pytest.mark.parametrize('precision', training.PRECISIONS)
def test_training_learns(tmp_path, precision):
  corpus = _corpus(12, held_out=False)
  config = dataclasses.replace(_CONFIG, transpose_range=(0, 0))
  model = MusicVAE(config)
  before = _means(training.evaluate(model, corpus.split('train')))
  training.train(
      config, corpus, tmp_path, num_steps=400, precision=precision)
  magenta_weights.load(model, tmp_path / 'weights.npz')
  after = _means(training.evaluate(model, corpus.split('train')))
  assert after['losses/r_loss'] < 0.6 * before['losses/r_loss']
  assert after['metrics/accuracy'] > before['metrics/accuracy'] + 0.2


@pytest.mark.parametrize(('freeze', 'lacking'), [
    ('encoder', None), ('decoder', 'encoder/mu/kernel')])
def test_a_frozen_part_stays_and_the_other_moves(
    tmp_path, capsys, freeze, lacking):
  first = tmp_path / 'first.npz'
  magenta_weights.save(MusicVAE(_CONFIG, seed=5), first)
  before = magenta_weights.read(first)
  if lacking:
    # What a checkpoint lacks begins at random, and that is told.
    arrays = dict(np.load(first))
    del arrays[lacking.replace('/', '|')]
    np.savez(first, **arrays)
    with pytest.raises(ValueError, match=f'lacks {lacking}'):
      magenta_weights.load(MusicVAE(_CONFIG), first)
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
    ({'precision': 'mixed_bfloat16'}, 'another precision'),
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


def test_a_run_with_another_critic_is_another_run(tmp_path, stand_in_critic):
  run = functools.partial(
      training.train, _VA_CONFIG, _corpus(held_out=False), tmp_path)
  critic = stand_in_critic()
  run(num_steps=1, critic=critic)
  critic.set_weights([w + 0.1 for w in critic.get_weights()])
  with pytest.raises(ValueError, match='another critic'):
    run(num_steps=2, critic=critic)


@pytest.mark.parametrize(('config', 'with_critic', 'complaint'), [
    (_VA_CONFIG, False,
     'depth 2 and a va_weight of 5: it is trained with a critic'),
    (_CONFIG, True, 'a va_weight of 0: it is trained without a critic'),
])
def test_a_critic_goes_with_a_control(
    tmp_path, stand_in_critic, config, with_critic, complaint):
  with pytest.raises(ValueError, match=complaint):
    training.train(config, _corpus(), tmp_path / 'run', num_steps=1,
                   critic=stand_in_critic() if with_critic else None)
  assert not (tmp_path / 'run').exists()


def test_a_corpus_without_training_examples_is_refused(tmp_path):
  corpus = dataclasses.replace(_corpus(1), names=['piece 4'])
  with pytest.raises(ValueError, match='no example in its train split'):
    training.train(_CONFIG, corpus, tmp_path / 'run', num_steps=1)


def test_events_carry_magentas_names(finished):
  learned, watched = (
      training.read_scalars(finished[0] / part) for part in ('train', 'eval'))
  for name in ('loss', 'losses/r_loss', 'losses/kl_loss', 'losses/kl_bits',
               'losses/kl_beta', 'metrics/accuracy', 'learning_rate'):
    assert list(learned[name]) == [1, 2]
  assert 2 in watched['metrics/free_accuracy']


def test_of_a_step_done_twice_the_last_scalar_counts(finished, tmp_path):
  for i, path in enumerate(2 * list(
      (finished[0] / 'train').glob('events.out.tfevents.*'))):
    shutil.copy(path, tmp_path / f'events.out.tfevents.{i}')
  with (tmp_path / 'events.out.tfevents.1').open('r+b') as file:
    file.truncate(file.seek(0, os.SEEK_END) - 9)
  once, twice = map(
      training.read_scalars, (finished[0] / 'train', tmp_path))
  assert once == twice


def test_a_run_leaves_its_curves(finished):
  width, height = PIL.Image.open(finished[0] / 'curves.png').size
  assert width > height > 500


def test_figures_are_written(finished):
  folder, figures = finished
  written = json.loads((folder / 'figures.json').read_text())
  assert written == {'step': 2, **figures}
  assert figures['test_examples'] == len(_corpus().split('test')) > 1


def test_figures_do_not_depend_on_how_much_is_evaluated_at_once(
    finished, monkeypatch):
  model, tokens = load(finished[0]), _corpus().split('test')
  at_once = training.evaluate(model, tokens)
  # Four examples, and at last fewer.
  monkeypatch.setattr(training, '_STEPS_A_BATCH', 4 * tokens.shape[1])
  assert len(tokens) % 4
  for name, values in training.evaluate(model, tokens).items():
    np.testing.assert_allclose(values, at_once[name], rtol=1e-4, atol=1e-5)


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



# --- Following VA.


def _training_model(config, critic, reference=None):
  model = MusicVAE(config, critic=critic, reference=reference)
  model.compile(optimizer='adam')
  return model


def _batch(n, config=_VA_CONFIG):
  random = np.random.default_rng(2)
  tokens = np.stack([
      random.integers(0, depth, (n, config.max_seq_len), np.int32)
      for depth in config.output_depths], axis=-1)
  # As in music, many steps go on with what is there.
  return {'tokens': tokens * random.integers(0, 2, tokens.shape, np.int32)}


def test_examples_are_labelled_by_the_critic_as_they_are(stand_in_critic):
  critic = stand_in_critic()
  model = MusicVAE(_VA_CONFIG, critic=critic)
  batch = _batch(20)
  expected = np.array(critic(np.eye(90)[batch['tokens'][..., 0]]))[:, None]
  np.testing.assert_allclose(model(batch)['va'], expected, atol=1e-6)
  np.testing.assert_allclose(
      model.critic_va(batch['tokens']), expected, atol=1e-6)
  assert expected.std(0).min() > 0.05
  # A conductor that hears it is told of each segment.
  conducted = MusicVAE(dataclasses.replace(
      _VA_CONFIG, level_lengths=(2, 2), dec_rnn_size=(9,),
      conductor_control=True), critic=critic)
  np.testing.assert_allclose(
      conducted.critic_va(batch['tokens']).reshape(-1, 2),
      critic(np.eye(90)[batch['tokens'].reshape(-1, 2)]), atol=1e-6)
  # Transposition changes it, and the label with it.
  tokens = np.minimum(batch['tokens'], 80)
  lower = model.critic_va(tokens)
  higher = model.critic_va(np.where(tokens > 1, tokens + 5, tokens))
  notes = (tokens > 1).any((1, 2))
  assert (higher[notes, 0, 0] > lower[notes, 0, 0]).all()


def test_labels_are_clipped_to_the_plane(stand_in_critic):
  import keras

  stretched = keras.Sequential(
      [stand_in_critic(), keras.layers.Rescaling(9.0)])
  va = MusicVAE(_VA_CONFIG, critic=stretched).critic_va(_batch(50)['tokens'])
  assert np.abs(va).max() == 1


@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_the_control_is_dropped_for_a_share_of_examples(
    stand_in_critic, share, random_music_vae):
  config = dataclasses.replace(_VA_CONFIG, control_dropout=share, va_weight=0.0)
  model = random_music_vae(config)
  batch = _batch(300)
  neutral = np.array(model(batch)['mu'])
  model.critic = stand_in_critic().__call__
  told = np.array(model(batch)['mu'])
  seen = np.array(model(batch, training=True)['mu'])
  # To some, by chance, the critic gives a VA that is neutral.
  differs = ~np.isclose(told, neutral, atol=1e-5).all(1)
  assert differs.mean() > 0.9
  dropped = np.isclose(seen, neutral, atol=1e-5).all(1)[differs]
  assert (
      np.isclose(seen, told, atol=1e-5).all(1)[differs] == ~dropped).all()
  assert dropped.mean() == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(
    'config', [_VA_CONFIG, _VA_TRIO], ids=['flat', 'hierarchy'])
def test_the_gradient_of_va_loss_reaches_the_decoder_and_not_the_encoder(
    stand_in_critic, config, random_music_vae):
  import tensorflow as tf

  critic = stand_in_critic(config.depth)
  model = random_music_vae(config)
  model.critic = critic.__call__
  weights = [w.value for w in model.trainable_weights + critic.weights]
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(model(_batch(8, config), training=True)['va_loss'])
  gradients = {
      id(weight): gradient for weight, gradient in zip(
          weights, tape.gradient(loss, weights), strict=True)}
  assert not {id(w) for w in model.weights} & {id(w) for w in critic.weights}

  def largest(weight):
    gradient = gradients[id(weight.value)]
    return 0 if gradient is None else np.abs(gradient).max()

  decoder = model.decoder
  listened_to = [*decoder.cores[0].weights, *(
      decoder.conductor.weights + decoder.conductor_state.weights
      if decoder.conductor else [])]
  # Of the conductor's kernel one row is multiplied with a zero.
  assert min(map(largest, listened_to)) > 0
  others = [*model.encoder.weights, *(
      w for core in decoder.cores[1:] for w in core.weights)]
  assert max(map(largest, others)) == 0
  first = decoder.cores[0].lstm
  rows = gradients[id(first.kernels[0].value)][
      first.input_depths[0] - 2:first.input_depths[0]]
  assert np.abs(rows).min(1).max() > 0


@pytest.mark.slow
def test_training_follows_va_and_leaves_the_critic_alone(
    tmp_path, stand_in_critic):
  config = dataclasses.replace(
      _VA_CONFIG, max_seq_len=8, batch_size=32, va_share=1.0, va_weight=20.0)
  critic = stand_in_critic()
  before = critic.get_weights()
  # High and low, of many notes and of few: what is asked for is what there is.
  corpus = _corpus(200, held_out=False)
  random = np.random.default_rng(0)
  shape = (len(corpus.piece), config.max_seq_len)
  pitch = random.normal(random.uniform(2, 89, (shape[0], 1)), 5, shape)
  tokens = np.where(random.random(shape) < random.random((shape[0], 1)),
                    np.clip(pitch, 2, 89), 0).astype(np.int16)
  corpus = dataclasses.replace(corpus, tokens=tokens[..., None])
  training.train(config, corpus, tmp_path, num_steps=150, critic=critic)
  for was, now in zip(before, critic.get_weights(), strict=True):
    np.testing.assert_array_equal(was, now)
  model = MusicVAE(config, critic=critic)
  first = training.evaluate_control(model)
  magenta_weights.load(model, tmp_path / 'weights.npz')
  figures = training.evaluate_control(model)
  assert abs(first['control/arousal_r']) < 0.2
  assert min(figures['control/valence_r'], figures['control/arousal_r']) > 0.5
  assert figures['control/distance'] < 0.8 * first['control/distance']
  # What was played for one target is no answer to another.
  targets = random.uniform(-1, 1, (100, 2))
  x = model.sample(random.normal(size=(100, 6)), controls=targets, seed=0)
  played = model.critic_va(x)[:, 0]
  shuffled = random.permutation(targets)
  assert np.linalg.norm(played - shuffled, axis=1).mean() > 1.2 * (
      np.linalg.norm(played - targets, axis=1).mean())


@pytest.mark.parametrize('objective', configs.CHOICES['objective'])
def test_the_loss_is_the_sum_of_its_terms(stand_in_critic, objective):
  config = dataclasses.replace(
      _VA_CONFIG, objective=objective, beta_rate=0.5, kl_control_weight=2.0)
  model = _training_model(
      config, stand_in_critic(), reference=MusicVAE(config, seed=1))
  model.optimizer.iterations.assign(1)
  batch = _batch(8)
  loss = model.compute_loss(batch, y_pred=model(batch, training=True))
  terms = {k.removeprefix('losses/'): float(v.result())
           for k, v in model.trackers.items()}
  prior = {'elbo': 'kl_loss', 'wae_mmd': 'mmd_loss', 'wae_gan': 'gan_loss'}
  assert terms['kl_beta'] == pytest.approx(0.1)
  assert terms['kl_control_loss'] > 1e-4
  assert float(loss) == pytest.approx(
      terms['r_loss'] + 0.1 * terms[prior[objective]] + 5 * terms['va_loss']
      + 2 * terms['kl_control_loss'] + 0.5 * terms['independence_loss'],
      rel=1e-5)


def test_kl_control_measures_how_far_from_the_reference_is_played(
    tmp_path, stand_in_critic, random_music_vae):
  import tensorflow as tf

  config = dataclasses.replace(_VA_CONFIG, kl_control_weight=1.0)
  magenta_weights.save(random_music_vae(_CONFIG), tmp_path / 'begin.npz')
  reference = MusicVAE(config)
  model = _training_model(config, stand_in_critic(), reference)
  for one in reference, model:
    magenta_weights.load(one, tmp_path / 'begin.npz')
  batch = _batch(8)
  np.testing.assert_allclose(
      model(batch, training=True)['kl_control_loss'], 0, atol=1e-5)

  lstm = model.decoder.cores[0].lstm
  rows = slice(lstm.input_depths[0] - 2, lstm.input_depths[0])
  kernel = lstm.kernels[0].numpy()
  kernel[rows] = 1.0
  lstm.kernels[0].assign(kernel)
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(model(batch, training=True)['kl_control_loss'])
  assert float(loss) > 1e-2
  gradient = tape.gradient(loss, lstm.kernels[0].value)
  assert np.abs(gradient[rows]).max() > 0
  assert not {id(w) for w in model.weights} & {id(w) for w in reference.weights}


@pytest.mark.slow
@pytest.mark.parametrize(('weight', 'warm_start', 'is_held'), [
    (9.0, 'begin.npz', True), (0.0, 'begin.npz', False), (9.0, None, False)])
def test_kl_control_holds_a_run_to_its_warm_start(
    tmp_path, monkeypatch, stand_in_critic, random_music_vae, weight,
    warm_start, is_held):
  class _Made(Exception):
    pass

  def make(config, **kwargs):
    if 'critic' in kwargs:
      raise _Made(kwargs['reference'])
    return MusicVAE(config, **kwargs)

  begin = random_music_vae(_CONFIG)
  magenta_weights.save(begin, tmp_path / 'begin.npz')
  monkeypatch.setattr(training, 'MusicVAE', make)
  with pytest.raises(_Made) as made:
    training.train(
        dataclasses.replace(_VA_CONFIG, kl_control_weight=weight), _corpus(),
        tmp_path / 'run', num_steps=1, critic=stand_in_critic(),
        warm_start=warm_start and tmp_path / warm_start)
  [reference] = made.value.args
  assert (reference is not None) == is_held
  if is_held:
    np.testing.assert_array_equal(
        reference.decoder.cores[0].output_projection.kernel.numpy(),
        begin.decoder.cores[0].output_projection.kernel.numpy())


_NOTHING_WORKS_ON_Z = dataclasses.replace(
    _VA_CONFIG, independence_weight=0.0, max_beta=0.0, va_weight=0.0,
    batch_size=64, transpose_range=(0, 0))


@pytest.fixture(scope='module')
def figures_of_z(tmp_path_factory, stand_in_critic):
  """Trains with changes to a config where nothing works on z: what z is like.

  Returns how far its spread is from the prior's, and R2 of VA from its mean.
  """
  corpus, critic = _corpus(80, held_out=False), stand_in_critic()
  corpus = dataclasses.replace(
      corpus, tokens=_batch(80)['tokens'].astype(np.int16))

  @functools.cache
  def function(**changes):
    config = dataclasses.replace(_NOTHING_WORKS_ON_Z, **changes)
    folder = tmp_path_factory.mktemp('z')
    training.train(config, corpus, folder, num_steps=150, critic=critic)
    va = MusicVAE(config, critic=critic).critic_va(corpus.tokens)[:, 0]
    mu, sigma = load(folder).encode(corpus.tokens, va)
    design = np.column_stack([mu, np.ones(len(mu))])
    rest = va - design @ np.linalg.lstsq(design, va, rcond=None)[0]
    assert va.std(0).min() > 0.1
    return (np.abs(np.log(np.mean(mu**2 + sigma**2, axis=0))).mean(),
            1 - (rest.var(0) / va.var(0)).mean())

  return function


@pytest.mark.slow
@pytest.mark.parametrize('change', [
    {'objective': 'wae_mmd', 'max_beta': 100.0},
    {'objective': 'wae_gan', 'max_beta': 5.0}])
def test_z_comes_to_its_prior(figures_of_z, change):
  assert figures_of_z(**change)[0] < 0.7 * figures_of_z()[0]


@pytest.mark.slow
def test_z_forgets_va(figures_of_z):
  assert figures_of_z(independence_weight=30.0)[1] < 0.7 * figures_of_z()[1]


def test_a_hierarchy_with_va_trains(tmp_path, stand_in_critic):
  corpus = _corpus()
  corpus = dataclasses.replace(
      corpus, tokens=np.repeat(corpus.tokens, 3, axis=-1))
  figures = training.train(
      _VA_TRIO, corpus, tmp_path, num_steps=2, critic=stand_in_critic(692),
      num_validation=0)
  assert np.isfinite(list(figures.values())).all()
  assert {'control/valence_r', 'control/arousal_r'} <= figures.keys()


def test_gradients_of_several_steps_make_one_change(tmp_path):
  run = functools.partial(
      training.train, _CONFIG, _corpus(held_out=False), tmp_path,
      gradient_accumulation_steps=3)
  weights = []
  for num_steps in (1, 2, 3):
    run(num_steps=num_steps)
    weights.append(_weights(tmp_path))
  assert all((weights[0][n] == weights[1][n]).all() for n in weights[0])
  assert all((weights[0][n] != weights[2][n]).any() for n in weights[0])


_DEALT_OUT = textwrap.dedent('''
    import dataclasses, json, pathlib, sys
    import numpy as np
    import tensorflow as tf
    name, config, run_dir = sys.argv[1:]
    if name == 'mirrored':
      cpu, = tf.config.list_physical_devices('CPU')
      tf.config.set_logical_device_configuration(
          cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
      mirrored = tf.distribute.MirroredStrategy
      tf.distribute.MirroredStrategy = lambda: mirrored(['CPU:0', 'CPU:1'])
    from va_magenta.va_to_music import configs
    from va_magenta.training.music_vae import examples
    from va_magenta.training.music_vae import train as training

    strategy = training.Strategy(name)
    import keras
    config = json.loads(config)
    config = configs.Config(**{
        k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
    critic = config.control_depth and keras.Sequential([
        keras.Input((None, 90)), keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2, 'tanh')])
    if critic:
      with strategy.scope():
        random = keras.random.SeedGenerator(7)
      strategy.part_randomness(random)
      drawn = strategy._mirrored.run(
          lambda: keras.random.normal((2,), seed=random)).values
      assert np.all(drawn[0] != drawn[1])
    else:
      # As replicas draw numbers of their own, none must matter.
      keras.random.normal = lambda shape, **_: keras.ops.zeros(shape)
    tokens = np.random.default_rng(0).integers(0, 90, (12, 4, 1))
    corpus = examples.Examples(
        tokens.astype(np.int16), np.arange(12, dtype=np.int32),
        ['piece 0'] * 12)
    training.train(config, corpus, run_dir, num_steps=4, critic=critic,
                   strategy=strategy, num_validation=0)
    ''')


def _deal_out(name, config, run_dir, **environment):
  return subprocess.Popen(
      [sys.executable, '-W', 'ignore', '-c', _DEALT_OUT, name,
       json.dumps(dataclasses.asdict(config)), str(run_dir)],
      env=os.environ | {'CUDA_VISIBLE_DEVICES': '', **environment},
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _wait_for(*processes):
  for process in processes:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


@pytest.fixture
def one_device(tmp_path, monkeypatch):
  """(folder of a run of four steps, folder of its first two)."""
  import keras

  monkeypatch.setattr(
      keras.random, 'normal', lambda shape, **_: keras.ops.zeros(shape))
  corpus = _corpus(12)
  tokens = np.random.default_rng(0).integers(0, 90, (12, 4, 1))
  corpus = dataclasses.replace(
      corpus, tokens=tokens.astype(np.int16), names=['piece 0'] * 12)
  whole, half = tmp_path / 'whole', tmp_path / 'half'
  run = functools.partial(
      training.train, _CONFIG, corpus, whole, num_validation=0)
  run(num_steps=2)
  shutil.copytree(whole, half)
  run(num_steps=4)
  return whole, half


def _check_alike(run_dir, other):
  """Checks that runs of several devices end alike, but for rounding."""
  other = _weights(other)
  for name, array in _weights(run_dir).items():
    np.testing.assert_allclose(array, other[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_batches_may_be_dealt_out_to_devices(tmp_path, one_device):
  whole, half = one_device
  _wait_for(_deal_out('mirrored', _VA_CONFIG, tmp_path / 'va'),
            _deal_out('mirrored', _CONFIG, half))
  _check_alike(half, whole)
  # The state goes on without the strategy, after as many steps.
  with np.load(tmp_path / 'va' / 'train' / 'state.npz') as state:
    assert state['step'] == 4
  assert all(np.isfinite(a).all() for a in _weights(tmp_path / 'va').values())


@pytest.mark.slow
def test_batches_may_be_dealt_out_to_workers(one_device):
  whole, half = one_device
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
    for one in sockets:
      one.bind(('localhost', 0))
    addresses = [f'localhost:{one.getsockname()[1]}' for one in sockets]
  # Another name of the folder tells who writes there.
  elsewhere = half.parent / 'elsewhere'
  shutil.copytree(half, elsewhere)
  before = {p: p.read_bytes() for p in elsewhere.rglob('*') if p.is_file()}
  _wait_for(*(
      _deal_out('multi_worker', _CONFIG, run_dir, TF_CONFIG=json.dumps({
          'cluster': {'worker': addresses},
          'task': {'type': 'worker', 'index': i}}))
      for i, run_dir in enumerate((half, elsewhere))))
  _check_alike(half, whole)
  assert before == {
      p: p.read_bytes() for p in elsewhere.rglob('*') if p.is_file()}


def test_workers_draw_numbers_of_their_own():
  import keras

  strategy, drawn = training.Strategy(), []
  for strategy.worker in range(2):
    random = keras.random.SeedGenerator(7)
    strategy.part_randomness(random)
    drawn.append(np.array(keras.random.normal((2,), seed=random)))
  assert (drawn[0] != drawn[1]).all()
  np.testing.assert_array_equal(
      drawn[0], keras.random.normal((2,), seed=keras.random.SeedGenerator(7)))


def test_workers_share_a_batch():
  tokens = _corpus().tokens
  whole, *shares = (
      training.Batches(tokens, _CONFIG, 0, 0, 3, share)[2][0]['tokens']
      for share in (slice(None), slice(0, None, 2), slice(1, None, 2)))
  assert [len(s) for s in shares] == [2, 2]
  np.testing.assert_array_equal(np.stack(shares, axis=1).reshape(4, 4, 1),
                                whole)


@pytest.mark.parametrize('tf_config', [
    None, '', '{}', '[]', 'null', '{"cluster": {"worker": ["a:1"]}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
])
def test_workers_are_told_by_tf_config(monkeypatch, tf_config):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  if tf_config is not None:
    monkeypatch.setenv('TF_CONFIG', tf_config)
  with pytest.raises(ValueError, match='needs an environment variable TF_CONF'):
    training.Strategy('multi_worker')


def test_a_chief_is_the_first_of_all_workers(monkeypatch):
  for task, place in (('chief', 0), 0), (('worker', 1), 2):
    monkeypatch.setenv('TF_CONFIG', json.dumps({
        'cluster': {'worker': ['a:1', 'b:1'], 'chief': ['c:1']},
        'task': dict(zip(('type', 'index'), task, strict=True))}))
    assert training._place_among_workers() == (place, 3)


@pytest.mark.parametrize(('changes', 'complaint'), [
    ({'num_workers': 3}, 'batch_size of 4 cannot be dealt out evenly to 3'),
    ({'name': 'mirrored'}, 'cannot accumulate gradients of mirrored devices'),
])
def test_a_batch_that_cannot_be_dealt_out_is_refused(
    tmp_path, changes, complaint):
  strategy = training.Strategy()
  vars(strategy).update(changes)
  with pytest.raises(ValueError, match=complaint):
    training.train(_CONFIG, _corpus(), tmp_path / 'run', num_steps=1,
                   strategy=strategy, gradient_accumulation_steps=2)
  assert not (tmp_path / 'run').exists()


def test_unknown_ways_to_train_are_refused(tmp_path):
  with pytest.raises(ValueError, match="strategy 'all'; known are: none, mir"):
    training.Strategy('all')
  with pytest.raises(ValueError, match="precision 'half'; known are: float32"):
    training.train(_CONFIG, _corpus(), tmp_path / 'run', num_steps=1,
                   precision='half')
  assert not (tmp_path / 'run').exists()
