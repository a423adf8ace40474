"""People's ratings: their tables, and what estimates are compared with them by.

`metrics` of `va_magenta.evaluation` says how well estimates agree; here is what
the jobs that fit estimators to ratings share beside.
"""

import csv
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import files
from va_magenta.va import AXES


def read_table(
    path: str | os.PathLike, columns: Sequence[str]) -> list[dict[str, str]]:
  """Rows of a CSV file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it lacks one of the columns.
  """
  with open(path, newline='') as file:
    reader = csv.DictReader(file)
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
      raise ValueError(f'{path}: lacks the columns {sorted(missing)}')
    return list(reader)


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
  from matplotlib.figure import Figure

  figure = Figure(figsize=(9, 4.6), layout='constrained')
  for i, title in enumerate(titles):
    panel = figure.add_subplot(1, 2, i + 1)
    panel.plot((-1, 1), (-1, 1), color='#8d90a5', linewidth=.8)
    panel.scatter(ratings[:, i], estimates[:, i], s=6, alpha=.4, linewidths=0)
    panel.set(
        title=title, xlim=(-1, 1), ylim=(-1, 1), aspect='equal',
        xlabel='rated by people', ylabel=f'{name}, held out')
  with files.writing(path) as temporary:
    figure.savefig(temporary, dpi=100)
