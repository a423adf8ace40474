"""How loud, and how early or late, each note of a band is played.

  model = expression.load()
  heard = model.play(heard, va, tempo_qpm, np.random.default_rng(0))

`performance` says how loud a voice is; here is by how much each note differs
from that, and each stroke of the drums from the grid, as people play: boosted
trees on where a note lies in bar and phrase, its length, its contour, what
sounds with it and, but for drums, VA. What the trees leave open is drawn.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import band, grid, midi
from va_magenta.trees import Trees

FEATURES = (
    'voice', 'pitch', 'pitch_from_mean', 'from_last', 'to_next', 'step',
    'bar_of_4', 'bar_of_8', 'length', 'since_last', 'until_next', 'together',
    'rank', 'others', 'place', 'log_tempo', 'valence', 'arousal')
DRUM_FEATURES = (
    'kind', 'step', 'bar_of_4', 'bar_of_8', 'with_bass', 'with_snare',
    'with_hat', 'together', 'since_last', 'until_next', 'in_beat', 'in_bar',
    'place', 'log_tempo')
VELOCITY, DRUM_VELOCITY, DRUM_TIME = MODELS = (
    'velocity', 'drum_velocity', 'drum_time')
PITCHED = (band.MELODY, band.BASS, band.COMPING)
_FAR = 32  # Steps; what is farther away is as far.
_KIND = {pitch: kind for kind, pitches in enumerate(band.DRUM_KINDS)
         for pitch in pitches}
_HATS = (2, 3, 8)
# Of what is drawn beside the trees, beyond so many deviations nothing is.
_MOST_DEVIATIONS = 2.0
_MOST_MILLISECONDS = 20.0
# A part of what drummers' timing leaves open is the grid's, which knows no
# triplets: half of it is drawn.
_OPEN_TIME = 0.5


def _steps(heard: np.ndarray, edge: str = 'start') -> np.ndarray:
  """The sixteenth that each note begins or ends on, int `[notes]`."""
  return np.rint(
      heard[f'{edge}_beats'] * grid.STEPS_PER_QUARTER).astype(int)


def _neighbours(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Steps since the last onset before, and to the next after, each onset.

  Args:
    steps: sorted, of notes of a voice; chords have several at once.
  """
  onsets, index = np.unique(steps, return_inverse=True)
  gaps = np.minimum(np.diff(onsets), _FAR)
  return (np.concatenate([[_FAR], gaps])[index],
          np.concatenate([gaps, [_FAR]])[index])


def features(heard: np.ndarray, va, tempo_qpm: float) -> np.ndarray:
  """What the trees see of pitched notes, float32 `[notes, 18]`.

  Args:
    heard: array of NOTE_DTYPE by start and pitch, `part` the voice; on the grid
      of sixteenths. Rows of drums are NaN.
    va: float `[2]` or `[notes, 2]`.
    tempo_qpm: of the piece.
  """
  found = np.full((len(heard), len(FEATURES)), np.nan, np.float32)
  steps = _steps(heard)
  ends = _steps(heard, 'end')
  last = max(steps.max(initial=0), 1)
  va = np.broadcast_to(np.asarray(va, np.float32), (len(heard), 2))
  for voice in PITCHED:
    index = np.flatnonzero(heard['part'] == voice)
    if not len(index):
      continue
    index = index[np.lexsort((heard['pitch'][index], steps[index]))]
    at, pitch = steps[index], heard['pitch'][index].astype(float)
    since, until = _neighbours(at)
    onsets, first, together = np.unique(
        at, return_index=True, return_counts=True)
    chord = np.searchsorted(onsets, at)
    top = pitch[first + together - 1]
    rank = np.arange(len(at)) - first[chord]
    away = np.diff(top)
    elsewhere = np.unique(steps[heard['part'] != voice])
    found[index] = np.column_stack([
        np.full(len(at), voice), pitch, pitch - pitch.mean(),
        np.concatenate([[0], away])[chord], np.concatenate([away, [0]])[chord],
        at % 16, at // 16 % 4, at // 16 % 8,
        np.log2(np.clip(ends[index] - at, 1, _FAR)), since, until,
        together[chord], rank / np.maximum(together[chord] - 1, 1),
        np.isin(at, elsewhere), at / last,
        np.full(len(at), np.log(tempo_qpm)), va[index]])
  return found


def drum_features(heard: np.ndarray, tempo_qpm: float) -> np.ndarray:
  """What the trees see of strokes, float32 `[strokes, 14]`.

  Args:
    heard: as of `features`, of drums alone.
    tempo_qpm: of the piece.
  """
  steps = _steps(heard)
  kind = np.array([_KIND.get(pitch, 1) for pitch in heard['pitch'].tolist()],
                  int)
  last = max(steps.max(initial=0), 1)
  struck = np.zeros((last + 1, len(band.DRUM_KINDS)), bool)
  struck[steps, kind] = True
  number = struck.sum(1)
  in_beat = np.bincount(np.arange(last + 1) // 4, number)
  in_bar = np.bincount(np.arange(last + 1) // 16, number)
  since, until = np.full((2, len(heard)), float(_FAR))
  for k in np.unique(kind):
    of_kind = np.flatnonzero(kind == k)
    of_kind = of_kind[np.argsort(steps[of_kind], kind='stable')]
    since[of_kind], until[of_kind] = _neighbours(steps[of_kind])
  return np.column_stack([
      kind, steps % 16, steps // 16 % 4, steps // 16 % 8, struck[steps, 0],
      struck[steps, 1], struck[steps][:, _HATS].any(1), number[steps], since,
      until, in_beat[steps // 4], in_bar[steps // 16], steps / last,
      np.full(len(heard), np.log(tempo_qpm))]).astype(np.float32).reshape(
          -1, len(DRUM_FEATURES))


class Expression:
  """Plays notes as people do.

  Args:
    trees: of each of `MODELS`, what it predicts.
    residuals: of each, the standard deviation about that, and how much of a
      note's deviation the next of its voice, or kind of drum, shares; all in
      units of the deviation of a voice in its piece, whose logarithm is
      normally distributed with the mean and standard deviation that are the
      last two.
  """

  def __init__(self, trees: Mapping[str, Trees],
               residuals: Mapping[str, Sequence[float]]):
    self._trees = {name: trees[name] for name in MODELS}
    self._residuals = {
        name: tuple(map(float, residuals[name])) for name in MODELS}

  def predict(self, name: str, x: np.ndarray) -> np.ndarray:
    """What is expected of features, in deviations of the voice."""
    return self._trees[name].predict(x)

  def _draw(self, name, x, noise, of_scale) -> np.ndarray:
    """As expected, and what is left open from standard normal numbers.

    In velocities, or milliseconds.
    """
    deviation, shared, mean, spread = self._residuals[name]
    left = np.empty(len(x))
    last = {}  # Of each kind of drum, or of the voice.
    for i, (kind, number) in enumerate(zip(
        x[:, 0].tolist(), noise.tolist(), strict=True)):
      if kind in last:
        number = shared * last[kind] + np.sqrt(1 - shared**2) * number
      left[i] = last[kind] = number
    return np.exp(mean + spread * of_scale) * (
        self.predict(name, x) + deviation * np.clip(
            left, -_MOST_DEVIATIONS, _MOST_DEVIATIONS))

  def play(
      self, heard: np.ndarray, va, tempo_qpm: float,
      random: np.random.Generator, temperature: float = 1.0) -> np.ndarray:
    """Notes that are loud, and strokes that are early or late, as people's are.

    Args:
      heard: array of NOTE_DTYPE on the grid, `part` the voice; each voice
        equally loud.
      va: float `[2]` or `[notes, 2]`.
      tempo_qpm: of the piece.
      random: the randomness.
      temperature: of what is drawn; 0 plays as is expected.

    Returns:
      A new array, of which velocities, and beats of drums, differ.
    """
    heard = heard.copy()
    noise = random.standard_normal((2, len(heard))) * np.sqrt(temperature)
    of_scale = (
        random.standard_normal(len(band.VOICES) + 1) * np.sqrt(temperature))
    x = features(heard, va, tempo_qpm)
    louder = np.zeros(len(heard))
    for voice in PITCHED:
      of_voice = heard['part'] == voice
      if of_voice.any():
        found = self._draw(
            VELOCITY, x[of_voice], noise[0, of_voice], of_scale[voice])
        louder[of_voice] = found - found.mean()
    drums = heard['part'] == band.DRUMS
    if drums.any():
      x = drum_features(heard[drums], tempo_qpm)
      louder[drums] = self._draw(
          DRUM_VELOCITY, x, noise[0, drums], of_scale[band.DRUMS])
      late = np.clip(
          self._draw(
              DRUM_TIME, x, _OPEN_TIME * noise[1, drums], of_scale[-1]),
          -_MOST_MILLISECONDS, _MOST_MILLISECONDS) / 60000 * tempo_qpm
      starts = heard['start_beats'][drums]
      late = np.maximum(late, -starts)
      for edge in ('start', 'end'):
        heard[f'{edge}_beats'][drums] = midi.on_tick(
            heard[f'{edge}_beats'][drums] + late)
    heard['velocity'] = np.clip(
        np.rint(heard['velocity'] + louder), 1, 127)
    return heard


def load(name_or_path: str | os.PathLike | None = None) -> Expression:
  """The model that `va_magenta_train_expression` wrote.

  Args:
    name_or_path: folder with config.json and weights.npz; the one that ships if
      None.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is damaged, or was made for other features.
  """
  return checkpoints.load(name_or_path, checkpoints.EXPRESSION, _build)


def _build(config: dict, arrays: dict) -> Expression:
  if (tuple(config['features']), tuple(config['drum_features'])) != (
      FEATURES, DRUM_FEATURES):
    raise ValueError('it was trained on other features than are taken now')
  return Expression({
      name: Trees({key.partition('.')[2]: array for key, array in arrays.items()
                   if key.startswith(f'{name}.')}) for name in MODELS},
                    config['residuals'])


def save(folder: pathlib.Path, trees: Mapping[str, Trees],
         residuals: Mapping[str, Sequence[float]], data: dict):
  """Writes what `load` reads.

  Args:
    folder: exists.
    trees: see `Expression`.
    residuals: likewise.
    data: what it was made from, for the record.
  """
  checkpoints.write(folder, checkpoints.EXPRESSION, {
      'features': FEATURES, 'drum_features': DRUM_FEATURES,
      'residuals': {name: [round(float(x), 4) for x in residuals[name]]
                    for name in MODELS}, 'data': data}, {
          f'{name}.{key}': array for name in MODELS
          for key, array in trees[name].arrays.items()})
