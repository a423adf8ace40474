"""Measures of music on the grid of sixteenths: what tells it from people's.

A piece is a band: tokens [steps, 4] of melody, bass, drums and comping, and a
chord every half bar (see `VOICES`); of a melody alone, its notes will do. Each
measure is one number of one piece, the same in every key, NaN where the piece
has nothing to measure. None says that music is good: what counts is whether a
set of pieces is spread as a set of pieces by people is (Yang & Lerch, "On the
evaluation of generative models in music", Neural Computing and Applications
2020).

What chooses among pieces must not be what judges them. So there are two sets:
a chooser sees `SELECTION` and nothing else; a judge sees `JUDGE`, which is all,
or `HELD_BACK`, which is all that no chooser has seen. `CLASSIC` are the
measures of melodies that figures have been given for from the first; the
chooser sees half of them.

Measures
--------
Of the melody, in `CLASSIC`:
* `range` (semitones), `leaps_beyond_fifth`, `leaps_beyond_octave`, `steps`,
  `repeated_notes`: of the intervals from a note to the next.
* `in_key`: share of the time that the notes of the likeliest key sound
  (Krumhansl & Kessler's profiles).
* `sounding`: share of the time; `longest` note, in quarters; `notes_per_bar`.
* `off_eighths`, `on_beat`: share of the notes that start there.
* `returning_bars`, `returning_rhythms`: share of the bars, but for the first,
  that are as an earlier one, note for note; or in their rhythm.
* `similarity`, `rhythm_similarity`: what two bars have in common of what either
  has, mean over pairs.
* `pitch_entropy` of the pitch classes, bits; `duration_spread`, octaves.

Held back of it:
* `turns`: share of the moves after which the melody turns around;
  `leaps_resolved`: share of the leaps that are followed by a step back.
* `interval_entropy`, `rhythm_entropy` (from a note to the next), bits.
* `syncopation`: share of the notes off the beat that are held over the next.
* `longest_rest`, quarters; `density_spread`: of the notes a bar.
* `similarity_4`, `similarity_8`: of rhythms four and eight bars apart.
* `repeated_figures`: share of the figures of four notes that came before,
  transposed or not.
* `tritones`: share of the intervals.

Of bass, comping, drums and chords: see `accompaniment`. Of all together: see
`whole`.
"""

import numpy as np

from va_magenta.music import chords as chord_names
from va_magenta.music.band import BASS, COMPING, DRUMS, MELODY, VOICES
from va_magenta.music.grid import (
  FIRST_PITCH,
  STEPS_PER_BAR,
  STEPS_PER_CHORD,
  line,
)

MIN_NOTES = 8  # A melody of fewer is not measured.
_KICK, _SNARE, _CLOSED_HAT, _OPEN_HAT, _CRASH, _RIDE = 0, 1, 2, 3, 7, 8
_CONSONANCES = np.isin(np.arange(12), (0, 3, 4, 7, 8, 9))  # Above the bass.


_NUM_QUALITIES = len(chord_names.QUALITIES)
# Whether a chord has a pitch class: [97, 12].
_CHORDS = np.array([
    np.isin(np.arange(12), chord_names.pitch_classes(chord))
    for chord in range(chord_names.NUM_CHORDS)])
# Of major and minor; Krumhansl & Kessler 1982.
_PROFILES = np.array([
    [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17]])
# Minor has both its sevenths.
_SCALES = np.array([
    np.isin(np.arange(12), (0, 2, 4, 5, 7, 9, 11)),
    np.isin(np.arange(12), (0, 2, 3, 5, 7, 8, 10, 11))])


def _in_all_keys(of_modes: np.ndarray) -> np.ndarray:
  """[24, 12] of [2, 12]: row 2 * tonic + mode."""
  return np.stack([
      np.roll(of_mode, tonic) for tonic in range(12) for of_mode in of_modes])


_KEY_SCALES = _in_all_keys(_SCALES)
_KEY_PROFILES = _in_all_keys(
    (_PROFILES - _PROFILES.mean(1, keepdims=True))
    / _PROFILES.std(1, keepdims=True))

_CLASSIC = (
    'range', 'leaps_beyond_fifth', 'leaps_beyond_octave', 'steps',
    'repeated_notes', 'in_key', 'sounding', 'longest', 'notes_per_bar',
    'off_eighths', 'on_beat', 'returning_bars', 'returning_rhythms',
    'similarity', 'rhythm_similarity', 'pitch_entropy', 'duration_spread')
_MELODY_SELECTION = (
    'range', 'leaps_beyond_fifth', 'steps', 'in_key', 'notes_per_bar',
    'off_eighths', 'returning_rhythms', 'similarity', 'duration_spread')
_MELODY_HELD_BACK = (
    'turns', 'leaps_resolved', 'interval_entropy', 'rhythm_entropy',
    'syncopation', 'longest_rest', 'density_spread', 'similarity_4',
    'similarity_8', 'repeated_figures', 'tritones')
CLASSIC = tuple('melody_' + name for name in _CLASSIC)
# Without `chords_` and others that need more than the melody.
MELODY_JUDGE = CLASSIC + tuple('melody_' + name for name in _MELODY_HELD_BACK)
ACCOMPANIMENT_SELECTION = (
    'melody_chord_tones', 'bass_notes_per_bar', 'bass_off_beat', 'bass_roots',
    'bass_range', 'bass_leaps_beyond_fifth', 'bass_returning_bars',
    'comping_onsets_per_bar', 'comping_off_beat', 'comping_struck',
    'comping_returning_bars', 'drums_hits_per_bar', 'drums_kick_on_1_and_3',
    'drums_snare_on_2_and_4', 'drums_off_eighths', 'drums_returning_bars',
    'chords_changes_per_bar', 'chords_distinct', 'chords_returning')
ACCOMPANIMENT_HELD_BACK = (
    'melody_above_bass', 'melody_bass_consonance', 'bass_chord_tones',
    'bass_syncopation', 'bass_sounding', 'bass_steps', 'bass_repeated_notes',
    'bass_rhythm_similarity', 'bass_with_kick', 'bass_approaches',
    'comping_syncopation', 'comping_rhythm_similarity', 'comping_with_bass',
    'drums_kinds_per_bar', 'drums_hat_regularity', 'drums_similarity',
    'drums_similarity_1', 'drums_crashes_on_1', 'drums_syncopated_kick',
    'chords_in_key', 'chords_by_fifths', 'chords_sevenths', 'chords_minor',
    'chords_returning_4', 'chords_none')
ACCOMPANIMENT_JUDGE = ACCOMPANIMENT_SELECTION + ACCOMPANIMENT_HELD_BACK
# What others report of all voices together; no forest is shown it.
WHOLE = ('pitch_class_entropy', 'groove_similarity', 'empty_bars')
SELECTION = tuple(
    'melody_' + name for name in _MELODY_SELECTION) + ACCOMPANIMENT_SELECTION
JUDGE = MELODY_JUDGE + ACCOMPANIMENT_JUDGE
HELD_BACK = tuple(name for name in JUDGE if name not in SELECTION)


def of_band(tokens: np.ndarray, chords: np.ndarray) -> dict[str, float]:
  """All measures of a piece: `JUDGE`, `WHOLE` and 'melody_mean_pitch'.

  Args:
    tokens: ints [steps, 4] in whole bars; see `VOICES`.
    chords: ints [half bars]; see `VOICES`.

  Raises:
    ValueError: if the two are not whole bars, or not as many.
  """
  tokens, chords = np.asarray(tokens), np.asarray(chords)
  if tokens.ndim != 2 or tokens.shape[1] != len(VOICES) or (
      not len(tokens) or len(tokens) % STEPS_PER_BAR):
    raise ValueError(
        f'a band is [steps, {len(VOICES)}] tokens in whole bars of '
        f'{STEPS_PER_BAR} steps, got {tokens.shape}')
  if chords.shape != (len(tokens) // STEPS_PER_CHORD,):
    raise ValueError(
        f'{len(tokens)} steps have {len(tokens) // STEPS_PER_CHORD} chords, '
        f'one every half bar, got {chords.shape}')
  return {
      **melody(line(tokens[:, MELODY]), len(tokens) // STEPS_PER_BAR),
      **accompaniment(tokens, chords), **whole(tokens, chords)}


def playing(tokens: np.ndarray) -> np.ndarray:
  """Which voices play, bool [4]: those that start something in half the bars.

  Args:
    tokens: ints [steps, 4] in whole bars; see `VOICES`.
  """
  return (_onsets(tokens).reshape(-1, STEPS_PER_BAR, len(VOICES)).any(1).mean(0)
          >= 0.5)


def _onsets(tokens) -> np.ndarray:
  """Where each voice starts something: bool [steps, 4]."""
  tokens = np.asarray(tokens)
  least = np.full(len(VOICES), FIRST_PITCH)
  least[DRUMS] = 1
  return tokens >= least


def melody(notes: np.ndarray, num_bars: int = 16) -> dict[str, float]:
  """Measures of a melody: `MELODY_JUDGE`, and 'melody_mean_pitch'.

  Args:
    notes: ints [notes, 3] of start, length (sixteenths) and MIDI pitch, one at
      a time; `line` gives them of tokens.
    num_bars: how many bars are looked at; what starts after them is left out.

  Returns:
    By name; all NaN if there are fewer than `MIN_NOTES` notes.
  """
  notes = np.asarray(notes, int).reshape(-1, 3)
  notes = notes[np.argsort(notes[:, 0], kind='stable')]
  notes = notes[notes[:, 0] < num_bars * STEPS_PER_BAR]
  if len(notes) < MIN_NOTES:
    return dict.fromkeys(
        (*MELODY_JUDGE, 'melody_mean_pitch'), float('nan'))
  starts, lengths, pitches = notes.T
  intervals = np.diff(pitches)
  sizes = np.abs(intervals)
  gaps = np.diff(starts)
  by_class = np.bincount(pitches % 12, weights=lengths, minlength=12)
  key = np.argmax(_KEY_PROFILES @ (by_class - by_class.mean()))
  onsets = np.zeros(num_bars * STEPS_PER_BAR, bool)
  onsets[starts] = True
  rhythms = onsets.reshape(num_bars, STEPS_PER_BAR)
  bars, places = np.divmod(starts, STEPS_PER_BAR)
  contents = np.zeros(
      (num_bars, STEPS_PER_BAR, np.ptp(pitches) + 1), bool)
  contents[bars, places, pitches - pitches.min()] = True
  rhythm_similarity = _similarity(rhythms)
  ends = starts + lengths
  rests = np.diff(np.append(starts, num_bars * STEPS_PER_BAR)) - lengths
  moves = intervals[intervals != 0]
  is_leap = sizes[:-1] > 4
  is_resolved = (sizes[1:] <= 2) & (intervals[:-1] * intervals[1:] < 0)
  figures = np.stack([
      *(intervals[i:len(intervals) - 2 + i] for i in range(3)),
      *(gaps[i:len(gaps) - 2 + i] for i in range(3))], 1)
  found = {
      'range': np.ptp(pitches),
      'leaps_beyond_fifth': (sizes > 7).mean(),
      'leaps_beyond_octave': (sizes > 12).mean(),
      'steps': ((sizes > 0) & (sizes <= 2)).mean(),
      'repeated_notes': (sizes == 0).mean(),
      'in_key': by_class[_KEY_SCALES[key]].sum() / by_class.sum(),
      'sounding': min(lengths.sum() / len(onsets), 1),
      'longest': lengths.max() / 4,
      'notes_per_bar': len(notes) / num_bars,
      'off_eighths': (starts % 2 == 1).mean(),
      'on_beat': (starts % 4 == 0).mean(),
      'returning_bars': _returning(contents, rhythms.any(1)),
      'returning_rhythms': _returning(rhythms, rhythms.any(1)),
      'similarity': _mean_of_pairs(_similarity(contents)),
      'rhythm_similarity': _mean_of_pairs(rhythm_similarity),
      'pitch_entropy': _entropy(np.bincount(pitches % 12)),
      'duration_spread': np.log2(np.maximum(lengths, 1)).std(),
      'turns': _mean(np.diff(np.sign(moves)) != 0),
      'leaps_resolved': _mean(is_resolved[is_leap]),
      'interval_entropy': _entropy(np.bincount(sizes)),
      'rhythm_entropy': _entropy(np.bincount(gaps)),
      'syncopation': _syncopation(onsets),
      'longest_rest': max(rests.max(), starts[0], len(onsets) - ends[-1]) / 4,
      'density_spread': rhythms.sum(1).std(),
      'similarity_4': _mean(np.diagonal(rhythm_similarity, 4)),
      'similarity_8': _mean(np.diagonal(rhythm_similarity, 8)),
      'repeated_figures': 1 - _distinct(figures) / len(figures),
      'tritones': (sizes % 12 == 6).mean(),
      'mean_pitch': pitches.mean(),
  }
  return {'melody_' + name: float(value) for name, value in found.items()}


def accompaniment(tokens: np.ndarray, chords: np.ndarray) -> dict[str, float]:
  """Measures of what accompanies a melody: `ACCOMPANIMENT_JUDGE`.

  Args:
    tokens: ints [steps, 4] in whole bars; see `VOICES`.
    chords: ints [half bars]; see `VOICES`.

  Returns:
    By name; NaN of voices that do not play.
    * `melody_chord_tones`, `bass_chord_tones`, `bass_roots`: share of the
      strong beats (first and third) on which melody or bass sound that have a
      tone of the chord, or its root.
    * `melody_above_bass`, semitones on beats on which both sound;
      `melody_bass_consonance`: share of these with thirds, fifths, sixths or
      octaves.
    * `bass_...`: as those of the melody; `off_beat`: share of its notes;
      `bass_with_kick`: share of its notes that start with a bass drum;
      `bass_approaches`: share of its notes before a new root, that lie one or
      two semitones from it.
    * `comping_...`: `struck`: share of whole chords among its onsets;
      `with_bass`: share of its onsets that start with a note of the bass.
    * `drums_...`: `hits_per_bar`; `kick_on_1_and_3`, `snare_on_2_and_4`,
      `crashes_on_1`: share of these beats; `hat_regularity`: share of the
      commonest distance among strokes of hi-hats and ride; `similarity_1`: of
      bars next to each other; `syncopated_kick`.
    * `chords_...`: `returning`, `returning_4`: share of stretches of two and of
      four bars that came before; `in_key`: share of half bars whose
      chord lies in the key that fits most of them; `by_fifths`: share of the
      changes whose root moves by a fifth or fourth.
  """
  tokens, chords = np.asarray(tokens), np.asarray(chords)
  return {
      **_of_bass(tokens, chords), **_of_comping(tokens), **_of_drums(tokens),
      **_of_chords(chords)}


def whole(tokens: np.ndarray, chords: np.ndarray) -> dict[str, float]:
  """Measures of all voices together: `WHOLE`.

  The first two are Wu & Yang's ("The Jazz Transformer on the front line",
  ISMIR 2020), on sixteenths; XMusic (Tian et al. 2025) reports all three.

  Args:
    tokens: ints [steps, 4] in whole bars; see `VOICES`.
    chords: ints [half bars]; see `VOICES`.

  Returns:
    `pitch_class_entropy`, bits, of all notes that start but for drums (a tone
    of comping's counts as its chord's); `groove_similarity`: share of the
    places of a bar that two bars agree on whether something starts there, mean
    over pairs; `empty_bars`: share of bars in which nothing does.
  """
  tokens, chords = np.asarray(tokens), np.asarray(chords)
  steps = np.arange(len(tokens))
  counts = sum(
      np.bincount(line(tokens[:, voice])[:, 2] % 12, minlength=12)
      for voice in (MELODY, BASS))
  comped = chords[steps // STEPS_PER_CHORD]
  struck, single = (
      _CHORDS[comped[of_kind]] for of_kind in (
          tokens[:, COMPING] == 2, tokens[:, COMPING] > 2))
  counts = counts + struck.sum(0) + (
      single / np.maximum(single.sum(1, keepdims=True), 1)).sum(0)
  rhythms = _onsets(tokens).any(1).reshape(-1, STEPS_PER_BAR)
  differ = (rhythms[:, None] != rhythms).mean(-1)
  return {
      'pitch_class_entropy': _entropy(counts) if counts.any() else (
          float('nan')),
      'groove_similarity': 1 - _mean_of_pairs(differ),
      'empty_bars': _mean(~rhythms.any(1))}


def _of_bass(tokens, chords) -> dict[str, float]:
  upper, lower = (_sounding(line(tokens[:, voice]), len(tokens))
                  for voice in (MELODY, BASS))
  strong = np.arange(0, len(tokens), STEPS_PER_CHORD)
  beats = np.arange(0, len(tokens), 4)
  both = beats[(upper[beats] > 0) & (lower[beats] > 0)]
  above = upper[both] - lower[both]
  found = {
      'melody_chord_tones': _chord_tones(upper[strong], chords),
      'melody_above_bass': _mean(above),
      'melody_bass_consonance': _mean(_CONSONANCES[above % 12]),
  }
  notes = line(tokens[:, BASS])
  names = [name for name in ACCOMPANIMENT_JUDGE if name.startswith('bass_')]
  if len(notes) < 2:
    return {**found, **dict.fromkeys(names, float('nan'))}
  starts, lengths, pitches = notes.T
  sizes = np.abs(np.diff(pitches))
  onsets = np.zeros(len(tokens), bool)
  onsets[starts] = True
  rhythms = onsets.reshape(-1, STEPS_PER_BAR)
  contents = np.zeros(len(tokens), int)
  contents[starts] = pitches
  roots = (chords.astype(int) - 1) // _NUM_QUALITIES
  here = lower[strong]
  is_sounding = (here > 0) & (chords > 0)
  struck = (tokens[:, DRUMS].astype(int) >> _KICK & 1).astype(bool)
  # A note that leads to one which strikes another root on a strong beat.
  halves = starts // STEPS_PER_CHORD
  leads = (starts[1:] % STEPS_PER_CHORD == 0) & (
      chords[halves[1:]] > 0) & (roots[halves[1:]] != roots[halves[1:] - 1]) & (
          (pitches[1:] - roots[halves[1:]]) % 12 == 0)
  return {
      **found,
      'bass_notes_per_bar': len(notes) / len(rhythms),
      'bass_off_beat': _mean(starts % 4 != 0),
      'bass_roots': _mean((here % 12 == roots)[is_sounding]),
      'bass_chord_tones': _chord_tones(here, chords),
      'bass_range': float(np.ptp(pitches)),
      'bass_leaps_beyond_fifth': _mean(sizes > 7),
      'bass_steps': _mean((sizes > 0) & (sizes <= 2)),
      'bass_repeated_notes': _mean(sizes == 0),
      'bass_returning_bars': _returning(
          contents.reshape(rhythms.shape), rhythms.any(1)),
      'bass_rhythm_similarity': _mean_of_pairs(_similarity(rhythms)),
      'bass_syncopation': _syncopation(onsets),
      'bass_sounding': float(lengths.sum() / len(tokens)),
      'bass_with_kick': _mean(struck[starts]) if struck.any() else (
          float('nan')),
      'bass_approaches': _mean(((sizes > 0) & (sizes <= 2))[leads]),
  }


def _of_comping(tokens) -> dict[str, float]:
  values = tokens[:, COMPING].astype(int)
  bars = np.where(values >= 2, values, 0).reshape(-1, STEPS_PER_BAR)
  onsets = values >= 2
  rhythms = onsets.reshape(bars.shape)
  starts = np.flatnonzero(onsets)
  bass = tokens[:, BASS] >= FIRST_PITCH
  found = {
      'onsets_per_bar': len(starts) / len(bars) if len(starts) else (
          float('nan')),
      'off_beat': _mean(starts % 4 != 0),
      'struck': _mean(values[starts] == 2),
      'returning_bars': _returning(bars, rhythms.any(1)) if len(starts) else (
          float('nan')),
      'rhythm_similarity': _mean_of_pairs(_similarity(rhythms)),
      'syncopation': _syncopation(onsets),
      'with_bass': _mean(bass[starts]) if bass.any() else float('nan'),
  }
  return {'comping_' + name: value for name, value in found.items()}


def _of_drums(tokens) -> dict[str, float]:
  sets = tokens[:, DRUMS].astype(int)
  struck = (sets[:, None] >> np.arange(9) & 1).astype(bool)
  bars = struck.reshape(-1, STEPS_PER_BAR, 9)
  names = [name for name in ACCOMPANIMENT_JUDGE if name.startswith('drums_')]
  if not sets.any():
    return dict.fromkeys(names, float('nan'))
  similarity = _similarity(bars)
  steps = np.flatnonzero(sets)
  hats = np.flatnonzero(struck[:, [_CLOSED_HAT, _OPEN_HAT, _RIDE]].any(1))
  distances = np.bincount(np.diff(hats)) if len(hats) > 1 else np.zeros(1)
  found = {
      'hits_per_bar': float(struck.sum() / len(bars)),
      'kick_on_1_and_3': _mean(bars[:, [0, 8], _KICK].ravel()),
      'snare_on_2_and_4': _mean(bars[:, [4, 12], _SNARE].ravel()),
      'off_eighths': _mean(steps % 2 == 1),
      'returning_bars': _returning(bars, bars.any((1, 2))),
      'kinds_per_bar': float(bars.any(1).sum(1).mean()),
      'hat_regularity': float(distances.max() / distances.sum())
                        if distances.any() else float('nan'),
      'similarity': _mean_of_pairs(similarity),
      'similarity_1': _mean(np.diagonal(similarity, 1)),
      'crashes_on_1': _mean(bars[:, 0, _CRASH]),
      'syncopated_kick': _syncopation(struck[:, _KICK]),
  }
  return {'drums_' + name: value for name, value in found.items()}


def _of_chords(chords) -> dict[str, float]:
  chords = chords.astype(int)
  some = chords[chords > 0]
  roots, qualities = np.divmod(some - 1, _NUM_QUALITIES)
  is_change = np.diff(some) != 0
  moves = np.diff(roots)[is_change] % 12
  bars = chords.reshape(-1, 2)
  fits = ~(_CHORDS[some][:, None] & ~_KEY_SCALES).any(-1)
  found = {
      'changes_per_bar': float(
          (np.diff(chords) != 0).sum() / len(bars)),
      'distinct': float(len(np.unique(some))),
      'returning': _returning_stretches(bars, 2),
      'returning_4': _returning_stretches(bars, 4),
      'in_key': float(fits.mean(0).max()) if len(some) else float('nan'),
      'by_fifths': _mean(np.isin(moves, (5, 7))),
      'sevenths': _mean(np.isin(qualities, (4, 5, 6))),
      'minor': _mean(np.isin(qualities, (1, 6))),
      'none': _mean(chords == 0),
  }
  return {'chords_' + name: value for name, value in found.items()}


def _sounding(notes, num_steps: int) -> np.ndarray:
  """MIDI pitch at each step, int [num_steps]; 0 where none sounds."""
  ids = np.zeros(num_steps + 1, int)
  starts, lengths, pitches = notes.T
  np.add.at(ids, starts, pitches)
  np.add.at(ids, starts + lengths, -pitches)
  return np.cumsum(ids)[:-1]


def _chord_tones(pitches, chords) -> float:
  is_sounding = (pitches > 0) & (chords > 0)
  return _mean(
      _CHORDS[chords[is_sounding], pitches[is_sounding] % 12])


def _syncopation(onsets) -> float:
  """Share of the onsets off the beat with none on the beat that follows."""
  starts = np.flatnonzero(onsets)
  off = starts[starts % 4 != 0]
  following = off // 4 * 4 + 4
  off = off[following < len(onsets)]
  return float((~onsets[off // 4 * 4 + 4]).sum() / len(starts)) if (
      len(starts)) else float('nan')


def _similarity(bars) -> np.ndarray:
  """What two bars have in common of what either has (Jaccard): [bars, bars].

  NaN of two empty ones.
  """
  bars = bars.reshape(len(bars), -1).astype(np.float32)
  common = bars @ bars.T
  counts = np.diagonal(common)
  either = counts[:, None] + counts - common
  return np.divide(
      common, either, out=np.full(common.shape, np.nan, np.float32),
      where=either > 0)


def _mean_of_pairs(similarity) -> float:
  return _mean(similarity[np.tril_indices(len(similarity), -1)])


def _returning(bars, is_played) -> float:
  """Share of the bars, but for the first, that are as an earlier one.

  Those that are empty are not.
  """
  keys = [bar.tobytes() for bar in np.ascontiguousarray(bars)]
  seen, found = {keys[0]}, 0
  for key, played in zip(keys[1:], is_played[1:].tolist(), strict=True):
    found += played and key in seen
    seen.add(key)
  return found / (len(keys) - 1) if len(keys) > 1 else float('nan')


def _returning_stretches(bars, length: int) -> float:
  """`_returning` of stretches of `length` bars, side by side."""
  number = len(bars) // length
  if not number:
    return float('nan')
  stretches = bars[:number * length].reshape(number, -1)
  return _returning(stretches, stretches.any(1))


def _distinct(rows) -> int:
  return len(set(map(bytes, np.ascontiguousarray(rows, np.int16))))


def _entropy(counts) -> float:
  """In bits."""
  shares = counts[counts > 0] / counts.sum()
  return float(-(shares * np.log2(shares)).sum()) + 0.0  # No '-0.0'.


def _mean(values) -> float:
  """Of what is defined; NaN of nothing."""
  values = np.asarray(values, float)
  values = values[~np.isnan(values)]
  return float(values.mean()) if len(values) else float('nan')
