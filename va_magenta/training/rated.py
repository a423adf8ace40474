"""What people rated: one reader each of EIMG, EMOPIA and DEAM."""

import csv
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from va_magenta.va import AXES, Scale


@dataclasses.dataclass(frozen=True)
class Rated:
  """Something of pieces, with their VA, n rows.

  Attributes:
    values: [n, ...].
    va: float64 [n, 2], valence and arousal in [-1, 1].
    groups: int [n]; what shares material, or is of one piece, has one number.
  """

  values: np.ndarray
  va: np.ndarray
  groups: np.ndarray

  def __getitem__(self, rows) -> 'Rated':
    return Rated(self.values[rows], self.va[rows], self.groups[rows])

  def __len__(self) -> int:
    return len(self.values)


def read_table(
    path: str | os.PathLike, columns: Sequence[str]) -> list[dict[str, str]]:
  """Rows of a CSV file.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it lacks one of the columns.
  """
  with open(path, newline='') as file:
    reader = csv.DictReader(file)
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
      raise ValueError(f'{path}: lacks the columns {sorted(missing)}')
    return list(reader)


def read_eimg(folder: pathlib.Path) -> Rated:
  """EIMG's clips (IEEE TMM 2023): paths of MIDI files, in the table's order.

  Args:
    folder: holds labels.csv and midi/.

  Raises:
    FileNotFoundError: if there is no table.
    ValueError: if it lacks a column.
  """
  rows = read_table(folder / 'labels.csv', ('file', *AXES, 'group'))
  return Rated(
      np.array([folder / 'midi' / row['file'] for row in rows], object),
      Scale.EIMG.to_plane(np.array(
          [[float(row[axis]) for axis in AXES] for row in rows]).reshape(-1, 2)
      ), np.array([int(row['group']) for row in rows], int))


@dataclasses.dataclass(frozen=True)
class Emopia:
  """EMOPIA's clips (Hung et al. 2021), n rows.

  Attributes:
    paths: MIDI files.
    quadrants: int [n] in 1..4.
    songs: str [n]; a song has several clips.
  """

  paths: list[pathlib.Path]
  quadrants: np.ndarray
  songs: np.ndarray


def read_emopia(folder: pathlib.Path) -> Emopia:
  """EMOPIA's clips that are there, in the table's order.

  Args:
    folder: holds label.csv and midi/.

  Raises:
    FileNotFoundError: if there is no table.
    ValueError: if it lacks a column, or no clip is there.
  """
  found = [
      (path, int(row['4Q']), row['ID'])
      for row in read_table(folder / 'label.csv', ('ID', '4Q'))
      if (path := folder / 'midi' / f'{row["ID"]}.mid').is_file()]
  if not found:
    raise ValueError(f'{folder}: no clip of label.csv is in midi/')
  paths, quadrants, names = zip(*found, strict=True)
  return Emopia(
      list(paths), np.array(quadrants),
      # Q1_0vLPYiPN7qY_0: quadrant, song, clip.
      np.array([name[3:].rpartition('_')[0] for name in names]))


@dataclasses.dataclass
class Songs:
  """DEAM's songs (Aljanaki et al. 2017), one a row.

  Attributes:
    means: float32 [n, features], of each feature over the song.
    ratings: float64 [n, 2], valence and arousal in [-1, 1].
    parts: str [n], the year of DEAM that a song belongs to.
  """

  means: np.ndarray
  ratings: np.ndarray
  parts: np.ndarray

  def __getitem__(self, rows) -> 'Songs':
    return Songs(self.means[rows], self.ratings[rows], self.parts[rows])

  def __len__(self) -> int:
    return len(self.means)


def read_deam(folder: pathlib.Path, names: Sequence[str]) -> Songs:
  """DEAM's songs, in the order of static.csv.

  Args:
    folder: holds static.csv and opensmile_song_means.csv.
    names: of the features.

  Raises:
    FileNotFoundError: if a table is missing.
    ValueError: if a table lacks a column, or no song is in both.
  """
  means = {
      row['song_id']: [float(row[name]) for name in names]
      for row in read_table(
          folder / 'opensmile_song_means.csv', ('song_id', *names))}
  columns = [f'{axis}_mean' for axis in AXES]
  rows = [
      row for row in read_table(
          folder / 'static.csv', ('song_id', *columns, 'part'))
      if row['song_id'] in means]
  if not rows:
    raise ValueError(
        f'{folder}: no song is in both static.csv and opensmile_song_means.csv')
  return Songs(
      np.array([means[row['song_id']] for row in rows], np.float32),
      Scale.DEAM.to_plane(np.array(
          [[float(row[column]) for column in columns] for row in rows])),
      np.array([row['part'] for row in rows]))
