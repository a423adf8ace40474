"""A band on the grid of sixteenths: four voices, and a chord every half bar.

A piece in 4/4 is `tokens` int `[steps, 4]`, a sixteenth note a step, and
`chords` int `[half bars]`, numbers of `music.chords`. Its voices are

  MELODY, BASS: Magenta's 90 tokens (see `music.grid`).
  DRUMS: Magenta's 512 (see `music.trio`): bit k, kind k of nine.
  COMPING, what accompanies, in the notes of the chord: 0 goes on, 1 off, 2 the
    chord is struck, 3..6 one of its four notes, from low to high.

  notes = band.voice(tokens, chords)          # which notes, on the grid
  played = band.play(notes, tempo_qpm=100)     # as `music.notes` has them
  sequence = band.to_sequence(notes, chords=chords, tempo_qpm=100)

Which notes a chord has is up to `chords.voice`, which leads four voices through
all of them.
"""

import functools
from collections.abc import Sequence

import numpy as np

from va_magenta.music import chords as chord_names
from va_magenta.music import grid
from va_magenta.music.grid import (
  FIRST_PITCH,
  STEPS_PER_BAR,
  STEPS_PER_CHORD,
  STEPS_PER_QUARTER,
)
from va_magenta.music.notes import NOTE_DTYPE

VOICES = MELODY, BASS, DRUMS, COMPING = range(4)
VOICE_NAMES = ('melody', 'bass', 'drums', 'comping')
OUTPUT_DEPTHS = (grid.NUM_TOKENS, grid.NUM_TOKENS, 512, 7)
GO_ON, OFF, STRUCK, FIRST_TONE = range(4)  # Of comping.
# General MIDI drums of each kind; the first is what is played.
DRUM_KINDS = (
    (36, 35),  # bass drum
    (38, 27, 28, 31, 32, 33, 34, 37, 39, 40, 56, 65, 66, 75, 85),  # snare
    (42, 44, 54, 68, 69, 70, 71, 73, 78, 80, 22),  # closed hi-hat
    (46, 67, 72, 74, 79, 81, 26),  # open hi-hat
    (45, 29, 41, 43, 61, 64, 84),  # low tom
    (48, 47, 60, 63, 77, 86, 87),  # middle tom
    (50, 30, 62, 76, 83),  # high tom
    (49, 52, 55, 57, 58),  # crash cymbal
    (51, 53, 59, 82),  # ride cymbal
)
CONTEXT_DEPTH = len(VOICES) + chord_names.FEATURES.shape[1]  # 4 + 25
# Number in a NoteSequence of what plays each voice; 9 is General MIDI's drums.
INSTRUMENTS = (0, 1, 9, 2)
PROGRAMS = (73, 33, 0, 0)  # flute, electric bass, drums, grand piano
VELOCITIES = (90, 80, 80, 64)
# What notes that start with a bar, and with a beat, are louder by.
_DOWNBEAT, _BEAT = 6, 3
_HATS = (2, 3)
_HATS_SOFTER = 14

# A note on the grid: from `start` to before `end`, in steps.
GRID_DTYPE = np.dtype([
    ('voice', np.int8), ('start', np.int32), ('end', np.int32),
    ('pitch', np.int16)])


def check(tokens, chords) -> tuple[np.ndarray, np.ndarray]:
  """Tokens int64 [steps, 4] and chords int64 [half bars] of a piece.

  Raises:
    ValueError: if their shapes do not fit, or a number is none of theirs.
  """
  tokens, chords = np.asarray(tokens, np.int64), np.asarray(chords, np.int64)
  if tokens.ndim != 2 or tokens.shape[1] != len(VOICES) or (
      tokens.shape[0] != STEPS_PER_CHORD * chords.size or chords.ndim != 1):
    raise ValueError(
        f'a band is tokens [steps, {len(VOICES)}] and a chord every '
        f'{STEPS_PER_CHORD} steps, got {list(tokens.shape)} and '
        f'{list(chords.shape)}')
  for voice, depth in enumerate(OUTPUT_DEPTHS):
    of_voice = tokens[:, voice]
    if of_voice.size and not 0 <= of_voice.min() <= of_voice.max() < depth:
      raise ValueError(
          f'tokens of the {VOICE_NAMES[voice]} must lie in 0..{depth - 1}, got '
          f'{of_voice.min()}..{of_voice.max()}')
  if chords.size and not 0 <= chords.min() <= chords.max() < (
      chord_names.NUM_CHORDS):
    raise ValueError(
        f'chords must lie in 0..{chord_names.NUM_CHORDS - 1}, got '
        f'{chords.min()}..{chords.max()}')
  return tokens, chords


def who_plays(tokens) -> np.ndarray:
  """Which voices have a note: tokens `[..., steps, 4]` -> bool `[..., 4]`."""
  tokens = np.asarray(tokens)
  return (tokens >= (FIRST_PITCH, FIRST_PITCH, 1, STRUCK)).any(-2)


def context(plays, chords) -> np.ndarray:
  """What conditions models beside VA, each half bar.

  Args:
    plays: which voices play, bool `[..., 4]`.
    chords: int `[..., half bars]`.

  Returns:
    float32 `[..., half bars, 29]`: who plays, and the chord's features.
  """
  features = chord_names.FEATURES[np.asarray(chords, np.int64)]
  plays = np.broadcast_to(
      np.asarray(plays, np.float32)[..., None, :],
      (*features.shape[:-1], len(VOICES)))
  return np.concatenate([plays, features], axis=-1)


def controls(va, plays, chords) -> np.ndarray:
  """The conditioning of the band's MusicVAE, each half bar.

  Args:
    va: float `[..., 2]`, one for all half bars; or `[..., half bars, 2]`.
    plays: bool `[..., 4]`.
    chords: int `[..., half bars]`.

  Returns:
    float32 `[..., half bars, 31]`.
  """
  known = context(plays, chords)
  va = np.asarray(va, np.float32)
  if va.ndim < known.ndim:
    va = va[..., None, :]
  return np.concatenate(
      [np.broadcast_to(va, (*known.shape[:-1], 2)), known], axis=-1)


def transpose(tokens, chords, semitones: int) -> tuple[np.ndarray, np.ndarray]:
  """A piece so many semitones higher; drums and comping's tokens stay.

  Pitches that would leave the range come an octave nearer.

  Args:
    tokens: int `[..., steps, 4]`.
    chords: int `[..., half bars]`.
    semitones: -12 to 12.

  Returns:
    Both, new.
  """
  tokens = np.array(tokens)
  tokens[..., :2] = transpose_line(tokens[..., :2], semitones)
  return tokens, chord_names.transpose(chords, semitones)


def transpose_line(tokens, semitones) -> np.ndarray:
  """Tokens of melody or bass so many semitones higher, within their range.

  Args:
    tokens: int, of any shape.
    semitones: broadcasts to that shape.

  Returns:
    int64 of that shape; pitches that would leave the range come as many octaves
    nearer as they must.
  """
  tokens = np.asarray(tokens, np.int64)
  moved = tokens + semitones
  moved += 12 * -(-np.maximum(FIRST_PITCH - moved, 0) // 12)
  moved -= 12 * -(-np.maximum(moved - OUTPUT_DEPTHS[MELODY] + 1, 0) // 12)
  return np.where(tokens >= FIRST_PITCH, moved, tokens)


# --- From tokens to notes.


def voice(tokens, chords) -> np.ndarray:
  """The notes of a piece, on the grid.

  A note of melody or bass goes on to the next token. A chord that is struck
  goes on until another is struck, a single note is played, or comping is off;
  where the harmony changes below it, its voices move on to the new chord, and
  those that are of both are held. A single note rings until the harmony
  changes, the chord is struck, the same note returns or comping is off, but no
  longer than a half bar if others follow. Without a chord comping is silent.

  Args:
    tokens: int `[steps, 4]`.
    chords: int `[half bars]`.

  Returns:
    Array [notes] of GRID_DTYPE, by voice, start and pitch; every note has a
    length, and no two of the same voice and pitch overlap.

  Raises:
    ValueError: see `check`.
  """
  tokens, chords = check(tokens, chords)
  return np.concatenate([
      _line(tokens[:, MELODY], MELODY), _line(tokens[:, BASS], BASS),
      _drums(tokens[:, DRUMS]), _comping(tokens[:, COMPING], chords)])


def _grid(voice_, start, end, pitch) -> np.ndarray:
  """Columns as an array of GRID_DTYPE."""
  notes = np.empty(len(start), GRID_DTYPE)
  notes['voice'], notes['start'] = voice_, start
  notes['end'], notes['pitch'] = end, pitch
  return notes


def _line(tokens, voice_) -> np.ndarray:
  """Notes of a melody."""
  start, length, pitch = grid.line(tokens).T
  return _grid(voice_, start, start + length, pitch)


def _drums(tokens) -> np.ndarray:
  """Strokes, a sixteenth each."""
  kinds = np.arange(len(DRUM_KINDS))
  start, kind = np.nonzero(tokens[:, None] >> kinds & 1)
  pitch = np.array([pitches[0] for pitches in DRUM_KINDS])[kind]
  notes = _grid(DRUMS, start, start + 1, pitch)
  return notes[np.lexsort((pitch, start))]


@functools.lru_cache(maxsize=256)
def _voicings(chords: bytes) -> np.ndarray:
  """`chords.voice`, once for all that play the same progression."""
  return chord_names.voice(np.frombuffer(chords, np.int64))


def _comping(tokens, chords) -> np.ndarray:
  """Notes of what accompanies."""
  voicings = _voicings(chords.tobytes()).tolist()
  changes = np.flatnonzero(np.diff(chords, prepend=-1)) * STEPS_PER_CHORD
  onsets = np.flatnonzero(tokens)
  found, held = [], {}  # Of notes that are held, by pitch: their start.
  broken = False  # Whether what is held are single notes.

  def release(pitches, at):
    found.extend((held.pop(pitch), at, pitch) for pitch in list(pitches))

  for at in np.union1d(onsets, changes).tolist():
    token, voicing = int(tokens[at]), voicings[at // STEPS_PER_CHORD]
    if voicing[0] < 0 or token in (OFF, STRUCK):
      release(held, at)
      if voicing[0] >= 0 and token == STRUCK:
        held, broken = dict.fromkeys(voicing, at), False
    elif token >= FIRST_TONE:
      pitch = voicing[token - FIRST_TONE]
      if not broken:
        release(held, at)
      # Others ring on, those of the chord, for half a bar.
      for other, start in list(held.items()):
        if other == pitch or other not in voicing:
          release([other], at)
        elif at - start > STEPS_PER_CHORD:
          found.append((start, start + STEPS_PER_CHORD, other))
          del held[other]
      held[pitch], broken = at, True
    elif held:  # The harmony changes.
      release(set(held) - set(voicing), at)
      if not broken:
        held |= {p: at for p in voicing if p not in held}
  release(held, len(tokens))
  notes = np.array(sorted(found), np.int64).reshape(-1, 3).T
  return _grid(COMPING, notes[0], notes[1], notes[2])


# --- From notes on the grid to notes as they are played.


def play(
    notes: np.ndarray,
    *,
    tempo_qpm: float | Sequence[float] = 120.0,
    programs: Sequence[int] = PROGRAMS,
    velocities: Sequence[int] = VELOCITIES,
) -> np.ndarray:
  """Notes of the grid as `music.notes` has those of a file.

  What starts with a beat is a little louder, more so with a bar; hi-hats are
  softer than the other drums.

  Args:
    notes: array of GRID_DTYPE.
    tempo_qpm: quarter notes a minute; or one of each quarter note, and after
      them the last.
    programs: General MIDI program of each voice; that of the drums is ignored.
    velocities: MIDI velocity of each voice off the beat.

  Returns:
    Array [notes] of NOTE_DTYPE, by start and then pitch; `part` is the voice.
  """
  played = np.zeros(len(notes), NOTE_DTYPE)
  of_voice, start = notes['voice'], notes['start']
  seconds = _step_seconds(tempo_qpm, int(notes['end'].max(initial=0)))
  played['start_seconds'], played['end_seconds'] = (
      seconds[start], seconds[notes['end']])
  played['start_beats'] = start / STEPS_PER_QUARTER
  played['end_beats'] = notes['end'] / STEPS_PER_QUARTER
  played['pitch'], played['part'] = notes['pitch'], of_voice
  played['is_drum'] = of_voice == DRUMS
  played['program'] = np.where(
      played['is_drum'], 0, np.asarray(programs)[of_voice])
  hats = played['is_drum'] & np.isin(
      notes['pitch'], [DRUM_KINDS[kind][0] for kind in _HATS])
  velocity = (
      np.asarray(velocities)[of_voice]
      + np.where(start % STEPS_PER_BAR == 0, _DOWNBEAT,
                 np.where(start % STEPS_PER_QUARTER == 0, _BEAT, 0))
      - _HATS_SOFTER * hats)
  played['velocity'] = np.clip(velocity, 1, 127)
  return played[np.lexsort((played['pitch'], start))]


def _step_seconds(tempo_qpm, num_steps: int) -> np.ndarray:
  """When each step begins, and the last ends, `[num_steps + 1]`."""
  tempos = np.atleast_1d(np.asarray(tempo_qpm, np.float64))
  quarters = np.minimum(
      np.arange(num_steps) // STEPS_PER_QUARTER, len(tempos) - 1)
  return np.concatenate(
      [[0.0], np.cumsum(60 / STEPS_PER_QUARTER / tempos[quarters])])


def seconds_at(
    beats: np.ndarray, tempo_qpm: float | Sequence[float]) -> np.ndarray:
  """When quarter notes are played; `tempo_qpm` as in `play`."""
  steps = np.asarray(beats) * STEPS_PER_QUARTER
  seconds = _step_seconds(tempo_qpm, int(np.ceil(steps.max(initial=0))))
  return np.interp(steps, np.arange(len(seconds)), seconds)


def to_sequence(
    notes: np.ndarray,
    *,
    chords=None,
    key: chord_names.Key | None = None,
    tempo_qpm: float | Sequence[float] = 120.0,
    programs: Sequence[int] = PROGRAMS,
    velocities: Sequence[int] = VELOCITIES,
):
  """A `note_seq.NoteSequence` in 4/4, of an instrument for each voice.

  Args:
    notes: array of GRID_DTYPE.
    chords: see `as_sequence`.
    key: likewise.
    tempo_qpm: see `play`.
    programs: likewise.
    velocities: likewise.
  """
  return as_sequence(
      play(notes, tempo_qpm=tempo_qpm, programs=programs,
           velocities=velocities),
      chords=chords, key=key, tempo_qpm=tempo_qpm)


def as_sequence(
    played: np.ndarray,
    *,
    chords=None,
    key: chord_names.Key | None = None,
    tempo_qpm: float | Sequence[float] = 120.0,
    sections: Sequence[tuple[int, str]] = (),
):
  """Played notes as a `note_seq.NoteSequence`, an instrument for each voice.

  Args:
    played: array of NOTE_DTYPE, see `play`.
    chords: int `[half bars]`, written as symbols where they change; None for
      none.
    key: is written, and chords are spelt in it.
    tempo_qpm: what it is played at, see `play`.
    sections: the bar in which each begins, from 0, and its name.
  """
  import note_seq

  sequence = note_seq.NoteSequence(ticks_per_quarter=220)
  for note in played:
    sequence.notes.add(
        instrument=INSTRUMENTS[note['part']], pitch=note['pitch'],
        start_time=note['start_seconds'], end_time=note['end_seconds'],
        velocity=note['velocity'], program=note['program'],
        is_drum=note['is_drum'])
  sequence.total_time = max((n.end_time for n in sequence.notes), default=0)
  for instrument, name in zip(INSTRUMENTS, VOICE_NAMES, strict=True):
    sequence.instrument_infos.add(instrument=instrument, name=name)
  sequence.time_signatures.add(numerator=4, denominator=4)
  tempos = np.atleast_1d(tempo_qpm).astype(float).tolist()
  seconds = _step_seconds(tempo_qpm, STEPS_PER_QUARTER * len(tempos))
  for quarter, qpm in enumerate(tempos):
    if not quarter or qpm != tempos[quarter - 1]:
      sequence.tempos.add(time=seconds[quarter * STEPS_PER_QUARTER], qpm=qpm)
  if key is not None:
    sequence.key_signatures.add(
        key=key.tonic, mode=sequence.KeySignature.Mode.Value(key.mode.upper()))
  for bar, name in sections:
    sequence.text_annotations.add(
        time=seconds_at(bar * STEPS_PER_BAR / STEPS_PER_QUARTER, tempo_qpm),
        quantized_step=bar * STEPS_PER_BAR, text=name)
  if chords is not None:
    chords = np.asarray(chords, np.int64)
    seconds = _step_seconds(tempo_qpm, STEPS_PER_CHORD * len(chords))
    for at in np.flatnonzero(np.diff(chords, prepend=-1)).tolist():
      sequence.text_annotations.add(
          time=seconds[at * STEPS_PER_CHORD],
          quantized_step=at * STEPS_PER_CHORD,
          text=chord_names.name(chords[at], key),
          annotation_type=sequence.TextAnnotation.CHORD_SYMBOL)
  return sequence
