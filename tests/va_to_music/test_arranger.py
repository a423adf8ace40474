"""Arrangements: who comes in when, fills, pick-ups and an arc of loudness."""

import numpy as np
import pytest

from va_magenta.music import band, grid
from va_magenta.va_to_music import arranger

_BEAT = (0b101, 0, 0b100, 0, 0b110, 0, 0b100, 0)
_SNARE, _TOM = 0b10, 0b10000


def _tokens(bars=16):
  """A melody from the first bar, bass, chords and a steady beat."""
  tokens = np.zeros((16 * bars, 4), int)
  tokens[::4, band.MELODY] = grid.token_of(67)
  tokens[::8, band.BASS] = grid.token_of(36)
  tokens[:, band.DRUMS] = np.resize(_BEAT, 16 * bars)
  tokens[::16, band.COMPING] = band.STRUCK
  return tokens


def _arranger(waits=.1, fill=9.0, pickup=1.0, has_drums=True):
  """One piece: drums come in at the fourth eighth; the middle is loud.

  Fills last two beats, of snare and tom in turn.
  """
  plays = np.ones((1, arranger.EIGHTHS, 3), bool)
  plays[0, :3, arranger.VOICES.index(band.DRUMS)] = False
  plays[0, :, arranger.VOICES.index(band.DRUMS)] &= has_drums
  louder = np.array([[-8, -6, -4, 0, 4, 6, 4, 0, -4]])
  tokens = [0, 1, _SNARE, _TOM]
  pairs, places = np.zeros((4, 4, 4, 4)), np.zeros((16, 4, 4))
  pairs[::2, ..., 2] = pairs[1::2, ..., 3] = 6e4
  places[::2, ..., 2] = places[1::2, ..., 3] = 6e4
  return arranger.Arranger(
      {'va': np.zeros((1, 2)), 'waits': np.array([waits]),
       'opens': np.array([[True, False, True]]), 'plays': plays,
       'louder': louder, 'has_dynamics': np.array([True])},
      {'tokens': tokens, 'pairs': pairs, 'places': places,
       'lengths': [0, 0, 1, 0]},
      {'steps': np.array([[-4, -2, 0, 0]]),
       'degrees': np.array([[-2, -1, 0, 0]]), 'counts': np.array([1])},
      {'fill': [fill, 0, 0, 0], 'crash_after_fill': [9, 0, 0, 0],
       'crash': [-9, 0, 0, 0], 'pickup': pickup})


def _arrange(model=None, tokens=None, seed=0, **kwargs):
  return (model or _arranger()).arrange(
      _tokens() if tokens is None else tokens, (0, 0),
      np.random.default_rng(seed), **kwargs)


def test_voices_come_in_as_in_a_piece_of_people():
  tokens = _arrange().tokens
  np.testing.assert_array_equal(tokens[:, [0, 1, 3]], _tokens()[:, [0, 1, 3]])
  drums = tokens[:, band.DRUMS].reshape(16, 16)
  assert drums.any(1).tolist() == [False] * 6 + [True] * 10


def test_a_voice_that_never_plays_in_theirs_is_not_silenced():
  tokens = _arrange(_arranger(has_drums=False)).tokens
  assert tokens[:, band.DRUMS].reshape(16, 16).any(1).all()


def test_who_rests_is_heard_no_more():
  model = _arranger()
  model._pieces['plays'][0, 3:5] = False
  tokens = _arrange(model).tokens
  assert tokens[96, band.BASS] == grid.NOTE_OFF
  assert tokens[96, band.COMPING] == band.OFF
  assert not tokens[97:160, band.BASS].any()


def test_fills_lead_from_phrase_to_phrase():
  drums = _arrange(builds=False).tokens[:, band.DRUMS].reshape(16, 16)
  for end in (4, 8, 12, 16):
    assert drums[end - 1].tolist() == [*_BEAT, *[_SNARE, _TOM] * 4]
    if end < 16:
      assert drums[end, 0] == 0b101 | arranger.CRASH | arranger.KICK
  for bar in (1, 2, 5, 6, 9, 10):
    assert drums[bar].tolist() == [*_BEAT, *_BEAT]
  none = _arrange(_arranger(fill=-9.0), builds=False).tokens
  np.testing.assert_array_equal(none, _tokens())


def test_cymbals_go_on_until_the_hands_leave_the_beat():
  model = _arranger()
  model.fills.chances[:12] = np.eye(4)[0]
  bar = np.resize(_BEAT, 16)
  played = model.fills.draw(bar, np.random.default_rng(0))
  # A bass drum is left out; the snare is where it would be, toms are not.
  assert played[8:12].tolist() == [0b100, 0, 0b100, 0]
  assert played[12:].tolist() == [0b110, _TOM, _SNARE, _TOM]


def test_what_a_fill_is():
  bar = np.resize(_BEAT, 16)
  fill = bar.copy()
  fill[[13, 14, 15]] = _TOM
  assert arranger.is_fill(fill, bar) == (True, 3)
  assert not arranger.is_fill(bar, bar)[0]
  louder = bar | arranger.CRASH
  assert not arranger.is_fill(louder, bar)[0]
  kicks = bar.copy()
  kicks[[13, 15]] = 1
  assert not arranger.is_fill(kicks, bar)[0]


def test_a_bar_that_leads_on_by_itself_stays():
  tokens = _tokens()
  tokens[60:64, band.DRUMS] = _TOM
  drums = _arrange(tokens=tokens, builds=False).tokens[:, band.DRUMS]
  assert drums[48:64].tolist() == tokens[48:64, band.DRUMS].tolist()
  assert drums[64] & arranger.CRASH


def test_a_melody_waits_and_is_led_in():
  arranged = _arrange()
  intro = arranged.intro
  assert len(intro) == 32  # A tenth of 16 bars, in whole numbers that fit.
  melody = intro[:, band.MELODY]
  # Up the scale to the first note, g.
  assert np.flatnonzero(melody).tolist() == [28, 30]
  assert grid.pitch_of(melody[[28, 30]]).tolist() == [64, 65]
  np.testing.assert_array_equal(
      intro[:, [band.BASS, band.COMPING]],
      _tokens()[:32, [band.BASS, band.COMPING]])
  assert not intro[:, band.DRUMS].any()  # They play in none of theirs.
  assert arranged.intro_louder == -8
  assert not len(_arrange(opens=False).intro)
  assert not len(_arrange(_arranger(waits=0)).intro)
  assert not len(_arrange(builds=False).intro)
  assert not _arrange(_arranger(pickup=0.0)).intro[:, band.MELODY].any()


def test_nobody_is_led_in_by_nobody():
  tokens = _tokens()
  tokens[:, [band.BASS, band.COMPING]] = 0
  assert not len(_arrange(tokens=tokens).intro)


def test_the_middle_is_louder():
  louder = _arrange().louder
  assert louder.shape == (16,)
  assert louder[0] == -6 and louder.max() == louder[9] > 5 and louder[-1] == -4
  assert not _arrange(builds=False).louder.any()


def test_as_much_randomness_whatever_is_arranged():
  left = []
  for model, tokens in ((_arranger(), _tokens()), (
      _arranger(waits=0, fill=-9.0), _tokens() * [1, 1, 0, 1])):
    random = np.random.default_rng(3)
    model.arrange(tokens, (0, 0), random)
    left.append(random.random())
  assert left[0] == left[1]


def test_written_and_read(tmp_path):
  model = _arranger()
  arranger.save(
      tmp_path, model._pieces, {
          name: getattr(model.fills, name)
          for name in ('tokens', 'pairs', 'places', 'lengths')},
      model._pickups, {**model._weights, 'pickup': 1.0}, {})
  again = arranger.load(tmp_path)
  for name in ('tokens', 'louder', 'intro'):
    np.testing.assert_array_equal(
        getattr(_arrange(again), name), getattr(_arrange(model), name))
  (tmp_path / 'config.json').write_text('{"chances": {}}')
  with pytest.raises(ValueError, match='va_magenta_train_arranger writes it'):
    arranger.load(tmp_path)
