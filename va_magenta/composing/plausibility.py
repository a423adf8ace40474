"""Which of several candidates are as people write, and which of these is taken.

  model = plausibility.load()
  scores = [model(tokens, chords) for tokens, chords in candidates]
  best, *others = plausibility.order(distances, scores)

Taking the candidate that is nearest in VA takes the extremes; taking the one
that is nearest to the mean of people's makes all alike. So both count: the
distance in VA, and how likely a person wrote the piece, by boosted trees that
were fitted on pieces that were asked for other targets. They see
`measures.SELECTION` only, so that something is left to judge by (see
`evaluation.people`).
"""

import os
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import measures
from va_magenta.trees import Trees

# What a unit of log odds is worth, as a distance in VA. Of .1, .2 and .4 (and
# the nearest of the likeliest 3 or 4 of 16) chosen on pieces by people of the
# training split: told from these with .90 (accompaniment), as of the likeliest
# alone, at nearly the control of .1.
_WORTH = 0.2


class Plausibility:
  """How likely a piece of band music is by people rather than generated."""

  def __init__(self, trees: Trees):
    self._trees = trees

  def __call__(self, tokens: np.ndarray, chords: np.ndarray) -> float:
    """Log odds that a piece is by people; about two milliseconds.

    Args:
      tokens: ints [steps, 4]; see `measures.TOKENS`.
      chords: ints [half bars]; likewise.

    Raises:
      ValueError: if they are no band; see `measures.of_band`.
    """
    return float(self._trees.predict(features(tokens, chords)[None])[0])


def features(tokens: np.ndarray, chords: np.ndarray) -> np.ndarray:
  """What the trees see: float32 [len(measures.SELECTION)]."""
  found = measures.of_band(tokens, chords)
  return np.array([found[name] for name in measures.SELECTION], np.float32)


def order(
    distances: Sequence[float], plausibilities: Sequence[float]) -> list[int]:
  """Which candidates to keep, the best first.

  Args:
    distances: of each candidate, from what was asked for.
    plausibilities: of each, log odds.

  Returns:
    Their indices.
  """
  cost = np.asarray(distances) - _WORTH * np.asarray(plausibilities)
  return np.argsort(cost, kind='stable').tolist()


def load(name_or_path: str | os.PathLike | None = None) -> Plausibility:
  """The model that `va_magenta_train_plausibility` wrote.

  Args:
    name_or_path: folder with config.json and weights.npz; the one that ships if
      None.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is damaged, or was made for other measures.
  """
  return checkpoints.load(name_or_path, checkpoints.PLAUSIBILITY, _build)


def _build(config: dict, arrays: dict) -> Plausibility:
  if tuple(config['measures']) != measures.SELECTION:
    raise ValueError('it was trained on other measures than are taken now')
  return Plausibility(Trees(arrays))
