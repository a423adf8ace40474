"""A corpus of bands, from files to windows."""

import numpy as np
import pandas as pd
import pytest

from va_magenta.music import band, chords, corpus, midi
from va_magenta.music_to_va import labelling
from va_magenta.training import band_corpus

_PROGRESSION = np.repeat(
    [chords.parse(n) for n in 'D Bm G A D Bm Em A'.split()], 2)


def _piece(seed):
  """Eight bars in D major."""
  tokens = np.zeros((128, 4), np.int64)
  scale = np.array([74, 76, 78, 79, 81, 83, 85])
  tokens[::4, band.MELODY] = 2 - 21 + np.random.default_rng(seed).choice(
      scale, 32)
  tokens[::8, band.BASS] = [
      2 + 36 + chords.root_of(c) - 21 for c in _PROGRESSION]
  tokens[::8, band.COMPING] = band.STRUCK
  return tokens


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Five pieces, one of them twice, and a file that is none."""
  folder = tmp_path_factory.mktemp('midi')
  for i in range(5):
    (folder / f'{i}.mid').write_bytes(midi.to_bytes(band.to_sequence(
        band.voice(_piece(i), _PROGRESSION), tempo_qpm=120)))
  (folder / 'again.mid').write_bytes(midi.to_bytes(band.to_sequence(
      band.voice(_piece(2), _PROGRESSION), tempo_qpm=100)))
  (folder / 'none.mid').write_bytes(b'no music')
  return folder


def _convert(folder, cache, **more):
  told = []
  return band_corpus.convert(
      cache, examples_path=str(folder), labels=None, report=told.append,
      **more), told


def test_pieces_are_read_once_and_what_is_left_out_is_told(
    folder, tmp_path, threads):
  found, told = _convert(folder, tmp_path)
  assert sorted(found.names) == sorted(
      corpus.file_md5(folder / f'{name}.mid')
      for name in '01234')
  assert len(told) == 2 and any('melody of another' in line for line in told)
  assert found.bars.tolist() == [8] * 5
  i = found.names.index(corpus.file_md5(folder / '3.mid'))
  np.testing.assert_array_equal(found.tokens[128 * i:128 * (i + 1)], _piece(3))
  np.testing.assert_array_equal(
      found.chords[16 * i:16 * (i + 1)], _PROGRESSION)
  assert set(found.signature) == {2}
  assert (found.va == band_corpus.NO_LABEL).all()


def test_what_is_done_is_not_done_again(folder, tmp_path, threads, monkeypatch):
  monkeypatch.setattr(band_corpus, '_BLOCK_SIZE', 2)
  first, _ = _convert(folder, tmp_path)
  blocks = sorted(tmp_path.glob('*.npz'))
  assert len(blocks) == 4
  blocks[1].unlink()
  read = []
  monkeypatch.setattr(
      band_corpus, '_read',
      lambda path, function=band_corpus._read: (
          read.append(path), function(path))[1])
  second, _ = _convert(folder, tmp_path)
  assert len(read) == 2
  assert second.names == first.names
  np.testing.assert_array_equal(second.tokens, first.tokens)


def test_bars_have_the_labels_of_what_begins_there(
    folder, tmp_path, threads, monkeypatch):
  # At 120 qpm a bar takes two seconds, and a window of two bars four.
  name = corpus.file_md5(folder / '1.mid')
  table = pd.DataFrame({
      'md5': [name] * 3, 'window': [-1, 0, 1], 'start_seconds': [0., 0., 4.],
      'valence': [.9, -.5, .25], 'arousal': [.9, .5, -.75]})
  monkeypatch.setattr(labelling, 'read', lambda path: table)
  found = band_corpus.convert(
      tmp_path, examples_path=str(folder), labels='table', report=lambda _: 0)
  i = found.names.index(name)
  va = found.va.reshape(5, 8, 2)
  assert va[i, :4].tolist() == [[-50, 50], [25, -75], [25, -75], [25, -75]]
  assert (np.delete(va, i, axis=0) == band_corpus.NO_LABEL).all()


def _corpus(va=None):
  tokens = np.concatenate([_piece(i) for i in range(4)])
  return band_corpus.Corpus(
      tokens.astype(np.uint16), np.tile(_PROGRESSION, 4).astype(np.uint8),
      np.full((32, 2), 50, np.int8) if va is None else va,
      np.full(32, 2, np.int8), np.full(4, 8, np.int32),
      np.full(4, 120, np.float32), ['00a', '14a', '28a', 'ffa'])


def test_windows_are_cut_in_the_key_without_accidentals():
  found = _corpus()
  starts = found.windows(2, 2)
  assert starts.tolist() == list(range(0, 32, 2))
  tokens, progression, va, plays = found.cut(starts[:1], 2)
  expected = band.transpose(_piece(0)[:32], _PROGRESSION[:4], -2)
  np.testing.assert_array_equal(tokens[0], expected[0])
  np.testing.assert_array_equal(progression[0], expected[1])
  assert va.tolist() == [[[.5, .5]] * 2]
  assert plays.tolist() == [[True, True, False, True]]


def test_windows_without_a_melody_are_left_out():
  found = _corpus()
  found.tokens[32:80, band.MELODY] = 0
  assert found.windows(2, 2)[:4].tolist() == [0, 4, 6, 8]
  assert 2 not in found.windows(2, 1)


def test_pieces_are_split_by_name():
  found = _corpus()
  assert [band_corpus.split_of(n) for n in found.names] == [
      'test', 'validation', 'test', 'train']
  held_out = found.windows(2, 2, held_out=True)
  assert set(found.pieces_of(held_out)) == {0, 1, 2}
  assert set(found.pieces_of(found.windows(2, 2, held_out=False))) == {3}


def test_examples_have_controls_of_va_players_and_chords():
  va = np.full((32, 2), 50, np.int8)
  va[8:16] = band_corpus.NO_LABEL
  made = band_corpus.to_examples(_corpus(va), 2, 2, max_per_piece=3)
  assert made.tokens.shape == (12, 32, 4)
  assert np.bincount(made.piece).tolist() == [3] * 4
  assert made.of_split('train').sum() == 3
  assert made.controls.shape == (12, 4, 31)
  is_labelled = made.piece != 1
  assert (made.controls[is_labelled, :, :2] == .5).all()
  assert (made.controls[~is_labelled, :, :2] == 0).all()
  assert (made.controls[..., 2:6] == [1, 1, 0, 1]).all()
  chord_features = made.controls[..., 6:].astype(np.float32)
  assert (chord_features[:, :, None] == chords.FEATURES).all(-1).any(-1).all()


def test_a_corpus_is_written_and_read(tmp_path):
  found = _corpus()
  band_corpus.save(found, tmp_path / 'band.npz')
  again = band_corpus.load(tmp_path / 'band.npz')
  assert again.names == found.names
  np.testing.assert_array_equal(again.tokens, found.tokens)
  np.savez(tmp_path / 'other.npz', tokens=found.tokens)
  with pytest.raises(ValueError, match='is no corpus of bands: it holds tok'):
    band_corpus.load(tmp_path / 'other.npz')
  with pytest.raises(FileNotFoundError, match='no corpus of bands at'):
    band_corpus.load(tmp_path / 'gone.npz')
