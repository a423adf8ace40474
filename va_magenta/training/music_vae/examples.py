"""Training examples: note sequences as token arrays, made once and kept.

Magenta's own converter of a config (for instance two bars of melody, or sixteen
bars of melody, bass and drums) turns each piece into one-hot tensors. They are
kept as tokens, the index of the one in each output, which is all they hold:
int16 `[examples, steps, outputs]`.

Pieces are split by name, and so for good: the same piece falls into the same
split in every run, and no two examples of one piece fall into different splits.
"""

import collections
import dataclasses
import glob
import hashlib
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from va_magenta import files, processes
from va_magenta.music import midi
from va_magenta.music.corpus import split_of

_BLOCK_SIZE = 256  # Pieces a file of converted examples.


@dataclasses.dataclass(frozen=True)
class Examples:
  """Converted examples.

  Attributes:
    tokens: int16 `[examples, steps, outputs]`.
    piece: int32 `[examples]`, the piece that an example was cut from.
    names: the pieces' names.
    controls: float16 `[examples, stretches, control_depth]`, of a config with a
      context; else None.
    splits: the split of each piece; None for that of its name.
  """

  tokens: np.ndarray
  piece: np.ndarray
  names: list[str]
  controls: np.ndarray | None = None
  splits: list[str] | None = None

  def split(self, name: str) -> np.ndarray:
    """Tokens of the pieces in a split: 'train', 'validation' or 'test'."""
    return self.tokens[self.of_split(name)]

  def of_split(self, name: str) -> np.ndarray:
    """Which examples are in a split: bool `[examples]`."""
    splits = self.splits or [split_of(n) for n in self.names]
    keep = np.array([split == name for split in splits], bool)
    return keep[self.piece]


def cut(corpus: Examples, num_steps: int) -> Examples:
  """Examples in stretches of so many steps; of a piece, no stretch twice."""
  tokens = corpus.tokens.reshape(-1, num_steps, corpus.tokens.shape[2])
  piece = np.repeat(corpus.piece, len(tokens) // len(corpus.tokens))
  rows = np.concatenate(
      [piece[:, None], tokens.reshape(len(tokens), -1)], axis=1)
  _, first = np.unique(rows, axis=0, return_index=True)
  first.sort()
  return Examples(tokens[first], piece[first], corpus.names)


def find_pieces(examples_path: str) -> list[str]:
  """MIDI files below a folder, or those that match a glob, sorted.

  Raises:
    FileNotFoundError: if there are none.
  """
  path = os.path.expanduser(examples_path)
  if os.path.isdir(path):
    found = [
        str(p) for p in pathlib.Path(path).rglob('*')
        if p.suffix.lower() in midi.SUFFIXES
    ]
  else:
    found = [p for p in glob.glob(path) if os.path.isfile(p)]
  if not found:
    raise FileNotFoundError(
        f'no examples at {examples_path}: give a folder with MIDI files, or a '
        'glob of MIDI files or of TFRecord files of NoteSequences')
  return sorted(found)


def _read_tfrecords(paths: list[str]) -> Iterator[tuple[str, bytes]]:
  import tensorflow as tf

  for path in paths:
    try:
      for i, record in enumerate(tf.data.TFRecordDataset(path)):
        yield f'{os.path.basename(path)}:{i}', record.numpy()
    except tf.errors.OpError as error:
      raise ValueError(
          f'{path} is not a whole TFRecord file of NoteSequences: '
          f'{error.message.splitlines()[0]}') from error


def _read_tfds(tfds_name: str) -> Iterator[tuple[str, bytes]]:
  import tensorflow_datasets as tfds

  splits = tfds.load(tfds_name)
  for split, dataset in splits.items():
    for i, example in enumerate(dataset.as_numpy_iterator()):
      if 'midi' not in example:
        raise ValueError(
            f'the TensorFlow Dataset {tfds_name} has no feature midi: it has '
            f'{", ".join(example)}')
      name = example.get('id', f'{split}:{i}'.encode()).decode()
      yield name, example['midi']


def _is_midi(path: str) -> bool:
  return path.lower().endswith(midi.SUFFIXES)


def _parse(source: str | bytes):
  """A NoteSequence from a MIDI file's path or content, or its own bytes."""
  if isinstance(source, str):
    return midi.read(source).to_sequence()
  if midi.begins_as_midi(source):  # No NoteSequence does.
    return midi.parse(source).to_sequence()
  import note_seq

  return note_seq.NoteSequence.FromString(source)


class _Worker:
  """Converts one piece; a process holds one, as Magenta is slow to import."""

  config_name: str
  max_per_piece: int
  seed: int
  converter = None

  @classmethod
  def start(cls, config_name: str, max_per_piece: int, seed: int):
    cls.config_name, cls.max_per_piece = config_name, max_per_piece
    cls.seed, cls.converter = seed, None

  @classmethod
  def convert(cls, piece: tuple[str, str | bytes]) -> np.ndarray | str:
    """Tokens of a piece, or in one word why there are none."""
    if cls.converter is None:
      from va_magenta.va_to_music import configs
      cls.config = configs.from_magenta(cls.config_name)
      cls.converter = configs.data_converter(cls.config_name)
    name, source = piece
    try:
      sequence = _parse(source)
    except Exception:  # Parsers of hostile files raise whatever they like.
      return 'unparsable'
    try:
      outputs = cls.converter.to_tensors(sequence).outputs
    except Exception as error:
      return type(error).__name__
    outputs = [o for o in outputs if len(o) == cls.config.max_seq_len]
    if not outputs:
      return 'no example of full length'
    ends = np.cumsum(cls.config.output_depths)[:-1]
    tokens = np.stack([
        part.argmax(-1) for part in np.split(np.stack(outputs), ends, axis=-1)
    ], axis=-1).astype(np.int16)
    tokens = np.unique(tokens, axis=0)
    if len(tokens) > cls.max_per_piece:
      digest = hashlib.md5(f'{cls.seed}:{name}'.encode()).digest()
      random = np.random.default_rng(list(digest))
      keep = random.choice(len(tokens), cls.max_per_piece, replace=False)
      tokens = tokens[np.sort(keep)]
    return tokens


def convert(
    config_name: str,
    cache_dir: str,
    *,
    examples_path: str | None = None,
    tfds_name: str | None = None,
    max_per_piece: int = 64,
    num_workers: int | None = None,
    seed: int = 0,
) -> Examples:
  """Converts a corpus with Magenta's converter, or takes up where it stood.

  Blocks of pieces are written to `cache_dir` as they are done; a run that was
  killed loses at most the blocks in work, and a finished one is only read.

  Args:
    config_name: a Magenta config, for instance 'cat-mel_2bar_small'.
    cache_dir: folder for the blocks; one a corpus and config.
    examples_path: folder or glob of MIDI files, or glob of TFRecord files of
      NoteSequences as Magenta's `convert_dir_to_note_sequences` writes them.
    tfds_name: instead, a TensorFlow Dataset whose examples carry 'midi'.
    max_per_piece: at most so many examples of a piece, drawn at random, so that
      long pieces do not rule.
    num_workers: processes; all cores if None.
    seed: of that draw.

  Returns:
    The examples of all splits.

  Raises:
    ValueError: if not exactly one corpus is named, or it cannot be read, or it
      holds no example.
    FileNotFoundError: if nothing is found at `examples_path`.
  """
  if (examples_path is None) == (tfds_name is None):
    raise ValueError('name one corpus: either examples_path or tfds_name')
  if tfds_name:
    pieces = list(_read_tfds(tfds_name))
  else:
    paths = find_pieces(examples_path)
    pieces = [(pathlib.Path(p).stem, p) for p in paths if _is_midi(p)]
    pieces += _read_tfrecords([p for p in paths if not _is_midi(p)])

  key = hashlib.md5(repr((
      config_name, max_per_piece, seed,
      [(name, _fingerprint(source)) for name, source in pieces],
  )).encode()).hexdigest()[:12]
  folder = pathlib.Path(cache_dir).expanduser() / f'{config_name}-{key}'
  folder.mkdir(parents=True, exist_ok=True)

  left_out = collections.Counter()

  def write(path, first, results):
    tokens, piece = [], []
    for i, result in enumerate(results, first):
      if isinstance(result, np.ndarray):
        tokens.append(result)
        piece.append(np.full(len(result), i, np.int32))
      else:
        left_out[getattr(result, 'reason', result)] += 1
    np.savez_compressed(
        path, tokens=np.concatenate(tokens or [np.zeros(0, np.int16)]),
        piece=np.concatenate(piece or [np.zeros(0, np.int32)]))

  paths = [folder / f'{i:05d}.npz' for i in range(
      -(-len(pieces) // _BLOCK_SIZE))]
  processes.resumable_map(
      lambda pool, block: pool.map(_Worker.convert, block, chunksize=4),
      pieces, paths, write, block_size=_BLOCK_SIZE, what='converted examples',
      start=(_Worker.start, config_name, max_per_piece, seed),
      num_workers=num_workers)
  for reason, count in left_out.most_common():
    print(f'left out: {count} pieces: {reason}')

  loaded = [_load_block(path) for path in paths]
  loaded = [b for b in loaded if len(b[1])]
  if not loaded:
    raise ValueError(
        f'no piece of {examples_path or tfds_name} gave an example for '
        f'{config_name}: it needs pieces in 4/4 with a melody')
  return Examples(
      np.concatenate([t for t, _ in loaded]),
      np.concatenate([p for _, p in loaded]), [name for name, _ in pieces])


def _fingerprint(source: str | bytes) -> str | None:
  """What changes when a piece does, and not when its file is only copied.

  None for what cannot be read, which is told when it is converted.
  """
  try:
    content = source if isinstance(source, bytes) else (
        pathlib.Path(source).read_bytes())
  except OSError:
    return None
  return hashlib.md5(content).hexdigest()


def _load_block(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  try:
    block = files.read_npz(path)
    return block['tokens'], block['piece']
  except (ValueError, KeyError) as error:
    raise ValueError(
        f'{path} is damaged ({error}): remove it, and it is made again'
    ) from error
