"""The terms of a conditioned loss, each by what it means."""

import numpy as np
import pytest

from va_magenta.va_to_music import va_losses


@pytest.fixture(scope='module')
def tf():
  return pytest.importorskip('tensorflow')


@pytest.fixture
def seed():
  keras = pytest.importorskip('keras')
  return keras.random.SeedGenerator(0)


def test_distance_is_euclidean_and_has_a_gradient_everywhere(tf):
  va = tf.Variable([[0.3, -0.4], [0.5, 0.5]])
  with tf.GradientTape() as tape:
    distance = va_losses.distance(va, tf.constant([[0.0, 0.0], [0.5, 0.5]]))
  np.testing.assert_allclose(distance, [0.5, 0], atol=1e-5)
  np.testing.assert_allclose(
      tape.gradient(distance, va), [[0.6, -0.8], [0, 0]], atol=1e-5)


def test_divergence_is_that_of_whole_sequences_from_a_fixed_reference(tf):
  p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
  steps = 4
  logits = tf.Variable(tf.tile(tf.math.log(p)[None, None] + 3.0, (2, steps, 1)))
  reference = tf.Variable(tf.tile(tf.math.log(q)[None, None], (2, steps, 1)))
  with tf.GradientTape(persistent=True) as tape:
    divergence = va_losses.divergence(logits, reference)
  np.testing.assert_allclose(
      divergence, [steps * np.sum(p * np.log(p / q))] * 2)
  assert np.abs(tape.gradient(divergence, logits)).max() > 0.01
  assert tape.gradient(divergence, reference) is None
  np.testing.assert_allclose(
      va_losses.divergence(logits, logits), [0, 0], atol=1e-12)


def test_a_melody_of_three_notes_is_audible(tf):
  tokens = np.zeros((3, 6), int)
  tokens[1, [0, 2, 4]] = 89, 1, 2  # Two notes and a rest.
  tokens[2, [0, 2, 4]] = 89, 2, 2
  np.testing.assert_array_equal(
      va_losses.is_audible(np.eye(90, dtype=np.float32)[tokens]), [0, 0, 1])


def test_straight_through_is_the_draw_with_the_gradient_of_gumbel_softmax(
    tf, seed):
  # The expected gradient equals that of drawing with Gumbel noise and relaxing
  # that very draw (Jang et al. 2017), which we write down here.
  logits = tf.constant([1.0, 0.0, -1.0, 0.5])
  values = tf.constant([0.3, -1.0, 2.0, 0.1])
  temperature, n = 0.7, 200_000
  random = np.random.default_rng(1)
  batch = tf.Variable(tf.tile(logits[None], (n, 1)))
  gumbel = random.gumbel(size=(n, 4)).astype(np.float32)
  with tf.GradientTape() as tape:
    soft = tf.nn.softmax((batch + gumbel) / temperature)
    loss = tf.reduce_sum(soft * values)
  expected = np.mean(tape.gradient(loss, batch), axis=0)

  # The largest after Gumbel noise is a draw; this noise we throw away.
  drawn = np.eye(4, dtype=np.float32)[
      np.argmax(logits + random.gumbel(size=(n, 4)), axis=-1)]
  with tf.GradientTape() as tape:
    through = va_losses.straight_through(drawn, batch, temperature, seed)
    loss = tf.reduce_sum(through * values)
  np.testing.assert_allclose(through, drawn, atol=1e-6)
  ours = np.mean(tape.gradient(loss, batch), axis=0)
  assert np.abs(expected).max() > 0.05
  np.testing.assert_allclose(ours, expected, atol=3e-3)


def test_a_reversed_gradient_is_the_gradient_with_its_sign_changed(tf):
  x = tf.Variable([1.0, -2.0])
  with tf.GradientTape() as tape:
    y = va_losses.reverse_gradient(x)
    loss = tf.reduce_sum(y * y)
  np.testing.assert_array_equal(y, x)
  np.testing.assert_array_equal(tape.gradient(loss, x), [-2.0, 4.0])


def test_cross_correlation_is_one_by_chance_and_large_where_there_is_some():
  random = np.random.default_rng(0)
  z = random.normal(size=(400, 50)).astype(np.float32)
  independent = random.normal(size=(400, 2)).astype(np.float32)
  chance = float(va_losses.cross_correlation(z, independent))
  assert chance == pytest.approx(2, abs=0.8)  # One an axis.
  told = np.stack([z[:, 0], independent[:, 0]], axis=1)
  expected = chance / 2 + 400 / 50 * np.corrcoef(z[:, 0], told[:, 0])[0, 1]**2
  assert float(va_losses.cross_correlation(z, told)) == pytest.approx(
      expected, rel=0.2)
  # A constant correlates with nothing, and is no error.
  z[:, 3] = 7
  assert np.isfinite(va_losses.cross_correlation(z, told))


def test_mmd_is_zero_for_the_prior_and_grows_with_the_difference():
  random = np.random.default_rng(0)

  def draws(scale=1.0, shift=0.0):
    return (random.normal(size=(256, 16)) * scale + shift).astype(np.float32)

  def mean(**how):
    return np.mean([
        float(va_losses.mmd(draws(**how), draws())) for _ in range(8)])

  assert abs(mean()) < 1e-3
  assert mean(shift=0.3) > 5e-3
  assert mean(shift=0.6) > 2 * mean(shift=0.3)
  assert mean(scale=0.3) > 5e-3


def test_mmd_equals_its_definition_pair_by_pair():
  random = np.random.default_rng(0)
  z, prior = random.normal(size=(2, 5, 3))

  def kernel(x, y):
    widths = np.array([0.1, 0.2, 0.5, 1, 2, 5, 10]) * 2 * 3
    return np.mean(widths / (widths + np.sum((x - y)**2)))

  pairs = [(i, j) for i in range(5) for j in range(5)]
  within = np.mean([kernel(a[i], a[j]) for a in (z, prior)
                    for i, j in pairs if i != j]) * 2
  between = np.mean([kernel(z[i], prior[j]) for i, j in pairs])
  assert float(va_losses.mmd(
      z.astype(np.float32), prior.astype(np.float32))) == pytest.approx(
          within - 2 * between, abs=1e-5)


def test_a_discriminator_gives_one_number_an_example():
  discriminator = va_losses.Discriminator(6)
  z = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
  out = np.array(discriminator(z))
  assert out.shape == (5,) and out.std() > 0
  assert len(discriminator.trainable_weights) == 6
