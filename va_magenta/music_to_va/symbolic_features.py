"""Notes -> some 160 numbers that describe a piece, in jSymbolic's families.

`extract` turns the notes of a piece (`music.notes`) into one number for each
name in `FEATURE_NAMES`:

  values = symbolic_features.extract(read_notes('piece.mid'))
  described = dict(zip(symbolic_features.FEATURE_NAMES, values))

Names and definitions are jSymbolic 2.2's (McKay, Cumming & Fujinaga, "jSymbolic
2.2: Extracting Features from Symbolic Music for use in Musicological and MIR
Research", ISMIR 2018) where it has them; the docstring of each family lists
what is ours. Nothing depends on where a piece starts, and little (counts and
extremes) on how long it is, so that a 2-bar melody can be read as a whole piece
can. What is undefined (an interval in a piece of one note) is NaN.
"""

import numpy as np

from va_magenta.music.notes import (
  CHORD_SECONDS,
  NOTE_DTYPE,
  attack_groups,
  is_first,
  piano_roll,
  top_line,
)

# Features are rounded: trees would learn from the rounding errors of what is
# zero in theory (the tempo's variability). Not at the half, where simple
# fractions lie (1/128).
_STEP, _ROUNDING = 1e-6, .513

# Krumhansl & Kessler 1982: how well each pitch class fits a key on C.
_MAJOR_PROFILE = np.array(
    [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR_PROFILE = np.array(
    [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
_SCALES = np.array([
    [1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1],  # major
    [1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1],  # natural and harmonic minor
], bool)
_DEGREES = (
    'tonic', 'minor_second', 'major_second', 'minor_third', 'major_third',
    'perfect_fourth', 'tritone', 'perfect_fifth', 'minor_sixth', 'major_sixth',
    'minor_seventh', 'major_seventh')

# Lengths in quarter notes that jSymbolic rounds rhythmic values to: from a 32nd
# to a dotted double whole note.
_RHYTHMIC_VALUES = np.array(
    [.125, .25, .5, .75, 1, 1.5, 2, 3, 4, 6, 8, 12])
_DOTTED = np.array([.75, 1.5, 3, 6, 12])

_CHORDS = {
    'major_triads': ((0, 4, 7),),
    'minor_triads': ((0, 3, 7),),
    'diminished_triads': ((0, 3, 6),),
    'augmented_triads': ((0, 4, 8),),
    'dominant_seventh_chords': ((0, 4, 7, 10),),
    'other_seventh_chords': (
        (0, 4, 7, 11), (0, 3, 7, 10), (0, 3, 6, 9), (0, 3, 6, 10),
        (0, 3, 7, 11)),
    'suspended_chords': ((0, 5, 7),),
}

_PERFECT, _DISSONANT = [0, 5, 7], [1, 2, 6, 10, 11]

# Fractions of all notes that these General MIDI programs (counted from 0) play.
_INSTRUMENTS = {
    'string_keyboard_prevalence': range(0, 8),
    'chromatic_percussion_prevalence': range(8, 16),
    'organ_prevalence': range(16, 24),
    'acoustic_guitar_prevalence': range(24, 26),
    'electric_guitar_prevalence': range(26, 32),
    'bass_prevalence': range(32, 40),
    'orchestral_strings_prevalence': range(40, 47),
    'string_ensemble_prevalence': range(48, 52),
    'brass_prevalence': range(56, 64),
    'saxophone_prevalence': range(64, 68),
    'woodwinds_prevalence': range(68, 80),
    'synthesiser_prevalence': range(80, 104),
}


def _chord_table() -> np.ndarray:
  """Index in `_CHORDS` of each set of pitch classes (12-bit mask), else -1."""
  table = np.full(4096, -1)
  for index, shapes in enumerate(_CHORDS.values()):
    for shape in shapes:
      for root in range(12):
        table[sum(1 << (root + step) % 12 for step in shape)] = index
  return table


_CHORD_OF_MASK = _chord_table()
_TRANSPOSE = (np.arange(12)[:, None] + np.arange(12)) % 12
_STANDARD_PROFILES = np.array([
    (profile - profile.mean()) / np.linalg.norm(profile - profile.mean())
    for profile in (_MAJOR_PROFILE, _MINOR_PROFILE)
])
# Pitch classes of the 12 major and then the 12 minor triads, of length 1.
_TRIADS = np.array([
    np.isin(np.arange(12), (np.array(shape) + root) % 12) / np.sqrt(3)
    for shape in ((0, 4, 7), (0, 3, 7)) for root in range(12)])

# Keys and chords are found in stretches of so many seconds.
_KEY_SECONDS, _CHORD_CHANGE_SECONDS = 2.0, 1.0
_LOUDNESS_SECONDS = 0.25
# A struck string: its energy halves in each of these stretches.
_DECAY = .5**np.arange(8)


def _roughness_table() -> np.ndarray:
  """Sensory dissonance of two MIDI pitches, [128, 128], 0 for a unison.

  Plomp and Levelt's curve as Sethares ("Local consonance and the relationship
  between timbre and scale", JASA 1993) fits it, summed over six partials.
  """
  partials = np.arange(1, 7)
  frequency = (440 * 2**((np.arange(128) - 69) / 12))[:, None] * partials
  low = np.minimum(frequency[:, None, :, None], frequency[None, :, None, :])
  distance = np.abs(
      frequency[:, None, :, None] - frequency[None, :, None, :]
  ) * .24 / (.021 * low + 19)
  strength = .8**(partials - 1)
  table = np.einsum(
      'pqij,i,j->pq', np.exp(-3.5 * distance) - np.exp(-5.75 * distance),
      strength, strength)
  np.fill_diagonal(table, 0)
  return table


_ROUGHNESS = _roughness_table()


# Small tools.


def _mean(values) -> float:
  return float(np.add.reduce(values) / len(values)) if len(values) else np.nan


def _std(values) -> float:
  if not len(values):
    return np.nan
  values = np.asarray(values, np.float64)
  centred = values - _mean(values)
  return float(np.sqrt(centred @ centred / len(values)))


def _ratio(numerator, denominator) -> float:
  return float(numerator / denominator) if denominator else np.nan


def _entropy(weights: np.ndarray) -> float:
  """In bits, of non-negative weights."""
  weights = weights[weights > 0]
  weights = weights / weights.sum()
  return float(-weights @ np.log2(weights))


def _fit_of_keys(weights: np.ndarray) -> np.ndarray:
  """How well major and minor keys fit, by Krumhansl's method.

  Args:
    weights: [..., 12], of pitch classes.

  Returns:
    Correlations [..., 2, 12]: major and minor by tonic; 0 where undefined.
  """
  centred = weights - weights.mean(axis=-1, keepdims=True)
  norm = np.sqrt((centred**2).sum(axis=-1))[..., None, None]
  fit = _STANDARD_PROFILES @ np.swapaxes(centred[..., _TRANSPOSE], -1, -2)
  return np.divide(fit, norm, out=np.zeros_like(fit), where=norm > 0)


def _stretches(
    classes: np.ndarray, seconds: np.ndarray, length: float) -> np.ndarray:
  """Pitch classes by equal stretches of about `length` seconds that sound.

  Args:
    classes: [segments, 12], how many pitches of each class sound.
    seconds: [segments], length of each segment.
    length: in seconds.

  Returns:
    Seconds that each pitch class sounds, [stretches >= 1, 12].
  """
  edges = np.cumsum(np.append(0, seconds))
  heard = np.zeros((len(edges), 12))
  np.cumsum(classes * seconds[:, None], axis=0, out=heard[1:])
  bounds = np.linspace(
      0, edges[-1], max(1, round(edges[-1] / length)) + 1)
  segment = (np.searchsorted(edges, bounds, side='right') - 1).clip(
      0, len(seconds) - 1)
  past = (bounds - edges[segment]).clip(0, seconds[segment])
  stretches = np.diff(
      heard[segment] + classes[segment] * past[:, None], axis=0)
  return stretches[stretches.sum(axis=1) > 1e-6]


def _mode_and_strength(weights: np.ndarray) -> tuple[float, float]:
  """Best major less best minor key's fit, and the better of both."""
  major, minor = _fit_of_keys(weights).max(axis=1)
  return major - minor, max(major, minor)


def _is_later(notes: np.ndarray) -> np.ndarray:
  """True for notes that start in the later half of a piece."""
  start = notes['start_seconds']
  return start > (start[0] + start[-1]) / 2 + CHORD_SECONDS


def _change(notes: np.ndarray, values: np.ndarray) -> float:
  """Mean of notes that start in the later half less that in the earlier."""
  later = _is_later(notes)
  return _mean(values[later]) - _mean(values[~later])


def _repetition(
    step: np.ndarray, pitch: np.ndarray, num_steps: int, lag: int) -> float:
  """Share of attacks on a grid of steps and pitches that recur after `lag`."""
  if num_steps <= lag + 8:
    return np.nan
  attacks = np.unique(128 * step + pitch)
  recur = np.isin(attacks + 128 * lag, attacks)
  return _ratio(
      np.count_nonzero(recur), min(
          np.count_nonzero(attacks < 128 * (num_steps - lag)),
          np.count_nonzero(attacks >= 128 * lag)))


def _top_two(histogram: np.ndarray) -> tuple[int, int]:
  first, second = np.argsort(-histogram, kind='stable')[:2]
  return int(first), int(second)


# The families. Each gives the same names, in the same order, for any notes.


def _pitch_features(notes: np.ndarray) -> dict[str, float]:
  """Pitch statistics, each note counted once, as in jSymbolic.

  Ours: median_pitch, lowest_pitch, highest_pitch, pitch_class_entropy, and
  mean_pitch_by_duration and by_dynamics.
  """
  pitch = notes['pitch'].astype(np.float64)
  length = notes['end_seconds'] - notes['start_seconds']
  mean, std = _mean(pitch), _std(pitch)
  centred = pitch - mean
  counts = np.bincount(notes['pitch'], minlength=128) / len(notes)
  classes = np.bincount(notes['pitch'] % 12, minlength=12) / len(notes)
  fifths = classes[7 * np.arange(12) % 12]
  common = fifths >= .09
  run = longest = 0
  for is_common in np.concatenate([common, common]):
    run = run + 1 if is_common else 0
    longest = max(longest, run)
  first, second = _top_two(counts)
  first_class, second_class = _top_two(classes)
  peaks = (fifths > np.roll(fifths, 1)) & (fifths > np.roll(fifths, -1))
  return {
      'mean_pitch': mean,
      'median_pitch': float(np.median(pitch)),
      'lowest_pitch': float(pitch.min()),
      'highest_pitch': float(pitch.max()),
      'range': float(pitch.max() - pitch.min()),
      'pitch_variability': std,
      'pitch_skewness': _ratio(_mean(centred**3), std**3),
      'pitch_kurtosis': _ratio(_mean(centred**4), std**4),
      'importance_of_bass_register': _mean(pitch <= 54),
      'importance_of_middle_register': _mean((pitch > 54) & (pitch <= 72)),
      'importance_of_high_register': _mean(pitch > 72),
      'most_common_pitch': first,
      'prevalence_of_most_common_pitch': counts[first],
      'relative_prevalence_of_top_pitches': _ratio(
          counts[second], counts[first]),
      'interval_between_most_prevalent_pitches': (
          abs(first - second) if counts[second] else np.nan),
      'number_of_pitches': np.count_nonzero(counts),
      'number_of_common_pitches': np.count_nonzero(counts >= .09),
      'number_of_pitch_classes': np.count_nonzero(classes),
      'number_of_common_pitch_classes': np.count_nonzero(classes >= .2),
      'prevalence_of_most_common_pitch_class': classes[first_class],
      'relative_prevalence_of_top_pitch_classes': _ratio(
          classes[second_class], classes[first_class]),
      'pitch_class_variability': _std(classes),
      'pitch_class_entropy': _entropy(classes),
      'dominant_spread': min(longest, 12),
      'strong_tonal_centres': np.count_nonzero(peaks & common),
      'mean_pitch_by_duration': pitch @ length / length.sum(),
      'mean_pitch_by_dynamics': (
          pitch @ notes['velocity'] / notes['velocity'].sum()),
      'change_of_pitch': _change(notes, pitch),
  }


def _melody_features(
    notes: np.ndarray, groups: np.ndarray, melody: np.ndarray
) -> dict[str, float]:
  """Intervals from each part's top note to its next, as in jSymbolic.

  Ours: the features whose names start with `top_line` describe the skyline; a
  leap is larger than a major third.
  """
  order = np.lexsort((-notes['pitch'], groups, notes['part']))
  part, group = notes['part'][order], groups[order]
  tops = order[is_first(part) | is_first(group)]
  part = notes['part'][tops]
  intervals = np.diff(notes['pitch'][tops])[part[1:] == part[:-1]]
  size = np.abs(intervals)
  count = len(size)
  steps = np.bincount(size, minlength=128) / max(count, 1)
  steps[:] = steps if count else np.nan
  first, second = _top_two(steps)
  moves = np.sign(intervals[intervals != 0])
  arcs = np.count_nonzero(np.diff(moves)) + 1
  line = melody['pitch'].astype(np.float64)
  line_steps = np.diff(line)
  beside = notes['pitch'].sum() - line.sum()
  seconds = melody['end_seconds'][-1] - melody['start_seconds'][0]
  attacks = melody['start_seconds'] - melody['start_seconds'][0]
  line_std, attack_std = _std(line), _std(attacks)
  kinds = np.bincount(np.abs(line_steps).astype(np.int64), minlength=5)
  mode, key_strength = _mode_and_strength(np.bincount(
      melody['pitch'] % 12, melody['end_seconds'] - melody['start_seconds'],
      minlength=12))
  return {
      'mean_melodic_interval': _mean(size),
      'most_common_melodic_interval': first if count else np.nan,
      'prevalence_of_most_common_melodic_interval': steps[first],
      'relative_prevalence_of_most_common_melodic_intervals': _ratio(
          steps[second], steps[first]),
      'distance_between_most_prevalent_melodic_intervals': (
          abs(first - second) if count else np.nan),
      'number_of_common_melodic_intervals': (
          np.count_nonzero(steps >= .09) if count else np.nan),
      'amount_of_arpeggiation': steps[[0, 3, 4, 7, 10, 11, 12, 15, 16]].sum(),
      'repeated_notes': steps[0],
      'chromatic_motion': steps[1],
      'stepwise_motion': steps[1] + steps[2],
      'melodic_thirds': steps[3] + steps[4],
      'melodic_perfect_fourths': steps[5],
      'melodic_tritones': steps[6],
      'melodic_perfect_fifths': steps[7],
      'melodic_sixths': steps[8] + steps[9],
      'melodic_sevenths': steps[10] + steps[11],
      'melodic_octaves': steps[12],
      'melodic_large_intervals': steps[13:].sum(),
      'minor_major_melodic_third_ratio': _ratio(
          steps[3], steps[3] + steps[4]),
      'direction_of_melodic_motion': _mean(moves > 0),
      'average_length_of_melodic_arcs': _ratio(len(moves), arcs),
      'average_interval_spanned_by_melodic_arcs': _ratio(size.sum(), arcs),
      'top_line_mean_pitch': _mean(line),
      'top_line_pitch_variability': line_std,
      'top_line_mean_interval': _mean(np.abs(line_steps)),
      'top_line_rising': _ratio(
          np.count_nonzero(line_steps > 0), np.count_nonzero(line_steps)),
      'top_line_repeated_notes': _mean(line_steps == 0),
      'top_line_slope': _ratio(
          _mean((line - _mean(line)) * (attacks - _mean(attacks))),
          line_std * attack_std),
      'top_line_note_density': _ratio(len(line), seconds),
      'top_line_share_of_notes': len(line) / len(notes),
      'top_line_height_above_the_rest': _mean(line) - _ratio(
          beside, len(notes) - len(line)),
      'top_line_semitones': _ratio(kinds[1], len(line_steps)),
      'top_line_whole_tones': _ratio(kinds[2], len(line_steps)),
      'top_line_minor_thirds': _ratio(kinds[3], len(line_steps)),
      'top_line_major_thirds': _ratio(kinds[4], len(line_steps)),
      'top_line_rising_leaps': _mean(line_steps > 4),
      'top_line_falling_leaps': _mean(line_steps < -4),
      'top_line_interval_entropy': (
          _entropy(kinds) if len(line_steps) else np.nan),
      'top_line_major_minus_minor': mode,
      'top_line_key_strength': key_strength,
      'top_line_dynamics_above_mean': (
          _mean(melody['velocity']) - _mean(notes['velocity'])),
  }


def _harmony_features(
    notes: np.ndarray, roll: np.ndarray, seconds: np.ndarray
) -> dict[str, float]:
  """What sounds together, weighted by its seconds, and the key.

  Ours: key_strength, major_minus_minor (best major less best minor key's
  correlation with the pitch classes, Krumhansl's method; `of_attacks`: each
  note counted once; `of_loudness`: by length and velocity; `parallel`: of the
  two keys on the tonic), in_scale, the share of each degree above the tonic
  found, bass_on_tonic, suspended_chords; `local`: in each stretch of 2 seconds;
  the best major and minor triad, and its changes, in stretches of a second;
  diatonic (best share of a major scale) and the Fourier components of the pitch
  classes (Quinn, "General equal-tempered harmony", 2006; the fifth is
  diatonicity); tonnetz (Harte, Sandler & Gasser 2006, as the changes of those
  components); roughness (Sethares 1993), of which register decides too.
  """
  used = np.flatnonzero(roll.any(axis=0))
  sounding = roll[:, used].astype(np.float64)
  together = (sounding * seconds[:, None]).T @ sounding
  distance = np.abs(used[:, None] - used)
  above = np.triu(together, 1)
  intervals = np.bincount(
      distance.ravel(), above.ravel(), minlength=128)
  wrapped = np.bincount(np.arange(128) % 12, intervals, minlength=12)
  total = wrapped.sum()
  wrapped = wrapped / total if total else np.full(12, np.nan)

  classes = np.zeros((len(roll), 12))
  for octave in range(0, 121, 12):
    block = roll[:, octave:octave + 12]
    classes[:, :block.shape[1]] += block
  present = classes > 0
  number = present.sum(axis=1)
  heard = number > 0
  shares = np.bincount(
      _CHORD_OF_MASK[present @ (1 << np.arange(12))] + 1,
      seconds * (number > 1), minlength=len(_CHORDS) + 1)[1:]
  chord_seconds = seconds[number > 1].sum()
  chords = dict(zip(_CHORDS, shares, strict=True))
  triads = chords['major_triads'] + chords['minor_triads']
  mean_number = _ratio(number @ seconds, seconds[heard].sum())

  weight = np.bincount(
      notes['pitch'] % 12, notes['end_beats'] - notes['start_beats'],
      minlength=12)
  weight = weight / weight.sum()
  fit = _fit_of_keys(weight)
  best_major, best_minor = fit.max(axis=1)
  mode, tonic = np.unravel_index(np.argmax(fit), fit.shape)
  degrees = weight[_TRANSPOSE[tonic]]
  bass = np.argmax(roll, axis=1)
  by_attacks, _ = _mode_and_strength(
      np.bincount(notes['pitch'] % 12, minlength=12).astype(np.float64))
  by_loudness, _ = _mode_and_strength(np.bincount(
      notes['pitch'] % 12,
      notes['velocity'] * (notes['end_beats'] - notes['start_beats']),
      minlength=12))
  fourier = np.abs(np.fft.rfft(weight))

  local = _stretches(classes, seconds, _KEY_SECONDS)
  keys = _fit_of_keys(local)
  local_modes = keys.max(axis=2)
  local_modes, local_strength = (
      local_modes[:, 0] - local_modes[:, 1], local_modes.max(axis=1))
  keys = keys.reshape(len(keys), 24).argmax(axis=1)
  stretches = _stretches(classes, seconds, _CHORD_CHANGE_SECONDS)
  triad_fit = stretches @ _TRIADS.T / np.sqrt(
      (stretches**2).sum(axis=1, keepdims=True))
  major_fit, minor_fit = triad_fit.reshape(-1, 2, 12).max(axis=2).T
  chosen = triad_fit.argmax(axis=1)
  root_motion = np.diff(chosen % 12) % 12
  spectra = np.fft.rfft(
      stretches / stretches.sum(axis=1, keepdims=True), axis=1)[:, 1:]

  sounding_all = roll.astype(np.float64)
  rough = ((sounding_all @ _ROUGHNESS) * sounding_all).sum(axis=1) / 2
  pairs = sounding_all.sum(axis=1)
  pairs = pairs * (pairs - 1) / 2
  mean_rough = _ratio(rough @ seconds, seconds[heard].sum())
  return {
      'vertical_unisons_and_octaves': wrapped[0],
      'vertical_minor_seconds': wrapped[1],
      'vertical_major_seconds': wrapped[2],
      'vertical_minor_thirds': wrapped[3],
      'vertical_major_thirds': wrapped[4],
      'vertical_perfect_fourths': wrapped[5],
      'vertical_tritones': wrapped[6],
      'vertical_perfect_fifths': wrapped[7],
      'vertical_minor_sixths': wrapped[8],
      'vertical_major_sixths': wrapped[9],
      'vertical_sevenths': wrapped[10] + wrapped[11],
      'perfect_vertical_intervals': wrapped[_PERFECT].sum(),
      'vertical_dissonance_ratio': wrapped[_DISSONANT].sum(),
      'vertical_minor_third_ratio': _ratio(
          wrapped[3], wrapped[3] + wrapped[4]),
      'average_number_of_simultaneous_pitch_classes': mean_number,
      'variability_of_number_of_simultaneous_pitch_classes': float(np.sqrt(
          _ratio((number - mean_number)**2 * heard @ seconds,
                 seconds[heard].sum()))),
      'partial_chords': _ratio(seconds[number == 2].sum(), chord_seconds),
      'complex_chords': _ratio(seconds[number > 4].sum(), chord_seconds),
      'standard_triads': _ratio(triads, chord_seconds),
      'minor_major_triad_ratio': _ratio(chords['minor_triads'], triads),
      'diminished_and_augmented_triads': _ratio(
          chords['diminished_triads'] + chords['augmented_triads'],
          chord_seconds),
      'dominant_seventh_chords': _ratio(
          chords['dominant_seventh_chords'], chord_seconds),
      'other_seventh_chords': _ratio(
          chords['other_seventh_chords'], chord_seconds),
      'suspended_chords': _ratio(chords['suspended_chords'], chord_seconds),
      'key_strength': max(best_major, best_minor),
      'major_minus_minor': best_major - best_minor,
      'in_scale': degrees[_SCALES[mode]].sum(),
      **{f'degree_{name}': degrees[step]
         for step, name in enumerate(_DEGREES)},
      'bass_on_tonic': _ratio(
          seconds[heard & (bass % 12 == tonic)].sum(), seconds[heard].sum()),
      'major_minus_minor_of_attacks': by_attacks,
      'major_minus_minor_of_loudness': by_loudness,
      'parallel_major_minus_minor': fit[0, tonic] - fit[1, tonic],
      'local_major_minus_minor': _mean(local_modes),
      'lowest_local_major_minus_minor': float(local_modes.min()),
      'highest_local_major_minus_minor': float(local_modes.max()),
      'variability_of_local_major_minus_minor': _std(local_modes),
      'first_local_major_minus_minor': local_modes[0],
      'last_local_major_minus_minor': local_modes[-1],
      'locally_major': _mean(local_modes > 0),
      'local_key_strength': _mean(local_strength),
      'variability_of_local_key_strength': _std(local_strength),
      'changes_of_local_key': _mean(keys[1:] != keys[:-1]),
      'local_pitch_class_entropy': _mean([_entropy(w) for w in local]),
      'triads_fit': _mean(triad_fit.max(axis=1)),
      'major_minus_minor_triads_fit': _mean(major_fit - minor_fit),
      'last_major_minus_minor_triad_fit': major_fit[-1] - minor_fit[-1],
      'best_triad_is_major': _mean(chosen < 12),
      'changes_of_best_triad': _mean(chosen[1:] != chosen[:-1]),
      'roots_move_by_fifths': _mean(np.isin(root_motion, (5, 7))),
      'roots_move_by_thirds': _mean(np.isin(root_motion, (3, 4, 8, 9))),
      'roots_move_by_seconds': _mean(np.isin(root_motion, (1, 2, 10, 11))),
      'diatonic': weight[_TRANSPOSE][:, _SCALES[0]].sum(axis=1).max(),
      **{f'pitch_class_fourier_{i}': fourier[i] for i in range(1, 7)},
      'tonnetz_step': _mean(
          np.sqrt((np.abs(np.diff(spectra, axis=0))**2).sum(axis=1))),
      'tonnetz_spread': _mean(np.sqrt(
          (np.abs(spectra - spectra.mean(axis=0))**2).sum(axis=1))),
      'roughness': mean_rough,
      'roughness_of_a_pair': _ratio(
          (rough[pairs > 0] / pairs[pairs > 0]) @ seconds[pairs > 0],
          seconds[pairs > 0].sum()),
      'variability_of_roughness': float(np.sqrt(_ratio(
          (rough - mean_rough)**2 * heard @ seconds, seconds[heard].sum()))),
      'highest_roughness': float(rough.max()),
  }


def _rhythm_features(
    notes: np.ndarray, groups: np.ndarray, roll: np.ndarray,
    seconds: np.ndarray) -> dict[str, float]:
  """Tempo, density, rhythmic values (in quarter notes) and rests.

  Ours: attacks_per_second (chords count once), articulation (length of a note
  over the time to the next attack), pairwise_variability (nPVI, Patel &
  Daniele 2003), on_beat, on_half_beat, off_grid (attacks not on a sixteenth),
  short and long time between attacks (10th and 90th percentile), medians,
  entropy, densities of registers, and what recurs after two and four beats.
  """
  start = notes['start_seconds'][0]
  total = notes['end_seconds'].max() - start
  beats = notes['end_beats'].max() - notes['start_beats'].min()
  length = notes['end_seconds'] - notes['start_seconds']
  length_beats = notes['end_beats'] - notes['start_beats']
  qpm = 60 * length_beats / length
  first = is_first(groups)
  attacks = notes['start_seconds'][first]
  gaps = np.diff(attacks)
  gap_beats = np.diff(notes['start_beats'][first])
  # Many attacks lie on a whole second, give or take a rounding error.
  per_second = np.bincount(
      (notes['start_seconds'] - start + CHORD_SECONDS).astype(np.int64),
      minlength=max(1, int(total)))
  log_values = np.log(_RHYTHMIC_VALUES)
  nearest = np.searchsorted(
      (log_values[1:] + log_values[:-1]) / 2,
      np.log(np.maximum(length_beats, 1e-3)))
  values = _RHYTHMIC_VALUES[nearest]
  share = np.bincount(
      nearest, minlength=len(_RHYTHMIC_VALUES)) / len(notes)
  common = int(np.argmax(share))
  next_gap = np.append(gaps, np.nan)[groups]
  reach = np.minimum(length / next_gap, 4)
  reach = reach[np.isfinite(reach)]
  # A clip cut out of a recording need not start on a beat: the beat is put
  # where most attacks are.
  place = notes['start_beats'][first] % 1
  place = (place - np.argmax(np.bincount(
      np.rint(place * 24).astype(np.int64) % 24)) / 24) % 1
  grid = np.abs(place * 4 - np.rint(place * 4)) / 4
  sixteenth = np.rint(place * 4).astype(np.int64) % 4
  silent = ~roll.any(axis=1)
  shortest, middle, longest = (
      np.percentile(gaps, (10, 50, 90)) if len(gaps) else (np.nan,) * 3)
  step = np.rint(
      4 * (notes['start_beats'] - notes['start_beats'].min())).astype(np.int64)
  num_steps = int(4 * beats) + 2
  pair = np.abs(np.diff(gaps)) / (gaps[1:] + gaps[:-1])
  return {
      'mean_tempo': 60 * beats / total,
      'tempo_variability': _std(qpm),
      'note_density': len(notes) / total,
      'note_density_per_quarter_note': _ratio(len(notes), beats),
      'note_density_variability': _std(per_second),
      'attacks_per_second': len(attacks) / total,
      'average_time_between_attacks': _mean(gaps),
      'variability_of_time_between_attacks': _std(gaps),
      'average_note_duration': _mean(length),
      'minimum_note_duration': float(length.min()),
      'maximum_note_duration': float(length.max()),
      'variability_of_note_durations': _std(length),
      'amount_of_staccato': _mean(length < .1),
      'mean_rhythmic_value': _mean(values),
      'variability_of_rhythmic_values': _std(values),
      'number_of_different_rhythmic_values': np.count_nonzero(share),
      'number_of_common_rhythmic_values': np.count_nonzero(share >= .15),
      'most_common_rhythmic_value': _RHYTHMIC_VALUES[common],
      'prevalence_of_most_common_rhythmic_value': share[common],
      'prevalence_of_very_short_rhythmic_values': _mean(values < .5),
      'prevalence_of_short_rhythmic_values': _mean(values == .5),
      'prevalence_of_medium_rhythmic_values': _mean(
          (values > .5) & (values < 2)),
      'prevalence_of_long_rhythmic_values': _mean(
          (values >= 2) & (values < 4)),
      'prevalence_of_very_long_rhythmic_values': _mean(values >= 4),
      'prevalence_of_dotted_notes': _mean(np.isin(values, _DOTTED)),
      'mean_attack_spacing_in_quarter_notes': _mean(gap_beats),
      'complete_rests_fraction': _ratio(seconds[silent].sum(), total),
      'longest_complete_rest': float(max(seconds[silent], default=0)),
      'articulation': _mean(reach),
      'pairwise_variability': 200 * _mean(pair),
      'on_beat': _mean((sixteenth == 0) & (grid < .04)),
      'on_half_beat': _mean((sixteenth == 2) & (grid < .04)),
      'off_grid': _mean(grid >= .04),
      'short_time_between_attacks': shortest,
      'median_time_between_attacks': middle,
      'long_time_between_attacks': longest,
      'entropy_of_attack_spacings': (
          _entropy(np.bincount(np.rint(
              24 * gap_beats).clip(0, 400).astype(np.int64)))
          if len(gaps) else np.nan),
      'median_note_duration': float(np.median(length)),
      'mean_note_duration_by_duration': length @ length / length.sum(),
      'share_of_notes_in_later_half': _mean(_is_later(notes)),
      'low_note_density': np.count_nonzero(notes['pitch'] <= 50) / total,
      'middle_note_density': np.count_nonzero(
          (notes['pitch'] > 50) & (notes['pitch'] <= 67)) / total,
      'high_note_density': np.count_nonzero(notes['pitch'] > 67) / total,
      **{f'repetition_after_{lag // 4}_quarter_notes': _repetition(
          step, notes['pitch'], num_steps, lag) for lag in (8, 16)},
      **{f'rhythm_repeated_after_{lag // 4}_quarter_notes': _repetition(
          step, 0, num_steps, lag) for lag in (8, 16)},
  }


def _dynamics_features(notes: np.ndarray) -> dict[str, float]:
  """MIDI velocities, and a loudness made of them.

  Ours: all that is not named after the dynamic range or note-to-note change.
  Loudness is the logarithm of squared velocities of attacks, which decay, in
  quarter seconds.
  """
  velocity = notes['velocity'].astype(np.float64)
  time = notes['start_seconds'] - notes['start_seconds'].mean()
  std, time_std = _std(velocity), _std(time)
  pitch = notes['pitch']
  start = notes['start_seconds'][0]
  end = notes['end_seconds'].max()
  # Many attacks lie on a quarter second, give or take a rounding error.
  place = (notes['start_seconds'] - start + CHORD_SECONDS) / _LOUDNESS_SECONDS
  energy = np.convolve(np.bincount(
      place.astype(np.int64), velocity**2,
      minlength=int((end - start) / _LOUDNESS_SECONDS)), _DECAY)
  energy = energy[:1 - len(_DECAY)]
  loudness = np.log(energy + 100)
  quiet, loud = np.percentile(velocity, (10, 90))
  return {
      'mean_dynamics': _mean(velocity),
      'dynamic_range': float(velocity.max() - velocity.min()),
      'variation_of_dynamics': std,
      'average_note_to_note_change_in_dynamics': _mean(
          np.abs(np.diff(velocity))),
      'trend_of_dynamics': (
          _mean((velocity - velocity.mean()) * time) / (std * time_std)
          if std * time_std else 0.0),
      'low_dynamics': quiet,
      'high_dynamics': loud,
      'change_of_dynamics': _change(notes, velocity),
      'dynamics_of_bass_register': _mean(velocity[pitch <= 54]),
      'dynamics_of_high_register': _mean(velocity[pitch > 66]),
      'pitch_dynamics_correlation': _ratio(
          _mean((velocity - velocity.mean()) * (pitch - pitch.mean())),
          std * _std(pitch)),
      'dynamics_per_second': velocity.sum() / (end - start),
      'mean_loudness': _mean(loudness),
      'highest_loudness': float(loudness.max()),
      'variability_of_loudness': _std(loudness),
      'loudness_of_mean_energy': float(np.log(energy.mean())),
  }


def _texture_features(
    notes: np.ndarray, roll: np.ndarray, seconds: np.ndarray,
    groups: np.ndarray) -> dict[str, float]:
  """How many voices sound, how far apart, and how the outer two move.

  jSymbolic follows MIDI channels as voices; here the voices are the sounding
  pitches and motion is that of the highest against the lowest. Ours:
  notes_per_attack, number_of_parts, and what is said of the lowest voice.
  """
  number = roll.sum(axis=1)
  heard = number > 0
  time = seconds[heard]
  mean = _ratio(number[heard] @ time, time.sum())
  top = 127 - np.argmax(roll[:, ::-1], axis=1)
  bottom = np.argmax(roll, axis=1)
  chord = number > 1
  up = np.sign(np.diff(top[chord]))
  down = np.sign(np.diff(bottom[chord]))
  moving = (up != 0) | (down != 0)
  up, down = up[moving], down[moving]
  parallel = np.diff(top[chord])[moving] == np.diff(bottom[chord])[moving]
  span = (top - bottom)[chord]
  low = bottom[heard]
  return {
      'average_number_of_independent_voices': mean,
      'maximum_number_of_independent_voices': int(number.max()),
      'variability_of_number_of_independent_voices': float(np.sqrt(
          _ratio((number[heard] - mean)**2 @ time, time.sum()))),
      'notes_per_attack': len(notes) / (groups[-1] + 1),
      'voice_separation': _ratio(
          (span / (number[chord] - 1)) @ seconds[chord],
          seconds[chord].sum()),
      'span_of_outer_voices': _ratio(
          span @ seconds[chord], seconds[chord].sum()),
      'parallel_motion': _mean(parallel),
      'similar_motion': _mean((up == down) & ~parallel),
      'contrary_motion': _mean(up == -down),
      'oblique_motion': _mean(up * down == 0),
      'number_of_parts': len(np.unique(notes['part'])),
      'lowest_voice_mean_pitch': _ratio(low @ time, time.sum()),
      'lowest_voice_changes_per_second': (
          np.count_nonzero(np.diff(low)) / seconds.sum()),
  }


def _instrument_features(notes: np.ndarray) -> dict[str, float]:
  """Who plays; the only features that know of drums.

  Ours: the families of General MIDI that jSymbolic does not count.
  """
  drums = notes['is_drum']
  program = notes['program'][~drums]
  share = np.bincount(program, minlength=128) / max(len(program), 1)
  return {
      'number_of_pitched_instruments': np.count_nonzero(share),
      'percussion_prevalence': _mean(drums),
      **{name: share[programs.start:programs.stop].sum()
         for name, programs in _INSTRUMENTS.items()},
  }


def _features(notes: np.ndarray) -> dict[str, float]:
  pitched = notes[~notes['is_drum']]
  groups = attack_groups(pitched)
  roll, seconds, starts = piano_roll(pitched)
  melody = top_line(pitched, groups, roll, starts)
  return {
      **_pitch_features(pitched),
      **_melody_features(pitched, groups, melody),
      **_harmony_features(pitched, roll, seconds),
      **_rhythm_features(pitched, groups, roll, seconds),
      **_dynamics_features(pitched),
      **_texture_features(pitched, roll, seconds, groups),
      **_instrument_features(notes),
  }


FEATURE_NAMES = tuple(
    _features(np.array([(0, 1, 0, 1, 60, 64, 0, False, 0)], NOTE_DTYPE)))


def extract(notes: np.ndarray) -> np.ndarray:
  """Describes one piece.

  Args:
    notes: array of NOTE_DTYPE, by start, as `read_notes` gives it.

  Returns:
    float32 [len(FEATURE_NAMES)] in the order of FEATURE_NAMES; NaN where a
    feature is undefined, all NaN if no pitched note is there.
  """
  if notes['is_drum'].all():
    return np.full(len(FEATURE_NAMES), np.nan, np.float32)
  values = np.fromiter(
      _features(notes).values(), np.float64, len(FEATURE_NAMES))
  return (np.floor(values / _STEP + _ROUNDING) * _STEP).astype(np.float32)
