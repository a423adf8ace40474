"""The job: its tables, its models, its honesty, its card."""

import csv

import note_seq
import numpy as np
import pytest

from va_magenta import trees
from va_magenta.music import synthesis
from va_magenta.music_to_va import audio, audio_features
from va_magenta.training import audio as audio_training
from va_magenta.training import triplet
from va_magenta.va import AXES, Scale

NAMES = audio_features.FEATURE_NAMES[:130]


def made_up(num_songs=150, seed=0):
  """Songs of which two properties are in all descriptors and in the ratings."""
  rng = np.random.default_rng(seed)
  properties = rng.normal(size=(num_songs, 2))
  mixed = properties @ np.random.default_rng(99).normal(size=(2, 130))
  means = np.exp(.3 * (mixed + rng.normal(size=mixed.shape)))
  return audio_training.Songs(
      means.astype(np.float32), np.tanh(properties),
      np.array(['even', 'odd'])[np.arange(num_songs) % 2])


@pytest.fixture
def quick(monkeypatch):
  monkeypatch.setattr(audio_training, 'MAX_TREES', 15)
  monkeypatch.setattr(audio_training, 'NUM_INNER_FOLDS', 2)
  monkeypatch.setattr(audio_training, 'NUM_COSINES', 300)
  monkeypatch.setattr(audio_training, 'NUM_COMPONENTS', 5)
  monkeypatch.setattr(audio_training, '_TREES', {
      **audio_training._TREES, 'min_data_in_leaf': 2, 'learning_rate': .2})
  monkeypatch.setattr(
      triplet.fit, '__kwdefaults__',
      {**triplet.fit.__kwdefaults__, 'num_triplets': 500, 'num_epochs': 2})


def test_deam_is_read_as_it_is(shared_data):
  folder = shared_data / 'deam'
  songs = audio_training.read_deam(folder)
  assert songs.means.shape == (1802, 130)
  assert songs.ratings.shape == (1802, 2)
  # Song 2: valence 3.0, arousal 3.1 of 1..9; the swap is right side round.
  np.testing.assert_allclose(Scale.DEAM.from_plane(songs.ratings[0]), [3, 3.1])
  with open(folder / 'emomusic_static.csv', newline='') as file:
    independent = {
        row['song_id']: float(row['mean_valence'])
        for row in csv.DictReader(file)}
  with open(folder / 'static.csv', newline='') as file:
    ids = [row['song_id'] for row in csv.DictReader(file)]
  shared = [i for i, song in enumerate(ids) if song in independent]
  assert np.corrcoef(
      songs.ratings[shared, 0], [independent[ids[i]] for i in shared])[0, 1] > (
          .99)


def test_a_table_that_lacks_a_column_is_named(tmp_path):
  (tmp_path / 'opensmile_song_means.csv').write_text('song_id\n2\n')
  with pytest.raises(ValueError, match='opensmile_song_means.csv: lacks'):
    audio_training.read_deam(tmp_path)


@pytest.mark.parametrize('name', list(audio_training.METHODS))
def test_methods_find_what_ratings_follow(quick, name):
  songs = made_up()
  model = audio_training.METHODS[name](songs[np.arange(100)], 0)
  estimates = model.predict(songs.means[100:])
  assert estimates.shape == (50, 2)
  for axis in range(2):
    assert np.corrcoef(
        estimates[:, axis], songs.ratings[100:, axis])[0, 1] > .4


def test_held_out_songs_are_not_trained_on(quick, monkeypatch):
  # Ratings are noise: whoever has seen a song knows it, others know nothing.
  songs = made_up(80)
  songs.ratings[:] = np.random.default_rng(1).uniform(-1, 1, (80, 2))
  seen = []

  class Memory:

    @classmethod
    def fit(cls, part, seed):
      model = cls()
      model.known = {m.tobytes(): r for m, r in zip(
          part.means, part.ratings, strict=True)}
      seen.append(len(part))
      return model

    def predict(self, means):
      return np.array([
          self.known.get(row.tobytes(), np.zeros(2)) for row in means]) + (
              1e-9 * means[:, :2])

  monkeypatch.setattr(audio_training, 'METHODS', {
      name: Memory.fit
      for name in (audio_training.TREES, audio_training.KERNEL)})
  held_out = audio_training.cross_validate(songs, 4, 0, lambda line: None)
  assert seen == [60] * 8
  assert np.bincount(held_out.fold).tolist() == [20] * 4
  for estimates in held_out.estimates.values():
    assert np.abs(estimates).max() < 1e-6
  assert held_out.figures(audio_training.SHIPPED)['valence/r2'].max() < .1


def test_random_cosines_approximate_the_kernel(quick, monkeypatch):
  from sklearn.kernel_ridge import KernelRidge

  monkeypatch.setattr(audio_training, 'NUM_COSINES', 8000)
  monkeypatch.setattr(audio_training, 'GAMMAS', (.004,))
  monkeypatch.setattr(audio_training, 'PENALTIES', (.3,))
  songs = made_up()
  model = audio_training.Kernel.fit(songs, 0)
  asked = made_up(seed=1).means
  mean = songs.ratings.mean(axis=0)
  exact = mean + KernelRidge(alpha=.3, kernel='rbf', gamma=.004).fit(
      model.scores(songs.means), songs.ratings - mean
  ).predict(model.scores(asked))
  estimates = model.predict(asked)
  assert np.abs(estimates - exact).max() < .25 * exact.std()
  for axis in range(2):
    assert np.corrcoef(estimates[:, axis], exact[:, axis])[0, 1] > .99


def test_what_is_saved_is_loaded(quick, tmp_path):
  songs = made_up()
  boosted = audio_training.METHODS[audio_training.TREES](songs, 0)
  kernel = audio_training.METHODS[audio_training.KERNEL](songs, 0)
  audio.save(tmp_path, audio.AudioVA(
      audio.Normalisation.of({
          audio.RECORDING: songs.means, audio.SYNTHESISED: 2 * songs.means}),
      dict(zip(AXES, kernel.models, strict=True)),
      {axis: trees.from_lightgbm([booster]) for axis, booster in zip(
          AXES, boosted.boosters, strict=True)},
      audio_training.calibration_of(
          songs.ratings, kernel.predict(songs.means))))
  asked = made_up(seed=2).means
  np.testing.assert_allclose(
      audio.load(tmp_path).regress(asked, audio.RECORDING),
      (boosted.predict(asked) + kernel.predict(asked)) / 2, atol=1e-5)
  assert sorted(p.name for p in tmp_path.iterdir()) == [
      'config.json', 'weights.npz']


def corpora(folder):
  """Made-up DEAM, LMD, EMOPIA and EIMG."""
  rng = np.random.default_rng(0)

  def write(path, start=0.0):
    piece = note_seq.NoteSequence()
    piece.notes.add(pitch=60, velocity=1, start_time=0, end_time=.1)
    for i in range(4):
      piece.notes.add(
          pitch=int(rng.integers(40, 80)), velocity=90,
          start_time=start + i / 4, end_time=start + i / 4 + .25)
    path.parent.mkdir(parents=True, exist_ok=True)
    note_seq.note_sequence_to_midi_file(piece, str(path))

  songs = made_up(60)
  (folder / 'deam').mkdir()
  with open(folder / 'deam/opensmile_song_means.csv', 'w') as file:
    csv.writer(file).writerows([['song_id', *NAMES], *(
        [i, *row] for i, row in enumerate(songs.means.tolist()))])
  with open(folder / 'deam/static.csv', 'w') as file:
    csv.writer(file).writerows([
        ['song_id', 'valence_mean', 'arousal_mean', 'part'], *(
            [i, *Scale.DEAM.from_plane(rating).tolist(), 2013 + i % 2]
            for i, rating in enumerate(songs.ratings))])
  index = ['md5,source_path,tracks,duration_seconds']
  for i in range(3):
    write(folder / f'lmd/{i}/{i}f.mid', start=30)
    index.append(f'{i}f,a/{i}.mid,4.0,60.0')
  index.append('3f,a/broken.mid,5.0,60.0')
  (folder / 'lmd/3').mkdir()
  (folder / 'lmd/3/3f.mid').write_bytes(b'MThd')
  write(folder / 'lmd/4/4f.mid')
  index.append('4f,b/wiegenlied.mid,1.0,3.0')
  (folder / 'lmd/index.csv').write_text('\n'.join(index))
  labels = ['ID,4Q']
  for i in range(8):
    write(folder / f'emopia/midi/Q{i % 4 + 1}_a_{i}.mid')
    labels.append(f'Q{i % 4 + 1}_a_{i},{i % 4 + 1}')
  (folder / 'emopia/label.csv').write_text('\n'.join(labels))
  labels = ['file,valence,arousal,group']
  for i in range(5):
    write(folder / f'eimg/midi/{i}.mid')
    labels.append(f'{i}.mid,{rng.uniform(2, 8)},{rng.uniform(2, 8)},{i}')
  (folder / 'eimg/labels.csv').write_text('\n'.join(labels))


def test_the_job_writes_what_load_reads_and_goes_on_where_it_stood(
    quick, tmp_path, monkeypatch, run_command):
  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))
  # Six more embeddings a fold would take most of the time.
  monkeypatch.setitem(
      audio_training.METHODS, audio_training.EMBEDDING,
      audio_training.METHODS[audio_training.COMPONENTS])
  monkeypatch.setattr(audio_training, 'CHECKS', (
      ('wiegenlied.mid', 'A lullaby', 'lullaby', audio_training.Quadrant.Q4),
      ('gone.mid', 'Gone', 'march', audio_training.Quadrant.Q1)))
  corpora(tmp_path)

  def job(run_dir, **flags):
    return run_command('va_magenta_train_audio', *(
        f'--{name}={value}' for name, value in {
            'deam_dir': tmp_path / 'deam', 'lmd_dir': tmp_path / 'lmd',
            'emopia_dir': tmp_path / 'emopia', 'eimg_dir': tmp_path / 'eimg',
            'cache_dir': tmp_path / 'cache', 'run_dir': tmp_path / run_dir,
            'num_folds': 2, 'num_workers': 1, **flags}.items()))

  code, out, err = job('run')
  assert code == 0, err
  assert 'left out: 3f.mid' in out
  assert 'no gone.mid in' in out
  assert sorted(p.name for p in (tmp_path / 'run').iterdir()) == [
      'README.md', 'config.json', 'held_out.png', 'weights.npz']
  card = (tmp_path / 'run/README.md').read_text()
  for part in (*audio_training.METHODS, audio_training.SHIPPED, 'A lullaby',
               'EMOPIA (8 clips): arousal AUC', '3 pieces of four tracks',
               '2013 (30 songs)', '--seed=0'):
    assert part in card
  assert len(list((tmp_path / 'cache').iterdir())) == 3 + 8 + 5 + 1

  monkeypatch.setattr(
      audio_training, '_extract', lambda *_: pytest.fail('heard again'))
  (tmp_path / 'lmd/index.csv').write_text('\n'.join(
      line for line in (tmp_path / 'lmd/index.csv').read_text().splitlines()
      if 'broken' not in line))
  code, out, err = job('again')
  assert code == 0, err
  for name in ('README.md', 'config.json', 'weights.npz'):
    assert (tmp_path / 'again' / name).read_bytes() == (
        tmp_path / 'run' / name).read_bytes().replace(b'/run', b'/again')


def test_a_folder_that_is_missing_is_one_line(tmp_path, run_command):
  flags = [f'--{name}_dir={tmp_path / name}' for name in (
      'deam', 'lmd', 'emopia', 'eimg', 'cache', 'run')]
  code, _, err = run_command('va_magenta_train_audio', *flags)
  assert code == 1
  assert 'opensmile_song_means.csv' in err
  assert len(err.strip().splitlines()) == 1
