"""oasis_va: the Open Affective Standardized Image Set (Kurdi et al. 2017)."""

import math
import re

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va
from va_magenta.va import Scale

HOMEPAGE = 'https://osf.io/6pnd7/'
URL = 'https://osf.io/download/uxvpb/'  # OASIS.zip of the authors' archive
_LOW, _HIGH = Scale.OASIS.value
_RANGES = {
    'Valence_mean': (_LOW, _HIGH),
    'Arousal_mean': (_LOW, _HIGH),
    'Valence_SD': (0, _HIGH - _LOW),
    'Arousal_SD': (0, _HIGH - _LOW),
    'Valence_N': (1, math.inf),
    'Arousal_N': (1, math.inf),
}


class Builder(picture_va.Builder):
  """Pictures with the ratings of about 100 people each."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Optional: OASIS.csv and images/ in manual_dir/oasis, or in manual_dir itself.
  Without them OASIS is fetched from {HOMEPAGE}.
  '''

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=picture_va.features(), homepage=HOMEPAGE)

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(_find_table(dl_manager))}

  def _generate_examples(self, table_path):
    table = picture_va.read_table(table_path, 'Theme', _RANGES)
    images = picture_va.images_folder(table_path)
    for row in table.itertuples():
      image, _ = picture_va.read_image(images / f'{row.Theme}.jpg')
      yield row.Theme, picture_va.example(
          image, Scale.OASIS,
          id=row.Theme,
          group=re.sub(r'\s*\d+$', '', row.Theme),
          mean=(row.Valence_mean, row.Arousal_mean),
          std=(row.Valence_SD, row.Arousal_SD),
          num_raters=int(min(row.Valence_N, row.Arousal_N)))


def _find_table(dl_manager) -> tfds.core.Path:
  for folder in picture_va.manual_folders(dl_manager, 'oasis'):
    if (folder / 'OASIS.csv').exists():
      return folder / 'OASIS.csv'
  try:
    folder = dl_manager.download_and_extract(tfds.download.Resource(
        url=URL, extract_method=tfds.download.ExtractMethod.ZIP))
  except (OSError, tfds.download.DownloadError) as error:
    raise ConnectionError(
        f'cannot fetch OASIS from {URL}; fetch it by other means and put '
        'OASIS.csv and images/ into manual_dir/oasis') from error
  if not (folder / 'OASIS.csv').exists():
    raise FileNotFoundError(f'what {URL} holds is not OASIS: no OASIS.csv')
  return folder / 'OASIS.csv'
