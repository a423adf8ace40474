"""MIDI files become a table of labels, kill or no kill."""

import errno
import functools
import os
import shutil

import numpy as np
import pandas as pd
import pretty_midi
import pytest

from va_magenta import checkpoints, processes
from va_magenta.music.corpus import file_md5
from va_magenta.music.midi import read, read_notes
from va_magenta.music_to_va import (
  fusion,
  labelling,
  symbolic,
  symbolic_features,
)

SETTINGS = labelling.Settings()


def _write(path, notes, drums=(), meters=((4, 4, 0),), qpm=120):
  """Writes notes (start, end, pitch) in seconds."""
  path.parent.mkdir(parents=True, exist_ok=True)
  midi = pretty_midi.PrettyMIDI(initial_tempo=qpm)
  midi.time_signature_changes += [
      pretty_midi.TimeSignature(*meter) for meter in meters]
  for is_drum, part in ((False, notes), (True, drums)):
    if len(part):
      instrument = pretty_midi.Instrument(0, is_drum=is_drum)
      instrument.notes += [
          pretty_midi.Note(70, int(pitch), start, end)
          for start, end, pitch in part]
      midi.instruments.append(instrument)
  midi.write(str(path))
  return str(path)


def _tune(seed, seconds=16.0, start=0.0):
  random = np.random.default_rng(seed)
  return [
      (start + t, start + t + .4, pitch) for t, pitch in zip(
          np.arange(0, seconds, .5),
          random.choice([60, 62, 64, 67, 69], int(seconds * 2)), strict=True)]


@pytest.fixture(scope='module')
def student():
  return symbolic.load()


@pytest.fixture(scope='module')
def fusions(student, notes_alone):
  return notes_alone(student.residual_std)


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """Five tunes, a twin, and three files that cannot be labelled."""
  folder = tmp_path_factory.mktemp('corpus')
  for seed in range(5):
    _write(folder / f'{seed}' / f'tune{seed}.mid', _tune(seed, 8 + 4 * seed))
  shutil.copy(folder / '3/tune3.mid', folder / '4/twin.mid')
  (folder / 'broken.mid').write_bytes(b'no MIDI')
  _write(folder / 'empty.MIDI', [])
  _write(folder / 'drums.mid', [], drums=_tune(0))
  (folder / 'notes.txt').write_text('not looked at')
  return folder


def _label(corpus, output, fusions, **options):
  return labelling.label(
      corpus, output, fusions, num_workers=1, overwrite=True, **options)


# One piece.


def test_windows_are_two_bars_of_any_meter_and_tempo(tmp_path):
  midi = pretty_midi.PrettyMIDI(initial_tempo=120, resolution=480)
  midi._tick_scales.append((14 * 480, 60 / (60 * 480)))  # 60 qpm from beat 14
  midi._update_tick_to_time(480 * 100)
  instrument = pretty_midi.Instrument(0)
  for beat in range(24):
    start, end = (midi.tick_to_time(480 * b) for b in (beat, beat + 1))
    instrument.notes.append(pretty_midi.Note(80, 60 + beat, start, end))
  midi.instruments.append(instrument)
  # 3/4 from beat 12 on: three bars of 4/4, then 3 + 3, then 3 + 3.
  midi.time_signature_changes += [
      pretty_midi.TimeSignature(4, 4, 0),
      pretty_midi.TimeSignature(3, 4, midi.tick_to_time(12 * 480))]
  path = tmp_path / 'song.mid'
  midi.write(str(path))
  beats, seconds = read(path).windows(23.5)
  np.testing.assert_allclose(beats, [[0, 8], [8, 15], [15, 21], [21, 24]])
  np.testing.assert_allclose(
      seconds, [[0, 4], [4, 8], [8, 14], [14, 17]], atol=1e-3)
  beats, _ = read(path).windows(3)
  np.testing.assert_allclose(beats, [[0, 4]])


def test_estimates_are_the_students(tmp_path, student):
  tune = _tune(0, 12)
  found, reason = labelling.estimate(
      _write(tmp_path / 'a.mid', tune), student, SETTINGS)
  assert reason is None
  assert found['window'].tolist() == [-1, 0, 1, 2]
  assert found['start_seconds'].tolist() == [0, 0, 4, 8]
  np.testing.assert_allclose(found['end_seconds'], [11.9, 4, 8, 12], atol=1e-3)
  assert np.isnan(found['audio_valence']).all()
  alone = [tune, tune[:8], tune[8:16], tune[16:]]
  features = [
      symbolic_features.extract(read_notes(
          _write(tmp_path / f'{i}.mid', part)))
      for i, part in enumerate(alone)]
  expected = student.regress(np.stack(features))
  np.testing.assert_allclose(
      np.stack([found['symbolic_valence'], found['symbolic_arousal']], axis=1),
      expected, atol=.02)
  assert np.ptp(expected[1:], axis=0).max() > .05


def test_windows_without_pitched_notes_have_no_row(tmp_path, student):
  path = _write(
      tmp_path / 'a.mid', _tune(0, 4, start=8) + _tune(1, 4, start=16),
      drums=_tune(2, 24))
  found, _ = labelling.estimate(path, student, SETTINGS)
  assert found['window'].tolist() == [-1, 2, 4]
  assert found['start_seconds'].tolist() == [0, 8, 16]


def test_of_a_long_piece_so_much_is_read(tmp_path, student):
  settings = labelling.Settings(max_seconds=8)
  long, _ = labelling.estimate(
      _write(tmp_path / 'a.mid', _tune(0, 40)), student, settings)
  short, _ = labelling.estimate(
      _write(tmp_path / 'b.mid', _tune(0, 40)[:16]), student, SETTINGS)
  assert long['window'].tolist() == [-1, 0, 1]
  for name in short:
    np.testing.assert_array_equal(long[name], short[name])


def test_the_teacher_is_asked_for_the_same_windows(tmp_path, student):
  path = _write(tmp_path / 'a.mid', _tune(0, 12), drums=_tune(0, 12))
  asked = []

  def hear(*args):
    asked.append(args)
    return [[.1, .2], [.3, .4], [.5, 7], [np.nan, np.nan]]

  found, reason = labelling.estimate(path, student, SETTINGS, hear)
  assert reason is None
  (name, windows, max_seconds), = asked
  assert (name, max_seconds) == (path, SETTINGS.max_audio_seconds)
  np.testing.assert_allclose(windows, [[0, 4], [4, 8], [8, 12]])
  np.testing.assert_array_equal(found['audio_valence'], [.1, .3, .5, np.nan])
  np.testing.assert_array_equal(found['audio_arousal'], [.2, .4, 1, np.nan])
  labelling.estimate(
      path, student, labelling.Settings(min_audio_parts=3), hear)
  assert len(asked) == 1

  def deaf(path, *_):
    raise ValueError(f'{path}: there is only silence (really)')

  found, reason = labelling.estimate(path, student, SETTINGS, deaf)
  assert reason == 'there is only silence'
  assert np.isnan(found['audio_valence']).all()
  assert np.isfinite(found['symbolic_valence']).all()


def test_the_teacher_hears_frames_of_each_window(monkeypatch):
  audio = pytest.importorskip('va_magenta.music_to_va.audio')
  from va_magenta.music import synthesis

  class Estimator:
    def regress(self, means, source):
      assert source == 'synthesised'
      return means[:, :2]

  heard = []

  def hear(path, **how):
    heard.append((path, how))
    # Frame i of half a second: features i and 2 i.
    return np.outer(np.arange(16), [1, 2]).astype(np.float32), 'synthesised'

  monkeypatch.setattr(audio, 'load', lambda audio_model: Estimator())
  monkeypatch.setattr(audio, 'extract', hear)
  monkeypatch.setattr(synthesis, 'import_fluidsynth', lambda: None)
  windows = np.array([[4, 8], [8, 11.9], [10, 10.1], [11, 15]])
  points = labelling.teacher(soundfont='a.sf2')('a.mid', windows, 8.0)
  assert heard == [('a.mid', {
      'start_seconds': 4, 'max_seconds': 8, 'soundfont': 'a.sf2'})]
  np.testing.assert_allclose(
      points[:, 0], [7.5, 3.5, 11.5, 12, np.nan])
  np.testing.assert_allclose(points[:, 1], 2 * points[:, 0])


# A corpus.


def test_a_corpus_becomes_a_table(corpus, fusions, tmp_path, threads, student):
  output = tmp_path / 'labels.parquet'
  report = _label(corpus, output, fusions)
  table = labelling.read(output)
  assert tuple(table.columns) == labelling.COLUMNS
  names = {file_md5(corpus / f'{i}/tune{i}.mid'): i for i in range(5)}
  assert set(table['md5']) == names.keys()
  assert table.equals(
      table.sort_values(['md5', 'window'], ignore_index=True))
  for md5, rows in table.groupby('md5'):
    assert rows['window'].tolist() == list(range(-1, 2 + names[md5]))
    path = corpus / f'{names[md5]}/tune{names[md5]}.mid'
    expected, _ = labelling.estimate(str(path), student, SETTINGS)
    for axis, std in zip(('valence', 'arousal'), student.residual_std,
                         strict=True):
      np.testing.assert_allclose(
          rows[f'symbolic_{axis}'], expected[f'symbolic_{axis}'], atol=.0051)
      assert rows[axis].equals(rows[f'symbolic_{axis}'].rename(axis))
      np.testing.assert_allclose(rows[f'{axis}_std'], std, atol=.0051)
  assert table['audio_valence'].isna().all()

  assert (report.num_pieces, report.num_windows) == (5, 20)
  # Which of two that are the same is the copy depends on names only.
  assert report.duplicates == [str(corpus / '4/twin.mid')]
  assert report.unlabelled == {
      str(corpus / 'broken.mid'): 'not a readable MIDI file',
      str(corpus / 'empty.MIDI'): 'the MIDI file has no notes',
      str(corpus / 'drums.mid'): 'the MIDI file has only drums'}
  assert report.lines() == [
      '5 pieces, 20 windows; 0 pieces with estimates from sound',
      'left out: 1 files: duplicate',
      'left out: 1 files: not a readable MIDI file',
      'left out: 1 files: the MIDI file has no notes',
      'left out: 1 files: the MIDI file has only drums']
  assert [p.name for p in tmp_path.iterdir()] == ['labels.parquet']


def test_the_table_is_small(tmp_path, fusions):
  """15 MB for 11,000 pieces of 40 windows."""
  random = np.random.default_rng(0)
  rows = pd.DataFrame({
      'md5': np.repeat([f'{random.bytes(16).hex()}' for _ in range(300)], 41),
      'window': np.tile(np.arange(-1, 40), 300)})
  rows['start_seconds'] = rows['window'].clip(0) * np.repeat(
      random.uniform(2, 6, 300), 41)
  rows['end_seconds'] = rows['start_seconds'] + 4
  for name in fusion.ESTIMATES:
    rows[name] = random.uniform(-.8, .8, len(rows))
  both = fusion.fit(
      rows[list(fusion.ESTIMATES)].to_numpy(), random.uniform(
          -1, 1, (len(rows), 2)), rows.index.to_numpy() // 410)
  table = labelling.fuse(rows, dict.fromkeys(fusion.KINDS, both))
  labelling.write(tmp_path / 'labels.parquet', table)
  assert (tmp_path / 'labels.parquet').stat().st_size / 300 < 15e6 / 11000
  assert labelling.read(tmp_path / 'labels.parquet').equals(table)


def _listen():
  """A teacher in whose ears everything is (.5, -.5)."""
  def hear(path, windows, max_seconds):
    return np.tile([.5, -.5], (1 + len(windows), 1))
  return hear


def test_goes_on_where_it_was_killed(
    corpus, fusions, tmp_path, threads, monkeypatch):
  monkeypatch.setattr(labelling, '_BLOCK_SIZE', 2)
  output = tmp_path / 'labels.parquet'
  whole = tmp_path / 'whole.parquet'
  _label(corpus, whole, fusions, make_by_ear=_listen)

  done, estimate = [], labelling.estimate

  def counted(path, *args):
    if len(done) == 5:
      raise KeyboardInterrupt
    done.append(path)
    return estimate(path, *args)

  monkeypatch.setattr(labelling, 'estimate', counted)
  with pytest.raises(KeyboardInterrupt):
    _label(corpus, output, fusions, make_by_ear=_listen)
  assert not output.exists()
  # Another run's blocks are not taken for these.
  with pytest.raises(KeyboardInterrupt):
    _label(corpus, output, fusions)
  first, done[:] = set(done[:4]), []
  report = _label(corpus, output, fusions, make_by_ear=_listen)
  assert len(done) == 4 and not first & set(done)
  assert output.read_bytes() == whole.read_bytes()
  # Of those that were left out before, the reason is known too.
  assert len(report.unlabelled) == 3 and report.num_heard == 5
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'labels.parquet', 'whole.parquet']


def test_damaged_blocks_are_told(
    corpus, fusions, tmp_path, threads, monkeypatch):
  monkeypatch.setattr(labelling, '_BLOCK_SIZE', 2)
  output = tmp_path / 'labels.parquet'
  with monkeypatch.context() as context:
    context.setattr(labelling, 'write', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      _label(corpus, output, fusions)
  block = min((tmp_path / 'labels.parquet.blocks').iterdir())
  block.write_text(block.read_text()[:-9])
  with pytest.raises(ValueError, match='remove it, and it is made again'):
    _label(corpus, output, fusions)
  block.unlink()
  assert _label(corpus, output, fusions).num_pieces == 5


def test_what_is_known_is_not_estimated_again(
    corpus, fusions, student, tmp_path, threads, monkeypatch):
  output = tmp_path / 'labels.parquet'
  _label(corpus, output, fusions)
  table = labelling.read(output)
  known = table[table['md5'] != table['md5'].max()]
  spread = fusion.Spread(np.array([np.log([.04, .04]), [0, 0], [0, 0]]))
  believes_audio = fusion.Fusion(
      *(fusion.Line(np.zeros(2), np.eye(size)[:, -2:]) for size in (2, 4)),
      spread, spread)
  new = dict.fromkeys(fusion.KINDS, believes_audio)

  # Nothing needs to be heard: one piece is missing.
  paths, estimate = [], labelling.estimate
  monkeypatch.setattr(
      labelling, 'estimate',
      lambda path, *args: (paths.append(path), estimate(path, *args))[1])
  other = tmp_path / 'other.parquet'
  report = _label(corpus, other, new, known=known)
  assert len(paths) == 1 + 3 and report.num_known == 4
  again = labelling.read(other)
  assert again.drop(columns=list(labelling.LABELS)).equals(
      table.drop(columns=list(labelling.LABELS)))
  np.testing.assert_allclose(again['valence_std'], .2)

  # All are heard, and then none again.
  paths.clear()
  _label(corpus, other, new, known=known, make_by_ear=_listen)
  assert len(paths) == 5 + 3
  heard = labelling.read(other)
  assert (heard['valence'] == .5).all() and (heard['arousal'] == -.5).all()
  paths.clear()
  third = tmp_path / 'third.parquet'
  _label(corpus, third, new, known=heard, make_by_ear=_listen)
  assert len(paths) == 3
  assert labelling.read(third).equals(heard)
  # Pieces that are not in the corpus are not taken over.
  few = tmp_path / 'few'
  shutil.copytree(corpus / '0', few)
  assert _label(few, third, new, known=heard).num_pieces == 1


def test_a_better_student_reads_what_need_not_be_heard_again(
    corpus, fusions, student, tmp_path, threads, monkeypatch):
  class Better(symbolic.SymbolicVA):
    def __init__(self, estimator):
      assert estimator is None

    def regress(self, features):
      return student.regress(features) / 2

  heard, read, listened = [], [], labelling.estimate

  def estimate(path, student, settings, hear, known):
    heard.append(bool(hear))
    read.append(known is None)
    return listened(path, student, settings, hear, known)

  monkeypatch.setattr(labelling, 'estimate', estimate)
  output = tmp_path / 'labels.parquet'
  settings = labelling.Settings(min_audio_parts=2)
  shutil.copytree(corpus, tmp_path / 'midi')
  two_parts = _write(
      tmp_path / 'midi/band.mid', _tune(7, 8), drums=_tune(8, 8))
  options = dict(settings=settings, make_by_ear=_listen)
  report = _label(tmp_path / 'midi', output, fusions, **options)
  assert report.num_heard == 1 and heard == [True] * 9
  first = labelling.read(output)

  # The same student and teacher: only what failed is tried again.
  heard.clear()
  again = dict(options, known=first)
  assert _label(tmp_path / 'midi', output, fusions, **again).num_known == 6
  assert heard == [True] * 3
  assert labelling.read(output).equals(first)
  # The teacher shall hear more: of what was not heard. It is not read again.
  heard.clear()
  read.clear()
  _label(tmp_path / 'midi', output, fusions,
         **again | {'settings': SETTINGS})
  assert heard == [True] * 8 and sum(read) == 3
  more = labelling.read(output)
  assert more['audio_valence'].notna().all()
  columns = ['md5', 'window', *labelling.SECONDS, *labelling.ESTIMATES[:2]]
  assert more[columns].equals(first[columns])

  # Another student, by the digest of its weights.
  folder = tmp_path / 'checkpoints/symbolic_va'
  folder.mkdir(parents=True)
  (folder / 'config.json').write_text('better')
  monkeypatch.setattr(symbolic, 'load', Better)
  monkeypatch.setattr(
      checkpoints, 'path', lambda name: tmp_path / 'checkpoints' / name)
  heard.clear()
  report = _label(tmp_path / 'midi', output, fusions, known=first)
  assert (report.num_known, report.num_heard) == (0, 1)
  assert heard == [False] * 9
  second = labelling.read(output)
  rows = second['md5'] == file_md5(two_parts)
  assert (second['audio_valence'].notna() == rows).all()
  np.testing.assert_allclose(
      second['symbolic_arousal'], first['symbolic_arousal'] / 2, atol=.011)
  assert _label(
      tmp_path / 'midi', output, fusions, known=second).num_known == 6


def test_processes_label_as_threads_do(corpus, fusions, tmp_path):
  folder = tmp_path / 'midi'
  shutil.copytree(corpus / '1', folder)
  (folder / 'broken.mid').write_bytes(b'')
  output = tmp_path / 'labels.parquet'
  report = labelling.label(folder, output, fusions, num_workers=2)
  assert report.num_pieces == 1 and len(report.unlabelled) == 1
  assert len(labelling.read(output)) == 4


def test_a_killed_process_is_told(corpus, fusions, tmp_path):
  with pytest.raises(OSError, match='was killed') as info:
    _label(corpus, tmp_path / 'labels.parquet', fusions,
           make_by_ear=functools.partial(os._exit, 1))
  assert '\n' not in str(info.value)
  assert not list(tmp_path.iterdir())


def test_a_piece_that_kills_does_not_stop_the_others(
    corpus, fusions, tmp_path, threads, monkeypatch):
  def estimate(task):
    path, listen, _ = task
    if 'tune1' in path or 'tune2' in path and listen:
      return processes.Lost('kills the process that reads it')
    return whole(task)

  whole = labelling._Worker.estimate
  monkeypatch.setattr(labelling._Worker, 'estimate', estimate)
  output = tmp_path / 'labels.parquet'
  report = _label(corpus, output, fusions, make_by_ear=_listen)
  assert report.num_pieces == 4 and report.num_heard == 3
  assert report.unlabelled[str(corpus / '1/tune1.mid')] == (
      'kills the process that reads it')
  assert report.unheard == {
      str(corpus / '2/tune2.mid'): 'kills the process that plays it'}


@pytest.mark.parametrize('what, reason', [
    ("__import__('os')._exit(1)", 'kills the process that plays it'),
    pytest.param("__import__('time').sleep(1000)", 'takes more than 30 seconds',
                 marks=pytest.mark.slow)])
def test_a_piece_that_kills_a_process_or_hangs(
    corpus, fusions, tmp_path, monkeypatch, what, reason):
  monkeypatch.setattr(processes, 'TIMEOUT_SECONDS', 30.)
  listener = (
      f"lambda path, windows, _: {what} if 'tune1' in path "
      'else [[0.5, 0.5]] * (1 + len(windows))')
  folder = tmp_path / 'midi'
  for i in range(2):
    shutil.copytree(corpus / f'{i}', folder / f'{i}')
  report = _label(folder, tmp_path / 'labels.parquet', fusions,
                  make_by_ear=functools.partial(eval, listener))
  assert (report.num_pieces, report.num_heard) == (2, 1)
  assert report.unheard == {str(folder / '1/tune1.mid'): reason}


@pytest.mark.parametrize('what', ['block', 'table'])
def test_a_full_disk_leaves_nothing_half_written(
    corpus, fusions, tmp_path, threads, monkeypatch, what):
  def fill(path, *_, **__):
    path.write_bytes(b'half')
    raise OSError(errno.ENOSPC, 'No space left on device', str(path))

  output = tmp_path / 'labels.parquet'
  output.write_bytes(b'old')
  if what == 'block':
    monkeypatch.setattr(type(tmp_path), 'write_text', fill)
  else:
    monkeypatch.setattr(
        pd.DataFrame, 'to_parquet', lambda _, path, **__: fill(path))
  with pytest.raises(OSError, match='No space'):
    _label(corpus, output, fusions)
  assert output.read_bytes() == b'old'
  left = [p for p in tmp_path.rglob('*') if p.is_file() and p != output]
  assert [p.suffix for p in left] == ([] if what == 'block' else ['.json'])


def test_nothing_to_label_is_an_error(fusions, tmp_path, threads):
  output = tmp_path / 'labels.parquet'
  for folder in (tmp_path, tmp_path / 'none'):
    with pytest.raises(FileNotFoundError, match='has no MIDI files'):
      _label(folder, output, fusions)
  (tmp_path / 'a.mid').write_bytes(b'no')
  with pytest.raises(ValueError, match='could be labelled: not a readable'):
    _label(tmp_path, output, fusions)
  with pytest.raises(FileNotFoundError, match='is no folder'):
    _label(tmp_path, tmp_path / 'none/labels.parquet', fusions)


def test_bad_tables_are_refused(tmp_path):
  path = tmp_path / 'labels.parquet'
  with pytest.raises(FileNotFoundError, match='no table of labels at'):
    labelling.read(path)
  path.write_bytes(b'PAR1')
  with pytest.raises(ValueError, match='is not a table of labels') as info:
    labelling.read(path)
  assert '\n' not in str(info.value)
  pd.DataFrame({'md5': ['a'], 'window': [1]}).to_parquet(path)
  with pytest.raises(ValueError, match="no column 'start_seconds'"):
    labelling.read(path)
