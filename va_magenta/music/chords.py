"""Chords and keys: their names, their notes, and how they follow one another.

A chord is one of 97 numbers: 0 for none, else 1 + 8 root + quality, the root 0
to 11 from C, the quality an index of `QUALITIES`. A key is `Key(tonic, mode)`;
its signature is the tonic of the major key that has the same accidentals.
Models work in the key without accidentals (C major, A minor): their input is
transposed there by minus its signature, what they write back by the signature
of the key asked for.
"""

import functools
import itertools
import re
import typing

import numpy as np

from va_magenta.music.grid import pitch_of

# By name: semitones above the root.
QUALITIES = {
    'maj': (0, 4, 7),
    'min': (0, 3, 7),
    'dim': (0, 3, 6),
    'aug': (0, 4, 8),
    '7': (0, 4, 7, 10),
    'maj7': (0, 4, 7, 11),
    'min7': (0, 3, 7, 10),
    'sus4': (0, 5, 7),
}
NO_CHORD = 0
NUM_CHORDS = 1 + 12 * len(QUALITIES)

_QUALITY_NAMES = tuple(QUALITIES)
# How a quality is written after the root: as we write it first.
_SUFFIXES = {
    'maj': ('', 'maj', 'M', 'major', ':maj'),
    'min': ('m', 'min', '-', 'mi', 'minor', ':min'),
    'dim': ('dim', 'o', '°', ':dim'),
    'aug': ('aug', '+', ':aug'),
    '7': ('7', 'dom7', ':7'),
    'maj7': ('maj7', 'M7', 'ma7', 'Maj7', 'Δ', 'Δ7', 'major7', ':maj7'),
    'min7': ('m7', 'min7', '-7', 'mi7', 'minor7', ':min7'),
    'sus4': ('sus4', 'sus', ':sus4'),
}
_QUALITY_OF = {s: q for q, names in _SUFFIXES.items() for s in names}
# The quality that is nearest to some of those that are not played.
_NEAREST = {
    '5': '', '6': '', 'add9': '', '2': '', 'sus2': '', '9': '7', '11': '7',
    '13': '7', '7sus4': 'sus4', '9sus4': 'sus4', 'maj9': 'maj7', 'm9': 'm7',
    'm6': 'm', 'm11': 'm7', 'madd9': 'm', 'm7b5': 'dim', 'ø': 'dim',
    'dim7': 'dim', 'o7': 'dim', '7#5': 'aug', 'aug7': 'aug', '7b9': '7',
    '7#9': '7', '7b5': '7',
}
_NO_CHORD_NAMES = ('N.C.', 'NC', 'N')
_LETTERS = {'C': 0, 'D': 2, 'E': 4, 'F': 5, 'G': 7, 'A': 9, 'B': 11}
_ROOT = re.compile(r'([A-Ga-g])([#b♯♭]?)(.*)', re.DOTALL)
_SHARP_NAMES = 'C C# D D# E F F# G G# A A# B'.split()
_FLAT_NAMES = 'C Db D Eb E F Gb G Ab A Bb B'.split()
_USUAL_NAMES = 'C C# D Eb E F F# G Ab A Bb B'.split()
_FLAT_SIGNATURES = (1, 3, 5, 8, 10)  # F# major and Eb minor share theirs.

# Of a voicing.
_LOWEST, _HIGHEST, _MIDDLE = 48, 72, 60
_VOICES = 4
_MAX_VOICINGS = 24  # of each chord


class Key(typing.NamedTuple):
  """A key.

  Attributes:
    tonic: 0 to 11, from C.
    mode: 'major' or 'minor'.
  """

  tonic: int
  mode: str

  @property
  def signature(self) -> int:
    """The tonic of the major key with the same accidentals, 0 to 11."""
    return (self.tonic + (3 if self.mode == 'minor' else 0)) % 12

  @property
  def tonic_chord(self) -> int:
    """The triad on the tonic."""
    return chord_of(self.tonic, 'min' if self.mode == 'minor' else 'maj')

  def __str__(self):
    return f'{pitch_name(self.tonic, self)} {self.mode}'


# --- Numbers.


def chord_of(root: int, quality: str) -> int:
  """The number of a chord on a root from C, of a name in `QUALITIES`."""
  return (
      1 + root % 12 * len(QUALITIES) + _QUALITY_NAMES.index(quality))


def root_of(chord: int) -> int | None:
  """The root, 0 to 11 from C; None of no chord."""
  return (int(chord) - 1) // len(QUALITIES) if chord else None


def quality_of(chord: int) -> str | None:
  """The name of the quality; None of no chord."""
  return _QUALITY_NAMES[(int(chord) - 1) % len(QUALITIES)] if chord else None


def pitch_classes(chord: int) -> tuple[int, ...]:
  """The pitch classes of a chord from the root up; () of no chord."""
  if not chord:
    return ()
  return tuple((root_of(chord) + i) % 12 for i in QUALITIES[quality_of(chord)])


def transpose(chords, semitones) -> np.ndarray:
  """Chords on roots so many semitones higher; no chord stays none.

  Args:
    chords: int `[...]`.
    semitones: int, or an array that broadcasts against the chords.

  Returns:
    Chords of the same type.
  """
  chords = np.asarray(chords)
  moved = 1 + (chords.astype(np.int64) - 1 + np.asarray(
      semitones, np.int64) * len(QUALITIES)) % (NUM_CHORDS - 1)
  return np.where(chords == NO_CHORD, NO_CHORD, moved).astype(chords.dtype)


def _tables() -> tuple[np.ndarray, np.ndarray]:
  """Pitch classes `[97, 12]`; control features `[97, 25]`."""
  members = np.zeros((NUM_CHORDS, 12), np.float32)
  features = np.zeros((NUM_CHORDS, 25), np.float32)
  features[NO_CHORD, 0] = 1
  for chord in range(1, NUM_CHORDS):
    members[chord, list(pitch_classes(chord))] = 1
    features[chord, 1 + root_of(chord)] = 1
  features[:, 13:] = members
  return members, features


# PITCH_CLASSES float32 [97, 12]: 1 where a pitch class is of the chord.
# FEATURES float32 [97, 25]: what conditions models: whether there is no chord,
# root, pitch classes.
PITCH_CLASSES, FEATURES = _tables()


# --- Names.


def pitch_name(pitch_class: int, key: Key | None = None) -> str:
  """The name of a pitch class from C, as it is written in a key."""
  if key is None:
    names = _USUAL_NAMES
  elif key.signature in _FLAT_SIGNATURES or key == (3, 'minor'):
    names = _FLAT_NAMES
  else:
    names = _SHARP_NAMES
  return names[pitch_class % 12]


def name(chord: int, key: Key | None = None) -> str:
  """The name of a chord, as it is written in a key: 'C', 'F#m7', 'N.C.'."""
  if not chord:
    return _NO_CHORD_NAMES[0]
  return pitch_name(root_of(chord), key) + _SUFFIXES[quality_of(chord)][0]


def _split_root(text: str) -> tuple[int, str] | None:
  """The pitch class that a name begins with, and what follows it."""
  match = _ROOT.fullmatch(text)
  if not match:
    return None
  letter, accidental, rest = match.groups()
  shift = {'': 0, '#': 1, '♯': 1, 'b': -1, '♭': -1}[accidental]
  return (_LETTERS[letter.upper()] + shift) % 12, rest


def parse(text: str) -> int:
  """The chord of a name: 'C', 'Am7', 'F#dim', 'Bbmaj7', 'Gsus4', 'N.C.'.

  Raises:
    ValueError: if it is not the name of a chord that is played.
  """
  if text in _NO_CHORD_NAMES:
    return NO_CHORD
  found = _split_root(text)
  if not found:
    raise ValueError(
        f'{text!r} is not a chord: one begins with its root, A to G, as in '
        'C, F#m, Bb7')
  root, suffix = found
  if suffix in _QUALITY_OF:
    return chord_of(root, _QUALITY_OF[suffix])
  start = text[:len(text) - len(suffix)]
  plain, slash, _ = suffix.partition('/')
  if slash and plain in _QUALITY_OF:
    raise ValueError(
        f'{text!r} asks for a bass, which follows its own line here: write '
        f'{start + plain}')
  nearest = _NEAREST.get(suffix)
  raise ValueError(
      f'{text!r} is not a chord that is played: those on {start} are '
      + ', '.join(start + names[0] for names in _SUFFIXES.values())
      + ('' if nearest is None else f'; the nearest is {start + nearest}'))


def parse_progression(text: str) -> np.ndarray:
  """The chords of a progression, one each half bar.

  Args:
    text: names, a chord a bar: 'C G Am F'. With bar lines, one or two chords
      between them: 'C | Am G | F | G'.

  Returns:
    uint8 `[2 bars]`.

  Raises:
    ValueError: if there is no chord, a name is not one, or a bar has more than
      two.
  """
  if '|' in text:
    bars = [bar.split() for bar in text.strip().strip('|').split('|')]
  else:
    bars = [[chord] for chord in text.split()]
  if not any(bars):
    raise ValueError(
        f'no chords in {text!r}: write one a bar, as in C G Am F')
  for i, bar in enumerate(bars):
    if not 1 <= len(bar) <= 2:
      raise ValueError(
          f'a bar has one or two chords, bar {i + 1} of {text!r} has '
          f'{len(bar)}')
  return np.array(
      [parse(bar[half * len(bar) // 2]) for bar in bars for half in (0, 1)],
      np.uint8)


def progression_name(chords, key: Key | None = None) -> str:
  """The inverse of `parse_progression`, of chords `[2 bars]`."""
  bars = [
      [name(a, key)] if a == b else [name(a, key), name(b, key)]
      for a, b in np.reshape(chords, (-1, 2))]
  if all(len(bar) == 1 for bar in bars):
    return ' '.join(bar[0] for bar in bars)
  return ' | '.join(' '.join(bar) for bar in bars)


def parse_key(text: str) -> Key:
  """The key of a name: 'A minor', 'C', 'F# major', 'Ebm'.

  Raises:
    ValueError: if it is not the name of a key.
  """
  found = _split_root(text.strip())
  if found:
    tonic, rest = found
    mode = _QUALITY_OF.get(rest.strip())
    # A small letter alone is a major key to some and a minor key to others.
    if mode in ('maj', 'min') and (rest or text.strip()[0].isupper()):
      return Key(tonic, 'major' if mode == 'maj' else 'minor')
  raise ValueError(
      f'{text!r} is not a key: write its tonic and major or minor, as in C '
      'major, F# minor, Bb major')


# --- Notes.


def voicings(chord: int) -> np.ndarray:
  """Good ways to play a chord by four notes, the best first.

  They lie between C3 and C5, close but not crowded: a second is not among the
  low notes, and no two voices are farther than an octave apart. Of three
  pitch classes one is doubled, best the root, worst the third.

  Returns:
    MIDI pitches, int `[n, 4]`, ascending; n at most 24.
  """
  return _voicings(int(chord))[0]


@functools.cache
def _voicings(chord: int) -> tuple[np.ndarray, np.ndarray]:
  """Ways to play a chord, and what each costs."""
  classes = pitch_classes(chord)
  pitches = [
      p for p in range(_LOWEST, _HIGHEST + 1) if p % 12 in classes]
  found = []
  for notes in itertools.combinations(pitches, _VOICES):
    of_notes = [p % 12 for p in notes]
    gaps = np.diff(notes)
    if set(of_notes) != set(classes) or gaps.max() > 12 or notes[-1] < _MIDDLE:
      continue
    if any(gap < 3 for low, gap in zip(notes, gaps, strict=False) if low < 55):
      continue
    cost = 0.5 * abs(np.mean(notes) - _MIDDLE) + 0.4 * max(gaps.max() - 5, 0)
    cost += sum(gap < 2 for gap in gaps)
    cost += (0, 1.5, 0.5, 0)[classes.index(of_notes[0])]  # Which is the lowest.
    if len(classes) < _VOICES:
      [doubled] = [c for c in classes if of_notes.count(c) > 1]
      cost += (0, 1.5, 0.5)[classes.index(doubled)]
    found.append((cost, notes))
  found = sorted(found)[:_MAX_VOICINGS]
  return (np.array([notes for _, notes in found]),
          np.array([cost for cost, _ in found]))


def voice(chords, leap: float = 0.5) -> np.ndarray:
  """A progression by four voices that move as little as they can.

  Of all ways through the `voicings` the one of least cost, found by dynamic
  programming. A chord that goes on keeps its notes.

  Args:
    chords: int `[n]`.
    leap: cost of a semitone of a voice, beside that of a voicing.

  Returns:
    MIDI pitches, int `[n, 4]`, ascending; -1 where there is no chord.
  """
  chords = np.asarray(chords, np.int64)
  result = np.full((len(chords), _VOICES), -1)
  sounding = np.flatnonzero(chords)
  if not len(sounding):
    return result
  # Runs of the same chord, without rests.
  sounded = chords[sounding]
  changes = sounded[1:] != sounded[:-1]
  run = np.r_[0, np.cumsum(changes)]
  runs = [int(c) for c in sounded[np.r_[True, changes]]]
  options, costs = zip(*map(_voicings, runs), strict=True)
  best, back = costs[0], []
  for i in range(1, len(runs)):
    moves = np.abs(options[i - 1][:, None] - options[i][None]).sum(-1)
    total = best[:, None] + leap * moves
    back.append(total.argmin(0))
    best = total.min(0) + costs[i]
  at = [int(best.argmin())]
  for pointers in reversed(back):
    at.append(int(pointers[at[-1]]))
  played = np.array(
      [o[i] for o, i in zip(options, reversed(at), strict=True)])
  result[sounding] = played[run]
  return result


# --- Keys of a piece.

# How well each pitch class fits a major and a minor key on C
# (Krumhansl & Kessler 1982).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29,
          2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34,
          3.17)
_KEY_CHANGE = 1.5  # What a change of key costs, in correlations.
_KEY_WINDOW = 8  # bars that are taken together


def _unit(x: np.ndarray) -> np.ndarray:
  """Rows of mean 0 and length 1."""
  x = x - x.mean(-1, keepdims=True)
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


# Profiles of the majors and of their relative minors, by signature.
_PROFILES = np.stack([
    _unit(np.stack([np.roll(p, k + r) for k in range(12)]))
    for p, r in ((_MAJOR, 0), (_MINOR, 9))])


def key_signatures(melody, bass, chords) -> np.ndarray:
  """The key signature of each bar of a piece.

  By correlation of what sounds around a bar with the profiles of the keys
  (Krumhansl & Schmuckler), in runs found by Viterbi's algorithm.

  Args:
    melody: int `[16 bars]`, on sixteenths: 0 goes on, 1 note-off, from 2 on
      MIDI pitch 21 and up.
    bass: likewise.
    chords: int `[2 bars]`.

  Returns:
    int `[bars]`: the tonic of the major key, 0 to 11 from C.

  Raises:
    ValueError: if the lengths do not fit.
  """
  chords = np.asarray(chords, np.int64)
  bars = len(chords) // 2
  if not (len(melody) == len(bass) == 16 * bars and len(chords) == 2 * bars):
    raise ValueError(
        f'melody and bass have 16 steps a bar and chords 2, got {len(melody)}, '
        f'{len(bass)} and {len(chords)}')
  if not bars:
    return np.zeros(0, np.int64)
  chroma = (
      _sixteenths(melody) + 0.5 * _sixteenths(bass)
      + 2 * PITCH_CLASSES[chords].reshape(bars, 2, 12).sum(1))
  # Of the bars around each; a piece that is shorter is one.
  sums = np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, axis=0)])
  if bars < _KEY_WINDOW:
    around = np.broadcast_to(sums[-1], (bars, 12))
  else:
    first = np.arange(bars) - _KEY_WINDOW // 2
    around = sums[np.minimum(first + _KEY_WINDOW, bars)] - sums[
        np.maximum(first, 0)]
  scores = np.einsum('bp,mkp->mbk', _unit(around), _PROFILES).max(0)
  best, back = scores[0], np.zeros((bars, 12), np.int64)
  own = np.arange(12)
  for bar in range(1, bars):
    other = best.argmax()
    moved = best[other] - _KEY_CHANGE
    back[bar] = np.where(best >= moved, own, other)
    best = np.maximum(best, moved) + scores[bar]
  result = np.zeros(bars, np.int64)
  result[-1] = best.argmax()
  for bar in range(bars - 1, 0, -1):
    result[bar - 1] = back[bar, result[bar]]
  return result


def _sixteenths(tokens) -> np.ndarray:
  """Sixteenths that each pitch class sounds in each bar, `[bars, 12]`.

  A note counts for a bar at most.
  """
  tokens = np.asarray(tokens, np.int64)
  steps = np.arange(len(tokens))
  begun = np.maximum.accumulate(np.where(tokens > 0, steps, 0))
  now = tokens[begun]
  sounds = (now >= 2) & (steps - begun < 16)
  cell = steps // 16 * 12 + pitch_of(now) % 12
  return np.bincount(
      cell[sounds], minlength=len(tokens) // 16 * 12).reshape(-1, 12)


def mode_of(chords, margin: float = 1.0) -> str | None:
  """Whether chords without accidentals are in C major or in A minor.

  By which of both tonics they rest on more often, at the end most of all, and
  by the dominant of A minor.

  Args:
    chords: int `[half bars]`, in the key without accidentals.
    margin: how many times as often the one must sound as the other.

  Returns:
    'major' or 'minor'; None if neither is, by that margin.
  """
  chords = np.asarray(chords, np.int64)
  weights = np.ones(len(chords))
  weights[-1:] += 8
  lengths = np.bincount(chords, weights, NUM_CHORDS)
  major, minor = (
      lengths[[parse(name) for name in names]].sum()
      for names in (('C', 'Cmaj7'), ('Am', 'Am7', 'E', 'E7')))
  if major == minor or max(major, minor) < margin * min(major, minor):
    return None
  return 'major' if major > minor else 'minor'
