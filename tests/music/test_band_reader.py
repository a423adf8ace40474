"""MIDI files as bands: what is played is read back."""

import note_seq
import numpy as np
import pytest

from va_magenta.music import band, band_reader, chords, midi

_PROGRESSION = np.repeat(
    [chords.parse(n) for n in 'C Am F G C Am Dm G'.split()], 2)


def _piece():
  """Tokens and chords of eight bars, in which all can be told."""
  random = np.random.default_rng(0)
  tokens = np.zeros((128, 4), np.int64)
  scale = np.array([72, 74, 76, 77, 79, 81])
  for step in range(0, 128, 2):
    tokens[step, band.MELODY] = (0, 1, *(scale - 19))[random.integers(8)]
    tokens[step, band.DRUMS] = random.integers(512)
  tokens[0, band.MELODY] = 55
  for half_bar, chord in enumerate(_PROGRESSION):
    step = 8 * half_bar
    tokens[step, band.BASS] = 36 + chords.root_of(chord) - 19
    tokens[step, band.COMPING] = band.STRUCK
    tokens[step + 6, band.COMPING] = band.OFF
  # A note-off says nothing where nothing sounds.
  for voice in (band.MELODY,):
    sounds = False
    for step in range(128):
      if tokens[step, voice] == 1 and not sounds:
        tokens[step, voice] = 0
      elif tokens[step, voice]:
        sounds = tokens[step, voice] > 1
  return tokens, _PROGRESSION


def _score(sequence):
  return midi.parse(midi.to_bytes(sequence))


def test_what_is_played_is_read_back():
  tokens, progression = _piece()
  found = band_reader.from_score(_score(band.to_sequence(
      band.voice(tokens, progression), chords=progression,
      tempo_qpm=[90] * 16 + [120] * 16)))
  np.testing.assert_array_equal(found.tokens, tokens)
  np.testing.assert_array_equal(found.chords, progression)
  assert found.plays.all()
  np.testing.assert_allclose(
      np.diff(found.bar_seconds), [240 / 90] * 4 + [2] * 4, rtol=1e-3)


@pytest.mark.parametrize('grid', band_reader._GRIDS)
def test_swing_is_straightened(grid):
  tokens, progression = _piece()
  sequence = band.to_sequence(
      band.voice(tokens, progression), tempo_qpm=60)
  for note in sequence.notes:
    for edge in ('start_time', 'end_time'):
      beat, step = divmod(round(getattr(note, edge) * 4), 4)
      setattr(note, edge, beat + grid[step])
  found = band_reader.from_score(_score(sequence))
  np.testing.assert_array_equal(found.tokens, tokens)


def test_a_melody_that_is_called_so_is_the_melody():
  notes = [(i, i + 1, 60 + i % 5) for i in range(40)]
  sequence = _sequence(notes)
  for start, end, pitch in notes:
    sequence.notes.add(
        instrument=1, start_time=start, end_time=end, pitch=pitch + 9,
        velocity=80)
  for instrument, name in enumerate(('Vocals', 'Flute')):
    sequence.instrument_infos.add(instrument=instrument, name=name)
  assert _score(sequence).names == ['Vocals', 'Flute']
  found = band_reader.from_score(_score(sequence))
  assert found.tokens[:4:4, band.MELODY].tolist() == [60 - 19]
  del sequence.instrument_infos[:]
  found = band_reader.from_score(_score(sequence))
  assert found.tokens[:4:4, band.MELODY].tolist() == [69 - 19]


def test_roles_are_found_without_names_and_programs():
  tokens, progression = _piece()
  sequence = band.to_sequence(
      band.voice(tokens, progression), programs=(0, 0, 0, 0))
  del sequence.instrument_infos[:]
  found = band_reader.from_score(_score(sequence))
  np.testing.assert_array_equal(found.tokens, tokens)


def test_the_longest_stretch_in_four_is_read():
  tokens, progression = _piece()
  sequence = band.to_sequence(band.voice(tokens, progression), tempo_qpm=60)
  for note in sequence.notes:
    note.start_time += 6
    note.end_time += 6
  del sequence.time_signatures[:]
  sequence.time_signatures.add(numerator=3, denominator=4)
  sequence.time_signatures.add(time=6, numerator=4, denominator=4)
  sequence.notes.add(start_time=0, end_time=3, pitch=60, velocity=80)
  found = band_reader.from_score(_score(sequence))
  np.testing.assert_array_equal(found.tokens[:, :3], tokens[:, :3])
  assert found.bar_seconds[0] == pytest.approx(6)


def _sequence(notes, meter=(4, 4)):
  sequence = note_seq.NoteSequence(ticks_per_quarter=220)
  sequence.tempos.add(qpm=60)
  sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
  for start, end, pitch in notes:
    sequence.notes.add(
        start_time=start, end_time=end, pitch=pitch, velocity=80)
  return sequence


@pytest.mark.parametrize(('notes', 'meter', 'complaint'), [
    ([(i, i + 1, 60) for i in range(30)], (3, 4), 'no stretch in 4/4'),
    ([(i, i + 1, 60) for i in range(8)], (4, 4), 'it has 2 bars, not 8 to'),
    ([(i + .125, i + 1, 60 + i % 7) for i in range(40)], (4, 4),
     'not on a grid of sixteenths'),
    ([(0, 40, 10)], (4, 4), 'no notes that have a pitch'),
])
def test_what_is_no_band_is_refused_with_a_reason(
    tmp_path, notes, meter, complaint):
  path = tmp_path / 'a.mid'
  path.write_bytes(midi.to_bytes(_sequence(notes, meter)))
  with pytest.raises(ValueError, match=complaint) as info:
    band_reader.read(path)
  assert str(info.value).startswith(str(path))
  assert '\n' not in str(info.value)


def test_a_piano_alone_is_melody_bass_and_comping():
  notes = []
  for bar in range(12):
    for beat in range(4):
      start = 4 * bar + beat
      notes += [(start, start + 1, p) for p in (40, 55, 59, 76 + bar % 3)]
  found = band_reader.from_score(_score(_sequence(notes)))
  assert found.plays.tolist() == [True, True, False, True]
  assert (found.tokens[::16, band.MELODY] == [
      76 + bar % 3 - 19 for bar in range(12)]).all()
  assert (found.tokens[::4, band.BASS] == 40 - 19).all()
  assert (found.tokens[::4, band.COMPING] == band.STRUCK).all()


def _played_by(*parts):
  """A score of parts (program, pitches); each a quarter note, chords together.

  A program of None stands for drums.
  """
  sequence = note_seq.NoteSequence()
  sequence.tempos.add(qpm=60)
  for number, (program, pitches) in enumerate(parts):
    for bar in range(8):
      for pitch in pitches:
        sequence.notes.add(
            instrument=number, program=program or 0, is_drum=program is None,
            pitch=pitch + (bar % 3 if len(pitches) == 1 else 0),
            velocity=80, start_time=4 * bar, end_time=4 * bar + 1)
  sequence.total_time = 33
  return _score(sequence)


def test_who_plays():
  flute, bass, strings = (73, [76]), (33, [40]), (48, [60, 64, 67])
  found = band_reader.lineup(_played_by(flute, bass, strings, (0, [60, 64])))
  assert found.programs == (73, 33, 48) and not found.drums
  assert found.melody[:3].tolist() == [76, 77, 78]
  assert band_reader.lineup(
      _played_by(flute, bass, strings, (None, [36]))).drums == 8
  assert band_reader.lineup(_played_by(flute, bass)) is None
  assert band_reader.lineup(_played_by(flute, strings)) is None
  assert band_reader.lineup(_played_by(*[(0, [76])] * 3)) is None


def test_people_are_read(shared_data):
  paths = sorted((shared_data / 'lmd_layout' / '0').glob('*.mid'))[:20]
  read = 0
  for path in paths:
    try:
      found = band_reader.read(path)
    except ValueError as error:
      assert str(path) in str(error)
      continue
    read += 1
    tokens, progression = band.check(found.tokens, found.chords)
    assert len(found.bar_seconds) == len(progression) // 2 + 1
    assert (np.diff(found.bar_seconds) > 0).all()
    assert len(band.voice(tokens, progression))
  assert read >= 8
