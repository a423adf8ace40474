"""How notes are played: tempo, loudness, articulation, register, instrument.

  model = performance.load()
  [played] = model.draw([[VA(0.5, 0.8)]], tokens, np.random.default_rng(0))
  sequence = performance.play(tokens[0], played)

A melody on a grid of sixteenths says nothing of these, and they carry most of
arousal. They are drawn from distributions that were fitted to music with known
VA (`training.performance`):

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

A trio is played by a small band. Its melody is played as any other; beside it

- how much louder than the melody bass and drums are is normally distributed
  (with a mean that does not depend on VA, as that helped nothing held out), and
  the bass has a categorical distribution over General MIDI's basses, given VA;
- drums play or rest, with a chance given VA: calm music mostly has none;
- the bass is in the melody's key, in the octave where it lies.

A band of four voices (`music.band`) has comping beside them, with a loudness
beside the melody's, and the instruments of one by people: of those near in VA,
with drums if it has drums.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import grid, melody, midi, trio
from va_magenta.va import VA

# The variables of a melody's normal distribution, in this order.
VARIABLES = ('log_density', 'log_tempo', 'velocity', 'logit_articulation',
             'pitch')
# And of a band's: velocity less the melody's.
BALANCE = ('bass', 'drums')
_REACH = 2.0  # Deviations of VA, see `Categorical`.
# No instrument plays more melodies than this of any VA: what the labels of few
# pieces say of the plane's corners is not worth more.
MAX_SHARE = 0.15
# What is drawn beyond these is played at them.
TEMPO_RANGE_QPM = (40.0, 220.0)
VELOCITY_RANGE = (20, 120)
ARTICULATION_RANGE = (0.3, 0.98)
PITCH_RANGE = (36, 96)


@dataclasses.dataclass(frozen=True)
class Performance:
  """How a melody is played; by default, as notes are written.

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


@dataclasses.dataclass(frozen=True)
class BandPerformance(Performance):
  """How a trio is played; what it shares with a melody is of its melody.

  Attributes:
    bass_program: General MIDI program, 0..127.
    bass_velocity: MIDI velocity of all notes of the bass, 1..127.
    drum_velocity: likewise of the drums.
    drums_play: whether there are any.
  """

  bass_program: int = trio.BASS_PROGRAM
  bass_velocity: int = melody.VELOCITY
  drum_velocity: int = melody.VELOCITY
  drums_play: bool = True

  @property
  def bass_shift(self) -> int:
    """Of the bass' pitches, in semitones: at most half an octave."""
    return (self.shift + 6) % 12 - 6


@dataclasses.dataclass(frozen=True)
class FullBandPerformance(BandPerformance):
  """How a band of four voices is played.

  Attributes:
    comping_program: General MIDI program, 0..127.
    comping_velocity: MIDI velocity of all notes of the comping, 1..127.
  """

  comping_program: int = 0
  comping_velocity: int = melody.VELOCITY


_PERFORMANCES = {1: Performance, 3: BandPerformance, 4: FullBandPerformance}


def plain(num_outputs: int) -> Performance:
  """As notes are written: of a melody, a trio or a band of four voices."""
  return _PERFORMANCES[num_outputs]()


def density(tokens: np.ndarray) -> np.ndarray:
  """Notes a quarter of melodies, int [..., steps] -> float [...].

  A melody without notes counts as one of one note.
  """
  quarters = tokens.shape[-1] / grid.STEPS_PER_QUARTER
  return np.maximum((tokens >= grid.FIRST_PITCH).sum(-1), 1) / quarters


class Normal:
  """A normal distribution whose mean is linear in VA.

  Args:
    weights: [3, variables], the mean is [1, valence, arousal] times these.
    covariance: [variables, variables], about it.
    marginal_mean: [variables], of all music.
    marginal_covariance: likewise.

  Raises:
    ValueError: if shapes do not match.
  """

  def __init__(
      self, weights, covariance, marginal_mean, marginal_covariance):
    self.weights = np.asarray(weights, float)
    self.covariance = np.asarray(covariance, float)
    self.marginal_mean = np.asarray(marginal_mean, float)
    self.marginal_covariance = np.asarray(marginal_covariance, float)
    n = self.marginal_mean.size
    _check_shapes(
        (self.weights, (3, n)), (self.covariance, (n, n)),
        (self.marginal_covariance, (n, n)))

  def given(
      self, va: np.ndarray, guidance: float = 1.0
  ) -> tuple[np.ndarray, np.ndarray]:
    """Mean [..., variables] and covariance [variables, variables].

    Args:
      va: float [..., 2].
      guidance: w of p(x | VA)^w p(x)^(1 - w), as classifier-free guidance is
        (Ho & Salimans 2022): 0 knows nothing of VA, 1 is what was learned, more
        says it more clearly.
    """
    # Of a product of normal densities precisions add up.
    of_condition = guidance * np.linalg.inv(self.covariance)
    of_marginal = (1 - guidance) * np.linalg.inv(self.marginal_covariance)
    covariance = np.linalg.inv(of_condition + of_marginal)
    mean = _with_one(va) @ self.weights
    return (mean @ of_condition + self.marginal_mean @ of_marginal
            ) @ covariance, covariance


class Categorical:
  """A distribution over a few whole numbers, whose logits are linear in VA.

  Farther than `_REACH` deviations from the mean of what it was fitted to
  nothing is known, and a line that went on would leave one value alone: there
  it is what it is on the way to that mean, where that far is reached.

  Args:
    values: int [values], for instance General MIDI programs.
    weights: [3, values], of the logits, as in `Normal`.
    marginal: [values], their shares in all music.
    va_mean: [2], of the VA of that music.
    va_deviation: [2], standard deviation of its axes, > 0.

  Raises:
    ValueError: if shapes do not match.
  """

  def __init__(self, values, weights, marginal, va_mean, va_deviation):
    self.values = np.asarray(values, int)
    self.weights = np.asarray(weights, float)
    self.marginal = np.asarray(marginal, float)
    self.va_mean = np.asarray(va_mean, float)
    self.va_deviation = np.asarray(va_deviation, float)
    n = self.values.size
    _check_shapes(
        (self.weights, (3, n)), (self.marginal, (n,)), (self.va_mean, (2,)),
        (self.va_deviation, (2,)))

  def given(
      self, va: np.ndarray, guidance: float = 1.0, temperature: float = 1.0
  ) -> np.ndarray:
    """Probabilities of `values`.

    Args:
      va: float [..., 2].
      guidance: as in `Normal`.
      temperature: divides log probabilities, > 0.

    Returns:
      Float [..., values].
    """
    away = va - self.va_mean
    far = np.linalg.norm(away / self.va_deviation, axis=-1, keepdims=True)
    logits = _with_one(
        self.va_mean + away / np.maximum(far / _REACH, 1)) @ self.weights
    logits = guidance * log_softmax(logits) + (1 - guidance) * np.log(
        self.marginal)
    return np.exp(log_softmax(logits / temperature))

  def draw(
      self, va: np.ndarray, uniform: np.ndarray, guidance: float,
      temperature: float, most: float = 1.0) -> np.ndarray:
    """Values, int [...], for va [..., 2] and random numbers [...] in [0, 1).

    Where one would have a greater share than `most`, all are drawn to their
    shares in all music, by as much as that takes; not at temperature 0.
    """
    shares = self.given(va, guidance, max(temperature, 1e-6))
    top = shares.argmax(-1)
    greatest, usual = shares.max(-1), self.marginal[top]
    if temperature > 0:
      towards = np.clip(
          (greatest - most) / np.maximum(greatest - usual, 1e-9), 0, 1)
      shares = shares + towards[..., None] * (self.marginal - shares)
    cumulative = np.cumsum(shares, axis=-1)
    return self.values[np.minimum(
        (cumulative <= uniform[..., None]).sum(-1), len(self.values) - 1)]


class Bands:
  """Who plays together, as in bands by people.

  Args:
    programs: General MIDI programs of melody, bass and comping, int
      `[bands, 3]`.
    drums: whether there are drums, `[bands]`.
    va: float `[bands, 2]`.

  Raises:
    ValueError: if shapes do not match.
  """

  # Of so many nearest in VA one is drawn.
  NUM_NEAREST = 200

  def __init__(self, programs, drums, va):
    self.programs = np.asarray(programs, int)
    self.drums = np.asarray(drums, bool)
    self.va = np.asarray(va, float)
    n = len(self.drums)
    _check_shapes((self.programs, (n, 3)), (self.va, (n, 2)))

  def draw(self, va: np.ndarray, drums: np.ndarray, uniform: np.ndarray,
           guidance: float, temperature: float) -> np.ndarray:
    """Programs of melody, bass and comping, int `[n, 3]`.

    Args:
      va: float `[n, 2]`.
      drums: whether drums play, bool `[n]`.
      uniform: the randomness, `[n]` in [0, 1).
      guidance: so many times fewer are near; 0 takes any.
      temperature: below 1 fewer are, too; 0 takes the nearest.
    """
    drawn = np.empty((len(va), 3), int)
    for i, point in enumerate(va):
      alike = np.flatnonzero(self.drums == drums[i])
      if not len(alike):
        alike = np.arange(len(self.drums))
      near = alike[np.argsort(
          np.square(self.va[alike] - point).sum(1), kind='stable')]
      num = min(self.NUM_NEAREST / max(guidance, 1e-9), len(near))
      num = max(int(num * min(temperature, 1)), 1)
      drawn[i] = self.programs[near[int(uniform[i] * num)]]
    return drawn


def _check_shapes(*arrays_and_shapes):
  if any(array.shape != shape for array, shape in arrays_and_shapes):
    raise ValueError('arrays of wrong shapes')


class PerformanceModel:
  """Conditional distributions of performances given VA.

  Args:
    normal: arguments of `Normal`, of `VARIABLES`.
    instruments: of `Categorical`, the programs of melodies.
    balance: of `Normal`, of `BALANCE`.
    basses: of `Categorical`, the programs of basses.
    drums: of `Categorical`, whether drums play, 0 or 1.
    bands: of `Bands`, who plays together in bands of four voices.
    comping_balance: of `Normal`, velocity of what accompanies less the
      melody's.
  """

  def __init__(self, normal: dict, instruments: dict, balance: dict,
               basses: dict, drums: dict, bands: dict,
               comping_balance: dict):
    self.normal, self.balance, self.comping_balance = (
        Normal(**parameters) for parameters in (
            normal, balance, comping_balance))
    self.instruments, self.basses, self.drums = (
        Categorical(**parameters) for parameters in (
            instruments, basses, drums))
    self.bands = Bands(**bands)
    _check_shapes(
        (self.normal.marginal_mean, (len(VARIABLES),)),
        (self.balance.marginal_mean, (len(BALANCE),)))

  def distribution(
      self, va: np.ndarray, log_density: np.ndarray | None = None,
      guidance: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Of log tempo, velocity, logit articulation and pitch.

    Args:
      va: float [..., 2].
      log_density: of the melody, [...]; if None, that is left open.
      guidance: as in `Normal.given`.

    Returns:
      Mean [..., 4] and covariance [4, 4].
    """
    mean, covariance = self.normal.given(va, guidance)
    if log_density is not None:
      slope = covariance[0, 1:] / covariance[0, 0]
      mean[..., 1:] += (log_density - mean[..., 0])[..., None] * slope
      covariance = covariance - np.outer(
          covariance[:, 0], covariance[0]) / covariance[0, 0]
    return mean[..., 1:], covariance[1:, 1:]

  def draw(
      self, targets: Sequence[Sequence[VA]], tokens: np.ndarray,
      random: np.random.Generator, *, temperature: float = 1.0,
      guidance: float = 1.0) -> list[list[Performance]]:
    """Performances of melodies, trios or bands of four voices.

    What is random is drawn once a piece, and the same whatever the targets are:
    along a path tempo, loudness and articulation glide, drums come in or go,
    and register and instruments, those of the path's middle, stay.

    Args:
      targets: where each section of each piece shall lie.
      tokens: the pieces, int [pieces, steps, outputs].
      random: the randomness.
      temperature: divides log probabilities; 0 takes the likeliest.
      guidance: as in `Normal.given`.

    Returns:
      Of each piece, a performance a section.
    """
    melodies = tokens[..., trio.MELODY]
    noise = random.standard_normal((len(tokens), len(VARIABLES) - 1))
    uniform = random.random(len(tokens))
    points = np.array([
        [(va.valence, va.arousal) for va in path] for path in targets])
    drawn = _deviating(
        *self.distribution(
            points, np.log(density(melodies))[:, None], guidance),
        noise, temperature)
    tempo = np.exp(drawn[..., 0]).clip(*TEMPO_RANGE_QPM)
    velocity = _as_velocity(drawn[..., 1])
    articulation = (1 / (1 + np.exp(-drawn[..., 2]))).clip(*ARTICULATION_RANGE)
    register = drawn[..., 3].mean(1)
    program = self.instruments.draw(
        points.mean(1), uniform, guidance, _of_programs(temperature), MAX_SHARE)
    played = [
        [Performance(float(qpm), int(loudness), float(share),
                     _shift(melodies[i], register[i]), int(program[i]))
         for qpm, loudness, share in zip(
             tempo[i], velocity[i], articulation[i], strict=True)]
        for i in range(len(tokens))
    ]
    if tokens.shape[-1] == 1:
      return played
    noise = random.standard_normal((len(tokens), len(BALANCE)))
    uniform = random.random(len(tokens))
    louder = _deviating(
        *self.balance.given(points, guidance), noise, temperature)
    band = _as_velocity(velocity[..., None] + louder)
    program = self.basses.draw(
        points.mean(1), uniform, guidance, _of_programs(temperature))
    uniform = np.broadcast_to(
        random.random(len(tokens))[:, None], points.shape[:2])
    drums_play = self.drums.draw(points, uniform, guidance, temperature)
    played = [
        [BandPerformance(
            **dataclasses.asdict(of_melody), bass_program=int(program[i]),
            bass_velocity=int(bass), drum_velocity=int(drums),
            drums_play=bool(play))
         for of_melody, (bass, drums), play in zip(
             played[i], band[i], drums_play[i], strict=True)]
        for i in range(len(tokens))
    ]
    if tokens.shape[-1] == 3:
      return played
    uniform = random.random(len(tokens))
    noise = random.standard_normal((len(tokens), 1))
    louder = _deviating(
        *self.comping_balance.given(points, guidance), noise, temperature)
    comping = _as_velocity(velocity + louder[..., 0])
    programs = self.bands.draw(
        points.mean(1), tokens[..., trio.DRUMS].any(1), uniform, guidance,
        _of_programs(temperature)).tolist()
    return [
        [FullBandPerformance(
            **dataclasses.asdict(p) | dict(zip(
                ('program', 'bass_program', 'comping_program'), programs[i],
                strict=True)), comping_velocity=int(loudness))
         for p, loudness in zip(played[i], comping[i], strict=True)]
        for i in range(len(tokens))
    ]


def _of_programs(temperature: float) -> float:
  """That of instruments: 1, as often as in music, from the default 0.5 on."""
  return max(min(2 * temperature, 1.0), temperature)


def _deviating(mean, covariance, noise, temperature) -> np.ndarray:
  """Draws [n, sections, variables] that deviate alike in all sections.

  Args:
    mean: [n, sections, variables].
    covariance: [variables, variables].
    noise: standard normal [n, variables].
    temperature: of the draws.
  """
  deviation = noise @ np.linalg.cholesky(covariance).T
  return mean + np.sqrt(temperature) * deviation[:, None]


def _as_velocity(drawn: np.ndarray) -> np.ndarray:
  return np.rint(drawn.clip(*VELOCITY_RANGE)).astype(int)


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
  pitches = tokens[tokens >= grid.FIRST_PITCH].astype(int) + (
      grid.MIN_PITCH - grid.FIRST_PITCH)
  if not len(pitches):
    return 0
  low, high = PITCH_RANGE[0] - pitches.min(), PITCH_RANGE[1] - pitches.max()
  if low > high:  # It is wider than the range: to its middle.
    return int((low + high) // 2)
  return int(np.clip(np.rint(register - pitches.mean()), low, high))


def play(tokens: np.ndarray, performances: Sequence):
  """A melody or a trio as it is performed.

  Args:
    tokens: int [steps, outputs], see `melody` and `trio`.
    performances: one a section, of trios `BandPerformance`s; sections are
      equally long. Between their middles tempo, velocity and articulation
      glide. Shift and programs are the first's.

  Returns:
    A `note_seq.NoteSequence`.
  """
  first = performances[0]
  # Attribute of the velocity, shift and whether it is articulated, of each.
  parts = {trio.INSTRUMENTS[trio.MELODY]: ('velocity', first.shift, True)}
  # At 60 quarters a minute, seconds are quarters.
  if tokens.shape[1] == 1:
    sequence = melody.tokens_to_sequence(
        tokens[:, 0], tempo_qpm=60, program=first.program)
  else:
    drums_play = np.repeat(
        [p.drums_play for p in performances], len(tokens) // len(performances))
    tokens = np.array(tokens)
    tokens[~drums_play, trio.DRUMS] = trio.NO_DRUMS
    sequence = trio.tokens_to_sequence(
        tokens, tempo_qpm=60, programs=(first.program, first.bass_program))
    parts |= {
        trio.INSTRUMENTS[trio.BASS]: ('bass_velocity', first.bass_shift, True),
        trio.INSTRUMENTS[trio.DRUMS]: ('drum_velocity', 0, False)}
  num_quarters = len(tokens) / grid.STEPS_PER_QUARTER
  middles = (np.arange(len(performances)) + 0.5) * (
      num_quarters / len(performances))

  def glide(name, quarters):
    values = [getattr(p, name) for p in performances]
    return np.interp(quarters, middles, values)

  quarters = np.arange(np.ceil(num_quarters))
  # What is estimated from the sequence holds for the file that is written.
  tempos = midi.as_tempo(glide('tempo_qpm', quarters + 0.5))
  times = np.concatenate([[0], np.cumsum(60 / tempos)])
  for instrument, (velocity, shift, is_articulated) in parts.items():
    notes = [n for n in sequence.notes if n.instrument == instrument]
    onsets = [note.start_time for note in notes]
    # In the last, to where it ends anyway.
    until = [*onsets[1:], *[note.end_time for note in notes[-1:]]]
    for note, start, following in zip(notes, onsets, until, strict=True):
      end = note.end_time
      if is_articulated:
        share = glide('articulation', start)
        end = min(end, start + share * (following - start))
        end = max(midi.on_tick(end), start + 1 / midi.TICKS)
      note.start_time, note.end_time = np.interp(
          [start, end], np.arange(len(times)), times)
      note.pitch += shift
      note.velocity = int(np.rint(glide(velocity, start)))
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
  return checkpoints.load(
      folder, checkpoints.PERFORMANCE, lambda config, _: PerformanceModel(
          **{name: config[name] for name in _PARTS}))


_PARTS = ('normal', 'instruments', 'balance', 'basses', 'drums', 'bands',
          'comping_balance')


def save(folder: pathlib.Path, parts: dict[str, dict], data: dict):
  """Writes what `load` reads.

  Args:
    folder: exists.
    parts: arguments of `PerformanceModel`, by name.
    data: what it was made from, for the record.
  """
  checkpoints.write(folder, checkpoints.PERFORMANCE, {
      'variables': VARIABLES,
      **{name: _rounded(parts[name]) for name in _PARTS}, 'data': data})


def _rounded(arrays: dict) -> dict:
  """As lists, to six digits."""
  return {
      name: np.vectorize(lambda x: float(f'{x:.6g}'))(array).tolist()
      if np.asarray(array).dtype.kind == 'f' else np.asarray(array).tolist()
      for name, array in arrays.items()}
