"""Tests of oasis_va, on pictures of noise."""

from unittest import mock

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va_testing
from va_magenta.datasets.oasis_va import oasis_va_dataset_builder as builder

# One theme has a stray space, as in the published table.
TABLE = '''\
,Theme,Category,Source,Valence_mean,Valence_SD,Valence_N,\
Arousal_mean,Arousal_SD,Arousal_N
I1,Acorns 1,Object,Pixabay,4,3,102,1,1.5,101
I2,Acorns 12 ,Object,Pixabay,7,0,100,2.5,0.6,103
I3,Hot air balloon 3,Scene,Pixabay,5.5,1,102,4,2,101
'''


class OasisVaTest(picture_va_testing.TestCase):
  DATASET_CLASS = builder.Builder
  SPLITS = {'train': 3}
  ARCHIVE = 'oasis'

  @classmethod
  def make_archive(cls, folder):
    for seed, theme in enumerate(
        ['Acorns 1', 'Acorns 12', 'Hot air balloon 3']):
      picture_va_testing.draw(folder / 'images' / f'{theme}.jpg', seed)
    (folder / 'OASIS.csv').write_text(TABLE)

  def test_examples(self):
    examples = self.load(self.make_manual_dir())['train']
    self.assertEqual(
        {id: e['group'] for id, e in examples.items()}, {
            'Acorns 1': b'Acorns', 'Acorns 12': b'Acorns',
            'Hot air balloon 3': b'Hot air balloon',
        })
    first = examples['Acorns 1']
    self.assertEqual((first['valence'], first['arousal']), (0, -1))
    self.assertEqual((first['valence_std'], first['arousal_std']), (1, 0.5))
    self.assertEqual(first['num_raters'], 101)
    second = examples['Acorns 12']
    self.assertEqual((second['valence'], second['arousal']), (1, -0.5))
    self.assertEqual(second['image'].shape, (6, 8, 3))

  def test_manual_dir_itself_may_be_the_archive(self):
    self.assertLen(self.load(self.make_manual_dir() / 'oasis')['train'], 3)

  def test_is_fetched_where_manual_dir_has_none(self):
    # As the archive has it: with a capital letter.
    archive = self.make_manual_dir() / 'oasis'
    (archive / 'images').rename(archive / 'Images')
    for manual_dir in (self.make_folder(), self.make_folder() / 'none'):
      with mock.patch.object(
          tfds.download.DownloadManager, 'download_and_extract',
          return_value=tfds.core.Path(archive)) as fetch:
        self.assertLen(self.load(manual_dir)['train'], 3)
      resource, = fetch.call_args.args
      self.assertEqual(resource.url, builder.URL)
      self.assertEqual(
          resource.extract_method, tfds.download.ExtractMethod.ZIP)

  def test_error_says_what_to_do_where_it_cannot_be_fetched(self):
    for error in (
        OSError('no\nnetwork'),  # as those of `requests` are
        tfds.download.DownloadError('status 404')):
      with mock.patch.object(
          tfds.download.DownloadManager, 'download_and_extract',
          side_effect=error):
        self.assert_load_fails(
            self.make_folder(), ConnectionError,
            'cannot fetch OASIS from https://.*; fetch .* into manual_dir')

  def test_bad_tables_are_refused(self):
    for old, new, words in (
        ('Valence_mean', 'Valence', "no column 'Valence_mean'"),
        (',4,3,', ',7.5,3,', "Valence_mean 7.5 for 'Acorns 1', not 1..7"),
        (',4,3,', ',,3,', "Valence_mean nan for 'Acorns 1', not 1..7"),
        (',4,3,', ',x,3,', "Valence_mean x for 'Acorns 1', not 1..7"),
        (',4,3,', ',4,-3,', "Valence_SD -3.* for 'Acorns 1', not 0..6"),
        ('Acorns 12 ', 'Acorns 1', "names 'Acorns 1' twice"),
        (TABLE, '', 'OASIS.csv is not a table'),
        (TABLE, 'a,b\n1,2\n1,2,3,4\n', 'OASIS.csv is not a table'),
    ):
      with self.subTest(words):
        manual_dir = self.make_manual_dir()
        (manual_dir / 'oasis/OASIS.csv').write_text(TABLE.replace(old, new))
        self.assert_load_fails(manual_dir, ValueError, words)

  def test_bad_pictures_are_refused(self):
    manual_dir = self.make_manual_dir()
    picture = manual_dir / 'oasis/images/Acorns 12.jpg'
    picture.write_bytes(b'no picture')
    self.assert_load_fails(
        manual_dir, ValueError, r'Acorns 12\.jpg is not a picture')
    picture_va_testing.draw(picture.with_suffix('.gif'), 0)
    picture.with_suffix('.gif').rename(picture)
    self.assert_load_fails(
        manual_dir, ValueError, r'Acorns 12\.jpg is GIF, not JPEG')
    picture.unlink()
    self.assert_load_fails(
        manual_dir, FileNotFoundError, r'Acorns 12\.jpg is missing')
    for path in picture.parent.iterdir():
      path.unlink()
    picture.parent.rmdir()
    self.assert_load_fails(
        manual_dir, FileNotFoundError, 'has no folder images')


if __name__ == '__main__':
  tfds.testing.test_main()
