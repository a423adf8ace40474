"""What people are given to hear: its loudness, its peaks, its files."""

import numpy as np
import pytest
import soundfile

from va_magenta.music import sound

RATE_HZ = 16000


def _tone(seconds=2.0, level=0.1, hz=440):
  time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
  return level * np.sin(2 * np.pi * hz * time)


def _drum(level=1.0):
  """Soft noise with a loud stroke every half second."""
  rng = np.random.default_rng(0)
  samples = 0.02 * rng.standard_normal(4 * RATE_HZ)
  for begin in range(0, len(samples), RATE_HZ // 2):
    samples[begin:begin + 40] += level * rng.standard_normal(40)
  return samples


def _peak_db(samples):
  return 20 * np.log10(sound.true_peaks(samples).max())


@pytest.mark.parametrize('samples', [
    _tone(level=.001), _tone(level=.9), _tone(.2), _drum(),
    np.stack([_tone(), _drum(.1)[:2 * RATE_HZ]], axis=1)])
def test_all_is_equally_loud_and_nothing_clips(samples):
  found = sound.master(samples, RATE_HZ)
  assert found.shape == samples.shape and found.dtype == np.float32
  assert sound.loudness(found, RATE_HZ) == pytest.approx(-16, abs=.5)
  assert _peak_db(found) < -1


def test_loudness_as_the_standard_has_it():
  # A sine of 997 Hz at full scale has -3.01 LUFS in one channel.
  time = np.arange(48000 * 3) / 48000
  sine = np.sin(2 * np.pi * 997 * time)
  assert sound.loudness(sine, 48000) == pytest.approx(-3.01, abs=.05)


def test_peaks_between_samples_are_seen():
  # At a quarter of the rate, half a sample off: samples stay below the wave.
  wave = np.sin(np.pi / 2 * np.arange(400) + np.pi / 4)
  assert np.abs(wave).max() < .71
  assert sound.true_peaks(wave).max() == pytest.approx(1, abs=.02)


def test_silence_stays():
  assert not sound.master(np.zeros(RATE_HZ), RATE_HZ).any()
  assert not sound.master(np.zeros((100, 2)), RATE_HZ).any()
  assert sound.master(np.zeros(0), RATE_HZ).shape == (0,)


def test_what_is_not_too_high_is_only_made_louder():
  tone = _tone(level=.01)
  found = sound.master(tone, RATE_HZ)
  gain = found[1000] / tone[1000]
  np.testing.assert_allclose(found, gain * tone, rtol=1e-4, atol=1e-6)


def test_a_loop_is_limited_across_its_joint():
  # The stroke lies at the joint: its two halves are turned down alike.
  samples = np.roll(_drum(), 20)
  found = sound.master(samples, RATE_HZ, wraps=True)
  gain = found / samples
  assert gain[-1] == pytest.approx(gain[0], rel=.05)
  assert gain[0] < gain[RATE_HZ // 4] - .1
  moved = sound.master(np.roll(samples, 5000), RATE_HZ, wraps=True)
  np.testing.assert_allclose(np.roll(moved, -5000), found, atol=.03)


@pytest.mark.parametrize(
    'name, error', [('wav', 1e-4), ('FLAC', 1e-4), ('ogg', .05), ('mp3', .05)])
def test_files_by_their_ending(tmp_path, name, error):
  samples = np.stack([_tone(), _tone(hz=600)], axis=1)
  path = tmp_path / f'a.{name}'
  sound.write(path, samples, RATE_HZ)
  info = soundfile.info(path)
  assert info.format == {'mp3': 'MP3'}.get(name, name.upper())
  assert (info.samplerate, info.channels) == (RATE_HZ, 2)
  heard, _ = soundfile.read(path)
  length = min(len(heard), len(samples))
  assert length > 1.9 * RATE_HZ
  assert np.sqrt(np.mean((heard[:length] - samples[:length])**2)) < error


def test_wav_holds_the_samples(tmp_path):
  sound.write(
      tmp_path / 'a.wav', np.array([0, .5, -1, 1, 3, -3], np.float32), 8000)
  written, rate = soundfile.read(tmp_path / 'a.wav', dtype='int16')
  assert rate == 8000
  np.testing.assert_allclose(
      written, [0, 16384, -32768, 32767, 32767, -32768], atol=1)


def test_other_endings_are_refused(tmp_path):
  with pytest.raises(ValueError, match='a.aiff: sound is written as wav, flac'):
    sound.write(tmp_path / 'a.aiff', np.zeros(8), 8000)
  assert not list(tmp_path.iterdir())
