"""Writes pieces for a band: VA -> form, chords, latents, four voices.

  model = band_model.load('va-cat-band_2bar')
  pieces = model.write(np.full((16, 8, 2), 0.5), random)   # 16 pieces, 16 bars

Everything is written in the key that has no accidentals, C major or A minor:
there the models learned, and there is least to learn. `music.band.transpose`
brings a piece to another key.

What a piece is made of comes in this order, each given what came before: its
form (which segments of two bars return, drawn from people's), its chords
(`harmony`), the latents of its segments (`prior`), and its notes (`music_vae`).
"""

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import band, chords as chord_names

SEGMENT_BARS = 2
SEGMENT_STEPS = SEGMENT_BARS * band.STEPS_PER_BAR
CHORDS_A_SEGMENT = SEGMENT_STEPS // band.STEPS_PER_CHORD
# Whether a segment is a piece's first, and its last.
ENDS_DEPTH = 2
CONTEXT_DEPTH = (
    len(band.VOICES) + CHORDS_A_SEGMENT * chord_names.FEATURES.shape[1]
    + ENDS_DEPTH)
PRIORS = LEARNED, NORMAL = 'learned', 'normal'
ALL_PLAY = (True,) * len(band.VOICES)
# What guidance of 1 and temperature of 1 mean to each of the models. Notes are
# drawn nearly greedily, as z has said which; the flow's noise is shrunk, which
# brings leaps and notes out of key to what people write (see the card).
_PRIOR_GUIDANCE, _HARMONY_GUIDANCE = 2.0, 1.5
_TOKEN_TEMPERATURE, _HARMONY_TEMPERATURE = 0.2, 1.2
_LEAST_NOISE, _NOISE = 0.55, 0.35


@dataclasses.dataclass(frozen=True)
class Written:
  """Pieces in the key without accidentals.

  Attributes:
    tokens: int `[n, steps, 4]`, see `music.band`.
    chords: int `[n, half bars]`, see `music.chords`.
    forms: of each piece, a letter a segment.
  """

  tokens: np.ndarray
  chords: np.ndarray
  forms: list[str]


class BandModel:
  """Form, harmony, prior and MusicVAE of a band.

  Args:
    vae: `MusicVAE` of config va-cat-band_2bar.
    harmony: `Harmony`.
    prior: `LatentPrior` of its latents; None to draw from N(0, 1) only.
    forms: how often people's pieces of 16 bars have each form.
  """

  def __init__(self, vae, harmony, prior=None,
               forms: Mapping[str, float] | None = None):
    self.vae, self.harmony, self.prior = vae, harmony, prior
    self.forms = dict(forms or {'ABCDEFGH': 1.0})

  def write(
      self, va: np.ndarray, random: np.random.Generator, *,
      plays=ALL_PLAY, mode: str | None = None, chords=None,
      form: str | None = None, temperature: float = 0.5, guidance: float = 1.0,
      prior: str = LEARNED, ends: bool = True) -> Written:
    """Draws pieces.

    All randomness is drawn in the same order whatever VA is.

    Args:
      va: float `[n, segments, 2]`: where each segment of each piece shall lie.
      random: the randomness.
      plays: which voices play.
      mode: 'major' or 'minor'; None for what VA suggests.
      chords: int `[half bars]`, in this very key, to be kept; they are repeated
        as often as needed.
      form: a letter a segment, repeated likewise; None to draw people's.
      temperature: of all draws; 0 takes the likeliest.
      guidance: how clearly VA is followed: 0 not at all.
      prior: where latents come from: 'learned' or 'normal'.
      ends: whether pieces end, on the tonic.

    Raises:
      ValueError: if `prior` is 'learned' and there is none.
    """
    va = np.asarray(va, np.float32)
    n, length = va.shape[:2]
    if prior == LEARNED and self.prior is None:
      raise ValueError('this checkpoint has no learned prior: ask for normal')
    forms = self._forms(random, n, length, form)
    noise = random.standard_normal(
        (n, length, self.vae.config.z_size), np.float32)
    harmony_seed, seed = random.integers(2**31, size=2).tolist()
    plays = np.broadcast_to(np.asarray(plays, bool), (n, len(band.VOICES)))
    if chords is not None:
      chords = np.resize(chords, length * CHORDS_A_SEGMENT)
      progression = np.tile(chords, (n, 1))
    else:
      progression = self.harmony.sample(
          va, plays, seed=harmony_seed, mode=mode, form=forms, final=ends,
          temperature=_HARMONY_TEMPERATURE * temperature,
          guidance=_HARMONY_GUIDANCE * guidance)
    by_segment = progression.reshape(n, length, CHORDS_A_SEGMENT)
    if prior == LEARNED:
      noise *= _LEAST_NOISE + _NOISE * temperature
      z = self.prior.sample(
          va, noise=noise, context=context(plays, by_segment, ends),
          guidance=_PRIOR_GUIDANCE * guidance, form=forms)
    else:
      z = noise
    controls = band.controls(
        np.repeat(va, CHORDS_A_SEGMENT, axis=1) if guidance else 0 * np.repeat(
            va, CHORDS_A_SEGMENT, axis=1), plays, progression)
    tokens = self.vae.sample(
        z.reshape(n * length, -1), temperature=_TOKEN_TEMPERATURE * temperature,
        seed=seed, controls=controls.reshape(
            n * length, CHORDS_A_SEGMENT, controls.shape[-1]))
    tokens = tokens.reshape(n, length * SEGMENT_STEPS, len(band.VOICES))
    # Who is asked to rest does so.
    tokens = tokens * plays[:, None]
    return Written(_repeat(tokens, progression, va, forms), progression, forms)

  def _forms(self, random, n, length, form) -> list[str]:
    """A letter for each segment of each piece.

    Pieces longer than 16 bars are sections of 16: A A B A, each with a form of
    its own.
    """
    names, weights = list(self.forms), np.array(list(self.forms.values()))
    drawn = random.choice(
        len(names), (n, 2), p=weights / weights.sum())
    if form is not None:
      letters = (form * length)[:length]
      return [letters] * n
    found = []
    for first, second in drawn:
      section = names[first]
      other = ''.join(chr(ord(c) + len(section)) for c in names[second])
      whole = section + section + other + section
      found.append((whole * length)[:length])
    return found


def context(plays, chords, ends: bool = True) -> np.ndarray:
  """What the prior knows of each segment beside its VA.

  Args:
    plays: bool `[n, 4]`.
    chords: int `[n, segments, 4]`.
    ends: whether the first and last segment begin and end the piece.

  Returns:
    float32 `[n, segments, CONTEXT_DEPTH]`.
  """
  n, length = chords.shape[:2]
  features = chord_names.FEATURES[chords].reshape(n, length, -1)
  flags = np.zeros((n, length, ENDS_DEPTH), np.float32)
  if ends:
    flags[:, 0, 0] = flags[:, -1, 1] = 1
  who = np.broadcast_to(
      np.asarray(plays, np.float32)[:, None], (n, length, len(band.VOICES)))
  return np.concatenate([who, features, flags], axis=-1).astype(np.float32)


def _repeat(tokens, chords, va, forms) -> np.ndarray:
  """Segments that return are played again, note for note.

  They do where chords and VA return too; the last segment, which ends the
  piece, is its own.
  """
  n, length = va.shape[:2]
  tokens = tokens.reshape(n, length, SEGMENT_STEPS, -1).copy()
  chords = chords.reshape(n, length, -1)
  for i, letters in enumerate(forms):
    for at in range(length - 1):
      first = letters.index(letters[at])
      if (chords[i, at] == chords[i, first]).all() and (
          va[i, at] == va[i, first]).all():
        tokens[i, at] = tokens[i, first]
  return tokens.reshape(n, length * SEGMENT_STEPS, -1)


def load(name_or_path: str | os.PathLike) -> BandModel:
  """A band from its checkpoint.

  Args:
    name_or_path: see `checkpoints.resolve`; a folder with a MusicVAE, its prior
      and forms, and a harmony.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if one is damaged.
  """
  from va_magenta.va_to_music import harmony, music_vae, prior

  folder = checkpoints.resolve(name_or_path)
  forms, _ = checkpoints.open(folder, checkpoints.FORMS)
  return BandModel(
      music_vae.load(folder), harmony.load(folder), prior.load(folder), forms)
