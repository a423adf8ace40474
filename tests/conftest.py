"""Fixtures that several tests share."""

import pathlib

import pytest

_SHARED_DATA = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data():
  """Folder of the research data beside the repository, or a skip."""
  if not _SHARED_DATA.is_dir():
    pytest.skip(f'research data is not at {_SHARED_DATA}')
  return _SHARED_DATA
