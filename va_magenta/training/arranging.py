"""Fits `arranger` to a corpus of bands, and measures it held out."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from va_magenta.music import band, band_reader, grid, midi
from va_magenta.music.corpus import is_held_out
from va_magenta.training import cards
from va_magenta.training.band_corpus import NO_LABEL, Corpus
from va_magenta.va_to_music import arranger

# Shorter pieces are parts of some.
_MIN_BARS = 32
_MIN_CRASHES = 3
# Rarer strokes, and pick-ups of fewer pieces, would be single people's.
_MIN_STROKES = 20
_MIN_PICKUPS = 5
_MAX_PICKUP_NOTES = 4
# A voice plays in a part of a piece if it does in so many of its bars.
_PLAYS = 0.5
_MIN_PART_NOTES = 16
# Loudness that changes by less over a piece nobody has shaped.
_LEAST_DYNAMICS = 1.0


@dataclasses.dataclass(frozen=True)
class Piece:
  """A piece of a corpus.

  Attributes:
    name: its MD5.
    bars: tokens, int `[bars, 16, 4]`.
    signature: int `[bars]`.
    va: float `[2]`, its mean.
  """

  name: str
  bars: np.ndarray
  signature: np.ndarray
  va: np.ndarray


def pieces_of(corpus: Corpus) -> Iterator[Piece]:
  """Labelled pieces in which melody, bass and comping play."""
  by_bar = corpus.tokens.reshape(-1, grid.STEPS_PER_BAR, len(band.VOICES))
  for first, bars, name in zip(
      corpus.first_bars(), corpus.bars, corpus.names, strict=True):
    rows = slice(first, first + bars)
    labels = corpus.va[rows][(corpus.va[rows] != NO_LABEL).all(1)]
    plays = band.who_plays(by_bar[rows]).any(0)
    if len(labels) and plays[[band.MELODY, band.BASS, band.COMPING]].all():
      yield Piece(
          name, by_bar[rows].astype(int), corpus.signature[rows],
          labels.mean(0) / 100)


# --- How pieces are built.


def build_of(piece: Piece) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
  """For how long the melody waits, and who plays when.

  Returns:
    The share of the piece; who of `arranger.VOICES` plays meanwhile, bool
    `[3]`; who plays in each eighth of the rest, bool `[8, 3]`; and of each bar
    the number of the part it is in, 0 for the opening, -1 before all.
  """
  plays = band.who_plays(piece.bars)
  begins = int(np.argmax(plays.any(1)))
  sings = int(np.argmax(plays[:, band.MELODY]))
  part = np.full(len(plays), -1)
  part[begins:sings] = 0
  part[sings:] = 1 + np.arange(len(plays) - sings) * arranger.EIGHTHS // (
      len(plays) - sings)
  shares = np.array([
      plays[part == i].mean(0) if (part == i).any() else np.zeros(4)
      for i in range(arranger.EIGHTHS + 1)])[:, list(arranger.VOICES)]
  return (
      (sings - begins) / (len(plays) - begins), shares[0] > _PLAYS,
      shares[1:] > _PLAYS, part)


def dynamics_of(path: pathlib.Path, part: np.ndarray) -> np.ndarray | None:
  """By how much each part of a piece is louder than the whole.

  Each track's notes are compared with that track's others, so that who plays
  does not count.

  Args:
    path: its file.
    part: see `build_of`.

  Returns:
    float `[9]`; None if nobody has shaped it.
  """
  score = midi.read(path)
  bars = band_reader.from_score(score).bar_seconds
  at = np.searchsorted(bars, score.notes['start_seconds'], side='right') - 1
  notes = score.notes[(at >= 0) & (at < len(part))]
  at = part[at[(at >= 0) & (at < len(part))]]
  total, count = np.zeros((2, arranger.EIGHTHS + 1))
  for track in np.unique(notes['part']):
    own = (notes['part'] == track) & (at >= 0)
    if own.sum() >= _MIN_PART_NOTES:
      velocity = notes['velocity'][own].astype(float)
      np.add.at(total, at[own], velocity - velocity.mean())
      np.add.at(count, at[own], 1)
  louder = total / np.maximum(count, 1)
  return louder if np.abs(louder).max() >= _LEAST_DYNAMICS else None


# --- Fills.


def phrase_ends(piece: Piece) -> list[int]:
  """The bars that end phrases of four, where that is known.

  By the crash cymbals, which are struck where phrases begin.
  """
  crash = piece.bars[:, 0, band.DRUMS] & arranger.CRASH > 0
  if crash.sum() < _MIN_CRASHES:
    return []
  phase = int(np.argmax([
      crash[i::arranger.PHRASE_BARS].mean()
      for i in range(arranger.PHRASE_BARS)]))
  ends = range(
      phase + arranger.PHRASE_BARS - 1, len(crash) - 1, arranger.PHRASE_BARS)
  return [
      end for end in ends
      if piece.bars[end - 2:end, :, band.DRUMS].any(1).all()]


@dataclasses.dataclass
class Ends:
  """Ends of phrases in which drums play, one a row.

  Attributes:
    piece: number of the piece, `[ends]`.
    va: float `[ends, 2]`.
    is_eighth: whether the phrase is the second of two, bool `[ends]`.
    is_fill: see `arranger.is_fill`.
    begins: the beat with which that begins.
    crash: whether a crash cymbal follows.
    bar: tokens of the bar, int `[ends, 16]`.
    before: tokens of the bar before.
  """

  piece: np.ndarray
  va: np.ndarray
  is_eighth: np.ndarray
  is_fill: np.ndarray
  begins: np.ndarray
  crash: np.ndarray
  bar: np.ndarray
  before: np.ndarray

  def __getitem__(self, rows) -> 'Ends':
    return Ends(*(
        getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


def ends_of(pieces: list[Piece]) -> Ends:
  """The ends of phrases of pieces."""
  rows = []
  for number, piece in enumerate(pieces):
    drums = piece.bars[..., band.DRUMS]
    ends = phrase_ends(piece)
    # The second of two phrases is the one after which there are more crashes.
    struck = [drums[end + 1, 0] & arranger.CRASH > 0 for end in ends]
    odd = int(np.mean(struck[1::2] or [0]) > np.mean(struck[::2] or [0]))
    for i, (end, crash) in enumerate(zip(ends, struck, strict=True)):
      rows.append((
          number, piece.va, i % 2 == odd,
          *arranger.is_fill(drums[end], drums[end - 1]), crash, drums[end],
          drums[end - 1]))
  if not rows:
    raise ValueError('the corpus has no phrases that drums play and mark')
  return Ends(*map(np.array, zip(*rows, strict=True)))


def fills_of(ends: Ends) -> dict[str, np.ndarray]:
  """What `arranger.Fills` takes."""
  ends = ends[ends.is_fill]
  strokes = collections.Counter((ends.bar & arranger.STRUCK).ravel().tolist())
  tokens = np.array(sorted(
      token for token, count in strokes.items() if count >= _MIN_STROKES))
  if not len(tokens):
    raise ValueError('the corpus has too few fills of the drums')
  n = len(tokens)
  empty = np.zeros((4, n, n, n)), np.zeros((16, n, n)), np.zeros(4)
  return dict(zip(('pairs', 'places', 'lengths'), _count(
      ends, arranger.Fills(tokens, *empty)), strict=True)) | {'tokens': tokens}


def _count(ends: Ends, fills: arranger.Fills):
  """How often strokes of fills follow which; see `arranger.Fills`."""
  n = len(fills.tokens)
  pairs, places = np.zeros((4, n, n, n)), np.zeros((16, n, n))
  for bar, before, beat in zip(
      ends.bar, ends.before, ends.begins.tolist(), strict=True):
    line = fills.index([*before[-2:], *bar])
    for step in range(beat * grid.STEPS_PER_QUARTER, grid.STEPS_PER_BAR):
      first, last, token = line[step:step + 3]
      pairs[step % 4, first, last, token] += 1
      places[step, last, token] += 1
  return pairs, places, np.bincount(ends.begins, minlength=4)


def fill_likelihoods(fills: dict, ends: Ends) -> tuple[float, float]:
  """Of a stroke of people's fills, in nats: by the chains, by shares alone."""
  chains = arranger.Fills(**fills)
  ends = ends[ends.is_fill]
  share = (fills['places'].sum((0, 1)) + 1) / (
      fills['places'] + 1 / len(fills['places']) / len(chains.tokens)).sum()
  logs = []
  for bar, before, beat in zip(
      ends.bar, ends.before, ends.begins.tolist(), strict=True):
    line = chains.index([*before[-2:], *bar])
    for step in range(beat * grid.STEPS_PER_QUARTER, grid.STEPS_PER_BAR):
      first, last, token = line[step:step + 3]
      logs.append(np.log([chains.chances[step, first, last, token],
                          share[token]]))
  return tuple(np.mean(logs, axis=0).tolist())


def chances_of(ends: Ends) -> dict[str, np.ndarray]:
  """Weights of the logits of fills and crashes, by name."""
  from sklearn.linear_model import LogisticRegression

  found = {}
  for name, rows, happens in (
      ('fill', np.ones(len(ends.piece), bool), ends.is_fill),
      ('crash_after_fill', ends.is_fill, ends.crash),
      ('crash', ~ends.is_fill, ends.crash)):
    x, y = arranger.features(ends.va[rows], ends.is_eighth[rows]), happens[rows]
    if y.all() or not y.any():
      share = (y.sum() + 1) / (len(y) + 2)
      found[name] = np.array([np.log(share / (1 - share)), 0, 0, 0])
    else:
      found[name] = LogisticRegression(
          C=1.0, fit_intercept=False).fit(x, y).coef_[0]
  return found


# --- Pick-ups.


def pickups_of(pieces: list[Piece]) -> tuple[dict[str, np.ndarray], float]:
  """The commonest ways in which a melody that waited is led in.

  Returns:
    Of `arranger.Arranger` the pick-ups; and how often there is any, of melodies
    that come in with a bar or before it.
  """
  found = collections.defaultdict(set)
  straight = led = 0
  for piece in pieces:
    melody = piece.bars[..., band.MELODY]
    sings = (melody >= grid.FIRST_PITCH).any(1)
    for bar in range(2, len(melody) - 1):
      if sings[bar - 2:bar].any() or melody[bar + 1, 0] < grid.FIRST_PITCH:
        continue
      at = np.flatnonzero(melody[bar] >= grid.FIRST_PITCH)
      if not len(at):
        straight += 1
      elif at[0] >= grid.STEPS_PER_BAR // 2:
        led += 1
        down = -piece.signature[bar + 1]
        degrees = [
            arranger.degree_of(token + down)
            for token in (*melody[bar, at], melody[bar + 1, 0])]
        if len(at) <= _MAX_PICKUP_NOTES and None not in degrees:
          found[tuple(
              (int(step) - grid.STEPS_PER_BAR, degree - degrees[-1])
              for step, degree in zip(at, degrees, strict=False))].add(
                  piece.name)
  kept = sorted(
      (line, len(names)) for line, names in found.items()
      if len(names) >= _MIN_PICKUPS)
  steps, degrees = np.zeros((2, len(kept), _MAX_PICKUP_NOTES), int)
  for i, (line, _) in enumerate(kept):
    steps[i, :len(line)], degrees[i, :len(line)] = zip(*line, strict=True)
  return {
      'steps': steps, 'degrees': degrees,
      'counts': np.array([count for _, count in kept], int)}, (
          led / max(straight + led, 1) if kept else 0.0)


# --- All of it.


def _built(pieces: list[Piece], midi_dir: pathlib.Path) -> dict:
  rows = []
  for piece in pieces:
    if len(piece.bars) < _MIN_BARS:
      continue
    waits, opens, plays, part = build_of(piece)
    path = midi_dir / piece.name[0] / f'{piece.name}.mid'
    try:
      louder = dynamics_of(path, part)
    except (ValueError, FileNotFoundError):
      louder = None  # It may have been read elsewhere.
    rows.append((
        piece.va, waits, opens, plays,
        np.zeros(arranger.EIGHTHS + 1) if louder is None else
        np.rint(louder.clip(-127, 127)), louder is not None))
  if not rows:
    raise ValueError(
        f'the corpus has no labelled piece of {_MIN_BARS} bars in which '
        'melody, bass and comping play')
  return dict(zip(
      ('va', 'waits', 'opens', 'plays', 'louder', 'has_dynamics'),
      map(np.array, zip(*rows, strict=True)), strict=True))


_QUADRANTS = {
    'excited, unpleasant': (-.2, .5), 'excited, pleasant': (.25, .5),
    'calm, unpleasant': (-.2, -.1), 'calm, pleasant': (.25, -.1)}


def _near(va: np.ndarray, point) -> np.ndarray:
  """The 200 pieces nearest to a point of the plane."""
  return np.argsort(np.square(va - point).sum(1))[:200]


def run(
    *, corpus: Corpus, midi_dir: pathlib.Path, run_dir: pathlib.Path,
    command: str, report: Callable[[str], None]):
  """Fits, measures and writes the model with its card to `run_dir`.

  Args:
    corpus: of bands.
    midi_dir: the files it was read from, MD5.mid in folders named by the first
      digit.
    run_dir: is made.
    command: that made it, for the card.
    report: told what is done.

  Raises:
    ValueError: if the corpus lacks something.
  """
  pieces, held_out = [], []
  for piece in pieces_of(corpus):
    (held_out if is_held_out(piece.name) else pieces).append(piece)
  report(f'{len(pieces)} pieces, {len(held_out)} held out')
  ends, others = ends_of(pieces), ends_of(held_out)
  fills, chances = fills_of(ends), chances_of(ends)
  pickups, pickup = pickups_of(pieces)
  built = _built(pieces, midi_dir)
  report(f'{len(built["va"])} whole pieces, {built["has_dynamics"].sum()} with '
         f'dynamics; {len(ends.piece)} ends of phrases, '
         f'{int(fills["lengths"].sum())} fills; {len(pickups["counts"])} '
         'pick-ups')
  run_dir.mkdir(parents=True, exist_ok=True)
  arranger.save(
      run_dir, built, fills, pickups, {**chances, 'pickup': pickup}, {
          'pieces': len(built['va']), 'ends': len(ends.piece)})
  model = arranger.load(run_dir)
  rows = []
  for name, of, label in (
      ('fill', np.ones(len(others.piece), bool), others.is_fill),
      ('crash_after_fill', others.is_fill, others.crash),
      ('crash', ~others.is_fill, others.crash)):
    chance = model.chance(name, others.va[of], others.is_eighth[of])
    share = {
        'fill': ends.is_fill, 'crash_after_fill': ends.crash[ends.is_fill],
        'crash': ends.crash[~ends.is_fill]}[name].mean()
    happens = label[of]
    rows.append((
        name.replace('_', ' '), happens.mean(), chance.mean(),
        _log_likelihood(share, happens), _log_likelihood(chance, happens)))
  chain, flat = fill_likelihoods(fills, others)
  cards.write(
      run_dir, 'arranger', command=command, num_pieces=len(built['va']),
      num_dynamics=int(built['has_dynamics'].sum()),
      num_ends=len(ends.piece), num_held_out=len(held_out),
      num_fills=int(fills['lengths'].sum()), num_strokes=len(fills['tokens']),
      num_pickups=len(pickups['counts']), pickup=pickup,
      chances='\n'.join(
          f'| {name} | {theirs:.2f} | {ours:.2f} | {nothing:.3f} | {va:.3f} |'
          for name, theirs, ours, nothing, va in rows),
      chain=chain, flat=flat,
      lengths=', '.join(
          f'{4 - i} {share:.2f}' for i, share in enumerate(
              fills['lengths'] / fills['lengths'].sum())),
      quadrants='\n'.join(
          f'| {name} | {(built["waits"][near] > 0).mean():.2f} | '
          f'{np.median(built["waits"][near][built["waits"][near] > 0]):.2f} | '
          f'{_rest_share(built["plays"][near]):.2f} | '
          f'{_reach(built, near):.1f} |'
          for name, point in _QUADRANTS.items()
          for near in [_near(built['va'], point)]),
      arc=', '.join(
          f'{x:+.1f}' for x in built['louder'][built['has_dynamics']].mean(0)),
      spread=', '.join(
          f'{x:.1f}' for x in built['louder'][built['has_dynamics']].std(0)))
  report(f'wrote {run_dir}')


def _rest_share(plays: np.ndarray) -> float:
  """Share of eighths in which a voice rests that plays in others."""
  has = plays.any(1, keepdims=True)
  return float((~plays & has).sum() / np.maximum(
      (has & np.ones_like(plays)).sum(), 1))


def _reach(built: dict, near: np.ndarray) -> float:
  """Median of how far loudness moves over a piece."""
  louder = built['louder'][near][built['has_dynamics'][near]]
  return float(np.median(np.ptp(louder, axis=1))) if len(louder) else 0.0


def _log_likelihood(chance, happens) -> float:
  return float(np.log(np.where(happens, chance, 1 - chance)).mean())
