"""The example notebook runs from its first cell to its last."""

import os
import pathlib
import re

import pytest

nbformat = pytest.importorskip('nbformat', reason='nbclient is not installed')
nbclient = pytest.importorskip('nbclient', reason='nbclient is not installed')

NOTEBOOK = pathlib.Path(__file__).parents[1] / 'examples' / 'va_magenta.ipynb'


@pytest.fixture(scope='module')
def notebook():
  return nbformat.read(NOTEBOOK, as_version=4)


def test_is_committed_without_outputs(notebook):
  nbformat.validate(notebook)
  code = [cell for cell in notebook.cells if cell.cell_type == 'code']
  assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_runs_to_its_end(notebook, monkeypatch):
  monkeypatch.setenv('TF_CPP_MIN_LOG_LEVEL', '3')
  before = sorted(os.listdir(NOTEBOOK.parent))
  done = nbclient.NotebookClient(
      notebook.copy(), timeout=600, kernel_name='python3',
      resources={'metadata': {'path': NOTEBOOK.parent}}).execute()
  outputs = [
      output for cell in done.cells if cell.cell_type == 'code'
      for output in cell.outputs]
  text = ''.join(output.get('text', '') for output in outputs)
  shown = [output.data for output in outputs if 'data' in output]
  assert any('VA(valence=' in data['text/plain'] for data in shown)
  assert sum('<svg' in data.get('text/html', '') for data in shown) == 3
  if 'audio needs the FluidSynth library' not in text:
    assert sum('<audio' in data.get('text/html', '') for data in shown) == 3
  assert sum('image/png' in data for data in shown) == 1
  valence, arousal = map(float, re.findall(r': r (-?\d\.\d\d)', text))
  assert valence > 0.3
  assert arousal > 0.5
  assert sorted(os.listdir(NOTEBOOK.parent)) == before
