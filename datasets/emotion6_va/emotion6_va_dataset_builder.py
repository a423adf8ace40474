"""emotion6_va: pictures of six emotions with VA (Peng et al. 2015)."""

import numpy as np
import tensorflow_datasets as tfds

from va_magenta.datasets import picture_va
from va_magenta.va import Scale

HOMEPAGE = 'http://chenlab.ece.cornell.edu/downloads.html'
EMOTIONS = (
    'anger', 'disgust', 'fear', 'joy', 'sadness', 'surprise', 'neutral')
_EMOTION_COLUMNS = tuple(f'p_{emotion}' for emotion in EMOTIONS)
_COLUMNS = ('image_filename', 'valence', 'arousal', *_EMOTION_COLUMNS)
# Options of pandas.read_csv by file name. In the authors' own file there are
# tabs, and brackets around the columns' names.
_TABLES = {
    'emotion6.csv': {},
    'ground_truth.txt': {
        'sep': '\t', 'header': 0, 'names': _COLUMNS, 'usecols': range(10)},
}


class Builder(picture_va.Builder):
  """Pictures with the ratings of about 15 people each."""

  VERSION = tfds.core.Version('1.1.0')
  RELEASE_NOTES = {
      '1.0.0': 'First version.',
      '1.1.0': 'With the probabilities of emotions.',
  }
  MANUAL_DOWNLOAD_INSTRUCTIONS = f'''
  Put what Emotion6.zip ({HOMEPAGE}) holds, ground_truth.txt and images/, into
  manual_dir/emotion6; or emotion6.csv and images/, with the columns
  {', '.join(_COLUMNS)}.
  '''

  def _info(self) -> tfds.core.DatasetInfo:
    return self.dataset_info_from_configs(
        features=picture_va.features(emotions=tfds.features.Tensor(
            shape=(len(EMOTIONS),), dtype=np.float32)),
        homepage=HOMEPAGE)

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(_find_table(dl_manager))}

  def _generate_examples(self, table_path):
    scale = Scale.EMOTION6.value
    table = picture_va.read_table(
        table_path, 'image_filename',
        {'valence': scale, 'arousal': scale}
        | dict.fromkeys(_EMOTION_COLUMNS, (0, 1)),
        **_TABLES[table_path.name])
    images = picture_va.images_folder(table_path)
    for row in table.itertuples():
      name = row.image_filename
      image, _ = picture_va.read_image(images / name)
      yield name, picture_va.example(
          image, Scale.EMOTION6, id=name, group=name,
          mean=(row.valence, row.arousal)) | {
              'emotions': [getattr(row, name) for name in _EMOTION_COLUMNS]}


def _find_table(dl_manager) -> tfds.core.Path:
  for folder in picture_va.manual_folders(dl_manager, 'emotion6', 'Emotion6'):
    for name in _TABLES:
      if (folder / name).exists():
        return folder / name
  raise FileNotFoundError(
      f'{picture_va.manual_dir_name(dl_manager)} has no Emotion6: put '
      f'ground_truth.txt and images/ of Emotion6.zip, {HOMEPAGE}, into its '
      'folder emotion6')
