"""The picture of the plane shows what it was given, where it lies."""

import subprocess
import sys

import note_seq
import numpy as np
import pytest
from PIL import Image

from va_magenta.figures import plots
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
  code = ('import sys; from va_magenta.figures import plots; '
          'from va_magenta.va import VA; '
          f'plots.plot_va_plane({str(tmp_path / "a.png")!r}, target=VA(0, 0)); '
          'print("matplotlib.pyplot" in sys.modules)')
  assert subprocess.check_output([sys.executable, '-c', code]) == b'False\n'


def _plot_points(path, points, kinds=None, names=None, spreads=None):
  plots.plot_points(
      path, points=points, names=names or [f'{i}.jpg' for i in range(
          len(points))], kinds=kinds or ['picture'] * len(points),
      spreads=spreads or [None] * len(points))
  with Image.open(path) as image:
    assert image.format == 'PNG'
    return np.asarray(image.convert('RGB')).astype(int)


def _middle(pixels, rgb):
  """Median (x, y) of about a color in the plane, left of the list."""
  y, x = (np.abs(pixels[:, :820] - rgb).max(-1) < 50).nonzero()
  return np.array([np.median(x), np.median(y)])


@pytest.mark.parametrize('draw', [
    lambda path, spread: _plot_points(path, [VA(0, 0)], spreads=[spread]),
    lambda path, spread: _plot(path, target=VA(0, 0), spread=spread)])
def test_an_ellipse_shows_a_spread(tmp_path, draw):
  plain = draw(tmp_path / 'a.png', None)
  wide = draw(tmp_path / 'b.png', (0.5, 0.2))
  y, x = (np.abs(wide - plain).max(axis=-1) > 2).nonzero()
  assert np.ptp(x) / np.ptp(y) == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize('num', [1, 30])
def test_each_kind_of_point_lies_where_it_should(tmp_path, num):
  """Few points are numbered, many are a crowd; both lie in their places."""
  def places(valence, arousal):
    pixels = _plot_points(
        tmp_path / 'a.png',
        [VA(valence, arousal)] * num + [VA(-valence, -arousal)] * num,
        ['picture'] * num + ['midi'] * num)
    return _middle(pixels, TARGET_RGB), _middle(pixels, PIECE_RGB)

  picture, midi = places(0.4, 0.6)
  assert picture[0] - midi[0] == pytest.approx(0.8 * 357, abs=6)
  assert midi[1] - picture[1] == pytest.approx(1.2 * 357, abs=6)
  picture, midi = places(-0.4, -0.6)
  assert midi[0] - picture[0] == pytest.approx(0.8 * 357, abs=6)
  assert picture[1] - midi[1] == pytest.approx(1.2 * 357, abs=6)


def test_a_thousand_points_are_a_crowd_and_not_a_list(tmp_path):
  rng = np.random.default_rng(0)
  points = [VA(*xy) for xy in rng.uniform(-1, 1, (1000, 2))]
  pixels = _plot_points(tmp_path / 'a.png', points)
  plane = pixels[100:700, 120:780]
  tinted = (np.abs(plane - TARGET_RGB).max(-1) < 110).mean()
  # Neither nothing nor one red square.
  assert 0.02 < tinted < 0.4
  assert (pixels[[0, -1]] == 255).all()
  assert (pixels[:, [0, -1]] == 255).all()


def _ink(pixels, rows=slice(None)):
  return (pixels[rows, 860:] < 200).all(-1).sum()


def test_names_are_listed_up_to_a_number(tmp_path):
  points = [VA(0, 0)] * plots.MAX_NAMED
  long_names = ['a long name of a picture.jpg'] * plots.MAX_NAMED
  short = _plot_points(tmp_path / 'a.png', points)
  long = _plot_points(tmp_path / 'b.png', points, names=long_names)
  assert _ink(long) > 1.5 * _ink(short)
  # One more, and there are counts instead.
  more = _plot_points(
      tmp_path / 'c.png', [*points, VA(0, 0)], names=[*long_names, 'a'])
  again = _plot_points(tmp_path / 'd.png', [*points, VA(0, 0)])
  np.testing.assert_array_equal(more, again)


def test_names_of_any_kind_stay_in_the_figure(tmp_path, recwarn):
  names = ['絵' * 100, 'x' * 300, '$\\frac{1}{', '$x_', '%s {} \\n']
  pixels = _plot_points(tmp_path / 'a.png', [VA(0, 0)] * 5, names=names)
  assert (pixels[:, [0, -1]] == 255).all()
  # What the dollar signs enclose is no formula, so that it is drawn as it is.
  assert not recwarn.list


@pytest.mark.parametrize('shape', [(60, 80), (400, 20), (1, 1), (20, 700)])
def test_saliency_is_bright_where_it_is_large(tmp_path, shape):
  maps = np.zeros((2, 40, 40))
  maps[0, :20, :20] = 1e-4  # valence: top left
  maps[1, 20:, 20:] = 1e-5  # arousal: bottom right
  picture = np.full((*shape, 3), (10, 200, 30), np.uint8)
  plots.plot_saliency(
      tmp_path / 'a.png', picture=picture, va=VA(0.5, -0.5), saliency=maps)
  with Image.open(tmp_path / 'a.png') as image:
    pixels = np.asarray(image.convert('RGB')).astype(int)
  y, x = (np.abs(pixels - (10, 200, 30)).max(-1) < 3).nonzero()
  width, height = np.ptp(x) + 1, np.ptp(y) + 1
  assert x.max() < pixels.shape[1] / 2
  # The picture's panel is repeated for both axes, at equal distances.
  step = (pixels.shape[1] - 1 - x.min() - x.max()) // 2
  for panel, bright in ((1, (0, 0)), (2, (1, 1))):
    quarters = np.array([[
        pixels[y.min() + row * height // 4, x.min() + panel * step
               + column * width // 4].sum() for column in (1, 3)]
                         for row in (1, 3)])
    assert np.unravel_index(quarters.argmax(), (2, 2)) == bright
    assert quarters.max() > 1.3 * np.sort(quarters, axis=None)[-2]


def test_saliency_of_nothing_is_drawn(tmp_path):
  plots.plot_saliency(
      tmp_path / 'a.png', picture=np.zeros((30, 40, 3), np.uint8), va=VA(0, 0),
      saliency=np.zeros((2, 8, 8)))
  with Image.open(tmp_path / 'a.png') as image:
    assert image.format == 'PNG'


def _pixels(path):
  with Image.open(path) as image:
    assert image.format == 'PNG'
    return np.asarray(image.convert('RGB')).astype(int)


TARGETS = np.array([(v, a) for v in (-.6, 0, .6) for a in (-.6, 0, .6)])


def test_an_oracle_is_a_diagonal_and_what_does_not_listen_is_flat(tmp_path):
  def extent(obtained):
    plots.plot_asked_against_obtained(
        tmp_path / 'a.png', targets=TARGETS, obtained={'name $x': obtained})
    y, x = (np.abs(
        _pixels(tmp_path / 'a.png') - TARGET_RGB).max(-1) < 40).nonzero()
    above = y < y.min() + (y.max() - y.min()) / 2
    return np.ptp(y[above]), np.ptp(x)

  height, width = extent(TARGETS[None])
  assert height > .5 * width
  height, width = extent(np.zeros((2, 9, 2)))
  assert height < .1 * width


@pytest.mark.parametrize('num_systems', [1, 3])
def test_arrows_lead_from_targets(tmp_path, num_systems):
  def arrows(obtained):
    plots.plot_arrows(
        tmp_path / 'a.png', targets=TARGETS,
        obtained={str(i): obtained for i in range(num_systems)})
    return (np.abs(
        _pixels(tmp_path / 'a.png') - PIECE_RGB).max(-1) < 40).sum()

  assert arrows(np.zeros((3, 9, 2))) > 3 * arrows(TARGETS[None])


def test_pictures_and_their_music(tmp_path):
  plots.plot_pictures(
      tmp_path / 'a.png', rated=TARGETS, judged=TARGETS * .5,
      titles=['valence: r 1.00', 'arousal', 'the plane'])
  pixels = _pixels(tmp_path / 'a.png')
  for color in (TARGET_RGB, PIECE_RGB):
    assert (np.abs(pixels - color).max(-1) < 40).any()


def test_curves_are_as_high_as_what_is_alike(tmp_path):
  def height(level):
    plots.plot_curves(tmp_path / 'a.png', curves={
        'a $system': {'rhythm': np.full(15, level), 'pitch': np.full(15, .5)},
        'people': {kind: np.full(15, .5) for kind in ('rhythm', 'pitch')}})
    pixels = _pixels(tmp_path / 'a.png')
    y, x = (np.abs(pixels - PIECE_RGB).max(-1) < 40).nonzero()
    left = x < pixels.shape[1] // 2
    # Not the legend, which is short.
    return max(set(y[left]), key=y[left].tolist().count)

  assert height(.1) > height(.3) > height(.9)


def test_a_piano_roll_is_as_full_as_its_music(tmp_path):

  def inked(num_notes, **changes):
    sequence = note_seq.NoteSequence(total_time=8)
    sequence.notes.add(
        pitch=60, start_time=0, end_time=.1, velocity=100, instrument=9)
    for i in range(num_notes):
      sequence.notes.add(**{
          'pitch': 60 + i, 'start_time': i, 'end_time': i + 1, 'velocity': 127,
          **changes})
    plots.plot_piano_rolls(tmp_path / 'a.png', {'a $piece': sequence})
    return (np.abs(
        _pixels(tmp_path / 'a.png') - PIECE_RGB).max(-1) < 40).sum()

  assert inked(8) > inked(4) > inked(1)
  # Drums have another color, and no pitch.
  assert inked(8, is_drum=True, pitch=36) < inked(1)


def test_piano_rolls_stand_below_one_another(tmp_path):
  sequence = note_seq.NoteSequence(total_time=1)
  sequence.notes.add(pitch=60, start_time=0, end_time=1, velocity=100)
  heights = []
  for names in ('1', '1234'):
    plots.plot_piano_rolls(tmp_path / 'a.png', dict.fromkeys(names, sequence))
    heights.append(_pixels(tmp_path / 'a.png').shape[0])
  assert heights[1] == 4 * heights[0]
