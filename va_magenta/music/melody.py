"""Melodies of Magenta's 90-token vocabulary as NoteSequences, and back.

One token a sixteenth note, as in `grid`. The result is that of Magenta's
`OneHotMelodyConverter`, which a test holds it to, without importing Magenta.
"""

import os

import note_seq
import numpy as np

from va_magenta.music import midi
from va_magenta.music.grid import (
  FIRST_PITCH,
  MAX_PITCH,
  MIN_PITCH,
  NOTE_OFF,
  NUM_TOKENS,
  STEPS_PER_BAR,
  STEPS_PER_QUARTER,
)

_encoding = note_seq.MelodyOneHotEncoding(MIN_PITCH, MAX_PITCH + 1)
VELOCITY = 80  # What Magenta's converter gives every note.


def tokens_to_sequence(
    tokens: np.ndarray,
    *,
    tempo_qpm: float = note_seq.DEFAULT_QUARTERS_PER_MINUTE,
    program: int = 0,
    velocity: int = VELOCITY,
) -> note_seq.NoteSequence:
  """Plays a melody on one instrument.

  Args:
    tokens: ints in 0..89, one a sixteenth note. Shape [steps].
    tempo_qpm: quarter notes a minute.
    program: General MIDI program, 0..127; 0 is the grand piano.
    velocity: MIDI velocity of every note, 1..127.

  Returns:
    A NoteSequence of one instrument and one tempo. A note still held at the
    last step ends there.

  Raises:
    ValueError: if `tokens` is not one row of tokens.
  """
  tokens = np.asarray(tokens)
  if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
    raise ValueError(
        f'a melody is one row of ints, got {tokens.dtype} {tokens.shape}')
  if tokens.size and not 0 <= tokens.min() <= tokens.max() < NUM_TOKENS:
    raise ValueError(
        f'melody tokens must lie in 0..{NUM_TOKENS - 1}, got '
        f'{tokens.min()}..{tokens.max()}')
  melody = note_seq.Melody(
      events=[_encoding.decode_event(int(t)) for t in tokens],
      steps_per_bar=STEPS_PER_BAR,
      steps_per_quarter=STEPS_PER_QUARTER)
  return melody.to_sequence(velocity=velocity, program=program, qpm=tempo_qpm)


def read(path: str | os.PathLike) -> np.ndarray:
  """The melody in a MIDI file.

  Returns:
    int32 tokens; see `sequence_to_tokens`. Shape [steps].

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not MIDI, or not a melody of two notes and more.
  """
  score = midi.read(path)
  if len(midi.check_pitched(score.notes, path)) < 2:
    raise ValueError(f'{path} has one note, which is no melody')
  try:
    return sequence_to_tokens(score.to_sequence())
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error


def pad(tokens: np.ndarray, multiple: int) -> np.ndarray:
  """A melody with silence after it.

  Args:
    tokens: ints. Shape [steps].
    multiple: of how many steps it shall be.

  Returns:
    The tokens, a note-off where a note still sounds, and nothing new. Shape
    [steps rounded up].
  """
  padding = np.zeros(-len(tokens) % multiple, tokens.dtype)
  played = tokens[tokens > 0]
  if len(padding) and len(played) and played[-1] >= FIRST_PITCH:
    padding[0] = NOTE_OFF
  return np.concatenate([tokens, padding])


def sequence_to_tokens(sequence: note_seq.NoteSequence) -> np.ndarray:
  """The melody of a monophonic piece in 4/4, quantized to sixteenth notes.

  Of notes that start together the highest counts, as in Magenta.

  Args:
    sequence: music with one tempo and one instrument.

  Returns:
    int32 tokens from the piece's start to its end in whole bars. Shape [steps].

  Raises:
    ValueError: if the piece is not in 4/4, changes tempo, has several
      instruments or none, or has a pitch outside 21..108.
  """
  try:
    quantized = note_seq.quantize_note_sequence(sequence, STEPS_PER_QUARTER)
  except (note_seq.BadTimeSignatureError, note_seq.MultipleTimeSignatureError,
          note_seq.MultipleTempoError) as error:
    raise ValueError(f'a melody has one tempo and one meter: {error}') from None
  if note_seq.steps_per_bar_in_quantized_sequence(quantized) != STEPS_PER_BAR:
    raise ValueError('a melody is in 4/4, this piece is not')
  instruments = {note.instrument for note in quantized.notes}
  if len(instruments) != 1:
    raise ValueError(
        f'a melody is played by one instrument, got {len(instruments)}')
  pitches = [note.pitch for note in quantized.notes]
  if min(pitches) < MIN_PITCH or max(pitches) > MAX_PITCH:
    raise ValueError(
        f'a melody has pitches {MIN_PITCH}..{MAX_PITCH}, got '
        f'{min(pitches)}..{max(pitches)}')
  melody = note_seq.Melody()
  melody.from_quantized_sequence(
      quantized,
      instrument=instruments.pop(),
      gap_bars=float('inf'),
      ignore_polyphonic_notes=True,
      pad_end=True)
  # Melody leaves out the empty bars before the first note.
  melody.set_length(len(melody) + melody.start_step, from_left=True)
  return np.array([_encoding.encode_event(e) for e in melody], np.int32)
