"""The prior and the forms of a band, from its MusicVAE and a corpus of bands.

  latents = read(vae, corpus)
  prior.train(CONFIG, latents, run_dir, num_steps=36000)
  forms.save(find_forms(corpus), run_dir)

Windows of 16 bars in one key, transposed to the key without accidentals; their
latents are the posterior means of their segments of two bars.
"""

import collections
import os
import pathlib

import numpy as np
import tqdm

from va_magenta import files
from va_magenta.music import band, grid, measures
from va_magenta.music import chords as chord_names
from va_magenta.music.corpus import is_held_out
from va_magenta.training.band_corpus import NO_LABEL, Corpus
from va_magenta.training.music_vae import prior
from va_magenta.training.music_vae.train import digest
from va_magenta.va_to_music import band_model
from va_magenta.va_to_music.forms import SECTION_BARS, Forms, of_piece
from va_magenta.va_to_music.prior import PriorConfig

CONFIG = PriorConfig(z_size=256, context_depth=band_model.CONTEXT_DEPTH)
WINDOW_SEGMENTS = 8
_WINDOW_BARS = WINDOW_SEGMENTS * band_model.SEGMENT_BARS
_MELODY_SHARE = 0.6
# A piece counts as so many windows at most.
_MAX_PER_PIECE = 24
_BATCH_SIZE = 512
_FORM_MELODY_SHARE = 0.9
_FORMS_PER_PIECE = 2
_BARS_BETWEEN_FORMS = 4


def read(vae, corpus: Corpus, cache_dir: str | os.PathLike | None = None
        ) -> prior.Latents:
  """What a MusicVAE makes of each segment of a corpus.

  Args:
    vae: `MusicVAE` of config va-cat-band_2bar.
    corpus: of bands.
    cache_dir: where posteriors are kept, if given.

  Raises:
    ValueError: if the model is not one of 2 bars, or no window of 16 bars is in
      one key.
  """
  if vae.config.max_seq_len != band_model.SEGMENT_STEPS:
    raise ValueError(
        'a prior is learned over segments of 2 bars, by va-cat-band_2bar; '
        f'{vae.config.name} is none')
  starts = corpus.windows(
      _WINDOW_BARS, band_model.SEGMENT_BARS, melody_share=_MELODY_SHARE)
  signatures = corpus.signature[starts[:, None] + np.arange(_WINDOW_BARS)]
  starts = starts[(signatures == signatures[:, :1]).all(1)]
  if not len(starts):
    raise ValueError(
        f'the corpus has no {_WINDOW_BARS} bars with a melody and in one key')
  rows = starts[:, None] + band_model.SEGMENT_BARS * np.arange(WINDOW_SEGMENTS)
  segments, rows = np.unique(rows, return_inverse=True)
  rows = rows.reshape(len(starts), WINDOW_SEGMENTS)
  tokens, chords, va, plays = corpus.cut(segments, band_model.SEGMENT_BARS)
  va = np.nan_to_num(va[:, 0])
  mu, sigma = _posteriors(
      vae, tokens, band.controls(va, plays, chords), cache_dir)
  pieces = corpus.pieces_of(starts)
  held_out = np.array([is_held_out(corpus.names[i]) for i in pieces])
  count = np.bincount(pieces, minlength=len(corpus.names))
  return prior.Latents(
      mu=mu, sigma=sigma, va=va,
      context=np.concatenate([
          band.who_plays(tokens),
          chord_names.FEATURES[chords].reshape(len(segments), -1),
          _ends(corpus, segments)], axis=1).astype(np.uint8),
      whole=len(band.VOICES),
      rows={'train': rows[~held_out], 'validation': rows[held_out]},
      shares=np.minimum(_MAX_PER_PIECE / count[pieces[~held_out]], 1))


def _posteriors(vae, tokens, controls, cache_dir):
  """mu and sigma, float16 `[segments, z_size]`."""
  key = digest([*(np.asarray(w) for w in vae.get_weights()), tokens, controls])
  kept = cache_dir and (
      pathlib.Path(cache_dir).expanduser() / f'posteriors-{key[:12]}.npz')
  if kept and kept.exists():
    arrays = files.read_npz(kept)
    return arrays['mu'], arrays['sigma']
  found = []
  for i in tqdm.trange(0, len(tokens), _BATCH_SIZE, desc='encoding'):
    batch = slice(i, i + _BATCH_SIZE)
    count = len(tokens[batch])
    # All batches have one shape, so that nothing is compiled twice.
    padded = [
        np.concatenate([x[batch], np.repeat(x[:1], _BATCH_SIZE - count, 0)])
        for x in (tokens, controls)]
    found.append([x[:count].astype(np.float16) for x in vae.encode(*padded)])
  mu, sigma = (np.concatenate(x) for x in zip(*found, strict=True))
  if kept:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(kept) as temporary, temporary.open('wb') as file:
      np.savez(file, mu=mu, sigma=sigma)
  return mu, sigma


def _ends(corpus: Corpus, segments: np.ndarray) -> np.ndarray:
  """Whether segments hold a piece's first, and last, sound: bool `[n, 2]`."""
  sounds = band.who_plays(
      corpus.tokens.reshape(-1, grid.STEPS_PER_BAR, 4)).any(1)
  ends = []
  for first, bars in zip(corpus.first_bars(), corpus.bars, strict=True):
    at = np.flatnonzero(sounds[first:first + bars])
    ends.append((first + at[0], first + at[-1]) if len(at) else (-1, -1))
  of_piece = np.array(ends)[corpus.pieces_of(segments)]
  return (of_piece >= segments[:, None]) & (
      of_piece < segments[:, None] + band_model.SEGMENT_BARS)


def find_forms(corpus: Corpus, seed: int = 0) -> Forms:
  """The forms of people's pieces, of bands that all play.

  Of pieces that are not held out.

  Args:
    corpus: of bands.
    seed: of which windows of a piece are taken.

  Raises:
    ValueError: if no piece has 16 such bars.
  """
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
    if len(labels) and measures.playing(tokens).all():
      taken[piece] += 1
      found.append((of_piece(tokens), labels.mean(0) / 100))
  if not found:
    raise ValueError(
        f'the corpus has no {SECTION_BARS} bars in which all four voices play')
  return Forms(*map(np.array, zip(*found, strict=True)))
