"""What the prior of a MusicVAE is learned from: latents and forms of a corpus.

  latents = read(vae, corpus, critic=critic)
  prior.train(config_of(vae.config), latents, run_dir, num_steps=36000)
  forms.save(find_forms(corpus), run_dir)

Windows of 16 bars in one key, transposed to the key without accidentals. Their
latents are the posterior means of their phrases: of eight of two bars, or of
the one of 16 bars. A band's phrases have the VA of Lakh-VA's labels; those of
melodies and trios have what a critic finds in their very notes.
"""

import collections
import os
import pathlib

import numpy as np
import tqdm
from keras import ops

from va_magenta import files
from va_magenta.music import band, grid, measures
from va_magenta.music import chords as chord_names
from va_magenta.music.corpus import is_held_out
from va_magenta.training.band_corpus import NO_LABEL, Corpus
from va_magenta.training.music_vae import prior
from va_magenta.training.music_vae.train import digest
from va_magenta.va_to_music import band_model, tensors
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.forms import SECTION_BARS, Forms, of_piece
from va_magenta.va_to_music.prior import PriorConfig

WINDOW_BARS = 16
# Of the prior of melodies and trios.
_SMALL = {'width': 192, 'num_blocks': 4}
_MELODY_SHARE = 0.6
# A piece counts as so many windows at most.
_MAX_PER_PIECE = 24
_BATCH_SIZE = 512
_FORM_MELODY_SHARE = 0.9
_FORMS_PER_PIECE = 2
_BARS_BETWEEN_FORMS = 4


def config_of(config: Config) -> PriorConfig:
  """The sizes of the prior of a MusicVAE."""
  length = WINDOW_BARS * grid.STEPS_PER_BAR // config.max_seq_len
  return PriorConfig(
      config.z_size, band_model.context_depth(config), length=length,
      **({} if config.context_depth else _SMALL))


def read(vae, corpus: Corpus, cache_dir: str | os.PathLike | None = None,
         critic=None) -> prior.Latents:
  """What a MusicVAE makes of each phrase of a corpus.

  Args:
    vae: a `MusicVAE` of a band, of melodies, or of trios.
    corpus: of bands.
    cache_dir: where posteriors are kept, if given.
    critic: a Keras model, one-hots to VA; of a band it is not needed.

  Raises:
    ValueError: if no window of 16 bars is in one key.
  """
  config = vae.config
  voices = len(config.output_depths)
  num_bars = config.max_seq_len // grid.STEPS_PER_BAR
  # Phrases of 16 bars overlap by half.
  starts = corpus.windows(
      WINDOW_BARS, max(band_model.SEGMENT_BARS, num_bars // 2),
      melody_share=_MELODY_SHARE)
  signatures = corpus.signature[starts[:, None] + np.arange(WINDOW_BARS)]
  starts = starts[(signatures == signatures[:, :1]).all(1)]
  if not config.context_depth:
    starts = starts[_all_play(corpus, starts, voices)]
  if not len(starts):
    raise ValueError(
        f'the corpus has no {WINDOW_BARS} bars with a melody and in one key')
  rows = starts[:, None] + num_bars * np.arange(WINDOW_BARS // num_bars)
  phrases, rows = np.unique(rows, return_inverse=True)
  rows = rows.reshape(len(starts), -1)
  tokens, chords, va, plays = corpus.cut(phrases, num_bars)
  ends = _ends(corpus, phrases, num_bars)
  of_chords = chord_names.FEATURES[chords].reshape(len(phrases), -1)
  if config.context_depth:
    va = np.nan_to_num(va[:, ::band_model.SEGMENT_BARS])
    controls = band.controls(
        np.repeat(va, chords.shape[1] // va.shape[1], axis=1), plays, chords)
    va = va.mean(1)
    context = [band.who_plays(tokens), of_chords, ends]
  else:
    tokens = tokens[..., :voices]
    by_segment = _estimated(critic, tokens, config.output_depths)
    va = by_segment.mean(1)
    controls = None
    if config.control_depth:
      controls = by_segment if config.conductor_control else va[:, None]
    context = [of_chords, ends]
  mu, sigma = _posteriors(vae, tokens, controls, cache_dir)
  pieces = corpus.pieces_of(starts)
  held_out = np.array([is_held_out(corpus.names[i]) for i in pieces])
  count = np.bincount(pieces, minlength=len(corpus.names))
  return prior.Latents(
      mu=mu, sigma=sigma, va=va,
      context=np.concatenate(context, axis=1).astype(np.uint8),
      whole=len(band.VOICES) if config.context_depth else 0,
      rows={'train': rows[~held_out], 'validation': rows[held_out]},
      shares=np.minimum(_MAX_PER_PIECE / count[pieces[~held_out]], 1))


def _all_play(corpus: Corpus, starts, voices: int) -> np.ndarray:
  """Whether the first voices play in half of a window's bars: bool `[n]`."""
  plays = band.who_plays(
      corpus.tokens.reshape(-1, grid.STEPS_PER_BAR, 4))[:, :voices]
  total = np.concatenate([np.zeros((1, voices), int), np.cumsum(plays, 0)])
  return (2 * (total[starts + WINDOW_BARS] - total[starts]) >= WINDOW_BARS
          ).all(1)


def _batches(arrays, what: str):
  """Rows of arrays in batches of one shape, and how many of them count."""
  for i in tqdm.trange(0, len(arrays[0]), _BATCH_SIZE, desc=what):
    batch = [x[i:i + _BATCH_SIZE] for x in arrays]
    count = len(batch[0])
    yield [
        np.concatenate([x, np.repeat(x[:1], _BATCH_SIZE - count, 0)])
        for x in batch], count


def _estimated(critic, tokens, output_depths) -> np.ndarray:
  """What a critic finds in each two bars, float32 `[n, segments, 2]`."""
  segments = tokens.reshape(-1, band_model.SEGMENT_STEPS, tokens.shape[-1])
  found = [
      np.clip(ops.convert_to_numpy(critic(tensors.one_hot(
          ops.convert_to_tensor(batch, 'int32'), output_depths))), -1, 1)[
              :count]
      for [batch], count in _batches([segments], 'estimating')]
  return np.concatenate(found).reshape(len(tokens), -1, 2)


def _posteriors(vae, tokens, controls, cache_dir):
  """mu and sigma, float16 `[phrases, z_size]`."""
  given = [tokens] if controls is None else [tokens, controls]
  key = digest([*(np.asarray(w) for w in vae.get_weights()), *given])
  kept = cache_dir and (
      pathlib.Path(cache_dir).expanduser() / f'posteriors-{key[:12]}.npz')
  if kept and kept.exists():
    arrays = files.read_npz(kept)
    return arrays['mu'], arrays['sigma']
  found = [
      [x[:count].astype(np.float16) for x in vae.encode(*batch)]
      for batch, count in _batches(given, 'encoding')]
  mu, sigma = (np.concatenate(x) for x in zip(*found, strict=True))
  if kept:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(kept) as temporary, temporary.open('wb') as file:
      np.savez(file, mu=mu, sigma=sigma)
  return mu, sigma


def _ends(corpus: Corpus, phrases: np.ndarray, num_bars: int) -> np.ndarray:
  """Whether phrases hold a piece's first, and last, sound: bool `[n, 2]`."""
  sounds = band.who_plays(
      corpus.tokens.reshape(-1, grid.STEPS_PER_BAR, 4)).any(1)
  ends = []
  for first, bars in zip(corpus.first_bars(), corpus.bars, strict=True):
    at = np.flatnonzero(sounds[first:first + bars])
    ends.append((first + at[0], first + at[-1]) if len(at) else (-1, -1))
  of_piece = np.array(ends)[corpus.pieces_of(phrases)]
  return (of_piece >= phrases[:, None]) & (
      of_piece < phrases[:, None] + num_bars)


def find_forms(
    corpus: Corpus, voices: int = len(band.VOICES), seed: int = 0) -> Forms:
  """The forms of people's pieces in which the first voices all play.

  Of pieces that are not held out. In a corpus without labels all have the same
  VA.

  Args:
    corpus: of bands.
    voices: how many.
    seed: of which windows of a piece are taken.

  Raises:
    ValueError: if no piece has 16 such bars.
  """
  is_labelled = (corpus.va != NO_LABEL).any()
  starts = corpus.windows(
      SECTION_BARS, _BARS_BETWEEN_FORMS, held_out=False,
      melody_share=_FORM_MELODY_SHARE)
  starts = np.random.default_rng(seed).permutation(starts)
  by_bar = corpus.tokens.reshape(-1, grid.STEPS_PER_BAR, len(band.VOICES))
  taken = collections.Counter()
  found = []
  for start, piece in zip(
      starts.tolist(), corpus.pieces_of(starts).tolist(), strict=True):
    if taken[piece] == _FORMS_PER_PIECE:
      continue
    bars = slice(start, start + SECTION_BARS)
    tokens = by_bar[bars].reshape(-1, len(band.VOICES))
    labels = corpus.va[bars][(corpus.va[bars] != NO_LABEL).all(1)]
    if (len(labels) or not is_labelled) and (
        measures.playing(tokens)[:voices].all()):
      taken[piece] += 1
      found.append((
          of_piece(tokens), labels.mean(0) / 100 if is_labelled else (0, 0)))
  if not found:
    raise ValueError(
        f'the corpus has no {SECTION_BARS} bars in which '
        f'{", ".join(band.VOICE_NAMES[:voices])} play')
  return Forms(*map(np.array, zip(*found, strict=True)))
