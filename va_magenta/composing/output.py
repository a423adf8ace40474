"""Pieces and their figures -> files, all of them or none."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta import files
from va_magenta.composing.composer import Piece
from va_magenta.composing.request import Settings, Target
from va_magenta.va import VA

OUTPUT_DIR = 'va_magenta_output'


@dataclasses.dataclass(frozen=True)
class Names:
  """What the files of a set are called.

  Attributes:
    folder: where they lie.
    name: what their names begin with.
    num_outputs: how many pieces.
    audio: whether there is a WAV file of each.
  """

  folder: pathlib.Path
  name: str
  num_outputs: int
  audio: bool

  @classmethod
  def of(cls, folder: str | os.PathLike, target: Target, settings: Settings,
         audio: bool) -> 'Names':
    """Those of what is asked for."""
    name = target.name
    if settings.input is not None:
      name = f'{pathlib.Path(settings.input).stem}_as_{name}'
    return cls(pathlib.Path(folder), name, settings.num_outputs, audio)

  @property
  def midi_paths(self) -> list[pathlib.Path]:
    """A file each piece."""
    return [self.folder / f'{self.name}-{i}.mid'
            for i in range(1, self.num_outputs + 1)]

  @property
  def wav_paths(self) -> list[pathlib.Path]:
    """A file each piece, or none."""
    return [p.with_suffix('.wav') for p in self.midi_paths if self.audio]

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
    return [*self.midi_paths, *self.wav_paths, self.json_path, self.png_path]

  def earlier(self) -> list[pathlib.Path]:
    """Files of an earlier set of this name, as its figures tell."""
    try:
      outputs = json.loads(self.json_path.read_bytes())['outputs']
      names = [output[kind] for output in outputs for kind in ('midi', 'wav')]
    except (OSError, ValueError, KeyError, TypeError):
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
  """

  path: list[VA]
  pieces: list[Piece]
  names: Names

  @property
  def target(self) -> VA:
    """The VA asked for; of a path its middle."""
    from va_magenta.va_to_music import form

    return form.along(self.path, 3)[1]

  @property
  def midi_paths(self) -> list[pathlib.Path]:
    """A file each piece."""
    return self.names.midi_paths

  @property
  def wav_paths(self) -> list[pathlib.Path]:
    """A file each piece, or none."""
    return self.names.wav_paths

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


def inputs(target: Target, settings: Settings) -> list[str | os.PathLike]:
  """What is read, by path."""
  return [
      path for path in (
          *target.image_paths, settings.input, settings.checkpoint,
          settings.image_model, settings.estimator, settings.performance_model,
          settings.critic)
      if path is not None and pathlib.Path(path).expanduser().exists()]


def record(saved: Saved, settings: Settings, target: Target) -> dict:
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
      'target': middle,
      'va_path': path,
      'outputs': [
          {
              'midi': midi_path.name,
              'wav': midi_path.with_suffix('.wav').name
                     if saved.wav_paths else None,
              'estimated_va': dataclasses.asdict(piece.va),
              'distance': piece.distance,
              'performances': [
                  dataclasses.asdict(p) for p in piece.performances],
          }
          for piece, midi_path in zip(
              saved.pieces, saved.midi_paths, strict=True)
      ],
      **{
          name: os.fspath(value) if isinstance(value, os.PathLike) else value
          for name, value in dataclasses.asdict(settings).items()},
      'versions': {'va_magenta': va_magenta.__version__} | {
          name: metadata.version(name)
          for name in ('tensorflow', 'keras', 'numpy')},
  }


def write(
    folder: pathlib.Path, saved: Saved, figures: dict,
    picture: np.ndarray | None):
  """Writes all files of a set.

  Args:
    folder: where they shall lie for now; see `files.writing_set`.
    saved: what was made.
    figures: see `record`.
    picture: to be drawn beside the plane; uint8 RGB.
  """
  from va_magenta.figures import plots
  from va_magenta.music import midi

  def place(path):
    return folder / path.name

  for piece, path in zip(saved.pieces, saved.midi_paths, strict=True):
    place(path).write_bytes(midi.to_bytes(piece.sequence))
  if saved.wav_paths:
    from va_magenta.music import synthesis
    for piece, path in zip(saved.pieces, saved.wav_paths, strict=True):
      synthesis.write_wav(place(path), *synthesis.synthesize(piece.sequence))
  plots.plot_va_plane(
      place(saved.png_path), target=saved.target, picture=picture,
      pieces=[piece.va for piece in saved.pieces])
  place(saved.json_path).write_text(json.dumps(figures, indent=2) + '\n')


def check(names: Names, read: Sequence[str | os.PathLike], overwrite: bool):
  """Raises now what must not be written after the work; see `files`."""
  files.check_outputs(
      dict.fromkeys(
          [*names.paths, *filter(os.path.lexists, names.earlier())]),
      inputs=read, overwrite=overwrite)
