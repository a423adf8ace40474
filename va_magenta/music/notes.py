"""Notes as an array: what is read of a piece, and how it is cut.

A piece is a structured numpy array of notes (`NOTE_DTYPE`), read from a MIDI
file or from a NoteSequence:

  notes = read_midi('piece.mid')
"""

import os

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

BARS_PER_WINDOW = 2
# Attacks nearer than this are one chord: people do not play chords in perfect
# unison, and a 32nd at 180 qpm takes 42 ms.
CHORD_SECONDS = 0.03


def _sorted_notes(notes: np.ndarray) -> np.ndarray:
  notes = notes[notes['end_seconds'] > notes['start_seconds']]
  return notes[np.lexsort((notes['pitch'], notes['start_seconds']))]


def from_note_sequence(sequence) -> np.ndarray:
  """Notes of a NoteSequence.

  Args:
    sequence: a `note_seq.NoteSequence`; without a tempo it counts as 120 qpm.

  Returns:
    Array [notes] of NOTE_DTYPE, by start and then pitch; notes without a length
    are left out. It may be empty.
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
  for edge in ('start', 'end'):
    seconds = notes[f'{edge}_seconds']
    section = np.searchsorted(times, seconds, side='right') - 1
    notes[f'{edge}_beats'] = (
        beats[section] + (seconds - times[section]) * qpm[section] / 60)
  return _sorted_notes(notes)


def read_midi(path: str | os.PathLike) -> np.ndarray:
  """Notes of a MIDI file.

  Args:
    path: a Standard MIDI File.

  Returns:
    Array [notes >= 1] of NOTE_DTYPE, by start and then pitch.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not MIDI, is damaged or has no notes.
  """
  import symusic

  path = os.fspath(path)
  with open(path, 'rb') as file:
    content = file.read()
  try:
    score = symusic.Score.from_midi(content)
    in_seconds = score.to('second')
  except Exception as error:  # symusic raises several kinds, by what is wrong.
    raise ValueError(
        f'{path}: not a readable MIDI file ({error}); '
        'a Standard MIDI File (.mid) is needed') from error
  parts = []
  for part, (track, track_seconds) in enumerate(
      zip(score.tracks, in_seconds.tracks, strict=True)):
    ticks, seconds = track.notes.numpy(), track_seconds.notes.numpy()
    notes = np.zeros(len(ticks['time']), NOTE_DTYPE)
    notes['start_beats'] = ticks['time'] / score.tpq
    notes['end_beats'] = (ticks['time'] + ticks['duration']) / score.tpq
    notes['start_seconds'] = seconds['time']
    notes['end_seconds'] = np.add(
        seconds['time'], seconds['duration'], dtype=np.float64)
    notes['pitch'] = ticks['pitch']
    notes['velocity'] = ticks['velocity']
    notes['program'], notes['is_drum'] = track.program, track.is_drum
    notes['part'] = part
    parts.append(notes)
  notes = _sorted_notes(np.concatenate(parts)) if parts else np.empty(0)
  if not len(notes):
    raise ValueError(f'{path}: the MIDI file has no notes')
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
    notes: array of NOTE_DTYPE as `read_midi` gives it.

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
  starts = np.rint(notes['start_seconds'] * 1000).astype(np.int64)
  ends = np.maximum(
      np.rint(notes['end_seconds'] * 1000).astype(np.int64), starts + 1)
  edges, index = np.unique(
      np.concatenate([starts, ends]), return_inverse=True)
  starts, ends = index[:len(notes)], index[len(notes):]
  changes = np.bincount(
      starts * 128 + notes['pitch'], minlength=len(edges) * 128)
  changes -= np.bincount(
      ends * 128 + notes['pitch'], minlength=len(edges) * 128)
  roll = np.cumsum(changes.reshape(-1, 128), axis=0)[:-1] > 0
  return roll, np.diff(edges) / 1000, starts


def window_bounds(
    content: bytes, end_beats: float) -> tuple[np.ndarray, np.ndarray]:
  """Where the windows of a MIDI file begin and end.

  Args:
    content: of the file.
    end_beats: no window begins here or later, in quarter notes.

  Returns:
    Bounds in quarter notes and in seconds, each float64 [windows, 2].
  """
  import symusic

  score = symusic.Score.from_midi(content)
  meters = {0.0: 4.0}  # Beats a bar, by the beat where it begins to count.
  for meter in score.time_signatures:
    if meter.numerator > 0 and meter.denominator > 0:
      meters[meter.time / score.tpq] = 4 * meter.numerator / meter.denominator
  changes = [*sorted(m for m in meters if m < end_beats), end_beats]
  bars = []
  for start, end in zip(changes[:-1], changes[1:], strict=True):
    bars += np.arange(start, end, meters[start]).tolist()
  # The last bar is as long as its meter says, whatever comes after it.
  bars.append(bars[-1] + meters[changes[-2]])
  starts = bars[:-1:BARS_PER_WINDOW]
  ends = [*starts[1:], bars[-1]]
  beats = np.array([starts, ends], np.float64).T

  tempos = {0.0: 120.0}
  for tempo in score.tempos:
    if tempo.qpm > 0:
      tempos[tempo.time / score.tpq] = tempo.qpm
  knots = np.array(sorted(tempos))
  seconds_per_beat = 60 / np.array([tempos[knot] for knot in knots])
  times = np.concatenate(
      [[0], np.cumsum(np.diff(knots) * seconds_per_beat[:-1])])
  section = np.searchsorted(knots, beats, side='right') - 1
  return beats, times[section] + (
      beats - knots[section]) * seconds_per_beat[section]
