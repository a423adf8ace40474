"""Estimates from notes and from sound -> one label, and how sure it is.

  fusions = fusion.load()
  label, std = fusions['piece'].apply(estimates)

`symbolic` estimates from notes, the audio teacher from their sound. How much
each counts is learned from pieces that people rated, separately for each axis:

  label = b + w . (symbolic valence, symbolic arousal, audio valence, audio
  arousal)

by least squares, once with audio and once without. All four estimates may speak
to either axis, because the errors are mixed up: estimates of valence from
synthesised MIDI are largely arousal.

The label's spread is the standard deviation of what people said about it, from
pieces that were held out with all of their group. They agree more on extremes,
so it depends on where the label lies, by maximum likelihood of a Gaussian:

  log std^2 = s . (1, label's valence^2, label's arousal^2)
"""

import dataclasses
import json
import os

import numpy as np

from va_magenta import checkpoints, files

# Columns of what `fit` and `Fusion.apply` take.
ESTIMATES = (
    'symbolic_valence', 'symbolic_arousal', 'audio_valence', 'audio_arousal')
# What the labels of a table are made with: whole pieces, and 2-bar windows.
KINDS = ('piece', 'window')
_SYMBOLIC, _AUDIO = slice(0, 2), slice(2, 4)
_MIN_VARIANCE = 1e-6
# Least squares is of no use for a handful of ratings.
_MIN_PIECES = 20


@dataclasses.dataclass(frozen=True)
class Line:
  """A linear estimate of valence and arousal.

  Attributes:
    bias: float64 [2].
    weights: float64 [k, 2].
  """

  bias: np.ndarray
  weights: np.ndarray

  def __call__(self, estimates: np.ndarray) -> np.ndarray:
    """Labels [n, 2] of estimates [n, k]."""
    return self.bias + estimates @ self.weights

  @classmethod
  def fit(cls, estimates: np.ndarray, ratings: np.ndarray) -> 'Line':
    """Least squares of [n, 2] on [n, k]."""
    mean = estimates.mean(axis=0)
    weights, *_ = np.linalg.lstsq(
        estimates - mean, ratings - ratings.mean(axis=0), rcond=None)
    return cls(ratings.mean(axis=0) - mean @ weights, weights)


@dataclasses.dataclass(frozen=True)
class Spread:
  """How far from a label people's ratings lie, by where it lies.

  Attributes:
    weights: float64 [3, 2]: of 1 and of the squares of valence and arousal, in
      the logarithm of the variance of valence and of arousal.
  """

  weights: np.ndarray

  def __call__(self, labels: np.ndarray) -> np.ndarray:
    """Standard deviations [n, 2] about labels [n, 2]."""
    return np.exp(_spread_inputs(labels) @ self.weights / 2)

  @classmethod
  def fit(cls, labels: np.ndarray, ratings: np.ndarray) -> 'Spread':
    """The most likely one, of [n, 2] and [n, 2]."""
    from scipy import optimize

    inputs = _spread_inputs(labels)
    weights = []
    for square in ((ratings - labels)**2).T:
      square = square + _MIN_VARIANCE  # Who errs nowhere has a logarithm too.

      def nll(w, square=square):
        ratio = square * np.exp(-inputs @ w)
        return (np.mean(inputs @ w + ratio),
                inputs.T @ (1 - ratio) / len(ratio))

      start = np.array([np.log(square.mean()), 0, 0])
      weights.append(optimize.minimize(nll, start, jac=True).x)
    return cls(np.array(weights).T)


def _spread_inputs(labels: np.ndarray) -> np.ndarray:
  return np.concatenate([np.ones((len(labels), 1)), labels**2], axis=1)


@dataclasses.dataclass(frozen=True)
class Fusion:
  """Labels from estimates.

  Attributes:
    symbolic: label from the notes.
    both: label from notes and audio.
    symbolic_spread: about a label from the notes.
    both_spread: about a label from both.
  """

  symbolic: Line
  both: Line
  symbolic_spread: Spread
  both_spread: Spread

  def apply(self, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and their standard deviations.

    Args:
      estimates: float [n, 4], columns as in `ESTIMATES`; audio NaN where there
        is none.

    Returns:
      Labels, float64 [n, 2], valence and arousal in [-1, 1]; and their standard
      deviations, float64 [n, 2]. NaN where there is no symbolic estimate.
    """
    estimates = np.asarray(estimates, np.float64)
    has_audio = _has_audio(estimates)[:, None]
    labels = np.where(
        has_audio, self.both(estimates), self.symbolic(estimates[:, _SYMBOLIC])
    ).clip(-1, 1)
    return labels, np.where(
        has_audio, self.both_spread(labels), self.symbolic_spread(labels))


def _has_audio(estimates: np.ndarray) -> np.ndarray:
  """Whether audio is there, bool [n]."""
  return ~np.isnan(estimates[:, _AUDIO]).any(axis=1)


def fit(
    estimates: np.ndarray, ratings: np.ndarray, groups: np.ndarray,
    num_folds: int = 10) -> Fusion:
  """Fits to rated pieces how much each estimate counts.

  Args:
    estimates: float [n, 4], columns as in `ESTIMATES`. They must come from
      models that have not seen the piece: out-of-fold, or trained on other
      data. Audio is NaN where there is none.
    ratings: float [n, 2], people's valence and arousal in [-1, 1].
    groups: [n]; pieces of one group share material and are held out together.
    num_folds: at most the number of groups.

  Returns:
    A Fusion; one that ignores audio if fewer than 20 pieces have it.

  Raises:
    ValueError: if shapes or ranges are wrong, or there are too few pieces.
  """
  estimates = np.asarray(estimates, np.float64)
  ratings = np.asarray(ratings, np.float64)
  groups = np.asarray(groups)
  n = len(ratings)
  if (estimates.shape, ratings.shape, groups.shape) != ((n, 4), (n, 2), (n,)):
    raise ValueError(
        'fusion takes estimates [n, 4], ratings [n, 2] and groups [n], got '
        f'{estimates.shape}, {ratings.shape} and {groups.shape}')
  if not (np.abs(ratings) <= 1).all():
    raise ValueError('ratings must lie in [-1, 1]')
  if not np.isfinite(estimates[:, _SYMBOLIC]).all():
    raise ValueError('symbolic estimates must be finite')
  if n < _MIN_PIECES or len(np.unique(groups)) < 2:
    raise ValueError(
        f'fusion takes {_MIN_PIECES} rated pieces in 2 groups at least, got '
        f'{n} in {len(np.unique(groups))}')

  symbolic, symbolic_spread = _fit(
      estimates[:, _SYMBOLIC], ratings, groups, num_folds)
  has_audio = _has_audio(estimates)
  if np.count_nonzero(has_audio) < _MIN_PIECES or (
      len(np.unique(groups[has_audio])) < 2):
    both = Line(
        symbolic.bias, np.concatenate([symbolic.weights, np.zeros((2, 2))]))
    return Fusion(symbolic, both, symbolic_spread, symbolic_spread)
  both, both_spread = _fit(
      estimates[has_audio], ratings[has_audio], groups[has_audio], num_folds)
  return Fusion(symbolic, both, symbolic_spread, both_spread)


def _fit(
    estimates: np.ndarray, ratings: np.ndarray, groups: np.ndarray,
    num_folds: int) -> tuple[Line, Spread]:
  """A line, and the spread about what such lines say of other groups."""
  from sklearn import model_selection

  labels = np.empty_like(ratings)
  folds = model_selection.GroupKFold(min(num_folds, len(np.unique(groups))))
  for train, test in folds.split(estimates, groups=groups):
    labels[test] = Line.fit(estimates[train], ratings[train])(estimates[test])
  return Line.fit(estimates, ratings), Spread.fit(labels.clip(-1, 1), ratings)


def save(path: str | os.PathLike, fusions: dict[str, Fusion]):
  """Writes what `load` reads.

  Args:
    path: of a JSON file in a folder that exists.
    fusions: one for each of `KINDS`.
  """
  content = {
      kind: {
          'lines': {
              name: {'bias': line.bias.tolist(),
                     'weights': line.weights.tolist()}
              for name, line in (('symbolic', fusions[kind].symbolic),
                                 ('both', fusions[kind].both))
          },
          'spread': {
              'symbolic': fusions[kind].symbolic_spread.weights.tolist(),
              'both': fusions[kind].both_spread.weights.tolist(),
          },
      } for kind in KINDS
  }
  with files.writing(path) as temporary:
    temporary.write_text(json.dumps(content, indent=1) + '\n')


def load(path: str | os.PathLike | None = None) -> dict[str, Fusion]:
  """A Fusion for each of `KINDS`.

  Args:
    path: what `save` wrote; by default the shipped one.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged.
  """
  return checkpoints.load(
      path, checkpoints.FUSION, lambda content, _: {
          kind: _read(content[kind]) for kind in KINDS})


def _read(content: dict) -> Fusion:
  def array(values, *shape):
    values = np.array(values, np.float64)
    if values.shape != shape or not np.isfinite(values).all():
      raise ValueError(f'{values.tolist()} where {list(shape)} numbers belong')
    return values

  lines = [
      Line(array(content['lines'][name]['bias'], 2),
           array(content['lines'][name]['weights'], num_inputs, 2))
      for name, num_inputs in (('symbolic', 2), ('both', 4))]
  spreads = [
      Spread(array(content['spread'][name], 3, 2))
      for name in ('symbolic', 'both')]
  return Fusion(*lines, *spreads)
