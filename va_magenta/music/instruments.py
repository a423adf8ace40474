"""General MIDI's instruments: by name, and what pitches each can play.

Ranges are those of the instruments themselves, as they sound: of the orchestra
as Adler has them (The Study of Orchestration, 3rd edition, Appendix A, for
professionals), of keyboards their keys, of guitars their frets, of voices those
of a mixed choir. What is electronic plays all of MIDI's piano.
"""

import numpy as np

PIANO = (21, 108)
BASSES = range(32, 40)
DRUMS, NO_DRUMS = 'drums', 'none'
# Low and high MIDI pitch by General MIDI program, from 0.
_RANGES = {
    **dict.fromkeys(range(0, 4), PIANO),
    **dict.fromkeys((4, 5), (28, 103)),  # Electric pianos.
    6: (29, 89), 7: (29, 88),  # Harpsichord, clavinet.
    8: (60, 108), 9: (79, 108), 10: (60, 108), 11: (53, 89), 12: (45, 96),
    13: (65, 108), 14: (60, 77), 15: (55, 91),
    **dict.fromkeys(range(16, 21), (36, 96)),  # Organs.
    21: (41, 93), 22: (60, 96), 23: (41, 93),
    24: (40, 83), **dict.fromkeys(range(25, 32), (40, 88)),
    32: (28, 67), **dict.fromkeys(range(33, 38), (28, 67)),
    38: (24, 72), 39: (24, 72),
    40: (55, 103), 41: (48, 91), 42: (36, 76), 43: (28, 67),
    44: (28, 103), 45: (28, 103), 46: (23, 103), 47: (36, 57),
    **dict.fromkeys(range(48, 52), (28, 103)),  # String ensembles.
    **dict.fromkeys(range(52, 55), (40, 84)),  # Choirs.
    56: (54, 86), 57: (40, 77), 58: (26, 65), 59: (54, 86), 60: (34, 77),
    61: (34, 86), 62: (34, 86), 63: (34, 86),
    64: (56, 88), 65: (49, 81), 66: (44, 76), 67: (36, 69),
    68: (58, 93), 69: (52, 81), 70: (34, 75), 71: (50, 94),
    72: (74, 108), 73: (59, 98), 74: (60, 98), 75: (60, 96), 76: (60, 96),
    77: (55, 91), 78: (60, 96), 79: (57, 89),
    104: (48, 84), 105: (48, 88), 106: (50, 86), 107: (48, 91),
    108: (60, 84), 109: (58, 82), 110: (55, 103), 111: (58, 81),
}
# What people say for short.
_SHORT = {
    'piano': 0, 'electric piano': 4, 'vibes': 11, 'organ': 16, 'guitar': 24,
    'acoustic guitar': 25, 'electric guitar': 27, 'bass': 33,
    'double bass': 32, 'upright bass': 32, 'electric bass': 33, 'harp': 46,
    'strings': 48, 'choir': 52, 'voice': 53, 'brass': 61, 'horn': 60,
    'sax': 65, 'saxophone': 65, 'synth': 80, 'lead': 80, 'pad': 88}


def range_of(program: int) -> tuple[int, int]:
  """Lowest and highest MIDI pitch of a General MIDI program, 0..127."""
  return _RANGES.get(int(program), PIANO)


def parse(name: str) -> int:
  """The General MIDI program of a name ('flute', 'Violin') or a number.

  Raises:
    ValueError: if there is no such instrument.
  """
  import pretty_midi

  text = ' '.join(name.lower().replace('_', ' ').split())
  if text.isdigit() and int(text) < 128:
    return int(text)
  if text in _SHORT:
    return _SHORT[text]
  names = [pretty_midi.program_to_instrument_name(i).lower()
           for i in range(128)]
  for fits in (text.__eq__, lambda other: text in other.split(),
               lambda other: bool(text) and text in other):
    found = [i for i, other in enumerate(names) if fits(other)]
    if found:
      return found[0]
  raise ValueError(
      f'{name!r} is no instrument: give a name of General MIDI, such as piano, '
      'flute, violin, strings, acoustic bass, or a number, 0..127')


def parse_band(names) -> dict[str, int | None]:
  """Who plays which voice: the program of each that plays, None for drums.

  Basses play the bass, and drums the drums; of the others the first plays the
  melody and the second the comping. A voice that nobody plays rests.

  Args:
    names: of instruments, as `parse` takes them, or 'drums'.

  Raises:
    ValueError: if one is no instrument, or nothing is left for it to play.
  """
  voices = {}
  for name in names:
    if name.strip().lower() == DRUMS:
      voice, program = DRUMS, None
    else:
      program = parse(name)
      voice = 'bass' if program in BASSES else (
          'comping' if 'melody' in voices else 'melody')
    if voice in voices:
      raise ValueError(
          f'nothing is left for {name!r} to play: a band is two instruments '
          'for melody and comping, a bass, and drums')
    voices[voice] = program
  if not voices:
    raise ValueError('a band is given by names, as in piano,strings,bass,drums')
  return voices


def fold(pitches: np.ndarray, program: int) -> np.ndarray:
  """A line in the octave that an instrument can best play.

  All of it moves by octaves, so that as little as can be is out of range, and
  not at all if nothing is; what still is comes nearer by octaves of its own.

  Args:
    pitches: MIDI pitches of the line.
    program: General MIDI program.
  """
  low, high = range_of(program)
  pitches = np.asarray(pitches)
  if not len(pitches):
    return pitches

  def outside(octaves):
    moved = pitches + 12 * octaves
    return np.sum((moved < low) | (moved > high))

  best = min((0, 1, -1, 2, -2, 3, -3), key=outside)
  moved = pitches + 12 * best
  below, above = np.maximum(low - moved, 0), np.maximum(moved - high, 0)
  return moved + 12 * -(-below // 12) - 12 * -(-above // 12)
