"""Tests of emotion6_va, on pictures of noise."""

import math

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va_testing
from va_magenta.datasets.emotion6_va import (
    emotion6_va_dataset_builder as builder,
)

TABLE = '''\
image_filename,valence,arousal,p_anger,p_disgust,p_fear,p_joy,p_sadness,\
p_surprise,p_neutral
anger/1.jpg,1,9,0.5,0.25,0,0,0,0.25,0
joy/1.jpg,7,5,0,0,0,1,0,0,0
'''


class Emotion6VaTest(picture_va_testing.TestCase):
  DATASET_CLASS = builder.Builder
  SPLITS = {'train': 2}
  ARCHIVE = 'emotion6'

  @classmethod
  def make_archive(cls, folder):
    picture_va_testing.draw(folder / 'images/anger/1.jpg', 0)
    picture_va_testing.draw(folder / 'images/joy/1.jpg', 1)
    (folder / 'emotion6.csv').write_text(TABLE)

  def check(self, splits):
    examples = splits['train']
    self.assertEqual(
        {id: e['group'] for id, e in examples.items()},
        {'anger/1.jpg': b'anger/1.jpg', 'joy/1.jpg': b'joy/1.jpg'})
    angry = examples['anger/1.jpg']
    self.assertEqual((angry['valence'], angry['arousal']), (-1, 1))
    self.assertEqual(
        angry['emotions'].tolist(), [0.5, 0.25, 0, 0, 0, 0.25, 0])
    joyful = examples['joy/1.jpg']
    self.assertEqual((joyful['valence'], joyful['arousal']), (0.5, 0))
    self.assertTrue(math.isnan(joyful['valence_std']))
    self.assertTrue(math.isnan(joyful['arousal_std']))
    self.assertEqual(joyful['num_raters'], 0)

  def test_examples(self):
    self.check(self.load(self.make_manual_dir()))

  def test_archive_as_its_authors_publish_it(self):
    manual_dir = self.make_manual_dir()
    folder = (manual_dir / 'emotion6').rename(manual_dir / 'Emotion6')
    (folder / 'emotion6.csv').unlink()
    (folder / 'ground_truth.txt').write_text(
        '[image_filename]\t[valence]\t[arousal]\t[prob. anger]\t...\n'
        + '\n'.join(TABLE.splitlines()[1:]).replace(',', '\t'))
    self.check(self.load(manual_dir))

  def test_bad_archives_are_refused(self):
    self.assert_load_fails(
        self.make_folder(), FileNotFoundError,
        'has no Emotion6: put ground_truth.txt and images/ of Emotion6.zip')
    manual_dir = self.make_manual_dir()
    table = manual_dir / 'emotion6/emotion6.csv'
    table.write_text(TABLE.replace('1,9,', '1,0.5,'))
    self.assert_load_fails(
        manual_dir, ValueError, "arousal 0.5 for 'anger/1.jpg', not 1..9")
    table.write_text(TABLE.replace('0.25,0\n', '0.25,2\n'))
    self.assert_load_fails(
        manual_dir, ValueError, "p_neutral 2 for 'anger/1.jpg', not 0..1")
    table.write_text(TABLE.replace('joy/1', 'joy/2'))
    self.assert_load_fails(
        manual_dir, FileNotFoundError, r'joy/2\.jpg is missing')


if __name__ == '__main__':
  tfds.testing.test_main()
