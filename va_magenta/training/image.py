"""Fits and measures the model that places a picture on the VA plane.

The backbones stay as they were pretrained: what they see of every picture is
computed once and kept in the run's folder. On that the head mixes what the
raters of each dataset would say. For the first dataset that is a Gaussian
process (kernel ridge regression): a picture feels like the rated pictures that
it resembles. For further ones it is a ridge regression, whose opinions also
help the first; no dataset's scale need be another's.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import tqdm
from scipy import linalg, optimize
from sklearn import linear_model, model_selection

from va_magenta import files
from va_magenta.figures import metrics, tables
from va_magenta.image_to_va import backbones as backbones_lib
from va_magenta.image_to_va import model as model_lib
from va_magenta.training import cards
from va_magenta.training.held_out import plot_held_out
from va_magenta.va import Scale

# Of a Gaussian in two dimensions, within one standard deviation.
COVERED = 1 - np.exp(-0.5)
# Candidates for the penalty: variance of what no picture tells (raters'
# differences, tastes) over that of what similar pictures share.
PENALTIES = np.logspace(-1.5, 0.5, 9)
# Of the regressions on further datasets; pictures lie about 1 from the mean.
OPINIONS_PENALTIES = (1.0, 2.0, 4.0, 8.0)
# How much opinions count beside resemblance, as shares of the Gaussian
# process's variance.
_OPINIONS_WEIGHT = 0.1
# The first dataset, rated by the most people, counts more than its kind alone.
_FIRST_COUNTS = 2.0
_KINDS_PENALTY = 0.3
# Of each dataset, to learn its kind from.
_KINDS_PICTURES = 300
# Share of all pictures that are not held to be unlike what was seen.
_REACH_SHARE = 0.95
_INNER_FOLDS = 5
_TIMED = 10  # Estimates.
# Pictures whose features are kept in one file.
_CHUNK = 64
# A channel that hardly ever changes is not made to count by scaling it up.
_SMALLEST_DEVIATION = 1e-4


@dataclasses.dataclass(frozen=True)
class Ratings:
  """What people said of a dataset's pictures.

  Attributes:
    name: of the dataset.
    points: [num_pictures, 2], mean valence and arousal in [-1, 1].
    groups: [num_pictures], labels of pictures to keep together.
    num_raters: median over pictures; 0 if the source does not say.
    about: what the dataset is, for people.
    emotions: [num_pictures, num_emotions], shares of the raters' votes, of a
      dataset that has them.
  """

  name: str
  points: np.ndarray
  groups: np.ndarray
  num_raters: int
  about: str
  emotions: np.ndarray | None = None

  def __len__(self):
    return len(self.points)

  def said(self) -> np.ndarray:
    """All that raters said, [num_pictures, 2 + num_emotions]."""
    if self.emotions is None:
      return self.points
    return np.concatenate([self.points, self.emotions], axis=1)


class Dataset:
  """A picture dataset of ours, by way of TFDS; see `datasets/`."""

  def __init__(
      self, name: str, data_dir: str | os.PathLike | None = None,
      manual_dir: str | os.PathLike | None = None):
    """Makes the dataset ready, which may take a while.

    Raises:
      OSError, ValueError: if there is no such dataset or it cannot be had.
    """
    import tensorflow_datasets as tfds

    try:
      self._builder = tfds.builder(
          name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except tfds.core.DatasetNotFoundError:
      raise ValueError(f'there is no dataset called {name!r}') from None
    features = self._builder.info.features
    missing = [key for key in ('image', 'group', 'valence', 'arousal')
               if key not in features]
    if missing:
      raise ValueError(
          f'{name} is no dataset of pictures with ratings: it has no '
          f'{missing[0]}')
    self._builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    self.name = name
    self._tfds = tfds

  def __len__(self):
    return sum(split.num_examples for split in self._splits())

  def _splits(self):
    return self._builder.info.splits.values()

  def _examples(self, start=None, decode=True) -> Iterator[dict]:
    decoders = None if decode else {'image': self._tfds.decode.SkipDecoding()}
    dataset = self._builder.as_dataset(
        '+'.join(split.name for split in self._splits()), decoders=decoders,
        shuffle_files=False,
        read_config=self._tfds.ReadConfig(try_autocache=False))
    return self._tfds.as_numpy(dataset.skip(start or 0))

  def ratings(self) -> Ratings:
    """What people said, in the order of `pictures`."""
    rows = [
        (e['valence'], e['arousal'], e['group'].decode(), e['num_raters'],
         e.get('emotions')) for e in self._examples(decode=False)]
    return Ratings(
        self.name,
        np.array([row[:2] for row in rows], float),
        np.array([row[2] for row in rows]),
        int(np.median([row[3] for row in rows])),
        self._builder.info.description.strip().split('\n\n')[0],
        None if rows[0][4] is None else np.array([row[4] for row in rows]))

  def pictures(self, start: int) -> Iterator[np.ndarray]:
    """Pictures from one on, uint8 RGB [height, width, 3].

    Where a dataset marks the person that was rated, the picture is cut to it.
    """
    for example in self._examples(start):
      image = example['image']
      if 'bbox' in example:
        height, width, _ = image.shape
        top, left, bottom, right = example['bbox'] * (
            height, width, height, width)
        image = image[
            int(top):max(int(top) + 1, round(bottom)),
            int(left):max(int(left) + 1, round(right))]
      yield image


def extract_features(network, config, dataset: Dataset, folder) -> np.ndarray:
  """What the backbones see in a dataset's pictures.

  Args:
    network: of `model.build_features`.
    config: that it was built from.
    dataset: whose pictures to look at.
    folder: keeps the features, so that a run that is stopped goes on there.

  Returns:
    float32 [num_pictures, num_features].
  """
  folder.mkdir(parents=True, exist_ok=True)
  starts = range(0, len(dataset), _CHUNK)
  paths = [folder / f'{dataset.name}-{start:06}.npy' for start in starts]
  num_done = next(
      (i for i, path in enumerate(paths) if not path.is_file()), len(paths))
  with tqdm.tqdm(
      total=len(dataset), desc=f'looking at {dataset.name}',
      unit='pictures', initial=min(num_done * _CHUNK, len(dataset))) as bar:
    pictures = dataset.pictures(num_done * _CHUNK)
    for start, path in list(zip(starts, paths, strict=True))[num_done:]:
      chunk = [next(pictures) for _ in range(
          min(_CHUNK, len(dataset) - start))]
      features = model_lib.run_network(network, config, chunk)
      with files.writing(path) as temporary:
        np.save(temporary, features)
      bar.update(len(chunk))
  return np.concatenate([np.load(path) for path in paths])


@dataclasses.dataclass(frozen=True)
class Data:
  """A dataset as it is fitted to.

  Attributes:
    ratings: what people said.
    features: float64 [num_pictures, num_features].
    depths: see `model.depths`.
  """

  ratings: Ratings
  features: np.ndarray
  depths: tuple[Sequence[int], int]

  def __getitem__(self, index) -> 'Data':
    """A part of it."""
    r = self.ratings
    return dataclasses.replace(
        self, features=self.features[index], ratings=dataclasses.replace(
            r, points=r.points[index], groups=r.groups[index],
            emotions=None if r.emotions is None else r.emotions[index]))

  def compared(self) -> np.ndarray:
    """1 for features by which pictures are compared, 0 for early depths'."""
    sizes, num_early = self.depths
    return np.repeat(np.arange(len(sizes)) >= num_early, sizes).astype(float)

  def standardization(self) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale of features; what is compared lies about 1 from 0."""
    mean, deviation = self.features.mean(axis=0), self.features.std(axis=0)
    scale = 1 / np.maximum(deviation, _SMALLEST_DEVIATION)
    scale[deviation < _SMALLEST_DEVIATION] = 0
    return mean, scale / np.sqrt(self.compared().sum())


@dataclasses.dataclass(frozen=True)
class Calibration:
  """How much estimates vary; arrays hold valence, arousal.

  A cautious estimate stays near the middle, and one that varies as people's
  ratings do says of what it hardly knows what is extreme. Half way, held-out
  estimates get the root of their correlation with ratings times the ratings'
  deviation: the less is known, the less extreme.

  Attributes:
    center: [2], mean rating, about which estimates are scaled.
    spread: [2], by how much.
    errors: [2], root of the mean square that held-out estimates are then off.
    penalty: [2], what was chosen.
    held_out: [num_pictures, 2], calibrated.
  """

  center: np.ndarray
  spread: np.ndarray
  errors: np.ndarray
  penalty: np.ndarray
  held_out: np.ndarray


def _calibrate(held_out, points, penalty) -> Calibration:
  center = points.mean(axis=0)
  spread = np.array([
      np.sqrt(max(0.0, metrics.pearson_r(points[:, axis], held_out[:, axis])))
      * points[:, axis].std() / max(held_out[:, axis].std(), 1e-6)
      for axis in (0, 1)])
  held_out = center + (held_out - center) * spread
  errors = np.sqrt(((held_out - points)**2).mean(axis=0))
  return Calibration(center, spread, errors, penalty, held_out)


@dataclasses.dataclass(frozen=True)
class Opinions:
  """What a dataset's raters would say of a picture, by ridge regression.

  Attributes:
    kernel: [num_features, 2 + num_emotions], for features as they are.
    mean: [2 + num_emotions], what it gives of the dataset's pictures on
      average.
    calibration: of the first two.
  """

  kernel: np.ndarray
  mean: np.ndarray
  calibration: Calibration


def learn_opinions(data: Data, seed: int = 0) -> Opinions:
  """Fits a ridge regression, with its penalties from folds by group.

  A depth counts as the root of the number of its features, so that early
  depths, which have few, count: color and texture move where there are no
  things.
  """
  sizes, _ = data.depths
  mean, deviation = data.features.mean(axis=0), data.features.std(axis=0)
  scale = np.repeat(np.power(sizes, -0.25), sizes) / np.maximum(
      deviation, _SMALLEST_DEVIATION)
  scale[deviation < _SMALLEST_DEVIATION] = 0
  z = np.float32((data.features - mean) * scale)
  unit = np.sqrt((z**2).sum(axis=1).mean())
  z, scale = z / unit, scale / unit
  said = data.ratings.said()
  kernel = np.float64(z @ z.T)
  best, held_out = _choose(
      kernel, said, data.ratings.groups, OPINIONS_PENALTIES, seed)
  dual = _solve(kernel, said - said.mean(axis=0), best)
  coefficients = (z.T @ dual) * scale[:, None]
  return Opinions(
      coefficients, mean @ coefficients,
      _calibrate(held_out[:, :2], data.ratings.points, best[:2]))


def _solve(kernel, targets, penalties) -> np.ndarray:
  """Kernel ridge regression with a penalty for each target, [n, targets]."""
  dual = np.zeros(targets.shape)
  for penalty in np.unique(penalties):
    columns = penalties == penalty
    dual[:, columns] = linalg.solve(
        kernel + penalty * np.eye(len(kernel)), targets[:, columns],
        assume_a='pos')
  return dual


def _choose(kernel, targets, groups, candidates, seed):
  """The best penalty for each target, and its held-out estimates."""
  held_out = np.zeros((len(candidates), *targets.shape))
  for train, test in model_selection.GroupKFold(
      _INNER_FOLDS, shuffle=True, random_state=seed).split(
          kernel, groups=groups):
    mean = targets[train].mean(axis=0)
    for i, penalty in enumerate(candidates):
      dual = _solve(
          kernel[np.ix_(train, train)], targets[train] - mean,
          np.full(targets.shape[1], penalty))
      held_out[i, test] = kernel[np.ix_(test, train)] @ dual + mean
  best = ((held_out - targets)**2).mean(axis=1).argmin(axis=0)
  return (np.array(candidates)[best],
          held_out[best, :, np.arange(targets.shape[1])].T)


@dataclasses.dataclass(frozen=True)
class Fit:
  """A fitted head and the calibrations of its datasets, in order."""

  head: model_lib.Head
  calibrations: Sequence[Calibration]


def fit_head(
    first: Data, others: Sequence[Opinions] = (),
    kinds: tuple[np.ndarray, np.ndarray] | None = None, seed: int = 0,
    caution: float = 1) -> Fit:
  """Fits to the first dataset, with penalty and calibration from inner folds.

  Args:
    first: whose pictures a picture is compared with.
    others: of the raters of further datasets.
    kinds: of `learn_kinds`; if None, all pictures are of the first kind.
    seed: of the inner folds.
    caution: how many times as far off as held-out pictures of the datasets the
      head expects to be; see `Unseen`.
  """
  mean, scale = first.standardization()
  compared = first.compared()
  z = (first.features - mean) * scale
  if kinds is None:
    kinds = (np.zeros((len(mean), 1 + len(others))),
             np.arange(1 + len(others)) == 0, np.inf)
  kinds_kernel, kinds_bias, reach = kinds
  num_kinds = len(kinds_bias)
  kernel = np.concatenate([*(o.kernel for o in others), kinds_kernel], axis=1)
  # Of raw features, now of z.
  kernel = kernel / np.where(scale > 0, scale, np.inf)[:, None]
  opinions_mean = mean @ np.concatenate(
      [np.zeros((len(mean), 0)), *(o.kernel for o in others)], axis=1)
  head = model_lib.Head(
      mean=mean, scale=scale, compared=compared, reach=np.array([reach]),
      opinions_kernel=kernel, centers=z * compared,
      center_weights=np.zeros((len(z), 2)),
      opinions_weights=np.zeros((kernel.shape[1], 2 * num_kinds)),
      bias=np.zeros(2 * num_kinds), errors=np.zeros(2 * num_kinds),
      kinds_weights=np.eye(num_kinds, kernel.shape[1], kernel.shape[1]
                           - num_kinds).T * _counts(num_kinds),
      kinds_bias=(kinds_bias + mean @ kinds_kernel) * _counts(num_kinds))
  similarities, opinions = _compare(head, first.features)
  said = opinions[:, :len(opinions_mean)]
  middle = said.mean(axis=0)
  weight = np.sqrt(_OPINIONS_WEIGHT / max(1, len(middle))) / np.maximum(
      said.std(axis=0), 1e-6)
  said = (said - middle) * weight
  gram = similarities + said @ said.T
  points = first.ratings.points
  best, held_out = _choose(gram, points, first.ratings.groups, PENALTIES, seed)
  calibration = _calibrate(held_out, points, best)
  dual = _solve(gram, points - points.mean(axis=0), best) * calibration.spread
  head.center_weights[:] = dual
  head.opinions_weights[:len(middle), :2] = weight[:, None] * (said.T @ dual)
  head.bias[:2] = calibration.center - middle @ head.opinions_weights[
      :len(middle), :2]
  column = 0
  for i, other in enumerate(others):
    axes, columns = slice(2 * i + 2, 2 * i + 4), slice(column, column + 2)
    its = other.calibration
    head.opinions_weights[columns, axes] = np.diag(its.spread)
    head.bias[axes] = its.center + its.spread * (
        opinions_mean[columns] - other.mean[:2])
    column += len(other.mean)
  calibrations = [calibration, *(o.calibration for o in others)]
  head.errors[:] = caution * np.concatenate([c.errors for c in calibrations])
  return Fit(head, calibrations)


def _counts(num_kinds) -> np.ndarray:
  return np.where(np.arange(num_kinds) == 0, _FIRST_COUNTS, 1.0)


def learn_kinds(data: Sequence[Data], seed: int = 0):
  """Which dataset a picture is like, by ridge regression.

  Args:
    data: the datasets; their ratings are not looked at.
    seed: of the choice of pictures.

  Returns:
    kernel [num_features, num_datasets] and bias [num_datasets], which give 1
    of a dataset's own pictures and 0 of the others'; and how far from the
    first dataset's mean most pictures lie.
  """
  rng = np.random.default_rng(seed)
  parts = [
      d.features[rng.permutation(len(d.features))[:_KINDS_PICTURES]]
      for d in data]
  kind = np.repeat(np.eye(len(data)), [len(part) for part in parts], axis=0)
  weights = np.repeat(
      [1 / len(part) for part in parts], [len(part) for part in parts])
  mean, scale = data[0].standardization()
  compared = data[0].compared()
  scale = scale * compared
  z = (np.concatenate(parts) - mean) * scale
  regression = linear_model.Ridge(_KINDS_PENALTY).fit(
      z, kind, sample_weight=weights * len(z) / weights.sum())
  kernel = regression.coef_.T * scale[:, None]
  reach = np.quantile(np.sqrt((z**2).sum(axis=1)), _REACH_SHARE)
  return kernel, regression.intercept_ - mean @ kernel, reach


def _compare(head: model_lib.Head, features) -> tuple[np.ndarray, np.ndarray]:
  """Similarities and opinions, as `model.Mixture` has them."""
  z = (features - head.mean) * head.scale
  opinions = z @ head.opinions_kernel
  z = z * head.compared
  squares = (z**2).sum(axis=1)[:, None]
  distances = (
      squares + (head.centers**2).sum(axis=1) - 2 * z @ head.centers.T)
  return np.exp(-distances / 2), opinions * np.minimum(
      1, head.reach / np.sqrt(squares + 1e-6))


def apply_head(
    head: model_lib.Head, features: np.ndarray,
    shares: np.ndarray | None = None) -> np.ndarray:
  """Points and spreads [num_pictures, 4], as `model.Mixture` makes them.

  Args:
    head: to apply.
    features: [num_pictures, num_features].
    shares: [num_pictures, num_datasets], what kind the pictures are, if not
      what the head holds.
  """
  similarities, opinions = _compare(head, features)
  points = opinions @ head.opinions_weights + head.bias
  points[:, :2] += similarities @ head.center_weights
  points = points.reshape(len(points), -1, 2)
  if shares is None:
    shares = 1e-6 + np.maximum(
        0, opinions @ head.kinds_weights + head.kinds_bias)
  shares = (shares / shares.sum(axis=1, keepdims=True))[:, :, None]
  point = (shares * points).sum(axis=1)
  variance = (shares * (
      head.errors.reshape(-1, 2)**2 + (points - point[:, None])**2)).sum(axis=1)
  return np.concatenate([
      model_lib.EDGE * np.tanh(point / model_lib.EDGE),
      np.sqrt(variance + 1e-8)], axis=1)


@dataclasses.dataclass(frozen=True)
class CrossValidation:
  """What held-out pictures were estimated at, and how good that was.

  Attributes:
    figures: estimator -> metric -> its value in each fold, [repeats * folds].
      Estimators: 'mixture' (what ships, clipped to the plane), 'first alone'
      (its share of the mixture) and 'mean rating' (the baseline).
    estimates: of the mixture, in the first repeat, [num_pictures, 4].
  """

  figures: dict[str, dict[str, np.ndarray]]
  estimates: np.ndarray


def cross_validate(
    first: Data, others: Sequence[Data] = (),
    opinions: Sequence[Opinions] = (), *, by_group: bool, num_folds: int = 5,
    num_repeats: int = 1, seed: int = 0, caution: float = 1,
    name: str = 'folds') -> CrossValidation:
  """Measures `fit_head` on pictures that it was not fitted on.

  Args:
    first: is dealt to folds.
    others: further datasets, which are not.
    opinions: of these.
    by_group: whether the test folds keep groups together, as inner folds do.
    num_folds: at least 2.
    num_repeats: how often pictures are dealt to folds anew.
    seed: of the first repeat; later ones count on from it.
    caution: see `fit_head`.
    name: on the progress bar.

  Raises:
    ValueError: if there are fewer groups or pictures than folds need.
  """
  splitter = (
      model_selection.GroupKFold if by_group else model_selection.KFold)
  folds = []
  points = first.ratings.points
  estimates = np.zeros((len(points), 4))
  with tqdm.tqdm(
      total=num_folds * num_repeats, desc=name, unit='fold') as bar:
    for repeat in range(num_repeats):
      splits = splitter(
          num_folds, shuffle=True, random_state=seed + repeat).split(
              first.features, groups=first.ratings.groups if by_group else None)
      for train, test in splits:
        part = first[train]
        kinds = learn_kinds([part, *others], seed) if others else None
        fit = fit_head(part, opinions, kinds, seed, caution)
        found = apply_head(fit.head, first.features[test])
        alone = apply_head(
            fit.head, first.features[test],
            np.tile(np.eye(1 + len(others))[0], (len(test), 1)))
        folds.append({
            key: metrics.evaluate(points[test], value.clip(-1, 1), Scale.OASIS)
            for key, value in {
                'mixture': found[:, :2], 'first alone': alone[:, :2],
                'mean rating': np.tile(
                    fit.calibrations[0].center, (len(test), 1)),
            }.items()})
        if repeat == 0:
          estimates[test] = found
        bar.update()
  return CrossValidation(_stacked(folds), estimates)


@dataclasses.dataclass(frozen=True)
class Unseen:
  """What a head says of a dataset whose like it was not fitted on.

  Attributes:
    rated: [n, 2].
    points: [n, 2], estimates.
    errors: [n, 2], variance that comes of the head's errors.
    disagreement: [n, 2], variance of what the datasets' raters would say.
  """

  rated: np.ndarray
  points: np.ndarray
  errors: np.ndarray
  disagreement: np.ndarray

  def estimates(self, caution: float) -> np.ndarray:
    """Points and spreads [n, 4], with `caution` as `fit_head` takes it."""
    return np.concatenate([
        self.points, np.sqrt(caution**2 * self.errors + self.disagreement)],
        axis=1)


def leave_out(
    data: Sequence[Data], opinions: Sequence[Opinions], left_out: int,
    seed: int = 0) -> Unseen:
  """Estimates of a dataset, fitted on all the others."""
  kept = [i for i in range(len(data)) if i != left_out]
  parts, said = [data[i] for i in kept], [opinions[i] for i in kept[1:]]
  kinds = learn_kinds(parts, seed) if len(parts) > 1 else None
  head = fit_head(parts[0], said, kinds, seed).head
  features = data[left_out].features
  found = apply_head(head, features)
  head.errors[:] = 0
  disagreement = apply_head(head, features)[:, 2:]**2
  return Unseen(
      data[left_out].ratings.points, found[:, :2],
      found[:, 2:]**2 - disagreement, disagreement)


def caution_of(unseen: Sequence[Unseen]) -> float:
  """With which as many ratings as should are covered, in the datasets' mean."""
  def excess(caution):
    return np.mean([
        covered(u.rated, u.estimates(caution)) for u in unseen]) - COVERED

  low, high = 0.25, 4.0
  if excess(low) > 0 or excess(high) < 0:
    return low if excess(low) > 0 else high
  return optimize.brentq(excess, low, high, xtol=1e-3)


def covered(points: np.ndarray, estimates: np.ndarray) -> float:
  """Share of ratings within the ellipse of one spread, nominally `COVERED`.

  Args:
    points: [n, 2].
    estimates: [n, 4].
  """
  off = (points - estimates[:, :2]) / estimates[:, 2:]
  return float(((off**2).sum(axis=1) < 1).mean())


def _stacked(folds) -> dict[str, dict[str, np.ndarray]]:
  return {
      name: {key: np.array([fold[name][key] for fold in folds])
             for key in folds[0][name]}
      for name in folds[0]}


def train(
    datasets: Sequence[str],
    run_dir: str | os.PathLike,
    config: model_lib.Config,
    weights: Sequence[str | os.PathLike] = (),
    *,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    num_folds: int = 5,
    num_repeats: int = 3,
    seed: int = 0,
    command: str = '',
) -> dict[str, dict[str, dict[str, np.ndarray]]]:
  """Measures, fits on all of the first dataset, and writes a checkpoint.

  Args:
    datasets: names that TFDS knows; the first is what the model is fitted to,
      calibrated to and measured on, the others help.
    run_dir: is given `config.json`, `weights.npz`, `README.md` and
      `predicted_vs_rated.png`; and `features/`, from which a run that was
      stopped goes on, and which may be deleted then.
    config: backbones and input size.
    weights: see `model.build_features`; what the backbones were published with
      if empty.
    data_dir: where TFDS keeps datasets; its own choice if None.
    manual_dir: where TFDS finds what cannot be downloaded.
    num_folds: of the cross-validation.
    num_repeats: of the cross-validation.
    seed: of every split.
    command: what made the model, for the card.

  Returns:
    What was measured -> estimator -> metric -> values; see `CrossValidation`.
  """
  if num_folds < 2 or num_repeats < 1:
    raise ValueError(
        'at least 2 folds and 1 repeat are needed, got '
        f'{num_folds} and {num_repeats}')
  if not datasets or len(set(datasets)) < len(datasets):
    raise ValueError(
        f'different datasets are needed, got {",".join(datasets) or "none"}')
  run_dir = pathlib.Path(run_dir)
  datasets_ = [Dataset(name, data_dir, manual_dir) for name in datasets]
  network = model_lib.build_features(config, weights, pretrained=True)
  job = {
      **dataclasses.asdict(config),
      'weights': {
          os.path.basename(path): hashlib.sha256(
              pathlib.Path(path).read_bytes()).hexdigest()
          for path in weights},
  }
  folder = _features_folder(run_dir, job)
  ratings = [dataset.ratings() for dataset in datasets_]
  features = [
      extract_features(network, config, dataset, folder).astype(np.float64)
      for dataset in datasets_]

  depths = model_lib.depths(config, network)
  data_of = [
      Data(r, f, depths) for r, f in zip(ratings, features, strict=True)]
  first, *rest = data_of
  opinions = [learn_opinions(d, seed) for d in tqdm.tqdm(
      data_of, desc='regressions', unit='dataset')] if rest else []
  unseen = [
      leave_out(data_of, opinions, i, seed)
      for i in range(len(data_of) if rest else 0)]
  caution = caution_of(unseen) if rest else 1
  validations = {}
  for name, by_group in (('random folds', False), ('folds by group', True)):
    validations[name] = cross_validate(
        first, rest, opinions[1:], by_group=by_group, name=name,
        num_folds=num_folds, num_repeats=num_repeats, seed=seed,
        caution=caution)
  results = {
      name: validation.figures for name, validation in validations.items()}
  fit = fit_head(
      first, opinions[1:], learn_kinds(data_of, seed) if rest else None, seed,
      caution)
  kinds = {}
  for i, (d, found) in enumerate(zip(data_of, unseen, strict=False)):
    points, others = d.ratings.points, unseen[:i] + unseen[i + 1:]
    kinds[d.ratings.name] = {
        'own raters, held out': _kind_figures(
            points, fit.calibrations[i].held_out),
        'left out': _kind_figures(points, found.points) | {
            'covered without caution': covered(points, found.estimates(1)),
            'covered': covered(points, found.estimates(caution_of(others)))},
        'mean rating': _kind_figures(
            points, np.tile(points.mean(axis=0), (len(points), 1)))}

  model = model_lib.ImageToVa(config, network, fit.head)
  model.save(run_dir)
  # Absolute: `image_va` alone is the name of what ships.
  shipped = model_lib.load(run_dir.absolute())
  picture = next(datasets_[0].pictures(0))
  shipped.predict([picture])  # Compiles the network.
  start = time.process_time()
  for _ in range(_TIMED):
    shipped.predict([picture])
  milliseconds = 1000 * (time.process_time() - start) / _TIMED
  points = first.ratings.points
  estimates = validations['folds by group'].estimates[:, :2]
  plot_held_out(
      run_dir / 'predicted_vs_rated.png', points, estimates, [
          f'{axis}: r {metrics.pearson_r(points[:, i], estimates[:, i]):.2f}, '
          f'CCC {metrics.ccc(points[:, i], estimates[:, i]):.2f}'
          for i, axis in enumerate(metrics.AXES)], 'predicted')
  megabytes = (run_dir / 'weights.npz').stat().st_size / 1e6
  with files.writing(run_dir / 'README.md') as path:
    path.write_text(card(
        job, ratings, fit, results, kinds, caution=caution,
        own_covered={
            name: covered(first.ratings.points, validation.estimates)
            for name, validation in validations.items()},
        num_folds=num_folds, num_repeats=num_repeats, seed=seed,
        command=command, milliseconds=milliseconds, megabytes=megabytes))
  return results


def _kind_figures(points, estimates) -> dict[str, float]:
  """Pearson r of each axis, share of right quadrants, mean distance."""
  distances = np.sqrt(((points - estimates)**2).sum(axis=1))
  varies = estimates.std(axis=0).min() > 1e-9
  return {
      f'{axis} r': metrics.pearson_r(points[:, i], estimates[:, i])
      if varies else np.nan for i, axis in enumerate(metrics.AXES)} | {
          'right quadrant': (
              (points >= 0) == (estimates >= 0)).all(axis=1).mean(),
          'mean distance': distances.mean()}


def _features_folder(run_dir: pathlib.Path, job) -> pathlib.Path:
  """Where features are kept, which must be of the same job."""
  folder = run_dir / 'features'
  folder.mkdir(parents=True, exist_ok=True)
  text = json.dumps(job, indent=2) + '\n'
  path = folder / 'job.json'
  if path.is_file() and path.read_text() != text:
    raise ValueError(
        f'{folder} holds features of other backbones or another image size: '
        'give another --run_dir or delete it')
  with files.writing(path) as temporary:
    temporary.write_text(text)
  return folder


def card(
    job: dict, ratings: Sequence[Ratings], fit: Fit, results: dict,
    kinds: dict, *, caution: float, own_covered: dict[str, float],
    num_folds: int, num_repeats: int, seed: int, command: str,
    milliseconds: float, megabytes: float) -> str:
  """The README.md of a checkpoint."""
  first, *rest = ratings
  validations = {
      name: results[name] for name in ('random folds', 'folds by group')}
  estimators = list(results['random folds'])
  figures = _table(
      [f'{fold}, {name}' for fold in validations for name in estimators],
      {key: [_cell(validation[name][key])
             for validation in validations.values() for name in estimators]
       for key in results['random folds']['mixture']})
  keys = list(next(iter(kinds.values()))['left out']) if kinds else []
  elsewhere = '' if not kinds else cards.render(
      'image_kinds', num_inner=_INNER_FOLDS, expected=COVERED, first=first.name,
      random=own_covered['random folds'],
      by_group=own_covered['folds by group'],
      table=_table(keys, {
          f'{name}, {how}': [_cell(np.array([found.get(key, np.nan)]))
                             for key in keys]
          for name, hows in kinds.items() for how, found in hows.items()}))
  backbones = '\n'.join(
      f'- {backbones_lib.BUILT_IN.get(name, f"`{name}`, a preset of KerasHub")}'
      for name in job['backbones'])
  weights = '\n'.join(
      f'- `{name}`, SHA-256 `{digest}`'
      for name, digest in job['weights'].items()) or '- as published'
  data = '\n\n'.join(
      f'`{r.name}`: {r.about}\nHere: {len(r)} pictures in {len(set(r.groups))} '
      'groups' + (f', {r.num_raters} raters each (median).' if r.num_raters
                  else '.') for r in ratings)
  helped = '' if not rest else cards.render(
      'image_spread', others=' and '.join(f'`{r.name}`' for r in rest),
      first=first.name, first_counts=_FIRST_COUNTS, reach=_REACH_SHARE,
      edge=model_lib.EDGE, caution=caution)
  chosen = _table(
      ['penalty', 'scaled by', 'error of held-out estimates'],
      {f'`{r.name}`': [_pair(c.penalty), _pair(c.spread), _pair(c.errors)]
       for r, c in zip(ratings, fit.calibrations, strict=True)})
  return cards.render(
      'image', width=job['image_width'], height=job['image_height'],
      backbones=backbones, num_first=len(first), first=first.name,
      helped=helped, data=data, weights=weights, chosen=chosen,
      num_inner=_INNER_FOLDS, command=command, seed=seed,
      milliseconds=milliseconds, num_pictures=sum(map(len, ratings)),
      megabytes=megabytes, num_folds=num_folds, num_repeats=num_repeats,
      figures=figures, elsewhere=elsewhere)


def _table(header: Sequence[str], rows: dict[str, list[str]]) -> str:
  return tables.table({
      name.replace('/', ' '): dict(zip(header, cells, strict=True))
      for name, cells in rows.items()})


def _cell(values) -> str:
  if np.isnan(values).any():
    return '–'
  mean = f'{np.mean(values).round(3) + 0:.3f}'  # No '-0.000'.
  return f'{mean} ± {np.std(values):.3f}' if len(values) > 1 else mean


def _pair(values) -> str:
  return ' and '.join(f'{value:.2g}' for value in values)
