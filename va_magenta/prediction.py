"""Pictures, MIDI and audio files -> where they lie on the VA plane.

  from va_magenta import prediction
  for found in prediction.predict(prediction.find_files(['my_folder'])):
    print(found.path, found.kind, found.va)

What a file is, its content says, not its name.
"""

import dataclasses
import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from va_magenta import checkpoints
from va_magenta import files as files_lib
from va_magenta.composing import models
from va_magenta.music import midi
from va_magenta.va import VA

PICTURE, MIDI, AUDIO = 'picture', 'midi', 'audio'
_FILES = 'a picture, MIDI or audio file'
# Files read at once: pictures, at up to 3 MB each, wait here for the network.
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class Prediction:
  """Where a file lies.

  Attributes:
    path: as it was given, or found in a folder that was given.
    kind: `PICTURE`, `MIDI` or `AUDIO`.
    va: the estimate.
    spread: of a picture, standard deviations of valence and arousal that
      people's mean rating is expected to have about it; None of music.
  """

  path: pathlib.Path
  kind: str
  va: VA
  spread: tuple[float, float] | None = None

  def as_dict(self) -> dict:
    """What `va_magenta_predict --json` prints of a file."""
    return {
        'path': os.fspath(self.path),
        'kind': self.kind,
        'valence': self.va.valence,
        'arousal': self.va.arousal,
        'quadrant': self.va.quadrant.name,
        'spread': self.spread,
    }


def _raise(error: Exception):
  raise error


def find_files(
    paths: Sequence[str | os.PathLike],
    *,
    on_error: Callable[[Exception], None] = _raise,
) -> list[pathlib.Path]:
  """The files among `paths`, and those in the folders that can be predicted.

  A folder is searched with all folders in it, but not through links, nor what
  is hidden (its name begins with a dot). A file in it counts if it is a
  picture, MIDI or audio, or is called like one: then `predict` says what is
  wrong with it.

  Args:
    paths: files and folders.
    on_error: called with an OSError or ValueError for a path where nothing is
      found; raises it by default.

  Returns:
    The paths in their order, a folder's files sorted.
  """
  found = []
  for path in paths:
    try:
      path = files_lib.local(path)
      if not path.is_dir():
        found.append(_existing(path))
        continue
      files = sorted(_walk(path, on_error))
      if not files:
        raise ValueError(
            f'{path} has no pictures, MIDI files or audio files in it')
      found += files
    except (OSError, ValueError) as error:
      on_error(error)
  return found


def predict(
    files: Sequence[str | os.PathLike],
    *,
    image_model: str | os.PathLike | None = None,
    estimator: str | os.PathLike | None = None,
    audio_model: str | os.PathLike | None = None,
    synthesize: bool = False,
    on_error: Callable[[Exception], None] = _raise,
    **how,
) -> list[Prediction]:
  """Where files lie on the plane, by the models that ship.

  Args:
    files: pictures (see `images.load_image`), MIDI files, and audio files (see
      `audio_features.read`), as many as you like: a few are held in memory at a
      time. On a terminal a bar tells how far it is.
    image_model: name or path of the model that places pictures; of this and of
      the following the one that ships if None.
    estimator: likewise, of the one that reads the notes of MIDI files.
    audio_model: likewise, of the one that places sound.
    synthesize: whether MIDI files are estimated from their sound rather than
      from their notes, which is less accurate for valence.
    on_error: called with the OSError or ValueError of each file that cannot be
      read; raises it by default. If it returns, the file is left out.
    **how: how much is estimated, and by which soundfont: see `audio.extract`.

  Returns:
    The estimates, in the order of `files`.

  Raises:
    OSError, ValueError: if a model is not what it should be.
  """
  import tqdm

  for name_or_path, kind in (
      (image_model, checkpoints.IMAGE), (estimator, checkpoints.SYMBOLIC),
      (audio_model, checkpoints.AUDIO)):
    if name_or_path is not None:
      checkpoints.locate(name_or_path, kind)

  files = [files_lib.local(path) for path in files]
  load = {
      PICTURE: lambda: _of_pictures(models.image_model(image_model)),
      MIDI: lambda: _of_notes(models.estimator(estimator)),
      AUDIO: lambda: _of_sound(models.audio_model(audio_model))}
  estimator_of = functools.cache(lambda kind: load[kind]())
  predictions = []
  with tqdm.tqdm(
      total=len(files), desc='Predicting', unit='file', delay=2, leave=False,
      disable=None) as progress:
    for start in range(0, len(files), _BATCH_SIZE):
      batch = files[start:start + _BATCH_SIZE]
      contents = {}
      for i, path in enumerate(batch):
        try:
          contents[i] = _read(path, synthesize, how)
        except MemoryError:
          on_error(ValueError(f'{path} does not fit in memory'))
        except (OSError, ValueError) as error:
          on_error(error)
      points = {}
      for kind in {kind for kind, _ in contents.values()}:
        mine = [i for i in contents if contents[i][0] == kind]
        # Loaded when there is something to estimate: it takes seconds.
        estimate = estimator_of(
            AUDIO if kind == MIDI and synthesize else kind)
        vas = estimate([contents[i][1] for i in mine])
        points.update(zip(mine, vas, strict=True))
      predictions += [
          Prediction(batch[i], contents[i][0], *points[i]) for i in contents]
      progress.update(len(batch))
  return predictions


def explain(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    image_model: str | os.PathLike | None = None,
) -> Prediction:
  """Predicts a picture and draws what in it the estimate hangs on.

  Args:
    path: a picture.
    output: PNG to write (see `plots.plot_saliency`, `saliency.saliency`).
    image_model: name or path of one of your own.

  Raises:
    OSError, ValueError: if it is not a picture that can be read, or the
      model is not what it should be.
  """
  path = pathlib.Path(path)
  kind, picture = _read(path)
  if kind != PICTURE:
    raise ValueError(f'{path} is {kind}: only a picture can be explained')
  model = models.image_model(image_model)
  from va_magenta.figures import plots
  from va_magenta.image_to_va import saliency

  estimate, = model.estimate([picture])
  plots.plot_saliency(
      output, picture=picture, va=estimate.va,
      saliency=saliency.saliency(model, picture))
  return Prediction(path, kind, estimate.va, estimate.spread)


def plot(output: str | os.PathLike, predictions: Sequence[Prediction]):
  """Draws the plane with all predictions as a PNG (see `plots.plot_points`)."""
  from va_magenta.figures import plots

  parents = {p.path.parent for p in predictions}
  shared = parents.pop() if len(parents) == 1 else None
  plots.plot_points(
      output,
      points=[p.va for p in predictions],
      names=[
          printable(p.path.relative_to(shared) if shared else p.path)
          for p in predictions],
      kinds=[p.kind for p in predictions],
      spreads=[p.spread for p in predictions])


def check_outputs(
    outputs: Sequence[str | os.PathLike],
    inputs: Sequence[str | os.PathLike | None],
    *,
    overwrite: bool = False,
):
  """Raises now what would otherwise go wrong after the work.

  Args:
    outputs: PNGs that shall be written.
    inputs: what is read, which must not be written over.
    overwrite: whether outputs may exist.

  Raises:
    OSError, ValueError: if an output cannot or must not be written.
  """
  for output in map(pathlib.Path, outputs):
    if output.suffix.lower() != '.png':
      raise ValueError(f'{output} must end in .png, which is what is written')
  files_lib.check_outputs(outputs, inputs=inputs, overwrite=overwrite)


def printable(path: str | os.PathLike) -> str:
  """A path as one line of text: what cannot be printed is escaped."""
  return ''.join(
      c if c.isprintable() else c.encode('unicode_escape').decode()
      for c in os.fspath(path))


def _existing(path: pathlib.Path) -> pathlib.Path:
  if not path.exists():
    raise FileNotFoundError(f'there is no file or folder at {path}')
  return path


def _walk(
    folder: pathlib.Path, on_error: Callable[[Exception], None],
) -> Iterator[pathlib.Path]:
  from PIL import Image

  from va_magenta.image_to_va import images

  suffixes = {*midi.SUFFIXES, '.wav', '.flac', '.ogg', '.mp3'} | {
      suffix for suffix, name in Image.registered_extensions().items()
      if name in images.formats()}
  for parent, folders, names in os.walk(folder, onerror=on_error):
    folders[:] = [name for name in folders if not name.startswith('.')]
    for name in names:
      path = pathlib.Path(parent, name)
      if name.startswith('.') or not path.is_file():
        continue
      try:
        if path.suffix.lower() in suffixes or _kind(path):
          yield path
      except OSError as error:
        on_error(error)


def _kind(path: pathlib.Path) -> str | None:
  """What a file's first bytes say it is."""
  from PIL import Image, UnidentifiedImageError

  from va_magenta.image_to_va import images
  from va_magenta.music_to_va import audio_features

  with path.open('rb') as file, warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of large pictures and odd metadata.
    head = file.read(audio_features.HEAD_BYTES)
    if midi.begins_as_midi(head):
      return MIDI
    if audio_features.begins_as_sound(head):
      return AUDIO
    file.seek(0)
    try:
      Image.open(file, formats=images.formats())
    except UnidentifiedImageError:
      return None
    except Exception:  # pylint: disable=broad-except
      pass  # Damaged or too large: whoever reads it on will say so.
  return PICTURE


def _read(
    path: pathlib.Path, synthesize: bool = False, how: dict | None = None,
) -> tuple:
  """What a file is, and what its estimator takes."""
  _existing(path)
  if path.is_dir():
    raise IsADirectoryError(f'{path} is a folder, not {_FILES}')
  if not path.is_file():
    raise ValueError(f'{path} is not a regular file')
  if path.stat().st_size == 0:
    raise ValueError(f'{path} is empty (0 bytes), not {_FILES}')
  kind = _kind(path)
  if kind == MIDI and not synthesize:
    from va_magenta.music_to_va import symbolic_features
    return kind, symbolic_features.extract(midi.read_notes(path))
  if kind == PICTURE:
    from va_magenta.image_to_va import images
    return kind, images.load_image(path)
  if kind in (AUDIO, MIDI):
    from va_magenta.music_to_va import audio
    return kind, audio.extract(path, **(how or {}))
  raise ValueError(f'{path} is not {_FILES}')


def _of_pictures(model) -> Callable[[list], list[tuple]]:
  """From what `_read` gives of pictures to their points and spreads."""
  return lambda pictures: [
      (estimate.va, estimate.spread) for estimate in model.estimate(pictures)]


def _of_sound(model) -> Callable[[list], list[tuple[VA]]]:
  """From what `_read` gives of sounds to their points."""
  return lambda pieces: [(model.of_piece(*features),) for features in pieces]


def _of_notes(model) -> Callable[[list], list[tuple[VA]]]:
  """From what `_read` gives of MIDI files to their points."""
  def estimate(features):
    points = model.calibrate(model.regress(np.stack(features)))
    return [(VA.clip(*point),) for point in points.tolist()]

  return estimate
