"""Pictures of the valence-arousal plane."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import files
from va_magenta.va import VA, Quadrant

# Clockwise from the top left, as the quadrants lie on the plane.
_QUADRANT_COLORS = {
    Quadrant.Q2: '#fbe3dc',
    Quadrant.Q1: '#fdf3d0',
    Quadrant.Q4: '#dff0e1',
    Quadrant.Q3: '#dde7f4',
}
_INK = '#2b2d42'
_FAINT = '#8d90a5'
_TARGET_COLOR = '#d1495b'
_PIECE_COLOR = '#00798c'
# How many pieces the list beside the plane names; the plane shows all.
_MAX_LISTED = 8
_DPI = 150


def plot_va_plane(
    path: str | os.PathLike,
    *,
    target: VA,
    pieces: Sequence[VA] = (),
    picture: np.ndarray | None = None,
):
  """Writes a PNG of where the target lies and where the pieces came to lie.

  Args:
    path: the file; it is replaced if it exists.
    target: the VA asked for; with a picture, the picture's.
    pieces: estimated VA of each piece, numbered from 1.
    picture: uint8 RGB [height, width, 3], shown beside the plane.
  """
  # pyplot would choose a window system and keep every figure.
  from matplotlib.figure import Figure

  figure = Figure(figsize=(8.4, 5.6), dpi=_DPI, facecolor='white')
  _draw_plane(
      figure.add_axes((0.075, 0.105, 0.567, 0.85)), target, pieces,
      'picture' if picture is not None else 'target')
  top = 0.955
  if picture is not None:
    top = _draw_picture(figure, picture, top)
  _draw_list(figure, target, pieces, top)
  with files.writing(pathlib.Path(path)) as temporary:
    figure.savefig(temporary, format='png')


def _draw_plane(axes, target: VA, pieces: Sequence[VA], target_name: str):
  from matplotlib import patches, patheffects

  for quadrant, color in _QUADRANT_COLORS.items():
    right = quadrant in (Quadrant.Q1, Quadrant.Q4)
    top = quadrant in (Quadrant.Q1, Quadrant.Q2)
    axes.add_patch(patches.Rectangle(
        (0 if right else -1, 0 if top else -1), 1, 1, facecolor=color,
        zorder=0))
    axes.text(
        0.96 if right else -0.96, 0.95 if top else -0.95, quadrant.value,
        ha='right' if right else 'left', va='top' if top else 'bottom',
        fontsize=8, color=_FAINT, zorder=1)
  for radius in (0.5, 1):
    axes.add_patch(patches.Circle(
        (0, 0), radius, fill=False, edgecolor='white', linewidth=1.2,
        zorder=1))
  axes.axhline(0, color=_FAINT, linewidth=0.8, zorder=1)
  axes.axvline(0, color=_FAINT, linewidth=0.8, zorder=1)
  for i, piece in enumerate(pieces, 1):
    axes.plot(
        (target.valence, piece.valence), (target.arousal, piece.arousal),
        color=_PIECE_COLOR, linewidth=1, linestyle=':', zorder=2)
    axes.plot(
        piece.valence, piece.arousal, 'o', markersize=13, color=_PIECE_COLOR,
        markeredgecolor='white', alpha=0.9, zorder=4, clip_on=False)
    axes.annotate(
        str(i), (piece.valence, piece.arousal), ha='center',
        va='center_baseline', color='white', fontsize=8, fontweight='bold',
        zorder=5)
  axes.plot(
      target.valence, target.arousal, '*', markersize=26, color=_TARGET_COLOR,
      markeredgecolor='white', zorder=3, clip_on=False)
  # Beside the star, on the side where there is room.
  side = -1 if target.valence > 0.6 else 1
  axes.annotate(
      target_name, (target.valence, target.arousal), (side * 13, 6),
      textcoords='offset points', ha='left' if side > 0 else 'right',
      color=_TARGET_COLOR, fontsize=9, fontweight='bold', zorder=6,
      path_effects=[patheffects.withStroke(linewidth=2.5, foreground='white')])
  axes.set(
      xlim=(-1, 1), ylim=(-1, 1), aspect='equal',
      xlabel='valence: unpleasant to pleasant',
      ylabel='arousal: calm to excited',
      xticks=(-1, -0.5, 0, 0.5, 1), yticks=(-1, -0.5, 0, 0.5, 1))
  axes.xaxis.label.set_color(_INK)
  axes.yaxis.label.set_color(_INK)
  axes.tick_params(colors=_FAINT, labelsize=8, length=0)
  for spine in axes.spines.values():
    spine.set_visible(False)


def _draw_picture(figure, picture: np.ndarray, top: float) -> float:
  """Draws the picture into the right column; returns where it ends."""
  height, width = picture.shape[:2]
  left, box_width, box_height = 0.685, 0.285, 0.42
  figure_width, figure_height = figure.get_size_inches()
  scale = min(
      box_width * figure_width / width, box_height * figure_height / height)
  size = (width * scale / figure_width, height * scale / figure_height)
  axes = figure.add_axes((left, top - size[1], *size))
  axes.imshow(picture, aspect='auto', interpolation='antialiased')
  axes.set(xticks=(), yticks=())
  for spine in axes.spines.values():
    spine.set(edgecolor=_TARGET_COLOR, linewidth=1.5)
  return top - size[1] - 0.045


def _draw_list(figure, target: VA, pieces: Sequence[VA], top: float):
  """Writes the coordinates into the right column, from `top` down."""
  from matplotlib import lines

  rows = [('', 'valence', 'arousal', 'distance', _FAINT)]
  rows += [('★', *_coordinates(target), '', _TARGET_COLOR)]
  rows += [
      (str(i), *_coordinates(piece), f'{piece.distance(target):.2f}',
       _PIECE_COLOR) for i, piece in enumerate(pieces[:_MAX_LISTED], 1)
  ]
  if len(pieces) > _MAX_LISTED:
    rows += [(f'and {len(pieces) - _MAX_LISTED} more', '', '', '', _FAINT)]
  for i, (name, *values, color) in enumerate(rows):
    y = top - 0.048 * i
    if name == '★':  # Not every font has it.
      figure.add_artist(lines.Line2D(
          [0.692], [y - 0.012], marker='*', markersize=11, color=color))
    else:
      figure.text(0.685, y, name, va='top', fontsize=9, color=color,
                  fontweight='bold' if name.isdigit() else 'normal')
    for x, value in zip((0.785, 0.878, 0.97), values, strict=True):
      figure.text(x, y, value, ha='right', va='top', fontsize=9,
                  color=_INK if i else _FAINT)


def _coordinates(va: VA) -> tuple[str, str]:
  return f'{va.valence:+.2f}', f'{va.arousal:+.2f}'
