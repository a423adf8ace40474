"""Melodies of one voice or two as notes, features and one-hots.

They are tokens of Magenta's melodies, int [steps, voices], one a sixteenth, and
judged by their notes alone: all are played at 120 qpm, velocity 80, on a piano.
"""

from collections.abc import Sequence

import numpy as np
import tqdm

from va_magenta import processes
from va_magenta.music import grid
from va_magenta.music.grid import NOTE_OFF, NUM_TOKENS, STEPS_PER_BAR
from va_magenta.music.grid import STEPS_PER_QUARTER as STEPS_PER_BEAT
from va_magenta.music.melody import VELOCITY
from va_magenta.music.notes import NOTE_DTYPE
from va_magenta.music_to_va import symbolic_features
from va_magenta.training import symbolic

TEMPO_QPM = 120


def notes_of(tokens: np.ndarray) -> np.ndarray:
  """A melody played plainly: 120 qpm, velocity 80, piano.

  Args:
    tokens: int [steps, voices], see `music.grid`.

  Returns:
    Array of `NOTE_DTYPE`, by start and then pitch; it may be
    empty.
  """
  voices = []
  for part, voice in enumerate(tokens.T):
    starts, lengths, pitches = grid.line(voice).T
    notes = np.zeros(len(starts), NOTE_DTYPE)
    for edge, steps in (('start', starts), ('end', starts + lengths)):
      notes[f'{edge}_beats'] = steps / STEPS_PER_BEAT
      notes[f'{edge}_seconds'] = steps / STEPS_PER_BEAT * 60 / TEMPO_QPM
    notes['pitch'], notes['velocity'] = pitches, VELOCITY
    notes['part'] = part
    voices.append(notes)
  notes = np.concatenate(voices)
  return notes[np.lexsort((notes['pitch'], notes['start_beats']))]


def tokens_of(*voices: np.ndarray) -> np.ndarray:
  """The tokens of voices on a grid of sixteenths, in whole bars.

  Args:
    *voices: arrays of NOTE_DTYPE, each of one voice on that grid; beat 0 is the
      first step.

  Returns:
    int16 [steps, voices].
  """
  last = np.rint(STEPS_PER_BEAT * max(
      voice['end_beats'].max(initial=0) for voice in voices)).astype(int)
  num_steps = -(-last // STEPS_PER_BAR) * STEPS_PER_BAR
  tokens = np.zeros((num_steps + 1, len(voices)), np.int16)
  for i, voice in enumerate(voices):
    start, end = (
        np.rint(voice[f'{edge}_beats'] * STEPS_PER_BEAT).astype(int)
        for edge in ('start', 'end'))
    tokens[end, i] = NOTE_OFF
    tokens[start, i] = np.clip(
        grid.token_of(voice['pitch']), grid.FIRST_PITCH, NUM_TOKENS - 1)
  return tokens[:num_steps]


def lines_of(notes: np.ndarray, num_voices: int) -> np.ndarray:
  """The tokens of a piece's top line, or of its top and its bottom line.

  Args:
    notes: array of NOTE_DTYPE, as `read_notes` gives it.
    num_voices: 1 or 2.

  Returns:
    int16 [steps, voices], from the first note of the top line on. Where one
    note is top and bottom, it is the top's.
  """
  top = symbolic.melody_rendering(notes)
  if num_voices == 1:
    return tokens_of(top)
  mirrored = notes.copy()
  mirrored['pitch'] = 127 - notes['pitch']
  mirrored = mirrored[
      np.lexsort((mirrored['pitch'], mirrored['start_seconds']))]
  bottom = symbolic.melody_rendering(mirrored)
  bottom['pitch'] = 127 - bottom['pitch']
  of_top = set(zip(top['start_beats'], top['pitch'], strict=True))
  return tokens_of(top, bottom[[
      note not in of_top
      for note in zip(bottom['start_beats'], bottom['pitch'], strict=True)]])


def features_of(tokens: np.ndarray) -> np.ndarray:
  """Symbolic features of a melody played plainly, float32 [features]."""
  return symbolic_features.extract(notes_of(tokens))


def features_of_many(
    melodies: Sequence[np.ndarray], pool: processes.Pool, what: str
) -> np.ndarray:
  """`features_of` each, float32 [n, features].

  Args:
    melodies: tokens, n times int [steps, voices].
    pool: of processes that extract them.
    what: what the progress bar says.
  """
  rows = list(tqdm.tqdm(
      pool.map(features_of, melodies, chunksize=32), what, len(melodies),
      unit='melody', mininterval=2, leave=False))
  for row in rows:
    if isinstance(row, processes.Lost):
      raise RuntimeError(f'a melody {row.reason}')
  return np.stack(rows)


def one_hot(tokens: np.ndarray) -> np.ndarray:
  """One-hots side by side, float32 [..., 90 voices], of int [..., voices]."""
  return np.eye(NUM_TOKENS, dtype=np.float32)[tokens].reshape(
      *tokens.shape[:-1], -1)


def frequency_of(tokens: np.ndarray) -> np.ndarray:
  """How often each token is among int [..., voices]; float32 [voices, 90].

  No token is never.
  """
  counts = np.stack([
      np.bincount(voice.ravel(), minlength=NUM_TOKENS) + 1
      for voice in np.moveaxis(tokens, -1, 0)])
  return (counts / counts.sum(axis=-1, keepdims=True)).astype(np.float32)
