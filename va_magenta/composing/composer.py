"""Points of the plane -> pieces that people would place there.

  composer = Composer.load(Settings(checkpoint='hierdec-mel_16bar'))
  [piece] = composer.compose(VA(0.6, -0.4), settings)

Three things bring music near its target:

- The notes: a model that was trained to follow VA is conditioned on it;
  `guidance` says how strongly. One that was not draws what it likes.
- The performance: tempo, loudness, articulation, register and instrument are
  drawn as is usual for the VA (`va_to_music.performance`).
- Selection: many pieces are made so, their VA is estimated from the notes, and
  those are kept that are near, and of bands, that are as people write.

Seeds are shared: the latent vectors, and all other randomness, are drawn before
the target is looked at, so that only the target differs where the seed is the
same.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from va_magenta import checkpoints
from va_magenta.composing import band, models, phrases, plausibility
from va_magenta.composing.candidates import Structure
from va_magenta.composing.request import Settings
from va_magenta.va import VA

# What draws with a checkpoint, by the key `structure` of its config.json.
STRUCTURES = {'phrases': phrases.Phrases, 'band': band.Band}
# A piece has `va_losses.MIN_NOTES` notes or more in so many bars, on average:
# the estimate is content with pieces that hardly play; listeners are not.
_BARS_OF_NOTES = 4


@dataclasses.dataclass(frozen=True)
class Piece:
  """A piece that was kept.

  Attributes:
    sequence: the music, a `note_seq.NoteSequence`.
    va: where the estimate places it.
    distance: of that from the target; along a path, the mean of the sections'
      distances from theirs.
    candidate: which of the candidates it was, from 0.
    performances: how it is played (see `performance.Performance`): one, or
      along a path one a section (a phrase, or a segment of a hierarchical
      model).
    sound_seconds: see `candidates.Candidate`.
    loops: likewise.
    score: see `candidates.Candidate`; of a band in the key without accidentals.
  """

  sequence: Any
  va: VA
  distance: float
  candidate: int
  performances: list
  score: tuple[np.ndarray, np.ndarray]
  sound_seconds: float | None = None
  loops: bool = False


class Composer:
  """Composes with the models that it holds.

  Args:
    structure: draws candidates; see `candidates.Structure`.
    estimator: places them: `estimate_va_of_notes`, as of `SymbolicVA`.
    likely: how likely people write a candidate, which counts beside how near it
      is; None if only that counts.
  """

  def __init__(self, structure: Structure, estimator,
               likely: plausibility.Plausibility | None = None):
    self._structure = structure
    self._estimator = estimator
    self._likely = likely

  @classmethod
  def load(cls, settings: Settings) -> 'Composer':
    """One with the models that settings name.

    Raises:
      ValueError, OSError: if a model is not what it should be.
    """
    structure = structure_of(settings.checkpoint).load(settings)
    return cls(
        structure, models.estimator(settings.estimator),
        models.plausibility(structure.chooser) if structure.chooser else None)

  def compose(
      self, target: VA | Sequence[VA], settings: Settings) -> list[Piece]:
    """Makes candidates and keeps those nearest to the target.

    Args:
      target: where the music shall lie; several points are led to in turn.
      settings: how.

    Returns:
      `settings.num_outputs` different pieces, nearest first.

    Raises:
      ValueError, OSError: if a file is not what it should be, or too few
        different candidates have notes.
    """
    path = [target] if isinstance(target, VA) else list(target)
    num_candidates = settings.candidates or max(
        self._structure.num_candidates, settings.num_outputs)
    candidates = self._structure.draw(
        np.random.default_rng(settings.seed), path, num_candidates, settings)
    vas = self._estimator.estimate_va_of_notes(c.notes for c in candidates)
    if len(path) == 1:
      distances = [path[0].distance(va) for va in vas]
    else:
      distances = [
          self._mean_distance(path, c.sections) for c in candidates]
    from va_magenta.va_to_music import va_losses

    kept, seen = [], set()
    order = self._order(distances, candidates)
    if settings.candidate is not None:
      if settings.candidate >= num_candidates:
        raise ValueError(
            f'candidate must lie in 0..{num_candidates - 1}, got '
            f'{settings.candidate}')
      order = [settings.candidate]
    for i in order:
      candidate = candidates[i]
      min_notes = va_losses.MIN_NOTES * max(
          candidate.num_bars // _BARS_OF_NOTES, 1)
      if candidate.num_notes >= min_notes and candidate.identity not in seen:
        seen.add(candidate.identity)
        kept.append(Piece(
            candidate.to_sequence(), vas[i], distances[i], i,
            candidate.performances, candidate.score, candidate.sound_seconds,
            candidate.loops))
      if len(kept) == settings.num_outputs:
        return kept
    raise ValueError(
        f'only {len(kept)} different pieces with notes among '
        f'{num_candidates} candidates, {settings.num_outputs} wanted: ask '
        'for more candidates or a higher temperature')

  def _order(self, distances, candidates) -> list[int]:
    """Indices of candidates, first those that shall be kept."""
    if self._likely is None:
      return np.argsort(distances, kind='stable').tolist()
    return plausibility.order(
        distances, [self._likely(*candidate.score) for candidate in candidates])

  def _mean_distance(
      self, path: Sequence[VA], sections: Sequence[np.ndarray]) -> float:
    """Of a piece's sections from where the path leads through."""
    from va_magenta.va_to_music import form

    return float(np.mean([
        target.distance(va) for target, va in zip(
            form.along(path, len(sections)),
            self._estimator.estimate_va_of_notes(sections), strict=True)]))


def compose(target: VA | Sequence[VA], settings: Settings) -> list[Piece]:
  """As `Composer.compose`, with the models that settings name."""
  return Composer.load(settings).compose(target, settings)


def structure_of(checkpoint: str | os.PathLike) -> type[Structure]:
  """What draws with a checkpoint.

  Light, so that a wrong checkpoint is told before anything heavy starts.

  Raises:
    OSError, ValueError: if no music is made with it.
  """
  path = checkpoints.locate(checkpoint, checkpoints.MUSIC_VAE)
  name = 'phrases'
  config = path / 'config.json'
  if config.is_file():
    try:
      name = json.loads(config.read_bytes()).get('structure', name)
      structure = STRUCTURES[name]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
      raise ValueError(
          f'{config} is not the config of a model that writes music: {error!r}'
      ) from error
  else:
    structure = STRUCTURES[name]
  structure.check(checkpoint, path)
  return structure


def phrase_bars(checkpoint: str | os.PathLike) -> int:
  """How many bars the phrases of a checkpoint have."""
  return structure_of(checkpoint).phrase_bars(checkpoint)


def check(settings: Settings):
  """Raises now, before anything heavy starts, if a model is not there.

  Raises:
    OSError, ValueError: if a name or path is not that of such a model.
  """
  structure_of(settings.checkpoint)
  for name_or_path, kind in (
      (settings.image_model, checkpoints.IMAGE),
      (settings.estimator, checkpoints.SYMBOLIC),
      (settings.performance_model, checkpoints.PERFORMANCE),
      (settings.critic, checkpoints.CRITIC)):
    if name_or_path is not None:
      checkpoints.locate(name_or_path, kind)
