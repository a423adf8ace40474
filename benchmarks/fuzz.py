"""Gives damaged and hostile inputs to what reads them; counts what happens.

python benchmarks/fuzz.py --num_inputs=1000
python benchmarks/fuzz.py --kinds=midi,tar --num_inputs=100000

Of each kind so many inputs are made, which depend on their number alone, and
read in a process of their own, so that nothing that happens ends the run. What
may happen is that an input is read, or refused by a ValueError or an OSError
that names the file. Printed are the counts, and the first input of each fault:

  crash     any other exception, or the process died
  hang      it took longer than 10 seconds of the processor, or 2 minutes
            (what takes more than 4 GB of memory is a crash)
  unnamed   it was refused, but which file it was is not said
  left      a file was left that was not there before, or a payload was run
"""

import collections
import functools
import io
import json
import os
import pathlib
import pickle
import random
import select
import signal
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable

import numpy as np
from absl import app, flags

MAX_BYTES = 4 << 30
HANG_SECONDS = 10  # Of the processor: other work must not look like a hang.
WAIT_SECONDS = 120
FAULTS = ('crash', 'hang', 'unnamed', 'left')
# What a payload would write, if anything unpickled it.
PAYLOAD = 'payload'


class _Payload:
  def __reduce__(self):
    return open, (PAYLOAD, 'w')


def _bytes(rng: random.Random, size: int) -> bytes:
  return bytes(rng.randrange(256) for _ in range(size))


def damaged(content: bytes, rng: random.Random) -> bytes:
  """Content with a few changes: cut, flipped, put in, repeated, extreme."""
  content = bytearray(content)
  for _ in range(rng.choice((1, 1, 2, 4, 16))):
    at = rng.randrange(len(content) + 1)
    how = rng.randrange(6)
    if how == 0:
      del content[at:]
    elif how == 1:
      del content[at:at + rng.randrange(1, 64)]
    elif how == 2:
      content[at:at] = _bytes(rng, rng.randrange(1, 16))
    elif how == 3:
      content[at:at] = content[at:at + 32]
    elif how == 4 and at < len(content):
      content[at] ^= 1 << rng.randrange(8)
    else:
      size = rng.choice((1, 2, 4))
      content[at:at + size] = rng.choice(
          (b'\0', b'\x7f', b'\x80', b'\xff')) * size
  return bytes(content)


# Pictures.


@functools.cache
def _pictures() -> dict[str, bytes]:
  from PIL import Image

  from va_magenta.image_to_va import images

  pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
  pictures = {}
  for form in images.FORMATS:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    pictures[form] = file.getvalue()
  return pictures


def make_picture(path: pathlib.Path, rng: random.Random):
  """A damaged picture of any format."""
  path.write_bytes(damaged(_pictures()[rng.choice(list(_pictures()))], rng))


def read_picture(path: pathlib.Path):
  """As `va_magenta_generate` does."""
  from va_magenta.image_to_va import images

  picture = images.load_image(path)
  assert picture.dtype == np.uint8 and picture.shape[2] == 3


# MIDI.


@functools.cache
def _midi() -> list[bytes]:
  import note_seq

  from va_magenta.music import midi

  contents = []
  for num_parts in (1, 3):
    sequence = note_seq.NoteSequence(ticks_per_quarter=220)
    sequence.tempos.add(qpm=100)
    sequence.time_signatures.add(numerator=4, denominator=4)
    for i in range(8 * num_parts):
      sequence.notes.add(
          pitch=50 + i, velocity=60 + i, start_time=i / 3, end_time=i / 3 + 1,
          instrument=i % num_parts, program=5 * (i % num_parts),
          is_drum=i % num_parts == 2)
    sequence.control_changes.add(time=1, control_number=64, control_value=99)
    sequence.pitch_bends.add(time=2, bend=500)
    contents.append(midi.to_bytes(sequence))
  return contents


def _length(number: int) -> bytes:
  """A number as MIDI writes those of any size, seven bits to a byte."""
  digits = [number & 127]
  while number := number >> 7:
    digits.append(number & 127 | 128)
  return bytes(reversed(digits))


def _odd_event(rng: random.Random) -> bytes:
  """An event that files have, if seldom, or none at all."""
  channel = rng.choice((0, 1, 9))
  value = rng.randrange(128)
  return rng.choice((
      # Exclusive, whole, in packets, escaped, and promising too much.
      b'\xf0' + _length(value) + bytes(value),
      b'\xf0\x03\x43\x12\0' + _length(value) + b'\xf7\x02\x43\xf7',
      b'\xf7\x03\x90' + bytes([value, value]),
      b'\xf7' + _length(1 << rng.randrange(28)),
      # Tempo, meter and key.
      b'\xff\x51\x03' + _bytes(rng, 3),
      b'\xff\x51\x03\0\0' + bytes([value]),
      bytes([0xff, 0x58, 4, value, rng.choice((0, 2, 4, 33, 255)), 24, 8]),
      b'\xff\x58\x02\x03\x02',
      bytes([0xff, 0x59, 2, 2 * value, value]),
      # The pedal, all notes off, a bend, a program; a note that stays on.
      bytes([0xb0 | channel, 64, value]),
      bytes([0xb0 | channel, rng.choice((120, 123, 127)), 0]),
      bytes([0xe0 | channel, value, value]),
      bytes([0xc0 | channel, value]),
      bytes([0x90 | channel, value, 99]),
      bytes([value, value]),  # Running status.
      b'\xf8'))


def _odd_midi(rng: random.Random) -> bytes:
  """A MIDI file with odd events on any track, also long after the end."""
  tracks = [[] for _ in range(rng.randrange(1, 4))]
  for i in range(rng.choice((0, 2, 4, 8))):
    channel = rng.choice((0, 0, 0, 0, 0, 1, 9))
    tracks[-1] += [
        (48 * i, bytes([0x90 | channel, 60 + i, 80])),
        (48 * i + rng.choice((0, 24, 96)), bytes([0x80 | channel, 60 + i, 0]))]
  for _ in range(rng.randrange(1, 8)):
    tick = rng.choice((0, 0, 48, 100, 384, 10**5, 1 << rng.randrange(34)))
    rng.choice(tracks).append((tick, _odd_event(rng)))
  header = bytes(rng.choice((0, 0, 0, 2)))
  ticks = rng.choice(
      (24, 24, 480, 480, 1, 32767, 0xe728, rng.randrange(1 << 16)))
  chunks = [
      b'MThd' + (6 + len(header)).to_bytes(4, 'big')
      + rng.choice((0, 1, 1, 1, 1, 1, 1, 2)).to_bytes(2, 'big')
      + rng.choice((len(tracks), len(tracks), 0, 65535)).to_bytes(2, 'big')
      + ticks.to_bytes(2, 'big') + header]
  for track in tracks:
    data, now = b'', 0
    for tick, event in sorted(track, key=lambda event: event[0]):
      # A number has 28 bits at most: what is later takes several.
      while tick - now >= 1 << 28:
        data += _length((1 << 28) - 1) + b'\xff\x01\0'
        now += (1 << 28) - 1
      data += _length(tick - now) + event
      now = tick
    data += rng.choice((b'\0\xff\x2f\0', b''))
    chunks.append(b'MTrk' + len(data).to_bytes(4, 'big') + data)
    if not rng.randrange(8):
      chunks.append(b'XFIH\0\0\0\x03abc')
  content = b''.join(chunks)
  if not rng.randrange(4):
    content = b'RMIDdata' + len(content).to_bytes(4, 'little') + content
    content = b'RIFF' + len(content).to_bytes(4, 'little') + content
  return content


def make_midi(path: pathlib.Path, rng: random.Random):
  """A MIDI file that is odd, damaged, or both."""
  if rng.randrange(2):
    content = damaged(rng.choice(_midi()), rng)
  else:
    content = _odd_midi(rng)
    if not rng.randrange(4):
      content = damaged(content, rng)
  path.write_bytes(content)


def read_midi(path: pathlib.Path):
  """As all commands do: what is refused by one may do for another."""
  from va_magenta.composing import models
  from va_magenta.music import melody, midi
  from va_magenta.music_to_va import labelling, symbolic_features

  refused = None
  for read in (
      lambda: symbolic_features.extract(midi.read_notes(path, pedal=True)),
      lambda: labelling.estimate(
          path, models.estimator(None), labelling.Settings()),
      lambda: melody.read(path)):
    try:
      features = read()
    except ValueError as error:
      refused = error
      if str(path) not in str(error):
        break
      continue
    if isinstance(features, np.ndarray):
      assert not np.isinf(features).any()  # NaN is what is undefined.
  if refused:
    raise refused


# Sound.


@functools.cache
def _sounds() -> list[bytes]:
  import soundfile

  samples = np.sin(np.arange(4000) / 5) * np.linspace(0.1, 0.9, 4000)
  sounds = []
  for form in ('WAV', 'FLAC', 'OGG', 'MP3'):
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format=form)
    sounds.append(file.getvalue())
  return sounds


def make_sound(path: pathlib.Path, rng: random.Random):
  """Damaged sound, half a second of it."""
  path.write_bytes(damaged(rng.choice(_sounds()), rng))


def read_sound(path: pathlib.Path):
  """As `va_magenta_predict` does."""
  from va_magenta.music_to_va import audio

  features, _ = audio.extract(path, max_seconds=1)
  assert np.isfinite(features).all()


# Checkpoints.


@functools.cache
def _checkpoint() -> tuple[dict, dict]:
  """The config and the arrays of a tiny MusicVAE of melodies."""
  import keras

  from va_magenta import checkpoints
  from va_magenta.va_to_music import configs, magenta_weights, music_vae

  keras.utils.set_random_seed(0)
  config = json.loads(
      (checkpoints.path('cat-mel_2bar_small') / 'config.json').read_text())
  config |= {'z_size': 3, 'enc_rnn_size': [4], 'dec_rnn_size': [4, 4]}
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    (folder / 'config.json').write_text(json.dumps(config))
    model = music_vae.MusicVAE(configs.Config.load(folder / 'config.json'))
    magenta_weights.save(model, folder / 'weights.npz')
    with np.load(folder / 'weights.npz') as arrays:
      return config, dict(arrays)


def _value(rng: random.Random):
  """Anything that JSON can say; no size that would not fit in memory."""
  return rng.choice((
      None, True, -1, 0, 1, 7, 0.5, 1e308, -1e308, float('nan'), '', 'melody',
      [], [1], [0], [[2]], ['a'], {}, {'a': 1}))


def make_checkpoint(path: pathlib.Path, rng: random.Random):
  """A folder with something wrong in its config or its weights."""
  config, arrays = (dict(part) for part in _checkpoint())
  path.mkdir()
  how = rng.randrange(6)
  name = rng.choice(sorted(arrays))
  if how == 0:
    config[rng.choice(sorted(config))] = _value(rng)
  elif how == 1:
    del config[rng.choice(sorted(config))]
  elif how == 2:
    del arrays[name]
  elif how == 3:
    shape = [rng.randrange(4) for _ in range(rng.randrange(4))]
    arrays[name] = np.zeros(shape, rng.choice(('f4', 'f8', 'i2', 'U3', 'c8')))
  elif how == 4:
    arrays[name] = np.full_like(arrays[name], rng.choice((np.nan, np.inf)))
  text = json.dumps(config).encode()
  file = io.BytesIO()
  np.savez(file, **arrays)
  weights = file.getvalue()
  if how == 5:
    what = rng.randrange(3)
    if what == 0:
      text = damaged(text, rng)
    elif what == 1:
      weights = damaged(weights, rng)
    else:  # Pickles, as arrays or instead of any.
      payload = np.array([_Payload()], object)
      with zipfile.ZipFile(file, 'w') as archive:
        pickled = io.BytesIO()
        np.save(pickled, payload, allow_pickle=True)
        archive.writestr(f'{name}.npy', pickled.getvalue())
      weights = rng.choice((file.getvalue(), pickle.dumps(_Payload())))
  (path / 'config.json').write_bytes(text)
  (path / 'weights.npz').write_bytes(weights)


def read_checkpoint(path: pathlib.Path):
  """As `va_magenta_generate` does."""
  from va_magenta.composing import models

  models.music_vae(path)


def make_tar(path: pathlib.Path, rng: random.Random):
  """A tar with members that lead out, or that is damaged."""
  file = io.BytesIO()
  with tarfile.open(fileobj=file, mode=rng.choice(
      ('w', 'w:gz', 'w:bz2', 'w:xz'))) as archive:
    names = ['model.ckpt.index', 'model.ckpt.data-00000-of-00001', 'a/w.npz']
    names += [
        '../out', '/out', 'a/../../out', './b', 'a', 'a/w.npz/c', 'C:out',
        '..\\out', 'x' * 300, 'nul\0l', 'ü\udc80', '.']
    for name in rng.sample(names, rng.randrange(1, 6)):
      member = tarfile.TarInfo(name)
      member.type = rng.choice((
          tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE,
          tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
          tarfile.CHRTYPE))
      member.linkname = '/etc'
      content = _bytes(rng, 20) if member.type == tarfile.REGTYPE else b''
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  content = file.getvalue()
  path.write_bytes(damaged(content, rng) if rng.randrange(2) else content)


def read_tar(path: pathlib.Path):
  """As `va_magenta_generate` does; what is unpacked goes again."""
  import shutil

  from va_magenta import checkpoints

  checkpoints.resolve(path)
  shutil.rmtree(checkpoints.home() / 'checkpoints')


# Tables of labels.


@functools.cache
def _labels() -> bytes:
  import pandas as pd

  from va_magenta.music_to_va import labelling

  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, 'labels.parquet')
    labelling.write(path, pd.DataFrame(
        {name: np.arange(3.0) for name in labelling.COLUMNS}))
    return path.read_bytes()


def make_labels(path: pathlib.Path, rng: random.Random):
  """A damaged table of labels."""
  path.write_bytes(damaged(_labels(), rng))


def read_labels(path: pathlib.Path):
  """As `va_magenta_label` does."""
  from va_magenta.music_to_va import labelling

  labelling.read(path)


# Flags.


def make_flags(path: pathlib.Path, rng: random.Random):
  """Flags that cannot make music, as there is no such picture."""
  names = (
      'valence', 'arousal', 'va_path', 'checkpoint', 'num_outputs', 'bars',
      'candidates', 'temperature', 'guidance', 'mode', 'performance', 'seed',
      'tempo_qpm', 'program', 'audio', 'overwrite', 'input', 'nonsense')
  values = (
      '', '0', '-1', '1', '1e9', 'nan', 'inf', '-inf', '0x1', '9' * 30, 'true',
      'ä', '\n', '0,0', '0,0:1', ':', ',', '../..', ' ', '%s', '{}', '2')
  arguments = [f'--image={path}/nowhere.jpg'] + [
      rng.choice((
          f'--{rng.choice(names)}={rng.choice(values)}',
          f'--{rng.choice(names)}', rng.choice(values)))
      for _ in range(rng.randrange(6))]
  path.mkdir()
  (path / 'arguments.json').write_text(json.dumps(arguments))


def read_flags(path: pathlib.Path):
  """As a shell does: what goes wrong is a line on stderr."""
  done = subprocess.run(
      [sys.executable, '-m', 'va_magenta.va_magenta_generate',
       *json.loads((path / 'arguments.json').read_text())],
      cwd=path, capture_output=True, text=True)
  (path / 'arguments.json').unlink()
  path.rmdir()  # Fails if anything was written.
  if done.returncode != 1 or done.stdout or done.stderr.count('\n') != 1:
    raise AssertionError(f'{done.returncode} {done.stdout} {done.stderr}')
  raise ValueError(f'{path}: {done.stderr}')


KINDS: dict[str, tuple[Callable, Callable]] = {
    'picture': (make_picture, read_picture),
    'midi': (make_midi, read_midi),
    'sound': (make_sound, read_sound),
    'checkpoint': (make_checkpoint, read_checkpoint),
    'tar': (make_tar, read_tar),
    'labels': (make_labels, read_labels),
    'flags': (make_flags, read_flags),
}


class _HangError(BaseException):
  pass


def _files(folder: pathlib.Path) -> set[pathlib.Path]:
  return set(folder.rglob('*'))


def outcome(kind: str, folder: pathlib.Path, rng: random.Random) -> str:
  """What happens to an input: 'read', 'refused', or a fault and what it is.

  Args:
    kind: of `KINDS`.
    folder: an empty one, for the input and for temporary files.
    rng: says which input it is.
  """
  make, read = KINDS[kind]
  path = folder / f'{kind}-input'
  (folder / 'cache').mkdir(exist_ok=True)
  os.environ['VA_MAGENTA_HOME'] = str(folder / 'cache')
  make(path, rng)
  before = _files(folder)

  def ring(signal_number, frame):
    raise _HangError

  signal.signal(signal.SIGPROF, ring)
  signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
  here = os.getcwd()
  os.chdir(folder)
  try:
    read(path)
    result = 'read'
  except (ValueError, OSError) as error:
    result = 'refused'
    if str(path) not in str(error):
      result = f'unnamed: {type(error).__name__}: {error}'
  except _HangError:
    result = 'hang'
  except Exception as error:  # pylint: disable=broad-except
    result = f'crash: {type(error).__name__}: {error}'
  finally:
    signal.setitimer(signal.ITIMER_PROF, 0)
    os.chdir(here)
  left = sorted(
      str(p.relative_to(folder)) for p in _files(folder) - before
      if p != folder / 'cache' / 'checkpoints')
  return f'left: {left}' if left else ' '.join(result.split())


# Processes.


def work(kind: str, begin: int, end: int):
  """Prints a line for each input, as `run` reads them."""
  import resource
  import shutil

  resource.setrlimit(resource.RLIMIT_DATA, (MAX_BYTES, MAX_BYTES))
  os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
  results = os.fdopen(os.dup(1), 'w')
  os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
  os.dup2(1, 2)  # Libraries write to it what they like.
  for i in range(begin, end):
    folder = pathlib.Path(tempfile.mkdtemp())
    result = outcome(kind, folder, random.Random(f'{kind} {i}'))
    shutil.rmtree(folder)
    print(result, file=results, flush=True)


def run(kind: str, begin: int, end: int) -> tuple[collections.Counter, dict]:
  """Counts of outcomes, and of each fault the first input."""
  import tqdm

  counts, first, i = collections.Counter(), {}, begin
  progress = tqdm.tqdm(
      total=end - begin, desc=kind, unit='input', mininterval=1)
  while i < end:
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, __file__, f'--work={kind},{i},{end}'],
            stdout=subprocess.PIPE, env={**os.environ, 'TMPDIR': folder}
        ) as process):
      line = 'begun'
      while line and i < end:  # A new process goes on behind one that ended.
        if select.select([process.stdout], [], [], WAIT_SECONDS)[0]:
          line = process.stdout.readline().decode(errors='replace').strip()
          result = line or f'crash: the process ended with {process.wait()}'
        else:
          process.kill()
          line, result = '', 'hang'
        name = result.partition(':')[0]
        counts[name] += 1
        if name in FAULTS:
          first.setdefault(result[:40], f'{kind} {i}: {result}'[:400])
        i += 1
        progress.set_postfix_str(str(dict(counts)), refresh=False)
        progress.update()
  progress.close()
  return counts, first


def main(argv):
  """Runs every kind, or works."""
  del argv
  if flags.FLAGS.work:
    kind, begin, end = flags.FLAGS.work.split(',')
    return work(kind, int(begin), int(end))
  columns = ('read', 'refused', *FAULTS)
  print('| kind | inputs |', *(f'{name} |' for name in columns))
  print('|---|' + '---|' * (1 + len(columns)))
  begin = flags.FLAGS.begin
  for kind in flags.FLAGS.kinds:
    counts, first = run(kind, begin, begin + flags.FLAGS.num_inputs)
    print(f'| {kind} | {counts.total()} |',
          *(f'{counts[name]} |' for name in columns))
    for fault in first.values():
      print(f'  {fault}')
    sys.stdout.flush()


if __name__ == '__main__':
  flags.DEFINE_integer('num_inputs', 1000, 'Inputs of each kind.')
  flags.DEFINE_integer('begin', 0, 'Number of the first input of each kind.')
  flags.DEFINE_list('kinds', list(KINDS), 'Kinds of inputs.')
  flags.DEFINE_string('work', None, 'For the processes that it starts.')
  app.run(main)
