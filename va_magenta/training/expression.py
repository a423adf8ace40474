"""Fits `expression` to people who played, and measures it held out."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from va_magenta import trees as arrays
from va_magenta.figures.tables import plus_minus
from va_magenta.music import band, grid
from va_magenta.music.notes import NOTE_DTYPE
from va_magenta.training import cards, pop909_cl, rated
from va_magenta.va_to_music import expression

NUM_FOLDS = 5
_PARAMETERS = {
    'objective': 'regression', 'num_leaves': 31, 'learning_rate': 0.08,
    'min_data_in_leaf': 100, 'verbosity': -1, 'deterministic': True,
    'force_row_wise': True, 'max_bin': 63}
_NUM_TREES = 100
# Songs that are drawn from POP909's; each has a thousand notes and more.
_MOST_SONGS = 250
_WINDOW_BEATS = 8
_MIN_NOTES = 16
# Velocities, or milliseconds, below which a voice counts as played flat.
_LEAST_DEVIATION = 1.0


@dataclasses.dataclass
class Played:
  """A piece as it was played, its notes on the grid.

  Attributes:
    heard: array of NOTE_DTYPE, `part` the voice.
    late: milliseconds after the grid, float `[notes]`.
    va: float `[2]`.
    tempo_qpm: quarter notes a minute.
    group: pieces of one are held out together.
  """

  heard: np.ndarray
  late: np.ndarray
  va: np.ndarray
  tempo_qpm: float
  group: str


def _heard(start, end, pitch, velocity, part, is_drum=False) -> np.ndarray:
  notes = np.zeros(len(start), NOTE_DTYPE)
  for edge, steps in (('start', start), ('end', end)):
    notes[f'{edge}_beats'] = np.asarray(steps) / grid.STEPS_PER_QUARTER
    notes[f'{edge}_seconds'] = notes[f'{edge}_beats'] / 2
  notes['pitch'], notes['velocity'] = pitch, velocity
  notes['part'], notes['is_drum'] = part, is_drum
  return notes


def read_groove(folder: pathlib.Path) -> Iterator[Played]:
  """Beats in 4/4 of the Groove MIDI Dataset (Gillick et al. 2019).

  Args:
    folder: info.csv and MIDI files.
  """
  import symusic

  for row in rated.read_table(
      folder / 'info.csv', ('midi_filename', 'bpm', 'beat_type',
                            'time_signature', 'drummer', 'session')):
    if row['beat_type'] != 'beat' or row['time_signature'] != '4-4':
      continue
    score: typing.Any = symusic.Score(folder / row['midi_filename'])
    if sum(len(track.notes) for track in score.tracks) < _MIN_NOTES:
      continue
    columns = {
        name: np.concatenate(
            [track.notes.numpy()[name] for track in score.tracks])
        for name in ('time', 'pitch', 'velocity')}
    exact = columns['time'] / score.tpq * grid.STEPS_PER_QUARTER
    steps = np.rint(exact).astype(int)
    order = np.lexsort((columns['pitch'], steps))
    qpm = float(row['bpm'])
    yield Played(
        _heard(steps, steps + 1, columns['pitch'], columns['velocity'],
               band.DRUMS, True)[order],
        ((exact - steps) * 15000 / qpm)[order], np.zeros(2), qpm,
        row['session'])


def read_pop909(
    folder: pathlib.Path, labels: Mapping[str, tuple[float, float]]
) -> Iterator[Played]:
  """POP909-CL's songs in 4/4: melody, bass and comping of the piano.

  Args:
    folder: with NNN.mid.
    labels: VA by NNN.
  """
  import symusic

  for path in sorted(folder.glob('*.mid')):
    if path.stem not in labels:
      continue
    score: typing.Any = symusic.Score(path)
    if not score.tracks or {(m.numerator, m.denominator)
                            for m in score.time_signatures} != {(4, 4)}:
      continue
    notes = score.tracks[0].notes.numpy()
    on_grid = pop909_cl.on_grid(notes, score.tpq / 4)
    loud = {tuple(note): velocity for note, velocity in zip(
        on_grid.tolist(), notes['velocity'].tolist(), strict=True)}
    parts = [
        _heard(
            *part.T,  # pyright: ignore
            [loud[tuple(n)] for n in part.tolist()],  # pyright: ignore
            voice)  # pyright: ignore
        for voice, part in zip(
            expression.PITCHED, pop909_cl.roles(on_grid), strict=True)
        if len(part)]
    heard = np.concatenate(parts)
    heard = heard[np.lexsort((heard['pitch'], heard['start_beats']))]
    qpm = score.tempos[0].qpm if score.tempos else 120.0
    if len(heard) >= _MIN_NOTES and np.ptp(heard['velocity']):
      yield Played(heard, np.zeros(len(heard)), np.array(labels[path.stem]),
                   float(qpm), path.stem)


@dataclasses.dataclass
class Table:
  """Notes of all pieces, one a row.

  Attributes:
    x: float32 `[notes, features]`.
    y: what is to be predicted: less its mean over piece and voice, in units of
      its deviation there.
    scale: that deviation.
    group: of each, a number.
    window: of each, the two bars of a voice that it is in, a number.
  """

  x: np.ndarray
  y: np.ndarray
  scale: np.ndarray
  group: np.ndarray
  window: np.ndarray


def table(pieces: list[Played], name: str) -> Table:
  """What one of `expression.MODELS` learns from."""
  rows = []
  for number, piece in enumerate(pieces):
    if name == expression.VELOCITY:
      x = expression.features(piece.heard, piece.va, piece.tempo_qpm)
    else:
      x = expression.drum_features(piece.heard, piece.tempo_qpm)
    y = (piece.late if name == expression.DRUM_TIME else
         piece.heard['velocity']).astype(float)
    scale = np.ones(len(y))
    for part in np.unique(piece.heard['part']):
      of_part = piece.heard['part'] == part
      scale[of_part] = max(y[of_part].std(), _LEAST_DEVIATION)
      y[of_part] = (y[of_part] - y[of_part].mean()) / scale[of_part]
    window = (10000 * number + 4 * (
        piece.heard['start_beats'] // _WINDOW_BEATS).astype(int)
              + piece.heard['part'])
    rows.append((x, y, scale, np.full(len(y), number), window))
  groups = {g: i for i, g in enumerate(sorted({p.group for p in pieces}))}
  x, y, scale, number, window = map(np.concatenate, zip(*rows, strict=True))
  return Table(
      x, y, scale, np.array([groups[p.group] for p in pieces])[number], window)


def fit(data: Table, seed: int):
  """A LightGBM model."""
  import lightgbm

  return lightgbm.train(
      _PARAMETERS | {'seed': seed, 'num_threads': 1},
      lightgbm.Dataset(data.x, data.y), _NUM_TREES)


@dataclasses.dataclass
class Measured:
  """How well a model does on pieces held out.

  Attributes:
    correlation: by fold, of what is predicted with what was played.
    by_voice: mean over folds, by voice or kind of drum.
    spread: standard deviations: of what was played, and of what we draw.
    auc: of a forest, which tells two bars by people from the same by us; and
      from them played flat.
    residual: see `expression.Expression`.
  """

  correlation: np.ndarray
  by_voice: dict[int, float]
  spread: tuple[float, float]
  auc: tuple[float, float]
  residual: tuple[float, float, float, float]


def measure(data: Table, seed: int) -> Measured:
  """Cross-validates, by groups."""
  from sklearn.model_selection import GroupKFold

  predicted, fold_of = np.zeros(len(data.y)), np.zeros(len(data.y), int)
  for i, (train, test) in enumerate(GroupKFold(NUM_FOLDS).split(
      data.x, groups=data.group)):
    part = Table(*(
        column[train] for column in (
            data.x, data.y, data.scale, data.group, data.window)))
    predicted[test] = fit(part, seed).predict(data.x[test])
    fold_of[test] = i
  left = data.y - predicted
  # Each stroke shares with the next of its kind, in two bars.
  order = np.lexsort((data.x[:, 0], data.window))
  key = np.stack([data.x[:, 0], data.window], 1)[order]
  same = (key[1:] == key[:-1]).all(1)
  shared = float(np.clip(np.corrcoef(
      left[order][1:][same], left[order][:-1][same])[0, 1], 0, .95))
  deviation = float(left.std())
  rng = np.random.default_rng(seed)
  noise = rng.standard_normal(len(left))
  drawn = noise.copy()
  for i in range(1, len(drawn)):
    if same[i - 1]:
      drawn[i] = shared * drawn[i - 1] + np.sqrt(1 - shared**2) * noise[i]
  drawn[order] = drawn.copy()
  # A scale is one a piece and voice: those of a voice's windows.
  pieces, first, index = np.unique(
      np.stack([data.window // 10000, data.window % 4], 1), axis=0,
      return_index=True, return_inverse=True)
  logs = np.log(data.scale[first])
  scales = np.exp(
      logs.mean() + logs.std() * rng.standard_normal(len(pieces)))
  ours = scales[index.ravel()] * (
      predicted + deviation * np.clip(drawn, -2, 2))
  played = data.scale * data.y
  return Measured(
      np.array([np.corrcoef(predicted[fold_of == i], data.y[fold_of == i])[0, 1]
                for i in range(NUM_FOLDS)]),
      {int(v): float(np.corrcoef(predicted[of], data.y[of])[0, 1])
       for v in np.unique(data.x[:, 0])
       if (of := data.x[:, 0] == v).sum() > 500},
      (float(played.std()), float(ours.std())),
      (_auc(data, played, ours, seed), _auc(data, played, 0 * ours, seed)),
      (deviation, shared, float(logs.mean()), float(logs.std())))


def _auc(
    data: Table, by_people: np.ndarray, ours: np.ndarray, seed: int) -> float:
  """Of a forest on two bars of a voice, played by people and by us."""
  from sklearn.ensemble import RandomForestClassifier
  from sklearn.metrics import roc_auc_score
  from sklearn.model_selection import GroupKFold, cross_val_predict

  step = data.x[:, 1 if data.x.shape[1] == len(expression.DRUM_FEATURES) else 5]
  order = np.argsort(data.window, kind='stable')
  bounds = np.flatnonzero(np.diff(data.window[order])) + 1
  windows = [w for w in np.split(order, bounds) if len(w) >= 8]
  rng = np.random.default_rng(seed)
  rng.shuffle(windows)
  windows = windows[:4000]
  rows, labels, groups = [], [], []
  for label, played in enumerate((by_people, np.round(ours))):
    for window in windows:
      y, beat = played[window], step[window] % 4
      rows.append([
          y.std(), np.abs(np.diff(y)).mean(), y.max() - np.median(y),
          np.median(y) - y.min(), y[beat == 0].mean() if (beat == 0).any() else
          0, y[beat == 2].mean() if (beat == 2).any() else 0,
          y[beat % 2 == 1].mean() if (beat % 2 == 1).any() else 0,
          len(np.unique(y)) / len(y), y.mean(), y[0], y[-1]])
      labels.append(label)
      groups.append(data.group[window[0]])
  forest = RandomForestClassifier(
      200, min_samples_leaf=3, random_state=seed, n_jobs=1)
  chance = cross_val_predict(
      forest, np.array(rows), labels, groups=groups, method='predict_proba',
      cv=GroupKFold(NUM_FOLDS))[:, 1]
  return float(roc_auc_score(labels, chance))


def labels_of_pop909(
    index_path: pathlib.Path, labels: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
  """VA by the number of a song of POP909, of the labels by md5."""
  return {
      pathlib.Path(row['source_path']).parent.name: labels[row['md5']]
      for row in rated.read_table(
          index_path, ('md5', 'collection', 'source_path'))
      if row['collection'] == 'pop909' and row['md5'] in labels}


def run(
    *, pop909_dir: pathlib.Path, groove_dir: pathlib.Path,
    index_path: pathlib.Path, labels: Mapping[str, tuple[float, float]],
    run_dir: pathlib.Path, seed: int, command: str,
    report: Callable[[str], None]):
  """Fits, measures and writes the model with its card to `run_dir`.

  Args:
    pop909_dir: see `read_pop909`.
    groove_dir: see `read_groove`.
    index_path: index.csv, which says what song each md5 is.
    labels: VA by md5.
    run_dir: is made.
    seed: of models, folds and noise.
    command: that made it, for the card.
    report: told what is done.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the data cannot be used.
  """
  songs = labels_of_pop909(index_path, labels)
  names = np.random.default_rng(seed).permutation(sorted(songs))[:_MOST_SONGS]
  songs = list(read_pop909(pop909_dir, {name: songs[name] for name in names}))
  drums = list(read_groove(groove_dir))
  for pieces, path in ((songs, pop909_dir), (drums, groove_dir)):
    if len({piece.group for piece in pieces}) < NUM_FOLDS:
      raise ValueError(
          f'{path}: {NUM_FOLDS} groups of pieces or more are needed')
  report(f'{len(songs)} songs, {len(drums)} beats')
  models, measured = {}, {}
  for name in expression.MODELS:
    data = table(songs if name == expression.VELOCITY else drums, name)
    measured[name] = found = measure(data, seed)
    report(f'{name}: {len(data.y)} notes, '
           f'r {plus_minus(found.correlation, 3)}, '
           f'AUC {found.auc[0]:.3f}, flat {found.auc[1]:.3f}')
    models[name] = arrays.from_lightgbm([fit(data, seed)])
  run_dir.mkdir(parents=True, exist_ok=True)
  expression.save(run_dir, models, {
      name: found.residual for name, found in measured.items()},
                  {'songs': len(songs), 'beats': len(drums)})
  kinds = ('bass drum', 'snare', 'closed hi-hat', 'open hi-hat', 'low tom',
           'middle tom', 'high tom', 'crash', 'ride')
  of_voice = {
      expression.VELOCITY: dict(enumerate(band.VOICE_NAMES)),
      expression.DRUM_VELOCITY: dict(enumerate(kinds)),
      expression.DRUM_TIME: dict(enumerate(kinds))}
  titles = {
      expression.VELOCITY: 'velocity, piano',
      expression.DRUM_VELOCITY: 'velocity, drums',
      expression.DRUM_TIME: 'milliseconds after the grid, drums'}
  cards.write(
      run_dir, 'expression', command=command, num_songs=len(songs),
      num_beats=len(drums), num_folds=NUM_FOLDS,
      rows='\n'.join(
          f'| {titles[name]} | {plus_minus(m.correlation, 3)} | '
          f'{m.spread[0]:.1f} | {m.spread[1]:.1f} | {m.auc[0]:.2f} | '
          f'{m.auc[1]:.2f} |' for name, m in measured.items()),
      voices='\n'.join(
          f'- {titles[name]}: ' + ', '.join(
              f'{of_voice[name][v]} {r:.2f}' for v, r in m.by_voice.items())
          for name, m in measured.items()))
  report(f'wrote {run_dir}')
