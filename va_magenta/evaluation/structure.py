"""Does a melody come back to what it played, as melodies by people do?

Conventions
-----------
A melody is a pair (steps, pitches), int [notes] each, as `quality.melody_of`
and `quality.of_tokens` give it: sixteenths from the beginning, rising, and MIDI
pitches. A bar has 16 steps. `NUM_BARS` bars are looked at: notes after them are
left out, and bars after a melody's last note are empty.

Bars are compared with bars, each pair by a similarity in [0, 1]. Of two empty
bars it is undefined, NaN, and left out of means. Whether a piece is much like
itself is no merit: what counts is whether a set of pieces is as much so, and
where, as a set of pieces by people (see `quality`).

Metrics
-------
* `rhythm_similarity`, `pitch_similarity`: of each bar with each.
* `at_lag`: mean similarity of bars so many bars apart: 1 is the next, 4 and 8
  are where phrases and periods return.
* `repeated_bars`: share of bars that repeat an earlier one, note for note,
  transposed or not.
* `curve`: mean similarity of a set of pieces by lag.
* `curve_distance`: how far the curves of two sets lie apart; 0 is the same.
* `evaluate`: all of them, and the overlap of the distributions with those of
  people.
"""

from collections.abc import Sequence

import numpy as np

from va_magenta.evaluation import quality
from va_magenta.music.grid import STEPS_PER_BAR

NUM_BARS = 16
LAGS = (1, 2, 4, 8)
Melody = tuple[np.ndarray, np.ndarray]


def _bars(melody: Melody) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Bar, place in the bar and pitch of the notes that are looked at."""
  steps, pitches = (np.asarray(values, int) for values in melody)
  inside = steps < NUM_BARS * STEPS_PER_BAR
  return *np.divmod(steps[inside], STEPS_PER_BAR), pitches[inside]


def _similarity(bars: np.ndarray, kinds: np.ndarray, num_kinds: int):
  """What two bars have in common, of all that either has: [bars, bars].

  Args:
    bars: int [notes], the bar of each note.
    kinds: int [notes], in 0..num_kinds - 1; bars are alike as far as they have
      as many notes of each.
    num_kinds: how many there are.
  """
  counts = np.zeros((NUM_BARS, num_kinds), int)
  np.add.at(counts, (bars, kinds), 1)
  common = np.minimum(counts[:, None], counts).sum(-1)
  either = np.maximum(counts[:, None], counts).sum(-1)
  return np.divide(
      common, either, out=np.full(common.shape, np.nan), where=either > 0)


def rhythm_similarity(melody: Melody) -> np.ndarray:
  """Of the places where notes start (Jaccard): float [bars, bars]."""
  bars, places, _ = _bars(melody)
  return _similarity(bars, places, STEPS_PER_BAR)


def pitch_similarity(melody: Melody) -> np.ndarray:
  """Of the pitch classes, by how many notes each has: float [bars, bars]."""
  bars, _, pitches = _bars(melody)
  return _similarity(bars, pitches % 12, 12)


def at_lag(similarity: np.ndarray, lag: int) -> float:
  """Mean of a similarity [bars, bars] over bars `lag` apart; NaN of none."""
  return _mean(np.diagonal(similarity, lag))


def repeated_bars(melody: Melody) -> float:
  """Share of the bars with notes, but for the first, that repeat another.

  A bar repeats an earlier one if its notes start at the same places and have
  the same intervals from its first.
  """
  bars, places, pitches = _bars(melody)
  seen, repeats = set(), []
  for bar in np.unique(bars):
    own = pitches[bars == bar]
    content = (*places[bars == bar], *(own - own[0]))
    repeats.append(content in seen)
    seen.add(content)
  return _mean(np.array(repeats[1:], float))


_SIMILARITIES = {'rhythm': rhythm_similarity, 'pitch': pitch_similarity}
KINDS = tuple(_SIMILARITIES)


def curve(melodies: Sequence[Melody], kind: str) -> np.ndarray:
  """Mean similarity of many melodies by lag, float [NUM_BARS - 1].

  Args:
    melodies: at least one.
    kind: one of `KINDS`.
  """
  by_melody = np.array([
      [at_lag(similarity, lag) for lag in range(1, NUM_BARS)]
      for similarity in map(_SIMILARITIES[kind], melodies)])
  return np.array([_mean(of_lag) for of_lag in by_melody.T])


def curve_distance(some: np.ndarray, other: np.ndarray) -> float:
  """Mean distance of two curves over lags, in [0, 1]; see `curve`."""
  return _mean(np.abs(some - other))


def measures(melody: Melody) -> dict[str, float]:
  """What is measured of one melody: 'rhythm_1', ..., 'repeated_bars'.

  'rhythm_1' is the similarity of rhythm at lag 1; NaN where undefined.
  """
  found = {}
  for kind, function in _SIMILARITIES.items():
    similarity = function(melody)
    found |= {f'{kind}_{lag}': at_lag(similarity, lag) for lag in LAGS}
  return {**found, 'repeated_bars': repeated_bars(melody)}


def evaluate(
    melodies: Sequence[Melody], real: Sequence[Melody] | None = None
) -> dict[str, float]:
  """Means of all `measures`, and how near they are to those of people.

  Args:
    melodies: at least one.
    real: others, by people; or None.

  Returns:
    'rhythm_1', ..., 'repeated_bars'; and with `real` 'rhythm_1/overlap', ...,
    the overlap of the distributions (see `quality.overlap`), and
    'rhythm_distance' and 'pitch_distance', see `curve_distance`.
  """
  of_melodies = _table(melodies)
  found = {name: _mean(values) for name, values in of_melodies.items()}
  if real is not None:
    for name, values in _table(real).items():
      found[f'{name}/overlap'] = quality.overlap(of_melodies[name], values)
    for kind in KINDS:
      found[f'{kind}_distance'] = curve_distance(
          curve(melodies, kind), curve(real, kind))
  return found


def _table(melodies: Sequence[Melody]) -> dict[str, np.ndarray]:
  rows = [measures(melody) for melody in melodies]
  return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _mean(values: np.ndarray) -> float:
  """Of what is defined; NaN of nothing."""
  values = values[~np.isnan(values)]
  return float(values.mean()) if len(values) else float('nan')
