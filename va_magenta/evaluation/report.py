"""What an evaluation found, as text, as JSON and as a page to listen to."""

import html
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from va_magenta import files
from va_magenta.figures import tables

# Columns of the first table: heading, figure, whether more is better.
HEADLINES = (
    ('valence r', 'valence/pearson_r', True),
    ('arousal r', 'arousal/pearson_r', True),
    ('valence CCC', 'valence/ccc', True),
    ('arousal CCC', 'arousal/ccc', True),
    ('valence MAE', 'valence/mae', False),
    ('arousal MAE', 'arousal/mae', False),
    ('quadrant', 'quadrant_accuracy', True),
    ('distance', 'distance', False),
)
CONTROL = tuple(
    (f'{axis} {name}', f'{axis}/{name}', True)
    for name in ('consistency', 'restrictiveness', 'linearity')
    for axis in ('valence', 'arousal'))
HALF_PLANES = tuple(
    (axis, f'{axis}/half_plane_accuracy', True)
    for axis in ('valence', 'arousal'))
# What a baseline may not be better in without being named.
DECISIVE = HEADLINES[:2] + HEADLINES[6:]
_QUADRANT_COLORS = ('#fdf3d0', '#fbe3dc', '#dde7f4', '#dff0e1')  # Q1 to Q4.


def spread(values) -> dict[str, float]:
  """Mean and standard deviation of a figure over seeds, as the report says.

  Args:
    values: [num_seeds]; the deviation of one seed is NaN.
  """
  values = np.asarray(values, float)
  return {
      'mean': float(values.mean()),
      'sd': float(values.std(ddof=1)) if len(values) > 1 else float('nan')}


def cell(
    figure: Mapping[str, float] | float | None, decimals: int = 2) -> str:
  """'0.72 ± 0.03'; a dash for what is undefined."""
  if figure is None:
    return '–'
  if not isinstance(figure, Mapping):
    figure = {'mean': figure, 'sd': float('nan')}
  if not math.isfinite(figure['mean']):
    return '–'
  mean = round(figure['mean'], decimals) + 0.0  # No '-0.00'.
  text = f'{mean:.{decimals}f}'
  if math.isfinite(figure['sd']):
    text += f' ± {figure["sd"]:.{decimals}f}'
  return text


def systems_table(
    found: Mapping[str, Mapping], columns: Sequence[tuple],
    decimals: int = 2) -> str:
  """A row a system, of figures as `spread` gives them."""
  return tables.aligned(
      ['', *(heading for heading, _, _ in columns)],
      [[name, *(cell(figures.get(figure), decimals)
                for _, figure, _ in columns)]
       for name, figures in found.items()])


def winners(found: Mapping[str, Mapping], asked: str) -> list[str]:
  """What to say of systems that are better than the one that was asked for.

  Args:
    found: figures as `spread` gives them, by system.
    asked: the system that the others are baselines of.
  """
  lines = []
  for heading, figure, more_is_better in DECISIVE:
    sign = 1 if more_is_better else -1
    own = found[asked][figure]['mean']
    better = [
        f'{name} ({figures[figure]["mean"]:.2f})'
        for name, figures in found.items()
        if sign * figures[figure]['mean'] > sign * own]  # NaN is not.
    if better:
      lines.append(
          f'{heading}: better than {asked} ({own:.2f}) are '
          f'{", ".join(better)}')
  return lines


def _finite(value):
  """JSON knows no NaN."""
  if isinstance(value, Mapping):
    return {str(k): _finite(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(v) for v in value]
  if isinstance(value, np.generic | np.ndarray):
    return _finite(value.tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  if isinstance(value, os.PathLike):
    return os.fspath(value)
  return value


def write_json(path: pathlib.Path, content: Mapping):
  """Writes a JSON file; numpy's numbers become JSON's, NaN becomes null."""
  with files.writing(path) as temporary:
    temporary.write_text(json.dumps(
        _finite(content), indent=1, allow_nan=False, ensure_ascii=False) + '\n')


# The page.


def page(
    title: str, text: str, images: Sequence[str],
    grids: Mapping[str, Sequence[Mapping]]) -> str:
  """An HTML page with tables, plots, and music on the plane to listen to.

  Args:
    title: of the page.
    text: shown as it is, in columns.
    images: names of files beside the page.
    grids: by system, of each piece `target` and `judged` (valence, arousal),
      `midi` and, if there is one, `wav` (paths relative to the page), `roll`
      (SVG). Their targets form a grid.
  """
  parts = [
      f'<!doctype html><html lang="en"><meta charset="utf-8">'
      f'<title>{html.escape(title)}</title><style>{_STYLE}</style>',
      f'<h1>{html.escape(title)}</h1><pre>{html.escape(text)}</pre>',
      *(f'<img src="{html.escape(name)}" alt="{html.escape(name)}">'
        for name in images)]
  for i, (name, pieces) in enumerate(grids.items()):
    parts.append(
        f'<details{"" if i else " open"}><summary>{html.escape(name)}</summary>'
        f'{_grid(pieces)}</details>')
  return '\n'.join(parts) + '\n</html>\n'


def _grid(pieces: Sequence[Mapping]) -> str:
  columns = sorted({piece['target'][0] for piece in pieces})
  rows = sorted({piece['target'][1] for piece in pieces}, reverse=True)
  at = {tuple(piece['target']): piece for piece in pieces}
  lines = ['<p>Up: arousal. Right: valence. Small: where it was judged to be.'
           '</p><table>']
  for arousal in rows:
    cells = [f'<th>{arousal:+.2f}</th>']
    for valence in columns:
      cells.append(_cell(at[valence, arousal]))
    lines.append(f'<tr>{"".join(cells)}</tr>')
  lines.append(
      '<tr><th></th>' + ''.join(f'<th>{v:+.2f}</th>' for v in columns)
      + '</tr></table>')
  return '\n'.join(lines)


def _cell(piece: Mapping) -> str:
  valence, arousal = piece['target']
  quadrant = (0 if arousal >= 0 else 3) if valence >= 0 else (
      1 if arousal >= 0 else 2)
  audio = ''
  if piece.get('wav'):
    audio = f'<audio controls preload="none" src="{piece["wav"]}"></audio>'
  judged = '{:+.2f} {:+.2f}'.format(*piece['judged'])
  return (
      f'<td style="background:{_QUADRANT_COLORS[quadrant]}">'
      f'<a href="{piece["midi"]}">{piece["roll"]}</a>{audio}'
      f'<small>{judged}</small></td>')


_STYLE = (
    'body{font:14px sans-serif;color:#2b2d42;margin:2em}'
    'pre{overflow-x:auto}img{max-width:100%;display:block;margin:1em 0}'
    'td{padding:3px;text-align:center}th{font-weight:normal;color:#8d90a5}'
    'audio{width:110px;height:26px;display:block}small{display:block}'
    'summary{font-size:17px;margin:1em 0;cursor:pointer}')
