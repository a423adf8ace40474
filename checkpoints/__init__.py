"""The table of checkpoints: what ships, what is fetched, where it is cached.

The folders beside this file are the weights that ship, one folder each, with a
card. Magenta's released checkpoints are fetched from their public address to a
cache when they are first asked for: the folder `$VA_MAGENTA_HOME`, by default
`~/.cache/va_magenta`.

  resolve('cat-mel_2bar')          # ships: its folder
  resolve('magenta-hierdec-mel_16bar')  # Magenta's: fetched to the cache
  resolve('hierdec-mel_16bar.tar')      # a file: unpacked to the cache
"""

import contextlib
import dataclasses
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

_MAGENTA = (
    'https://storage.googleapis.com/magentadata/models/music_vae/checkpoints/')
# Of the released checkpoints the largest, a trio with Adam's moments, has 2 GB.
MAX_UNPACKED_BYTES = 8 * 2**30
MAX_MEMBERS = 1000
_MAX_NAME_LENGTH = 200  # Of a file; file systems have 255 bytes.
_TIMEOUT_SECONDS = 30


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint that has a name.

  Attributes:
    name: what `--checkpoint` takes.
    description: what it does.
    config: the name of its MusicVAE config in Magenta's `CONFIG_MAP`; None for
      the models that estimate VA.
    licence: of the weights.
    parameters: number of weights; None where only the model's card says it.
    url: address of a tar with a TensorFlow checkpoint; None for what ships.
    sha256: of that tar, in hex; None where no trusted one is published.
  """

  name: str
  description: str
  config: str | None = None
  licence: str = 'Apache-2.0'
  parameters: int | None = None
  url: str | None = None
  sha256: str | None = None


TABLE = {
    checkpoint.name: checkpoint for checkpoint in (
        Checkpoint(
            'va-cat-mel_2bar',
            'Melodies of 2 bars that follow valence and arousal: '
            'cat-mel_2bar_small, fine-tuned.',
            config='va-cat-mel_2bar', parameters=4_434_010),
        Checkpoint(
            'cat-mel_2bar_small',
            "Melodies of 2 bars: Magenta's pretrained decoder, and an encoder "
            'learned anew against it.',
            config='cat-mel_2bar_small', parameters=4_423_770),
        Checkpoint(
            'cat-mel_2bar_big', 'Melodies of 2 bars, the larger model.',
            config='cat-mel_2bar_big', parameters=134_571_098,
            url=f'{_MAGENTA}cat-mel_2bar_big.tar'),
        Checkpoint(
            'va-hierdec-mel_16bar_small',
            'Melodies of 16 bars that follow valence and arousal: a hierarchy '
            'above va-cat-mel_2bar.',
            config='va-hierdec-mel_16bar_small', parameters=6_539_610),
        Checkpoint(
            'va-hierdec-trio_16bar_small',
            'Trios of melody, bass and drums of 16 bars that follow valence '
            'and arousal.',
            config='va-hierdec-trio_16bar_small', parameters=12_408_244),
        Checkpoint(
            'magenta-hierdec-mel_16bar',
            'Melodies of 16 bars, the larger model.',
            config='hierdec-mel_16bar', parameters=176_061_530,
            url=f'{_MAGENTA}hierdec-mel_16bar.tar'),
        Checkpoint(
            'magenta-hierdec-trio_16bar',
            'Trios of melody, bass and drums of 16 bars (2 GB to fetch).',
            config='hierdec-trio_16bar', parameters=230_975_156,
            url=f'{_MAGENTA}hierdec-trio_16bar.tar'),
        Checkpoint('image_va', 'Estimates the VA of a picture.'),
        Checkpoint('symbolic_va', 'Estimates the VA of a NoteSequence.'),
        Checkpoint(
            'audio_va', 'Estimates the VA of sound.',
            licence='research only: DEAM is CC BY-NC'),
        Checkpoint(
            'critic_va',
            'Estimates the VA of what a melody decoder emits, differentiably.'),
        Checkpoint(
            'trio_critic_va',
            'Estimates the VA of what a trio decoder emits, differentiably.'),
        Checkpoint(
            'fusion_va', 'Weighs what notes say and what is heard.',
            licence='research only: DEAM is CC BY-NC'),
        Checkpoint('performance_va', 'Draws how a melody of a VA is played.'),
    )
}
# What Magenta calls its models of 16 bars means ours.
ALIASES = {
    'cat-mel_2bar': 'va-cat-mel_2bar',
    'hierdec-mel_16bar': 'va-hierdec-mel_16bar_small',
    'hierdec-trio_16bar': 'va-hierdec-trio_16bar_small',
}


def path(name: str) -> pathlib.Path:
  """Folder of a shipped model, whether or not it exists.

  Args:
    name: a folder name here, such as 'cat-mel_2bar_small'.
  """
  return pathlib.Path(__file__).parent / name


def home() -> pathlib.Path:
  """The cache's folder: `$VA_MAGENTA_HOME`, or `~/.cache/va_magenta`."""
  return pathlib.Path(
      os.environ.get('VA_MAGENTA_HOME') or '~/.cache/va_magenta').expanduser()


def find(name: str) -> Checkpoint | None:
  """The checkpoint that a name or an alias means, or None."""
  return TABLE.get(ALIASES.get(name, name))


def resolve(name_or_path: str | os.PathLike) -> pathlib.Path:
  """Where a checkpoint's files are; fetches and unpacks what is not there.

  Two processes may ask for the same checkpoint at once: what stands in the
  cache under its final name is always whole.

  Args:
    name_or_path: a name in `TABLE` or an alias; a folder; an `.npz`; a tar of a
      checkpoint; or the prefix of a TensorFlow checkpoint (what stands before
      `.index`).

  Returns:
    A folder, an `.npz`, or the prefix of a TensorFlow checkpoint.

  Raises:
    FileNotFoundError: if it is neither a known name nor a file.
    ConnectionError: if it cannot be fetched.
    ValueError: if a tar is damaged or not safe to unpack.
  """
  checkpoint = find(os.fspath(name_or_path))
  if checkpoint is None:
    return _resolve_path(pathlib.Path(name_or_path).expanduser())
  if checkpoint.url:
    return _cached(
        checkpoint.name, checkpoint.url, lambda tar: _fetch(checkpoint, tar))
  if not path(checkpoint.name).is_dir():
    raise FileNotFoundError(
        f'{path(checkpoint.name)} is missing: this installation of va_magenta '
        'is incomplete, install it again')
  return path(checkpoint.name)


def _resolve_path(location: pathlib.Path) -> pathlib.Path:
  import hashlib
  import tarfile
  import zlib

  if location.is_dir() or location.suffix == '.npz' and location.is_file():
    return location
  try:
    is_tar = location.is_file() and tarfile.is_tarfile(location)
  except (EOFError, zlib.error) as error:  # It began as a compressed one.
    raise ValueError(
        f'{location} is not a whole tar: {error}; fetch it again') from error
  if is_tar:
    stat = location.stat()
    identity = f'{location.resolve()} {stat.st_size} {stat.st_mtime_ns}'
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return _cached(
        f'{location.stem}-{digest}', str(location), lambda _: location)
  if location.name.endswith('.index') and location.is_file():
    return location.with_suffix('')
  if location.with_name(f'{location.name}.index').is_file():
    return location
  if location.is_file():
    raise ValueError(
        f'{location} is not a checkpoint: give a folder, a whole .tar, an '
        '.npz, or what stands before .index')
  names = ', '.join([*ALIASES, *(n for n, c in TABLE.items() if c.config)])
  raise FileNotFoundError(
      f'no checkpoint {str(location)!r}: it is no file, and the known names '
      f'are {names}')


def _cached(
    name: str, source: str, get_tar: Callable[[pathlib.Path], pathlib.Path],
) -> pathlib.Path:
  """The unpacked tar `name` in the cache.

  Args:
    name: of the folder.
    source: what errors call the tar.
    get_tar: called if there is none yet, with a path to which it may write the
      tar; returns where the tar is.
  """
  folder = home() / 'checkpoints' / name
  if not folder.is_dir():
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Filled under a temporary name: a folder of that name is whole.
    with tempfile.TemporaryDirectory(prefix='.', dir=folder.parent) as name:
      temporary = pathlib.Path(name)
      tar = get_tar(temporary / 'checkpoint.tar')
      unpack(tar, temporary / 'unpacked', source)
      try:
        (temporary / 'unpacked').rename(folder)
      except OSError:
        # Where another process was quicker, its folder is as good.
        if not folder.is_dir():
          raise
  # A tar may hold one folder, as people pack them.
  inside = list(folder.iterdir())
  return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _fetch(checkpoint: Checkpoint, tar: pathlib.Path) -> pathlib.Path:
  """Downloads a checkpoint's tar to `tar`, with a progress bar."""
  import hashlib
  import http.client
  import urllib.request

  import tqdm

  digest = hashlib.sha256()
  received = 0
  try:
    with contextlib.ExitStack() as stack:
      response = stack.enter_context(
          urllib.request.urlopen(checkpoint.url, timeout=_TIMEOUT_SECONDS))
      expected = int(response.headers.get('Content-Length') or 0)
      file = stack.enter_context(tar.open('wb'))
      progress = stack.enter_context(tqdm.tqdm(
          desc=f'Fetching {checkpoint.name}', total=expected or None, unit='B',
          unit_scale=True, unit_divisor=1024))
      while block := response.read(2**20):
        file.write(block)
        digest.update(block)
        received += len(block)
        progress.update(len(block))
  except (OSError, http.client.HTTPException) as error:
    # A full disk is no network failure.
    if isinstance(error, OSError) and error.filename == str(tar):
      raise
    reason = getattr(error, 'reason', None) or error
    raise ConnectionError(
        f'cannot fetch {checkpoint.name} from {checkpoint.url}: {reason}; '
        'fetch it by other means and give the path of the .tar') from error
  if expected and received != expected:
    raise ConnectionError(
        f'cannot fetch {checkpoint.name} from {checkpoint.url}: the connection '
        f'ended after {received:,} of {expected:,} bytes; try again')
  if checkpoint.sha256 and digest.hexdigest() != checkpoint.sha256:
    raise ValueError(
        f'{checkpoint.url} is not the expected file: its sha256 is '
        f'{digest.hexdigest()}, not {checkpoint.sha256}')
  return tar


def unpack(tar: pathlib.Path, folder: pathlib.Path, source: str):
  """Unpacks the tar of a checkpoint, which comes from who knows where.

  Args:
    tar: the archive.
    folder: where to; it is made.
    source: what errors call the archive.

  Raises:
    ValueError: if the archive is damaged; leads out of `folder`; holds
      anything but files and folders; is larger than `MAX_UNPACKED_BYTES` or has
      more than `MAX_MEMBERS` members; or holds no whole checkpoint.
  """
  import lzma
  import tarfile
  import zlib

  folder.mkdir()
  total = 0
  try:
    with tarfile.open(tar) as archive:
      # Checked header by header, before anything of the member is written.
      for count, member in enumerate(archive, 1):
        inside = pathlib.PurePosixPath(member.name.replace('\\', '/'))
        if inside.is_absolute() or '..' in inside.parts or ':' in member.name:
          raise ValueError(
              f'{source} is not safe to unpack: {member.name!r} leads out')
        if max(map(len, inside.parts), default=0) > _MAX_NAME_LENGTH:
          raise ValueError(
              f'{source} is not safe to unpack: a name in it is longer than '
              f'{_MAX_NAME_LENGTH} characters')
        if not (member.isreg() or member.isdir()):
          raise ValueError(
              f'{source} is not safe to unpack: {member.name!r} is a link or '
              'device, not a file')
        total += member.size
        if total > MAX_UNPACKED_BYTES or count > MAX_MEMBERS:
          raise ValueError(
              f'{source} is not safe to unpack: it holds more than '
              f'{MAX_UNPACKED_BYTES:,} bytes or {MAX_MEMBERS} files')
        if member.isdir():
          continue
        target = folder / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        # Contents only: no owner, mode or time of the archive's maker.
        with target.open('xb') as file:
          shutil.copyfileobj(archive.extractfile(member), file)
  except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError,
          OSError) as error:
    # Decompressors too raise OSErrors, which have no number. Of the system's
    # only those are the tar's fault that say that one name is in another's way.
    if isinstance(error, OSError) and error.errno not in (
        None, errno.EEXIST, errno.ENOTDIR):
      raise
    raise ValueError(
        f'{source} is not a whole tar: {str(error).splitlines()[0]}; fetch it '
        'again') from error
  _check_whole(folder, source)


def _check_whole(folder: pathlib.Path, source: str):
  """Raises ValueError unless an unpacked folder holds whole checkpoints."""
  indices = list(folder.rglob('*.index'))
  for index in indices:
    shards = list(index.parent.glob(f'{index.stem}.data-*-of-*'))
    if not shards or len(shards) != int(shards[0].name.rpartition('-')[2]):
      raise ValueError(
          f'{source} is not a whole checkpoint: beside {index.name} stand '
          f'{len(shards)} data files')
  if not indices and not list(folder.rglob('*.npz')):
    raise ValueError(
        f'{source} holds no checkpoint (.index and .data, or .npz)')
