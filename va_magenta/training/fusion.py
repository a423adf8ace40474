"""Fits `fusion` to people's ratings of EIMG; measures it there and on EMOPIA.

Each clip of EIMG is read by a student that saw no clip of its group, since the
student that ships has learned them all by heart. Estimates from sound come from
tables that `va_magenta_label --audio` made: the teacher has seen none of them.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta.figures import metrics
from va_magenta.figures.tables import bootstrap, plus_minus, table_of_columns
from va_magenta.music.corpus import file_md5
from va_magenta.music_to_va import fusion, labelling, symbolic
from va_magenta.training import cards, rated
from va_magenta.training import held_out as held_out_lib
from va_magenta.training import symbolic as symbolic_training
from va_magenta.training.held_out import auc, folds, plot_held_out
from va_magenta.training.rated import Rated
from va_magenta.va import AXES

# What a label is made of.
NOTES, SOUND, BOTH = SOURCES = 'notes alone', 'sound alone', 'both (shipped)'
KIND_NAMES = {'piece': 'whole clips', 'window': '2-bar windows'}


# Data.


def read(
    paths: Sequence[pathlib.Path], student, table
) -> list[tuple[np.ndarray, np.ndarray]]:
  """Estimates of files that are not fused.

  Args:
    paths: of MIDI files.
    student: reads them; a `symbolic.SymbolicVA`, or what regresses as one.
    table: pandas.DataFrame, a table of `labelling` of the same files; its audio
      columns are taken, and nothing else.

  Returns:
    Of each file `window`, int [rows], and estimates, float64 [rows, 4]; NaN
    where there is none.
  """
  sound = {
      key: points for key, points in zip(
          zip(table['md5'], table['window'], strict=True),
          table[list(labelling.AUDIO)].to_numpy(np.float64), strict=True)}
  nothing = np.full(2, np.nan)
  found = []
  for path in paths:
    columns, _ = labelling.estimate(str(path), student, labelling.Settings())
    md5 = file_md5(path)
    points = np.stack([columns[name] for name in fusion.ESTIMATES], axis=1)
    points[:, 2:] = [
        sound.get((md5, window), nothing) for window in columns['window']]
    found.append((columns['window'], points))
  return found


def read_eimg(
    folder: pathlib.Path, table, num_folds: int, seed: int,
    report: Callable[[str], None]) -> dict[str, Rated]:
  """EIMG's clips, read by students that saw no clip of their group.

  Args:
    folder: EIMG, with labels.csv and midi/.
    table: the table that `va_magenta_label --audio` made of midi/.
    num_folds: each has a student of its own.
    seed: of the folds and the students.
    report: is given lines of progress.

  Returns:
    For each of `fusion.KINDS`.
  """
  clips = rated.read_eimg(folder)
  data = symbolic_training.read_eimg(folder, seed, report)
  parts = {kind: [] for kind in fusion.KINDS}
  for fold, (_, test) in enumerate(folds(clips.groups, num_folds, seed)):
    student = symbolic_training.Student.fit(
        data[~np.isin(data.groups, clips.groups[test])], seed)
    found = read(clips.values[test], student, table)
    for i, (window, estimates) in zip(test, found, strict=True):
      is_whole = window == labelling.WHOLE_PIECE
      for kind, of_kind in (('piece', is_whole), ('window', ~is_whole)):
        num = np.count_nonzero(of_kind)
        parts[kind].append((
            estimates[of_kind],
            np.repeat(clips.va[i][None], num, axis=0),
            np.full(num, clips.groups[i])))
    report(f'student {fold + 1} of {num_folds}')
  return {
      kind: Rated(*map(np.concatenate, zip(*of_kind, strict=True)))
      for kind, of_kind in parts.items()}


# Measuring.


@dataclasses.dataclass
class HeldOut(held_out_lib.HeldOut):
  """Labels, for each of `SOURCES`, by fusions that saw no row of the group.

  They are NaN where there was no sound.

  Attributes:
    std: float64 [n, 2], of the labels from both.
  """

  std: np.ndarray

  def figures_of(self, source: str) -> dict[str, np.ndarray]:
    """Metrics of rows with sound, [folds] each."""
    has_sound = ~np.isnan(self.estimates[SOUND]).any(axis=1)
    figures = self.figures(source, has_sound)
    return {
        f'{axis}/{metric}': figures[f'{axis}/{metric}']
        for axis in AXES for metric in ('pearson_r', 'r2', 'ccc')}

  def within_std(self) -> np.ndarray:
    """Share of ratings within one std of the label.

    Returns:
      float64 [4, 2]: of all rows and of the third of the smallest, of the
      middle and of the largest std; of valence and of arousal. Of a Gaussian it
      would be .683 each.
    """
    is_within = np.abs(self.ratings - self.estimates[BOTH]) <= self.std
    shares = []
    for axis in range(2):
      thirds = np.array_split(np.argsort(self.std[:, axis], kind='stable'), 3)
      shares.append([is_within[:, axis].mean(), *(
          is_within[third, axis].mean() for third in thirds)])
    return np.array(shares).T

  def gain(self) -> np.ndarray:
    """How much likelier ratings are than if the std were the same for all.

    Returns:
      float64 [folds, 2], of valence and arousal, in nats a rating; the one std
      for all is that of the other folds.
    """
    squares = (self.ratings - self.estimates[BOTH])**2
    gains = []
    for fold in np.unique(self.fold):
      rows = self.fold == fold
      variance, constant = self.std[rows]**2, squares[~rows].mean(axis=0)
      gains.append(np.mean(
          np.log(constant) - np.log(variance)
          + squares[rows] * (1 / constant - 1 / variance), axis=0) / 2)
    return np.array(gains)


def hold_out(data: Rated, num_folds: int) -> HeldOut:
  """Labels each row by a fusion fitted to the other groups."""
  result = HeldOut.empty(data.va, SOURCES, std=np.zeros_like(data.va))
  notes_alone = without_sound(data.values)
  for fold, (train, test) in enumerate(folds(data.groups, num_folds)):
    found = fit(data[train], num_folds)
    result.fold[test] = fold
    result.estimates[NOTES][test], _ = found.apply(notes_alone[test])
    result.estimates[SOUND][test] = from_sound(data[train])(
        data.values[test, 2:]).clip(-1, 1)
    result.estimates[BOTH][test], result.std[test] = found.apply(
        data.values[test])
  return result


def without_sound(estimates: np.ndarray) -> np.ndarray:
  """Estimates [n, 4] as if there were no sound."""
  estimates = estimates.copy()
  estimates[:, 2:] = np.nan
  return estimates


def from_sound(data: Rated) -> fusion.Line:
  """What makes labels from sound alone, to compare with."""
  has_audio = ~np.isnan(data.values[:, 2:]).any(axis=1)
  return fusion.Line.fit(data.values[has_audio, 2:], data.va[has_audio])


def fit(data: Rated, num_folds: int) -> fusion.Fusion:
  """As `fusion.fit`."""
  return fusion.fit(data.values, data.va, data.groups, num_folds)


def measure_emopia(
    folder: pathlib.Path, table, found: fusion.Fusion, sound: fusion.Line,
    report: Callable[[str], None]) -> str:
  """How well labels of EMOPIA's clips tell the halves of its axes.

  Args:
    folder: EMOPIA, with label.csv and midi/.
    table: the table that `va_magenta_label --audio` made of midi/, or of a part
      of it.
    found: the fusion of whole pieces, to which the student that ships lends its
      estimates; neither has seen EMOPIA.
    sound: as `from_sound` gives.
    report: is given lines of progress.

  Returns:
    Markdown: areas under the curve, with their standard deviations over
    resampled clips.
  """
  clips = rated.read_emopia(folder)
  report(f'{len(clips.paths)} EMOPIA clips')
  estimates = np.stack([
      points[0] for _, points in read(clips.paths, symbolic.load(), table)])
  quadrants = clips.quadrants
  has_audio = ~np.isnan(estimates).any(axis=1)
  if not has_audio.any():
    raise ValueError(f'{folder}: none of its clips has estimates from sound')
  notes_alone = found.apply(without_sound(estimates))[0]
  columns = {f'{NOTES}, {len(quadrants)} clips': (
      notes_alone, np.full(len(quadrants), True))}
  num = np.bincount(quadrants[has_audio], minlength=5)[1:].tolist()
  for source, labels in (
      (NOTES, notes_alone), (SOUND, sound(estimates[:, 2:])),
      (BOTH, found.apply(estimates)[0])):
    columns[f'{source}, {sum(num)} with sound'] = labels, has_audio
  is_high = np.stack([np.isin(quadrants, (1, 4)), quadrants <= 2], axis=1)
  text = table_of_columns({
      name: {
          f'{axis} AUC': bootstrap(
              auc, is_high[rows, i], labels[rows, i])
          for i, axis in enumerate(AXES)}
      for name, (labels, rows) in columns.items()})
  return (f'{text}\n\nClips with sound, of quadrants 1 to 4: '
          f'{", ".join(map(str, num))}.')


# The job.


def _weights(found: fusion.Fusion) -> str:
  names = ('1', *(name.replace('_', ' ') for name in fusion.ESTIMATES))
  return table_of_columns({
      f'{axis} from {source}': dict(zip(names, (
          *(f'{w:.2f}' for w in (line.bias[i], *line.weights[:, i])),
          *('' for _ in names)), strict=False))
      for source, line in (('notes', found.symbolic), ('both', found.both))
      for i, axis in enumerate(AXES)})


def _spread(found: fusion.Fusion) -> str:
  places = {
      'the middle': (0, 0), 'valence ±.6': (.6, 0), 'arousal ±.6': (0, .6),
      'both ±.6': (.6, .6)}
  stds = found.both_spread(np.array(list(places.values()), float))
  return table_of_columns({
      axis: dict(zip(places, (f'{std:.3f}' for std in stds[:, i]), strict=True))
      for i, axis in enumerate(AXES)})


def _section(kind: str, found: fusion.Fusion, held_out: HeldOut) -> str:
  figures = {source: held_out.figures_of(source) for source in SOURCES}
  agreement = table_of_columns({
      source: {name: plus_minus(v) for name, v in values.items()}
      for source, values in figures.items()})
  added = {
      axis: plus_minus(
          figures[BOTH][f'{axis}/pearson_r']
          - figures[NOTES][f'{axis}/pearson_r']) for axis in AXES}
  within, gain = held_out.within_std(), held_out.gain()
  calibration = table_of_columns({
      axis: dict(zip(
          ('all', 'surest third', 'middle third', 'least sure third'),
          (f'{share:.3f}' for share in within[:, i]), strict=True))
      for i, axis in enumerate(AXES)})
  return cards.render(
      'fusion_section', title=KIND_NAMES[kind].capitalize(),
      kind=KIND_NAMES[kind], num_rows=len(held_out.ratings),
      agreement=agreement, added_valence=added['valence'],
      added_arousal=added['arousal'], calibration=calibration,
      gain_valence=plus_minus(gain[:, 0]), gain_arousal=plus_minus(gain[:, 1]),
      weights=_weights(found), spread=_spread(found))


def run(
    *, eimg_dir: pathlib.Path, eimg_labels: pathlib.Path,
    emopia_dir: pathlib.Path, emopia_labels: pathlib.Path,
    run_dir: pathlib.Path, seed: int, num_folds: int,
    report: Callable[[str], None]):
  """Fits, measures and writes `fusion.json`, its card and plot to `run_dir`."""
  tables = {path: _read_table(path) for path in (eimg_labels, emopia_labels)}
  data = read_eimg(eimg_dir, tables[eimg_labels], num_folds, seed, report)
  fusions = {kind: fit(rows, num_folds) for kind, rows in data.items()}
  held_out = {kind: hold_out(rows, num_folds) for kind, rows in data.items()}
  emopia = measure_emopia(
      emopia_dir, tables[emopia_labels], fusions['piece'],
      from_sound(data['piece']), report)
  run_dir.mkdir(parents=True, exist_ok=True)
  fusion.save(run_dir / 'fusion.json', fusions)
  points, labels = held_out['piece'].ratings, held_out['piece'].estimates[BOTH]
  plot_held_out(
      run_dir / 'held_out.png', points, labels, [
          f'{axis}: r {metrics.pearson_r(x, y):.3f}' for axis, x, y in zip(
              AXES, points.T, labels.T, strict=True)],
      'label')
  cards.write(
      run_dir, 'fusion', emopia=emopia, num_clips=len(points),
      num_folds=num_folds, seed=seed, sections='\n'.join(
          _section(kind, fusions[kind], held_out[kind])
          for kind in fusion.KINDS))
  report(f'wrote {run_dir}')


def _read_table(path: pathlib.Path):
  table = labelling.read(path)
  if table['audio_valence'].isna().all():
    raise ValueError(
        f'{path}: no estimates from sound; va_magenta_label makes them with '
        '--audio')
  return table
