"""Sound as numbers: names, windows, files, and what is refused."""

import csv
import io
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from va_magenta.music_to_va import audio_features

RATE_HZ = audio_features.SAMPLE_RATE_HZ
NAMES = audio_features.FEATURE_NAMES


def tone(seconds, frequency_hz=440.0, amplitude=0.3, rate_hz=RATE_HZ):
  time = np.arange(round(seconds * rate_hz)) / rate_hz
  overtones = sum(
      np.sin(2 * np.pi * k * frequency_hz * time) / k for k in range(1, 5))
  return (amplitude * overtones / 2).astype(np.float32)


def value(features, name):
  return features[:, NAMES.index(name)]


def test_names_are_those_of_deam(shared_data):
  with open(shared_data / 'deam/opensmile_song_means.csv', newline='') as file:
    header = next(csv.reader(file))
  assert header == ['song_id', *NAMES[:130]]


def test_names_are_those_of_opensmile():
  names = [
      name.replace('mfcc', 'pcm_fftMag_mfcc')
      for name in audio_features._smile().feature_names]
  assert tuple(names) == audio_features.CONTOUR_NAMES
  assert len(set(NAMES)) == len(NAMES) == 260


def test_one_pass_hears_what_opensmiles_own_configuration_hears():
  import opensmile

  samples = tone(1.2) + np.random.default_rng(0).normal(
      0, .01, round(1.2 * RATE_HZ)).astype(np.float32)
  ours = audio_features._smile()(samples, RATE_HZ)[0]
  theirs = np.concatenate([
      opensmile.Smile(opensmile.FeatureSet.ComParE_2016, level)(
          samples, RATE_HZ)[0][:, :ours.shape[1]]
      for level in (
          opensmile.FeatureLevel.LowLevelDescriptors,
          opensmile.FeatureLevel.LowLevelDescriptors_Deltas)])
  np.testing.assert_array_equal(ours, theirs)


def test_pitch_loudness_and_brightness_are_heard():
  features = audio_features.extract(
      np.concatenate([tone(2, 220, .1), tone(2, 440, .4)]), RATE_HZ)
  assert features.shape == (8, 260)
  assert features.dtype == np.float32
  assert np.isfinite(features).all()
  pitch = value(features, 'F0final_sma_amean')
  np.testing.assert_allclose(pitch[1:3], 220, rtol=.02)
  np.testing.assert_allclose(pitch[5:7], 440, rtol=.02)
  loudness = value(features, 'pcm_RMSenergy_sma_amean')
  assert loudness[6] == pytest.approx(4 * loudness[2], rel=.02)
  bright = value(features, 'pcm_fftMag_spectralCentroid_sma_amean')
  assert bright[6] > 1.5 * bright[2]


def test_deviation_is_of_the_window_and_mean_of_its_frames():
  contours = np.random.default_rng(0).normal(size=(120, 130))
  windows = audio_features._windows(contours)
  assert windows.shape == (2, 260)
  for i, frames in enumerate((contours[:50], contours[50:])):
    np.testing.assert_allclose(windows[i, :130], frames.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(windows[i, 130:], frames.std(axis=0), atol=1e-6)


@pytest.mark.parametrize(('seconds', 'windows'), [
    (.25, 1), (.5, 1), (.7, 1), (1.0, 2), (1.2, 2), (3.0, 6)])
def test_every_window_is_half_a_second(seconds, windows):
  assert len(audio_features.extract(tone(seconds), RATE_HZ)) == windows


def test_full_scale_does_not_wrap_around():
  loud = np.where(tone(1) > 0, 1, -1).astype(np.float32)
  features = audio_features.extract(loud, RATE_HZ)
  nearly = audio_features.extract(.999 * loud, RATE_HZ)
  np.testing.assert_allclose(
      value(features, 'pcm_RMSenergy_sma_amean'),
      value(nearly, 'pcm_RMSenergy_sma_amean'), rtol=.01)
  np.testing.assert_allclose(
      value(features, 'pcm_zcr_sma_amean'),
      value(nearly, 'pcm_zcr_sma_amean'), atol=1e-3)


def test_other_rates_are_brought_to_44100():
  native = audio_features.extract(tone(2), RATE_HZ)
  other = audio_features.extract(tone(2, rate_hz=48000), 48000)
  assert other.shape == native.shape
  for name in ('F0final_sma', 'pcm_RMSenergy_sma', 'pcm_fftMag_mfcc_sma[2]',
               'pcm_fftMag_spectralRollOff50.0_sma'):
    np.testing.assert_allclose(
        value(other, f'{name}_amean')[1:-1],
        value(native, f'{name}_amean')[1:-1], rtol=.03, atol=.3, err_msg=name)


@pytest.mark.parametrize(('samples', 'complaint'), [
    (np.zeros(RATE_HZ, np.float32), 'only silence'),
    (tone(1) * 1e-3, 'only silence'),
    (np.zeros(0, np.float32), 'too short'),
    (tone(.2), 'too short'),
    (np.full(RATE_HZ, np.nan, np.float32), 'NaN or infinity'),
    (np.full(RATE_HZ, np.inf, np.float32), 'NaN or infinity'),
    (np.zeros((RATE_HZ, 2), np.float32), 'must be mono'),
    (np.full(RATE_HZ, 9999, np.int16), 'floats of shape'),
])
def test_what_cannot_be_heard_is_refused(samples, complaint):
  with pytest.raises(ValueError, match=complaint) as error:
    audio_features.extract(samples, RATE_HZ)
  assert '\n' not in str(error.value)


def test_silence_within_sound_is_finite():
  features = audio_features.extract(
      np.concatenate([tone(1), np.zeros(RATE_HZ, np.float32)]), RATE_HZ)
  assert np.isfinite(features).all()
  assert value(features, 'pcm_RMSenergy_sma_amean')[3] < 1e-3


@pytest.mark.parametrize(('suffix', 'tolerance'), [
    ('wav', 1e-3), ('flac', 1e-3), ('ogg', .1), ('mp3', .1)])
def test_files_are_read(tmp_path, suffix, tolerance):
  path = tmp_path / f'a.{suffix}'
  left = tone(1)
  soundfile.write(path, np.stack([left, 0 * left], axis=1), RATE_HZ)
  samples, rate = audio_features.read(path)
  assert rate == RATE_HZ
  assert samples.dtype == np.float32
  assert len(samples) == pytest.approx(RATE_HZ, abs=3000)  # MP3 pads.
  np.testing.assert_allclose(
      samples[2000:40000], left[2000:40000] / 2, atol=tolerance)


def test_a_part_of_a_file_is_read(tmp_path):
  path = tmp_path / 'a.wav'
  whole = tone(3)
  soundfile.write(path, whole, RATE_HZ, 'FLOAT')
  part, _ = audio_features.read(path, start_seconds=1, max_seconds=.5)
  np.testing.assert_array_equal(part, whole[RATE_HZ:RATE_HZ * 3 // 2])
  rest, _ = audio_features.read(path, start_seconds=2.5)
  assert len(rest) == RATE_HZ // 2
  with pytest.raises(ValueError, match='a.wav has no sound after 4 seconds'):
    audio_features.read(path, start_seconds=4)


def test_bad_files_are_one_line(tmp_path):
  with pytest.raises(FileNotFoundError, match='missing.wav'):
    audio_features.read(tmp_path / 'missing.wav')
  bad = tmp_path / 'bad.mp3'
  for content in (b'', b'no music at all', bytes(1000)):
    bad.write_bytes(content)
    with pytest.raises(ValueError, match='bad.mp3 is not a whole WAV') as error:
      audio_features.read(bad)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('suffix', ['wav', 'flac'])
def test_a_file_that_is_cut_off_is_told(tmp_path, suffix):
  path = tmp_path / f'a.{suffix}'
  noise = np.random.default_rng(0).normal(0, .1, 2 * RATE_HZ)
  soundfile.write(path, noise, RATE_HZ)
  path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
  with pytest.raises(ValueError, match=f'a.{suffix} is (cut off|not a whole)'):
    audio_features.read(path)


def test_an_interrupt_is_not_swallowed():
  class Interrupted(Exception):
    pass

  def interrupt(*_):
    raise Interrupted

  noise = np.random.default_rng(0).normal(0, .1, 60 * RATE_HZ)
  audio_features.extract(noise[:RATE_HZ], RATE_HZ)
  before = signal.signal(signal.SIGALRM, interrupt)
  try:
    signal.setitimer(signal.ITIMER_REAL, .05)
    with pytest.raises(Interrupted):
      audio_features.extract(noise, RATE_HZ)
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_tensorflow_in_the_same_process_does_no_harm():
  # Both export an FFT of one name: see `_smile`.
  code = '''
import numpy as np
{}
from va_magenta.music_to_va import audio_features
samples = np.random.default_rng(0).normal(0, .1, 22050).astype(np.float32)
print(audio_features.extract(samples, 44100).tobytes().hex())
'''
  alone, beside = (
      subprocess.run(
          [sys.executable, '-c', code.format(first)], capture_output=True,
          text=True)
      for first in ('', 'import tensorflow'))
  assert beside.returncode == 0, beside.stderr[-500:]
  assert beside.stdout == alone.stdout
  assert len(alone.stdout) > 1000


def test_importing_does_not_import_opensmile():
  code = (
      'import sys\n'
      'import va_magenta.music_to_va.audio\n'
      "print({'opensmile', 'pandas', 'tensorflow', 'lightgbm', 'soundfile'} "
      '& {*sys.modules})')
  result = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True)
  assert result.stdout.strip() == 'set()', result.stderr


# Sound that is whole, though its header or channels are odd.


def _wav(samples, rate=RATE_HZ, subtype='PCM_16'):
  file = io.BytesIO()
  soundfile.write(file, samples, rate, format='WAV', subtype=subtype)
  return bytearray(file.getvalue())


@pytest.mark.parametrize(('riff', 'data'), [
    (0x7ffff024, 0x7ffff000),  # sox
    (0xffffffff, 0xffffffff),  # ffmpeg
    (0x80000024, 0x80000000),  # arecord
    (0, 0), (36, 0)])
def test_what_a_program_wrote_to_a_pipe_is_whole(tmp_path, riff, data):
  samples = tone(.5)
  content = _wav(samples)
  content[4:8] = riff.to_bytes(4, 'little')
  at = content.index(b'data') + 4
  content[at:at + 4] = data.to_bytes(4, 'little')
  (tmp_path / 'pipe.wav').write_bytes(content)
  heard, rate = audio_features.read(tmp_path / 'pipe.wav')
  assert rate == RATE_HZ
  np.testing.assert_allclose(heard, samples, atol=1e-4)


def test_a_wav_that_is_cut_off_is_told(tmp_path):
  content = _wav(tone(.5))
  (tmp_path / 'cut.wav').write_bytes(content[:len(content) // 2])
  with pytest.raises(ValueError, match='is cut off'):
    audio_features.read(tmp_path / 'cut.wav')
  (tmp_path / 'none.wav').write_bytes(_wav(np.zeros(0, np.float32)))
  with pytest.raises(ValueError, match='has no sound'):
    audio_features.read(tmp_path / 'none.wav')


@pytest.mark.parametrize('share', [-1, -.98, 1, .5])
def test_channels_that_cancel_are_heard(tmp_path, share):
  left = tone(.5)
  (tmp_path / 'a.wav').write_bytes(_wav(np.stack([left, share * left], 1)))
  heard, _ = audio_features.read(tmp_path / 'a.wav')
  expected = left if share < 0 else left * (1 + share) / 2
  np.testing.assert_allclose(heard, expected, atol=1e-3)


def test_samples_of_another_scale_are_told(tmp_path):
  with pytest.raises(ValueError, match='samples reach .*divided by 32,768'):
    audio_features.extract(tone(1) * 32_768, RATE_HZ)
  audio_features.extract(tone(1) * 3, RATE_HZ)  # Clipped, as ever.
