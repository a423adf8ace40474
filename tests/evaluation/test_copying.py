import numpy as np

from va_magenta.evaluation import copying


def _melody(pitches, times=None):
  times = np.ones(len(pitches), int) if times is None else times
  starts = np.append(0, np.cumsum(times))[:len(pitches)]
  return np.stack([starts, np.ones(len(pitches), int), pitches], 1)


def _random(rng, length):
  return _melody(
      60 + np.cumsum(rng.integers(-1, 2, length)), rng.integers(1, 3, length))


def _by_hand(melody, corpus):
  """The longest common run, by comparing everything with everything."""
  some = list(zip(np.diff(melody[:, 0]), np.diff(melody[:, 2]), strict=True))
  best = 0
  for piece in corpus:
    other = list(zip(np.diff(piece[:, 0]), np.diff(piece[:, 2]), strict=True))
    for i in range(len(some)):
      for j in range(len(other)):
        length = 0
        while (i + length < len(some) and j + length < len(other)
               and some[i + length] == other[j + length]):
          length += 1
        best = max(best, length)
  return best + 1 if best else 0


def test_it_finds_what_comparing_everything_finds():
  rng = np.random.default_rng(0)
  for _ in range(20):
    melodies = [_random(rng, n) for n in rng.integers(0, 30, 4)]
    corpus = [_random(rng, n) for n in rng.integers(0, 40, 5)]
    np.testing.assert_array_equal(
        copying.longest_shared(melodies, corpus),
        [_by_hand(melody, corpus) for melody in melodies])


def test_a_copy_is_found_in_another_key_and_place():
  rng = np.random.default_rng(1)
  theirs = [_random(rng, 50) for _ in range(3)]
  copied = theirs[1][10:40] + [7, 0, 5]
  ours = np.concatenate([_melody([90, 30]), copied + [30, 0, 0]])
  assert copying.longest_shared([ours], theirs) == [30]


def test_a_run_ends_where_a_piece_does():
  first, second = _melody([60, 62, 64]), _melody([60, 61, 63])
  both = _melody([60, 62, 64, 70, 71, 73])
  np.testing.assert_array_equal(
      copying.longest_shared([both], [first, second]), [3])


def test_long_repetition_is_measured_to_its_end():
  same = _melody(np.full(300, 60))
  assert copying.longest_shared([same[:256]], [same]) == [256]
  assert copying.longest_shared([same], [same[:200]]) == [200]


def test_nothing_to_share():
  assert copying.longest_shared([], [_melody([60, 62])]).shape == (0,)
  assert copying.longest_shared([_melody([60, 62])], []) == [0]
