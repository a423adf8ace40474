"""lakh_va: the Lakh MIDI Dataset (Raffel 2016) with valence and arousal."""

import collections
import dataclasses
import os
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va
from va_magenta.music import midi
from va_magenta.music.corpus import file_md5

HOMEPAGE = 'https://colinraffel.com/projects/lmd/'
# Made by va_magenta_label; no notes are in it.
LABELS = pathlib.Path(__file__).with_name('labels.parquet')
_URL = 'http://hog.ee.columbia.edu/craffel/lmd/'


@dataclasses.dataclass(frozen=True)
class _Archive:
  """One of Lakh's archives: its address, and the folder that is in it."""

  url: str
  folder: str


FULL = _Archive(f'{_URL}lmd_full.tar.gz', 'lmd_full')
CLEAN = _Archive(f'{_URL}clean_midi.tar.gz', 'clean_midi')


@dataclasses.dataclass
class Config(tfds.core.BuilderConfig):
  """What an example is, and of which archive.

  Attributes:
    archive: is fetched if manual_dir holds no MIDI files.
    as_melodies: an example is a 2-bar melody; else it is a piece.
  """

  archive: _Archive = FULL
  as_melodies: bool = False


def _scalars(*names: str) -> dict:
  return {name: tfds.features.Scalar(np.float32) for name in names}


class Builder(picture_va.Builder):
  """MIDI files, or 2-bar melodies in them, with what people would feel."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  BUILDER_CONFIGS = [
      Config(name='full', description='Pieces of LMD-full.'),
      Config(
          name='clean', archive=CLEAN, description='Pieces of Clean MIDI, the '
          'part of Lakh whose files have names of artists and titles.'),
      Config(
          name='2bar-melody', as_melodies=True,
          description='2-bar melodies of LMD-full, as tokens.'),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Optional: any MIDI files in manual_dir/lmd, or in manual_dir itself, and their
  labels in manual_dir/labels.parquet, as va_magenta_label writes them. Without
  MIDI files Lakh is fetched from {HOMEPAGE}; without labels, those that ship
  are used.
  '''

  _with_beam = False

  def __init__(self, *, labels: str | os.PathLike | None = None, **kwargs):
    """As TFDS's builders.

    Args:
      labels: a table of `va_magenta_label`; by default as above.
      **kwargs: of the base class.
    """
    self._labels = labels
    super().__init__(**kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    labels = _scalars('valence', 'arousal', 'valence_std', 'arousal_std')
    if self.builder_config.as_melodies:
      features = {
          'id': tfds.features.Text(),
          'window': np.int32,
          'tokens': tfds.features.Tensor(shape=(32,), dtype=np.uint8),
          **_scalars('start_seconds'),
          **labels,
      }
    else:
      features = {
          'id': tfds.features.Text(),
          'midi': tfds.features.Tensor(shape=(), dtype=np.object_),
          'genre': tfds.features.Text(),
          'window': tfds.features.Sequence({
              'window': np.int32,
              **_scalars('start_seconds', 'end_seconds'),
              **labels,
          }),
          **_scalars(
              'bpm', 'symbolic_valence', 'symbolic_arousal', 'audio_valence',
              'audio_arousal'),
          **labels,
      }
    return self.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features), homepage=HOMEPAGE,
        metadata=tfds.core.MetadataDict())

  def download_and_prepare(self, *, download_config=None, **kwargs):
    """As TFDS's builders: with Beam if any of its options is given."""
    self._with_beam = download_config is not None and bool(
        download_config.beam_runner or download_config.beam_options)
    super().download_and_prepare(download_config=download_config, **kwargs)

  def _split_generators(self, dl_manager):
    # TFDS is imported by who never builds this; and what follows, pandas too.
    from va_magenta.datasets.lakh_va import pieces
    from va_magenta.music_to_va import labelling

    labels = pathlib.Path(self._labels or _find_labels(dl_manager))
    table = labelling.read(labels)
    # So that one sees which labels these are.
    self.info.metadata['labels_md5'] = file_md5(labels)
    folder = self._find_folder(dl_manager)
    splits, left_out = pieces.find(folder, table)
    pieces.print_left_out(f'files of {folder}', left_out)
    if not any(splits.values()):
      raise ValueError(
          f'no file of {folder} has a label; va_magenta_label --midi_dir='
          f'{folder} --output=labels.parquet makes labels, which belong in '
          'manual_dir')
    # TFDS cannot write a split without examples: a small folder lacks some.
    splits = {split: found for split, found in splits.items() if found}
    as_melodies = self.builder_config.as_melodies
    if self._with_beam:
      return {
          split: pieces.convert_with_beam(found, as_melodies, split)
          for split, found in splits.items()}
    executor = pieces.pool(as_melodies)
    return {
        split: self._generate_examples(split, found, executor)
        for split, found in splits.items()}

  def _find_folder(self, dl_manager) -> tfds.core.Path:
    archive = self.builder_config.archive
    for folder in picture_va.manual_folders(dl_manager, 'lmd', archive.folder):
      if any(path.suffix.lower() in midi.SUFFIXES
             for path in pathlib.Path(folder).rglob('*')):
        return folder
    try:
      return dl_manager.download_and_extract(archive.url)
    except (OSError, tfds.download.DownloadError) as error:
      raise ConnectionError(
          f'cannot fetch Lakh from {archive.url}; fetch it by other means and '
          'unpack it into manual_dir/lmd') from error

  def _generate_examples(self, split, found, executor):
    from va_magenta.datasets.lakh_va import pieces

    left_out = collections.Counter()
    yield from pieces.convert(found, left_out, executor)
    pieces.print_left_out(f'{len(found)} pieces of {split}', left_out)
    if left_out.total() == len(found):
      raise ValueError(
          f'none of {len(found)} pieces of {split} gave an example; the reason '
          f'of most: {left_out.most_common(1)[0][0]}')


def _find_labels(dl_manager) -> pathlib.Path:
  folders = picture_va.manual_folders(dl_manager)
  for path in (*(folder / LABELS.name for folder in folders), LABELS):
    if path.exists():
      return pathlib.Path(path)
  raise FileNotFoundError(
      f'there are no labels: neither {LABELS} nor {LABELS.name} in '
      f'{picture_va.manual_dir_name(dl_manager)}; va_magenta_label '
      '--midi_dir=FOLDER --output=labels.parquet makes them')
