"""Names of models -> files: what ships, what is fetched, open and write.

The folder `checkpoints/` of the repository (installed, `va_magenta/weights/`)
holds the models that ship, one folder each, with a card. Magenta's released
checkpoints are fetched from their public address to a cache when they are first
asked for: the folder `$VA_MAGENTA_HOME`, by default `~/.cache/va_magenta`.

  resolve('cat-mel_2bar')          # ships: its folder
  resolve('magenta-hierdec-mel_16bar')  # Magenta's: fetched to the cache
  resolve('hierdec-mel_16bar.tar')      # a file: unpacked to the cache
  config, arrays = open('my_run', SYMBOLIC)  # what a training command wrote
"""

import dataclasses
import errno
import json
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from va_magenta import files

_MAGENTA = (
    'https://storage.googleapis.com/magentadata/models/music_vae/checkpoints/')
# Of the released checkpoints the largest, a trio with Adam's moments, has 2 GB.
MAX_UNPACKED_BYTES = 8 * 2**30
MAX_MEMBERS = 1000
_TIMEOUT_SECONDS = 30
_GRID = 1 / 32
_CONFIG, _WEIGHTS = 'config.json', 'weights.npz'


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of model.

  Attributes:
    name: what errors call it.
    maker: the command that writes it.
    shipped: the name of the model that ships and is the default.
    config_file: JSON file in a model's folder.
    weights_file: `.npz` file beside it; None if the JSON file is all.
  """

  name: str
  maker: str
  shipped: str
  config_file: str = _CONFIG
  weights_file: str | None = _WEIGHTS


MUSIC_VAE = Kind('a MusicVAE', 'va_magenta_train', 'va-cat-mel_2bar')
PRIOR = Kind(
    'a prior of latents', 'va_magenta_train --prior_of', 'va-cat-band_2bar',
    config_file='prior.json', weights_file='prior.npz')
FORMS = Kind(
    'forms of pieces', 'va_magenta_train --prior_of', 'va-cat-band_2bar',
    config_file='forms.json', weights_file='forms.npz')
HARMONY = Kind(
    'a model of harmony', 'va_magenta_train_harmony --model=harmony',
    'va-cat-band_2bar', config_file='harmony.json',
    weights_file='harmony.npz')
IMAGE = Kind('an image model', 'va_magenta_train_image', 'image_va')
SYMBOLIC = Kind(
    'an estimator of notes', 'va_magenta_train_midi --model=student',
    'symbolic_va')
AUDIO = Kind('an estimator of sound', 'va_magenta_train_audio', 'audio_va')
CRITIC = Kind('a critic', 'va_magenta_train_midi --model=critic', 'critic_va')
BAND_CRITIC = Kind(
    'a critic of bands', 'va_magenta_train_midi --model=band_critic',
    'band_critic_va')
PERFORMANCE = Kind(
    'a performance model', 'va_magenta_train_performance', 'performance_va',
    weights_file=None)
EXPRESSION = Kind(
    'a model of expression', 'va_magenta_train_expression', 'expression_va')
ARRANGER = Kind(
    'a model of arrangements', 'va_magenta_train_arranger', 'arranger_va')
RECOGNITION = Kind(
    'a recogniser of chords', 'va_magenta_train_harmony --model=recognition',
    'chord_recognition')
FUSION = Kind(
    'a fusion of estimates', 'va_magenta_train_midi --model=fusion',
    'fusion_va', config_file='fusion.json', weights_file=None)
PLAUSIBILITY = Kind(
    'a model of what people write', 'va_magenta_train_plausibility',
    'plausibility')

@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint that has a name.

  Attributes:
    name: what flags take.
    kind: of model.
    url: address of a tar with a TensorFlow checkpoint; None for what ships.
    sha256: of that tar, in hex; None where no trusted one is published.
  """

  name: str
  kind: Kind = MUSIC_VAE
  url: str | None = None
  sha256: str | None = None


# Cards and README say what they do, and how well.
TABLE = {
    checkpoint.name: checkpoint for checkpoint in (
        Checkpoint('va-cat-band_2bar'),
        Checkpoint('va-cat-mel_2bar'),
        Checkpoint('cat-mel_2bar_small'),
        Checkpoint('cat-mel_2bar_big', url=f'{_MAGENTA}cat-mel_2bar_big.tar'),
        Checkpoint('va-hierdec-mel_16bar_small'),
        Checkpoint('va-hierdec-trio_16bar_small'),
        Checkpoint(
            'magenta-hierdec-mel_16bar',
            url=f'{_MAGENTA}hierdec-mel_16bar.tar'),
        Checkpoint(
            'magenta-hierdec-trio_16bar',
            url=f'{_MAGENTA}hierdec-trio_16bar.tar'),
        Checkpoint('image_va', IMAGE),
        Checkpoint('symbolic_va', SYMBOLIC),
        Checkpoint('audio_va', AUDIO),
        Checkpoint('critic_va', CRITIC),
        Checkpoint('trio_critic_va', CRITIC),
        Checkpoint('band_critic_va', BAND_CRITIC),
        Checkpoint('fusion_va', FUSION),
        Checkpoint('performance_va', PERFORMANCE),
        Checkpoint('expression_va', EXPRESSION),
        Checkpoint('arranger_va', ARRANGER),
        Checkpoint('plausibility', PLAUSIBILITY),
        Checkpoint('melody_plausibility', PLAUSIBILITY),
        Checkpoint('chord_recognition', RECOGNITION),
    )
}
# What Magenta calls its models of 16 bars means ours.
ALIASES = {
    'band': 'va-cat-band_2bar',
    'cat-mel_2bar': 'va-cat-mel_2bar',
    'hierdec-mel_16bar': 'va-hierdec-mel_16bar_small',
    'hierdec-trio_16bar': 'va-hierdec-trio_16bar_small',
}


def _weights() -> pathlib.Path:
  """The folder of what ships: in a clone beside the package, else within."""
  package = pathlib.Path(__file__).parent
  in_clone = package.parent / 'checkpoints'
  return in_clone if (package.parent / 'setup.py').is_file() else (
      package / 'weights')


def path(name: str) -> pathlib.Path:
  """Folder of a shipped model, whether or not it exists.

  Args:
    name: a folder name there, such as 'cat-mel_2bar_small'.
  """
  return _weights() / name


def home() -> pathlib.Path:
  """The cache's folder: `$VA_MAGENTA_HOME`, or `~/.cache/va_magenta`."""
  return pathlib.Path(
      os.environ.get('VA_MAGENTA_HOME') or '~/.cache/va_magenta').expanduser()


def find(name: str) -> Checkpoint | None:
  """The checkpoint that a name or an alias means, or None."""
  return TABLE.get(ALIASES.get(name, name))


def names(kind: Kind = MUSIC_VAE) -> list[str]:
  """Names of the checkpoints of a kind, or that a model of it is part of."""
  return [name for name, found in TABLE.items()
          if found.kind == kind or name == kind.shipped]


def locate(
    name_or_path: str | os.PathLike | None, kind: Kind) -> pathlib.Path:
  """As `resolve`, for a model of a kind; the one that ships if None.

  Raises:
    ValueError: if the name is that of another kind of model.
  """
  name_or_path = os.fspath(
      kind.shipped if name_or_path is None else name_or_path)
  found = find(name_or_path)
  if found is not None and found.name not in names(kind):
    raise ValueError(
        f'{name_or_path} is {found.kind.name}, and {kind.name} is needed: '
        f'{", ".join(names(kind))}, or the path of one')
  return resolve(name_or_path, kind)


def open(
    name_or_path: str | os.PathLike | None, kind: Kind
) -> tuple[dict[str, Any], dict]:
  """Reads a model's files.

  Args:
    name_or_path: a name in `TABLE`, or the folder that `write` filled; the
      model that ships if None. Of a kind without weights, its JSON file too.
    kind: which kind of model is wanted.

  Returns:
    The config; and arrays by name, none of a kind without weights.

  Raises:
    FileNotFoundError: if there is no such folder, or a file in it is missing.
    ValueError: if it is another kind of model, or a file is damaged.
  """
  folder = locate(name_or_path, kind)
  config_path = folder if folder.is_file() else folder / kind.config_file
  if not config_path.is_file() or kind.weights_file and not (
      folder / kind.weights_file).is_file():
    missing = kind.weights_file if config_path.is_file() else kind.config_file
    raise FileNotFoundError(
        f'{folder} is not {kind.name}: it has no {missing}')
  content = config_path.read_bytes()
  try:
    config = json.loads(content)
    if not isinstance(config, dict):
      raise ValueError(f'it holds a {type(config).__name__}')
  except ValueError as error:
    raise ValueError(
        f'{config_path} is not {kind.name}, or is damaged: {error}; '
        f'{kind.maker} writes it anew') from error
  arrays = kind.weights_file and files.read_npz(folder / kind.weights_file)
  return config, arrays or {}


def load(
    name_or_path: str | os.PathLike | None, kind: Kind,
    build: Callable[[dict[str, Any], dict], Any]) -> Any:
  """Builds a model from its files.

  Args:
    name_or_path: see `open`.
    kind: likewise.
    build: takes config and arrays; may raise what it likes if they do not fit.

  Raises:
    FileNotFoundError: if there is no such folder, or a file in it is missing.
    ValueError: if it is another kind of model, is damaged, or was made by
      another version.
    ImportError: if `build` needs what is not installed.
  """
  config, arrays = open(name_or_path, kind)
  try:
    return build(config, arrays)
  except (ImportError, MemoryError):
    raise
  except Exception as error:  # numpy and Keras each have their own.
    reason = ' '.join(str(error).split())
    raise ValueError(
        f'{locate(name_or_path, kind)} is not {kind.name} of this version, or '
        f'is damaged ({type(error).__name__}: {reason}); {kind.maker} writes '
        'it anew') from error


def rounded(array):
  """Weights as they are handed on: in float16, on a grid that packs well.

  A matrix' grid has steps of the power of two nearest to `_GRID` of its
  deviation. That is an error of about 1 % of it, and in an `.npz` three fifths
  of the size of float16 alone. Vectors, which weigh nothing, keep float16.

  Args:
    array: float, of any shape.

  Returns:
    float16.
  """
  import numpy as np

  array = np.asarray(array, np.float32)
  deviation = array.std() if array.ndim > 1 else 0
  if deviation:
    step = 2 ** np.round(np.log2(deviation * _GRID))
    array = np.round(array / step) * step
  return array.astype(np.float16)


def write(
    folder: str | os.PathLike, kind: Kind, config: Mapping[str, Any],
    arrays: Mapping[str, Any] | None = None):
  """Writes what `open` reads; each file is whole or not there.

  Args:
    folder: exists.
    kind: of model.
    config: what JSON can hold.
    arrays: weights by name.
  """
  folder = pathlib.Path(folder)
  if kind.weights_file:
    import numpy as np

    with files.writing(folder / kind.weights_file) as temporary:
      np.savez_compressed(temporary, **(arrays or {}))
  with files.writing(folder / kind.config_file) as temporary:
    temporary.write_text(json.dumps(config, indent=1) + '\n')


def resolve(
    name_or_path: str | os.PathLike, kind: Kind = MUSIC_VAE) -> pathlib.Path:
  """Where a checkpoint's files are; fetches and unpacks what is not there.

  Two processes may ask for the same checkpoint at once: what stands in the
  cache under its final name is always whole.

  Args:
    name_or_path: a name in `TABLE` or an alias; a folder; of a MusicVAE also an
      `.npz`, a tar of a checkpoint, or the prefix of a TensorFlow checkpoint
      (what stands before `.index`).
    kind: what is looked for; a name of any kind is found.

  Returns:
    A folder, an `.npz`, or the prefix of a TensorFlow checkpoint.

  Raises:
    FileNotFoundError: if it is neither a known name nor a file.
    ConnectionError: if it cannot be fetched.
    ValueError: if a tar is damaged or not safe to unpack.
  """
  checkpoint = find(os.fspath(name_or_path))
  if checkpoint is None:
    location = files.local(name_or_path)
    if location.is_dir():
      return location
    if kind == MUSIC_VAE:
      return _resolve_file(location)
    if not kind.weights_file and location.is_file():
      return location
    raise FileNotFoundError(
        f'no {kind.name.partition(" ")[2]} {str(location)!r}: it is no folder, '
        f'and the known names are {", ".join(names(kind))}')
  if checkpoint.url:
    return _cached(
        checkpoint.name, checkpoint.url, lambda tar: _fetch(checkpoint, tar))
  if not path(checkpoint.name).is_dir():
    raise FileNotFoundError(
        f'{path(checkpoint.name)} is missing: this installation of va_magenta '
        'is incomplete, install it again')
  return path(checkpoint.name)


def _resolve_file(location: pathlib.Path) -> pathlib.Path:
  import hashlib
  import tarfile
  import zlib

  if location.suffix == '.npz' and location.is_file():
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
  raise FileNotFoundError(
      f'no checkpoint {str(location)!r}: it is no file, and the known names '
      f'are {", ".join([*ALIASES, *names()])}')


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
  import pooch
  import requests
  import tqdm

  pooch.get_logger().setLevel('ERROR')
  bar = tqdm.tqdm(
      desc=f'Fetching {checkpoint.name}', total=1, unit='B', unit_scale=True,
      unit_divisor=1024)
  try:
    with bar:
      pooch.retrieve(
          checkpoint.url, checkpoint.sha256, tar.name, tar.parent,
          downloader=pooch.HTTPDownloader(
              progressbar=bar, timeout=_TIMEOUT_SECONDS))
  except requests.RequestException as error:
    raise ConnectionError(
        f'cannot fetch {checkpoint.name} from {checkpoint.url}: '
        f'{" ".join(str(error).split())}; fetch it by other means and give the '
        'path of the .tar') from error
  return tar


def unpack(tar: pathlib.Path, folder: pathlib.Path, source: str):
  """Unpacks the tar of a checkpoint, which comes from who knows where.

  Args:
    tar: the archive.
    folder: where to; it is made.
    source: what errors call the archive.

  Raises:
    ValueError: if the archive is damaged; leads out of `folder`; holds
      devices or links that lead out; is larger than `MAX_UNPACKED_BYTES` or has
      more than `MAX_MEMBERS` members; or holds no whole checkpoint.
  """
  import lzma
  import tarfile
  import zlib

  if not hasattr(tarfile, 'data_filter'):
    raise ImportError(
        'unpacking safely needs Python 3.10.12, 3.11.4, 3.12 or later')
  total = count = 0

  def check(member, path):
    # Called header by header, before anything of the member is written.
    nonlocal total, count
    total, count = total + member.size, count + 1
    if total > MAX_UNPACKED_BYTES or count > MAX_MEMBERS:
      raise ValueError(
          f'{source} is not safe to unpack: it holds more than '
          f'{MAX_UNPACKED_BYTES:,} bytes or {MAX_MEMBERS} files')
    return tarfile.data_filter(member, path)

  folder.mkdir()
  try:
    with tarfile.open(tar) as archive:
      archive.extractall(folder, filter=check)
  except tarfile.FilterError as error:
    raise ValueError(f'{source} is not safe to unpack: {error}') from error
  except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError,
          OSError) as error:
    # Decompressors too raise OSErrors, which have no number. Of the system's
    # only those are the tar's fault that have to do with names in it.
    if isinstance(error, OSError) and error.errno not in (
        None, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG):
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
