"""What the tests of the picture datasets have in common."""

import pathlib
import tempfile

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds


def draw(path: pathlib.Path, seed: int, width: int = 8, height: int = 6):
  """Writes a picture of noise."""
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
  PIL.Image.fromarray(noise.astype(np.uint8)).save(path)


class TestCase(tfds.testing.DatasetBuilderTestCase):
  """TFDS's tests of a builder, on an archive that the test makes.

  Subclasses have the class attribute `ARCHIVE`, a folder in manual_dir, and the
  class method `make_archive`, which fills such a folder.
  """

  @classmethod
  def setUpClass(cls):  # noqa: D102
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.EXAMPLE_DIR = folder.name
    cls.make_archive(pathlib.Path(folder.name) / cls.ARCHIVE)
    super().setUpClass()

  def make_folder(self) -> pathlib.Path:
    """An empty folder of this test alone."""
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return pathlib.Path(folder.name)

  def make_manual_dir(self) -> pathlib.Path:
    """A manual_dir of this test alone, to be spoilt."""
    manual_dir = self.make_folder()
    self.make_archive(manual_dir / self.ARCHIVE)
    return manual_dir

  def load(self, manual_dir: pathlib.Path) -> dict[str, dict[str, dict]]:
    """The built dataset: split -> id -> example of numpy arrays."""
    splits = tfds.load(
        self.DATASET_CLASS.name, data_dir=self.make_folder(),
        download_and_prepare_kwargs={
            'download_config': tfds.download.DownloadConfig(
                manual_dir=manual_dir)
        })
    return {
        split: {e['id'].decode(): e for e in tfds.as_numpy(dataset)}
        for split, dataset in splits.items()
    }

  def assert_load_fails(self, manual_dir, error, words):
    """Asserts that `load` raises `error` in one line that has `words`."""
    with self.assertRaisesRegex(error, words) as context:
      self.load(manual_dir)
    self.assertNotIn('\n', str(context.exception))
