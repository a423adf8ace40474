"""emotion6_va: pictures of six emotions with VA (Peng et al. 2015)."""

import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va
from va_magenta.va import Scale

HOMEPAGE = 'http://chenlab.ece.cornell.edu/downloads.html'
_COLUMNS = ('image_filename', 'valence', 'arousal')
# Options of pandas.read_csv by file name. In the authors' own file there are
# tabs, and brackets around the columns' names.
_TABLES = {
    'emotion6.csv': {},
    'ground_truth.txt': {
        'sep': '\t', 'header': 0, 'names': _COLUMNS, 'usecols': range(3)},
}


class Builder(picture_va.Builder):
  """Pictures with the ratings of about 15 people each."""

  VERSION = tfds.core.Version('1.0.0')
  RELEASE_NOTES = {'1.0.0': 'First version.'}
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Put what Emotion6.zip ({HOMEPAGE}) holds, ground_truth.txt and images/, into
  manual_dir/emotion6; or emotion6.csv with the columns {', '.join(_COLUMNS)}
  and images/.
  '''

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=picture_va.features(), homepage=HOMEPAGE)

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(_find_table(dl_manager))}

  def _generate_examples(self, table_path):
    scale = Scale.EMOTION6.value
    table = picture_va.read_table(
        table_path, 'image_filename', {'valence': scale, 'arousal': scale},
        **_TABLES[table_path.name])
    images = picture_va.images_folder(table_path)
    for row in table.itertuples():
      name = row.image_filename
      image, _ = picture_va.read_image(images / name)
      yield name, picture_va.example(
          image, Scale.EMOTION6, id=name, group=name,
          mean=(row.valence, row.arousal))


def _find_table(dl_manager) -> tfds.core.Path:
  for folder in picture_va.manual_folders(dl_manager, 'emotion6', 'Emotion6'):
    for name in _TABLES:
      if (folder / name).exists():
        return folder / name
  raise FileNotFoundError(
      f'{picture_va.manual_dir_name(dl_manager)} has no Emotion6: put '
      f'ground_truth.txt and images/ of Emotion6.zip, {HOMEPAGE}, into its '
      'folder emotion6')
