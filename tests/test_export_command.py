"""va_magenta_export: what it writes, Magenta, magenta.js and we can read."""

import json
import shutil

import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.va_to_music import configs, magenta_weights, music_vae

_CONFIG = configs.Config(
    name='va-cat-mel_2bar', max_seq_len=32, output_depths=(90,),
    level_lengths=None, z_size=8, enc_rnn_size=(16,), dec_rnn_size=(12, 10),
    control_depth=2)


@pytest.fixture
def folder(tmp_path, random_music_vae, write_checkpoint):
  """A small checkpoint."""
  return write_checkpoint(
      tmp_path / 'run', _CONFIG, random_music_vae(_CONFIG))


def test_magentas_checkpoint_holds_the_same_weights(run_command, folder):
  out = folder.parent / 'magenta'
  code, stdout, err = run_command(
      'va_magenta_export', f'--checkpoint={folder}', f'--output_dir={out}')
  assert (code, stdout) == (0, f'wrote {out}/model.ckpt-0\n'), err
  written = magenta_weights.read(out)
  for name, array in magenta_weights.read(folder).items():
    np.testing.assert_array_equal(array, written[name])
  # tests/va_to_music/test_magenta_parity.py opens one in `TrainedModel`.


@pytest.mark.parametrize('shard_bytes', [1000, 4 * 2**20])
def test_weights_for_javascript_are_in_the_format_of_tensorflow_js(
    run_command, folder, monkeypatch, shard_bytes):
  monkeypatch.setattr(magenta_weights, '_SHARD_BYTES', shard_bytes)
  out = folder.parent / 'js'
  code, _, err = run_command(
      'va_magenta_export', f'--checkpoint={folder}', f'--output_dir={out}',
      '--format=js')
  assert code == 0, err
  [group] = json.loads((out / 'weights_manifest.json').read_text())
  shards = [(out / path).read_bytes() for path in group['paths']]
  assert (len(shards) > 1) == (shard_bytes == 1000)
  assert max(map(len, shards)) <= shard_bytes
  assert {p.name for p in out.iterdir()} == {
      'weights_manifest.json', 'config.json', *group['paths']}
  content = np.frombuffer(b''.join(shards), '<f4')
  expected = magenta_weights.read(folder)
  for weight in group['weights']:
    size = int(np.prod(weight['shape']))
    np.testing.assert_array_equal(
        content[:size].reshape(weight['shape']), expected[weight['name']])
    assert weight['dtype'] == 'float32'
    content = content[size:]
    del expected[weight['name']]
  assert not len(content) and not expected
  assert json.loads((out / 'config.json').read_text()) == {
      'type': 'MusicVAE',
      'dataConverter': {
          'type': 'MelodyConverter',
          'args': {'numSteps': 32, 'minPitch': 21, 'maxPitch': 108}},
      'extraControls': [{'name': 'va', 'depth': 2}]}


def test_a_release_is_the_checkpoint_rounded(run_command, folder):
  source, out = folder.parent / 'source', folder.parent / 'release'
  shutil.copytree(folder, source)
  # What belongs to it goes along.
  (source / 'forms.json').write_text('{}')
  code, _, err = run_command(
      'va_magenta_export', f'--checkpoint={source}', f'--output_dir={out}',
      '--format=release')
  assert code == 0, err
  assert {p.name for p in out.iterdir()} == {
      'config.json', 'weights.npz', 'forms.json'}
  assert (out / 'config.json').read_text() == (
      folder / 'config.json').read_text()
  released = magenta_weights.read(out)
  for name, array in magenta_weights.read(folder).items():
    assert released[name].dtype == np.float16
    np.testing.assert_array_equal(released[name], checkpoints.rounded(array))
  assert music_vae.load(out).config == _CONFIG


def test_what_javascript_has_no_model_for_is_told(tmp_path):
  config = configs.Config(
      name='hierdec-mel_16bar', max_seq_len=4, output_depths=(5,),
      level_lengths=(2, 2), z_size=3, enc_rnn_size=(4,), dec_rnn_size=(3,))
  with pytest.raises(ValueError, match='cannot read hierdec-mel_16bar'):
    magenta_weights.save_javascript(music_vae.MusicVAE(config), tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('args', 'complaint'), [
    ([], '--checkpoint must be given'),
    (['--checkpoint=x'], '--output_dir must be given'),
    (['--checkpoint=nowhere', '--output_dir=bad'], "no checkpoint 'nowhere'"),
    (['--format=onnx'], 'flag --format=onnx'),
])
def test_bad_flags_are_one_line(
    run_command, tmp_path, monkeypatch, check_one_line, args, complaint):
  monkeypatch.chdir(tmp_path)
  check_one_line(run_command('va_magenta_export', *args), complaint)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('form', ['js', 'release', 'magenta'])
def test_neither_its_source_nor_what_exists_is_written_over(
    run_command, folder, form, check_one_line):
  def export(out, *args):
    return run_command(
        'va_magenta_export', f'--checkpoint={folder}', f'--output_dir={out}',
        f'--format={form}', *args)

  def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}

  before = contents(folder)
  if form != 'magenta':  # Its files have other names.
    check_one_line(export(folder), 'config.json is read')
    check_one_line(export(folder, '--overwrite'), 'config.json is read')
    assert contents(folder) == before
  out = folder.parent / 'out'
  assert export(out)[0] == 0
  written = contents(out)
  check_one_line(export(out), 'exists')
  assert export(out, '--overwrite')[0] == 0
  assert contents(out).keys() == written.keys()
  assert contents(folder) == before
