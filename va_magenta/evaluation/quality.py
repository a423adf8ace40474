"""Are generated melodies like melodies that people wrote?

Each measure is a number of a piece, taken from the notes on the grid of
sixteenths. What matters is how a set of generated pieces compares with a set of
real ones, as Yang & Lerch argue ("On the evaluation of generative models in
music", Neural Computing and Applications 2020): more repetition, or more notes
in key, is not better as such. So `compare` gives means, and how far the two
distributions overlap.

Measures
--------
* `in_key`: largest share of notes that one major (or natural minor) scale
  holds. 7 of 12 pitch classes at random give about .75.
* `leaps`: share of intervals wider than a perfect fourth.
* `repetition`: share of notes that repeat the pitch before.
* `pitch_class_entropy`, `duration_entropy`: of the piece's pitch classes and of
  the times from a note to the next (in sixteenths), in bits.
* `self_similarity`: mean over pairs of bars of the share that they have in
  common of all the notes (place in the bar, pitch) that either has.
* `notes_per_bar`.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from va_magenta.music import grid

_FOURTH = 5  # semitones
_MAJOR = np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11))
_SCALES = np.stack([np.roll(_MAJOR, tonic) for tonic in range(12)])
_NUM_BINS = 20


def melody_of(sequence) -> tuple[np.ndarray, np.ndarray]:
  """When notes start and how high they are.

  Args:
    sequence: a `note_seq.NoteSequence` with one tempo; of a band the first
      instrument that is no drum, and of notes that start together the highest
      counts.

  Returns:
    Sixteenths from the beginning, and MIDI pitches: int [notes] each, in order.
  """
  tempo_qpm = sequence.tempos[0].qpm if sequence.tempos else 120.0
  highest = {}
  notes = [note for note in sequence.notes if not note.is_drum]
  first = min((note.instrument for note in notes), default=0)
  for note in notes:
    if note.instrument == first:
      step = round(note.start_time * tempo_qpm / 15)
      highest[step] = max(note.pitch, highest.get(step, 0))
  steps = sorted(highest)
  return (np.array(steps, int), np.array([highest[s] for s in steps], int))


def of_tokens(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """As `melody_of`, of a row [steps] of `music.grid`'s tokens."""
  steps, _, pitches = grid.line(tokens).T
  return steps, pitches


def measures(steps: np.ndarray, pitches: np.ndarray) -> dict[str, float]:
  """Every measure of one piece.

  Args:
    steps: int [notes], rising; see `melody_of`.
    pitches: int [notes].

  Returns:
    Name to number; NaN where a piece is too short to tell.
  """
  classes = np.bincount(pitches % 12, minlength=12)
  intervals = np.abs(np.diff(pitches))
  num_bars = int(steps[-1]) // grid.STEPS_PER_BAR + 1 if len(steps) else 0
  return {
      'in_key': _share((_SCALES @ classes).max(), len(pitches)),
      'leaps': _share((intervals > _FOURTH).sum(), len(intervals)),
      'repetition': _share((intervals == 0).sum(), len(intervals)),
      'pitch_class_entropy': _entropy(classes),
      'duration_entropy': _entropy(
          np.unique(np.diff(steps), return_counts=True)[1]),
      'self_similarity': _self_similarity(steps, pitches, num_bars),
      'notes_per_bar': _share(len(pitches), num_bars),
  }


def _share(part, whole) -> float:
  return float(part / whole) if whole else float('nan')


def _entropy(counts) -> float:
  """In bits; NaN of nothing."""
  total = counts.sum()
  if not total:
    return float('nan')
  shares = counts[counts > 0] / total
  return float(-(shares * np.log2(shares)).sum()) + 0.0  # No '-0.0'.


def _self_similarity(steps, pitches, num_bars: int) -> float:
  bars = [set() for _ in range(num_bars)]
  for step, pitch in zip(steps.tolist(), pitches.tolist(), strict=True):
    bars[step // grid.STEPS_PER_BAR].add((step % grid.STEPS_PER_BAR, pitch))
  shares = [
      len(bars[i] & bars[j]) / len(bars[i] | bars[j])
      for i in range(num_bars) for j in range(i) if bars[i] | bars[j]]
  return float(np.mean(shares)) if shares else float('nan')


def distinct(melodies: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
  """Share of pieces that are different; transposed a piece is the same."""
  pieces = [
      (tuple(steps), tuple(pitches - pitches[:1]))
      for steps, pitches in melodies]
  return _share(len(set(pieces)), len(pieces))


def table(melodies: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict:
  """`measures` of many pieces: name to float [pieces]."""
  rows = [measures(*melody) for melody in melodies]
  return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def overlap(some: np.ndarray, others: np.ndarray) -> float:
  """How far two distributions overlap: 1 is the same, 0 is nowhere.

  Args:
    some: [n] numbers, NaN is left out.
    others: [m] numbers.

  Returns:
    The area under both histograms, of `_NUM_BINS` bins from the least number to
    the largest.
  """
  some, others = some[~np.isnan(some)], others[~np.isnan(others)]
  if not len(some) or not len(others):
    return float('nan')
  both = np.concatenate([some, others])
  bins = np.linspace(both.min(), both.max() + 1e-9, _NUM_BINS + 1)
  shares = [
      np.histogram(side, bins)[0] / len(side) for side in (some, others)]
  return float(np.minimum(*shares).sum())


def compare(melodies, real=None) -> dict[str, float]:
  """Means of all measures, and against real melodies their overlap.

  Args:
    melodies: pairs as `melody_of` gives them, at least one.
    real: further ones, by people; or None.

  Returns:
    'in_key', ..., 'distinct'; and with `real` 'in_key/overlap', ...
  """
  of_melodies = table(melodies)
  found = {
      name: float(np.nanmean(values)) if not np.isnan(values).all()
      else float('nan') for name, values in of_melodies.items()}
  found['distinct'] = distinct(melodies)
  if real is not None:
    for name, values in table(real).items():
      found[f'{name}/overlap'] = overlap(of_melodies[name], values)
  return found
