"""Names and paths of checkpoints; fetching, caching and unpacking them."""

import errno
import gzip
import hashlib
import http.server
import io
import lzma
import multiprocessing
import pathlib
import subprocess
import sys
import tarfile
import threading
import zlib

import pytest

from va_magenta import checkpoints

FILES = {
    'toy.ckpt.index': b'index',
    'toy.ckpt.data-00000-of-00001': bytes(300_000),
}


def _tar(files=FILES, *, mode='w', member=None) -> bytes:
  """A tar of files, and of one more member with special properties."""
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode=mode) as archive:
    for name, content in files.items():
      info = tarfile.TarInfo(name)
      info.size = len(content)
      archive.addfile(info, io.BytesIO(content))
    if member is not None:
      archive.addfile(member, io.BytesIO(bytes(member.size)))
  return out.getvalue()


def _member(name, **fields):
  member = tarfile.TarInfo(name)
  for field, value in fields.items():
    setattr(member, field, value)
  return member


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('VA_MAGENTA_HOME', str(tmp_path / 'home'))
  return tmp_path / 'home' / 'checkpoints'


@pytest.fixture
def serve(monkeypatch):
  """Puts a checkpoint 'toy' in the table, fetched from a server in here."""
  servers = []

  def start(body=None, *, status=200, claim=None, sha256=None, block=None):
    body = _tar() if body is None else body
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):

      def do_GET(self):
        requests.append(self.path)
        if block is not None:
          block.wait(10)
        self.send_response(status)
        self.send_header('Content-Length', str(claim or len(body)))
        self.end_headers()
        self.wfile.write(body)

      def log_message(self, *args):
        pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    servers.append(server)
    url = f'http://127.0.0.1:{server.server_address[1]}/toy.tar'
    monkeypatch.setitem(checkpoints.TABLE, 'toy', checkpoints.Checkpoint(
        'toy', url=url, sha256=sha256))
    return requests

  yield start
  for server in servers:
    server.shutdown()
    server.server_close()


def _contents(folder):
  return {p.relative_to(folder).as_posix(): p.read_bytes()
          for p in folder.rglob('*') if p.is_file()}


def _is_empty(cache):
  return not cache.exists() or not list(cache.iterdir())


def test_import_is_light():
  heavy = ['tensorflow', 'numpy', 'tarfile', 'requests', 'pooch', 'tqdm']
  code = ('import sys, va_magenta.checkpoints; '
          f'print([m for m in {heavy} if m in sys.modules])')
  assert subprocess.check_output([sys.executable, '-c', code]) == b'[]\n'


def test_table_is_whole():
  for name, checkpoint in checkpoints.TABLE.items():
    assert name == checkpoint.name
    if checkpoint.url:
      assert checkpoint.url.startswith('https://')
      continue
    for file in (checkpoint.kind.config_file, checkpoint.kind.weights_file):
      assert file is None or (checkpoints.path(name) / file).is_file()
  for alias, name in checkpoints.ALIASES.items():
    assert name in checkpoints.TABLE
    assert alias not in checkpoints.TABLE


def test_alias_means_the_shipped_model():
  assert checkpoints.find('cat-mel_2bar').name == 'va-cat-mel_2bar'
  assert checkpoints.find('nonsense') is None
  shipped = checkpoints.resolve('cat-mel_2bar')
  assert shipped == checkpoints.path('va-cat-mel_2bar')
  assert shipped.is_dir()


def test_incomplete_installation_is_told(monkeypatch):
  monkeypatch.setitem(
      checkpoints.TABLE, 'gone', checkpoints.Checkpoint('gone'))
  with pytest.raises(FileNotFoundError, match='install it again'):
    checkpoints.resolve('gone')


def test_unknown_name_lists_the_known_ones():
  with pytest.raises(FileNotFoundError) as error:
    checkpoints.resolve('cat-mel_3bar')
  for name in ('cat-mel_2bar', 'cat-mel_2bar_big', 'hierdec-trio_16bar'):
    assert name in str(error.value)
  assert '\n' not in str(error.value)


def test_fetches_once_with_progress(serve, cache, capfd):
  requests = serve(sha256=hashlib.sha256(_tar()).hexdigest())
  folder = checkpoints.resolve('toy')
  assert folder == cache / 'toy'
  assert _contents(folder) == FILES
  assert checkpoints.resolve('toy') == folder
  assert len(requests) == 1
  assert [p.name for p in cache.iterdir()] == ['toy']
  err = capfd.readouterr().err
  assert 'Fetching toy' in err
  assert '100%' in err


def test_default_cache_is_in_the_home_directory(monkeypatch):
  monkeypatch.setenv('VA_MAGENTA_HOME', '')
  monkeypatch.setenv('HOME', '/home/somebody')
  assert checkpoints.home() == pathlib.Path(
      '/home/somebody/.cache/va_magenta')


@pytest.mark.parametrize(('how', 'error', 'complaint'), [
    ({'status': 404}, ConnectionError, '404'),
    ({'claim': 10**6}, ConnectionError, 'cannot fetch toy .*Incomplete'),
    ({'sha256': '0' * 64}, ValueError, 'does not match the known hash'),
    ({'body': b'<html>Sign in</html>'}, ValueError,
     'http://.*toy.tar is not a whole tar'),
    ({'body': _tar()[:200_000]}, ValueError, 'not a whole tar'),
])
def test_failed_fetch_is_one_line_and_leaves_nothing(
    serve, cache, how, error, complaint):
  serve(**how)
  with pytest.raises(error, match=complaint) as info:
    checkpoints.resolve('toy')
  assert '\n' not in str(info.value)
  assert _is_empty(cache)
  serve()
  assert _contents(checkpoints.resolve('toy')) == FILES


def test_no_server_is_one_line(serve, cache, monkeypatch):
  monkeypatch.setitem(checkpoints.TABLE, 'toy', checkpoints.Checkpoint(
      'toy', url='http://127.0.0.1:9/toy.tar'))
  with pytest.raises(ConnectionError, match='cannot fetch toy .* refused') as e:
    checkpoints.resolve('toy')
  assert '\n' not in str(e.value)
  assert _is_empty(cache)


def _resolve_in_process(url, queue):
  checkpoints.TABLE['toy'] = checkpoints.Checkpoint('toy', url=url)
  queue.put(_contents(checkpoints.resolve('toy')))


def test_two_processes_share_a_cache(serve, cache):
  both_wait = threading.Event()
  requests = serve(block=both_wait)
  context = multiprocessing.get_context('fork')
  queue = context.Queue()
  processes = [
      context.Process(
          target=_resolve_in_process,
          args=(checkpoints.TABLE['toy'].url, queue)) for _ in range(2)
  ]
  for process in processes:
    process.start()
  while len(requests) < 2:
    pass
  both_wait.set()
  assert [queue.get(timeout=20) for _ in processes] == [FILES, FILES]
  for process in processes:
    process.join(20)
    assert process.exitcode == 0
  assert [p.name for p in cache.iterdir()] == ['toy']


def test_killed_fetch_is_not_taken_for_a_whole_one(serve, cache):
  requests = serve(body=_tar()[:100_000], claim=10**6, block=None)
  context = multiprocessing.get_context('fork')
  process = context.Process(
      target=_resolve_in_process,
      args=(checkpoints.TABLE['toy'].url, context.Queue()))
  process.start()
  while not requests:
    pass
  process.kill()
  process.join()
  serve()
  assert _contents(checkpoints.resolve('toy')) == FILES


def test_paths(tmp_path):
  folder = tmp_path / 'run'
  folder.mkdir()
  for name, content in FILES.items():
    (folder / name).write_bytes(content)
  npz = tmp_path / 'weights.npz'
  npz.write_bytes(b'')
  assert checkpoints.resolve(folder) == folder
  assert checkpoints.resolve(str(folder)) == folder
  assert checkpoints.resolve(npz) == npz
  assert checkpoints.resolve(folder / 'toy.ckpt') == folder / 'toy.ckpt'
  assert checkpoints.resolve(folder / 'toy.ckpt.index') == folder / 'toy.ckpt'


@pytest.mark.parametrize('mode', ['w', 'w:gz'])
def test_path_of_a_tar(tmp_path, cache, mode):
  tar = tmp_path / 'mine.tar'
  tar.write_bytes(_tar({f'mine/{n}': c for n, c in FILES.items()}, mode=mode))
  folder = checkpoints.resolve(tar)
  assert folder.name == 'mine'
  assert folder.parent.parent == cache
  assert _contents(folder) == FILES
  assert checkpoints.resolve(tar) == folder
  # Another file of that name is another checkpoint.
  tar.write_bytes(_tar({'b.ckpt.index': b'', 'b.ckpt.data-0-of-1': b''}))
  assert 'b.ckpt.index' in _contents(checkpoints.resolve(tar))


def test_a_file_that_is_no_checkpoint(tmp_path):
  (tmp_path / 'picture.jpg').write_bytes(b'abc')
  with pytest.raises(ValueError, match=r'picture.jpg is not a checkpoint'):
    checkpoints.resolve(tmp_path / 'picture.jpg')


@pytest.mark.parametrize(('member', 'complaint'), [
    (_member('../evil'), 'outside the destination'),
    (_member('a/../../evil'), 'outside the destination'),
    (_member('link', type=tarfile.SYMTYPE, linkname='/etc/passwd'), 'link'),
    (_member('link', type=tarfile.LNKTYPE, linkname='../evil'), 'outside'),
    (_member('pipe', type=tarfile.FIFOTYPE), 'special file'),
    (_member('null', type=tarfile.CHRTYPE, devmajor=1, devminor=3), 'special'),
    (_member('toy.ckpt.index/below'), 'not a whole tar'),
    (_member('a' * 300), 'not a whole tar: .*name too long'),
])
def test_unsafe_members_are_refused(tmp_path, cache, member, complaint):
  tar = tmp_path / 'evil.tar'
  tar.write_bytes(_tar(member=member))
  with pytest.raises(ValueError, match=complaint) as error:
    checkpoints.resolve(tar)
  assert '\n' not in str(error.value)
  assert _is_empty(cache)
  assert {p.name for p in tmp_path.iterdir()} == {'evil.tar', 'home'}


def test_an_absolute_name_stays_inside(tmp_path, cache):
  tar = tmp_path / 'mine.tar'
  tar.write_bytes(_tar(member=_member('/va_magenta_test_evil', size=3)))
  folder = checkpoints.resolve(tar)
  assert (folder / 'va_magenta_test_evil').is_file()
  assert not pathlib.Path('/va_magenta_test_evil').exists()


def test_a_compressed_tar_that_was_cut_short_is_told(tmp_path, cache):
  tar = tmp_path / 'short.tar'
  tar.write_bytes(_tar(mode='w:gz')[:40])
  with pytest.raises(ValueError, match='short.tar is not a whole tar: .*end'):
    checkpoints.resolve(tar)
  assert _is_empty(cache)


@pytest.mark.parametrize(('error', 'told'), [
    (gzip.BadGzipFile('CRC check failed'), 'whole.tar is not a whole tar: CRC'),
    (lzma.LZMAError('Corrupt'), 'whole.tar is not a whole tar: Corrupt'),
    (OSError('Invalid data'), 'whole.tar is not a whole tar: Invalid data'),
    (OSError(errno.ENOSPC, 'No space left on device'), 'No space left'),
])
def test_a_damaged_tar_is_told_from_a_full_disk(
    tmp_path, cache, monkeypatch, error, told):
  def fail(*args):
    raise error

  tar = tmp_path / 'whole.tar'
  tar.write_bytes(_tar())
  monkeypatch.setattr(tarfile, 'copyfileobj', fail)
  with pytest.raises((ValueError, OSError), match=told):
    checkpoints.resolve(tar)
  assert _is_empty(cache)


def test_a_bomb_is_refused_before_it_is_written(tmp_path, cache, monkeypatch):
  monkeypatch.setattr(checkpoints, 'MAX_UNPACKED_BYTES', 10**6)
  tar = tmp_path / 'bomb.tar'
  tar.write_bytes(
      _tar(member=_member('zeros', size=2 * 10**7), mode='w:gz'))
  assert tar.stat().st_size < 10**5
  written = []
  copy = tarfile.copyfileobj

  def spy(source, target, *args):
    written.append(pathlib.Path(target.name).name)
    copy(source, target, *args)

  monkeypatch.setattr(tarfile, 'copyfileobj', spy)
  with pytest.raises(ValueError, match='more than 1,000,000 bytes'):
    checkpoints.resolve(tar)
  assert written == list(FILES)
  assert _is_empty(cache)


def test_too_many_members_are_refused(tmp_path, cache):
  tar = tmp_path / 'many.tar'
  tar.write_bytes(_tar({f'{i}': b'' for i in range(1001)}))
  with pytest.raises(ValueError, match='or 1000 files'):
    checkpoints.resolve(tar)
  assert _is_empty(cache)


@pytest.mark.parametrize(('files', 'complaint'), [
    ({'readme.txt': b''}, 'holds no checkpoint'),
    ({'a.ckpt.index': b''}, 'beside a.ckpt.index stand 0'),
    ({'a.ckpt.index': b'', 'a.ckpt.data-00000-of-00002': b''},
     'beside a.ckpt.index stand 1'),
])
def test_a_tar_without_a_whole_checkpoint_is_refused(
    tmp_path, cache, files, complaint):
  tar = tmp_path / 'a.tar'
  tar.write_bytes(_tar(files))
  with pytest.raises(ValueError, match=complaint):
    checkpoints.resolve(tar)
  assert _is_empty(cache)


@pytest.mark.parametrize('kind', [
    checkpoints.IMAGE, checkpoints.SYMBOLIC, checkpoints.AUDIO,
    checkpoints.CRITIC, checkpoints.PERFORMANCE, checkpoints.FUSION])
def test_what_cannot_be_opened_is_one_line_that_names_it(tmp_path, kind):
  """One way for every kind: missing, of another kind, damaged, misfit."""
  folder = tmp_path / 'model'
  folder.mkdir()
  other = next(
      c.name for c in checkpoints.TABLE.values() if c.kind != kind)
  config_file = folder / kind.config_file
  cases = [
      (tmp_path / 'nowhere', FileNotFoundError, 'known names are'),
      (other, ValueError, f'{other} is .*, and {kind.name} is needed'),
      (folder, FileNotFoundError,
       f'{folder} is not {kind.name}: it has no {kind.config_file}')]
  for name, error, told in cases:
    with pytest.raises(error, match=told) as info:
      checkpoints.open(name, kind)
    assert '\n' not in str(info.value)
  if kind.weights_file:
    config_file.write_text('{}')
    with pytest.raises(FileNotFoundError, match='it has no weights.npz'):
      checkpoints.open(folder, kind)
    (folder / kind.weights_file).write_bytes(b'no zip')
    with pytest.raises(ValueError, match='is not a whole .npz'):
      checkpoints.open(folder, kind)
  for content in (b'\xff', b'{', b'[1]'):
    config_file.write_bytes(content)
    with pytest.raises(ValueError, match=f'is not {kind.name}, or is damaged'):
      checkpoints.open(folder, kind)


def test_weights_are_rounded_to_what_packs_well():
  np = pytest.importorskip('numpy')
  random = np.random.default_rng(0)
  weights = random.normal(0, 0.03, (300, 200)).astype(np.float32)
  rounded = checkpoints.rounded(weights)
  assert rounded.dtype == np.float16
  error = rounded - weights
  assert 0.005 < error.std() / weights.std() < 0.015
  assert abs(error.mean()) < 1e-4
  packed = [
      len(zlib.compress(x.tobytes())) for x in (weights, rounded)]
  assert packed[1] < 0.36 * packed[0]
  np.testing.assert_array_equal(checkpoints.rounded(rounded), rounded)
  # A vector, and what does not vary, is only halved.
  for array in (weights[0], np.full((2, 3), 0.1, np.float32)):
    np.testing.assert_array_equal(
        checkpoints.rounded(array), array.astype(np.float16))


def test_what_is_written_is_what_is_opened(tmp_path):
  np = pytest.importorskip('numpy')
  arrays = {'a/b': np.arange(3.), 'c': np.zeros((2, 1), np.float16)}
  checkpoints.write(tmp_path, checkpoints.SYMBOLIC, {'n': 1}, arrays)
  config, again = checkpoints.open(tmp_path, checkpoints.SYMBOLIC)
  assert config == {'n': 1}
  assert again.keys() == arrays.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(again[name], array)
    assert again[name].dtype == array.dtype
  built = checkpoints.load(
      tmp_path, checkpoints.SYMBOLIC, lambda config, arrays: len(arrays))
  assert built == 2
  with pytest.raises(ValueError, match=(
      f'{tmp_path} is not an estimator of notes of this version, or is '
      r"damaged \(KeyError: 'feature_names'\); va_magenta_train_midi")):
    checkpoints.load(
        tmp_path, checkpoints.SYMBOLIC,
        lambda config, arrays: config['feature_names'])
