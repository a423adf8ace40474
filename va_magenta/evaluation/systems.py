"""What is compared: the generator with some settings, and baselines.

A system composes pieces of `num_bars` bars for many targets at once, given a
seed; the generator's z
depends on the seed alone, so that only the target differs from piece to piece.

* `Asked`: the generator, asked for the target.
* `Prior`: pieces that were drawn without knowing the target, each of a point of
  the plane drawn at random; any of them, or the one of N that a student places
  nearest to the target.
* `Template`: a hand-made rule (see `template`).
"""

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping

import numpy as np

import va_magenta
from va_magenta import checkpoints
from va_magenta.evaluation import judges, template
from va_magenta.evaluation.cache import Cache
from va_magenta.va import VA

# What is said to the generator if a system says nothing else: the student that
# selects shall not be the one that judges.
DEFAULTS = {
    'checkpoint': 'cat-mel_2bar',
    'estimator': os.fspath(checkpoints.path('symbolic_va') / judges.SELECTOR)}
# So often a seed is changed that gives a piece without notes, which is what
# some models play most of the time when they are asked for calm.
_MAX_ATTEMPTS = 100


class Composer:
  """Composes with the generator, and remembers what it composed.

  Attributes:
    num_redrawn: of how many pieces so far the first draw had too few notes.
  """

  def __init__(self, cache: Cache):
    self.num_redrawn = 0
    self._cache = cache
    self._digests = {}
    self._scores = {}

  def __call__(self, target: VA, settings: Mapping, seed: int):
    """One piece.

    Args:
      target: asked for.
      settings: of `request.Settings`, but for the seed; beside `DEFAULTS`.
      seed: of z and of all that is drawn. If a piece has too few notes, the
        next of the seeds that derive from it.

    Returns:
      A `note_seq.NoteSequence`.

    Raises:
      OSError, ValueError: if a setting is not what it should be.
    """
    from va_magenta.composing import composer, request

    settings = {**DEFAULTS, **settings}
    about = [
        'attempt, piece and score', va_magenta.__version__, target.valence,
        target.arousal, seed, {
            **settings, **{
                name: self._digest(settings[name])
                for name in ('checkpoint', 'estimator')},
            'performance_va': self._digest('performance_va')}]

    def make():
      for attempt in range(_MAX_ATTEMPTS):
        try:
          piece, = composer.compose(target, request.Settings(
              **settings, seed=_attempt_seed(seed, attempt)))
        except ValueError:
          if attempt == _MAX_ATTEMPTS - 1:
            raise
        else:
          return [
              attempt,
              base64.b64encode(piece.sequence.SerializeToString(
                  deterministic=True)).decode(),
              piece.score and [x.tolist() for x in piece.score]]

    attempt, piece, score = self._cache.get(about, make)
    self.num_redrawn += attempt > 0
    self._scores[base64.b64decode(piece)] = score
    # After Keras, if that is imported at all: before it would print.
    import note_seq
    return note_seq.NoteSequence.FromString(base64.b64decode(piece))

  def score(self, sequence) -> tuple[np.ndarray, np.ndarray] | None:
    """Tokens and chords of a piece that was composed; see `composer.Piece`.

    None of one that this did not compose.
    """
    score = self._scores.get(sequence.SerializeToString(deterministic=True))
    return score and tuple(map(np.array, score))

  def _digest(self, folder) -> str:
    """What changes when the weights or the config of a checkpoint do."""
    folder = os.fspath(folder)
    if folder not in self._digests:
      path = checkpoints.resolve(folder)
      parts = sorted(
          path.glob('*.*') if path.is_dir() else
          path.parent.glob(f'{path.name}*'))
      self._digests[folder] = hashlib.md5(b''.join(
          p.read_bytes() for p in parts
          if p.suffix not in ('.md', '.png'))).hexdigest()
    return self._digests[folder]


def _attempt_seed(seed: int, attempt: int) -> int:
  if not attempt:
    return seed
  return int(np.random.SeedSequence([seed, attempt]).generate_state(1)[0])


@dataclasses.dataclass(frozen=True)
class Asked:
  """The generator, asked for the target.

  Attributes:
    name: of the system.
    settings: of `request.Settings`, but for the seed.
  """

  name: str
  settings: Mapping

  @property
  def num_bars(self) -> int:
    """Length of its pieces."""
    return _num_bars(self.settings)

  def compose(self, targets: np.ndarray, seed: int, composer: Composer):
    """A NoteSequence for each of targets [n, 2], one after the other."""
    for target in targets:
      yield composer(
          VA(*target), {**self.settings, 'bars': self.num_bars}, seed)


@dataclasses.dataclass(frozen=True)
class Prior:
  """Pieces that were drawn without knowing the target.

  Attributes:
    name: of the system.
    settings: of `request.Settings`, but for the seed and the candidates.
    candidates: the nearest of so many is taken, as the student of one half of
      EIMG estimates; of 1 candidate, any.
  """

  name: str
  settings: Mapping
  candidates: int = 1

  @property
  def num_bars(self) -> int:
    """Length of its pieces."""
    return _num_bars(self.settings)

  def compose(self, targets: np.ndarray, seed: int, composer: Composer):
    """A NoteSequence for each of targets [n, 2], one after the other."""
    # All baselines of the prior share what they draw.
    rng = np.random.default_rng(seed)

    def pieces(number):
      for _ in range(number):
        point = VA(*rng.uniform(-1, 1, 2).round(4))
        yield composer(
            point, {**self.settings, 'bars': self.num_bars, 'candidates': 1},
            int(rng.integers(2**32)))

    if self.candidates == 1:
      yield from pieces(len(targets))
      return
    pool = list(pieces(self.candidates))
    places = judges.Reader(judges.student(judges.SELECTOR))(pool)
    for target in targets:
      yield pool[np.linalg.norm(places - target, axis=1).argmin()]


@dataclasses.dataclass(frozen=True)
class Template:
  """The hand-made rule.

  Attributes:
    name: of the system.
    num_bars: length of its pieces.
  """

  name: str = 'template'
  num_bars: int = template.NUM_BARS

  def compose(self, targets: np.ndarray, seed: int, composer: Composer):
    """A NoteSequence for each of targets [n, 2], one after the other."""
    del composer  # It needs none.
    for target in targets:
      yield template.compose(VA(*target), seed, self.num_bars)


System = Asked | Prior | Template


def _num_bars(settings: Mapping) -> int:
  from va_magenta.composing import composer

  settings = {**DEFAULTS, **settings}
  return settings.get('bars') or composer.phrase_bars(settings['checkpoint'])


def parse(text: str, common: Mapping) -> Asked:
  """A system as a flag names it: 'NAME:KEY=VALUE,KEY=VALUE'.

  Args:
    text: 'no va_loss:checkpoint=runs/no_va_loss,guidance=2'; settings of
      `request.Settings`.
    common: what settings are unless the text says otherwise.

  Raises:
    ValueError: if it is not so, or there is no such setting.
  """
  name, colon, rest = text.partition(':')
  pairs = [part.partition('=') for part in rest.split(',') if part.strip()]
  if not (name.strip() and colon and all(equals for _, equals, _ in pairs)):
    raise ValueError(
        'a system is given as NAME:SETTING=VALUE,SETTING=VALUE, for instance '
        f'"plain:performance=plain", got {text!r}')
  settings = {**common, **{
      key.strip(): _value(value.strip()) for key, _, value in pairs}}
  check(settings)
  return Asked(name.strip(), settings)


def check(settings: Mapping):
  """Checks that `request.Settings` takes these.

  Raises:
    ValueError: if not.
    FileNotFoundError: if there is no such checkpoint.
  """
  from va_magenta.composing import composer
  from va_magenta.composing.request import Settings

  known = {f.name for f in dataclasses.fields(Settings)}
  for name in settings:
    if name not in known - {'seed', 'num_outputs'}:
      raise ValueError(
          f'there is no setting {name!r}: a system has '
          f'{", ".join(sorted(known - {"seed", "num_outputs"}))}')
  try:
    settings = Settings(**{**DEFAULTS, **settings}, seed=0)
  except TypeError as error:  # A text where a number belongs.
    raise ValueError(f'settings {settings}: {error}') from None
  composer.check(settings)


def _value(text: str):
  try:
    return json.loads(text)
  except ValueError:
    return text
