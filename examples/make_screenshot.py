"""Writes examples/app.png, what the page of va_magenta_app looks like.

  python examples/make_screenshot.py

It needs the extra `test` and Chromium.
"""

import io
import pathlib
import shutil

from PIL import Image
from playwright import sync_api

from va_magenta.app import page as app

EXAMPLES = pathlib.Path(__file__).parent


def main():
  """Shows the way from rain to the meadow, with two pieces."""
  with app.serve() as url, sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which('chromium'), args=['--no-sandbox'])
    page = browser.new_page(viewport={'width': 1280, 'height': 1000})
    page.set_default_timeout(240_000)
    page.goto(url)
    page.wait_for_selector('#plane svg')
    for name in ('rain.jpg', 'meadow.jpg'):
      page.set_input_files('#upload input[type=file]', EXAMPLES / name)
      page.wait_for_selector(f'#plane img[alt="{name}"]')
    page.click('text=More')
    page.fill('#seed :is(textarea, input)', '1')
    page.click('text=More')
    page.click('#make')
    page.wait_for_selector('#sound audio')
    page.locator('#sound audio').evaluate(
        'sound => { sound.currentTime = sound.duration / 3; }')
    page.wait_for_timeout(3000)  # The player learns how long its sound is.
    png = page.screenshot(full_page=True)
    browser.close()
  image = Image.open(io.BytesIO(png)).convert('RGB')
  image.quantize(256).save(EXAMPLES / 'app.png', optimize=True)


if __name__ == '__main__':
  main()
