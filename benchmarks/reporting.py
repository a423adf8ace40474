"""What benchmarks measured, as a report that the texts take figures from.

Every benchmark whose figures stand in a text has the flag `--report`; with
`--report=docs/reports/benchmarks.json` they come there, beside those of the
others, and docs/fill_figures.py writes them into the texts.
"""

import json
import pathlib
import sys
from collections.abc import Mapping

from absl import flags

_REPORT = flags.DEFINE_string(
    'report', None, 'JSON file that the figures are added to, in place of '
    'those of an earlier run.')


def add(figures: Mapping, run: str | None = None):
  """Adds a benchmark's figures to the report that `--report` names, if any.

  Args:
    figures: numbers by name.
    run: the name of these, of a benchmark that is run several times.
  """
  if _REPORT.value is None:
    return
  path, script = pathlib.Path(_REPORT.value), pathlib.Path(sys.argv[0])
  report = json.loads(path.read_text()) if path.exists() else {
      'command': 'python benchmarks/NAME.py --report, see the command of each'}
  # Where somebody's files are is nobody's business.
  arguments = [
      argument for argument in sys.argv[1:]
      if not argument.startswith(('--report', '--midi_dir'))]
  found = {
      'command': ' '.join(['python', f'benchmarks/{script.name}', *arguments]),
      **{name: round(float(value), 4) if isinstance(value, float) else value
         for name, value in figures.items()}}
  if run is None:
    report[script.stem] = found
  else:
    report.setdefault(script.stem, {})[run] = found
  path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + '\n')
