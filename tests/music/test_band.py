"""The band: from tokens to the notes that are heard."""

import numpy as np
import pytest

from va_magenta.music import band, chords, grid, midi

_C, _G, _AM = (chords.parse(name) for name in ('C', 'G', 'Am'))


def _tokens(num_steps, **voices):
  """Tokens of a piece, of each voice a dict of what is not 0."""
  tokens = np.zeros((num_steps, 4), np.int64)
  for name, found in voices.items():
    for step, token in found.items():
      tokens[step, band.VOICE_NAMES.index(name)] = token
  return tokens


def _notes(found, voice):
  """(start, end, pitch) of a voice's notes."""
  return [tuple(int(n[k]) for k in ('start', 'end', 'pitch'))
          for n in found[found['voice'] == voice]]


def _random_piece(random, num_bars=8):
  tokens = np.stack([
      np.where(random.random(16 * num_bars) < 0.4,
               random.integers(0, depth, 16 * num_bars), 0)
      for depth in band.OUTPUT_DEPTHS], axis=-1)
  return tokens, random.integers(0, chords.NUM_CHORDS, 2 * num_bars)


def test_a_line_goes_on_to_the_next_token():
  tokens = _tokens(16, melody={0: 41, 4: 43, 6: 1, 12: 2}, bass={3: 89})
  found = band.voice(tokens, [_C, _C])
  assert _notes(found, band.MELODY) == [(0, 4, 60), (4, 6, 62), (12, 16, 21)]
  assert _notes(found, band.BASS) == [(3, 16, 108)]


def test_each_bit_is_a_drum():
  found = band.voice(_tokens(8, drums={0: 0b101, 6: 256}), [_C])
  assert _notes(found, band.DRUMS) == [(0, 1, 36), (0, 1, 42), (6, 7, 51)]


def test_a_struck_chord_is_held_and_its_voices_move_on_with_the_harmony():
  tokens = _tokens(32, comping={0: 2, 20: 1, 24: 2, 28: 2})
  progression = [_C, _AM, _AM, _G]
  c, a, _, g = chords.voice(progression).tolist()
  notes = _notes(band.voice(tokens, progression), band.COMPING)
  kept = set(c) & set(a)
  assert kept and kept != set(c)
  assert sorted(notes) == sorted(
      [(0, 20 if p in kept else 8, p) for p in c]
      + [(8, 20, p) for p in a if p not in kept]
      + [(24, 28, p) for p in g] + [(28, 32, p) for p in g])


def test_single_notes_ring_for_half_a_bar_at_most_if_others_follow():
  progression = [_C, _C, _C, _G]
  low, second, third, high = chords.voice(progression)[0].tolist()
  tokens = _tokens(
      32, comping={0: 3, 2: 4, 4: 5, 6: 3, 11: 6, 13: 1, 14: 4})
  assert sorted(_notes(band.voice(tokens, progression), band.COMPING)) == (
      sorted([
          (0, 6, low),  # The same note again.
          (2, 10, second), (4, 13, third), (6, 13, low), (11, 13, high),
          # Nothing follows but the harmony.
          (14, 32 if second in chords.voice(progression)[3] else 24, second)]))


def test_without_a_chord_comping_is_silent():
  tokens = _tokens(24, comping={0: 2, 10: 2, 12: 4})
  notes = _notes(band.voice(tokens, [_C, chords.NO_CHORD, _C]), band.COMPING)
  assert {(start, end) for start, end, _ in notes} == {(0, 8)}


@pytest.mark.parametrize('seed', range(8))
def test_every_note_has_a_length_and_none_overlaps_itself(seed):
  tokens, progression = _random_piece(np.random.default_rng(seed))
  found = band.voice(tokens, progression)
  assert (found['end'] > found['start']).all()
  assert found['end'].max() <= len(tokens)
  order = np.lexsort((found['start'], found['pitch'], found['voice']))
  a, b = found[order][:-1], found[order][1:]
  same = (a['voice'] == b['voice']) & (a['pitch'] == b['pitch'])
  assert (a['end'] <= b['start'])[same].all()
  comping = found[found['voice'] == band.COMPING]
  for note in comping:
    chord = progression[note['start'] // grid.STEPS_PER_CHORD]
    assert note['pitch'] % 12 in chords.pitch_classes(chord)


def test_transposed_music_is_the_same_music_higher():
  tokens, progression = _random_piece(np.random.default_rng(0))
  tokens[:, :2] = np.where(tokens[:, :2] >= 2, 30 + tokens[:, :2] % 12, 0)
  moved, higher = band.transpose(tokens, progression, 5)
  before, after = band.voice(tokens, progression), band.voice(moved, higher)
  for voice in (band.MELODY, band.BASS):
    was, now = (n[n['voice'] == voice] for n in (before, after))
    np.testing.assert_array_equal(now['start'], was['start'])
    np.testing.assert_array_equal(now['pitch'], was['pitch'] + 5)
  np.testing.assert_array_equal(moved[:, 2:], tokens[:, 2:])
  back, same = band.transpose(moved, higher, -5)
  np.testing.assert_array_equal(back, tokens)
  np.testing.assert_array_equal(same, progression)


def test_what_would_leave_the_piano_comes_an_octave_nearer():
  tokens = _tokens(8, melody={0: 89}, bass={0: 2})
  assert band.transpose(tokens, [_C], 3)[0][0].tolist() == [80, 5, 0, 0]
  assert band.transpose(tokens, [_C], -3)[0][0].tolist() == [86, 11, 0, 0]
  assert band.transpose_line([89, 2, 1], [30, -25, 9]).tolist() == [83, 13, 1]


def test_controls_say_va_players_and_chord():
  plays = band.who_plays(_tokens(16, melody={0: 41, 8: 1}, comping={3: 1}))
  assert plays.tolist() == [True, False, False, False]
  found = band.controls([0.5, -0.25], plays, [_G, chords.NO_CHORD])
  assert found.shape == (2, 31)
  assert found[0, :6].tolist() == [0.5, -0.25, 1, 0, 0, 0]
  np.testing.assert_array_equal(found[0, 6:], chords.FEATURES[_G])
  assert found[1, 6:].tolist() == [1] + 24 * [0]
  # One VA a half bar, of several pieces.
  va = np.array([[[1, 0], [0, 1]]] * 3)
  found = band.controls(va, np.array([plays] * 3), np.full((3, 2), _G))
  assert found.shape == (3, 2, 31) and found[2, 1, :2].tolist() == [0, 1]


def test_what_is_played_is_in_time_and_accented():
  tokens = _tokens(32, melody={0: 41, 4: 41, 6: 41, 16: 41}, drums={6: 0b101})
  heard = band.play(
      band.voice(tokens, [_C] * 4), tempo_qpm=[60] * 4 + [120],
      programs=(5, 6, 7, 8), velocities=(70, 71, 72, 73))
  melody = heard[heard['part'] == band.MELODY]
  assert melody['start_seconds'].tolist() == [0, 1, 1.5, 4]
  assert melody['end_seconds'].tolist() == [1, 1.5, 4, 6]
  assert melody['start_beats'].tolist() == [0, 1, 1.5, 4]
  assert melody['velocity'].tolist() == [76, 73, 70, 76]
  assert set(melody['program']) == {5}
  drums = heard[heard['is_drum']]
  assert drums['pitch'].tolist() == [36, 42]
  assert drums['velocity'][0] > drums['velocity'][1]


def test_a_sequence_says_who_plays_what():
  tokens = _tokens(32, melody={0: 41}, bass={0: 20}, drums={0: 1},
                   comping={0: 2})
  progression = [_C, _C, _AM, _G]
  sequence = band.to_sequence(
      band.voice(tokens, progression), chords=progression,
      key=chords.parse_key('A minor'), tempo_qpm=[100] * 4 + [50])
  assert {n.instrument: n.program for n in sequence.notes} == dict(
      zip(band.INSTRUMENTS, band.PROGRAMS, strict=True))
  assert {n.instrument for n in sequence.notes if n.is_drum} == {9}
  assert {i.instrument: i.name for i in sequence.instrument_infos} == {
      0: 'melody', 1: 'bass', 9: 'drums', 2: 'comping'}
  assert [(t.text, round(t.time, 6)) for t in sequence.text_annotations] == [
      ('C', 0), ('Am', 2.4), ('G', 4.8)]
  assert [(t.qpm, round(t.time, 6)) for t in sequence.tempos] == [
      (100, 0), (50, 2.4)]
  assert (sequence.key_signatures[0].key, sequence.key_signatures[0].mode) == (
      9, sequence.KeySignature.MINOR)
  assert sequence.total_time == pytest.approx(2.4 + 4.8)


@pytest.mark.parametrize(('tokens', 'progression', 'complaint'), [
    (np.zeros((16, 3)), [0, 0], r'got \[16, 3\] and \[2\]'),
    (np.zeros((16, 4)), [0], r'a chord every 8 steps, got \[16, 4\] and \[1\]'),
    (np.full((8, 4), 7), [0], r'comping must lie in 0\.\.6, got 7\.\.7'),
    (np.zeros((8, 4)), [97], r'chords must lie in 0\.\.96, got 97\.\.97'),
])
def test_what_is_no_band_is_refused(tokens, progression, complaint):
  with pytest.raises(ValueError, match=complaint):
    band.voice(tokens, progression)


def test_a_daw_sees_names_markers_and_tempos():
  import io

  import mido

  tokens = np.zeros((32, 4), int)
  tokens[::8, band.MELODY] = 60 - 19
  tokens[::8, band.BASS] = 36 - 19
  progression = chords.parse_progression('C | Am G')
  sequence = band.as_sequence(
      band.play(band.voice(tokens, progression), tempo_qpm=[120] * 7 + [60]),
      chords=progression, key=chords.parse_key('C major'),
      tempo_qpm=[120] * 7 + [60], sections=[(0, 'A'), (1, 'B')])
  content = midi.to_bytes(sequence)
  file = mido.MidiFile(file=io.BytesIO(content))
  assert [track.name for track in file.tracks[1:]] == ['melody', 'bass']
  found, tick = [], 0
  for message in file.tracks[0]:
    tick += message.time
    if message.type in ('marker', 'set_tempo'):
      found.append((tick / file.ticks_per_beat, message.type, (
          message.text if message.type == 'marker' else
          round(6e7 / message.tempo))))
  assert found == [
      (0, 'set_tempo', 120), (0, 'marker', 'A  C'), (4, 'marker', 'B  Am'),
      (6, 'marker', 'G'), (7, 'set_tempo', 60)]
  del sequence.text_annotations[:]
  plain = mido.MidiFile(file=io.BytesIO(midi.to_bytes(sequence)))
  assert [list(t) for t in file.tracks[1:]] == [
      list(t) for t in plain.tracks[1:]]
