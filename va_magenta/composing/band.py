"""Draws pieces for a band of four voices, with chords; plays them."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from va_magenta import checkpoints
from va_magenta.composing import models
from va_magenta.composing.candidates import Candidate
from va_magenta.composing.phrases import identify
from va_magenta.composing.request import LEARNED, MAX_BARS, SAMPLE, Settings
from va_magenta.music import arrangement, band, grid, instruments, midi, sound
from va_magenta.music import chords as chord_names
from va_magenta.va import VA

DEFAULT_BARS = 16
# Where nothing is said of its length, a piece is no longer: it is somewhat
# faster, or has fewer bars.
MAX_SECONDS = 39.5
_FASTER = 1.15
_SHORTER_BARS = (12, 8)
# Along a path, unless `bars` says otherwise.
_BARS_A_POINT = 4
# Attributes of performances, by the voice.
_PROGRAM_OF = {'melody': 'program', 'bass': 'bass_program',
               'comping': 'comping_program'}


class Band:
  """Draws with a `band_model.BandModel`.

  Args:
    model: writes pieces.
    performer: a `performance.PerformanceModel`: whether there are drums, and
      learned performances.
    expression: an `expression.Expression`, for these; None plays each voice
      equally loud but for accents.
    arranger: an `arranger.Arranger`, for these; None plays what is written, all
      voices from the first bar to the last.
  """

  # What is drawn unless asked for otherwise.
  num_candidates = 16
  chooser = 'plausibility'

  def __init__(self, model, performer, expression=None, arranger=None):
    self._model, self._performer = model, performer
    self._expression, self._arranger = expression, arranger

  @classmethod
  def check(cls, checkpoint: str | os.PathLike, path: pathlib.Path):
    """See `Structure.check`."""
    from va_magenta.va_to_music import configs

    kind = checkpoints.PRIOR
    if not (path / kind.config_file).is_file() and (
        configs.Config.load(path / 'config.json').num_segments == 1):
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
    is_learned = settings.performance == LEARNED
    return cls(models.band_model(settings.checkpoint),
               models.performer(settings.performance_model),
               models.expression() if is_learned else None,
               models.arranger() if is_learned else None)

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
    voices = settings.voices if settings.band is None else (
        instruments.parse_band(settings.band))
    if voices is None:
      # Calm music mostly has no drums.
      plays[:, band.DRUMS] = drums
    else:
      plays[:] = [name in voices for name in band.VOICE_NAMES]
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
      self._check_tempo(len(melody) / grid.STEPS_PER_QUARTER, settings)
      return len(melody) // grid.STEPS_PER_BAR
    bars = settings.bars
    if settings.seconds is not None:
      return self._bars_within(settings, va_path)
    if _is_length_open(settings) and len(va_path) == 1:
      return self._default_bars(settings, va_path)
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

  def _check_tempo(self, num_beats: float, settings):
    """Raises ValueError if a melody is too long for `settings.seconds`."""
    from va_magenta.va_to_music import performance

    low, high = performance.TEMPO_RANGE_QPM
    if settings.seconds is not None and not (
        low <= 60 * num_beats / settings.seconds <= high):
      raise ValueError(
          f'seconds must lie in {60 * num_beats / high:.0f}..'
          f'{60 * num_beats / low:.0f} for the {num_beats:g} quarter notes of '
          f'{settings.input}, got {settings.seconds:g}')

  def _default_bars(self, settings, va_path) -> int:
    """As many of 16 bars as there is time for."""
    tempo = _FASTER * self._usual_tempo(settings, va_path)
    beats = MAX_SECONDS * tempo / 60 - arrangement.ENDING_BEATS
    return next(
        (bars for bars in (DEFAULT_BARS, *_SHORTER_BARS)
         if bars * arrangement.BEATS_PER_BAR <= beats), _SHORTER_BARS[-1])

  def _usual_tempo(self, settings, va_path) -> float:
    """Of a path, in quarter notes a minute."""
    from va_magenta.va_to_music import performance

    tempo = settings.tempo_qpm
    if tempo is None and settings.performance == LEARNED:
      points = np.array([(va.valence, va.arousal) for va in va_path])
      mean, _ = self._performer.distribution(points, None, settings.guidance)
      tempo = float(np.exp(mean[:, 0].mean()))
    return tempo or performance.plain(len(band.VOICES)).tempo_qpm

  def _bars_within(self, settings, va_path) -> int:
    """Bars of about `settings.seconds`, at the tempo that suits a path."""
    from va_magenta.va_to_music import band_model

    return arrangement.bars_within(
        settings.seconds, self._usual_tempo(settings, va_path),
        ends=not settings.loop, multiple=band_model.SEGMENT_BARS,
        least=band_model.SEGMENT_BARS * len(va_path), most=MAX_BARS)

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
    if settings.band is not None:
      for voice, program in instruments.parse_band(settings.band).items():
        if program is not None:
          given[_PROGRAM_OF[voice]] = program
    # Who rests has no notes.
    given['drums_play'] = True
    points = np.array([(va.valence, va.arousal) for va in targets])
    candidates = []
    for tokens, chords, letters, performances in zip(
        written.tokens, written.chords, written.forms, played, strict=True):
      shift = performances[0].shift if home is None else home
      if signature is not None:
        shift = _nearest(signature, shift)
      performances = [
          dataclasses.replace(p, shift=shift, **given) for p in performances]
      seed, of_arrangement = rng.integers(2**32, size=2).tolist()
      arranged = self._arranger and self._arranger.arrange(
          tokens, points.mean(0), np.random.default_rng(of_arrangement),
          # What is given begins with its first bar, a loop with any.
          opens=home is None and settings.chords is None,
          builds=not settings.loop)
      candidates.append(_candidate(
          tokens, chords, performances, letters, home is not None,
          settings, self._expression and Expressive(
              self._expression, points, seed, settings.temperature),
          arranged and _that_fits(arranged, performances[0], settings)))
    return candidates


def _that_fits(arranged, performance, settings: Settings):
  """With as much of its introduction as there is time for."""
  seconds = settings.seconds or (
      MAX_SECONDS if _is_length_open(settings) else np.inf)
  bars = len(arranged.intro) // grid.STEPS_PER_BAR
  while bars:
    beats = arrangement.BEATS_PER_BAR * (
        len(arranged.louder) + bars) + arrangement.ENDING_BEATS
    if beats * 60 / seconds <= _FASTER * performance.tempo_qpm:
      break
    bars //= 2
  return dataclasses.replace(arranged, intro=arranged.intro[
      len(arranged.intro) - bars * grid.STEPS_PER_BAR:])


def _is_length_open(settings: Settings) -> bool:
  """Whether nothing is said of how long a piece is."""
  return all(value is None for value in (
      settings.bars, settings.seconds, settings.tempo_qpm, settings.input))


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


@dataclasses.dataclass(frozen=True)
class Expressive:
  """How notes differ from their voice's loudness, and strokes from the grid.

  Attributes:
    model: an `expression.Expression`.
    va: float `[sections, 2]`.
    seed: of what it draws.
    temperature: likewise.
  """

  model: Any
  va: np.ndarray
  seed: int
  temperature: float


def play(
    tokens: np.ndarray, chords: np.ndarray, performances: Sequence, *,
    ends: bool = False, keeps_melody: bool = False,
    seconds: float | None = None, most_seconds: float = np.inf,
    expressive: Expressive | None = None, arranged=None):
  """A piece as it is performed.

  Args:
    tokens: int `[steps, 4]`, in the key without accidentals.
    chords: int `[half bars]`.
    performances: `FullBandPerformance`s, one a section; sections are equally
      long. Between their middles tempo, velocity and articulation glide; shift
      and programs are the first's.
    ends: whether it slows down and ends on a chord that is held.
    keeps_melody: whether the melody has no note added for that.
    seconds: how long it is, to the end of its last note, or of a piece that
      does not end to that of its last bar; as the tempo has it if None.
    most_seconds: how long it is at most, likewise.
    expressive: if None, voices are equally loud but for accents, on the grid.
    arranged: an `arranger.Arranged` of these tokens: what comes before them,
      and which bars are louder; None for neither.

  Returns:
    What is heard (`music.notes.NOTE_DTYPE`), chords in their key, the tempo of
    each quarter note.
  """
  first = performances[0]
  tokens = np.array(tokens)
  num_bars = len(tokens) // grid.STEPS_PER_BAR
  drums_play = np.repeat(
      [p.drums_play for p in performances], len(tokens) // len(performances))
  tokens[~drums_play, band.DRUMS] = 0
  if ends:
    tokens, chords = arrangement.end(
        tokens, chords, keeps_melody=keeps_melody)
  lead = 0
  if arranged is not None:
    lead = len(arranged.intro) // grid.STEPS_PER_BAR
    tokens = np.concatenate([arranged.intro, tokens])
    if not first.drums_play:
      tokens[:len(arranged.intro), band.DRUMS] = 0
    chords = np.concatenate(
        [chords[:len(arranged.intro) // grid.STEPS_PER_CHORD], chords])
  for voice, shift in ((band.MELODY, first.shift),
                       (band.BASS, first.bass_shift)):
    tokens[:, voice] = band.transpose_line(tokens[:, voice], shift)
  chords = chord_names.transpose(chords, first.shift)
  middles = lead + (
      np.arange(len(performances)) + 0.5) * num_bars / len(performances)

  def glide(name, bars):
    return np.interp(bars, middles, [getattr(p, name) for p in performances])

  beats = len(tokens) // grid.STEPS_PER_QUARTER
  tempos = glide(
      'tempo_qpm', (np.arange(beats) + 0.5) / arrangement.BEATS_PER_BAR)
  last_bar = beats - arrangement.BEATS_PER_BAR
  end = float(beats)
  if ends:
    end = last_bar + arrangement.hold_beats(tempos[-1])
    tempos = arrangement.ritardando(
        tempos, drums=bool(tokens[:, band.DRUMS].any()))
  by_tempo = float(band.seconds_at(end, tempos))
  tempos *= by_tempo / min(seconds or by_tempo, most_seconds)
  tempos = midi.as_tempo(tempos)
  heard = band.play(
      band.voice(tokens, chords), tempo_qpm=tempos,
      programs=(first.program, first.bass_program, 0, first.comping_program),
      velocities=[0] * len(band.VOICES))
  heard = _within_ranges(heard, keeps_melody)
  bars = heard['start_beats'] * grid.STEPS_PER_QUARTER / grid.STEPS_PER_BAR
  # What `band.play` adds of accents stays; here is how loud the voice is.
  accents = heard['velocity'].astype(int) - 1
  louder = np.zeros(len(heard))
  for voice, name in (
      (band.MELODY, 'velocity'), (band.BASS, 'bass_velocity'),
      (band.DRUMS, 'drum_velocity'), (band.COMPING, 'comping_velocity')):
    of_voice = heard['part'] == voice
    louder[of_voice] = glide(name, bars[of_voice])
  if arranged is not None:
    louder += np.where(
        bars < lead, arranged.intro_louder, np.interp(
            bars, lead + np.arange(num_bars) + 0.5, arranged.louder))
  if expressive is None:
    louder += accents
  heard['velocity'] = np.clip(np.rint(louder), 1, 127)
  if expressive is not None and len(heard):
    va = np.stack([
        np.interp(bars, middles, axis) for axis in expressive.va.T], axis=1)
    heard = expressive.model.play(
        heard, va, float(tempos.max()), np.random.default_rng(expressive.seed),
        expressive.temperature)
  for voice in (band.MELODY, band.BASS):
    index = np.flatnonzero(heard['part'] == voice)
    starts, stops = heard['start_beats'][index], heard['end_beats'][index]
    until = np.append(starts[1:], stops[-1:])
    share = glide('articulation', bars[index])
    if ends:
      share[starts >= last_bar] = 1  # What is held at the end.
    heard['end_beats'][index] = np.maximum(
        midi.on_tick(np.minimum(stops, starts + share * (until - starts))),
        starts + 1 / midi.TICKS)
  heard['end_beats'] = np.minimum(heard['end_beats'], end)
  heard['start_seconds'] = band.seconds_at(heard['start_beats'], tempos)
  heard['end_seconds'] = band.seconds_at(heard['end_beats'], tempos)
  # As `notes.in_order` has what is read from the file.
  order = np.lexsort((heard['part'], heard['pitch'], heard['start_beats']))
  return heard[order], chords, tempos


def _within_ranges(heard: np.ndarray, keeps_melody: bool) -> np.ndarray:
  """What is heard, with each voice where its instrument can play it."""
  heard = heard.copy()
  for voice in (band.MELODY, band.BASS, band.COMPING):
    of_voice = heard['part'] == voice
    if of_voice.any() and not (keeps_melody and voice == band.MELODY):
      heard['pitch'][of_voice] = instruments.fold(
          heard['pitch'][of_voice], heard['program'][of_voice][0])
  # Notes of a chord may meet.
  _, first = np.unique(
      heard[['part', 'pitch', 'start_beats']], return_index=True)
  heard = heard[np.sort(first)]
  return heard[np.lexsort((heard['pitch'], heard['start_beats']))]


def _sections(form: str, lead: int, num_bars: int, in_all: int):
  """Where the letters of a form begin; what comes before; and the ending."""
  every = num_bars // len(form)
  sections = [(0, 'Intro')] * (lead > 0) + [
      (lead + i * every, letter) for i, letter in enumerate(form)
      if not i or letter != form[i - 1]]
  if in_all > lead + num_bars:
    sections.append((lead + num_bars, 'End'))
  return sections


def _candidate(
    tokens, chords, performances, form: str, is_fixed: bool,
    settings: Settings, expressive: Expressive | None, arranged) -> Candidate:
  ends = not settings.loop
  lead = 0
  if arranged is not None:
    tokens, lead = arranged.tokens, len(arranged.intro) // grid.STEPS_PER_BAR
    if len(performances) > 1:  # The path says what is loud.
      arranged = dataclasses.replace(
          arranged, louder=0 * arranged.louder, intro_louder=0.0)
  seconds = settings.seconds
  if ends and seconds is not None:
    seconds -= sound.FADE_SECONDS
  heard, chords_played, tempos = play(
      tokens, chords, performances, ends=ends, keeps_melody=is_fixed,
      seconds=seconds, expressive=expressive, arranged=arranged,
      most_seconds=MAX_SECONDS if (
          _is_length_open(settings) and len(performances) == 1) else np.inf)
  sections = []
  if len(performances) > 1:
    parts = len(performances)
    sections = [
        play(t, c, [p], expressive=expressive and dataclasses.replace(
            expressive, va=expressive.va[[i]]))[0]
        for i, (t, c, p) in enumerate(zip(
            np.split(tokens, parts), np.split(chords, parts), performances,
            strict=True))]
  first = performances[0]
  key = chord_names.Key(
      (first.shift + 9) % 12, 'minor') if arrangement.is_minor(
          chords) else chord_names.Key(first.shift % 12, 'major')
  bars_seconds = float(band.seconds_at(
      len(tokens) / grid.STEPS_PER_QUARTER, tempos))
  identity, num_notes = identify(tokens)
  return Candidate(
      heard, sections, performances, identity, num_notes,
      len(tokens) / grid.STEPS_PER_BAR,
      lambda: band.as_sequence(
          heard, chords=chords_played, key=key, tempo_qpm=tempos,
          sections=_sections(
              form, lead, len(tokens) // grid.STEPS_PER_BAR,
              len(chords_played) * grid.STEPS_PER_CHORD // grid.STEPS_PER_BAR)),
      score=(tokens, chords), sound_seconds=settings.seconds or (
          bars_seconds if settings.loop else None), loops=settings.loop)
