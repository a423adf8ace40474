"""Tests of dvisa_va, on pictures of noise."""

import math

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va_testing
from va_magenta.datasets.dvisa_va import dvisa_va_dataset_builder as builder

TABLE = '''\
file,valence,arousal,dominance,emotion
some-body_one-1950.jpg,0,1,0.5,fear
some-body_two.jpg,0.75,0.5,0.1,awe
'''


class DvisaVaTest(picture_va_testing.TestCase):
  DATASET_CLASS = builder.Builder
  SPLITS = {'train': 2}
  ARCHIVE = 'dvisa'

  @classmethod
  def make_archive(cls, folder):
    picture_va_testing.draw(folder / 'images/some-body_one-1950.jpg', 0)
    picture_va_testing.draw(folder / 'images/some-body_two.jpg', 1)
    (folder / 'dvisa.csv').write_text(TABLE)

  def test_examples(self):
    examples = self.load(self.make_manual_dir())['train']
    self.assertEqual(
        {id: e['group'] for id, e in examples.items()},
        {'some-body_one-1950.jpg': b'some-body',
         'some-body_two.jpg': b'some-body'})
    fearful = examples['some-body_one-1950.jpg']
    self.assertEqual((fearful['valence'], fearful['arousal']), (-1, 1))
    awed = examples['some-body_two.jpg']
    self.assertEqual((awed['valence'], awed['arousal']), (0.5, 0))
    self.assertTrue(math.isnan(awed['valence_std']))
    self.assertTrue(math.isnan(awed['arousal_std']))
    self.assertEqual(awed['num_raters'], 0)

  def test_bad_archives_are_refused(self):
    self.assert_load_fails(
        self.make_folder(), FileNotFoundError, 'has no D-ViSA: put dvisa.csv')
    manual_dir = self.make_manual_dir()
    table = manual_dir / 'dvisa/dvisa.csv'
    table.write_text(TABLE.replace('0,1,', '0,9,'))
    self.assert_load_fails(
        manual_dir, ValueError,
        "arousal 9.0 for 'some-body_one-1950.jpg', not 0..1")
    table.write_text(TABLE.replace('two', 'three'))
    self.assert_load_fails(
        manual_dir, FileNotFoundError, r'some-body_three\.jpg is missing')


if __name__ == '__main__':
  tfds.testing.test_main()
