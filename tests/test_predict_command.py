"""va_magenta_predict: what it prints and draws, and every bad input."""

import functools
import io
import itertools
import json
import os
import pathlib
import subprocess
import sys
import types

import keras
import numpy as np
import pretty_midi
import pytest
from PIL import Image

from va_magenta import VA, prediction
from va_magenta.composing import models
from va_magenta.image_to_va import images, model
from va_magenta.music.midi import read_notes
from va_magenta.music_to_va import symbolic

COMMAND = [sys.executable, '-m', 'va_magenta.va_magenta_predict']
EXAMPLES = pathlib.Path(__file__).parents[1] / 'examples'


@pytest.fixture
def run(tmp_path, monkeypatch, run_command):
  """Runs the command in an empty folder: (exit code, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(run_command, 'va_magenta_predict')


class _Eye:
  """Sees valence in red and arousal in green, so that a test can too."""

  config = types.SimpleNamespace(image_height=24, image_width=32)

  def __init__(self):
    pixels = keras.Input((24, 32, 3))
    self.network = keras.Model(
        pixels, keras.layers.GlobalAveragePooling2D()(pixels)[:, :2])
    self.batches = []

  def estimate(self, pictures):
    self.batches.append(len(pictures))
    return [
        model.Estimate(_seen(picture.mean(axis=(0, 1))), (0.3, 0.2))
        for picture in pictures]


def _seen(color):
  return VA.clip(color[0] / 127.5 - 1, color[1] / 127.5 - 1)


@pytest.fixture
def eye(monkeypatch):
  """Takes the place of the image model; `eye.folders`: what was loaded."""
  eye = _Eye()
  eye.folders = []
  monkeypatch.setattr(
      models, 'image_model',
      lambda folder=None: eye.folders.append(folder) or eye)
  return eye


@pytest.fixture
def no_work(monkeypatch):
  """Fails a test that gets as far as loading a model."""
  for name in ('image_model', 'estimator'):
    monkeypatch.setattr(models, name, pytest.fail)


def _save_picture(path, color=(200, 50, 0), size=(40, 30), **kwargs):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', size, color).save(path, **kwargs)


def _save_midi(path, num_notes=8, tempo_qpm=120):
  midi = pretty_midi.PrettyMIDI(initial_tempo=tempo_qpm)
  piano = pretty_midi.Instrument(0)
  seconds = 60 / tempo_qpm
  piano.notes = [
      pretty_midi.Note(90, 60 + i % 8, i * seconds, (i + 1) * seconds)
      for i in range(num_notes)]
  midi.instruments.append(piano)
  path.parent.mkdir(parents=True, exist_ok=True)
  midi.write(str(path))


def test_pictures_and_midi_by_the_models_that_ship(run, tmp_path):
  """The only test that loads the shipped image model."""
  meadow = EXAMPLES / 'meadow.jpg'
  _save_midi(tmp_path / 'song.mid')
  code, out, err = run(str(meadow), 'song.mid', '--json')
  assert (code, err) == (0, '')
  picture, midi = json.loads(out)
  expected = (
      model.load().predict([images.load_image(meadow)])[0],
      symbolic.load().estimate_va_of_notes([read_notes('song.mid')])[0])
  for found, path, kind, va in zip(
      (picture, midi), (str(meadow), 'song.mid'), ('picture', 'midi'), expected,
      strict=True):
    assert set(found) == {
        'path', 'kind', 'valence', 'arousal', 'quadrant', 'spread'}
    assert (found['spread'] is None) == (found['kind'] != 'picture')
    assert (found['path'], found['kind']) == (path, kind)
    assert VA(found['valence'], found['arousal']).distance(va) < 1e-5
    assert found['quadrant'] == va.quadrant.name
  assert expected[0].distance(expected[1]) > 0.05


def test_a_table_in_the_order_of_the_arguments(run, eye, tmp_path):
  _save_picture(tmp_path / 'b.png', (255, 0, 0))
  _save_picture(tmp_path / 'a picture with a long name.bmp', (0, 255, 0))
  _save_midi(tmp_path / 'song.mid')
  va = symbolic.load().estimate_va_of_notes(
      [read_notes(tmp_path / 'song.mid')])[0]
  code, out, err = run('b.png', 'song.mid', 'a picture with a long name.bmp')
  assert (code, err) == (0, '')
  header, *lines = out.splitlines()
  assert header.split() == ['path', 'kind', 'valence', 'arousal', 'quadrant']
  # Columns stand where the header's stand.
  kind = header.index('kind')
  cells = [(line[:kind].rstrip(), line[kind:].split()) for line in lines]
  assert cells == [
      ('b.png', 'picture +1.00 -1.00 Q4 high valence, low arousal'.split()),
      ('song.mid', ['midi', f'{va.valence:+.2f}', f'{va.arousal:+.2f}',
                    va.quadrant.name, *va.quadrant.value.split()]),
      ('a picture with a long name.bmp',
       'picture -1.00 +1.00 Q2 low valence, high arousal'.split()),
  ]


def test_a_folder_stands_for_what_is_in_it(run, eye, tmp_path):
  for name in ('in/b.jpg', 'in/a/z.png', 'in/a/B.JPEG', 'in/.hidden.png',
               'in/.hidden/c.png'):
    _save_picture(tmp_path / name)
  _save_picture(tmp_path / 'in/named like nothing', format='PNG')
  _save_midi(tmp_path / 'in/a/y.mid')
  (tmp_path / 'in/README.txt').write_text('Neither picture nor music.')
  _save_picture(tmp_path / 'alone.jpg')
  code, out, err = run('in', 'alone.jpg', '--json')
  assert (code, err) == (0, '')
  assert [found['path'] for found in json.loads(out)] == [
      'in/a/B.JPEG', 'in/a/y.mid', 'in/a/z.png', 'in/b.jpg',
      'in/named like nothing', 'alone.jpg']


def test_content_decides_and_not_the_name(run, eye, tmp_path):
  _save_midi(tmp_path / 'song.mid')
  (tmp_path / 'song.mid').rename(tmp_path / 'song.jpg')
  _save_picture(tmp_path / 'picture.mid', format='PNG')
  code, out, err = run('song.jpg', 'picture.mid', '--json')
  assert (code, err) == (0, '')
  assert [p['kind'] for p in json.loads(out)] == ['midi', 'picture']


def test_one_broken_among_a_thousand(run, eye, tmp_path):
  """Pictures, MIDI and one broken file; the others are all printed."""
  rng = np.random.default_rng(0)
  colors = rng.integers(0, 256, (1000, 3))
  for i, color in enumerate(colors):
    _save_picture(
        tmp_path / f'in/{i:04}.png', tuple(color.tolist()), size=(8, 6))
  for i in range(0, 1000, 100):
    (tmp_path / f'in/{i:04}.png').unlink()
    _save_midi(tmp_path / f'in/{i:04}.mid', num_notes=4)
  noise = rng.integers(0, 256, (50, 50, 3), np.uint8)
  Image.fromarray(noise).save(tmp_path / 'in/0432.png')
  whole = (tmp_path / 'in/0432.png').read_bytes()
  (tmp_path / 'in/0432.png').write_bytes(whole[:len(whole) // 2])
  code, out, err = run('in', '--json', '--plot=plane.png')
  assert code == 1
  assert err.startswith('va_magenta_predict: error: in/0432.png is damaged')
  assert err.count('\n') == 1
  found = json.loads(out)
  names = [pathlib.Path(f['path']).stem for f in found]
  assert names == [f'{i:04}' for i in range(1000) if i != 432]
  for i, point in zip((int(name) for name in names), found, strict=True):
    assert point['kind'] == ('picture' if i % 100 else 'midi')
    if i % 100:
      va = VA(point['valence'], point['arousal'])
      assert va.distance(_seen(colors[i])) < 1e-5
  # In batches, but never many in memory at once.
  assert sum(eye.batches) == 989
  assert 8 < max(eye.batches) <= 64
  assert len(eye.folders) == 1
  with Image.open(tmp_path / 'plane.png') as image:
    assert image.format == 'PNG'


def test_a_terminal_sees_progress(eye, tmp_path, monkeypatch):
  for i in range(70):
    _save_picture(tmp_path / f'{i:02}.png', size=(4, 4))
  terminal = io.StringIO()
  monkeypatch.setattr(sys, 'stderr', terminal)
  monkeypatch.setattr('tqdm.std.time', itertools.count().__next__)  # seconds
  files = prediction.find_files([tmp_path])
  prediction.predict(files)
  assert terminal.getvalue() == ''
  terminal.isatty = lambda: True
  prediction.predict(files)
  assert 'Predicting' in terminal.getvalue()
  assert '/70' in terminal.getvalue()


def _save_sound(path, samples):
  soundfile = pytest.importorskip('soundfile')
  soundfile.write(path, samples, 8000, format='WAV')


def test_audio_by_the_model_that_ships(run, tmp_path):
  from va_magenta.music_to_va import audio

  seconds = np.arange(2 * 8000) / 8000
  _save_sound(tmp_path / 'tone', np.sin(2 * np.pi * 220 * seconds))
  rng = np.random.default_rng(0)
  _save_sound(tmp_path / 'noise.wav', rng.uniform(-1, 1, 2 * 8000))
  code, out, err = run('tone', '.', '--json')
  assert (code, err) == (0, '')
  found = json.loads(out)
  assert [(f['path'], f['kind']) for f in found] == [
      ('tone', 'audio'), ('noise.wav', 'audio'), ('tone', 'audio')]
  expected, = audio.load().estimate_va([tmp_path / 'noise.wav'])
  assert (found[1]['valence'], found[1]['arousal']) == (
      expected.valence, expected.arousal)
  assert found[0]['arousal'] != found[1]['arousal']


def test_midi_is_heard_when_asked(run, tmp_path):
  pytest.importorskip('soundfile')
  from va_magenta.music import synthesis
  from va_magenta.music_to_va import audio

  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))
  _save_midi(tmp_path / 'song')
  code, out, err = run('song', '--synthesize', '--max_seconds=2', '--json')
  assert (code, err) == (0, '')
  found, = json.loads(out)
  expected, = audio.load().estimate_va([tmp_path / 'song'], max_seconds=2)
  assert (found['kind'], found['valence'], found['arousal']) == (
      'midi', expected.valence, expected.arousal)


def _bad_file(kind, path):
  noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
  Image.fromarray(noise).save(path, format='JPEG')
  if kind == 'empty':
    path.write_bytes(b'')
  elif kind == 'text':
    path.write_text('This is not a picture.')
  elif kind == 'sound':
    path.write_bytes(b'RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0' + bytes(99))
  elif kind == 'silence':
    _save_sound(path, np.zeros(8000))
  elif kind == 'truncated':
    path.write_bytes(path.read_bytes()[:2000])
  elif kind == 'MIDI header':
    path.write_bytes(b'MThd\0\0\0\6\0\1\0')
  elif kind == 'MIDI without notes':
    path.unlink()
    _save_midi(path, num_notes=0)
  elif kind == 'pipe':
    path.unlink()
    os.mkfifo(path)
  elif kind == 'empty folder':
    path.unlink()
    path.mkdir()
  elif kind == 'missing':
    path.unlink()


@pytest.mark.parametrize(('kind', 'complaint'), [
    ('missing', 'there is no file or folder at'),
    ('empty', 'is empty (0 bytes)'),
    ('text', 'is not a picture, MIDI or audio file'),
    ('sound', 'is not a whole WAV, FLAC, OGG or MP3 file'),
    ('silence', 'there is only silence'),
    ('truncated', 'is damaged or cut short'),
    ('MIDI header', 'not a readable MIDI file'),
    ('MIDI without notes', 'has no notes'),
    ('pipe', 'is not a regular file'),
    ('empty folder', 'has no pictures, MIDI files or audio files in it'),
])
@pytest.mark.parametrize('name', ['file.jpg', 'file.mid', 'file.wav'])
def test_what_cannot_be_read_is_one_line(
    run, no_work, tmp_path, kind, complaint, name, check_one_line):
  _bad_file(kind, tmp_path / name)
  result = run(name, '--plot=plane.png')
  check_one_line(result, complaint)
  assert name in result[2]
  assert not (tmp_path / 'plane.png').exists()


def test_what_is_called_a_picture_is_missed_in_a_folder(
    run, no_work, tmp_path, check_one_line):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in/text.jpg').write_text('This is not a picture.')
  (tmp_path / 'in/text.txt').write_text('Nor does it say so.')
  check_one_line(run('in'), 'in/text.jpg is not a picture, MIDI or audio file')


def test_of_several_bad_files_each_has_a_line(run, eye, tmp_path):
  _save_picture(tmp_path / 'good.png', (255, 255, 0))
  code, out, err = run('one.jpg', 'good.png', 'two.mid', '--json')
  assert code == 1
  assert [p['path'] for p in json.loads(out)] == ['good.png']
  assert err.splitlines() == [
      f'va_magenta_predict: error: there is no file or folder at {name}'
      for name in ('one.jpg', 'two.mid')]


def test_nothing_readable_is_an_empty_array(run, no_work):
  code, out, err = run('one.jpg', '--json')
  assert code == 1
  assert json.loads(out) == []
  assert err.count('\n') == 1


def test_names_that_are_hard_to_print(run, eye, tmp_path):
  names = ['two\nlines.png', b'not UTF-8: \xff.png'.decode(
      errors='surrogateescape'), '絵.png', '$x_$.png']
  for name in names:
    _save_picture(tmp_path / name)
  code, out, err = run(*names, '--plot=plane.png')
  assert (code, err) == (0, '')
  lines = out.splitlines()
  assert len(lines) == 1 + len(names)
  assert lines[1].startswith('two\\nlines.png ')
  assert lines[2].startswith('not UTF-8: \\udcff.png ')
  # A Chinese character takes two columns.
  assert lines[3].index('picture') == lines[4].index('picture') - 1
  code, out, _ = run(*names, '--json')
  assert [p['path'] for p in json.loads(out)] == names


@pytest.mark.parametrize(('args', 'complaint'), [
    ([], 'give the paths of pictures, MIDI files, audio'),
    (['song.mid', '--soundfont=no.sf2'], 'there is no soundfont at no.sf2'),
    (['--json'], 'give the paths of pictures, MIDI files, audio'),
    (['good.png', '--plo'], "Unknown command line flag 'plo'"),
    (['good.png', '--plot=plane.jpg'], 'plane.jpg must end in .png'),
    (['good.png', '--plot='], 'a path must not be empty'),
    (['good.png', '--plot=none/plane.png'], 'there is no folder none'),
    (['good.png', '--plot=/proc/plane.png'],
     'cannot write to the folder /proc'),
    (['good.png', '--plot=folder.png'], 'folder.png is a folder'),
    (['good.png', '--plot=taken.png'], 'taken.png exists: allow overwrite'),
    (['good.png', '--explain=taken.png'], 'taken.png exists: allow overwrite'),
    (['good.png', '--plot=good.png', '--overwrite'],
     'good.png is read, and would be written over'),
    (['good.png', '--explain=./good.png', '--overwrite'],
     'good.png is read, and would be written over'),
    (['good.png', '--plot=new.png', '--explain=./new.png'],
     'new.png would be written twice'),
    (['good.png', 'taken.png', '--explain=new.png'],
     '--explain takes one picture, not 2 files'),
    (['many', '--explain=new.png'],
     '--explain takes one picture, not 3 files'),
    (['song.mid', '--explain=new.png'],
     'song.mid is midi: only a picture can be explained'),
    (['none.png', '--explain=new.png'], 'there is no file or folder at none'),
    (['text.png', '--explain=new.png'], 'is not a picture, MIDI or audio file'),
])
def test_bad_flags_are_one_line(
    run, no_work, tmp_path, args, complaint, check_one_line):
  for name in ('good.png', 'taken.png', 'many/1.png', 'many/2.png',
               'many/3.png'):
    _save_picture(tmp_path / name)
  _save_midi(tmp_path / 'song.mid')
  (tmp_path / 'text.png').write_text('This is not a picture.')
  (tmp_path / 'folder.png').mkdir()

  def contents():
    return {p: p.is_file() and p.read_bytes() for p in tmp_path.rglob('*')}

  before = contents()
  check_one_line(run(*args), complaint)
  assert contents() == before


def test_a_checkpoint_of_ones_own(run, eye, tmp_path):
  _save_picture(tmp_path / 'a.png')
  for name in ('my_model', 'other'):
    (tmp_path / name).mkdir()
  assert run('a.png', '--image_model=my_model')[0] == 0
  assert run('a.png', '--image_model=other', '--explain=b.png')[0] == 0
  assert run('a.png')[0] == 0
  assert eye.folders == ['my_model', 'other', None]


def test_a_checkpoint_that_is_none(run, tmp_path, check_one_line):
  _save_picture(tmp_path / 'a.png')
  for i in range(3):
    _save_picture(tmp_path / f'in/{i}.png')
  # Not a line a file: nothing is wrong with the files.
  check_one_line(run('in', '--image_model=in'), 'in is not an image model')


def test_outputs_are_replaced_only_if_told(run, eye, tmp_path, check_one_line):
  _save_picture(tmp_path / 'a.png')
  args = ('a.png', '--plot=plane.png', '--explain=why.png')
  assert run(*args)[0] == 0
  first = [(tmp_path / name).stat().st_mtime_ns for name in (
      'plane.png', 'why.png')]
  check_one_line(run(*args), 'plane.png exists')
  assert run(*args, '--overwrite')[0] == 0
  second = [(tmp_path / name).stat().st_mtime_ns for name in (
      'plane.png', 'why.png')]
  assert all(b > a for a, b in zip(first, second, strict=True))
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'a.png', 'plane.png', 'why.png']


def test_explain_prints_and_draws(run, eye, tmp_path):
  _save_picture(tmp_path / 'a.png', (255, 0, 40), size=(60, 40))
  code, out, err = run('a.png', '--json', '--explain=why.png')
  assert (code, err) == (0, '')
  [found] = json.loads(out)
  assert (found['valence'], found['arousal']) == (1, -1)
  with Image.open(tmp_path / 'why.png') as image:
    pixels = np.asarray(image.convert('RGB')).astype(int)
  # The picture itself is the first of three panels.
  y, x = (np.abs(pixels - (255, 0, 40)).max(-1) < 10).nonzero()
  assert np.ptp(x) / np.ptp(y) == pytest.approx(60 / 40, rel=0.05)
  assert x.max() < pixels.shape[1] / 2
  # The same run draws the same.
  assert run('a.png', '--explain=again.png')[0] == 0
  assert (tmp_path / 'again.png').read_bytes() == (
      tmp_path / 'why.png').read_bytes()


def test_folders_are_searched_without_links_that_loop(run, eye, tmp_path):
  _save_picture(tmp_path / 'in/a.png')
  (tmp_path / 'in/loop').symlink_to(tmp_path / 'in')
  (tmp_path / 'in/link.png').symlink_to(tmp_path / 'in/a.png')
  (tmp_path / 'in/nowhere.png').symlink_to(tmp_path / 'in/none')
  code, out, err = run('in', '--json')
  assert (code, err) == (0, '')
  assert [p['path'] for p in json.loads(out)] == ['in/a.png', 'in/link.png']


def test_the_library_raises_the_first_error(eye, tmp_path):
  _save_picture(tmp_path / 'a.png')
  (tmp_path / 'b.png').write_text('This is not a picture.')
  found = prediction.predict([tmp_path / 'a.png'])
  assert [f.path for f in found] == [tmp_path / 'a.png']
  assert prediction.predict([]) == []
  with pytest.raises(ValueError, match='b.png is not a picture'):
    prediction.predict(prediction.find_files([tmp_path]))
  with pytest.raises(IsADirectoryError, match='is a folder'):
    prediction.predict([tmp_path])
  with pytest.raises(FileNotFoundError, match='no file or folder'):
    prediction.find_files([tmp_path / 'c.png'])


def test_help_takes_less_than_half_a_second():
  """Of a core, whatever else the machine does."""
  start = sum(os.times()[2:4])
  process = subprocess.run(
      [*COMMAND, '--help'], capture_output=True, text=True, check=True)
  seconds = sum(os.times()[2:4]) - start
  assert process.stdout.startswith('Says where pictures, MIDI files')
  for flag in ('json', 'plot', 'explain', 'image_model', 'overwrite'):
    assert f'--{flag}:' in process.stdout or f'--[no]{flag}:' in process.stdout
  assert 0 < seconds < .5


def test_midi_alone_needs_no_keras(tmp_path):
  _save_midi(tmp_path / 'song.mid')
  code = (
      'import sys; from va_magenta import prediction; '
      'print(prediction.predict(["song.mid"])[0].kind, "keras" in sys.modules)')
  process = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True, check=True,
      cwd=tmp_path)
  assert (process.stdout, process.stderr) == ('midi False\n', '')
  process = subprocess.run(
      [*COMMAND, 'song.mid', 'none.mid'], capture_output=True, text=True,
      check=False, cwd=tmp_path)
  assert process.returncode == 1
  assert process.stdout.count('\n') == 2
  assert process.stderr == (
      'va_magenta_predict: error: there is no file or folder at none.mid\n')
