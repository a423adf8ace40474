"""The labels of lakh_va that ship."""

import numpy as np
import pytest

from va_magenta.datasets.lakh_va import lakh_va_dataset_builder
from va_magenta.music_to_va import fusion, labelling


@pytest.fixture(scope='module')
def table():
  return labelling.read(lakh_va_dataset_builder.LABELS)


def test_every_piece_and_window_has_a_label(table):
  assert table['md5'].str.fullmatch('[0-9a-f]{32}').all()
  assert not table.duplicated(['md5', 'window']).any()
  pieces = table[table['window'] == labelling.WHOLE_PIECE]
  assert len(pieces) == table['md5'].nunique() > 10_000
  assert len(table) - len(pieces) > 40 * len(pieces)
  labels = table[list(labelling.LABELS)].to_numpy()
  assert np.isfinite(labels).all()
  assert np.abs(labels).max() <= 1
  # They tell pieces apart.
  assert pieces[['valence', 'arousal']].std().min() > 0.2
  # All of two parts and more were heard, but for the broken.
  assert pieces['audio_arousal'].notna().sum() > 7000


def test_they_are_what_the_shipped_models_make(table):
  models = labelling._models(labelling.LAKH_VA, labelling.teacher)
  assert table.attrs == models
  again = labelling.fuse(
      table.drop(columns=list(labelling.LABELS)), fusion.load())
  for name in labelling.LABELS:
    np.testing.assert_array_equal(again[name], table[name])
