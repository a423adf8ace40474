"""Draws melodies and trios from a MusicVAE, phrase by phrase; plays them."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.composing import models
from va_magenta.composing.candidates import Candidate
from va_magenta.composing.request import (
  LEARNED,
  MAX_BARS,
  SAMPLE,
  SEARCH,
  Settings,
)
from va_magenta.music import band, grid
from va_magenta.va import VA

# Along a path, unless `bars` says otherwise, of a model without segments.
_PHRASES_A_POINT = 2
_STEPS_A_BATCH = 2**14
# Of melodies, and of trios (melody, bass, drums).
_OUTPUT_DEPTHS = (band.OUTPUT_DEPTHS[:1], band.OUTPUT_DEPTHS[:3])


class Phrases:
  """Draws with a MusicVAE of melodies or of trios.

  Args:
    vae: a `music_vae.MusicVAE`.
    performer: a `performance.PerformanceModel`, for learned performances.
    critic: a Keras model, one-hots to VA, for `mode='search'`, and for an
      `input` to a model that follows VA.
    writer: a `band_model.BandModel`, which writes pieces from a learned prior;
      None to draw phrases from N(0, 1), as Magenta does.
  """

  num_candidates = 64

  def __init__(self, vae, performer=None, critic=None, writer=None):
    self._vae = vae
    self._performer = performer
    self._critic = critic
    self._writer = writer
    self.chooser = 'melody_plausibility' if writer is not None else None

  @classmethod
  def check(cls, checkpoint: str | os.PathLike, path: pathlib.Path):
    """See `Structure.check`."""
    from va_magenta.va_to_music import configs

    config = path / 'config.json'
    # Magenta's own checkpoints have none; what they are their weights say.
    if config.is_file():
      config = configs.Config.load(config)
      if config.output_depths not in _OUTPUT_DEPTHS:
        raise ValueError(
            f'{checkpoint} is a checkpoint of {config.name}, music is made by '
            f'one of melodies or trios: {", ".join(checkpoints.names())}')

  @classmethod
  def phrase_bars(cls, checkpoint: str | os.PathLike) -> int:
    """See `Structure.phrase_bars`."""
    from va_magenta.va_to_music import configs

    config = checkpoints.resolve(checkpoint) / 'config.json'
    config = configs.Config.load(config) if config.is_file() else (
        models.music_vae(checkpoint).config)
    return config.max_seq_len // grid.STEPS_PER_BAR

  @classmethod
  def load(cls, settings: Settings) -> 'Phrases':
    """See `Structure.load`."""
    writer = None
    if (settings.prior == LEARNED and settings.mode == SAMPLE
        and settings.input is None
        and models.has_prior(settings.checkpoint)):
      writer = models.band_model(settings.checkpoint)
    vae = writer.vae if writer else models.music_vae(settings.checkpoint)
    performer = critic = None
    if settings.performance == LEARNED:
      performer = models.performer(settings.performance_model)
    if settings.mode == SEARCH or (
        settings.input is not None and vae.config.control_depth):
      from va_magenta.music_to_va import critic as critics
      critic = models.critic(
          settings.critic or critics.shipped(len(vae.config.output_depths)))
    return cls(vae, performer, critic, writer)

  def draw(
      self, rng: np.random.Generator, va_path: Sequence[VA], n: int,
      settings: Settings) -> list[Candidate]:
    """See `Structure.draw`."""
    if settings.seconds is not None:
      raise ValueError(
          f'seconds are for bands, {settings.checkpoint} is asked for bars')
    # Keras is there by now, and with it what note_seq takes long to import.
    from va_magenta.va_to_music import form

    if self._writer is not None:
      from va_magenta.va_to_music import band_model

      bars = self._num_phrases(va_path, settings) * self.phrase_bars(
          settings.checkpoint)
      sections = form.along(va_path, bars // band_model.SEGMENT_BARS)
      points = np.array([(va.valence, va.arousal) for va in sections])
      tokens = self._writer.write(
          np.broadcast_to(points, (n, *points.shape)), rng,
          temperature=settings.temperature, guidance=settings.guidance).tokens
    else:
      z = self._vary_input(rng, n, settings) if (
          settings.input is not None) else form.draw(
              rng, n, self._num_phrases(va_path, settings),
              self._vae.config.z_size)
      sections = form.along(va_path, z.shape[1] * self._vae.config.num_segments)
      tokens = form.join(self._decode(z, sections, settings, rng))
    return self.play(
        tokens, sections if len(va_path) > 1 else va_path, settings, rng)

  def play(
      self, tokens: np.ndarray, targets: Sequence[VA], settings: Settings,
      rng: np.random.Generator) -> list[Candidate]:
    """Pieces, int [n, steps, outputs], as suits their sections' targets."""
    from va_magenta.va_to_music import performance

    if settings.performance == LEARNED:
      played = self._performer.draw(
          [targets] * len(tokens), tokens, rng,
          temperature=settings.temperature, guidance=settings.guidance)
    else:
      plain = performance.plain(tokens.shape[-1])
      played = [[plain] * len(targets)] * len(tokens)
    given = {
        name: getattr(settings, name) for name in ('tempo_qpm', 'program')
        if getattr(settings, name) is not None}
    return [
        _candidate(row, [dataclasses.replace(p, **given) for p in performances])
        for row, performances in zip(tokens, played, strict=True)]

  def _vary_input(self, rng, n: int, settings: Settings) -> np.ndarray:
    """Latent vectors about the input's [pieces, phrases, 1, z_size]."""
    mu, sigma = self._encode_input(settings)
    # The first candidate is the melody itself, the others lie about it,
    # within what the encoder takes for the same.
    noise = rng.standard_normal((n, *mu.shape), np.float32)
    noise[0] = 0
    return (mu + settings.temperature * sigma * noise)[:, :, None]

  def _num_phrases(self, va_path, settings: Settings) -> int:
    """Phrases of a piece.

    Raises:
      ValueError: if `settings.bars` does not suit the model or the path.
    """
    config = self._vae.config
    phrase_bars = config.max_seq_len // grid.STEPS_PER_BAR
    segments = config.num_segments
    bars = settings.bars
    if bars is None:
      # As many as the prior knows together.
      num_phrases = self._writer.prior.config.length if self._writer else 1
      if len(va_path) > 1:
        num_phrases = max(num_phrases, (
            _PHRASES_A_POINT * len(va_path) if segments == 1 else
            -(-len(va_path) // segments)))
      bars = num_phrases * phrase_bars
    if bars % phrase_bars:
      raise ValueError(
          f'bars must be a multiple of {phrase_bars} for '
          f'{settings.checkpoint}, got {bars}')
    num_phrases = bars // phrase_bars
    if num_phrases * segments < len(va_path):
      needed = phrase_bars * -(-len(va_path) // segments)
      raise ValueError(
          f'{len(va_path)} points are to be led to, each in a '
          f'{"phrase" if segments == 1 else "segment"} of '
          f'{phrase_bars / segments:g} bars: bars must be {needed} or more, '
          f'got {bars}')
    return num_phrases

  def _encode_input(self, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """mu and sigma [phrases, z_size] of the melody in `settings.input`."""
    from va_magenta.music import melody

    config = self._vae.config
    if len(config.output_depths) > 1:
      raise ValueError(
          f'{settings.checkpoint} is a checkpoint of trios, and the input is a '
          'melody: give a checkpoint of melodies')
    tokens = melody.read(settings.input)
    steps = config.max_seq_len
    tokens = melody.pad(tokens, steps).reshape(-1, steps)
    if len(tokens) * steps > MAX_BARS * grid.STEPS_PER_BAR:
      raise ValueError(
          f'{settings.input} has more than {MAX_BARS} bars: give a part of it')
    controls = None
    if config.control_depth:
      # What the melody is now, as the encoder was told of what it learned from;
      # the decoder is told what it shall be.
      stretches = config.num_segments if config.conductor_control else 1
      x = np.eye(config.depth, dtype=np.float32)[
          tokens.reshape(len(tokens) * stretches, -1)]
      controls = np.clip(self._critic(x), -1, 1).reshape(-1, stretches, 2)
    return self._vae.encode(tokens[..., None], controls)

  def _decode(
      self, z: np.ndarray, sections: Sequence[VA], settings: Settings, rng
  ) -> np.ndarray:
    """Tokens of candidates.

    Args:
      z: [pieces, phrases, versions, z_size].
      sections: where each segment of each phrase shall lie.
      settings: `mode`, `temperature` and `guidance`.
      rng: the randomness.

    Returns:
      int [pieces, phrases, versions, steps, outputs].
    """
    vae, config = self._vae, self._vae.config
    flat = z.reshape(-1, z.shape[-1])
    points = np.array([(va.valence, va.arousal) for va in sections], np.float32)
    points = np.broadcast_to(
        points.reshape(z.shape[1], 1, config.num_segments, 2),
        (*z.shape[:3], config.num_segments, 2)
    ).reshape(len(flat), config.num_segments, 2)
    batch_size = _STEPS_A_BATCH // config.max_seq_len
    tokens = []
    for i in range(0, len(flat), batch_size):
      batch = slice(i, i + batch_size)
      options = {
          'temperature': settings.temperature, 'seed': int(rng.integers(2**32))}
      if config.control_depth:
        options['guidance'] = settings.guidance
      if settings.mode == SEARCH:
        from va_magenta.va_to_music import search
        tokens.append(search.search(
            vae, self._critic, flat[batch], points[batch], **options))
      else:
        if config.control_depth:
          options['controls'] = points[batch]
        tokens.append(vae.sample(flat[batch], **options))
    return np.concatenate(tokens).reshape(
        *z.shape[:3], *tokens[0].shape[1:])


def _candidate(tokens: np.ndarray, performances: list) -> Candidate:
  from va_magenta.music.notes import from_note_sequence
  from va_magenta.va_to_music import performance

  sequence = performance.play(tokens, performances)
  sections = []
  if len(performances) > 1:
    sections = [
        from_note_sequence(performance.play(section, [p]))
        for section, p in zip(
            np.split(tokens, len(performances)), performances, strict=True)]
  identity, num_notes = identify(tokens)
  return Candidate(
      from_note_sequence(sequence), sections, performances,
      identity, num_notes, len(tokens) / grid.STEPS_PER_BAR, lambda: sequence,
      score=(np.pad(
          tokens, ((0, 0), (0, len(band.VOICES) - tokens.shape[1]))),
          np.zeros(len(tokens) // grid.STEPS_PER_CHORD, np.uint8)))


def identify(tokens: np.ndarray) -> tuple[bytes, int]:
  """What makes a piece, int [steps, outputs], another; its melody's notes.

  At another tempo, or in another key, it is the same.
  """
  from va_magenta.music import melody, trio

  pitched = tokens[:, :trio.DRUMS]
  is_note = pitched >= grid.FIRST_PITCH
  # From the first note, in semitones; no note is farther from it than that.
  intervals = np.where(
      is_note, pitched - pitched[is_note][:1].sum(), melody.NUM_TOKENS)
  notes = np.concatenate([intervals, tokens[:, trio.DRUMS:]], axis=1)
  return notes.tobytes(), int(is_note[:, trio.MELODY].sum())
