"""MIDI files: the one reader, with one tempo map, and the writer.

  score = midi.read('piece.mid')
  score.notes                          # array of NOTE_DTYPE
  score.to_sequence()                  # note_seq.NoteSequence
  midi.to_bytes(sequence)              # a Standard MIDI File

Every command reads MIDI here, so that all agree on what is in a file:

- Tempo and meter count on whichever track they stand, as in players.
- A note lasts until its note-off, the end of all notes of its channel, or else
  the end of the piece.
- The instrument is what the track says, or another track on the same channel.
- What nobody needs here (text, key signatures, system exclusive messages,
  chunks of other kinds) is passed over, and cannot make a file unreadable.

Libraries that read MIDI disagree on this: pretty_midi, and so note_seq, obeys
tempo and meter on the first track only, refuses unusual key signatures, and
makes a table of all ticks (a file of 52 bytes takes gigabytes); symusic 0.6.0
reads system exclusive messages in packets (F7) as notes, and refuses a header
of more than six bytes. Here, time and memory follow the size of the file.
"""

import dataclasses
import io
import os
import pathlib
import struct

import numpy as np

from va_magenta.music import notes as note_arrays
from va_magenta.music.notes import NOTE_DTYPE

SUFFIXES = ('.mid', '.midi', '.kar', '.rmi')
# No music, but a wrong number: a piece that ends a note later is refused.
MAX_SECONDS = 24 * 3600
MAX_BARS = 100_000
TICKS = 220  # Of a quarter note, in what is written; note_seq's.
BARS_PER_WINDOW = 2
_STEPS_PER_QUARTER = 4  # Of what quantized steps are: sixteenths.
DEFAULT_QPM = 120.0
_DRUM_CHANNEL = 9  # MIDI's channel 10, counted from 0.
BEND = -1  # A pitch bend among control changes.
_ALL_SOUND_OFF, _ALL_NOTES_OFF = 120, 123  # And what implies it, up to 127.
# A note that is never released, and after which nothing comes: in quarters.
_MAX_HANGING = 4
# Bytes of data after a status byte, by its upper half.
_NUM_DATA = {8: 2, 9: 2, 10: 2, 11: 2, 12: 1, 13: 1, 14: 2}
_NUM_SYSTEM_DATA = {0xf1: 1, 0xf2: 2, 0xf3: 1}


@dataclasses.dataclass(frozen=True)
class Score:
  """What a MIDI file says.

  Attributes:
    notes: array of NOTE_DTYPE, by start and then pitch, as long as keys are
      held; it may be empty.
    ticks: of a quarter note.
    tempos: float64 [n >= 1, 3]: from which quarter note and which second on
      there are how many quarter notes a minute; the first from 0 on.
    meters: (quarter note, numerator, denominator), in order.
    controls: control changes and pitch bends, (seconds, quarter note, channel,
      number or `BEND`, value), in order.
    channels: of each part.
    names: of each part, what its track is called; '' if nothing.
  """

  notes: np.ndarray
  ticks: float
  tempos: np.ndarray
  meters: list[tuple[float, int, int]]
  controls: list[tuple[float, float, int, int, int]]
  channels: list[int]
  names: list[str]

  def seconds(self, beats: np.ndarray) -> np.ndarray:
    """When quarter notes are played."""
    return _seconds(self.tempos, np.asarray(beats, np.float64))

  def sustained(self) -> np.ndarray:
    """`notes`, as long as the sustain pedal lets them sound."""
    return note_arrays.sustain(self.notes, [
        (seconds, beat, part, value >= 64)
        for seconds, beat, channel, number, value in self.controls
        if number == note_arrays.SUSTAIN
        for part, its_channel in enumerate(self.channels)
        if its_channel == channel])

  def windows(self, end_beats: float) -> tuple[np.ndarray, np.ndarray]:
    """Where windows of `BARS_PER_WINDOW` bars begin and end.

    Args:
      end_beats: no window begins here or later, in quarter notes.

    Returns:
      Bounds in quarter notes and in seconds, each float64 [windows, 2].

    Raises:
      ValueError: if there are more than `MAX_BARS` bars.
    """
    meters = {0.0: 4.0}  # Beats a bar, by the beat where it begins to count.
    for beat, numerator, denominator in self.meters:
      meters[beat] = 4 * numerator / denominator
    changes = [*sorted(m for m in meters if m < end_beats), end_beats]
    bars = []
    for start, end in zip(changes[:-1], changes[1:], strict=True):
      if len(bars) + (end - start) / meters[start] > MAX_BARS:
        raise ValueError(f'the MIDI file has more than {MAX_BARS:,} bars')
      bars += np.arange(start, end, meters[start]).tolist()
    # The last bar is as long as its meter says, whatever comes after it.
    bars.append(bars[-1] + meters[changes[-2]])
    starts = bars[:-1:BARS_PER_WINDOW]
    beats = np.array([starts, [*starts[1:], bars[-1]]], np.float64).T
    return beats, self.seconds(beats)

  def to_sequence(self):
    """The same as a `note_seq.NoteSequence`, where keys are held so long.

    Tempos and meters that change nothing, or come after the last note, are left
    out.
    """
    import note_seq

    sequence = note_seq.NoteSequence(ticks_per_quarter=round(self.ticks))
    end = self.notes['end_seconds'].max(initial=0)
    for _, seconds, qpm in self.tempos:
      changes = not sequence.tempos or sequence.tempos[-1].qpm != qpm
      if changes and (seconds < end or not seconds):
        sequence.tempos.add(time=seconds, qpm=qpm)
    for beat, *meter in self.meters:
      seconds = float(self.seconds(beat))
      known = [
          [m.numerator, m.denominator] for m in sequence.time_signatures[-1:]]
      if [meter] != known and (seconds < end or not seconds):
        sequence.time_signatures.add(
            time=seconds, numerator=meter[0], denominator=meter[1])
    programs = {}
    for note in self.notes.tolist():
      start, end, _, _, pitch, velocity, program, is_drum, part = note
      programs[part] = program
      sequence.notes.add(
          start_time=start, end_time=end, pitch=pitch, velocity=velocity,
          program=program, is_drum=is_drum, instrument=part)
      sequence.total_time = max(sequence.total_time, end)
    for seconds, _, channel, number, value in self.controls:
      for part, program in programs.items():
        if self.channels[part] == channel:
          where = {
              'time': seconds, 'instrument': part, 'program': program,
              'is_drum': channel == _DRUM_CHANNEL}
          if number == BEND:
            sequence.pitch_bends.add(bend=value, **where)
          else:
            sequence.control_changes.add(
                control_number=number, control_value=value, **where)
    return sequence


def begins_as_midi(head: bytes) -> bool:
  """Whether the first twelve bytes of a file say that it is MIDI."""
  return head.startswith(b'MThd') or head[:4] + head[8:12] == b'RIFFRMID'


def read(path: str | os.PathLike) -> Score:
  """Reads a MIDI file.

  Args:
    path: a Standard MIDI File, of one song; or one in a RIFF file (.rmi).

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not MIDI or is damaged.
  """
  path = os.fspath(path)
  try:
    return parse(pathlib.Path(path).read_bytes())
  except ValueError as error:
    raise ValueError(
        f'{path}: not a readable MIDI file ({error}); '
        'a Standard MIDI File (.mid) is needed') from error


def read_notes(path: str | os.PathLike, pedal: bool = False) -> np.ndarray:
  """Notes of a MIDI file, as long as keys are held.

  Args:
    path: see `read`.
    pedal: whether they last as long as the sustain pedal lets them sound. Not
      for estimates of VA, which know less then: see symbolic_va's card.

  Returns:
    Array [notes >= 1] of NOTE_DTYPE, by start and then pitch.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if the file is not MIDI, is damaged, or has no notes that have a
      pitch.
  """
  score = read(path)
  return check_pitched(score.sustained() if pedal else score.notes, path)


def check_pitched(notes: np.ndarray, path: str | os.PathLike) -> np.ndarray:
  """Notes of a file, if any of them has a pitch.

  Raises:
    ValueError: if not.
  """
  if not len(notes):
    raise ValueError(f'{path}: the MIDI file has no notes')
  if notes['is_drum'].all():
    raise ValueError(f'{path}: the MIDI file has only drums')
  return notes


def parse(content: bytes) -> Score:
  """Reads the content of a MIDI file.

  Raises:
    ValueError: if it is not MIDI or is damaged.
  """
  ticks, has_tempo, tracks = _tracks(content)
  song = _Song()
  for number, data in enumerate(tracks):
    _read_track(data, number, ticks, song)
  tempos = _tempo_map(song.tempos if has_tempo else {}, ticks)
  notes, channels, names = _notes(song, ticks, tempos)
  if (end := notes['end_seconds'].max(initial=0)) > MAX_SECONDS:
    raise ValueError(f'a note ends after {end / 3600:.0f} hours')
  beats = np.array([c[0] for c in song.controls], np.float64) / ticks
  controls = sorted((
      (seconds, beat, *rest) for seconds, beat, (_, *rest) in zip(
          _seconds(tempos, beats).tolist(), beats.tolist(), song.controls,
          strict=True)), key=lambda control: control[0])
  meters = [
      (tick / ticks, *meter) for tick, meter in sorted(song.meters.items())]
  return Score(notes, ticks, tempos, meters, controls, channels, names)


def to_bytes(sequence) -> bytes:
  """A Standard MIDI File; note_seq's own writer hides errors of the disk.

  What is on the grid of ticks and tempos that MIDI has (`on_tick`, `as_tempo`)
  is read as it is in the sequence.
  """
  import note_seq

  written = note_seq.NoteSequence()
  written.CopyFrom(sequence)
  for tempo in written.tempos:
    # pretty_midi drops the fraction of the microseconds a quarter note.
    tempo.qpm = 6e7 / (round(6e7 / tempo.qpm) + 1e-3)
  midi = io.BytesIO()
  note_seq.note_sequence_to_pretty_midi(written).write(midi)
  if not sequence.text_annotations:
    return midi.getvalue()
  return _with_markers(midi.getvalue(), sequence)


def _with_markers(content: bytes, sequence) -> bytes:
  """A file with a marker where text annotations stand, in quantized steps.

  What stands at the same place becomes one, as programs show only one there.
  """
  import mido

  texts = {}
  for annotation in sequence.text_annotations:
    tick = annotation.quantized_step * TICKS // _STEPS_PER_QUARTER
    texts.setdefault(tick, []).append(annotation.text)
  file = mido.MidiFile(file=io.BytesIO(content))
  # All names are ours, and ASCII but for what users call their files.
  conductor = file.tracks[0]
  events, time = [], 0
  for message in conductor:
    time += message.time
    events.append((time, message))
  is_end = [message.type == 'end_of_track' for _, message in events]
  events = [e for e, end in zip(events, is_end, strict=True) if not end]
  events += [
      (tick, mido.MetaMessage('marker', text='  '.join(texts[tick])))
      for tick in sorted(texts)]
  events.sort(key=lambda event: event[0])
  conductor.clear()
  time = 0
  for tick, message in events:
    conductor.append(message.copy(time=tick - time))
    time = tick
  conductor.append(mido.MetaMessage('end_of_track', time=1))
  result = io.BytesIO()
  file.save(file=result)
  return result.getvalue()


def on_tick(beats):
  """The tick nearest to quarter notes, in quarter notes."""
  return np.rint(np.asarray(beats) * TICKS) / TICKS


def as_tempo(qpm):
  """The tempo nearest to one that a MIDI file can say: whole microseconds."""
  return 6e7 / np.rint(6e7 / np.asarray(qpm))


# Bytes.


@dataclasses.dataclass
class _Song:
  """Events of all tracks, in ticks.

  Attributes:
    notes: (start, end, pitch, velocity, program or -1, channel, track).
    hanging: the same, with the end of the track for an end.
    tempos: microseconds a quarter note, by tick.
    meters: (numerator, denominator), by tick.
    programs: (tick, program), by channel.
    names: of tracks that have one, by number.
    controls: (tick, channel, number or BEND, value).
  """

  notes: list = dataclasses.field(default_factory=list)
  hanging: list = dataclasses.field(default_factory=list)
  tempos: dict = dataclasses.field(default_factory=dict)
  meters: dict = dataclasses.field(default_factory=dict)
  programs: dict = dataclasses.field(default_factory=dict)
  names: dict = dataclasses.field(default_factory=dict)
  controls: list = dataclasses.field(default_factory=list)


def _tracks(content: bytes) -> tuple[float, bool, list[bytes]]:
  """Ticks of a quarter note, whether tempos count, and each track's events."""
  if content[:4] == b'RIFF' and content[8:12] == b'RMID':
    content = dict(_chunks(content[12:], '<4sI', even=True)).get(b'data', b'')
  chunks = _chunks(content, '>4sI')
  kind, header = next(chunks, (b'', b''))
  if kind != b'MThd' or len(header) < 6:
    raise ValueError('it has no MIDI header')
  format_, _, division = struct.unpack('>HHH', header[:6])
  tracks = [data for kind, data in chunks if kind == b'MTrk']
  if not tracks:
    raise ValueError('it has no tracks')
  if format_ == 2 and len(tracks) > 1:
    raise ValueError(f'it holds {len(tracks)} songs (format 2)')
  if not division:
    raise ValueError('a quarter note has 0 ticks')
  if division & 0x8000:
    # Frames of film: no beat is known, so they are those of the default tempo.
    frames = 256 - (division >> 8)
    frames = 30 / 1.001 if frames == 29 else frames
    ticks = frames * (division & 0xff or 1)
    return ticks * 60 / DEFAULT_QPM, False, tracks
  return division, True, tracks


def _chunks(content: bytes, header: str, even: bool = False):
  """(kind, data) of each chunk; what follows the last whole header is none.

  Raises:
    ValueError: if a track is cut off.
  """
  position = 0
  while position + 8 <= len(content):
    kind, size = struct.unpack_from(header, content, position)
    data = content[position + 8:position + 8 + size]
    if kind == b'MTrk' and len(data) < size:
      raise ValueError(f'a track is cut off: {len(data)} of {size:,} bytes')
    yield kind, data
    position += 8 + size + (even and size % 2)


def _read_track(data: bytes, track: int, ticks: float, song: _Song):
  """Adds a track's events to a song.

  Raises:
    ValueError: if the track is damaged.
  """
  position = tick = status = 0
  sounding = {}  # Notes that have not ended, by channel and pitch.
  programs = {}  # Of this track, by channel.
  tempos, meters = {}, {}

  def number():
    nonlocal position
    value = 0
    for _ in range(4):
      byte = data[position]
      position += 1
      value = value << 7 | byte & 0x7f
      if byte < 0x80:
        return value
    raise ValueError(f'a number in track {track + 1} is too long')

  def end(channel, pitch):
    opened = sounding.pop((channel, pitch), ())
    # What starts now goes on, if there is something else to end.
    going_on = [note for note in opened if note[0] == tick]
    if len(going_on) < len(opened):
      if going_on:
        sounding[channel, pitch] = going_on
      opened = [note for note in opened if note[0] < tick]
    for start, velocity, program in opened:
      # A drum is struck, however short.
      length = max(tick - start, channel == _DRUM_CHANNEL)
      song.notes.append((
          start, start + length, pitch, velocity, program, channel, track))

  try:
    while position < len(data):
      tick += number()
      if data[position] & 0x80:
        event = data[position]
        position += 1
        if event < 0xf0:
          status = event
      else:
        event = status
      if event == 0xff:
        kind = data[position]
        position += 1
        size = number()
        text = data[position:position + size]
        position += size
        if kind == 0x2f:
          break
        if kind == 0x51 and size >= 3 and any(text[:3]):
          tempos[tick] = int.from_bytes(text[:3], 'big')
        elif kind == 3:
          song.names.setdefault(track, text.decode('latin-1'))
        elif kind == 0x58 and size >= 2 and text[0] and text[1] < 16:
          meters[tick] = text[0], 2**text[1]
      elif event in (0xf0, 0xf7):
        size = number()
        position += size
      elif event >= 0xf0:
        position += _NUM_SYSTEM_DATA.get(event, 0)
      elif not event:
        raise ValueError(f'track {track + 1} does not begin with an event')
      else:
        kind, channel = event >> 4, event & 0xf
        first = data[position]
        second = data[position + 1] if _NUM_DATA[kind] == 2 else 0
        position += _NUM_DATA[kind]
        if (first | second) & 0x80:
          raise ValueError(f'a value in track {track + 1} is larger than 127')
        if kind == 9 and second:
          sounding.setdefault((channel, first), []).append(
              (tick, second, programs.get(channel, -1)))
        elif kind in (8, 9):
          end(channel, first)
        elif kind == 12:
          programs[channel] = first
          song.programs.setdefault(channel, []).append((tick, first))
        elif kind == 14:
          song.controls.append(
              (tick, channel, BEND, (second << 7 | first) - 8192))
        elif kind == 11:
          song.controls.append((tick, channel, first, second))
          if first == _ALL_SOUND_OFF or first >= _ALL_NOTES_OFF:
            for other, pitch in list(sounding):
              if other == channel:
                end(channel, pitch)
  except IndexError:
    raise ValueError(f'track {track + 1} is cut off') from None
  # Where tracks disagree, the first is right: tempos belong there.
  song.tempos = tempos | song.tempos
  song.meters = meters | song.meters
  song.hanging += [
      (start, tick, pitch, velocity, program, channel, track)
      for (channel, pitch), opened in sounding.items()
      for start, velocity, program in opened]


def _tempo_map(tempos: dict[int, int], ticks: float) -> np.ndarray:
  """As `Score.tempos`; of microseconds a quarter note by tick."""
  tempos = {0: 6e7 / DEFAULT_QPM} | tempos
  knots = np.array(sorted(tempos), np.float64)
  micros = np.array([tempos[knot] for knot in sorted(tempos)], np.float64)
  seconds = np.cumsum(np.diff(knots, prepend=0) / ticks * np.append(
      0, micros[:-1]) / 1e6)
  return np.column_stack([knots / ticks, seconds, 6e7 / micros])


def _seconds(tempos: np.ndarray, beats: np.ndarray) -> np.ndarray:
  section = np.searchsorted(tempos[:, 0], beats, side='right') - 1
  first, seconds, qpm = np.moveaxis(tempos[section], -1, 0)
  return seconds + (beats - first) * 60 / qpm


def _notes(
    song: _Song, ticks: float, tempos: np.ndarray
) -> tuple[np.ndarray, list[int], list[str]]:
  """Array of NOTE_DTYPE, and each part's channel and name."""
  found = song.notes
  if song.hanging:
    last = max(max(note[:2]) for note in found) if found else 0
    last = max([last, *(note[0] for note in song.hanging)])
    found = found + [
        (start, min(end, max(last, start + _MAX_HANGING * ticks)), *rest)
        for start, end, *rest in song.hanging]
  table = np.array(found, np.float64).reshape(-1, 7)
  start, end, pitch, velocity, program, channel, track = table.T
  for i in np.flatnonzero(program < 0):
    # What another track says of this channel.
    programs = [p for p in song.programs.get(int(channel[i]), ())
                if p[0] <= start[i]]
    program[i] = max(programs, default=(0, 0), key=lambda p: p[0])[1]
  parts, part = np.unique(
      np.column_stack([track, channel, program]), axis=0, return_inverse=True)
  notes = np.zeros(len(table), NOTE_DTYPE)
  for edge, tick in (('start', start), ('end', end)):
    notes[f'{edge}_beats'] = tick / ticks
    notes[f'{edge}_seconds'] = _seconds(tempos, tick / ticks)
  notes['pitch'], notes['velocity'], notes['program'] = pitch, velocity, program
  notes['is_drum'], notes['part'] = channel == _DRUM_CHANNEL, part.ravel()
  return (
      note_arrays.in_order(notes), parts[:, 1].astype(int).tolist(),
      [song.names.get(int(track), '') for track in parts[:, 0]])
