"""Fixtures that several tests share."""

import concurrent.futures
import importlib
import pathlib
import re
import signal
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from va_magenta import processes

_SHARED_DATA = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data():
  """Folder of the research data beside the repository, or a skip."""
  if not _SHARED_DATA.is_dir():
    pytest.skip(f'research data is not at {_SHARED_DATA}')
  return _SHARED_DATA


@pytest.fixture
def threads(monkeypatch):
  """Threads, which need not import anything again, in place of processes."""
  def pool(num_workers=None, start=None, *args):
    if start:
      start(*args)
    return concurrent.futures.ThreadPoolExecutor(num_workers)

  monkeypatch.setattr(processes, 'Pool', pool)


@pytest.fixture(scope='session')
def notes_alone():
  """Fusions whose labels are the symbolic estimates: (std [2]) -> by kind."""
  def function(std):
    from va_magenta.music_to_va import fusion

    lines = [fusion.Line(np.zeros(2), np.eye(size, 2)) for size in (2, 4)]
    spread = fusion.Spread(np.stack([2 * np.log(std), *np.zeros((2, 2))]))
    return dict.fromkeys(
        fusion.KINDS, fusion.Fusion(*lines, spread, spread))

  return function


@pytest.fixture(scope='session')
def random_music_vae():
  """Makes a MusicVae whose weights are all random and large: (config, seed).

  Those that begin as zeros, and those that begin small, would hide a mistake.
  """
  def function(config, seed=0):
    from va_magenta.va_to_music import music_vae

    model = music_vae.MusicVae(config, seed=seed)
    random = np.random.default_rng(seed)
    for weight in model.encoder.weights + model.decoder.weights:
      scale = 2 / np.sqrt(weight.shape[0]) if len(weight.shape) > 1 else 0.3
      weight.assign(random.normal(size=weight.shape) * scale)
    return model

  return function


def _import_command(name):
  """A command's module, with the flags of all other commands forgotten."""
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if module.startswith('va_magenta.va_magenta_'):
      for flag in list(defined):
        delattr(flags.FLAGS, flag.name)
  sys.modules.pop(f'va_magenta.{name}', None)
  return importlib.import_module(f'va_magenta.{name}')


@pytest.fixture
def run_command(monkeypatch, capsys):
  """Runs a command in this process: its name, arguments -> (code, out, err)."""
  handler = signal.getsignal(signal.SIGTERM)

  def function(name, *args):
    module = _import_command(name)
    monkeypatch.setattr(sys, 'argv', [name, *args])
    capsys.readouterr()
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as info:
      flags.FLAGS.unparse_flags()
      module.console_entry_point()
    out, err = capsys.readouterr()
    return info.value.code or 0, out, err

  yield function
  signal.signal(signal.SIGTERM, handler)
  flags.FLAGS.mark_as_parsed()


@pytest.fixture
def check_one_line():
  """Checks a command's (code, out, err): it failed, and said why in a line."""
  def function(result, complaint):
    code, out, err = result
    assert (code, out) == (1, '')
    assert re.fullmatch(r'va_magenta_\w+: error: .+\n', err)
    assert complaint in err

  return function
