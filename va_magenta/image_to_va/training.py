"""Fits the head of the picture model on OASIS and measures it.

The backbone stays as ImageNet left it; ridge regression reads valence and
arousal from its features. What a fold is tested on has no part in anything that
is chosen for it: penalty and calibration come from cross-validation inside the
training folds, always with the pictures of a theme kept together, because the
pictures that the model will meet have no siblings in OASIS either.

Calibration: least squares estimates of noisy ratings shrink towards the mean
(a picture that people find extreme comes out gray). The head is scaled about
the mean so that the spread of its held-out estimates is that of the ratings;
this costs squared error and changes no correlation, so both are reported.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from absl import logging
from sklearn import linear_model, model_selection, pipeline, preprocessing

from va_magenta.evaluation import metrics
from va_magenta.image_to_va import images as images_lib
from va_magenta.image_to_va import model as model_lib
from va_magenta.va import Scale

PENALTIES = np.logspace(2, 5, 13)
_INNER_FOLDS = 5
_COLUMNS = ('Theme', 'Valence_mean', 'Arousal_mean')


@dataclasses.dataclass(frozen=True)
class Oasis:
  """The Open Affective Standardized Image Set (Kurdi et al. 2017).

  Attributes:
    paths: the pictures' files.
    ratings: people's mean valence and arousal, [num_images, 2] in [-1, 1].
    themes: 'Acorns' for 'Acorns 1', 'Acorns 2', ...: pictures to keep together.
  """

  paths: Sequence[pathlib.Path]
  ratings: np.ndarray
  themes: np.ndarray


def read_oasis(folder: str | os.PathLike) -> Oasis:
  """Reads `OASIS.csv` and finds `images/THEME.jpg` in a folder.

  Raises:
    FileNotFoundError: if the table or a picture is missing.
    ValueError: if the table is not OASIS's.
  """
  folder = pathlib.Path(folder)
  table_path = folder / 'OASIS.csv'
  if not table_path.is_file():
    raise FileNotFoundError(
        f'{folder} is not OASIS: it has no OASIS.csv (with images/ beside it)')
  try:
    table = pd.read_csv(table_path)
    missing = [name for name in _COLUMNS if name not in table]
  except ValueError as error:
    raise ValueError(f'{table_path} is not a table: {error}') from error
  if missing:
    raise ValueError(f'{table_path} has no column {missing[0]!r}')
  ratings = table[list(_COLUMNS[1:])].to_numpy(float)
  low, high = Scale.OASIS.value
  if not ((ratings >= low) & (ratings <= high)).all():
    raise ValueError(
        f'{table_path} has ratings outside {low:g}..{high:g} or missing')
  # Some themes of the published table carry stray spaces.
  names = table.Theme.str.strip()
  paths = [folder / 'images' / f'{name}.jpg' for name in names]
  for path in paths:
    if not path.is_file():
      raise FileNotFoundError(f'{table_path} names a picture not at {path}')
  themes = np.array([re.sub(r'\s*\d+$', '', name) for name in names])
  return Oasis(paths, Scale.OASIS.to_plane(ratings), themes)


def extract_features(
    backbone, config: model_lib.Config, paths: Sequence[os.PathLike],
    chunk_size: int = 64) -> np.ndarray:
  """What the backbone sees in picture files, [num_images, num_features]."""
  features = []
  for start in range(0, len(paths), chunk_size):
    chunk = [images_lib.load_image(p) for p in paths[start:start + chunk_size]]
    features.append(model_lib.run_network(backbone, config, chunk))
    logging.info('features of %d of %d', start + len(chunk), len(paths))
  return np.concatenate(features)


@dataclasses.dataclass(frozen=True)
class Head:
  """A fitted linear layer; arrays hold valence, then arousal.

  Attributes:
    kernel: [num_features, 2], before calibration.
    bias: [2], before calibration.
    center: [2], the point that calibration scales about.
    spread: [2], by how much.
    penalty: [2], what ridge regression was given.
  """

  kernel: np.ndarray
  bias: np.ndarray
  center: np.ndarray
  spread: np.ndarray
  penalty: np.ndarray

  @property
  def calibrated_kernel(self) -> np.ndarray:
    """What ships, [num_features, 2]."""
    return self.kernel * self.spread

  @property
  def calibrated_bias(self) -> np.ndarray:
    """What ships, [2]."""
    return self.center + (self.bias - self.center) * self.spread


def fit_head(
    features: np.ndarray, ratings: np.ndarray, themes: np.ndarray,
    seed: int = 0) -> Head:
  """Ridge regression with penalty and calibration from inner folds by theme.

  Args:
    features: [num_images, num_features].
    ratings: [num_images, 2] in [-1, 1].
    themes: [num_images], labels of pictures to keep together.
    seed: of the inner folds.
  """
  def ridge(penalty):
    return pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        linear_model.Ridge(alpha=penalty, solver='cholesky'))

  folds = list(model_selection.GroupKFold(
      _INNER_FOLDS, shuffle=True, random_state=seed).split(
          features, groups=themes))
  held_out = np.stack([
      model_selection.cross_val_predict(
          ridge(penalty), features, ratings, cv=folds)
      for penalty in PENALTIES])
  best = ((held_out - ratings)**2).mean(axis=1).argmin(axis=0)
  axes = np.arange(2)
  estimates = held_out[best, :, axes].T
  spread = ratings.std(axis=0) / np.maximum(estimates.std(axis=0), 1e-6)

  scaler, regression = ridge(PENALTIES[best]).fit(features, ratings)
  kernel = (regression.coef_ / scaler.scale_).T
  return Head(
      kernel=kernel,
      bias=regression.intercept_ - scaler.mean_ @ kernel,
      center=ratings.mean(axis=0),
      spread=spread,
      penalty=PENALTIES[best])


@dataclasses.dataclass(frozen=True)
class CrossValidation:
  """What held-out pictures were estimated at, and how good that was.

  Attributes:
    figures: estimator -> metric -> its value in each fold, [repeats * folds].
      Estimators: 'calibrated' (what ships, clipped to the plane), 'least
      squares' (before calibration) and 'mean rating' (the baseline).
    estimates: calibrated, of the first repeat, [num_images, 2].
  """

  figures: dict[str, dict[str, np.ndarray]]
  estimates: np.ndarray


def cross_validate(
    features: np.ndarray, ratings: np.ndarray, themes: np.ndarray, *,
    by_theme: bool, num_folds: int = 5, num_repeats: int = 1,
    seed: int = 0) -> CrossValidation:
  """Measures `fit_head` on pictures that it was not fitted on.

  Args:
    features: [num_images, num_features].
    ratings: [num_images, 2] in [-1, 1].
    themes: [num_images], labels of pictures that belong together.
    by_theme: whether the test folds, too, keep themes together.
    num_folds: at least 2.
    num_repeats: how often pictures are dealt to folds anew.
    seed: of the first repeat; later ones count on from it.

  Raises:
    ValueError: if there are fewer themes or pictures than folds need.
  """
  splitter = (
      model_selection.GroupKFold if by_theme else model_selection.KFold)
  folds = []
  estimates = np.zeros_like(ratings)
  for repeat in range(num_repeats):
    splits = splitter(
        num_folds, shuffle=True, random_state=seed + repeat).split(
            features, groups=themes if by_theme else None)
    for train, test in splits:
      head = fit_head(features[train], ratings[train], themes[train], seed)
      calibrated = np.clip(
          features[test] @ head.calibrated_kernel + head.calibrated_bias,
          -1, 1)
      if repeat == 0:
        estimates[test] = calibrated
      folds.append({
          'calibrated': calibrated,
          'least squares': features[test] @ head.kernel + head.bias,
          'mean rating': np.tile(head.center, (len(test), 1)),
      })
      for name, points in folds[-1].items():
        folds[-1][name] = metrics.evaluate(ratings[test], points, Scale.OASIS)
      logging.info(
          'fold %d of %d: r %.3f %.3f', len(folds), num_folds * num_repeats,
          *(folds[-1]['calibrated'][f'{a}/pearson_r'] for a in metrics.AXES))
  figures = {
      name: {key: np.array([fold[name][key] for fold in folds])
             for key in folds[0][name]}
      for name in folds[0]
  }
  return CrossValidation(figures, estimates)


def train(
    oasis_dir: str | os.PathLike,
    run_dir: str | os.PathLike,
    config: model_lib.Config,
    backbone_weights: str | os.PathLike | None = None,
    *,
    num_folds: int = 5,
    num_repeats: int = 3,
    seed: int = 0,
    command: str = '',
) -> dict[str, CrossValidation]:
  """Measures, fits on all of OASIS, and writes a checkpoint with its card.

  Args:
    oasis_dir: see `read_oasis`.
    run_dir: is given `config.json`, `weights.npz`, `README.md` and
      `predicted_vs_rated.png`.
    config: backbone, input size and layers.
    backbone_weights: see `model.build_backbone`.
    num_folds: of the cross-validation.
    num_repeats: of the cross-validation.
    seed: of every split.
    command: what made the model, for the card.

  Returns:
    'random folds' and 'folds by theme': how good it is.
  """
  oasis = read_oasis(oasis_dir)
  if num_folds < 2 or num_repeats < 1:
    raise ValueError(
        'at least 2 folds and 1 repeat are needed, got '
        f'{num_folds} and {num_repeats}')
  backbone = model_lib.build_backbone(config, backbone_weights)
  features = extract_features(backbone, config, oasis.paths)
  results = {}
  for name, by_theme in (('random folds', False), ('folds by theme', True)):
    logging.info('cross-validating: %s', name)
    results[name] = cross_validate(
        features, oasis.ratings, oasis.themes, by_theme=by_theme,
        num_folds=num_folds, num_repeats=num_repeats, seed=seed)
  head = fit_head(features, oasis.ratings, oasis.themes, seed)
  model = model_lib.ImageToVa(config, backbone)
  model.set_head(head.calibrated_kernel, head.calibrated_bias)
  model.save(run_dir)

  run_dir = pathlib.Path(run_dir)
  _replace(
      run_dir / 'predicted_vs_rated.png',
      lambda path: plot(
          oasis.ratings, results['folds by theme'].estimates, path))
  text = card(config, head, results, oasis, num_folds, num_repeats, command)
  _replace(run_dir / 'README.md', lambda path: path.write_text(text))
  return results


def _replace(path: pathlib.Path, write: Callable[[pathlib.Path], object]):
  """Lets a file appear whole or not at all."""
  temporary = path.with_name(f'.{path.name}.tmp')
  write(temporary)
  os.replace(temporary, path)


def plot(rated: np.ndarray, predicted: np.ndarray, path: str | os.PathLike):
  """Scatter plot of both axes, [num_images, 2] each, as a PNG."""
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


def card(config, head, results, oasis, num_folds, num_repeats, command) -> str:
  """The README.md of a checkpoint."""
  rows = []
  estimators = next(iter(results.values())).figures
  for key in estimators['calibrated']:
    cells = []
    for validation in results.values():
      for name in estimators:
        values = validation.figures[name][key]
        cells.append(
            '–' if np.isnan(values).any()
            # No '-0.000'.
            else f'{values.mean().round(3) + 0:.3f} ± {values.std():.3f}')
    rows.append(f'| {key.replace("/", " ")} | ' + ' | '.join(cells) + ' |')
  header = ' | '.join(
      f'{fold}, {name}' for fold in results for name in estimators)
  rules = '|'.join(['---'] * (1 + len(results) * len(estimators)))
  table = '\n'.join([f'| metric | {header} |', f'|{rules}|', *rows])
  layers = ', '.join(f'`{name}`' for name in config.feature_layers)
  return f'''# Picture to valence and arousal

`{config.backbone}` as pretrained on ImageNet (weights: Apache-2.0), frozen; a
picture is resized to {config.image_width} x {config.image_height} pixels and
seen together with its mirror image; the means over positions of
{layers}
go to one linear layer, ridge regression fitted on people's ratings, which gives
valence and arousal in [-1, 1].

- Data: OASIS, the Open Affective Standardized Image Set (Kurdi, Lozano & Banaji
  2017), {len(oasis.paths)} pictures, mean ratings of about 100 people each on
  1..7; free for research use.
- Penalty (valence, arousal): {head.penalty[0]:.3g}, {head.penalty[1]:.3g};
  spread of the estimates scaled by {head.spread[0]:.2f}, {head.spread[1]:.2f}
  so that held-out estimates spread as people's ratings do.
- Weights are stored as float16.
- Made by:

```
{command}
```

## How good it is

{num_folds} folds, dealt {num_repeats} times: mean ± standard deviation over
folds. Penalty and calibration are chosen inside the training folds. *By theme*
keeps 'Acorns 1', 'Acorns 2', ... in one fold, as for a picture unlike any that
was trained on. *Calibrated* is what ships; *least squares* is the same before
its spread is matched to people's; *mean rating* knows nothing of the picture.
Errors are in units of the 1..7 scale; sign and quadrant are about its middle.

{table}

![predicted against rated](predicted_vs_rated.png)

Held-out estimates, folds by theme (first deal), calibrated.

## Limits

OASIS is mostly photographs, rated by adults in the United States; drawings,
text and screenshots were never seen. The features are those of object
recognition: who or what is shown is seen better than what happens.
'''
