"""Pictures, or points of the plane -> music that people would place there.

  import va_magenta
  [sequence] = va_magenta.generate('picture.jpg')
  va_magenta.generate_and_save(valence=0.6, arousal=-0.4, output_dir='music')

How it is made, `composing` knows.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np

from va_magenta import files
from va_magenta.composing import composer as composing
from va_magenta.composing import models, output
from va_magenta.composing.request import Settings, Target


def generate(
    image: str | os.PathLike | np.ndarray | Sequence | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    va_path: Sequence[tuple[float, float]] | None = None,
    frames: int | None = None,
    **settings,
) -> list:
  """Makes music that feels like a picture, or like a point of the VA plane.

  Args:
    image: a picture file, or uint8 RGB [height, width, 3]; or several, which
      the music shall feel like in turn.
    valence: instead of `image`, with `arousal`: from unpleasant (-1) to
      pleasant (1).
    arousal: from calm (-1) to excited (1).
    va_path: instead, (valence, arousal) of several points, likewise in turn.
    frames: how many frames of one animated picture the music shall follow.
    **settings: see `composing.request.Settings`.

  Returns:
    `num_outputs` different `note_seq.NoteSequence`s, nearest to the target
    first.

  Raises:
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  target = Target(image, valence, arousal, va_path, frames)
  composing.check(settings)
  path, *_ = _locate(target, settings)
  return [piece.sequence for piece in composing.compose(path, settings)]


def generate_and_save(
    image: str | os.PathLike | np.ndarray | Sequence | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    va_path: Sequence[tuple[float, float]] | None = None,
    frames: int | None = None,
    output_dir: str | os.PathLike = output.OUTPUT_DIR,
    audio: bool | str = False,
    soundfont: str | os.PathLike | None = None,
    score: bool = False,
    video: bool = False,
    roll: bool = False,
    overwrite: bool = False,
    report: Callable[[output.Saved], None] | None = None,
    **settings,
) -> output.Saved:
  """As `generate`, and writes the music and its figures.

  With NAME the picture's, or the coordinates, it writes NAME-1.mid and so on,
  NAME.json (image VA and its spread, target, each piece's estimated VA,
  distance and performance, settings, versions) and NAME.png (the plane). All
  files appear together, at the end; of a run that fails, none.

  Args:
    image: see `generate`.
    valence: see `generate`.
    arousal: see `generate`.
    va_path: see `generate`.
    frames: see `generate`.
    output_dir: where to; it is made if it does not exist.
    audio: whether to write NAME-1.wav and so on too; or 'flac', 'ogg' or 'mp3'.
    soundfont: an .sf2 file to play it with; the best of the system if None.
    score: whether to write NAME-1.musicxml and so on too.
    video: whether to write NAME-1.mp4 and so on too, of the pictures.
    roll: whether to write NAME-1.png and so on too, piano rolls.
    overwrite: whether an earlier set of this name may be replaced; all its
      files go. What is read is never written over.
    report: called with what was made before the files appear; if it raises,
      none does.
    **settings: see `composing.request.Settings`.

  Raises:
    FileExistsError: if a file exists, unless `overwrite`.
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  target = Target(image, valence, arousal, va_path, frames)
  composing.check(settings)
  extras = output.Extras(audio, soundfont, score, video, roll)
  names = output.Names.of(output_dir, target, settings, extras)
  read = output.inputs(target, settings, extras)
  # All that can go wrong with the output does so before the work.
  extras.check_libraries()
  if video and not target.images:
    raise ValueError('a video shows a picture: give an image')
  with files.writing_set(
      output_dir, inputs=read, overwrite=overwrite,
      replaced=names.earlier) as folder:
    output.check(names, read, overwrite)
    path, spreads, pictures = _locate(target, settings)
    saved = output.Saved(
        path, composing.compose(path, settings), names, spreads)
    output.write(
        folder, saved, output.record(saved, settings, target, extras), extras,
        pictures)
    if report is not None:
      report(saved)
  return saved


def _locate(target: Target, settings: Settings):
  """The points asked for; of pictures the points' spreads, and the pictures."""
  pictures = target.load_pictures()  # Fails before Keras is imported.
  if not pictures:
    return target.points, None, pictures
  estimates = models.image_model(settings.image_model).estimate(pictures)
  return [e.va for e in estimates], [e.spread for e in estimates], pictures
