import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.music import chord_recognition, chords

PROGRESSION = 'C Am F G Dm7 G7 C C'


@pytest.fixture(scope='module')
def recogniser():
  return chord_recognition.load()


def _piece(progression, shift=0):
  """Block chords, their root as bass, their top note as melody."""
  accompaniment, bass, melody = [], [], []
  for i, chord in enumerate(progression):
    start, end = 8 * i, 8 * i + 8
    steps = [0, *np.diff(chords.pitch_classes(chord)) % 12]
    root = chords.root_of(chord)
    pitches = 60 + root + np.cumsum(steps) + shift
    accompaniment += [(start, end, p) for p in pitches]
    bass.append((start, end, 36 + root + shift))
    melody.append((start, end, pitches[-1] + 12))
  return accompaniment, bass, melody, len(progression)


def test_block_chords_are_recognised_in_every_key(recogniser):
  told = chords.parse_progression(PROGRESSION)
  for shift in range(12):
    found = recogniser.recognise(*_piece(told, shift))
    np.testing.assert_array_equal(found, chords.transpose(told, shift))


def test_silent_bars_have_no_chord(recogniser):
  told = chords.parse_progression(PROGRESSION)
  accompaniment, bass, melody, length = _piece(told)
  found = recogniser.recognise(accompaniment, bass, melody, length + 4)
  assert (found[:-4] > 0).all() and (found[-4:] == chords.NO_CHORD).all()
  assert (recogniser.recognise([], [], [], 4) == chords.NO_CHORD).all()


def test_features_count_what_sounds():
  # A whole note C in the accompaniment from the middle of the first half bar.
  heard = chord_recognition.features([(4, 20, 60)], [], [], 4)
  assert heard.shape == (4, chord_recognition.NUM_CHANNELS, 12)
  np.testing.assert_allclose(heard[:, 0, 0], [0, 1, 1, 0])
  np.testing.assert_allclose(heard[:, 1, 0], [1, 1, 0, 0])
  assert (heard[..., 1:] == 0).all()
  # Where the bass begins counts in the first half of a half bar alone.
  begins = chord_recognition.features([], [(8, 9, 40), (12, 13, 43)], [], 4)
  assert begins[1, 6].tolist() == np.eye(12)[4].tolist()


def test_what_is_of_another_shape_is_refused(tmp_path, recogniser):
  chord_recognition.save(
      tmp_path, chord_recognition.ChordRecogniser(
          (np.zeros((3, 2)), np.zeros((2, 8))), (np.zeros(2), np.zeros(8))),
      {})
  with pytest.raises(ValueError, match='recogniser of chords'):
    chord_recognition.load(tmp_path)


def test_songs_that_were_held_out_are_recognised(recogniser, shared_data):
  from va_magenta.training import chord_recognition as training
  from va_magenta.training import pop909_cl

  config, _ = checkpoints.open(None, checkpoints.RECOGNITION)
  songs = [
      song for song in map(
          pop909_cl._read_song,
          [shared_data / 'pop909_cl' / f'{name}.mid'
           for name in config['held_out'][::8]]) if song]
  assert len(songs) >= 20
  right = training.accuracy(recogniser, songs)
  assert right['majmin'] > 0.9 and right['root'] > 0.91
