"""Videos: which picture is seen when, how long, and that there is sound."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from va_magenta.music import video

RED, GREEN, BLUE = (
    np.full((90, 120, 3), color, np.uint8)
    for color in ((200, 0, 0), (0, 200, 0), (0, 0, 200)))


def test_pictures_fade_where_the_music_turns():
  turns = video.turns_of(3, 20)
  assert turns == [5, 15]
  def seen(seconds):
    return video.frame_at([RED, GREEN, BLUE], turns, seconds)[0, 0].tolist()
  assert seen(0) == seen(4.2) == [200, 0, 0]
  assert seen(5) == [100, 100, 0]
  assert seen(5.8) == seen(14.2) == [0, 200, 0]
  assert seen(15.8) == seen(20) == [0, 0, 200]
  red, green, _ = seen(4.6)
  assert red > green > 0
  assert video.frame_at([RED], [], 3) is RED


def test_pictures_in_one_size():
  [alone] = video.fit([np.zeros((333, 1001, 3), np.uint8)])
  assert alone.shape == (426, 1280, 3)
  wide, tall = video.fit([RED, np.full((400, 100, 3), 255, np.uint8)])
  assert wide.shape == tall.shape == (720, 1280, 3)
  # Whole, in the middle of a black screen.
  assert tall[360, 640].tolist() == [255] * 3
  assert tall[360, 200].tolist() == [0] * 3


def test_frames_and_sound_of_a_file(tmp_path):
  ffmpeg = pytest.importorskip('imageio_ffmpeg')
  rate, seconds = 16000, 3.0
  tone = .3 * np.sin(np.arange(int(rate * seconds)) * .2)
  soundfile.write(tmp_path / 'a.wav', tone, rate)
  path = tmp_path / 'a.mp4'
  video.write(path, [RED, BLUE], [1.5], tmp_path / 'a.wav', seconds)
  frames = ffmpeg.read_frames(str(path))
  found = next(frames)
  assert found['size'] == video.SCREEN
  assert found['fps'] == video.FRAMES_PER_SECOND
  assert found['duration'] == pytest.approx(seconds, abs=.1)
  middle = [
      np.frombuffer(frame, np.uint8).reshape(720, 1280, 3)[360, 640]
      for frame in frames]
  assert len(middle) == seconds * video.FRAMES_PER_SECOND
  assert middle[5][0] > 150 > 60 > middle[5][2]
  assert middle[-5][2] > 150 > 60 > middle[-5][0]
  # And it is heard.
  subprocess.run(
      [ffmpeg.get_ffmpeg_exe(), '-loglevel', 'error', '-i', str(path), '-vn',
       str(tmp_path / 'heard.wav')], check=True)
  heard, heard_rate = soundfile.read(tmp_path / 'heard.wav')
  assert len(heard) / heard_rate == pytest.approx(seconds, abs=.1)
  assert np.abs(heard).max() > .2


def test_without_ffmpeg_it_is_told_how_to_get_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'imageio_ffmpeg', None)
  with pytest.raises(ImportError, match=r'pip install "va_magenta\[video\]"'):
    video.import_ffmpeg()
