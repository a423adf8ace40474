"""The picture of the plane shows what it was given, where it lies."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from va_magenta.evaluation import plots
from va_magenta.va import VA

TARGET_RGB = (209, 73, 91)
PIECE_RGB = (0, 121, 140)


def _plot(path, **kwargs):
  plots.plot_va_plane(path, **kwargs)
  with Image.open(path) as image:
    assert image.format == 'PNG'
    return np.asarray(image.convert('RGB')).astype(int)


def _where(pixels, rgb, columns=slice(0, 810)):
  """Mean (x, y) in pixels of a color in the plane's part of the figure."""
  match = np.abs(pixels[:, columns] - rgb).max(-1) < 20
  y, x = match.nonzero()
  return np.array([x.mean(), y.mean()])


def test_points_lie_where_their_coordinates_say(tmp_path):
  without = _plot(tmp_path / 'b.png', target=VA(0, 0))

  def marker(valence, arousal):
    pixels = _plot(
        tmp_path / 'a.png', target=VA(0, 0), pieces=[VA(valence, arousal)])
    changed = np.abs(pixels - without).max(-1) > 0
    y, x = (
        changed & (np.abs(pixels - PIECE_RGB).max(-1) < 40))[:, :820].nonzero()
    # The disc, not the dotted line to it, has most of the pixels.
    return np.median(x), np.median(y)

  x, y = marker(0.5, 0.5)
  x_left, y_left = marker(-0.5, 0.5)
  x_below, y_below = marker(0.5, -0.5)
  assert y_left == pytest.approx(y, abs=4)
  assert x_below == pytest.approx(x, abs=4)
  # Rows count downwards, arousal upwards.
  assert x - x_left == pytest.approx(y_below - y, abs=8)
  assert x - x_left > 300


def test_target_moves_with_its_coordinates(tmp_path):
  low = _where(_plot(tmp_path / 'a.png', target=VA(-0.5, -0.5)), TARGET_RGB)
  high = _where(_plot(tmp_path / 'b.png', target=VA(0.5, 0.5)), TARGET_RGB)
  assert high[0] > low[0] + 300
  assert high[1] < low[1] - 300


@pytest.mark.parametrize('shape', [(30, 40), (400, 20), (1, 1), (20, 700)])
def test_picture_is_shown_whole(tmp_path, shape):
  picture = np.full((*shape, 3), (10, 200, 30), np.uint8)
  pixels = _plot(tmp_path / 'a.png', target=VA(0, 0), picture=picture)
  y, x = (np.abs(pixels - (10, 200, 30)).max(-1) < 3).nonzero()
  width, height = np.ptp(x) + 1, np.ptp(y) + 1
  scale = max(width, height) / max(shape)
  # The frame hides a few pixels.
  assert width == pytest.approx(shape[1] * scale, abs=8)
  assert height == pytest.approx(shape[0] * scale, abs=8)
  assert x.min() > 820  # Beside the plane.


def test_points_on_the_edge_and_many_pieces(tmp_path):
  pieces = [VA(np.cos(a), np.sin(a)) for a in np.linspace(0, 6, 40)]
  pixels = _plot(tmp_path / 'a.png', target=VA(1, 1), pieces=pieces)
  # Nothing is cut off: the border of the figure stays white.
  assert (pixels[[0, -1]] == 255).all()
  assert (pixels[:, [0, -1]] == 255).all()


def test_failure_leaves_no_file(tmp_path):
  with pytest.raises(AttributeError):
    plots.plot_va_plane(tmp_path / 'a.png', target=None)
  assert not list(tmp_path.iterdir())


def test_no_window_system_is_touched(tmp_path):
  code = ('import sys; from va_magenta.evaluation import plots; '
          'from va_magenta.va import VA; '
          f'plots.plot_va_plane({str(tmp_path / "a.png")!r}, target=VA(0, 0)); '
          'print("matplotlib.pyplot" in sys.modules)')
  assert subprocess.check_output([sys.executable, '-c', code]) == b'False\n'
