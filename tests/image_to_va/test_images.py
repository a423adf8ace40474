"""Every kind of picture file that people have, made here."""

import io
import resource
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from va_magenta.image_to_va import images


def ramp(height=40, width=60):
  """A smooth uint8 RGB picture that differs in every direction."""
  y, x = np.mgrid[0:height, 0:width]
  return np.stack(
      [255 * x / (width - 1), 255 * y / (height - 1), 0 * x + 90],
      axis=-1).round().astype(np.uint8)


def assert_close(actual, expected, tolerance):
  assert actual.dtype == np.uint8
  assert actual.shape == expected.shape
  difference = np.abs(actual.astype(int) - expected.astype(int))
  assert difference.mean() <= tolerance


def bare_png(path, width, height):
  """A valid PNG header of any size with no pixels to speak of."""
  def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack(
        '>I', zlib.crc32(name + data))
  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  path.write_bytes(
      b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
      + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b''))


@pytest.mark.parametrize('name, tolerance', [
    ('a.png', 0), ('a.bmp', 0), ('a.tiff', 0), ('a.ppm', 0), ('a.jpg', 3),
    ('a.webp', 4), ('a.avif', 4), ('a.jp2', 3), ('upper.JPEG', 3),
])
def test_formats(tmp_path, name, tolerance):
  Image.fromarray(ramp()).save(tmp_path / name)
  assert_close(images.load_image(tmp_path / name), ramp(), tolerance)
  assert_close(images.load_image(str(tmp_path / name)), ramp(), tolerance)


def test_the_name_does_not_decide_the_format(tmp_path):
  Image.fromarray(ramp()).save(tmp_path / 'png.jpg', 'PNG')
  assert_close(images.load_image(tmp_path / 'png.jpg'), ramp(), 0)


@pytest.mark.parametrize('suffix', ['gif', 'webp', 'png'])
def test_first_frame_of_an_animation(tmp_path, suffix):
  colors = ('red', 'lime', 'blue')
  frames = [Image.new('RGB', (30, 20), color) for color in colors]
  path = tmp_path / f'a.{suffix}'
  frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
  expected = np.full((20, 30, 3), (255, 0, 0), np.uint8)
  assert_close(images.load_image(path), expected, 2)


def test_cmyk(tmp_path):
  path = tmp_path / 'cmyk.jpg'
  Image.fromarray(ramp()).convert('CMYK').save(path, quality=95)
  assert_close(images.load_image(path), ramp(), 4)


def test_gray_of_8_bits_and_of_1(tmp_path):
  gray = ramp()[:, :, 0]
  Image.fromarray(gray).save(tmp_path / '8.png')
  assert_close(
      images.load_image(tmp_path / '8.png'), np.dstack([gray] * 3), 0)
  black_and_white = np.where(gray > 127, 255, 0).astype(np.uint8)
  Image.fromarray(black_and_white).convert('1').save(tmp_path / '1.png')
  assert_close(
      images.load_image(tmp_path / '1.png'), np.dstack([black_and_white] * 3),
      0)


@pytest.mark.parametrize('suffix', ['png', 'tiff'])
def test_gray_of_16_bits_is_scaled_not_clipped(tmp_path, suffix):
  gray = np.linspace(0, 65535, 60).astype(np.uint16)[None].repeat(40, axis=0)
  path = tmp_path / f'a.{suffix}'
  Image.fromarray(gray).save(path)
  expected = np.dstack([np.rint(gray / 257).astype(np.uint8)] * 3)
  assert_close(images.load_image(path), expected, 0.01)


def test_gray_of_floats_is_stretched(tmp_path):
  gray = np.linspace(-2, 6, 60, dtype=np.float32)[None].repeat(40, axis=0)
  Image.fromarray(gray).save(tmp_path / 'a.tiff')
  pixels = images.load_image(tmp_path / 'a.tiff')
  assert pixels.min() == 0 and pixels.max() == 255
  assert_close(pixels, np.dstack([ramp()[:, :, 0]] * 3), 1)


def test_transparency_is_laid_on_white(tmp_path):
  rgba = np.dstack([ramp(), np.full((40, 60), 255, np.uint8)])
  rgba[:20, :, 3] = 0
  rgba[20:30, :, 3] = 128
  expected = ramp()
  expected[:20] = 255
  expected[20:30] = np.rint(
      255 + (ramp()[20:30] - 255.0) * 128 / 255).astype(np.uint8)
  for suffix in ('png', 'tiff'):
    Image.fromarray(rgba).save(tmp_path / f'a.{suffix}')
    assert_close(images.load_image(tmp_path / f'a.{suffix}'), expected, 0.6)
  Image.fromarray(rgba).convert('LA').save(tmp_path / 'la.png')
  gray = images.load_image(tmp_path / 'la.png')
  assert (gray[:20] == 255).all() and gray[30:].mean() < 200


def test_palettes_opaque_and_transparent(tmp_path):
  palette = Image.fromarray(
      np.repeat([[0, 1, 2]], 20, axis=0).astype(np.uint8), mode=None)
  palette = palette.convert('P')
  palette.putpalette([255, 0, 0, 0, 0, 255, 9, 9, 9])
  palette.save(tmp_path / 'opaque.png')
  pixels = images.load_image(tmp_path / 'opaque.png')
  assert pixels[0].tolist() == [[255, 0, 0], [0, 0, 255], [9, 9, 9]]
  for suffix in ('png', 'gif'):
    palette.save(tmp_path / f'a.{suffix}', transparency=2)
    pixels = images.load_image(tmp_path / f'a.{suffix}')
    assert pixels[0].tolist() == [[255, 0, 0], [0, 0, 255], [255, 255, 255]]


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp', 'tiff'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_rotation(tmp_path, suffix, orientation):
  exif = Image.Exif()
  exif[0x0112] = orientation
  upright = ramp()
  as_stored = {
      1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1],
      4: upright[::-1], 5: upright.swapaxes(0, 1),
      6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1),
      8: np.rot90(upright, -1),
  }[orientation]
  path = tmp_path / f'a.{suffix}'
  Image.fromarray(np.ascontiguousarray(as_stored)).save(path, exif=exif)
  assert_close(images.load_image(path), upright, 5)


def test_broken_exif_does_not_hide_the_pixels(tmp_path):
  Image.fromarray(ramp()).save(tmp_path / 'a.jpg', exif=b'Exif\0\0' + b'x' * 9)
  assert_close(images.load_image(tmp_path / 'a.jpg'), ramp(), 3)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('size', [(20_000, 30), (20_000, 1500), (7, 20_000)])
def test_very_wide_pictures_are_reduced(tmp_path, suffix, size):
  path = tmp_path / f'a.{suffix}'
  Image.linear_gradient('L').rotate(90).resize(size).save(path)
  pixels = images.load_image(path)
  height, width, _ = pixels.shape
  assert max(height, width) == images.LONG_SIDE
  assert width / height == pytest.approx(
      size[0] / size[1], rel=2 if min(size) < 100 else 0.02)
  if size[0] == 20_000:  # The gradient is still there, from side to side.
    columns = pixels.mean(axis=(0, 2))
    assert abs(columns[0] - columns[-1]) > 240


def test_reducing_is_seamless_across_strips(tmp_path):
  Image.fromarray(ramp(2600, 2100)).save(tmp_path / 'a.png')
  pixels = images.load_image(tmp_path / 'a.png')
  assert_close(pixels, ramp(1024, 827), 1)


def test_just_above_the_long_side(tmp_path):
  Image.fromarray(ramp(700, 1025)).save(tmp_path / 'a.png')
  assert_close(images.load_image(tmp_path / 'a.png'), ramp(699, 1024), 1)


def test_a_png_bomb_is_one_line_and_no_memory(tmp_path):
  bare_png(tmp_path / 'bomb.png', 60_000, 60_000)
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  with pytest.raises(ValueError, match='178,956,970') as error:
    images.load_image(tmp_path / 'bomb.png')
  assert '\n' not in str(error.value)
  after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  assert after - before < 50_000  # kilobytes


_READ_IN_LITTLE_MEMORY = '''
import resource, sys
from va_magenta.image_to_va import images
limit = 700 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(images.load_image(sys.argv[1]).shape)
'''


def test_a_jpeg_over_the_limit_is_decoded_small(tmp_path):
  # 300 megapixels: 1.2 GB if it were decoded in full.
  Image.new('L', (20_000, 15_000), 77).save(tmp_path / 'a.jpg')
  done = subprocess.run(
      [sys.executable, '-c', _READ_IN_LITTLE_MEMORY, tmp_path / 'a.jpg'],
      capture_output=True, text=True, check=False)
  assert done.stdout.strip() == '(768, 1024, 3)', done.stderr


@pytest.mark.parametrize('content, message', [
    (b'', 'is empty'),
    (b'Dear diary, today was a text file.\n', 'is not a picture'),
    (b'\xff\xd8\xff', 'is not a picture'),
    (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n',
     'is not a picture'),
])
def test_not_a_picture(tmp_path, content, message):
  path = tmp_path / 'text.jpg'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=message) as error:
    images.load_image(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
    'suffix', ['jpg', 'png', 'gif', 'webp', 'tiff', 'bmp', 'ppm', 'avif',
               'jp2'])
@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_cut_short(tmp_path, suffix, share):
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (80, 90, 3), np.uint8)
  whole = io.BytesIO()
  Image.fromarray(noise).save(
      whole, {'jpg': 'JPEG', 'jp2': 'JPEG2000'}.get(suffix, suffix.upper()))
  path = tmp_path / f'cut.{suffix}'
  path.write_bytes(whole.getvalue()[:int(share * whole.tell())])
  with pytest.raises((ValueError, OSError)) as error:
    images.load_image(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)


def test_missing_and_folder_and_device(tmp_path):
  with pytest.raises(FileNotFoundError, match='no picture at .*none.jpg'):
    images.load_image(tmp_path / 'none.jpg')
  with pytest.raises(IsADirectoryError, match='is a folder'):
    images.load_image(tmp_path)
  with pytest.raises(ValueError, match='not a regular file'):
    images.load_image('/dev/zero')


def test_random_damage_never_escapes(tmp_path):
  rng = np.random.default_rng(1)
  for suffix in ('jpg', 'png', 'gif', 'tiff', 'webp'):
    whole = tmp_path / f'whole.{suffix}'
    Image.fromarray(ramp()).save(whole)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    path = tmp_path / f'damaged.{suffix}'
    for _ in range(40):
      damaged = content.copy()
      where = rng.integers(0, len(content), 8)
      damaged[where] = rng.integers(0, 256, 8)
      path.write_bytes(damaged.tobytes())
      try:
        assert images.load_image(path).ndim == 3
      except (ValueError, OSError) as error:
        assert '\n' not in str(error)


def _save_clip(path, num=9, **kwargs):
  """An animation that goes from black to white."""
  frames = [
      Image.new('RGB', (40, 30), (i * 255 // (num - 1),) * 3)
      for i in range(num)]
  frames[0].save(path, save_all=True, append_images=frames[1:], **kwargs)


@pytest.mark.parametrize('name', ['clip.gif', 'clip.webp', 'clip.png'])
def test_frames_from_first_to_last(name, tmp_path):
  _save_clip(tmp_path / name)
  frames = images.load_frames(tmp_path / name, 3)
  assert [frame.shape for frame in frames] == [(30, 40, 3)] * 3
  np.testing.assert_allclose(
      [frame.mean() for frame in frames], [0, 127, 255], atol=3)
  # No more than there are.
  assert len(images.load_frames(tmp_path / name, 64)) == 9
  np.testing.assert_array_equal(
      images.load_image(tmp_path / name), frames[0])


def test_frames_that_cannot_be_had(tmp_path):
  Image.new('RGB', (9, 9)).save(tmp_path / 'still.gif')
  with pytest.raises(ValueError, match='is not animated: it has one frame'):
    images.load_frames(tmp_path / 'still.gif', 4)
  for num in (1, 65):
    with pytest.raises(ValueError, match=r'frames must lie in 2\.\.64'):
      images.load_frames(tmp_path / 'still.gif', num)


def test_heic(tmp_path, monkeypatch):
  pillow_heif = pytest.importorskip('pillow_heif')
  images.formats()
  path = tmp_path / 'photo.heic'
  pillow_heif.from_pillow(Image.new('RGB', (64, 48), (200, 40, 10))).save(path)
  picture = images.load_image(path)
  assert picture.shape == (48, 64, 3)
  assert np.abs(picture.mean(axis=(0, 1)) - (200, 40, 10)).max() < 6
  monkeypatch.setattr(images, 'formats', lambda: images.FORMATS)
  with pytest.raises(ValueError, match='for HEIC: pip install pillow-heif'):
    images.load_image(path)
