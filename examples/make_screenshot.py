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
  """Shows the meadow, with three pieces."""
  with app.serve() as url, sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
        executable_path=shutil.which('chromium'), args=['--no-sandbox'])
    page = browser.new_page(viewport={'width': 1280, 'height': 800})
    page.set_default_timeout(240_000)
    page.goto(url)
    page.wait_for_selector('#plane svg')
    page.set_input_files(
        '#upload input[type=file]', EXAMPLES / 'meadow.jpg')
    page.wait_for_selector('#picture img')
    page.fill('#num_outputs input[type=number]', '3')
    page.click('text=More')
    for name, value in (('candidates', 512), ('seed', 1)):
      page.fill(f'#{name} input[type=number]', str(value))
    page.click('text=More')
    page.click('#make')
    page.wait_for_selector('#piece-3 audio')
    page.wait_for_timeout(3000)  # Players learn how long their sounds are.
    png = page.screenshot(full_page=True)
    browser.close()
  image = Image.open(io.BytesIO(png)).convert('RGB')
  image.quantize(256).save(EXAMPLES / 'app.png', optimize=True)


if __name__ == '__main__':
  main()
