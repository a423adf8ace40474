"""The page in a real browser, served by the command as users start it."""

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse

import note_seq
import pytest

from va_magenta.music import synthesis

pytestmark = pytest.mark.slow

pytest.importorskip('gradio', reason='the extra `app` is not installed')
api = pytest.importorskip(
    'playwright.sync_api', reason='playwright is not installed')

EXAMPLES = pathlib.Path(__file__).parents[2] / 'examples'
# Of what may be slow on a machine that does much else.
PATIENCE_MS = 240_000


@pytest.fixture
def browser():
  path = next(filter(None, map(
      shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
  if path is None:
    pytest.skip('there is no chromium to be started')
  with api.sync_playwright() as playwright:
    # Tests may run as root, where Chromium has no sandbox; nothing of the
    # network is opened.
    browser = playwright.chromium.launch(
        executable_path=path, args=['--no-sandbox'], timeout=PATIENCE_MS)
    yield browser
    browser.close()


@pytest.fixture
def app(tmp_path, monkeypatch):
  """The command's process and its address; all is gone when it ends."""
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  monkeypatch.setenv('PYTHONUNBUFFERED', '1')
  with subprocess.Popen(
      [sys.executable, '-m', 'va_magenta.va_magenta_app', '--noopen'],
      stdout=subprocess.PIPE, text=True) as process:
    try:
      # Libraries may have something to say before.
      yield next(filter(None, (
          re.match('http://127.0.0.1:[0-9]+/', line)
          for line in process.stdout)))[0]
      process.terminate()
      assert process.wait(timeout=60) == 128 + signal.SIGTERM
      assert not list(tmp_path.glob('va_magenta_app*'))
    finally:
      with contextlib.suppress(ProcessLookupError):
        process.kill()


def _star(page):
  """Where the stars are said to lie: valence, arousal of each."""
  label = page.get_attribute('#plane svg', 'aria-label')
  return tuple(map(float, re.findall(r'-?\d\.\d\d', label)))


def _sliders(page):
  return tuple(
      float(page.input_value(f'#{name} input[type=number]'))
      for name in ('valence', 'arousal'))


def test_picture_to_music(browser, app):
  page = browser.new_page(viewport={'width': 1280, 'height': 1000})
  page.set_default_timeout(PATIENCE_MS)
  hosts, errors = set(), []
  page.on('request', lambda request: hosts.add(
      urllib.parse.urlsplit(request.url).hostname))
  page.on('pageerror', lambda error: errors.append(error))
  page.goto(app)
  page.wait_for_selector('#plane svg')
  assert _star(page) == (0, 0)

  # A picture gets its point.
  page.set_input_files('#upload input[type=file]', EXAMPLES / 'meadow.jpg')
  page.wait_for_selector('#plane img[alt="meadow.jpg"]')
  page.wait_for_function(
      "!document.querySelector('#plane svg').ariaLabel.includes(' 0.00,')")
  assert _star(page)[0] > 0.3
  assert _star(page) == _sliders(page)

  # The star is dragged by the mouse, the sliders follow; and the other way.
  star = page.locator('#plane .star').bounding_box()
  plane = page.locator('#plane rect').first.bounding_box()  # Upper left.
  page.mouse.move(
      star['x'] + star['width'] / 2, star['y'] + star['height'] / 2)
  page.mouse.down()
  page.mouse.move(
      plane['x'] + plane['width'], plane['y'] + plane['height'], steps=5)
  page.mouse.move(
      plane['x'] + 0.5 * plane['width'], plane['y'] + 0.4 * plane['height'],
      steps=5)
  page.mouse.up()
  assert _star(page) == pytest.approx((-0.5, 0.6), abs=0.05)
  page.mouse.move(plane['x'], plane['y'])  # It was let go.
  page.wait_for_timeout(200)
  assert _star(page) == _sliders(page) == pytest.approx((-0.5, 0.6), abs=0.05)
  page.fill('#valence input[type=number]', '0.4')
  page.press('#valence input[type=number]', 'Tab')
  page.wait_for_function(
      "document.querySelector('#plane svg').ariaLabel.includes(' 0.40,')")
  page.focus('#arousal input[type=range]')
  before = _star(page)[1]
  page.keyboard.press('ArrowUp')
  page.wait_for_function(
      "!document.querySelector('#plane svg').ariaLabel.includes("
      f"'{before:.2f}.')")
  assert _star(page) == pytest.approx((0.4, before + 0.01))

  # With another picture there is a path; the chosen star has the sliders.
  page.set_input_files('#upload input[type=file]', EXAMPLES / 'rain.jpg')
  page.wait_for_selector('#plane img[alt="rain.jpg"]')
  page.wait_for_selector('#plane .star[data-index="1"].chosen')
  *first, valence, arousal = _star(page)
  page.wait_for_function(f'''
      document.querySelector('#valence input[type=number]').value
      == {valence}''')
  assert page.get_attribute('#plane .path', 'points') == (
      f'{first[0]:g},{-first[1]:g} {valence:g},{-arousal:g}')
  page.click('#plane .choose[data-index="0"]')
  page.wait_for_function(f'''
      document.querySelector('#valence input[type=number]').value
      == {first[0]}''')
  assert _star(page) == (*first, valence, arousal)

  # Two pieces for it; the second is shown when it is chosen.
  page.click('#make')
  page.wait_for_selector('#roll svg text')
  assert page.locator('#plane .piece').count() == 2
  first_chords = page.input_value('#chords :is(textarea, input)')
  page.check('#piece input >> nth=1')
  page.wait_for_function(
      "document.querySelector('#chords :is(textarea, input)').value != "
      f"'{first_chords}'")
  links = page.locator('#files a')
  with page.expect_download() as download:
    links.first.click()
  assert re.fullmatch(
      r'valence\+0\.40_arousal\+0\.\d\d_to_valence.*-2\.mid',
      download.value.suggested_filename)
  assert note_seq.midi_file_to_note_sequence(download.value.path()).notes

  # Other chords make a piece more.
  key = page.input_value('#key :is(textarea, input)')
  tonic = key.split()[0] + ('m' if key.endswith('minor') else '')
  page.fill('#chords :is(textarea, input)', f'{tonic} {tonic}7 N.C.')
  page.click('#again')
  page.wait_for_selector('#plane .piece >> nth=2')
  page.wait_for_function(
      "document.querySelector('#chords :is(textarea, input)').value.startsWith("
      f"'{tonic} {tonic}7 N.C. {tonic}')")
  written = page.locator('#roll text').all_text_contents()
  assert set(written) == {tonic, f'{tonic}7', 'N.C.'}

  with contextlib.suppress(OSError):
    synthesis.import_fluidsynth()
    # The cursor follows the player, and a click on the roll takes it there.
    sound = page.locator('#sound audio')
    sound.evaluate('sound => { sound.muted = true; return sound.play(); }')
    page.wait_for_function(
        "document.querySelector('#sound audio').currentTime > 0.2 && "
        "document.querySelector('#roll .cursor').getAttribute('x1') > 0")
    sound.evaluate('sound => sound.pause()')
    roll = page.locator('#roll svg').bounding_box()
    page.mouse.click(roll['x'] + roll['width'] / 2, roll['y'] + 50)
    page.wait_for_function(
        "document.querySelector('#sound audio').currentTime > 3")
    page.wait_for_function('''
        Math.abs(document.querySelector('#roll .cursor').getAttribute('x1')
        / document.querySelector('#roll svg').getAttribute('width') - 0.5)
        < 0.02''')
    assert 5 < sound.evaluate('sound => sound.duration') < 60

  assert hosts - {None, ''} == {'127.0.0.1'}  # None of data: URLs.
  assert not errors
  page.close()
