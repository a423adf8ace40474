import json
import types

import note_seq
import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.music import melody, trio
from va_magenta.music.notes import NOTE_DTYPE, from_note_sequence
from va_magenta.music_to_va import critic
from va_magenta.training import symbolic
from va_magenta.training.critic import (
  augment,
  job,
  measure,
  pairs,
  train,
  voices,
)


def random_melodies(num, num_steps, seed=0, num_voices=1):
  """Tokens of all kinds, int16 [num, num_steps, num_voices]."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(2, 90, (num, num_steps, num_voices))
  return np.where(
      rng.random(tokens.shape) < .6, rng.integers(0, 2, tokens.shape), tokens
  ).astype(np.int16)


@pytest.mark.parametrize('seed', range(5))
def test_notes_are_those_of_the_plain_rendering(seed):
  tokens, = random_melodies(1, 64, seed)
  expected = from_note_sequence(
      melody.tokens_to_sequence(tokens[:, 0]))
  notes = voices.notes_of(tokens)
  assert len(notes) > 5
  for name in NOTE_DTYPE.names:
    np.testing.assert_allclose(
        notes[name].astype(float), expected[name].astype(float), atol=1e-6)


@pytest.mark.parametrize('seed', range(5))
def test_notes_of_two_voices_are_those_of_a_trio_without_drums(seed):
  tokens, = random_melodies(1, 64, seed, num_voices=2)
  expected = from_note_sequence(trio.tokens_to_sequence(
      np.pad(tokens, ((0, 0), (0, 1))), programs=(0, 0)))
  notes = voices.notes_of(tokens)
  assert len(np.unique(notes['part'])) == 2
  for name in NOTE_DTYPE.names:
    np.testing.assert_allclose(
        notes[name].astype(float), expected[name].astype(float), atol=1e-6)


def test_silence_has_no_notes():
  assert not len(voices.notes_of(np.array([[0], [1], [0], [0]])))


def test_lines_of_a_piece_are_its_top_and_its_bottom():
  """A chord, then the melody alone, over a bass that is held."""
  sequence = note_seq.NoteSequence()
  for pitch, start, end in (
      (72, 0, 1), (64, 0, 1), (36, 0, 2), (74, 1, 2), (76, 2, 3), (40, 3, 4),
      (77, 3, 4)):
    sequence.notes.add(
        pitch=pitch, start_time=start, end_time=end, velocity=80)
  notes = from_note_sequence(sequence)  # 120 qpm.
  top = np.zeros(32, int)
  top[[0, 8, 16, 24]] = np.array([72, 74, 76, 77]) - 19
  bottom = np.zeros(32, int)
  bottom[[0, 16, 24]] = 36 - 19, 1, 40 - 19
  np.testing.assert_array_equal(
      voices.lines_of(notes, 2), np.stack([top, bottom], axis=1))
  np.testing.assert_array_equal(
      voices.lines_of(notes, 1), top[:, None])


def test_tokens_of_notes_are_the_tokens():
  tokens, = random_melodies(1, 64)
  tokens = tokens[:, 0]
  tokens[0], tokens[-1] = 40, 50
  # Silence after silence cannot be heard.
  events = np.flatnonzero(tokens != 0)
  double = events[1:][(tokens[events[1:]] == 1) & (tokens[events[:-1]] == 1)]
  tokens[double] = 0
  tokens = tokens[:, None]
  notes = voices.notes_of(tokens)
  np.testing.assert_array_equal(voices.tokens_of(notes), tokens)


@pytest.mark.parametrize('function', augment.AUGMENTATIONS)
def test_changes_are_melodies(function):
  changed = 0
  for seed, tokens in enumerate(random_melodies(20, 32)[..., 0]):
    rng = np.random.default_rng(seed)
    result = function(tokens, rng)
    assert result.shape == (32,)
    assert 0 <= result.min() <= result.max() < 90
    changed += (result != tokens).any()
  assert changed > 5


def test_bending_a_scale_changes_no_rhythm():
  for seed, tokens in enumerate(random_melodies(20, 32)[..., 0]):
    bent = augment.bend_scale(tokens, np.random.default_rng(seed))
    np.testing.assert_array_equal(bent >= 2, tokens >= 2)
    assert np.abs(bent - tokens).max() in (0, 1, 11)  # At the edges.


def test_voices_are_transposed_together():
  melodies = random_melodies(20, 32, num_voices=2) // 4 + 20
  for seed, tokens in enumerate(melodies):
    rng = np.random.default_rng(seed)
    moved = augment.same_for_all_voices(augment.transpose, tokens, rng, 3)
    assert len(np.unique(moved - tokens)) == 1
    assert rng.random() != np.random.default_rng(seed).random()


def test_of_two_voices_one_or_both_are_changed():
  changed = np.array([
      (augment.augment(tokens, np.random.default_rng(seed)) != tokens
       ).any(0)
      for seed, tokens in enumerate(random_melodies(60, 32, num_voices=2))])
  assert {tuple(row) for row in changed} >= {
      (True, False), (False, True), (True, True)}


def test_windows_of_a_drawn_melody_are_of_one_piece():
  tokens = (np.repeat(np.arange(10), 3)[:, None] * np.ones(4, int))[..., None]
  melodies, piece = pairs.draw(
      tokens, np.repeat(np.arange(10), 3), 4, 20, np.random.default_rng(0))
  assert melodies.shape == (20, 16, 1)
  np.testing.assert_array_equal(
      melodies[..., 0], piece[:, None] * np.ones(16, int))


@pytest.mark.parametrize('num_voices', [1, 2])
def test_softened_tokens_are_probabilities_of_the_same_melody(num_voices):
  tokens = random_melodies(30, 32, num_voices=num_voices)
  x = train.relax(
      voices.one_hot(tokens), voices.frequency_of(tokens),
      np.random.default_rng(0)).reshape(*tokens.shape, 90)
  np.testing.assert_allclose(x.sum(-1), 1, atol=1e-5)
  np.testing.assert_array_equal(x.argmax(-1), tokens)
  assert x.max(-1).mean() < .95
  assert x.min() >= 0


def test_spread_over_groups_sees_groups():
  values = np.repeat(np.arange(8.0), 50)

  def deviation(groups):
    figures = measure.spread_over(
        groups, lambda rows: {'mean': values[rows].mean()}, 0)
    return float(figures['mean'].split(' ± ')[1])

  assert deviation(np.repeat(np.arange(8), 50)) > 3 * deviation(
      np.arange(400))


class Melodies(types.SimpleNamespace):
  """A corpus of ten pieces, as `examples` of `va_to_music` gives it."""

  def of_split(self, name):
    return np.isin(self.piece, [9]) == (name == 'test')


def small_corpus(num_voices=1):
  return Melodies(
      tokens=random_melodies(100, 32, num_voices=num_voices),
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
    sequence = melody.tokens_to_sequence(random_melodies(1, 96, i)[0, :, 0])
    note_seq.note_sequence_to_midi_file(
        sequence, str(folder / f'midi/{i}.mid'))
    rows.append(f'{i}.mid,{rng.uniform(2, 8):.2f},{rng.uniform(2, 8):.2f},'
        f'{group}')
  (folder / 'labels.csv').write_text('\n'.join(rows))


@pytest.mark.slow
@pytest.mark.parametrize('num_voices', [1, 2])
def test_the_job_writes_what_load_reads(num_voices, tmp_path, monkeypatch):
  for module, name, value in (
      (job, 'NUM_PAIRS', {2: 30}), (job, 'NUM_TEST', {2: 10, 4: 4}),
      (job, 'NUM_ASCENTS', 4), (job, 'ROUNDS', (.5, .5)),
      (train, 'NUM_ASCENDED', 4), (train, 'STEPS_PER_BATCH', 512),
      (measure, 'NUM_DRAWS', 3), (measure, 'TIMED_BATCH', 2)):
    monkeypatch.setattr(module, name, value)
  for name, value in (
      ('NUM_TREES', 5), ('NUM_COSINES', 50), ('_COMMON', {
          **symbolic._COMMON, 'min_data_in_leaf': 2})):
    monkeypatch.setattr(symbolic, name, value)
  rated_clips(tmp_path / 'eimg')
  lines = []
  job.run(
      melodies=small_corpus(num_voices), eimg_dir=tmp_path / 'eimg',
      run_dir=tmp_path / 'run', seed=0, num_steps=4, report=lines.append)
  assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == [
      'README.md', 'config.json', 'held_out.png', 'weights.npz']
  model = critic.load(tmp_path / 'run')
  assert model.num_voices == num_voices
  assert model(np.zeros((2, 32, 692), np.float32)).shape == (2, 2)
  card = (tmp_path / 'run/README.md').read_text()
  assert 'arousal down' in card
  assert 'critic, 2 bars' in card


def test_the_job_says_what_is_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match='labels.csv'):
    job.run(
        melodies=small_corpus(), eimg_dir=tmp_path / 'eimg',
        run_dir=tmp_path / 'run', seed=0, num_steps=3, report=print)
  empty = Melodies(
      tokens=np.zeros((3, 32, 1), np.int16), piece=np.zeros(3, int))
  with pytest.raises(ValueError, match='no melody in its test split'):
    job.run(
        melodies=empty, eimg_dir=tmp_path, run_dir=tmp_path, seed=0,
        num_steps=3, report=print)
