"""What is drawn, and by what: the seam between a model and the composer.

A structure is a way to draw pieces: phrases of a MusicVAE of melodies or trios
(`phrases`), or another kind of model. A checkpoint's `config.json` names its
own by the key `structure` (none is `phrases`); `composer.STRUCTURES` lists
them.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from va_magenta.composing.request import Settings
from va_magenta.va import VA


@dataclasses.dataclass(frozen=True)
class Candidate:
  """A piece that may be kept.

  Attributes:
    notes: what sounds, [notes] of `music.notes.NOTE_DTYPE`.
    sections: likewise of each section of the path, equally long and each from
      its own beginning; none where one point is asked for.
    performances: how it is played, for the record: one, or one a section.
    identity: the same for the same notes in another key or at another tempo.
    num_notes: of its melody.
    num_bars: its length.
    to_sequence: gives the `note_seq.NoteSequence`.
    score: tokens `[steps, 4]` and chords `[half bars]`, see `music.band`; of
      others than bands, the voices that are not there rest.
    sound_seconds: how long its sound is, exactly; None for as long as it rings.
    loops: whether its end leads back to its beginning.
  """

  notes: np.ndarray
  sections: Sequence[np.ndarray]
  performances: list
  identity: bytes
  num_notes: int
  num_bars: float
  to_sequence: Callable
  score: tuple[np.ndarray, np.ndarray]
  sound_seconds: float | None = None
  loops: bool = False


class Structure(Protocol):
  """Draws candidates with the models that it holds.

  Attributes:
    num_candidates: how many are drawn unless asked for otherwise.
    chooser: name of the model (see `plausibility`) by which a candidate is kept
      for being as people write, too; None if only its VA counts.
  """

  num_candidates: int
  chooser: str | None

  @classmethod
  def check(cls, checkpoint: str | os.PathLike, path: pathlib.Path):
    """Raises ValueError if it cannot draw with a checkpoint; light.

    Args:
      checkpoint: what errors call it.
      path: where it is.
    """

  @classmethod
  def phrase_bars(cls, checkpoint: str | os.PathLike) -> int:
    """How many bars the phrases of a checkpoint have, that it can draw with."""

  @classmethod
  def load(cls, settings: Settings) -> 'Structure':
    """Loads the models that pieces of these settings need."""

  def draw(
      self, rng: np.random.Generator, va_path: Sequence[VA], n: int,
      settings: Settings) -> list[Candidate]:
    """Draws candidates.

    Args:
      rng: all randomness; drawn in the same order whatever the path is.
      va_path: where the music shall lie; several points are led to in turn.
      n: how many candidates.
      settings: how.

    Raises:
      ValueError, OSError: if a setting does not suit the model.
    """
