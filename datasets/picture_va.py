"""What the datasets of pictures with valence and arousal have in common.

An example is a picture with what its raters felt, on the plane of
`va_magenta.va` whatever the scale they used.
"""

import inspect
import io
import math
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from va_magenta.va import Scale

# What `tf.image.decode_image` makes a [height, width, 3] picture of; MPO is
# what PIL calls a JPEG that a second picture follows.
_FORMATS = ('JPEG', 'MPO', 'PNG', 'BMP')


class Builder(
    tfds.core.GeneratorBasedBuilder,
    skip_registration=True):  # pyright: ignore
  """Base class of our builders."""

  def __init_subclass__(cls, **kwargs):
    super().__init_subclass__(**kwargs)
    # TFDS would look for README.md, CITATIONS.bib and checksums.tsv within
    # va_magenta/, but in a clone datasets/ stands beside it.
    cls.code_path = tfds.core.Path(inspect.getfile(cls))
    cls.pkg_dir_path = cls.code_path.parent


def features(**others) -> tfds.features.FeaturesDict:
  """The features of every picture dataset, and `others`.

  image: the file's bytes, not encoded again; uint8 [height, width, 3] when
    read.
  id: names the example within its dataset.
  group: of pictures that should stay together when data are split.
  valence, arousal: mean over raters, in [-1, 1].
  valence_std, arousal_std: standard deviation over raters in the same unit;
    NaN where the source gives none.
  num_raters: 0 where the source does not say.
  """
  return tfds.features.FeaturesDict({
      'image': tfds.features.Image(shape=(None, None, 3)),
      'id': tfds.features.Text(),
      'group': tfds.features.Text(),
      'valence': tfds.features.Scalar(np.float32),
      'arousal': tfds.features.Scalar(np.float32),
      'valence_std': tfds.features.Scalar(np.float32),
      'arousal_std': tfds.features.Scalar(np.float32),
      'num_raters': tfds.features.Scalar(np.int32),
      **others,
  })


def std_to_plane(std, scale: Scale):
  """Standard deviations of ratings on `scale`, in the plane's unit."""
  low, high = scale.value
  return 2 * std / (high - low)


def manual_folders(dl_manager, *names: str) -> list[tfds.core.Path]:
  """Where a dataset may stand: folders in manual_dir, and manual_dir itself.

  Returns:
    Those that exist; none if there is no manual_dir.
  """
  try:
    manual_dir = dl_manager.manual_dir
  except AssertionError:  # It is missing or empty.
    return []
  folders = [manual_dir / name for name in (*names, '')]
  return [folder for folder in folders if folder.is_dir()]


def manual_dir_name(dl_manager) -> str:
  """What errors call manual_dir, which may be missing."""
  try:
    return f'Manual directory {dl_manager.manual_dir}'
  except AssertionError as error:
    # 'Manual directory PATH does not exist or is empty. Create it and ...'
    return str(error).partition(' does not exist')[0]


def images_folder(table_path: tfds.core.Path) -> tfds.core.Path:
  """The folder `images`, or `Images`, beside a table."""
  for path in table_path.parent.iterdir():
    if path.name.lower() == 'images':
      return path
  raise FileNotFoundError(
      f'{table_path.parent} has no folder images beside {table_path.name}')


def read_table(
    path: tfds.core.Path, key: str,
    ranges: dict[str, tuple[float, float]], **csv_options):
  """Reads and checks a table of ratings.

  Args:
    path: of a CSV.
    key: column with the pictures' names, which must differ.
    ranges: columns with the lowest and the highest value each may have.
    **csv_options: of `pandas.read_csv`.

  Returns:
    A pandas.DataFrame; names without the spaces around them.

  Raises:
    ValueError: if it is not such a table.
  """
  import pandas as pd

  try:
    with path.open(encoding='utf-8') as file:
      table = pd.read_csv(file, **csv_options)
  except ValueError as error:
    reason = str(error).strip().splitlines()[0]
    raise ValueError(f'{path} is not a table: {reason}') from error
  for column in (key, *ranges):
    if column not in table:
      raise ValueError(f'{path} has no column {column!r}')
  table[key] = table[key].astype(str).str.strip()
  repeated = table[key][table[key].duplicated()]
  if len(repeated):
    raise ValueError(f'{path} names {repeated.iloc[0]!r} twice')
  for column, (low, high) in ranges.items():
    values = pd.to_numeric(table[column], errors='coerce')
    bad = table[~values.between(low, high)]  # NaN is not between either.
    if len(bad):
      raise ValueError(
          f'{path} has {column} {bad[column].iloc[0]!s} for '
          f'{bad[key].iloc[0]!r}, not {low:g}..{high:g}')
    table[column] = values
  return table


def read_image(path: tfds.core.Path) -> tuple[bytes, tuple[int, int]]:
  """A picture file as it is, and its (width, height) in pixels.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is no picture that TensorFlow reads.
  """
  import PIL.Image

  if not path.exists():
    raise FileNotFoundError(f'the picture {path} is missing')
  data = path.read_bytes()
  try:
    with PIL.Image.open(io.BytesIO(data)) as image:
      kind, size = image.format, image.size
  except (OSError, ValueError, SyntaxError) as error:
    raise ValueError(f'{path} is not a picture, or is damaged') from error
  if kind not in _FORMATS:
    raise ValueError(f'{path} is {kind}, not JPEG, PNG or BMP')
  return data, size


def example(
    image: bytes, scale: Scale, id: str, group: str, mean: Sequence[float],
    std: Sequence[float] = (math.nan, math.nan), num_raters: int = 0) -> dict:
  """What `_generate_examples` yields, for `features()`.

  Args:
    image: the file's bytes.
    scale: of the ratings.
    id: see `features`.
    group: see `features`.
    mean: valence and arousal on `scale`.
    std: standard deviations of valence and arousal on `scale`, or NaN.
    num_raters: see `features`.
  """
  valence, arousal = (scale.to_plane(x) for x in mean)
  valence_std, arousal_std = (std_to_plane(x, scale) for x in std)
  return {
      'image': image,
      'id': id,
      'group': group,
      'valence': valence,
      'arousal': arousal,
      'valence_std': valence_std,
      'arousal_std': arousal_std,
      'num_raters': num_raters,
  }
