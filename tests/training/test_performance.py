"""Fitting performances: from MIDI files of known make to a model and a card."""

import csv
import json

import note_seq
import numpy as np
import pytest

from va_magenta.music.midi import read_notes
from va_magenta.music.notes import skyline
from va_magenta.training import performance as performance_training
from va_magenta.training.rated import Rated
from va_magenta.va_to_music import performance

_DRUMS = None


def _write(path, parts, qpm):
  """Parts: (program, pitches, velocities, quarters to the next note, share)."""
  sequence = note_seq.NoteSequence()
  sequence.tempos.add(qpm=qpm)
  for i, (program, pitches, velocities, quarters, share) in enumerate(parts):
    step = 60 / qpm * quarters
    for j, (pitch, velocity) in enumerate(
        zip(pitches, velocities, strict=True)):
      sequence.notes.add(
          pitch=int(pitch), velocity=int(velocity), program=program or 0,
          is_drum=program is _DRUMS, instrument=i, start_time=j * step,
          end_time=(j + share) * step)
  sequence.total_time = max(n.end_time for n in sequence.notes)
  path.parent.mkdir(parents=True, exist_ok=True)
  note_seq.sequence_proto_to_midi_file(sequence, str(path))


def test_describe_measures_the_top_line(tmp_path):
  top = (0, [72, 74, 76, 77, 79], [80, 90, 100, 90, 80], 0.5, 0.6)
  bass = (0, [40, 41, 40], [20, 20, 20], 1, 1)
  _write(tmp_path / 'a.mid', [top, bass], 90)
  notes = read_notes(tmp_path / 'a.mid')
  described = performance_training.describe(
      skyline(notes), notes)
  np.testing.assert_allclose(described, [
      np.log(2), np.log(90), 88, np.log(0.6 / 0.4), np.mean(top[1])],
      atol=0.02)


def test_parts_of_a_piece(tmp_path):
  up = [60 + i % 12 for i in range(20)]
  loud = [90] * 20
  flute, strings = (73, up, loud, 1, 0.9), (48, up, loud, 1, 1.9)
  bass, low = (33, up, [70] * 20, 1, 0.9), (42, [40] * 20, loud, 1, 0.9)
  chords = (34, up, loud, 1, 1.9)
  short = (65, up[:5], loud[:5], 1, 0.9)
  drums = (_DRUMS, [36] * 20, [100] * 20, 1, 0.5)

  def parts(*written):
    _write(tmp_path / 'a.mid', written, 100)
    return performance_training.parts_of(
        read_notes(tmp_path / 'a.mid'))

  def programs(found):
    return [int(part['program'][0]) for part in found]

  found = parts(flute, strings, bass, low, short, chords, drums)
  assert programs(found.melodies) == [73]
  assert programs(found.basses) == [33]
  assert len(found.drums) == 20
  assert found.balance() == [70 - 90, 100 - 90]
  assert parts(flute, bass).balance() is None
  assert parts(flute, drums).balance() is None
  alike = [(program, pitches, loud, 1, 0.9) for program, pitches in (
      (73, up), (33, up), (_DRUMS, [36] * 20))]
  assert parts(*alike).balance() is None
  pianos = parts(*[(0, up, loud, 1, 0.9)] * 2)
  assert pianos.melodies == pianos.basses == []


@pytest.fixture(scope='module')
def data(tmp_path_factory):
  """Clips that are fast and loud, and flutes, where arousal is high."""
  folder = tmp_path_factory.mktemp('data')
  random = np.random.default_rng(0)
  rows, labels = [], {}
  for i in range(120):
    valence, arousal = random.uniform(1, 9, 2)
    qpm = 60 * 2 ** ((arousal - 1) / 8 + random.normal() * 0.1)
    pitches = random.integers(60, 72, 16) + valence
    velocities = 40 + 6 * arousal + random.normal(size=16) * 3
    if i % 10 == 0:
      velocities = np.full(16, 80)
    _write(folder / 'eimg' / 'midi' / f'{i}.mid',
           [(0, pitches, velocities, random.choice([0.5, 1]),
             random.uniform(0.6, 0.9))], qpm)
    rows.append({'file': f'{i}.mid', 'valence': valence, 'arousal': arousal,
                 'group': i % 40})
  for i in range(80):
    md5 = f'{i % 16:x}{i:031d}'
    arousal = random.uniform(-0.3, 0.3)
    chance = 1 / (1 + np.exp(-10 * arousal))
    program = 65 if i % 4 == 0 else 73 if random.random() < chance else 40
    melody = (program,
              random.integers(60, 72, 20), [90] * 20, 1, 0.9)
    bass, drums = np.rint(random.normal(0, 2, 2) + [0, 20 * arousal])
    _write(folder / 'lakh' / md5[0] / f'{md5}.mid',
           [melody,
            (33 + (random.random() < chance), [40] * 20, [70 + bass] * 20, 1,
             0.9),
            # Strings where it is calm, else an organ; their notes overlap.
            (48 if arousal < 0 else 16, [60, 64] * 10, [78 + i % 5] * 20, 1,
             1.9),
            # Where it is calm a third has none.
            *[(_DRUMS, [36] * 20, [100 + drums] * 20, 1, 0.5)] * (
                arousal > 0 or i % 3 > 0)], 100)
    labels[md5] = (random.uniform(-0.2, 0.2), arousal)
  labels['0' * 32] = (0.0, 0.0)  # Is not there.
  with open(folder / 'eimg' / 'labels.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  return folder, labels


def _run(data, run_dir, groups=range(40)):
  folder, labels = data
  performance_training.run(
      eimg_dir=folder / 'eimg', groups=groups, lakh_dir=folder / 'lakh',
      labels=labels, run_dir=run_dir, seed=0,
      command='the command', report=lambda line: None)


def test_job_finds_what_was_put_in(data, tmp_path):
  _run(data, tmp_path, range(30))
  assert {p.name for p in tmp_path.iterdir()} == {
      'config.json', 'README.md', 'means.png'}
  model = performance.load(tmp_path)
  # An octave of tempo from -1 to 1; 6 of velocity a rating of 1/4.
  weights = model.normal.weights
  tempo, velocity, pitch = weights[2, 1], weights[2, 2], weights[1, 4]
  assert tempo == pytest.approx(np.log(2) / 2, abs=0.1)
  assert velocity == pytest.approx(24, abs=1)
  assert pitch == pytest.approx(4, abs=1)
  flute = model.instruments.values.tolist().index(73)
  excited, calm = (
      model.instruments.given(np.array([0, a])) for a in (0.5, -0.5))
  assert excited[flute] > calm[flute] + 0.2
  # And of the bass; labels are stretched.
  assert model.basses.values.tolist() == [33, 34]
  excited, calm = (model.basses.given(np.array([0, a])) for a in (0.5, -0.5))
  assert excited[1] > calm[1] + 0.1
  assert model.drums.values.tolist() == [0, 1]
  excited, calm = (model.drums.given(np.array([0, a])) for a in (0.9, -0.9))
  assert excited[1] > 0.9 > 0.85 > calm[1] > 0.5
  # Bands are those of people near: of the nearest tenth or so.
  assert len(model.bands.drums) == 80 and 0.9 < model.bands.drums.mean() < 1
  for arousal, comping in ((0.9, 16), (-0.9, 48)):
    bands = model.bands.draw(
        np.tile([0, arousal], (50, 1)), np.ones(50, bool),
        np.linspace(0, 1, 50, endpoint=False), 20.0, 1.0)
    assert set(bands[:, 2]) == {comping}
    assert set(bands[:, 1]) <= {33, 34} and len(set(bands[:, 0])) > 1
  assert model.comping_balance.marginal_mean[0] == pytest.approx(-10, abs=1)
  louder = model.balance.weights
  np.testing.assert_allclose(louder[0], [-20, 10], atol=1)
  arousals = np.array(list(data[1].values()))[:, 1]
  np.testing.assert_allclose(
      louder[1:], [[0, 0], [0, 20 * arousals.std() / 0.58]], atol=1.5)
  config = json.loads((tmp_path / 'config.json').read_text())
  # Those of the other groups were not read, nor those without dynamics.
  assert set(config['data']['eimg_groups']) < set(range(30))
  assert config['data']['clips'] == 3 * 30 - 9
  card = (tmp_path / 'README.md').read_text()
  assert 'of 80 files that can be read as a band' in card
  assert 'the command' in card
  assert '81\n  clips' in card
  assert 'nan' not in card


def test_held_out_likelihood_tells_what_helps(data):
  folder, labels = data
  rated = performance_training.read_eimg(
      folder / 'eimg', range(40), lambda line: None)
  found = performance_training.normal_held_out(rated, 0)
  assert found['VA'].mean() > found['nothing'].mean() + 1
  shuffled = Rated(
      rated.values, np.random.default_rng(0).permutation(rated.va),
      rated.groups)
  found = performance_training.normal_held_out(shuffled, 0)
  assert found['VA'].mean() < found['nothing'].mean()


def test_bad_data_is_one_line(data, tmp_path):
  folder, labels = data
  with pytest.raises(ValueError, match='no clip of 1 groups'):
    _run(data, tmp_path / 'out', [99])
  with pytest.raises(ValueError, match='no labelled file has a melody'):
    _run((folder, {'f' * 32: (0.0, 0.0), 'e' * 32: (0.1, 0.1)}),
         tmp_path / 'out')
  (tmp_path / 'eimg').mkdir()
  with pytest.raises(FileNotFoundError):
    performance_training.read_eimg(
        tmp_path / 'eimg', [0], print)
  (tmp_path / 'eimg' / 'labels.csv').write_text('file,valence\na,1\n')
  with pytest.raises(ValueError, match=r"lacks the columns \['arousal', 'gr"):
    performance_training.read_eimg(tmp_path / 'eimg', [0], print)
  assert not (tmp_path / 'out').exists()


def test_command_takes_the_groups_of_the_generators_student(
    data, tmp_path, run_command, check_one_line):
  import pandas as pd

  from va_magenta.music_to_va import labelling

  folder, labels = data
  table = pd.DataFrame({
      name: np.float32(0) for name in labelling.COLUMNS
  } | {'md5': list(labels), 'window': labelling.WHOLE_PIECE})
  table[['valence', 'arousal']] = list(labels.values())
  labelling.write(tmp_path / 'labels.parquet', table)
  (tmp_path / 'student').mkdir()
  config = tmp_path / 'student' / 'config.json'

  def run():
    return run_command(
        'va_magenta_train_performance', f'--eimg_dir={folder / "eimg"}',
        f'--lakh_dir={folder / "lakh"}', f'--run_dir={tmp_path / "run"}',
        f'--labels={tmp_path / "labels.parquet"}',
        f'--student={tmp_path / "student"}')

  check_one_line(run(), 'config.json')
  config.write_text('{}')
  check_one_line(run(), 'does not list the groups of EIMG')
  config.write_text(json.dumps({'groups': list(range(20))}))
  code, out, err = run()
  assert (code, err) == (0, '')
  assert out.splitlines()[0].startswith('54 EIMG clips; 6 without dynamics')
  assert set(json.loads((tmp_path / 'run' / 'config.json').read_text())[
      'data']['eimg_groups']) < set(range(20))
  check_one_line(
      run_command('va_magenta_train_performance', '--eimg_dir=x'), 'lakh_dir')


def test_what_is_always_so_is_no_choice():
  same = Rated(
      np.ones(40, int), np.random.default_rng(0).uniform(-1, 1, (40, 2)),
      np.arange(40))
  fitted = performance_training.choose_categorical(same, 0)
  drums = performance.Categorical(**fitted.parameters)
  assert drums.draw(np.zeros((1, 2)), np.array([0.7]), 1, 1) == [1]
  for values in fitted.held_out.values():
    np.testing.assert_array_equal(values, 0)


def test_a_mean_depends_on_va_only_where_that_helps(data):
  folder, _ = data
  rated = performance_training.read_eimg(
      folder / 'eimg', range(40), lambda line: None)
  gains = np.array([1.0, 2, 3])
  helped = performance_training.fit_normal(
      rated, {'nothing': np.zeros(3), 'VA': gains})
  assert abs(helped['weights'][1:]).max() > 1
  unhelped = performance_training.fit_normal(
      rated, {'nothing': np.zeros(3), 'VA': gains - 1.5})
  assert not unhelped['weights'][1:].any()
  for name in ('mean', 'covariance'):
    np.testing.assert_allclose(
        unhelped['weights'][0] if name == 'mean' else unhelped[name],
        unhelped[f'marginal_{name}'])
