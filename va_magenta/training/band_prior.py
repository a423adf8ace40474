"""The prior and the forms of a band, from its MusicVAE and a corpus of bands.

  latents = read(vae, corpus)
  prior.train(CONFIG, latents, run_dir, num_steps=36000)
  write_forms(corpus, run_dir)

Windows of 16 bars in one key, transposed to the key without accidentals; their
latents are the posterior means of their segments of two bars.
"""

import collections
import os
import pathlib

import numpy as np
import tqdm

from va_magenta import checkpoints, files
from va_magenta.music import band, grid
from va_magenta.music import chords as chord_names
from va_magenta.music.corpus import is_held_out
from va_magenta.training.band_corpus import Corpus
from va_magenta.training.music_vae import prior
from va_magenta.training.music_vae.train import digest
from va_magenta.va_to_music import band_model
from va_magenta.va_to_music.prior import PriorConfig

CONFIG = PriorConfig(z_size=256, context_depth=band_model.CONTEXT_DEPTH)
WINDOW_SEGMENTS = 8
_WINDOW_BARS = WINDOW_SEGMENTS * band_model.SEGMENT_BARS
_MELODY_SHARE = 0.6
# A piece counts as so many windows at most.
_MAX_PER_PIECE = 24
_BATCH_SIZE = 512
_FORM_MELODY_SHARE = 0.8
_FORMS_PER_PIECE = 6
_RAREST_FORM = 3


def read(vae, corpus: Corpus, cache_dir: str | os.PathLike | None = None
        ) -> prior.Latents:
  """What a MusicVAE makes of each segment of a corpus.

  Args:
    vae: `MusicVAE` of config va-cat-band_2bar.
    corpus: of bands.
    cache_dir: where posteriors are kept, if given.

  Raises:
    ValueError: if no window of 16 bars is in one key.
  """
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


def forms(corpus: Corpus) -> dict[str, int]:
  """How often 16 bars of people's melodies have each form.

  Of pieces that are not held out; see `band_model.BandModel`. Forms that hardly
  anybody uses are left out.
  """
  starts = corpus.windows(
      _WINDOW_BARS, 8, held_out=False, melody_share=_FORM_MELODY_SHARE)
  counts, of_piece = collections.Counter(), collections.Counter()
  for start, piece in zip(
      starts.tolist(), corpus.pieces_of(starts).tolist(), strict=True):
    of_piece[piece] += 1
    if of_piece[piece] <= _FORMS_PER_PIECE:
      begin = start * grid.STEPS_PER_BAR
      counts[band_model.form_of(corpus.tokens[
          begin:begin + _WINDOW_BARS * grid.STEPS_PER_BAR, band.MELODY])] += 1
  return {
      form: n for form, n in counts.most_common() if n >= _RAREST_FORM}


def write_forms(corpus: Corpus, folder: str | os.PathLike):
  """Writes `forms.json`."""
  checkpoints.write(folder, checkpoints.FORMS, forms(corpus))
