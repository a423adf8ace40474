"""A fusion is fitted to rated clips, and judged by others."""

import csv
import re
import shutil

import numpy as np
import pandas as pd
import pretty_midi
import pytest

from va_magenta.music.corpus import file_md5
from va_magenta.music_to_va import fusion, labelling, symbolic
from va_magenta.training import fusion as fusion_training
from va_magenta.training import symbolic as symbolic_training
from va_magenta.training.rated import Rated
from va_magenta.va import AXES, Scale


def _synthetic(n=2000, seed=0):
  """Rated pieces, notes that know both axes, sound that knows arousal best."""
  random = np.random.default_rng(seed)
  truth = random.uniform(-.8, .8, (n, 2))
  estimates = truth[:, [0, 1, 0, 1]] + (
      random.normal(size=(n, 4)) * [.3, .2, .6, .1])
  return Rated(estimates, truth, np.arange(n) // 5)


@pytest.fixture(scope='module')
def held_out():
  return fusion_training.hold_out(_synthetic(), 5)


def test_two_are_better_than_one(held_out):
  notes, sound, both = (
      held_out.figures_of(source) for source in fusion_training.SOURCES)
  assert {len(values) for values in both.values()} == {5}
  for name, worst in (('valence', sound), ('arousal', notes)):
    for metric in ('r2', 'ccc', 'pearson_r'):
      values = [f[f'{name}/{metric}'].mean() for f in (notes, sound, both)]
      assert values[2] == max(values)
      assert worst[f'{name}/{metric}'].mean() == min(values)
  # Of the least squared error: variance 1.6^2 / 12 and the noise of each.
  precision = 1 / np.array([.3, .6])**2
  error = 1 / (12 / 1.6**2 + precision.sum())
  np.testing.assert_allclose(
      both['valence/r2'].mean(), 1 - error * 12 / 1.6**2, atol=.03)


def test_no_row_is_judged_by_what_has_seen_its_group(held_out):
  data = _synthetic()
  assert len({*zip(held_out.fold, data.groups, strict=True)}) == 400
  rows = held_out.fold == 2
  found = fusion_training.fit(data[~rows], 5)
  labels, std = found.apply(data.values[rows])
  np.testing.assert_array_equal(
      labels, held_out.estimates[fusion_training.BOTH][rows])
  np.testing.assert_array_equal(std, held_out.std[rows])


def test_estimates_that_know_their_own_group_only_are_worth_nothing():
  random = np.random.default_rng(0)
  groups = np.arange(60) // 30
  estimates = random.normal(size=(60, 4))
  # In each group the sign is another.
  rated = np.clip(
      estimates[:, :2] * np.where(groups, -.2, .2)[:, None], -1, 1)
  data = Rated(estimates, rated, groups)
  # Within a fold there is one group only: nothing to hold out.
  with pytest.raises(ValueError, match='in 2 groups at least, got 30 in 1'):
    fusion_training.hold_out(data, 2)
  groups = np.arange(60) // 15
  figures = fusion_training.hold_out(
      Rated(estimates, rated, groups), 4).figures_of(
          fusion_training.BOTH)
  assert figures['valence/r2'].mean() < 0 > figures['arousal/r2'].mean()


def test_calibration_is_by_thirds():
  random = np.random.default_rng(0)
  n = 6000
  std = np.tile(random.choice([.05, .1, .2], (n, 1)), (1, 2))
  rated = random.normal(size=(n, 2)) * std
  nothing = np.zeros((n, 2))
  result = fusion_training.HeldOut(
      rated, np.zeros(n), dict.fromkeys(fusion_training.SOURCES, nothing), std)
  np.testing.assert_allclose(result.within_std(), .683, atol=.04)
  # One spread for all is too wide for the surest; here there are none.
  result.std = std * np.array([2, .5])
  wide, narrow = result.within_std().T
  np.testing.assert_allclose(wide, .954, atol=.02)
  np.testing.assert_allclose(narrow, .383, atol=.04)
  result.std = np.where(std == .05, .2, std)
  np.testing.assert_array_less(.7, result.within_std()[-1])


# The job, on clips of our own.


def _write(path, pitches, velocity, step):
  path.parent.mkdir(parents=True, exist_ok=True)
  midi = pretty_midi.PrettyMIDI(initial_tempo=120)
  instrument = pretty_midi.Instrument(0)
  for i, pitch in enumerate(pitches):
    instrument.notes.append(pretty_midi.Note(
        velocity, int(pitch), i * step, (i + .9) * step))
  midi.instruments.append(instrument)
  midi.write(str(path))


@pytest.fixture(scope='module')
def corpora(tmp_path_factory, notes_alone):
  """EIMG and EMOPIA in small, with tables of what was heard in them."""
  folder = tmp_path_factory.mktemp('corpora')
  random = np.random.default_rng(0)
  eimg, emopia = folder / 'eimg', folder / 'emopia'
  rows = []
  for i in range(48):
    loud, major = random.uniform(size=2)
    scale = [60, 62, 64, 65, 67] if major > .5 else [60, 62, 63, 65, 67]
    for corpus, name in ((eimg, f'{i}.mid'), (emopia, f'Q{i}.mid')):
      _write(corpus / 'midi' / name, random.choice(scale, 32),
             int(40 + 80 * loud), .5 - .3 * loud)
    rows.append({
        'file': f'{i}.mid', 'valence': 1 + 8 * major, 'arousal': 1 + 8 * loud,
        'group': i // 2})
  with open(eimg / 'labels.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  quadrant = {(1, 1): 1, (0, 1): 2, (0, 0): 3, (1, 0): 4}
  lines = ['ID,4Q'] + [
      f'Q{i},{quadrant[row["valence"] > 5, row["arousal"] > 5]}'
      for i, row in enumerate(rows)] + ['Q99,1']  # Which has no file.
  (emopia / 'label.csv').write_text('\n'.join(lines))
  for corpus, name in ((eimg, '{}.mid'), (emopia, 'Q{}.mid')):
    arousal = {
        file_md5(corpus / 'midi' / name.format(i)):
        Scale.EIMG.to_plane(row['arousal']) for i, row in enumerate(rows)}
    output = folder / f'{corpus.name}.parquet'
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(labelling, '_estimate_all', _in_this_process)
      labelling.label(
          corpus / 'midi', output, notes_alone(np.full(2, .2)),
          make_by_ear=dict)
    # The teacher hears what people do, but takes it for both axes. What is
    # read does not count.
    table = labelling.read(output)
    table[list(fusion.ESTIMATES)] = np.nan
    for axis in AXES:
      table[f'audio_{axis}'] = (
          table['md5'].map(arousal) + random.normal(size=len(table)) * .1)
    labelling.write(output, table)
  return folder


def _in_this_process(names, pieces, *_):
  student = symbolic.load()
  for name, _ in names:
    columns, _ = labelling.estimate(pieces[name], student, labelling.Settings())
    yield {'rows': {'md5': name, **columns}, 'unlabelled': {}, 'unheard': {}}


@pytest.fixture
def run(corpora, tmp_path):
  def function(**changed):
    options = {
        'eimg_dir': corpora / 'eimg', 'eimg_labels': corpora / 'eimg.parquet',
        'emopia_dir': corpora / 'emopia',
        'emopia_labels': corpora / 'emopia.parquet',
        'run_dir': tmp_path / 'run', 'seed': 0, 'num_folds': 3, **changed}
    lines = []
    fusion_training.run(**options, report=lines.append)
    return lines

  return function


@pytest.mark.slow
def test_the_job_writes_what_loads(run, tmp_path):
  lines = run()
  assert lines[-1] == f'wrote {tmp_path / "run"}'
  folder = tmp_path / 'run'
  assert sorted(p.name for p in folder.iterdir()) == [
      'README.md', 'fusion.json', 'held_out.png']
  found = fusion.load(folder / 'fusion.json')
  for kind in fusion.KINDS:
    # Both that are heard are arousal.
    assert found[kind].both.weights[2:, 1].sum() > .1
  card = (folder / 'README.md').read_text()
  sections = re.findall('^## (.+)$', card, re.MULTILINE)
  assert sections == [
      'Whole clips of EIMG', '2-bar windows of EIMG', 'EMOPIA, not trained on',
      'Limits']
  assert '48 whole clips.' in card and 'nan' not in card
  auc = re.search(r'\| arousal AUC \| (.+) \|', card).group(1).split(' | ')
  assert len(auc) == 4 and all(float(cell[:5]) > .9 for cell in auc[2:])
  assert 'notes alone, 48 clips | notes alone, 48 with sound' in card
  arousal = re.search(r'\| arousal/pearson_r \| (.+) \|', card).group(1)
  notes, sound, both = (
      float(cell.partition(' ')[0]) for cell in arousal.split(' | '))
  assert .9 < sound <= both + .02


@pytest.mark.slow
def test_each_student_has_seen_no_clip_of_the_groups_it_reads(
    corpora, monkeypatch):
  seen, read = [], fusion_training.read
  train = symbolic_training.Student.fit

  def fit(data, seed):
    seen.append({*data.groups})
    return train(data, seed)

  def checked(paths, student, heard):
    groups = {int(path.stem) // 2 for path in paths}
    assert not groups & seen[-1] and len(groups | seen[-1]) == 24
    return read(paths, student, heard)

  monkeypatch.setattr(symbolic_training.Student, 'fit', fit)
  monkeypatch.setattr(fusion_training, 'read', checked)
  heard = labelling.read(corpora / 'eimg.parquet')
  # Of one clip nothing was heard.
  gone = file_md5(corpora / 'eimg/midi/5.mid')
  data = fusion_training.read_eimg(
      corpora / 'eimg', heard[heard['md5'] != gone], 3, 0, print)
  assert len(seen) == 3
  piece = data['piece']
  assert len(piece.groups) == 48
  deaf = np.isnan(piece.values[:, 2:]).all(axis=1)
  assert piece.groups[deaf].tolist() == [2]
  assert np.isfinite(piece.values[:, :2]).all()
  assert len(data['window'].groups) > 48
  np.testing.assert_allclose(
      sorted({*data['window'].va[:, 1]}), sorted(piece.va[:, 1]))


def test_bad_input_is_told(run, corpora, tmp_path):
  table = labelling.read(corpora / 'eimg.parquet')
  deaf = tmp_path / 'deaf.parquet'
  labelling.write(deaf, table.assign(audio_valence=np.nan))
  with pytest.raises(ValueError, match='deaf.parquet: no estimates from sound'):
    run(eimg_labels=deaf)
  with pytest.raises(FileNotFoundError, match='no table of labels'):
    run(emopia_labels=tmp_path / 'none.parquet')
  with pytest.raises(FileNotFoundError, match='labels.csv'):
    run(eimg_dir=tmp_path)
  shutil.copy(corpora / 'emopia/label.csv', tmp_path)
  with pytest.raises(ValueError, match='no clip of label.csv is in midi/'):
    run(emopia_dir=tmp_path, num_folds=2)
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_real_clips(shared_data, tmp_path):
  """On a few groups of EIMG students and fusion tell arousal."""
  eimg = shared_data / 'emotion_midi/eimg'
  with open(eimg / 'labels.csv', newline='') as file:
    rows = list(csv.DictReader(file))
  groups = sorted({row['group'] for row in rows})[::12]
  rows = [row for row in rows if row['group'] in groups][:150]
  (tmp_path / 'midi').symlink_to(eimg / 'midi')
  with open(tmp_path / 'labels.csv', 'w', newline='') as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
  nothing = pd.DataFrame(columns=['md5', 'window', *labelling.AUDIO])
  data = fusion_training.read_eimg(tmp_path, nothing, 2, 0, print)['piece']
  labels = fusion_training.hold_out(data, 2).estimates[fusion_training.NOTES]
  assert np.corrcoef(labels[:, 1], data.va[:, 1])[0, 1] > .7
