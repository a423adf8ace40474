"""The critic's data: rated melodies, the teacher, and pairs that it labels."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from va_magenta.music.grid import FIRST_PITCH, STEPS_PER_BAR
from va_magenta.music.midi import read_notes
from va_magenta.training import rated, symbolic
from va_magenta.training.critic.augment import (
  augment,
  same_for_all_voices,
  transpose,
)
from va_magenta.training.critic.voices import features_of_many, lines_of

# Of a rated melody, so many excerpts of so many bars.
EXCERPTS = {2: 2, 4: 2, 8: 1}
WINDOW_BARS = 2  # What the corpus consists of.

# From features [n, features] to points [n, 2].
Opinion = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class RatedMelodies:
  """Melodies that have their clips' ratings; lists and rows in one order.

  Attributes:
    melodies: tokens, each int16 [steps, voices].
    ratings: float64 [n, 2], valence and arousal in [-1, 1].
    groups: int [n]; clips of one group share material.
    is_whole: bool [n]; False for an excerpt.
  """

  melodies: list[np.ndarray]
  ratings: np.ndarray
  groups: np.ndarray
  is_whole: np.ndarray

  def __getitem__(self, rows: np.ndarray) -> 'RatedMelodies':
    return RatedMelodies(
        [self.melodies[i] for i in np.flatnonzero(rows)], self.ratings[rows],
        self.groups[rows], self.is_whole[rows])


def read_eimg(
    folder: pathlib.Path, num_voices: int, seed: int) -> RatedMelodies:
  """`lines_of` EIMG's clips, and excerpts of these.

  Args:
    folder: holds labels.csv and midi/.
    num_voices: of each.
    seed: of the choice of excerpts.

  Raises:
    OSError, ValueError: if a file is missing or is not what it should be.
  """
  rng = np.random.default_rng(seed)
  found = rated.read_eimg(folder)
  melodies, clips = [], []
  for clip, path in enumerate(found.values):
    whole = lines_of(read_notes(path), num_voices)
    cuts = [whole]
    for num_bars, most in EXCERPTS.items():
      num_starts = len(whole) // STEPS_PER_BAR - num_bars + 1
      for bar in rng.permutation(max(num_starts, 0))[:most]:
        cut = whole[STEPS_PER_BAR * bar:STEPS_PER_BAR * (bar + num_bars)]
        if np.count_nonzero(cut[:, 0] >= FIRST_PITCH) > 1:
          cuts.append(cut)
    melodies += cuts
    clips += [clip] * len(cuts)
  return RatedMelodies(
      melodies, found.va[clips], found.groups[clips],
      np.diff(clips, prepend=-1) > 0)


def teach(
    data: RatedMelodies, features: np.ndarray, seed: int) -> Opinion:
  """A student of `training.symbolic` that reads melodies played plainly.

  Args:
    data: n melodies.
    features: float32 [n, features], of these.
    seed: of what is random in it.

  Returns:
    From features [n, features] to expected ratings, float64 [n, 2].
  """
  student = symbolic.Student.fit(
      symbolic.Examples(
          features, data.ratings, data.groups,
          np.where(data.is_whole, 'melody', 'melody excerpt')), seed)
  mean = data.ratings.mean(axis=0)

  def opinion(features):
    is_silent = np.isnan(features).all(axis=1, keepdims=True)
    return np.where(is_silent, mean, student.regress(features))

  return opinion


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Melodies of one length, and what was made of each.

  Attributes:
    tokens: int16 [pairs, 2, steps, voices].
    piece: of the corpus, int [pairs].
    va: the teacher's labels, [pairs, 2, 2].
  """

  tokens: np.ndarray
  piece: np.ndarray
  va: np.ndarray


def draw(
    tokens: np.ndarray, piece: np.ndarray, num_windows: int, num: int,
    rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Melodies of several windows of one piece, one after the other.

  Args:
    tokens: int16 [n, steps, voices], windows.
    piece: int [n], the piece that a window was cut from, in order.
    num_windows: in each melody; they may repeat, as music does.
    num: of melodies; fewer if the corpus has not that many windows.
    rng: numpy Generator.

  Returns:
    int16 [num, num_windows * steps, voices], and of each its piece, int [num].
  """
  first = rng.permutation(len(tokens))[:num]
  start = np.searchsorted(piece, piece[first], 'left')
  end = np.searchsorted(piece, piece[first], 'right')
  others = rng.integers(
      start[:, None], end[:, None], (len(first), num_windows - 1))
  rows = np.concatenate([first[:, None], others], axis=1)
  return tokens[rows].reshape(len(rows), -1, tokens.shape[2]), piece[first]


def make_pairs(
    tokens: np.ndarray, piece: np.ndarray, num_pairs: dict[int, int],
    teacher: Opinion, pool, rng: np.random.Generator, most: int
) -> dict[int, Pairs]:
  """Labelled pairs by number of bars.

  Args:
    tokens: int16 [n, steps, voices], windows of the corpus.
    piece: int [n], the piece of each, in order.
    num_pairs: how many by number of bars.
    teacher: labels them.
    pool: `processes.Pool` in which features are computed.
    rng: numpy Generator.
    most: melodies are transposed by up to so many semitones.
  """
  drawn = {}
  for num_bars, num in num_pairs.items():
    melodies, pieces = draw(
        tokens, piece, num_bars // WINDOW_BARS, num, rng)
    before = [
        same_for_all_voices(transpose, melody, rng, most)
        for melody in melodies]
    after = [augment(melody, rng) for melody in before]
    drawn[num_bars] = np.stack([before, after], axis=1), pieces
  made = {}
  for num_bars, (tokens, pieces) in drawn.items():
    features = features_of_many(
        tokens.reshape(-1, *tokens.shape[2:]), pool,
        f'labelling melodies of {num_bars} bars')
    made[num_bars] = Pairs(
        tokens, pieces, teacher(features).reshape(-1, 2, 2))
  return made
