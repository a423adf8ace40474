"""va_magenta_label: MIDI files become a table of labels."""

import functools
import resource

import numpy as np
import pandas as pd
import pretty_midi
import pytest

from va_magenta.music_to_va import fusion, labelling


@pytest.fixture
def run(tmp_path, monkeypatch, run_command, threads):
  """Runs the command in `tmp_path`, on threads: (exit code, stdout, stderr)."""
  monkeypatch.chdir(tmp_path)
  return functools.partial(run_command, 'va_magenta_label')


@pytest.fixture
def midi(tmp_path):
  """A folder `midi` with two tunes."""
  (tmp_path / 'midi').mkdir()
  for seed in range(2):
    instrument = pretty_midi.Instrument(0)
    pitches = np.random.default_rng(seed).integers(60, 72, 16)
    instrument.notes += [
        pretty_midi.Note(80, int(pitch), i * .5, (i + .8) * .5)
        for i, pitch in enumerate(pitches)]
    song = pretty_midi.PrettyMIDI()
    song.instruments.append(instrument)
    song.write(str(tmp_path / f'midi/{seed}.mid'))
  return tmp_path / 'midi'


def _error(out_and_err):
  code, _, err = out_and_err
  assert code == 1
  line = [line for line in err.splitlines() if 'error: ' in line]
  assert len(line) == 1 and 'Traceback' not in err
  return line[0]


def test_writes_labels(run, midi):
  code, out, _ = run('--midi_dir=midi', '--output=labels.parquet')
  assert code == 0
  assert '2 pieces, 4 windows; 0 pieces with estimates from sound' in out
  assert 'wrote labels.parquet' in out
  table = pd.read_parquet('labels.parquet')
  assert table['md5'].nunique() == 2
  assert table['window'].tolist() == [-1, 0, 1] * 2
  assert table[['valence', 'arousal']].abs().max(axis=None) <= 1
  # Another number of processes makes the same file.
  code, _, _ = run(
      '--midi_dir=midi', '--output=again.parquet', '--num_workers=1')
  assert code == 0
  assert pd.read_parquet('again.parquet').equals(table)


def test_broken_files_are_told_and_the_others_labelled(run, midi):
  (midi / 'broken.mid').write_bytes(b'no')
  result = run('--midi_dir=midi', '--output=labels.parquet')
  assert _error(result).endswith('broken.mid: not a readable MIDI file')
  assert 'left out: 1 files: not a readable MIDI file' in result[1]
  assert pd.read_parquet('labels.parquet')['md5'].nunique() == 2


def test_an_earlier_table_is_fused_anew(run, midi, monkeypatch):
  run('--midi_dir=midi', '--output=old.parquet')
  bias = np.array([.25, -.25])
  lines = [fusion.Line(bias, np.zeros((size, 2))) for size in (2, 4)]
  spread = fusion.Spread(np.array([np.log([.01, .04]), [0, 0], [0, 0]]))
  made = fusion.Fusion(*lines, spread, spread)
  fusion.save('fusion.json', dict.fromkeys(fusion.KINDS, made))
  monkeypatch.setattr(labelling, 'estimate', None)  # It is not called.
  code, out, _ = run(
      '--midi_dir=midi', '--output=new.parquet', '--labels=old.parquet',
      '--fusion=fusion.json')
  assert code == 0 and '2 pieces were known' in out
  table = pd.read_parquet('new.parquet')
  assert set(table['valence']) == {np.float32(.25)}
  np.testing.assert_allclose(table['arousal_std'], .2)


def test_listens_if_told(run, midi, monkeypatch):
  def teacher(audio_model, soundfont):
    assert (audio_model, soundfont) == (None, None)

    def hear(path, windows, max_seconds):
      heard.append(max_seconds)
      return np.full((1 + len(windows), 2), .125)
    return hear

  heard = []
  monkeypatch.setattr(labelling, 'teacher', teacher)
  code, out, _ = run('--midi_dir=midi', '--output=labels.parquet', '--audio',
                     '--max_audio_seconds=9')
  assert code == 0 and '2 pieces with estimates from sound' in out
  assert heard == [9, 9]
  table = pd.read_parquet('labels.parquet')
  np.testing.assert_allclose(table['audio_valence'], .12, atol=.006)
  assert 'labels.parquet exists' in _error(
      run('--midi_dir=midi', '--output=labels.parquet'))
  assert pd.read_parquet('labels.parquet').equals(table)
  run('--midi_dir=midi', '--output=labels.parquet', '--audio', '--overwrite',
      '--min_audio_parts=2')
  assert len(heard) == 2
  assert pd.read_parquet('labels.parquet')['audio_valence'].isna().all()


@pytest.mark.parametrize(('limit', 'full'), [
    (100, 'labels.parquet.blocks'), (5000, 'labels.parquet: ')])
def test_a_full_disk_is_told_and_what_was_done_stays(
    run, midi, tmp_path, limit, full):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
  try:
    message = _error(run('--midi_dir=midi', '--output=labels.parquet'))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert full in message and 'File too large' in message
  left = [p.suffix for p in tmp_path.rglob('*') if p.is_file()]
  assert sorted(left) == ['.json'] * (limit > 100) + ['.mid'] * 2
  assert run('--midi_dir=midi', '--output=labels.parquet')[0] == 0
  assert {p.name for p in tmp_path.iterdir()} == {'midi', 'labels.parquet'}


def test_two_at_once_do_not_disturb_each_other(run, midi, monkeypatch):
  def estimate(*args):
    with pytest.raises(OSError, match='blocks is in use by another process'):
      labelling.label('midi', 'labels.parquet', fusion.load())
    told.append(args[0])
    return estimate_of(*args)

  told, estimate_of = [], labelling.estimate
  with monkeypatch.context() as patch:
    patch.setattr(labelling, 'estimate', estimate)
    assert run('--midi_dir=midi', '--output=labels.parquet')[0] == 0
  assert len(told) == 2
  assert run('--midi_dir=midi', '--output=alone.parquet')[0] == 0
  table = pd.read_parquet('labels.parquet')
  assert table.equals(pd.read_parquet('alone.parquet'))


@pytest.mark.parametrize(('args', 'message'), [
    ((), '--midi_dir must be given'),
    (('--midi_dir=midi',), '--output must be given'),
    (('--midi_dir=none', '--output=o'), 'none has no MIDI files'),
    (('--midi_dir=midi', '--output=no/o'), 'where o shall be written, is no'),
    (('--midi_dir=midi', '--output=o', '--labels=no'), 'no table of labels at'),
    (('--midi_dir=midi', '--output=o', '--fusion=midi/0.mid'),
     '0.mid is not a fusion'),
    (('--midi_dir=midi', '--output=o', '--fusion=no'),
     "no fusion of estimates 'no'"),
    (('--midi_dir=midi', '--output=o', '--max_seconds=0'), 'max_seconds'),
    (('--midi_dir=midi', '--output=o', '--num_workers=0'), 'num_workers'),
])
def test_errors_are_one_line(run, midi, tmp_path, args, message):
  assert message in _error(run(*args))
  assert [p.name for p in tmp_path.iterdir()] == ['midi']


@pytest.mark.parametrize('name', ['0.mid', '1.mid'])
def test_a_piece_is_not_written_over(run, midi, tmp_path, name):
  before = {p: p.read_bytes() for p in (tmp_path / 'midi').iterdir()}
  for args in ((), ('--overwrite',)):
    assert f'{name} is read' in _error(
        run('--midi_dir=midi', f'--output=midi/{name}', *args))
  assert {p: p.read_bytes() for p in (tmp_path / 'midi').iterdir()} == before


def test_two_tables_in_one_are_refused(run, midi):
  assert run('--midi_dir=midi', '--output=a.parquet')[0] == 0
  table = pd.read_parquet('a.parquet')
  pd.concat([table, table]).to_parquet('b.parquet')
  assert f'has {len(table)} rows twice' in _error(
      run('--midi_dir=midi', '--output=c.parquet', '--labels=b.parquet'))
