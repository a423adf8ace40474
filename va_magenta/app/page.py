"""The page of `va_magenta_app`: a picture, its point, its music.

  with page.serve() as url:
    ...

Everything happens on this machine: nothing is asked of the network but
Magenta's checkpoints when they are first chosen, and what a visitor brings or
gets is removed when the page is left, or the server ends.
"""

import base64
import contextlib
import functools
import hashlib
import html
import inspect
import io
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from va_magenta import checkpoints, command
from va_magenta.va import VA

try:
  import gradio as gr
except ImportError as error:
  raise ImportError(
      'the page needs gradio, install it by: pip install "va_magenta[app]" '
      f'[{error}]') from error

MAX_UPLOAD_BYTES = 32 * 2**20
MAX_PIECES = 4
_FOLDER = pathlib.Path(__file__).parent
_SUITS = 'as suits the point'
_ONE_PHRASE = 'one phrase'
_BARS = (_ONE_PHRASE, 2, 4, 8, 16, 32)
_THUMBNAIL_SIDE = 480
_TITLE = 'va_magenta: music that feels like a picture'
_INTRODUCTION = f'''# {_TITLE}

Drop in a picture: the star shows where it lies between unpleasant and pleasant,
calm and excited. Drag the star elsewhere if you feel otherwise, and make music
for that point.'''


@contextlib.contextmanager
def serve(
    host: str = '127.0.0.1',
    port: int | None = None,
    *,
    own_checkpoints: Sequence[str] = (),
    open_browser: bool = False,
    soundfont: str | None = None,
    **own_models: str | None,
) -> Iterator[str]:
  """Serves the page from other threads until the body ends; gives its address.

  Args:
    host: address to listen at; other than the default, others can reach it.
    port: the first free one from 7860 on if None.
    own_checkpoints: paths of checkpoints to be offered beside those with names.
    open_browser: whether to open the page in a browser.
    soundfont: to play music with; the best of the system if None.
    **own_models: see `build`.

  Raises:
    OSError: if the port is taken.
  """
  with tempfile.TemporaryDirectory(prefix='va_magenta_app') as folder:
    os.environ['GRADIO_TEMP_DIR'] = folder
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    logging.getLogger('httpx').setLevel(logging.WARNING)
    page = build(own_checkpoints, soundfont=soundfont, **own_models)
    try:
      _, url, _ = page.launch(
          server_name=host, server_port=port, inbrowser=open_browser,
          max_file_size=MAX_UPLOAD_BYTES, css_paths=_FOLDER / 'page.css',
          # Fonts of the visitor's machine; the library's own are fetched.
          theme=gr.themes.Default(  # pyright: ignore
              font=('system-ui', 'sans-serif'),
              font_mono=('ui-monospace', 'monospace')),
          run_history=False, footer_links=[], share=False, ssr_mode=False,
          pwa=False, mcp_server=False, quiet=True, prevent_thread_lock=True)
      yield url
    finally:
      page.close(verbose=False)


def build(
    own_checkpoints: Sequence[str] = (), *, soundfont: str | None = None,
    **own_models: str | None):
  """The page, a `gradio.Blocks`; see `serve`.

  Args:
    own_checkpoints: see `serve`.
    soundfont: likewise.
    **own_models: `image_model`, `estimator` and `performance_model` of
      `composing.request.Settings`.

  Raises:
    OSError, ValueError: if a model is not there.
  """
  import pretty_midi

  from va_magenta.composing import composer, request

  composer.check(request.Settings(**own_models))

  instruments = [_SUITS, *pretty_midi.constants.INSTRUMENT_MAP]
  with gr.Blocks(title=_TITLE, analytics_enabled=False) as page:
    gr.Markdown(_INTRODUCTION)
    with gr.Row():
      with gr.Column(min_width=260):
        upload = gr.File(
            label='Picture (at most '
            f'{MAX_UPLOAD_BYTES // 2**20} MB)', height=140, elem_id='upload')
        picture = gr.HTML(elem_id='picture')
        valence = gr.Slider(
            -1, 1, 0, step=0.01, elem_id='valence',
            label='Valence: unpleasant to pleasant')
        arousal = gr.Slider(
            -1, 1, 0, step=0.01, elem_id='arousal',
            label='Arousal: calm to excited')
      with gr.Column(min_width=360, scale=2):
        plane = gr.HTML(
            {'valence': 0, 'arousal': 0}, pieces=[], elem_id='plane',
            html_template=(_FOLDER / 'plane.html').read_text(),
            js_on_load=(_FOLDER / 'plane.js').read_text())
      with gr.Column(min_width=260):
        checkpoint = gr.Dropdown(
            _offered(own_checkpoints), label='Checkpoint',
            value=checkpoints.ALIASES['cat-mel_2bar'], elem_id='checkpoint')
        bars = gr.Dropdown(_BARS, label='Length in bars', elem_id='bars')
        instrument = gr.Dropdown(
            instruments, label='Instrument', elem_id='instrument')
        guidance = gr.Slider(
            0, 5, 1, step=0.25, elem_id='guidance',
            label='Guidance',
            info='How clearly the point is said: 1 as music says it.')
        num_outputs = gr.Slider(
            1, MAX_PIECES, 2, step=1, label='Pieces', elem_id='num_outputs')
        with gr.Accordion('More', open=False):
          candidates = gr.Slider(
              MAX_PIECES, 512, 64, step=1, elem_id='candidates',
              label='Candidates: the nearest are shown')
          seed = gr.Number(
              None, precision=0, minimum=0, elem_id='seed',
              label='Seed: another one every time if empty')
        make = gr.Button('Make music', variant='primary', elem_id='make')
    note = gr.Markdown(visible=False, elem_id='note')
    cards = []
    with gr.Row():
      for i in range(1, MAX_PIECES + 1):
        with gr.Column(
            visible=False, min_width=240, elem_id=f'piece-{i}') as column:
          roll = gr.HTML(elem_classes='piece-card')
          sound = gr.Audio(
              label='Listen', type='filepath', interactive=False, buttons=[],
              # A plain player, which the keyboard reaches.
              waveform_options=gr.WaveformOptions(
                  show_recording_waveform=False))
          with gr.Row():
            midi = gr.DownloadButton('MIDI', size='sm', elem_classes='midi')
            wav = gr.DownloadButton('WAV', size='sm', elem_classes='wav')
        cards += [column, roll, sound, midi, wav]

    # What the browser does by itself.
    point = [valence, arousal]
    plane.input(
        None, plane, point, js='va => [va.valence, va.arousal]')
    for slider in point:
      slider.change(
          None, point, plane,
          js='(valence, arousal) => ({valence, arousal})')
    # What is computed here, one at a time.
    queue = {'concurrency_id': 'models', 'concurrency_limit': 1}
    located = upload.upload(
        _shown(_locate, own_models), upload, [picture, *point], **queue)
    for done in (located.success, located.failure):
      done(lambda: None, None, upload)  # Ready for the next picture.
    make.click(
        _shown(_compose, own_models, soundfont),
        [*point, checkpoint, bars, instrument, guidance, num_outputs,
         candidates, seed],
        [plane, note, *cards], **queue)
    page.unload(_forget)
  return page


def _offered(own_checkpoints: Sequence[str]) -> list[tuple[str, str]]:
  """Labels and names of the checkpoints that write music."""
  named = [
      (f'{name}, {"fetched at first" if found.url else "ships"}', name)
      for name, found in checkpoints.TABLE.items()
      if found.kind == checkpoints.MUSIC_VAE]
  return [(os.fspath(path), os.fspath(path)) for path in own_checkpoints] + (
      named)


def _shown(function, *first):
  """Gives it its first arguments, and shows what a user can put right."""
  @functools.wraps(function)
  def wrapped(*args):
    try:
      return function(*first, *args)
    except (ValueError, OSError, ImportError) as error:
      line = command.one_line(error)
      raise gr.Error(
          html.escape(line), duration=None, print_exception=False) from error

  # The library looks for what the others are.
  signature = inspect.signature(functools.partial(function, *first))
  setattr(wrapped, '__signature__', signature)  # noqa: B010  (typed as fixed)
  return wrapped


def _locate(own_models: dict, uploaded: str):
  """What an uploaded picture changes; the file is removed at once."""
  from va_magenta.image_to_va import images

  path = pathlib.Path(uploaded)
  try:
    picture = images.load_image(path)
  except (ValueError, OSError) as error:
    # Where it lay on this machine says nothing to who uploaded it.
    raise ValueError(str(error).replace(str(path), path.name)) from error
  finally:
    path.unlink(missing_ok=True)
  from va_magenta.composing import models

  va, = models.image_model(own_models.get('image_model')).predict([picture])
  return (
      _thumbnail(picture, path.name), round(va.valence, 2),
      round(va.arousal, 2))


def _thumbnail(picture: np.ndarray, name: str) -> str:
  from PIL import Image

  image = Image.fromarray(picture)
  image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
  png = io.BytesIO()
  image.save(png, 'PNG')
  content = base64.b64encode(png.getvalue()).decode()
  return (
      f'<img src="data:image/png;base64,{content}" alt="{html.escape(name)}">')


def _compose(
    own_models: dict, soundfont: str | None,
    valence, arousal, checkpoint, bars, instrument, guidance, num_outputs,
    candidates, seed, request: gr.Request):
  """What a new set of pieces changes."""
  import pretty_midi

  from va_magenta.composing import composer
  from va_magenta.composing.request import Settings
  from va_magenta.music import synthesis
  from va_magenta.music.midi import to_bytes

  target = VA(valence, arousal)
  program = None
  if instrument != _SUITS:
    program = pretty_midi.instrument_name_to_program(instrument)
  settings = Settings(
      checkpoint=checkpoint,
      bars=None if bars == _ONE_PHRASE else bars,
      program=program, guidance=guidance, num_outputs=num_outputs,
      candidates=candidates, seed=seed, **own_models)
  pieces = composer.compose(target, settings)
  folder = _new_folder(request)
  name = f'valence{target.valence:+.2f}_arousal{target.arousal:+.2f}'
  cards, problem = [], None
  for i, piece in enumerate(pieces, 1):
    midi = folder / f'{name}-{i}.mid'
    midi.write_bytes(to_bytes(piece.sequence))
    wav = midi.with_suffix('.wav')
    try:
      synthesis.save(wav, piece.sequence, soundfont=soundfont)
    except OSError as error:
      problem, wav = command.one_line(error), None
    cards += _card(i, piece, midi, wav)
  hidden = [gr.Column(visible=False), None, None, None, None]
  cards += hidden * (MAX_PIECES - len(pieces))
  note = f'Seed {settings.seed}.'
  if problem is not None:
    note = f'{note} No sound: {html.escape(problem)}'
  return (
      gr.HTML(pieces=[(p.va.valence, p.va.arousal) for p in pieces]),
      gr.Markdown(note, visible=True), *cards)


def _card(number: int, piece, midi: pathlib.Path, wav: pathlib.Path | None):
  """Updates of a piece's column: itself, roll, sound, MIDI, WAV."""
  import pretty_midi

  from va_magenta.evaluation import report

  played = piece.performances[0]
  text = (
      f'<b>{number}</b>: valence {piece.va.valence:+.2f}, arousal '
      f'{piece.va.arousal:+.2f}, distance {piece.distance:.2f}<br>'
      f'{pretty_midi.program_to_instrument_name(played.program)}, '
      f'{played.tempo_qpm:.0f} quarters a minute')
  roll = report.piano_roll(piece.sequence, width=300, height=100)
  return [
      gr.Column(visible=True), f'{roll}<p>{text}</p>',
      gr.Audio(wav and str(wav), visible=wav is not None),
      str(midi), gr.DownloadButton(value=wav and str(wav),
                                   visible=wav is not None)]


# What a visitor got lies in a folder of the visit.


def _visit(request: gr.Request) -> pathlib.Path:
  # The browser says what the visit is called: it must not say a path.
  name = hashlib.sha256(request.session_hash.encode()).hexdigest()
  return pathlib.Path(os.environ['GRADIO_TEMP_DIR'], f'visit-{name}')


def _new_folder(request: gr.Request) -> pathlib.Path:
  """An empty folder in place of the one before."""
  visit = _visit(request)
  shutil.rmtree(visit, ignore_errors=True)
  visit.mkdir()
  return pathlib.Path(tempfile.mkdtemp(dir=visit))


def _forget(request: gr.Request):
  """Removes what a visitor got."""
  shutil.rmtree(_visit(request), ignore_errors=True)
