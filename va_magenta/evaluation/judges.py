"""Judges of where generated music lies: models that were in no loss.

* `Reader` reads notes: a student of people's ratings (`symbolic`). The half of
  EIMG's groups that it learned from, `symbolic_va/judge`, has neither taught
  the critic nor chosen among candidates; that is `symbolic_va/generator`.
* `Listener` estimates from the notes as synthesised: the audio teacher, and the
  label that `fusion` makes of both.
* `QuadrantJudge` tells EMOPIA's quadrants, having learned from its clips (Hung
  et al. 2021), which are of other people's music and judgement.
"""

import contextlib
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable

import numpy as np

from va_magenta import checkpoints, files

JUDGE, SELECTOR = 'judge', 'generator'


def student(half: str):
  """The student of one half of EIMG's groups; see `symbolic`.

  Args:
    half: `JUDGE` or `SELECTOR`.

  Raises:
    FileNotFoundError: if it is not there.
    ValueError: if it is damaged.
  """
  from va_magenta.music_to_va import symbolic

  folder = checkpoints.path('symbolic_va') / half
  if not (folder / 'config.json').is_file():
    raise FileNotFoundError(
        f'{folder} has no config.json: the student of one half of EIMG, which '
        'the evaluation needs, is written by va_magenta_train_midi '
        '--model=student')
  return symbolic.load(folder)


@functools.lru_cache(2**15)
def _features(sequence: bytes) -> np.ndarray:
  import note_seq

  from va_magenta.music.notes import from_note_sequence
  from va_magenta.music_to_va import symbolic_features
  return symbolic_features.extract(from_note_sequence(
      note_seq.NoteSequence.FromString(sequence)))


def features(sequences: Iterable) -> np.ndarray:
  """What students read of NoteSequences, float32 [n, features]; remembered."""
  return np.stack([
      _features(s.SerializeToString(deterministic=True)) for s in sequences])


class Reader:
  """Reads notes.

  Attributes:
    student: a `symbolic.SymbolicVA`.
  """

  def __init__(self, student):
    self.student = student

  def __call__(self, sequences) -> np.ndarray:
    """Where NoteSequences lie: float64 [n, 2] in [-1, 1], calibrated."""
    return self.student.calibrate(
        self.student.regress(features(sequences))).clip(-1, 1)


class Listener:
  """Estimates from sound, by a synthesiser; about a second for a piece.

  Attributes:
    student: a `symbolic.SymbolicVA`, for the fusion with the notes.
  """

  def __init__(self, student, kind: str = 'window'):
    """Loads the audio teacher.

    Args:
      student: a `symbolic.SymbolicVA`.
      kind: one of `fusion.KINDS`.

    Raises:
      OSError: if weights or FluidSynth are missing.
    """
    from va_magenta.music import synthesis
    from va_magenta.music_to_va import audio, fusion

    synthesis.import_fluidsynth()
    self.student = student
    self._teacher = audio.load()
    self._fusion = fusion.load()[kind]

  def listen(self, sequence) -> list[float]:
    """What is expected of a NoteSequence's sound: valence and arousal."""
    from va_magenta.music_to_va import audio

    windows, source = audio.extract(sequence)
    means = windows.mean(axis=0, dtype=np.float64)[None]
    return self._teacher.regress(means, source)[0].tolist()

  def by_ear(self, estimates: np.ndarray) -> np.ndarray:
    """Calibrated points [n, 2] of what `listen` gave for n pieces."""
    return self._teacher.calibrate(estimates).clip(-1, 1)

  def fuse(self, sequences, estimates: np.ndarray) -> np.ndarray:
    """Labels [n, 2] fused from both estimates of n pieces."""
    read = self.student.regress(features(sequences))
    return self._fusion.apply(
        np.concatenate([read, estimates], axis=1).clip(-1, 1))[0]


# EMOPIA.


_QUADRANTS_BY_SONG_FOLDS = 5
_NUM_TREES = 200


class QuadrantJudge:
  """Tells quadrants 1..4 as EMOPIA's listeners did.

  Trained on whole clips and on the melodies and excerpts that are made of them
  for the student too, because the generator writes melodies.

  Attributes:
    held_out: its accuracy, by song, on 'clip', 'melody' and 'melody excerpt' of
      songs that it was not trained on.
  """

  def __init__(self, features, quadrants, songs, kinds, seed: int = 0):
    """Fits the classifier, and measures it.

    Args:
      features: float32 [n, features].
      quadrants: int [n] in 1..4.
      songs: str [n], rows of one song are held out together.
      kinds: str [n]: 'clip', or as `training.symbolic.augment` says.
      seed: of folds and trees.
    """
    from sklearn import model_selection

    self._seed = seed
    right = np.zeros(len(kinds), bool)
    folds = model_selection.GroupKFold(
        _QUADRANTS_BY_SONG_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(features, groups=songs):
      model = self._fit(features[train], quadrants[train], kinds[train])
      guess = np.argmax(model.predict(features[test]), axis=1) + 1
      right[test] = guess == quadrants[test]
    self.held_out = {
        kind: float(right[kinds == kind].mean())
        for kind in ('clip', 'melody', 'melody excerpt')
        if (kinds == kind).any()}
    self._model = self._fit(features, quadrants, kinds)

  def _fit(self, features, quadrants, kinds):
    import lightgbm

    from va_magenta.training import symbolic as symbolic_training
    return lightgbm.train(
        {'objective': 'multiclass', 'num_class': 4, 'num_leaves': 15,
         'learning_rate': .05, 'feature_fraction': .2, 'bagging_freq': 1,
         'bagging_fraction': .7, 'lambda_l2': 5, 'min_data_in_leaf': 10,
         'num_threads': 1, 'verbose': -1, 'force_col_wise': True,
         'deterministic': True, 'seed': self._seed},
        lightgbm.Dataset(
            features, quadrants - 1, weight=np.where(
                kinds == 'clip', 1, symbolic_training.AUGMENTED_WEIGHT)),
        _NUM_TREES)

  def __call__(self, sequences) -> np.ndarray:
    """Quadrants of NoteSequences, int [n] in 1..4."""
    return np.argmax(self._model.predict(features(sequences)), axis=1) + 1


def load_quadrant_judge(
    emopia_dir: pathlib.Path, cache: pathlib.Path, seed: int,
    report: Callable[[str], None]) -> QuadrantJudge:
  """Reads EMOPIA (a few minutes the first time) and fits to it.

  Args:
    emopia_dir: label.csv and midi/.
    cache: .npz file that keeps what was read; of another EMOPIA or other
      features, or damaged, it is made anew.
    seed: of excerpts, folds and trees.
    report: is given lines of progress.

  Raises:
    OSError, ValueError: if it is not EMOPIA, or damaged.
  """
  from va_magenta.music.midi import read_notes
  from va_magenta.music_to_va import symbolic_features
  from va_magenta.training import rated
  from va_magenta.training import symbolic as symbolic_training

  clips = rated.read_emopia(emopia_dir)
  key = hashlib.md5(repr((
      [path.name for path in clips.paths], clips.quadrants.tolist(), seed,
      symbolic_features.FEATURE_NAMES)).encode()).hexdigest()
  with contextlib.suppress(OSError, ValueError):
    arrays = files.read_npz(cache)
    if str(arrays.pop('key', None)) == key:
      return QuadrantJudge(**arrays, seed=seed)
  import tqdm

  rng = np.random.default_rng(seed)
  found, rows, kinds = [], [], []
  for i, path in enumerate(
      tqdm.tqdm(clips.paths, 'reading EMOPIA', unit='clip')):
    notes = read_notes(path)
    for kind, piece in [('clip', notes), *symbolic_training.augment(
        notes, rng)]:
      found.append(symbolic_features.extract(piece))
      rows.append(i)
      kinds.append(kind)
  num = len(clips.paths)
  report(f'{num} EMOPIA clips, {len(found) - num} pieces of them')
  arrays = {
      'features': np.stack(found), 'quadrants': clips.quadrants[rows],
      'songs': clips.songs[rows], 'kinds': np.array(kinds)}
  with files.writing(cache) as temporary:
    np.savez_compressed(temporary, key=key, **arrays)
  return QuadrantJudge(**arrays, seed=seed)
