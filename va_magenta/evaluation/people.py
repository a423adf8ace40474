"""As people write: how well generated music is told from music by people.

A forest looks at the measures of `music.measures` of pieces of 16 bars, some
generated, some by people, and says which are which. Its AUC is .5 if it cannot
tell at all, and 1 if it always can. It is asked about pieces that it did not
learn from: folds are grouped by piece by people and by what the generator was
asked for. Spread is over seeds of folds, forests and of which window of each
piece by people is looked at; an interval is from a bootstrap over groups.

Melody and accompaniment are told apart, each by all measures and by those that
no chooser among candidates sees (see `measures.HELD_BACK`), the melody also by
those that figures have been given for from the first.

People's side are pieces that no model learned from. A table of their measures
ships (`people.npz` beside this file; measures only, no note of theirs), so that
who lacks the corpus can judge, too. It was made, with the corpus at hand, by

  va_magenta_evaluate --people=ANY --band_path=band.npz --output_dir=OUT

which writes OUT/people.npz.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from va_magenta import files
from va_magenta.evaluation import copying, report
from va_magenta.figures import tables
from va_magenta.music import band, corpus, grid, measures, midi

NUM_BARS = 16
NUM_STEPS = NUM_BARS * grid.STEPS_PER_BAR
NAMES = (*measures.JUDGE, *measures.WHOLE, 'melody_mean_pitch')
# What a forest is shown, by what the figure is called.
SETS = {
    'melody': measures.MELODY_JUDGE,
    'melody, classic measures': measures.CLASSIC,
    'melody, unseen by the chooser': tuple(
        n for n in measures.MELODY_JUDGE if n in measures.HELD_BACK),
    'accompaniment': measures.ACCOMPANIMENT_JUDGE,
    'accompaniment, unseen by the chooser': measures.ACCOMPANIMENT_HELD_BACK,
}
MIN_PIECES = 10
_TABLE = pathlib.Path(__file__).with_name('people.npz')
_NUM_FOLDS = 5
_NUM_DRAWS = 300  # Of the bootstrap.
_WINDOWS_A_PIECE = 3  # Of people's; a forest is shown one of them.
_BARS_BETWEEN_WINDOWS = 4
_PLAYED = 0.9  # Share of the bars of a window by people with a note of melody.
_NUM_ROLLS = 20
_NUM_GIVEAWAYS = 6


@dataclasses.dataclass(frozen=True)
class Music:
  """Windows of `NUM_BARS` bars.

  Attributes:
    tokens: [n, NUM_STEPS, 4]; see `band.VOICES`.
    chords: [n, 2 * NUM_BARS]; likewise.
    groups: int [n]: windows of one piece, or pieces asked for alike.
  """

  tokens: np.ndarray
  chords: np.ndarray
  groups: np.ndarray

  def __len__(self):
    return len(self.tokens)

  def melodies(self) -> list[np.ndarray]:
    """The melodies' notes; see `measures.line`."""
    return [grid.line(row[:, band.MELODY]) for row in self.tokens]


@dataclasses.dataclass(frozen=True)
class Measured:
  """What is known of windows without their notes.

  Attributes:
    values: float32 [n, len(NAMES)], NaN where undefined.
    groups: int [n]; see `Music`.
    playing: bool [n, 4]; see `measures.playing`.
    shared: int [n], notes in a row shared with the training pieces; None if no
      corpus was there to compare with.
  """

  values: np.ndarray
  groups: np.ndarray
  playing: np.ndarray
  shared: np.ndarray | None = None

  def __len__(self):
    return len(self.values)

  def __getitem__(self, chosen) -> 'Measured':
    return Measured(
        self.values[chosen], self.groups[chosen], self.playing[chosen],
        None if self.shared is None else self.shared[chosen])

  def column(self, name: str) -> np.ndarray:
    """One measure, [n]."""
    return self.values[:, NAMES.index(name)]


def measure(music: Music) -> Measured:
  """Measures windows, about a millisecond each."""
  rows = [
      measures.of_band(tokens, chords)
      for tokens, chords in zip(music.tokens, music.chords, strict=True)]
  return Measured(
      np.array([[row[name] for name in NAMES] for row in rows], np.float32)
      .reshape(len(rows), len(NAMES)),
      np.asarray(music.groups),
      np.array([measures.playing(tokens) for tokens in music.tokens], bool)
      .reshape(len(rows), len(band.VOICES)))


# --- Where music comes from.


def read(path: str | pathlib.Path) -> Music:
  """Generated music.

  Args:
    path: a folder of MIDI files, of each of which the first part that is no
      drums is taken for the melody, on the grid of its quarter notes; or an
      `.npz` of bands: `tokens` [n, steps, 4], `chords` [n, steps / 8] and, if
      some were asked for alike, `groups` [n].

  Raises:
    OSError: if there is no such file or folder.
    ValueError: if it holds no pieces of `NUM_BARS` bars.
  """
  path = pathlib.Path(path).expanduser()
  if path.is_dir():
    pieces = [
        (*_of_midi(name), i) for i, name in enumerate(corpus.find_midi(path))]
  elif path.suffix == '.npz':
    arrays = files.read_npz(path)
    if not {'tokens', 'chords'} <= set(arrays):
      raise ValueError(
          f'{path} has no tokens [n, steps, 4] and chords [n, steps / 8] of '
          f'bands, but {", ".join(arrays)}')
    tokens, chords = arrays['tokens'], arrays['chords']
    if (tokens.ndim, tokens.shape[2:]) != (3, (len(band.VOICES),)) or (
        chords.shape != (len(tokens),
                         tokens.shape[1] // grid.STEPS_PER_CHORD)):
      raise ValueError(
          f'{path}: tokens must be [n, steps, 4] and chords [n, steps / 8], '
          f'got {tokens.shape} and {chords.shape}')
    groups = arrays.get('groups', np.arange(len(tokens)))
    pieces = list(zip(tokens, chords, groups, strict=True))
  else:
    raise FileNotFoundError(
        f'{path} is neither a folder of MIDI files nor an .npz of bands')
  return cut(pieces, str(path))


def save(path: pathlib.Path, music: Music):
  """Writes an `.npz` that `read` reads."""
  with files.writing(path) as temporary:
    np.savez_compressed(
        temporary, tokens=music.tokens, chords=music.chords,
        groups=music.groups)


def cut(
    pieces: Iterable[tuple[np.ndarray, np.ndarray, int]], source: str) -> Music:
  """Windows of pieces, side by side from the beginning of each.

  Args:
    pieces: tokens [steps, 4], chords and group of each.
    source: what they are called in an error.

  Raises:
    ValueError: if none is as long as a window.
  """
  tokens, chords, groups = [], [], []
  for of_piece, harmony, group in pieces:
    for i in range(len(of_piece) // NUM_STEPS):
      tokens.append(of_piece[i * NUM_STEPS:(i + 1) * NUM_STEPS])
      chords.append(harmony[i * 2 * NUM_BARS:(i + 1) * 2 * NUM_BARS])
      groups.append(group)
  if not tokens:
    raise ValueError(
        f'{source} holds no piece of {NUM_BARS} bars, which is what is '
        'compared')
  return Music(np.array(tokens), np.array(chords), np.array(groups))


def _of_midi(path: str) -> tuple[np.ndarray, np.ndarray]:
  """Tokens and chords, none, of a file's melody."""
  notes = midi.read_notes(path)
  notes = notes[~notes['is_drum']]
  notes = notes[notes['part'] == notes['part'].min()]
  if notes['end_beats'].max() > 4 * midi.MAX_BARS:
    raise ValueError(f'{path} has more than {midi.MAX_BARS:,} bars')
  return _tokens(np.column_stack(
      [notes['start_beats'], notes['end_beats'], notes['pitch']]), 60)


def of_sequences(sequences: Sequence, groups: Sequence[int]) -> Music:
  """As `read`, of `note_seq.NoteSequence`s with one tempo."""
  pieces = []
  for sequence, group in zip(sequences, groups, strict=True):
    tempo_qpm = sequence.tempos[0].qpm if sequence.tempos else 120.0
    pitched = [note for note in sequence.notes if not note.is_drum]
    first = min((note.instrument for note in pitched), default=0)
    notes = [
        (note.start_time, note.end_time, note.pitch) for note in pitched
        if note.instrument == first]
    pieces.append(
        (*_tokens(np.array(notes).reshape(-1, 3), tempo_qpm), group))
  return cut(pieces, 'what was composed')


def _tokens(notes: np.ndarray, tempo_qpm: float):
  """Tokens and chords, none, of a melody of notes in seconds [notes, 3].

  Of notes that start together the highest counts. The last window is filled up
  with silence if more than half of it is there.
  """
  notes = notes[(notes[:, 2] >= 21) & (notes[:, 2] <= 108)]
  steps = np.round(notes[:, :2] * tempo_qpm / 15).astype(int)
  end = steps[:, 1].max(initial=0)
  length = NUM_STEPS * int(np.round(end / NUM_STEPS))
  tokens = np.zeros((length, len(band.VOICES)), np.uint16)
  highest = {}
  for start, stop, pitch in zip(
      *steps.T.tolist(), notes[:, 2].astype(int).tolist(), strict=True):
    if start < length and pitch >= highest.get(start, (0, 0))[0]:
      highest[start] = pitch, max(stop, start + 1)
  line = tokens[:, band.MELODY]
  starts = sorted(highest)
  for start, following in zip(starts, [*starts[1:], length], strict=True):
    pitch, stop = highest[start]
    line[start] = grid.token_of(pitch)
    if stop < following:
      line[stop] = 1
  return tokens, np.zeros(length // grid.STEPS_PER_CHORD, np.uint8)


class Corpus:
  """Bands by people, as the job that reads the corpus writes them.

  Args:
    path: of the `.npz`: tokens [steps of all pieces, 4], chords [half bars],
      bars [pieces] and their names, MD5s [pieces].

  Raises:
    OSError: if it cannot be read.
    ValueError: if it is no such file.
  """

  def __init__(self, path: str | pathlib.Path):
    arrays = files.read_npz(pathlib.Path(path).expanduser())
    wanted = ('tokens', 'chords', 'bars', 'names')
    missing = [name for name in wanted if name not in arrays]
    if missing:
      raise ValueError(
          f'{path} is no corpus of bands: it has no {", ".join(missing)}')
    self._tokens = arrays['tokens']
    self._chords = arrays['chords']
    self._first = np.append(0, np.cumsum(arrays['bars']))
    self.is_held_out = np.array(
        [corpus.is_held_out(md5) for md5 in arrays['names'].tolist()], bool)

  def melodies(self, chosen: np.ndarray) -> list[np.ndarray]:
    """Notes of whole melodies of pieces, by a mask [pieces]."""
    return [
        grid.line(self._tokens[
            self._first[i] * grid.STEPS_PER_BAR:
            self._first[i + 1] * grid.STEPS_PER_BAR, band.MELODY])
        for i in np.flatnonzero(chosen)]

  def windows(
      self, chosen: np.ndarray, a_piece: int = _WINDOWS_A_PIECE, seed: int = 0
  ) -> Music:
    """Windows drawn of pieces, in which the melody hardly rests.

    Args:
      chosen: mask [pieces].
      a_piece: at most so many of each.
      seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    is_played = (self._tokens[:, band.MELODY] >= 2).reshape(
        -1, grid.STEPS_PER_BAR).any(1)
    firsts, groups = [], []
    for i in np.flatnonzero(chosen):
      possible = [
          bar for bar in range(
              self._first[i], self._first[i + 1] - NUM_BARS + 1,
              _BARS_BETWEEN_WINDOWS)
          if is_played[bar:bar + NUM_BARS].mean() >= _PLAYED]
      drawn = rng.permutation(possible)[:a_piece].astype(int)
      firsts += drawn.tolist()
      groups += [i] * len(drawn)
    steps = np.array(firsts, int)[:, None] * grid.STEPS_PER_BAR + (
        np.arange(NUM_STEPS))
    halves = np.array(firsts, int)[:, None] * 2 + np.arange(2 * NUM_BARS)
    return Music(
        self._tokens[steps], self._chords[halves], np.array(groups, int))


def shipped() -> Measured:
  """Measures of pieces by people that no model learned from.

  Raises:
    FileNotFoundError: if they are missing.
    ValueError: if they were made for other measures.
  """
  arrays = files.read_npz(_TABLE)
  if tuple(arrays['names'].tolist()) != NAMES:
    raise ValueError(
        f'{_TABLE} was made for other measures than are taken now; '
        'va_magenta_evaluate --people=ANY --band_path=BAND writes it anew')
  return Measured(
      arrays['values'], arrays['groups'], arrays['playing'], arrays['shared'])


def write(path: pathlib.Path, people: Measured):
  """Writes what `shipped` reads."""
  with files.writing(path) as temporary:
    np.savez_compressed(
        temporary, names=np.array(NAMES), values=people.values,
        groups=people.groups, playing=people.playing,
        shared=np.asarray(people.shared))


# --- How well they are told apart.


def told_apart(
    generated: Measured, people: Measured, names: Sequence[str], *,
    num_seeds: int = 5, seed: int = 0) -> dict[str, float] | None:
  """AUC of a forest that tells generated pieces from people's.

  Args:
    generated: measured pieces.
    people: likewise.
    names: measures that the forest sees; those left out that most of the
      generated pieces lack.
    num_seeds: how often.
    seed: of all draws.

  Returns:
    `mean` and `sd` over seeds, `low` and `high`: 95 % of a bootstrap over
    groups; `num_generated`, `num_people`. None if there are fewer than
    `MIN_PIECES` groups on a side, or nothing to see.
  """
  from sklearn.ensemble import RandomForestClassifier
  from sklearn.metrics import roc_auc_score
  from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

  columns = [
      NAMES.index(name) for name in names
      if np.isnan(generated.column(name)).mean() < 0.5
      and np.isnan(people.column(name)).mean() < 0.5]
  if not columns or min(
      len(np.unique(side.groups)) for side in (generated, people)
  ) < MIN_PIECES:
    return None
  areas, draws = [], []
  for number in range(num_seeds):
    rng = np.random.default_rng([seed, number])
    theirs = people[_one_a_group(people.groups, rng)]
    x = np.concatenate([theirs.values, generated.values])[:, columns]
    y = np.repeat([0, 1], [len(theirs), len(generated)])
    groups = np.unique(
        np.stack([y, np.concatenate([theirs.groups, generated.groups])]),
        axis=1, return_inverse=True)[1]
    score = cross_val_predict(
        RandomForestClassifier(
            300, min_samples_leaf=3, class_weight='balanced',
            random_state=seed + number),
        x, y, groups=groups, method='predict_proba',
        cv=StratifiedGroupKFold(
            _NUM_FOLDS, shuffle=True, random_state=seed + number))[:, 1]
    areas.append(roc_auc_score(y, score))
    by_group = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    sides = [
        [rows for rows in by_group if y[rows[0]] == side] for side in (0, 1)]
    for _ in range(_NUM_DRAWS // num_seeds):
      drawn = np.concatenate([
          rows[i] for rows in sides for i in rng.integers(len(rows),
                                                          size=len(rows))])
      draws.append(roc_auc_score(y[drawn], score[drawn]))
  low, high = np.percentile(draws, [2.5, 97.5])
  return {
      **report.spread(areas), 'low': float(low), 'high': float(high),
      'num_generated': len(generated), 'num_people': len(theirs)}


def _one_a_group(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Row of one window of each group, drawn."""
  order = rng.permutation(len(groups))
  return order[np.unique(groups[order], return_index=True)[1]]


def alike(people: Measured, generated: Measured) -> Measured:
  """People's windows in which those voices play that the generated have."""
  voices = generated.playing.mean(0) > 0.5
  return people[people.playing[:, voices].all(1)]


def giveaways(
    generated: Measured, people: Measured, names: Sequence[str]
) -> list[dict]:
  """What tells generated pieces best, one measure at a time.

  Returns:
    Of each of the first few, its `name`, the `auc` of it alone (above .5 if the
    generated have more), and the means.
  """
  from sklearn.metrics import roc_auc_score

  found = []
  for name in names:
    ours, theirs = (
        values[~np.isnan(values)] for values in (
            generated.column(name), people.column(name)))
    if len(ours) < MIN_PIECES or len(theirs) < MIN_PIECES:
      continue
    area = roc_auc_score(
        np.repeat([1, 0], [len(ours), len(theirs)]),
        np.concatenate([ours, theirs]))
    found.append({
        'name': name, 'auc': float(area), 'generated': float(ours.mean()),
        'people': float(theirs.mean())})
  return sorted(found, key=lambda f: -abs(f['auc'] - 0.5))[:_NUM_GIVEAWAYS]


def compare(
    generated: Measured, people: Measured, *, num_seeds: int = 5, seed: int = 0
) -> dict:
  """Everything that is said of one set of generated pieces.

  Pieces whose melody has hardly a note (see `measures.MIN_NOTES`) are counted
  and left out.

  Raises:
    ValueError: if fewer than `MIN_PIECES` are left.
  """
  is_melody = ~np.isnan(generated.column('melody_range'))
  left = generated[is_melody]
  if len(np.unique(left.groups)) < MIN_PIECES:
    raise ValueError(
        f'{len(left)} pieces have a melody of {measures.MIN_NOTES} notes: at '
        f'least {MIN_PIECES} are needed')
  is_band = (left.playing.mean(0) > 0.5)[1:].any()
  theirs = alike(people, left)
  apart, giving = {}, []
  for name, shown in SETS.items():
    is_melodic = name.startswith('melody')
    if is_melodic or is_band:
      others = people if is_melodic else theirs
      apart[name] = told_apart(
          left, others, shown, num_seeds=num_seeds, seed=seed)
      if name in ('melody', 'accompaniment'):
        giving += giveaways(left, others, shown)
  return {
      'num_pieces': len(left), 'num_without_melody': int((~is_melody).sum()),
      'told_apart': apart, 'giveaways': giving, 'measures': summary(left),
      'shared': None if left.shared is None else runs(left.shared)}


def summary(measured: Measured) -> dict[str, dict[str, float]]:
  """Mean and standard deviation of every measure, of windows that have it."""
  found = {}
  for name in NAMES:
    values = measured.column(name).astype(float)
    values = values[~np.isnan(values)]
    found[name] = {
        'mean': float(values.mean()) if len(values) else float('nan'),
        'sd': float(values.std()) if len(values) else float('nan')}
  return found


def runs(shared: np.ndarray) -> dict[str, float]:
  """How long the runs are that pieces share; see `copying`."""
  quantiles = np.percentile(shared, [50, 90, 100])
  return dict(zip(('median', '90 %', 'longest'), quantiles.tolist(),
                  strict=True))


def run(
    paths: Mapping[str, str | pathlib.Path],
    output_dir: str | pathlib.Path, *,
    band_path: str | pathlib.Path | None = None, num_seeds: int = 5,
    seed: int = 0, tell: Callable[[str], None] = print) -> dict:
  """Compares folders of music with people's and writes what it found.

  Args:
    paths: of each set of pieces, by what it is called; see `read`.
    output_dir: is given people.json, people.md and people.png, piano rolls;
      with `band_path` also people.npz, a table like the one that ships.
    band_path: the corpus, for the copy test and for people's piano rolls, and
      for measures of its held-out pieces in place of the table.
    num_seeds: how often a forest is fitted.
    seed: of all draws.
    tell: is given lines of text to print.

  Returns:
    What people.json holds.

  Raises:
    OSError, ValueError: if music or corpus are not what they should be.
  """
  from va_magenta.evaluation import rolls as piano_rolls

  music = {name: read(path) for name, path in paths.items()}
  rolls = {name: own.tokens for name, own in music.items()}
  learned = None
  if band_path is None:
    people = shipped()
  else:
    bands = Corpus(band_path)
    theirs = bands.windows(bands.is_held_out, seed=seed)
    if len(np.unique(theirs.groups)) < MIN_PIECES:
      raise ValueError(
          f'{band_path} holds out too few pieces of {NUM_BARS} bars: at least '
          f'{MIN_PIECES} are needed')
    learned = bands.melodies(~bands.is_held_out)
    people = _with_shared(measure(theirs), theirs, learned)
    rolls['people'] = theirs.tokens[
        _one_a_group(theirs.groups, np.random.default_rng(seed))]
  found = compare_all(music, people, learned, num_seeds=num_seeds, seed=seed)
  output_dir = pathlib.Path(output_dir).expanduser()
  output_dir.mkdir(parents=True, exist_ok=True)
  text = describe(found)
  report.write_json(output_dir / 'people.json', found)
  with files.writing(output_dir / 'people.md') as temporary:
    temporary.write_text(text)
  rng = np.random.default_rng(seed)
  piano_rolls.plot(output_dir / 'people.png', {
      name: tokens[np.sort(rng.permutation(len(tokens))[:_NUM_ROLLS])]
      for name, tokens in rolls.items()})
  if learned is not None:
    write(output_dir / 'people.npz', people)
  tell(text)
  return found


def compare_all(
    music: Mapping[str, Music], people: Measured, learned=None, *,
    num_seeds: int = 5, seed: int = 0) -> dict:
  """What `describe` tells of several sets of pieces.

  Args:
    music: of each, by what it is called.
    people: pieces by people.
    learned: melodies of the pieces that were learned from, for the copy test;
      None for none.
    num_seeds: how often a forest is fitted.
    seed: of all draws.

  Raises:
    ValueError: if a set has too few pieces with a melody.
  """
  found = {
      'people': {
          'num_windows': len(people),
          'num_pieces': len(np.unique(people.groups)),
          'measures': summary(people),
          'shared': None if people.shared is None else runs(people.shared)},
      'music': {}}
  for name, own in music.items():
    measured = _with_shared(measure(own), own, learned)
    found['music'][name] = compare(
        measured, people, num_seeds=num_seeds, seed=seed)
  return found


def _with_shared(measured, music, learned) -> Measured:
  if learned is None:
    return measured
  return dataclasses.replace(measured, shared=copying.longest_shared(
      music.melodies(), learned))


# --- What is written.


def describe(found: Mapping) -> str:
  """What `run` found as text: tables in Markdown."""
  music = found['music']
  people = found['people']
  rows = []
  for name, own in music.items():
    rows.append([
        name, str(own['num_pieces']), str(own['num_without_melody']),
        *(_area(own['told_apart'].get(shown)) for shown in SETS)])
  parts = [
      '# As people write\n\nAUC of a forest that tells pieces of '
      f'{NUM_BARS} bars from {people["num_pieces"]} pieces by people that no '
      'model learned from: .5 if it cannot, 1 if it always can. Mean ± '
      'standard deviation over seeds; in brackets 95 % of a bootstrap over '
      'pieces.\n\n' + tables.aligned(
          ['', 'pieces', 'without a melody', *SETS], rows)]
  for name, own in music.items():
    lines = [
        f'- {g["name"]}: {g["generated"]:.2f}, people {g["people"]:.2f} '
        f'(AUC alone {g["auc"]:.2f})' for g in own['giveaways']]
    parts.append(f'What tells {name} best:\n\n' + '\n'.join(lines))
  if people['shared'] and any(own['shared'] for own in music.values()):
    kinds = list(people['shared'])
    rows = [
        [name, *(f'{own["shared"][kind]:.0f}' for kind in kinds)]
        for name, own in {**music, 'people': people}.items() if own['shared']]
    parts.append(
        '## Copies\n\nThe longest run of notes, the same in intervals and '
        'rhythm, that a melody shares with any piece that was learned from; '
        'people are pieces that were not.\n\n'
        + tables.aligned(['notes in a row', *kinds], rows))
  rows = []
  for measure_name in NAMES:
    values = [own['measures'][measure_name] for own in (
        people, *music.values())]
    rows.append([measure_name.replace('_', ' '), *map(report.cell, values)])
  parts.append(
      '## Measures\n\nMean ± standard deviation over pieces; pitch class '
      'entropy, groove similarity and empty bars, of all voices, are what '
      'XMusic reports in its Table IV.\n\n'
      + tables.aligned(['', 'people', *music], rows))
  return '\n\n'.join(parts) + '\n'


def _area(figure: Mapping | None) -> str:
  if figure is None:
    return '–'
  return (f'{figure["mean"]:.3f} ± {figure["sd"]:.3f} '
          f'({figure["low"]:.2f}..{figure["high"]:.2f})')
