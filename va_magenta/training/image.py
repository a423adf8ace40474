"""Fits and measures the model that places a picture on the VA plane.

The backbones stay as they were pretrained: what they see of every picture is
computed once and kept in the run's folder. On that the head is a Gaussian
process (kernel ridge regression): a picture feels like the rated pictures that
it resembles. Raters of further datasets help by way of a first regression that
learns what they would say; their scale need not be the first dataset's.
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
from sklearn import linear_model, model_selection

from va_magenta import files
from va_magenta.figures import metrics
from va_magenta.image_to_va import backbones as backbones_lib
from va_magenta.image_to_va import model as model_lib
from va_magenta.va import Scale

# Candidates for the penalty: variance of what no picture tells (raters'
# differences, tastes) over that of what similar pictures share.
PENALTIES = np.logspace(-1.5, 0.5, 9)
# Of the regression on further datasets; pictures lie about 1 from the mean.
_OPINIONS_PENALTIES = np.logspace(-0.5, 1.5, 5)
# How much what others' raters would say counts beside resemblance, as shares of
# the Gaussian process's variance.
_OPINIONS_WEIGHT = 0.03
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
  """

  name: str
  points: np.ndarray
  groups: np.ndarray
  num_raters: int
  about: str

  def __len__(self):
    return len(self.points)


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
        (e['valence'], e['arousal'], e['group'].decode(), e['num_raters'])
        for e in self._examples(decode=False)]
    return Ratings(
        self.name,
        np.array([row[:2] for row in rows], float),
        np.array([row[2] for row in rows]),
        int(np.median([row[3] for row in rows])),
        self._builder.info.description.strip().split('\n\n')[0])

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
class Fit:
  """A fitted head and what was chosen for it; arrays hold valence, arousal.

  Attributes:
    head: with the estimates of least squares.
    center: [2], mean rating, the point that calibration scales about.
    spread: [2], by how much.
    penalty: [2], what was chosen of `PENALTIES`.
  """

  head: model_lib.Head
  center: np.ndarray
  spread: np.ndarray
  penalty: np.ndarray

  def calibrated_head(self) -> model_lib.Head:
    """What ships: its held-out estimates spread as people's ratings do."""
    return dataclasses.replace(
        self.head,
        center_weights=self.head.center_weights * self.spread,
        others_weights=self.head.others_weights * self.spread,
        bias=self.center + (self.head.bias - self.center) * self.spread)


def fit_head(
    features: np.ndarray, ratings: np.ndarray, groups: np.ndarray,
    opinions: np.ndarray | None = None, seed: int = 0) -> Fit:
  """Fits with penalty and calibration from inner folds by group.

  Args:
    features: [num_pictures, num_features].
    ratings: [num_pictures, 2] in [-1, 1].
    groups: [num_pictures], labels of pictures to keep together.
    opinions: of raters of other datasets, see `learn_opinions`.
    seed: of the inner folds.
  """
  mean, scale = _standardization(features)
  z = (features - mean) * scale
  if opinions is None:
    opinions = np.zeros((len(mean), 0))
  # Of raw features, now of z, and scaled to count as much as it should.
  opinions = opinions / np.where(scale > 0, scale, np.inf)[:, None]
  opinions /= np.maximum((z @ opinions).std(axis=0), 1e-6)
  opinions *= np.sqrt(_OPINIONS_WEIGHT / max(1, opinions.shape[1]))
  said = z @ opinions
  said_mean = said.mean(axis=0)
  said = said - said_mean
  kernel = _similarities(z, z) + said @ said.T

  folds = list(model_selection.GroupKFold(
      _INNER_FOLDS, shuffle=True, random_state=seed).split(z, groups=groups))
  held_out = np.zeros((len(PENALTIES), *ratings.shape))
  for train, test in folds:
    held_out[:, test] = _krr(
        kernel[np.ix_(train, train)], ratings[train],
        kernel[np.ix_(test, train)])
  best = ((held_out - ratings)**2).mean(axis=1).argmin(axis=0)
  estimates = held_out[best, :, [0, 1]].T
  spread = ratings.std(axis=0) / np.maximum(estimates.std(axis=0), 1e-6)

  center = ratings.mean(axis=0)
  center_weights = np.stack([
      np.linalg.solve(
          kernel + PENALTIES[best[axis]] * np.eye(len(z)),
          ratings[:, axis] - center[axis]) for axis in (0, 1)], axis=1)
  others_weights = said.T @ center_weights
  return Fit(
      head=model_lib.Head(
          mean=mean, scale=scale, others_kernel=opinions, centers=z,
          center_weights=center_weights, others_weights=others_weights,
          bias=center - said_mean @ others_weights),
      center=center, spread=spread, penalty=PENALTIES[best])


def _standardization(features) -> tuple[np.ndarray, np.ndarray]:
  """Mean and scale of each feature; pictures then lie about 1 from 0."""
  mean, deviation = features.mean(axis=0), features.std(axis=0)
  scale = 1 / np.maximum(deviation, _SMALLEST_DEVIATION)
  scale[deviation < _SMALLEST_DEVIATION] = 0
  return mean, scale / np.sqrt(len(mean))


def learn_opinions(
    others: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
  """What raters of other datasets would say, by ridge regression.

  Args:
    others: of each dataset features [num_pictures, num_features] and ratings
      [num_pictures, 2].

  Returns:
    [num_features, 2 * len(others)], by which features give what they would say
    up to a constant.
  """
  kernels = []
  for features, ratings in others:
    mean, scale = _standardization(features)
    regression = linear_model.RidgeCV(
        _OPINIONS_PENALTIES, alpha_per_target=True).fit(
            (features - mean) * scale, ratings)
    kernels.append(regression.coef_.T * scale[:, None])
  return np.concatenate(kernels, axis=1)


def _similarities(z, centers) -> np.ndarray:
  """As `model.Similarity` has them, [len(z), len(centers)]."""
  distances = (
      (z**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1)
      - 2 * z @ centers.T)
  return np.exp(-distances / 2)


def _krr(kernel, ratings, test_kernel) -> np.ndarray:
  """Kernel ridge regression, [num_penalties, num_test, 2]."""
  eigenvalues, vectors = np.linalg.eigh(kernel)
  mean = ratings.mean(axis=0)
  projected = vectors.T @ (ratings - mean)
  test_vectors = test_kernel @ vectors
  return np.stack([
      test_vectors @ (projected / (eigenvalues + penalty)[:, None]) + mean
      for penalty in PENALTIES])


def apply_head(head: model_lib.Head, features: np.ndarray) -> np.ndarray:
  """Estimates [num_pictures, 2], as `model.Similarity` makes them."""
  z = (features - head.mean) * head.scale
  return (
      _similarities(z, head.centers) @ head.center_weights
      + z @ head.others_kernel @ head.others_weights + head.bias)


@dataclasses.dataclass(frozen=True)
class CrossValidation:
  """What held-out pictures were estimated at, and how good that was.

  Attributes:
    figures: estimator -> metric -> its value in each fold, [repeats * folds].
      Estimators: 'calibrated' (what ships, clipped to the plane), 'least
      squares' (before calibration) and 'mean rating' (the baseline).
    estimates: calibrated, of the first repeat, [num_pictures, 2].
  """

  figures: dict[str, dict[str, np.ndarray]]
  estimates: np.ndarray


def cross_validate(
    features: np.ndarray, ratings: np.ndarray, groups: np.ndarray, *,
    by_group: bool, opinions: np.ndarray | None = None, num_folds: int = 5,
    num_repeats: int = 1, seed: int = 0,
    name: str = 'folds') -> CrossValidation:
  """Measures `fit_head` on pictures that it was not fitted on.

  Args:
    features: [num_pictures, num_features].
    ratings: [num_pictures, 2] in [-1, 1].
    groups: [num_pictures], labels of pictures that belong together.
    by_group: whether the test folds, too, keep groups together.
    opinions: see `fit_head`.
    num_folds: at least 2.
    num_repeats: how often pictures are dealt to folds anew.
    seed: of the first repeat; later ones count on from it.
    name: on the progress bar.

  Raises:
    ValueError: if there are fewer groups or pictures than folds need.
  """
  splitter = (
      model_selection.GroupKFold if by_group else model_selection.KFold)
  folds = []
  estimates = np.zeros_like(ratings)
  with tqdm.tqdm(
      total=num_folds * num_repeats, desc=name, unit='fold') as bar:
    for repeat in range(num_repeats):
      splits = splitter(
          num_folds, shuffle=True, random_state=seed + repeat).split(
              features, groups=groups if by_group else None)
      for train, test in splits:
        fit = fit_head(
            features[train], ratings[train], groups[train], opinions, seed)
        folds.append(_figures(fit, features[test], ratings[test]))
        if repeat == 0:
          estimates[test] = _calibrated(fit, features[test])
        bar.update()
  return CrossValidation(_stacked(folds), estimates)


def _calibrated(fit: Fit, features) -> np.ndarray:
  return np.clip(apply_head(fit.calibrated_head(), features), -1, 1)


def _figures(fit: Fit, features, ratings) -> dict[str, dict[str, float]]:
  """Estimator -> metric -> value, on pictures that were not fitted on."""
  return {
      name: metrics.evaluate(ratings, points, Scale.OASIS)
      for name, points in {
          'calibrated': _calibrated(fit, features),
          'least squares': apply_head(fit.head, features),
          'mean rating': np.tile(fit.center, (len(ratings), 1)),
      }.items()}


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
  data = [Dataset(name, data_dir, manual_dir) for name in datasets]
  network = model_lib.build_features(config, weights, pretrained=True)
  job = {
      **dataclasses.asdict(config),
      'weights': {
          os.path.basename(path): hashlib.sha256(
              pathlib.Path(path).read_bytes()).hexdigest()
          for path in weights},
  }
  folder = _features_folder(run_dir, job)
  ratings = [dataset.ratings() for dataset in data]
  features = [
      extract_features(network, config, dataset, folder).astype(np.float64)
      for dataset in data]

  first, *rest = ratings
  opinions = learn_opinions([
      (f, r.points) for f, r in zip(features[1:], rest, strict=True)
  ]) if rest else None
  kwargs = {
      'num_folds': num_folds, 'num_repeats': num_repeats, 'seed': seed}
  validations = {}
  for name, by_group in (('random folds', False), ('folds by group', True)):
    validations[name] = cross_validate(
        features[0], first.points, first.groups, by_group=by_group,
        opinions=opinions, name=name, **kwargs)
  results = {
      name: validation.figures for name, validation in validations.items()}
  if rest:
    for name, by_group in (('random folds', False), ('folds by group', True)):
      results[f'{name}, {first.name} alone'] = cross_validate(
          features[0], first.points, first.groups, by_group=by_group,
          name=f'{name}, {first.name} alone', **kwargs).figures
  for source, source_features in zip(ratings, features, strict=True):
    if rest:
      fit = fit_head(
          source_features, source.points, source.groups, seed=seed)
    for target, target_features in zip(ratings, features, strict=True):
      if target is not source:
        results[f'{source.name} to {target.name}'] = _stacked(
            [_figures(fit, target_features, target.points)])

  fit = fit_head(features[0], first.points, first.groups, opinions, seed)
  model = model_lib.ImageToVa(config, network, fit.calibrated_head())
  model.save(run_dir)
  shipped = model_lib.load(run_dir)
  picture = next(data[0].pictures(0))
  shipped.predict([picture])  # Compiles the network.
  start = time.process_time()
  for _ in range(_TIMED):
    shipped.predict([picture])
  milliseconds = 1000 * (time.process_time() - start) / _TIMED
  with files.writing(run_dir / 'predicted_vs_rated.png') as path:
    plot(first.points, validations['folds by group'].estimates, path)
  megabytes = (run_dir / 'weights.npz').stat().st_size / 1e6
  with files.writing(run_dir / 'README.md') as path:
    path.write_text(card(
        job, ratings, fit, results, num_folds=num_folds,
        num_repeats=num_repeats, seed=seed, command=command,
        milliseconds=milliseconds, megabytes=megabytes))
  return results


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


def plot(rated: np.ndarray, predicted: np.ndarray, path: str | os.PathLike):
  """Scatter plot of both axes, [num_pictures, 2] each, as a PNG."""
  from matplotlib import figure  # Only training draws.
  drawing = figure.Figure(figsize=(9, 4.6), layout='constrained')
  panels = drawing.subplots(1, len(metrics.AXES))
  for i, name in enumerate(metrics.AXES):
    axes, x, y = panels[i], rated[:, i], predicted[:, i]
    axes.plot([-1, 1], [-1, 1], color='0.7', linewidth=1)
    axes.axhline(0, color='0.9', linewidth=1, zorder=0)
    axes.axvline(0, color='0.9', linewidth=1, zorder=0)
    axes.scatter(x, y, s=9, alpha=0.6, linewidths=0)
    axes.set(
        title=f'{name}: r {metrics.pearson_r(x, y):.2f}, '
        f'CCC {metrics.ccc(x, y):.2f}',
        xlabel='rated by people', ylabel='predicted (held out)',
        xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect='equal')
  drawing.savefig(path, format='png', dpi=100)


def card(
    job: dict, ratings: Sequence[Ratings], fit: Fit, results: dict, *,
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
       for key in results['random folds']['calibrated']})
  keys = [f'{axis}/{metric}' for metric in ('pearson_r', 'r2', 'ccc', 'rmse')
          for axis in metrics.AXES] + ['quadrant_accuracy']
  elsewhere = _table(
      [key.replace('/', ' ') for key in keys],
      {name: [_cell(found['calibrated'][key]) for key in keys]
       for name, found in results.items() if name not in validations})
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
  helped = '' if not rest else f'''
A ridge regression first learns what the raters of {_names(rest)} would say of a
picture. That enters beside resemblance, so their scale, their raters and their
kind of picture need not be those of `{first.name}`.
'''
  return f'''# Picture to valence and arousal

A picture, resized to {job['image_width']} x {job['image_height']} pixels, is
seen by networks that were pretrained to recognise objects and that stay as they
were:

{backbones}

Mean and standard deviation over positions of their activations at a few depths
are its features. By them it is compared with each of the {len(first)} pictures
of `{first.name}`: a Gaussian process (kernel ridge regression) holds that
pictures which look alike feel alike, and gives valence and arousal in [-1, 1].
{helped}
## Data

{data}

They are for research; `datasets/NAME/README.md` says under which terms. No
picture ships, only numbers computed from them.

## Files of pretrained weights

{weights}

## What was chosen

Two numbers are for valence and for arousal.

- Penalty {_pair(fit.penalty)}: how much of the ratings is held to be what no
  picture tells (raters' tastes, chance), as against what similar pictures
  share. More makes estimates more cautious. Chosen of {len(PENALTIES)} values
  in {_INNER_FOLDS} folds by group of the training pictures.
- Spread {_pair(fit.spread)}: a cautious estimate stays near the middle, so a
  picture that people find extreme would come out grey. Estimates are scaled
  about the mean rating by this much, so that for pictures that were held out
  they spread as people's ratings do. This costs squared error: compare
  *calibrated*, which ships, with *least squares*, the same without scaling.

## How it was made

```
{command}
```

Seed {seed}. Loaded and used before, the model takes {milliseconds:.0f} ms of
one core for a picture, and so do the backbones in training, which look at each
of {sum(map(len, ratings))} pictures once; the folds take a minute or two.
Weights are stored as float16, {megabytes:.1f} MB.

## How good it is

`{first.name}`, {num_folds} folds, dealt {num_repeats} times: mean ± standard
deviation over folds. Folds share most of their training pictures, and all deals
the same pictures: they are not independent, and the mean is less certain than
the deviation over the root of their number. Penalty and spread are chosen
inside the training folds. *Random folds*: a picture of which the like was
trained on. *Folds by group* keep 'Acorns 1', 'Acorns 2', ... together, as for a
picture unlike any that was trained on. *Mean rating* knows nothing of the
picture. Errors are in units of the scale 1..7; sign and quadrant are about its
middle.

{figures}

![predicted against rated](predicted_vs_rated.png)

Held-out estimates, folds by group (first deal), calibrated.

### Trained on less, or on other people

Calibrated. *Alone*: without the help of further datasets. *A to B*: fitted on
all of A alone, tested on all of B, whose raters and scale it never saw.

{elsewhere}

## Limits

Mostly photographs, rated by adults in North America; drawings, text and
screenshots were hardly seen. The features are those of object recognition: who
or what is shown is seen better than what happens, and facial expression least.
'''


def _table(header: Sequence[str], rows: dict[str, list[str]]) -> str:
  lines = [['', *header], ['---'] * (1 + len(header))]
  lines += [[name.replace('/', ' '), *cells] for name, cells in rows.items()]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _cell(values) -> str:
  if np.isnan(values).any():
    return '–'
  mean = f'{np.mean(values).round(3) + 0:.3f}'  # No '-0.000'.
  return f'{mean} ± {np.std(values):.3f}' if len(values) > 1 else mean


def _pair(values) -> str:
  return ' and '.join(f'{value:.2g}' for value in values)


def _names(ratings: Sequence[Ratings]) -> str:
  return ' and '.join(f'`{r.name}`' for r in ratings)
