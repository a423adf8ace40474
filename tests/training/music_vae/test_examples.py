"""Examples: what Magenta's converter makes of a corpus, kept for good."""

import concurrent.futures
import os
import shutil

import numpy as np
import pytest

from va_magenta import files, processes
from va_magenta.music.corpus import split_of
from va_magenta.training.music_vae import examples
from va_magenta.va_to_music import configs

_CONFIG = 'cat-mel_2bar_small'


def _midi(path, seed, num_bars=6):
  """Writes a melody in 4/4 at 120 quarters a minute; returns its content."""
  import pretty_midi

  random = np.random.default_rng(seed)
  instrument = pretty_midi.Instrument(program=0)
  for i, pitch in enumerate(random.integers(55, 80, 8 * num_bars)):
    instrument.notes.append(
        pretty_midi.Note(90, int(pitch), i * 0.25, (i + 0.9) * 0.25))
  midi = pretty_midi.PrettyMIDI()
  midi.instruments.append(instrument)
  path.parent.mkdir(parents=True, exist_ok=True)
  midi.write(str(path))
  return path.read_bytes()


@pytest.fixture(scope='session')
def converter():
  pytest.importorskip('va_magenta.magenta_compat')
  return configs.data_converter(_CONFIG)


@pytest.fixture
def convert(tmp_path, monkeypatch, converter):
  """`convert` with a thread for a worker, which has imported Magenta."""
  monkeypatch.setattr(
      processes, 'Pool',
      lambda num_workers, *start: concurrent.futures.ThreadPoolExecutor(
          1, '', start[0], start[1:]))  # Each forgets what the others share.

  def function(cache_dir='cache', **more):
    return examples.convert(
        _CONFIG, tmp_path / cache_dir, num_workers=1, **more)

  return function


@pytest.fixture
def corpus(tmp_path):
  """A folder of five pieces, one of them deeper."""
  for i in range(4):
    _midi(tmp_path / 'midi' / f'piece {i}.mid', i)
  _midi(tmp_path / 'midi' / 'deeper' / 'piece 4.MIDI', 4)
  return tmp_path / 'midi'


def _magentas(converter, path):
  """One-hots of all examples that Magenta's converter makes of a file."""
  import note_seq

  return np.stack(converter.to_tensors(
      note_seq.midi_file_to_note_sequence(str(path))).outputs)


def _sorted(tokens):
  return np.unique(tokens.reshape(len(tokens), -1), axis=0)


def _same(a, b):
  np.testing.assert_array_equal(a.tokens, b.tokens)
  np.testing.assert_array_equal(a.piece, b.piece)
  assert a.names == b.names


def test_examples_are_those_of_magentas_converter(convert, corpus, converter):
  found = convert(examples_path=str(corpus))
  assert found.names == ['piece 4', *(f'piece {i}' for i in range(4))]
  assert found.tokens.dtype == np.int16
  assert found.tokens.shape[1:] == (32, 1)
  paths = [corpus / 'deeper' / 'piece 4.MIDI', *sorted(corpus.glob('*.mid'))]
  for i, path in enumerate(paths):
    theirs = _magentas(converter, path)
    assert len(theirs) > 1
    ours = np.eye(90)[found.tokens[found.piece == i][..., 0]]
    np.testing.assert_array_equal(
        _sorted(ours.argmax(-1)), _sorted(theirs.argmax(-1)))
    assert len(ours) == len(theirs)


def test_trios_have_three_outputs(converter, tmp_path, monkeypatch):
  import pretty_midi

  trio = pretty_midi.PrettyMIDI()
  random = np.random.default_rng(0)
  for program, is_drum, low in ((0, False, 60), (33, False, 36), (0, True, 35)):
    instrument = pretty_midi.Instrument(program, is_drum)
    for i in range(16 * 8):
      pitch = low + int(random.integers(0, 12))
      instrument.notes.append(
          pretty_midi.Note(90, pitch, i * 0.25, (i + 0.9) * 0.25))
    trio.instruments.append(instrument)
  trio.write(str(tmp_path / 'trio.mid'))
  for name in ('config_name', 'max_per_piece', 'seed', 'converter'):
    monkeypatch.setattr(examples._Worker, name, None, raising=False)
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
  examples._Worker.start('hierdec-trio_16bar', 64, 0)
  tokens = examples._Worker.convert(('trio', str(tmp_path / 'trio.mid')))
  assert tokens.shape[1:] == (256, 3)
  theirs = _magentas(
      configs.data_converter('hierdec-trio_16bar'), tmp_path / 'trio.mid')
  ours = np.concatenate([
      np.eye(depth)[tokens[..., i]]
      for i, depth in enumerate((90, 90, 512))], axis=-1)
  assert len(ours) == len(theirs) >= 1
  order = [np.lexsort(x.reshape(len(x), -1).T) for x in (ours, theirs)]
  np.testing.assert_array_equal(ours[order[0]], theirs[order[1]])


def test_tfrecords_give_the_same_examples(convert, corpus, tmp_path):
  import note_seq
  import tensorflow as tf

  paths = examples.find_pieces(str(corpus))
  for name, part in (('a', paths[:2]), ('b', paths[2:])):
    with tf.io.TFRecordWriter(str(tmp_path / f'{name}.tfrecord')) as writer:
      for path in part:
        writer.write(
            note_seq.midi_file_to_note_sequence(path).SerializeToString())
  records = convert(examples_path=f'{tmp_path}/*.tfrecord')
  midi = convert('other', examples_path=str(corpus))
  np.testing.assert_array_equal(records.tokens, midi.tokens)
  np.testing.assert_array_equal(records.piece, midi.piece)
  assert records.names == [
      'a.tfrecord:0', 'a.tfrecord:1', 'b.tfrecord:0', 'b.tfrecord:1',
      'b.tfrecord:2']
  content = (tmp_path / 'b.tfrecord').read_bytes()
  (tmp_path / 'b.tfrecord').write_bytes(content[:-20])
  with pytest.raises(ValueError, match='b.tfrecord is not a whole') as info:
    convert('third', examples_path=f'{tmp_path}/*.tfrecord')
  assert '\n' not in str(info.value)


class _Dataset:
  """As much of a TensorFlow Dataset as `convert` uses."""

  def __init__(self, *rows):
    self.rows = rows

  def as_numpy_iterator(self):
    return iter(self.rows)


def test_tensorflow_datasets(convert, tmp_path, monkeypatch, capsys):
  import tensorflow_datasets as tfds

  contents = [_midi(tmp_path / f'{i}.mid', i) for i in range(3)]
  corpora = {
      'maestro': {
          'train': _Dataset(
              {'id': b'one', 'midi': contents[0]},
              {'id': b'bad', 'midi': b'MThd and so on'},
              {'id': b'two', 'midi': contents[1]}),
          'test': _Dataset({'midi': contents[2]}),
      },
      'mnist': {'train': _Dataset({'image': b'', 'label': 3})},
  }
  monkeypatch.setattr(tfds, 'load', lambda name: corpora[name])
  found = convert(tfds_name='maestro')
  assert found.names == ['one', 'bad', 'two', 'test:0']
  assert sorted(set(found.piece)) == [0, 2, 3]
  assert 'left out: 1 pieces: unparsable' in capsys.readouterr().out
  files = convert('other', examples_path=f'{tmp_path}/*.mid')
  np.testing.assert_array_equal(found.tokens, files.tokens)
  with pytest.raises(ValueError, match='mnist has no feature midi: it has '
                     'image, label'):
    convert(tfds_name='mnist')


def test_what_is_no_music_is_left_out_and_counted(convert, corpus, capsys):
  whole = convert(examples_path=str(corpus))
  (corpus / 'x corrupt.mid').write_bytes(
      (corpus / 'piece 0.mid').read_bytes()[:60])
  (corpus / 'x empty.mid').write_bytes(b'')
  (corpus / 'x text.mid').write_text('no music')
  _midi(corpus / 'x short.mid', 0, num_bars=0)
  (corpus / 'notes.txt').write_text('not looked at')
  capsys.readouterr()
  found = convert(examples_path=str(corpus))
  np.testing.assert_array_equal(found.tokens, whole.tokens)
  assert found.names[-4:] == ['x corrupt', 'x empty', 'x short', 'x text']
  assert capsys.readouterr().out.splitlines() == [
      'left out: 3 pieces: unparsable',
      'left out: 1 pieces: no example of full length']


def test_a_finished_corpus_is_only_read(convert, corpus, monkeypatch):
  first = convert(examples_path=str(corpus))
  monkeypatch.setattr(examples._Worker, 'convert', None)
  monkeypatch.setattr(processes, 'Pool', pytest.fail)
  _same(first, convert(examples_path=str(corpus)))


def test_an_interrupted_run_goes_on_where_it_stood(
    convert, corpus, tmp_path, monkeypatch):
  whole = convert('whole', examples_path=str(corpus))
  monkeypatch.setattr(examples, '_BLOCK_SIZE', 2)
  work, converted = examples._Worker.convert, []

  def interrupted(piece):
    if len(converted) == 3:
      raise SystemError
    converted.append(piece[0])
    return work(piece)

  monkeypatch.setattr(examples._Worker, 'convert', interrupted)
  with pytest.raises(SystemError):
    convert(examples_path=str(corpus))
  folder, = (tmp_path / 'cache').iterdir()
  # Whole blocks only, and no temporary file.
  assert [p.name for p in folder.iterdir()] == ['00000.npz']
  assert converted == ['piece 4', 'piece 0', 'piece 1']

  again = []
  monkeypatch.setattr(examples._Worker, 'convert',
                      lambda piece: again.append(piece[0]) or work(piece))
  _same(whole, convert(examples_path=str(corpus)))
  assert again == ['piece 1', 'piece 2', 'piece 3']
  assert sorted(p.name for p in folder.iterdir()) == [
      '00000.npz', '00001.npz', '00002.npz']


def test_two_at_once_give_the_same(convert, corpus, tmp_path, monkeypatch):
  def meanwhile(path):
    if not others:  # The other begins and ends before this one writes.
      others.append(None)
      others.append(convert(examples_path=str(corpus)))
    return writing(path)

  whole = convert('whole', examples_path=str(corpus))
  monkeypatch.setattr(examples, '_BLOCK_SIZE', 2)
  others, writing = [], files.writing
  monkeypatch.setattr(files, 'writing', meanwhile)
  _same(whole, convert(examples_path=str(corpus)))
  _same(whole, others[1])
  folder, = (tmp_path / 'cache').iterdir()
  assert sorted(p.name for p in folder.iterdir()) == [
      '00000.npz', '00001.npz', '00002.npz']


def test_a_corpus_that_was_copied_is_the_same(
    convert, corpus, tmp_path, monkeypatch):
  first = convert(examples_path=str(corpus))
  copy = tmp_path / 'elsewhere'
  shutil.copytree(corpus, copy, copy_function=shutil.copyfile)
  for path in copy.iterdir():
    os.utime(path, (0, 0))
  monkeypatch.setattr(processes, 'Pool', pytest.fail)
  _same(first, convert(examples_path=str(copy)))


def test_another_corpus_in_the_same_cache_is_another_corpus(
    convert, corpus, tmp_path):
  first = convert(examples_path=str(corpus))
  _midi(corpus / 'piece 5.mid', 5)
  more = convert(examples_path=str(corpus))
  assert len(more.tokens) > len(first.tokens)
  _midi(corpus / 'piece 5.mid', 6)  # The same name, other music.
  other = convert(examples_path=str(corpus))
  assert (other.tokens[other.piece == 5] != more.tokens[more.piece == 5]).any()
  convert(examples_path=str(corpus), max_per_piece=1)
  assert len(list((tmp_path / 'cache').iterdir())) == 4


def test_a_damaged_block_is_told(convert, corpus, tmp_path):
  convert(examples_path=str(corpus))
  block, = (tmp_path / 'cache').rglob('*.npz')
  block.write_bytes(block.read_bytes()[:100])
  with pytest.raises(ValueError, match='00000.npz is damaged .* remove it'):
    convert(examples_path=str(corpus))


def test_a_killed_process_is_told(convert, corpus, monkeypatch):
  def killed(piece):
    raise concurrent.futures.process.BrokenProcessPool('terminated abruptly')

  monkeypatch.setattr(examples._Worker, 'convert', killed)
  with pytest.raises(OSError, match='was killed.*run it again'):
    convert(examples_path=str(corpus))


def test_midi_and_records_may_stand_side_by_side(convert, corpus):
  import note_seq
  import tensorflow as tf

  with tf.io.TFRecordWriter(str(corpus / 'a.tfrecord')) as writer:
    writer.write(note_seq.midi_file_to_note_sequence(
        str(corpus / 'piece 0.mid')).SerializeToString())
  (corpus / 'piece 0.mid').unlink()
  found = convert(examples_path=f'{corpus}/*')
  assert found.names == ['piece 1', 'piece 2', 'piece 3', 'a.tfrecord:0']
  assert sorted(set(found.piece)) == [0, 1, 2, 3]


def test_at_most_so_many_a_piece(convert, corpus):
  whole = convert(examples_path=str(corpus))
  some = convert(examples_path=str(corpus), max_per_piece=2)
  np.testing.assert_array_equal(np.bincount(some.piece), 2)
  for i in range(5):
    ours = {t.tobytes() for t in some.tokens[some.piece == i]}
    assert ours < {t.tobytes() for t in whole.tokens[whole.piece == i]}
  _same(some, convert('other', examples_path=str(corpus), max_per_piece=2))
  other = convert(examples_path=str(corpus), max_per_piece=2, seed=1)
  assert (other.tokens != some.tokens).any()


def test_a_home_folder_is_found(convert, corpus, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(corpus)
  examples.convert(_CONFIG, '~/cache', examples_path='~/midi', num_workers=1)
  assert (tmp_path / 'cache').is_dir()
  assert not (corpus / '~').exists()


def test_splits_are_stable():
  # A change of these would move test pieces into training.
  pinned = {
      '0': 'test', '1': 'validation', '2': 'train', 'piece 3': 'train',
      'piece 4': 'validation', 'Für Elise': 'train'}
  assert {name: split_of(name) for name in pinned} == pinned
  shares = np.unique(
      [split_of(str(i)) for i in range(5000)], return_counts=True)
  assert list(shares[0]) == ['test', 'train', 'validation']
  np.testing.assert_allclose(shares[1] / 5000, [0.1, 0.8, 0.1], atol=0.02)


def test_no_piece_is_in_two_splits():
  names = [str(i) for i in range(100)]
  piece = np.repeat(np.arange(100, dtype=np.int32), 3)
  corpus = examples.Examples(
      piece[:, None, None].astype(np.int16), piece, names)
  splits = [
      corpus.split(name) for name in ('train', 'validation', 'test')]
  pieces = [set(tokens.ravel().tolist()) for tokens in splits]
  assert all(pieces)
  assert sum(len(p) for p in pieces) == len(set.union(*pieces)) == 100
  assert sum(len(tokens) for tokens in splits) == 300


def test_one_corpus_must_be_named(tmp_path):
  for more in ({}, {'examples_path': 'a', 'tfds_name': 'b'}):
    with pytest.raises(ValueError, match='name one corpus'):
      examples.convert(_CONFIG, tmp_path / 'cache', **more)
  assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('path', ['missing', 'folder', 'folder/*.mid', ''])
def test_nothing_to_be_found_is_told(tmp_path, monkeypatch, path):
  (tmp_path / 'folder').mkdir()
  (tmp_path / 'folder' / 'notes.txt').write_text('text')
  monkeypatch.chdir(tmp_path)
  with pytest.raises(
      FileNotFoundError, match=f'no examples at {path}'.replace('*', r'\*')):
    examples.convert(_CONFIG, tmp_path / 'cache', examples_path=path)
  assert not (tmp_path / 'cache').exists()


def test_what_is_neither_midi_nor_records_is_told(tmp_path):
  (tmp_path / 'notes.txt').write_text('This is text, and long enough. ' * 9)
  with pytest.raises(ValueError, match='notes.txt is not a whole TFRecord'):
    examples.convert(
        _CONFIG, tmp_path / 'cache', examples_path=f'{tmp_path}/notes.txt')


def test_a_corpus_without_an_example_is_told(convert, tmp_path):
  (tmp_path / 'midi').mkdir()
  (tmp_path / 'midi' / 'empty.mid').write_bytes(b'')
  with pytest.raises(ValueError, match='no piece of .*midi gave an example for '
                     'cat-mel_2bar_small'):
    convert(examples_path=str(tmp_path / 'midi'))


def test_processes_give_what_threads_give(convert, corpus, monkeypatch):
  threads = convert(examples_path=str(corpus))
  monkeypatch.undo()
  _same(threads, examples.convert(
      _CONFIG, corpus.parent / 'other', examples_path=str(corpus),
      num_workers=1))
