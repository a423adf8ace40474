"""The picture datasets as they are built from the research data."""

import csv

import numpy as np
import pytest
import tensorflow_datasets as tfds

from va_magenta.va import Scale


@pytest.fixture
def load(shared_data, tmp_path):
  """Builds a dataset; gives its examples, pictures as bytes, by id."""
  def function(name):
    dataset = tfds.load(
        name, split='train', data_dir=tmp_path,
        decoders={'image': tfds.decode.SkipDecoding()},
        download_and_prepare_kwargs={
            'download_config': tfds.download.DownloadConfig(
                manual_dir=shared_data)
        })
    return {e['id'].decode(): e for e in tfds.as_numpy(dataset)}
  return function


def _rows(path):
  with path.open(encoding='utf-8') as file:
    return list(csv.DictReader(file))


def test_oasis_va(load, shared_data):
  examples = load('oasis_va')
  rows = _rows(shared_data / 'oasis/OASIS.csv')
  assert len(examples) == len(rows) == 782
  for row in rows:
    name = row['Theme'].strip()
    example = examples[name]
    file = shared_data / 'oasis/images' / f'{name}.jpg'
    assert example['image'] == file.read_bytes()
    assert example['group'].decode() == name.rstrip('0123456789').strip()
    for axis in ('valence', 'arousal'):
      rating = float(row[f'{axis.title()}_mean'])
      assert example[axis] == np.float32(Scale.OASIS.to_plane(rating))
      std = float(row[f'{axis.title()}_SD'])
      assert example[f'{axis}_std'] == pytest.approx(std / 3)
    assert 100 <= example['num_raters'] <= 104
  assert len({e['group'] for e in examples.values()}) < 400


def test_emotion6_va(load, shared_data):
  examples = load('emotion6_va')
  rows = _rows(shared_data / 'emotion6/emotion6.csv')
  assert len(examples) == len(rows) == 1980
  for row in rows:
    name = row['image_filename']
    example = examples[name]
    file = shared_data / 'emotion6/images' / name
    assert example['image'] == file.read_bytes()
    for axis in ('valence', 'arousal'):
      assert example[axis] == np.float32(
          Scale.EMOTION6.to_plane(float(row[axis])))
      assert np.isnan(example[f'{axis}_std'])


def test_dvisa_va(load, shared_data):
  examples = load('dvisa_va')
  rows = _rows(shared_data / 'dvisa/dvisa.csv')
  assert len(examples) == len(rows) == 1383
  for row in rows:
    example = examples[row['file']]
    file = shared_data / 'dvisa/images' / row['file']
    assert example['image'] == file.read_bytes()
    for axis in ('valence', 'arousal'):
      assert example[axis] == np.float32(
          Scale.UNIT.to_plane(float(row[axis])))
  assert len({e['group'] for e in examples.values()}) == 137
