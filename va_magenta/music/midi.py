"""MIDI files: written from NoteSequences, and melodies read from them."""

import io
import os
import pathlib

import note_seq
import numpy as np

from va_magenta.music import melody


def to_bytes(sequence) -> bytes:
  """A Standard MIDI File; note_seq's own writer hides errors of the disk."""
  midi = io.BytesIO()
  note_seq.note_sequence_to_pretty_midi(sequence).write(midi)
  return midi.getvalue()


def read_melody(path: str | os.PathLike) -> np.ndarray:
  """Tokens int [steps >= 1] of a MIDI file.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is not MIDI or not a melody; see `melody`.
  """
  content = pathlib.Path(path).read_bytes()
  try:
    sequence = note_seq.midi_to_note_sequence(content)
  except Exception as error:  # Parsers of hostile files raise what they like.
    raise ValueError(
        f'{path} is not a readable MIDI file ({error}); a Standard MIDI File '
        '(.mid) is needed') from error
  try:
    return melody.sequence_to_tokens(sequence)
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
