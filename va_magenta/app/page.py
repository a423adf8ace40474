"""The page of `va_magenta_app`: pictures, their points, their music.

  with page.serve() as url:
    ...

Everything happens on this machine: nothing comes from the network but
Magenta's checkpoints when they are first chosen, and what a visitor brings or
gets is removed when the page is left, or the server ends.
"""

import base64
import contextlib
import dataclasses
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
from collections.abc import Iterator, Mapping, Sequence

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
MAX_PICTURES = 8
MAX_PIECES = 4
_FOLDER = pathlib.Path(__file__).parent
_SUITS = 'as suits the point'
_USUAL = 'as usual'
_BARS = (_USUAL, 2, 4, 8, 16, 32)
_THUMBNAIL_SIDE = 240
_ROLL_SIZE = 1200, 320
_TITLE = 'va_magenta: music that feels like a picture'
_INTRODUCTION = f'''# {_TITLE}

Drop in a picture: the star shows where it lies between unpleasant and pleasant,
calm and excited. Drag the star elsewhere if you feel otherwise, and make music
for that point. With several pictures, the music leads from one to the next.'''


@dataclasses.dataclass(frozen=True)
class _Shown:
  """A piece that a visitor has.

  Attributes:
    path: points that it was made for.
    settings: how, a `composing.request.Settings` that makes it alone.
    va: where it lies.
    roll: HTML.
    key: of a band, its name; '' of others.
    chords: likewise, of a progression.
    sound: file to listen to; None without FluidSynth.
    files: all that were written, in this order.
  """

  path: list[VA]
  settings: object
  va: VA
  roll: str
  key: str
  chords: str
  sound: str | None
  files: list[str]


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
            label='Pictures (at most '
            f'{MAX_UPLOAD_BYTES // 2**20} MB)', height=140, elem_id='upload',
            file_count='multiple')
        valence = gr.Slider(
            -1, 1, 0, step=0.01, elem_id='valence',
            label='Valence: unpleasant to pleasant')
        arousal = gr.Slider(
            -1, 1, 0, step=0.01, elem_id='arousal',
            label='Arousal: calm to excited')
      with gr.Column(min_width=360, scale=2):
        plane = gr.HTML(
            {'points': [{'valence': 0, 'arousal': 0}], 'chosen': 0}, pieces=[],
            elem_id='plane', **_custom('plane'))
      with gr.Column(min_width=260):
        checkpoint = gr.Dropdown(
            _offered(own_checkpoints), label='Checkpoint',
            value=checkpoints.ALIASES['band'], elem_id='checkpoint')
        bars = gr.Dropdown(_BARS, label='Length in bars', elem_id='bars')
        instrument = gr.Dropdown(
            instruments, label='Instrument of the melody', elem_id='instrument')
        guidance = gr.Slider(
            0, 5, 1, step=0.25, elem_id='guidance',
            label='Guidance',
            info="How strongly music follows it: 1 as people's does.")
        num_outputs = gr.Slider(
            1, MAX_PIECES, 2, step=1, label='Pieces', elem_id='num_outputs')
        with gr.Accordion('More', open=False):
          # Of text, as an empty field of numbers is sent as 0.
          candidates = gr.Textbox(
              elem_id='candidates',
              label='Candidates: 16 of a band, 64 of others if empty')
          seed = gr.Textbox(
              elem_id='seed', label='Seed: another one every time if empty')
        make = gr.Button('Make music', variant='primary', elem_id='make')
    note = gr.Markdown(visible=False, elem_id='note')
    shown = gr.State([])
    with gr.Column(visible=False, elem_id='stage') as stage:
      piece = gr.Radio(label='Piece', elem_id='piece')
      roll = gr.HTML(
          elem_id='roll', js_on_load=(_FOLDER / 'roll.js').read_text())
      sound = gr.Audio(
          label='Listen', type='filepath', interactive=False, buttons=[],
          elem_id='sound',
          # A plain player, which the keyboard reaches.
          waveform_options=gr.WaveformOptions(show_recording_waveform=False))
      with gr.Row() as harmony:
        key = gr.Textbox(label='Key', elem_id='key', min_width=120)
        chords = gr.Textbox(
            label='Chords: one a bar, or two between bar lines', scale=6,
            elem_id='chords')
        again = gr.Button('Play with these', elem_id='again', min_width=120)
      files = gr.File(
          label='Files', file_count='multiple', interactive=False,
          elem_id='files')

    # What the browser does by itself.
    point = [valence, arousal]
    plane.input(
        None, plane, point, js='''({points, chosen}) =>
            [points[chosen].valence, points[chosen].arousal]''')
    for slider in point:
      slider.change(
          None, [*point, plane], plane,
          js='''(valence, arousal, {points, chosen}) => ({chosen, points:
              points.map((point, i) =>
                  i === chosen ? {...point, valence, arousal} : point)})''')
    # What is computed here, one at a time.
    queue = {'concurrency_id': 'models', 'concurrency_limit': 1}
    located = upload.upload(
        _told(_locate, own_models), [upload, plane], [plane, *point], **queue)
    for done in (located.success, located.failure):
      done(lambda: None, None, upload)  # Ready for the next picture.
    pieces = [shown, plane, stage, piece]
    views = [roll, sound, harmony, key, chords, files]
    make.click(
        _told(_compose, own_models, soundfont),
        [plane, checkpoint, bars, instrument, guidance, num_outputs,
         candidates, seed], [note, *pieces, *views], **queue)
    gr.on(
        [again.click, key.submit, chords.submit],
        _told(_compose_again, soundfont), [shown, piece, key, chords],
        [*pieces, *views], **queue)
    piece.input(_choose, [shown, piece], views)
    page.unload(_forget)
  return page


def _custom(name: str) -> dict:
  """What a component of our own is made of."""
  return {
      'html_template': (_FOLDER / f'{name}.html').read_text(),
      'js_on_load': (_FOLDER / f'{name}.js').read_text()}


def _offered(own_checkpoints: Sequence[str]) -> list[tuple[str, str]]:
  """Labels and names of the checkpoints that write music."""
  named = [
      (f'{name}, {"fetched at first" if found.url else "ships"}', name)
      for name, found in checkpoints.TABLE.items()
      if found.kind == checkpoints.MUSIC_VAE]
  return [(os.fspath(path), os.fspath(path)) for path in own_checkpoints] + (
      named)


def _told(function, *first):
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


def _locate(own_models: dict, uploaded: Sequence[str], plane: Mapping):
  """What uploaded pictures change; the files are removed at once."""
  from va_magenta.image_to_va import images

  paths = [pathlib.Path(path) for path in uploaded]
  points = [point for point in plane['points'] if 'picture' in point]
  try:
    if len(points) + len(paths) > MAX_PICTURES:
      raise ValueError(
          f'at most {MAX_PICTURES} pictures in a row: remove some first')
    pictures = []
    for path in paths:
      try:
        pictures.append(images.load_image(path))
      except (ValueError, OSError) as error:
        # Where it lay on this machine says nothing to who uploaded it.
        raise ValueError(str(error).replace(str(path), path.name)) from error
  finally:
    for path in paths:
      path.unlink(missing_ok=True)
  from va_magenta.composing import models

  vas = models.image_model(own_models.get('image_model')).predict(pictures)
  points += [
      {'valence': round(va.valence, 2), 'arousal': round(va.arousal, 2),
       'picture': _thumbnail(picture), 'name': html.escape(path.name)}
      for va, picture, path in zip(vas, pictures, paths, strict=True)]
  return (
      {'points': points, 'chosen': len(points) - 1},
      points[-1]['valence'], points[-1]['arousal'])


def _thumbnail(picture: np.ndarray) -> str:
  """The address of a small copy that has all of it in itself."""
  from PIL import Image

  image = Image.fromarray(picture)
  image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
  jpeg = io.BytesIO()
  image.save(jpeg, 'JPEG')
  return (
      f'data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}')


def _compose(
    own_models: dict, soundfont: str | None,
    plane, checkpoint, bars, instrument, guidance, num_outputs,
    candidates, seed, request: gr.Request):
  """What a new set of pieces changes."""
  import pretty_midi

  from va_magenta.composing.request import Settings

  path = [VA(p['valence'], p['arousal']) for p in plane['points']]
  program = None
  if instrument != _SUITS:
    program = pretty_midi.instrument_name_to_program(instrument)
  settings = Settings(
      checkpoint=checkpoint, bars=None if bars == _USUAL else bars,
      program=program, guidance=guidance, num_outputs=num_outputs,
      candidates=_number('candidates', candidates),
      seed=_number('seed', seed), **own_models)
  visit = _visit(request)
  earlier = list(visit.iterdir()) if visit.exists() else []
  pieces, problems = _made(path, settings, soundfont, visit)
  for folder in earlier:
    shutil.rmtree(folder, ignore_errors=True)
  note = ' '.join([f'Seed {settings.seed}.', *map(html.escape, problems)])
  return gr.Markdown(note, visible=True), *_pieces(pieces, 0)


def _number(name: str, text: str | None) -> int | None:
  """What a field says; None if it is empty, or was never seen."""
  try:
    return int(text) if text and text.strip() else None
  except ValueError:
    raise ValueError(f'{name} must be a whole number, got {text!r}') from None


def _compose_again(
    soundfont: str | None, shown: Sequence[_Shown], index: int, key: str,
    chords: str, request: gr.Request):
  """What another key, or other chords, of a piece change: one piece more.

  Chords that are left as they are move with the key.
  """
  from va_magenta.music import chords as chord_names

  before = shown[index]
  key, chords = key.strip(), chords.strip()
  if key and key != before.key and chords == before.chords:
    new, old = map(chord_names.parse_key, (key, before.key))
    chords = chord_names.progression_name(chord_names.transpose(
        chord_names.parse_progression(chords),
        new.signature - old.signature), new)
  settings = dataclasses.replace(
      before.settings, key=key or None, chords=chords or None)
  pieces, _ = _made(before.path, settings, soundfont, _visit(request))
  return _pieces([*shown, *pieces], len(shown))


def _made(
    path: list[VA], settings, soundfont: str | None, visit: pathlib.Path
) -> tuple[list[_Shown], list[str]]:
  """New pieces, whose files lie in a folder of the visit; what is missing."""
  from va_magenta import generation
  from va_magenta.composing import output

  extras, problems = {'audio': 'wav', 'score': True}, []
  for name in tuple(extras):
    try:
      output.Extras(**{name: extras[name]}).check_libraries()
    except (OSError, ImportError) as error:
      problems.append(f'No {name}: {command.one_line(error)}.')
      del extras[name]
  visit.mkdir(exist_ok=True)
  saved = generation.generate_and_save(
      va_path=[(va.valence, va.arousal) for va in path],
      output_dir=tempfile.mkdtemp(dir=visit), soundfont=soundfont, roll=True,
      **extras, **{field.name: getattr(settings, field.name)
                   for field in dataclasses.fields(settings)})
  paths = [saved.names.of_pieces(kind) for kind in saved.names.endings]
  return [
      _Shown(
          path,
          dataclasses.replace(
              settings, num_outputs=1, candidate=piece.candidate),
          piece.va, _roll(piece), *_harmony(piece),
          sound=next(map(str, saved.audio_paths[i:]), None),
          files=[*(str(of_kind[i]) for of_kind in paths), str(saved.json_path),
                 str(saved.png_path)])
      for i, piece in enumerate(saved.pieces)], problems


def _harmony(piece) -> tuple[str, str]:
  """The names of a piece's key and chords, '' without."""
  from va_magenta.music import chords

  if not piece.sequence.key_signatures:
    return '', ''
  [signature] = piece.sequence.key_signatures
  key = chords.Key(
      signature.key, 'minor' if signature.mode == signature.MINOR else 'major')
  return str(key), chords.progression_name(
      chords.transpose(piece.score[1], piece.performances[0].shift), key)


def _roll(piece) -> str:
  """The piano roll, and below it what there is to say of a piece."""
  import pretty_midi

  from va_magenta.figures import piano_roll

  sequence = piece.sequence
  players = {
      note.instrument: 'drums' if note.is_drum else
      pretty_midi.program_to_instrument_name(note.program)
      for note in sequence.notes}
  roll = piano_roll.svg(sequence, *_ROLL_SIZE, labels=True)
  legend = ''.join(
      f' <span style="color: {color}">■</span> {players[number]}'
      for number, _, color in piano_roll.parts(sequence))
  return (
      f'{roll}<p>{legend.strip()}<br>Valence {piece.va.valence:+.2f}, arousal '
      f'{piece.va.arousal:+.2f}, distance {piece.distance:.2f}; '
      f'{piece.performances[0].tempo_qpm:.0f} quarters a minute, '
      f'{sequence.total_time:.0f} seconds</p>')


def _pieces(shown: Sequence[_Shown], index: int):
  """Updates of what shows all pieces, and of what shows the chosen one."""
  return (
      list(shown),
      gr.HTML(pieces=[(piece.va.valence, piece.va.arousal) for piece in shown]),
      gr.Column(visible=True),
      gr.Radio([(str(i + 1), i) for i in range(len(shown))], value=index),
      *_views(shown[index]))


def _choose(shown: Sequence[_Shown], index: int):
  """What another piece changes."""
  return _views(shown[index])


def _views(shown: _Shown):
  """Updates of what shows a piece: see `views` in `build`."""
  return (
      shown.roll, gr.Audio(shown.sound, visible=shown.sound is not None),
      gr.Row(visible=bool(shown.chords)), shown.key, shown.chords, shown.files)


# What a visitor got lies in a folder of the visit.


def _visit(request: gr.Request) -> pathlib.Path:
  # The browser says what the visit is called: it must not say a path.
  name = hashlib.sha256(request.session_hash.encode()).hexdigest()
  return pathlib.Path(os.environ['GRADIO_TEMP_DIR'], f'visit-{name}')


def _forget(request: gr.Request):
  """Removes what a visitor got."""
  shutil.rmtree(_visit(request), ignore_errors=True)
