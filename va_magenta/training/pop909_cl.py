"""POP909-CL: piano arrangements of pop songs, with chords written by people.

A MIDI file a song: a track of a piano, which plays melody, bass and what
accompanies, and a track that holds the chords. Of chords that the vocabulary of
`music.chords` lacks, the label says what they are, and `Song.targets` what they
may count as.
"""

import collections
import dataclasses
import os
import pathlib
import typing
from collections.abc import Iterator

import numpy as np

from va_magenta.music import chords
from va_magenta.music.corpus import find_midi
from va_magenta.music.grid import STEPS_PER_CHORD

# Qualities in Harte's syntax beside those of `chords.QUALITIES`, and what they
# count as: the triad below them. A second that is suspended leaves the third
# open.
_FURTHER = {
    'sus2': ((0, 2, 7), ('maj', 'min')),
    'maj6': ((0, 4, 7, 9), ('maj',)),
    'min6': ((0, 3, 7, 9), ('min',)),
    'hdim7': ((0, 3, 6, 10), ('dim',)),
    'dim7': ((0, 3, 6, 9), ('dim',)),
    'minmaj7': ((0, 3, 7, 11), ('min',)),
}
_QUALITIES = {
    **{name: (steps, (name,)) for name, steps in chords.QUALITIES.items()},
    **_FURTHER}
NONE, UNKNOWN = 'N', 'X'  # of Harte's syntax
_MELODY_REACH = 10  # semitones below the median of the top notes
_BASS_BELOW = 55


@dataclasses.dataclass(frozen=True)
class Song:
  """A song, on sixteenths.

  Attributes:
    path: of its file.
    melody: notes, int `[n, 3]`: start and end in sixteenths, MIDI pitch.
    bass: likewise.
    accompaniment: likewise.
    labels: the chord of each half bar, as 'C:min7'; `NONE`, `UNKNOWN`.
  """

  path: pathlib.Path
  melody: np.ndarray
  bass: np.ndarray
  accompaniment: np.ndarray
  labels: tuple[str, ...]

  @property
  def name(self) -> str:
    """Of the file, without its suffix."""
    return self.path.stem

  def targets(self) -> np.ndarray:
    """What each half bar's chord may count as, bool `[half bars, 97]`.

    Rows of half bars whose chord is unknown are all False.
    """
    allowed = np.zeros((len(self.labels), chords.NUM_CHORDS), bool)
    for row, label in zip(allowed, self.labels, strict=True):
      if label == NONE:
        row[chords.NO_CHORD] = True
      elif label != UNKNOWN:
        root, quality = label.split(':')
        for counts_as in _QUALITIES[quality][1]:
          row[chords.parse(f'{root}:{counts_as}')] = True
    return allowed


def read(folder: str | os.PathLike) -> Iterator[Song]:
  """The songs in 4/4, by name.

  Args:
    folder: with NNN.mid.

  Raises:
    FileNotFoundError: if there are none.
    ValueError: if a file is damaged.
  """
  for path in find_midi(folder):
    song = _read_song(pathlib.Path(path))
    if song:
      yield song


def _read_song(path: pathlib.Path) -> Song | None:
  """A song; None if it is not in 4/4 or lacks a track."""
  import symusic

  try:
    score: typing.Any = symusic.Score(path)
  except RuntimeError as error:
    raise ValueError(f'{path} cannot be read as MIDI: {error}') from error
  meters = {(m.numerator, m.denominator) for m in score.time_signatures}
  if len(score.tracks) != 2 or meters != {(4, 4)}:
    return None
  piano, written = (
      on_grid(track.notes.numpy(), score.tpq / 4) for track in score.tracks)
  if not len(piano) or not len(written):
    return None
  num_half_bars = 2 * -(-int(piano[:, 1].max()) // 16)
  return Song(
      path, *roles(piano), tuple(_labels(written, num_half_bars)))


def on_grid(notes, step: float) -> np.ndarray:
  """Notes by the nearest sixteenth, `[n, 3]`."""
  start = np.round(notes['time'] / step).astype(int)
  end = np.round((notes['time'] + notes['duration']) / step).astype(int)
  return np.stack(
      [start, np.maximum(end, start + 1), notes['pitch'].astype(int)], axis=1)


def roles(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Melody, bass and accompaniment of a piano.

  The top of what begins together is the melody, where it is not far below the
  others; the lowest of the rest is the bass, where it is low.
  """
  def outermost(of, sign):
    order = of[np.lexsort((sign * of[:, 2], of[:, 0]))]
    return order[np.unique(order[:, 0], return_index=True)[1]]

  def without(of, taken):
    taken = set(map(tuple, taken.tolist()))
    return np.array(
        [n for n in of.tolist() if tuple(n) not in taken], int).reshape(-1, 3)

  melody = outermost(notes, -1)
  melody = melody[
      melody[:, 2] > np.median(melody[:, 2]) - _MELODY_REACH]
  rest = without(notes, melody)
  bass = outermost(rest[rest[:, 2] < _BASS_BELOW], 1)
  return melody, bass, without(rest, bass)


def _label(pitches: list[int]) -> str:
  """The chord of notes: on the lowest if it can be, else turned over."""
  sounding = {p % 12 for p in pitches}
  for root in sorted(pitches):
    for quality, (steps, _) in _QUALITIES.items():
      if {(root + s) % 12 for s in steps} == sounding:
        return f'{chords.pitch_name(root)}:{quality}'
  return UNKNOWN


def _labels(written: np.ndarray, num_half_bars: int) -> list[str]:
  """Of each half bar the chord that sounds longest in it, if half of it."""
  by_start = collections.defaultdict(list)
  for start, end, pitch in written.tolist():
    by_start[start].append((end, pitch))
  starts = sorted(by_start)
  sounding = [collections.Counter() for _ in range(num_half_bars)]
  for start, following in zip(
      starts, [*starts[1:], written[:, 1].max()], strict=True):
    end = min(max(e for e, _ in by_start[start]), following)
    label = _label([p for _, p in by_start[start]])
    first, last = start // STEPS_PER_CHORD, (end - 1) // STEPS_PER_CHORD
    for i in range(first, min(last + 1, num_half_bars)):
      edge = STEPS_PER_CHORD * i
      sounding[i][label] += (
          min(end, edge + STEPS_PER_CHORD) - max(start, edge))
  labels = []
  for counts in sounding:
    label, length = counts.most_common(1)[0] if counts else (NONE, 0)
    labels.append(label if length >= STEPS_PER_CHORD // 2 else NONE)
  return labels
