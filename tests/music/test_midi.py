"""One reader of MIDI, whatever a file is like; what is written comes back."""

import struct

import note_seq
import numpy as np
import pytest

from va_magenta.music import melody, midi, synthesis
from va_magenta.music.notes import from_note_sequence
from va_magenta.music_to_va import labelling, symbolic, symbolic_features
from va_magenta.music_to_va.fusion import ESTIMATES

TUNE = [60, 64, 67, 72, 71, 67, 64, 60]
CONTROL = 0xb0
PEDAL, ALL_NOTES_OFF = 64, 123


def note(start, end, pitch, velocity=80, channel=0):
  return [
      (start, bytes([0x90 | channel, pitch, velocity])),
      (end, bytes([0x80 | channel, pitch, 0]))]


def tune(pitches=TUNE, start=0, step=480, length=480):
  events = [
      event for i, pitch in enumerate(pitches)
      for event in note(start + i * step, start + i * step + length, pitch)]
  return sorted(events, key=lambda event: (event[0], event[1][0] & 0x10))


def tempo(tick, qpm):
  return tick, b'\xff\x51\x03' + struct.pack('>I', round(6e7 / qpm))[1:]


def meter(tick, numerator, power):
  return tick, bytes([0xff, 0x58, 4, numerator, power, 24, 8])


def meta(tick, kind, data):
  return tick, bytes([0xff, kind, len(data)]) + data


def control(tick, number, value, channel=0):
  return tick, bytes([CONTROL | channel, number, value])


def same(one, other):
  """Whether notes are the same, but for the number of the part."""
  one, other = (
      n[['start_seconds', 'end_seconds', 'start_beats', 'end_beats', 'pitch',
         'velocity', 'program', 'is_drum']] for n in (one, other))
  assert one.tolist() == other.tolist()


@pytest.fixture
def plain(midi_file):
  return midi.parse(midi_file([tempo(0, 100), *tune()]))


def ends(score):
  return score.sustained()['end_beats'].tolist()


def test_times_follow_the_tempo(midi_file):
  score = midi.parse(midi_file(
      [tempo(0, 60), tempo(960, 120), *tune(TUNE[:4])]))
  assert score.notes['start_seconds'].tolist() == [0, 1, 2, 2.5]
  assert score.notes['end_beats'].tolist() == [1, 2, 3, 4]
  assert score.seconds([0, 1, 3]).tolist() == [0, 1, 2.5]


@pytest.mark.parametrize('qpm', [60, 180])
def test_tempo_and_meter_count_on_any_track(qpm, midi_file, tmp_path):
  said = [tempo(0, qpm), meter(0, 3, 2)]
  notes = tune(TUNE * 3)
  contents = [
      midi_file(said + notes), midi_file(said, notes), midi_file(notes, said),
      midi_file(notes, [], said)]
  first = midi.parse(contents[0])
  for i, content in enumerate(contents):
    path = tmp_path / f'{i}.mid'
    path.write_bytes(content)
    score = midi.read(path)
    same(score.notes, first.notes)
    # What Magenta's converters, --input and the synthesiser see.
    sequence = score.to_sequence()
    assert [t.qpm for t in sequence.tempos] == pytest.approx([qpm], rel=1e-5)
    [found] = sequence.time_signatures
    assert (found.numerator, found.denominator) == (3, 4)
    assert sequence.total_time == pytest.approx(24 * 60 / qpm, rel=1e-5)
    # What the windows of labels are, of two bars of 3/4.
    beats, seconds = score.windows(23.5)
    assert beats.tolist() == [[0, 6], [6, 12], [12, 18], [18, 24]]
    np.testing.assert_allclose(seconds, beats * 60 / qpm, rtol=1e-5)
    with pytest.raises(ValueError, match='4/4'):
      melody.read(path)


def test_every_command_hears_the_tempo_of_any_track(midi_file, tmp_path):
  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))
  lengths = []
  for i, tracks in enumerate([
      ([tempo(0, 60), *tune()],), (tune(), [tempo(0, 60)])]):
    path = tmp_path / f'{i}.mid'
    path.write_bytes(midi_file(*tracks))
    samples, rate = synthesis.synthesize(path, sample_rate_hz=8000)
    lengths.append(len(samples) / rate)
  assert lengths == [8 + synthesis.TAIL_SECONDS] * 2


def test_of_tempos_at_once_the_first_tracks_counts(midi_file):
  score = midi.parse(midi_file([tempo(0, 90)], [tempo(0, 120), *tune()]))
  assert score.notes['end_seconds'][-1] == pytest.approx(8 * 60 / 90, rel=1e-5)


@pytest.mark.parametrize('extra', [
    (0, b'\xf0\x05\x7e\x7f\x09\x01\xf7'),  # system exclusive
    (0, b'\xf0\x03\x43\x12\x00' + b'\x00' + b'\xf7\x02\x43\xf7'),  # in packets
    (0, b'\xf7\x03\x90\x10\x60'),  # an escape that looks like a note
    meta(0, 0x59, b'\x08\0'),  # eight sharps
    meta(0, 0x59, b''),
    meta(0, 0x58, b'\x04\x02'),  # two bytes of a meter
    meta(0, 0x58, b'\x00\x02\x18\x08'),
    meta(0, 0x58, b'\x02\x21\x18\x08'),  # 2/2^33
    meta(0, 0x51, b'\0\0\0'),
    meta(0, 0x03, b'\x83\x65\x83'),  # Shift-JIS
    meta(0, 0x21, b'\x01'),
    (0, b'\xf8'), (0, b'\xf2\x01\x02'),
    meta(3840, 0x51, b'\0\0\0')])
def test_what_nobody_needs_changes_nothing(extra, plain, midi_file):
  score = midi.parse(midi_file([tempo(0, 100), extra, *tune()]))
  same(score.notes, plain.notes)


def test_any_header_and_chunks_are_read(plain, midi_file):
  content = midi_file([tempo(0, 100), *tune()])
  longer = content[:4] + struct.pack('>I', 8) + content[8:14] + b'\0\0'
  alien = content[:14] + b'XFIH\0\0\0\3abc' + content[14:]
  data = b'data' + struct.pack('<I', len(content)) + content
  riff = b'RIFF' + struct.pack('<I', len(data) + 4) + b'RMID' + data
  for other in (
      longer + content[14:], alien, riff, content + b'\0' * 9,
      content[:10] + b'\xff\xff' + content[12:]):  # 65,535 tracks promised
    same(midi.parse(other).notes, plain.notes)


def test_running_status_and_silent_note_ons(plain, midi_file):
  events = []
  for i, pitch in enumerate(TUNE):
    start = b'\x90' if not i else b''
    events += [(480 * i, start + bytes([pitch, 80])),
               (480 * i + 480, bytes([pitch, 0]))]
  score = midi.parse(midi_file([tempo(0, 100), *events]))
  same(score.notes, plain.notes)


def test_film_time(midi_file):
  # 25 frames of 40 ticks: a thousand ticks a second, whatever the tempo.
  content = bytearray(midi_file([tempo(0, 60), *tune(step=500, length=500)]))
  content[12:14] = bytes([256 - 25, 40])
  score = midi.parse(bytes(content))
  assert score.notes['start_seconds'][:3].tolist() == [0, .5, 1]
  assert score.notes['start_beats'][:3].tolist() == [0, 1, 2]


def test_notes_that_are_never_released(midi_file):
  end = meta(1920, 1, b'end')
  hanging = [event for event in tune(TUNE[:2]) if event[0] < 960]
  score = midi.parse(midi_file([*hanging, end]))
  assert score.notes['end_beats'].tolist() == [1, 4]
  # With whatever comes months later.
  score = midi.parse(midi_file([*hanging, meta(2**27, 1, b'end')]))
  assert score.notes['end_beats'].tolist() == [1, 5]


def test_all_notes_off_ends_notes(midi_file):
  events = [(0, b'\x90\x3c\x50'), (0, b'\x90\x40\x50'),
            control(480, ALL_NOTES_OFF, 0), *note(960, 1440, 67)]
  score = midi.parse(midi_file(events))
  assert score.notes['end_beats'].tolist() == [1, 1, 3]


def test_drums_are_struck_however_short(midi_file):
  score = midi.parse(midi_file(
      [(0, b'\x99\x24\x50'), (0, b'\x89\x24\x00'), (480, b'\x90\x3c\x50'),
       (480, b'\x80\x3c\x00')]))
  assert score.notes['is_drum'].tolist() == [True]
  assert score.notes['end_beats'][0] == 1 / 480


def test_programs_of_other_tracks_count(midi_file):
  score = midi.parse(midi_file(
      [(0, b'\xc0\x28')], tune(), [(0, b'\xc1\x0a'), *note(0, 480, 50)],
      [(0, b'\xc0\x30'), *note(0, 480, 40)]))
  programs = dict(zip(score.notes['pitch'], score.notes['program'],
                      strict=True))
  assert programs[60] == 40  # Of its channel.
  assert programs[50] == 40
  assert programs[40] == 48


def test_the_pedal_holds_notes(midi_file):
  chord = [*note(0, 240, 48), *note(240, 480, 60)]
  assert ends(midi.parse(midi_file(chord))) == [.5, 1]
  # Until it is up.
  held = [control(0, PEDAL, 127), *chord, control(960, PEDAL, 0)]
  assert ends(midi.parse(midi_file(held))) == [2, 2]
  # Half down is up.
  half = [control(0, PEDAL, 63), *chord]
  assert ends(midi.parse(midi_file(half))) == [.5, 1]
  # Until the string is struck again; and to the end of the piece.
  again = [control(0, PEDAL, 127), *chord, *note(720, 1440, 60)]
  assert ends(midi.parse(midi_file(again))) == [3, 1.5, 3]
  # On another track; on another channel it says nothing.
  assert ends(midi.parse(midi_file(
      chord, [control(0, PEDAL, 127), control(960, PEDAL, 0)]))) == [2, 2]
  assert ends(midi.parse(midi_file(
      [*chord, control(0, PEDAL, 127, channel=1)]))) == [.5, 1]


def test_the_pedal_is_obeyed_on_request(midi_file, tmp_path):
  roots = [48, 45, 41, 43] * 2
  by_hand, by_pedal, dry = [], [], []
  for i, root in enumerate(roots):
    start = 1920 * i
    by_pedal += [control(start, PEDAL, 127), control(start + 1900, PEDAL, 0)]
    for j, step in enumerate((0, 4, 7)):
      at = start + 240 * j
      by_hand += note(at, start + 1900, root + step)
      by_pedal += note(at, at + 200, root + step)
      dry += note(at, at + 200, root + step)
  path = tmp_path / 'by_pedal.mid'
  path.write_bytes(midi_file(by_pedal))
  np.testing.assert_array_equal(
      midi.read_notes(path, pedal=True), midi.parse(midi_file(by_hand)).notes)
  held = midi.parse(midi_file(dry)).notes
  np.testing.assert_array_equal(midi.read_notes(path), held)
  # An estimate is of the keys: of a file, its label and its sequence.
  student = symbolic.load()
  va, = student.regress(symbolic_features.extract(held)[None])
  of_sequence = from_note_sequence(midi.read(path).to_sequence())
  np.testing.assert_allclose(
      student.regress(symbolic_features.extract(of_sequence)[None])[0], va,
      atol=1e-6)
  columns, _ = labelling.estimate(path, student, labelling.Settings())
  np.testing.assert_allclose(
      [columns[name][0] for name in ESTIMATES[:2]], va, atol=1e-6)


def test_cost_follows_the_size_of_a_file(midi_file, tmp_path):
  import tracemalloc

  late_note = midi_file(note(2**27, 2**27 + 24, 60), ticks=24)
  late_control = midi_file([*tune(), control(2**28 - 1, 7, 99)])
  fast = midi_file(
      [(0, b'\xff\x51\x03\0\0\1'), *tune(), *note(2**28 - 9, 2**28 - 5, 60)])
  path = tmp_path / 'late.mid'
  tracemalloc.start()
  for late in (late_note, midi_file(note(0, 2**27, 60), ticks=24)):
    with pytest.raises(ValueError, match='a note ends after 777 hours'):
      midi.parse(late)
  path.write_bytes(late_control)
  symbolic_features.extract(midi.read_notes(path))
  assert len(melody.read(path)) == 32
  # A quarter note a microsecond: 559,240 of them take half a second.
  score = midi.parse(fast)
  symbolic_features.extract(score.sustained())
  with pytest.raises(ValueError, match='more than 100,000 bars'):
    score.windows(score.notes['start_beats'].max())
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 30e6


@pytest.mark.parametrize('content, complaint', [
    (b'', 'no MIDI header'),
    (b'RIFF\0\0\0\0RMIDdata\4\0\0\0abcd', 'no MIDI header'),
    (b'MThd\0\0\0\6\0\1\0\0\0\x60', 'no tracks'),
    (b'MThd\0\0\0\6\0\1\0\1\0\0MTrk\0\0\0\4\0\xff\x2f\0', '0 ticks'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\x09\0', 'cut off: 1 of 9'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\x90\x3c\x50',
     'no notes'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\3\0\x90\x3c', 'track 1 is cut off'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\4\0\x90\xbc\x50', 'than 127'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\2\0\x3c', 'begin with an event'),
    (b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\6\xff\xff\xff\xff\x7f\0',
     'too long')])
def test_damage_is_told_in_a_line(content, complaint, tmp_path):
  path = tmp_path / 'bad.mid'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=complaint) as info:
    midi.read_notes(path)
  assert str(path) in str(info.value) and '\n' not in str(info.value)


def test_songs_that_are_no_piece_are_refused(midi_file, tmp_path):
  two = bytearray(midi_file(tune(), tune()))
  two[9] = 2
  with pytest.raises(ValueError, match='2 songs'):
    midi.parse(bytes(two))
  path = tmp_path / 'drums.mid'
  path.write_bytes(midi_file(note(0, 480, 36, channel=9)))
  for refuses in (
      midi.read_notes, melody.read, lambda path: labelling.estimate(
          path, symbolic.load(), labelling.Settings())):
    with pytest.raises(ValueError, match='only drums'):
      refuses(path)
  path.write_bytes(midi_file(note(0, 480, 60)))
  with pytest.raises(ValueError, match='one note'):
    melody.read(path)


def test_a_tempo_after_the_end_is_none(midi_file, tmp_path):
  path = tmp_path / 'tune.mid'
  path.write_bytes(midi_file(
      [tempo(0, 90), tempo(480, 90), *tune(), tempo(4000, 70)]))
  assert len(melody.read(path)) == 32


def test_reads_as_note_seq_and_magenta_do(midi_file, tmp_path):
  path = tmp_path / 'song.mid'
  path.write_bytes(midi_file(
      [tempo(0, 110), tempo(1920, 80), meter(0, 4, 2)],
      [(0, b'\xc1\x28'), *[(t, bytes([e[0] | 1, *e[1:]])) for t, e in tune()]],
      tune([40, 43] * 4), note(0, 240, 38, channel=9)))
  ours = midi.read(path).to_sequence()
  theirs = note_seq.midi_file_to_note_sequence(str(path))
  assert ours.total_time == pytest.approx(theirs.total_time)
  one, other = (
      sorted((round(n.start_time, 9), round(n.end_time, 9), n.pitch, n.velocity,
              n.program, n.is_drum) for n in sequence.notes)
      for sequence in (ours, theirs))
  assert one == other
  for sequence in (ours, theirs):
    assert [round(t.qpm, 4) for t in sequence.tempos] == [
        109.9999, 80]  # In whole microseconds.


def test_what_is_written_is_read_again():
  random = np.random.default_rng(0)
  sequence = note_seq.NoteSequence(ticks_per_quarter=midi.TICKS)
  qpm = midi.as_tempo(random.uniform(40, 240, 3))
  times = [0.0, *np.cumsum(4 * 60 / qpm[:-1])]
  for time, tempo_qpm in zip(times, qpm, strict=True):
    sequence.tempos.add(time=time, qpm=tempo_qpm)
  for i in range(40):
    start, end = midi.on_tick([i / 4, i / 4 + random.uniform(.1, .25)])
    section = min(int(i / 4) // 4, 2)
    start, end = (
        times[section] + (b - 4 * section) * 60 / qpm[section]
        for b in (start, end))
    sequence.notes.add(
        start_time=start, end_time=end, velocity=80,
        pitch=int(random.integers(40, 80)))
  notes = midi.parse(midi.to_bytes(sequence)).notes
  expected = from_note_sequence(sequence)
  for name in ('start_seconds', 'end_seconds', 'start_beats', 'end_beats'):
    np.testing.assert_allclose(notes[name], expected[name], atol=1e-9)
  assert notes['pitch'].tolist() == expected['pitch'].tolist()
