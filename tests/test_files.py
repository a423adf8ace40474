"""Files are whole or not there, and arrays are read whole or refused."""

import errno
import os
import pickle
import stat

import numpy as np
import pytest

from va_magenta import files


def test_the_file_appears_at_the_end_under_its_name(tmp_path):
  path = tmp_path / 'array.npz'
  with files.writing(path) as temporary:
    assert temporary.parent == tmp_path
    assert temporary.suffix == '.npz'
    temporary.write_text('whole')
    assert not path.exists()
  assert path.read_text() == 'whole'
  assert os.listdir(tmp_path) == ['array.npz']


def test_an_existing_file_is_replaced_in_one_go(tmp_path):
  path = tmp_path / 'file.txt'
  path.write_text('old')
  with path.open() as reader:
    with files.writing(path) as temporary:
      temporary.write_text('new')
      assert path.read_text() == 'old'
    # Who reads the old file goes on reading the old file.
    assert reader.read() == 'old'
  assert path.read_text() == 'new'


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize('old', [None, 'old'])
def test_an_error_leaves_what_was(tmp_path, error, old):
  path = tmp_path / 'file.txt'
  if old:
    path.write_text(old)
  with pytest.raises(error), files.writing(path) as temporary:
    temporary.write_text('half')
    raise error
  assert [p.read_text() for p in tmp_path.iterdir()] == ([old] if old else [])


@pytest.mark.parametrize(('umask', 'mode'), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_are_those_of_an_ordinary_new_file(tmp_path, umask, mode):
  before = os.umask(umask)
  try:
    with files.writing(tmp_path / 'file.txt') as temporary:
      temporary.write_text('text')
    assert os.umask(umask) == umask
  finally:
    os.umask(before)
  assert stat.S_IMODE((tmp_path / 'file.txt').stat().st_mode) == mode


def test_a_folder_in_the_way_stays(tmp_path):
  (tmp_path / 'name').mkdir()
  with pytest.raises(OSError), files.writing(tmp_path / 'name') as temporary:
    temporary.write_text('text')
  assert [p.name for p in tmp_path.iterdir()] == ['name']
  assert (tmp_path / 'name').is_dir()


def test_a_missing_folder_is_an_os_error(tmp_path):
  path = tmp_path / 'missing' / 'file'
  with pytest.raises(FileNotFoundError) as info, files.writing(path):
    pytest.fail('there is nothing to write to')
  assert info.value.filename == str(path)
  assert not path.parent.exists()


def test_a_full_disk_is_told_by_name(tmp_path):
  path = tmp_path / 'file.txt'
  with pytest.raises(OSError, match='No space') as info:
    with files.writing(path):
      raise OSError(errno.ENOSPC, 'No space left on device')
  assert info.value.filename == str(path)
  other = str(tmp_path / 'other')
  with pytest.raises(FileNotFoundError) as info, files.writing(path):
    os.remove(other)
  assert info.value.filename == other
  assert not os.listdir(tmp_path)


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
  folder = tmp_path / 'a' / 'folder'
  for _ in range(2):
    with files.held(folder):
      with (
          pytest.raises(OSError, match=f'{folder} is in use by another'),
          files.held(folder),
      ):
        pytest.fail('held twice')
    assert not folder.exists()
  with pytest.raises(ValueError), files.held(folder):
    (folder / 'file').write_text('kept')
    raise ValueError
  with files.held(folder):
    assert (folder / 'file').read_text() == 'kept'


def test_a_damaged_npz_is_refused_by_name(tmp_path):
  path = tmp_path / 'arrays.npz'
  np.savez(path, a=np.arange(3), b=np.ones(2))
  content = path.read_bytes()
  arrays = files.read_npz(path)
  assert arrays.keys() == {'a', 'b'} and arrays['a'].tolist() == [0, 1, 2]
  refused = set()
  for i in range(len(content)):
    for damaged in (
        content[:i], content[:i] + b'\xff' + content[i + 1:],
        content[:i] + content[i + 1:]):
      path.write_bytes(damaged)
      try:
        files.read_npz(path)
      except ValueError as error:
        assert str(path) in str(error) and '\n' not in str(error)
        refused.add(type(error.__cause__))
  assert len(refused) > 3  # Each library says it in its own way.


def test_a_pickle_is_no_npz(tmp_path):
  path = tmp_path / 'arrays.npz'
  for content in (np.array([object()]), np.array([{}])):
    np.savez(path, a=content)
    with pytest.raises(ValueError, match='arrays.npz is not a whole .npz'):
      files.read_npz(path)
  path.write_bytes(pickle.dumps({'a': 1}))
  with pytest.raises(ValueError, match='arrays.npz is not a whole .npz'):
    files.read_npz(path)
  with pytest.raises(FileNotFoundError):
    files.read_npz(tmp_path / 'none.npz')
