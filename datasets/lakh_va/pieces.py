"""From MIDI files with labels to examples of lakh_va, in processes or Beam.

Nothing here imports TFDS, so that a process starts quickly.
"""

import collections
import csv
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from va_magenta import processes
from va_magenta.music import midi
from va_magenta.music.corpus import file_md5, find_midi, split_of
from va_magenta.music_to_va import labelling

SPLITS = ('train', 'validation', 'test')
MELODY_CONFIG = 'cat-mel_2bar_small'
MELODY_STEPS = 32
_STEPS_PER_QUARTER = 4
# Pieces in work at a time: what waits to be written waits in memory.
# What a value of `window` in a table of examples is made of.
WINDOW_COLUMNS = ('window', *labelling.SECONDS, *labelling.LABELS)
PIECE_COLUMNS = (*labelling.LABELS, *labelling.ESTIMATES)


@dataclasses.dataclass(frozen=True)
class Piece:
  """A MIDI file with its labels.

  Attributes:
    md5: of the file, 32 hex digits.
    path: of the file.
    label: `PIECE_COLUMNS` by name.
    windows: `WINDOW_COLUMNS` by name, each [windows].
    genre: '' if unknown.
  """

  md5: str
  path: str
  label: dict[str, float]
  windows: dict[str, np.ndarray]
  genre: str


def find(
    folder: str | os.PathLike, table
) -> tuple[dict[str, list[Piece]], collections.Counter]:
  """The labelled pieces of each split, and what was left out, by reason.

  The split of a piece follows from its md5, now and for ever.

  Args:
    folder: holds MIDI files, or folders that do.
    table: pandas.DataFrame of `labelling`.
  """
  import tqdm

  # A piece's first row is that of the whole piece.
  table = table.sort_values(['md5', 'window'])
  columns = {name: table[name].to_numpy() for name in table.columns}
  starts = np.flatnonzero(columns['window'] == labelling.WHOLE_PIECE)
  rows = dict(zip(
      columns['md5'][starts],
      zip(starts, np.append(starts[1:], len(table)), strict=True),
      strict=True))
  genres = _genres(pathlib.Path(folder))
  splits = {split: [] for split in SPLITS}
  left_out = collections.Counter()
  seen = set()
  for path in tqdm.tqdm(
      find_midi(folder), 'looking up labels', unit='file',
      leave=False):
    md5 = file_md5(path)
    if md5 in seen:
      left_out['duplicate'] += 1
      continue
    seen.add(md5)
    start, end = rows.get(md5, (0, 0))
    if start == end or np.isnan(columns['valence'][start]):
      left_out['no label'] += 1
      continue
    splits[split_of(md5)].append(Piece(
        md5, path,
        {name: columns[name][start] for name in PIECE_COLUMNS},
        {name: columns[name][start + 1:end] for name in WINDOW_COLUMNS},
        genres.get(md5, '')))
  return splits, left_out


def _genres(folder: pathlib.Path) -> dict[str, str]:
  """Genre by md5, where `index.csv` in the folder tells.

  Its columns are `md5` and one whose name begins with `genre`, which may hold a
  list of words, as people's names of the genres of one song differ: the first
  of the most frequent counts.
  """
  path = folder / 'index.csv'
  if not path.exists():
    return {}
  genres = {}
  with path.open(newline='', encoding='utf-8') as file:
    for row in csv.DictReader(file):
      column = next((c for c in row if c and c.startswith('genre')), None)
      found = re.findall(r'[\w&/-]+', row.get(column) or '')
      if found and 'md5' in row:
        genres[row['md5']] = max(found, key=found.count)
  return genres


# One piece.


def _parse(path: str):
  return midi.read(path).to_sequence()


def _initial_qpm(sequence) -> float:
  tempos = sorted((tempo.time, tempo.qpm) for tempo in sequence.tempos)
  return tempos[0][1] if tempos else 120.0


def whole_piece(piece: Piece) -> list[dict] | str:
  """One example, or why there is none."""
  try:
    sequence = _parse(piece.path)
  except Exception:  # Parsers of hostile files raise whatever they like.
    return 'unparsable'
  return [{
      'id': piece.md5,
      'midi': pathlib.Path(piece.path).read_bytes(),
      'bpm': _initial_qpm(sequence),
      'genre': piece.genre,
      'window': piece.windows,
      **piece.label,
  }]


def melodies(
    sequence, converter) -> list[tuple[float, float, np.ndarray]] | str:
  """Distinct 2-bar melodies of a piece, as Magenta cuts and encodes them.

  Args:
    sequence: a `note_seq.NoteSequence`.
    converter: `OneHotMelodyConverter` of `MELODY_CONFIG`, whose tensors are
      these, but whose `to_tensors` forgets where they come from.

  Returns:
    In order of time: start and end in seconds, and tokens, uint8
    [MELODY_STEPS]; of equal tokens the first. Or in words why there are none.
  """
  from note_seq import sequences_lib

  from va_magenta import magenta_compat

  slices, is_in_4_4 = [], False

  def keep(sliced_lists):
    nonlocal is_in_4_4
    is_in_4_4 = True
    slices.extend(sliced_lists[0])
    return []  # To be encoded here.

  magenta_compat.encode_by(converter, keep)
  found = []
  for part in sequences_lib.split_note_sequence_on_time_changes(sequence):
    origin = part.subsequence_info.start_time_offset
    step_seconds = 60 / _initial_qpm(part) / _STEPS_PER_QUARTER
    slices.clear()
    converter.to_tensors(part)
    for melody in slices:
      tokens = np.array(
          [converter.melody_encoding.encode_event(e) for e in melody], np.uint8)
      start = origin + melody.start_step * step_seconds
      found.append((start, start + MELODY_STEPS * step_seconds, tokens))
  if not is_in_4_4:
    return 'not in 4/4'
  found.sort(key=lambda melody: (melody[0], melody[2].tobytes()))
  distinct = {}
  for melody in found:
    distinct.setdefault(melody[2].tobytes(), melody)
  return list(distinct.values()) or 'no melody of 2 bars'


def label_between(
    windows: Mapping[str, np.ndarray], start: float, end: float
) -> dict[str, float] | None:
  """The label of a stretch of a piece: of its windows, by how much of each.

  Args:
    windows: `WINDOW_COLUMNS`.
    start: in seconds.
    end: in seconds.

  Returns:
    `labelling.LABELS` by name, or None if no labelled window is there.
  """
  overlap = np.minimum(windows['end_seconds'], end) - np.maximum(
      windows['start_seconds'], start)
  weights = np.where(np.isnan(windows['valence']), 0, overlap.clip(min=0))
  # Windows are rounded: a hundredth of a second is not an overlap.
  if weights.sum() < .05 * (end - start):
    return None
  weights = weights / weights.sum()
  used = weights > 0
  return {
      name: float(weights[used] @ windows[name][used])
      for name in labelling.LABELS}


def melody_windows(piece: Piece, converter) -> list[dict] | str:
  """Examples of 2-bar melodies, or why there are none."""
  try:
    sequence = _parse(piece.path)
  except Exception:
    return 'unparsable'
  try:
    found = melodies(sequence, converter)
  except Exception as error:  # As above, of what parses.
    return f'not converted: {type(error).__name__}'
  if isinstance(found, str):
    return found
  made = []
  for start, end, tokens in found:
    label = label_between(piece.windows, start, end)
    if label:
      window = np.searchsorted(
          piece.windows['start_seconds'], start + .02, side='right') - 1
      made.append({
          'id': piece.md5, 'tokens': tokens, 'start_seconds': start,
          'window': piece.windows['window'][max(window, 0)], **label})
  return made or 'no label where a melody is'


class Converter:
  """Makes examples of pieces; each process has its own."""

  def __init__(self, as_melodies: bool):
    """Imports nothing yet, as Magenta is slow to import.

    Args:
      as_melodies: examples are 2-bar melodies; else whole pieces.
    """
    self._as_melodies = as_melodies
    self._magentas = None

  def __call__(self, piece: Piece) -> list[tuple[str, dict]] | str:
    """Examples with a key each, or why there are none."""
    if not self._as_melodies:
      made = whole_piece(piece)
    else:
      if self._magentas is None:
        from va_magenta.va_to_music import configs
        self._magentas = configs.data_converter(MELODY_CONFIG)
      made = melody_windows(piece, self._magentas)
    if isinstance(made, str):
      return made
    return [(f'{piece.md5}:{j:05d}', example) for j, example in enumerate(made)]


class _Worker:
  """What a process holds."""

  converter: Converter

  @classmethod
  def start(cls, as_melodies: bool):
    cls.converter = Converter(as_melodies)

  @classmethod
  def convert(cls, piece: Piece):
    return cls.converter(piece)


def pool(as_melodies: bool) -> processes.Pool:
  """Processes for `convert`."""
  return processes.Pool(None, _Worker.start, as_melodies)


def convert(
    pieces: Sequence[Piece], left_out: collections.Counter,
    executor: processes.Pool) -> Iterator[tuple[str, dict]]:
  """Examples of pieces, in their order, with a key each.

  Args:
    pieces: with their labels.
    left_out: is told how many pieces gave no example, by reason.
    executor: a `pool`.

  Raises:
    OSError: if a process was killed.
  """
  import tqdm

  with processes.told_if_killed('converted pieces'):
    for made in tqdm.tqdm(
        executor.map(_Worker.convert, pieces), total=len(pieces), unit='piece',
        leave=False):
      if isinstance(made, list):
        yield from made
      else:
        left_out[getattr(made, 'reason', made)] += 1


def convert_with_beam(pieces: Sequence[Piece], as_melodies: bool, split: str):
  """A `beam.PTransform` that makes the examples of `convert`, in any order.

  Args:
    pieces: with their labels; their paths must lead to the files wherever Beam
      reads them.
    as_melodies: as `Converter` takes.
    split: what the lines about what was left out call the pieces.
  """
  import apache_beam as beam

  class Convert(beam.DoFn):

    def setup(self):
      self._converter = Converter(as_melodies)

    def process(self, piece):
      made = self._converter(piece)
      if isinstance(made, str):
        yield beam.pvalue.TaggedOutput('left_out', made)
      else:
        yield from made

  def convert(pipeline):
    made = (
        pipeline
        | beam.Create(pieces)
        | beam.Reshuffle()
        | beam.ParDo(Convert()).with_outputs('left_out', main='made'))
    _ = (
        made.left_out
        | beam.combiners.Count.PerElement()
        | beam.MapTuple(lambda reason, count: print_left_out(
            f'{len(pieces)} pieces of {split}', {reason: count})))
    return made.made

  return beam.ptransform_fn(convert)()


def print_left_out(what: str, counts: Mapping[str, int]):
  """Says how many of what gave no example, by reason."""
  counts = collections.Counter(counts)
  if counts:
    print(f'lakh_va: left out of {what}: ' + ', '.join(
        f'{count} {reason}' for reason, count in counts.most_common()))
