"""Tests of emotic_va, on an archive of EMOTIC's structure with noise in it."""

import math
import zipfile
from unittest import mock

import numpy as np
import scipy.io
import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va_testing
from va_magenta.datasets.emotic_va import emotic_va_dataset_builder as builder

WIDTH, HEIGHT = 20, 10


def struct_array(structs):
  """[1, n] MATLAB struct array; of 1, `savemat` writes a plain struct."""
  array = np.empty((1, len(structs)), [(name, object) for name in structs[0]])
  for i, struct in enumerate(structs):
    array[0, i] = tuple(struct.values())
  return array


def person(bbox, *raters):
  """A person; each rater says valence, arousal and dominance."""
  vad = [
      {'valence': v, 'arousal': a, 'dominance': d} for v, a, d in raters]
  return {
      'body_bbox': np.array([bbox], float),
      'annotations_categories': {'categories': 'Peace'},
      'annotations_continuous': struct_array(vad) if vad else np.zeros((0, 0)),
      'gender': 'Female',
      'age': 'Adult',
  }


def image(name, *persons):
  folder, _, filename = name.rpartition('/')
  return {
      'filename': filename,
      'folder': folder,
      'image_size': {'n_col': WIDTH, 'n_row': HEIGHT},
      'original_database': {'name': 'mscoco', 'info': {'image_id': 1}},
      'person': struct_array(persons),
  }


UNRATED = (math.nan, math.nan, math.nan)
EMPTY = (np.zeros((0, 0)),) * 3


def annotations(**changed):
  """Annotations.mat: one rater a person in train, several in the others."""
  return {
      'train': struct_array([
          image('mscoco/images/a.jpg', person((5, 2, 15, 10), (1, 10, 5.5))),
          image(
              'framesdb/images/b.jpg',
              person((0, 0, 10, 5), UNRATED),
              # Out of the picture, and its corners in the wrong order.
              person((25, 5, -3, -2), (10, 1, 10))),
      ]),
      'val': struct_array([
          image(
              'ade20k/images/c.jpg',
              person((0, 0, 20, 10), (1, 5, 5), UNRATED, EMPTY, (10, 6, 6)),
              person((0, 0, 20, 10))),
      ]),
      'test': struct_array([
          image(
              'emodb_small/images/d.jpg',
              person((0, 0, 20, 10), (5, 5, 5), (6, 6, 6), (7, 7, 7))),
      ]),
  } | changed


class EmoticVaTest(picture_va_testing.TestCase):
  DATASET_CLASS = builder.Builder
  SPLITS = {'train': 2, 'validation': 1, 'test': 1}
  ARCHIVE = 'emotic'

  @classmethod
  def make_archive(cls, folder):
    for seed, name in enumerate([
        'mscoco/images/a.jpg', 'framesdb/images/b.jpg', 'ade20k/images/c.jpg',
        'emodb_small/images/d.jpg']):
      picture_va_testing.draw(folder / name, seed, WIDTH, HEIGHT)
    scipy.io.savemat(folder / 'Annotations.mat', annotations())

  def check(self, splits):
    self.assertEqual(
        {split: sorted(examples) for split, examples in splits.items()}, {
            'train': ['framesdb/images/b.jpg#1', 'mscoco/images/a.jpg#0'],
            'validation': ['ade20k/images/c.jpg#0'],
            'test': ['emodb_small/images/d.jpg#0'],
        })

  def test_one_rater(self):
    splits = self.load(self.make_manual_dir())
    self.check(splits)
    example = splits['train']['mscoco/images/a.jpg#0']
    self.assertEqual(example['group'], b'mscoco/images/a.jpg')
    self.assertEqual(example['image'].shape, (HEIGHT, WIDTH, 3))
    self.assertEqual(
        [example[axis] for axis in ('valence', 'arousal', 'dominance')],
        [-1, 1, 0])
    self.assertTrue(math.isnan(example['valence_std']))
    self.assertEqual(example['num_raters'], 1)
    self.assertAllClose(example['bbox'], [0.2, 0.25, 1, 0.75])

  def test_box_is_clipped_to_the_picture(self):
    example = self.load(self.make_manual_dir())['train'][
        'framesdb/images/b.jpg#1']
    self.assertAllClose(example['bbox'], [0, 0, 0.5, 1])

  def test_several_raters(self):
    splits = self.load(self.make_manual_dir())
    example = splits['test']['emodb_small/images/d.jpg#0']
    self.assertAllClose(
        [example[k] for k in ('valence', 'arousal', 'dominance')], [1 / 9] * 3)
    self.assertAllClose(
        [example['valence_std'], example['arousal_std']], [2 / 9] * 2)
    self.assertEqual(example['num_raters'], 3)
    # Who did not answer does not count.
    example = splits['validation']['ade20k/images/c.jpg#0']
    self.assertAllClose([example['valence'], example['arousal']], [0, 0])
    self.assertEqual(example['num_raters'], 2)

  def test_persons_without_ratings_are_counted(self):
    with mock.patch.object(builder, 'logging') as logging:
      self.load(self.make_manual_dir())
    self.assertCountEqual(
        [call.args[0] % call.args[1:] for call in
         logging.warning.call_args_list],
        [f'emotic_va: {count} persons of the split {split} have no ratings and '
         'are left out'
         for count, split in (('1 of 3', 'train'), ('1 of 2', 'validation'))])

  def test_folders_and_archives_as_the_authors_send_them(self):
    manual_dir = self.make_manual_dir()
    (manual_dir / 'Annotations').mkdir()
    (manual_dir / 'emotic/Annotations.mat').rename(
        manual_dir / 'Annotations/Annotations.mat')
    self.check(self.load(manual_dir))
    with zipfile.ZipFile(manual_dir / 'emotic.zip', 'w') as archive:
      for path in (manual_dir / 'emotic').rglob('*.jpg'):
        archive.write(path, path.relative_to(manual_dir))
        path.unlink()
    self.check(self.load(manual_dir))

  def test_missing_archive(self):
    empty, other = self.make_folder(), self.make_folder()
    (other / 'file').touch()
    for manual_dir in (empty, other, other / 'none'):
      self.assert_load_fails(
          manual_dir, FileNotFoundError,
          f'^Manual directory {manual_dir} has no EMOTIC: ask its authors for '
          'it, https://')

  def test_bad_archives_are_refused(self):
    manual_dir = self.make_manual_dir()
    path = manual_dir / 'emotic/Annotations.mat'

    def train_with(**changed):
      first = image('mscoco/images/a.jpg', person((0, 0, 1, 1), (5, 5, 5)))
      return annotations(train=struct_array([first | changed]))

    without_test = annotations()
    del without_test['test']
    bad = person((0, 0, 1, 1), (5, 5, 5))
    for content, words in (
        (without_test, "Annotations.mat is not of EMOTIC: it has no 'test'"),
        (annotations(test=1.0), 'Annotations.mat cannot be read'),
        (train_with(person=struct_array([person((0, 0, 1), (5, 5, 5))])),
         r'no body_bbox of 4 numbers for mscoco/images/a\.jpg#0'),
        (train_with(person=struct_array([person((0, 0, 1, 1), (5, 11, 5))])),
         r'rating outside 1..10 for mscoco/images/a\.jpg#0'),
        (train_with(person=struct_array(
            [bad | {'annotations_continuous': {'valence': 5}}])),
         r"mscoco/images/a\.jpg#0 without 'arousal'"),
    ):
      with self.subTest(words):
        scipy.io.savemat(path, content)
        self.assert_load_fails(manual_dir, ValueError, words)
    whole = path.read_bytes()
    for damaged in (b'', b'no MATLAB file at all', whole[:len(whole) // 2]):
      with self.subTest(len(damaged)):
        path.write_bytes(damaged)
        self.assert_load_fails(
            manual_dir, ValueError, r'Annotations\.mat cannot be read')
    scipy.io.savemat(path, annotations())
    (manual_dir / 'emotic/mscoco/images/a.jpg').unlink()
    self.assert_load_fails(
        manual_dir, FileNotFoundError, r'mscoco/images/a\.jpg is missing')


if __name__ == '__main__':
  tfds.testing.test_main()
