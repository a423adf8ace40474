"""Pictures, or points of the plane -> music that people would place there.

  import va_magenta
  [sequence] = va_magenta.generate('picture.jpg')
  va_magenta.generate_and_save(valence=0.6, arousal=-0.4, output_dir='music')

Three things bring music near its target:

- The notes: a MusicVAE that was trained to be asked for a VA is asked for it;
  `guidance` says how clearly. One that was not draws what it likes.
- The performance: tempo, loudness, articulation, register and instrument are
  drawn as is usual for the VA (`va_to_music.performance`).
- Selection: many pieces are made so, their VA is estimated from the notes, and
  the nearest are kept.

Seeds are shared: the latent vectors, and all other randomness, are drawn before
the target is looked at, so that only the target differs where the seed is the
same.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import secrets
import sys
import tempfile
from collections.abc import Sequence

import numpy as np

from va_magenta import checkpoints, files
from va_magenta.va import VA

OUTPUT_DIR = 'va_magenta_output'
PERFORMANCES = LEARNED, PLAIN = 'learned', 'plain'
MODES = SAMPLE, SEARCH = 'sample', 'search'
# What `tempo_qpm` may be: a MIDI file cannot say much more.
TEMPO_LIMITS_QPM = (10.0, 400.0)
MAX_CANDIDATES = 10_000
MAX_BARS = 128
# Along a path, unless `bars` says otherwise, of a model without segments.
_PHRASES_A_POINT = 2
_STEPS_A_BATCH = 2**14
# A piece has `va_losses.MIN_NOTES` notes or more in so many bars, on average.
_BARS_OF_NOTES = 4
# Of melodies, and of trios (melody, bass, drums).
_OUTPUT_DEPTHS = ((90,), (90, 90, 512))


@dataclasses.dataclass(frozen=True)
class Piece:
  """A piece that was kept.

  Attributes:
    sequence: the music, a `note_seq.NoteSequence`.
    va: where the estimate places it.
    distance: of that from the target; along a path, the mean of the sections'
      distances from theirs.
    performances: how it is played, `performance.Performance`: one, or along a
      path one a section (a phrase, or a segment of a hierarchical model).
  """

  sequence: object
  va: VA
  distance: float
  performances: list


@dataclasses.dataclass(frozen=True)
class Saved:
  """What `generate_and_save` made.

  Attributes:
    path: the VA asked for; several points if it moves. With pictures, theirs.
    pieces: nearest first.
    midi_paths: a file each piece.
    wav_paths: a file each piece, or none.
    json_path: the figures.
    png_path: the VA plane.
  """

  path: list[VA]
  pieces: list[Piece]
  midi_paths: list[pathlib.Path]
  wav_paths: list[pathlib.Path]
  json_path: pathlib.Path
  png_path: pathlib.Path

  @property
  def target(self) -> VA:
    """The VA asked for; of a path its middle."""
    from va_magenta.va_to_music import form

    return form.along(self.path, 3)[1]

  @property
  def paths(self) -> list[pathlib.Path]:
    """All files that were written."""
    return [*self.midi_paths, *self.wav_paths, self.json_path, self.png_path]


@dataclasses.dataclass(frozen=True)
class Settings:
  """How pieces are made; checked when built.

  Attributes:
    checkpoint: name or path of a MusicVAE of melodies or trios (see
      `checkpoints`).
    num_outputs: pieces to keep, 1..candidates.
    candidates: pieces to make.
    temperature: of all draws; 0 takes the likeliest every time.
    guidance: how clearly notes and performance say the target: 1 as in the
      music that was learned from, more exaggerates, 0 knows nothing of it.
    mode: 'sample'; or 'search', which looks for the latent vectors from which
      the notes come nearest, as the critic hears them.
    performance: 'learned'; or 'plain': nothing but notes differs, melodies are
      played on the piano, at 120 quarters a minute, equally loud.
    seed: the same seed gives the same notes; drawn if None.
    bars: length of a piece, a multiple of the model's phrase (2 bars, or 16);
      if None, one phrase; of a path two phrases a point, or, of a hierarchical
      model, as many as have a segment a point.
    tempo_qpm: quarter notes a minute; as is usual for the target if None.
    program: General MIDI program of the melody, 0..127; likewise.
    input: a MIDI file with a melody, to be played again as the target asks, by
      a model of melodies.
    student: folder of the estimator that selects (see `symbolic.load`); the
      shipped one if None.

  Raises:
    ValueError: if a number is out of range, or a name is not known.
  """

  checkpoint: str | os.PathLike = 'cat-mel_2bar'
  num_outputs: int = 1
  candidates: int = 64
  temperature: float = 0.5
  guidance: float = 1.0
  mode: str = SAMPLE
  performance: str = LEARNED
  seed: int | None = None
  bars: int | None = None
  tempo_qpm: float | None = None
  program: int | None = None
  input: str | os.PathLike | None = None
  student: str | os.PathLike | None = None

  def __post_init__(self):
    for name, low, high in (
        ('candidates', 1, MAX_CANDIDATES),
        ('num_outputs', 1, self.candidates),
        ('temperature', 0, 100),
        ('guidance', 0, 100),
        ('seed', 0, 2**63 - 1),
        ('bars', 1, MAX_BARS),
        ('tempo_qpm', *TEMPO_LIMITS_QPM),
        ('program', 0, 127)):
      value = getattr(self, name)
      # NaN fails this too.
      if value is not None and not low <= value <= high:
        raise ValueError(f'{name} must lie in {low:,}..{high:,}, got {value}')
    for name, known in (('mode', MODES), ('performance', PERFORMANCES)):
      if getattr(self, name) not in known:
        raise ValueError(
            f'{name} must be {" or ".join(known)}, got {getattr(self, name)!r}')
    if self.input is not None and self.bars is not None:
      raise ValueError(
          'the input is as long as it is: give either input or bars')
    if self.seed is None:
      object.__setattr__(self, 'seed', secrets.randbelow(2**32))


def generate(
    image: str | os.PathLike | np.ndarray | Sequence | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    va_path: Sequence[tuple[float, float]] | None = None,
    **settings,
) -> list:
  """Makes music that feels like a picture, or like a point of the VA plane.

  Args:
    image: a picture file, or uint8 RGB [height, width, 3]; or several, which
      the music shall feel like in turn.
    valence: instead of `image`, with `arousal`: from unpleasant (-1) to
      pleasant (1).
    arousal: from calm (-1) to excited (1).
    va_path: instead, (valence, arousal) of several points, likewise in turn.
    **settings: see `Settings`.

  Returns:
    `num_outputs` different `note_seq.NoteSequence`s, nearest to the target
    first.

  Raises:
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  source = _Source(image, valence, arousal, va_path)
  _locate(settings.checkpoint)
  return [
      piece.sequence for piece in compose(source.locate()[0], settings)]


def generate_and_save(
    image: str | os.PathLike | np.ndarray | Sequence | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    va_path: Sequence[tuple[float, float]] | None = None,
    output_dir: str | os.PathLike = OUTPUT_DIR,
    audio: bool = False,
    overwrite: bool = False,
    **settings,
) -> Saved:
  """As `generate`, and writes the music and its figures.

  With NAME the picture's, or the coordinates, it writes NAME-1.mid and so on,
  NAME.json (image VA, target, each piece's estimated VA, distance and
  performance, settings, versions) and NAME.png (the plane). All files appear
  together, at the end; of a run that fails, none.

  Args:
    image: see `generate`.
    valence: see `generate`.
    arousal: see `generate`.
    va_path: see `generate`.
    output_dir: where to; it is made if it does not exist.
    audio: whether to write NAME-1.wav and so on too.
    overwrite: whether files of these names may be replaced.
    **settings: see `Settings`.

  Raises:
    FileExistsError: if a file exists, unless `overwrite`.
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  source = _Source(image, valence, arousal, va_path)
  _locate(settings.checkpoint)
  output_dir = pathlib.Path(output_dir)
  name = source.name
  if settings.input is not None:
    name = f'{pathlib.Path(settings.input).stem}_as_{name}'
  numbers = range(1, settings.num_outputs + 1)
  saved = {
      'midi_paths': [output_dir / f'{name}-{i}.mid' for i in numbers],
      'wav_paths': [output_dir / f'{name}-{i}.wav' for i in numbers if audio],
      'json_path': output_dir / f'{name}.json',
      'png_path': output_dir / f'{name}.png',
  }
  # All that can go wrong with the output does so before the work.
  paths = Saved(path=[], pieces=[], **saved).paths
  if audio:
    from va_magenta.music import synthesis
    synthesis.import_fluidsynth()
  with _made_writable(output_dir):
    _check_free(paths, overwrite)
    path, pictures = source.locate()
    pieces = compose(path, settings)
    saved = Saved(path=path, pieces=pieces, **saved)
    record = _record(saved, settings, source)
    _check_free(paths, overwrite)
    _write(saved, record, pictures[0] if len(pictures) == 1 else None)
  return saved


def compose(target: VA | Sequence[VA], settings: Settings) -> list[Piece]:
  """Makes candidates and keeps those nearest to the target.

  Args:
    target: what is asked for; several points are led to in turn.
    settings: how.

  Returns:
    `settings.num_outputs` different pieces, nearest first.

  Raises:
    ValueError, OSError: if the checkpoint is not one of melodies or trios, a
      file is not what it should be, or too few different candidates have notes.
  """
  path = [target] if isinstance(target, VA) else list(target)
  model = load_model(settings.checkpoint)
  # Keras is there by now, and with it what note_seq takes long to import.
  from va_magenta.music import melody
  from va_magenta.va_to_music import form, performance, va_losses

  # All randomness is drawn in the same order, whatever the target is.
  rng = np.random.default_rng(settings.seed)
  z = _latents(model, path, settings, rng)
  sections = form.along(path, z.shape[1] * model.config.num_segments)
  tokens = form.join(_decode(model, z, sections, settings, rng))
  targets = sections if len(path) > 1 else path
  if settings.performance == PLAIN:
    plain = performance.plain(tokens.shape[-1])
    played = [[plain] * len(targets)] * len(tokens)
  else:
    played = _performance_model().draw(
        [targets] * len(tokens), tokens, rng, temperature=settings.temperature,
        guidance=settings.guidance)
  given = {
      name: getattr(settings, name) for name in ('tempo_qpm', 'program')
      if getattr(settings, name) is not None}
  played = [[dataclasses.replace(p, **given) for p in row] for row in played]
  candidates = [
      performance.play(row, performances)
      for row, performances in zip(tokens, played, strict=True)]
  student = _student(settings.student)
  vas = student.estimate_va(candidates)
  if len(targets) == 1:
    distances = [path[0].distance(va) for va in vas]
  else:
    distances = [
        _mean_distance(row, performances, targets, student)
        for row, performances in zip(tokens, played, strict=True)]

  # The estimate is content with pieces that hardly play; listeners are not.
  min_notes = va_losses.MIN_NOTES * max(
      tokens.shape[1] // (_BARS_OF_NOTES * melody.STEPS_PER_BAR), 1)
  kept, heard = [], set()
  for i in np.argsort(distances, kind='stable'):
    notes, num_notes = _notes(tokens[i])
    if num_notes >= min_notes and notes not in heard:
      heard.add(notes)
      kept.append(Piece(candidates[i], vas[i], distances[i], played[i]))
    if len(kept) == settings.num_outputs:
      return kept
  raise ValueError(
      f'only {len(kept)} different pieces with notes among '
      f'{settings.candidates} candidates, {settings.num_outputs} wanted: ask '
      'for more candidates or a higher temperature')


def _notes(tokens: np.ndarray) -> tuple[bytes, int]:
  """What makes a piece, int [steps, outputs], another; its melody's notes.

  At another tempo, or in another key, it is the same.
  """
  from va_magenta.music import melody, trio

  pitched = tokens[:, :trio.DRUMS]
  is_note = pitched >= melody.FIRST_PITCH_TOKEN
  # From the first note, in semitones; no note is farther from it than that.
  intervals = np.where(
      is_note, pitched - pitched[is_note][:1].sum(), melody.NUM_TOKENS)
  notes = np.concatenate([intervals, tokens[:, trio.DRUMS:]], axis=1)
  return notes.tobytes(), is_note[:, trio.MELODY].sum()


def _mean_distance(tokens, performances, targets, student) -> float:
  """Of a piece's sections from their targets."""
  from va_magenta.va_to_music import performance

  sections = [
      performance.play(section, [played]) for section, played in zip(
          np.split(tokens, len(targets)), performances, strict=True)]
  return float(np.mean([
      target.distance(va) for target, va in zip(
          targets, student.estimate_va(sections), strict=True)]))


def _latents(model, path, settings: Settings, rng) -> np.ndarray:
  """Latent vectors of candidates [pieces, phrases, versions, z_size]."""
  from va_magenta.music import melody
  from va_magenta.va_to_music import form

  if settings.input is not None:
    mu, sigma = _encode_input(model, settings)
    # The first candidate is the melody itself, the others lie about it, within
    # what the encoder takes for the same.
    noise = rng.standard_normal((settings.candidates, *mu.shape), np.float32)
    noise[0] = 0
    return (mu + settings.temperature * sigma * noise)[:, :, None]
  phrase_bars = model.config.max_seq_len // melody.STEPS_PER_BAR
  segments = model.config.num_segments
  bars = settings.bars
  if bars is None:
    num_phrases = 1
    if len(path) > 1:
      num_phrases = (
          _PHRASES_A_POINT * len(path) if segments == 1 else
          -(-len(path) // segments))
    bars = num_phrases * phrase_bars
  if bars % phrase_bars:
    raise ValueError(
        f'bars must be a multiple of {phrase_bars} for {settings.checkpoint}, '
        f'got {bars}')
  num_phrases = bars // phrase_bars
  if num_phrases * segments < len(path):
    needed = phrase_bars * -(-len(path) // segments)
    raise ValueError(
        f'{len(path)} points are to be led to, each in a '
        f'{"phrase" if segments == 1 else "segment"} of '
        f'{phrase_bars / segments:g} bars: bars must be {needed} or more, got '
        f'{bars}')
  return form.draw(
      rng, settings.candidates, num_phrases, model.config.z_size)


def _encode_input(model, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
  """mu and sigma [phrases, z_size] of the melody in `settings.input`."""
  from va_magenta.music import melody, midi

  config = model.config
  if len(config.output_depths) > 1:
    raise ValueError(
        f'{settings.checkpoint} is a checkpoint of trios, and the input is a '
        'melody: give a checkpoint of melodies')
  tokens = midi.read_melody(settings.input)
  steps = config.max_seq_len
  tokens = np.pad(tokens, (0, -len(tokens) % steps)).reshape(-1, steps)
  if len(tokens) * steps > MAX_BARS * melody.STEPS_PER_BAR:
    raise ValueError(
        f'{settings.input} has more than {MAX_BARS} bars: give a part of it')
  controls = None
  if config.control_depth:
    # What the melody is now, as the encoder was told of what it learned from;
    # the decoder is told what it shall be.
    stretches = config.num_segments if config.conductor_control else 1
    x = np.eye(config.depth, dtype=np.float32)[
        tokens.reshape(len(tokens) * stretches, -1)]
    controls = np.clip(_critic(1)(x), -1, 1).reshape(-1, stretches, 2)
  return model.encode(tokens[..., None], controls)


def _decode(
    model, z: np.ndarray, sections: Sequence[VA], settings: Settings, rng
) -> np.ndarray:
  """Tokens of candidates.

  Args:
    model: a MusicVae of melodies or trios.
    z: [pieces, phrases, versions, z_size].
    sections: where each segment of each phrase shall lie.
    settings: `mode`, `temperature` and `guidance`.
    rng: the randomness.

  Returns:
    int [pieces, phrases, versions, steps, outputs].
  """
  config = model.config
  flat = z.reshape(-1, z.shape[-1])
  points = np.array([(va.valence, va.arousal) for va in sections], np.float32)
  points = np.broadcast_to(
      points.reshape(z.shape[1], 1, config.num_segments, 2),
      (*z.shape[:3], config.num_segments, 2)
  ).reshape(len(flat), config.num_segments, 2)
  batch_size = _STEPS_A_BATCH // config.max_seq_len
  tokens = []
  for i in range(0, len(flat), batch_size):
    batch = slice(i, i + batch_size)
    options = {
        'temperature': settings.temperature, 'seed': int(rng.integers(2**32))}
    if config.control_depth:
      options['guidance'] = settings.guidance
    if settings.mode == SEARCH:
      from va_magenta.va_to_music import search
      played = search.search(
          model, _critic(len(config.output_depths)), flat[batch],
          points[batch], **options)
    else:
      if config.control_depth:
        options['controls'] = points[batch]
      played = model.sample(flat[batch], **options)
    tokens.append(np.stack([
        one_hots.argmax(-1) for one_hots in np.split(
            played, np.cumsum(config.output_depths)[:-1], axis=-1)], axis=-1))
  return np.concatenate(tokens).reshape(
      *z.shape[:3], *tokens[0].shape[1:])


# What is loaded stays: thousands of pieces may be composed in a process.


@functools.cache
def _student(folder):
  from va_magenta.music_to_va import symbolic

  return symbolic.load(folder)


@functools.cache
def _performance_model():
  from va_magenta.va_to_music import performance

  return performance.load()


@functools.cache
def _critic(num_outputs):
  from va_magenta.music_to_va import critic

  return critic.load(critic.shipped(num_outputs))


def start_keras():
  """Imports Keras without the lines that TensorFlow's C++ prints meanwhile.

  From 2.19 on it obeys no setting before its log is initialized, which it never
  is (github.com/tensorflow/tensorflow/issues/100442). Python's errors are
  raised as ever.
  """
  if 'keras' in sys.modules:
    return
  sys.stderr.flush()
  terminal = os.dup(2)
  try:
    with open(os.devnull, 'wb') as null:
      os.dup2(null.fileno(), 2)
    import keras
    keras.ops.zeros(())  # Starts the devices: the last that prints.
  finally:
    os.dup2(terminal, 2)
    os.close(terminal)


def _locate(checkpoint: str | os.PathLike):
  """Weights and config of a checkpoint; None if it says no config.

  Light, so that a wrong checkpoint is told before anything heavy starts.
  """
  from va_magenta.va_to_music import configs

  named = checkpoints.find(os.fspath(checkpoint))
  if named is not None and named.kind != checkpoints.MUSIC_VAE:
    _refuse(checkpoint, None)
  path = checkpoints.resolve(checkpoint)
  if not (path / 'config.json').is_file():
    return path, None
  config = configs.Config.load(path / 'config.json')
  if config.output_depths not in _OUTPUT_DEPTHS:
    _refuse(checkpoint, config.name)
  return path / 'weights.npz', config


def load_model(checkpoint: str | os.PathLike):
  """The MusicVAE of a checkpoint, if it is one of melodies or of trios."""
  path, config = _locate(checkpoint)
  changed = path.stat().st_mtime_ns if path.is_file() else None
  return _loaded(checkpoint, path, config, changed)


def phrase_bars(checkpoint: str | os.PathLike) -> int:
  """How many bars the phrases of a checkpoint have."""
  from va_magenta.music import melody

  _, config = _locate(checkpoint)
  config = config or load_model(checkpoint).config
  return config.max_seq_len // melody.STEPS_PER_BAR


@functools.lru_cache(maxsize=2)
def _loaded(checkpoint, path, config, changed):
  del changed  # Only so that what was trained on is loaded anew.
  start_keras()
  from va_magenta.va_to_music import magenta_weights, music_vae

  if config is None:
    config = _magenta_config(magenta_weights.read(path), path)
  model = music_vae.MusicVae(config)
  magenta_weights.load(model, path)
  return model


def _magenta_config(arrays, path: pathlib.Path):
  """The config of a checkpoint of Magenta's, which does not say it."""
  from va_magenta.va_to_music import configs

  biases = {name: len(a) for name, a in arrays.items() if name.endswith('bias')}
  shape = (
      biases.get('encoder/mu/bias'),
      sum(n for name, n in biases.items() if 'output_projection' in name),
      any('hierarchical_level' in name for name in biases))
  for name in configs.SUPPORTED:
    config = configs.from_magenta(name)
    if shape == (config.z_size, config.depth, bool(config.level_lengths)):
      return config
  raise ValueError(
      f'{path} is a checkpoint of none of the configs '
      f'{", ".join(configs.SUPPORTED)}')


def _refuse(checkpoint, config_name: str | None):
  names = ', '.join(checkpoints.names())
  raise ValueError(
      f'{checkpoint} is a checkpoint of {config_name or "no MusicVAE"}, music '
      f'is made by one of melodies or trios: {names}')


class _Source:
  """What the music shall feel like: pictures, or points."""

  def __init__(self, image, valence, arousal, va_path):
    """Checks that there is one of the three, and that points lie on the plane.

    Raises:
      ValueError: if not.
    """
    point = valence is not None or arousal is not None
    if (image is not None) + point + (va_path is not None) != 1:
      raise ValueError(
          'give either a picture, or both valence and arousal, or a va_path')
    self.images = []
    if image is not None:
      is_one = isinstance(image, (str, os.PathLike, np.ndarray))
      self.images = [image] if is_one else list(image)
      if not self.images:
        raise ValueError('give a picture: the list of pictures is empty')
      self.points = []
    elif point:
      if valence is None or arousal is None:
        raise ValueError('valence and arousal belong together: give both')
      self.points = [VA(valence, arousal)]
    else:
      try:
        self.points = [VA(*point) for point in va_path]
      except TypeError as error:
        raise ValueError(
            f'va_path must be pairs of valence and arousal, got {va_path!r}'
        ) from error
      if not self.points:
        raise ValueError('va_path must have a point at least')

  def locate(self) -> tuple[list[VA], list[np.ndarray]]:
    """The points asked for; and the pictures, uint8 RGB, if there are any."""
    if not self.images:
      return self.points, []
    from va_magenta.image_to_va import images

    # Fails before Keras is imported.
    pictures = [
        image if isinstance(image, np.ndarray) else images.load_image(image)
        for image in self.images]
    start_keras()
    from va_magenta.image_to_va import model
    return [model.estimate_va(picture) for picture in pictures], pictures

  @property
  def name(self) -> str:
    """What the files are called: after the first, and the last."""
    names = [
        'picture' if isinstance(image, np.ndarray) else pathlib.Path(image).stem
        for image in self.images
    ] or [
        f'valence{va.valence:+.2f}_arousal{va.arousal:+.2f}'
        for va in self.points]
    return names[0] if len(names) == 1 else f'{names[0]}_to_{names[-1]}'

  @property
  def image_paths(self) -> str | list[str | None] | None:
    """For the record; None for what was no file."""
    paths = [
        None if isinstance(image, np.ndarray) else os.fspath(image)
        for image in self.images]
    return paths if len(paths) > 1 else next(iter(paths), None)


@contextlib.contextmanager
def _made_writable(folder: pathlib.Path):
  """Makes a folder that can be written to; unmakes it if the body fails."""
  missing = [p for p in (folder, *folder.parents) if not p.exists()]
  try:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
      raise OSError(
          f'cannot write to the folder {folder}: {error.strerror}; give '
          'another output_dir') from error
    yield
  except BaseException:
    for path in missing:
      with contextlib.suppress(OSError):  # Others may have put files there.
        path.rmdir()
    raise


def _check_free(paths: Sequence[pathlib.Path], overwrite: bool):
  for path in paths:
    if path.is_dir():
      raise IsADirectoryError(f'{path} is a folder, a file shall be there')
    if path.exists() and not overwrite:
      raise FileExistsError(
          f'{path} exists: allow overwrite, or give another output_dir')


def _record(saved: Saved, settings: Settings, source: _Source) -> dict:
  """What NAME.json says."""
  from importlib import metadata

  import va_magenta

  target = dataclasses.asdict(saved.target)
  path = [dataclasses.asdict(va) for va in saved.path]
  if len(path) == 1:
    path = None
  return {
      'image': source.image_paths,
      'image_va': (path or target) if source.images else None,
      'target': target,
      'va_path': path,
      'outputs': [
          {
              'midi': midi_path.name,
              'wav': midi_path.with_suffix('.wav').name
                     if saved.wav_paths else None,
              'estimated_va': dataclasses.asdict(piece.va),
              'distance': piece.distance,
              'performances': [
                  dataclasses.asdict(p) for p in piece.performances],
          }
          for piece, midi_path in zip(
              saved.pieces, saved.midi_paths, strict=True)
      ],
      **{
          name: os.fspath(value) if isinstance(value, os.PathLike) else value
          for name, value in dataclasses.asdict(settings).items()},
      'versions': {'va_magenta': va_magenta.__version__} | {
          name: metadata.version(name)
          for name in ('tensorflow', 'keras', 'numpy')},
  }


def _write(saved: Saved, record: dict, picture: np.ndarray | None):
  """Writes all files under temporary names, then renames them."""
  from va_magenta.figures import plots
  from va_magenta.music import midi

  with contextlib.ExitStack() as stack:
    # The last to be entered is the first to be renamed: the figures come when
    # all else is there.
    def writing(path):
      return stack.enter_context(files.writing(path))

    writing(saved.json_path).write_text(json.dumps(record, indent=2) + '\n')
    plots.plot_va_plane(
        writing(saved.png_path), target=saved.target, picture=picture,
        pieces=[piece.va for piece in saved.pieces])
    for piece, path in zip(saved.pieces, saved.midi_paths, strict=True):
      writing(path).write_bytes(midi.to_bytes(piece.sequence))
    if saved.wav_paths:
      from va_magenta.music import synthesis
      for piece, path in zip(saved.pieces, saved.wav_paths, strict=True):
        synthesis.write_wav(
            writing(path), *synthesis.synthesize(piece.sequence))
