"""Piano rolls of bands beside one another, for the eye."""

import os
from collections.abc import Mapping

import numpy as np

from va_magenta.figures import plots
from va_magenta.music import grid, measures

_INK, _FAINT, _LINE = '#2b2d42', '#8d90a5', '#e4e4ea'
_MELODY, _BASS, _COMPING = '#00798c', '#d1495b', '#7b5ea7'
_DPI = 110


def plot(path: str | os.PathLike, bands: Mapping[str, np.ndarray]):
  """Writes a PNG: sets of pieces as piano rolls, a column each.

  Each voice has a color of its own; comping's chords and tones are ticks, drums
  are ticks below, higher for higher kinds.

  Args:
    path: the file; it is replaced if it exists.
    bands: tokens [pieces, steps, 4] by what they are called; see
      `music.band`.
  """
  num_rows = max(map(len, bands.values()))
  with plots.drawing(
      path, 7 * len(bands), 1.1 * num_rows + 0.4, dpi=_DPI) as figure:
    panels = figure.subplots(num_rows, len(bands), squeeze=False)
    for column, (name, pieces) in enumerate(bands.items()):
      panels[0, column].set_title(name, color=_INK, fontsize=11)
      for row in range(num_rows):
        if row < len(pieces):
          _draw_band(panels[row, column], np.asarray(pieces[row], int))
        else:
          panels[row, column].set_axis_off()


def _draw_band(axes, tokens):
  """One piece [steps, 4]; a line every bar, a thicker one every four."""
  low, high = 200, 0
  for voice, color in (
      (measures.BASS, _BASS), (measures.MELODY, _MELODY)):
    starts, lengths, pitches = measures.line(tokens[:, voice]).T
    if len(starts):
      axes.barh(
          pitches, lengths - 0.2, left=starts, height=1.2, color=color)
      low, high = min(low, pitches.min()), max(high, pitches.max())
  if low > high:
    low = high = 60
  comping = tokens[:, measures.COMPING]
  for of_kind, size in ((comping == 2, 6), (comping > 2, 3)):
    steps = np.flatnonzero(of_kind)
    axes.plot(
        steps, np.full(len(steps), low - 5), '|', markersize=size,
        color=_COMPING)
  steps, kinds = np.nonzero(tokens[:, measures.DRUMS, None] >> np.arange(9) & 1)
  axes.plot(steps, low - 19 + kinds, '|', markersize=1.5, color=_INK)
  for bar in range(0, len(tokens) + 1, grid.STEPS_PER_BAR):
    is_fourth = bar % (4 * grid.STEPS_PER_BAR) == 0
    axes.axvline(
        bar, color=_FAINT if is_fourth else _LINE, linewidth=0.6, zorder=0)
  axes.set(
      xlim=(0, len(tokens)), ylim=(low - 21, high + 2), xticks=[], yticks=[])
  for spine in axes.spines.values():
    spine.set_visible(False)
