"""What is asked for: where the music shall lie, and how it is made."""

import dataclasses
import os
import pathlib
import secrets
from collections.abc import Sequence

import numpy as np

from va_magenta import files
from va_magenta.music import chords, instruments
from va_magenta.music.band import VOICE_NAMES
from va_magenta.va import VA
from va_magenta.va_to_music.band_model import LEARNED, PRIORS

PERFORMANCES = LEARNED, PLAIN = LEARNED, 'plain'
MODES = SAMPLE, SEARCH = 'sample', 'search'
# What `tempo_qpm` may be: a MIDI file cannot say much more.
TEMPO_LIMITS_QPM = (10.0, 400.0)
SECONDS_LIMITS = (5.0, 300.0)
MAX_CANDIDATES = 10_000
MAX_BARS = 128


@dataclasses.dataclass(frozen=True)
class Settings:
  """How pieces are made; checked when built.

  Attributes:
    checkpoint: name or path of the model that writes notes (see `checkpoints`).
    num_outputs: pieces to keep, 1..candidates.
    candidates: pieces to make; if None, 16 of a band, 64 of others.
    candidate: the number of the one to keep, from 0, as an earlier piece of the
      same seed has it, to give that other chords or another key; the nearest if
      None.
    temperature: of all draws; 0 takes the likeliest every time.
    guidance: how clearly notes and performance say the target: 1 as in the
      music that was learned from, more exaggerates, 0 knows nothing of it.
    mode: 'sample'; or 'search', which looks for the latent vectors from which
      the notes come nearest, as the critic estimates.
    performance: 'learned'; or 'plain': nothing but notes differs, melodies are
      played on the piano, at 120 quarters a minute, equally loud.
    seed: the same seed gives the same notes; drawn if None.
    bars: length of a piece, a multiple of the model's phrase (2 bars, or 16);
      if None, 16 bars, of a band, where it is slow, 12 or 8, in 40 seconds at
      most; without a learned prior one phrase. Of a path two phrases a point at
      least, or, of a hierarchical model, as many as have a segment a point.
    seconds: of a band, instead of `bars`, how long a piece is; its tempo is
      what brings whole bars there, near `tempo_qpm` if that is given.
    tempo_qpm: quarter notes a minute; as is usual for the target if None.
    program: General MIDI program of the melody, 0..127; likewise.
    input: a MIDI file with a melody: a band keeps it note for note and
      accompanies it, a model of melodies plays it again as the target asks.
    chords: of a band, to be kept: one a bar, 'C G Am F', or with bar lines up
      to two in each; repeated as often as needed. Drawn if None.
    key: of a band, for instance 'A minor'; if None, what suits the register.
    form: of a band, a letter for each two bars, repeated likewise: those of the
      same letter return. Drawn if None.
    band: of a band, who plays, by name: ('piano', 'strings', 'bass', 'drums'),
      see `music.instruments.parse_band`; those who are not named rest.
    voices: of a band, which play; if None all, drums as is usual for the
      target.
    prior: where latent vectors come from: 'learned', if the checkpoint has
      such a prior, or 'normal', N(0, 1).
    loop: of a band, whether the end leads back to the beginning, in place of
      slowing down and ending on a chord that is held.
    image_model: name or path of the model that places pictures; of this and of
      the following the one that ships if None.
    estimator: of the one that places candidates, so that the nearest are kept
      (see `symbolic`).
    performance_model: of the one that 'learned' performances are drawn from.
    critic: of the one that `mode='search'` and `input` use.

  Raises:
    ValueError: if a number is out of range, or a name is not known.
  """

  checkpoint: str | os.PathLike = 'band'
  num_outputs: int = 1
  candidates: int | None = None
  candidate: int | None = None
  temperature: float = 0.5
  guidance: float = 1.0
  mode: str = SAMPLE
  performance: str = LEARNED
  seed: int | None = None
  bars: int | None = None
  seconds: float | None = None
  tempo_qpm: float | None = None
  program: int | None = None
  input: str | os.PathLike | None = None
  chords: str | None = None
  key: str | None = None
  form: str | None = None
  band: Sequence[str] | None = None
  voices: Sequence[str] | None = None
  prior: str = LEARNED
  loop: bool = False
  image_model: str | os.PathLike | None = None
  estimator: str | os.PathLike | None = None
  performance_model: str | os.PathLike | None = None
  critic: str | os.PathLike | None = None

  def __post_init__(self):
    for name, low, high in (
        ('candidates', 1, MAX_CANDIDATES),
        ('num_outputs', 1, self.candidates or MAX_CANDIDATES),
        ('candidate', 0, (self.candidates or MAX_CANDIDATES) - 1),
        ('temperature', 0, 100),
        ('guidance', 0, 100),
        ('seed', 0, 2**63 - 1),
        ('bars', 1, MAX_BARS),
        ('seconds', *SECONDS_LIMITS),
        ('tempo_qpm', *TEMPO_LIMITS_QPM),
        ('program', 0, 127)):
      value = getattr(self, name)
      # NaN fails this too.
      if value is not None and not low <= value <= high:
        raise ValueError(f'{name} must lie in {low:,}..{high:,}, got {value}')
    for name, known in (
        ('mode', MODES), ('performance', PERFORMANCES), ('prior', PRIORS)):
      if getattr(self, name) not in known:
        raise ValueError(
            f'{name} must be {" or ".join(known)}, got {getattr(self, name)!r}')
    if self.candidate is not None and self.num_outputs > 1:
      raise ValueError(
          'a candidate is one piece: give either candidate or num_outputs')
    if self.band is not None:
      for name in ('voices', 'program'):
        if getattr(self, name) is not None:
          raise ValueError(
              f'band says who plays: give either band or {name}')
      names = tuple(
          self.band.split(',') if isinstance(self.band, str) else self.band)
      instruments.parse_band(names)
      object.__setattr__(self, 'band', names)
    if self.voices is not None:
      voices = tuple(
          self.voices.split(',') if isinstance(self.voices, str) else
          self.voices)
      unknown = [name for name in voices if name not in VOICE_NAMES]
      if unknown or not voices:
        raise ValueError(
            f'voices must be some of {", ".join(VOICE_NAMES)}, got '
            f'{", ".join(voices) or "none"}')
      object.__setattr__(
          self, 'voices', tuple(name for name in VOICE_NAMES if name in voices))
    if self.form is not None and not (
        self.form.isalpha() and self.form.isascii()):
      raise ValueError(
          'form must be a letter for each two bars, as in AABA, got '
          f'{self.form!r}')
    if self.key is not None:
      chords.parse_key(self.key)
    if self.chords is not None:
      chords.parse_progression(self.chords)
    if self.seconds is not None and self.bars is not None:
      raise ValueError(
          'bars and tempo make the length: give either seconds or bars')
    if self.input is not None and self.bars is not None:
      raise ValueError(
          'the input is as long as it is: give either input or bars')
    if self.input is not None:
      object.__setattr__(self, 'input', os.fspath(files.local(self.input)))
    if self.seed is None:
      object.__setattr__(self, 'seed', secrets.randbelow(2**32))


class Target:
  """What the music shall feel like: pictures, or points."""

  def __init__(
      self,
      image: str | os.PathLike | np.ndarray | Sequence | None = None,
      valence: float | None = None,
      arousal: float | None = None,
      va_path: Sequence[tuple[float, float]] | None = None,
      frames: int | None = None,
  ):
    """Checks that there is one of the three, and that points lie on the plane.

    Raises:
      ValueError: if not.
    """
    point = valence is not None or arousal is not None
    if (image is not None) + point + (va_path is not None) != 1:
      raise ValueError(
          'give either a picture, or both valence and arousal, or a va_path')
    self.images = []
    self.frames = frames
    if frames is not None and not isinstance(image, (str, os.PathLike)):
      raise ValueError('frames are of one animated picture: give its file')
    if image is not None:
      is_one = isinstance(image, (str, os.PathLike, np.ndarray))
      self.images = [
          image if isinstance(image, np.ndarray) else files.local(image)
          for image in ([image] if is_one else image)]
      if not self.images:
        raise ValueError('give a picture: the list of pictures is empty')
      self.points = []
    elif point:
      if valence is None or arousal is None:
        raise ValueError('valence and arousal belong together: give both')
      self.points = [VA(valence, arousal)]
    else:
      try:
        self.points = [VA(*point) for point in va_path or ()]
      except TypeError as error:
        raise ValueError(
            f'va_path must be pairs of valence and arousal, got {va_path!r}'
        ) from error
      if not self.points:
        raise ValueError('va_path must have a point at least')

  def load_pictures(self) -> list[np.ndarray]:
    """The pictures, or frames of the one, uint8 RGB, if there are any.

    Raises:
      OSError, ValueError: if a file is not a picture.
    """
    from va_magenta.image_to_va import images

    if self.frames is not None:
      return images.load_frames(self.images[0], self.frames)
    return [
        image if isinstance(image, np.ndarray) else images.load_image(image)
        for image in self.images]

  @property
  def name(self) -> str:
    """What the files are called: after the first, and the last."""
    names = [
        'picture' if isinstance(image, np.ndarray) else pathlib.Path(image).stem
        for image in self.images
    ] or [
        f'valence{va.valence:+.2f}_arousal{va.arousal:+.2f}'
        for va in self.points]
    return names[0] if len(names) == 1 else f'{names[0]}_to_{names[-1]}'

  @property
  def image_paths(self) -> list[str | None]:
    """For the record; None for what was no file."""
    return [
        None if isinstance(image, np.ndarray) else os.fspath(image)
        for image in self.images]
