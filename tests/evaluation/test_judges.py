"""Judges judge what they are given, by what they were fitted to."""

import csv

import numpy as np
import pytest

from va_magenta.evaluation import judges
from va_magenta.music import melody, trio
from va_magenta.music_to_va import audio, fusion, symbolic, symbolic_features

FEATURES = len(symbolic_features.FEATURE_NAMES)


def _pieces(number=3):
  rng = np.random.default_rng(0)
  pieces = []
  for _ in range(number):
    tokens = np.zeros(32, np.int32)
    tokens[rng.permutation(32)[:9]] = rng.integers(30, 60, 9)
    pieces.append(melody.tokens_to_sequence(
        tokens, tempo_qpm=float(rng.uniform(60, 180))))
  return pieces


def test_the_reader_says_what_its_student_says():
  student = symbolic.load()
  pieces = _pieces()
  expected = [
      (va.valence, va.arousal) for va in student.estimate_va(pieces)]
  for _ in range(2):  # The second time from memory.
    np.testing.assert_allclose(judges.Reader(student)(pieces), expected)


def test_a_missing_half_is_told_in_one_line(monkeypatch, tmp_path):
  monkeypatch.setattr(judges.checkpoints, 'path', lambda name: tmp_path)
  with pytest.raises(FileNotFoundError, match='va_magenta_train_midi') as error:
    judges.student(judges.JUDGE)
  assert '\n' not in str(error.value)


def test_the_listener_hears_and_fuses(monkeypatch):
  class Sum:
    def apply(self, estimates):
      return estimates[:, :2] + estimates[:, 2:], None

  monkeypatch.setattr(
      fusion, 'load', lambda: dict.fromkeys(fusion.KINDS, Sum()))
  student, pieces = symbolic.load(), _pieces(2)
  listener = judges.Listener(student)
  heard = np.array([listener.listen(piece) for piece in pieces])
  expected = [
      (va.valence, va.arousal) for va in audio.load().estimate_va(pieces)]
  np.testing.assert_allclose(listener.by_ear(heard), expected, atol=1e-6)
  read = student.regress(judges.features(pieces))
  np.testing.assert_allclose(
      listener.fuse(pieces, heard), read + heard, atol=1e-6)


def test_all_judges_judge_whole_pieces_of_a_band(monkeypatch):
  rng = np.random.default_rng(0)
  tokens = np.zeros((256, 3), int)
  tokens[::2, 0] = rng.integers(40, 60, 128)
  tokens[::4, 1] = rng.integers(15, 27, 64)
  tokens[::2, 2] = rng.integers(0, 512, 128)
  band = trio.tokens_to_sequence(tokens, tempo_qpm=170)
  alone = melody.tokens_to_sequence(tokens[:, 0], tempo_qpm=170)
  read = judges.Reader(judges.student(judges.JUDGE))([band, alone])
  assert np.isfinite(read).all()
  assert np.abs(read[0] - read[1]).max() > .01
  listener = judges.Listener(judges.student(judges.JUDGE))
  heard = np.array([listener.listen(piece) for piece in (band, alone)])
  assert np.isfinite(heard).all()
  assert np.abs(heard[0] - heard[1]).max() > .01
  assert np.isfinite(listener.fuse([band, alone], heard)).all()
  monkeypatch.setattr(judges, '_NUM_TREES', 2)
  quadrants = np.tile([1, 2, 3, 4], 30)
  judge = judges.QuadrantJudge(
      features=np.repeat(judges.features([band, alone]), 60, axis=0),
      quadrants=quadrants, songs=np.arange(120).astype(str),
      kinds=np.full(120, 'clip'))
  assert set(judge([band, alone])) <= {1, 2, 3, 4}


@pytest.fixture
def rated():
  """Features that tell quadrants, of songs with clips and their melodies."""
  rng = np.random.default_rng(0)
  quadrants = rng.integers(1, 5, 240)
  features = rng.normal(size=(240, FEATURES)).astype(np.float32)
  features[:, :100] += 2 * np.isin(quadrants, (1, 4))[:, None]
  features[:, 100:] += 2 * (quadrants <= 2)[:, None]
  return {
      'features': features, 'quadrants': quadrants,
      'songs': np.repeat(np.arange(60), 4).astype(str),
      'kinds': np.tile(['clip', 'melody'], 120)}


def test_the_quadrant_judge_learns_quadrants(rated, monkeypatch):
  monkeypatch.setattr(judges, '_NUM_TREES', 30)
  judge = judges.QuadrantJudge(**rated)
  assert set(judge.held_out) == {'clip', 'melody'}
  assert min(judge.held_out.values()) > .9
  monkeypatch.setattr(judges, 'features', lambda pieces: rated['features'])
  assert np.mean(judge([]) == rated['quadrants']) > .95
  rated['quadrants'] = np.random.default_rng(1).permutation(rated['quadrants'])
  assert judges.QuadrantJudge(**rated).held_out['clip'] < .5


def test_emopia_is_read_once(tmp_path, monkeypatch):
  import io

  import note_seq

  monkeypatch.setattr(judges, '_NUM_TREES', 2)
  folder = tmp_path / 'emopia'
  (folder / 'midi').mkdir(parents=True)
  with open(folder / 'label.csv', 'w', newline='') as file:
    table = csv.DictWriter(file, ['ID', '4Q'])
    table.writeheader()
    for i, piece in enumerate(_pieces(8)):
      name = f'Q{i % 4 + 1}_song{i}_0'
      table.writerow({'ID': name, '4Q': i % 4 + 1})
      midi = io.BytesIO()
      note_seq.note_sequence_to_pretty_midi(piece).write(midi)
      (folder / 'midi' / f'{name}.mid').write_bytes(midi.getvalue())
  said = []
  cache = tmp_path / 'emopia.npz'
  first = judges.load_quadrant_judge(folder, cache, 0, said.append)
  assert said[0].startswith('8 EMOPIA clips')
  again = judges.load_quadrant_judge(folder, cache, 0, said.append)
  assert len(said) == 1
  assert again.held_out == first.held_out
  judges.load_quadrant_judge(folder, cache, 1, said.append)
  assert len(said) == 2
  cache.write_bytes(cache.read_bytes()[:200])
  judges.load_quadrant_judge(folder, cache, 1, said.append)
  assert len(said) == 3


def test_a_folder_without_clips(tmp_path):
  with pytest.raises(FileNotFoundError):
    judges.load_quadrant_judge(tmp_path, tmp_path / 'x.npz', 0, print)
  (tmp_path / 'label.csv').write_text('ID,4Q\nQ1_a_0,1\n')
  with pytest.raises(ValueError, match='no clip of label.csv is in midi/'):
    judges.load_quadrant_judge(tmp_path, tmp_path / 'x.npz', 0, print)
