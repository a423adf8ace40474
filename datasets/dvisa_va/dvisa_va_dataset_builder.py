"""dvisa_va: abstract paintings with VA (Kim et al. 2023)."""

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va
from va_magenta.va import Scale

HOMEPAGE = 'https://github.com/dxlabskku/D-ViSA'
_TABLE = 'dvisa.csv'


class Builder(picture_va.Builder):
  """Paintings with the ratings of a few people each."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Put {_TABLE}, made from the labels of {HOMEPAGE}, with the columns file,
  valence and arousal (0..1), and the paintings in images/, into
  manual_dir/dvisa.
  '''

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=picture_va.features(), homepage=HOMEPAGE)

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(_find_table(dl_manager))}

  def _generate_examples(self, table_path):
    scale = Scale.UNIT.value
    table = picture_va.read_table(
        table_path, 'file', {'valence': scale, 'arousal': scale})
    images = picture_va.images_folder(table_path)
    for row in table.itertuples():
      image, _ = picture_va.read_image(images / row.file)
      artist, _, _ = row.file.partition('_')
      yield row.file, picture_va.example(
          image, Scale.UNIT, id=row.file, group=artist,
          mean=(row.valence, row.arousal))


def _find_table(dl_manager) -> tfds.core.Path:
  for folder in picture_va.manual_folders(dl_manager, 'dvisa'):
    if (folder / _TABLE).exists():
      return folder / _TABLE
  raise FileNotFoundError(
      f'{picture_va.manual_dir_name(dl_manager)} has no D-ViSA: put {_TABLE} '
      f'with the labels of {HOMEPAGE} and images/ into its folder dvisa')
