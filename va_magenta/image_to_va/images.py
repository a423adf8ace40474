"""Picture files as arrays: whatever people throw at us, or one clear line.

`load_image` answers with what a viewer would show (first frame, turned the way
EXIF says, on white where transparent) in bounded memory.
"""

import functools
import math
import os
import warnings

import numpy as np
from PIL import Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from va_magenta import files

# Named one by one because Pillow also opens formats that run other programs
# (EPS runs Ghostscript).
FORMATS = ('JPEG', 'PNG', 'GIF', 'WEBP', 'TIFF', 'BMP', 'PPM', 'AVIF',
           'JPEG2000')
# What may have to be decoded at once, in pixels (Pillow's own limit): at four
# bytes each, 0.7 GB. A baseline JPEG counts as it is decoded, at down to 1/8 of
# its width and height, so any of them can be read.
MAX_PIXELS = 178_956_970
LONG_SIDE = 1024
MAX_FRAMES = 64
_STRIP_ROWS = 256


@functools.cache
def formats() -> tuple[str, ...]:
  """`FORMATS`, and HEIF (HEIC) where pillow-heif is installed."""
  try:
    import pillow_heif
  except ImportError:
    return FORMATS
  pillow_heif.register_heif_opener()
  return *FORMATS, 'HEIF'


def load_image(path: str | os.PathLike) -> np.ndarray:
  """Reads a picture as a viewer would show it.

  Of an animation the first frame is read; transparency is laid on white; EXIF
  rotation is applied. Gray of 16 bits is scaled to 8; gray of 32 bits or of
  floats, which has no white of its own, from its lowest value to its highest. A
  picture whose long side is over `LONG_SIDE` is reduced to it.

  Args:
    path: a picture file of one of `formats()`, whatever its name ends in.

  Returns:
    uint8 RGB [height, width, 3], each side 1..`LONG_SIDE`.

  Raises:
    FileNotFoundError, IsADirectoryError, PermissionError, OSError: if there is
      no file that can be read to its end at `path`.
    ValueError: if the file is empty, not a picture, or over `MAX_PIXELS`.
  """
  return _load(path)[0]


def load_frames(path: str | os.PathLike, num_frames: int) -> list[np.ndarray]:
  """Reads frames of an animated picture, evenly from the first to the last.

  Args:
    path: as of `load_image`; GIF, WEBP, PNG, AVIF and TIFF can have frames.
    num_frames: how many, 2..`MAX_FRAMES`; all there are if they are fewer.

  Returns:
    Each as of `load_image`.

  Raises:
    OSError, ValueError: as of `load_image`; or if there is but one frame, or
      `num_frames` is out of range.
  """
  if not 2 <= num_frames <= MAX_FRAMES:
    raise ValueError(f'frames must lie in 2..{MAX_FRAMES}, got {num_frames}')
  frames = _load(path, num_frames)
  if len(frames) < 2:
    raise ValueError(f'{path} is not animated: it has one frame')
  return frames


def _load(
    path: str | os.PathLike, num_frames: int | None = None,
) -> list[np.ndarray]:
  path = files.local(path)
  if path.is_dir():
    raise IsADirectoryError(f'{path} is a folder, not a picture')
  if not path.exists():
    raise FileNotFoundError(f'there is no picture at {path}')
  if not path.is_file():
    raise ValueError(f'{path} is not a regular file')
  if path.stat().st_size == 0:
    raise ValueError(f'{path} is empty (0 bytes), not a picture')
  with path.open('rb') as file, warnings.catch_warnings():
    # Pillow warns about large pictures (the limit is ours) and odd metadata.
    warnings.simplefilter('ignore')
    try:
      picture = _open(file)
    except UnidentifiedImageError:
      raise ValueError(
          f'{path} is not a picture (of {", ".join(formats())})'
          + _heif_hint(path)) from None
    except Image.DecompressionBombError:
      raise ValueError(_too_large(path)) from None
    except Exception as error:  # pylint: disable=broad-except
      raise OSError(_damaged(path, error)) from error
    with picture:
      if picture.width * picture.height > MAX_PIXELS:
        raise ValueError(_too_large(path, picture.size))
      try:
        if num_frames is None:
          return [_decode(picture)]
        last = getattr(picture, 'n_frames', 1) - 1
        frames = []
        for i in np.unique(np.linspace(0, last, num_frames).round()):
          picture.seek(int(i))
          frames.append(_decode(picture))
        return frames
      except MemoryError:
        raise ValueError(
            f'{path} does not fit in memory ({picture.width} x '
            f'{picture.height} pixels)') from None
      # A damaged file makes Pillow's decoders raise nearly anything (OSError,
      # SyntaxError, IndexError, struct.error, zlib.error, ...).
      except Exception as error:  # pylint: disable=broad-except
        raise OSError(_damaged(path, error)) from error


def _heif_hint(path) -> str:
  """What HEIC needs, where a file is one and cannot be read."""
  with path.open('rb') as file:
    is_heif = file.read(12)[4:] in (b'ftypheic', b'ftypheix', b'ftypmif1')
  return '; for HEIC: pip install pillow-heif' if is_heif else ''


def _open(file) -> Image.Image:
  """Opens without decoding; a baseline JPEG at a fraction of its size."""
  try:
    picture = Image.open(file, formats=formats())
  except Image.DecompressionBombError:
    # Pillow's limit does not know that a JPEG can be decoded small.
    file.seek(0)
    try:
      picture = JpegImagePlugin.JpegImageFile(file)
    except SyntaxError:
      picture = None
    if picture is None:
      raise
  # The decoder of a progressive JPEG holds the whole picture at any scale, so
  # it gains no memory from being decoded small.
  if not picture.info.get('progressive'):
    picture.draft(None, (LONG_SIDE, LONG_SIDE))
  return picture


def _decode(picture: Image.Image) -> np.ndarray:
  """The pixels, reduced strip by strip so that no second full copy exists."""
  picture.load()
  exif = picture.info.get('exif')
  levels = _levels(picture)
  width, height = picture.size
  factor = max(1, max(width, height) // LONG_SIDE)
  reduced = Image.new(
      'RGB', (math.ceil(width / factor), math.ceil(height / factor)))
  rows = factor * _STRIP_ROWS
  for top in range(0, height, rows):
    strip = picture.crop((0, top, width, min(top + rows, height)))
    reduced.paste(_to_rgb(strip, levels).reduce(factor), (0, top // factor))
  if max(reduced.size) > LONG_SIDE:
    scale = LONG_SIDE / max(reduced.size)
    reduced = reduced.resize(
        [max(1, round(scale * side)) for side in reduced.size],
        Image.Resampling.BICUBIC)
  if exif:
    reduced.info['exif'] = exif
    try:
      reduced = ImageOps.exif_transpose(reduced)
    except Exception:  # pylint: disable=broad-except
      pass  # Broken metadata does not make the pixels unreadable.
  return np.array(reduced)


def _levels(picture: Image.Image) -> tuple[float, float] | None:
  """(black, white) levels of gray that is deeper than 8 bits, or None."""
  if picture.mode.startswith('I;16'):
    return 0, 65535
  if picture.mode == 'I':
    black, white = picture.getextrema()
    # Some formats' 16 bits arrive as 32.
    return (0, 65535) if black >= 0 and 255 < white <= 65535 else (black, white)
  if picture.mode == 'F':
    levels = np.asarray(picture)
    levels = levels[np.isfinite(levels)]
    return (levels.min(), levels.max()) if levels.size else (0, 1)
  return None


def _to_rgb(
    picture: Image.Image, levels: tuple[float, float] | None) -> Image.Image:
  if levels is not None:
    black, white = levels
    gray = np.nan_to_num(np.asarray(picture, np.float32), nan=black)
    gray = (gray - black) / max(white - black, 1e-12)
    picture = Image.fromarray(np.uint8(np.rint(255 * gray.clip(0, 1))))
  elif picture.has_transparency_data:
    picture = picture.convert('RGBA')
    background = Image.new('RGBA', picture.size, 'white')
    picture = Image.alpha_composite(background, picture)
  return picture.convert('RGB')


def _too_large(path, size=None) -> str:
  has = f'{size[0]} x {size[1]} pixels' if size else 'too many pixels'
  return (
      f'{path} has {has}: at most {MAX_PIXELS:,} can be read; make it smaller')


def _damaged(path, error: Exception) -> str:
  reason = ' '.join(str(error).split()) or type(error).__name__
  return f'{path} is damaged or cut short: {reason}'
