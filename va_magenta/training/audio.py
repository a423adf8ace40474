"""Fits `audio` to people's ratings of DEAM, and measures what carries over."""

import copy
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta import files, processes
from va_magenta.figures import metrics, tables
from va_magenta.figures.tables import bootstrap, plus_minus
from va_magenta.music import synthesis
from va_magenta.music_to_va import audio, audio_features
from va_magenta.music_to_va.trees_and_kernel import KernelRidge
from va_magenta.training import cards, rated, trees_and_kernel
from va_magenta.training.held_out import (
  HeldOut,
  auc,
  calibration_of,
  plot_held_out,
)
from va_magenta.training.rated import Songs, read_table
from va_magenta.trees import from_lightgbm
from va_magenta.va import AXES, VA, Quadrant, Scale

# Of each piece of MIDI at most so much is synthesised.
CLIP_SECONDS = 20.0
CHECK_SECONDS = 60.0
NUM_INNER_FOLDS = 5
MAX_TREES = 400
_TREES = dict(
    objective='l2', num_threads=1, verbose=-1, force_col_wise=True,
    deterministic=True, learning_rate=.04, num_leaves=15, feature_fraction=.3,
    bagging_freq=1, bagging_fraction=.7, min_data_in_leaf=15, lambda_l2=5)
NUM_COSINES = 2000
GAMMAS = (.001, .002, .004, .008)
PENALTIES = (.03, .1, .3, 1.)
NUM_COMPONENTS = 40

# Part of the path in `index.csv`, what it is, and the quadrant that its
# character suggests.
CHECKS = (
    ('Metallica - Master Of Puppets.', 'Metallica, Master of Puppets',
     'thrash metal', Quadrant.Q2),
    ('Metallica - Enter Sandman.', 'Metallica, Enter Sandman', 'heavy metal',
     Quadrant.Q2),
    ('flintstones.mid', 'The Flintstones', 'cartoon theme', Quadrant.Q1),
    ('wildwest/Simpsons.mid', 'The Simpsons', 'cartoon theme', Quadrant.Q1),
    ('#jazz/Desafinado.mid', 'Jobim, Desafinado', 'bossa nova', Quadrant.Q4),
    ('#jazz/Blue Bossa 1.mid', 'Dorham, Blue Bossa', 'bossa nova',
     Quadrant.Q4),
    ('brahmslullabye.mid', 'Brahms, Wiegenlied', 'lullaby', Quadrant.Q4),
    ('Chopin/chpn_op35_3.mid', 'Chopin, sonata op. 35, third movement',
     'funeral march', Quadrant.Q3),
)

Report = Callable[[str], None]


# Data.


def read_deam(folder: pathlib.Path) -> Songs:
  """`rated.read_deam` with the means of `audio_features.CONTOUR_NAMES`."""
  return rated.read_deam(
      folder,
      audio_features.FEATURE_NAMES[:len(audio_features.CONTOUR_NAMES)])


@dataclasses.dataclass(frozen=True)
class Clip:
  """A stretch of a MIDI file; `label` is what people say of it."""

  path: pathlib.Path
  label: tuple[float, ...] = ()
  start_seconds: float = 0.0
  max_seconds: float = CLIP_SECONDS


def _shuffled(rows: Sequence, seed: int) -> list:
  return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]


def lmd_clips(folder: pathlib.Path, num_clips: int, seed: int) -> list[Clip]:
  """The middle of pieces of four tracks or more, drawn at random."""
  rows = [
      row for row in read_table(
          folder / 'index.csv', ('md5', 'tracks', 'duration_seconds'))
      if float(row['tracks'] or 0) >= 4
      and 60 <= float(row['duration_seconds'] or 0) <= 600]
  return [
      Clip(
          folder / row['md5'][0] / f'{row["md5"]}.mid', (),
          round(float(row['duration_seconds']) / 2 - CLIP_SECONDS / 2))
      for row in _shuffled(rows, seed)[:num_clips]]


def emopia_clips(folder: pathlib.Path, num_clips: int, seed: int) -> list[Clip]:
  """Clips of EMOPIA (Hung et al. 2021), as many of each quadrant."""
  found = rated.read_emopia(folder)
  clips = _shuffled([
      Clip(path, (float(quadrant),))
      for path, quadrant in zip(found.paths, found.quadrants, strict=True)
  ], seed)
  by_quadrant = [
      [clip for clip in clips if clip.label == (q,)] for q in range(1, 5)]
  return [
      clip for four in zip(*by_quadrant, strict=False) for clip in four
  ][:num_clips]


def eimg_clips(folder: pathlib.Path, num_clips: int, seed: int) -> list[Clip]:
  """Clips of EIMG (IEEE TMM 2023); labels: valence and arousal."""
  found = rated.read_eimg(folder)
  return _shuffled([
      Clip(path, tuple(va))
      for path, va in zip(found.values, found.va.tolist(), strict=True)
  ], seed)[:num_clips]


def check_clips(folder: pathlib.Path, report: Report) -> dict[tuple, Clip]:
  """The pieces of `CHECKS` that `index.csv` has."""
  rows = read_table(
      folder / 'index.csv', ('md5', 'source_path', 'duration_seconds'))
  found = {}
  for check in CHECKS:
    row = next((r for r in rows if check[0] in r['source_path']), None)
    if row is None:
      report(f'no {check[0]} in {folder}')
      continue
    found[check] = Clip(
        folder / row['md5'][0] / f'{row["md5"]}.mid', (),
        max(0, round(
            float(row['duration_seconds']) / 2 - CHECK_SECONDS / 2)),
        CHECK_SECONDS)
  return found


def _cached(
    clip: Clip, cache_dir: pathlib.Path, soundfont: pathlib.Path | None
) -> pathlib.Path:
  digest = hashlib.md5(clip.path.read_bytes()).hexdigest()
  if soundfont is not None:
    digest += f'-{soundfont.stem}'
  return cache_dir / (
      f'{digest}-{clip.start_seconds:g}-{clip.max_seconds:g}.npy')


def _extract(soundfont: pathlib.Path | None, clip: Clip) -> np.ndarray | str:
  """The windows of a clip, or why there are none."""
  try:
    return audio_features.extract(*synthesis.synthesize(
        clip.path, start_seconds=clip.start_seconds,
        max_seconds=clip.max_seconds, soundfont=soundfont))
  except ValueError as error:
    return f'{clip.path.name}: {error}'


def extract_clips(
    clips: Sequence[Clip], cache_dir: pathlib.Path, num_workers: int | None,
    report: Report, soundfont: pathlib.Path | None = None
) -> dict[Clip, np.ndarray]:
  """Synthesises clips and extracts their features, or takes them as cached.

  Returns:
    Of each clip that can be read, float64 [260]: the mean of each feature over
    its windows.
  """
  cache_dir.mkdir(parents=True, exist_ok=True)
  cached = {clip: _cached(clip, cache_dir, soundfont) for clip in clips}
  todo = [clip for clip, path in cached.items() if not path.exists()]
  if todo:
    report(f'{len(todo)} of {len(cached)} clips to synthesise')
    with (
        processes.told_if_killed('synthesised clips'),
        processes.Pool(num_workers) as pool,
    ):
      for i, windows in enumerate(
          pool.map(functools.partial(_extract, soundfont), todo), 1):
        if isinstance(windows, processes.Lost):
          report(f'left out: {todo[i - 1].path.name}: {windows.reason}')
        elif isinstance(windows, str):
          report(f'left out: {windows}')
        else:
          with files.writing(cached[todo[i - 1]]) as temporary:
            np.save(temporary, windows)
        if i % 25 == 0 or i == len(todo):
          report(f'{i} of {len(todo)} synthesised')
  return {
      clip: np.load(path).mean(axis=0, dtype=np.float64)
      for clip, path in cached.items() if path.exists()}


# Fitting. A method is fitted to songs and predicts VA, [n, 2], from means.


def folds(num_rows: int, num_folds: int, seed: int) -> list:
  """Pairs of rows to train on and rows to hold out."""
  from sklearn.model_selection import KFold

  return list(KFold(num_folds, shuffle=True, random_state=seed).split(
      np.zeros(num_rows)))


def _normalisation(songs: Songs) -> audio.Normalisation:
  return audio.Normalisation.of({audio.RECORDING: songs.means})


# What the trees see: fitted to songs and an axis, means -> inputs.


def raw(songs: Songs, axis: int, seed: int) -> Callable:
  """The 130 means as they are."""
  del songs, axis, seed
  return lambda means: means


def descriptors(songs: Songs, axis: int, seed: int) -> Callable:
  """The 65 descriptors in logarithm, z-scored."""
  del axis, seed
  return functools.partial(
      _normalisation(songs).apply, source=audio.RECORDING)


def components(songs: Songs, axis: int, seed: int) -> Callable:
  """Principal components of the descriptors."""
  from sklearn.decomposition import PCA

  scores = descriptors(songs, axis, seed)
  pca = PCA(NUM_COMPONENTS, random_state=seed).fit(scores(songs.means))
  return lambda means: pca.transform(scores(means))


def embedding(songs: Songs, axis: int, seed: int) -> Callable:
  """A triplet network's embedding of the descriptors."""
  from va_magenta.training import triplet

  scores = descriptors(songs, axis, seed)
  network = triplet.fit(
      scores(songs.means), songs.ratings[:, axis], seed=seed)
  return lambda means: np.asarray(network(scores(means)))


@dataclasses.dataclass
class Boosted:
  """LightGBM on what `embed` makes of the means, by axis."""

  inputs: list[Callable]
  boosters: list

  @classmethod
  def fit(cls, embed: Callable, songs: Songs, seed: int) -> 'Boosted':
    """The number of trees is chosen by cross-validation within `songs`."""
    import lightgbm

    result = cls([], [])
    parameters = {**_TREES, 'seed': seed}
    for axis in range(2):
      errors = np.zeros(MAX_TREES)
      for train, test in folds(len(songs), NUM_INNER_FOLDS, seed):
        part = songs[train]
        inputs = embed(part, axis, seed)
        training = lightgbm.Dataset(inputs(part.means), part.ratings[:, axis])
        history = {}
        lightgbm.train(
            parameters, training, MAX_TREES,
            valid_sets=[training.create_valid(
                inputs(songs.means[test]), songs.ratings[test, axis])],
            callbacks=[lightgbm.record_evaluation(history)])
        errors += history['valid_0']['l2']
      inputs = embed(songs, axis, seed)
      result.inputs.append(inputs)
      result.boosters.append(lightgbm.train(
          parameters,
          lightgbm.Dataset(inputs(songs.means), songs.ratings[:, axis]),
          int(np.argmin(errors)) + 1))
    return result

  def predict(self, means: np.ndarray) -> np.ndarray:
    """VA, [n, 2]."""
    return np.stack([
        booster.predict(inputs(means))
        for inputs, booster in zip(self.inputs, self.boosters, strict=True)
    ], axis=1)


@dataclasses.dataclass
class Ridge:
  """Linear regression on the descriptors; its penalty is chosen within."""

  scores: Callable
  models: list

  @classmethod
  def fit(cls, songs: Songs, seed: int) -> 'Ridge':
    """Fits both axes."""
    from sklearn.linear_model import RidgeCV

    scores = descriptors(songs, 0, seed)
    return cls(scores, [
        RidgeCV(np.logspace(0, 4, 17)).fit(scores(songs.means), rated)
        for rated in songs.ratings.T])

  def predict(self, means: np.ndarray) -> np.ndarray:
    """VA, [n, 2]."""
    return np.stack(
        [model.predict(self.scores(means)) for model in self.models], axis=1)


@dataclasses.dataclass
class Kernel:
  """Kernel ridge regression on the descriptors, by axis."""

  scores: Callable
  models: list[KernelRidge]
  chosen: list[tuple[float, float]]

  @classmethod
  def fit(cls, songs: Songs, seed: int) -> 'Kernel':
    """Width and penalty are chosen by cross-validation within `songs`."""
    drawn = {
        gamma: trees_and_kernel.draw(
            len(audio.DESCRIPTORS), gamma, NUM_COSINES, seed)
        for gamma in GAMMAS}
    grid = [(g, penalty) for g in GAMMAS for penalty in PENALTIES]
    errors = np.zeros((len(grid), 2))
    for train, test in folds(len(songs), NUM_INNER_FOLDS, seed):
      part = songs[train]
      scores = descriptors(part, 0, seed)
      mean = part.ratings.mean(axis=0)
      for gamma in GAMMAS:
        train_cosines, test_cosines = (
            KernelRidge.cosines(drawn[gamma], scores(some.means))
            for some in (part, songs[test]))
        for penalty in PENALTIES:
          estimates = mean + test_cosines @ trees_and_kernel.ridge(
              train_cosines, part.ratings - mean, penalty)
          errors[grid.index((gamma, penalty))] += np.sum(
              (estimates - songs.ratings[test])**2, axis=0)
    scores = descriptors(songs, 0, seed)
    chosen = [grid[i] for i in errors.argmin(axis=0)]
    return cls(scores, [
        trees_and_kernel.fit_kernel(
            scores(songs.means), target, gamma=gamma, penalty=penalty,
            num_cosines=NUM_COSINES, seed=seed)
        for target, (gamma, penalty) in zip(
            songs.ratings.T, chosen, strict=True)], chosen)

  def predict(self, means: np.ndarray) -> np.ndarray:
    """VA, [n, 2]."""
    scores = self.scores(means)
    return np.stack([model.predict(scores) for model in self.models], axis=1)


# Name in the card -> fit. The two that are shipped come last.
RAW, COMPONENTS, EMBEDDING = (
    'LightGBM, 130 raw means', 'LightGBM, principal components',
    'LightGBM, triplet embedding')
LINEAR, TREES, KERNEL = (
    'ridge', 'LightGBM, 65 descriptors', 'kernel ridge, 65 descriptors')
METHODS = {
    RAW: functools.partial(Boosted.fit, raw),
    COMPONENTS: functools.partial(Boosted.fit, components),
    EMBEDDING: functools.partial(Boosted.fit, embedding),
    LINEAR: Ridge.fit,
    TREES: functools.partial(Boosted.fit, descriptors),
    KERNEL: Kernel.fit,
}
SHIPPED = 'mean of the last two (shipped)'


# Measuring.


def cross_validate(
    songs: Songs, num_folds: int, seed: int, report: Report) -> HeldOut:
  """Holds out every song once; all choices are made without it."""
  result = HeldOut.empty(songs.ratings, METHODS)
  for fold, (train, test) in enumerate(folds(len(songs), num_folds, seed)):
    result.fold[test] = fold
    for name, fit in METHODS.items():
      estimates = fit(songs[train], seed).predict(songs.means[test])
      result.estimates[name][test] = estimates
      valence, arousal = (
          metrics.r2(songs.ratings[test, i], estimates[:, i]) for i in range(2))
      report(
          f'fold {fold + 1} of {num_folds}, {name}: R2 valence {valence:.3f}, '
          f'arousal {arousal:.3f}')
  result.estimates[SHIPPED] = (
      result.estimates[TREES] + result.estimates[KERNEL]) / 2
  return result


def _agreement(
    estimator: audio.AudioVA,
    corpora: dict[str, tuple[list[Clip], np.ndarray]]) -> str:
  """Markdown: how well clips that people labelled are told apart."""
  def within(features):
    model = copy.copy(estimator)
    model.normalisation = audio.Normalisation.of(
        {audio.SYNTHESISED: features}, estimator.normalisation.floor)
    return model.regress(features, audio.SYNTHESISED)

  rows = {
      **{f'shipped, source `{source}`':
         functools.partial(estimator.regress, source=source)
         for source in audio.SOURCES},
      'shipped, z-scored within the corpus': within,
  }
  table = {row: {} for row in rows}
  for row, estimate in rows.items():
    for name, (clips, features) in corpora.items():
      labels = np.array([clip.label for clip in clips])
      points = estimate(features)
      for i, axis in reversed([*enumerate(AXES)]):
        if name == 'EMOPIA':
          measure, figure = 'AUC', bootstrap(
              auc, np.isin(labels[:, 0], ((1, 4), (1, 2))[i]), points[:, i])
        else:
          measure, figure = 'r', bootstrap(
              metrics.pearson_r, labels[:, i], points[:, i])
        table[row][f'{name} ({len(clips)} clips): {axis} {measure}'] = figure
  return tables.table(table)


def _check(
    estimator: audio.AudioVA, checks: Sequence[tuple], features: np.ndarray
) -> dict[str, dict[str, str]]:
  """A table of pieces of known character, on the report's scale, 0..1."""
  rows = {}
  points = estimator.calibrate(estimator.regress(features, audio.SYNTHESISED))
  for (_, name, character, quadrant), point in zip(checks, points, strict=True):
    va = VA.clip(*point.tolist())
    valence, arousal = map(Scale.UNIT.from_plane, (va.valence, va.arousal))
    verdict = ['right' if expected == found else 'wrong'
               for expected, found in zip(
                   quadrant.value.split(', '), va.quadrant.value.split(', '),
                   strict=True)]
    rows[name] = {
        'character': character, 'expected': quadrant.value,
        'valence': f'{valence:.2f}', 'arousal': f'{arousal:.2f}',
        'arousal is': verdict[1], 'valence is': verdict[0]}
  return rows


# The job.


def _table(held_out: HeldOut) -> str:
  """Markdown: a row a method."""
  columns = [
      f'{axis}/{metric}' for axis in AXES
      for metric in ('r2', 'pearson_r', 'ccc', 'rmse')]
  rows = {}
  for method in (*METHODS, SHIPPED):
    figures = held_out.figures(method, scale=Scale.DEAM)
    rows[method] = {
        column: plus_minus(figures[column]) for column in columns}
  return tables.table(rows)


def _by_part(held_out: HeldOut, parts: np.ndarray) -> str:
  """R2 of what is shipped on songs of each part, in words."""
  words = []
  for part in np.unique(parts):
    rows = parts == part
    valence, arousal = (
        metrics.r2(rated, estimated) for rated, estimated in zip(
            held_out.ratings[rows].T, held_out.estimates[SHIPPED][rows].T,
            strict=True))
    words.append(f'{part} ({rows.sum()} songs) valence {valence:.3f}, arousal '
                 f'{arousal:.3f}')
  return '; '.join(words)


def _against_raw(held_out: HeldOut) -> str:
  """What the triplet embedding brings over raw features, in words."""
  parts = []
  for axis in AXES:
    gain = (held_out.figures(EMBEDDING)[f'{axis}/r2']
            - held_out.figures(RAW)[f'{axis}/r2'])
    parts.append(f'{axis} {plus_minus(gain)} ({int((gain > 0).sum())} of '
                 f'{len(gain)} folds better)')
  return '; '.join(parts)


def run(
    *, deam_dir: pathlib.Path, lmd_dir: pathlib.Path, emopia_dir: pathlib.Path,
    eimg_dir: pathlib.Path, cache_dir: pathlib.Path, run_dir: pathlib.Path,
    seed: int, num_folds: int, num_reference: int, num_emopia: int,
    num_eimg: int, num_workers: int | None, report: Report,
    soundfont: pathlib.Path | None = None):
  """Trains, measures and writes the model with its card to `run_dir`."""
  songs = read_deam(deam_dir)
  report(f'{len(songs)} songs of DEAM')
  checks = check_clips(lmd_dir, report)
  groups = {
      'the reference': lmd_clips(lmd_dir, num_reference, seed),
      'EMOPIA': emopia_clips(emopia_dir, num_emopia, seed),
      'EIMG': eimg_clips(eimg_dir, num_eimg, seed),
  }
  features = extract_clips(
      [*(clip for clips in groups.values() for clip in clips),
       *checks.values()], cache_dir, num_workers, report, soundfont)
  found = {}
  for name, clips in groups.items():
    clips = [clip for clip in clips if clip in features]
    if len(clips) < 2:
      raise ValueError(f'fewer than two clips of {name} can be read')
    found[name] = clips, np.stack([features[clip] for clip in clips])
  reference = found.pop('the reference')[1]
  checks = {
      check: features[clip] for check, clip in checks.items()
      if clip in features}
  held_out = cross_validate(songs, num_folds, seed, report)
  report('training on all songs')
  trees = METHODS[TREES](songs, seed)
  ridge = METHODS[KERNEL](songs, seed)
  estimator = audio.AudioVA(
      audio.Normalisation.of(
          {audio.RECORDING: songs.means, audio.SYNTHESISED: reference}),
      dict(zip(AXES, ridge.models, strict=True)),
      {axis: from_lightgbm([booster])
       for axis, booster in zip(AXES, trees.boosters, strict=True)},
      calibration_of(songs.ratings, held_out.estimates[SHIPPED]))
  check = ''
  if checks:
    rows = _check(estimator, list(checks), np.stack([*checks.values()]))
    check = cards.render(
        'audio_checks', seconds=CHECK_SECONDS,
        table=tables.table(rows, 'piece'), num=len(rows),
        **{axis: sum(row[f'{axis} is'] == 'right' for row in rows.values())
           for axis in AXES})
  run_dir.mkdir(parents=True, exist_ok=True)
  audio.save(run_dir, estimator)
  estimates = held_out.estimates[SHIPPED]
  plot_held_out(
      run_dir / 'held_out.png', held_out.ratings, estimates, [
          f'{axis}: R2 {metrics.r2(rated, estimated):.3f}'
          for axis, rated, estimated in zip(
              AXES, held_out.ratings.T, estimates.T, strict=True)],
      'estimated')
  cards.write(
      run_dir, 'audio', num_songs=len(songs), num_reference=len(reference),
      clip_seconds=CLIP_SECONDS, seed=seed, num_folds=num_folds,
      asked_reference=num_reference, asked_emopia=num_emopia,
      asked_eimg=num_eimg, num_inner=NUM_INNER_FOLDS, table=_table(held_out),
      against_raw=_against_raw(held_out), check=check,
      by_part=_by_part(held_out, songs.parts),
      agreement=_agreement(estimator, found),
      chosen='\n'.join(
          f'- {axis}: {booster.num_trees()} trees of up to '
          f'{_TREES["num_leaves"]} leaves; Gaussian kernel of width gamma = '
          f'{gamma:g}, {NUM_COSINES} cosines, penalty {penalty:g}'
          for axis, booster, (gamma, penalty) in zip(
              AXES, trees.boosters, ridge.chosen, strict=True)))
  report(f'wrote {run_dir}')
