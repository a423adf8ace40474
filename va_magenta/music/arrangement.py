"""How a band's piece ends, and how long it is.

A piece that ends does so on a chord of its key, which is held, and slows down
on the way there; a loop does neither.
"""

import numpy as np

from va_magenta.music import band, grid
from va_magenta.music import chords as chord_names

BEATS_PER_BAR = grid.STEPS_PER_BAR // grid.STEPS_PER_QUARTER
# The last chord is held for about so long, and for so many beats.
_HOLD_SECONDS = 3.0
_HOLD_BEATS = (2.0, 4.0)
# What an ending takes: the hold, slowed down, and what the ritardando adds.
ENDING_BEATS = 6
# Final ritardandi slow down as runners who stop do, to about half: v(x) =
# (1 + (w^q - 1) x)^(1 / q) with q = 2 (Friberg & Sundberg 1999, J. Acoust. Soc.
# Am. 105). Bands with drums, which people dance to, hardly do.
_RITARDANDO_BEATS = 4
_SLOWEST, _SLOWEST_WITH_DRUMS = 0.6, 0.8
# What the last note of a melody may be farther away to be the root.
_ROOT_IS_WORTH = 3
_KICK, _CRASH = 1 << 0, 1 << 7
# Roots of the tonics in the key without accidentals.
_MAJOR, _MINOR = 0, 9


def is_minor(chords) -> bool:
  """Whether a piece without accidentals is in A minor rather than in C major.

  By its last chord; where that is neither tonic by the first, or by which of
  the two is heard for longer.

  Args:
    chords: int `[half bars]`.
  """
  roots = [chord_names.root_of(int(chord)) for chord in chords]
  tonics = [root for root in roots if root in (_MAJOR, _MINOR)]
  if not tonics:
    return False
  for root in (roots[-1], roots[0]):
    if root in (_MAJOR, _MINOR):
      return root == _MINOR
  return tonics.count(_MINOR) > tonics.count(_MAJOR)


def end(
    tokens: np.ndarray, chords: np.ndarray, *, keeps_melody: bool = False
) -> tuple[np.ndarray, np.ndarray]:
  """A piece with a bar more, in which the chord of its key is held.

  A piece whose last bar is that already stays as it is.

  Args:
    tokens: int `[steps, 4]`, in the key without accidentals.
    chords: int `[half bars]`.
    keeps_melody: whether the melody has no note added.

  Returns:
    Both, new or the same.
  """
  minor = is_minor(chords)
  root = _MINOR if minor else _MAJOR
  tonic = chord_names.parse('Am' if minor else 'C')
  half_bars = grid.STEPS_PER_BAR // grid.STEPS_PER_CHORD
  after_first_beat = tokens[-grid.STEPS_PER_BAR + grid.STEPS_PER_QUARTER:]
  if not after_first_beat.any() and tokens[-grid.STEPS_PER_BAR].any() and (
      np.all(chords[-half_bars:] == tonic)):
    return tokens, chords
  last = np.zeros((grid.STEPS_PER_BAR, len(band.VOICES)), tokens.dtype)
  plays = band.who_plays(tokens)
  triad = [(root + step) % 12 for step in (0, 3 if minor else 4, 7)]
  if keeps_melody:
    # What sounds ends where it ended.
    last[0, band.MELODY] = grid.NOTE_OFF if plays[band.MELODY] else 0
  elif plays[band.MELODY]:
    last[0, band.MELODY] = _nearest(
        tokens[:, band.MELODY], triad, root, _ROOT_IS_WORTH)
  if plays[band.BASS]:
    last[0, band.BASS] = _nearest(tokens[:, band.BASS], [root], root, 0)
  if plays[band.COMPING]:
    last[0, band.COMPING] = band.STRUCK
  if tokens[-grid.STEPS_PER_BAR:, band.DRUMS].any():
    last[0, band.DRUMS] = _KICK | _CRASH
  return (np.concatenate([tokens, last]),
          np.concatenate([chords, np.full(half_bars, tonic, chords.dtype)]))


def _nearest(line, pitch_classes, root: int, root_is_worth: int) -> int:
  """The token of some pitch classes that is nearest to a line's last note."""
  last = int(line[line >= grid.FIRST_PITCH][-1])
  tokens = np.arange(grid.FIRST_PITCH, grid.NUM_TOKENS)
  of_class = grid.pitch_of(tokens) % 12
  away = np.abs(tokens - last) - root_is_worth * (of_class == root)
  return int(tokens[np.where(np.isin(of_class, pitch_classes), away, 999
                             ).argmin()])


def hold_beats(tempo_qpm: float) -> float:
  """For how many quarter notes the last chord is held."""
  beats = _HOLD_SECONDS * tempo_qpm / 60
  return float(np.clip(np.rint(2 * beats) / 2, *_HOLD_BEATS))


def ritardando(tempos: np.ndarray, *, drums: bool) -> np.ndarray:
  """Tempos that slow down towards the last bar, and stay slow in it.

  Args:
    tempos: quarter notes a minute, one each quarter note.
    drums: whether drums play.
  """
  slowest = _SLOWEST_WITH_DRUMS if drums else _SLOWEST
  x = (np.arange(_RITARDANDO_BEATS) + 0.5) / _RITARDANDO_BEATS
  slower = np.concatenate(
      [np.sqrt(1 + (slowest**2 - 1) * x), np.full(BEATS_PER_BAR, slowest)])
  result = np.array(tempos, float)
  slower = slower[-len(result):]
  result[len(result) - len(slower):] *= slower
  return result


def bars_within(seconds: float, tempo_qpm: float, *, ends: bool,
                multiple: int, least: int, most: int) -> int:
  """How many bars come nearest to a length at a tempo.

  Args:
    seconds: how long the piece shall be.
    tempo_qpm: as is wanted.
    ends: whether it has an ending beside these bars.
    multiple: bars are a multiple of this.
    least: bars, likewise a multiple.
    most: likewise.
  """
  bars = np.arange(least, most + 1, multiple)
  beats = BEATS_PER_BAR * bars + (ENDING_BEATS if ends else 0)
  return int(bars[np.abs(np.log(beats * 60 / tempo_qpm / seconds)).argmin()])
