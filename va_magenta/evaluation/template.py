"""The rule of thumb that a generator has to beat: a hand-made melody.

What is known of how music expresses emotion, put into four rules (Gabrielsson &
Lindstrom, "The role of structure in the musical expression of emotions", 2010;
Juslin & Laukka, "Communication of emotions in vocal expression and music
performance", 2003): major is pleasant and minor is not; pleasant is higher;
excited is faster and louder.
"""

import numpy as np

from va_magenta.music import grid
from va_magenta.va import VA

NUM_BARS = 2
# Of arousal from -1 to 1, in a straight line; where the generator's lie too.
TEMPO_QPM = (60.0, 160.0)
VELOCITY = (45, 105)
# MIDI pitch of the tonic, of valence from -1 to 1.
TONIC = (52, 76)
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
# Steps of a melody, in degrees of the scale: small ones are more frequent.
_STEPS, _STEP_SHARES = (-3, -2, -1, 0, 1, 2, 3), (1, 3, 6, 3, 6, 3, 1)
_LENGTHS, _LENGTH_SHARES = (2, 4, 6, 8), (5, 6, 1, 2)  # In sixteenths.
_RANGE = (-3, 8)  # Degrees about the tonic that a melody keeps to.


def tokens(valence: float, seed: int, num_bars: int = NUM_BARS) -> np.ndarray:
  """A melody in the tokens of `music.grid`.

  Args:
    valence: in [-1, 1]: the mode, and where the tonic lies.
    seed: of the rhythm and of the degrees of the scale, which are the same for
      every valence.
    num_bars: its length.

  Returns:
    int32 [16 * num_bars].
  """
  rng = np.random.default_rng(seed)
  scale = _MAJOR if valence >= 0 else _MINOR
  tonic = round(_between(TONIC, valence))
  melody = np.zeros(num_bars * grid.STEPS_PER_BAR, np.int32)
  step, degree = 0, int(rng.choice((0, 2, 4)))  # Begins on the tonic's chord.
  while step < len(melody):
    octave, place = divmod(degree, len(scale))
    melody[step] = grid.token_of(tonic + 12 * octave + scale[place])
    step += int(rng.choice(_LENGTHS, p=_normalized(_LENGTH_SHARES)))
    degree += int(rng.choice(_STEPS, p=_normalized(_STEP_SHARES)))
    degree = min(max(degree, _RANGE[0]), _RANGE[1])
    if step >= len(melody) - 4:
      degree = 0  # Ends on the tonic.
  return melody


def compose(target: VA, seed: int, num_bars: int = NUM_BARS):
  """A `note_seq.NoteSequence` for a point of the plane, by the rules alone."""
  from va_magenta.music import melody

  return melody.tokens_to_sequence(
      tokens(target.valence, seed, num_bars),
      tempo_qpm=_between(TEMPO_QPM, target.arousal),
      velocity=round(_between(VELOCITY, target.arousal)))


def _between(ends: tuple[float, float], coordinate: float) -> float:
  return ends[0] + (coordinate + 1) / 2 * (ends[1] - ends[0])


def _normalized(shares) -> np.ndarray:
  return np.array(shares) / sum(shares)
