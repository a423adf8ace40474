"""va_magenta_generate: what it prints and writes, and every bad input."""

import contextlib
import functools
import json
import os
import subprocess
import sys
import time

import note_seq
import numpy as np
import pytest
from PIL import Image

from va_magenta.composing import composer, models
from va_magenta.image_to_va import model
from va_magenta.va import VA

COMMAND = [sys.executable, '-m', 'va_magenta.va_magenta_generate']


@pytest.fixture
def run(tmp_path, monkeypatch, run_command):
  """Runs the command in an empty folder: (exit code, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(run_command, 'va_magenta_generate')


@pytest.fixture
def no_work(monkeypatch):
  """Fails a test that gets as far as making music."""
  monkeypatch.setattr(composer, 'compose', pytest.fail)


def test_a_point_becomes_files_that_are_printed(run, tmp_path):
  code, out, err = run(
      '--valence=0.3', '--arousal', '-0.5', '--num_outputs=2', '--seed=5',
      '--candidates=16', '--output_dir=music', '--bars=4')
  assert (code, err) == (0, '')
  name = 'music/valence+0.30_arousal-0.50'
  written = {f'{name}-1.mid', f'{name}-2.mid', f'{name}.json', f'{name}.png'}
  lines = out.splitlines()
  assert lines[0] == 'target: valence +0.30, arousal -0.50'
  assert {line.partition(':')[0] for line in lines[1:]} == written
  assert {p.relative_to(tmp_path).as_posix()
          for p in tmp_path.rglob('*') if p.is_file()} == written
  record = json.loads((tmp_path / f'{name}.json').read_text())
  assert record['seed'] == 5
  assert record['bars'] == 4
  for line, output in zip(lines[1:3], record['outputs'], strict=True):
    assert line.endswith(f'distance {output["distance"]:.2f}')


def test_a_picture_becomes_music_and_figures(run, tmp_path, check_one_line):
  picture = np.full((90, 120, 3), (90, 160, 230), np.uint8)
  picture[60:] = (60, 140, 60)
  Image.fromarray(picture).save(tmp_path / 'meadow.jpg')
  code, out, err = run('--image=meadow.jpg', '--candidates=16', '--seed=0')
  assert (code, err) == (0, '')
  folder = tmp_path / 'va_magenta_output'
  assert sorted(p.name for p in folder.iterdir()) == [
      'meadow-1.mid', 'meadow.json', 'meadow.png']
  record = json.loads((folder / 'meadow.json').read_text())
  assert record['image'] == 'meadow.jpg'
  estimate = model.estimate_va(tmp_path / 'meadow.jpg')
  assert VA(**record['image_va']).distance(estimate) < 1e-6
  # And again: what exists is not touched.
  check_one_line(run('--image=meadow.jpg'), 'meadow-1.mid exists')
  assert json.loads((folder / 'meadow.json').read_text()) == record
  assert run('--image=meadow.jpg', '--candidates=16', '--overwrite')[0] == 0


def test_a_path_becomes_music(run, tmp_path):
  code, out, err = run(
      '--va_path=-0.5,-0.5:0.5,0.6', '--candidates=4', '--seed=0', '--bars=4',
      '--performance=plain')
  assert (code, err) == (0, '')
  lines = out.splitlines()
  assert lines[0] == (
      'target: valence -0.50, arousal -0.50; valence +0.50, arousal +0.60')
  name = 'valence-0.50_arousal-0.50_to_valence+0.50_arousal+0.60'
  record = json.loads(
      (tmp_path / 'va_magenta_output' / f'{name}.json').read_text())
  assert len(record['va_path']) == 2
  assert lines[1].endswith(f"distance {record['outputs'][0]['distance']:.2f}")


@pytest.fixture
def trios(tmp_path, random_music_vae, write_checkpoint):
  """A checkpoint of trios in two segments of 2 bars, with random weights."""
  from va_magenta.va_to_music import configs

  config = configs.Config(
      name='hierdec-trio_16bar', max_seq_len=64, output_depths=(90, 90, 512),
      level_lengths=(2, 32), z_size=8, enc_rnn_size=(4,), dec_rnn_size=(8,),
      control_depth=2, conductor_control=True)
  return write_checkpoint(
      tmp_path / 'trios', config, random_music_vae(config))


def test_a_path_becomes_a_trio(run, tmp_path, trios):
  code, _, err = run(
      '--va_path=-0.5,-0.5:0.5,0.6', '--candidates=4', '--seed=0',
      f'--checkpoint={trios}', '--program=11')
  assert (code, err) == (0, '')
  [path] = (tmp_path / 'va_magenta_output').glob('*.json')
  [output] = json.loads(path.read_text())['outputs']
  first, second = output['performances']
  assert first['tempo_qpm'] < second['tempo_qpm']
  assert first['program'] == second['program'] == 11
  assert first['bass_program'] == second['bass_program']
  sequence = note_seq.midi_file_to_note_sequence(
      str(path.parent / output['midi']))
  assert {(n.is_drum, n.program) for n in sequence.notes} == {
      (False, 11), (False, first['bass_program']), (True, 0)}


def test_what_trios_do_not_take_is_one_line(
    run, tmp_path, trios, check_one_line):
  point = ['--valence=0', '--arousal=0', f'--checkpoint={trios}']
  check_one_line(
      run(*point, '--input=melody.mid'), 'give a checkpoint of melodies')
  check_one_line(run(*point, '--bars=2'), 'a multiple of 4')
  check_one_line(
      run('--va_path=0,0:0,0:0,0', '--bars=4', f'--checkpoint={trios}'),
      'each in a segment of 2 bars: bars must be 8 or more, got 4')
  assert not (tmp_path / 'va_magenta_output').exists()


def _bad_picture(kind, path):
  noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
  Image.fromarray(noise).save(path, format='JPEG')
  if kind == 'empty':
    path.write_bytes(b'')
  elif kind == 'text':
    path.write_text('This is not a picture.')
  elif kind == 'truncated':
    path.write_bytes(path.read_bytes()[:2000])
  elif kind == 'header':
    path.write_bytes(path.read_bytes()[:20])
  elif kind == 'folder':
    path.unlink()
    path.mkdir()
  elif kind == 'missing':
    path.unlink()


@pytest.mark.parametrize('kind', [
    'missing', 'empty', 'text', 'truncated', 'header', 'folder'])
def test_what_is_no_picture_is_one_line(
    run, no_work, tmp_path, kind, check_one_line):
  path = tmp_path / 'picture.jpg'
  _bad_picture(kind, path)
  check_one_line(run('--image=picture.jpg'), 'picture.jpg')
  assert not (tmp_path / 'va_magenta_output').exists()


def _odd_picture(kind, path):
  noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
  image = Image.fromarray(noise)
  if kind == 'animated.gif':
    image.save(path, save_all=True, append_images=[image.rotate(90)])
  elif kind == 'cmyk.jpg':
    image.convert('CMYK').save(path)
  elif kind == '16bit.png':
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(path)
  elif kind == 'rotated.jpg':
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
  elif kind == 'wide.png':
    Image.new('RGB', (20_000, 30), 'teal').save(path)
  elif kind == 'transparent.png':
    image.convert('RGBA').save(path)


@pytest.mark.parametrize('kind', [
    'animated.gif', 'cmyk.jpg', '16bit.png', 'rotated.jpg', 'wide.png',
    'transparent.png'])
def test_odd_pictures_are_pictures(run, tmp_path, monkeypatch, kind):
  shown = []

  class Eye:

    def estimate(self, pictures):
      shown.extend(pictures)
      return [model.Estimate(VA(0, 0), (0.3, 0.3))] * len(pictures)

  monkeypatch.setattr(models, 'image_model', lambda name: Eye())
  monkeypatch.setattr(composer, 'compose', _some_pieces)
  _odd_picture(kind, tmp_path / kind)
  code, _, err = run(f'--image={kind}')
  assert (code, err) == (0, '')
  [picture] = shown
  assert picture.dtype == np.uint8
  assert picture.ndim == 3
  assert (picture.shape[0] > picture.shape[1]) == (kind == 'rotated.jpg')
  assert len(list((tmp_path / 'va_magenta_output').iterdir())) == 3


def _some_pieces(target, settings):
  from va_magenta.music import melody
  from va_magenta.va_to_music import performance

  sequence = melody.tokens_to_sequence(np.array([40, 0, 42, 0, 44, 0]))
  piece = composer.Piece(
      sequence, target[0], 0.0, 0, [performance.plain(1)],
      (np.zeros((16, 4), np.uint16), np.zeros(2, np.uint8)))
  return [piece] * settings.num_outputs


@pytest.mark.parametrize(('args', 'complaint'), [
    ([], 'give either a picture, or both valence and arousal'),
    (['--valence=0.1'], 'give both'),
    (['--arousal=0.1'], 'give both'),
    (['--valence=1.01', '--arousal=0'], 'valence must be a number in [-1, 1]'),
    (['--valence=0', '--arousal=-7'], 'arousal must be a number in [-1, 1]'),
    (['--valence=nan', '--arousal=0'], 'valence must be a number in [-1, 1]'),
    (['--valence=0', '--arousal=inf'], 'arousal must be a number in [-1, 1]'),
    (['--valence=high', '--arousal=0'], 'flag --valence=high'),
    (['--image=a.jpg', '--valence=0', '--arousal=0'], 'give either a picture'),
    (['--image=a.jpg', '--arousal=0'], 'give either a picture'),
    (['a.jpg'], "unexpected argument 'a.jpg'"),
    (['--imag=a.jpg'], "Unknown command line flag 'imag'"),
    (['--valence=0', '--arousal=0', '--checkpoint=cat-mel_4bar'],
     'the known names are band, cat-mel_2bar, '),
    (['--valence=0', '--arousal=0', '--checkpoint=image_va'],
     'is an image model, and a MusicVAE is needed'),
    (['--valence=0', '--arousal=0', '--num_outputs=0'], 'num_outputs'),
    (['--valence=0', '--arousal=0', '--temperature=nan'], 'temperature'),
    (['--valence=0', '--arousal=0', '--tempo_qpm=0'], 'tempo_qpm'),
    (['--valence=0', '--arousal=0', '--program=128'], 'program'),
    (['--valence=0', '--arousal=0', '--guidance=-1'], 'guidance'),
    (['--valence=0', '--arousal=0', '--mode=find'], 'flag --mode=find'),
    (['--valence=0', '--arousal=0', '--performance=x'], '--performance=x'),
    (['--valence=0', '--arousal=0', '--input=a.mid', '--bars=2'],
     'give either input or bars'),
    (['--va_path=0,0:1', '--bars=2'], "got '0,0:1'"),
    (['--va_path=0,0:1,2'], 'arousal must be a number in [-1, 1]'),
    (['--va_path=0,0:1,1', '--valence=0'], 'either a picture'),
    (['--valence=0', '--arousal=0', '--output_dir=/proc/music'],
     'cannot write to the folder /proc/music'),
    (['--valence=0', '--arousal=0', '--output_dir=/dev/null'],
     'cannot write to the folder /dev/null'),
])
def test_bad_flags_are_one_line(
    run, no_work, tmp_path, args, complaint, check_one_line):
  check_one_line(run(*args), complaint)
  assert not list(tmp_path.iterdir())


def test_phrase_length_is_told(run, tmp_path, check_one_line):
  check_one_line(
      run('--valence=0', '--arousal=0', '--bars=5'), 'a multiple of 2')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('given, expected', [
    ([], False), (['--audio'], 'wav'), (['--audio=ogg'], 'ogg'),
    (['--audio=MP3'], 'mp3'), (['--noaudio'], False), (['--audio=true'], 'wav'),
    (['--audio', '--bars=2'], 'wav')])
def test_sound_as_it_is_asked_for(run, monkeypatch, given, expected):
  from va_magenta import generation

  asked = {}
  monkeypatch.setattr(
      generation, 'generate_and_save', lambda *_, **given: asked.update(given))
  assert run('--valence=0', '--arousal=0', *given)[0] == 0
  assert asked['audio'] == expected


def test_sound_of_another_kind_is_refused(run, check_one_line):
  check_one_line(
      run('--valence=0', '--arousal=0', '--audio=aiff'),
      'should be one of wav, flac, ogg, mp3')


def test_help_takes_less_than_half_a_second():
  """Of a core, whatever else the machine does."""
  start = sum(os.times()[2:4])
  process = subprocess.run(
      [*COMMAND, '--help'], capture_output=True, text=True, check=True)
  seconds = sum(os.times()[2:4]) - start
  assert process.stdout.startswith('Makes music that feels like a picture')
  for flag in (
      'image', 'valence', 'arousal', 'checkpoint', 'output_dir', 'num_outputs',
      'candidates', 'temperature', 'seed', 'bars', 'tempo_qpm', 'program',
      'audio', 'overwrite', 'guidance', 'mode', 'performance', 'va_path',
      'input', 'soundfont'):
    assert f'--{flag}:' in process.stdout or f'--[no]{flag}:' in process.stdout
  assert 0 < seconds < .5


def test_bad_input_of_the_installed_command(tmp_path):
  process = subprocess.run(
      [*COMMAND, '--image=nothing.jpg'], capture_output=True, text=True,
      check=False, cwd=tmp_path)
  assert (process.returncode, process.stdout) == (1, '')
  assert process.stderr == (
      'va_magenta_generate: error: there is no picture at nothing.jpg\n')
  assert not list(tmp_path.iterdir())


def test_kill_leaves_nothing(tmp_path):
  process = subprocess.Popen(
      [*COMMAND, '--valence=0', '--arousal=0', '--candidates=2000'],
      cwd=tmp_path, stderr=subprocess.PIPE)
  while not list(tmp_path.iterdir()) and process.poll() is None:
    time.sleep(0.02)
  process.terminate()
  process.communicate(timeout=60)
  assert process.returncode == 143
  assert not list(tmp_path.iterdir())


def _hold(tmp_path):
  return {p.relative_to(tmp_path).as_posix(): p.read_bytes()
          for p in tmp_path.rglob('*') if p.is_file()}


@pytest.mark.parametrize('args', [
    ['--image=photo.png', '--output_dir=.'],
    ['--image=photo.png', '--output_dir=.', '--overwrite'],
    ['--image=photo.jpg', '--image_model=.', '--output_dir=.', '--overwrite'],
    ['--valence=0', '--arousal=0', '--checkpoint=run', '--output_dir=run',
     '--input=config.mid', '--overwrite']])
def test_what_is_read_is_not_written_over(
    run, no_work, tmp_path, args, check_one_line):
  """A picture, other pictures beside it, a model's own files."""
  from va_magenta import checkpoints

  for name in ('photo.png', 'photo.jpg'):
    Image.new('RGB', (30, 20), 'teal').save(tmp_path / name)
  (tmp_path / 'run').mkdir()
  (tmp_path / 'run' / 'config.json').write_bytes(
      (checkpoints.path('va-cat-mel_2bar') / 'config.json').read_bytes())
  # The name that the piece would have.
  (tmp_path / 'run' / 'config_as_valence+0.00_arousal+0.00.json').write_text('')
  before = _hold(tmp_path)
  code, out, err = run(*args)
  assert (code, out) == (1, '')
  assert 'is read, and would be written over' in err or 'exists' in err
  assert ('--overwrite' not in args) or 'is read' in err
  assert _hold(tmp_path) == before


def test_a_set_is_replaced_as_one(run, tmp_path, monkeypatch):
  monkeypatch.setattr(composer, 'compose', _some_pieces)
  args = ['--va_path=0.5,0.5', '--output_dir=.']
  name = 'valence+0.50_arousal+0.50'
  assert run(*args, '--num_outputs=3')[0] == 0
  (tmp_path / f'{name}-7.mid').write_text("the user's")
  code, _, err = run(*args)
  assert code == 1 and f'{name}-1.mid exists' in err
  assert run(*args, '--overwrite')[0] == 0
  assert sorted(_hold(tmp_path)) == [
      f'{name}-1.mid', f'{name}-7.mid', f'{name}.json', f'{name}.png']
  # Pieces that an earlier set left count as its files do.
  assert run(*args, '--num_outputs=2', '--overwrite')[0] == 0
  (tmp_path / f'{name}-1.mid').unlink()
  (tmp_path / f'{name}.png').unlink()
  assert run(*args)[0] == 1


def test_what_cannot_be_printed_is_not_made(
    run, tmp_path, monkeypatch, check_one_line):
  monkeypatch.setattr(composer, 'compose', _some_pieces)
  with open('/dev/full', 'w') as full:
    monkeypatch.setattr(sys, 'stdout', full)
    code, _, err = run('--va_path=0.5,0.5')
    with contextlib.suppress(OSError):
      full.close()
  assert code == 1
  assert 'cannot print: No space left on device' in err
  assert not _hold(tmp_path)


def test_a_clip_becomes_a_path_through_its_frames(run, tmp_path, monkeypatch):
  class Eye:

    def estimate(self, pictures):
      return [
          model.Estimate(VA(picture.mean() / 255, 0), (0.3, 0.3))
          for picture in pictures]

  monkeypatch.setattr(models, 'image_model', lambda name: Eye())
  monkeypatch.setattr(composer, 'compose', _some_pieces)
  frames = [Image.new('L', (8, 6), level) for level in (0, 60, 120, 180, 240)]
  frames[0].save('clip.gif', save_all=True, append_images=frames[1:])
  code, _, err = run('--image=clip.gif', '--frames=3')
  assert (code, err) == (0, '')
  written = json.loads(
      (tmp_path / 'va_magenta_output' / 'clip.json').read_text())
  assert (written['image'], written['frames']) == ('clip.gif', 3)
  assert [point['valence'] for point in written['va_path']] == pytest.approx(
      [0, 120 / 255, 240 / 255], abs=0.02)
  code, _, err = run('--va_path=0,0', '--frames=3')
  assert code == 1 and 'frames are of one animated picture' in err


def test_models_of_ones_own_reach_the_composer(run, tmp_path, monkeypatch):
  asked = []
  monkeypatch.setattr(
      composer, 'compose',
      lambda path, settings: asked.append(settings) or _some_pieces(
          path, settings))
  own = {name: tmp_path / name for name in (
      'image_model', 'estimator', 'performance_model', 'critic')}
  args = [f'--{name}={path}' for name, path in own.items()]
  code, _, err = run('--va_path=0,0', *args)
  assert code == 1 and not asked  # There are none yet.
  for path in own.values():
    path.mkdir()
  assert run('--va_path=0,0', *args)[0] == 0
  for name, path in own.items():
    assert getattr(asked[0], name) == str(path)


def test_a_home_is_expanded(run, tmp_path, monkeypatch):
  monkeypatch.setattr(composer, 'compose', _some_pieces)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  assert run('--va_path=0,0', '--output_dir=~/music')[0] == 0
  assert sorted(p.name for p in tmp_path.iterdir()) == ['home']
  assert len(list((tmp_path / 'home' / 'music').iterdir())) == 3
