"""Imports point one way, wherever in a file they stand."""

import ast
import collections
import pathlib

import pytest

_PACKAGE = pathlib.Path(__file__).parents[1] / 'va_magenta'
_TRANSLATORS = {'image_to_va', 'music_to_va', 'va_to_music'}
# What every room may use; none of it knows a room.
_GROUND = {
    'va', 'files', 'trees', 'processes', 'quiet', 'checkpoints',
    'magenta_compat'}
# What else each room may use.
_BELOW = {
    'music': set(),
    'figures': set(),
    **{room: {'music', 'figures'} for room in _TRANSLATORS},
    'composing': {'music', 'figures'} | _TRANSLATORS,
    'evaluation': {
        'music', 'figures', 'composing', 'training', 'generation'
    } | _TRANSLATORS,
    # Who makes weights measures them; who measures trains what is compared.
    'training': {'music', 'figures', 'evaluation'} | _TRANSLATORS,
    'app': {
        'music', 'figures', 'composing', 'generation', 'command'
    } | _TRANSLATORS,
}
# What users have, beside the commands that train and evaluate.
_SHIPS = (
    'generation', 'prediction', 'app.page', 'va_magenta_generate',
    'va_magenta_predict', 'va_magenta_label', 'va_magenta_export',
    'va_magenta_app', 'va_magenta_build_lakh_va')


def _name(path):
  parts = path.relative_to(_PACKAGE).with_suffix('').parts
  return '.'.join(part for part in parts if part != '__init__')


_PATHS = {_name(path): path for path in _PACKAGE.rglob('*.py')}


def imports(source: str) -> set[str]:
  """Modules of the package, less its name, that a file imports."""
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, 'a relative import'
      names = [f'{node.module}.{alias.name}' for alias in node.names]
    else:
      continue
    for name in names:
      package, _, name = name.partition('.')
      while package == 'va_magenta' and name:
        if name in _PATHS:
          found.add(name)
          break
        name = name.rpartition('.')[0]
  return found


_IMPORTS = {name: imports(path.read_text()) for name, path in _PATHS.items()}


def _room(module):
  return module.partition('.')[0]


def test_imports_are_found_wherever_they_stand():
  assert imports('''
from va_magenta import VA, va
from va_magenta.music.midi import read
import numpy, va_magenta.files
def f():
  from va_magenta.training import symbolic as other
''') == {'va', 'music.midi', 'files', 'training.symbolic'}


@pytest.mark.parametrize('room', sorted(
    path.name for path in _PACKAGE.iterdir()
    if (path / '__init__.py').exists()))
def test_a_room_knows_only_those_below(room):
  above = {
      f'{module} imports {other}' for module, others in _IMPORTS.items()
      if _room(module) == room for other in others
      if _room(other) not in {room} | _GROUND | _BELOW[room]}
  assert not above


def test_the_ground_knows_no_room():
  assert not {
      f'{module} imports {other}' for module in _GROUND
      for other in _IMPORTS[module] if other not in _GROUND}


def test_nobody_imports_a_command():
  assert not {
      f'{module} imports {other}' for module, others in _IMPORTS.items()
      for other in others if other.startswith('va_magenta_')}


@pytest.mark.parametrize('module', _SHIPS)
def test_what_ships_never_imports_training(module):
  came_from = {module: None}
  queue = collections.deque(came_from)
  while queue:
    module = queue.popleft()
    for other in _IMPORTS[module] - came_from.keys():
      came_from[other] = module
      queue.append(other)
  assert not {
      f'{came_from[other]} imports {other}' for other in came_from
      if _room(other) == 'training'}
