"""Trios of melody, bass and drums, as Magenta's, as NoteSequences.

Three tokens a sixteenth note (config `hierdec-trio_16bar`): of the melody and
of the bass as in `melody`, and of the drums a number whose nine bits say which
of nine kinds are struck: bass drum, snare, closed and open hi-hat, low, middle
and high tom, crash and ride cymbal. The result is that of Magenta's
`TrioConverter`, which a test holds it to, without importing Magenta.
"""

import note_seq
import numpy as np

from va_magenta.music import grid, melody

OUTPUTS = MELODY, BASS, DRUMS = range(3)
_drums = note_seq.MultiDrumOneHotEncoding()
NO_DRUMS = 0  # The number of a sixteenth at which none is struck.
OUTPUT_DEPTHS = (
    grid.NUM_TOKENS, grid.NUM_TOKENS, _drums.num_classes)  # 90, 90, 512.
# What Magenta's converter gives the bass: General MIDI's electric bass.
BASS_PROGRAM = 33
# Number in a NoteSequence of what plays each output.
INSTRUMENTS = (0, 1, 9)


def tokens_to_sequence(
    tokens: np.ndarray,
    *,
    tempo_qpm: float = note_seq.DEFAULT_QUARTERS_PER_MINUTE,
    programs: tuple[int, int] = (0, BASS_PROGRAM),
) -> note_seq.NoteSequence:
  """Plays a trio on two instruments and drums.

  Args:
    tokens: ints, one of each output a sixteenth note. Shape [steps, 3].
    tempo_qpm: quarter notes a minute.
    programs: General MIDI programs, 0..127, of melody and bass.

  Returns:
    A NoteSequence of one tempo, whose instruments are `INSTRUMENTS`. All notes
    have velocity `melody.VELOCITY`. A drum sounds for a sixteenth.

  Raises:
    ValueError: if `tokens` is not rows of three tokens.
  """
  tokens = np.asarray(tokens)
  if tokens.ndim != 2 or tokens.shape[1] != len(OUTPUTS):
    raise ValueError(
        f'a trio is rows of {len(OUTPUTS)} tokens, got {tokens.dtype} '
        f'{tokens.shape}')
  struck = tokens[:, DRUMS]
  if tokens.size and not 0 <= struck.min() <= struck.max() < (
      OUTPUT_DEPTHS[DRUMS]):
    raise ValueError(
        f'drum tokens must lie in 0..{OUTPUT_DEPTHS[DRUMS] - 1}, got '
        f'{struck.min()}..{struck.max()}')
  sequence, bass = (
      melody.tokens_to_sequence(
          tokens[:, output], tempo_qpm=tempo_qpm, program=programs[output])
      for output in (MELODY, BASS))
  for note in bass.notes:
    note.instrument = INSTRUMENTS[BASS]
  drums = note_seq.DrumTrack(
      [_drums.decode_event(int(t)) for t in struck],
      steps_per_bar=melody.STEPS_PER_BAR,
      steps_per_quarter=melody.STEPS_PER_QUARTER).to_sequence(
          velocity=melody.VELOCITY, instrument=INSTRUMENTS[DRUMS],
          qpm=tempo_qpm)
  for part in (bass, drums):
    sequence.notes.extend(part.notes)
    sequence.total_time = max(sequence.total_time, part.total_time)
  return sequence
