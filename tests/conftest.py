"""Fixtures that several tests share."""

import concurrent.futures
import importlib
import pathlib
import re
import signal
import struct
import sys

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver

from va_magenta import processes

_SHARED_DATA = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data():
  """Folder of the research data beside the repository, or a skip."""
  if not _SHARED_DATA.is_dir():
    pytest.skip(f'research data is not at {_SHARED_DATA}')
  return _SHARED_DATA


@pytest.fixture
def threads(monkeypatch):
  """Threads, which need not import anything again, in place of processes."""
  def pool(num_workers=None, start=None, *args):
    if start:
      start(*args)
    return concurrent.futures.ThreadPoolExecutor(num_workers)

  monkeypatch.setattr(processes, 'Pool', pool)


@pytest.fixture(scope='session')
def midi_file():
  """Bytes of a Standard MIDI File: (*tracks, ticks a quarter).

  A track is (tick, bytes of an event) in any order; what is at one tick stays
  in its order.
  """
  def length(number):
    digits = [number & 127]
    while number := number >> 7:
      digits.append(number & 127 | 128)
    return bytes(reversed(digits))

  def function(*tracks, ticks=480):
    chunks = [struct.pack(
        '>4sIHHH', b'MThd', 6, min(len(tracks) - 1, 1), len(tracks), ticks)]
    for track in tracks:
      data, now = b'', 0
      for tick, event in sorted(track, key=lambda event: event[0]):
        data += length(tick - now) + event
        now = tick
      data += b'\0\xff\x2f\0'
      chunks.append(struct.pack('>4sI', b'MTrk', len(data)) + data)
    return b''.join(chunks)

  return function


@pytest.fixture(scope='session')
def notes_alone():
  """Fusions whose labels are the symbolic estimates: (std [2]) -> by kind."""
  def function(std):
    from va_magenta.music_to_va import fusion

    lines = [fusion.Line(np.zeros(2), np.eye(size, 2)) for size in (2, 4)]
    spread = fusion.Spread(np.stack([2 * np.log(std), *np.zeros((2, 2))]))
    return dict.fromkeys(
        fusion.KINDS, fusion.Fusion(*lines, spread, spread))

  return function


@pytest.fixture(scope='session')
def random_music_vae():
  """Makes a MusicVAE whose weights are all random and large: (config, seed).

  Those that begin as zeros, and those that begin small, would hide a mistake.
  """
  def function(config, seed=0):
    from va_magenta.va_to_music import music_vae

    model = music_vae.MusicVAE(config, seed=seed)
    random = np.random.default_rng(seed)
    for weight in model.encoder.weights + model.decoder.weights:
      scale = 2 / np.sqrt(weight.shape[0]) if len(weight.shape) > 1 else 0.3
      weight.assign(random.normal(size=weight.shape) * scale)
    return model

  return function


@pytest.fixture(scope='session')
def write_checkpoint():
  """Writes a MusicVAE to a new folder, and gives that: (folder, config, model).

  By default one whose decoder's weights are random, and so large that what it
  draws has notes.
  """
  def function(folder, config, model=None):
    from va_magenta.va_to_music import magenta_weights, music_vae

    if model is None:
      model = music_vae.MusicVAE(config, seed=1)
      random = np.random.default_rng(0)
      for core in model.decoder.cores:
        for variable in core.trainable_variables:
          variable.assign(random.normal(0, 0.7, variable.shape))
    folder.mkdir(exist_ok=True)
    config.save(folder / 'config.json')
    magenta_weights.save(model, folder / 'weights.npz')
    return folder

  return function


@pytest.fixture(scope='session')
def stand_in_critic():
  """Makes a critic that is easy to please: depth of its input -> Keras model.

  Valence is how high the melody's notes are, arousal how many they are.
  """
  def function(depth=90):
    import keras

    pitch = np.arange(2, 90)
    kernel = np.zeros((depth, 2))
    kernel[2:90, 0] = (pitch - 45) / 20
    kernel[2:90, 1] = 3
    critic = keras.Sequential([
        keras.Input((None, depth)),
        keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2, 'tanh')])
    critic.set_weights([kernel, np.array([0, -1.5])])
    return critic

  return function


@pytest.fixture(scope='session')
def randomize():
  """Gives a network kernels so large that pictures differ at its end."""
  import keras

  def function(network):
    rng = np.random.default_rng(0)
    for layer in network.layers:
      if layer.weights:
        kernel = layer.kernel
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        fan_in = np.prod(kernel.shape[:2]) * (
            1 if depthwise else kernel.shape[2])
        kernel.assign(rng.normal(0, (2 / fan_in)**0.5, kernel.shape))
    return network

  return function


def _import_command(name):
  """A command's module, with the flags of all other commands forgotten."""
  for module, defined in flags.FLAGS.flags_by_module_dict().items():
    if module.startswith('va_magenta.va_magenta_'):
      for flag in list(defined):
        delattr(flags.FLAGS, flag.name)
  sys.modules.pop(f'va_magenta.{name}', None)
  return importlib.import_module(f'va_magenta.{name}')


@pytest.fixture
def run_command(monkeypatch, capsys):
  """Runs a command in this process: its name, arguments -> (code, out, err)."""
  handler = signal.getsignal(signal.SIGTERM)

  def function(name, *args):
    module = _import_command(name)
    monkeypatch.setattr(sys, 'argv', [name, *args])
    capsys.readouterr()
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as info:
      flags.FLAGS.unparse_flags()
      module.console_entry_point()
    out, err = capsys.readouterr()
    return info.value.code or 0, out, err

  yield function
  signal.signal(signal.SIGTERM, handler)
  flags.FLAGS.mark_as_parsed()


@pytest.fixture
def check_one_line():
  """Checks a command's (code, out, err): it failed, and said why in a line."""
  def function(result, complaint):
    code, out, err = result
    assert (code, out) == (1, '')
    assert re.fullmatch(r'va_magenta_\w+: error: .+\n', err)
    assert complaint in err

  return function


def pytest_addoption(parser):
  """Adds the option of `test_golden`."""
  parser.addoption(
      '--write-golden', action='store_true',
      help='keep what is computed now as the golden values')
