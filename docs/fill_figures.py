r"""Fills the figures in README.md, docs/ and the cards from stored reports.

  python docs/fill_figures.py          fills them
  python docs/fill_figures.py --check  fails where a text and a report differ
  python docs/fill_figures.py --store=docs/reports/band.json OUT/report.json
                                       keeps what a command wrote, then fills

A place for a figure is marked by two comments, between which this writes:

  <!-- figure: docs/reports/band.json; judge; valence r; .2f -->0.87<!-- / -->
  <!-- figure: checkpoints/X/README.md; ridge; valence/r2 -->0.36<!-- / -->

The first takes a number, or one with its spread ({"mean": .., "sd": ..}), from
a JSON file, by its keys, in a format of Python's. The second takes the cell of
a table in a card, by row and column: cards are written by the commands that
make the checkpoints. After the path, `#Heading` says in which section; a format
after the column rounds the cell's numbers.

Every file in docs/reports has a `command`, which prints its figures. `--store`
leaves that as it is, and takes from the JSON file that the command wrote the
figures that texts name, to four decimals.
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
TEXTS = ('*.md', 'docs/*.md', 'checkpoints/*/README.md', 'datasets/*/README.md')
_PLACE = re.compile(r'<!-- figure: (.+?) -->(.*?)<!-- / -->', re.DOTALL)
_NUMBER = re.compile(r'-?\d*\.\d+')
_FORMAT = re.compile(r'\+?\.\d+[f%]|,d|d')


def filled(text: str, root: pathlib.Path = ROOT) -> str:
  """A text with its figures as the reports have them.

  Raises:
    ValueError: if a report, or a figure in it, is missing.
  """
  return _PLACE.sub(
      lambda match:
      f'<!-- figure: {match[1]} -->{figure(match[1], root)}<!-- / -->', text)


def figure(place: str, root: pathlib.Path = ROOT) -> str:
  """What stands at a place, such as 'docs/reports/a.json; r; .2f'."""
  source, *keys = (part.strip() for part in place.split(';'))
  source, _, heading = source.partition('#')
  path = root / source
  if not path.is_file():
    raise ValueError(f'{place}: there is no report {source}')
  form = keys.pop() if keys and _FORMAT.fullmatch(keys[-1]) else None
  if path.suffix == '.md':
    if len(keys) != 2:
      raise ValueError(f'{place}: of a table, give a row and a column')
    cell = _cell(
        _section(path.read_text(encoding='utf-8'), heading), *keys, place)
    return cell if form is None else _NUMBER.sub(
        lambda number: format(float(number[0]), form), cell)
  report = json.loads(path.read_text(encoding='utf-8'))
  if not isinstance(report.get('command'), str):
    raise ValueError(f'{source} does not say by which command it was made')
  for key in keys:
    try:
      report = report[int(key) if isinstance(report, list) else key]
    except (KeyError, IndexError, TypeError, ValueError):
      raise ValueError(f'{place}: the report has no {key!r}') from None
  if isinstance(report, dict) and 'mean' in report:
    parts = [report['mean'], report.get('sd')]
  else:
    parts = [report]
  if not all(isinstance(part, int | float) for part in parts[:1]):
    raise ValueError(f'{place}: that is no number')
  return ' ± '.join(
      format(part, form or '') for part in parts if part is not None)


def _section(text: str, heading: str) -> str:
  """What is below a heading, up to the next of any level."""
  if not heading:
    return text
  parts = re.split(r'^#+ (.+)$', text, flags=re.MULTILINE)
  return ''.join(
      body for name, body in zip(parts[1::2], parts[2::2], strict=True)
      if name == heading)


def _cell(text: str, row: str, column: str, place: str) -> str:
  """The only cell that a row and a column of one table have."""
  found, header = [], None
  for line in text.splitlines():
    if not line.startswith('|'):
      header = None
      continue
    cells = [
        _PLACE.sub(lambda match: match[2], cell).strip()
        for cell in line.strip().strip('|').split('|')]
    if header is None:
      header = cells
    elif cells[0] == row and column in header:
      found.append(cells[header.index(column)])
  if len(found) != 1:
    raise ValueError(
        f'{place}: {len(found)} tables have that row and column, not one')
  return found[0]


def store(name: str, written: pathlib.Path, root: pathlib.Path = ROOT):
  """Takes the figures that texts name from what a command wrote.

  Args:
    name: of the report, such as 'docs/reports/band.json'; it has a `command`.
    written: the JSON file that this command wrote.
    root: of the texts.

  Raises:
    ValueError: if a figure is missing.
  """
  found = json.loads(written.read_text(encoding='utf-8'))
  report = {'command': json.loads(
      (root / name).read_text(encoding='utf-8'))['command']}
  for path in texts(root):
    for place in _PLACE.findall(path.read_text(encoding='utf-8')):
      source, *keys = (part.strip() for part in place[0].split(';'))
      if source != name:
        continue
      if _FORMAT.fullmatch(keys[-1]):
        keys.pop()
      if keys[-1] in ('mean', 'sd'):
        keys.pop()
      value, into = found, report
      try:
        for key in keys:
          value = value[key]
      except (KeyError, TypeError):
        raise ValueError(f'{written} has no {"; ".join(keys)}') from None
      for key in keys[:-1]:
        into = into.setdefault(key, {})
      into[keys[-1]] = {
          part: round(value[part], 4) for part in ('mean', 'sd')
          if value.get(part) is not None
      } if isinstance(value, dict) else round(value, 4)
  (root / name).write_text(
      json.dumps(report, indent=1, ensure_ascii=False) + '\n',
      encoding='utf-8')


def texts(root: pathlib.Path = ROOT) -> list[pathlib.Path]:
  """All that may have figures."""
  return sorted(path for glob in TEXTS for path in root.glob(glob))


def main(arguments: list[str]) -> int:
  """Fills or checks all texts; returns the exit code."""
  if len(arguments) == 2 and arguments[0].startswith('--store='):
    try:
      store(arguments[0].partition('=')[2], pathlib.Path(arguments[1]))
    except (OSError, ValueError, KeyError) as error:
      print(error, file=sys.stderr)
      return 1
    arguments = []
  if arguments not in ([], ['--check']):
    print(__doc__, file=sys.stderr)
    return 1
  code = 0
  for path in texts(ROOT):
    text = path.read_text(encoding='utf-8')
    name = path.relative_to(ROOT)
    try:
      wanted = filled(text)
    except ValueError as error:
      print(f'{name}: {error}', file=sys.stderr)
      code = 1
      continue
    if wanted == text:
      continue
    if arguments:
      code = 1
      for old, new in zip(
          _PLACE.finditer(text), _PLACE.finditer(wanted), strict=True):
        if old[2] != new[2]:
          print(f'{name}: {old[1]}: the text has {old[2]!r}, the report '
                f'{new[2]!r}; run docs/fill_figures.py', file=sys.stderr)
    else:
      path.write_text(wanted, encoding='utf-8')
      print(f'filled {name}')
  return code


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
