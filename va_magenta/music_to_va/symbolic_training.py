"""Fits `symbolic` to people's ratings and measures it on pieces held out."""

import csv
import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta import files
from va_magenta.evaluation import metrics
from va_magenta.music_to_va import symbolic, symbolic_features
from va_magenta.music_to_va.trees import from_lightgbm
from va_magenta.va import Scale

BEATS_PER_BAR = 4
EXCERPT_BARS = (2, 4, 8)
# All that is made of a clip together weighs about as much as the clip.
MADE_WEIGHT = .25

# Two kinds of trees, averaged; how many leaves and trees each has is chosen by
# cross-validation within the training part.
MEMBERS = {
    'boosted': dict(learning_rate=.05, feature_fraction=.2),
    'boosted, random thresholds': dict(
        learning_rate=.06, feature_fraction=.5, extra_trees=True),
}
NUM_LEAVES = (15, 31)
MAX_TREES = 250
_COMMON = dict(
    objective='l2', num_threads=1, verbose=-1, force_col_wise=True,
    deterministic=True, bagging_freq=1, bagging_fraction=.7, lambda_l2=5,
    min_data_in_leaf=10, max_depth=8)


# Data.


def read_table(path: pathlib.Path, columns: Sequence[str]) -> list[dict]:
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


def excerpt(
    notes: np.ndarray, first_beat: float, num_beats: float) -> np.ndarray:
  """Notes that start within a stretch of a piece, cut at its end."""
  end = first_beat + num_beats
  notes = notes[
      (notes['start_beats'] >= first_beat) & (notes['start_beats'] < end)]
  length = notes['end_beats'] - notes['start_beats']
  left = np.minimum(1, (end - notes['start_beats']) / length)
  for unit in ('beats', 'seconds'):
    notes[f'end_{unit}'] = notes[f'start_{unit}'] + left * (
        notes[f'end_{unit}'] - notes[f'start_{unit}'])
  return notes


def melody_rendering(notes: np.ndarray) -> np.ndarray:
  """The top line as the generator would write it.

  One voice on a grid of sixteenths, at the piece's mean tempo and velocity.
  """
  tempo_qpm = 60 * (
      (notes['end_beats'].max() - notes['start_beats'].min()) /
      (notes['end_seconds'].max() - notes['start_seconds'].min()))
  melody = symbolic_features.skyline(notes)
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


def made_of(
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
    kinds: str [n]: 'clip', or as `made_of` says.
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
    return np.where(self.kinds == 'clip', 1, MADE_WEIGHT)


def read_eimg(
    folder: pathlib.Path, seed: int, report: Callable[[str], None]) -> Examples:
  """EIMG's rated clips (IEEE TMM 2023), and what is made of them."""
  rows = read_table(
      folder / 'labels.csv', ('file', 'valence', 'arousal', 'group'))
  rng = np.random.default_rng(seed)
  features, ratings, groups, kinds = [], [], [], []
  for row in rows:
    notes = symbolic_features.from_midi(folder / 'midi' / row['file'])
    for kind, piece in [('clip', notes), *made_of(notes, rng)]:
      features.append(symbolic_features.extract(piece))
      ratings.append([float(row['valence']), float(row['arousal'])])
      groups.append(int(row['group']))
      kinds.append(kind)
  report(f'{len(rows)} EIMG clips, {len(kinds) - len(rows)} pieces of them')
  return Examples(
      np.stack(features), Scale.EIMG.to_plane(np.array(ratings)),
      np.array(groups), np.array(kinds))


def read_emopia(
    folder: pathlib.Path, report: Callable[[str], None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """EMOPIA's clips (Hung et al. 2021).

  Returns:
    features, float32 [n, features]; quadrants, int [n] in 1..4; songs, str [n].
  """
  rows = [
      row for row in read_table(folder / 'label.csv', ('ID', '4Q'))
      if (folder / 'midi' / f'{row["ID"]}.mid').exists()
  ]
  if not rows:
    raise ValueError(f'{folder}: no clip of label.csv is in midi/')
  report(f'{len(rows)} EMOPIA clips')
  features = np.stack([
      symbolic_features.extract(
          symbolic_features.from_midi(folder / 'midi' / f'{row["ID"]}.mid'))
      for row in rows
  ])
  # Q1_0vLPYiPN7qY_0: quadrant, song, clip.
  songs = [row['ID'][3:].rpartition('_')[0] for row in rows]
  return features, np.array([int(row['4Q']) for row in rows]), np.array(songs)


# Fitting.


def _train(data: Examples, axis: int, parameters: dict, num_trees: int):
  import lightgbm

  return lightgbm.train(
      {**_COMMON, **parameters},
      lightgbm.Dataset(
          data.features, data.ratings[:, axis], weight=data.weights),
      num_trees)


def _folds(groups: np.ndarray, num_folds: int, seed: int):
  from sklearn import model_selection

  return list(model_selection.GroupKFold(
      num_folds, shuffle=True, random_state=seed).split(groups, groups=groups))


def choose(data: Examples, seed: int) -> dict:
  """Leaves and number of trees of each member, by axis.

  Args:
    data: the training part; a third of its groups is held out for the choice.
    seed: of the split and of the trees.
  """
  import lightgbm

  train, test = _folds(data.groups, 3, seed)[0]
  train, test = data[train], data[test]
  chosen = {}
  for axis, name in enumerate(symbolic.AXES):
    chosen[name] = []
    for member in MEMBERS.values():
      candidates = []
      for num_leaves in NUM_LEAVES:
        parameters = {**member, 'num_leaves': num_leaves, 'seed': seed}
        training = lightgbm.Dataset(
            train.features, train.ratings[:, axis], weight=train.weights)
        history = {}
        lightgbm.train(
            {**_COMMON, **parameters}, training, MAX_TREES,
            valid_sets=[training.create_valid(
                test.features, test.ratings[:, axis], weight=test.weights)],
            callbacks=[lightgbm.record_evaluation(history)])
        errors = history['valid_0']['l2']
        num_trees = int(np.argmin(errors)) + 1
        candidates.append((errors[num_trees - 1], num_trees, parameters))
      _, num_trees, parameters = min(candidates, key=lambda c: c[0])
      chosen[name].append((parameters, num_trees))
  return chosen


def fit(data: Examples, chosen: dict) -> dict[str, list]:
  """LightGBM boosters by axis: all members, fitted to all rows of `data`."""
  return {
      name: [
          _train(data, axis, parameters, num_trees)
          for parameters, num_trees in chosen[name]
      ] for axis, name in enumerate(symbolic.AXES)
  }


def predict(boosters: dict[str, list], features: np.ndarray) -> np.ndarray:
  """Mean of the members, float64 [n, 2]."""
  return np.stack([
      np.mean([booster.predict(features) for booster in boosters[axis]], axis=0)
      for axis in symbolic.AXES
  ], axis=1)


def calibration_of(ratings: np.ndarray, held_out: np.ndarray) -> dict:
  """What makes estimates of held-out pieces spread as their ratings do."""
  return {
      axis: {
          'mean': float(ratings[:, i].mean()),
          'slope': float(ratings[:, i].std() / held_out[:, i].std()),
          'residual_std': float((ratings[:, i] - held_out[:, i]).std()),
      } for i, axis in enumerate(symbolic.AXES)
  }


# Measuring.


CLIPS, CLIPS_AND_MELODIES = VARIANTS = 'clips', 'clips and melodies'


def training_part(data: Examples, variant: str) -> Examples:
  """The rows that a variant is trained on."""
  return data[data.kinds == 'clip'] if variant == CLIPS else data


@dataclasses.dataclass
class HeldOut:
  """Estimates of pieces by trees that saw no piece of their group.

  Attributes:
    data: the pieces, n rows.
    fold: int [n], the fold in which a row was held out.
    estimates: float64 [n, 2] by variant, before calibration.
  """

  data: Examples
  fold: np.ndarray
  estimates: dict[str, np.ndarray]

  def figures(
      self, variant: str, kind: str, calibrated: bool = False
  ) -> dict[str, np.ndarray]:
    """Metrics of pieces of one kind, float64 [folds] each.

    Errors are on EIMG's scale, 1..9. Calibration comes from the clips of the
    other folds.
    """
    rows = self.data.kinds == kind
    clips = self.data.kinds == 'clip'
    ratings, estimates = self.data.ratings, self.estimates[variant]
    folds = []
    for fold in np.unique(self.fold):
      held_out = rows & (self.fold == fold)
      points = estimates[held_out]
      if calibrated:
        others = clips & (self.fold != fold)
        points = symbolic.SymbolicVA({}, calibration_of(
            ratings[others], estimates[others])).calibrate(points)
      folds.append(
          metrics.evaluate(ratings[held_out], points, Scale.EIMG))
    return {
        name: np.array([figures[name] for figures in folds])
        for name in folds[0]
    }

  def best_variant(self) -> str:
    """The one of higher mean R2 over whole clips and melody excerpts."""
    return max(VARIANTS, key=lambda variant: sum(
        self.figures(variant, kind)[f'{axis}/r2'].mean()
        for kind in ('clip', 'melody excerpt') for axis in symbolic.AXES))


def cross_validate(
    data: Examples, num_folds: int, seed: int,
    report: Callable[[str], None]) -> HeldOut:
  """Holds out every group once; all choices are made without it."""
  result = HeldOut(
      data, np.zeros(len(data.kinds), int),
      {variant: np.zeros_like(data.ratings) for variant in VARIANTS})
  for fold, (train, test) in enumerate(_folds(data.groups, num_folds, seed)):
    result.fold[test] = fold
    clips = test[data.kinds[test] == 'clip']
    for variant, estimates in result.estimates.items():
      part = training_part(data[train], variant)
      boosters = fit(part, choose(part, seed))
      estimates[test] = predict(boosters, data.features[test])
      valence, arousal = (
          metrics.r2(data.ratings[clips, i], estimates[clips, i])
          for i in range(2))
      report(
          f'fold {fold + 1} of {num_folds}, trained on {variant}: R2 on clips: '
          f'valence {valence:.3f}, arousal {arousal:.3f}')
  return result


def auc(is_high: np.ndarray, estimate: np.ndarray) -> float:
  """Chance that a high piece is estimated above a low one."""
  from sklearn.metrics import roc_auc_score

  return float(roc_auc_score(is_high, estimate))


def quadrants_of(points: np.ndarray) -> np.ndarray:
  """Quadrants 1..4, int [n], of points [n, 2]."""
  high_valence, high_arousal = (points >= 0).T
  return np.where(
      high_arousal, np.where(high_valence, 1, 2),
      np.where(high_valence, 4, 3))


def emopia_untrained(
    estimator: symbolic.SymbolicVA, features: np.ndarray,
    quadrants: np.ndarray) -> dict[str, float]:
  """How well EMOPIA's quadrants are told by trees that never saw EMOPIA."""
  points = estimator.calibrate(estimator.regress(features))
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
  for train, test in _folds(songs, num_folds, seed):
    model = lightgbm.train(
        {**_COMMON, **MEMBERS['boosted'], 'objective': 'multiclass',
         'num_class': 4, 'num_leaves': 15, 'seed': seed},
        lightgbm.Dataset(features[train], quadrants[train] - 1), 200)
    guess = model.predict(features[test]).argmax(axis=1) + 1
    accuracy.append(np.mean(guess == quadrants[test]))
  return np.array(accuracy)


# The job.


def plus_minus(values: np.ndarray) -> str:
  """Mean and standard deviation over folds, as cards show them."""
  return f'{values.mean():.3f} ± {values.std(ddof=1):.3f}'


def _table(figures: dict[str, dict[str, np.ndarray]]) -> str:
  """Markdown: a row a metric, a column a set of figures."""
  lines = [
      '| | ' + ' | '.join(figures) + ' |', '|---' * (len(figures) + 1) + '|']
  for metric in next(iter(figures.values())):
    cells = [plus_minus(column[metric]) for column in figures.values()]
    lines.append(f'| {metric} | ' + ' | '.join(cells) + ' |')
  return '\n'.join(lines)


def _card(
    held_out: HeldOut, variant: str, chosen: dict, untrained: dict,
    by_song: np.ndarray, num_folds: int, seed: int) -> str:
  num_clips = int((held_out.data.kinds == 'clip').sum())
  variants = {
      f'trained on {name}': {
          f'{kind}: {axis} R2': held_out.figures(name, kind)[f'{axis}/r2']
          for kind in ('clip', 'excerpt', 'melody', 'melody excerpt')
          for axis in symbolic.AXES
      } for name in VARIANTS
  }
  trees = '\n'.join(
      f'- {axis}: ' + '; '.join(
          f'{num_trees} trees of up to {parameters["num_leaves"]} leaves '
          f'({kind})' for kind, (parameters, num_trees) in zip(
              MEMBERS, members, strict=True))
      for axis, members in chosen.items())
  untrained = '\n'.join(
      f'- {name}: {value:.3f}' for name, value in untrained.items())
  return f'''# Valence and arousal from notes

Boosted regression trees on {len(symbolic_features.FEATURE_NAMES)} features of \
jSymbolic's families; `va_magenta.music_to_va.symbolic.load()` reads them.

- Training data: EIMG ({num_clips} MIDI clips of about 15 s, piano, each rated \
by six people for valence and arousal; IEEE TMM 2023; no licence stated, \
research use). No clip is in this folder.
- Outside test: EMOPIA (Hung et al. 2021, CC BY-NC-SA 4.0), not trained on.
- Estimates are in [-1, 1]. `estimate_va` stretches them to the spread of \
people's ratings, `regress` does not (least squared error).
- All clips are piano: no tree asks which instrument plays, only how many do.

Made by

    va_magenta_train_symbolic --eimg_dir=EIMG --emopia_dir=EMOPIA \\
      --run_dir=checkpoints/symbolic_va --seed={seed} --num_folds={num_folds}

{trees}

## Whole clips of EIMG

{num_folds}-fold cross-validation by group (clips that share material are held \
out together); leaves and number of trees were chosen within each training \
part. Mean ± standard deviation over folds; errors on the scale 1..9; the \
calibration of a fold comes from the others.

{_table({
    'least squares (`regress`)': held_out.figures(variant, 'clip'),
    'calibrated (`estimate_va`)': held_out.figures(variant, 'clip', True)})}

## Melodies and excerpts

The generator writes 2 to 16 bars of one voice at one velocity. So each clip \
was also rendered as its top line on a grid of sixteenths at its mean tempo \
and velocity ("melody"), and cut to 2, 4 and 8 bars, with its label and a \
weight of {MADE_WEIGHT}. R2 on the same held-out groups, for trees that were \
trained on whole clips only, and for trees that were trained on all (shipped: \
trained on {variant}):

{_table(variants)}

Shipped trees, calibrated, on melody excerpts:

{_table({'melody excerpt': held_out.figures(variant, 'melody excerpt', True)})}

## EMOPIA, not trained on

{untrained}

## EMOPIA, trained on it

A separate classifier on the same features, {num_folds} folds by song: 4Q \
accuracy {plus_minus(by_song)}.
'''


def _plot_importances(boosters: dict[str, list], path: pathlib.Path):
  import matplotlib

  matplotlib.use('Agg')
  from matplotlib import pyplot as plt

  figure, panels = plt.subplots(1, 2, figsize=(12, 6), layout='constrained')
  for panel, (axis, members) in zip(panels, boosters.items(), strict=True):
    gain = np.mean([
        booster.feature_importance('gain') for booster in members], axis=0)
    top = np.argsort(gain)[-25:]
    panel.barh(
        [symbolic_features.FEATURE_NAMES[i] for i in top],
        gain[top] / gain.sum())
    panel.set(title=axis, xlabel='share of total gain')
    panel.tick_params(axis='y', labelsize=8)
  with files.writing(path) as temporary:
    figure.savefig(temporary, dpi=100)
  plt.close(figure)


def run(
    *, eimg_dir: pathlib.Path, emopia_dir: pathlib.Path, run_dir: pathlib.Path,
    seed: int, num_folds: int, report: Callable[[str], None]):
  """Trains, measures and writes the model with its card to `run_dir`."""
  emopia, quadrants, songs = read_emopia(emopia_dir, report)
  data = read_eimg(eimg_dir, seed, report)
  held_out = cross_validate(data, num_folds, seed, report)
  variant = held_out.best_variant()
  report(f'training on all {variant}')
  part = training_part(data, variant)
  chosen = choose(part, seed)
  boosters = fit(part, chosen)
  trees = {axis: from_lightgbm(members) for axis, members in boosters.items()}
  clips = data.kinds == 'clip'
  calibration = calibration_of(
      data.ratings[clips], held_out.estimates[variant][clips])
  untrained = emopia_untrained(
      symbolic.SymbolicVA(trees, calibration), emopia, quadrants)
  by_song = emopia_by_song(emopia, quadrants, songs, num_folds, seed)
  run_dir.mkdir(parents=True, exist_ok=True)
  symbolic.save(run_dir, trees, calibration)
  _plot_importances(boosters, run_dir / 'importances.png')
  card = _card(
      held_out, variant, chosen, untrained, by_song, num_folds, seed)
  with files.writing(run_dir / 'README.md') as temporary:
    temporary.write_text(card)
  report(f'wrote {run_dir}')
