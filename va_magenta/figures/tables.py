"""Tables in Markdown, and figures with their spread, as cards show them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from va_magenta.figures import metrics


def table(rows: Mapping[str, Mapping[str, str]], corner: str = '') -> str:
  """A line a row, a column a figure.

  Args:
    rows: by name, cells by the name of their column; all rows have the same.
    corner: head of the first column.
  """
  names = next(iter(rows.values()))
  corner = f'| {corner} | ' if corner else '| | '
  return '\n'.join([
      corner + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|',
      *(f'| {row} | ' + ' | '.join(cells.values()) + ' |'
        for row, cells in rows.items())])


def table_of_columns(columns: Mapping[str, Mapping[str, str]]) -> str:
  """A line a figure, a column a set of figures; arguments as of `table`."""
  return table({
      name: {column: cells[name] for column, cells in columns.items()}
      for name in next(iter(columns.values()))})


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A Markdown table whose columns stand under each other in plain text."""
  lines = [list(header), *map(list, rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  lines.insert(1, ['-' * width for width in widths])
  return '\n'.join(
      '| ' + ' | '.join(
          text.ljust(width) for text, width in zip(
              line, widths, strict=True)) + ' |' for line in lines)


def plus_minus(values: np.ndarray, digits: int = 3) -> str:
  """Mean and standard deviation over folds."""
  return f'{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}'


def bootstrap(figure: Callable[..., float], *columns: np.ndarray) -> str:
  """A figure of rows, with its standard deviation over 200 resamples of them.

  Args:
    figure: made of columns, [n, ...] each.
    *columns: of the rows.
  """
  spread = metrics.bootstrap(figure, *columns, num_draws=200)
  return f'{figure(*columns):.3f} ± {spread:.3f}'
