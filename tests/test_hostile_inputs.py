"""Damaged and hostile inputs are read or refused: see benchmarks/fuzz.py."""

import importlib.util
import pathlib
import tempfile

import pytest

hypothesis = pytest.importorskip(
    'hypothesis', reason='hypothesis is not installed')
from hypothesis import strategies  # noqa: E402

pytestmark = pytest.mark.slow

_PATH = pathlib.Path(__file__).parents[1] / 'benchmarks' / 'fuzz.py'
_SPEC = importlib.util.spec_from_file_location('fuzz', _PATH)
fuzz = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz)


# Of each kind so many inputs; fewer of what takes longer.
_NUM_INPUTS = {
    'picture': 40, 'midi': 40, 'sound': 40, 'checkpoint': 20, 'tar': 40,
    'labels': 40, 'flags': 4}


@pytest.mark.parametrize('kind', fuzz.KINDS)
def test_is_read_or_refused(kind, monkeypatch):
  monkeypatch.setenv('VA_MAGENTA_HOME', 'restored at the end')

  @hypothesis.settings(
      max_examples=_NUM_INPUTS[kind], deadline=None, derandomize=True,
      database=None)
  @hypothesis.given(strategies.randoms(use_true_random=False))
  def check(rng):
    with tempfile.TemporaryDirectory() as folder:
      result = fuzz.outcome(kind, pathlib.Path(folder), rng)
    assert result in ('read', 'refused')

  check()


def test_faults_are_told(monkeypatch, tmp_path):
  def read(path):
    raise KeyError(str(path))

  monkeypatch.setenv('VA_MAGENTA_HOME', 'restored at the end')
  monkeypatch.setitem(fuzz.KINDS, 'midi', (fuzz.make_midi, read))
  result = fuzz.outcome('midi', tmp_path, fuzz.random.Random(0))
  assert result.startswith('crash: KeyError')
