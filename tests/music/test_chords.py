import numpy as np
import pytest

from va_magenta.music import chords
from va_magenta.music.chords import Key


def test_numbers_are_none_and_then_root_by_root_quality_by_quality():
  assert chords.NUM_CHORDS == 97
  assert chords.chord_of(0, 'maj') == 1
  assert chords.chord_of(9, 'min7') == 1 + 9 * 8 + 6
  assert [chords.root_of(c) for c in (0, 1, 8, 9, 96)] == [None, 0, 0, 1, 11]
  assert chords.quality_of(96) == 'sus4' and chords.quality_of(0) is None
  assert chords.pitch_classes(chords.parse('B7')) == (11, 3, 6, 9)


def test_features_are_none_root_and_pitch_classes():
  features = chords.FEATURES
  assert features.shape == (97, 25) and features.dtype == np.float32
  assert features[0, 0] == 1 and features[0].sum() == 1
  d_minor = features[chords.parse('Dm')]
  assert np.flatnonzero(d_minor).tolist() == [3, 13 + 2, 13 + 5, 13 + 9]
  assert len(np.unique(features, axis=0)) == 97


@pytest.mark.parametrize('names, expected', [
    (('C', 'Cmaj', 'CM', 'c', 'C:maj'), ('maj', 0)),
    (('Am', 'Amin', 'A-', 'am', 'A:min', 'Aminor'), ('min', 9)),
    (('CM7', 'Cmaj7', 'CΔ'), ('maj7', 0)),
    (('Cm7', 'Cmin7', 'C-7'), ('min7', 0)),
    (('Bb7', 'A#7', 'B♭7', 'bb7'), ('7', 10)),
    (('F#dim', 'Gbdim', 'F♯°'), ('dim', 6)),
    (('G+', 'Gaug'), ('aug', 7)),
    (('Gsus4', 'Gsus'), ('sus4', 7)),
    (('Cb',), ('maj', 11)),
    (('B#m',), ('min', 0)),
])
def test_synonyms_are_one_chord(names, expected):
  quality, root = expected
  assert {chords.parse(n) for n in names} == {chords.chord_of(root, quality)}


@pytest.mark.parametrize('key', [
    None, *(Key(t, m) for t in range(12) for m in ('major', 'minor'))])
def test_every_chord_has_a_name_that_is_read_back(key):
  for chord in range(97):
    assert chords.parse(chords.name(chord, key)) == chord


def test_names_are_spelled_as_in_the_key():
  chord = chords.chord_of(10, 'maj')
  assert chords.name(chord, Key(5, 'major')) == 'Bb'
  assert chords.name(chord, Key(11, 'major')) == 'A#'
  assert chords.name(0) == 'N.C.'


@pytest.mark.parametrize('text, says', [
    ('C/E', 'write C'),
    ('F#m7/A', 'write F#m7'),
    ('Dm7b5', 'the nearest is Ddim'),
    ('C9', 'the nearest is C7'),
    ('Cfoo', 'Cmaj7'),
    ('H', 'A to G'),
    ('', 'A to G'),
    ('-', 'A to G'),
    ('C-G', 'not a chord'),
])
def test_what_is_not_played_is_refused_in_a_line(text, says):
  with pytest.raises(ValueError, match=says) as error:
    chords.parse(text)
  assert '\n' not in str(error.value)


def test_progressions_have_a_chord_a_bar_or_two_between_bar_lines():
  def parsed(text):
    return [chords.name(c) for c in chords.parse_progression(text)]
  assert parsed('C G Am') == ['C', 'C', 'G', 'G', 'Am', 'Am']
  assert parsed('| C | Am G |') == ['C', 'C', 'Am', 'G']
  assert parsed('C|N.C.') == ['C', 'C', 'N.C.', 'N.C.']
  for text in ('C G Am F', 'C | Am G | F'):
    assert chords.progression_name(chords.parse_progression(text)) == text


@pytest.mark.parametrize('text, says', [
    ('', 'no chords'),
    (' | ', 'no chords'),
    ('C | | G', 'bar 2'),
    ('C D E | F', 'bar 1.*has 3'),
    ('C Foo', 'Foo'),
])
def test_progressions_that_are_none_are_refused(text, says):
  with pytest.raises(ValueError, match=says):
    chords.parse_progression(text)


def test_transposing_moves_roots_and_keeps_qualities():
  before = chords.parse_progression('C | Am7 N.C. | B7')
  after = chords.transpose(before, 3)
  assert after.dtype == before.dtype
  np.testing.assert_array_equal(
      after, chords.parse_progression('Eb | Cm7 N.C. | D7'))
  np.testing.assert_array_equal(chords.transpose(after, -3), before)
  np.testing.assert_array_equal(
      chords.transpose(before, [0, 0, 2, 2, 1, 1]),
      chords.parse_progression('C | Bm7 N.C. | C7'))


@pytest.mark.parametrize('text, key', [
    ('A minor', (9, 'minor')),
    ('Am', (9, 'minor')),
    ('a minor', (9, 'minor')),
    ('C', (0, 'major')),
    ('F# major', (6, 'major')),
    (' Bb  major ', (10, 'major')),
])
def test_keys_are_read(text, key):
  assert chords.parse_key(text) == key


def test_every_key_has_a_name_that_is_read_back():
  for tonic in range(12):
    for mode in ('major', 'minor'):
      key = Key(tonic, mode)
      assert chords.parse_key(str(key)) == key
  assert str(Key(3, 'minor')) == 'Eb minor'


def test_relative_keys_share_their_signature():
  for major, minor in (('C', 'Am'), ('Eb', 'Cm'), ('A', 'F#m')):
    signature = chords.parse_key(major).signature
    assert signature == chords.parse_key(minor).signature
    assert signature == chords.parse_key(major).tonic
  assert chords.name(chords.parse_key('F# minor').tonic_chord) == 'F#m'


@pytest.mark.parametrize('text', ['a', '', 'H major', 'C7', 'C dorian', '3'])
def test_what_is_not_a_key_is_refused(text):
  with pytest.raises(ValueError, match='is not a key'):
    chords.parse_key(text)


def test_voicings_are_playable():
  for chord in range(1, 97):
    for notes in chords.voicings(chord):
      assert len(notes) == 4 and (np.diff(notes) > 0).all()
      assert 48 <= notes[0] and notes[-1] <= 72
      assert {p % 12 for p in notes} == set(chords.pitch_classes(chord))
      low = notes[:-1] < 55
      assert (np.diff(notes)[low] >= 3).all(), 'a second among low notes'


def test_voices_lead():
  rng = np.random.default_rng(0)
  progression = rng.integers(1, 97, 200)
  led = chords.voice(progression)
  moved = np.abs(np.diff(led, axis=0)).sum(1).mean()
  apart = np.array([chords.voicings(c)[0] for c in progression])
  assert moved < 0.8 * np.abs(np.diff(apart, axis=0)).sum(1).mean()
  # C and Am share two notes, of which neither moves.
  c, am = chords.voice([chords.parse('C'), chords.parse('Am')])
  assert len(set(c) & set(am)) >= 2


def test_chords_that_go_on_keep_their_notes():
  led = chords.voice(chords.parse_progression('C | C N.C. | C F'))
  assert (led[0] == led[1]).all() and (led[0] == led[4]).all()
  assert (led[3] == -1).all() and (led[5] > 0).all()
  assert chords.voice([]).shape == (0, 4)
  assert (chords.voice([0, 0]) == -1).all()


def _scale(tonic, bars):
  """Tokens of a major scale up and down, a note an eighth."""
  pitches = tonic + np.array([0, 2, 4, 5, 7, 5, 4, 2])
  tokens = np.zeros(16 * bars, np.uint8)
  tokens[::2] = np.tile(60 + pitches - 19, bars)
  return tokens


@pytest.mark.parametrize('tonic', range(12))
def test_the_key_signature_of_a_scale(tonic):
  melody = _scale(tonic, 8)
  progression = chords.transpose(
      chords.parse_progression('C Am F G C Am F G'), tonic)
  keys = chords.key_signatures(melody, np.zeros_like(melody), progression)
  assert (keys == tonic).all()


def test_a_modulation_is_found_near_its_bar():
  melody = np.concatenate([_scale(0, 16), _scale(6, 16)])
  progression = chords.parse_progression(' '.join(
      4 * ['C', 'F', 'G', 'C'] + 4 * ['F#', 'B', 'C#', 'F#']))
  keys = chords.key_signatures(melody, np.zeros_like(melody), progression)
  assert (np.diff(keys) != 0).sum() == 1
  assert abs(int(np.flatnonzero(np.diff(keys))[0]) - 15) <= 2
  assert keys[0] == 0 and keys[-1] == 6


def test_a_piece_whose_parts_do_not_fit_is_refused():
  with pytest.raises(ValueError, match='16 steps'):
    chords.key_signatures(np.zeros(16), np.zeros(32), np.zeros(4))
  assert len(chords.key_signatures([], [], [])) == 0


@pytest.mark.parametrize('text, mode', [
    ('C Am F G C', 'major'),
    ('Am F C G Am', 'minor'),
    ('Am Dm E Am', 'minor'),
    ('Dm G', None),
    ('C Am', 'minor'),  # Where it ends.
])
def test_the_mode_is_that_of_the_tonic_that_is_heard(text, mode):
  assert chords.mode_of(chords.parse_progression(text)) == mode
