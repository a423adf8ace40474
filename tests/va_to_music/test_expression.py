"""Expression: what the trees see, and that notes are played as they say."""

import json

import lightgbm
import numpy as np
import pytest

from va_magenta import trees
from va_magenta.music import band, chords
from va_magenta.va_to_music import expression

TEMPO = 120.0


def _heard(bars=4):
  """A melody in quarters, a bass in halves, chords, kick, snare and hi-hat."""
  tokens = np.zeros((16 * bars, 4), int)
  tokens[::4, band.MELODY] = np.resize([60, 64, 67, 72], 4 * bars) - 19
  tokens[::8, band.BASS] = 36 - 19
  tokens[::2, band.DRUMS] = 0b100
  tokens[::8, band.DRUMS] |= 0b1
  tokens[4::8, band.DRUMS] |= 0b10
  tokens[::16, band.COMPING] = band.STRUCK
  notes = band.voice(tokens, np.full(2 * bars, chords.parse('C')))
  return band.play(notes, tempo_qpm=TEMPO, velocities=[80] * 4)


def _of(heard, name, voice):
  return expression.features(heard, (.5, -.2), TEMPO)[
      heard['part'] == voice, expression.FEATURES.index(name)]


def test_what_the_trees_see_of_notes():
  heard = _heard()
  x = expression.features(heard, (.5, -.2), TEMPO)
  assert x.shape == (len(heard), len(expression.FEATURES))
  drums = heard['part'] == band.DRUMS
  assert np.isnan(x[drums]).all() and not np.isnan(x[~drums]).any()
  assert _of(heard, 'step', band.MELODY)[:5].tolist() == [0, 4, 8, 12, 0]
  assert _of(heard, 'from_last', band.MELODY)[:5].tolist() == [0, 4, 3, 5, -12]
  assert _of(heard, 'to_next', band.MELODY)[:4].tolist() == [4, 3, 5, -12]
  assert _of(heard, 'since_last', band.MELODY)[:3].tolist() == [32, 4, 4]
  assert _of(heard, 'length', band.BASS).tolist() == [3] * 8
  assert _of(heard, 'bar_of_4', band.BASS).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
  assert _of(heard, 'together', band.COMPING).tolist() == [4] * 16
  assert _of(heard, 'rank', band.COMPING)[:4] == pytest.approx(
      [0, 1 / 3, 2 / 3, 1])
  assert _of(heard, 'others', band.MELODY).all()
  assert _of(heard, 'arousal', band.BASS) == pytest.approx(-.2)


def test_what_the_trees_see_of_strokes():
  heard = _heard()
  drums = heard[heard['is_drum']]
  x = dict(zip(expression.DRUM_FEATURES,
               expression.drum_features(drums, TEMPO).T, strict=True))
  kick = x['kind'] == 0
  assert x['step'][kick].tolist() == [0, 8] * 4
  assert x['with_hat'].all() and not x['with_snare'][kick].any()
  assert x['since_last'][kick].tolist() == [32] + [8] * 7
  assert set(x['in_beat']) == {3}


@pytest.fixture
def model(tmp_path):
  """Trees that say: high notes and downbeats are loud, hi-hats late."""
  rng = np.random.default_rng(0)

  def grow(depth, function):
    x = rng.uniform(-5, 100, (4000, depth)).astype(np.float32)
    x[:, 0] = rng.integers(0, 9, len(x))
    x[:, 1] = rng.integers(0, 16, len(x)) if depth < 15 else x[:, 1]
    return trees.from_lightgbm([lightgbm.train(
        {'verbosity': -1, 'num_threads': 1, 'learning_rate': .5},
        lightgbm.Dataset(x, function(x)), 40)])

  expression.save(tmp_path, {
      'velocity': grow(18, lambda x: np.where(x[:, 1] > 66, 12, -4)),
      'drum_velocity': grow(14, lambda x: np.where(x[:, 1] < 1, 20, 0)),
      'drum_time': grow(14, lambda x: np.where(x[:, 0] == 2, 10, 0))}, {
          name: (0, 0, 0, 0) for name in expression.MODELS}, {})
  return expression.load(tmp_path)


def _play(model, **kwargs):
  return model.play(
      _heard(), (0, 0), TEMPO, np.random.default_rng(1), **kwargs)


def test_notes_are_played_by_what_the_trees_say(model):
  heard, flat = _play(model), _heard()
  melody = heard[heard['part'] == band.MELODY]
  high = melody['pitch'] > 66
  assert melody['velocity'][high].min() > melody['velocity'][~high].max() + 10
  # A voice is as loud as before.
  assert melody['velocity'].mean() == pytest.approx(
      flat['velocity'][flat['part'] == band.MELODY].mean(), abs=1)
  for name in ('start_beats', 'end_beats', 'pitch'):
    np.testing.assert_array_equal(melody[name], flat[
        flat['part'] == band.MELODY][name])
  drums = heard[heard['is_drum']]
  late = (drums['start_beats'] % .5)
  hats = drums['pitch'] == 42
  # 10 ms at 120 quarters a minute, on a tick.
  assert late[hats] == pytest.approx(.02, abs=.004)
  assert late[~hats] == pytest.approx(0, abs=.004)
  downbeat = np.rint(4 * drums['start_beats']) % 16 == 0
  louder = drums['velocity'] - flat['velocity'][flat['is_drum']]
  assert louder[downbeat].min() > louder[~downbeat].max() + 10


def test_what_is_left_open_is_drawn(model):
  model._residuals = dict.fromkeys(expression.MODELS, (6.0, .5, 0, 0))
  first, same = _play(model), _play(model)
  np.testing.assert_array_equal(first, same)
  still = _play(model, temperature=0)
  assert (first['velocity'] != still['velocity']).mean() > .5
  assert np.abs(
      first['velocity'].astype(int) - still['velocity']).max() <= 12 + 5
  assert (first['start_beats'] >= 0).all()


def test_of_other_features_is_refused(model, tmp_path):
  path = tmp_path / 'config.json'
  config = json.loads(path.read_text())
  path.write_text(json.dumps(config | {'features': ['pitch']}))
  with pytest.raises(ValueError, match='va_magenta_train_expression writes it'):
    expression.load(tmp_path)
