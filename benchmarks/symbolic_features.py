r"""Compares our symbolic features with music21's, on the same MIDI files.

  python benchmarks/symbolic_features.py --midi_dir=FOLDER --num_files=50

Prints how many files a second of processor time each describes, after parsing,
and their ratio in this run; how many we describe and estimate the valence and
arousal of; and, for the features that both have, whether they say the same.
music21 is not among our dependencies: `pip install music21`.
"""

import pathlib
import sys
import time
import warnings
from collections.abc import Sequence

import numpy as np
import reporting
from absl import flags

from va_magenta import command
from va_magenta.music.midi import read_notes
from va_magenta.music_to_va import symbolic, symbolic_features

_MIDI_DIR = command.DEFINE_path(
    'midi_dir', None, 'Folder whose .mid files are read.', required=True)
_NUM_FILES = flags.DEFINE_integer(
    'num_files', 50, 'How many, evenly spread over the names.', lower_bound=2)

# music21 follows jSymbolic 1 and McKay's thesis (2004), whose names differ.
SHARED = {
    'AverageMelodicIntervalFeature': 'mean_melodic_interval',
    'MostCommonMelodicIntervalFeature': 'most_common_melodic_interval',
    'MostCommonMelodicIntervalPrevalenceFeature':
        'prevalence_of_most_common_melodic_interval',
    'NumberOfCommonMelodicIntervalsFeature':
        'number_of_common_melodic_intervals',
    'AmountOfArpeggiationFeature': 'amount_of_arpeggiation',
    'RepeatedNotesFeature': 'repeated_notes',
    'ChromaticMotionFeature': 'chromatic_motion',
    'StepwiseMotionFeature': 'stepwise_motion',
    'MelodicThirdsFeature': 'melodic_thirds',
    'MelodicFifthsFeature': 'melodic_perfect_fifths',
    'MelodicTritonesFeature': 'melodic_tritones',
    'MelodicOctavesFeature': 'melodic_octaves',
    'DirectionOfMotionFeature': 'direction_of_melodic_motion',
    'NoteDensityFeature': 'note_density',
    'AverageNoteDurationFeature': 'average_note_duration',
    'VariabilityOfNoteDurationFeature': 'variability_of_note_durations',
    'MaximumNoteDurationFeature': 'maximum_note_duration',
    'MinimumNoteDurationFeature': 'minimum_note_duration',
    'StaccatoIncidenceFeature': 'amount_of_staccato',
    'AverageTimeBetweenAttacksFeature': 'average_time_between_attacks',
    'VariabilityOfTimeBetweenAttacksFeature':
        'variability_of_time_between_attacks',
    'InitialTempoFeature': 'mean_tempo',
    'MostCommonPitchPrevalenceFeature': 'prevalence_of_most_common_pitch',
    'MostCommonPitchClassPrevalenceFeature':
        'prevalence_of_most_common_pitch_class',
    'RelativeStrengthOfTopPitchesFeature':
        'relative_prevalence_of_top_pitches',
    'RelativeStrengthOfTopPitchClassesFeature':
        'relative_prevalence_of_top_pitch_classes',
    'NumberOfCommonPitchesFeature': 'number_of_common_pitches',
    'PitchVarietyFeature': 'number_of_pitches',
    'PitchClassVarietyFeature': 'number_of_pitch_classes',
    'RangeFeature': 'range',
    'MostCommonPitchFeature': 'most_common_pitch',
    'PrimaryRegisterFeature': 'mean_pitch',
    'ImportanceOfBassRegisterFeature': 'importance_of_bass_register',
    'ImportanceOfMiddleRegisterFeature': 'importance_of_middle_register',
    'ImportanceOfHighRegisterFeature': 'importance_of_high_register',
    'NumberOfPitchedInstrumentsFeature': 'number_of_pitched_instruments',
}


def _music21_features(streams: Sequence, names: Sequence[str]):
  """Scalars [files, names] and the seconds that they took."""
  from music21 import features

  start = time.process_time()
  rows = []
  for stream in streams:
    data = features.DataInstance(stream)
    row = []
    for name in names:
      try:
        row.append(
            getattr(features.jSymbolic, name)(data).extract().vector[0])
      except features.FeatureException:  # undefined for this piece
        row.append(np.nan)
    rows.append(row)
  return np.array(rows, float), time.process_time() - start


def main(argv: Sequence[str]):
  """Runs the benchmark."""
  del argv  # Unused.
  try:
    import music21
  except ImportError:
    print('music21 is not installed, so there is nothing to compare with: '
          'pip install music21', file=sys.stderr)
    return 1
  warnings.simplefilter('ignore')  # music21 comments on what it parses.
  files = sorted(pathlib.Path(_MIDI_DIR.value).glob('*.mid'))
  files = files[::max(1, len(files) // _NUM_FILES.value)][:_NUM_FILES.value]
  if len(files) < 2:
    raise ValueError(f'{_MIDI_DIR.value}: holds fewer than 2 .mid files')
  pieces = [read_notes(file) for file in files]
  streams = [music21.converter.parse(file) for file in files]

  symbolic_features.extract(pieces[0])
  start = time.process_time()
  ours = np.stack([symbolic_features.extract(notes) for notes in pieces])
  our_seconds = time.process_time() - start
  estimator = symbolic.load()
  estimator.regress(ours[:1])
  start = time.process_time()
  estimator.calibrate(estimator.regress(ours))
  model_seconds = time.process_time() - start
  theirs, their_seconds = _music21_features(streams, list(SHARED))
  ours = ours[:, [
      symbolic_features.FEATURE_NAMES.index(name) for name in SHARED.values()]]

  print(f'{len(files)} files of {_MIDI_DIR.value}, after parsing')
  print(f'ours, {len(symbolic_features.FEATURE_NAMES)} features: '
        f'{len(files) / our_seconds:.1f} files a second')
  print('ours with the model: '
        f'{len(files) / (our_seconds + model_seconds):.1f} files a second')
  print(f'music21 {music21.__version__}, {len(SHARED)} features: '
        f'{len(files) / their_seconds:.1f} files a second')
  print(f'ratio: {their_seconds / our_seconds:.0f}')
  reporting.add({
      'files a second': round(len(files) / our_seconds),
      'against music21': round(their_seconds / our_seconds)})
  print(f'\n{"feature":48}{"same":>6}{"r":>7}   '
        '(same: share of files within 2 %)')
  for column, name in enumerate(SHARED.values()):
    pair = np.stack([ours[:, column], theirs[:, column]])
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    same = np.isclose(*pair, rtol=.02, atol=1e-3).mean()
    r = np.nan if (np.ptp(pair, axis=1) == 0).any() else np.corrcoef(pair)[0, 1]
    print(f'{name:48}{same:6.2f}{r:7.3f}')


def console_entry_point():
  """Runs the benchmark from the command line."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
