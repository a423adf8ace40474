"""How a band's piece is arranged: who comes in when, fills, an arc of loudness.

  arranger = load()
  arranged = arranger.arrange(tokens, (0.5, 0.2), np.random.default_rng(0))

A model that writes two bars at a time has all voices play from the first bar to
the last, equally loud. People let the accompaniment begin, lead the melody in
with a pick-up, bring voices in one by one, lead from phrase to phrase with a
fill of the drums, and are loudest where a piece is fullest. So

- a person's piece near in VA is drawn: how long its melody waits, which voices
  play in each eighth of it, and how loud each eighth is; ours is built so;
- at the ends of phrases drums play a fill with the chance that people do, of a
  length and with strokes drawn from Markov chains of theirs; so are crash
  cymbals on what follows;
- a melody that waits is led in by one of people's commonest pick-ups.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import band, grid
from va_magenta.va_to_music import forms

EIGHTHS = 8
PHRASE_BARS = 4
# Of the accompaniment; the melody rests where its form has it.
VOICES = (band.BASS, band.DRUMS, band.COMPING)
# An introduction has so many bars, and at most this share of the piece.
INTRO_BARS = (1, 2, 4)
_MOST_INTRO = 1 / 8
# In MIDI velocity; what is drawn beyond is as loud.
_MOST_LOUDER = 12
KICK, CRASH = 1 << 0, 1 << 7
# Snare and toms; and these with the bass drum.
HANDS = 0b1110010
STRUCK = HANDS | KICK
_MORE_STROKES = 2
_SCALE = (0, 2, 4, 5, 7, 9, 11)
# Who rests ends what sounds, in each voice's tokens.
_RESTS = {band.BASS: grid.NOTE_OFF, band.DRUMS: 0, band.COMPING: band.OFF}


@dataclasses.dataclass(frozen=True)
class Arranged:
  """A piece as it is arranged, in the key without accidentals.

  Attributes:
    tokens: int `[steps, 4]`.
    louder: of each bar, by how much, float `[bars]`.
    intro: tokens of what comes before, over the piece's first chords, int
      `[steps, 4]`; of no steps if it begins at once.
    intro_louder: by how much that is louder.
  """

  tokens: np.ndarray
  louder: np.ndarray
  intro: np.ndarray
  intro_louder: float


def degree_of(token: int) -> int | None:
  """The number of a note in the scale without accidentals; None if outside."""
  octave, pitch_class = divmod(int(grid.pitch_of(token)), 12)
  return 7 * octave + _SCALE.index(pitch_class) if (
      pitch_class in _SCALE) else None


def _token_of(degree: int) -> int:
  octave, step = divmod(degree, 7)
  return 12 * octave + _SCALE[step] - grid.MIN_PITCH + grid.FIRST_PITCH


def features(va, is_eighth_bar) -> np.ndarray:
  """What chances of fills and crashes depend on, float `[..., 4]`.

  Args:
    va: float `[..., 2]`.
    is_eighth_bar: whether the phrase that ends is the second of two, `[...]`.
  """
  va = np.asarray(va, float)
  second = np.broadcast_to(
      np.asarray(is_eighth_bar, float)[..., None], (*va.shape[:-1], 1))
  return np.concatenate([np.ones_like(second), va, second], axis=-1)


def is_fill(bar: np.ndarray, before: np.ndarray) -> tuple[bool, int]:
  """Whether a bar of drums ends with a fill, and the beat it begins with.

  From the first beat on in which it differs from the bar before, hands strike
  snare and toms more often.

  Args:
    bar: tokens `[16]`.
    before: likewise, of the bar before.
  """
  differs = (bar & STRUCK) != (before & STRUCK)
  beat = int(np.argmax(differs)) // grid.STEPS_PER_QUARTER
  of_hands, usual = (
      int((x[beat * grid.STEPS_PER_QUARTER:] & HANDS > 0).sum())
      for x in (bar, before))
  return bool(differs.any()) and of_hands >= usual + _MORE_STROKES, beat


class Fills:
  """Strokes of fills, but for cymbals: two Markov chains, mixed.

  Args:
    tokens: what is struck at once, int `[tokens]`, of bass drum, snare and
      toms.
    pairs: how often each followed which two, `[step of the beat, before the
      last, last, tokens]`.
    places: how often each followed which where in the bar, `[step, last,
      tokens]`.
    lengths: how often fills begin with each beat of the bar, `[4]`.
  """

  # What is known of fewer strokes counts as if seen so often.
  _OF_STROKE, _OF_PLACE, _OF_PAIR = 4.0, 8.0, 8.0
  # The likelier is drawn a little more often than by people.
  _SHARPNESS = 1.3

  def __init__(self, tokens, pairs, places, lengths):
    self.tokens = np.asarray(tokens, int)
    self.pairs, self.places = np.asarray(pairs, float), np.asarray(
        places, float)
    self.lengths = np.asarray(lengths, float)
    n = len(self.tokens)
    if (self.pairs.shape, self.places.shape, self.lengths.shape) != (
        (4, n, n, n), (16, n, n), (4,)):
      raise ValueError('arrays of wrong shapes')
    of_stroke = self.pairs.sum(1)
    usual = of_stroke.sum(1, keepdims=True) + 0.1
    chance = _mixed(
        of_stroke, usual / usual.sum(-1, keepdims=True), self._OF_STROKE)
    # [step, before the last, last, next]
    self.chances = (
        np.tile(_mixed(self.pairs, chance[:, None], self._OF_PAIR),
                (4, 1, 1, 1))
        + _mixed(self.places, np.tile(chance, (4, 1, 1)), self._OF_PLACE)[
            :, None]) / 2

  def index(self, tokens) -> list[int]:
    """Where tokens are in `self.tokens`; of others, where the most alike is."""
    return [
        int(np.argmin([bin(token & STRUCK ^ known).count('1')
                       for known in self.tokens.tolist()]))
        for token in map(int, tokens)]

  def draw(self, bar: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A bar of drums that ends with a fill.

    Cymbals go on as long as the hands play what they would.

    Args:
      bar: tokens `[16]`, as it would be without.
      random: the randomness; always as much of it.
    """
    uniform = random.random(grid.STEPS_PER_BAR + 1)
    begin = grid.STEPS_PER_QUARTER * _drawn(self.lengths, uniform[-1])
    played = np.array(bar)
    before, last = self.index(np.take(bar, [begin - 2, begin - 1]))
    leaves = False
    for step in range(begin, grid.STEPS_PER_BAR):
      before, last = last, _drawn(
          self.chances[step, before, last]**self._SHARPNESS, uniform[step])
      token = int(self.tokens[last])
      leaves = leaves or token & HANDS != int(bar[step]) & HANDS
      played[step] = token if leaves else token | int(bar[step]) & ~STRUCK
    return played


def _mixed(counts, usual, weight):
  """Shares of counts, as if the usual ones had been seen so often beside."""
  return (counts + weight * usual) / (counts.sum(-1, keepdims=True) + weight)


def _drawn(weights: np.ndarray, uniform: float) -> int:
  total = np.cumsum(weights)
  return int(min((total <= uniform * total[-1]).sum(), len(weights) - 1))


class Arranger:
  """Arranges pieces as people do.

  Args:
    pieces: of people's, by name: `va` float `[pieces, 2]`; `waits`, the share
      of the piece for which the melody waits, `[pieces]`; `opens`, who of
      `VOICES` plays meanwhile, bool `[pieces, 3]`; `plays`, who plays in each
      eighth of the rest, bool `[pieces, 8, 3]`; `louder`, than the whole, of
      the opening and of each eighth, `[pieces, 9]`; `has_dynamics`, whether
      that is known, bool `[pieces]`.
    fills: arguments of `Fills`.
    pickups: `steps`, int `[pickups, 4]`, before the bar line, 0 for none;
      `degrees`, of the scale from the melody's first note, likewise; `counts`.
    chances: of a `fill`, of a crash after one (`crash_after_fill`) and of one
      without (`crash`): weights of `features`' logit; and of a pick-up
      (`pickup`), a number.
  """

  def __init__(self, pieces: Mapping, fills: Mapping, pickups: Mapping,
               chances: Mapping):
    self._pieces = {k: np.asarray(v) for k, v in pieces.items()}
    n = len(self._pieces['va'])
    for name, shape in (
        ('va', (2,)), ('waits', ()), ('opens', (3,)),
        ('plays', (EIGHTHS, 3)), ('louder', (EIGHTHS + 1,)),
        ('has_dynamics', ())):
      if self._pieces[name].shape != (n, *shape):
        raise ValueError(f'{name} of wrong shape')
    self.fills = Fills(**fills)
    self._pickups = {k: np.asarray(v) for k, v in pickups.items()}
    self._weights = {
        name: np.asarray(chances[name], float)
        for name in ('fill', 'crash_after_fill', 'crash')}
    self._pickup = float(chances['pickup'])

  def chance(self, name: str, va, is_eighth_bar) -> np.ndarray:
    """Of a fill or a crash; see `features`."""
    return 1 / (1 + np.exp(
        -features(va, is_eighth_bar) @ self._weights[name]))

  def arrange(
      self, tokens: np.ndarray, va, random: np.random.Generator, *,
      opens: bool = True, builds: bool = True) -> Arranged:
    """A piece as a band would play it.

    As much randomness is drawn whatever VA is.

    Args:
      tokens: int `[steps, 4]`, whole bars, in the key without accidentals.
      va: float `[2]`, of all of it.
      random: the randomness.
      opens: whether it may have an introduction.
      builds: whether voices come in and go, and some bars are louder than
        others; otherwise only fills are played.
    """
    written, tokens = tokens, np.array(tokens)
    num_bars = len(tokens) // grid.STEPS_PER_BAR
    voices = band.who_plays(tokens)
    uniform = random.random(4)
    seed = int(random.integers(2**32))
    who, how_loud = self._like(va, voices, uniform[:2])
    eighth = np.arange(num_bars) * EIGHTHS // num_bars
    if builds:
      self._rest(tokens, who['plays'][eighth])
    random = np.random.default_rng(seed)
    self._lead_on(tokens, va, random)
    louder, intro_louder = np.zeros(num_bars), 0.0
    if builds:
      middles = (np.arange(EIGHTHS) + 0.5) * num_bars / EIGHTHS
      louder = np.interp(
          np.arange(num_bars) + 0.5, middles, how_loud[1:])
      intro_louder = float(how_loud[0])
    intro = tokens[:0]
    if opens and builds and voices[band.MELODY]:
      intro = self._introduction(written, who, va, uniform[2:], random)
    return Arranged(tokens, louder, intro, intro_louder)

  def _like(self, va, voices, uniform):
    """A person's piece near in VA, with drums as ours; and loudness of one."""
    pieces = self._pieces
    has_drums = pieces['plays'][..., VOICES.index(band.DRUMS)].any(1)
    alike = np.flatnonzero(has_drums == voices[band.DRUMS])
    if not len(alike):
      alike = np.arange(len(has_drums))
    who = alike[forms.near(
        uniform[:1], np.asarray(va)[None], pieces['va'][alike])[0]]
    known = np.flatnonzero(pieces['has_dynamics'])
    loud = known[forms.near(
        uniform[1:], np.asarray(va)[None], pieces['va'][known])[0]] if len(
            known) else who
    return (
        {name: of_all[who] for name, of_all in pieces.items()},
        pieces['louder'][loud].astype(float).clip(
            -_MOST_LOUDER, _MOST_LOUDER))

  @staticmethod
  def _rest(tokens: np.ndarray, plays: np.ndarray):
    """Has voices rest in bars, in place; none that plays is left out quite.

    Args:
      tokens: int `[steps, 4]`.
      plays: bool `[bars, 3]`.
    """
    bars = tokens.reshape(-1, grid.STEPS_PER_BAR, tokens.shape[-1])
    for i, voice in enumerate(VOICES):
      rests = ~plays[:, i]
      # The last bar leads to the end, for which all are there.
      rests[-1] = False
      if rests[:-1].all():
        continue
      bars[rests, :, voice] = 0
      begins = rests & ~np.concatenate([[False], rests[:-1]])
      bars[begins, 0, voice] = _RESTS[voice]

  def _lead_on(self, tokens: np.ndarray, va, random: np.random.Generator):
    """Fills at the ends of phrases and crashes after them, in place."""
    drums = tokens[:, band.DRUMS].reshape(-1, grid.STEPS_PER_BAR)
    known = {}
    for end in range(PHRASE_BARS, len(drums) + 1, PHRASE_BARS):
      uniform = random.random(2)
      of_fill = np.random.default_rng(int(random.integers(2**32)))
      is_eighth = end % (2 * PHRASE_BARS) == 0
      if not drums[end - 2:end].any(1).all():
        continue
      has_fill, _ = is_fill(drums[end - 1], drums[end - 2])
      if not has_fill and uniform[0] < self.chance('fill', va, is_eighth):
        # The same phrase ends with the same fill.
        bar = drums[end - 1].tobytes()
        if bar not in known:
          known[bar] = self.fills.draw(drums[end - 1], of_fill)
        drums[end - 1] = known[bar]
        has_fill = True
      chance = self.chance(
          'crash_after_fill' if has_fill else 'crash', va, is_eighth)
      if end < len(drums) and drums[end].any() and uniform[1] < chance:
        drums[end, 0] |= CRASH | KICK
    tokens[:, band.DRUMS] = drums.reshape(-1)

  def _introduction(self, tokens, who, va, uniform, random) -> np.ndarray:
    """What is played before the melody comes in, `[steps, 4]`."""
    num_bars = len(tokens) // grid.STEPS_PER_BAR
    none = tokens[:0]
    wanted = who['waits'] * num_bars
    fits = [bars for bars in INTRO_BARS if bars <= _MOST_INTRO * num_bars]
    if not fits or not wanted:
      return none
    bars = min(fits, key=lambda bars: abs(np.log(bars / wanted)))
    intro = tokens[:bars * grid.STEPS_PER_BAR].copy()
    intro[:, band.MELODY] = 0
    for i, voice in enumerate(VOICES):
      if not who['opens'][i]:
        intro[:, voice] = 0
    if not band.who_plays(intro)[[band.BASS, band.COMPING]].any():
      return none
    drums = intro[-grid.STEPS_PER_BAR:, band.DRUMS]
    if drums.any() and uniform[0] < self.chance('fill', va, True):
      drums[:] = self.fills.draw(drums, random)
    if uniform[1] < self._pickup:
      self._lead_in(intro, tokens[0, band.MELODY], random)
    return intro

  def _lead_in(self, intro, first: int, random):
    """A pick-up to a melody's first note, in place, if it is of the scale."""
    degree = degree_of(first) if first >= grid.FIRST_PITCH else None
    if degree is None:
      return
    i = _drawn(self._pickups['counts'], random.random())
    for step, away in zip(
        self._pickups['steps'][i].tolist(),
        self._pickups['degrees'][i].tolist(), strict=True):
      token = _token_of(degree + away)
      if step and grid.FIRST_PITCH <= token < grid.NUM_TOKENS:
        intro[step, band.MELODY] = token


_PIECES = ('va', 'waits', 'opens', 'plays', 'louder', 'has_dynamics')
_FILLS = ('tokens', 'pairs', 'places', 'lengths')
_PICKUPS = ('steps', 'degrees', 'counts')


def load(name_or_path: str | os.PathLike | None = None) -> Arranger:
  """The model that `va_magenta_train_arranger` wrote.

  Args:
    name_or_path: folder with config.json and weights.npz; the one that ships if
      None.

  Raises:
    FileNotFoundError: if there is none.
    ValueError: if it is damaged.
  """
  return checkpoints.load(name_or_path, checkpoints.ARRANGER, _build)


def _build(config: dict, arrays: dict) -> Arranger:
  return Arranger(
      {name: arrays[f'pieces.{name}'] for name in _PIECES},
      {name: arrays[f'fills.{name}'] for name in _FILLS},
      {name: arrays[f'pickups.{name}'] for name in _PICKUPS},
      config['chances'])


def save(folder: pathlib.Path, pieces: Mapping, fills: Mapping,
         pickups: Mapping, chances: Mapping, data: dict):
  """Writes what `load` reads.

  Args:
    folder: exists.
    pieces: see `Arranger`; as are the others.
    fills: likewise.
    pickups: likewise.
    chances: likewise.
    data: what it was made from, for the record.
  """
  kinds = {
      'va': np.float16, 'waits': np.float16, 'louder': np.int8,
      'steps': np.int8, 'degrees': np.int8, 'tokens': np.int16,
      'pairs': np.uint16, 'places': np.uint16}
  checkpoints.write(folder, checkpoints.ARRANGER, {
      'chances': {name: np.round(chance, 4).tolist()
                  for name, chance in chances.items()}, 'data': data}, {
          f'{of}.{name}': np.asarray(array, kinds.get(name))
          for of, arrays in (
              ('pieces', pieces), ('fills', fills), ('pickups', pickups))
          for name, array in arrays.items()})
