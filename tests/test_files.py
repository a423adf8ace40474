"""Files are whole or not there, and arrays are read whole or refused."""

import errno
import os
import pickle
import stat
import threading

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


# What must not be written over.


def test_what_is_read_is_not_written_over_even_if_overwriting(tmp_path):
  (tmp_path / 'folder').mkdir()
  read = tmp_path / 'folder' / 'read.png'
  read.write_text('mine')
  link, hard = tmp_path / 'link.png', tmp_path / 'hard.png'
  link.symlink_to(read)
  os.link(read, hard)
  for output in (read, link, hard, tmp_path / 'folder/../folder/read.png'):
    for inputs in ([read], [None, tmp_path / 'folder'], [link]):
      with pytest.raises(ValueError, match=f'{output} is read'):
        files.check_outputs([output], inputs=inputs, overwrite=True)
  files.check_outputs(
      [tmp_path / 'folder' / 'new.png'], inputs=[tmp_path / 'folder'])
  assert not (tmp_path / 'folder' / 'new.png').exists()


def test_what_exists_is_written_over_if_allowed(tmp_path):
  output = tmp_path / 'old.txt'
  output.write_text('old')
  (tmp_path / 'dangling').symlink_to(tmp_path / 'nowhere')
  for path in (output, tmp_path / 'dangling'):
    with pytest.raises(FileExistsError, match='exists: allow overwrite'):
      files.check_outputs([path])
    files.check_outputs([path], overwrite=True)
  with pytest.raises(IsADirectoryError):
    files.check_outputs([tmp_path], overwrite=True)
  with pytest.raises(FileNotFoundError, match='there is no folder'):
    files.check_outputs([tmp_path / 'no' / 'a.txt'])
  with pytest.raises(ValueError, match='would be written twice'):
    files.check_outputs([tmp_path / 'a', tmp_path / '.' / 'a'])


def _write_set(folder, names, text, **options):
  with files.writing_set(folder, **options) as new:
    for name in names:
      (new / name).write_text(text)


def _texts(folder):
  return {p.name: p.read_text() for p in folder.iterdir()}


def test_a_set_appears_as_one_and_is_replaced_as_one(tmp_path):
  folder = tmp_path / 'made' / 'for it'
  _write_set(folder, ['a', 'b', 'c'], 'first')
  assert _texts(folder) == dict.fromkeys('abc', 'first')
  with pytest.raises(FileExistsError, match='for it/a exists'):
    _write_set(folder, ['a', 'd'], 'second')
  assert _texts(folder) == dict.fromkeys('abc', 'first')
  _write_set(folder, ['a', 'd'], 'second', overwrite=True,
             replaced=lambda: [folder / 'b', folder / 'c', folder / 'x'])
  assert _texts(folder) == dict.fromkeys('ad', 'second')
  # What the earlier set left counts as its files do.
  with pytest.raises(FileExistsError, match='for it/d exists'):
    _write_set(folder, ['e'], 'third', replaced=lambda: [folder / 'd'])
  with pytest.raises(ValueError, match='d is read'):
    _write_set(folder, ['e'], 'third', overwrite=True, inputs=[folder / 'd'],
               replaced=lambda: [folder / 'd'])
  assert _texts(folder) == dict.fromkeys('ad', 'second')


@pytest.mark.parametrize('error', [OSError, KeyboardInterrupt])
@pytest.mark.parametrize('moves', range(4))
def test_a_set_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path, monkeypatch, error, moves):
  """Whichever move fails: two old files go aside, two new ones come."""
  _write_set(tmp_path / 'out', 'ab', 'old')
  rename, done = os.rename, []

  def fail(source, target):
    if len(done) == moves and not fail.failed:
      fail.failed = True
      raise error
    rename(source, target)
    done.append(target)

  fail.failed = False
  monkeypatch.setattr(os, 'rename', fail)
  with pytest.raises(error):
    _write_set(tmp_path / 'out', 'ab', 'new', overwrite=True)
  assert fail.failed
  assert _texts(tmp_path / 'out') == dict.fromkeys('ab', 'old')


@pytest.mark.parametrize('overwrite', [False, True])
def test_of_two_sets_at_once_none_is_lost_unseen(tmp_path, overwrite):
  """Both are made before either takes its place."""
  outcomes, both = {}, threading.Barrier(2)

  def run(text):
    try:
      with files.writing_set(tmp_path, overwrite=overwrite) as new:
        for name in 'abcdefgh':
          (new / name).write_text(text)
        both.wait(10)
    except FileExistsError as error:
      outcomes[text] = str(error)
    else:
      outcomes[text] = 'written'

  for _ in range(10):
    outcomes.clear()
    for path in tmp_path.iterdir():
      path.unlink()
    threads = [threading.Thread(target=run, args=(t,)) for t in ('1', '2')]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    written = [text for text, told in outcomes.items() if told == 'written']
    [text] = set(_texts(tmp_path).values())
    assert len(_texts(tmp_path)) == 8
    assert text in written
    assert len(written) == (2 if overwrite else 1)


def test_a_full_disk_names_the_place_of_a_file(tmp_path):
  with pytest.raises(OSError) as info, files.writing_set(tmp_path) as new:
    raise OSError(errno.ENOSPC, 'No space left on device', str(new / 'a.mid'))
  assert info.value.filename == str(tmp_path / 'a.mid')
  with pytest.raises(OSError) as info, files.writing_set(tmp_path):
    raise OSError(errno.ENOSPC, 'No space left on device')
  assert info.value.filename == str(tmp_path)
  assert not os.listdir(tmp_path)


def test_paths_are_those_of_this_machine(monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  assert str(files.local('~/a.png')) == '/home/me/a.png'
  assert str(files.local('a~b:/c')) == 'a~b:/c'
  for address in ('https://example.com/a.jpg', 'file:///a', 'S3://b/c'):
    with pytest.raises(ValueError, match=f'{address} is an address'):
      files.local(address)
