"""The listening test: its page, its key, and what answers to it say."""

import base64
import csv
import functools
import io
import json
import re

import numpy as np
import pytest
import soundfile
from PIL import Image

from va_magenta.evaluation import judges, listening
from va_magenta.music import melody, midi, synthesis

_POINTS = [(.7, .6), (-.6, .6), (-.7, -.5), (.5, -.7)]


class _Judge:
  """Places pieces by their loudness and pitch, which say what was asked for."""

  def __init__(self, student):
    del student

  def __call__(self, sequences):
    return np.array([
        [(s.notes[0].pitch - 60) / 30, (s.notes[0].velocity - 64) / 60]
        for s in sequences])

  def listen(self, sequence):
    return self([sequence])[0] * [-1, 1]

  def by_ear(self, heard):
    return heard


def _piece(valence, arousal):
  tokens = np.zeros(32, np.int32)
  tokens[::8] = 60 + round(30 * valence) - 19
  return midi.to_bytes(melody.tokens_to_sequence(
      tokens, velocity=64 + round(60 * arousal)))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
  monkeypatch.setattr(listening, '_NUM_DRAWS', 200)


@pytest.fixture
def pieces(tmp_path, monkeypatch):
  """Folder of two pieces for each of four pictures, as generate writes it."""
  monkeypatch.setattr(judges, 'student', lambda half: None)
  monkeypatch.setattr(judges, 'Reader', _Judge)
  monkeypatch.setattr(judges, 'Listener', _Judge)
  monkeypatch.setattr(synthesis, 'import_fluidsynth', lambda: None)

  def synthesize(sequence, soundfont, max_seconds):
    assert max_seconds > 3
    pitch = sequence.notes[0].pitch
    times = np.arange(8000 * 3) / 8000
    hertz = 440 * 2**((pitch - 69) / 12)
    return .3 * np.sin(2 * np.pi * hertz * times).astype(np.float32), 8000

  monkeypatch.setattr(synthesis, 'synthesize', synthesize)
  folder = tmp_path / 'pieces'
  folder.mkdir()
  (folder / 'other.json').write_text('{"not": "ours"}')
  for i, (valence, arousal) in enumerate(_POINTS):
    picture = folder / f'mood{i}.png'
    Image.new('RGB', (900, 300), (60 * i, 0, 0)).save(picture)
    names = [f'mood{i}-{number}.mid' for number in (1, 2)]
    for name in names:
      (folder / name).write_bytes(_piece(valence, arousal))
    (folder / f'mood{i}.json').write_text(json.dumps({
        'image': f'elsewhere/{picture.name}',
        'target': {'valence': valence, 'arousal': arousal},
        'outputs': [{'midi': name} for name in names]}))
  people = tmp_path / 'people'
  people.mkdir()
  for i in range(3):
    (people / f'theirs{i}.mid').write_bytes(_piece(.1 * i, 0))
  return folder


@pytest.fixture
def made(pieces, tmp_path):
  """Page and key of a test with people's pieces in it."""
  key = listening.write(
      [pieces], tmp_path / 'test', people_midi=tmp_path / 'people')
  assert key == json.loads((tmp_path / 'test' / listening.KEY).read_text(),
                           object_hook=dict) | {'pieces': key['pieces'],
                                                'pictures': key['pictures']}
  return (tmp_path / 'test' / listening.PAGE).read_text(), key


def _content(page):
  [content] = re.findall(
      '<script id="content" type="application/json">(.*)</script>', page)
  return json.loads(content)


def test_the_page_needs_nothing_else(made):
  page, key = made
  assert not re.findall(r'https?://|<link|@import|src="(?!\$)', page)
  assert "default-src 'none'" in page
  content = _content(page)
  assert content['test'] == key['test']
  assert list(content['sound']) == [f'piece-{i}' for i in range(1, 12)]
  for uri in content['sound'].values():
    kind, data = uri.split(',')
    assert kind == 'data:audio/mpeg;base64'
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data)))
    assert 2.5 < len(samples) / rate < 3.5
    assert .1 < np.abs(samples).max() < .5
    assert len(data) < 2 * len(samples) / 3  # Of the size of a WAV file.
  assert len(content['pictures']) == 4
  for uri in content['pictures'].values():
    picture = Image.open(io.BytesIO(base64.b64decode(uri.split(',')[1])))
    assert (picture.format, picture.size) == ('JPEG', (480, 160))


def test_the_page_is_blind(made):
  page, key = made
  for word in ('mood', 'theirs', 'target', 'judged'):
    assert word not in page
  order = [key['pieces'][name]['by'] for name in _content(page)['sound']]
  assert order.count('people') == 3 and order.count('machine') == 8
  assert order not in (sorted(order), sorted(order, reverse=True))


def test_pairs_are_a_pictures_own_and_anothers(made):
  _, key = made
  assert len(key['pairs']) == 8
  firsts = 0
  for pair in key['pairs']:
    of = [key['pieces'][name]['picture'] for name in pair['pieces']]
    assert of.count(pair['picture']) == 1 and None not in of
    firsts += of[0] == pair['picture']
  assert 0 < firsts < 8


def test_the_seed_decides(pieces, tmp_path):
  def write(name, **settings):
    key = listening.write([pieces], tmp_path / name, **settings)
    return key, (tmp_path / name / listening.PAGE).read_bytes()

  first, second = write('first', seed=3), write('second', seed=3)
  assert first == second
  other = write('other', seed=4)
  assert other[0]['test'] != first[0]['test']
  assert list(map(str, other[0]['pieces'].values())) != list(
      map(str, first[0]['pieces'].values()))
  few, _ = write('few', num_pieces=2)
  assert len(few['pieces']) == 2


def test_a_test_without_pictures_or_people(pieces, tmp_path):
  for path in pieces.glob('mood*.json'):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {'image': None}))
  key = listening.write([pieces], tmp_path / 'test')
  assert key['pairs'] == [] and key['pictures'] == {}
  answers = _answer(key, tmp_path / 'a.csv', 'A', lambda target: target)
  found = listening.evaluate(listening.read([answers], key), key)
  assert found['people or machine'] == found['fits the picture'] == {}
  assert 'picture' not in listening.describe(found)
  assert found['mood']['listeners, against what was asked for'][
      'distance']['value'] == pytest.approx(0, abs=1e-6)


def _answer(key, path, listener, rate, machine=lambda by: by,
            own_fits=lambda: True):
  """Writes a listener's answers; people's pieces sound like (.1, .1)."""
  rows = []
  for name, piece in key['pieces'].items():
    valence, arousal = rate(piece['target'] or (.1, .1))
    rows.append({
        'question': 'piece', 'about': name, 'valence': valence,
        'arousal': arousal, 'by': machine(piece['by']), 'seconds': 9})
  for pair in key['pairs']:
    own, other = sorted(
        pair['pieces'],
        key=lambda name: key['pieces'][name]['picture'] != pair['picture'])
    if not own_fits():
      own, other = other, own
    rows.append({
        'question': 'pair', 'about': own, 'over': other,
        'picture': pair['picture'], 'seconds': 9})
  with path.open('w', newline='') as file:
    writer = csv.DictWriter(file, listening.COLUMNS)
    writer.writeheader()
    writer.writerows(
        {'test': key['test'], 'listener': listener, **row} for row in rows)
  return path


def test_listeners_beside_judges(made, tmp_path):
  _, key = made
  rng = np.random.default_rng(0)

  def rate(target):
    return np.clip(np.array(target) + rng.normal(0, .2, 2), -1, 1)

  paths = [
      _answer(key, tmp_path / f'{i}.csv', f'L{i}', rate,
              machine=lambda by: by if rng.random() < .7 else 'people',
              own_fits=lambda: rng.random() < .8)
      for i in range(6)]
  found = listening.evaluate(listening.read(paths, key), key)
  assert (found['num_listeners'], found['num_pieces']) == (6, 11)
  assert found['num_answers'] == 66
  mood = found['mood']
  asked = mood['listeners, against what was asked for']
  assert asked['valence/pearson_r']['value'] > .95
  assert asked['quadrant_accuracy']['value'] == 1
  ear = mood['the judge of sound, against what was asked for']
  assert ear['valence/pearson_r']['value'] < -.95  # Upside down.
  assert ear['arousal/pearson_r']['value'] > .95
  assert mood['the judge of notes, against listeners'][
      'valence/ccc']['value'] > .9
  alone = mood['one listener, against the others']['valence/pearson_r']['value']
  assert .8 < alone < asked['valence/pearson_r']['value']
  telling = found['people or machine']
  assert .65 < telling['accuracy']['value'] < .95 < telling['auc']['value'] + .1
  fits = found['fits the picture']
  assert .65 < fits['listeners']['accuracy']['value'] < .95
  assert fits['the judge of notes']['accuracy']['value'] == 1
  for figures in (asked, telling, fits['listeners']):
    for figure in figures.values():
      assert figure['low'] <= figure['value'] <= figure['high']
  wide = fits['listeners']['accuracy']
  assert .02 < wide['high'] - wide['low'] < .5
  text = listening.describe(found)
  assert '6 listeners, 11 pieces, 66 ratings' in text
  assert re.search(r'\| listeners, against what was asked for +\| 0\.9', text)


def test_guesses_are_seen_to_be_guesses(made, tmp_path):
  _, key = made
  rng = np.random.default_rng(1)
  paths = [
      _answer(key, tmp_path / f'{i}.csv', f'L{i}',
              lambda target: rng.uniform(-1, 1, 2),
              machine=lambda by: rng.choice(['people', 'machine']),
              own_fits=lambda: rng.random() < .5)
      for i in range(12)]
  found = listening.evaluate(listening.read(paths, key), key)
  for figure in (found['people or machine']['accuracy'],
                 found['fits the picture']['listeners']['accuracy']):
    assert figure['low'] < .5 < figure['high']
  r = found['mood']['listeners, against what was asked for'][
      'valence/pearson_r']
  assert r['low'] < 0 < r['high']


def test_whoever_stops_early_counts(made, tmp_path):
  _, key = made
  full = _answer(key, tmp_path / 'a.csv', 'A', lambda target: target)
  short = _answer(key, tmp_path / 'b.csv', 'B', lambda target: target)
  short.write_text(''.join(short.read_text().splitlines(True)[:4]))
  answers = listening.read([full, short], key)
  assert np.isfinite(answers['va'][1, :, 0]).sum() == 3
  assert np.isnan(answers['fits'][1]).all()
  found = listening.evaluate(answers, key)
  assert found['num_answers'] == 14
  assert found['fits the picture']['listeners']['accuracy']['value'] == 1


# The command.


@pytest.fixture
def run(pieces, tmp_path, monkeypatch, run_command):
  """Runs the command beside pieces/ and people/: (code, out, err)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(run_command, 'va_magenta_evaluate')


def test_command_writes_reads_and_prints(run, tmp_path):
  code, out, err = run(
      '--listening_test=pieces', '--people_midi=people', '--output_dir=test',
      '--num_listened=6', '--seed=2')
  assert (code, err) == (0, '')
  assert out.endswith(
      'wrote test/listening_test.html and test/listening_key.json\n')
  key = json.loads((tmp_path / 'test' / listening.KEY).read_text())
  assert len(key['pieces']) == 9
  _answer(key, tmp_path / 'a.csv', 'A', lambda target: target)
  _answer(key, tmp_path / 'b.csv', 'B', lambda target: target)
  code, out, err = run('--listening_answers=a.csv,b.csv', '--output_dir=test')
  assert (code, err) == (0, '')
  assert '2 listeners, 9 pieces, 18 ratings' in out
  assert (tmp_path / 'test' / 'listening_results.md').read_text() in out
  found = json.loads((tmp_path / 'test/listening_results.json').read_text())
  assert found['test'] == key['test']


def _written(run, tmp_path):
  assert run('--listening_test=pieces', '--output_dir=test')[0] == 0
  key = json.loads((tmp_path / 'test' / listening.KEY).read_text())
  return _answer(key, tmp_path / 'a.csv', 'A', lambda target: target)


@pytest.mark.parametrize(('old', 'new', 'complaint'), [
    ('"?piece-1"?,', 'piece-99,', 'a.csv, line 2: the test has no such'),
    ('piece,piece-1,,,0?', 'piece,piece-1,,,7', 'valence must be a number in'),
    ('piece,piece-1,,,-?[0-9.]+', 'piece,piece-1,,,much', "got 'much'"),
    ('machine', 'robot', "must be 'people' or 'machine', got 'robot'"),
    ('\n[0-9a-f]{12},', '\nanother,', "answers to the test 'another'"),
    ('test,listener', 'test,name', 'line 2: there is no listener'),
    ('(?s)\n.*', '\n', 'a.csv has no answers'),
])
def test_answers_that_are_none(
    run, tmp_path, check_one_line, old, new, complaint):
  path = _written(run, tmp_path)
  text = path.read_text()
  changed = re.sub(old, new, text, count=1)
  assert changed != text
  path.write_text(changed)
  check_one_line(
      run('--listening_answers=a.csv', '--output_dir=test'), complaint)
  assert not (tmp_path / 'test' / 'listening_results.json').exists()


def test_one_code_is_one_listener(run, tmp_path, check_one_line):
  path = _written(run, tmp_path)
  (tmp_path / 'b.csv').write_text(path.read_text())
  check_one_line(
      run('--listening_answers=a.csv,b.csv', '--output_dir=test'),
      "b.csv, line 2: answers of the listener 'A' are also in a.csv")


@pytest.mark.parametrize(('args', 'complaint'), [
    (['--listening_test=nowhere'], 'nowhere is no folder'),
    (['--listening_test=people'], 'people has no NAME.json'),
    (['--listening_test=pieces', '--people_midi=empty'], 'empty has no MIDI'),
    (['--listening_answers=a.csv'], 'there is no test/listening_key.json'),
    (['--listening_test=pieces', '--people=people'], 'give one of --people'),
    (['--listening_test=pieces', '--num_listened=1'], 'num_listened'),
])
def test_tests_that_cannot_be(run, tmp_path, check_one_line, args, complaint):
  (tmp_path / 'empty').mkdir()
  check_one_line(run('--output_dir=test', *args), complaint)
  assert not (tmp_path / 'test').exists()


def test_a_picture_that_is_gone(run, tmp_path, check_one_line):
  (tmp_path / 'pieces' / 'mood2.png').unlink()
  check_one_line(
      run('--listening_test=pieces', '--output_dir=test'),
      'names the picture elsewhere/mood2.png, which is neither there nor in')


def test_an_earlier_test_is_kept(run, tmp_path, check_one_line):
  _written(run, tmp_path)
  before = (tmp_path / 'test' / listening.KEY).read_bytes()
  check_one_line(
      run('--listening_test=pieces', '--output_dir=test', '--seed=5'), 'exists')
  assert (tmp_path / 'test' / listening.KEY).read_bytes() == before
  assert run('--listening_test=pieces', '--output_dir=test', '--seed=5',
             '--overwrite')[0] == 0
  assert (tmp_path / 'test' / listening.KEY).read_bytes() != before


# In a browser.


@pytest.fixture
def browser():
  import shutil

  api = pytest.importorskip(
      'playwright.sync_api', reason='playwright is not installed')
  path = next(filter(None, map(
      shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
  if path is None:
    pytest.skip('there is no chromium to be started')
  with api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=path, timeout=240_000, args=[
            '--no-sandbox', '--autoplay-policy=no-user-gesture-required'])
    yield browser
    browser.close()


@pytest.mark.slow
def test_a_listener_with_a_telephone(browser, made, tmp_path):
  _, key = made
  from playwright.sync_api import expect

  context = browser.new_context(
      viewport={'width': 360, 'height': 640}, has_touch=True, offline=True)
  page = context.new_page()
  page.set_default_timeout(60_000)
  errors, requests = [], []
  page.on('pageerror', lambda error: errors.append(error))
  page.on('console', lambda message: errors.append(message.text)
          if message.type == 'error' else None)
  page.on('request', lambda request: requests.append(request.url))
  address = (tmp_path / 'test' / listening.PAGE).as_uri()
  page.goto(address)
  page.get_by_label('A code for you').fill('L 1')
  page.get_by_role('button', name='Begin').click()

  def fits_the_screen():
    return page.evaluate(
        'document.documentElement.scrollWidth <= window.innerWidth')

  def play(number=1):
    for i in range(number):
      page.locator('audio').nth(i).evaluate(
          'sound => new Promise((resolve, reject) => {'
          ' sound.addEventListener("ended", () => resolve());'
          ' sound.muted = true; sound.playbackRate = 4;'
          ' sound.play().catch(reject); })')

  def go_on():
    page.get_by_role('button', name='Next').click()

  alert = page.get_by_role('alert')
  wanted = {}
  for number in range(1, 12):
    assert page.get_by_role('heading', level=2).inner_text() == (
        f'Piece {number} of 11')
    assert fits_the_screen()
    piece = page.locator('audio').get_attribute('data-piece')
    if number == 1:
      go_on()
      expect(alert).to_contain_text('listen')
    play()
    if number == 1:
      go_on()
      expect(alert).to_contain_text('sliders')
    valence, arousal = (page.get_by_role('slider', name=name)
                        for name in ('valence', 'arousal'))
    if number == 2:  # By the keyboard alone.
      valence.focus()
      page.keyboard.press('ArrowRight')
      page.keyboard.press('ArrowRight')
      page.keyboard.press('Tab')
      page.keyboard.press('ArrowLeft')
      page.keyboard.press('Tab')
      page.keyboard.press('Space')
      assert page.get_by_label('a person').is_checked()
      page.keyboard.press('Tab')
      page.keyboard.press('Enter')
      wanted[piece] = .02, -.01, 'people'
      continue
    x = round(-.5 + .1 * number, 2)
    valence.fill(str(x))
    arousal.fill(str(-x))
    page.get_by_label('a machine').check()
    go_on()
    wanted[piece] = x, -x, 'machine'
    if number == 3:  # What was answered outlives a reload.
      page.goto(address)
      page.get_by_label('A code for you').fill('L 1')
      page.get_by_role('button', name='Begin').click()
  assert alert.inner_text() == ''

  for number in range(1, 9):
    assert page.get_by_role('heading', level=2).inner_text() == (
        f'Picture {number} of 8')
    assert fits_the_screen()
    assert page.locator('img').evaluate('img => img.naturalWidth') == 480
    play(2)
    page.get_by_role('radio', name='Piece A').check()
    go_on()
  with page.expect_download() as download:
    page.get_by_role('button', name='Save').click()
  assert download.value.suggested_filename == (
      f'listening_{key["test"]}_L_1.csv')
  path = tmp_path / 'saved.csv'
  download.value.save_as(path)
  assert path.read_text().split() == page.get_by_label(
      'copy this text').input_value().split()

  answers = listening.read([path], key)
  for i, name in enumerate(key['pieces']):
    va, by = wanted[name][:2], wanted[name][2]
    assert answers['va'][0, i] == pytest.approx(va)
    assert answers['machine'][0, i] == (by == 'machine')
  assert np.isfinite(answers['fits']).all()
  assert not errors
  assert {url.split(':')[0] for url in requests} <= {'file', 'data', 'blob'}
  context.close()
