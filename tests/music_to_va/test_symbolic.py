import json
import subprocess
import sys

import note_seq
import numpy as np
import pytest
from scipy import stats

from va_magenta import checkpoints, trees
from va_magenta.figures import metrics, tables
from va_magenta.music.midi import read_notes
from va_magenta.music.notes import excerpt, from_note_sequence
from va_magenta.music_to_va import symbolic, symbolic_features, trees_and_kernel
from va_magenta.training import held_out, rated
from va_magenta.training import symbolic as symbolic_training
from va_magenta.va import AXES, VA

SHIPPED = checkpoints.path('symbolic_va')


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


@pytest.mark.parametrize('half', ['', *symbolic_training.HALVES])
@pytest.mark.parametrize('axis', AXES)
def test_no_tree_splits_within_the_rounding_of_features(half, axis):
  """Of features that are 0 in theory it would be rounding errors they tell."""
  with np.load(SHIPPED / half / 'weights.npz') as weights:
    threshold = np.abs(weights[f'{axis}/trees/threshold'])
  # LightGBM's own zero is 1e-35; the least feature that is not 0 is a step.
  is_noise = (threshold > 1e-30) & (threshold < symbolic_features._STEP / 3)
  assert not is_noise.any()


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
  for point, sequence in zip(batch, sequences, strict=True):
    alone, = estimator.estimate_va([sequence])
    assert point.distance(alone) < 1e-6
  assert all(isinstance(point, VA) for point in batch)
  assert estimator.estimate_va([]) == []


def test_silence_is_the_mean_rating(estimator):
  calibration = json.loads(
      (SHIPPED / 'config.json').read_text())['calibration']
  silence, = estimator.estimate_va([note_seq.NoteSequence()])
  assert silence.valence == pytest.approx(calibration['valence']['mean'])
  assert silence.arousal == pytest.approx(calibration['arousal']['mean'])


def _of_files(estimator, paths):
  return estimator.estimate_va_of_notes(map(read_notes, paths))


def test_files_and_sequences_agree(estimator, tmp_path):
  path = tmp_path / 'major.mid'
  note_seq.note_sequence_to_midi_file(MAJOR, str(path))
  of_file, = _of_files(estimator, [path])
  of_sequence, = estimator.estimate_va([MAJOR])
  assert of_file.distance(of_sequence) < .05


def test_a_damaged_file_is_named(estimator, tmp_path):
  path = tmp_path / 'damaged.mid'
  path.write_bytes(b'MThd?')
  with pytest.raises(ValueError, match='damaged.mid'):
    _of_files(estimator, [path])


def test_emopia_which_was_not_trained_on(estimator, shared_data):
  paths = sorted((shared_data / 'emotion_midi/emopia/midi').glob('*.mid'))[::5]
  points = _of_files(estimator, paths)
  quadrants = np.array([int(path.name[1]) for path in paths])
  assert len(paths) > 200
  assert held_out.auc(
      quadrants <= 2, np.array([p.arousal for p in points])) > .92
  assert held_out.auc(
      np.isin(quadrants, (1, 4)), np.array([p.valence for p in points])) > .68


def test_what_ships_is_small():
  files = [p for p in SHIPPED.rglob('*') if p.is_file()]
  assert sum(file.stat().st_size for file in files) < 6e6


def test_the_halves_share_no_group_and_are_the_whole():
  generator, judge, whole = (
      json.loads((folder / 'config.json').read_text())['groups']
      for folder in (SHIPPED / 'generator', SHIPPED / 'judge', SHIPPED))
  assert not set(generator) & set(judge)
  assert set(generator) | set(judge) == set(whole)
  assert abs(len(generator) - len(judge)) <= 1


def test_each_half_reads_the_clips_that_only_the_other_knows(shared_data):
  eimg = shared_data / 'emotion_midi/eimg'
  clips = rated.read_eimg(eimg)[::10]
  features = np.stack([
      symbolic_features.extract(read_notes(path)) for path in clips.values])
  for half, other in (('generator', 'judge'), ('judge', 'generator')):
    estimator = symbolic.load(SHIPPED / half)
    known = np.isin(clips.groups, json.loads(
        (SHIPPED / other / 'config.json').read_text())['groups'])
    valence, arousal = (
        metrics.pearson_r(*pair) for pair in zip(
            clips.va[known].T, estimator.regress(features[known]).T,
            strict=True))
    assert valence > .65
    assert arousal > .83
    # So they would not do on clips that they know.
    assert metrics.pearson_r(
        clips.va[~known, 0], estimator.regress(features[~known])[:, 0]
    ) > valence + .1


def test_spread_depends_on_the_piece_and_is_of_the_right_size(estimator):
  features = np.stack([
      symbolic_features.extract(from_note_sequence(s))
      for s in (MAJOR, MINOR, note_seq.NoteSequence())])
  std = estimator.std(features)
  assert std.shape == (3, 2)
  assert np.ptp(std, axis=0).min() > 0
  assert (std > .5 * estimator.residual_std).all()
  assert (std < 2 * estimator.residual_std).all()


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
  rated = np.nan_to_num(features[:, [5, 6]]) / 4
  return symbolic_training.Examples(
      features, rated, np.arange(num_clips), np.full(num_clips, 'clip'))


@pytest.fixture
def few_trees(monkeypatch):
  for name in ('NUM_TREES', 'NUM_SPREAD_TREES', 'NUM_EMOPIA_TREES'):
    monkeypatch.setattr(symbolic_training, name, 10)
  monkeypatch.setattr(symbolic_training, 'NUM_HALF_FOLDS', 2)
  for name in ('_COMMON', '_SPREAD'):
    monkeypatch.setattr(symbolic_training, name, {
        **getattr(symbolic_training, name), 'min_data_in_leaf': 2})


def test_trees_agree_with_lightgbm(few_trees):
  data = examples()
  # A feature that is never missing in training may be so in use.
  data.features[:, 5] = np.nan_to_num(data.features[:, 5])
  boosters = symbolic_training.Student.fit(data, 0).boosters
  asked = examples(seed=1).features
  for axis in AXES:
    expected = np.mean([b.predict(asked) for b in boosters[axis]], axis=0)
    assert expected.std() > .02
    np.testing.assert_allclose(
        trees.from_lightgbm(boosters[axis]).predict(asked), expected, atol=1e-5)


def test_trees_add_up_to_the_logarithm_of_the_variance():
  data = examples(3000)
  # Errors grow with the share of melody.
  share = symbolic_features.FEATURE_NAMES.index('top_line_share_of_notes')
  data.features[:, share] = np.arange(3000) % 2
  std = .1 + .1 * data.features[:, [share]]
  estimates = data.ratings + std * np.random.default_rng(0).normal(
      size=(3000, 2))
  spread = symbolic_training.fit_spread(data, estimates, 0)
  inputs = symbolic.spread_inputs(estimates, data.features)
  for booster, in spread.values():
    variance = np.exp(trees.from_lightgbm([booster]).predict(inputs))
    np.testing.assert_allclose(variance, booster.predict(inputs), rtol=1e-4)
    few, many = (
        np.sqrt(variance[data.features[:, share] == i].mean()) for i in (0, 1))
    assert few == pytest.approx(.1, rel=.1)
    assert many == pytest.approx(.2, rel=.1)


def test_a_variance_of_the_piece_is_told_from_a_constant():
  """NLL is that of scipy's Gaussian, and least at the true variance."""
  rng = np.random.default_rng(0)
  variance = rng.uniform(.01, .2, 4000)
  errors = rng.normal(size=4000) * np.sqrt(variance)
  own = symbolic_training.nll(errors, variance)
  np.testing.assert_allclose(
      own, -stats.norm.logpdf(errors, scale=np.sqrt(variance)))
  for other in (np.mean(errors**2), 2 * variance, variance / 2):
    assert symbolic_training.nll(errors, other).mean() > own.mean() + .05


def test_scores_are_centred_and_what_is_undefined_is_at_the_mean():
  features = examples(2000).features * 3 + 7
  features[:, 9] = np.nan
  scores = symbolic.Standardizer.of(features)(features)
  assert np.isfinite(scores).all()
  assert (scores[np.isnan(features)] == 0).all()
  np.testing.assert_allclose(scores.mean(axis=0), 0, atol=.02)
  assert np.abs(scores).max() <= 3


def test_what_is_relevant_counts_more():
  data = examples(1000)
  scores = symbolic.Standardizer.of(data.features)(data.features)
  relevance = symbolic_training._relevance(
      scores, data.ratings[:, 0], data.weights)
  assert relevance.argmax() == 5
  assert relevance[5] > 5 * np.median(relevance)
  assert np.mean(relevance**2) == pytest.approx(1)


def test_calibration_gives_the_spread_of_ratings():
  rng = np.random.default_rng(0)
  rated = rng.normal(.1, .4, (500, 2))
  mean = rated.mean(axis=0)
  estimates = mean + .5 * (rated - mean) + rng.normal(0, .02, (500, 2))
  points = trees_and_kernel.calibrated(
      estimates, held_out.calibration_of(rated, estimates))
  np.testing.assert_allclose(points.std(axis=0), rated.std(axis=0))
  np.testing.assert_allclose(points.mean(axis=0), mean, atol=.01)


def test_plus_minus_is_of_a_sample():
  assert tables.plus_minus([.1, .2, .3]) == '0.200 ± 0.100'


def test_halves_are_dealt_by_the_seed():
  groups = np.repeat(np.arange(100, 121), 3)
  halves = symbolic_training.halves_of(groups, 0)
  again = symbolic_training.halves_of(groups, 0)
  other = symbolic_training.halves_of(groups, 1)
  assert sorted(np.concatenate([*halves.values()])) == list(range(100, 121))
  for name, half in halves.items():
    assert np.array_equal(half, again[name])
    assert not np.array_equal(half, other[name])


def saved(folder):
  data = examples()
  student = symbolic_training.Student.fit(data, 0)
  symbolic_training._write(folder, student, symbolic_training.HeldOut(
      data.ratings, data.groups % 2,
      {symbolic_training.SHIPPED: data.ratings / 2}, data), 0)
  return student


def test_what_is_saved_is_loaded(tmp_path, few_trees):
  student = saved(tmp_path)
  asked = examples(seed=2).features
  estimator = symbolic.load(tmp_path)
  np.testing.assert_allclose(
      estimator.regress(asked), student.regress(asked), atol=1e-5)
  assert estimator.calibrate(np.zeros((1, 2))).shape == (1, 2)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'config.json', 'weights.npz']


def test_load_says_what_is_wrong(tmp_path, few_trees):
  with pytest.raises(FileNotFoundError, match=str(tmp_path)):
    symbolic.load(tmp_path)
  saved(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  config['feature_names'][0] = 'something_else'
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='other features'):
    symbolic.load(tmp_path)
  (tmp_path / 'weights.npz').write_bytes(b'PK half a file')
  with pytest.raises(ValueError, match='not a whole .npz'):
    symbolic.load(tmp_path)


def test_melody_rendering_is_what_the_generator_could_write():
  sequence = melody([60, 62, 64, 65] * 4, 100, 60)
  for i in range(8):
    sequence.notes.add(
        pitch=76 + i % 3, velocity=100, start_time=i * 1.21 + .03,
        end_time=i * 1.21 + 1.5)
  rendered = symbolic_training.melody_rendering(
      from_note_sequence(sequence))
  grid = 4 * rendered['start_beats']
  assert np.array_equal(grid, np.rint(grid))
  assert (rendered['end_beats'][:-1] <= rendered['start_beats'][1:]).all()
  assert (rendered['end_beats'] > rendered['start_beats']).all()
  assert len(set(rendered['velocity'].tolist())) == 1
  assert rendered['pitch'].max() == 78


def test_an_excerpt_lies_within_its_bars():
  notes = from_note_sequence(
      melody(range(60, 76), 120, 80, beats=1.5))
  part = excerpt(notes, 8, 8)
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


def test_the_job_writes_what_load_reads(tmp_path, few_trees):
  small_corpus(tmp_path)
  lines = []
  symbolic_training.run(
      eimg_dir=tmp_path / 'eimg', emopia_dir=tmp_path / 'emopia',
      run_dir=tmp_path / 'run', seed=0, num_folds=2, report=lines.append)
  assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == [
      'README.md', 'config.json', 'generator', 'importances.png', 'judge',
      'weights.npz']
  slow, fast = _of_files(
      symbolic.load(tmp_path / 'run'),
      [tmp_path / 'eimg/midi/0.mid', tmp_path / 'eimg/midi/11.mid'])
  assert fast.arousal > slow.arousal
  card = (tmp_path / 'run/README.md').read_text()
  assert 'arousal/r2' in card
  assert 'importances.png' in card
  assert 'nan' not in card
  for half in ('generator', 'judge'):
    quiet, = symbolic.load(tmp_path / 'run' / half).estimate_va([MINOR])
    assert quiet.arousal < fast.arousal


def test_the_job_names_a_table_that_lacks_a_column(tmp_path):
  small_corpus(tmp_path)
  (tmp_path / 'eimg/labels.csv').write_text('file,valence\n0.mid,5\n')
  with pytest.raises(ValueError, match='labels.csv.*arousal'):
    symbolic_training.read_eimg(tmp_path / 'eimg', 0, print)
