"""Notes as an array: what is read of a piece, and how it is cut.

A piece is a structured numpy array of notes (`NOTE_DTYPE`): `midi.read_notes`
reads it from a file, and `from_note_sequence` from a NoteSequence.
"""

from collections.abc import Sequence

import numpy as np

NOTE_DTYPE = np.dtype([
    ('start_seconds', np.float64),
    ('end_seconds', np.float64),
    ('start_beats', np.float64),  # quarter notes
    ('end_beats', np.float64),
    ('pitch', np.int64),  # MIDI, 0..127
    ('velocity', np.int64),  # MIDI, 1..127
    ('program', np.int64),  # General MIDI, 0..127
    ('is_drum', np.bool_),
    ('part', np.int64),  # track or instrument that plays the note
])

SUSTAIN = 64  # The pedal, among MIDI's control changes.
# Attacks nearer than this are one chord: people do not play chords in perfect
# unison, and a 32nd at 180 qpm takes 42 ms.
CHORD_SECONDS = 0.03


def in_order(notes: np.ndarray) -> np.ndarray:
  """Notes that have a length, by start, then pitch, then part."""
  notes = notes[notes['end_seconds'] > notes['start_seconds']]
  return notes[np.lexsort(
      (notes['part'], notes['pitch'], notes['start_seconds']))]


def from_note_sequence(sequence) -> np.ndarray:
  """Notes of a NoteSequence.

  Args:
    sequence: a `note_seq.NoteSequence`; without a tempo it counts as 120 qpm.

  Returns:
    Array [notes] of NOTE_DTYPE, by start and then pitch, as long as keys are
    held; notes without a length are left out. It may be empty.
  """
  notes = np.array([
      (n.start_time, n.end_time, 0, 0, n.pitch, n.velocity, n.program,
       n.is_drum, n.instrument) for n in sequence.notes
  ], NOTE_DTYPE)
  tempos = sorted((t.time, t.qpm) for t in sequence.tempos if t.qpm > 0)
  if not tempos or tempos[0][0] > 0:
    tempos.insert(0, (0, 120))
  times, qpm = np.array(tempos, np.float64).T
  beats = np.concatenate([[0], np.cumsum(np.diff(times) * qpm[:-1] / 60)])

  def to_beats(seconds):
    section = np.searchsorted(times, seconds, side='right') - 1
    return beats[section] + (seconds - times[section]) * qpm[section] / 60

  for edge in ('start', 'end'):
    notes[f'{edge}_beats'] = to_beats(notes[f'{edge}_seconds'])
  return in_order(notes)


def sustain(
    notes: np.ndarray, pedals: Sequence[tuple[float, float, int, bool]]
) -> np.ndarray:
  """Notes as long as they sound with the sustain pedal.

  What is released while the pedal is down sounds on until it is up, the same
  pitch is struck again, or the piece ends.

  Args:
    notes: array of NOTE_DTYPE as long as keys are held.
    pedals: (seconds, quarter note, part, whether it is down from here on), in
      order of time.

  Returns:
    Array of NOTE_DTYPE in the same order.
  """
  if not len(notes) or not any(pedal[3] for pedal in pedals):
    return notes
  notes = notes.copy()
  last = notes[np.argmax(notes['end_seconds'])]
  end = last['end_seconds'], last['end_beats']
  for part in {pedal[2] for pedal in pedals if pedal[3]}:
    down, up = [], []
    for seconds, beats, its_part, is_down in pedals:
      if its_part == part and is_down == (len(down) == len(up)):
        (down if is_down else up).append((seconds, beats))
    down, up = np.array(down), np.array([*up, end][:len(down)])
    mine = np.flatnonzero(notes['part'] == part)
    mine = mine[np.lexsort(
        (notes['start_seconds'][mine], notes['pitch'][mine]))]
    played = notes[mine]
    pedal = np.searchsorted(
        down[:, 0], played['end_seconds'], side='right') - 1
    held = (pedal >= 0) & (played['end_seconds'] < up[pedal, 0])
    again = np.append(played['pitch'][1:] == played['pitch'][:-1], False)
    for i, unit in enumerate(('seconds', 'beats')):
      released = played[f'end_{unit}']
      sounds = np.maximum(released, up[pedal, i])
      struck = np.append(played[f'start_{unit}'][1:], 0)
      sounds = np.where(
          again, np.maximum(released, np.minimum(sounds, struck)), sounds)
      notes[f'end_{unit}'][mine] = np.where(held, sounds, released)
  return notes


def excerpt(
    notes: np.ndarray, first_beat: float, num_beats: float) -> np.ndarray:
  """Notes that start within a stretch of a piece, cut at its end."""
  end = first_beat + num_beats
  notes = notes[
      (notes['start_beats'] >= first_beat) & (notes['start_beats'] < end)]
  length = notes['end_beats'] - notes['start_beats']
  left = np.minimum(1, (end - notes['start_beats']) / length)
  for unit in ('beats', 'seconds'):
    notes[f'end_{unit}'] = notes[f'start_{unit}'] + left * (
        notes[f'end_{unit}'] - notes[f'start_{unit}'])
  return notes


def skyline(notes: np.ndarray) -> np.ndarray:
  """Top-line melody: notes that nothing sounds above when they start.

  Args:
    notes: array of NOTE_DTYPE as `midi.read_notes` gives it.

  Returns:
    Array of NOTE_DTYPE with one voice: each note ends when the next starts.
  """
  notes = notes[~notes['is_drum']]
  if not len(notes):
    return notes
  roll, _, starts = piano_roll(notes)
  return top_line(notes, attack_groups(notes), roll, starts)


def top_line(
    notes: np.ndarray, groups: np.ndarray, roll: np.ndarray, starts: np.ndarray
) -> np.ndarray:
  """As `skyline`, of pitched notes.

  Args:
    notes: array of NOTE_DTYPE.
    groups: of their `attack_groups`.
    roll: of their `piano_roll`, like `starts`.
    starts: likewise.
  """
  top = 127 - np.argmax(roll[:, ::-1], axis=1)
  melody = notes[notes['pitch'] == top[starts]]
  groups = groups[notes['pitch'] == top[starts]]
  order = np.lexsort((-melody['pitch'], groups))
  melody = melody[order][is_first(groups[order])]
  melody = melody[np.argsort(melody['start_seconds'], kind='stable')]
  for unit in ('seconds', 'beats'):
    melody[f'end_{unit}'][:-1] = np.minimum(
        melody[f'end_{unit}'][:-1], melody[f'start_{unit}'][1:])
  return melody


def is_first(ids: np.ndarray) -> np.ndarray:
  """True where a sorted id differs from the one before it."""
  first = np.ones(len(ids), bool)
  first[1:] = ids[1:] != ids[:-1]
  return first


def attack_groups(notes: np.ndarray) -> np.ndarray:
  """Index of the chord that each note, in order of start, is struck with."""
  gaps = np.diff(notes['start_seconds'], prepend=notes['start_seconds'][:1])
  return np.cumsum(gaps > CHORD_SECONDS)


def piano_roll(notes: np.ndarray):
  """What sounds between one start or end of a note and the next.

  Returns:
    bool array [segments, 128]; length in seconds of each segment; segment in
    which each note starts.
  """
  starts, ends = (
      # First rid of rounding errors, which would decide about halves.
      np.rint(np.round(notes[name] * 1000, 6)).astype(np.int64)
      for name in ('start_seconds', 'end_seconds'))
  ends = np.maximum(ends, starts + 1)
  edges, index = np.unique(
      np.concatenate([starts, ends]), return_inverse=True)
  starts, ends = index[:len(notes)], index[len(notes):]
  changes = np.bincount(
      starts * 128 + notes['pitch'], minlength=len(edges) * 128)
  changes -= np.bincount(
      ends * 128 + notes['pitch'], minlength=len(edges) * 128)
  roll = np.cumsum(changes.reshape(-1, 128), axis=0)[:-1] > 0
  return roll, np.diff(edges) / 1000, starts
