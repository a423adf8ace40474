"""Pieces and their figures -> files, all of them or none."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from va_magenta import files
from va_magenta.composing.composer import Piece
from va_magenta.composing.request import Settings, Target
from va_magenta.music import sound
from va_magenta.va import VA

OUTPUT_DIR = 'va_magenta_output'
# Files of a piece, as NAME.json has them; of 'wav' earlier versions spoke.
_KINDS = ('midi', 'audio', 'score', 'video', 'roll', 'wav')


@dataclasses.dataclass(frozen=True)
class Extras:
  """What is written of each piece beside MIDI.

  Attributes:
    audio: 'wav', 'flac', 'ogg' or 'mp3'; True is 'wav', False none.
    soundfont: an .sf2 file to play it with; the best of the system if None.
    score: whether there is MusicXML.
    video: whether there is an MP4 of the pictures, with sound.
    roll: whether there is a PNG of the piano roll.

  Raises:
    ValueError: if there is no such kind of file.
    FileNotFoundError: if there is no such soundfont.
  """

  audio: bool | str = False
  soundfont: str | os.PathLike | None = None
  score: bool = False
  video: bool = False
  roll: bool = False

  def __post_init__(self):
    if self.audio not in (False, True, *sound.FORMATS):
      raise ValueError(
          f'audio must be {", ".join(sound.FORMATS)}, got {self.audio!r}')
    if self.soundfont is not None:
      path = files.local(self.soundfont)
      if not path.is_file():
        raise FileNotFoundError(f'there is no soundfont at {path}')
      object.__setattr__(self, 'soundfont', path)

  @property
  def endings(self) -> dict[str, str]:
    """How names of files end, by what they hold, MIDI first."""
    endings = {'midi': '.mid'}
    if self.audio:
      endings['audio'] = '.wav' if self.audio is True else f'.{self.audio}'
    if self.score:
      endings['score'] = '.musicxml'
    if self.video:
      endings['video'] = '.mp4'
    if self.roll:
      endings['roll'] = '.png'
    return endings

  def check_libraries(self):
    """Raises OSError or ImportError now if a library is missing."""
    if self.audio or self.video:
      from va_magenta.music import synthesis

      synthesis.import_fluidsynth()
    if self.score:
      from va_magenta.music import score

      score.import_music21()
    if self.video:
      from va_magenta.music import video

      video.import_ffmpeg()


@dataclasses.dataclass(frozen=True)
class Names:
  """What the files of a set are called.

  Attributes:
    folder: where they lie.
    name: what their names begin with.
    num_outputs: how many pieces.
    endings: of the files of a piece, see `Extras.endings`.
  """

  folder: pathlib.Path
  name: str
  num_outputs: int
  endings: Mapping[str, str]

  @classmethod
  def of(cls, folder: str | os.PathLike, target: Target, settings: Settings,
         extras: Extras) -> 'Names':
    """Those of what is asked for."""
    name = target.name
    if settings.input is not None:
      name = f'{pathlib.Path(settings.input).stem}_as_{name}'
    return cls(
        pathlib.Path(folder), name, settings.num_outputs, extras.endings)

  def of_pieces(self, kind: str) -> list[pathlib.Path]:
    """A file each piece, or none, of a kind of `Extras.endings`."""
    if kind not in self.endings:
      return []
    return [self.folder / f'{self.name}-{i}{self.endings[kind]}'
            for i in range(1, self.num_outputs + 1)]

  @property
  def json_path(self) -> pathlib.Path:
    """The figures."""
    return self.folder / f'{self.name}.json'

  @property
  def png_path(self) -> pathlib.Path:
    """The VA plane."""
    return self.folder / f'{self.name}.png'

  @property
  def paths(self) -> list[pathlib.Path]:
    """All of them."""
    return [*(path for kind in self.endings for path in self.of_pieces(kind)),
            self.json_path, self.png_path]

  def earlier(self) -> list[pathlib.Path]:
    """Files of an earlier set of this name, as its figures tell."""
    try:
      outputs = json.loads(self.json_path.read_bytes())['outputs']
      names = [output.get(kind) for output in outputs for kind in _KINDS]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
      return []  # There is none, or it is no set of ours.
    return [
        self.folder / name for name in names
        if isinstance(name, str) and name.startswith(f'{self.name}-')
        and pathlib.Path(name).name == name]


@dataclasses.dataclass(frozen=True)
class Saved:
  """What `generate_and_save` made.

  Attributes:
    path: the VA asked for; several points if it moves. With pictures, theirs.
    pieces: nearest first.
    names: of the files.
    spreads: with pictures, of each the standard deviations of valence and
      arousal that people's mean rating is expected to have about its point.
  """

  path: list[VA]
  pieces: list[Piece]
  names: Names
  spreads: list[tuple[float, float]] | None = None

  @property
  def target(self) -> VA:
    """The VA asked for; of a path its middle."""
    from va_magenta.va_to_music import form

    return form.along(self.path, 3)[1]

  @property
  def midi_paths(self) -> list[pathlib.Path]:
    """A file each piece."""
    return self.names.of_pieces('midi')

  @property
  def audio_paths(self) -> list[pathlib.Path]:
    """A file each piece, or none."""
    return self.names.of_pieces('audio')

  @property
  def json_path(self) -> pathlib.Path:
    """The figures."""
    return self.names.json_path

  @property
  def png_path(self) -> pathlib.Path:
    """The VA plane."""
    return self.names.png_path

  @property
  def paths(self) -> list[pathlib.Path]:
    """All files that were written."""
    return self.names.paths


def inputs(
    target: Target, settings: Settings, extras: Extras
) -> list[str | os.PathLike]:
  """What is read, by path."""
  return [
      path for path in (
          *target.image_paths, settings.input, settings.checkpoint,
          settings.image_model, settings.estimator, settings.performance_model,
          settings.critic, extras.soundfont)
      if path is not None and pathlib.Path(path).expanduser().exists()]


def record(
    saved: Saved, settings: Settings, target: Target, extras: Extras) -> dict:
  """What NAME.json says."""
  from importlib import metadata

  import va_magenta

  middle = dataclasses.asdict(saved.target)
  path = [dataclasses.asdict(va) for va in saved.path]
  if len(path) == 1:
    path = None
  images = target.image_paths
  return {
      'image': images if len(images) > 1 else next(iter(images), None),
      'frames': target.frames,
      'image_va': (path or middle) if target.images else None,
      'image_spread': (
          saved.spreads if path or not saved.spreads else saved.spreads[0]),
      'target': middle,
      'va_path': path,
      'outputs': [
          {
              **{kind: midi_path.with_suffix(ending).name
                 for kind, ending in saved.names.endings.items()},
              'estimated_va': dataclasses.asdict(piece.va),
              'distance': piece.distance,
              'candidate': piece.candidate,
              'performances': [
                  dataclasses.asdict(p) for p in piece.performances],
          }
          for piece, midi_path in zip(
              saved.pieces, saved.midi_paths, strict=True)
      ],
      **{
          name: os.fspath(value) if isinstance(value, os.PathLike) else value
          for name, value in dataclasses.asdict(settings).items()},
      **_sound(extras),
      'versions': {'va_magenta': va_magenta.__version__} | {
          name: metadata.version(name)
          for name in ('tensorflow', 'keras', 'numpy')},
  }


def _sound(extras: Extras) -> dict:
  """How pieces are synthesised."""
  if not (extras.audio or extras.video):
    return {}
  from va_magenta.music import synthesis

  return {
      'soundfont': os.fspath(extras.soundfont or synthesis.find_soundfont()),
      'loudness_lufs': sound.LOUDNESS_LUFS}


def write(
    folder: pathlib.Path, saved: Saved, figures: dict, extras: Extras,
    pictures: Sequence[np.ndarray]):
  """Writes all files of a set.

  Args:
    folder: where they shall lie for now; see `files.writing_set`.
    saved: what was made.
    figures: see `record`.
    extras: what is written of each piece.
    pictures: uint8 RGB; one is drawn beside the plane.
  """
  from va_magenta.figures import plots
  from va_magenta.music import midi

  def place(path):
    return folder / path.name

  for piece, path in zip(saved.pieces, saved.midi_paths, strict=True):
    place(path).write_bytes(midi.to_bytes(piece.sequence))
  if extras.audio:
    for piece, path in zip(saved.pieces, saved.audio_paths, strict=True):
      _save_sound(place(path), piece, extras)
  if extras.score:
    from va_magenta.music import score
    for piece, path in zip(
        saved.pieces, saved.names.of_pieces('score'), strict=True):
      score.write(place(path), piece.sequence, title=path.stem)
  if extras.video:
    for piece, path in zip(
        saved.pieces, saved.names.of_pieces('video'), strict=True):
      _save_video(place(path), piece, pictures, extras)
  for piece, path in zip(
      saved.pieces if extras.roll else (), saved.names.of_pieces('roll'),
      strict=True):
    plots.plot_piano_rolls(place(path), {'♪': piece.sequence})
  plots.plot_va_plane(
      place(saved.png_path), target=saved.target,
      picture=pictures[0] if len(pictures) == 1 else None,
      spread=saved.spreads[0] if len(pictures) == 1 and saved.spreads else None,
      pieces=[piece.va for piece in saved.pieces])
  place(saved.json_path).write_text(json.dumps(figures, indent=2) + '\n')


def _save_sound(path: pathlib.Path, piece: Piece, extras: Extras):
  from va_magenta.music import synthesis

  synthesis.save(
      path, piece.sequence, soundfont=extras.soundfont,
      seconds=piece.sound_seconds, loops=piece.loops)


def _save_video(path: pathlib.Path, piece: Piece, pictures, extras: Extras):
  """Pictures in turn, as the music leads from one to the next."""
  import soundfile

  from va_magenta.music import video

  sound_path = path.with_suffix('.video.wav')
  try:
    _save_sound(sound_path, piece, extras)
    video.write(
        path, pictures,
        video.turns_of(len(pictures), piece.sequence.total_time), sound_path,
        soundfile.info(sound_path).duration)
  finally:
    sound_path.unlink(missing_ok=True)


def check(names: Names, read: Sequence[str | os.PathLike], overwrite: bool):
  """Raises now what must not be written after the work; see `files`."""
  files.check_outputs(
      dict.fromkeys(
          [*names.paths, *filter(os.path.lexists, names.earlier())]),
      inputs=read, overwrite=overwrite)
