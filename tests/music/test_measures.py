import numpy as np
import pytest

from va_magenta.music import measures

C_MAJOR, A_MINOR, G_7 = 1, 1 + 9 * 8 + 1, 1 + 7 * 8 + 4


def _tokens(notes, num_bars=2):
  """Tokens of notes (start, length, pitch)."""
  tokens = np.zeros(num_bars * 16, int)
  for start, length, pitch in notes:
    tokens[start] = pitch - 19
    if start + length < len(tokens) and not tokens[start + length]:
      tokens[start + length] = 1
  return tokens


def _scale():
  """Two bars: up the scale of C in quarters, and the same again."""
  return [(i * 4, 4, (60, 62, 64, 65)[i % 4]) for i in range(8)]


def _band(melody=(), bass=(), comping=(), drums=(), num_bars=2):
  tokens = np.zeros((num_bars * 16, 4), int)
  tokens[:, 0] = _tokens(melody, num_bars)
  tokens[:, 1] = _tokens(bass, num_bars)
  for step, value in comping:
    tokens[step, 3] = value
  for step, kind in drums:
    tokens[step, 2] |= 1 << kind
  return tokens


def test_line_gives_back_the_notes():
  notes = [(0, 3, 60), (4, 8, 72), (12, 4, 21), (16, 16, 108)]
  np.testing.assert_array_equal(measures.line(_tokens(notes)), notes)


def test_line_of_silence_has_no_notes():
  assert measures.line(np.zeros(32, int)).shape == (0, 3)


def test_melody_by_hand():
  found = measures.melody(_scale(), num_bars=2)
  expected = {
      'range': 5, 'leaps_beyond_fifth': 0, 'steps': 6 / 7, 'in_key': 1,
      'repeated_notes': 0, 'sounding': 1, 'longest': 1, 'notes_per_bar': 4,
      'off_eighths': 0, 'on_beat': 1, 'returning_bars': 1, 'similarity': 1,
      'returning_rhythms': 1, 'rhythm_similarity': 1, 'pitch_entropy': 2,
      'duration_spread': 0, 'rhythm_entropy': 0, 'syncopation': 0,
      'longest_rest': 0, 'turns': 2 / 6, 'tritones': 0, 'leaps_resolved': 1,
      'density_spread': 0}
  for name, value in expected.items():
    assert found['melody_' + name] == pytest.approx(value), name


def test_a_leap_that_is_followed_by_a_step_back_is_resolved():
  pitches = [60, 67, 65, 64, 71, 72, 71, 69, 67]
  found = measures.melody(
      [(i * 2, 2, pitch) for i, pitch in enumerate(pitches)], num_bars=2)
  assert found['melody_leaps_resolved'] == 0.5
  assert found['melody_longest_rest'] == (32 - 18) / 4


def test_figures_that_were_heard_are_found_in_other_keys():
  again = [(start + 32, length, pitch + 5) for start, length, pitch in _scale()]
  once = measures.melody(_scale()[:4] + again[:4], num_bars=4)
  assert once['melody_repeated_figures'] == pytest.approx(1 / 5)
  assert once['melody_returning_bars'] == 0
  assert once['melody_returning_rhythms'] == pytest.approx(1 / 3)


def test_syncopation_is_what_is_held_over_the_beat():
  straight = [(i * 2, 2, 60 + i) for i in range(16)]
  late = [(i * 4 + 2, 4, 60 + i) for i in range(7)] + [(30, 2, 70)]
  assert measures.melody(straight, 2)['melody_syncopation'] == 0
  assert measures.melody(late, 2)['melody_syncopation'] == 7 / 8


def test_too_short_a_melody_is_not_measured():
  found = measures.melody(_scale()[:7])
  assert np.isnan(list(found.values())).all()
  assert set(measures.MELODY_JUDGE) < set(found)


def test_measures_are_the_same_in_every_key():
  rng = np.random.default_rng(0)
  tokens = np.zeros((256, 4), int)
  tokens[:, 0] = rng.integers(40, 60, 256) * (rng.random(256) < .4)
  tokens[:, 1] = rng.integers(15, 30, 256) * (rng.random(256) < .3)
  tokens[:, 2] = rng.integers(0, 512, 256) * (rng.random(256) < .5)
  tokens[:, 3] = rng.integers(0, 7, 256)
  chords = rng.integers(0, 97, 32)
  higher = tokens.copy()
  higher[:, :2] += 5 * (tokens[:, :2] >= 2)
  moved = np.where(chords, (chords - 1 + 5 * 8) % 96 + 1, 0)
  some = measures.of_band(tokens, chords)
  other = measures.of_band(higher, moved)
  assert set(some) == {
      *measures.JUDGE, *measures.WHOLE, 'melody_mean_pitch'}
  assert other.pop('melody_mean_pitch') == some.pop('melody_mean_pitch') + 5
  assert some == pytest.approx(other)


def test_bass_and_chords_by_hand():
  chords = np.array([C_MAJOR, C_MAJOR, G_7, A_MINOR])
  bass = [(0, 8, 36), (8, 6, 40), (14, 2, 42), (16, 8, 43), (24, 8, 36)]
  melody = [(0, 8, 64), (8, 8, 67), (16, 16, 72)]
  found = measures.of_band(_band(melody, bass), chords)
  assert found['bass_roots'] == 0.5
  assert found['bass_chord_tones'] == 1
  assert found['melody_chord_tones'] == 3 / 4
  assert found['bass_off_beat'] == 1 / 5
  assert found['bass_approaches'] == 1  # F sharp leads to G.
  assert found['chords_changes_per_bar'] == 1
  assert found['chords_distinct'] == 3
  assert found['chords_in_key'] == 1
  assert found['chords_by_fifths'] == 0.5  # C to G; and then G to A.
  # C and E, E and G; F sharp at no beat; G and C is a fourth; C and C.
  assert found['melody_bass_consonance'] == 6 / 8


def test_comping_and_drums_by_hand():
  drums = [(bar * 16 + step, kind) for bar in range(2) for step, kind in (
      (0, 0), (8, 0), (4, 1), *((i, 2) for i in range(0, 16, 2)))]
  tokens = _band(
      bass=[(0, 4, 40), (16, 4, 40)], drums=drums,
      comping=[(0, 2), (4, 3), (6, 5), (7, 1), (16, 2), (20, 3), (22, 5)])
  found = measures.of_band(tokens, np.full(4, C_MAJOR))
  assert found['comping_onsets_per_bar'] == 3
  assert found['comping_struck'] == 1 / 3
  assert found['comping_returning_bars'] == 1
  assert found['comping_off_beat'] == 1 / 3
  assert found['comping_with_bass'] == 1 / 3
  assert found['bass_with_kick'] == 1
  assert found['drums_hits_per_bar'] == 11
  assert found['drums_kick_on_1_and_3'] == 1
  assert found['drums_snare_on_2_and_4'] == 0.5
  assert found['drums_hat_regularity'] == 1
  assert found['drums_returning_bars'] == 1
  assert found['drums_kinds_per_bar'] == 3
  assert found['drums_crashes_on_1'] == 0


def test_all_voices_by_hand():
  tokens = _band(
      melody=[(0, 4, 60), (4, 4, 60)], comping=[(8, 2), (10, 4)], num_bars=3)
  found = measures.whole(tokens, np.full(6, C_MAJOR))
  # C twice, and twice C, E, G, the second time one of the three.
  counts = np.array([2 + 4 / 3, 4 / 3, 4 / 3])
  shares = counts / counts.sum()
  assert found['pitch_class_entropy'] == pytest.approx(
      -(shares * np.log2(shares)).sum())
  assert found['empty_bars'] == 2 / 3
  # Two pairs differ in four places of sixteen, and one in none.
  assert found['groove_similarity'] == pytest.approx(1 - 2 / 3 * 4 / 16)
  assert measures.playing(tokens).tolist() == [False] * 4
  assert measures.playing(tokens[:32]).tolist() == [True, False, False, True]


def test_voices_that_do_not_play_have_nothing_to_measure():
  found = measures.of_band(_band(_scale()), np.zeros(4, int))
  silent = [name for name in found
            if name.startswith(('bass', 'comping', 'drums'))]
  assert len(silent) > 20
  assert np.isnan([found[name] for name in silent]).all()
  assert found['chords_none'] == 1


def test_what_chooses_and_what_judges_differ():
  assert set(measures.SELECTION) < set(measures.JUDGE)
  assert not set(measures.SELECTION) & set(measures.HELD_BACK)
  assert len(measures.HELD_BACK) >= len(measures.SELECTION)
  assert len(set(measures.JUDGE)) == len(measures.JUDGE)
  assert len(set(measures.CLASSIC) & set(measures.SELECTION)) <= (
      len(measures.CLASSIC) / 2 + 1)


@pytest.mark.parametrize('tokens, chords', [
    (np.zeros((32, 3), int), np.zeros(4, int)),
    (np.zeros((20, 4), int), np.zeros(2, int)),
    (np.zeros((32, 4), int), np.zeros(2, int)),
])
def test_what_is_no_band_is_refused(tokens, chords):
  with pytest.raises(ValueError, match='got'):
    measures.of_band(tokens, chords)
