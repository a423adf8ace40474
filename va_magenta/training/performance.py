"""Fits `performance` to music with known VA, and measures it held out."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Collection, Mapping

import numpy as np

from va_magenta.figures import plots
from va_magenta.figures.tables import plus_minus
from va_magenta.music import band_reader, midi
from va_magenta.music.midi import read_notes
from va_magenta.music.notes import skyline
from va_magenta.training import cards, rated
from va_magenta.training.held_out import folds
from va_magenta.training.rated import Rated
from va_magenta.va_to_music import performance

NUM_FOLDS = 10
# What notation programs write where a score says nothing of loudness.
_UNMARKED_VELOCITY = 80
_MIN_NOTES = 4
# A part is a melody if it has so many notes, at most this share of them struck
# while another sounds (but for a twentieth of a second), and lies so high; and
# its program is neither a bass nor, from 112 on, percussion or a sound effect.
_MIN_PART_NOTES = 16
_MAX_OVERLAPS = 0.1
_OVERLAP_SECONDS = 0.05
_MIN_PITCH = 55
_BASSES = range(32, 40)
_FIRST_EFFECT = 112
# Rarer programs would be guesses.
_MIN_PROGRAM_SHARE = 0.004
_REGULARIZATIONS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def describe(melody: np.ndarray, notes: np.ndarray) -> list[float]:
  """`performance.VARIABLES` of a piece.

  Args:
    melody: its top line, as `skyline` gives it.
    notes: all of its notes, by start and then pitch.

  Returns:
    Notes a quarter and tempo from the first note's start to the last's;
    articulation as the mean share of the time to the next note for which a note
    sounds, as far as the melody's notes are the top when they start.
  """
  full_ends = {
      (note['start_seconds'], note['pitch']): note['end_seconds']
      for note in notes}
  starts = melody['start_seconds']
  lengths = np.array([
      full_ends[start, pitch] - start
      for start, pitch in zip(starts, melody['pitch'], strict=True)])
  sounding = np.minimum(lengths[:-1] / np.diff(starts), 1).mean().clip(
      *performance.ARTICULATION_RANGE)
  quarters = np.ptp(melody['start_beats'])
  return [
      np.log((len(melody) - 1) / quarters),
      np.log(60 * quarters / np.ptp(starts)),
      melody['velocity'].mean(),
      np.log(sounding / (1 - sounding)),
      melody['pitch'].mean(),
  ]


def read_eimg(
    folder: pathlib.Path, groups: Collection[int],
    report: Callable[[str], None]) -> Rated:
  """`describe` of EIMG's clips (IEEE TMM 2023) whose loudness is marked.

  Args:
    folder: labels.csv and midi/.
    groups: the clips of these are read.
    report: told what was read.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the table lacks a column, or no clip is left.
  """
  clips = rated.read_eimg(folder)
  values, used, num_unmarked = [], [], 0
  for i in np.flatnonzero(np.isin(clips.groups, [*groups])):
    notes = read_notes(clips.values[i])
    melody = skyline(notes)
    if (melody['velocity'] == _UNMARKED_VELOCITY).all():
      num_unmarked += 1
    elif len(melody) >= _MIN_NOTES:
      values.append(describe(melody, notes))
      used.append(i)
  if not values:
    raise ValueError(
        f'{folder}: no clip of {len(set(groups))} groups can be used')
  report(f'{len(values)} EIMG clips; {num_unmarked} without dynamics left out')
  return Rated(np.array(values), clips.va[used], clips.groups[used])


@dataclasses.dataclass
class Parts:
  """The parts of a piece that play as a trio's do.

  Attributes:
    melodies: notes of each.
    basses: likewise.
    drums: their notes, or none.
    compings: notes of each part that plays chords.
  """

  melodies: list[np.ndarray]
  basses: list[np.ndarray]
  drums: np.ndarray
  compings: list[np.ndarray]

  def balance(self) -> list[float] | None:
    """`performance.BALANCE`: mean velocities less that of the melodies.

    None if a part is missing, or if all notes are equally loud: then nobody has
    balanced them.
    """
    if not (self.melodies and self.basses and (
        len(self.drums) >= _MIN_PART_NOTES)):
      return None
    velocities = [np.concatenate([part['velocity'] for part in parts]) for parts
                  in (self.melodies, self.basses, [self.drums])]
    if np.ptp(np.concatenate(velocities)) == 0:
      return None
    of_melodies, *others = (v.mean() for v in velocities)
    return [other - of_melodies for other in others]

  def comping_balance(self) -> list[float] | None:
    """The mean velocity of what plays chords less that of the melodies."""
    if not (self.melodies and self.compings):
      return None
    melodies, compings = (
        np.concatenate([part['velocity'] for part in parts])
        for parts in (self.melodies, self.compings))
    if np.ptp(np.concatenate([melodies, compings])) == 0:
      return None
    return [compings.mean() - melodies.mean()]


def parts_of(notes: np.ndarray) -> Parts:
  """The melodies, basses and drums of a piece.

  Melodies and basses are none if the piece has one program only: many a piano
  score says so of all its parts because nobody chose.
  """
  drums, notes = notes[notes['is_drum']], notes[~notes['is_drum']]
  parts = Parts([], [], drums, [])
  if len(np.unique(notes['program'])) < 2:
    return parts
  for part in np.unique(notes['part']):
    own = notes[notes['part'] == part]
    program = int(own['program'][0])
    if len(own) < _MIN_PART_NOTES or program >= _FIRST_EFFECT:
      continue
    overlaps = own['start_seconds'][1:] < (
        own['end_seconds'][:-1] - _OVERLAP_SECONDS)
    if overlaps.mean() > _MAX_OVERLAPS:
      if program not in _BASSES and own['pitch'].mean() >= _MIN_PITCH:
        parts.compings.append(own)
      continue
    if program in _BASSES:
      parts.basses.append(own)
    elif own['pitch'].mean() >= _MIN_PITCH:
      parts.melodies.append(own)
  return parts


def read_lakh(
    folder: pathlib.Path, labels: Mapping[str, tuple[float, float]],
    report: Callable[[str], None]
) -> tuple[Rated, ...]:
  """Who plays, and how loud, in MIDI files with labels.

  Args:
    folder: of files MD5.mid in folders named by the first digit, as Lakh's.
    labels: (valence, arousal) by md5.
    report: told what was read.

  Returns:
    Programs of melodies; programs of basses; `Parts.balance` of bands; of
    pieces with a melody, whether drums play, 0 or 1; of bands, programs of
    melody, bass and comping, and whether drums play; `Parts.comping_balance`.

  Raises:
    ValueError: if there are none.
  """
  found = {'melody': [], 'bass': [], 'balance': [], 'piece': [], 'band': [],
           'comping_balance': []}
  melodies = set()
  for i, (md5, label) in enumerate(sorted(labels.items())):
    path = folder / md5[0] / f'{md5}.mid'
    try:
      parts = parts_of(read_notes(path))
    except (ValueError, FileNotFoundError):
      continue  # Some files of the web are broken, and some may not be there.
    for name, of_kind in (
        ('melody', parts.melodies), ('bass', parts.basses)):
      found[name] += [
          (int(own['program'][0]), label, i) for own in of_kind]
    band = _band_of(path, melodies)
    for name, of_parts in (
        ('band', band), ('balance', parts.balance()),
        ('comping_balance', parts.comping_balance())):
      if of_parts:
        found[name].append((of_parts, label, i))
    if parts.melodies:
      found['piece'].append(
          (int(len(parts.drums) >= _MIN_PART_NOTES), label, i))
  for name, rows in found.items():
    if not rows:
      raise ValueError(f'{folder}: no labelled file has a {name}')
  rated = [Rated(*map(np.array, zip(*rows, strict=True)))
           for rows in found.values()]
  report(', '.join(
      f'{_PLURALS[name]}: {len(of_kind.values)} of '
      f'{len(np.unique(of_kind.groups))} MIDI files'
      for name, of_kind in zip(found, rated, strict=True)))
  return tuple(rated)


def _band_of(path: pathlib.Path, melodies: set[bytes]) -> list[int] | None:
  """Who plays a piece as a band; None if none does, or its melody is known."""
  try:
    lineup = band_reader.lineup(midi.read(path))
  except ValueError:
    return None
  if lineup is None or lineup.melody.tobytes() in melodies:
    return None
  melodies.add(lineup.melody.tobytes())
  return [*lineup.programs, int(lineup.drums >= _MIN_PART_NOTES)]


_PLURALS = {'melody': 'melodies', 'bass': 'basses', 'balance': 'trios',
            'piece': 'with a melody', 'band': 'bands',
            'comping_balance': 'with melody and chords'}


def fit_normal(
    data: Rated, held_out: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """What `performance.Normal` takes.

  Args:
    data: to be fitted.
    held_out: what `normal_held_out` says of it. Where VA helps by no more than
      folds differ, the mean does not depend on it.
  """
  x = _design(data.va, 1 if _helps(held_out) else 0)
  weights, residuals = _regress(x, data.values)
  return {
      'weights': np.pad(weights, ((0, 3 - len(weights)), (0, 0))),
      'covariance': residuals.T @ residuals / (len(x) - x.shape[1]),
      'marginal_mean': data.values.mean(0),
      'marginal_covariance': np.atleast_2d(np.cov(data.values.T)),
  }


def _design(va: np.ndarray, degree: int) -> np.ndarray:
  """Monomials of valence and arousal up to a degree, 0 to 2."""
  v, a = va.T
  columns = [np.ones(len(va)), v, a, v * v, v * a, a * a]
  return np.stack(columns[:(1, 3, 6)[degree]], axis=1)


def _regress(x, y):
  weights = np.linalg.lstsq(x, y, rcond=None)[0]
  return weights, y - x @ weights


def normal_held_out(data: Rated, seed: int) -> dict[str, np.ndarray]:
  """Log-likelihood of held-out groups, in nats a piece.

  Returns:
    By what the mean depends on, [NUM_FOLDS].
  """
  from scipy import stats

  result = {}
  for name, degree in (('nothing', 0), ('VA', 1), ('VA, quadratic', 2)):
    x = _design(data.va, degree)
    result[name] = []
    for train, test in folds(data.groups, NUM_FOLDS, seed):
      weights, residuals = _regress(x[train], data.values[train])
      covariance = residuals.T @ residuals / (len(train) - x.shape[1])
      result[name].append(stats.multivariate_normal(
          cov=covariance).logpdf(data.values[test] - x[test] @ weights).mean())
  return {name: np.array(values) for name, values in result.items()}


def frequent(data: Rated) -> Rated:
  """Without the parts of rare values."""
  counts = collections.Counter(data.values.tolist())
  keep = np.array([
      counts[p] >= _MIN_PROGRAM_SHARE * len(data.values)
      for p in data.values.tolist()])
  return data[keep]


def fit_categorical(
    data: Rated, regularization: float) -> dict[str, np.ndarray]:
  """What `performance.Categorical` takes.

  Multinomial logistic regression; each value's first weight is free, those of
  valence and arousal are drawn to 0, all the more the fewer parts there are.

  Args:
    data: of frequent values.
    regularization: inverse of the penalty's weight, as in scikit-learn.
  """
  from sklearn import linear_model

  of_va = {'va_mean': data.va.mean(0), 'va_deviation': data.va.std(0)}
  if np.ptp(data.values) == 0:
    return {'values': data.values[:1], 'weights': np.zeros((3, 1)),
            'marginal': np.ones(1), **of_va}
  model = linear_model.LogisticRegression(
      C=regularization, max_iter=500).fit(data.va, data.values)
  weights = np.concatenate([model.intercept_[None], model.coef_.T])
  if len(model.classes_) == 2:  # Then it gives those of the second alone.
    weights = np.concatenate([-weights / 2, weights / 2], axis=1)
  return {
      'values': model.classes_,
      'weights': weights,
      'marginal': np.mean(
          data.values[:, None] == model.classes_, axis=0),
      **of_va,
  }


def categorical_held_out(
    data: Rated, regularization: float | None, seed: int) -> np.ndarray:
  """Log-likelihood of held-out pieces, in nats a part, [NUM_FOLDS].

  Args:
    data: of frequent values.
    regularization: as above; None leaves VA out.
    seed: of the folds.
  """
  likelihoods = []
  for train, test in folds(data.groups, NUM_FOLDS, seed):
    fitted = fit_categorical(
        data[train], regularization or _REGULARIZATIONS[0])
    known = np.isin(data.values[test], fitted['values'])
    test = test[known]
    column = np.searchsorted(fitted['values'], data.values[test])
    if regularization is None:
      likelihoods.append(np.log(fitted['marginal'][column]).mean())
    else:
      shares = performance.Categorical(**fitted).given(data.va[test])
      likelihoods.append(np.log(shares[np.arange(len(test)), column]).mean())
  return np.array(likelihoods)


@dataclasses.dataclass
class FittedCategorical:
  """A distribution over a few values, and how well it does.

  Attributes:
    parameters: what `performance.Categorical` takes.
    data: what it was fitted to.
    regularization: that of the best held-out likelihood.
    held_out: `categorical_held_out` by what the logits depend on.
  """

  parameters: dict
  data: Rated
  regularization: float
  held_out: dict[str, np.ndarray]


def choose_categorical(data: Rated, seed: int) -> FittedCategorical:
  """Fits the frequent values, with the regularization that does best."""
  data = frequent(data)
  by_regularization = {
      c: categorical_held_out(data, c, seed) for c in _REGULARIZATIONS}
  best = max(by_regularization, key=lambda c: by_regularization[c].mean())
  return FittedCategorical(
      fit_categorical(data, best), data, best, {
          'nothing': categorical_held_out(data, None, seed),
          'VA': by_regularization[best]})


def fit_bands(data: Rated) -> dict[str, np.ndarray]:
  """What `performance.Bands` takes.

  Args:
    data: values programs of melody, bass and comping, and whether drums play.
  """
  return {'programs': data.values[:, :3], 'drums': data.values[:, 3],
          'va': data.va.round(3)}


def co_occurrence(data: Rated, seed: int) -> dict[str, tuple[float, float]]:
  """Mutual information of families of instruments, in nats.

  Families are General MIDI's sixteen. A part of it is by chance, as samples are
  finite: as much as is left where bands are drawn each by itself.

  Returns:
    Of melody and comping, and of bass and comping: in bands, and in as many
    drawn for their VA, as bands are and each instrument from another band.
  """
  from sklearn.metrics import mutual_info_score

  rng = np.random.default_rng(seed)
  bands = performance.Bands(**fit_bands(data))
  drawn = [bands.draw(
      data.va, data.values[:, 3], rng.random(len(data.values)), 1.0, 1.0)
           for _ in range(3)]
  return {
      name: tuple(
          float(mutual_info_score(rows[:, voice] // 8, rows[:, 2] // 8))
          for voice in (0, 1))
      for name, rows in (
          ('in bands', data.values), ('as bands are', drawn[0]),
          ('each by itself', np.stack(
              [drawn[voice][:, voice] for voice in range(3)], axis=1)))}


def greatest_shares(data: Rated) -> str:
  """Rows of a table: the likeliest of each voice, in bands and as drawn.

  At the points of a grid of 5 x 5 the greatest share of any.
  """
  import pretty_midi

  bands = performance.Bands(**fit_bands(data))
  rng = np.random.default_rng(0)
  rows = []
  axis = np.linspace(-0.8, 0.8, 5)
  share_of_drums = data.values[:, 3].mean()
  drawn = [bands.draw(
      np.tile((v, a), (2000, 1)), rng.random(2000) < share_of_drums,
      rng.random(2000), 1.0, 1.0) for v in axis for a in axis]
  for voice, name in enumerate(('melody', 'bass', 'comping')):
    programs, counts = np.unique(data.values[:, voice], return_counts=True)
    best = programs[counts.argmax()]
    ours = np.array([np.mean(d[:, voice] == best) for d in drawn])
    most = max(
        np.unique(d[:, voice], return_counts=True)[1].max() / len(d)
        for d in drawn)
    rows.append(
        f'| {name} | {pretty_midi.program_to_instrument_name(int(best))} | '
        f'{counts.max() / counts.sum():.2f} | {ours.mean():.2f} | {most:.2f} |')
  return '\n'.join(rows)


_CORNERS = [(-.6, .6), (.6, .6), (-.6, -.6), (.6, -.6)]
_OF_CORNERS = ' | '.join(f'({v:+.1f}, {a:+.1f})' for v, a in _CORNERS)


def _means(normal: dict, units: Mapping) -> str:
  """Rows of a table: means in the corners, deviation, variance explained."""
  rows = []
  for i, (name, (label, back, digits)) in enumerate(units.items()):
    at = [back(np.array([1, *c]) @ normal['weights'][:, i]) for c in _CORNERS]
    explained = 1 - normal['covariance'][i, i] / (
        normal['marginal_covariance'][i, i])
    deviation = np.sqrt(normal['covariance'][i, i])
    rows.append(
        f'| {label} | ' + ' | '.join(f'{x:{digits}}' for x in at)
        + f' | {deviation:.2f} ({name}) | {explained:.2f} |')
  return '\n'.join(rows)


def _likelier(fitted: FittedCategorical) -> str:
  """A list: of which programs there are more, in the corners."""
  import pretty_midi

  distribution = performance.Categorical(**fitted.parameters)
  lines = []
  for c in _CORNERS:
    p = distribution.given(np.array(c))
    ratio = p / distribution.marginal
    top = np.argsort(-ratio * (p > .01))[:6]
    lines.append(
        f'- ({c[0]:+.1f}, {c[1]:+.1f}): ' + ', '.join(
            pretty_midi.program_to_instrument_name(
                int(distribution.values[j])) + f' {ratio[j]:.1f} x'
            for j in top))
  return '\n'.join(lines)


def _shares(fitted: FittedCategorical) -> str:
  """Cells of a table: the share of the last value in the corners."""
  shares = performance.Categorical(**fitted.parameters).given(
      np.array(_CORNERS))[:, -1]
  return ' | '.join(f'{share:.2f}' for share in shares)


def _likelihoods(held_out: Mapping[str, np.ndarray], digits: int) -> str:
  return '\n'.join(
      f'| {name} | {plus_minus(values, digits)} |'
      for name, values in held_out.items())


def _helps(held_out: Mapping[str, np.ndarray]) -> bool:
  """Whether VA raises the likelihood by more than folds differ (1 SD)."""
  gain = held_out['VA'] - held_out['nothing']
  return gain.mean() > gain.std(ddof=1)


def _gain(held_out: Mapping[str, np.ndarray], digits: int) -> str:
  return plus_minus(held_out['VA'] - held_out['nothing'], digits)


def _write_card(
    run_dir: pathlib.Path, normal: dict, rated: Rated, held_out: dict,
    instruments: FittedCategorical, basses: FittedCategorical, balance: dict,
    trios: Rated, balance_held_out: dict, drums: FittedCategorical,
    bands: Rated, together: dict[str, tuple[float, float]], command: str):
  units = {
      'log_density': ('notes a quarter', np.exp, '.2f'),
      'log_tempo': ('tempo, quarters a minute', np.exp, '.0f'),
      'velocity': ('velocity', lambda x: x, '.0f'),
      'logit_articulation': (
          'sounding share', lambda x: 1 / (1 + np.exp(-x)), '.2f'),
      'pitch': ('mean pitch', lambda x: x, '.1f'),
  }
  slope = normal['covariance'][0, 1] / normal['covariance'][0, 0]
  cards.write(
      run_dir, 'performance', command=command, corners=_OF_CORNERS,
      num_folds=NUM_FOLDS, unmarked_velocity=_UNMARKED_VELOCITY,
      min_share=_MIN_PROGRAM_SHARE,
      num_clips=len(rated.values), means=_means(normal, units),
      slower=1 - 2**slope, likelihoods=_likelihoods(held_out, 2),
      gain=_gain(held_out, 2),
      num_melodies=len(instruments.data.values),
      num_melody_files=len(np.unique(instruments.data.groups)),
      num_programs=len(instruments.parameters['values']),
      regularization=instruments.regularization,
      instrument_likelihoods=_likelihoods(instruments.held_out, 3),
      instrument_gain=_gain(instruments.held_out, 3),
      instruments=_likelier(instruments),
      num_basses=len(basses.data.values),
      num_bass_files=len(np.unique(basses.data.groups)),
      num_bass_programs=len(basses.parameters['values']),
      bass_regularization=basses.regularization,
      bass_likelihoods=_likelihoods(basses.held_out, 3),
      bass_gain=_gain(basses.held_out, 3), basses=_likelier(basses),
      num_trios=len(trios.values),
      balance_means=_means(balance, {
          name: (name, lambda x: x, '+.1f') for name in performance.BALANCE}),
      balance_likelihoods=_likelihoods(balance_held_out, 3),
      balance_gain=_gain(balance_held_out, 3) + (
          '' if _helps(balance_held_out) else
          ', no more than folds differ: so it does not depend on VA'),
      num_drum_files=len(drums.data.values),
      drum_regularization=drums.regularization,
      drum_likelihoods=_likelihoods(drums.held_out, 3),
      drum_gain=_gain(drums.held_out, 3),
      num_bands=len(bands.values), num_nearest=performance.Bands.NUM_NEAREST,
      num_distinct=len(np.unique(bands.values[:, :3], axis=0)),
      together='\n'.join(
          f'| {name} | {of_melody:.2f} | {of_bass:.2f} |'
          for name, (of_melody, of_bass) in together.items()),
      greatest_shares=greatest_shares(bands),
      drum_share=drums.parameters['marginal'][-1], drum_shares=_shares(drums))


def _plot(normal: dict, rated: Rated, path: pathlib.Path):
  """Means over the plane, and where the clips lie."""
  axis = np.linspace(-1, 1, 41)
  plane = np.stack(np.meshgrid(axis, axis), -1)
  mean = np.concatenate(
      [np.ones((*plane.shape[:2], 1)), plane], -1) @ normal['weights']
  panels = (
      ('notes a quarter', np.exp(mean[..., 0])),
      ('tempo, quarters a minute', np.exp(mean[..., 1])),
      ('velocity', mean[..., 2]),
      ('sounding share', 1 / (1 + np.exp(-mean[..., 3]))),
      ('mean pitch', mean[..., 4]))
  with plots.drawing(path, 18, 3.6, dpi=90) as figure:
    axes = figure.subplots(1, len(panels), sharey=True)
    for panel, (title, values) in zip(axes, panels, strict=True):
      panel.scatter(*rated.va.T, s=2, c='0.7', zorder=0)
      lines = panel.contour(axis, axis, values, 9, cmap='viridis')
      panel.clabel(lines, fontsize=8)
      panel.set(title=title, xlabel='valence', aspect='equal')
    axes[0].set_ylabel('arousal')


def run(
    *, eimg_dir: pathlib.Path, groups: Collection[int],
    lakh_dir: pathlib.Path, labels: Mapping[str, tuple[float, float]],
    run_dir: pathlib.Path, seed: int,
    command: str, report: Callable[[str], None]):
  """Fits, measures and writes the model with its card to `run_dir`.

  Args:
    eimg_dir: EIMG's labels.csv and midi/.
    groups: EIMG's groups that may be learned from.
    lakh_dir: MIDI files, see `read_lakh`.
    labels: theirs: (valence, arousal) by md5, as expected, not stretched.
    run_dir: is made.
    seed: of the folds.
    command: that made it, for the card.
    report: told what is done.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the data cannot be used.
  """
  rated = read_eimg(eimg_dir, groups, report)
  points = np.array(list(labels.values()))
  spread = rated.va.std(0) / points.std(0)
  labels = {
      md5: tuple(rated.va.mean(0) + (point - points.mean(0)) * spread)
      for md5, point in zip(labels, points, strict=True)}
  melodies, basses, trios, pieces, bands, comping_bands = read_lakh(
      lakh_dir, labels, report)
  held_out = normal_held_out(rated, seed)
  balance_held_out = normal_held_out(trios, seed)
  comping_held_out = normal_held_out(comping_bands, seed)
  instruments, basses, drums = (
      choose_categorical(data, seed) for data in (melodies, basses, pieces))
  together = co_occurrence(bands, seed)
  for name, figures in (
      ('performance', held_out), ('instrument', instruments.held_out),
      ('bass', basses.held_out), ('balance', balance_held_out),
      ('drums', drums.held_out),
      ('balance of the comping', comping_held_out)):
    for given, values in figures.items():
      report(f'log-likelihood of the {name} given {given}: '
             f'{plus_minus(values, 3)}')
  normal, balance = (
      fit_normal(rated, held_out), fit_normal(trios, balance_held_out))
  run_dir.mkdir(parents=True, exist_ok=True)
  performance.save(run_dir, {
      'normal': normal, 'instruments': instruments.parameters,
      'balance': balance, 'basses': basses.parameters,
      'drums': drums.parameters, 'bands': fit_bands(bands),
      'comping_balance': fit_normal(comping_bands, comping_held_out)}, {
          'eimg_groups': sorted(map(int, np.unique(rated.groups))),
          'clips': len(rated.values),
          'melodies': len(instruments.data.values),
          'basses': len(basses.data.values), 'trios': len(trios.values),
          'pieces': len(drums.data.values), 'bands': len(bands.values)})
  _plot(normal, rated, run_dir / 'means.png')
  _write_card(
      run_dir, normal, rated, held_out, instruments, basses, balance, trios,
      balance_held_out, drums, bands, together, command)
  report(f'wrote {run_dir}')
