"""README, docs/ and the cards: figures, links, flags, and the site."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
TEXTS = sorted(
    path for glob in ('*.md', 'docs/**/*.md', 'checkpoints/*/*.md',
                      'datasets/*/*.md')
    for path in ROOT.glob(glob))


@pytest.fixture(scope='module')
def figures():
  """The script docs/fill_figures.py as a module."""
  spec = importlib.util.spec_from_file_location(
      'fill_figures', ROOT / 'docs' / 'fill_figures.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _run(*args):
  return subprocess.run(
      [sys.executable, ROOT / 'docs' / 'fill_figures.py', *args],
      capture_output=True, text=True)


def test_no_figure_is_stale():
  done = _run('--check')
  assert (done.returncode, done.stderr) == (0, '')


@pytest.fixture
def reports(tmp_path):
  (tmp_path / 'a.json').write_text(
      '{"command": "c", "r": {"mean": 0.876, "sd": 0.021, "by_seed": [1]}, '
      '"n": 12345, "list": [{"auc": 0.5}], "word": "x"}')
  (tmp_path / 'none.json').write_text('{"r": 1}')
  (tmp_path / 'card.md').write_text(
      '# Card\n\n| | valence r | arousal r |\n|---|---|---|\n'
      '| ours | 0.123 ± 0.045 | <!-- figure: x -->7<!-- / --> |\n'
      '| people | – | 0.5 |\n\n| | valence r |\n|---|---|\n| ridge | .2 |\n')
  return tmp_path


@pytest.mark.parametrize(('place', 'text'), [
    ('a.json; r; .2f', '0.88 ± 0.02'), ('a.json; r; mean; .1f', '0.9'),
    ('a.json; n; ,d', '12,345'), ('a.json; list; 0; auc; .0%', '50%'),
    ('card.md; ours; valence r', '0.123 ± 0.045'),
    ('card.md; ours; valence r; .2f', '0.12 ± 0.04'),
    ('card.md; ours; arousal r', '7'), ('card.md; ridge; valence r', '.2'),
])
def test_a_figure_comes_from_its_report(figures, reports, place, text):
  assert figures.figure(place, reports) == text
  before = f'a <!-- figure: {place} -->\nold<!-- / --> b'
  assert figures.filled(before, reports) == (
      f'a <!-- figure: {place} -->{text}<!-- / --> b')


@pytest.mark.parametrize(('place', 'complaint'), [
    ('b.json; r', 'no report b.json'), ('none.json; r', 'by which command'),
    ('a.json; q; .2f', "has no 'q'"), ('a.json; list; 3; auc', "has no '3'"),
    ('a.json; word', 'no number'), ('card.md; ours', 'a row and a column'),
    ('card.md; theirs; valence r', '0 tables'),
])
def test_a_figure_that_is_not_there(figures, reports, place, complaint):
  with pytest.raises(ValueError, match=complaint):
    figures.figure(place, reports)


def test_a_stale_figure_fails_and_is_filled(
    figures, reports, monkeypatch, capsys):
  text = reports / 'README.md'
  text.write_text('r <!-- figure: a.json; r; .2f -->0.91<!-- / -->')
  monkeypatch.setattr(figures, 'ROOT', reports)
  monkeypatch.setattr(figures, 'TEXTS', ('README.md',))
  monkeypatch.setattr(
      figures, 'filled', lambda text, of=figures.filled: of(text, reports))
  assert figures.main(['--check']) == 1
  assert "README.md: a.json; r; .2f: the text has '0.91', the report '0.88" in (
      capsys.readouterr().err)
  assert figures.main([]) == 0
  assert text.read_text().endswith('-->0.88 ± 0.02<!-- / -->')
  assert figures.main(['--check']) == 0
  text.write_text('<!-- figure: gone.json; r -->1<!-- / -->')
  assert figures.main(['--check']) == 1
  assert 'no report gone.json' in capsys.readouterr().err
