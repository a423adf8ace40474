import json
import subprocess
import sys

import note_seq
import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.music_to_va import (
  symbolic,
  symbolic_features,
  symbolic_training,
  trees,
)
from va_magenta.va import VA


def melody(pitches, tempo_qpm, velocity, beats=1.0):
  sequence = note_seq.NoteSequence(ticks_per_quarter=220)
  sequence.tempos.add(qpm=tempo_qpm)
  for i, pitch in enumerate(pitches):
    sequence.notes.add(
        pitch=pitch, velocity=velocity, start_time=i * beats * 60 / tempo_qpm,
        end_time=(i + 1) * beats * 60 / tempo_qpm)
  return sequence


MAJOR = melody([72, 76, 79, 84, 83, 79, 81, 83] * 4, 150, 100, beats=.5)
MINOR = melody([48, 51, 55, 51, 50, 48, 47, 48], 55, 45)


@pytest.fixture(scope='module')
def estimator():
  return symbolic.load()


def test_a_bright_melody_lies_above_and_right_of_a_dark_one(estimator):
  bright, dark = estimator.estimate_va([MAJOR, MINOR])
  assert bright.arousal > dark.arousal + .5
  assert bright.valence > dark.valence + .2


@pytest.mark.parametrize('num_bars', [2, 4, 8, 16])
def test_arousal_of_a_melody_rises_with_tempo(estimator, num_bars):
  pitches = [60, 64, 67, 65, 64, 62, 59, 60] * num_bars
  points = estimator.estimate_va(
      [melody(pitches, qpm, 80, beats=.5) for qpm in (50, 90, 130, 180)])
  arousal = [point.arousal for point in points]
  assert arousal[-1] > arousal[0] + .4
  assert np.corrcoef(arousal, range(4))[0, 1] > .9


def test_a_batch_gives_what_one_by_one_gives(estimator):
  sequences = [MAJOR, MINOR, melody([60], 100, 80), note_seq.NoteSequence()]
  batch = estimator.estimate_va(sequences)
  assert batch == [estimator.estimate_va([s])[0] for s in sequences]
  assert all(isinstance(point, VA) for point in batch)
  assert estimator.estimate_va([]) == []


def test_silence_is_the_mean_rating(estimator):
  calibration = json.loads(
      (checkpoints.path('symbolic_va') / 'config.json').read_text()
  )['calibration']
  silence, = estimator.estimate_va([note_seq.NoteSequence()])
  assert silence.valence == pytest.approx(calibration['valence']['mean'])
  assert silence.arousal == pytest.approx(calibration['arousal']['mean'])


def test_files_and_sequences_agree(estimator, tmp_path):
  path = tmp_path / 'major.mid'
  note_seq.note_sequence_to_midi_file(MAJOR, str(path))
  of_file, = estimator.estimate_va_of_midi([path])
  of_sequence, = estimator.estimate_va([MAJOR])
  assert of_file.distance(of_sequence) < .05


def test_a_damaged_file_is_named(estimator, tmp_path):
  path = tmp_path / 'damaged.mid'
  path.write_bytes(b'MThd?')
  with pytest.raises(ValueError, match='damaged.mid'):
    estimator.estimate_va_of_midi([path])


def test_emopia_which_was_not_trained_on(estimator, shared_data):
  paths = sorted((shared_data / 'emotion_midi/emopia/midi').glob('*.mid'))[::5]
  points = estimator.estimate_va_of_midi(paths)
  quadrants = np.array([int(path.name[1]) for path in paths])
  assert len(paths) > 200
  assert symbolic_training.auc(
      quadrants <= 2, np.array([p.arousal for p in points])) > .9
  assert symbolic_training.auc(
      np.isin(quadrants, (1, 4)), np.array([p.valence for p in points])) > .65


def test_what_ships_is_small():
  folder = checkpoints.path('symbolic_va')
  assert sum(file.stat().st_size for file in folder.iterdir()) < 3e6


def test_estimating_does_not_import_lightgbm():
  code = (
      'import sys\n'
      'from va_magenta.music_to_va import symbolic\n'
      'symbolic.load()\n'
      "print({'lightgbm', 'sklearn', 'pandas', 'tensorflow'} & {*sys.modules})")
  result = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True)
  assert result.stdout.strip() == 'set()', result.stderr


def examples(num_clips=150, seed=0):
  """Made-up rows whose ratings follow two of the features."""
  rng = np.random.default_rng(seed)
  features = rng.normal(
      size=(num_clips, len(symbolic_features.FEATURE_NAMES))
  ).astype(np.float32)
  features[rng.random(features.shape) < .1] = np.nan
  features[:, 5] = np.rint(features[:, 5])  # some values equal a threshold
  ratings = np.nan_to_num(features[:, [5, 6]]) / 4
  return symbolic_training.Examples(
      features, ratings, np.arange(num_clips),
      np.full(num_clips, 'clip'))


CHOSEN = {
    axis: [
        ({**member, 'num_leaves': 15, 'seed': 1}, 20)
        for member in symbolic_training.MEMBERS.values()
    ] for axis in symbolic.AXES
}


def test_trees_agree_with_lightgbm():
  data = examples()
  # A feature that is never missing in training may be so in use.
  data.features[:, 5] = np.nan_to_num(data.features[:, 5])
  boosters = symbolic_training.fit(data, CHOSEN)
  asked = examples(seed=1).features
  expected = symbolic_training.predict(boosters, asked)
  assert expected.std(axis=0).min() > .02
  for axis, name in enumerate(symbolic.AXES):
    walked = trees.from_lightgbm(boosters[name])
    np.testing.assert_allclose(
        walked.predict(asked), expected[:, axis], atol=1e-5)


def test_calibration_gives_the_spread_of_ratings():
  rng = np.random.default_rng(0)
  ratings = rng.normal(.1, .4, (500, 2))
  mean = ratings.mean(axis=0)
  held_out = mean + .5 * (ratings - mean) + rng.normal(0, .02, (500, 2))
  calibration = symbolic_training.calibration_of(ratings, held_out)
  points = symbolic.SymbolicVA({}, calibration).calibrate(held_out)
  np.testing.assert_allclose(points.std(axis=0), ratings.std(axis=0))
  np.testing.assert_allclose(points.mean(axis=0), mean, atol=.01)


def saved(folder):
  boosters = symbolic_training.fit(examples(), CHOSEN)
  calibration = {
      axis: {'mean': 0.0, 'slope': 1.0, 'residual_std': .1}
      for axis in symbolic.AXES}
  symbolic.save(
      folder,
      {axis: trees.from_lightgbm(b) for axis, b in boosters.items()},
      calibration)
  return boosters


def test_what_is_saved_is_loaded(tmp_path):
  boosters = saved(tmp_path)
  asked = examples(seed=2).features
  np.testing.assert_allclose(
      symbolic.load(tmp_path).regress(asked),
      symbolic_training.predict(boosters, asked), atol=1e-5)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'config.json', 'trees.npz']


def test_load_says_what_is_wrong(tmp_path):
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    symbolic.load(tmp_path)
  saved(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  config['feature_names'][0] = 'something_else'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='other features'):
    symbolic.load(tmp_path)
  (tmp_path / 'trees.npz').write_bytes(b'PK half a file')
  with pytest.raises(ValueError, match='damaged'):
    symbolic.load(tmp_path)


def test_melody_rendering_is_what_the_generator_could_write():
  sequence = melody([60, 62, 64, 65] * 4, 100, 60)
  for i in range(8):
    sequence.notes.add(
        pitch=76 + i % 3, velocity=100, start_time=i * 1.21 + .03,
        end_time=i * 1.21 + 1.5)
  rendered = symbolic_training.melody_rendering(
      symbolic_features.from_note_sequence(sequence))
  grid = 4 * rendered['start_beats']
  assert np.array_equal(grid, np.rint(grid))
  assert (rendered['end_beats'][:-1] <= rendered['start_beats'][1:]).all()
  assert (rendered['end_beats'] > rendered['start_beats']).all()
  assert len(set(rendered['velocity'].tolist())) == 1
  assert rendered['pitch'].max() == 78


def test_an_excerpt_lies_within_its_bars():
  notes = symbolic_features.from_note_sequence(
      melody(range(60, 76), 120, 80, beats=1.5))
  part = symbolic_training.excerpt(notes, 8, 8)
  assert part['start_beats'].min() >= 8
  assert part['end_beats'].max() == 16
  assert part['end_seconds'].max() == pytest.approx(8)
  assert len(part) == 5


def small_corpus(folder):
  """Twelve rated melodies, as EIMG, and the same as EMOPIA."""
  rng = np.random.default_rng(0)
  for name in ('eimg', 'emopia'):
    (folder / name / 'midi').mkdir(parents=True)
  rated, labelled = ['file,valence,arousal,group'], ['ID,4Q,annotator']
  for i in range(12):
    piece = melody(
        60 + rng.integers(0, 12, 32), float(60 + 10 * i), 60 + 4 * i, .5)
    quadrant = i % 4 + 1
    clip = f'Q{quadrant}_song{i}_0'
    for path in (f'eimg/midi/{i}.mid', f'emopia/midi/{clip}.mid'):
      note_seq.note_sequence_to_midi_file(piece, str(folder / path))
    rated.append(f'{i}.mid,{rng.uniform(2, 8):.2f},{2 + i / 2},{i}')
    labelled.append(f'{clip},{quadrant},A')
  (folder / 'eimg/labels.csv').write_text('\n'.join(rated))
  (folder / 'emopia/label.csv').write_text('\n'.join(labelled))


def test_the_job_writes_what_load_reads(tmp_path, monkeypatch):
  monkeypatch.setattr(symbolic_training, 'MAX_TREES', 5)
  monkeypatch.setattr(
      symbolic_training, '_COMMON',
      {**symbolic_training._COMMON, 'min_data_in_leaf': 2})
  small_corpus(tmp_path)
  lines = []
  symbolic_training.run(
      eimg_dir=tmp_path / 'eimg', emopia_dir=tmp_path / 'emopia',
      run_dir=tmp_path / 'run', seed=0, num_folds=2, report=lines.append)
  assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == [
      'README.md', 'config.json', 'importances.png', 'trees.npz']
  slow, fast = symbolic.load(tmp_path / 'run').estimate_va_of_midi(
      [tmp_path / 'eimg/midi/0.mid', tmp_path / 'eimg/midi/11.mid'])
  assert fast.arousal > slow.arousal
  assert 'arousal/r2' in (tmp_path / 'run/README.md').read_text()


def test_the_job_names_a_table_that_lacks_a_column(tmp_path):
  small_corpus(tmp_path)
  (tmp_path / 'eimg/labels.csv').write_text('file,valence\n0.mid,5\n')
  with pytest.raises(ValueError, match='labels.csv.*arousal'):
    symbolic_training.read_eimg(tmp_path / 'eimg', 0, print)
