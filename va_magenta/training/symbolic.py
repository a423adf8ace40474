"""Fits `symbolic` to people's ratings and measures it on pieces held out."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta.figures import metrics, plots
from va_magenta.figures.tables import plus_minus, table, table_of_columns
from va_magenta.music.midi import read_notes
from va_magenta.music.notes import excerpt, skyline
from va_magenta.music_to_va import symbolic, symbolic_features
from va_magenta.music_to_va.trees_and_kernel import KernelRidge, calibrated
from va_magenta.training import cards, rated
from va_magenta.training import held_out as held_out_lib
from va_magenta.training.held_out import auc, calibration_of, folds
from va_magenta.training.trees_and_kernel import fit_kernel
from va_magenta.trees import from_lightgbm
from va_magenta.va import AXES, Scale

BEATS_PER_BAR = 4
EXCERPT_BARS = (2, 4, 8)
# All that is made of a clip together weighs about as much as the clip.
AUGMENTED_WEIGHT = .25

# Two kinds of trees, averaged.
MEMBERS = {
    'boosted': dict(feature_fraction=.2),
    'boosted, random thresholds': dict(feature_fraction=.5, extra_trees=True),
}
NUM_TREES = 300
_COMMON = dict(
    objective='l2', num_threads=1, verbose=-1, force_col_wise=True,
    deterministic=True, learning_rate=.05, num_leaves=15, max_depth=8,
    bagging_freq=1, bagging_fraction=.7, lambda_l2=5, min_data_in_leaf=10)
NUM_SPREAD_TREES = 120
# Squared errors are so noisy that only large groups of pieces tell anything.
_SPREAD = dict(
    _COMMON, objective='gamma', learning_rate=.03, num_leaves=6,
    extra_trees=True, min_data_in_leaf=200)
NUM_COSINES = 1000
GAMMA, PENALTY = .001, .1
# A feature counts in the kernel as much as it correlates with the ratings, and
# so much more.
_MIN_RELEVANCE = .05

NUM_EMOPIA_TREES = 100
HALVES = 'generator', 'judge'
NUM_HALF_FOLDS = 5

# Of groups into folds; features and settings were chosen on deals 0 and 1.
_FIRST_DEAL = 2

Report = Callable[[str], None]


# Data.


def melody_rendering(notes: np.ndarray) -> np.ndarray:
  """The top line as the generator would write it.

  One voice on a grid of sixteenths, at the piece's mean tempo and velocity.
  """
  tempo_qpm = 60 * (
      (notes['end_beats'].max() - notes['start_beats'].min()) /
      (notes['end_seconds'].max() - notes['start_seconds'].min()))
  melody = skyline(notes)
  origin = melody['start_beats'][0]
  start = np.rint(4 * (melody['start_beats'] - origin)) / 4
  end = np.maximum(
      np.rint(4 * (melody['end_beats'] - origin)) / 4, start + .25)
  keep = np.append(start[1:] > start[:-1], True)
  melody, start, end = melody[keep], start[keep], end[keep]
  end[:-1] = np.minimum(end[:-1], start[1:])
  melody['start_beats'], melody['end_beats'] = start, end
  melody['start_seconds'] = start * 60 / tempo_qpm
  melody['end_seconds'] = end * 60 / tempo_qpm
  melody['velocity'] = np.rint(notes['velocity'].mean())
  return melody


def augment(
    notes: np.ndarray, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
  """Shorter and simpler pieces that keep a clip's label, with their kind."""
  melody = melody_rendering(notes)
  pieces = [('melody', melody)]

  def cut(whole, bars):
    start = whole['start_beats'].min()
    beats = whole['end_beats'].max() - start
    choices = int(beats // BEATS_PER_BAR) - bars
    if choices < 0:
      return
    first = start + BEATS_PER_BAR * rng.integers(choices + 1)
    piece = excerpt(whole, first, BEATS_PER_BAR * bars)
    if len(piece) >= 4:
      yield piece

  for bars in EXCERPT_BARS:
    pieces += [('melody excerpt', piece) for piece in cut(melody, bars)]
  pieces += [
      ('excerpt', piece) for piece in cut(notes, rng.choice(EXCERPT_BARS))]
  return pieces


@dataclasses.dataclass
class Examples:
  """Features and ratings, one row a piece.

  Attributes:
    features: float32 [n, features].
    ratings: float64 [n, 2], valence and arousal in [-1, 1].
    groups: int [n]; rows of one group share material.
    kinds: str [n]: 'clip', or as `augment` says.
  """

  features: np.ndarray
  ratings: np.ndarray
  groups: np.ndarray
  kinds: np.ndarray

  def __getitem__(self, rows) -> 'Examples':
    return Examples(
        self.features[rows], self.ratings[rows], self.groups[rows],
        self.kinds[rows])

  @property
  def weights(self) -> np.ndarray:
    """Weight of each row in training, [n]."""
    return np.where(self.kinds == 'clip', 1, AUGMENTED_WEIGHT)


def read_eimg(
    folder: pathlib.Path, seed: int, report: Report) -> Examples:
  """EIMG's rated clips, and what is made of them."""
  clips = rated.read_eimg(folder)
  rng = np.random.default_rng(seed)
  features, rows, kinds = [], [], []
  for i, path in enumerate(clips.values):
    notes = read_notes(path)
    for kind, piece in [('clip', notes), *augment(notes, rng)]:
      features.append(symbolic_features.extract(piece))
      rows.append(i)
      kinds.append(kind)
  report(f'{len(clips)} EIMG clips, {len(kinds) - len(clips)} pieces of them')
  return Examples(
      np.stack(features), clips.va[rows], clips.groups[rows], np.array(kinds))


# Fitting.


def _train(
    inputs: np.ndarray, target: np.ndarray, weights: np.ndarray,
    num_trees: int, **parameters):
  import lightgbm

  return lightgbm.train(
      parameters, lightgbm.Dataset(inputs, target, weight=weights), num_trees)


def _deal(groups: np.ndarray, num_folds: int, seed: int):
  return folds(groups, num_folds, _FIRST_DEAL + seed)


def _relevance(
    scores: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """How much each feature shall count, [features], 1 in the square mean."""
  weights = weights / weights.sum()
  scores = scores - weights @ scores
  target = target - weights @ target
  spread = np.sqrt((weights @ scores**2) * (weights @ target**2))
  relevance = _MIN_RELEVANCE + np.abs((weights * target) @ scores) / (
      spread + 1e-6)
  return relevance / np.sqrt(np.mean(relevance**2))


@dataclasses.dataclass
class Student:
  """What regresses as the `symbolic.SymbolicVA` that is made of it.

  Attributes:
    boosters: LightGBM's, by axis.
    scores: what the kernels see.
    kernels: by axis.
  """

  boosters: dict[str, list]
  scores: symbolic.Standardizer
  kernels: dict[str, KernelRidge]

  @classmethod
  def fit(cls, data: Examples, seed: int) -> 'Student':
    """Fits all members to all rows of `data`."""
    scores = symbolic.Standardizer.of(data.features)
    seen = scores(data.features)
    weights = data.weights
    boosters, kernels = {}, {}
    for axis, target in zip(AXES, data.ratings.T, strict=True):
      boosters[axis] = [
          _train(
              data.features, target, weights, NUM_TREES, **_COMMON, **member,
              seed=seed) for member in MEMBERS.values()]
      kernels[axis] = fit_kernel(
          seen, target, gamma=GAMMA, penalty=PENALTY, num_cosines=NUM_COSINES,
          seed=seed, weights=weights,
          relevance=_relevance(seen, target, weights))
    return cls(boosters, scores, kernels)

  def regress(self, features: np.ndarray) -> np.ndarray:
    """Mean of trees and kernel, float64 [n, 2], of [n, features]."""
    scores = self.scores(features)
    return np.stack([
        (np.mean([b.predict(features) for b in self.boosters[axis]], axis=0)
         + self.kernels[axis].predict(scores)) / 2 for axis in AXES], axis=1)


def fit_spread(
    data: Examples, estimates: np.ndarray, seed: int) -> dict[str, list]:
  """LightGBM's booster by axis that gives the variance of people's ratings.

  The likelihood of a gamma distribution with a logarithmic link has its maximum
  where that of a Gaussian of this variance has it.

  Args:
    data: the pieces.
    estimates: float64 [n, 2], of models that did not see the piece.
    seed: of the trees.
  """
  inputs = symbolic.spread_inputs(estimates, data.features)
  return {
      axis: [_train(
          inputs, np.maximum(error**2, 1e-6), data.weights, NUM_SPREAD_TREES,
          **_SPREAD, seed=seed)]
      for axis, error in zip(AXES, (data.ratings - estimates).T, strict=True)
  }


# Measuring.


CLIPS, CLIPS_AND_MELODIES = VARIANTS = 'clips', 'clips and melodies'
SHIPPED = CLIPS_AND_MELODIES


def training_part(data: Examples, variant: str) -> Examples:
  """The rows that a variant is trained on."""
  return data[data.kinds == 'clip'] if variant == CLIPS else data


@dataclasses.dataclass
class HeldOut(held_out_lib.HeldOut):
  """Estimates, by variant and before calibration, of pieces held out.

  Attributes:
    data: the pieces, n rows.
  """

  data: Examples

  def calibration(self) -> dict:
    """Of what is shipped, from whole clips."""
    clips = self.data.kinds == 'clip'
    return calibration_of(self.ratings[clips], self.estimates[SHIPPED][clips])

  def calibrated(self) -> 'HeldOut':
    """With estimates calibrated by the clips of the other folds."""
    clips = self.data.kinds == 'clip'
    result = dataclasses.replace(self, estimates={})
    for variant, estimates in self.estimates.items():
      points = result.estimates[variant] = estimates.copy()
      for fold in np.unique(self.fold):
        rows, others = self.fold == fold, clips & (self.fold != fold)
        points[rows] = calibrated(
            estimates[rows],
            calibration_of(self.ratings[others], estimates[others]))
    return result

  def figures_of(self, variant: str, kind: str) -> dict[str, np.ndarray]:
    """Metrics of pieces of one kind, [folds] each; errors on EIMG's scale."""
    return self.figures(variant, self.data.kinds == kind, Scale.EIMG)


def cross_validate(
    data: Examples, variants: Sequence[str], num_folds: int, seed: int,
    report: Report) -> HeldOut:
  """Holds out every group once."""
  result = HeldOut.empty(data.ratings, variants, data=data)
  for fold, (train, test) in enumerate(_deal(data.groups, num_folds, seed)):
    result.fold[test] = fold
    clips = test[data.kinds[test] == 'clip']
    for variant, estimates in result.estimates.items():
      estimates[test] = Student.fit(
          training_part(data[train], variant), seed
      ).regress(data.features[test])
      valence, arousal = (
          metrics.r2(data.ratings[clips, i], estimates[clips, i])
          for i in range(2))
      report(
          f'fold {fold + 1} of {num_folds}, trained on {variant}: R2 on clips: '
          f'valence {valence:.3f}, arousal {arousal:.3f}')
  return result


def nll(errors: np.ndarray, variance: np.ndarray) -> np.ndarray:
  """Negative log likelihood of each error under a Gaussian, in nats."""
  return (np.log(2 * np.pi * variance) + errors**2 / variance) / 2


@dataclasses.dataclass
class Spread:
  """How well a variance that depends on the piece fits held-out errors.

  Attributes:
    kinds: str [n], of the pieces.
    fold: int [n], the fold in which a row was held out.
    errors: float64 [n, 2], ratings less estimates of what is shipped.
    variance: float64 [n, 2], by trees that saw no error of the group.
  """

  kinds: np.ndarray
  fold: np.ndarray
  errors: np.ndarray
  variance: np.ndarray

  @classmethod
  def cross_validate(cls, held_out: HeldOut, seed: int) -> 'Spread':
    """Holds out the folds of the estimates once more."""
    data, fold, estimates = (
        held_out.data, held_out.fold, held_out.estimates[SHIPPED])
    inputs = symbolic.spread_inputs(estimates, data.features)
    variance = np.zeros_like(estimates)
    for i in np.unique(fold):
      others = fold != i
      boosters = fit_spread(data[others], estimates[others], seed)
      variance[~others] = np.stack([
          boosters[axis][0].predict(inputs[~others]) for axis in AXES], axis=1)
    return cls(data.kinds, fold, data.ratings - estimates, variance)

  def table(self, kinds: Sequence[str]) -> str:
    """Markdown: a row for each kind of piece and axis."""
    rows = {}
    fold, errors = self.fold, self.errors
    for kind in kinds:
      is_kind = self.kinds == kind
      for i, axis in enumerate(AXES):
        own, constant = [], []
        for held_out in np.unique(fold):
          test, others = (
              is_kind & (fold == held_out), is_kind & (fold != held_out))
          own.append(nll(errors[test, i], self.variance[test, i]).mean())
          constant.append(
              nll(errors[test, i], np.mean(errors[others, i]**2)).mean())
        thirds = np.array_split(np.flatnonzero(is_kind)[np.argsort(
            self.variance[is_kind, i])], 3)
        lowest, middle, highest = (
            f'{np.mean(errors[third, i]**2 <= self.variance[third, i]):.3f}'
            for third in thirds)
        rows[f'{kind}: {axis}'] = {
            'NLL, of the piece': plus_minus(own),
            'NLL, constant': plus_minus(constant),
            'difference': plus_minus(np.subtract(own, constant)),
            'within one std: lowest third of std': lowest,
            'middle': middle, 'highest': highest}
    return table(rows)


def quadrants_of(points: np.ndarray) -> np.ndarray:
  """Quadrants 1..4, int [n], of points [n, 2]."""
  high_valence, high_arousal = (points >= 0).T
  return np.where(
      high_arousal, np.where(high_valence, 1, 2),
      np.where(high_valence, 4, 3))


def emopia_untrained(
    points: np.ndarray, quadrants: np.ndarray) -> dict[str, float]:
  """How well EMOPIA's quadrants are told by points [n, 2], calibrated."""
  own_middle = points - np.median(points, axis=0)
  return {
      'arousal AUC': auc(quadrants <= 2, points[:, 1]),
      'valence AUC': auc(np.isin(quadrants, (1, 4)), points[:, 0]),
      '4Q accuracy': float(np.mean(quadrants_of(points) == quadrants)),
      '4Q accuracy, axes at the medians': float(
          np.mean(quadrants_of(own_middle) == quadrants)),
  }


def emopia_by_song(
    features: np.ndarray, quadrants: np.ndarray, songs: np.ndarray,
    num_folds: int, seed: int) -> np.ndarray:
  """4Q accuracy of each fold for trees trained on other songs of EMOPIA."""
  import lightgbm

  accuracy = []
  for train, test in _deal(songs, num_folds, seed):
    data = lightgbm.Dataset(features[train], quadrants[train] - 1)
    chances = np.sum([
        lightgbm.train(
            {**_COMMON, **member, 'objective': 'multiclass', 'num_class': 4,
             'seed': seed}, data, NUM_EMOPIA_TREES).predict(features[test])
        for member in MEMBERS.values()], axis=0)
    accuracy.append(np.mean(chances.argmax(axis=1) + 1 == quadrants[test]))
  return np.array(accuracy)


# The job.


def halves_of(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
  """Deals distinct groups into two halves, by name of the estimator."""
  dealt = np.random.default_rng(seed).permutation(np.unique(groups))
  return dict(zip(
      HALVES, (np.sort(half) for half in np.array_split(dealt, len(HALVES))),
      strict=True))


def _write(
    folder: pathlib.Path, student: Student, held_out: HeldOut, seed: int
) -> symbolic.SymbolicVA:
  """Writes what `symbolic.load` reads, and loads it."""
  spread = fit_spread(held_out.data, held_out.estimates[SHIPPED], seed)
  folder.mkdir(parents=True, exist_ok=True)
  symbolic.save(folder, symbolic.SymbolicVA(
      student.scores, {axis: from_lightgbm(spread[axis]) for axis in AXES},
      student.kernels,
      {axis: from_lightgbm(student.boosters[axis]) for axis in AXES},
      held_out.calibration()), np.unique(held_out.data.groups))
  return symbolic.load(folder)


def _table(figures: dict[str, dict[str, np.ndarray]]) -> str:
  """Markdown: a row a metric, a column a set of figures."""
  return table_of_columns({
      name: {
          metric: plus_minus(values) if np.ndim(values) else f'{values:.3f}'
          for metric, values in column.items()}
      for name, column in figures.items()})


def _plot_importances(boosters: dict[str, list], path: pathlib.Path):
  with plots.drawing(path, 12, 6, dpi=100) as figure:
    for panel, (axis, members) in zip(
        figure.subplots(1, 2), boosters.items(), strict=True):
      gain = np.mean([
          booster.feature_importance('gain') for booster in members], axis=0)
      top = np.argsort(gain)[-25:]
      panel.barh(
          [symbolic_features.FEATURE_NAMES[i] for i in top],
          gain[top] / gain.sum())
      panel.set(title=axis, xlabel='share of total gain')
      panel.tick_params(axis='y', labelsize=8)


def run(
    *, eimg_dir: pathlib.Path, emopia_dir: pathlib.Path, run_dir: pathlib.Path,
    seed: int, num_folds: int, report: Report):
  """Trains, measures and writes the three estimators and their card."""
  clips = rated.read_emopia(emopia_dir)
  report(f'{len(clips.paths)} EMOPIA clips')
  emopia = np.stack([
      symbolic_features.extract(read_notes(path)) for path in clips.paths])
  data = read_eimg(eimg_dir, seed, report)
  held_out = cross_validate(data, VARIANTS, num_folds, seed, report)
  report('training on all of EIMG')
  student = Student.fit(data, seed)
  estimators = {'all of EIMG': _write(run_dir, student, held_out, seed)}
  of_halves = {}
  for name, groups in halves_of(data.groups, seed).items():
    report(f'training {name} on {len(groups)} groups')
    is_own = np.isin(data.groups, groups)
    own, other = data[is_own], data[~is_own]
    estimators[name] = _write(
        run_dir / name, Student.fit(own, seed),
        cross_validate(own, [SHIPPED], NUM_HALF_FOLDS, seed, report), seed)
    fold = np.zeros(len(other.kinds), int)
    for i, (_, rows) in enumerate(_deal(other.groups, num_folds, seed)):
      fold[rows] = i
    on_other = HeldOut(
        other.ratings, fold,
        {SHIPPED: estimators[name].regress(other.features)}, other)
    of_halves[name] = {
        f'{kind}: {metric}': on_other.figures_of(SHIPPED, kind)[metric]
        for kind in ('clip', 'melody excerpt') for metric in (
            *(f'{axis}/{m}' for axis in AXES for m in ('r2', 'pearson_r')),
            'quadrant_accuracy')}
  report('measuring')
  calibrated = held_out.calibrated()
  _plot_importances(student.boosters, run_dir / 'importances.png')
  cards.write(
      run_dir, 'symbolic', num_features=len(symbolic_features.FEATURE_NAMES),
      num_clips=np.count_nonzero(data.kinds == 'clip'), seed=seed,
      num_folds=num_folds, num_trees=NUM_TREES,
      num_leaves=_COMMON['num_leaves'], gamma=GAMMA, num_cosines=NUM_COSINES,
      penalty=PENALTY, min_relevance=_MIN_RELEVANCE,
      made_weight=AUGMENTED_WEIGHT,
      clips=_table({
          'uncalibrated (`regress`)': held_out.figures_of(SHIPPED, 'clip'),
          'calibrated (`estimate_va`)': calibrated.figures_of(
              SHIPPED, 'clip')}),
      variants=_table({
          f'trained on {variant}': {
              f'{kind}: {axis} R2':
              held_out.figures_of(variant, kind)[f'{axis}/r2']
              for kind in ('clip', 'excerpt', 'melody', 'melody excerpt')
              for axis in AXES
          } for variant in VARIANTS}),
      melodies=_table({
          name: of_kind.figures_of(SHIPPED, 'melody excerpt')
          for name, of_kind in (
              ('uncalibrated', held_out), ('calibrated', calibrated))}),
      spread=Spread.cross_validate(held_out, seed).table(
          ('clip', 'melody excerpt')),
      num_spread_trees=NUM_SPREAD_TREES,
      num_groups=len(np.unique(data.groups)), halves=_table(of_halves),
      untrained=_table({
          name: emopia_untrained(
              estimator.calibrate(estimator.regress(emopia)),
              clips.quadrants)
          for name, estimator in estimators.items()}),
      num_emopia_trees=NUM_EMOPIA_TREES,
      by_song=plus_minus(
          emopia_by_song(
          emopia, clips.quadrants, clips.songs, num_folds, seed)))
  report(f'wrote {run_dir}')
