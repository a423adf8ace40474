"""Which of several candidates are as people write, and which of these is taken.

  model = plausibility.load()
  scores = [model(tokens, chords) for tokens, chords in candidates]
  taken = plausibility.choose(distances, scores, num=1, least=model.least)

Taking the candidate that is nearest in VA takes the extremes; taking the one
that is nearest to the mean of people's makes all alike. So the nearest in VA is
taken of those that are as likely a person's as most of people's are. Boosted
trees say how likely; they were fitted on pieces that were asked for other
targets, and see `measures.SELECTION` only, so that something is left to judge
by (see `evaluation.people`).
"""

import os
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import measures
from va_magenta.trees import Trees

# So many of the candidates, the likeliest, are always to be chosen among.
_LEAST_SHARE = 0.25


class Plausibility:
  """How likely a piece of band music is by people rather than generated.

  Attributes:
    least: what most of people's pieces reach; see `choose`.
  """

  def __init__(self, trees: Trees, least: float):
    self._trees = trees
    self.least = least

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


def choose(
    distances: Sequence[float], plausibilities: Sequence[float], num: int = 1,
    *, least: float) -> list[int]:
  """The nearest in VA of the candidates that are as people write.

  Args:
    distances: of each candidate, from what was asked for.
    plausibilities: of each.
    num: how many to take.
    least: from which plausibility on one is as people write. If fewer than
      `num`, or than a quarter, of the candidates reach it, as many are chosen
      among all the same, the most plausible.

  Returns:
    Indices of `num` candidates, the nearest first.

  Raises:
    ValueError: if there are fewer candidates than `num`.
  """
  distances, plausibilities = np.asarray(distances), np.asarray(plausibilities)
  if not 0 <= num <= len(distances) or len(distances) != len(plausibilities):
    raise ValueError(
        f'{num} are to be taken of {len(distances)} distances and '
        f'{len(plausibilities)} plausibilities')
  by_plausibility = np.argsort(-plausibilities, kind='stable')
  number = max(
      int((plausibilities >= least).sum()), num,
      int(np.ceil(_LEAST_SHARE * len(distances))))
  eligible = np.sort(by_plausibility[:number])
  nearest = np.argsort(distances[eligible], kind='stable')  # pyright: ignore
  return eligible[nearest][:num].tolist()


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
  return Plausibility(Trees(arrays), float(config['least']))
