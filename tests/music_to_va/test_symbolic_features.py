import note_seq
import numpy as np
import pytest

from va_magenta.music.midi import read_notes
from va_magenta.music.notes import from_note_sequence, skyline
from va_magenta.music_to_va import symbolic_features

NAMES = symbolic_features.FEATURE_NAMES


def melody(pitches, tempo_qpm=120.0, velocity=80, beats=1.0, start_beat=0.0):
  sequence = note_seq.NoteSequence(ticks_per_quarter=220)
  sequence.tempos.add(qpm=tempo_qpm)
  for i, pitch in enumerate(pitches):
    start = start_beat + i * beats
    sequence.notes.add(
        pitch=pitch, velocity=velocity, start_time=start * 60 / tempo_qpm,
        end_time=(start + beats) * 60 / tempo_qpm)
  return sequence


def chords(*rows, tempo_qpm=120.0):
  sequence = note_seq.NoteSequence(ticks_per_quarter=220)
  sequence.tempos.add(qpm=tempo_qpm)
  for i, pitches in enumerate(rows):
    for pitch in pitches:
      sequence.notes.add(
          pitch=pitch, velocity=80, start_time=i, end_time=i + 1)
  return sequence


def features(sequence):
  notes = from_note_sequence(sequence)
  return dict(zip(NAMES, symbolic_features.extract(notes), strict=True))


C_MAJOR = [60, 62, 64, 65, 67, 69, 71, 72]


def test_names_are_distinct_and_as_many_as_values():
  assert len(set(NAMES)) == len(NAMES) >= 100


def test_a_scale_is_described_as_one():
  described = features(melody(C_MAJOR))
  expected = {
      'mean_pitch': 66.25, 'range': 12, 'number_of_pitch_classes': 7,
      'stepwise_motion': 1, 'chromatic_motion': 2 / 7, 'repeated_notes': 0,
      'direction_of_melodic_motion': 1, 'mean_melodic_interval': 12 / 7,
      'average_length_of_melodic_arcs': 7,
      'average_interval_spanned_by_melodic_arcs': 12, 'in_scale': 1,
      'degree_tonic': .25, 'degree_minor_third': 0, 'mean_tempo': 120,
      'note_density': 2, 'note_density_per_quarter_note': 1,
      'average_note_duration': .5, 'most_common_rhythmic_value': 1,
      'prevalence_of_medium_rhythmic_values': 1, 'articulation': 1,
      'on_beat': 1, 'off_grid': 0, 'pairwise_variability': 0,
      'mean_dynamics': 80, 'variation_of_dynamics': 0,
      'average_number_of_independent_voices': 1,
      'top_line_share_of_notes': 1, 'complete_rests_fraction': 0,
      'dominant_spread': 7,
  }
  assert {name: described[name] for name in expected} == pytest.approx(
      expected, abs=1e-6)


def test_mode_of_major_and_minor():
  major = features(melody([60, 64, 67, 72, 71, 69, 67, 60]))
  minor = features(melody([60, 63, 67, 72, 70, 68, 67, 60]))
  assert major['major_minus_minor'] > .05
  assert minor['major_minus_minor'] < -.05
  assert minor['degree_minor_third'] == pytest.approx(1 / 8, abs=1e-6)


def test_chords_are_told_apart_and_weighted_by_time():
  described = features(chords(
      (48, 64, 67), (45, 60, 64), (43, 59, 62, 65), (48, 55), (48,)))
  expected = {
      'standard_triads': 2 / 4, 'minor_major_triad_ratio': .5,
      'dominant_seventh_chords': 1 / 4, 'partial_chords': 1 / 4,
      'average_number_of_simultaneous_pitch_classes': 13 / 5,
      'maximum_number_of_independent_voices': 4,
      # 3 + 3 + 6 + 1 pairs, of which: C-G, A-E, G-D and C-G.
      'vertical_perfect_fifths': 4 / 13, 'vertical_tritones': 1 / 13,
      'average_number_of_independent_voices': 13 / 5,
      'notes_per_attack': 13 / 5,
  }
  assert {name: described[name] for name in expected} == pytest.approx(
      expected, abs=1e-6)


def test_motion_of_outer_voices():
  parallel = features(chords((48, 60), (50, 62), (52, 64)))
  contrary = features(chords((48, 60), (47, 62), (45, 64)))
  oblique = features(chords((48, 60), (48, 62), (48, 64)))
  assert parallel['parallel_motion'] == 1
  assert contrary['contrary_motion'] == 1
  assert oblique['oblique_motion'] == 1


def test_chords_in_turn_are_found():
  described = features(chords(
      (48, 64, 67), (53, 60, 69), (43, 59, 62), (57, 60, 64)))
  expected = {
      'triads_fit': 1, 'best_triad_is_major': 3 / 4,
      'changes_of_best_triad': 1, 'roots_move_by_fifths': 1 / 3,
      'roots_move_by_seconds': 2 / 3, 'roots_move_by_thirds': 0,
      'diatonic': 1, 'lowest_voice_changes_per_second': 3 / 4,
      'lowest_voice_mean_pitch': (48 + 53 + 43 + 57) / 4,
  }
  assert {name: described[name] for name in expected} == pytest.approx(
      expected, abs=1e-6)
  assert described['major_minus_minor_triads_fit'] > 0
  assert described['last_major_minus_minor_triad_fit'] < 0


def test_local_keys_follow_a_modulation():
  home = [60, 64, 67, 72] * 2
  stays = features(melody(home + home))
  moves = features(melody(home + [p + 6 for p in home]))
  darkens = features(melody(home + [60, 63, 67, 72] * 2))
  assert stays['local_key_strength'] == pytest.approx(
      moves['local_key_strength'], abs=1e-6)
  assert moves['key_strength'] < stays['key_strength'] - .1
  assert stays['changes_of_local_key'] == 0
  assert moves['changes_of_local_key'] == pytest.approx(1 / 3, abs=1e-6)
  assert (darkens['last_local_major_minus_minor']
          < stays['last_local_major_minus_minor'] - .1)
  assert darkens['first_local_major_minus_minor'] == pytest.approx(
      stays['first_local_major_minus_minor'], abs=1e-6)


def test_roughness_falls_with_register_and_consonance():
  rough = {
      name: features(chords(pitches))['roughness'] for name, pitches in {
          'low third': (36, 39), 'high third': (72, 75), 'second': (72, 73),
          'fifth': (72, 79), 'alone': (72,)}.items()}
  assert rough['low third'] > rough['high third'] > rough['fifth']
  assert rough['second'] > rough['high third']
  assert rough['alone'] == 0


def test_what_recurs():
  again = features(melody([60, 62, 64, 65, 67, 69, 71, 72] * 4, beats=.5))
  rising = features(melody(range(50, 82), beats=.5))
  for name in ('repetition_after_4_quarter_notes',
               'rhythm_repeated_after_4_quarter_notes'):
    assert again[name] == 1
  assert again['repetition_after_2_quarter_notes'] == 0
  assert rising['repetition_after_4_quarter_notes'] == 0
  assert rising['rhythm_repeated_after_2_quarter_notes'] == 1


def test_loudness_follows_velocity_density_and_change():
  soft, loud = (
      features(melody(C_MAJOR, velocity=velocity)) for velocity in (40, 80))
  dense = features(melody(C_MAJOR * 2, velocity=40, beats=.5))
  assert loud['loudness_of_mean_energy'] - soft['loudness_of_mean_energy'] == (
      pytest.approx(2 * np.log(2), abs=1e-4))
  assert dense['mean_loudness'] > soft['mean_loudness'] + .3
  assert loud['dynamics_per_second'] == pytest.approx(160, abs=1e-6)
  sequence = melody(C_MAJOR * 2)
  for note in sequence.notes[8:]:
    note.velocity = 120
  grows = features(sequence)
  assert grows['change_of_dynamics'] == pytest.approx(40, abs=1e-6)
  assert grows['trend_of_dynamics'] > .8
  assert grows['share_of_notes_in_later_half'] == .5


def test_spacing_of_attacks_and_registers():
  sequence = note_seq.NoteSequence()
  start = 0.0
  for i in range(21):  # gaps of .1 and 1 s in turn
    sequence.notes.add(
        pitch=(40, 60, 80)[i % 3], velocity=80, start_time=start,
        end_time=start + .1)
    start += .1 if i % 2 else 1.0
  described = features(sequence)
  assert described['short_time_between_attacks'] == pytest.approx(.1, abs=1e-6)
  assert described['median_time_between_attacks'] == pytest.approx(
      .55, abs=1e-6)
  assert described['long_time_between_attacks'] == pytest.approx(1, abs=1e-6)
  assert described['entropy_of_attack_spacings'] == pytest.approx(1, abs=1e-6)
  assert described['median_note_duration'] == pytest.approx(.1, abs=1e-6)
  for register in ('low', 'middle', 'high'):
    assert described[f'{register}_note_density'] == pytest.approx(
        7 / 11.1, abs=1e-6)


def test_a_rounding_error_of_a_time_changes_nothing():
  notes = from_note_sequence(melody(C_MAJOR * 2, beats=.5))
  jittered = notes.copy()
  rng = np.random.default_rng(0)
  for edge in ('start', 'end'):
    for unit in ('seconds', 'beats'):
      jittered[f'{edge}_{unit}'] += rng.uniform(-1e-6, 1e-6, len(notes))
  np.testing.assert_allclose(
      symbolic_features.extract(jittered), symbolic_features.extract(notes),
      rtol=1e-3, atol=1e-3)


def test_intervals_stay_within_a_part():
  sequence = melody([72, 74, 76])
  for i, pitch in enumerate((48, 48, 48)):
    sequence.notes.add(
        pitch=pitch, velocity=80, start_time=i / 2, end_time=(i + 1) / 2,
        instrument=1)
  described = features(sequence)
  assert described['repeated_notes'] == pytest.approx(.5, abs=1e-6)
  assert described['stepwise_motion'] == pytest.approx(.5, abs=1e-6)
  assert described['melodic_large_intervals'] == 0
  assert described['number_of_parts'] == 2


def test_starting_later_changes_nothing():
  early = symbolic_features.extract(
      from_note_sequence(melody(C_MAJOR)))
  late = symbolic_features.extract(
      from_note_sequence(melody(C_MAJOR, start_beat=5.5)))
  np.testing.assert_allclose(early, late, rtol=1e-4, atol=1e-4)


def test_transposition_moves_pitch_and_leaves_rhythm_and_degrees():
  low = features(melody(C_MAJOR))
  high = features(melody([pitch + 5 for pitch in C_MAJOR]))
  changed = {
      name for name in NAMES
      if not np.isclose(low[name], high[name], atol=1e-4, equal_nan=True)}
  assert {'mean_pitch', 'lowest_pitch', 'top_line_mean_pitch'} <= changed
  assert not any(
      name.startswith(('degree', 'vertical', 'melodic', 'prevalence_of_'))
      for name in changed)
  assert high['mean_pitch'] - low['mean_pitch'] == pytest.approx(5, abs=1e-6)


def test_beats_follow_every_tempo():
  sequence = melody([60])
  sequence.tempos.add(time=1.0, qpm=60)
  sequence.notes.add(pitch=62, velocity=80, start_time=1.5, end_time=3.0)
  notes = from_note_sequence(sequence)
  assert notes['start_beats'].tolist() == [0, 2.5]
  assert notes['end_beats'].tolist() == [1, 4]


def test_a_midi_file_reads_as_its_note_sequence(tmp_path):
  sequence = melody(C_MAJOR, tempo_qpm=90)
  sequence.tempos.add(time=2.0, qpm=140)
  for i in range(4):
    sequence.notes.add(
        pitch=36 + i, velocity=50 + i, start_time=i, end_time=i + .9,
        instrument=1, program=33)
  sequence.notes.add(
      pitch=38, velocity=90, start_time=0, end_time=.1, is_drum=True,
      instrument=9)
  path = tmp_path / 'piece.mid'
  note_seq.note_sequence_to_midi_file(sequence, str(path))
  direct = symbolic_features.extract(
      from_note_sequence(sequence))
  read = symbolic_features.extract(read_notes(path))
  # Times in a file are whole ticks. They decide where two triads fit alike.
  alike = [not name.startswith(('best_triad', 'changes_of_best', 'roots_move'))
           for name in NAMES]
  np.testing.assert_allclose(
      direct[alike], read[alike], rtol=.02, atol=.02)
  assert dict(zip(NAMES, read, strict=True))['bass_prevalence'] == (
      pytest.approx(4 / 12, abs=1e-6))


@pytest.mark.parametrize('pitches', [[60], [60, 64], [60] * 8])
def test_short_and_dull_pieces_are_defined(pitches):
  with np.errstate(all='raise'):
    described = features(melody(pitches))
  assert described['mean_pitch'] == pytest.approx(np.mean(pitches), abs=1e-6)
  assert not np.isinf(list(described.values())).any()


@pytest.mark.parametrize('is_drum', [None, True])
def test_silence_and_drums_are_undefined(is_drum):
  sequence = note_seq.NoteSequence()
  if is_drum:
    sequence.notes.add(
        pitch=38, velocity=80, start_time=0, end_time=1, is_drum=True)
  assert np.isnan(list(features(sequence).values())).all()


def test_skyline_drops_what_lies_under_a_sounding_note():
  sequence = note_seq.NoteSequence()
  for pitch, start, end in (
      (72, 0, 2), (60, 0, 1), (64, 1, 2), (74, 2, 3), (60, 2, 4), (71, 2.5, 4)):
    sequence.notes.add(pitch=pitch, velocity=80, start_time=start, end_time=end)
  top = skyline(
      from_note_sequence(sequence))
  assert top['pitch'].tolist() == [72, 74]
  sequence.notes.add(pitch=76, velocity=80, start_time=2.75, end_time=4)
  top = skyline(
      from_note_sequence(sequence))
  assert top['pitch'].tolist() == [72, 74, 76]
  assert top['end_seconds'].tolist() == [2, 2.75, 4]


@pytest.mark.parametrize('content', [
    b'', b'RIFF and something else', b'MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\xff'])
def test_a_damaged_file_is_one_line(tmp_path, content):
  path = tmp_path / 'damaged.mid'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='damaged.mid: ') as error:
    read_notes(path)
  assert '\n' not in str(error.value)


def test_a_file_without_notes_says_so(tmp_path):
  path = tmp_path / 'silent.mid'
  note_seq.note_sequence_to_midi_file(melody([]), str(path))
  with pytest.raises(ValueError, match='silent.mid: .* no notes'):
    read_notes(path)


def test_a_missing_file(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere.mid'):
    read_notes(tmp_path / 'nowhere.mid')
