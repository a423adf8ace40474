"""What the notes say and what is heard -> one label, and how sure it is.

  fusions = fusion.load()
  label, std = fusions['piece'].apply(estimates)

`symbolic` reads notes, the audio teacher hears them played. How much each is to
be believed is learned from pieces that people rated, separately for each axis:

  label = b + w . (symbolic valence, symbolic arousal, audio valence, audio
  arousal)

by least squares, once with audio and once without. All four estimates may speak
to either axis, because the errors are mixed up: what is heard as valence on
synthesised MIDI is largely arousal.

The label's spread is the standard deviation of what people said about it, from
pieces that were held out with all of their group. Where both were asked, the
variance grows with the square of their disagreement d (of the labels that each
would give alone):

  std^2 = v0 + v1 d^2

v0 : v1 by maximum likelihood of a Gaussian, and the size right in the mean.
"""

import dataclasses
import json
import math
import os
import pathlib

import numpy as np

from va_magenta import checkpoints, files

AXES = ('valence', 'arousal')
# Columns of what `fit` and `Fusion.apply` take.
ESTIMATES = (
    'symbolic_valence', 'symbolic_arousal', 'audio_valence', 'audio_arousal')
# What the labels of a table are made with: whole pieces, and 2-bar windows.
KINDS = ('piece', 'window')
_SYMBOLIC, _AUDIO, _BOTH = slice(0, 2), slice(2, 4), slice(0, 4)
_MIN_VARIANCE = 1e-4
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
class Lines:
  """A label from the notes, from audio, and from both."""

  symbolic: Line
  audio: Line
  both: Line

  @classmethod
  def fit(cls, estimates: np.ndarray, ratings: np.ndarray) -> 'Lines':
    """Fits what the estimates allow: without audio, both are the notes'."""
    symbolic = Line.fit(estimates[:, _SYMBOLIC], ratings)
    heard = ~np.isnan(estimates[:, _AUDIO]).any(axis=1)
    if np.count_nonzero(heard) < _MIN_PIECES:
      return cls(symbolic, *_deaf(symbolic))
    estimates, ratings = estimates[heard], ratings[heard]
    return cls(
        symbolic, Line.fit(estimates[:, _AUDIO], ratings),
        Line.fit(estimates, ratings))

  def apply(
      self, estimates: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [n, 2], disagreement [n, 2], and whether audio is there [n]."""
    heard = ~np.isnan(estimates[:, _AUDIO]).any(axis=1)
    alone = self.symbolic(estimates[:, _SYMBOLIC])
    labels = np.where(heard[:, None], self.both(estimates), alone)
    disagreement = np.where(
        heard[:, None], alone - self.audio(estimates[:, _AUDIO]), 0)
    return labels, disagreement, heard


def _deaf(symbolic: Line) -> tuple[Line, Line]:
  """Audio that says nothing, and both with nothing said by audio."""
  zeros = np.zeros((2, 2))
  return (
      Line(symbolic.bias, zeros),
      Line(symbolic.bias, np.concatenate([symbolic.weights, zeros])))


@dataclasses.dataclass(frozen=True)
class Fusion:
  """Labels from estimates.

  Attributes:
    lines: label from the notes, from audio and from both.
    symbolic_variance: float64 [2]: of people's ratings about a label without
      audio.
    both_variance: float64 [2, 2]: v0 and v1, each for valence and arousal.
    held_out: figures on held-out groups, by name; for the card.
  """

  lines: Lines
  symbolic_variance: np.ndarray
  both_variance: np.ndarray
  held_out: dict[str, float] = dataclasses.field(default_factory=dict)

  def apply(self, estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and their standard deviations.

    Args:
      estimates: float [n, 4], columns as in `ESTIMATES`; audio NaN where it was
        not heard.

    Returns:
      Labels, float64 [n, 2], valence and arousal in [-1, 1]; and their standard
      deviations, float64 [n, 2]. NaN where there is no symbolic estimate.
    """
    estimates = np.asarray(estimates, np.float64)
    labels, disagreement, heard = self.lines.apply(estimates)
    variance = np.where(
        heard[:, None],
        self.both_variance[0] + self.both_variance[1] * disagreement**2,
        self.symbolic_variance)
    variance = np.where(np.isnan(labels), np.nan, variance)
    return labels.clip(-1, 1), np.sqrt(variance)


def symbolic_alone(residual_std: np.ndarray) -> Fusion:
  """Labels that are the symbolic estimates, whatever is heard.

  Args:
    residual_std: float [2], `SymbolicVA.residual_std`.
  """
  symbolic = Line(np.zeros(2), np.eye(2))
  variance = np.asarray(residual_std, np.float64)**2
  return Fusion(
      Lines(symbolic, *_deaf(symbolic)), variance,
      np.stack([variance, np.zeros(2)]))


def fit(
    estimates: np.ndarray, ratings: np.ndarray, groups: np.ndarray,
    num_folds: int = 10) -> Fusion:
  """Learns from rated pieces whom to believe.

  Args:
    estimates: float [n, 4], columns as in `ESTIMATES`. They must come from
      models that have not seen the piece: out-of-fold, or trained on other
      data. Audio is NaN where it was not heard.
    ratings: float [n, 2], people's valence and arousal in [-1, 1].
    groups: [n]; pieces of one group share material and are held out together.
    num_folds: at most the number of groups.

  Raises:
    ValueError: if shapes or ranges are wrong, or there are too few pieces.
  """
  from sklearn import model_selection

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
  num_folds = min(num_folds, len(np.unique(groups)))
  if n < _MIN_PIECES or num_folds < 2:
    raise ValueError(
        f'fusion takes {_MIN_PIECES} rated pieces in 2 groups at least, got '
        f'{n} in {len(np.unique(groups))}')

  deaf = estimates.copy()
  deaf[:, _AUDIO] = np.nan
  symbolic_labels = np.empty_like(ratings)
  labels, disagreement = np.empty_like(ratings), np.empty_like(ratings)
  heard = np.empty(n, bool)
  for train, test in model_selection.GroupKFold(num_folds).split(
      estimates, groups=groups):
    lines = Lines.fit(estimates[train], ratings[train])
    labels[test], disagreement[test], heard[test] = lines.apply(estimates[test])
    symbolic_labels[test], _, _ = lines.apply(deaf[test])

  symbolic_residuals = ratings - symbolic_labels
  symbolic_variance = np.maximum(
      np.mean(symbolic_residuals**2, axis=0), _MIN_VARIANCE)
  both_variance = np.stack([symbolic_variance, np.zeros(2)])
  if np.count_nonzero(heard) >= _MIN_PIECES:
    both_variance = np.stack([
        _variance(residual, d) for residual, d in zip(
            (ratings - labels)[heard].T, disagreement[heard].T, strict=True)
    ], axis=1)
  fusion = Fusion(
      Lines.fit(estimates, ratings), symbolic_variance, both_variance)
  figures = _figures('symbolic', ratings, symbolic_labels, np.broadcast_to(
      symbolic_variance, ratings.shape))
  if heard.any():
    figures |= _figures(
        'both', ratings[heard], labels[heard],
        both_variance[0] + both_variance[1] * disagreement[heard]**2)
  return dataclasses.replace(fusion, held_out=figures)


def _variance(residual: np.ndarray, disagreement: np.ndarray) -> np.ndarray:
  """v0, v1 >= 0 of the most likely variance v0 + v1 d^2, right in the mean."""
  from scipy import optimize

  design = np.stack([np.ones_like(disagreement), disagreement**2], axis=1)
  variance = np.full(len(residual), max(np.mean(residual**2), _MIN_VARIANCE))
  # A squared Gaussian scatters about its variance in proportion to it.
  for _ in range(20):
    found, _ = optimize.nnls(
        design / variance[:, None], residual**2 / variance)
    variance = np.maximum(design @ found, _MIN_VARIANCE)
  found *= np.mean(residual**2) / np.mean(variance)
  found[0] = max(found[0], _MIN_VARIANCE)
  return found


def _figures(
    source: str, ratings: np.ndarray, labels: np.ndarray, variance: np.ndarray
) -> dict[str, float]:
  """r, R2 and the share of ratings within one std (of a Gaussian: 0.68)."""
  residual = ratings - labels
  total = ((ratings - ratings.mean(axis=0))**2).sum(axis=0)
  figures = {'num_pieces': len(ratings)}
  for i, axis in enumerate(AXES):
    figures |= {
        f'{axis}/pearson_r': np.corrcoef(ratings[:, i], labels[:, i])[0, 1],
        f'{axis}/r2': 1 - (residual[:, i]**2).sum() / total[i],
        f'{axis}/within_std': np.mean(residual[:, i]**2 <= variance[:, i]),
    }
  return {f'{source}/{name}': float(v) for name, v in figures.items()}


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
              for name, line in vars(fusions[kind].lines).items()
          },
          'symbolic_variance': fusions[kind].symbolic_variance.tolist(),
          'both_variance': fusions[kind].both_variance.tolist(),
          # JSON knows no NaN.
          'held_out': {name: value if math.isfinite(value) else None
                       for name, value in fusions[kind].held_out.items()},
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
  path = pathlib.Path(path or shipped_path())
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    return {kind: _read(content[kind]) for kind in KINDS}
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise ValueError(
        f'{path} is not a fusion of estimates, or is damaged: '
        f'{type(error).__name__}: {error}') from error


def shipped_path() -> pathlib.Path:
  """Where the fusion stands that ships, if one does."""
  return checkpoints.path('fusion_va') / 'fusion.json'


def _read(content: dict) -> Fusion:
  def array(values, *shape):
    values = np.array(values, np.float64)
    if values.shape != shape or not np.isfinite(values).all():
      raise ValueError(f'{values.tolist()} where {list(shape)} numbers belong')
    return values

  lines = {
      name: Line(array(content['lines'][name]['bias'], 2),
                 array(content['lines'][name]['weights'], inputs, 2))
      for name, inputs in (('symbolic', 2), ('audio', 2), ('both', 4))
  }
  return Fusion(
      Lines(**lines), array(content['symbolic_variance'], 2),
      array(content['both_variance'], 2, 2),
      {name: math.nan if value is None else float(value)
       for name, value in content['held_out'].items()})
