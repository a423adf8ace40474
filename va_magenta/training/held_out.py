"""Estimates of what was held out, and what people's ratings say of them."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta.figures import metrics, plots
from va_magenta.va import AXES, Scale


def folds(
    groups: np.ndarray, num_folds: int, seed: int | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Rows to train on and rows to hold out, a group always together.

  Args:
    groups: [n].
    num_folds: how many.
    seed: deals the groups at random; None deals them by size.
  """
  from sklearn import model_selection

  return list(model_selection.GroupKFold(
      num_folds, shuffle=seed is not None, random_state=seed
  ).split(groups, groups=groups))


@dataclasses.dataclass
class HeldOut:
  """Estimates of n pieces by models that saw nothing of their group.

  Attributes:
    ratings: float64 [n, 2], in [-1, 1].
    fold: int [n], the fold in which a row was held out.
    estimates: float64 [n, 2] by what made them; NaN where there is none.
  """

  ratings: np.ndarray
  fold: np.ndarray
  estimates: dict[str, np.ndarray]

  @classmethod
  def empty(cls, ratings: np.ndarray, names: Sequence[str], **fields):
    """Nothing estimated yet."""
    return cls(
        ratings, np.zeros(len(ratings), int),
        {name: np.full_like(ratings, np.nan) for name in names}, **fields)

  def figures(
      self, name: str, rows: np.ndarray | None = None,
      scale: Scale | None = None) -> dict[str, np.ndarray]:
    """Metrics of each fold, [folds] each.

    Args:
      name: of the estimates.
      rows: bool [n], which count; None for all.
      scale: that errors are stated on.
    """
    by_fold = []
    for fold in np.unique(self.fold):
      chosen = self.fold == fold if rows is None else rows & (self.fold == fold)
      by_fold.append(metrics.evaluate(
          self.ratings[chosen], self.estimates[name][chosen], scale))
    return {
        metric: np.array([figures[metric] for figures in by_fold])
        for metric in by_fold[0]}


def calibration_of(
    ratings: np.ndarray, held_out: np.ndarray) -> dict[str, dict[str, float]]:
  """What makes estimates of held-out pieces spread as their ratings do.

  Args:
    ratings: float64 [n, 2], valence and arousal.
    held_out: float64 [n, 2], estimates by models that did not see the piece.

  Returns:
    By axis: `mean` of the ratings, `slope` that stretches estimates about it,
    and `residual_std`, that of ratings about estimates.
  """
  return {
      axis: {
          'mean': float(ratings[:, i].mean()),
          'slope': float(
              ratings[:, i].std(ddof=1) / held_out[:, i].std(ddof=1)),
          'residual_std': float((ratings[:, i] - held_out[:, i]).std(ddof=1)),
      } for i, axis in enumerate(AXES)
  }


def auc(is_high: np.ndarray, estimate: np.ndarray) -> float:
  """Chance that a high piece is estimated above a low one."""
  from sklearn.metrics import roc_auc_score

  return float(roc_auc_score(is_high, estimate))


def plot_held_out(
    path: pathlib.Path, ratings: np.ndarray, estimates: np.ndarray,
    titles: Sequence[str], name: str):
  """Draws estimates of what was held out against people's ratings.

  Args:
    path: PNG file to write.
    ratings: float [n, 2], in [-1, 1].
    estimates: likewise.
    titles: of the two panels, valence and arousal.
    name: what the estimates are called.
  """
  with plots.drawing(path, 9, 4.6, dpi=100) as figure:
    for i, title in enumerate(titles):
      panel = figure.add_subplot(1, 2, i + 1)
      panel.plot((-1, 1), (-1, 1), color='#8d90a5', linewidth=.8)
      panel.scatter(ratings[:, i], estimates[:, i], s=6, alpha=.4, linewidths=0)
      panel.set(
          title=title, xlim=(-1, 1), ylim=(-1, 1), aspect='equal',
          xlabel='rated by people', ylabel=f'{name}, held out')
