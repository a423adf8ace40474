import numpy as np
import pytest
from keras import ops

from va_magenta import checkpoints
from va_magenta.music import chords
from va_magenta.va_to_music import harmony
from va_magenta.va_to_music.harmony import Harmony, HarmonyConfig

C, A_MINOR = chords.parse('C'), chords.parse('Am')


@pytest.fixture(scope='module')
def model():
  model = Harmony(HarmonyConfig(units=(8,)))
  # Weights that make every choice matter.
  rng = np.random.default_rng(0)
  for variable in harmony._variables(model).values():
    variable.assign(rng.normal(0, 0.5, variable.shape))
  return model


def _sample(model, n=3, segments=4, va=0.0, **kwargs):
  kwargs.setdefault('seed', 1)
  return model.sample(
      np.full((n, segments, 2), va), np.ones((n, 4)), **kwargs)


def test_progressions_are_drawn_anew_by_seed(model):
  one, other = _sample(model), _sample(model, seed=2)
  assert one.shape == (3, 16)
  assert one.min() >= 0 and one.max() < chords.NUM_CHORDS
  np.testing.assert_array_equal(one, _sample(model))
  assert (one != other).any()


@pytest.mark.parametrize('mode, tonic', [('major', C), ('minor', A_MINOR)])
def test_the_last_bar_is_the_tonic(model, mode, tonic):
  assert (_sample(model, mode=mode)[:, -2:] == tonic).all()


def test_without_mode_the_end_is_one_of_both_tonics(model):
  ends = _sample(model, n=32)[:, -2:]
  assert (ends[:, 0] == ends[:, 1]).all()
  assert set(ends.reshape(-1)) <= {C, A_MINOR}


def test_what_goes_on_does_not_end_on_the_tonic(model):
  ends = _sample(model, n=32, mode='major', final=False)[:, -1]
  assert len(set(ends)) > 2


def test_the_end_is_resampled_by_how_likely_it_is(model):
  """Progressions after which the tonic is likelier are chosen more often."""
  n, length = 64, 8
  uniform = np.random.default_rng(0).random((n, 4, 1 + length), np.float32)
  chosen = _sample(
      model, n, 2, mode='minor', seed=None, uniform=uniform)
  piece = harmony.describe(np.ones((n, 4)), 'minor')
  controls = harmony.controls(
      np.zeros((n, 2, 2)), np.arange(2), np.arange(2) == 1)

  def log_p(drawn):
    every = ops.convert_to_numpy(model._log_p(
        drawn, np.ones_like(drawn, bool), piece, controls))
    return every[:, -2:].sum(1).mean()

  # Of the candidates with one and the same randomness, the first.
  alone = uniform.copy()
  alone[:, :] = uniform[:, :1]
  first = _sample(model, n, 2, mode='minor', seed=None, uniform=alone)
  assert log_p(chosen) > log_p(first)


def test_chords_that_are_told_are_kept_to_the_letter(model):
  told = np.full(16, -1)
  told[[0, 5, 15]] = 3, 50, 77
  drawn = _sample(model, mode='major', chords=told)
  assert (drawn[:, [0, 5, 15]] == [3, 50, 77]).all()
  assert (drawn[:, 14] == C).all()  # The rest of the last bar.
  all_told = np.arange(16) + 1
  np.testing.assert_array_equal(
      _sample(model, chords=all_told), np.tile(all_told, (3, 1)))


@pytest.mark.parametrize('form', ['ABAC', 'AAAA', 'ABBA', 'AABAACDC'])
def test_segments_of_a_letter_share_their_chords(model, form):
  drawn = _sample(model, segments=len(form), form=form).reshape(
      3, len(form), 4)
  for i, letter in enumerate(form):
    # The last bar is the end of the piece.
    until = 2 if i == len(form) - 1 else 4
    np.testing.assert_array_equal(
        drawn[:, i, :until], drawn[:, form.index(letter), :until])
  letters = [form.index(letter) for letter in sorted(set(form))]
  assert len(np.unique(drawn[0, letters], axis=0)) == len(letters)


def test_temperature_makes_progressions_differ_less(model):
  cold, hot = (
      _sample(model, 32, temperature=t, final=False) for t in (0.05, 3.0))
  assert len(np.unique(cold)) < len(np.unique(hot))


def test_va_and_guidance_change_what_is_drawn(model):
  low, high = (_sample(model, va=va) for va in (-0.9, 0.9))
  assert (low != high).any()
  # Without guidance VA does not matter at all.
  low, high = (_sample(model, va=va, guidance=0.0) for va in (-0.9, 0.9))
  np.testing.assert_array_equal(low, high)


def test_a_piece_does_not_depend_on_its_batch(model):
  uniform = np.random.default_rng(0).random((4, 4, 17), np.float32)
  both = _sample(model, 4, seed=None, uniform=uniform)
  one = _sample(model, 2, seed=None, uniform=uniform[:2])
  np.testing.assert_array_equal(both[:2], one)


@pytest.mark.parametrize('kwargs, says', [
    ({'mode': 'dorian'}, 'mode'),
    ({'temperature': 0}, 'temperature'),
    ({'guidance': -1}, 'guidance'),
    ({'form': 'AB'}, '2 letters for 4'),
    ({'chords': np.full(16, 97)}, '-1..96'),
    ({'uniform': np.zeros((3, 4, 3))}, 'uniform'),
])
def test_arguments_that_do_not_fit_are_refused(model, kwargs, says):
  with pytest.raises(ValueError, match=says):
    _sample(model, **kwargs)


def test_the_loss_is_that_of_what_counts(model):
  length = 8
  x = {
      'chords': np.arange(length)[None] + 1,
      'seen': np.ones((1, length), bool),
      'weight': np.r_[np.ones(5), np.zeros(3)][None].astype(np.float32),
      'piece': harmony.describe(np.ones((1, 4)), None),
      'controls': harmony.controls(
          np.zeros((1, 2, 2)), np.arange(2), np.zeros(2, bool))}
  before = float(model(x)[0])
  x['chords'] = x['chords'].copy()
  x['chords'][0, 6] = 90
  assert float(model(x)[0]) == pytest.approx(before, rel=1e-5)
  x['chords'][0, 2] = 90
  assert float(model(x)[0]) != pytest.approx(before, rel=1e-3)


def test_save_and_load(model, tmp_path):
  harmony.save(model, tmp_path)
  loaded = harmony.load(tmp_path)
  for name, variable in harmony._variables(model).items():
    np.testing.assert_allclose(
        harmony._variables(loaded)[name], variable, rtol=1e-3, atol=1e-3)
  with pytest.raises(FileNotFoundError, match='names are va-cat-band_2bar'):
    harmony.load(tmp_path / 'none')
  (tmp_path / 'harmony.json').write_text('{"units": [4]}')
  with pytest.raises(ValueError, match='not a model of harmony of this'):
    harmony.load(tmp_path)
  (tmp_path / 'harmony.json').write_text('{}')
  with pytest.raises(ValueError, match='not a model of harmony of this'):
    harmony.load(tmp_path)


def test_what_ships_hears_valence_as_people_do():
  model = harmony.load(checkpoints.path('va-cat-band_2bar'))
  minor = {}
  for valence in (-0.6, 0.6):
    drawn = _sample(model, 16, 8, va=(valence, 0.0))
    minor[valence] = np.mean([chords.mode_of(c) == 'minor' for c in drawn])
  assert minor[-0.6] > minor[0.6] + 0.3
