"""Draws pieces for a band of four voices, with chords; plays them."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta.composing import models
from va_magenta.composing.candidates import Candidate
from va_magenta.composing.phrases import identify
from va_magenta.composing.request import LEARNED, MAX_BARS, SAMPLE, Settings
from va_magenta.music import band, grid, midi
from va_magenta.music import chords as chord_names
from va_magenta.va import VA

DEFAULT_BARS = 16
# Along a path, unless `bars` says otherwise.
_BARS_A_POINT = 4
_CANDIDATES_A_BATCH = 32


class Band:
  """Draws with a `band_model.BandModel`.

  Args:
    model: writes pieces.
    performer: a `performance.PerformanceModel`: whether there are drums, and
      learned performances.
  """

  # What is drawn unless asked for otherwise.
  num_candidates = 16
  is_chosen = True

  def __init__(self, model, performer):
    self._model, self._performer = model, performer

  @classmethod
  def check(cls, checkpoint: str | os.PathLike, path: pathlib.Path):
    """See `Structure.check`."""
    for kind in (checkpoints.HARMONY, checkpoints.PRIOR, checkpoints.FORMS):
      if not (path / kind.config_file).is_file():
        raise ValueError(
            f'{checkpoint} has no {kind.config_file}: {kind.maker} writes it')

  @classmethod
  def phrase_bars(cls, checkpoint: str | os.PathLike) -> int:
    """See `Structure.phrase_bars`."""
    from va_magenta.va_to_music import band_model

    return band_model.SEGMENT_BARS

  @classmethod
  def load(cls, settings: Settings) -> 'Band':
    """See `Structure.load`."""
    return cls(models.band_model(settings.checkpoint),
               models.performer(settings.performance_model))

  def draw(
      self, rng: np.random.Generator, va_path: Sequence[VA], n: int,
      settings: Settings) -> list[Candidate]:
    """See `Structure.draw`."""
    from va_magenta.va_to_music import band_model, form

    if settings.mode != SAMPLE:
      raise ValueError(
          f'mode={settings.mode} is for models of melodies and trios, '
          f'{settings.checkpoint} draws')
    key = chord_names.parse_key(settings.key) if settings.key else None
    melody, home = _read_melody(settings)
    signature = home
    given = chord_names.parse_progression(settings.chords) if (
        settings.chords) else None
    if key is not None:
      signature = key.signature
    elif given is not None and melody is None:
      signature = int(chord_names.key_signatures(
          np.zeros(len(given) * grid.STEPS_PER_CHORD, np.uint8),
          np.zeros(len(given) * grid.STEPS_PER_CHORD, np.uint8), given)[0])
    if given is not None:
      given = chord_names.transpose(given, -signature)
    num_bars = self._num_bars(settings, va_path, melody)
    sections = form.along(va_path, num_bars // band_model.SEGMENT_BARS)
    points = np.array([(va.valence, va.arousal) for va in sections], np.float32)
    plays = np.ones((n, len(band.VOICES)), bool)
    drums = self._performer.drums.draw(
        points.mean(0), rng.random(n), settings.guidance, 1.0)
    if settings.voices is None:
      # Calm music mostly has no drums.
      plays[:, band.DRUMS] = drums
    else:
      plays[:] = [name in settings.voices for name in band.VOICE_NAMES]
    written = self._model.write(
        np.broadcast_to(points, (n, *points.shape)), rng, plays=plays,
        mode=key and key.mode, chords=given, melody=melody, form=settings.form,
        temperature=settings.temperature, guidance=settings.guidance,
        prior=settings.prior, ends=not settings.loop)
    return self._play(
        written, sections if len(va_path) > 1 else list(va_path), signature,
        home, settings, rng)

  def _num_bars(self, settings, va_path, melody) -> int:
    from va_magenta.va_to_music import band_model

    if melody is not None:
      return len(melody) // grid.STEPS_PER_BAR
    bars = settings.bars
    if bars is None:
      bars = max(DEFAULT_BARS, _BARS_A_POINT * len(va_path)) if (
          len(va_path) > 1) else DEFAULT_BARS
    if bars % band_model.SEGMENT_BARS:
      raise ValueError(
          f'bars must be a multiple of {band_model.SEGMENT_BARS} for '
          f'{settings.checkpoint}, got {bars}')
    if bars // band_model.SEGMENT_BARS < len(va_path):
      needed = band_model.SEGMENT_BARS * len(va_path)
      raise ValueError(
          f'{len(va_path)} points are to be led to, each in '
          f'{band_model.SEGMENT_BARS} bars: bars must be {needed} or more, got '
          f'{bars}')
    return bars

  def _play(
      self, written, targets: Sequence[VA], signature: int | None,
      home: int | None, settings: Settings, rng) -> list[Candidate]:
    """Pieces as suits their sections' targets.

    Args:
      written: `band_model.Written`, in the key without accidentals.
      targets: one, or one a section.
      signature: of the key that pieces shall be in; None for any.
      home: by how much a melody that was given lies higher; None without one.
      settings: how.
      rng: the randomness.
    """
    from va_magenta.va_to_music import performance

    n = len(written.tokens)
    if settings.performance == LEARNED:
      played = self._performer.draw(
          [targets] * n, written.tokens, rng,
          temperature=settings.temperature, guidance=settings.guidance)
    else:
      played = [[performance.plain(len(band.VOICES))] * len(targets)] * n
    given = {
        name: getattr(settings, name) for name in ('tempo_qpm', 'program')
        if getattr(settings, name) is not None}
    # Who rests has no notes.
    given['drums_play'] = True
    candidates = []
    for tokens, chords, performances in zip(
        written.tokens, written.chords, played, strict=True):
      shift = performances[0].shift if home is None else home
      if signature is not None:
        shift = _nearest(signature, shift)
      performances = [
          dataclasses.replace(p, shift=shift, **given) for p in performances]
      candidates.append(_candidate(tokens, chords, performances))
    return candidates


def _read_melody(settings: Settings):
  """The input in the key without accidentals; by how much it lies higher."""
  if settings.input is None:
    return None, None
  from va_magenta.music import melody
  from va_magenta.va_to_music import band_model

  tokens = melody.pad(
      melody.read(settings.input), band_model.SEGMENT_STEPS)
  if len(tokens) > MAX_BARS * grid.STEPS_PER_BAR:
    raise ValueError(
        f'{settings.input} has more than {MAX_BARS} bars: give a part of it')
  signatures = chord_names.key_signatures(
      tokens, np.zeros_like(tokens),
      np.zeros(len(tokens) // grid.STEPS_PER_CHORD, np.uint8))
  home = _nearest(int(np.bincount(signatures).argmax()), 0)
  # At an edge of the range the other way, so that it can come back unchanged.
  lowest, highest = grid.line(tokens)[:, 2].min(), grid.line(tokens)[:, 2].max()
  if home and not (
      grid.MIN_PITCH <= lowest - home and highest - home <= grid.MAX_PITCH):
    home -= 12 * int(np.sign(home))
  return band.transpose_line(tokens, -home), home


def _nearest(semitones: int, wanted: int) -> int:
  """What is that many semitones modulo the octave, nearest to what is wanted.

  To either side alike: 6 rather than -6.
  """
  return wanted + (semitones - wanted + 5) % 12 - 5


def play(tokens: np.ndarray, chords: np.ndarray, performances: Sequence):
  """A piece as it is performed.

  Args:
    tokens: int `[steps, 4]`, in the key without accidentals.
    chords: int `[half bars]`.
    performances: `FullBandPerformance`s, one a section; sections are equally
      long. Between their middles tempo, velocity and articulation glide; shift
      and programs are the first's.

  Returns:
    What is heard (`music.notes.NOTE_DTYPE`), chords in their key, the tempo of
    each bar.
  """
  first = performances[0]
  tokens = np.array(tokens)
  drums_play = np.repeat(
      [p.drums_play for p in performances], len(tokens) // len(performances))
  tokens[~drums_play, band.DRUMS] = 0
  for voice, shift in ((band.MELODY, first.shift),
                       (band.BASS, first.bass_shift)):
    tokens[:, voice] = band.transpose_line(tokens[:, voice], shift)
  chords = chord_names.transpose(chords, first.shift)
  num_bars = len(tokens) // grid.STEPS_PER_BAR
  middles = (np.arange(len(performances)) + 0.5) * num_bars / len(performances)

  def glide(name, bars):
    return np.interp(bars, middles, [getattr(p, name) for p in performances])

  tempos = midi.as_tempo(glide('tempo_qpm', np.arange(num_bars) + 0.5))
  heard = band.play(
      band.voice(tokens, chords), tempo_qpm=tempos,
      programs=(first.program, first.bass_program, 0, first.comping_program),
      velocities=[0] * len(band.VOICES))
  bars = heard['start_beats'] * grid.STEPS_PER_QUARTER / grid.STEPS_PER_BAR
  # What `band.play` adds of accents stays; here is how loud the voice is.
  accents = heard['velocity'].astype(int) - 1
  louder = np.zeros(len(heard))
  for voice, name in (
      (band.MELODY, 'velocity'), (band.BASS, 'bass_velocity'),
      (band.DRUMS, 'drum_velocity'), (band.COMPING, 'comping_velocity')):
    of_voice = heard['part'] == voice
    louder[of_voice] = glide(name, bars[of_voice])
  heard['velocity'] = np.clip(np.rint(louder + accents), 1, 127)
  for voice in (band.MELODY, band.BASS):
    index = np.flatnonzero(heard['part'] == voice)
    starts, ends = heard['start_beats'][index], heard['end_beats'][index]
    until = np.append(starts[1:], ends[-1:])
    share = glide('articulation', bars[index])
    heard['end_beats'][index] = np.maximum(
        midi.on_tick(np.minimum(ends, starts + share * (until - starts))),
        starts + 1 / midi.TICKS)
  heard['end_seconds'] = band.seconds_at(heard['end_beats'], tempos)
  return heard, chords, tempos


def _candidate(tokens, chords, performances) -> Candidate:
  heard, chords_played, tempos = play(tokens, chords, performances)
  sections = []
  if len(performances) > 1:
    parts = len(performances)
    sections = [
        play(t, c, [p])[0] for t, c, p in zip(
            np.split(tokens, parts), np.split(chords, parts), performances,
            strict=True)]
  first = performances[0]
  key = chord_names.Key(
      first.shift % 12, 'major') if chord_names.root_of(
          int(chords[-1])) != 9 else chord_names.Key(
              (first.shift + 9) % 12, 'minor')
  identity, num_notes = identify(tokens)
  return Candidate(
      heard, sections, performances, identity, num_notes,
      len(tokens) / grid.STEPS_PER_BAR,
      lambda: band.as_sequence(
          heard, chords=chords_played, key=key, tempo_qpm=tempos),
      score=(tokens, chords))
