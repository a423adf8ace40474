"""Reads a MIDI file as a band: four voices on the grid, and their chords.

  piece = band_reader.read('piece.mid')
  piece.tokens, piece.chords          # as `music.band` has them
  piece.bar_seconds                   # when each bar begins, in the file

What is read is the longest stretch in 4/4 (2/2 and 2/4 count as such). Where
eighths or sixteenths swing, they are straightened. Who is who is decided by the
names and programs of the tracks, by register and by how monophonic they are;
what is neither melody, bass nor drums accompanies. What cannot be read as a
band is refused with a reason.
"""

import collections
import dataclasses
import os

import numpy as np

from va_magenta.music import band, grid, midi
from va_magenta.music import chords as chord_names

MIN_BARS, MAX_BARS = 8, 600
# Mean distance from the grid, in steps, beyond which music is not on it; by
# chance it is a quarter.
MAX_OFF_GRID = 0.2
_QUARTERS_PER_BAR = grid.STEPS_PER_BAR // grid.STEPS_PER_QUARTER
_FOURS = ((4, 4), (2, 2), (2, 4))
# Where in a beat the steps of a sixteenth are played: straight, with swung
# eighths (long and short as 2 to 1), and with swung sixteenths.
_GRIDS = (
    (0, 1 / 4, 1 / 2, 3 / 4, 1),
    (0, 1 / 3, 2 / 3, 5 / 6, 1),
    (0, 1 / 3, 1 / 2, 5 / 6, 1))
# Of the distance, that swing must leave at most where straight would do.
_SWING_GAIN = 0.6
_MELODY_NAMES = (
    'melod', 'vocal', 'voice', 'sing', 'lead', 'vox', 'canto', 'tune')
# Of attacks by notes; what has less is more than a line.
_MONOPHONY = .75
_BASS_NAME = 'bass'
_BASS_PROGRAMS = range(32, 40)
# Winds, brass, synthesiser leads, choirs: of tracks without a name.
_LIKELY_MELODY = (*range(52, 55), *range(56, 88))
_KIND_OF_DRUM = {
    pitch: kind for kind, pitches in enumerate(band.DRUM_KINDS)
    for pitch in pitches}


@dataclasses.dataclass(frozen=True)
class Band:
  """A piece as it was read.

  Attributes:
    tokens: uint16 `[steps, 4]`.
    chords: uint8 `[half bars]`.
    bar_seconds: float64 `[bars + 1]`, when bars begin, and the last ends.
    plays: bool `[4]`, which voices there are.
    tempo_qpm: of most of it, quarter notes a minute.
  """

  tokens: np.ndarray
  chords: np.ndarray
  bar_seconds: np.ndarray
  plays: np.ndarray
  tempo_qpm: float


@dataclasses.dataclass
class _Part:
  """What one track plays, on the grid."""

  name: str
  program: int
  start: np.ndarray
  end: np.ndarray
  pitch: np.ndarray

  def __getitem__(self, rows) -> '_Part':
    return dataclasses.replace(
        self, start=self.start[rows], end=self.end[rows],
        pitch=self.pitch[rows])

  @property
  def monophony(self) -> float:
    """Attacks by notes: 1 for a line, less for chords."""
    return len(np.unique(self.start)) / len(self.start)

  def cover(self, num_bars: int) -> float:
    """Share of the bars in which it begins a note."""
    return len(np.unique(self.start // grid.STEPS_PER_BAR)) / num_bars


def read(path: str | os.PathLike) -> Band:
  """A MIDI file as a band.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not readable MIDI, or cannot be read as a band: it has
      no eight bars of 4/4, is off the grid, or has no melody.
  """
  score = midi.read(path)
  try:
    return from_score(score)
  except ValueError as error:
    raise ValueError(f'{path} is no band: {error}') from None


@dataclasses.dataclass(frozen=True)
class Lineup:
  """Who plays a piece.

  Attributes:
    programs: General MIDI programs of melody, bass and, of what accompanies,
      of the program with the most notes.
    drums: of how many strokes they have.
    melody: its pitches.
  """

  programs: tuple[int, int, int]
  drums: int
  melody: np.ndarray


def lineup(score: midi.Score) -> Lineup | None:
  """Who plays what: None unless three tracks or more, of several programs, do.

  Raises:
    ValueError: see `read`.
  """
  pitched = score.notes[~score.notes['is_drum']]
  if not len(pitched):
    raise ValueError('it has no notes that have a pitch')
  parts, drums = _on_grid(score, *_stretch(score, pitched))
  bass = _find_bass(parts)
  rest = [part for part in parts if part is not bass]
  if bass is None or len(rest) < 2 or len({p.program for p in parts}) < 2:
    return None
  num_bars = -(-int(max(part.end.max() for part in parts))
               // grid.STEPS_PER_BAR)
  melody = _find_melody(rest, num_bars)
  if melody.monophony < _MONOPHONY:
    return None
  number = collections.Counter()
  for part in rest:
    if part is not melody:
      number[part.program] += len(part.pitch)
  return Lineup(
      (melody.program, bass.program, number.most_common(1)[0][0]),
      len(drums.start), melody.pitch)


def from_score(score: midi.Score) -> Band:
  """As `read`, of what a file says."""
  pitched = score.notes[~score.notes['is_drum']]
  if not len(pitched):
    raise ValueError('it has no notes that have a pitch')
  first, last = _stretch(score, pitched)
  parts, drums = _on_grid(score, first, last)
  num_steps = max(part.end.max() for part in parts)
  num_bars = -(-int(num_steps) // grid.STEPS_PER_BAR)
  if not MIN_BARS <= num_bars <= MAX_BARS:
    raise ValueError(f'it has {num_bars} bars, not {MIN_BARS} to {MAX_BARS}')
  num_steps = num_bars * grid.STEPS_PER_BAR
  for part in parts:
    part.end = np.minimum(part.end, num_steps)
  melody, bass, comping = _roles(parts, num_bars)
  tokens = np.zeros((num_steps, len(band.VOICES)), np.uint16)
  tokens[:, band.MELODY] = _line_tokens(melody, num_steps, highest=True)
  tokens[:, band.BASS] = _line_tokens(bass, num_steps, highest=False)
  tokens[:, band.DRUMS] = _drum_tokens(drums, num_steps)
  tokens[:, band.COMPING] = _comping_tokens(comping, num_steps)
  bars = first + _QUARTERS_PER_BAR * np.arange(num_bars + 1)
  bar_seconds = score.seconds(bars)
  return Band(
      tokens, _chords(melody, bass, comping, num_bars), bar_seconds,
      band.who_plays(tokens),
      float(60 * _QUARTERS_PER_BAR / np.median(np.diff(bar_seconds))))


# --- Time.


def _stretch(score, pitched) -> tuple[float, float]:
  """First and last quarter note of the longest stretch in four."""
  end = float(pitched['end_beats'].max()) + 1e-6
  meters = score.meters or [(0.0, 4, 4)]
  if all(meter[1:] == (1, 4) for meter in meters) or (
      meters[-1][1:] == (1, 4) and meters[-1][0] <= 8):
    # Beats without bars.
    return float(_first_beat(pitched, end)), end
  found, begun = [], None
  ends = [*(meter[0] for meter in meters[1:]), end]
  for (start, *meter), until in zip(meters, ends, strict=True):
    if tuple(meter) not in _FOURS:
      begun = None
      continue
    if begun is None or (start - begun) % _QUARTERS_PER_BAR:
      begun = start
    found.append((min(until, end) - begun, begun, min(until, end)))
  if not found or max(found)[0] <= 0:
    raise ValueError('it has no stretch in 4/4')
  return max(found)[1:]


def _first_beat(pitched, end) -> int:
  """The phase of the bars: where harmony and bass change most, 0 to 3."""
  num_beats = int(end) + 1
  beat = np.minimum(
      np.rint(pitched['start_beats'] * 4).astype(int) // 4, num_beats - 1)
  chroma, low = np.zeros((num_beats, 12)), np.zeros(num_beats)
  np.add.at(chroma, (beat, pitched['pitch'] % 12), np.minimum(
      pitched['end_beats'] - pitched['start_beats'], 1))
  on_beat = np.abs(pitched['start_beats'] - beat) < .15
  low[beat[on_beat & (pitched['pitch'] < 52)]] = 1
  chroma /= np.maximum(np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9)
  new = .3 * low
  new[1:] += 1 - (chroma[1:] * chroma[:-1]).sum(1)
  return int(np.argmax([
      new[phase::_QUARTERS_PER_BAR].mean() if phase < num_beats else 0
      for phase in range(_QUARTERS_PER_BAR)]))


def _straightened(beats: np.ndarray, places) -> np.ndarray:
  """Quarter notes as steps, of a grid of `_GRIDS`."""
  whole = np.floor(beats)
  return grid.STEPS_PER_QUARTER * whole + np.interp(
      beats - whole, places, np.arange(grid.STEPS_PER_QUARTER + 1))


def _off_grid(beats: np.ndarray, places) -> float:
  """Mean distance from the nearest step, in steps."""
  steps = _straightened(beats, places)
  return float(np.abs(steps - np.rint(steps)).mean())


def _on_grid(score, first, last) -> tuple[list[_Part], _Part | None]:
  """What each track plays in a stretch, and the drums.

  Raises:
    ValueError: if it is off the grid, or empty.
  """
  half = .5 / grid.STEPS_PER_QUARTER
  notes = score.notes[(score.notes['start_beats'] >= first - half)
                      & (score.notes['start_beats'] < last - half)]
  is_pitched = ~notes['is_drum'] & (notes['pitch'] >= grid.MIN_PITCH) & (
      notes['pitch'] <= grid.MAX_PITCH)
  if not is_pitched.any():
    raise ValueError('its stretch in 4/4 has no notes that have a pitch')
  start = notes['start_beats'] - first
  off = [_off_grid(start[~notes['is_drum']], places) for places in _GRIDS]
  best = int(np.argmin(off))
  if off[0] <= MAX_OFF_GRID and off[best] > _SWING_GAIN * off[0]:
    best = 0
  if off[best] > MAX_OFF_GRID:
    raise ValueError(
        f'its notes are not on a grid of sixteenths (off by {off[best]:.2f} of '
        'one)')
  start = np.maximum(
      np.rint(_straightened(start, _GRIDS[best])).astype(int), 0)
  end = np.maximum(np.rint(_straightened(
      notes['end_beats'] - first, _GRIDS[best])).astype(int), start + 1)

  def part(rows, name='', program=0):
    return _Part(name, program, start[rows], end[rows],
                 notes['pitch'][rows].astype(int))

  parts = [
      part(rows, score.names[number].lower(), int(notes['program'][rows][0]))
      for number in np.unique(notes['part'][is_pitched]).tolist()
      for rows in [is_pitched & (notes['part'] == number)]]
  return parts, part(notes['is_drum'])


# --- Roles.


def _roles(parts, num_bars) -> tuple[_Part, _Part, _Part]:
  """Melody, bass, and all else that has a pitch."""
  bass = _find_bass(parts)
  rest = [part for part in parts if part is not bass]
  if not rest:
    raise ValueError('it has a bass alone')
  melody = _find_melody(rest, num_bars)
  comping = _joined([part for part in rest if part is not melody])
  if melody.monophony < _MONOPHONY:  # A piano: its top, and what is below.
    is_top = _is_top(melody)
    comping = _joined([comping, melody[~is_top]])
    melody = melody[is_top]
  if bass is None:
    is_low = _is_low(comping)
    if is_low.sum() <= num_bars:
      is_low[:] = False
    bass, comping = comping[is_low], comping[~is_low]
  return melody, bass, comping


def _joined(parts) -> _Part:
  """Several parts as one."""
  columns = ([getattr(part, name) for part in parts] for name in (
      'start', 'end', 'pitch'))
  return _Part('', 0, *(
      np.concatenate([np.zeros(0, int), *column]) for column in columns))


def _find_bass(parts) -> _Part | None:
  """The track that is a bass: by program, by name, or low and monophonic."""
  likely = [p for p in parts if p.program in _BASS_PROGRAMS] or [
      p for p in parts if _BASS_NAME in p.name]
  likely = [p for p in likely if p.monophony > .8 and np.median(p.pitch) < 60]
  if not likely and len(parts) > 1:
    likely = [p for p in parts if p.monophony > .9 and np.median(p.pitch) < 50]
  return max(likely, key=lambda part: len(part.pitch)) if likely else None


def _find_melody(parts, num_bars) -> _Part:
  """The track that is called so, or is likeliest to be."""
  named = [
      part for part in parts
      if any(name in part.name for name in _MELODY_NAMES)
      and part.monophony > _MONOPHONY and part.cover(num_bars) > .2]

  def likelihood(part):
    repeats = np.mean(np.diff(part.pitch) == 0) if len(part.pitch) > 1 else 1
    return (
        2 * part.monophony + part.cover(num_bars)
        - .05 * abs(np.median(part.pitch) - 70)
        + .5 * min(len(np.unique(part.pitch)) / 12, 1) - .8 * repeats
        + .3 * (part.program in _LIKELY_MELODY))

  return max(named or parts, key=likelihood)


def _is_first(part, keys) -> np.ndarray:
  """Of notes that start together, whether each is the first by its key."""
  order = np.lexsort((keys, part.start))
  first = np.zeros(len(order), bool)
  first[order] = np.diff(part.start[order], prepend=-1) > 0
  return first


def _is_top(part) -> np.ndarray:
  """Which notes are a melody on top: of each chord, unless far below."""
  top = _is_first(part, -part.pitch)
  return top & (part.pitch > np.median(part.pitch[top]) - 10)


def _is_low(part) -> np.ndarray:
  """Which notes are a bass: of each chord the lowest, where that is low."""
  return _is_first(part, part.pitch) & (part.pitch < 55)


# --- Tokens.


def _line_tokens(part, num_steps, highest) -> np.ndarray:
  """One voice; of notes that start together the highest, or the lowest."""
  tokens = np.zeros(num_steps + 1, int)
  part = part[_is_first(part, -part.pitch if highest else part.pitch)]
  part = part[np.argsort(part.start)]
  until = np.append(part.start[1:], num_steps)
  tokens[part.end[part.end < until]] = band.OFF
  tokens[part.start] = part.pitch - grid.MIN_PITCH + grid.FIRST_PITCH
  return tokens[:-1]


def _drum_tokens(drums, num_steps) -> np.ndarray:
  """Which kinds of drum are struck."""
  tokens = np.zeros(num_steps, int)
  for start, pitch in zip(drums.start, drums.pitch, strict=True):
    if start < num_steps and pitch in _KIND_OF_DRUM:
      tokens[start] |= 1 << _KIND_OF_DRUM[pitch]
  return tokens


def _comping_tokens(part, num_steps) -> np.ndarray:
  """What accompanies: chords, and single notes by how high they lie."""
  tokens = np.zeros(num_steps + 1, int)
  half_bars = part.start // grid.STEPS_PER_CHORD
  num_half_bars = num_steps // grid.STEPS_PER_CHORD
  low, high = np.full(num_half_bars, 200), np.zeros(num_half_bars, int)
  np.minimum.at(low, half_bars, part.pitch)
  np.maximum.at(high, half_bars, part.pitch)
  starts, at = np.unique(part.start, return_inverse=True)
  lowest, highest = np.full(len(starts), 200), np.zeros(len(starts), int)
  ends = np.zeros(len(starts), int)
  np.minimum.at(lowest, at, part.pitch)
  np.maximum.at(highest, at, part.pitch)
  np.maximum.at(ends, at, part.end)
  # What is held goes on below what is struck.
  ends = np.maximum.accumulate(ends)
  is_off = ends < np.append(starts[1:], num_steps)
  tokens[ends[is_off]] = band.OFF
  half_bars = starts // grid.STEPS_PER_CHORD
  span = np.maximum(high - low, 1)[half_bars]
  tone = np.minimum(4 * (lowest - low[half_bars]) // span, 3)
  is_chord = (lowest < highest) | (high == low)[half_bars]
  tokens[starts] = np.where(is_chord, band.STRUCK, band.FIRST_TONE + tone)
  return tokens[:-1]


# --- Chords.

# What a quality costs, that is rarer than others.
_RARER = dict(zip(
    chord_names.QUALITIES, (0, 0, .08, .12, .04, .05, .03, .08), strict=True))
_ROOT_IN_BASS = .15
_CHANGE = .125, .25  # What a change costs, on a bar line and within a bar.
_TEMPLATES = chord_names.PITCH_CLASSES[1:] / np.linalg.norm(
    chord_names.PITCH_CLASSES[1:], axis=1, keepdims=True)


def _chords(melody, bass, comping, num_bars) -> np.ndarray:
  """The chord of each half bar, by what sounds, in runs (Viterbi)."""
  num = 2 * num_bars
  chroma = np.zeros((num, 12))
  for part, weight in ((comping, 1.), (bass, 1.2), (
      melody, .6 if len(comping.start) else 1.)):
    _add_sounding(chroma, part, weight)
  scores = chroma / np.maximum(
      np.linalg.norm(chroma, axis=1, keepdims=True), 1e-9) @ _TEMPLATES.T
  scores -= np.tile(list(_RARER.values()), 12)
  roots = np.zeros((num, 12))
  early = bass.start % grid.STEPS_PER_CHORD < grid.STEPS_PER_CHORD // 2
  np.add.at(roots, (bass.start[early] // grid.STEPS_PER_CHORD,
                    bass.pitch[early] % 12), 1)
  roots /= np.maximum(roots.sum(1, keepdims=True), 1e-9)
  scores += _ROOT_IN_BASS * np.repeat(roots, len(_RARER), axis=1)
  silent = chroma.sum(1) < 2
  scores[silent] = 0
  found = 1 + _best_run(scores)
  bars_silent = np.repeat(silent.reshape(-1, 2).all(1), 2)
  found[bars_silent] = chord_names.NO_CHORD
  return found.astype(np.uint8)


def _add_sounding(chroma, part, weight):
  """Adds to each half bar how long each pitch class sounds, a bar at most."""
  end = np.minimum(part.end, part.start + grid.STEPS_PER_BAR)
  first = part.start // grid.STEPS_PER_CHORD
  for i in range(3):
    begins = (first + i) * grid.STEPS_PER_CHORD
    length = np.minimum(end, begins + grid.STEPS_PER_CHORD) - np.maximum(
        part.start, begins)
    rows = (length > 0) & (first + i < len(chroma))
    np.add.at(chroma, (first[rows] + i, part.pitch[rows] % 12),
              weight * length[rows])


def _best_run(scores) -> np.ndarray:
  """The way of best score through `[half bars, chords]`, by changes' costs."""
  best, back = scores[0], np.zeros(scores.shape, int)
  own = np.arange(scores.shape[1])
  for i in range(1, len(scores)):
    other = best.argmax()
    moved = best[other] - _CHANGE[i % 2]
    back[i] = np.where(best >= moved, own, other)
    best = np.maximum(best, moved) + scores[i]
  way = np.zeros(len(scores), int)
  way[-1] = best.argmax()
  for i in range(len(scores) - 1, 0, -1):
    way[i - 1] = back[i, way[i]]
  return way
