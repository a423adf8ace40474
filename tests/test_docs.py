"""README, docs/ and the cards: figures, links, flags, and the site."""

import importlib.util
import json
import os
import pathlib
import re
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
      '| people | – | 0.5 |\n\n| | valence r |\n|---|---|\n| ridge | .2 |\n'
      '## More\n| | valence r |\n|---|---|\n| ours | 0.3 |\n')
  return tmp_path


@pytest.mark.parametrize(('place', 'text'), [
    ('a.json; r; .2f', '0.88 ± 0.02'), ('a.json; r; mean; .1f', '0.9'),
    ('a.json; n; ,d', '12,345'), ('a.json; list; 0; auc; .0%', '50%'),
    ('card.md#Card; ours; valence r', '0.123 ± 0.045'),
    ('card.md#Card; ours; valence r; .2f', '0.12 ± 0.04'),
    ('card.md#More; ours; valence r', '0.3'),
    ('card.md; ours; arousal r', '7'), ('card.md; ridge; valence r', '.2'),
])
def test_a_figure_comes_from_its_report(figures, reports, place, text):
  assert figures.figure(place, reports) == text
  before = f'a <!-- figure: {place} -->\nold<!-- / --> b'
  assert figures.filled(before, reports) == (
      f'a <!-- figure: {place} -->{text}<!-- / --> b')


def test_what_a_command_wrote_is_kept_as_far_as_texts_name_it(
    figures, reports):
  (reports / 'card.md').write_text(
      '<!-- figure: a.json; r; .2f -->.9<!-- / --> '
      '<!-- figure: a.json; r; mean; .1f -->.9<!-- / --> '
      '<!-- figure: a.json; deep; n; d -->5<!-- / --> '
      '<!-- figure: other.json; n; d -->5<!-- / -->')
  written = reports / 'out' / 'report.json'
  written.parent.mkdir()
  written.write_text(
      '{"r": {"mean": 0.123456, "sd": 0.1, "by_seed": [1]}, "deep": {"n": 7, '
      '"m": 8}, "options": {"oasis_dir": "/home/me"}}')
  figures.store('a.json', written, reports)
  assert json.loads((reports / 'a.json').read_text()) == {
      'command': 'c', 'r': {'mean': 0.1235, 'sd': 0.1}, 'deep': {'n': 7}}
  written.write_text('{"r": 1}')
  with pytest.raises(ValueError, match='has no deep; n'):
    figures.store('a.json', written, reports)
  assert 'deep' in (reports / 'a.json').read_text()


@pytest.mark.parametrize(('place', 'complaint'), [
    ('b.json; r', 'no report b.json'), ('none.json; r', 'by which command'),
    ('a.json; q; .2f', "has no 'q'"), ('a.json; list; 3; auc', "has no '3'"),
    ('a.json; word', 'no number'), ('card.md; ours', 'a row and a column'),
    ('card.md; theirs; valence r', '0 tables'),
    ('card.md; ours; valence r', '2 tables'),
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


# Words.


def test_readme_is_short_and_begins_with_music():
  lines = (ROOT / 'README.md').read_text().splitlines()
  assert len(lines) <= 220
  first = '\n'.join(lines[:60])
  for wanted in ('![', '.ogg)', '.mid)', 'va_magenta_generate --image'):
    assert wanted in first


@pytest.mark.parametrize(
    'card', sorted(ROOT.glob('checkpoints/*/README.md')),
    ids=lambda path: path.parent.name)
def test_a_card_says_what_a_reader_needs(card):
  text = card.read_text(encoding='utf-8')
  for part in ('**What it is for.**', '**Data and licence.**', '\n|---',
               'va_magenta_'):
    assert part in text
  # What it is for comes first, and data and licence on the first screen.
  assert text.index('**What it is for.**') < 200
  assert text.index('**Data and licence.**') < 1500
  assert f'checkpoints/{card.parent.name}/README.md' in (
      ROOT / 'mkdocs.yml').read_text()


def test_no_mark_of_a_figure_begins_a_line():
  """There Markdown would take it for a block of HTML."""
  for path in TEXTS:
    assert not re.search(r'^\s*<!-- (figure|/)', path.read_text(), re.M), path


def _slugs(text):
  """Anchors of headings, as git hosts make them."""
  text = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
  for heading in re.findall(r'^#+ (.+)$', text, re.M):
    heading = re.sub(r'\[(.+?)\]\(.+?\)', r'\1', heading).lower()
    yield re.sub(r'[^\w\- ]', '', heading).replace(' ', '-')


@pytest.mark.parametrize(
    'path', TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
  text = path.read_text()
  prose = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
  links = re.findall(r'\]\(([^()\s]+)\)', prose)
  for link in links:
    if re.match('https?:', link):
      continue
    name, _, anchor = link.partition('#')
    target = (path.parent / name) if name else path
    assert target.exists(), link
    if anchor:
      assert anchor in set(_slugs(target.read_text())), link


def test_flags_in_texts_exist():
  """Every flag of ours that a page names is one of some command."""
  known = set()
  for path in (ROOT / 'va_magenta').glob('va_magenta_*.py'):
    source = path.read_text()
    known |= set(re.findall(r"DEFINE_\w+\(\s*'(\w+)'", source))
  known |= {'help', 'verbosity', 'checkpoint_file'}  # The last is Magenta's.
  for path in (ROOT / 'README.md', ROOT / 'FAQ.md', *ROOT.glob('docs/*.md')):
    text = path.read_text()
    # Those of other programs stand in lines that name them.
    lines = re.sub(r'\\\n', ' ', text).splitlines()
    used = {
        flag.removeprefix('no') if flag.startswith('no') and
        flag not in known else flag
        for line in lines
        if not re.search(r'\b(pip|uv|pytest|python|mkdocs)\b', line)
        for flag in re.findall(r'(?<![\w-])--(\w+)(?![\w-])', line)}
    assert used - known == set(), path.name


# The site.


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
  pytest.importorskip('mkdocs', reason='the extra `docs` is not installed')
  pytest.importorskip('material', reason='the extra `docs` is not installed')
  done = subprocess.run(
      [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir',
       str(tmp_path / 'site')], cwd=ROOT, capture_output=True, text=True,
      # A notice of what comes after it is none of our pages'.
      env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})
  assert done.returncode == 0, done.stderr
  assert 'WARNING' not in done.stderr
  home = (tmp_path / 'site' / 'index.html').read_text()
  assert 'music that feels like a picture' in home
  assert 'examples/meadow.png' in home
  figures = (tmp_path / 'site' / 'docs/figures/index.html').read_text()
  assert '<table>' in figures and '&lt;!-- figure' not in figures
  # Nothing is fetched from elsewhere to show a page.
  assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css)', home)
