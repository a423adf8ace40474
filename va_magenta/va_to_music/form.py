"""Longer music from phrases: which come back, where they lead, how they join.

Phrases A A' B A'', again and again, are latent vectors at small or large steps
from a theme's. Of each phrase but the first a few versions are drawn, and those
are taken that join without leaps.
"""

from collections.abc import Sequence

import numpy as np

from va_magenta.music import grid, trio
from va_magenta.va import VA

# The share of the way that each phrase goes from the piece's theme towards a
# fresh point of the latent space. The theme comes back slightly changed.
_FORM = (0.0, 0.2, 0.6, 0.2)
_THEME_RETURNS = 0.1
# How many versions of a phrase there are to choose from.
VERSIONS = 4
# In semitones. In the melodies that the shipped MusicVAE's encoder learned from
# (Lakh's layout, 257,000 of two bars), 73 of 100 intervals from a note to the
# next, and 75 of 100 over the bar line in the middle, are no larger. Over the
# seams of what it plays by itself, 40 of 100 with one version, 81 of 100 with
# four.
LARGEST_SEAM = 7
_EMPTY = 1000  # What an empty phrase costs, in semitones of leaps.


def draw(
    random: np.random.Generator, num_pieces: int, num_phrases: int,
    z_size: int) -> np.ndarray:
  """Latent vectors of phrases that belong together: A A' B A'', and so on.

  Each phrase is a spherical step (White 2016, "Sampling Generative Networks")
  from its piece's theme, small for A', larger for B. A step between two draws
  of the prior ends where draws of the prior are, so the model knows the place.

  Returns:
    float32 [num_pieces, num_phrases, versions, z_size]; the first phrases are
    draws of N(0, I), all versions the same. Of one phrase there is one version.
  """
  theme = random.standard_normal((num_pieces, z_size), np.float32)
  if num_phrases == 1:
    return theme[:, None, None]
  return vary(random, theme, num_phrases)


def vary(
    random: np.random.Generator, theme: np.ndarray, num_phrases: int
) -> np.ndarray:
  """As `draw`, of given themes [pieces, z_size]."""
  phrases = [np.repeat(theme[:, None], VERSIONS, axis=1)]
  for i in range(1, num_phrases):
    fresh = random.standard_normal(
        (len(theme), VERSIONS, theme.shape[1]), np.float32)
    phrases.append(_slerp(
        theme[:, None], fresh, _FORM[i % len(_FORM)] or _THEME_RETURNS))
  return np.stack(phrases, axis=1)


def _slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
  """The point a share of the way along the arc, along the last axis."""
  norms = np.linalg.norm(start, axis=-1) * np.linalg.norm(end, axis=-1)
  angle = np.arccos(np.clip(np.sum(start * end, axis=-1) / norms, -1, 1))
  angle = angle[..., None]
  return (np.sin((1 - share) * angle) * start
          + np.sin(share * angle) * end) / np.sin(angle)


def along(path: Sequence[VA], num_sections: int) -> list[VA]:
  """Where each section lies that leads from point to point at a steady pace."""
  points = np.array([(va.valence, va.arousal) for va in path])
  places = np.linspace(0, len(path) - 1, num_sections)
  return [
      VA(*(np.interp(place, np.arange(len(path)), axis) for axis in points.T))
      for place in places]


def join(versions: np.ndarray) -> np.ndarray:
  """Joins phrases, choosing of each the version that makes the least leaps.

  A leap is what an interval of the melody from the last note of a phrase to the
  first of the next has over `LARGEST_SEAM`. All choices are made together, for
  a phrase that leads well out of one may lead badly into the next (Viterbi's
  algorithm). An empty version is taken only if there is no other.

  Args:
    versions: tokens, int [pieces, phrases, versions, steps, outputs].

  Returns:
    int [pieces, phrases * steps, outputs]. Joined as tokens, a note may sound
    on over the seam.
  """
  melodies = versions[..., trio.MELODY]
  is_note = melodies >= grid.FIRST_PITCH
  is_empty = ~is_note.any(-1)
  first, last = (
      np.take_along_axis(melodies, at[..., None], -1)[..., 0]
      for at in (is_note.argmax(-1),
                 is_note.shape[-1] - 1 - is_note[..., ::-1].argmax(-1)))
  cost = _EMPTY * is_empty[:, 0]
  best_before = []
  for i in range(1, versions.shape[1]):
    # [pieces, version before, version].
    seam = abs(first[:, i][:, None] - last[:, i - 1][:, :, None])
    leap = np.where(
        is_empty[:, i - 1][:, :, None] | is_empty[:, i][:, None],
        _EMPTY * is_empty[:, i][:, None], np.maximum(seam - LARGEST_SEAM, 0))
    total = cost[:, :, None] + leap
    best_before.append(total.argmin(1))
    cost = total.min(1)
  chosen = [cost.argmin(1)]
  rows = np.arange(len(versions))
  for before in best_before[::-1]:
    chosen.append(before[rows, chosen[-1]])
  return np.concatenate([
      versions[rows, i, version] for i, version in enumerate(chosen[::-1])
  ], axis=1)
