"""Systems ask the generator for what they should, once."""

import numpy as np
import pytest

from va_magenta.composing import composer as composing
from va_magenta.evaluation import control, judges, systems
from va_magenta.evaluation.cache import Cache
from va_magenta.va import VA

TARGETS = control.grid(3)


@pytest.fixture
def composer(tmp_path):
  with Cache(tmp_path / 'pieces.jsonl') as cache:
    yield systems.Composer(cache)


def _places(pieces):
  return judges.Reader(judges.student('judge'))(pieces)


def test_the_generator_is_asked_for_each_target_with_one_seed(oracle, composer):
  asked = systems.Asked(
      'asked', {'candidates': 3, 'checkpoint': 'x', 'bars': 2})
  pieces = list(asked.compose(TARGETS, 7, composer))
  np.testing.assert_allclose(_places(pieces), TARGETS, atol=.02)
  assert [(t.valence, t.arousal) for t, _ in oracle] == list(
      map(tuple, TARGETS))
  assert {(s.seed, s.candidates, s.checkpoint) for _, s in oracle} == {
      (7, 3, 'x')}
  # Not the student that judges.
  assert all(s.estimator.endswith('symbolic_va/generator') for _, s in oracle)


def test_what_was_composed_is_remembered(oracle, composer):
  asked = systems.Asked('asked', {})
  first = list(asked.compose(TARGETS, 7, composer))
  assert list(asked.compose(TARGETS, 7, composer)) == first
  assert len(oracle) == len(TARGETS)
  list(asked.compose(TARGETS, 8, composer))
  list(systems.Asked('other', {'guidance': 2}).compose(TARGETS, 7, composer))
  assert len(oracle) == 3 * len(TARGETS)


def test_the_score_of_a_band_is_remembered(oracle, composer, monkeypatch):
  compose = composing.compose
  score = np.arange(64).reshape(16, 4), np.array([1, 2])

  def with_score(target, settings):
    piece, = compose(target, settings)
    piece.score = score
    return [piece]

  asked = systems.Asked('asked', {})
  piece = next(asked.compose(TARGETS, 7, composer))
  assert composer.score(piece) is None
  monkeypatch.setattr(composing, 'compose', with_score)
  for _ in range(2):  # Composed, and read from the cache.
    piece = next(asked.compose(TARGETS, 8, composer))
    for found, expected in zip(composer.score(piece), score, strict=True):
      np.testing.assert_array_equal(found, expected)


def test_what_has_hardly_a_note_is_drawn_again_and_counted(
    oracle, composer, monkeypatch):
  compose = composing.compose

  def silent_when_calm(target, settings):
    if target.arousal < 0 and settings.seed == 7:
      raise ValueError('only 0 different pieces with notes')
    return compose(target, settings)

  monkeypatch.setattr(composing, 'compose', silent_when_calm)
  asked = systems.Asked('asked', {})
  pieces = list(asked.compose(TARGETS, 7, composer))
  np.testing.assert_allclose(_places(pieces), TARGETS, atol=.02)
  calm = sum(arousal < 0 for _, arousal in TARGETS)
  assert composer.num_redrawn == calm > 0
  # One seed for all that are calm.
  assert len({s.seed for _, s in oracle}) == 2
  list(asked.compose(TARGETS, 7, composer))
  assert composer.num_redrawn == 2 * calm


def test_what_never_has_a_note_is_told(oracle, composer, monkeypatch):
  def silent(target, settings):
    raise ValueError('only 0 different pieces with notes')

  monkeypatch.setattr(composing, 'compose', silent)
  with pytest.raises(ValueError, match='with notes'):
    list(systems.Asked('asked', {}).compose(TARGETS, 7, composer))


def test_the_prior_knows_no_target_and_shares_its_draws(oracle, composer):
  one = systems.Prior('unconditioned', {})
  pieces = list(one.compose(TARGETS, 0, composer))
  asked = [target for target, _ in oracle]
  assert len(set(asked)) == len(TARGETS)
  assert pieces == list(one.compose(-TARGETS, 0, composer))
  assert pieces != list(one.compose(TARGETS, 1, composer))
  # The nearest of nine: all of them are there already.
  oracle.clear()
  best = systems.Prior('best of 9', {}, 9)
  nearest = list(best.compose(TARGETS, 0, composer))
  assert not oracle
  distances = np.linalg.norm(
      _places(pieces)[None] - TARGETS[:, None], axis=-1)
  assert nearest == [pieces[i] for i in distances.argmin(axis=1)]


def test_more_candidates_come_nearer(oracle, composer):
  def distance(candidates):
    system = systems.Prior('best', {}, candidates)
    return np.mean([np.linalg.norm(
        _places(list(system.compose(TARGETS, seed, composer))) - TARGETS,
        axis=1) for seed in range(5)])

  assert distance(1) > 1.5 * distance(4) > 2 * distance(32)


def test_another_seed_is_tried_where_nothing_sounds(
    oracle, composer, monkeypatch):
  compose = composing.compose
  seeds = []

  def sometimes(target, settings):
    seeds.append(settings.seed)
    if len(seeds) < 3:
      raise ValueError('only 0 different pieces with notes')
    return compose(target, settings)

  monkeypatch.setattr(composing, 'compose', sometimes)
  composer(VA(0, 0), {}, 5)
  assert seeds[0] == 5 and len(set(seeds)) == 3


def test_what_is_wrong_with_the_generator_is_told(
    oracle, composer, monkeypatch):
  def compose(target, settings):
    raise ValueError('no checkpoint of melodies')

  monkeypatch.setattr(composing, 'compose', compose)
  with pytest.raises(ValueError, match='no checkpoint of melodies'):
    composer(VA(0, 0), {}, 5)


def test_weights_that_change_are_no_longer_the_same(tmp_path):
  def digest():
    return systems.Composer(cache=None)._digest(tmp_path)

  (tmp_path / 'config.json').write_text('{}')
  (tmp_path / 'weights.npz').write_bytes(b'1')
  first = digest()
  (tmp_path / 'README.md').write_text('A card.')
  assert digest() == first
  (tmp_path / 'weights.npz').write_bytes(b'2')
  assert digest() != first


def test_a_system_of_a_flag(tmp_path):
  system = systems.parse(
      f'no loss: checkpoint={tmp_path},guidance=2.5, candidates=1', {'bars': 4})
  assert system.name == 'no loss'
  assert system.settings == {
      'checkpoint': str(tmp_path), 'guidance': 2.5, 'candidates': 1, 'bars': 4}
  assert systems.parse('asked:', {}).settings == {}


def test_a_checkpoint_that_is_not_there():
  with pytest.raises(FileNotFoundError, match='no checkpoint'):
    systems.parse('a:checkpoint=runs/none', {})


@pytest.mark.parametrize(('text', 'message'), [
    ('name', 'NAME:SETTING=VALUE'), (':candidates=1', 'NAME:SETTING=VALUE'),
    ('a:candidates', 'NAME:SETTING=VALUE'),
    ('a:colour=red', "no setting 'colour'"), ('a:seed=1', "no setting 'seed'"),
    ('a:candidates=0', 'candidates must lie in'),
    ('a:candidates=many', 'candidates'), ('a:mode=dream', 'mode must be'),
])
def test_a_bad_flag_is_one_line(text, message):
  with pytest.raises(ValueError, match=message) as error:
    systems.parse(text, {})
  assert '\n' not in str(error.value)


def test_everything_of_a_setting_matters_to_the_cache(oracle, composer):
  for settings in ({}, {'temperature': .7}, {'checkpoint': 'other'}):
    composer(VA(0, 0), settings, 0)
  composer(VA(0, 0), {'temperature': .7}, 1)
  composer(VA(0, .1), {'temperature': .7}, 0)
  assert len(oracle) == 5
