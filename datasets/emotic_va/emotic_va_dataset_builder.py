"""emotic_va: people in context, with their VA (Kosti et al. 2019)."""

import collections
import math

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from va_magenta.datasets import picture_va
from va_magenta.va import Scale

HOMEPAGE = 'https://github.com/rkosti/emotic'
_ARCHIVES = ('emotic.zip', 'Annotations.zip')
_ANNOTATIONS = ('Annotations.mat', 'CVPR17_Annotations.mat')
# Our names of the splits, and the authors'.
_SPLITS = {'train': 'train', 'validation': 'val', 'test': 'test'}
_AXES = ('valence', 'arousal', 'dominance')


class Builder(picture_va.Builder):
  """Persons in pictures, with what raters think that they feel."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Ask the authors for EMOTIC at {HOMEPAGE} ("Access request") and put what they
  send, Annotations.mat and the folders of pictures (ade20k, emodb_small,
  framesdb, mscoco), into manual_dir/emotic.
  '''

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=picture_va.features(
            bbox=tfds.features.BBoxFeature(),
            dominance=tfds.features.Scalar(np.float32)),
        homepage=HOMEPAGE)

  def _split_generators(self, dl_manager):
    folders = _folders(dl_manager)
    paths = [folder / name for folder in folders for name in _ANNOTATIONS]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
      raise FileNotFoundError(
          f'{picture_va.manual_dir_name(dl_manager)} has no EMOTIC: ask its '
          f'authors for it, {HOMEPAGE}, and put Annotations.mat and the '
          'folders of pictures into its folder emotic')
    splits = _read_annotations(path)
    return {
        ours: self._generate_examples(ours, splits[theirs], folders)
        for ours, theirs in _SPLITS.items()
    }

  def _generate_examples(self, split, images, folders):
    num_persons = collections.Counter()
    num_skipped = 0
    for image in images:
      name = f'{image["folder"]}/{image["filename"]}'
      data, size = picture_va.read_image(_find_image(name, folders))
      for person in _structs(image['person']):
        key = f'{name}#{num_persons[name]}'
        num_persons[name] += 1
        ratings = _ratings(person, key)
        if not len(ratings):
          num_skipped += 1
          continue
        mean = ratings.mean(axis=0)
        std = (
            ratings.std(axis=0, ddof=1) if len(ratings) > 1
            else np.full(3, math.nan))
        yield key, picture_va.example(
            data, Scale.EMOTIC, id=key, group=name, mean=mean[:2],
            std=std[:2], num_raters=len(ratings),
        ) | {
            'bbox': _bbox(person, size, key),
            'dominance': Scale.EMOTIC.to_plane(mean[2]),
        }
    if num_skipped:
      logging.warning(
          'emotic_va: %d of %d persons of the split %s have no ratings and are '
          'left out', num_skipped, num_persons.total(), split)


def _folders(dl_manager) -> list[tfds.core.Path]:
  """Where `Annotations.mat` and the folders of pictures may stand."""
  folders = picture_va.manual_folders(dl_manager, 'emotic')
  archives = [
      folder / name for folder in folders for name in _ARCHIVES
      if (folder / name).exists()
  ]
  folders += dl_manager.extract(archives) if archives else []
  return [
      folder / within for folder in folders
      for within in ('', 'Annotations', 'emotic')
  ]


def _read_annotations(path: tfds.core.Path) -> dict[str, list[dict]]:
  """The authors' annotations: a list of images for each of their splits."""
  import scipy.io

  try:
    with path.open('rb') as file:
      annotations = scipy.io.loadmat(file, simplify_cells=True)
    return {
        split: [
            {k: image[k] for k in ('folder', 'filename', 'person')}
            for image in _structs(annotations[split])
        ]
        for split in _SPLITS.values()
    }
  except KeyError as error:
    raise ValueError(f'{path} is not of EMOTIC: it has no {error}') from error
  except Exception as error:  # SciPy raises many kinds for a damaged file.
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ValueError(f'{path} cannot be read: {reason}') from error


def _structs(value) -> list[dict]:
  """Structs of a MATLAB struct array: SciPy gives the only one of 1 bare."""
  return [value] if isinstance(value, dict) else list(value)


def _find_image(name: str, folders) -> tfds.core.Path:
  paths = [folder / name for folder in folders]
  return next((p for p in paths if p.exists()), paths[0])


def _number(value) -> float:
  """A number, or NaN where MATLAB has an empty array."""
  return float(value) if np.size(value) else math.nan


def _ratings(person: dict, key: str) -> np.ndarray:
  """[num_raters, 3] on the scale 1..10; raters without an answer left out."""
  try:
    raters = [
        [_number(rater[axis]) for axis in _AXES]
        for rater in _structs(person['annotations_continuous'])
    ]
  except KeyError as error:
    raise ValueError(f'EMOTIC annotates {key} without {error}') from error
  ratings = np.array(raters, float).reshape(-1, 3)
  ratings = ratings[np.isfinite(ratings).all(axis=1)]
  low, high = Scale.EMOTIC.value
  if not ((ratings >= low) & (ratings <= high)).all():
    raise ValueError(
        f'EMOTIC has a rating outside {low:g}..{high:g} for {key}')
  return ratings


def _bbox(person: dict, size, key: str) -> tfds.features.BBox:
  """The person's box within the picture.

  Args:
    person: with `body_bbox`: x1, y1, x2, y2 in pixels, which may lie outside.
    size: width and height of the picture in pixels.
    key: what an error calls the person.
  """
  corners = np.array(person.get('body_bbox', ()), float)
  if corners.shape != (4,) or not np.isfinite(corners).all():
    raise ValueError(f'EMOTIC has no body_bbox of 4 numbers for {key}')
  corners = np.clip(corners.reshape(2, 2) / size, 0, 1)
  (xmin, ymin), (xmax, ymax) = corners.min(axis=0), corners.max(axis=0)
  return tfds.features.BBox(ymin=ymin, xmin=xmin, ymax=ymax, xmax=xmax)
