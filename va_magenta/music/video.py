"""Pictures and sound -> MP4: one picture still, or several that fade.

  video.write('album.mp4', pictures, turns, 'piece.wav', seconds=32.5)

ffmpeg encodes it; it comes with `pip install "va_magenta[video]"`.
"""

import os
from collections.abc import Sequence

import numpy as np

FRAMES_PER_SECOND = 25
FADE_SECONDS = 1.5
# Of one picture the longer side; several share a screen.
LONG_SIDE = 1280
SCREEN = (1280, 720)


def import_ffmpeg():
  """The module `imageio_ffmpeg`.

  Raises:
    ImportError: if it is not installed.
    OSError: if it finds no ffmpeg.
  """
  try:
    import imageio_ffmpeg
  except ImportError as error:
    raise ImportError(
        'a video needs ffmpeg: pip install "va_magenta[video]"') from error
  try:
    imageio_ffmpeg.get_ffmpeg_exe()
  except RuntimeError as error:
    raise OSError(f'no ffmpeg was found: {error}') from error
  return imageio_ffmpeg


def turns_of(num_pictures: int, seconds: float) -> list[float]:
  """When each picture but the first comes, in seconds.

  Music that leads from point to point is half way between two of them then.
  """
  return [(i + 0.5) * seconds / (num_pictures - 1)
          for i in range(num_pictures - 1)]


def frame_at(
    pictures: Sequence[np.ndarray], turns: Sequence[float], seconds: float
) -> np.ndarray:
  """What is seen at a time: uint8 RGB, of the pictures' size.

  Args:
    pictures: uint8 RGB, of one size.
    turns: when each but the first comes, by a fade about that time.
    seconds: the time.
  """
  number = int(np.searchsorted(turns, seconds))
  for turn, after in zip(turns, range(1, len(pictures)), strict=True):
    share = (seconds - turn) / FADE_SECONDS + 0.5
    if 0 < share < 1:
      return np.rint(
          (1 - share) * pictures[after - 1] + share * pictures[after]
      ).astype(np.uint8)
  return pictures[number]


def fit(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
  """Pictures in one size, which is even, as H.264 asks.

  One keeps its shape; several are shown whole on a black screen.
  """
  from PIL import Image, ImageOps

  images = [Image.fromarray(picture) for picture in pictures]
  if len(images) == 1:
    scale = min(LONG_SIDE / max(images[0].size), 4.0)
    size = tuple(max(2 * round(side * scale / 2), 2) for side in images[0].size)
    return [np.asarray(images[0].resize(size, Image.Resampling.LANCZOS))]
  return [
      np.asarray(ImageOps.pad(image, SCREEN, Image.Resampling.LANCZOS))
      for image in images]


def write(
    path: str | os.PathLike, pictures: Sequence[np.ndarray],
    turns: Sequence[float], sound_path: str | os.PathLike, seconds: float):
  """Writes pictures and sound.

  Args:
    path: ends in `.mp4`.
    pictures: uint8 RGB [height, width, 3], one or more.
    turns: see `frame_at`.
    sound_path: the sound, as long.
    seconds: how long.

  Raises:
    ImportError, OSError: if there is no ffmpeg, or it fails.
  """
  ffmpeg = import_ffmpeg()
  pictures = fit(pictures)
  height, width = pictures[0].shape[:2]
  writer = ffmpeg.write_frames(
      os.fspath(path), (width, height), fps=FRAMES_PER_SECOND,
      codec='libx264', pix_fmt_out='yuv420p', quality=7, macro_block_size=2,
      audio_path=os.fspath(sound_path), audio_codec='aac',
      output_params=['-tune', 'stillimage', '-movflags', '+faststart'],
      ffmpeg_log_level='error')
  writer.send(None)
  try:
    for i in range(round(seconds * FRAMES_PER_SECOND)):
      frame = frame_at(pictures, turns, i / FRAMES_PER_SECOND)
      writer.send(np.ascontiguousarray(frame))
  finally:
    writer.close()
