"""The triplet network: what it draws, what it minimises, what it learns."""

import numpy as np
import pytest

from va_magenta.training import triplet


def test_the_positive_is_nearer_by_more_than_the_gap():
  ratings = np.random.default_rng(0).uniform(-1, 1, 50)
  mined = triplet.mine(ratings, 500, seed=1, gap=.3)
  assert mined.shape == (500, 3)
  anchor, positive, negative = ratings[mined].T
  assert (abs(anchor - negative) - abs(anchor - positive) > .3).all()
  assert (mined[:, 0] != mined[:, 1]).all()
  assert len(np.unique(mined, axis=0)) > 450
  np.testing.assert_array_equal(
      mined, triplet.mine(ratings, 500, seed=1, gap=.3))
  assert (mined != triplet.mine(ratings, 500, seed=2, gap=.3)).any()


def test_ratings_that_are_all_alike_give_no_triplets():
  with pytest.raises(ValueError, match='triplets need more than 0.25'):
    triplet.mine(np.array([.1, .2, .3]), 10, seed=0)


def test_loss_is_the_euclidean_margin():
  embedded = np.zeros((3, 3, 2), np.float32)
  embedded[0] = [0, 0], [3, 4], [0, 6]  # 5 and 6 away: right by the margin
  embedded[1] = [0, 0], [3, 4], [0, 2]
  embedded[2] = [1, 1], [1, 1], [9, 9]
  loss = np.asarray(triplet.triplet_loss(embedded, margin=1.0))
  np.testing.assert_allclose(loss, [0, 4, 0], atol=1e-5)


def test_the_embedding_puts_together_what_feels_alike():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(400, 8)).astype(np.float32)
  ratings = np.tanh(features[:, 3])  # one direction of eight
  network = triplet.fit(
      features[:300], ratings[:300], seed=0, num_units=10,
      num_triplets=5000, num_epochs=15)

  def share_in_order(points):
    anchor, positive, negative = points[100:][
        triplet.mine(ratings[300:], 2000, seed=5) + 200].swapaxes(0, 1)
    return np.mean(
        np.linalg.norm(anchor - positive, axis=1)
        < np.linalg.norm(anchor - negative, axis=1))

  embedded = np.asarray(network(features))
  assert embedded.shape == (400, 10)
  assert embedded.min() >= 0
  assert share_in_order(embedded) > share_in_order(features) + .04


def test_same_seed_same_network():
  rng = np.random.default_rng(0)
  features = rng.normal(size=(60, 5)).astype(np.float32)
  ratings = rng.uniform(-1, 1, 60)
  first, again, other = (
      np.asarray(triplet.fit(
          features, ratings, seed=seed, num_triplets=300, num_epochs=2
      )(features)) for seed in (1, 1, 2))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > .01
