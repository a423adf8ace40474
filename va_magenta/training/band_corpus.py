"""A corpus of bands: pieces on the grid, with the VA of each bar.

Pieces lie one after the other in arrays, as `music.band` has them:

  corpus = band_corpus.load('band.npz')
  windows = corpus.windows(num_bars=2, every=2)
  tokens, chords, va, plays = corpus.cut(windows, num_bars=2)

What is cut is in the key without accidentals (see `chords.key_signatures`), the
key that all models of bands learn in. Pieces are split by name, their MD5, and
so for good: one of twenty is held out.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np

from va_magenta import files, processes
from va_magenta.music import band, band_reader, grid, midi
from va_magenta.music import chords as chord_names
from va_magenta.music import corpus as midi_corpus
from va_magenta.music_to_va import labelling
from va_magenta.training.music_vae import examples
from va_magenta.va import AXES

NO_LABEL = -128  # In `Corpus.va`.
# Who plays is who plays in so many bars.
_PLAYER_BARS = 16
_BLOCK_SIZE = 256  # Pieces a file of the cache.


def split_of(name: str) -> str:
  """The split of a piece by its MD5 in hex: 38 of 40 'train', 1 each others."""
  if not midi_corpus.is_held_out(name):
    return 'train'
  return 'validation' if int(name[:2], 16) % 40 else 'test'


@dataclasses.dataclass(frozen=True)
class Corpus:
  """Pieces, one after the other.

  Attributes:
    tokens: uint16 `[steps, 4]`.
    chords: uint8 `[half bars]`.
    va: int8 `[bars, 2]`, hundredths of valence and arousal of what begins with
      each bar; `NO_LABEL` where there is none.
    signature: int8 `[bars]`, key signatures.
    bars: int32 `[pieces]`, how many bars each has.
    tempo_qpm: float32 `[pieces]`.
    names: the pieces' MD5s.
  """

  tokens: np.ndarray
  chords: np.ndarray
  va: np.ndarray
  signature: np.ndarray
  bars: np.ndarray
  tempo_qpm: np.ndarray
  names: list[str]

  def first_bars(self) -> np.ndarray:
    """The bar that each piece begins with, int `[pieces]`."""
    return np.concatenate([[0], np.cumsum(self.bars)[:-1]]).astype(int)

  def pieces_of(self, bars: np.ndarray) -> np.ndarray:
    """The piece of each of some bars, int like `bars`."""
    return np.searchsorted(self.first_bars(), bars, side='right') - 1

  def windows(
      self, num_bars: int, every: int, held_out: bool | None = None,
      melody_share: float = 0.5) -> np.ndarray:
    """Where windows of so many bars begin, of those with a melody.

    Args:
      num_bars: of each.
      every: bars from one to the next.
      held_out: of pieces that are held out, or are not; None for both.
      melody_share: of a window's bars, that have a note of the melody.

    Returns:
      int `[windows]`, bars.
    """
    sings = (self.tokens[:, band.MELODY] >= grid.FIRST_PITCH).reshape(
        -1, grid.STEPS_PER_BAR).any(1)
    total = np.concatenate([[0], np.cumsum(sings)])
    found = []
    for first, bars, name in zip(
        self.first_bars(), self.bars, self.names, strict=True):
      if held_out is None or held_out == midi_corpus.is_held_out(name):
        found.append(np.arange(first, first + bars - num_bars + 1, every))
    starts = np.concatenate([np.zeros(0, int), *found])
    share = (total[starts + num_bars] - total[starts]) / num_bars
    return starts[share >= melody_share]

  def cut(self, starts: np.ndarray, num_bars: int):
    """Windows in the key without accidentals.

    Args:
      starts: int `[windows]`, bars, of windows within a piece.
      num_bars: of each.

    Returns:
      tokens int16 `[windows, steps, 4]`; chords uint8 `[windows, half bars]`;
      VA float32 `[windows, bars, 2]`, NaN where there is none; and who plays
      around them, bool `[windows, 4]`.
    """
    bars = starts[:, None] + np.arange(num_bars)
    tokens = self.tokens.reshape(-1, grid.STEPS_PER_BAR, 4)[bars].reshape(
        len(starts), -1, 4).astype(np.int16)
    chords = self.chords.reshape(-1, 2)[bars].reshape(len(starts), -1)
    up = -self.signature[starts].astype(int)
    up = np.where(up < -5, up + 12, up)[:, None]
    tokens[..., :2] = band.transpose_line(tokens[..., :2], up[..., None])
    va = self.va[bars].astype(np.float32)
    va = np.where(va == NO_LABEL, np.nan, va / 100)
    return tokens, chord_names.transpose(chords, up), va, self._players(starts)

  def _players(self, starts: np.ndarray) -> np.ndarray:
    """Who plays in the bars around, bool `[windows, 4]`."""
    piece = self.pieces_of(starts)
    first = self.first_bars()[piece]
    at = first + (starts - first) // _PLAYER_BARS * _PLAYER_BARS
    end = first + self.bars[piece]
    at = np.maximum(np.minimum(at, end - _PLAYER_BARS), first)
    plays = np.concatenate([np.zeros((1, 4), int), np.cumsum(band.who_plays(
        self.tokens.reshape(-1, grid.STEPS_PER_BAR, 4)), axis=0)])
    return plays[np.minimum(at + _PLAYER_BARS, end)] > plays[at]


def to_examples(corpus: Corpus, num_bars: int, every: int, max_per_piece: int,
                seed: int = 0, voices: int = len(band.VOICES)
                ) -> examples.Examples:
  """Windows of a corpus as `training.music_vae` takes them.

  Args:
    corpus: of bands.
    num_bars: of each window.
    every: bars from one window to the next.
    max_per_piece: so many windows of a piece at most.
    seed: of which.
    voices: the first so many of each; controls are of whole bands alone.
  """
  starts = corpus.windows(num_bars, every)
  piece = corpus.pieces_of(starts)
  random = np.random.default_rng(seed)
  order = random.permutation(len(starts))
  order = order[np.argsort(piece[order], kind='stable')]
  rank = np.arange(len(order)) - np.searchsorted(piece[order], piece[order])
  kept = np.sort(order[rank < max_per_piece])
  starts, piece = starts[kept], piece[kept]
  tokens, chords, va, plays = corpus.cut(starts, num_bars)
  controls = None
  if voices == len(band.VOICES):
    # Of each two bars that of the first, and (0, 0) where there is no label.
    va = np.repeat(
        np.nan_to_num(va[:, ::2]), chords.shape[1] // (num_bars // 2), axis=1)
    controls = band.controls(va, plays, chords).astype(np.float16)
  return examples.Examples(
      tokens[..., :voices], piece.astype(np.int32), corpus.names, controls,
      [split_of(name) for name in corpus.names])


def convert(
    cache_dir: str | os.PathLike, *, examples_path: str, labels: str | None,
    num_workers: int | None = None, report: Callable[[str], None] = print
) -> Corpus:
  """Reads a folder of MIDI files, or takes up where it stood.

  Blocks of pieces are written to `cache_dir` as they are done. Pieces that have
  the melody of another are left out.

  Args:
    cache_dir: folder for the blocks.
    examples_path: folder of MIDI files.
    labels: Lakh-VA's table, which knows pieces by their MD5; None for a corpus
      without labels.
    num_workers: processes; all cores if None.
    report: is given lines about what is left out, and why.

  Raises:
    ValueError: if no piece can be read as a band, or the table is none.
    FileNotFoundError: if nothing is found at `examples_path`.
  """
  paths = midi_corpus.find_midi(examples_path)
  folder = pathlib.Path(cache_dir).expanduser()
  folder.mkdir(parents=True, exist_ok=True)
  by_name = _labels_by_name(labels) if labels else {}
  # Of other files, other blocks.
  key = hashlib.md5(repr(paths).encode()).hexdigest()[:12]
  blocks = [folder / f'band-{key}-{i:05d}.npz' for i in range(
      -(-len(paths) // _BLOCK_SIZE))]
  processes.resumable_map(
      lambda pool, block: pool.map(_read, block, chunksize=4), paths, blocks,
      _write_block, block_size=_BLOCK_SIZE, what='converted pieces',
      num_workers=num_workers)
  read, reasons = [], collections.Counter()
  for path in blocks:
    pieces, refused = _read_block(path)
    read += pieces
    reasons.update(refused)
  seen, kept = set(), []
  for name, piece in read:
    melody = piece.tokens[:, band.MELODY].tobytes()
    if melody in seen:
      reasons['the melody of another'] += 1
    else:
      seen.add(melody)
      kept.append((name, piece))
  for reason, count in reasons.most_common():
    report(f'left out: {count} pieces: {reason}')
  if not kept:
    raise ValueError(
        f'no piece of {examples_path} can be read as a band: it needs pieces '
        'in 4/4 on a grid of sixteenths')
  return _joined(kept, by_name)


def _read(path: str) -> tuple[str, band_reader.Band | str]:
  """A piece's MD5, and the piece, or in a few words why there is none."""
  name = midi_corpus.file_md5(path)
  try:
    return name, band_reader.from_score(midi.read(path))
  except ValueError as error:
    reason = str(error).partition(' (')[0].rpartition(': ')[2]
    return name, re.sub(r'has [0-9]+ bars', 'has so many bars', reason)


# Of a block, what a `Band` is made of, end to end.
_ARRAYS = ('tokens', 'chords', 'bar_seconds')


def _write_block(path, _, results):
  """Writes pieces and reasons: what `_read` gives, or `processes.Lost`."""
  read, refused = [], []
  for result in results:
    if isinstance(result, processes.Lost):
      refused.append(result.reason)
    elif isinstance(result[1], str):
      refused.append(result[1])
    else:
      read.append(result)
  arrays = {
      name: np.concatenate(
          [np.zeros((0, 4), np.uint16)] * (name == 'tokens')
          + [np.zeros(0)] * (name == 'bar_seconds')
          + [np.zeros(0, np.uint8)] * (name == 'chords')
          + [getattr(piece, name) for _, piece in read])
      for name in _ARRAYS}
  np.savez_compressed(
      path, **arrays, bars=[len(piece.chords) // 2 for _, piece in read],
      tempo_qpm=[piece.tempo_qpm for _, piece in read],
      names=np.array([name for name, _ in read], '<U32'),
      reasons=np.array(refused, '<U80'))


def _read_block(path) -> tuple[list, list[str]]:
  """(MD5, `Band`) of pieces that were read; why others were not."""
  try:
    block = files.read_npz(path)
    bars = block['bars'].astype(int)
    ends = {
        'tokens': np.cumsum(bars * grid.STEPS_PER_BAR),
        'chords': np.cumsum(bars * 2), 'bar_seconds': np.cumsum(bars + 1)}
    parts = {
        name: np.split(block[name], ends[name]) for name in _ARRAYS}
    pieces = [
        (str(name), band_reader.Band(
            *(parts[array][i] for array in _ARRAYS),
            band.who_plays(parts['tokens'][i]), float(qpm)))  # pyright: ignore
        for i, (name, qpm) in enumerate(
            zip(block['names'], block['tempo_qpm'], strict=True))]
    return pieces, block['reasons'].tolist()
  except (ValueError, KeyError, IndexError) as error:
    raise ValueError(
        f'{path} is damaged ({error}): remove it, and it is made again'
    ) from error


def _labels_by_name(path) -> dict:
  """(start seconds, VA `[n, 2]`) of each piece's windows, by its MD5."""
  table = labelling.read(path)
  table = table[table['window'] >= 0].sort_values(['md5', 'start_seconds'])
  names, first = np.unique(table['md5'].to_numpy(str), return_index=True)
  ends = np.append(first[1:], len(table))
  seconds = table['start_seconds'].to_numpy()
  points = table[list(AXES)].to_numpy()
  return {
      name: (seconds[i:j], points[i:j])
      for name, i, j in zip(names.tolist(), first, ends, strict=True)}


def _joined(pieces, by_name) -> Corpus:
  """Pieces end to end, with the labels of those that have some."""
  va = []
  for name, piece in pieces:
    num_bars = len(piece.chords) // 2
    of_bars = np.full((num_bars, 2), NO_LABEL, np.int8)
    if name in by_name:
      start, points = by_name[name]
      # Of the two bars from each on, the window around their middle.
      ends = np.minimum(np.arange(num_bars) + 2, num_bars)
      middle = (piece.bar_seconds[:-1] + piece.bar_seconds[ends]) / 2
      window = np.searchsorted(start, middle, side='right') - 1
      of_bars[:] = np.rint(100 * points[np.maximum(window, 0)])
    va.append(of_bars)
  signatures = [
      chord_names.key_signatures(
          piece.tokens[:, band.MELODY], piece.tokens[:, band.BASS],
          piece.chords) for _, piece in pieces]
  return Corpus(
      np.concatenate([piece.tokens for _, piece in pieces]),
      np.concatenate([piece.chords for _, piece in pieces]),
      np.concatenate(va), np.concatenate(signatures).astype(np.int8),
      np.array([len(s) for s in signatures], np.int32),
      np.array([piece.tempo_qpm for _, piece in pieces], np.float32),
      [name for name, _ in pieces])


def load(path: str | os.PathLike) -> Corpus:
  """Reads what `save` wrote.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged or is no corpus.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'no corpus of bands at {path}')
  arrays = dict(files.read_npz(path))
  expected = {field.name for field in dataclasses.fields(Corpus)}
  if arrays.keys() != expected:
    raise ValueError(
        f'{path} is no corpus of bands: it holds {", ".join(sorted(arrays))}, '
        f'not {", ".join(sorted(expected))}')
  arrays['names'] = arrays['names'].tolist()
  corpus = Corpus(**arrays)
  num_bars = int(corpus.bars.sum())
  lengths = {
      'tokens': num_bars * grid.STEPS_PER_BAR, 'chords': num_bars * 2,
      'va': num_bars, 'signature': num_bars,
      'tempo_qpm': len(corpus.bars), 'names': len(corpus.bars)}
  for name, length in lengths.items():
    if len(getattr(corpus, name)) != length:
      raise ValueError(
          f'{path} is damaged: {name} has {len(getattr(corpus, name))} rows, '
          f'not {length}')
  return corpus


def save(corpus: Corpus, path: str | os.PathLike):
  """Writes a corpus; the file is whole or not there."""
  with files.writing(pathlib.Path(path)) as temporary:
    np.savez_compressed(temporary, **{
        field.name: getattr(corpus, field.name)
        for field in dataclasses.fields(Corpus)})
