import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.composing import plausibility
from va_magenta.evaluation import people
from va_magenta.music import measures
from va_magenta.training import plausibility as training


def test_both_distance_and_plausibility_count():
  assert plausibility.order([.1, .4, .2, .3], [0, 0, 0, 0]) == [0, 2, 3, 1]
  assert plausibility.order([.3, .3, .3], [-1, 2, 1]) == [1, 2, 0]
  # A piece far likelier is worth a little way, not any.
  assert plausibility.order([.1, .4, .9], [-2, 1, 2]) == [1, 0, 2]


def _people(rng, bars):
  """Steps up and down the scale of C, over C."""
  tokens = np.zeros((bars * 16, 4), np.uint16)
  scale = np.array([60, 62, 64, 65, 67, 69, 71, 72]) - 19
  place = np.cumsum(rng.integers(-1, 2, bars * 4)) % len(scale)
  tokens[::4, 0] = scale[place]
  tokens[::8, 1] = 36 - 19
  return tokens


@pytest.fixture
def data(tmp_path):
  """A corpus, and generated pieces that leap about."""
  rng = np.random.default_rng(0)
  pieces = [_people(rng, 16) for _ in range(80)]
  tokens = np.concatenate(pieces)
  np.savez(
      tmp_path / 'band.npz', tokens=tokens,
      chords=np.ones(80 * 32, np.uint8), bars=np.full(80, 16),
      names=np.array([f'{3 * i:02x}' + '0' * 30 for i in range(80)]))
  wild = np.stack(pieces[:60])
  wild[:, ::4, 0] = rng.integers(20, 70, wild[:, ::4, 0].shape)
  np.savez(
      tmp_path / 'generated.npz', tokens=wild,
      chords=np.ones((60, 32), np.uint8), groups=np.arange(60) // 3)
  return tmp_path, np.stack(pieces), wild


def test_what_is_trained_tells_people_apart(data, capsys):
  folder, pieces, wild = data
  config = training.run(
      folder / 'generated.npz', folder / 'band.npz', folder / 'run')
  assert config['held_out_auc'] > .95
  assert 'AUC' in capsys.readouterr().out
  assert f'people against generated | {config["held_out_auc"]:.3f} |' in (
      folder / 'run' / 'README.md').read_text()
  model = plausibility.load(folder / 'run')
  chords = np.ones(32, int)
  theirs = [model(piece, chords) for piece in pieces[60:]]
  ours = [model(piece, chords) for piece in wild]
  assert min(theirs) > np.median(ours)
  again = training.run(
      folder / 'generated.npz', folder / 'band.npz', folder / 'again')
  assert again == config


def test_a_model_of_other_measures_is_refused(data, monkeypatch):
  folder, _, _ = data
  training.run(folder / 'generated.npz', folder / 'band.npz', folder / 'run')
  monkeypatch.setattr(measures, 'SELECTION', measures.SELECTION[1:])
  with pytest.raises(ValueError, match='other measures'):
    plausibility.load(folder / 'run')


def test_too_few_pieces_are_refused(data):
  folder, _, wild = data
  np.savez(
      folder / 'few.npz', tokens=wild[:5], chords=np.ones((5, 32), np.uint8))
  with pytest.raises(ValueError, match='at least 10'):
    training.run(folder / 'few.npz', folder / 'band.npz', folder / 'run')
  assert not (folder / 'run').exists()


def test_a_missing_model_says_who_writes_it(tmp_path):
  with pytest.raises(FileNotFoundError, match=checkpoints.PLAUSIBILITY.name):
    plausibility.load(tmp_path)


@pytest.mark.slow
def test_people_and_generated_are_told_apart(data):
  folder, _, _ = data
  found = people.run(
      {'wild': folder / 'generated.npz', 'bands': folder / 'generated.npz'},
      folder / 'out', num_seeds=2, tell=lambda text: None)
  area = found['music']['wild']['told_apart']['melody']
  assert area['mean'] > .9 and area['low'] <= area['mean']
  assert (folder / 'out' / 'people.png').stat().st_size
  assert '# As people write' in (folder / 'out' / 'people.md').read_text()
