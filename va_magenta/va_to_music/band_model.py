"""Writes pieces for a band, or a melody or trio: VA -> form, chords, notes.

  model = band_model.load('va-cat-band_2bar')
  pieces = model.write(np.full((16, 8, 2), 0.5), random)   # 16 pieces, 16 bars

Everything is written in the key that has no accidentals, C major or A minor:
there the models learned, and there is least to learn. `music.band.transpose`
brings a piece to another key.

Melodies and trios are the first voices of a band: they are written over chords,
too, which nobody plays.

What a piece is made of comes in this order, each given what came before: its
form (which bars return, drawn from people's: `forms`), its chords (`harmony`),
the latents of its segments (`prior`), and its notes (`music_vae`).
"""

import dataclasses
import os

import numpy as np

from va_magenta import checkpoints
from va_magenta.music import band, grid
from va_magenta.music import chords as chord_names
from va_magenta.va_to_music import forms
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.forms import Forms

SEGMENT_BARS = 2
SEGMENT_STEPS = SEGMENT_BARS * grid.STEPS_PER_BAR
CHORDS_A_SEGMENT = SEGMENT_STEPS // grid.STEPS_PER_CHORD
# Whether a segment is a piece's first, and its last.
ENDS_DEPTH = 2
PRIORS = LEARNED, NORMAL = 'learned', 'normal'
ALL_PLAY = (True,) * len(band.VOICES)
# What guidance of 1 and temperature of 1 mean to each of the models. Notes are
# drawn nearly greedily, as z has said which.
PRIOR_GUIDANCE, _HARMONY_GUIDANCE = 2.0, 1.5
TOKEN_TEMPERATURE = 0.2
# Two segments of a melody are the same if their notes are so alike.
_SAME = 0.8
# The middle one of a bass's notes, in MIDI pitches, lies here in nine of ten of
# people's pieces (Lakh's layout, 5,780 bands).
_BASS_REGISTER = 33, 51
# Progressions that are tried for a melody that is given.
_VERSIONS = 8


@dataclasses.dataclass(frozen=True)
class Written:
  """Pieces in the key without accidentals.

  Attributes:
    tokens: int `[n, steps, voices]`, see `music.band`.
    chords: int `[n, half bars]`, see `music.chords`.
    forms: of each a letter a segment, those of the same melody alike.
  """

  tokens: np.ndarray
  chords: np.ndarray
  forms: list[str]


class BandModel:
  """Form, harmony, prior and MusicVAE of a band, of melodies or of trios.

  Args:
    vae: `MusicVAE`, of phrases of 2 or 16 bars.
    harmony: `Harmony`.
    prior: `LatentPrior` of its latents; None to draw from N(0, 1) only.
    forms: `Forms` of people's pieces.
  """

  def __init__(self, vae, harmony, prior, forms: Forms):
    self.vae, self.harmony, self.prior = vae, harmony, prior
    self.forms = forms

  def write(
      self, va: np.ndarray, random: np.random.Generator, *,
      plays=ALL_PLAY, mode: str | None = None, chords=None, melody=None,
      form: str | None = None, temperature: float = 0.5, guidance: float = 1.0,
      prior: str = LEARNED, ends: bool = True) -> Written:
    """Draws pieces.

    All randomness is drawn in the same order whatever VA is.

    Args:
      va: float `[n, segments, 2]`: where each two bars of each piece shall lie;
        whole phrases.
      random: the randomness.
      plays: which voices of a band play.
      mode: 'major' or 'minor'; None for what VA suggests.
      chords: int `[half bars]`, in this very key, to be kept; they are repeated
        as often as needed.
      melody: int `[steps]`, in this key, to be kept; chords are then chosen
        among several progressions by how well they go with it.
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
      raise ValueError(
          'this checkpoint has no learned prior: set prior to normal')
    if melody is not None and form is None:
      form = form_of(melody)
    letters = form and (form * length)[:length]
    repeats = self.forms.draw(
        random.random((n, 2)), va.mean(1), length * SEGMENT_BARS)
    if letters:
      repeats = forms.of_letters(letters, repeats)
    config = self.vae.config
    voices = len(config.output_depths)
    # Segments of two bars that come of one z, and how often so many.
    span = config.max_seq_len // SEGMENT_STEPS
    num_phrases = -(-length // span)
    noise = random.standard_normal((n, num_phrases, config.z_size), np.float32)
    harmony_seed, seed = random.integers(2**31, size=2).tolist()
    plays = np.broadcast_to(np.asarray(plays, bool), (n, len(band.VOICES)))
    by_bar = np.repeat(va, SEGMENT_BARS, axis=1)
    if chords is not None:
      progression = np.tile(
          np.resize(chords, length * CHORDS_A_SEGMENT), (n, 1))
    else:
      versions = 1 if melody is None else _VERSIONS
      progression = self.harmony.sample(
          np.repeat(va, versions, 0), np.repeat(plays, versions, 0),
          seed=harmony_seed, mode=mode, form=letters, final=ends,
          # Below 1 harmony stands still, far above it leaves the key.
          temperature=max(min(2 * temperature, 0.5 + temperature), 1e-3),
          guidance=_HARMONY_GUIDANCE * guidance)
      if melody is not None:
        progression = progression.reshape(n, versions, -1)
        best = _fit(melody, progression).argmax(1)
        progression = progression[np.arange(n), best]
      progression = forms.tie(progression, by_bar, repeats)
    # The last phrase may lead beyond the end.
    beyond = num_phrases * span - length
    by_phrase, segments = (
        np.pad(x, ((0, 0), (0, beyond), *[(0, 0)] * (x.ndim - 2)), 'edge')
        for x in (progression.reshape(n, length, -1), va))
    by_phrase = by_phrase.reshape(n, num_phrases, -1)
    segments = segments.reshape(n, num_phrases, span, 2)
    if prior == LEARNED:
      z = self.prior.sample(
          segments.mean(2), noise=noise, context=context(
              plays if config.context_depth else None, by_phrase, ends),
          guidance=PRIOR_GUIDANCE * guidance, temperature=temperature,
          # Of segments, which such phrases do not have as latents.
          form=letters if num_phrases == length else None)
    else:
      z = noise
    tokens = self._play(
        z, segments, plays, by_phrase, guidance,
        temperature=TOKEN_TEMPERATURE * temperature, seed=seed
    )[:, :length * SEGMENT_STEPS]
    tokens = forms.repeat(
        # Where no chord is played, none is missed.
        tokens, progression if config.context_depth else None, by_bar, repeats)
    if voices > band.BASS:
      tokens[..., band.BASS] = in_register(tokens[..., band.BASS])
    # Whoever is asked to rest does so.
    tokens *= plays[:, None, :voices]
    if melody is not None:
      tokens[..., band.MELODY] = melody
    return Written(tokens, progression, [
        forms.letters(form, SEGMENT_BARS) for form in repeats])

  def _play(self, z, segments, plays, chords, guidance, **options):
    """Tokens `[n, steps, voices]` of phrases' latents `[n, phrases, z_size]`.

    Args:
      z: of each phrase.
      segments: VA `[n, phrases, segments, 2]`.
      plays: bool `[n, 4]`.
      chords: int `[n, phrases, half bars]`.
      guidance: see `write`.
      **options: of `MusicVAE.sample`.
    """
    config = self.vae.config
    n, num_phrases = z.shape[:2]
    if config.context_depth:
      conditioning = np.repeat(
          segments if guidance else np.zeros_like(segments),
          chords.shape[2] // segments.shape[2], axis=2)
      options['controls'] = band.controls(
          conditioning.reshape(n, -1, 2), plays, chords.reshape(n, -1)).reshape(
              n * num_phrases, chords.shape[2], -1)
    elif config.control_depth:
      options['controls'] = segments.reshape(n * num_phrases, -1, 2)
      options['guidance'] = guidance
    return self.vae.sample(
        z.reshape(n * num_phrases, -1), **options
    ).reshape(n, num_phrases * config.max_seq_len, -1)


def in_register(bass: np.ndarray) -> np.ndarray:
  """Basses as many octaves lower or higher as they lie above or below people's.

  Far out on the plane they would otherwise be played among the other voices.

  Args:
    bass: tokens `[n, steps]`.
  """
  low, high = _BASS_REGISTER
  octaves = np.zeros((len(bass), 1), int)
  for i, line in enumerate(bass):
    notes = grid.pitch_of(line[line >= grid.FIRST_PITCH].astype(int))
    if len(notes):
      middle = np.median(notes)
      octaves[i] = np.ceil(max(low - middle, 0) / 12) - np.ceil(
          max(middle - high, 0) / 12)
  return band.transpose_line(bass, 12 * octaves)


def form_of(melody: np.ndarray) -> str:
  """A letter for each two bars of a melody, int `[steps]`, alike for alike."""
  letters, known = [], []
  for segment in np.split(melody, len(melody) // SEGMENT_STEPS):
    starts, _, pitches = grid.line(segment).T.tolist()
    notes = set(zip(starts, pitches, strict=True))
    for i, other in enumerate(known):
      if notes and len(notes & other) >= _SAME * len(notes | other):
        letters.append(i)
        break
    else:
      letters.append(len(known))
      known.append(notes)
  return ''.join(chr(ord('A') + i) for i in letters)


def _fit(melody, chords) -> np.ndarray:
  """The share of a melody's time that is a note of the chord.

  Args:
    melody: int `[steps]`.
    chords: int `[..., half bars]`.
  """
  onsets = np.flatnonzero(melody)
  before = np.searchsorted(onsets, np.arange(len(melody)), side='right') - 1
  sounding = np.where(before >= 0, melody[onsets[before]], 0)
  pitch_class = (sounding - grid.FIRST_PITCH + grid.MIN_PITCH) % 12
  # A chord's features end with its pitch classes.
  of_chord = chord_names.FEATURES[np.repeat(
      chords, grid.STEPS_PER_CHORD, axis=-1), :][..., -12:]
  fits = np.take_along_axis(
      of_chord, np.broadcast_to(
          pitch_class[:, None], (*of_chord.shape[:-1], 1)), -1)[..., 0]
  return (fits * (sounding >= grid.FIRST_PITCH)).mean(-1)


def context_depth(config: Config) -> int:
  """How much the prior of a MusicVAE knows of each phrase beside its VA."""
  chords = config.max_seq_len // grid.STEPS_PER_CHORD
  return (
      (len(band.VOICES) if config.context_depth else 0)
      + chords * chord_names.FEATURES.shape[1] + ENDS_DEPTH)


def context(plays, chords, ends: bool = True) -> np.ndarray:
  """What the prior knows of each phrase beside its VA.

  Args:
    plays: bool `[n, 4]`; None of what always plays, melodies and trios.
    chords: int `[n, phrases, half bars of one]`.
    ends: whether the first and last phrase begin and end the piece.

  Returns:
    float32 `[n, phrases, context_depth(config)]`.
  """
  n, length = chords.shape[:2]
  flags = np.zeros((n, length, ENDS_DEPTH))
  if ends:
    flags[:, 0, 0] = flags[:, -1, 1] = 1
  known = [chord_names.FEATURES[chords].reshape(n, length, -1), flags]
  if plays is not None:
    known.insert(0, np.broadcast_to(
        np.asarray(plays)[:, None], (n, length, len(band.VOICES))))
  return np.concatenate(known, axis=-1).astype(np.float32)


def load(name_or_path: str | os.PathLike) -> BandModel:
  """A band from its checkpoint.

  Args:
    name_or_path: see `checkpoints.resolve`; a folder with a MusicVAE, and its
      prior if it has one. Forms and harmony, which have nothing to do with its
      latents, are those that ship unless the folder has its own.

  Raises:
    FileNotFoundError: if the MusicVAE is missing.
    ValueError: if a file is damaged.
  """
  from va_magenta.va_to_music import harmony, music_vae, prior

  folder = checkpoints.resolve(name_or_path)

  def has(kind):
    return (folder / kind.config_file).is_file()

  return BandModel(
      music_vae.load(folder),
      harmony.load(folder if has(checkpoints.HARMONY) else None),
      prior.load(folder) if has(checkpoints.PRIOR) else None,
      forms.load(folder if has(checkpoints.FORMS) else None))
