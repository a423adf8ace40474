"""Pictures of the valence-arousal plane."""

import collections
import contextlib
import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence

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
INK = '#2b2d42'
_FAINT = '#8d90a5'
_TARGET_COLOR = '#d1495b'
_PIECE_COLOR = '#00798c'
# How many pieces the list beside the plane names; the plane shows all.
_MAX_LISTED = 8
# So many points the plane numbers and the list names; of more it shows where
# they crowd.
MAX_NAMED = 16
_MAX_NAME_LENGTH = 30
# Of each kind of points: color and marker.
_KINDS = {
    'picture': (_TARGET_COLOR, 'o'), 'midi': (_PIECE_COLOR, 's'),
    'audio': ('#7b5ea7', 'D')}
PART_COLORS = (_PIECE_COLOR, _TARGET_COLOR, '#7b5ea7', '#e9a03b', _FAINT)


@contextlib.contextmanager
def drawing(
    path: str | os.PathLike, width: float, height: float, *, dpi: int = 150,
    layout: str | None = 'constrained'):
  """A matplotlib figure that is written as a PNG when it is done.

  Args:
    path: the file; it is replaced if it exists, and whole or not there.
    width: in inches.
    height: likewise.
    dpi: pixels an inch.
    layout: how matplotlib places axes; None if they are added where they lie.
  """
  # pyplot would choose a window system and keep every figure.
  from matplotlib.figure import Figure

  figure = Figure(figsize=(width, height), dpi=dpi, layout=layout)
  yield figure
  with files.writing(pathlib.Path(path)) as temporary:
    figure.savefig(temporary, format='png')


def _soften(axes, label_size: float = 8):
  """Faint numbers and edges, without ticks."""
  axes.tick_params(colors=_FAINT, labelsize=label_size, length=0)
  for spine in axes.spines.values():
    spine.set_color('#e4e4ea')


def plot_va_plane(
    path: str | os.PathLike,
    *,
    target: VA,
    pieces: Sequence[VA] = (),
    picture: np.ndarray | None = None,
    spread: tuple[float, float] | None = None,
):
  """Writes a PNG of where the target lies and where the pieces came to lie.

  Args:
    path: the file; it is replaced if it exists.
    target: the VA asked for; with a picture, the picture's.
    pieces: estimated VA of each piece, numbered from 1.
    picture: uint8 RGB [height, width, 3], shown beside the plane.
    spread: standard deviations of valence and arousal about the target, shown
      as an ellipse.
  """
  with drawing(path, 8.4, 5.6, layout=None) as figure:
    axes = figure.add_axes((0.075, 0.105, 0.567, 0.85))
    _draw_plane(
        axes, target, pieces, 'picture' if picture is not None else 'target')
    if spread is not None:
      _draw_spread(axes, target, spread, _TARGET_COLOR)
    top = 0.955
    if picture is not None:
      top = _draw_picture(figure, picture, top)
    _draw_list(figure, target, pieces, top)


def plot_points(
    path: str | os.PathLike,
    *,
    points: Sequence[VA],
    names: Sequence[str],
    kinds: Sequence[str],
    spreads: Sequence[tuple[float, float] | None],
):
  """Writes a PNG of where many things lie.

  Up to `MAX_NAMED` points are numbered, and named beside the plane, and an
  ellipse shows the spread of each; of more their number in each quadrant is
  told.

  Args:
    path: the file; it is replaced if it exists.
    points: where they lie.
    names: of each point; of a long one the end is shown.
    kinds: of each point, 'picture', 'midi' or 'audio'.
    spreads: standard deviations of valence and arousal about each point; None
      where they are not known.
  """
  with warnings.catch_warnings():
    # Of characters that the font lacks, which become boxes.
    warnings.filterwarnings('ignore', 'Glyph .* missing', UserWarning)
    with drawing(path, 9.6, 5.6, layout=None) as figure:
      axes = figure.add_axes((0.066, 0.105, 0.496, 0.85))
      _draw_background(axes)
      styles = {kind: style for kind, style in _KINDS.items() if kind in kinds}
      if len(points) <= MAX_NAMED:
        for i, (point, kind, spread) in enumerate(
            zip(points, kinds, spreads, strict=True), 1):
          if spread is not None:
            _draw_spread(axes, point, spread, styles[kind][0])
          _draw_number(axes, i, point, *styles[kind])
        _draw_names(figure, points, names, [styles[kind][0] for kind in kinds])
        _draw_kinds(figure, styles, (0.6, 0.7, 0.78))
      else:
        _draw_crowd(axes, points, kinds, styles)
        _draw_counts(figure, points, kinds, styles)


def plot_saliency(
    path: str | os.PathLike,
    *,
    picture: np.ndarray,
    va: VA,
    saliency: np.ndarray,
):
  """Writes a PNG: a picture, and what its valence and its arousal hang on.

  Args:
    path: the file; it is replaced if it exists.
    picture: uint8 RGB [height, width, 3].
    va: the picture's estimate.
    saliency: not negative, [2, rows, columns], of valence and of arousal;
      stretched over the picture. Each map is drawn by its own largest value.
  """
  height, width = picture.shape[:2]
  # Panels of the picture's shape, as far as such a figure can be looked at.
  panel_width = 4.2 * min(1.0, max(0.35, width / height))
  panel_height = 4.2 * min(1.0, max(0.15, height / width))
  margin, head, foot = 0.15, 0.42, 0.36
  figure_width = max(3 * panel_width + 4 * margin, 7.2)
  figure_height = panel_height + head + foot
  with drawing(path, figure_width, figure_height, layout=None) as figure:
    gap = (figure_width - 3 * panel_width) / 4
    valence, arousal = _coordinates(va)
    gray = picture.mean(axis=2) / 255
    for i, title in enumerate(
        ('picture', f'valence {valence}', f'arousal {arousal}')):
      axes = figure.add_axes((
          (gap + i * (panel_width + gap)) / figure_width, foot / figure_height,
          panel_width / figure_width, panel_height / figure_height))
      axes.set_title(title, fontsize=11, color=INK)
      axes.set_axis_off()
      extent = (0, width, height, 0)
      if not i:
        axes.imshow(
            picture, aspect='auto', interpolation='antialiased', extent=extent)
        continue
      # The picture in gray, so that all color is the map's.
      axes.imshow(
          0.15 + 0.85 * gray, cmap='gray', vmin=0, vmax=1, aspect='auto',
          interpolation='antialiased', extent=extent)
      axes.imshow(
          saliency[i - 1], cmap='inferno', vmin=0,
          vmax=max(saliency[i - 1].max(), 1e-12), aspect='auto', alpha=0.6,
          interpolation='bilinear', extent=extent)
    figure.text(
        0.5, 0.4 * foot / figure_height,
        'bright: where a small change of the picture would change the estimate '
        'most', ha='center', va='center', fontsize=8.5, color=_FAINT)


def _draw_plane(axes, target: VA, pieces: Sequence[VA], target_name: str):
  from matplotlib import patheffects

  _draw_background(axes)
  for i, piece in enumerate(pieces, 1):
    axes.plot(
        (target.valence, piece.valence), (target.arousal, piece.arousal),
        color=_PIECE_COLOR, linewidth=1, linestyle=':', zorder=2)
    _draw_number(axes, i, piece, _PIECE_COLOR, 'o')
  axes.plot(
      target.valence, target.arousal, '*', markersize=26, color=_TARGET_COLOR,
      markeredgecolor='white', zorder=3, clip_on=False)
  # Beside the star, where there is room, and away from most pieces.
  side = -1 if target.valence > 0.6 else 1
  below = sum(piece.arousal - target.arousal for piece in pieces) > 0
  axes.annotate(
      target_name, (target.valence, target.arousal),
      (side * 13, -6 if below else 6), textcoords='offset points',
      ha='left' if side > 0 else 'right', va='top' if below else 'bottom',
      color=_TARGET_COLOR, fontsize=9, fontweight='bold', zorder=6,
      path_effects=[patheffects.withStroke(linewidth=2.5, foreground='white')])


def _draw_background(axes, with_names: bool = True):
  """The plane itself: quadrants (with their names), axes, labels."""
  from matplotlib import patches

  for quadrant, color in _QUADRANT_COLORS.items():
    right = quadrant in (Quadrant.Q1, Quadrant.Q4)
    top = quadrant in (Quadrant.Q1, Quadrant.Q2)
    axes.add_patch(patches.Rectangle(
        (0 if right else -1, 0 if top else -1), 1, 1, facecolor=color,
        zorder=0))
    if with_names:
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
  axes.set(
      xlim=(-1, 1), ylim=(-1, 1), aspect='equal',
      xlabel='valence: unpleasant to pleasant',
      ylabel='arousal: calm to excited',
      xticks=(-1, -0.5, 0, 0.5, 1), yticks=(-1, -0.5, 0, 0.5, 1))
  axes.xaxis.label.set_color(INK)
  axes.yaxis.label.set_color(INK)
  axes.tick_params(colors=_FAINT, labelsize=8, length=0)
  for spine in axes.spines.values():
    spine.set_visible(False)


def _draw_spread(axes, point: VA, spread: tuple[float, float], color: str):
  """The ellipse of one standard deviation."""
  from matplotlib.patches import Ellipse

  axes.add_patch(Ellipse(
      (point.valence, point.arousal), 2 * spread[0], 2 * spread[1],
      facecolor=color, alpha=0.08, edgecolor='none', zorder=1))


def _draw_number(axes, number: int, point: VA, color: str, marker: str):
  axes.plot(
      point.valence, point.arousal, marker, markersize=13, color=color,
      markeredgecolor='white', alpha=0.9, zorder=4, clip_on=False)
  axes.annotate(
      str(number), (point.valence, point.arousal), ha='center',
      va='center_baseline', color='white', fontsize=8, fontweight='bold',
      zorder=5)


def _draw_crowd(
    axes, points: Sequence[VA], kinds: Sequence[str], styles: dict):
  """All points, the smaller and fainter the more they are."""
  num = len(points)
  size = float(np.clip(4000 / num, 10, 60))
  alpha = float(np.clip(16 / num ** 0.5, 0.3, 0.8))
  coordinates = np.array([(p.valence, p.arousal) for p in points])
  for kind, (color, marker) in styles.items():
    of_kind = coordinates[[k == kind for k in kinds]]
    axes.scatter(
        *of_kind.T, s=size, marker=marker, color=color, alpha=alpha,
        linewidths=0, zorder=3, clip_on=False)


def _draw_kinds(figure, styles: dict, lefts: Sequence[float]):
  """The legend, in the first line of the right column."""
  from matplotlib import lines

  for (kind, (color, marker)), left in zip(
      styles.items(), lefts, strict=False):
    figure.add_artist(lines.Line2D(
        [left], [0.944], marker=marker, markersize=6, color=color))
    figure.text(left + 0.012, 0.955, kind, va='top', fontsize=9, color=color)


def _draw_names(
    figure, points: Sequence[VA], names: Sequence[str], colors: Sequence[str]):
  """The points' numbers, names and coordinates, right of the plane."""
  rows = [('', '', 'valence', 'arousal', _FAINT)]
  for i, (point, name, color) in enumerate(
      zip(points, names, colors, strict=True), 1):
    rows.append((str(i), name, *_coordinates(point), color))
  for i, (number, name, *values, color) in enumerate(rows):
    y = 0.955 - 0.048 * i
    figure.text(0.607, y, number, ha='right', va='top', fontsize=9,
                color=color, fontweight='bold')
    if len(name) > _MAX_NAME_LENGTH:  # A long path is told by its end.
      name = f'…{name[1 - _MAX_NAME_LENGTH:]}'
    text = figure.text(
        0.617, y, name, va='top', fontsize=9, color=INK, parse_math=False)
    while text.get_window_extent().x1 > 0.83 * figure.bbox.width:
      name = f'…{name[2:]}'
      text.set_text(name)
    for x, value in zip((0.9, 0.98), values, strict=True):
      figure.text(x, y, value, ha='right', va='top', fontsize=9,
                  color=INK if i else _FAINT)


def _draw_counts(
    figure, points: Sequence[VA], kinds: Sequence[str], styles: dict):
  """How many points of each kind there are in each quadrant."""
  counts = collections.Counter(
      (kind, point.quadrant) for kind, point in zip(kinds, points, strict=True))
  rights = np.linspace(0.975, 0.975 - 0.08 * (len(styles) - 1), len(styles))
  columns = dict(zip(styles, rights[::-1], strict=True))
  rows = [
      *((q.value, {k: counts[k, q] for k in styles}) for q in Quadrant),
      ('all', {k: kinds.count(k) for k in styles})]
  _draw_kinds(figure, styles, [x - 0.07 for x in columns.values()])
  for i, (name, values) in enumerate(rows, 1):
    y = 0.955 - 0.048 * i
    figure.text(0.6, y, name, va='top', fontsize=9, color=INK)
    for kind, x in columns.items():
      figure.text(x, y, f'{values[kind]:,}', ha='right', va='top', fontsize=9,
                  color=INK)


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
                  color=INK if i else _FAINT)


def _coordinates(va: VA) -> tuple[str, str]:
  return f'{va.valence:+.2f}', f'{va.arousal:+.2f}'


# Of evaluations.


_MAX_COLUMNS = 4


def plot_asked_against_obtained(
    path: str | os.PathLike,
    *,
    targets: np.ndarray,
    obtained: Mapping[str, np.ndarray],
):
  """Writes a PNG: for each system and axis what was asked and what came of it.

  Points are pieces, the line is their mean for each target of the axis, the
  band one standard deviation.

  Args:
    path: the file; it is replaced if it exists.
    targets: [num_targets, 2].
    obtained: by system, [num_seeds, num_targets, 2]; one at least.
  """
  with drawing(path, 2.6 * len(obtained) + 0.6, 5.6) as figure:
    panels = figure.subplots(2, len(obtained), squeeze=False, sharex=True,
                             sharey=True)
    rng = np.random.default_rng(0)
    for column, (name, points) in enumerate(obtained.items()):
      for i, axis in enumerate(('valence', 'arousal')):
        axes = panels[i, column]
        asked = np.broadcast_to(targets[:, i], points.shape[:2])
        got = points[..., i]
        axes.plot([-1, 1], [-1, 1], color=_FAINT, linewidth=0.8, linestyle=':')
        axes.scatter(
            asked + rng.uniform(-0.03, 0.03, asked.shape), got, s=3,
            alpha=float(np.clip(100 / got.size, 0.05, 0.5)), linewidths=0,
            color=_PIECE_COLOR)
        levels = np.unique(targets[:, i])
        mean = np.array([got[asked == level].mean() for level in levels])
        deviation = np.array([got[asked == level].std() for level in levels])
        axes.fill_between(
            levels, mean - deviation, mean + deviation, color=_PIECE_COLOR,
            alpha=0.2, linewidth=0)
        axes.plot(levels, mean, color=_TARGET_COLOR, linewidth=1.8)
        axes.set(xlim=(-1, 1), ylim=(-1, 1))
        _soften(axes, 7)
        if not i:
          axes.set_title(name, fontsize=10, color=INK, parse_math=False)
        else:
          axes.set_xlabel('asked', fontsize=8, color=INK)
        if not column:
          axes.set_ylabel(f'{axis} obtained', fontsize=9, color=INK)


def plot_arrows(
    path: str | os.PathLike,
    *,
    targets: np.ndarray,
    obtained: Mapping[str, np.ndarray],
):
  """Writes a PNG: planes with an arrow from each target to the mean result.

  Args:
    path: the file; it is replaced if it exists.
    targets: [num_targets, 2].
    obtained: by system, [num_seeds, num_targets, 2]; one at least.
  """
  columns = min(_MAX_COLUMNS, len(obtained))
  rows = -(-len(obtained) // columns)
  with drawing(path, 3.6 * columns, 3.7 * rows) as figure:
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(obtained):]:
      axes.set_axis_off()
    for axes, (name, points) in zip(panels, obtained.items(), strict=False):
      _draw_background(axes, with_names=False)
      mean = points.mean(axis=0)
      axes.quiver(
          *targets.T, *(mean - targets).T, angles='xy', scale_units='xy',
          scale=1, width=0.006, color=_PIECE_COLOR, zorder=3)
      axes.scatter(*targets.T, s=10, color=_TARGET_COLOR, zorder=4)
      axes.set_title(name, fontsize=10, color=INK, parse_math=False)
      axes.set(xlabel='valence', ylabel='arousal')


def plot_pictures(
    path: str | os.PathLike,
    *,
    rated: np.ndarray,
    judged: np.ndarray,
    titles: Sequence[str],
):
  """Writes a PNG: where people place pictures and a judge their music.

  Args:
    path: the file; it is replaced if it exists.
    rated: [n, 2], people's ratings.
    judged: [n, 2], of each picture's music, the mean of all seeds.
    titles: of the panels of valence, arousal and the plane.
  """
  with drawing(path, 12.4, 4.6) as figure:
    panels = figure.subplots(1, 3)
    for i, axis in enumerate(('valence', 'arousal')):
      axes = panels[i]
      axes.plot([-1, 1], [-1, 1], color=_FAINT, linewidth=0.8, linestyle=':')
      axes.scatter(
          rated[:, i], judged[:, i], s=14, alpha=0.6, linewidths=0,
          color=_PIECE_COLOR)
      axes.set(
          xlim=(-1, 1), ylim=(-1, 1), aspect='equal',
          xlabel=f'{axis} of the picture, rated by people',
          ylabel=f'{axis} of its music, judged')
      _soften(axes)
    axes = panels[2]
    _draw_background(axes, with_names=False)
    for picture, music in zip(rated, judged, strict=True):
      axes.plot(*zip(picture, music, strict=True), color=_FAINT, linewidth=0.6,
                alpha=0.6, zorder=2)
    for points, color, label in (
        (rated, _TARGET_COLOR, 'picture, rated'),
        (judged, _PIECE_COLOR, 'its music, judged')):
      axes.scatter(*points.T, s=12, color=color, zorder=3, label=label)
    axes.legend(loc='lower left', frameon=False, fontsize=8, labelcolor=INK)
    for axes, title in zip(panels, titles, strict=True):
      axes.set_title(title, fontsize=9, color=INK)


def plot_curves(
    path: str | os.PathLike,
    *,
    curves: Mapping[str, Mapping[str, np.ndarray]],
):
  """Writes a PNG: how alike bars are that lie so many bars apart.

  Args:
    path: the file; it is replaced if it exists.
    curves: by system and by kind, the mean similarity at lags of 1, 2 and so on
      bars; one system at least, all of the same kinds. The last is drawn as
      what the others are measured by.
  """
  kinds = list(next(iter(curves.values())))
  with drawing(path, 4.6 * len(kinds), 3.6) as figure:
    panels = figure.subplots(1, len(kinds), squeeze=False)[0]
    *others, last = curves
    for axes, kind in zip(panels, kinds, strict=True):
      for i, name in enumerate([*others, last]):
        values = curves[name][kind]
        style = (
            {'color': INK, 'linestyle': '--'} if name == last else
            {'color': PART_COLORS[i % len(PART_COLORS)]})
        axes.plot(
            range(1, len(values) + 1), values, marker='.', label=name, **style)
      axes.set(ylim=(0, 1), xlabel='bars apart')
      axes.set_ylabel(f'similarity of {kind}', color=INK)
      _soften(axes)
    panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)


def plot_piano_rolls(path: str | os.PathLike, rolls: Mapping[str, object]):
  """Writes a PNG: pieces as piano rolls below one another, louder is darker.

  Each part has a color of its own; drums are ticks below the pitches, higher
  for higher General MIDI keys; chord symbols stand above.

  Args:
    path: the file; it is replaced if it exists.
    rolls: `note_seq.NoteSequence`s with notes, by what they are called.
  """
  height = 1.9 * len(rolls)
  with drawing(path, 8.4, height, layout=None) as figure:
    for row, (name, sequence) in enumerate(rolls.items()):
      axes = figure.add_axes((
          0.075, (0.5 + 1.9 * (len(rolls) - 1 - row)) / height,
          0.895, 1.25 / height))
      _draw_roll(axes, sequence)
      axes.set_ylabel(
          name, rotation=0, color=_PIECE_COLOR, fontweight='bold', labelpad=14)
    axes.set_xlabel('seconds', color=INK)


def _draw_roll(axes, sequence):
  pitches = [note.pitch for note in sequence.notes if not note.is_drum]
  low, high = min(pitches) - 2, max(pitches) + 2
  if any(note.is_drum for note in sequence.notes):
    low -= 10
  parts = sorted({n.instrument for n in sequence.notes if not n.is_drum})
  for note in sequence.notes:
    loudness = 0.25 + note.velocity / 170
    if note.is_drum:
      # General MIDI's drums are the keys 35..81.
      y = low + 1 + (note.pitch - 35) / 46 * 8
      axes.plot(note.start_time, y, '|', markersize=3, color=INK,
                alpha=loudness)
      continue
    axes.barh(
        note.pitch, note.end_time - note.start_time, left=note.start_time,
        height=0.8, alpha=loudness,
        color=PART_COLORS[parts.index(note.instrument) % len(PART_COLORS)])
  for annotation in sequence.text_annotations:
    if annotation.annotation_type == annotation.CHORD_SYMBOL:
      axes.text(annotation.time, high + 0.5, annotation.text, fontsize=6,
                color=INK)
  octaves = [pitch for pitch in range(0, 128, 12) if min(pitches) - 2 < pitch
             < high]
  axes.set(xlim=(0, sequence.total_time), ylim=(low, high), yticks=octaves)
  axes.set_yticklabels([f'C{pitch // 12 - 1}' for pitch in octaves])
  axes.grid(axis='y', color='#e4e4ea')
  axes.set_axisbelow(True)
  _soften(axes)
