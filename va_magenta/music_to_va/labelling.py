"""MIDI files -> a table of labels: valence and arousal of pieces and windows.

  table = labelling.read('labels.parquet')  # pandas.DataFrame

A row is a whole piece (`window` -1) or two bars of it. Windows are counted from
the beginning of the MIDI file, where its first bar begins, and do not overlap;
one in which no pitched note starts has no row. A piece is named by the md5 of
its file, so that who has the file has the label.

Columns, sorted by md5 and window:
  md5: 32 hex digits.
  window: -1, or the number of the window, from 0.
  start_seconds, end_seconds: of the piece or window.
  symbolic_valence, symbolic_arousal: estimates of `symbolic` from the notes.
  audio_valence, audio_arousal: estimates of the audio teacher from the notes as
    played by a synthesiser; NaN where there are none.
  valence, arousal: the label, fused from these by `fusion`.
  valence_std, arousal_std: standard deviation of people's ratings about it.

All are expected ratings (the estimate of least squared error) in [-1, 1], not
stretched to the spread of people's ratings. Numbers are rounded to 0.01, which
is little against their spread and makes the file small. Of a long piece
only the first part is read and synthesised (`Settings`).

The file's metadata (the table's `attrs`) tell students and teachers apart: a
better student can read all pieces anew without their being synthesised again.
"""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from va_magenta import files, processes
from va_magenta.music import midi
from va_magenta.music.corpus import file_md5, find_midi
from va_magenta.music.notes import excerpt
from va_magenta.music_to_va import symbolic, symbolic_features
from va_magenta.music_to_va.fusion import ESTIMATES, Fusion
from va_magenta.va import AXES

AUDIO = ESTIMATES[2:]
LABELS = (*AXES, 'valence_std', 'arousal_std')
SECONDS = ('start_seconds', 'end_seconds')
COLUMNS = ('md5', 'window', *SECONDS, *ESTIMATES, *LABELS)
WHOLE_PIECE = -1
DECIMALS = 2
_BLOCK_SIZE = 64  # Pieces that a killed run may lose.
# What a table says of who made it (its `attrs`, in the file's metadata).
_STUDENT, _TEACHER = 'student', 'teacher'

# Estimates from sound: (path, windows [n, 2] in seconds, max_seconds) -> VA,
# float [1 + n, 2]: of max_seconds of the piece from the first window on, and of
# each window, NaN where it was not synthesised to its end. An exception says,
# in one line, why there is no estimate.
AudioEstimator = Callable[[str, np.ndarray, float], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Settings:
  """What labels depend on, beside how estimates are fused.

  Attributes:
    max_seconds: of a longer piece so much is read.
    max_audio_seconds: of a longer piece so much is synthesised.
    min_audio_parts: pieces with fewer parts are estimated from notes
      alone.
    estimator: name or path of what reads notes; the one that ships if None.
    audio_model: likewise, of what estimates from sound; see `teacher`.
  """

  max_seconds: float = 600.0
  max_audio_seconds: float = 60.0
  min_audio_parts: int = 1
  estimator: str | None = None
  audio_model: str | None = None


# Of the dataset. A line of notes sounds as it reads; and so much tells most of
# what the teacher has to say.
LAKH_VA = Settings(max_audio_seconds=15.0, min_audio_parts=2)


# One piece.


def estimate(
    path: str, student: symbolic.SymbolicVA, settings: Settings,
    by_ear: AudioEstimator | None = None, known: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], str | None]:
  """Estimates of a piece and its windows, not fused.

  Args:
    path: of a MIDI file.
    student: reads the notes.
    settings: how much is read and synthesised.
    by_ear: estimates from sound, if given.
    known: what the student has read before, float64 [1 + windows, 5]: `window`,
      `SECONDS` and its estimates.

  Returns:
    Columns `window`, `SECONDS` and `ESTIMATES`, float64 [1 + windows] each; and
    why there is no estimate from sound, or None.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not MIDI or has no pitched note.
  """
  score = midi.read(path)
  notes = midi.check_pitched(score.notes, path)
  first = notes['start_seconds'].min()
  notes = notes[notes['start_seconds'] < max(settings.max_seconds, first + 1)]
  midi.check_pitched(notes, path)
  if known is None:
    known = _read(score, notes, student)
  windows, seconds, read = np.split(known, [1, 3], axis=1)

  audio, reason = np.full_like(read, np.nan), None
  if by_ear and len(np.unique(notes['part'])) >= settings.min_audio_parts:
    try:
      audio = np.asarray(
          by_ear(path, seconds[1:], settings.max_audio_seconds), np.float64)
    except Exception as error:  # Parsers raise whatever they like.
      reason = _reason(error, path)
    if audio.shape != read.shape:
      raise TypeError(f'got {audio.shape} from sound, expected {read.shape}')
  return {
      'window': windows[:, 0].astype(int),
      **dict(zip(SECONDS, seconds.T, strict=True)),
      **dict(zip(
          ESTIMATES, np.concatenate([read, audio], axis=1).clip(-1, 1).T,
          strict=True)),
  }, reason


def _read(
    score: midi.Score, notes: np.ndarray, student: symbolic.SymbolicVA
) -> np.ndarray:
  """What the student reads; as `known` of `estimate`."""
  beats, seconds = score.windows(notes['start_beats'].max() + 1e-6)
  number, features = [], [symbolic_features.extract(notes)]
  for i, (begin, end) in enumerate(beats):
    # As those excerpts are cut that the student was trained on.
    window = excerpt(notes, begin, end - begin)
    if not window['is_drum'].all():
      number.append(i)
      features.append(symbolic_features.extract(window))
  whole = notes['start_seconds'].min(), notes['end_seconds'].max()
  return np.column_stack([
      [WHOLE_PIECE, *number], [whole, *seconds[number]],
      student.regress(np.stack(features))])


def teacher(
    audio_model: str | None = None, soundfont: str | None = None
) -> AudioEstimator:
  """The audio teacher, which estimates from the notes as synthesised.

  Args:
    audio_model: name or path of the estimator; the one that ships if None.
    soundfont: to play pieces with; that of the one that ships if None.

  Raises:
    OSError: if the teacher's weights or FluidSynth are missing.
  """
  from va_magenta.music import synthesis
  from va_magenta.music_to_va import audio, audio_features

  synthesis.import_fluidsynth()
  estimator = audio.load(audio_model)

  def by_ear(
      path: str, windows: np.ndarray, max_seconds: float) -> np.ndarray:
    origin = windows[0, 0]
    features, source = audio.extract(
        path, start_seconds=origin, max_seconds=max_seconds,
        soundfont=soundfont)
    # The sum of the first i frames, [1 + frames, features].
    total = np.cumsum(
        np.pad(features.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    bounds = np.rint(
        (windows - origin) / audio_features.WINDOW_SECONDS).astype(int)
    bounds = np.concatenate([[[0, len(features)]], bounds])
    first, last = bounds[:, 0], np.maximum(bounds[:, 1], bounds[:, 0] + 1)
    is_whole = last <= len(features)
    points = np.full((len(bounds), 2), np.nan)
    points[is_whole] = estimator.regress(
        (total[last[is_whole]] - total[first[is_whole]])
        / (last - first)[is_whole, None], source)
    return points

  return by_ear


def _reason(error: Exception, path: str) -> str:
  """What is wrong with a file, without its name and other particulars."""
  text = str(error) or type(error).__name__
  text = ' '.join(text.replace(path, '').split()).lstrip(': ')
  return text.partition(' (')[0].partition(';')[0]


# A corpus.


class _Worker:
  """Labels one piece; a process holds one."""

  settings: Settings
  make_by_ear = student = by_ear = None

  @classmethod
  def start(
      cls, settings: Settings,
      make_by_ear: Callable[[], AudioEstimator] | None):
    cls.settings, cls.make_by_ear = settings, make_by_ear
    cls.student = cls.by_ear = None

  @classmethod
  def load(cls):
    if cls.student is None:
      cls.student = symbolic.load(cls.settings.estimator)
      cls.by_ear = cls.make_by_ear and cls.make_by_ear()  # pyright: ignore

  @classmethod
  def estimate(
      cls, task: tuple[str, bool, np.ndarray | None]
  ) -> tuple[dict | None, str | None]:
    """As `estimate`; None and the reason if there are no estimates.

    Args:
      task: path of the piece, whether it is estimated from sound too, and what
        is known.
    """
    cls.load()
    path, with_audio, known = task
    try:
      return estimate(
          path, cls.student, cls.settings, with_audio and cls.by_ear, known)
    except (ValueError, OSError) as error:
      return None, _reason(error, path)
    except Exception as error:  # A hostile file's; the others go on.
      return None, f'{type(error).__name__}: {_reason(error, path)}'


@dataclasses.dataclass
class Report:
  """What became of a corpus.

  Attributes:
    num_pieces: in the table.
    num_heard: of these, how many have estimates from sound.
    num_windows: in the table.
    num_known: pieces whose estimates are those of an earlier table.
    duplicates: files with the same content as another.
    unlabelled: reason by path, of files that are not in the table.
    unheard: reason by path, of files that are in it without such estimates.
  """

  num_pieces: int = 0
  num_heard: int = 0
  num_windows: int = 0
  num_known: int = 0
  duplicates: list[str] = dataclasses.field(default_factory=list)
  unlabelled: dict[str, str] = dataclasses.field(default_factory=dict)
  unheard: dict[str, str] = dataclasses.field(default_factory=dict)

  def lines(self) -> list[str]:
    """To be printed."""
    lines = [
        f'{self.num_pieces} pieces, {self.num_windows} windows; '
        f'{self.num_heard} pieces with estimates from sound'
        + (f'; {self.num_known} pieces were known' if self.num_known else '')]
    if self.duplicates:
      lines.append(f'left out: {len(self.duplicates)} files: duplicate')
    for what, reasons in (
        ('left out', self.unlabelled), ('without sound', self.unheard)):
      counts = collections.Counter(sorted(reasons.values()))
      for reason, count in counts.most_common():
        lines.append(f'{what}: {count} files: {reason}')
    return lines


def label(
    midi_dir: str | os.PathLike,
    output: str | os.PathLike,
    fusions: Mapping[str, Fusion],
    *,
    settings: Settings | None = None,
    make_by_ear: Callable[[], AudioEstimator] | None = None,
    known=None,
    num_workers: int | None = None,
    overwrite: bool = False,
) -> Report:
  """Labels a corpus and writes the table, or takes up where it stood.

  Blocks of pieces are written to the folder `OUTPUT.blocks` as they are done,
  and removed when the table is written; a run that was killed loses at most the
  blocks in work.

  Args:
    midi_dir: holds MIDI files, or folders that do.
    output: Parquet file to write, in a folder that exists.
    fusions: one for each of `fusion.KINDS`.
    settings: how much is read and synthesised.
    make_by_ear: called in each process, gives what estimates from sound; a
      function that can be pickled. None for notes alone.
    known: an earlier table. Its estimates from sound are kept, and those of
      this student from notes, but all is fused anew.
    num_workers: processes; all cores if None.
    overwrite: whether `output` may exist. It must not be one of the pieces.

  Raises:
    FileExistsError: if `output` exists, unless `overwrite`.
    FileNotFoundError: if no MIDI file is found.
    ValueError: if none could be labelled.
    OSError: if files cannot be written, another process labels to `output`, or
      a process was killed.
  """
  import pandas as pd

  settings = settings or Settings()
  output = pathlib.Path(output).expanduser()
  if not output.parent.is_dir():
    raise FileNotFoundError(f'{output.parent}, where {output.name} shall be '
                            'written, is no folder')
  report = Report()
  pieces = _find_pieces(midi_dir, report)
  files.check_outputs(
      [output], inputs=[*pieces.values(), *report.duplicates],
      overwrite=overwrite)
  models = _models(settings, make_by_ear)
  kept, with_audio, read = _already(known, pieces.keys(), models)
  report.num_known = len(kept)
  parts = []
  if kept:
    parts.append(known[known['md5'].isin(kept)].drop(columns=list(LABELS)))
  folder = pathlib.Path(f'{output}.blocks')
  with files.held(folder):
    blocks = _estimate_all(
        sorted((name, bool(make_by_ear) and name not in with_audio)
               for name in pieces.keys() - kept),
        pieces, read, folder, settings, make_by_ear, models, num_workers)
    for block in blocks:
      for what in ('unlabelled', 'unheard'):
        getattr(report, what).update(
            (pieces[name], reason) for name, reason in block[what].items())
      parts.append(pd.DataFrame(block['rows']))
    parts = [part for part in parts if len(part)]
    if not parts:
      reasons = collections.Counter(report.unlabelled.values()).most_common(1)
      raise ValueError(
          f'no file of {midi_dir} could be labelled: {reasons[0][0]}')
    table = pd.concat(parts, ignore_index=True)
    if with_audio:
      rows = ['md5', 'window']
      sound = known[known['md5'].isin(with_audio)].set_index(rows)[list(AUDIO)]
      table = table.set_index(rows).fillna(sound).reset_index()
    table = fuse(table, fusions)
    # Estimates from sound that are missing all the same are so for these.
    table.attrs = models if make_by_ear else {_STUDENT: models[_STUDENT]}
    write(output, table)
    shutil.rmtree(folder, ignore_errors=True)
  whole = table[table['window'] == WHOLE_PIECE]
  report.num_pieces, report.num_windows = len(whole), len(table) - len(whole)
  report.num_heard = int(whole['audio_valence'].notna().sum())
  return report


def _find_pieces(
    midi_dir: str | os.PathLike, report: Report) -> dict[str, str]:
  """A path for each md5; tells `report` of what is left out."""
  import tqdm

  pieces = {}
  for path in tqdm.tqdm(
      find_midi(midi_dir), 'reading', unit='file', leave=False):
    try:
      name = file_md5(path)
    except OSError as error:
      report.unlabelled[path] = error.strerror or type(error).__name__
      continue
    if name in pieces:
      report.duplicates.append(path)
    else:
      pieces[name] = path
  return pieces


def _models(
    settings: Settings, make_by_ear: Callable | None) -> dict[str, str]:
  """What estimates hang on, by who makes them; a table keeps it."""
  from va_magenta import checkpoints

  def digest(name_or_path, kind, *options):
    folder = checkpoints.locate(name_or_path, kind)
    weights = [
        file_md5(path) for path in sorted(folder.glob('*'))
        if path.suffix in ('.json', '.npz')]
    return ' '.join([*weights, *map(str, options)])

  models = {_STUDENT: digest(
      settings.estimator, checkpoints.SYMBOLIC, settings.max_seconds)}
  if make_by_ear:
    models[_TEACHER] = digest(
        settings.audio_model, checkpoints.AUDIO, settings.max_audio_seconds,
        settings.min_audio_parts)
  return models


def _already(
    known, names: Collection[str], models: Mapping[str, str]
) -> tuple[set[str], set[str], dict[str, np.ndarray]]:
  """Pieces of a known table: done, with audio, and the others' estimates."""
  if known is None:
    return set(), set(), {}
  rows = known[known['md5'].isin(names)]
  known = rows[rows['window'] == WHOLE_PIECE]
  with_audio = {*known['md5'][known['audio_valence'].notna()]}
  if known.attrs.get(_STUDENT) != models[_STUDENT]:
    return set(), with_audio, {}
  # In a table of such a run, no other piece can have estimates from sound.
  is_done = known.attrs.get(_TEACHER) == models.get(
      _TEACHER, known.attrs.get(_TEACHER))
  kept = {*known['md5']} if is_done else with_audio
  rows = rows[~rows['md5'].isin(kept)]
  columns = rows[['window', *SECONDS, *ESTIMATES[:2]]].to_numpy(np.float64)
  return kept, with_audio, {
      name: columns[at] for name, at in rows.groupby('md5').indices.items()}


def _estimate_all(
    names: Sequence[tuple[str, bool]], pieces: Mapping[str, str],
    read: Mapping[str, np.ndarray], folder: pathlib.Path, settings: Settings,
    make_by_ear: Callable[[], AudioEstimator] | None, models: Mapping[str, str],
    num_workers: int | None) -> list[dict]:
  """The blocks of all pieces, those that are missing made first.

  Args:
    names: md5 of each piece, and whether it is estimated from sound.
    pieces: path by md5.
    read: what is known of a piece, by md5.
    folder: of the blocks.
    settings: as `label` takes.
    make_by_ear: as `label` takes.
    models: as `_models` says.
    num_workers: as `label` takes.
  """
  starts = range(0, len(names), _BLOCK_SIZE)
  keys = [
      hashlib.md5(repr((names[i:i + _BLOCK_SIZE], models)).encode()).hexdigest()
      for i in starts]
  paths = [folder / f'{key}.json' for key in keys]

  def write(path, first, results):
    block = {'rows': [], 'unlabelled': {}, 'unheard': {}}
    for (name, _), (columns, reason) in zip(
        names[first:first + _BLOCK_SIZE], results, strict=True):
      if reason:
        what = 'unlabelled' if columns is None else 'unheard'
        block[what][name] = reason
      if columns:
        block['rows'].append({'md5': name, **{
            column: [round(v, 4) for v in values.tolist()]
            for column, values in columns.items()
        }})
    path.write_text(json.dumps(block))

  processes.resumable_map(
      _estimate, [(pieces[name], with_audio, read.get(name))
                  for name, with_audio in names], paths, write,
      block_size=_BLOCK_SIZE, what='labelled pieces',
      start=(_Worker.start, settings, make_by_ear), num_workers=num_workers)
  return [_read_block(path) for path in paths]


def _estimate(pool, tasks: Sequence[tuple]) -> Iterator[tuple]:
  """As `_Worker.estimate`, of each.

  What hangs or kills a process when it is synthesised may yet be read.
  """
  for task, found in zip(
      tasks, pool.map(_Worker.estimate, tasks), strict=True):
    fault = None
    if isinstance(found, processes.Lost) and task[1]:
      fault = found.reason.replace('reads', 'plays')
      [found] = pool.map(_Worker.estimate, [(task[0], False, task[2])])
    if isinstance(found, processes.Lost):
      found = None, found.reason
    yield found[0], found[1] or fault


def _read_block(path: pathlib.Path) -> dict:
  """A block with its rows as columns of a table."""
  try:
    block = json.loads(path.read_text())
    rows = block['rows']
    columns = {'md5': np.repeat(
        np.array([row['md5'] for row in rows], object),
        [len(row['window']) for row in rows])}
    for column in ('window', *SECONDS, *ESTIMATES):
      columns[column] = np.array(
          [value for row in rows for value in row[column]])
    return {**block, 'rows': columns}
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
        f'{path} is damaged ({error}): remove it, and it is made again'
    ) from error


def fuse(table, fusions: Mapping[str, Fusion]):
  """A table with its labels, made from its estimates.

  Args:
    table: pandas.DataFrame with all `COLUMNS` but `LABELS`, or with old ones.
    fusions: one for each of `fusion.KINDS`.

  Returns:
    pandas.DataFrame, sorted and rounded, as it is written.
  """
  table = table.sort_values(['md5', 'window'], ignore_index=True)

  def round_columns(*names):
    table[[*names]] = table[[*names]].round(DECIMALS).astype(np.float32)

  # First: what is fused again later is what is written now.
  round_columns(*SECONDS, *ESTIMATES)
  is_whole = table['window'].to_numpy() == WHOLE_PIECE
  estimates = table[list(ESTIMATES)].to_numpy(np.float64)
  labels = np.full((len(table), 4), np.nan)
  for kind, rows in (('piece', is_whole), ('window', ~is_whole)):
    labels[rows] = np.concatenate(fusions[kind].apply(estimates[rows]), axis=1)
  table[list(LABELS)] = labels
  round_columns(*LABELS)
  table['window'] = table['window'].astype(np.int32)
  return table[list(COLUMNS)]


def write(path: str | os.PathLike, table):
  """Writes a table as Parquet; the file is whole or not there."""
  with files.writing(path) as temporary:
    table.to_parquet(
        temporary, engine='pyarrow', compression='zstd', compression_level=19,
        index=False)


def points(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """VA of whole pieces by their MD5, float [2]; see `read`."""
  table = read(path)
  table = table[table['window'] == WHOLE_PIECE].dropna(subset=list(AXES))
  return dict(zip(
      table['md5'], table[list(AXES)].to_numpy(float), strict=True))


def read(path: str | os.PathLike):
  """Reads a table.

  Returns:
    pandas.DataFrame with `COLUMNS`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is no such table.
  """
  import pandas as pd

  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'there is no table of labels at {path}')
  try:
    table = pd.read_parquet(path, engine='pyarrow')
  except Exception as error:  # pyarrow's and pandas' readers each have theirs.
    raise ValueError(
        f'{path} is not a table of labels, or is damaged: '
        f'{" ".join(str(error).split())}') from error
  missing = [column for column in COLUMNS if column not in table]
  if missing:
    raise ValueError(
        f'{path} has no column {missing[0]!r}; va_magenta_label writes tables '
        'of labels')
  twice = table['md5'][table.duplicated(['md5', 'window'])]
  if len(twice):
    raise ValueError(
        f'{path} has {len(twice)} rows twice, the first of {twice.iloc[0]}: '
        'keep one row for each md5 and window')
  return table[list(COLUMNS)]
