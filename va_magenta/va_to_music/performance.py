"""How notes are played: tempo, loudness, articulation, register, instrument.

  model = performance.load()
  [played] = model.draw([[VA(0.5, 0.8)]], tokens, np.random.default_rng(0))
  sequence = performance.play(tokens[0], played)

A melody on a grid of sixteenths says nothing of these, and they carry most of
arousal. They are drawn from distributions that were fitted to music with known
VA (`performance_training`):

- (log note density, log tempo, velocity, logit articulation, mean pitch) of a
  piece's top line is normally distributed about a mean that is linear in VA.
  What counts for arousal is how many notes come a second, not what the
  metronome shows. So the density, in notes a quarter, is one of the variables,
  and a melody is played as is usual for its VA *and its own density*: one of
  many notes more slowly.
- The instrument has a categorical distribution over General MIDI programs whose
  logits are linear in VA.

Loudness is one a piece: where a note lies in its piece (pitch, length, beat,
place) explains 3 % of the variance of velocities within EIMG's played clips.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints, files
from va_magenta.va import VA
from va_magenta.va_to_music import melody

# The variables of the normal distribution, in this order.
VARIABLES = ('log_density', 'log_tempo', 'velocity', 'logit_articulation',
             'pitch')
# What is drawn beyond these is played at them.
TEMPO_RANGE_QPM = (40.0, 220.0)
VELOCITY_RANGE = (20, 120)
ARTICULATION_RANGE = (0.3, 0.98)
PITCH_RANGE = (36, 96)


@dataclasses.dataclass(frozen=True)
class Performance:
  """How a phrase is played; by default, as notes are written.

  Attributes:
    tempo_qpm: quarter notes a minute.
    velocity: MIDI velocity of all notes, 1..127.
    articulation: a note sounds at most for this share of the time until the
      next, (0, 1].
    shift: of all pitches, in semitones.
    program: General MIDI program, 0..127.
  """

  tempo_qpm: float = 120.0
  velocity: int = melody.VELOCITY
  articulation: float = 1.0
  shift: int = 0
  program: int = 0


PLAIN = Performance()


def density(tokens: np.ndarray) -> np.ndarray:
  """Notes a quarter of melodies, int [..., steps] -> float [...].

  A melody without notes counts as one of one note.
  """
  quarters = tokens.shape[-1] / melody.STEPS_PER_QUARTER
  return np.maximum((tokens >= melody.FIRST_PITCH_TOKEN).sum(-1), 1) / quarters


class PerformanceModel:
  """Conditional distributions of performances given VA.

  Args:
    normal: 'weights' [3, 5], the mean of `VARIABLES` is [1, valence, arousal]
      times these; 'covariance' [5, 5] about it; 'marginal_mean' [5] and
      'marginal_covariance' [5, 5] of all music.
    instruments: 'programs', of General MIDI; 'weights' [3, programs], their
      logits likewise; 'marginal' [programs], their shares in all music.
  """

  def __init__(self, normal: dict, instruments: dict):
    as_arrays = {k: np.asarray(v, float) for k, v in normal.items()}
    self.weights = as_arrays['weights']
    self.covariance = as_arrays['covariance']
    self.marginal_mean = as_arrays['marginal_mean']
    self.marginal_covariance = as_arrays['marginal_covariance']
    self.programs = np.asarray(instruments['programs'], int)
    self.program_weights = np.asarray(instruments['weights'], float)
    self.program_marginal = np.asarray(instruments['marginal'], float)
    n, p = len(VARIABLES), len(self.programs)
    if (self.weights.shape, self.covariance.shape, self.marginal_mean.shape,
        self.marginal_covariance.shape, self.program_weights.shape,
        self.program_marginal.shape) != (
            (3, n), (n, n), (n,), (n, n), (3, p), (p,)):
      raise ValueError('arrays of wrong shapes')

  def distribution(
      self, va: np.ndarray, log_density: np.ndarray | None = None,
      guidance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Of log tempo, velocity, logit articulation and pitch.

    Args:
      va: float [..., 2].
      log_density: of the melody, [...]; if None, that is left open.
      guidance: w of p(x | VA)^w p(x)^(1 - w), as classifier-free guidance is
        (Ho & Salimans 2022): 0 knows nothing of VA, 1 is what was learned, more
        says it more clearly.

    Returns:
      Mean [..., 4] and covariance [4, 4].
    """
    mean = _with_one(va) @ self.weights
    # Of a product of normal densities precisions add up.
    of_condition = guidance * np.linalg.inv(self.covariance)
    of_marginal = (1 - guidance) * np.linalg.inv(self.marginal_covariance)
    covariance = np.linalg.inv(of_condition + of_marginal)
    mean = (mean @ of_condition + self.marginal_mean @ of_marginal) @ covariance
    if log_density is not None:
      slope = covariance[0, 1:] / covariance[0, 0]
      mean[..., 1:] += (log_density - mean[..., 0])[..., None] * slope
      covariance = covariance - np.outer(
          covariance[:, 0], covariance[0]) / covariance[0, 0]
    return mean[..., 1:], covariance[1:, 1:]

  def program_probabilities(
      self, va: np.ndarray, guidance: float = 1.0, temperature: float = 1.0
  ) -> np.ndarray:
    """Of `programs`.

    Args:
      va: float [..., 2].
      guidance: as in `distribution`.
      temperature: divides log probabilities, > 0.

    Returns:
      Float [..., programs].
    """
    logits = _with_one(va) @ self.program_weights
    logits = guidance * log_softmax(logits) + (1 - guidance) * np.log(
        self.program_marginal)
    return np.exp(log_softmax(logits / temperature))

  def draw(
      self, targets: Sequence[Sequence[VA]], tokens: np.ndarray,
      random: np.random.Generator, *, temperature: float = 1.0,
      guidance: float = 1.0) -> list[list[Performance]]:
    """Performances of melodies.

    What is random is drawn once a piece, and the same whatever the targets are:
    along a path tempo, loudness and articulation glide, and register and
    instrument, those of the path's middle, stay.

    Args:
      targets: where each phrase of each piece shall lie.
      tokens: the melodies, int [pieces, steps].
      random: the randomness.
      temperature: divides log probabilities; 0 takes the likeliest.
      guidance: as in `distribution`.

    Returns:
      Of each piece, a performance a phrase.
    """
    noise = random.standard_normal((len(tokens), len(VARIABLES) - 1))
    uniform = random.random(len(tokens))
    points = np.array([
        [(va.valence, va.arousal) for va in path] for path in targets])
    log_density = np.log(density(tokens))[:, None]
    mean, covariance = self.distribution(points, log_density, guidance)
    deviation = noise @ np.linalg.cholesky(covariance).T
    drawn = mean + np.sqrt(temperature) * deviation[:, None]
    tempo = np.exp(drawn[..., 0]).clip(*TEMPO_RANGE_QPM)
    velocity = np.rint(drawn[..., 1].clip(*VELOCITY_RANGE)).astype(int)
    articulation = (1 / (1 + np.exp(-drawn[..., 2]))).clip(*ARTICULATION_RANGE)
    register = drawn[..., 3].mean(1)
    cumulative = np.cumsum(self.program_probabilities(
        points.mean(1), guidance, max(temperature, 1e-6)), axis=-1)
    program = self.programs[np.minimum(
        (cumulative <= uniform[:, None]).sum(-1), len(self.programs) - 1)]
    return [
        [Performance(float(qpm), int(loudness), float(share),
                     _shift(tokens[i], register[i]), int(program[i]))
         for qpm, loudness, share in zip(
             tempo[i], velocity[i], articulation[i], strict=True)]
        for i in range(len(tokens))
    ]


def _with_one(va: np.ndarray) -> np.ndarray:
  """[valence, arousal] as [1, valence, arousal], along the last axis."""
  return np.concatenate([np.ones_like(va[..., :1]), va], axis=-1)


def log_softmax(logits: np.ndarray) -> np.ndarray:
  """Log probabilities along the last axis."""
  logits = logits - logits.max(-1, keepdims=True)
  return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def _shift(tokens: np.ndarray, register: float) -> int:
  """Semitones that bring a melody's mean pitch to a register.

  As far as its lowest and highest notes allow. A transposition leaves all
  intervals as they are; the key of a melody that stands alone is as good as any
  other.
  """
  pitches = tokens[tokens >= melody.FIRST_PITCH_TOKEN].astype(int) + (
      melody.MIN_PITCH - melody.FIRST_PITCH_TOKEN)
  if not len(pitches):
    return 0
  low, high = PITCH_RANGE[0] - pitches.min(), PITCH_RANGE[1] - pitches.max()
  if low > high:  # It is wider than the range: to its middle.
    return int((low + high) // 2)
  return int(np.clip(np.rint(register - pitches.mean()), low, high))


def play(tokens: np.ndarray, performances: Sequence[Performance]):
  """A melody as it is performed.

  Args:
    tokens: int [steps], see `melody`.
    performances: one a phrase; phrases are equally long. Between their middles
      tempo, velocity and articulation glide. Shift and program are the first's.

  Returns:
    A `note_seq.NoteSequence`.
  """
  first = performances[0]
  # At 60 quarters a minute, seconds are quarters.
  sequence = melody.tokens_to_sequence(
      tokens, tempo_qpm=60, program=first.program)
  num_quarters = len(tokens) / melody.STEPS_PER_QUARTER
  middles = (np.arange(len(performances)) + 0.5) * (
      num_quarters / len(performances))

  def glide(name, quarters):
    values = [getattr(p, name) for p in performances]
    return np.interp(quarters, middles, values)

  quarters = np.arange(np.ceil(num_quarters))
  tempos = glide('tempo_qpm', quarters + 0.5)
  times = np.concatenate([[0], np.cumsum(60 / tempos)])
  onsets = [note.start_time for note in sequence.notes]
  # In the last, to where it ends anyway.
  until = [*onsets[1:], *[note.end_time for note in sequence.notes[-1:]]]
  for note, start, following in zip(sequence.notes, onsets, until, strict=True):
    share = glide('articulation', start)
    end = min(note.end_time, start + share * (following - start))
    note.start_time, note.end_time = np.interp(
        [start, end], np.arange(len(times)), times)
    note.pitch += first.shift
    note.velocity = int(np.rint(glide('velocity', start)))
  sequence.total_time = max((n.end_time for n in sequence.notes), default=0)
  del sequence.tempos[:]
  for i, qpm in enumerate(tempos):
    if not i or qpm != tempos[i - 1]:
      sequence.tempos.add(time=times[i], qpm=qpm)
  return sequence


def load(folder: str | os.PathLike | None = None) -> PerformanceModel:
  """The model that `va_magenta_train_performance` wrote.

  Args:
    folder: holds config.json; by default the shipped one.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is damaged.
  """
  path = pathlib.Path(folder or checkpoints.path('performance_va'))
  path = path / 'config.json'
  try:
    config = json.loads(path.read_text())
    return PerformanceModel(config['normal'], config['instruments'])
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
        f'{path}: is not a model of performances ({error!r}); '
        'va_magenta_train_performance writes it anew') from error


def save(folder: pathlib.Path, normal: dict, instruments: dict, data: dict):
  """Writes what `load` reads.

  Args:
    folder: exists.
    normal: see `PerformanceModel`.
    instruments: likewise.
    data: what it was made from, for the record.
  """
  with files.writing(folder / 'config.json') as temporary:
    temporary.write_text(json.dumps({
        'variables': VARIABLES, 'normal': _rounded(normal),
        'instruments': _rounded(instruments), 'data': data,
    }, indent=1) + '\n')


def _rounded(arrays: dict) -> dict:
  """As lists, to six digits."""
  return {
      name: np.vectorize(lambda x: float(f'{x:.6g}'))(array).tolist()
      if np.asarray(array).dtype.kind == 'f' else np.asarray(array).tolist()
      for name, array in arrays.items()}
