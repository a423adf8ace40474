"""The grid of sixteenths in 4/4, and Magenta's tokens of a line on it.

A line is a token a step (Roberts et al. 2018, "A Hierarchical Latent Vector
Model for Learning Long-Term Structure in Music"): 0 goes on, note or silence; 1
ends a note; 2..89 begin one of MIDI pitch 21..108, the keys of a piano.
"""

import numpy as np

STEPS_PER_QUARTER = 4
STEPS_PER_CHORD = 8
STEPS_PER_BAR = 16
MIN_PITCH, MAX_PITCH = 21, 108
GO_ON, NOTE_OFF, FIRST_PITCH = range(3)  # FIRST_PITCH is that of MIN_PITCH.
NUM_TOKENS = FIRST_PITCH + MAX_PITCH - MIN_PITCH + 1  # 90.


def token_of(pitch):
  """The token that begins a note of a MIDI pitch, or of an array of them."""
  return pitch - MIN_PITCH + FIRST_PITCH


def pitch_of(token):
  """The MIDI pitch that a token begins, or those of an array of them."""
  return token - FIRST_PITCH + MIN_PITCH


def line(tokens: np.ndarray) -> np.ndarray:
  """The notes of a line: int [notes, 3], start, length and MIDI pitch.

  Args:
    tokens: int [steps].
  """
  tokens = np.asarray(tokens)
  events = np.flatnonzero(tokens)
  begun = tokens[events].astype(int)
  lengths = np.diff(events, append=len(tokens))
  return np.stack(
      [events, lengths, pitch_of(begun)], axis=1)[begun >= FIRST_PITCH]
