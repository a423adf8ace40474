"""VA of sound: what it follows, what it takes, what it says of bad files."""

import json
import subprocess
import sys

import note_seq
import numpy as np
import pytest
import soundfile

from va_magenta import checkpoints
from va_magenta.music import synthesis
from va_magenta.music_to_va import audio, audio_features
from va_magenta.va import VA

RATE_HZ = audio_features.SAMPLE_RATE_HZ


def piece(qpm, velocity, pitches, seconds=6.0, program=0, drums=False):
  """Chords on every beat, and a snare if asked for."""
  sequence = note_seq.NoteSequence()
  sequence.tempos.add(qpm=qpm)
  beat = 60 / qpm
  for i in range(int(seconds / beat)):
    for pitch in pitches:
      sequence.notes.add(
          pitch=pitch, velocity=velocity, start_time=i * beat,
          end_time=(i + 1) * beat, program=program)
    if drums:
      sequence.notes.add(
          pitch=38, velocity=velocity, start_time=i * beat,
          end_time=(i + 1) * beat, is_drum=True, instrument=9)
  return sequence


FIERCE = piece(220, 120, [40, 47, 52, 64], program=30, drums=True)
CALM = piece(50, 35, [60, 64, 67])


@pytest.fixture(scope='module')
def needs_fluidsynth():
  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))


@pytest.fixture(scope='module')
def estimator():
  return audio.load()


@pytest.fixture(scope='module')
def windows():
  """Features of four seconds of noise that swells."""
  rng = np.random.default_rng(0)
  noise = rng.normal(0, .1, 8 * RATE_HZ) * np.linspace(.1, 3, 8 * RATE_HZ)
  return audio_features.extract(noise.astype(np.float32), RATE_HZ)


def test_fierce_music_is_more_aroused_than_calm(estimator, needs_fluidsynth):
  fierce, calm = estimator.estimate_va([FIERCE, CALM])
  assert fierce.arousal > calm.arousal + .3
  assert isinstance(calm, VA)


def test_files_sequences_and_samples_agree(
    estimator, needs_fluidsynth, tmp_path):
  samples, rate = synthesis.synthesize(CALM)
  note_seq.note_sequence_to_midi_file(CALM, str(tmp_path / 'calm.mid'))
  soundfile.write(tmp_path / 'calm.wav', samples, rate, 'FLOAT')
  of_sequence, of_midi, of_samples, of_wav = (
      estimator.estimate_va([music], source=audio.SYNTHESISED)[0]
      for music in (
          CALM, tmp_path / 'calm.mid', (samples, rate),
          str(tmp_path / 'calm.wav')))
  assert of_samples == of_sequence == of_wav
  assert of_midi.distance(of_sequence) < .02


def test_the_source_is_told_by_the_kind_of_music(
    needs_fluidsynth, tmp_path):
  samples, rate = synthesis.synthesize(CALM)
  soundfile.write(tmp_path / 'calm.wav', samples, rate)
  assert audio.extract(CALM)[1] == audio.SYNTHESISED
  assert audio.extract(tmp_path / 'calm.wav')[1] == audio.RECORDING
  assert audio.extract((samples, rate))[1] == audio.RECORDING
  assert audio.extract(CALM, source=audio.RECORDING)[1] == audio.RECORDING


def test_the_source_chooses_the_statistics(estimator, windows):
  recording, synthesised = (
      estimator.of_piece(windows, source) for source in audio.SOURCES)
  assert recording.distance(synthesised) > .02
  with pytest.raises(ValueError, match='source must be one of recording, syn'):
    estimator.of_piece(windows, 'vinyl')


def test_an_average_song_is_an_average_point(estimator):
  # The mean of DEAM's descriptors, undone from z-scores of 0.
  normalisation = estimator.normalisation
  for source in audio.SOURCES:
    mean = normalisation.mean[source]
    means = np.where(
        audio._IN_LOGARITHM, np.exp(mean) - normalisation.floor, mean)
    np.testing.assert_allclose(
        normalisation.apply(means[None], source), 0, atol=1e-3)
    point, = estimator.regress(means[None], source)
    assert np.abs(point).max() < .3


def test_normalisation_z_scores_each_source_by_itself():
  rng = np.random.default_rng(0)
  recordings = rng.lognormal(0, 1, (300, 130))
  synthesised = 5 * rng.lognormal(1, .5, (300, 130))
  normalisation = audio.Normalisation.of(
      {audio.RECORDING: recordings, audio.SYNTHESISED: synthesised})
  for source, means in (
      (audio.RECORDING, recordings), (audio.SYNTHESISED, synthesised)):
    scores = normalisation.apply(means, source)
    assert scores.shape == (300, 65)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(np.median(scores, axis=0), 0, atol=.5)
    assert np.abs(scores).max() <= 3
  # Silence has no logarithm, and is finite all the same.
  assert np.isfinite(
      normalisation.apply(np.zeros((1, 130)), audio.RECORDING)).all()


def test_windows_hear_five_seconds_about_them(estimator, windows):
  points = estimator.of_windows(windows, audio.RECORDING)
  assert points.shape == (len(windows), 2)
  assert np.abs(points).max() <= 1
  reach = 5
  for i in (0, 3, 8, len(windows) - 1):
    about = windows[max(0, i - reach):i + reach + 1]
    expected = estimator.of_piece(about, audio.RECORDING)
    np.testing.assert_allclose(
        points[i], [expected.valence, expected.arousal], atol=1e-5)
  assert points[-1, 1] > points[0, 1]  # It swells.


def test_a_part_is_heard(estimator, needs_fluidsynth):
  both = note_seq.NoteSequence()
  both.CopyFrom(CALM)
  for note in FIERCE.notes:
    late = both.notes.add()
    late.CopyFrom(note)
    late.start_time += 7
    late.end_time += 7
  first, second = (
      estimator.estimate_va([both], start_seconds=start, max_seconds=6)[0]
      for start in (0, 7))
  assert second.arousal > first.arousal + .3
  assert len(estimator.estimate_windows(
      both, start_seconds=2, max_seconds=3)) == 6


def test_bad_music_is_named(estimator, needs_fluidsynth, tmp_path):
  silent = tmp_path / 'silent.mid'
  note_seq.note_sequence_to_midi_file(note_seq.NoteSequence(), str(silent))
  soundfile.write(tmp_path / 'short.wav', np.full(100, .5), RATE_HZ)
  (tmp_path / 'bad.mid').write_bytes(b'MThd?')
  (tmp_path / 'bad.ogg').write_bytes(b'Ogg')
  for name, complaint in (
      ('silent.mid', 'only silence'), ('short.wav', 'too short'),
      ('bad.mid', 'not a readable MIDI'), ('bad.ogg', 'not a whole WAV')):
    with pytest.raises(ValueError, match=complaint) as error:
      estimator.estimate_va([tmp_path / name])
    assert name in str(error.value)
    assert '\n' not in str(error.value)
  with pytest.raises(FileNotFoundError, match='gone.mid'):
    estimator.estimate_va([tmp_path / 'gone.mid'])


def test_emopia_which_was_not_trained_on(
    estimator, shared_data, needs_fluidsynth):
  folder = shared_data / 'emotion_midi/emopia/midi'
  fierce, calm = (
      [point.arousal for point in estimator.estimate_va(
          sorted(folder.glob(f'{quadrant}_*.mid'))[::60][:4], max_seconds=8)]
      for quadrant in ('Q2', 'Q3'))
  assert np.mean(fierce) > np.mean(calm) + .1


def test_estimating_does_not_import_lightgbm():
  code = (
      'import sys\n'
      'from va_magenta.music_to_va import audio\n'
      'audio.load()\n'
      "print({'lightgbm', 'sklearn', 'pandas', 'tensorflow'} & {*sys.modules})")
  result = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True)
  assert result.stdout.strip() == 'set()', result.stderr


def test_what_ships_is_small_and_holds_no_songs():
  folder = checkpoints.path('audio_va')
  assert sum(file.stat().st_size for file in folder.iterdir()) < 3e6
  with np.load(folder / 'weights.npz') as arrays:
    assert all(array.shape[:1] != (1802,) for array in arrays.values())


def test_load_says_what_is_wrong(tmp_path):
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    audio.load(tmp_path)
  shipped = checkpoints.path('audio_va')
  for name in ('config.json', 'weights.npz'):
    (tmp_path / name).write_bytes((shipped / name).read_bytes())
  audio.load(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  config['descriptors'][0] = 'something_else'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='other features'):
    audio.load(tmp_path)
  (tmp_path / 'weights.npz').write_bytes(b'PK half a file')
  with pytest.raises(ValueError, match='not a whole .npz'):
    audio.load(tmp_path)
