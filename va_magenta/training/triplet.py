"""A triplet network: an embedding in which what feels alike lies together.

  network = triplet.fit(features, valence, seed=0)
  embedded = network(features)  # [n, 100]

After Cheuk et al., "Regression-based music emotion prediction using triplet
neural networks" (IJCNN 2020): one layer, h = relu(z W + b), an axis of the VA
plane. Of three pieces the one whose rating is nearer to the anchor's shall also
lie nearer to it in the embedding; a regressor then reads the embedding.
"""

import keras
import numpy as np
from keras import ops

NUM_UNITS = 100
NUM_TRIPLETS = 10_000
# So much nearer must the positive's rating be, in units of the VA plane: one
# point on a scale of 1..9.
GAP = 0.25
MARGIN = 1.0
_BATCH_SIZE = 256
_NUM_EPOCHS = 10
_LEARNING_RATE = 1e-3


def mine(
    ratings: np.ndarray, num_triplets: int, seed: int, gap: float = GAP
) -> np.ndarray:
  """Draws pieces whose order by distance is plain.

  Args:
    ratings: float [n], valence or arousal.
    num_triplets: how many.
    seed: of the draw.
    gap: the positive's rating is nearer to the anchor's by more than this.

  Returns:
    int [num_triplets, 3]: rows of anchor, positive and negative.

  Raises:
    ValueError: if the ratings lie too close together for any triplet.
  """
  if np.ptp(ratings) <= gap:
    raise ValueError(
        f'ratings lie within {np.ptp(ratings):.3g}: triplets need more than '
        f'{gap:g}')
  rng = np.random.default_rng(seed)
  mined = np.empty((0, 3), int)
  while len(mined) < num_triplets:
    anchor, positive, negative = rng.integers(
        len(ratings), size=(3, 4 * num_triplets))
    to_positive, to_negative = (
        np.abs(ratings[anchor] - ratings[other])
        for other in (positive, negative))
    keep = (to_negative - to_positive > gap) & (anchor != positive)
    mined = np.concatenate(
        [mined, np.stack([anchor, positive, negative], axis=1)[keep]])
  return mined[:num_triplets]


def triplet_loss(embedded, margin: float = MARGIN):
  """How far the negative is from lying a margin farther than the positive.

  Args:
    embedded: [batch, 3, units]: anchor, positive, negative.
    margin: in Euclidean distance.

  Returns:
    Loss of each triplet, not negative, [batch].
  """
  anchor, positive, negative = ops.unstack(embedded, 3, axis=1)

  def distance(other):
    # The gradient of a root at 0 is infinite.
    return ops.sqrt(ops.sum(ops.square(anchor - other), axis=-1) + 1e-12)

  return ops.relu(distance(positive) - distance(negative) + margin)


def fit(
    features: np.ndarray,
    ratings: np.ndarray,
    *,
    seed: int,
    num_units: int = NUM_UNITS,
    num_triplets: int = NUM_TRIPLETS,
    num_epochs: int = _NUM_EPOCHS,
) -> keras.Model:
  """Trains the embedding of one axis.

  Args:
    features: float [n, features], normalised.
    ratings: float [n] in [-1, 1], valence or arousal.
    seed: of weights and triplets; the same gives the same network.
    num_units: of the embedding.
    num_triplets: drawn once.
    num_epochs: passes over them.

  Returns:
    A model [n, features] -> [n, num_units].
  """
  triplets = mine(ratings, num_triplets, seed)
  layer = keras.layers.Dense(
      num_units, activation='relu',
      kernel_initializer=keras.initializers.GlorotUniform(seed))
  network = keras.Sequential([keras.Input(features.shape[1:]), layer])
  trainer = keras.Sequential([keras.Input((3, features.shape[1])), layer])
  trainer.compile(
      keras.optimizers.Adam(_LEARNING_RATE),
      loss=lambda _, embedded: triplet_loss(embedded),
      jit_compile=False)  # Compiling takes longer than training.
  # The triplets are in random order already.
  trainer.fit(
      np.asarray(features, np.float32)[triplets], np.zeros(len(triplets)),
      batch_size=_BATCH_SIZE, epochs=num_epochs, shuffle=False, verbose=0)
  return network
