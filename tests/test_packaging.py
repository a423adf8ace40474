"""What is installed: names, files, commands, dependencies, and the lock."""

import ast
import configparser
import csv
import importlib.metadata
import io
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
# Folder in the repository of each package.
PACKAGE_FOLDERS = {
    'va_magenta': 'va_magenta',
    'va_magenta/weights': 'checkpoints',
    'va_magenta/datasets': 'datasets',
}
COMMANDS = sorted(
    path.stem for path in (ROOT / 'va_magenta').glob('va_magenta_*.py'))
PYTHONS = ('3.10', '3.11', '3.12')
_VERSION = '0.2.0'
HEAVY = {'tensorflow', 'keras', 'note_seq', 'librosa', 'magenta', 'gradio'}


def _python(*args, cwd=None):
  """Runs Python and gives its output; an error is this test's."""
  done = subprocess.run(
      [sys.executable, *args], cwd=cwd, capture_output=True, text=True)
  assert done.returncode == 0, done.stdout + done.stderr
  return done.stdout


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
  """A copy of what makes the package, so that the checkout stays clean."""
  tree = tmp_path_factory.mktemp('tree')
  for path in (
      *(ROOT / name for name in (
          'setup.py', 'pyproject.toml', 'LICENSE', 'MANIFEST.in',
          'requirements.txt', 'CITATION.cff')),
      *ROOT.glob('*.md')):
    shutil.copy(path, tree)
  shutil.copytree(ROOT / 'examples', tree / 'examples')
  for folder in PACKAGE_FOLDERS.values():
    shutil.copytree(ROOT / folder, tree / folder)
  return tree


def _built(tree, hook):
  output = _python(
      '-c',
      f'from setuptools import build_meta; print(build_meta.{hook}("dist"))',
      cwd=tree)
  return tree / 'dist' / output.split()[-1]


@pytest.fixture(scope='module')
def wheel(tree):
  return zipfile.ZipFile(_built(tree, 'build_wheel'))


@pytest.fixture(scope='module')
def editable_wheel(tree):
  return zipfile.ZipFile(_built(tree, 'build_editable'))


@pytest.fixture(scope='module')
def sdist(tree):
  return _built(tree, 'build_sdist')


def _dist_info(wheel, name):
  [path] = [n for n in wheel.namelist() if n.endswith(f'.dist-info/{name}')]
  return wheel.read(path).decode()


@pytest.fixture(scope='module')
def requirements(wheel):
  """`Requires-Dist` of our package: a list of Requirement."""
  return [
      Requirement(line.partition(':')[2])
      for line in _dist_info(wheel, 'METADATA').splitlines()
      if line.startswith('Requires-Dist:')
  ]


def test_wheel_has_every_file_of_the_packages_and_no_other(wheel):
  expected = {
      f'{package}/{path.relative_to(ROOT / folder).as_posix()}'
      for package, folder in PACKAGE_FOLDERS.items()
      for path in (ROOT / folder).rglob('*')
      if path.is_file() and '__pycache__' not in path.parts
  }
  installed = {n for n in wheel.namelist() if '.dist-info/' not in n}
  assert installed == expected


@pytest.mark.slow
def test_the_sdist_installs_what_the_wheel_has(sdist, wheel, tmp_path):
  with tarfile.open(sdist) as archive:
    names = archive.getnames()
    [top] = {name.partition('/')[0] for name in names}
    archive.extractall(tmp_path / 'unpacked', filter='data')
  assert top == f'va_magenta-{_VERSION}'
  # What README's first command needs.
  for name in ('requirements.txt', 'examples/meadow.jpg', 'README.md'):
    assert f'{top}/{name}' in names
  again = zipfile.ZipFile(
      _built(tmp_path / 'unpacked' / top, 'build_wheel'))
  assert set(again.namelist()) == set(wheel.namelist())
  installed = tmp_path / 'installed'
  _python(
      '-m', 'pip', 'install', '--no-deps', '--no-index', '--target', installed,
      again.filename)
  output = _python('-I', '-c', '''if True:
      import sys
      sys.path.insert(0, sys.argv[1])
      import va_magenta
      from va_magenta import checkpoints, va_magenta_generate
      print(va_magenta.__version__, checkpoints.path('image_va'))
      sys.argv = ['va_magenta_generate', '--help']
      va_magenta_generate.console_entry_point()
      ''', str(installed))
  assert output.startswith(
      f'{_VERSION} {installed / "va_magenta/weights/image_va"}\n')
  assert '--image' in output
  assert (installed / 'bin' / 'va_magenta_generate').is_file()


def test_record_lists_what_the_wheel_has(wheel):
  record = csv.reader(io.StringIO(_dist_info(wheel, 'RECORD')))
  assert {row[0] for row in record} == set(wheel.namelist())


def test_only_top_level_name_is_ours(wheel):
  assert _dist_info(wheel, 'top_level.txt').split() == ['va_magenta']


def test_wheel_is_small(wheel):
  size = {info.filename: info.compress_size for info in wheel.infolist()}
  assert sum(size.values()) < 140e6
  # What the first command of README needs, of pictures to music.
  needed = [
      number for name, number in size.items()
      if name.startswith('va_magenta/weights/') and any(
          f'/{model}/' in name for model in (
              'image_va', 'va-cat-band_2bar', 'symbolic_va', 'performance_va',
              'expression_va', 'arranger_va',
              'plausibility'))]
  assert len(needed) > 12 and sum(needed) < 90e6


def test_clone_works_from_its_own_folder(tree):
  output = _python(
      '-c',
      'import va_magenta.datasets; from va_magenta import checkpoints; '
      "print(checkpoints.path('image_va'))",
      cwd=tree)
  assert pathlib.Path(output.strip()) == tree / 'checkpoints' / 'image_va'


def test_no_other_file_of_a_clone_is_a_module_of_ours(tree):
  output = _python(
      '-c', 'import importlib.util, va_magenta; '
      "print(importlib.util.find_spec('va_magenta.setup'))", cwd=tree)
  assert output == 'None\n'


@pytest.fixture
def libraries(tmp_path):
  """The libraries that are installed here, without va_magenta itself."""
  libraries = tmp_path / 'libraries'
  libraries.mkdir()
  for path in pathlib.Path(sysconfig.get_path('purelib')).iterdir():
    if 'va_magenta' not in path.name:
      (libraries / path.name).symlink_to(path)
  return libraries


@pytest.mark.parametrize('kind', ['wheel', 'editable_wheel'])
def test_install_gives_subpackages_and_no_module_named_datasets(
    kind, libraries, request, tmp_path):
  wheel = request.getfixturevalue(kind)
  installed = tmp_path / 'installed'
  wheel.extractall(installed)
  # -I -S: nothing but this install and those libraries.
  output = _python('-I', '-S', '-c', '''if True:
      import importlib.util, site, sys
      installed, libraries = sys.argv[1:]
      site.addsitedir(installed)
      sys.path.append(libraries)
      import va_magenta.checkpoints, va_magenta.datasets
      print(va_magenta.__file__)
      print(va_magenta.checkpoints.path('image_va'))
      print(va_magenta.datasets.__file__)
      spec = importlib.util.find_spec('datasets')
      print(spec and spec.origin)
      ''', str(installed), str(libraries))
  package, weights, datasets, *top_level = [
      pathlib.Path(line) for line in output.split()]
  if kind == 'wheel':
    folder = package_folder = installed / 'va_magenta'
    assert weights == folder / 'weights/image_va'
  else:
    folder = pathlib.Path(wheel.filename).parents[1]
    package_folder = folder / 'va_magenta'
    assert weights == folder / 'checkpoints/image_va'
  assert package == package_folder / '__init__.py'
  assert (weights / 'weights.npz').is_file()
  assert datasets == folder / 'datasets/__init__.py'
  # Another distribution may well have a module `datasets`.
  assert datasets not in top_level


def test_every_command_is_installed(wheel):
  entry_points = configparser.ConfigParser()
  entry_points.optionxform = str
  entry_points.read_string(_dist_info(wheel, 'entry_points.txt'))
  assert dict(entry_points['console_scripts']) == {
      name: f'va_magenta.{name}:console_entry_point' for name in COMMANDS
  }


def _modules_after(statements):
  return set(_python(
      '-c', f'import sys\n{statements}\nprint("\\n", *sys.modules)'
  ).splitlines()[-1].split())


def test_import_loads_no_heavy_library():
  modules = _modules_after('import va_magenta')
  assert 'va_magenta' in modules
  assert not modules & HEAVY


@pytest.mark.parametrize('command', COMMANDS)
def test_help_loads_no_heavy_library(command):
  modules = _modules_after(f'''if True:
    sys.argv = ['{command}', '--help']
    from va_magenta import {command}
    try:
      {command}.console_entry_point()
    except SystemExit:
      pass''')
  assert f'va_magenta.{command}' in modules
  assert not modules & HEAVY


def _imported_modules(folder):
  for path in (ROOT / folder).rglob('*.py'):
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
      if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
      elif isinstance(node, ast.ImportFrom) and not node.level:
        yield node.module


def test_every_imported_library_is_declared(requirements):
  """A module that is not installed at all is an option, such as jax."""
  distributions = importlib.metadata.packages_distributions()
  declared = {canonicalize_name(r.name) for r in requirements if not r.marker}
  # Its pins cannot be solved: it is in the lock only.
  declared |= {'magenta', 'va-magenta'}
  # Options, which the tests install.
  declared |= {
      'gradio', 'imageio-ffmpeg', 'keras-hub', 'music21', 'pillow-heif'}
  undeclared = {
      module for folder in PACKAGE_FOLDERS.values()
      for module in _imported_modules(folder)
      for providers in [distributions.get(module.partition('.')[0])]
      # `google` is shared: protobuf is declared.
      if providers and not declared & {canonicalize_name(p) for p in providers}
  }
  assert not undeclared


def _lock(python_version):
  """Pins of requirements.txt on Linux: a dict of name to version."""
  environment = default_environment() | {
      'python_version': python_version,
      'python_full_version': f'{python_version}.1',
      'sys_platform': 'linux',
  }
  lock = {}
  for line in (ROOT / 'requirements.txt').read_text().splitlines():
    if line.strip() and not line.lstrip().startswith('#'):
      pin = Requirement(line)
      if not pin.marker or pin.marker.evaluate(environment):
        [specifier] = pin.specifier
        assert specifier.operator == '=='
        lock[canonicalize_name(pin.name)] = specifier.version
  return lock


@pytest.mark.parametrize('python_version', PYTHONS)
def test_lock_pins_what_is_required(python_version, requirements):
  lock = _lock(python_version)
  assert lock['magenta'] == '2.1.4'
  for requirement in requirements:
    if not requirement.marker:  # not an extra
      assert lock[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize('option', ['app', 'docs', 'heic', 'score', 'video'])
def test_tests_install_what_options_need(option, requirements):
  needed, test = (
      {r.name: str(r.specifier) for r in requirements
       if r.marker and r.marker.evaluate({'extra': extra})}
      for extra in (option, 'test'))
  assert needed and needed.items() <= test.items()


def test_magenta_is_not_required(requirements):
  """Its pins would make `pip install .` fail."""
  assert 'magenta' not in {canonicalize_name(r.name) for r in requirements}


@pytest.mark.parametrize('python_version', ['3.9', *PYTHONS, '3.13'])
def test_supported_pythons(python_version, wheel):
  [supported] = re.findall(
      '^Requires-Python: (.+)$', _dist_info(wheel, 'METADATA'), re.MULTILINE)
  assert (f'{python_version}.1' in SpecifierSet(supported)) == (
      python_version in PYTHONS)


def test_licence_is_in_the_wheel(wheel):
  assert 'License: Apache-2.0' in _dist_info(wheel, 'METADATA')
  [path] = [n for n in wheel.namelist() if n.endswith('/LICENSE')]
  assert 'Version 2.0, January 2004' in wheel.read(path).decode()


def test_nothing_names_a_folder_of_one_machine():
  listed = subprocess.run(
      ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
      cwd=ROOT, capture_output=True, text=True)
  if listed.returncode:
    pytest.skip(f'{ROOT} is not a git checkout: {listed.stderr.strip()}')
  # Written so that this file does not match itself. Homebrew's is any Mac's.
  machine_path = re.compile(
      rb'(?<![\w.~}/-])/(?:work|root|Users|mnt|opt(?!/homebrew/)|tmp/w)(?=/\w)')
  found = {
      name: match.group() for name in listed.stdout.splitlines()
      if (ROOT / name).is_file()
      for match in [machine_path.search((ROOT / name).read_bytes())] if match
  }
  assert not found


def test_the_version_is_the_same_everywhere(wheel):
  [version] = re.findall(
      '^version: (.+)$', (ROOT / 'CITATION.cff').read_text(), re.MULTILINE)
  [released] = re.findall(
      '^date-released: "(.+)"$', (ROOT / 'CITATION.cff').read_text(),
      re.MULTILINE)
  assert version == _VERSION
  assert f'Version: {version}\n' in _dist_info(wheel, 'METADATA')
  assert f'\n## {version} ({released})\n' in (
      ROOT / 'CHANGELOG.md').read_text()


def test_readme_has_the_two_commands_that_ci_runs():
  output = subprocess.run(
      ['bash', ROOT / '.ci/run', '--print'], capture_output=True, text=True,
      check=True).stdout
  install, test = output.strip().split('\n\n')
  assert 'pip install --no-deps -r requirements.txt .' in install
  [picture] = re.findall(r'--image[= ](\S+)', install)
  assert (ROOT / picture).is_file()
  assert 'pytest' in test
