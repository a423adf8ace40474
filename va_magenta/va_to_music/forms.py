"""The forms of pieces: which bars return, voice by voice, as people's do.

A prior over latents draws segments that are much alike, where people repeat a
bar note for note, or its rhythm on other notes; nothing else tells generated
music so surely from people's. So a piece is given the form of one by people:
where its bars return, in melody, bass, drums and comping, those of ours do.

A form is an int array `[len(ROWS), bars]`: of each row of `ROWS` and each bar,
the first bar that is the same in this. Where melody or bass begin no note, it
is `EMPTY`.
"""

import dataclasses
import os

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import band, grid

ROWS = ('melody', 'melody rhythm', 'bass', 'bass rhythm', 'drums', 'comping')
EMPTY = -1
SECTION_BARS = 16
# Of each voice of notes, the row of what it plays, and that of its rhythm.
_LINES = ((band.MELODY, 0, 1), (band.BASS, 2, 3))
_PATTERNS = ((band.DRUMS, 4), (band.COMPING, 5))
# Of people's pieces those are drawn that are so near in VA, in one deviation.
_NEARNESS = 0.3
# A bar is repeated no farther than this from where its VA was, along each axis.
_SAME_VA = 0.25


def of_piece(tokens: np.ndarray) -> np.ndarray:
  """The form of a piece.

  Args:
    tokens: int `[steps, 4]`, whole bars; see `music.band`.

  Returns:
    int8 `[len(ROWS), bars]`.
  """
  bars = np.asarray(tokens).astype(np.int64).reshape(
      -1, grid.STEPS_PER_BAR, len(band.VOICES))
  form = np.empty((len(ROWS), len(bars)), np.int8)
  for voice, exact, rhythm in _LINES:
    notes = np.where(
        bars[..., voice] >= grid.FIRST_PITCH, bars[..., voice], 0)
    form[exact], form[rhythm] = _firsts(notes), _firsts(notes > 0)
    form[exact:rhythm + 1, ~notes.any(1)] = EMPTY
  for voice, row in _PATTERNS:
    struck = bars[..., voice]
    if voice == band.COMPING:
      struck = np.where(struck == grid.NOTE_OFF, 0, struck)
    form[row] = _firsts(struck)
  return form


def _firsts(bars: np.ndarray) -> list[int]:
  seen = {}
  return [seen.setdefault(bar.tobytes(), i) for i, bar in enumerate(bars)]


def of_letters(letters: str, form: np.ndarray) -> np.ndarray:
  """A form in which all returns as letters say.

  Args:
    letters: one for two bars or so each.
    form: as which drums and comping return beside that, `[..., len(ROWS),
      bars]`.
  """
  form = form.copy()
  each = form.shape[-1] // len(letters)
  first = np.array([letters.index(letter) for letter in letters])
  at = np.arange(form.shape[-1])
  returns = first[at // each] * each + at % each
  for _, exact, rhythm in _LINES:
    form[..., exact, :] = form[..., rhythm, :] = returns
  for _, row in _PATTERNS:
    form[..., row, :] = form[..., row, returns]
  return form


def letters(form: np.ndarray, segment_bars: int) -> str:
  """A letter for each segment of a melody, the same where all of it returns.

  Args:
    form: int `[len(ROWS), bars]`.
    segment_bars: of each.
  """
  segments = list(map(tuple, form[0].reshape(-1, segment_bars).tolist()))
  known = list(dict.fromkeys(segments))
  return ''.join(
      chr(ord('A') + known.index(segment) % 26) for segment in segments)


@dataclasses.dataclass(frozen=True)
class Forms:
  """Forms of people's pieces.

  Attributes:
    forms: int8 `[pieces, len(ROWS), SECTION_BARS]`.
    va: float `[pieces, 2]`, of each on the whole.
  """

  forms: np.ndarray
  va: np.ndarray

  def draw(self, uniform: np.ndarray, va: np.ndarray, num_bars: int
          ) -> np.ndarray:
    """Draws forms, of pieces near in VA rather than of others.

    A piece that is longer than a section is sections A A B A.

    Args:
      uniform: the randomness, `[n, 2]` in [0, 1).
      va: of each piece, float `[n, 2]`.
      num_bars: of each.

    Returns:
      int `[n, len(ROWS), num_bars]`.
    """
    first, second = (
        self.forms[near(u, va, self.va)].astype(int) for u in uniform.T)
    again = np.broadcast_to(np.arange(SECTION_BARS), first.shape)
    other = np.where(
        second == EMPTY, EMPTY, second + 2 * SECTION_BARS)
    sections = [first, again, other, again]
    return np.concatenate(
        sections * (num_bars // (4 * SECTION_BARS) + 1), -1)[..., :num_bars]


def near(uniform: np.ndarray, va: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Draws people's pieces near in VA rather than others: int `[n]`.

  Args:
    uniform: the randomness, `[n]` in [0, 1).
    va: where to, float `[n, 2]`.
    known: of people's pieces, float `[pieces, 2]`.
  """
  distance = np.square(va[:, None] - known).sum(-1) / _NEARNESS ** 2 / 2
  weights = np.cumsum(np.exp(distance.min(1, keepdims=True) - distance), 1)
  return np.minimum(
      (weights <= uniform[:, None] * weights[:, -1:]).sum(1), len(known) - 1)


def tie(chords: np.ndarray, va: np.ndarray, forms: np.ndarray) -> np.ndarray:
  """Where a bar of the melody returns, and VA is about the same, chords do too.

  The last bar, which ends a piece, keeps its own.

  Args:
    chords: int `[n, half bars]`.
    va: float `[n, bars, 2]`.
    forms: int `[n, len(ROWS), bars]`.
  """
  pieces = np.arange(len(chords))
  tied = chords.reshape(len(chords), -1, 2).copy()
  for at in range(tied.shape[1] - 1):
    first = forms[:, 0, at]
    returns = (first != EMPTY) & (
        abs(va[pieces, first] - va[:, at]) <= _SAME_VA).all(-1)
    tied[returns, at] = tied[returns, first[returns]]
  return tied.reshape(chords.shape)


def repeat(tokens: np.ndarray, chords: np.ndarray | None, va: np.ndarray,
           forms: np.ndarray) -> np.ndarray:
  """Plays bars again where a form has them return.

  Notes return where their chords do, and VA is about the same; elsewhere only
  their rhythm does, on the notes that are there. The last bar, which ends a
  piece, is its own.

  Args:
    tokens: int `[n, steps, voices]`, of the first voices of a band.
    chords: int `[n, half bars]`; None of music without.
    va: float `[n, bars, 2]`.
    forms: int `[n, len(ROWS), bars]`.

  Returns:
    int `[n, steps, voices]`.
  """
  n, voices = len(tokens), tokens.shape[-1]
  pieces = np.arange(n)
  bars = tokens.reshape(n, -1, grid.STEPS_PER_BAR, voices).copy()
  chords = np.zeros((*bars.shape[:2], 2)) if chords is None else (
      chords.reshape(n, -1, 2))
  for at in range(bars.shape[1] - 1):
    firsts = np.where(forms[..., at] == EMPTY, at, forms[..., at])
    near = (abs(va[pieces[:, None], firsts] - va[:, at, None])
            <= _SAME_VA).all(-1)
    same = (chords[pieces[:, None], firsts] == chords[:, at, None]).all(-1)
    for voice, exact, rhythm in _LINES[:voices]:
      first = firsts[:, exact]
      returns = (first < at) & near[:, exact] & same[:, exact]
      bars[returns, at, :, voice] = bars[returns, first[returns], :, voice]
      first = firsts[:, rhythm]
      for i in np.flatnonzero((first < at) & near[:, rhythm] & ~returns):
        bars[i, at, :, voice] = _on_rhythm(
            bars[i, at, :, voice], bars[i, first[i], :, voice],
            bars[i, :at, :, voice].reshape(-1))
      if voice == band.MELODY:
        rests = forms[:, exact, at] == EMPTY
        bars[rests, at, :, voice] = 0
        bars[rests, at, 0, voice] = grid.NOTE_OFF
    for voice, row in _PATTERNS:
      if voice >= voices:
        continue
      returns = near[:, row] & (firsts[:, row] < at)
      bars[returns, at, :, voice] = bars[
          returns, firsts[returns, row], :, voice]
  return bars.reshape(tokens.shape)


def _on_rhythm(bar, rhythm, before) -> np.ndarray:
  """The pitches of a bar where another one has notes.

  Args:
    bar: tokens `[steps]`.
    rhythm: tokens `[steps]` of a bar whose notes begin and end as they shall.
    before: tokens of all that was before.
  """
  at = np.flatnonzero(bar >= grid.FIRST_PITCH)
  pitches = bar[at]
  if not len(at):
    pitches = before[before >= grid.FIRST_PITCH][-1:]
    at = np.zeros(len(pitches), int)
  if not len(pitches):
    return bar
  onsets = np.flatnonzero(rhythm >= grid.FIRST_PITCH)
  played = np.where(rhythm == grid.NOTE_OFF, grid.NOTE_OFF, 0)
  played[onsets] = pitches[
      np.maximum(np.searchsorted(at, onsets, side='right') - 1, 0)]
  return played


def save(forms: Forms, folder: str | os.PathLike):
  """Writes forms to a checkpoint's folder."""
  checkpoints.write(
      folder, checkpoints.FORMS, {'rows': ROWS, 'bars': SECTION_BARS}, {
          'forms': forms.forms.astype(np.int8),
          'va': forms.va.astype(np.float16)})


def load(folder: str | os.PathLike) -> Forms:
  """The forms of a checkpoint.

  Args:
    folder: what `save` filled.

  Raises:
    FileNotFoundError: if there are none.
    ValueError: if they are damaged.
  """
  return checkpoints.load(folder, checkpoints.FORMS, _build)


def _build(config, arrays) -> Forms:
  forms = arrays['forms']
  if tuple(config['rows']) != ROWS or forms.shape[1:] != (
      len(ROWS), SECTION_BARS):
    raise ValueError(f'forms have the rows {", ".join(ROWS)}')
  return Forms(forms, arrays['va'].astype(np.float32))
