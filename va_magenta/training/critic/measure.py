"""Measures a critic against people, its teacher and its own gradient."""

import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta.figures import metrics, plots
from va_magenta.figures.tables import table
from va_magenta.music.grid import NUM_TOKENS, STEPS_PER_BAR
from va_magenta.training.critic.pairs import EXCERPTS, Pairs, RatedMelodies
from va_magenta.training.critic.train import (
  estimate,
  gradient_ascent,
  relax,
)
from va_magenta.training.critic.voices import frequency_of, one_hot
from va_magenta.va import AXES

TIMED_BATCH = 128
NUM_DRAWS = 200  # Of groups, for the spread of a figure.


def _agreement(labels: np.ndarray, estimates: np.ndarray) -> dict[str, float]:
  figures = metrics.evaluate(labels, estimates)
  return {
      f'{axis} {name}': figures[f'{axis}/{metric}'] for axis in AXES
      for name, metric in (('R2', 'r2'), ('r', 'pearson_r'))}


def spread_over(
    groups: np.ndarray, measure: Callable[[np.ndarray], dict[str, float]],
    seed: int) -> dict[str, str]:
  """Figures of all rows, and their deviation over draws of whole groups.

  Args:
    groups: int [n].
    measure: figures by name, of rows of the n.
    seed: of the draws (bootstrap).
  """
  rng = np.random.default_rng(seed)
  names = np.unique(groups)
  rows = [np.flatnonzero(groups == name) for name in names]
  drawn = [
      measure(np.concatenate([
          rows[i] for i in rng.integers(len(rows), size=len(rows))]))
      for _ in range(NUM_DRAWS)]
  return {
      name: f'{value:.3f} ± {np.std([d[name] for d in drawn], ddof=1):.3f}'
      for name, value in measure(np.arange(len(groups))).items()}


def against_people(
    rated: RatedMelodies, estimates: dict[str, np.ndarray], seed: int) -> str:
  """A table: R2 and r of each reader, of whole melodies and excerpts."""
  kinds = {'whole': rated.is_whole, **{
      f'{num_bars} bars': ~rated.is_whole & np.array([
          len(melody) == num_bars * STEPS_PER_BAR for melody in rated.melodies])
      for num_bars in EXCERPTS}}
  return table({
      f'{reader}, {kind}': spread_over(
          rated.groups[rows], lambda chosen, r=rated.ratings[rows],
          e=estimate[rows]: _agreement(r[chosen], e[chosen]), seed)
      for reader, estimate in estimates.items() for kind, rows in kinds.items()
      if rows.any()})


def against_teacher(model, pairs: dict[int, Pairs], seed: int) -> str:
  """A table: R2 and r on melodies of pieces that were not learned from."""
  rng = np.random.default_rng(seed)
  rows = {}
  for num_bars, of_length in pairs.items():
    for i, what in enumerate(('melodies', 'changed by chance')):
      x, labels = one_hot(of_length.tokens[:, i]), of_length.va[:, i]
      soft = relax(x, frequency_of(of_length.tokens), rng)
      for how, inputs in (('one-hot', x), ('softened', soft)):
        found = estimate(model, inputs)
        rows[f'{num_bars} bars, {what}, {how}'] = spread_over(
            of_length.piece, lambda chosen, a=labels, b=found: _agreement(
                a[chosen], b[chosen]), seed)
  return table(rows)


def along_gradient(
    model, tokens: np.ndarray, readers: dict[str, Callable], seed: int) -> str:
  """A table: estimates of melodies that were moved along the gradient.

  Args:
    model: the critic.
    tokens: int [n, steps, voices].
    readers: each from int [n, steps, voices] to points [n, 2].
    seed: as `gradient_ascent` takes.
  """
  before = {name: reader(tokens) for name, reader in readers.items()}
  rows = {}
  for axis, axis_name in enumerate(AXES):
    for sign, sign_name in ((1, 'up'), (-1, 'down')):
      moved = gradient_ascent(model, tokens, axis, sign, seed)
      figures = {'steps changed': f'{np.mean(moved != tokens):.2f}'}
      for name, reader in readers.items():
        change = reader(moved)[:, axis] - before[name][:, axis]
        figures[name] = (
            f'{change.mean():+.3f} ± {change.std(ddof=1):.3f}, '
            f'{np.mean(sign * change > 0):.0%}')
      rows[f'{axis_name} {sign_name}'] = figures
  return table(rows)


def milliseconds(model, num_steps: int) -> float:
  """Processor time of an estimate and its gradient, for a batch."""
  import tensorflow as tf

  rng = np.random.default_rng(0)
  x = tf.constant(one_hot(rng.integers(
      NUM_TOKENS, size=(TIMED_BATCH, num_steps, model.num_voices))))

  @tf.function
  def gradient(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      total = tf.reduce_sum(model(x))
    return tape.gradient(total, x)

  times = []
  for _ in range(8):
    start = time.process_time()
    gradient(x)
    times.append(time.process_time() - start)
  return 1000 * float(np.median(times))


def numbers(values: np.ndarray) -> str:
  """Valence and arousal as cards show them."""
  return ' / '.join(f'{value:.2f}' for value in values)


def spread_of_estimates(model, pairs: dict[int, Pairs]) -> str:
  """A table: mean and deviation of what the critic finds, valence / arousal."""
  rows = {}
  for num_bars, of_length in pairs.items():
    for i, what in enumerate(('melodies', 'changed by chance')):
      points = model.slope * (
          estimate(model, one_hot(of_length.tokens[:, i])) - model.mean)
      rows[f'{num_bars} bars, {what}'] = {
          'mean': numbers(points.mean(axis=0)),
          'deviation': numbers(points.std(axis=0)),
          'outside [-1, 1]': f'{np.mean(np.abs(points) > 1):.1%}'}
  return table(rows)


def plot(path: pathlib.Path, panels: dict[str, tuple], names: Sequence[str]):
  """Estimates over labels, a row a panel and a column an axis.

  Args:
    path: of the PNG.
    panels: labels [n, 2] and estimates [n, 2] by the labels' name.
    names: of the columns.
  """
  with plots.drawing(path, 9, 8.4, dpi=100) as figure:
    axes = figure.subplots(len(panels), len(names))
    for row, (label_name, (labels, estimates)) in zip(
        axes, panels.items(), strict=True):
      for i, (panel, name) in enumerate(zip(row, names, strict=True)):
        panel.scatter(
            labels[:, i], estimates[:, i], s=6, alpha=.35, linewidths=0,
            color='#00798c')
        ends = [labels[:, i].min(), labels[:, i].max()]
        panel.plot(ends, ends, color='#8d90a5', linewidth=.8)
        panel.set(xlabel=label_name, ylabel='critic', title=name)
