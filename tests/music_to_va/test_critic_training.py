import json
import types

import note_seq
import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.music_to_va import (
  critic,
  critic_training,
  symbolic_features,
  symbolic_training,
)
from va_magenta.va_to_music import melody


def random_melodies(num, num_steps, seed=0):
  """Tokens of all kinds, int16 [num, num_steps]."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(2, 90, (num, num_steps))
  return np.where(
      rng.random(tokens.shape) < .6, rng.integers(0, 2, tokens.shape), tokens
  ).astype(np.int16)


@pytest.mark.parametrize('seed', range(5))
def test_notes_are_those_of_the_plain_rendering(seed):
  tokens, = random_melodies(1, 64, seed)
  expected = symbolic_features.from_note_sequence(
      melody.tokens_to_sequence(tokens))
  notes = critic_training.notes_of(tokens)
  assert len(notes) > 5
  for name in symbolic_features.NOTE_DTYPE.names:
    np.testing.assert_allclose(
        notes[name].astype(float), expected[name].astype(float), atol=1e-6)


def test_silence_has_no_notes():
  assert not len(critic_training.notes_of(np.array([0, 1, 0, 0])))


def test_tokens_of_notes_are_the_tokens():
  tokens, = random_melodies(1, 64)
  tokens[0], tokens[-1] = 40, 50
  # Silence after silence cannot be heard.
  events = np.flatnonzero(tokens != 0)
  double = events[1:][(tokens[events[1:]] == 1) & (tokens[events[:-1]] == 1)]
  tokens[double] = 0
  notes = critic_training.notes_of(tokens)
  np.testing.assert_array_equal(critic_training.tokens_of(notes), tokens)


@pytest.mark.parametrize('function', critic_training.CHANGES)
def test_changes_are_melodies(function):
  changed = 0
  for seed, tokens in enumerate(random_melodies(20, 32)):
    rng = np.random.default_rng(seed)
    result = function(tokens, rng)
    assert result.shape == (32,)
    assert 0 <= result.min() <= result.max() < 90
    changed += (result != tokens).any()
  assert changed > 5


def test_bending_a_scale_changes_no_rhythm():
  for seed, tokens in enumerate(random_melodies(20, 32)):
    bent = critic_training.bend_scale(tokens, np.random.default_rng(seed))
    np.testing.assert_array_equal(bent >= 2, tokens >= 2)
    assert np.abs(bent - tokens).max() in (0, 1, 11)  # At the edges.


def test_windows_of_a_drawn_melody_are_of_one_piece():
  tokens = np.repeat(np.arange(10), 3)[:, None] * np.ones(4, int)
  melodies, piece = critic_training.draw(
      tokens, np.repeat(np.arange(10), 3), 4, 20, np.random.default_rng(0))
  assert melodies.shape == (20, 16)
  np.testing.assert_array_equal(melodies, piece[:, None] * np.ones(16, int))


def test_softened_tokens_are_probabilities_of_the_same_melody():
  tokens = random_melodies(30, 32)
  x = critic_training.soften(
      critic_training.one_hot(tokens), critic_training.frequency_of(tokens),
      np.random.default_rng(0))
  np.testing.assert_allclose(x.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(x.argmax(-1), tokens)
  assert x.max(-1).mean() < .95
  assert x.min() >= 0


def test_spread_over_groups_sees_groups():
  values = np.repeat(np.arange(8.0), 50)

  def deviation(groups):
    figures = critic_training.spread_over(
        groups, lambda rows: {'mean': values[rows].mean()}, 0)
    return float(figures['mean'].split(' ± ')[1])

  assert deviation(np.repeat(np.arange(8), 50)) > 3 * deviation(
      np.arange(400))


class Melodies(types.SimpleNamespace):
  """A corpus of ten pieces, as `examples` of `va_to_music` gives it."""

  def of_split(self, name):
    return np.isin(self.piece, [9]) == (name == 'test')


def small_corpus():
  return Melodies(
      tokens=random_melodies(100, 32)[..., None],
      piece=np.repeat(np.arange(10), 10))


def rated_clips(folder):
  """Twelve clips, half of them in groups that taught `generator`."""
  rng = np.random.default_rng(0)
  (folder / 'midi').mkdir(parents=True)
  groups = sum((
      json.loads((checkpoints.path('symbolic_va') / half / 'config.json')
                 .read_text())['groups'][:6]
      for half in ('generator', 'judge')), [])
  rows = ['file,valence,arousal,group']
  for i, group in enumerate(groups):
    sequence = melody.tokens_to_sequence(random_melodies(1, 96, i)[0])
    note_seq.note_sequence_to_midi_file(
        sequence, str(folder / f'midi/{i}.mid'))
    rows.append(f'{i}.mid,{rng.uniform(2, 8):.2f},{rng.uniform(2, 8):.2f},'
        f'{group}')
  (folder / 'labels.csv').write_text('\n'.join(rows))


def test_the_job_writes_what_load_reads(tmp_path, monkeypatch):
  for name, value in (
      ('NUM_PAIRS', {2: 30}), ('NUM_TEST', {2: 10, 4: 4}),
      ('NUM_CLIMBS', 4), ('NUM_CLIMBED', 4), ('STEPS_PER_BATCH', 512),
      ('ROUNDS', (.5, .5)), ('NUM_DRAWS', 3), ('TIMED_BATCH', 2)):
    monkeypatch.setattr(critic_training, name, value)
  for name, value in (
      ('NUM_TREES', 5), ('NUM_COSINES', 50), ('_COMMON', {
          **symbolic_training._COMMON, 'min_data_in_leaf': 2})):
    monkeypatch.setattr(symbolic_training, name, value)
  rated_clips(tmp_path / 'eimg')
  lines = []
  critic_training.run(
      melodies=small_corpus(), eimg_dir=tmp_path / 'eimg',
      run_dir=tmp_path / 'run', seed=0, num_steps=4, report=lines.append)
  assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == [
      'README.md', 'config.json', 'held_out.png', 'weights.npz']
  model = critic.load(tmp_path / 'run')
  assert model(np.zeros((2, 32, 90), np.float32)).shape == (2, 2)
  card = (tmp_path / 'run/README.md').read_text()
  assert 'arousal down' in card
  assert 'critic, 2 bars' in card


def test_the_job_says_what_is_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match='labels.csv'):
    critic_training.run(
        melodies=small_corpus(), eimg_dir=tmp_path / 'eimg',
        run_dir=tmp_path / 'run', seed=0, num_steps=3, report=print)
  empty = Melodies(
      tokens=np.zeros((3, 32, 1), np.int16), piece=np.zeros(3, int))
  with pytest.raises(ValueError, match='no melody in its test split'):
    critic_training.run(
        melodies=empty, eimg_dir=tmp_path, run_dir=tmp_path, seed=0,
        num_steps=3, report=print)
