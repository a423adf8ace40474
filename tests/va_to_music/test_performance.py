"""How melodies are played: the distributions, and notes as they are played."""

import dataclasses
import json

import numpy as np
import pytest

from va_magenta.music import melody, trio
from va_magenta.va import VA
from va_magenta.va_to_music import performance

TOKENS = np.zeros(32, int)
TOKENS[[0, 4, 8, 16, 20]] = [41, 43, 45, 46, 48]
TOKENS[12] = 1  # A rest from the third quarter of the first bar on.
PIECE = TOKENS[:, None]
# Bass and drums beside it.
TRIO = np.stack([TOKENS, np.roll(TOKENS, 2), np.zeros(32, int)], axis=1)
TRIO[::4, trio.DRUMS] = 5  # Bass drum and closed hi-hat, every quarter.


# Of what a model was fitted to.
OF_VA = {'va_mean': [0, 0], 'va_deviation': [1, 1]}


@pytest.fixture(scope='module')
def model():
  random = np.random.default_rng(0)
  factors = random.normal(size=(2, 5, 5)) * 0.05 + np.eye(5) * 0.15
  covariance = factors[0] @ factors[0].T
  return performance.PerformanceModel(
      {
          'weights': np.array([
              [0.3, 4.6, 72, 2.5, 72], [0.1, 0.2, 1, 0, 4], [0.3, 0.4, 22, 0, 1]
          ]),
          'covariance': covariance,
          'marginal_mean': [0.3, 4.6, 72, 2.5, 72],
          'marginal_covariance': covariance + factors[1] @ factors[1].T,
      },
      {
          'values': [0, 40, 73],
          'weights': [[0.5, 0, 0], [0, 1, -1], [0, -1, 2]],
          'marginal': [0.5, 0.25, 0.25],
          **OF_VA,
      },
      {
          'weights': [[2, -8], [-5, 0], [4, 10]],
          'covariance': [[25, 9], [9, 36]],
          'marginal_mean': [0, -5],
          'marginal_covariance': [[30, 9], [9, 60]],
      },
      {
          'values': [32, 33],
          'weights': [[0, 0], [0, 0], [-2, 2]],
          'marginal': [0.5, 0.5],
          **OF_VA,
      },
      {
          'values': [0, 1],
          'weights': [[-0.5, 0.5], [0, 0], [-2, 2]],
          'marginal': [0.4, 0.6],
          **OF_VA,
      },
      {
          # Calm flutes with strings, excited violins with a piano; those with
          # drums have an electric bass.
          'programs': np.repeat(
              [[73, 32, 48], [73, 33, 48], [40, 32, 0], [40, 33, 0]], 200, 0),
          'drums': np.repeat([0, 1, 0, 1], 200),
          'va': np.repeat([[0, -1], [0, -1], [0, 1], [0, 1]], 200, 0),
      },
      {
          'weights': [[-8], [0], [0]],
          'covariance': [[9]],
          'marginal_mean': [-8],
          'marginal_covariance': [[9]],
      })


def test_plain_is_as_written():
  sequence = performance.play(PIECE, [performance.plain(1)])
  assert sequence == melody.tokens_to_sequence(TOKENS, tempo_qpm=120)


def test_everything_of_a_performance_is_heard():
  plain = melody.tokens_to_sequence(TOKENS, tempo_qpm=120)
  played = performance.play(PIECE, [performance.Performance(
      tempo_qpm=60, velocity=33, articulation=0.5, shift=-7, program=40)])
  assert [tempo.qpm for tempo in played.tempos] == [60]
  assert {n.velocity for n in played.notes} == {33}
  assert {n.program for n in played.notes} == {40}
  for a, b in zip(plain.notes, played.notes, strict=True):
    assert b.pitch == a.pitch - 7
    assert b.start_time == pytest.approx(2 * a.start_time)
  onsets = [n.start_time for n in played.notes] + [8]
  lengths = [n.end_time - n.start_time for n in played.notes]
  np.testing.assert_allclose(lengths, 0.5 * np.diff(onsets))
  assert played.total_time == played.notes[-1].end_time


def test_rests_stay():
  played = performance.play(
      PIECE, [performance.Performance(articulation=0.9)])
  # The third note is written for half the time to the fourth.
  assert played.notes[2].end_time == 1.5
  assert played.notes[3].start_time == 2


def test_no_notes():
  for num_outputs in (1, 3):
    sequence = performance.play(
        np.zeros((32, num_outputs), int), [performance.plain(num_outputs)])
    assert not sequence.notes
    assert sequence.total_time == 0


def test_tempo_and_loudness_glide_along_a_path():
  tokens = np.tile([40, 0, 0, 0], 32)[:, None]  # Eight bars of quarters.
  played = performance.play(tokens, [
      performance.Performance(tempo_qpm=60, velocity=40, shift=2),
      performance.Performance(tempo_qpm=120, velocity=100, shift=9)])
  steps = np.diff([n.start_time for n in played.notes])
  assert steps[0] == pytest.approx(1)
  assert steps[-1] == pytest.approx(0.5)
  assert (np.diff(steps) <= 1e-9).all()
  # No step from one quarter to the next is large.
  assert (steps[1:] / steps[:-1]).min() > 0.93
  velocities = [n.velocity for n in played.notes]
  assert velocities[0] == 40
  assert velocities[-1] == 100
  assert max(np.diff(velocities)) <= 4
  # The key is one.
  assert {n.pitch for n in played.notes} == {59 + 2}
  # What is written says when.
  for tempo in played.tempos:
    assert np.abs(
        [n.start_time - tempo.time for n in played.notes]).min() < 1e-9
  assert len(played.tempos) > 8


def test_mean_and_covariance_are_those_of_the_drawn(model):
  n = 4000
  tokens = np.tile(PIECE, (n, 1, 1))
  va = VA(0.5, 0.25)
  played = [row[0] for row in model.draw(
      [[va]] * n, tokens, np.random.default_rng(0))]
  drawn = np.array([
      [np.log(p.tempo_qpm), p.velocity,
       np.log(p.articulation / (1 - p.articulation))] for p in played])
  mean, covariance = model.distribution(
      np.array([va.valence, va.arousal]), np.log(performance.density(TOKENS)))
  assert mean.shape == (4,)
  np.testing.assert_allclose(drawn[:, [0, 2]].mean(0), mean[[0, 2]], atol=0.03)
  assert drawn[:, 1].mean() == pytest.approx(mean[1], abs=0.1)
  np.testing.assert_allclose(
      np.cov(drawn[:, [0, 2]].T), covariance[np.ix_([0, 2], [0, 2])], atol=0.02)
  # Pitch: what it is shifted to.
  register = np.mean([41, 43, 45, 46, 48]) + 19 + np.mean(
      [p.shift for p in played])
  assert register == pytest.approx(mean[3], abs=0.1)


def test_the_density_at_hand_is_conditioned_on(model):
  """Against the textbook's formula, by sampling the joint distribution."""
  va = np.array([0.2, -0.3])
  joint = np.random.default_rng(1).multivariate_normal(
      np.array([1, *va]) @ model.normal.weights, model.normal.covariance,
      400_000)
  near = joint[np.abs(joint[:, 0] - 0.5) < 0.02]
  mean, covariance = model.distribution(va, np.array(0.5))
  np.testing.assert_allclose(near[:, 1:].mean(0), mean, atol=0.02)
  np.testing.assert_allclose(np.cov(near[:, 1:].T), covariance, atol=0.02)


def test_guidance_goes_from_nothing_to_more_than_was_learned(model):
  va = np.array([0.3, 0.8])
  means = [model.distribution(va, guidance=w)[0][0] for w in (0, 1, 2, 4)]
  assert means[0] == pytest.approx(4.6)
  assert means[1] == pytest.approx(4.6 + 0.3 * 0.2 + 0.8 * 0.4)
  assert np.all(np.diff(means) > 0)
  # 0 is the marginal distribution, whatever the VA.
  np.testing.assert_allclose(
      model.distribution(va, guidance=0)[1],
      model.normal.marginal_covariance[1:, 1:])
  shares = model.instruments.given(va, guidance=0)
  np.testing.assert_allclose(shares, model.instruments.marginal)
  clearly = model.instruments.given(va, guidance=3)
  assert clearly[2] > model.instruments.given(va)[2] > shares[2]
  assert clearly.sum() == pytest.approx(1)


def test_beyond_what_was_seen_shares_are_those_of_its_edge():
  distribution = performance.Categorical(
      [0, 40], [[0, 0], [0, 3], [0, -2]], [0.5, 0.5], [0.1, 0.4], [0.2, 0.3])

  def share(valence, arousal):
    return distribution.given(np.array([valence, arousal]))[1]

  for inside, outside in (((0.5, 0.4), (0.9, 0.4)), ((0.1, -0.2), (0.1, -1))):
    assert share(*outside) == pytest.approx(share(*inside))
  assert share(0.2, 0.4) < share(0.4, 0.4) < share(0.5, 0.4)
  # Both axes together, on the way to the mean.
  assert share(0.9, -0.8) == pytest.approx(
      share(0.1 + 0.8 * 0.3535534 / 0.7, 0.4 - 1.2 * 0.3535534 / 0.7), abs=0.01)


def test_the_shipped_model_plays_no_mood_on_one_instrument():
  model = performance.load()
  for valence in (-1, -0.6, 0, 0.6, 1):
    for arousal in (-1, -0.6, 0, 0.6, 1):
      shares = model.instruments.given(np.array([valence, arousal]))
      assert shares.max() < 0.5


def test_temperature_0_takes_the_likeliest(model):
  tokens = np.tile(PIECE, (20, 1, 1))
  played = model.draw(
      [[VA(0, 1)]] * 20, tokens, np.random.default_rng(0), temperature=0)
  assert len({row[0] for row in played}) == 1
  assert played[0][0].program == 73
  freely = model.draw([[VA(0, 1)]] * 20, tokens, np.random.default_rng(0))
  assert len({row[0] for row in freely}) == 20
  assert len({row[0].program for row in freely}) > 1


def test_the_same_noise_for_every_target(model):
  tokens = np.tile(PIECE, (50, 1, 1))

  def tempos(va):
    return np.log([row[0].tempo_qpm for row in model.draw(
        [[va]] * 50, tokens, np.random.default_rng(3), temperature=0.2)])

  gap = tempos(VA(0, 0.5)) - tempos(VA(0, -0.5))
  assert gap.mean() > 0.1
  assert gap.std() < 1e-9


def test_melodies_stay_within_the_range_of_pitches(model):
  low, high = np.full(32, 2), np.full(32, 89)
  wide = np.tile([2, 89], 16)
  [[down], [up], [middle]] = model.draw(
      [[VA(0, 0)]] * 3, np.stack([low, high, wide])[..., None],
      np.random.default_rng(0), temperature=0)
  assert 60 < 21 + down.shift < 90
  assert 60 < 108 + up.shift < 90
  assert middle.shift == (36 - 21 + 96 - 108) // 2
  [[empty]] = model.draw(
      [[VA(0, 0)]], np.zeros((1, 32, 1), int), np.random.default_rng(0))
  assert empty.shift == 0


def test_shipped_model_plays_as_is_known_of_music():
  """Excited is faster and louder, pleasant is higher.

  Gabrielsson and Lindstrom, "The role of structure in the musical expression of
  emotions", 2010.
  """
  model = performance.load()
  tokens = PIECE[None]
  random = np.random.default_rng

  def mean(va):
    [[played]] = model.draw([[va]], tokens, random(0), temperature=0)
    return played

  calm, excited = mean(VA(0, -0.6)), mean(VA(0, 0.6))
  assert excited.tempo_qpm > 1.3 * calm.tempo_qpm
  assert excited.velocity > calm.velocity + 15
  assert excited.articulation < calm.articulation
  assert mean(VA(0.6, 0)).shift > mean(VA(-0.6, 0)).shift + 2
  # Of many notes, each is slower, but more come a second.
  dense = model.draw(
      [[VA(0, 0)]], np.full((1, 32, 1), 40), random(0), temperature=0)[0][0]
  plain = mean(VA(0, 0))
  ratio = performance.density(np.full(32, 40)) / performance.density(TOKENS)
  assert plain.tempo_qpm / ratio < dense.tempo_qpm < plain.tempo_qpm
  # No corner of the plane, and no clarity, is out of bounds.
  for va in (VA(-1, -1), VA(-1, 1), VA(1, -1), VA(1, 1)):
    for guidance in (1, 5):
      [[p]] = model.draw(
          [[va]], tokens, random(0), guidance=guidance)
      for value, (low, high) in (
          (p.tempo_qpm, performance.TEMPO_RANGE_QPM),
          (p.velocity, performance.VELOCITY_RANGE),
          (p.articulation, performance.ARTICULATION_RANGE)):
        assert low <= value <= high


def test_a_band_plays_as_written():
  sequence = performance.play(TRIO, [performance.plain(3)])
  assert sequence == trio.tokens_to_sequence(TRIO, tempo_qpm=120)


def test_everything_of_a_band_is_heard():
  plain = trio.tokens_to_sequence(TRIO, tempo_qpm=120)
  played = performance.play(TRIO, [performance.BandPerformance(
      tempo_qpm=60, velocity=33, articulation=0.5, shift=-7, program=40,
      bass_program=35, bass_velocity=50, drum_velocity=99)])
  # At most half an octave, in the melody's key.
  for a, b in zip(plain.notes, played.notes, strict=True):
    program, velocity, shift = {
        0: (40, 33, -7), 1: (35, 50, 5), 9: (0, 99, 0)}[b.instrument]
    assert (b.program, b.velocity, b.pitch) == (
        program, velocity, a.pitch + shift)
    assert b.start_time == pytest.approx(2 * a.start_time)
    assert b.is_drum == (b.instrument == 9)
  of_melody, of_bass, drums = (
      [n for n in played.notes if n.instrument == i] for i in (0, 1, 9))
  assert [n.start_time for n in of_melody] == [0, 1, 2, 4, 5]
  assert of_melody[0].end_time == of_bass[0].end_time - 0.5 == 0.5
  assert len(drums) == 16
  assert {n.pitch for n in drums} == {36, 42}
  assert {round(n.end_time - n.start_time, 6) for n in drums} == {0.25}
  assert played.total_time == max(n.end_time for n in played.notes)


def test_a_band_glides_as_one():
  played = performance.play(np.tile(TRIO, (4, 1)), [
      performance.BandPerformance(tempo_qpm=60, drum_velocity=30),
      performance.BandPerformance(tempo_qpm=120, drum_velocity=110)])
  drums = [n for n in played.notes if n.is_drum]
  assert (drums[0].velocity, drums[-1].velocity) == (30, 110)
  assert {n.velocity for n in played.notes if not n.is_drum} == {80}
  # What is written for one time sounds at one.
  melodies, beats = ({n.start_time for n in played.notes if n.instrument == i}
                     for i in (0, 9))
  assert len(melodies & beats) == 4 * 5


def test_bass_and_balance_follow_va(model):
  n = 3000
  trios, melodies = (np.tile(p, (n, 1, 1)) for p in (TRIO, PIECE))

  def played(arousal, tokens=trios, **kwargs):
    rows = model.draw([[VA(0.2, arousal)]] * n, tokens,
                      np.random.default_rng(0), **kwargs)
    return [p for p, in rows]

  excited, calm = played(0.5), played(-0.5)
  # Its melody is played as one that stands alone.
  for band, alone in zip(excited, played(0.5, melodies), strict=True):
    for field in dataclasses.fields(performance.Performance):
      assert getattr(band, field.name) == getattr(alone, field.name)
  for bands, arousal in ((excited, 0.5), (calm, -0.5)):
    louder = np.array([
        (p.bass_velocity - p.velocity, p.drum_velocity - p.velocity)
        for p in bands])
    np.testing.assert_allclose(
        louder.mean(0), [2 - 1 + 4 * arousal, -8 + 10 * arousal], atol=0.5)
    np.testing.assert_allclose(np.cov(louder.T), [[25, 9], [9, 36]], atol=3)
    share = np.mean([p.bass_program == 33 for p in bands])
    assert share == pytest.approx(1 / (1 + np.exp(-4 * arousal)), abs=0.03)
  assert {p.bass_program for p in played(-0.5, temperature=0)} == {32}


def test_comping_is_drawn_for_four_voices(model):
  tokens = np.zeros((200, 32, 4), int)
  tokens[:, ::4, 0] = 50
  def draw(arousal):
    return [p for p, in model.draw(
        [[VA(0, arousal)]] * 200, tokens, np.random.default_rng(0))]
  calm, excited = draw(-0.9), draw(0.9)
  assert np.mean([p.comping_program == 48 for p in calm]) > 0.8
  assert np.mean([p.comping_program == 48 for p in excited]) < 0.2
  softer = [p.velocity - p.comping_velocity for p in calm]
  assert np.mean(softer) == pytest.approx(8, abs=1)


def test_who_plays_together_does_so_in_a_band_by_people(model):
  tokens = np.zeros((300, 32, 4), int)
  tokens[:, ::4, 0] = 50
  tokens[::2, ::4, 2] = 1
  drawn = [p for p, in model.draw(
      [[VA(0, 0)]] * 300, tokens, np.random.default_rng(0), guidance=0)]
  bands = {(p.program, p.bass_program, p.comping_program) for p in drawn}
  assert bands == {(73, 32, 48), (73, 33, 48), (40, 32, 0), (40, 33, 0)}
  assert {p.bass_program for p in drawn[::2]} == {33}  # Those with drums.
  assert {p.bass_program for p in drawn[1::2]} == {32}
  [[nearest]] = model.draw(
      [[VA(0, -0.1)]], tokens[:1], np.random.default_rng(0), temperature=0)
  assert nearest.comping_program == 48


def test_drums_play_where_they_are_usual(model):
  def share(arousal, **kwargs):
    rows = model.draw([[VA(0.2, arousal)]] * 3000, np.tile(TRIO, (3000, 1, 1)),
                      np.random.default_rng(0), **kwargs)
    return np.mean([p.drums_play for p, in rows])

  for arousal in (-0.5, 0.5):
    assert share(arousal) == pytest.approx(
        1 / (1 + np.exp(-1 - 4 * arousal)), abs=0.03)
  assert share(-0.5, temperature=0) == 0
  assert share(0.5, temperature=0) == 1
  assert share(-0.5, guidance=0) == pytest.approx(0.6, abs=0.03)


def test_drums_come_in_and_go_along_a_path(model):
  path = [VA(0, arousal) for arousal in (-0.9, 0.9, -0.9)]
  [row] = model.draw([path], TRIO[None], np.random.default_rng(0),
                     temperature=0)
  assert [p.drums_play for p in row] == [False, True, False]
  played = performance.play(np.tile(TRIO, (3, 1)), [
      performance.BandPerformance(tempo_qpm=60, drums_play=p.drums_play)
      for p in row])
  drums, others = (
      [n.start_time for n in played.notes if n.is_drum == is_drum]
      for is_drum in (True, False))
  assert (min(drums), max(drums)) == (8, 15)
  assert (min(others), max(others)) < (8, 15) < (max(others), 24)
  without = performance.play(
      TRIO, [performance.BandPerformance(drums_play=False)])
  assert not any(n.is_drum for n in without.notes)
  assert without.total_time == max(n.end_time for n in without.notes)


def test_saved_model_is_loaded(tmp_path, model):
  performance.save(
      tmp_path, {name: vars(getattr(model, name)) for name in (
          'normal', 'instruments', 'balance', 'basses', 'drums', 'bands',
          'comping_balance')}, {'clips': 3})
  loaded = performance.load(tmp_path)
  np.testing.assert_allclose(
      loaded.normal.covariance, model.normal.covariance, rtol=1e-5)
  assert loaded.instruments.values.tolist() == [0, 40, 73]
  np.testing.assert_allclose(loaded.balance.weights, model.balance.weights)
  assert loaded.basses.values.tolist() == [32, 33]
  assert json.loads((tmp_path / 'config.json').read_text())['data'] == {
      'clips': 3}


@pytest.mark.parametrize('damage', [
    lambda text: text[:100], lambda text: '[]', lambda text: '{}',
    lambda text: text.replace('"values": [\n   0,', '"values": ['),
    lambda text: text.replace('"values": [\n   32,', '"values": ['),
    lambda text: text.replace('"balance"', '"loudness"')])
def test_damaged_model_is_one_line(tmp_path, damage):
  from va_magenta import checkpoints

  text = (checkpoints.path('performance_va') / 'config.json').read_text()
  changed = damage(text)
  assert changed != text
  (tmp_path / 'config.json').write_text(changed)
  with pytest.raises(ValueError, match='is not a performance model') as error:
    performance.load(tmp_path)
  assert '\n' not in str(error.value)
  with pytest.raises(FileNotFoundError):
    performance.load(tmp_path / 'nowhere')


def test_no_instrument_of_a_band_is_more_frequent_than_in_bands_near():
  model = performance.load()
  tokens = np.zeros((600, 32, 4), int)
  tokens[:, ::4, 0] = 50
  tokens[::2, ::4, 2] = 1
  axis = np.linspace(-.8, .8, 3)
  for point in np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2):
    drawn = [p for p, in model.draw(
        [[VA(*point)]] * 600, tokens, np.random.default_rng(1))]
    away = np.square(model.bands.va - point).sum(1)
    for voice, name in enumerate(
        ('program', 'bass_program', 'comping_program')):
      ours = np.bincount([getattr(p, name) for p in drawn], minlength=128) / 600
      theirs = np.mean([
          np.bincount(model.bands.programs[rows][np.argsort(
              away[rows])[:200], voice], minlength=128) / 200
          for rows in (model.bands.drums, ~model.bands.drums)], axis=0)
      # By chance, thrice what 600 draws deviate.
      assert (ours <= np.maximum(theirs, .15) + .06).all()


def test_no_instrument_plays_more_than_its_share():
  axis = np.linspace(-.8, .8, 5)
  plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
  uniform = (np.arange(2000) + .5) / 2000
  model = performance.load()
  for va in plane:
    drawn = model.instruments.draw(
        np.tile(va, (2000, 1)), uniform, 1.0, 1.0, performance.MAX_SHARE)
    shares = np.bincount(drawn) / 2000
    assert shares.max() < performance.MAX_SHARE + .002
    # And it still follows VA where it may.
    expected = model.instruments.given(va)
    free = model.instruments.draw(
        np.tile(va, (2000, 1)), uniform, 1.0, 1.0)
    assert np.bincount(free).max() / 2000 == pytest.approx(
        expected.max(), abs=.002)
  at_zero = model.instruments.draw(
      np.tile(plane[0], (9, 1)), uniform[:9], 1.0, 0.0, performance.MAX_SHARE)
  assert len(set(at_zero.tolist())) == 1
