"""Copy test: the longest run of notes that a melody shares with a corpus.

A run is the same in every key and wherever it starts: what counts is from each
note to the next the interval, in semitones, and the time, in sixteenths. Short
runs are anybody's; what tells is whether generated melodies share longer ones
with what their models learned from than other people's do.

All that is asked for and all of the corpus are sorted into one suffix array by
prefix doubling (Manber & Myers 1993); the longest common run of a suffix lies
beside it. Some seconds for a million notes.
"""

from collections.abc import Sequence

import numpy as np

_LONGEST_TIME = 64  # Sixteenths; longer is the same.
_LONGEST_INTERVAL = 127


def longest_shared(
    melodies: Sequence[np.ndarray], corpus: Sequence[np.ndarray]
) -> np.ndarray:
  """How many notes in a row each melody shares with any of the corpus.

  Args:
    melodies: notes int [notes, 3] each, as `measures.line` gives them.
    corpus: likewise.

  Returns:
    int [len(melodies)], in notes; 0 if not even one interval is shared.
  """
  if not melodies:
    return np.zeros(0, int)
  symbols, owners = [], []
  for i, notes in enumerate([*melodies, *corpus]):
    # After each piece what is found nowhere else, so that no run goes on.
    symbols.append(np.append(_symbols(notes), -1 - i))
    owners.append(np.full(len(symbols[-1]), i))
  text, owners = np.concatenate(symbols), np.concatenate(owners)
  is_asked = owners < len(melodies)
  longest = max(map(len, melodies))
  ranks = [np.unique(text, return_inverse=True)[1]]  # Of 1, 2, 4, ... symbols.
  while 2 ** len(ranks) < longest:
    ranks.append(_double(ranks[-1], 2 ** (len(ranks) - 1)))
  # By twice as many as the longest melody has: ties are whole melodies.
  order = np.argsort(
      _double(ranks[-1], 2 ** (len(ranks) - 1)), kind='stable')
  shared = np.zeros(len(text), int)
  places = np.arange(len(order))
  for forwards in (True, False):
    # The nearest suffix of the corpus on either side in the sorted list.
    of_corpus = np.where(is_asked[order], -1, places)
    if forwards:
      nearest = np.maximum.accumulate(of_corpus)
    else:
      of_corpus = np.where(of_corpus < 0, len(order), of_corpus)
      nearest = np.minimum.accumulate(of_corpus[::-1])[::-1]
    usable = is_asked[order] & (nearest >= 0) & (nearest < len(order))
    some, other = order[usable], order[nearest[usable]]
    shared[some] = np.maximum(shared[some], _common(ranks, some, other))
  found = np.zeros(len(melodies), int)
  np.maximum.at(found, owners[is_asked], shared[is_asked])
  return np.where(found, found + 1, 0)


def _symbols(notes) -> np.ndarray:
  """From each note to the next one number, not negative: int [notes - 1]."""
  notes = np.asarray(notes, int).reshape(-1, 3)
  times = np.minimum(np.diff(notes[:, 0]), _LONGEST_TIME)
  intervals = np.clip(
      np.diff(notes[:, 2]), -_LONGEST_INTERVAL, _LONGEST_INTERVAL)
  return (intervals + _LONGEST_INTERVAL) * (_LONGEST_TIME + 1) + times


def _double(ranks, length: int) -> np.ndarray:
  """Ranks of what is twice as long, int [n]; beyond the end lies the least."""
  following = np.zeros(len(ranks), np.int64)
  following[:-length or None] = ranks[length:] + 1
  return np.unique(
      ranks.astype(np.int64) * (len(ranks) + 1) + following,
      return_inverse=True)[1]


def _common(ranks, some, other) -> np.ndarray:
  """How many symbols two suffixes share from their beginning: int [n].

  What ends each piece is no part of a run, so that none reaches the text's end.
  """
  length = np.zeros(len(some), int)
  for level in range(len(ranks) - 1, -1, -1):
    length += 2**level * (
        ranks[level][some + length] == ranks[level][other + length])
  return length
