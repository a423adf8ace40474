import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from va_magenta import checkpoints
from va_magenta.music_to_va import critic, symbolic
from va_magenta.training.critic import train, voices


def one_hot(tokens, depth=90):
  return np.eye(depth, dtype=np.float32)[tokens]


def tonal_melodies(num, num_steps=32, seed=0):
  """Walks in random scales and rhythms, int [num, num_steps]."""
  rng = np.random.default_rng(seed)
  melodies = []
  for _ in range(num):
    scale = [(0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)][rng.integers(2)]
    pitches = np.add.outer(12 * np.arange(8), scale).ravel() + rng.integers(12)
    pitches = pitches[pitches < 88]
    walk = rng.integers(15, 35) + np.cumsum(rng.integers(-2, 3, num_steps))
    tokens = 2 + pitches[np.clip(walk, 0, len(pitches) - 1)]
    starts = np.arange(num_steps) % rng.choice([1, 2, 4]) == 0
    starts &= rng.random(num_steps) < rng.uniform(.5, 1)
    melodies.append(np.where(starts, tokens, rng.random(num_steps) < .1))
  return np.stack(melodies).astype(int)


@pytest.fixture(scope='module')
def model():
  return critic.load()


@pytest.fixture(scope='module')
def of_trios():
  return critic.load(critic.shipped(num_outputs=3))


@pytest.fixture(scope='module')
def random_model():
  keras.utils.set_random_seed(0)
  return critic.Critic(mean=(.1, -.1), slope=(2, 3))


@pytest.mark.parametrize('num_steps', [16, 32, 256])
def test_any_length_gives_a_point(model, num_steps):
  x = one_hot(tonal_melodies(3, num_steps))
  assert model(x).shape == (3, 2)
  assert np.isfinite(model(x)).all()


def test_one_reads_the_melody_of_a_trio_another_the_bass_too(model, of_trios):
  melody = one_hot(tonal_melodies(2, 256))
  rng = np.random.default_rng(0)
  bass, other = one_hot(rng.integers(0, 90, (2, 2, 256)))
  drums = one_hot(rng.integers(0, 512, (2, 256)), 512)
  both = np.concatenate([melody, bass], axis=-1)
  trio = np.concatenate([both, drums], axis=-1)
  np.testing.assert_array_equal(model(trio), model(melody))
  np.testing.assert_array_equal(of_trios(trio), of_trios(both))
  assert np.abs(of_trios(both) - of_trios(
      np.concatenate([melody, other], axis=-1))).max() > .01


def test_intervals_are_counted_where_voices_sound_together():
  rng = np.random.default_rng(0)
  lower, upper = rng.integers(0, 13, (2, 3, 20))  # 12 is silence.
  expected = np.zeros((3, 12))
  for i in range(3):
    for low, high in zip(lower[i], upper[i], strict=True):
      if max(low, high) < 12:
        expected[i, (high - low) % 12] += 1 / 20
  classes = np.eye(13, 12, dtype=np.float32)
  np.testing.assert_allclose(
      critic.intervals(classes[lower], classes[upper]), expected, atol=1e-6)


def test_call_is_regress_stretched(random_model):
  x = one_hot(tonal_melodies(4))
  np.testing.assert_allclose(
      random_model(x),
      (random_model.regress(x) - np.array([.1, -.1])) * [2, 3], atol=1e-5)


def test_carried_is_the_recurrence():
  rng = np.random.default_rng(0)
  keep, start = rng.random((2, 2, 40))
  keep[0, ::7] = 0  # A new note for sure.
  keep[1, ::5] = 1
  state, expected = np.zeros(2), []
  for t in range(40):
    state = start[:, t] + keep[:, t] * state
    expected.append(state)
  carried = np.asarray(critic.carried(keep.astype(np.float32)))
  np.testing.assert_allclose(
      np.einsum('btj,bj->bt', carried, start), np.stack(expected, 1),
      atol=2e-3)


def test_silence_has_a_finite_gradient(random_model):
  for token in (0, 1):
    x = tf.Variable(one_hot(np.full((1, 32), token)))
    with tf.GradientTape() as tape:
      total = tf.reduce_sum(random_model(x))
    assert np.isfinite(tape.gradient(total, x)).all()


def test_the_gradient_is_that_of_differences(random_model):
  x = tf.constant(.9 * one_hot(tonal_melodies(1)) + .1 / 90)
  direction = np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
  direction *= x.numpy()  # So that no token becomes impossible.
  with tf.GradientTape() as tape:
    tape.watch(x)
    valence = random_model(x)[0, 0]
  slope = np.sum(tape.gradient(valence, x) * direction)
  step = 2e-3
  above, below = (
      float(random_model(x + sign * step * direction)[0, 0])
      for sign in (1, -1))
  assert slope == pytest.approx(
      (above - below) / (2 * step), rel=.05, abs=5e-4)


@pytest.mark.parametrize('num_outputs', [1, 3])
def test_what_is_shipped_is_frozen_and_small(num_outputs):
  folder = critic.shipped(num_outputs)
  model = critic.load(folder)
  assert not model.trainable_variables
  assert not model.trainable
  assert sum(file.stat().st_size for file in folder.iterdir()) < 2e6


def test_it_can_be_a_part_of_a_loss(model):
  """Gradients pass through, in a compiled function, and its weights stay."""
  x = tf.Variable(one_hot(tonal_melodies(4)))

  @tf.function
  def gradient():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf.norm(model(x, training=True) - [.5, .5], axis=1))
    return tape.gradient(loss, x)

  before = model.get_weights()
  assert np.abs(gradient()).max() > 1e-4
  for old, new in zip(before, model.get_weights(), strict=True):
    np.testing.assert_array_equal(old, new)


def test_dense_melodies_are_more_aroused_than_sparse_ones(model):
  eighths = np.zeros((1, 32), int)
  eighths[0, ::2] = 2 + 48 + np.array([0, 4, 7, 12] * 4)
  halves = np.zeros((1, 32), int)
  halves[0, ::8] = 2 + 36 + np.array([0, 3, 7, 0])
  assert (model(one_hot(eighths)) - model(one_hot(halves)))[0, 1] > .3


def test_sure_probabilities_are_read_as_the_tokens(model):
  tokens = tonal_melodies(50)
  hard = np.asarray(model(one_hot(tokens)))
  soft = np.asarray(model(.97 * one_hot(tokens) + .03 / 90))
  assert np.abs(soft - hard).mean() < .5 * hard.std(axis=0).min()
  for axis in range(2):
    assert np.corrcoef(soft[:, axis], hard[:, axis])[0, 1] > .9


@pytest.mark.parametrize('token', [0, 1])
def test_the_gradient_of_sure_tokens_tells_what_another_would_change(
    model, token):
  """As a straight-through estimator asks: of one-hots, not of mixtures."""
  tokens = tonal_melodies(200)
  step = np.random.default_rng(0).integers(32, size=len(tokens))
  other = tokens.copy()
  other[np.arange(len(tokens)), step] = token
  x, swapped = tf.constant(one_hot(tokens)), one_hot(other)
  is_other = (tokens != other).any(axis=1)
  assert is_other.sum() > 50
  for axis in range(2):
    with tf.GradientTape() as tape:
      tape.watch(x)
      total = tf.reduce_sum(model(x)[:, axis])
    expected = np.sum(tape.gradient(total, x) * (swapped - x), axis=(1, 2))
    change = (model(swapped) - model(x)).numpy()[:, axis]
    assert np.corrcoef(expected[is_other], change[is_other])[0, 1] > .5


@pytest.mark.parametrize('axis', [0, 1])
@pytest.mark.parametrize('num_outputs', [1, 3])
def test_the_judge_follows_the_gradient(num_outputs, axis):
  """The judge was fitted to people's ratings that taught nothing here."""
  model = critic.load(critic.shipped(num_outputs))
  judge = symbolic.load(checkpoints.path('symbolic_va') / 'judge')
  bass = np.maximum(tonal_melodies(25, seed=2) - 12, 0)
  tokens = np.stack(
      [tonal_melodies(25, seed=1), bass], axis=-1)[..., :model.num_voices]

  def judged(tokens):
    return judge.regress(np.stack([
        voices.features_of(t) for t in tokens]))[:, axis]

  up, down = (
      judged(train.gradient_ascent(model, tokens, axis, sign, seed=0))
      for sign in (1, -1))
  assert np.mean(up - down) > .05
  assert np.mean(up > down) > .7


def test_what_is_saved_is_loaded(random_model, tmp_path):
  critic.save(random_model, tmp_path)
  x = one_hot(tonal_melodies(5))
  loaded = critic.load(tmp_path)
  np.testing.assert_allclose(loaded(x), random_model(x), atol=1e-2)
  assert not loaded.trainable
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'config.json', 'weights.npz']


def test_load_says_what_is_wrong(random_model, tmp_path):
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    critic.load(tmp_path)
  critic.save(random_model, tmp_path)
  config = (tmp_path / 'config.json').read_text()
  (tmp_path / 'config.json').write_text(json.dumps({'calibration': {}}))
  with pytest.raises(ValueError, match=f'{tmp_path}.*writes it anew'):
    critic.load(tmp_path)
  (tmp_path / 'config.json').write_text(config)
  with np.load(tmp_path / 'weights.npz') as arrays:
    weights = dict(arrays)
  np.savez(tmp_path / 'weights.npz', **{**weights, '0': np.zeros((3, 3))})
  with pytest.raises(ValueError, match='is not a critic of this version'):
    critic.load(tmp_path)
  (tmp_path / 'weights.npz').write_bytes(b'PK half a file')
  with pytest.raises(ValueError, match='not a whole .npz'):
    critic.load(tmp_path)
