"""va_magenta_train: MIDI files become a checkpoint, kill or no kill."""

import concurrent.futures
import functools
import json
import resource
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from va_magenta import files, processes

_NUM_PIECES = 24
_NUM_STEPS = 12
_FLAGS = (
    '--config=cat-mel_2bar_small', '--examples_path=midi', '--cache_dir=cache',
    f'--num_steps={_NUM_STEPS}', '--prior_steps=0', '--seed=3',
    '--hparams=batch_size=3,z_size=4,enc_rnn_size=[6],dec_rnn_size=[5],'
    'sampling_schedule=constant,sampling_rate=0')
_KILLED_AT = 5
# The command, with its state saved after every step, and killed in the middle
# of a save.
_KILLED = textwrap.dedent(f'''
    import functools, os, signal, sys
    import numpy as np
    from va_magenta import command, va_magenta_train
    from va_magenta.training.music_vae import train as training

    def savez(path, **arrays):
      saves.append(path)
      if len(saves) == {_KILLED_AT}:
        path.write_bytes(b'half')
        os.kill(os.getpid(), signal.SIGKILL)
      whole_savez(path, **arrays)

    saves, whole_savez, np.savez = [], np.savez, savez
    training.train = functools.partial(
        training.train, save_every_seconds=0, num_validation=0)
    command.run(va_magenta_train.main)
    ''')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A folder with small melodies in `midi/`, where the commands run."""
  import pretty_midi

  folder = tmp_path_factory.mktemp('train')
  (folder / 'midi').mkdir()
  random = np.random.default_rng(0)
  for i in range(_NUM_PIECES):
    instrument = pretty_midi.Instrument(program=0)
    for j, pitch in enumerate(random.integers(60, 72, 32)):
      instrument.notes.append(
          pretty_midi.Note(90, int(pitch), j * 0.25, (j + 0.9) * 0.25))
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(instrument)
    midi.write(str(folder / 'midi' / f'{i}.mid'))
  return folder


@pytest.fixture
def run(folder, monkeypatch, run_command):
  """Runs the command in `folder`: (exit code, stdout, stderr)."""
  monkeypatch.chdir(folder)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  # A thread need not import Magenta again.
  monkeypatch.setattr(
      processes, 'Pool',
      lambda workers, start=None, *args: concurrent.futures.ThreadPoolExecutor(
          1, '', start, args))  # Each forgets what the others share.
  return functools.partial(run_command, 'va_magenta_train')


def _weights(run_dir):
  with np.load(run_dir / 'weights.npz') as arrays:
    return dict(arrays)


def _state_step(run_dir):
  """Steps that the saved state has seen: the optimizer's only integer."""
  with np.load(run_dir / 'train' / 'state.npz') as arrays:
    return max(int(arrays[n]) for n in arrays.files
               if arrays[n].ndim == 0 and arrays[n].dtype.kind in 'iu')


@pytest.mark.slow
def test_a_killed_run_started_again_ends_as_if_nothing_had_been(run, folder):
  pytest.importorskip('va_magenta.magenta_compat')
  code, out, err = run(*_FLAGS, '--run_dir=whole')
  assert code == 0, err
  assert out.splitlines()[0].endswith(f' examples of {_NUM_PIECES} pieces')
  assert out.splitlines()[-1] == 'wrote whole/config.json and weights.npz'
  figures = json.loads((folder / 'whole' / 'figures.json').read_text())
  assert figures['step'] == _NUM_STEPS
  assert f"test metrics/accuracy: {figures['metrics/accuracy']:.4f}" in out
  config = json.loads((folder / 'whole' / 'config.json').read_text())
  assert (config['z_size'], config['enc_rnn_size'], config['batch_size']) == (
      4, [6], 3)

  process = subprocess.run(
      [sys.executable, '-c', _KILLED, *_FLAGS, '--run_dir=killed'], cwd=folder,
      stderr=subprocess.PIPE, text=True, check=False)
  assert process.returncode == -signal.SIGKILL, process.stderr
  assert _state_step(folder / 'killed') == _KILLED_AT - 1

  code, _, err = run(*_FLAGS, '--run_dir=killed')
  assert code == 0, err
  assert _state_step(folder / 'killed') == _NUM_STEPS
  whole, killed = _weights(folder / 'whole'), _weights(folder / 'killed')
  assert whole.keys() == killed.keys()
  for name in whole:
    np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(('limit', 'full'), [
    (500, 'full/examples/cat-mel_2bar_small-'), (5000, 'full/weights.npz')])
def test_a_full_disk_is_told_and_leaves_nothing_half_written(
    run, folder, limit, full):
  pytest.importorskip('va_magenta.magenta_compat')
  flags = [flag for flag in _FLAGS if not flag.startswith('--cache_dir')]
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    code, _, err = run(*flags, '--run_dir=full')
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert code == 1
  line = err.splitlines()[-1]
  assert line.startswith(f'va_magenta_train: error: {full}')
  assert line.endswith('File too large') and 'Traceback' not in err
  left = [p.name for p in (folder / 'full').rglob('*') if p.is_file()]
  assert not [name for name in left if name[0] == '.' or 'weights' in name]
  assert ('00000.npz' in left) == (limit == 5000)


def test_a_run_that_is_at_work_is_left_alone(run, folder):
  pytest.importorskip('va_magenta.magenta_compat')
  with files.held(folder / 'taken'):
    code, _, err = run(*_FLAGS, '--run_dir=taken')
  assert code == 1
  assert err.splitlines()[-1].startswith(
      'va_magenta_train: error: taken is in use by another process')


@pytest.mark.slow
def test_a_model_learns_to_follow_va(run, folder, monkeypatch):
  pytest.importorskip('va_magenta.magenta_compat')
  import keras

  from va_magenta.music_to_va import critic

  def load(path):
    assert path == folder / 'critic'
    return keras.Sequential([
        keras.Input((None, 90)), keras.layers.GlobalAveragePooling1D(),
        keras.layers.Dense(2, 'tanh')])

  monkeypatch.setattr(critic, 'load', load)
  (folder / 'critic').mkdir()
  code, out, err = run(
      '--config=va-cat-mel_2bar', '--run_dir=va', f'--critic={folder}/critic',
      '--examples_path=midi', '--cache_dir=cache', '--num_steps=2',
      '--prior_steps=0', '--objective=wae_mmd',
      '--hparams=batch_size=3,z_size=4,enc_rnn_size=[6],dec_rnn_size=[5],'
      'max_beta=100')
  assert code == 0, err
  config = json.loads((folder / 'va' / 'config.json').read_text())
  assert (config['name'], config['control_depth'], config['objective']) == (
      'va-cat-mel_2bar', 2, 'wae_mmd')
  assert 'test control/valence_r: ' in out
  # It takes the examples of the config that it extends.
  caches = {p.name.rpartition('-')[0] for p in (folder / 'cache').iterdir()}
  assert caches == {'cat-mel_2bar_small'}


def test_a_prior_is_learned_for_a_checkpoint(
    run, folder, write_checkpoint):
  from va_magenta.composing import models, phrases, request
  from va_magenta.training import band_corpus
  from va_magenta.va import VA
  from va_magenta.va_to_music import configs

  # Two pieces of 20 bars, up and down in C, one of which is held out.
  tokens = np.zeros((40 * 16, 4), np.uint16)
  tokens[::4, 0] = np.resize([41, 43, 45, 46, 48, 46, 45, 43], 160)
  band_corpus.save(band_corpus.Corpus(
      tokens, np.ones(80, np.uint8), np.full((40, 2), -128, np.int8),
      np.zeros(40, np.int8), np.array([20, 20], np.int32),
      np.full(2, 100, np.float32), ['00' + 'a' * 30, '01' + 'a' * 30]),
      folder / 'bands.npz')
  write_checkpoint(folder / 'theirs', configs.Config(
      name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
      level_lengths=None, z_size=4, enc_rnn_size=(4,), dec_rnn_size=(8,)))
  flags = ('--prior_of=theirs', '--run_dir=prior', '--prior_steps=2',
           '--cache_dir=prior_cache')
  code, out, err = run(*flags, '--examples_path=bands.npz')
  assert code == 0, err
  assert '3 windows of 16 bars in train' in out
  assert 'prior: validation losses/flow: ' in out
  # The run is a checkpoint, of which pieces are drawn by the prior.
  assert models.has_prior(folder / 'prior')
  settings = request.Settings(
      checkpoint=folder / 'prior', performance='plain', seed=1)
  piece, = phrases.Phrases.load(settings).draw(
      np.random.default_rng(0), [VA(0, 0)], 1, settings)
  assert len(piece.score[0]) == 256
  # Of too short a corpus there is none, in one line.
  np.savez(folder / 'short.npz', x=0)
  code, _, err = run(*flags, '--examples_path=short.npz')
  assert code == 1
  assert 'short.npz is no corpus of bands' in err.splitlines()[-1]


_TWO = ('--config=cat-mel_2bar_small', '--run_dir=bad')


@pytest.mark.parametrize(('args', 'complaint'), [
    (['--run_dir=bad'], 'give either --config'),
    ([*_TWO, '--prior_of=cat-mel_2bar_small'], 'give either --config'),
    (['--run_dir=bad', '--prior_of=cat-mel_2bar_small'], '--examples_path'),
    (['--run_dir=bad', '--prior_of=cat-mel_2bar_small', '--prior_steps=0'],
     'must not be 0'),
    (['--config=cat-mel_2bar_small'], '--run_dir must be given'),
    ([*_TWO, '--num_steps=0'], 'flag --num_steps=0'),
    ([*_TWO, '--seed=-1'], 'flag --seed=-1'),
    ([*_TWO, '--freeze=all'], 'flag --freeze=all'),
    ([*_TWO, '--objective=gan'], 'flag --objective=gan'),
    ([*_TWO, '--strategy=all'], 'flag --strategy=all'),
    ([*_TWO, '--strategy=multi_worker'], 'multi_worker needs --cache_dir'),
    ([*_TWO, '--strategy=multi_worker', '--cache_dir=x'], 'TF_CONFIG'),
    ([*_TWO, '--precision=half'], 'flag --precision=half'),
    ([*_TWO, '--gradient_accumulation_steps=0'],
     'flag --gradient_accumulation_steps=0'),
    (['--config=va-cat-mel_2bar', '--run_dir=bad', '--critic=nowhere'],
     "no checkpoint 'nowhere'"),
    ([*_TWO, '--max_per_piece=0'], 'flag --max_per_piece=0'),
    ([*_TWO, '--steps=3'], "Unknown command line flag 'steps'"),
    (['--config=cat-mel', '--run_dir=bad'], "unknown config 'cat-mel'; known"),
    ([*_TWO, '--hparams=z=3'], '--hparams=z=3 cannot be read'),
    (_TWO, 'name one corpus'),
    ([*_TWO, '--examples_path=midi', '--tfds_name=maestro'], 'name one corpus'),
    ([*_TWO, '--examples_path=nowhere'], 'no examples at nowhere'),
    ([*_TWO, '--examples_path=midi', '--warm_start=nowhere'], 'nowhere'),
])
def test_bad_flags_are_one_line(run, folder, check_one_line, args, complaint):
  pytest.importorskip('va_magenta.magenta_compat')
  check_one_line(run(*args), complaint)
  assert not (folder / 'bad').exists()
