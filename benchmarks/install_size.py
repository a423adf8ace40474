"""Sizes of the environment that runs this, of its packages, and of our wheel.

python benchmarks/install_size.py
"""

import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import reporting
from absl import app

ROOT = pathlib.Path(__file__).parents[1]
LARGEST = 20


def folder_size(folder: pathlib.Path) -> int:
  """Bytes of all files in a folder; links are not followed."""
  return sum(
      path.lstat().st_size for path in folder.rglob('*')
      if path.is_file() and not path.is_symlink())


def package_sizes() -> dict[str, int]:
  """Installed bytes of each distribution, compiled Python files included."""
  return {
      distribution.name: sum(
          path.stat().st_size for file in distribution.files or []
          for path in [pathlib.Path(distribution.locate_file(file))]
          if path.is_file())
      for distribution in importlib.metadata.distributions()
  }


def wheel_sizes() -> tuple[int, int]:
  """Bytes of va_magenta's wheel, and of the files in it."""
  with tempfile.TemporaryDirectory() as folder:
    tree = pathlib.Path(folder) / 'tree'
    tree.mkdir()
    for name in ('setup.py', 'pyproject.toml', 'LICENSE', 'README.md'):
      shutil.copy(ROOT / name, tree)
    for name in ('va_magenta', 'checkpoints', 'datasets'):
      shutil.copytree(ROOT / name, tree / name)
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
         '--no-build-isolation', '--wheel-dir', folder, tree], check=True)
    [wheel] = pathlib.Path(folder).glob('*.whl')
    with zipfile.ZipFile(wheel) as files:
      unpacked = sum(info.file_size for info in files.infolist())
    return wheel.stat().st_size, unpacked


def main(argv):
  """Prints the sizes in MB (10^6 bytes)."""
  del argv  # Unused.
  if sys.prefix == sys.base_prefix:
    sys.exit('run this with the Python of a virtual environment')
  sizes = package_sizes()
  total = folder_size(pathlib.Path(sys.prefix))
  print(f'{total / 1e6:9.1f}  environment ({len(sizes)} packages)')
  for name in sorted(sizes, key=sizes.get, reverse=True)[:LARGEST]:
    print(f'{sizes[name] / 1e6:9.1f}  {name}')
  wheel, unpacked = wheel_sizes()
  print(f'{wheel / 1e6:9.1f}  wheel of va_magenta ({unpacked / 1e6:.1f} '
        'installed)')
  reporting.add({
      'environment, GB': total / 1e9, 'wheel, MB': round(wheel / 1e6)})


if __name__ == '__main__':
  app.run(main)
