"""NoteSequence -> MusicXML: parts, chord symbols, key and tempo, to be read.

  score.write('piece.musicxml', sequence, title='Meadow')

music21 writes it; it comes with `pip install "va_magenta[score]"`.
"""

import os
from fractions import Fraction

import numpy as np

from va_magenta.music import band, chords, grid, notes

_QUALITIES = {
    'maj': 'major', 'min': 'minor', 'dim': 'diminished', 'aug': 'augmented',
    '7': 'dominant-seventh', 'maj7': 'major-seventh', 'min7': 'minor-seventh',
    'sus4': 'suspended-fourth'}
_STEP = Fraction(1, grid.STEPS_PER_QUARTER)
# What sounds until so shortly before the next is written to last until it.
_ARTICULATED_BEATS = 1
# How much the tempo differs from the last that was written to be written.
_SLOWER = 0.08
# Where drums stand on their staff, and with crosses for heads if of metal.
_DRUM_STAFF = dict(zip(
    (kind[0] for kind in band.DRUM_KINDS),
    (('F4', False), ('C5', False), ('G5', True), ('G5', True), ('A4', False),
     ('D5', False), ('E5', False), ('A5', True), ('F5', True)), strict=True))


def import_music21():
  """The module `music21`.

  Raises:
    ImportError: if it is not installed.
  """
  try:
    import music21
  except ImportError as error:
    raise ImportError(
        'a score needs music21: pip install "va_magenta[score]"') from error
  return music21


def write(path: str | os.PathLike, sequence, *, title: str = ''):
  """Writes a `note_seq.NoteSequence` in 4/4 as MusicXML.

  Notes stand on the grid of sixteenths; of what begins together a chord is
  made, which lasts until the next.

  Args:
    path: ends in `.musicxml`.
    sequence: the music; its chord symbols stand above the first part.
    title: of the piece.

  Raises:
    ImportError: if music21 is missing.
  """
  music21 = import_music21()
  played = notes.from_note_sequence(sequence)
  names = {info.instrument: info.name for info in sequence.instrument_infos}
  score = music21.stream.Score()
  score.metadata = music21.metadata.Metadata(
      title=title, movementName=title, composer='va_magenta')
  end = float(played['end_beats'].max(initial=grid.STEPS_PER_QUARTER))
  bars = int(np.ceil(end / 4 - 1e-3))
  for number in sorted(
      {n.instrument for n in sequence.notes},
      key=lambda instrument: (not instrument == 0, instrument)):
    of_part = played[played['part'] == number]
    score.insert(0, _part(music21, of_part, names.get(number, ''), 4 * bars))
  first = score.parts[0]
  for key in sequence.key_signatures:
    mode = 'minor' if key.mode == key.MINOR else 'major'
    name = chords.pitch_name(
        key.key, chords.parse_key(f'{_key_name(key.key)} {mode}'))
    for part in score.parts:
      part.insert(0, music21.key.Key(name.replace('b', '-'), mode))
  for at, qpm in _tempos(sequence):
    first.insert(at, music21.tempo.MetronomeMark(number=round(qpm)))
  for annotation in sequence.text_annotations:
    at = annotation.quantized_step / grid.STEPS_PER_QUARTER
    if annotation.annotation_type == annotation.CHORD_SYMBOL:
      symbol = _chord_symbol(music21, annotation.text)
      if symbol is not None:
        first.insert(at, symbol)
    else:
      first.insert(at, music21.expressions.RehearsalMark(annotation.text))
  for part in score.parts:
    part.makeNotation(inPlace=True)
  score.write('musicxml', fp=os.fspath(path))


def _key_name(pitch_class: int) -> str:
  return ('C', 'Db', 'D', 'Eb', 'E', 'F', 'F#', 'G', 'Ab', 'A', 'Bb', 'B')[
      pitch_class]


def _chord_symbol(music21, text: str):
  chord = chords.parse(text)
  quality = chords.quality_of(chord)
  if quality is None:
    return None
  root = text[:2] if text[1:2] in ('b', '#') else text[:1]
  return music21.harmony.ChordSymbol(
      root=root.replace('b', '-'), kind=_QUALITIES[quality])


def _tempos(sequence) -> list[tuple[float, float]]:
  """Quarter notes and tempos, of those that differ from the last written."""
  written, beats, last = [], 0.0, None
  for tempo in sorted(sequence.tempos, key=lambda t: t.time):
    if last is not None:
      beats += (tempo.time - last.time) * last.qpm / 60
    last = tempo
    if not written or abs(np.log(tempo.qpm / written[-1][1])) > _SLOWER:
      written.append((round(4 * beats) / 4, tempo.qpm))
  return written


def _part(music21, of_part: np.ndarray, name: str, num_beats: int):
  """A part as music21 has it, of notes of one instrument."""
  part = music21.stream.Part()
  is_drum = bool(of_part['is_drum'][0])
  if is_drum:
    instrument = music21.instrument.UnpitchedPercussion()
    part.insert(0, music21.clef.PercussionClef())
  else:
    instrument = music21.instrument.instrumentFromMidiProgram(
        int(of_part['program'][0]))
  instrument.partName = name.capitalize() or instrument.instrumentName
  part.partName = instrument.partName
  part.insert(0, instrument)
  part.insert(0, music21.meter.TimeSignature('4/4'))
  starts = np.rint(of_part['start_beats'] / float(_STEP)).astype(int)
  ends = np.maximum(
      np.rint(of_part['end_beats'] / float(_STEP)).astype(int), starts + 1)
  onsets = np.unique(starts)
  for onset, following in zip(
      onsets, [*onsets[1:], num_beats * grid.STEPS_PER_QUARTER], strict=True):
    together = starts == onset
    pitches = np.unique(of_part['pitch'][together]).tolist()
    end = min(int(ends[together].max()), following)
    if following - end < _ARTICULATED_BEATS * grid.STEPS_PER_QUARTER:
      end = following
    length = (end - onset) * _STEP
    if is_drum:
      length = min(length, Fraction(1))
      written = _drums(music21, pitches)
    elif len(pitches) == 1:
      written = music21.note.Note(pitches[0])
    else:
      written = music21.chord.Chord(pitches)
    written.quarterLength = length
    part.insert(int(onset) * _STEP, written)
  return part


def _drums(music21, pitches):
  """Strokes as a note without pitch, or several."""
  strokes = []
  for pitch in pitches:
    place, is_metal = _DRUM_STAFF.get(pitch, ('C5', False))
    stroke = music21.note.Unpitched(displayName=place)
    if is_metal:
      stroke.notehead = 'x'
    strokes.append(stroke)
  return strokes[0] if len(strokes) == 1 else (
      music21.percussion.PercussionChord(strokes))
