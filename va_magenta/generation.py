"""Picture, or a point of the plane -> music that people would place there.

  import va_magenta
  [sequence] = va_magenta.generate('picture.jpg')
  va_magenta.generate_and_save(valence=0.6, arousal=-0.4, output_dir='music')

Control is by selection: many pieces are drawn from MusicVAE's prior, each with
a tempo and a loudness of its own, which carry most of arousal; their VA is
estimated from the notes, and the nearest are kept.
"""

import contextlib
import dataclasses
import io
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
# Where candidates are drawn from. Tempo is uniform in its logarithm, as it is
# heard.
TEMPO_RANGE_QPM = (50.0, 180.0)
VELOCITY_RANGE = (40, 110)
# What `tempo_qpm` may be: a MIDI file cannot say much more.
TEMPO_LIMITS_QPM = (10.0, 400.0)
MAX_CANDIDATES = 10_000
MAX_BARS = 128
# A piece of fewer notes says nothing about how it feels.
MIN_NOTES = 3
# Phrases A A' B A'', again and again: the share of the way that each goes from
# the piece's theme towards a fresh point of the latent space. The theme comes
# back slightly changed.
_THEME_RETURNS = 0.1
_FORM = (0.0, 0.2, 0.6, 0.2)
_PHRASES_A_BATCH = 512
_MELODY_DEPTHS = (90,)


@dataclasses.dataclass(frozen=True)
class Piece:
  """A piece that was kept.

  Attributes:
    sequence: the music, a `note_seq.NoteSequence`.
    va: where the estimate places it.
    tempo_qpm: quarter notes a minute.
    velocity: MIDI velocity of its notes.
  """

  sequence: object
  va: VA
  tempo_qpm: float
  velocity: int


@dataclasses.dataclass(frozen=True)
class Saved:
  """What `generate_and_save` made.

  Attributes:
    target: the VA asked for; with a picture, the picture's.
    pieces: nearest first.
    midi_paths: a file each piece.
    wav_paths: a file each piece, or none.
    json_path: the figures.
    png_path: the VA plane.
  """

  target: VA
  pieces: list[Piece]
  midi_paths: list[pathlib.Path]
  wav_paths: list[pathlib.Path]
  json_path: pathlib.Path
  png_path: pathlib.Path

  @property
  def paths(self) -> list[pathlib.Path]:
    """All files that were written."""
    return [*self.midi_paths, *self.wav_paths, self.json_path, self.png_path]


@dataclasses.dataclass(frozen=True)
class Settings:
  """How pieces are made; checked when built.

  Attributes:
    checkpoint: name or path of a MusicVAE of melodies (see `checkpoints`).
    num_outputs: pieces to keep, 1..candidates.
    candidates: pieces to draw.
    temperature: of the draws; 0 takes the likeliest note every time.
    seed: the same seed gives the same notes; drawn if None.
    bars: length of a piece, a multiple of the model's phrase (2 bars, or 16);
      one phrase if None.
    tempo_qpm: quarter notes a minute; each candidate draws its own if None.
    program: General MIDI program, 0..127.

  Raises:
    ValueError: if a number is out of range.
  """

  checkpoint: str | os.PathLike = 'cat-mel_2bar'
  num_outputs: int = 1
  candidates: int = 64
  temperature: float = 0.5
  seed: int | None = None
  bars: int | None = None
  tempo_qpm: float | None = None
  program: int = 0

  def __post_init__(self):
    for name, low, high in (
        ('candidates', 1, MAX_CANDIDATES),
        ('num_outputs', 1, self.candidates),
        ('temperature', 0, 100),
        ('seed', 0, 2**63 - 1),
        ('bars', 1, MAX_BARS),
        ('tempo_qpm', *TEMPO_LIMITS_QPM),
        ('program', 0, 127)):
      value = getattr(self, name)
      # NaN fails this too.
      if value is not None and not low <= value <= high:
        raise ValueError(f'{name} must lie in {low:,}..{high:,}, got {value}')
    if self.seed is None:
      object.__setattr__(self, 'seed', secrets.randbelow(2**32))


def generate(
    image: str | os.PathLike | np.ndarray | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    **settings,
) -> list:
  """Makes music that feels like a picture, or like a point of the VA plane.

  Args:
    image: a picture file, or uint8 RGB [height, width, 3].
    valence: instead of `image`, with `arousal`: from unpleasant (-1) to
      pleasant (1).
    arousal: from calm (-1) to excited (1).
    **settings: see `Settings`.

  Returns:
    `num_outputs` different `note_seq.NoteSequence`s, nearest to the target
    first.

  Raises:
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  _check_sources(image, valence, arousal)
  _locate(settings.checkpoint)
  target, _ = _target(image, valence, arousal)
  return [piece.sequence for piece in compose(target, settings)]


def generate_and_save(
    image: str | os.PathLike | np.ndarray | None = None,
    *,
    valence: float | None = None,
    arousal: float | None = None,
    output_dir: str | os.PathLike = OUTPUT_DIR,
    audio: bool = False,
    overwrite: bool = False,
    **settings,
) -> Saved:
  """As `generate`, and writes the music and its figures.

  With NAME the picture's, or the coordinates, it writes NAME-1.mid and so on,
  NAME.json (image VA, target, each piece's estimated VA and distance, settings,
  versions) and NAME.png (the plane). All files appear together, at the end; of
  a run that fails, none.

  Args:
    image: see `generate`.
    valence: see `generate`.
    arousal: see `generate`.
    output_dir: where to; it is made if it does not exist.
    audio: whether to write NAME-1.wav and so on too.
    overwrite: whether files of these names may be replaced.
    **settings: see `Settings`.

  Raises:
    FileExistsError: if a file exists, unless `overwrite`.
    ValueError, OSError: if an argument or a file is not what it should be.
  """
  settings = Settings(**settings)
  _check_sources(image, valence, arousal)
  _locate(settings.checkpoint)
  output_dir = pathlib.Path(output_dir)
  name = _name(image, valence, arousal)
  numbers = range(1, settings.num_outputs + 1)
  saved = {
      'midi_paths': [output_dir / f'{name}-{i}.mid' for i in numbers],
      'wav_paths': [output_dir / f'{name}-{i}.wav' for i in numbers if audio],
      'json_path': output_dir / f'{name}.json',
      'png_path': output_dir / f'{name}.png',
  }
  # All that can go wrong with the output does so before the work.
  paths = Saved(target=None, pieces=[], **saved).paths
  if audio:
    from va_magenta.music_to_va import synthesis
    synthesis.import_fluidsynth()
  with _made_writable(output_dir):
    _check_free(paths, overwrite)
    target, picture = _target(image, valence, arousal)
    pieces = compose(target, settings)
    saved = Saved(target=target, pieces=pieces, **saved)
    record = _record(saved, settings, image)
    _check_free(paths, overwrite)
    _write(saved, record, picture)
  return saved


def compose(target: VA, settings: Settings) -> list[Piece]:
  """Draws candidates and keeps those nearest to the target.

  Returns:
    `settings.num_outputs` different pieces, nearest first.

  Raises:
    ValueError, OSError: if the checkpoint is not one of melodies, or too few
      different candidates have notes.
  """
  model = _load_melody_model(settings.checkpoint)
  # Keras is there by now, and with it what note_seq takes long to import.
  from va_magenta.music_to_va import symbolic
  from va_magenta.va_to_music import melody

  phrase_bars = model.config.max_seq_len // melody.STEPS_PER_BAR
  bars = settings.bars or phrase_bars
  if bars % phrase_bars:
    raise ValueError(
        f'bars must be a multiple of {phrase_bars} for {settings.checkpoint}, '
        f'got {bars}')
  rng = np.random.default_rng(settings.seed)
  z = draw_chains(
      rng, settings.candidates, bars // phrase_bars, model.config.z_size)
  low, high = np.log(TEMPO_RANGE_QPM)
  tempos = np.exp(rng.uniform(low, high, settings.candidates))
  if settings.tempo_qpm is not None:
    tempos[:] = settings.tempo_qpm
  velocities = rng.integers(
      VELOCITY_RANGE[0], VELOCITY_RANGE[1] + 1, settings.candidates)
  tokens = _decode(model, z, settings.temperature, rng)

  candidates = [
      melody.tokens_to_sequence(
          row, tempo_qpm=float(tempo), velocity=int(velocity),
          program=settings.program)
      for row, tempo, velocity in zip(tokens, tempos, velocities, strict=True)
  ]
  vas = symbolic.load().estimate_va(candidates)
  kept, heard = [], set()
  for i in sorted(range(len(vas)), key=lambda i: target.distance(vas[i])):
    # The same melody at another tempo is no other piece.
    notes = tuple(
        (note.pitch, round(note.start_time * tempos[i] / 15))
        for note in candidates[i].notes)
    if len(notes) >= MIN_NOTES and notes not in heard:
      heard.add(notes)
      kept.append(Piece(
          candidates[i], vas[i], float(tempos[i]), int(velocities[i])))
    if len(kept) == settings.num_outputs:
      return kept
  raise ValueError(
      f'only {len(kept)} different pieces with notes among '
      f'{settings.candidates} candidates, {settings.num_outputs} wanted: ask '
      'for more candidates or a higher temperature')


def draw_chains(
    rng: np.random.Generator, num_pieces: int, num_phrases: int, z_size: int,
) -> np.ndarray:
  """Latent vectors of phrases that belong together: A A' B A'', and so on.

  Each phrase is a spherical step (White 2016, "Sampling Generative Networks")
  from its piece's theme, small for A', larger for B. A step between two draws
  of the prior ends where draws of the prior are, so the model knows the place.

  Returns:
    float32 [num_pieces, num_phrases, z_size]; the first phrases are draws of
    N(0, I).
  """
  theme = rng.standard_normal((num_pieces, z_size), np.float32)
  chains = []
  for i in range(num_phrases):
    share = _FORM[i % len(_FORM)]
    if i and not share:
      share = _THEME_RETURNS
    fresh = rng.standard_normal((num_pieces, z_size), np.float32)
    chains.append(_slerp(theme, fresh, share))
  return np.stack(chains, axis=1)


def _slerp(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
  """The point a share of the way along the arc, for rows of [n, size]."""
  norms = np.linalg.norm(start, axis=1) * np.linalg.norm(end, axis=1)
  angle = np.arccos(np.clip(np.sum(start * end, axis=1) / norms, -1, 1))
  angle = angle[:, None]
  return (np.sin((1 - share) * angle) * start
          + np.sin(share * angle) * end) / np.sin(angle)


def _decode(model, z: np.ndarray, temperature: float, rng) -> np.ndarray:
  """Tokens int [pieces, steps] of chains [pieces, phrases, z_size]."""
  phrases = z.reshape(-1, z.shape[-1])
  tokens = [
      model.sample(
          phrases[i:i + _PHRASES_A_BATCH], temperature=temperature,
          seed=int(rng.integers(2**32))).argmax(-1)
      for i in range(0, len(phrases), _PHRASES_A_BATCH)
  ]
  # Joined as tokens, so that a note may sound on over the seam.
  return np.concatenate(tokens).reshape(len(z), -1)


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
  """Weights and config of a checkpoint of melodies; None if it says no config.

  Light, so that a wrong checkpoint is told before anything heavy starts.
  """
  from va_magenta.va_to_music import configs

  named = checkpoints.find(os.fspath(checkpoint))
  if named is not None and '-mel_' not in (named.config or ''):
    _refuse(checkpoint, named.config)  # Before it is fetched.
  path = checkpoints.resolve(checkpoint)
  if not (path / 'config.json').is_file():
    return path, None
  config = configs.Config.load(path / 'config.json')
  if config.output_depths != _MELODY_DEPTHS:
    _refuse(checkpoint, config.name)
  return path / 'weights.npz', config


def _load_melody_model(checkpoint: str | os.PathLike):
  """The MusicVAE of a checkpoint, if it is one of melodies."""
  path, config = _locate(checkpoint)
  start_keras()
  from va_magenta.va_to_music import magenta_weights, music_vae

  if config is None:
    config = _magenta_config(magenta_weights.read(path), path)
    if config.output_depths != _MELODY_DEPTHS:
      _refuse(checkpoint, config.name)
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
  names = ', '.join(
      n for n, c in checkpoints.TABLE.items() if '-mel_' in (c.config or ''))
  raise ValueError(
      f'{checkpoint} is a checkpoint of {config_name or "no MusicVAE"}, music '
      f'is made by one of melodies: {names}')


def _check_sources(image, valence, arousal):
  """Raises ValueError unless there is one picture or one point."""
  if (image is None) == (valence is None and arousal is None):
    raise ValueError('give either a picture, or both valence and arousal')
  if image is None:
    if valence is None or arousal is None:
      raise ValueError('valence and arousal belong together: give both')
    VA(valence, arousal)


def _target(image, valence, arousal) -> tuple[VA, np.ndarray | None]:
  """The point asked for; and the picture uint8 RGB, if there is one."""
  if image is None:
    return VA(valence, arousal), None
  picture = image
  if not isinstance(picture, np.ndarray):
    from va_magenta.image_to_va import images
    picture = images.load_image(image)  # Fails before Keras is imported.
  start_keras()
  from va_magenta.image_to_va import model
  return model.estimate_va(picture), picture


def _name(image, valence, arousal) -> str:
  """What the files are called."""
  if image is None:
    return f'valence{valence:+.2f}_arousal{arousal:+.2f}'
  if isinstance(image, np.ndarray):
    return 'picture'
  return pathlib.Path(image).stem


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


def _record(saved: Saved, settings: Settings, image) -> dict:
  """What NAME.json says."""
  from importlib import metadata

  import va_magenta

  is_path = image is not None and not isinstance(image, np.ndarray)
  target = dataclasses.asdict(saved.target)
  return {
      'image': os.fspath(image) if is_path else None,
      'image_va': None if image is None else target,
      'target': target,
      'outputs': [
          {
              'midi': midi_path.name,
              'wav': midi_path.with_suffix('.wav').name
                     if saved.wav_paths else None,
              'estimated_va': dataclasses.asdict(piece.va),
              'distance': piece.va.distance(saved.target),
              'tempo_qpm': piece.tempo_qpm,
              'velocity': piece.velocity,
          }
          for piece, midi_path in zip(
              saved.pieces, saved.midi_paths, strict=True)
      ],
      **dataclasses.asdict(settings) | {
          'checkpoint': os.fspath(settings.checkpoint)},
      'versions': {'va_magenta': va_magenta.__version__} | {
          name: metadata.version(name)
          for name in ('tensorflow', 'keras', 'numpy')},
  }


def _write(saved: Saved, record: dict, picture: np.ndarray | None):
  """Writes all files under temporary names, then renames them."""
  from va_magenta.evaluation import plots

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
      writing(path).write_bytes(_midi_bytes(piece.sequence))
    if saved.wav_paths:
      from va_magenta.music_to_va import synthesis
      for piece, path in zip(saved.pieces, saved.wav_paths, strict=True):
        synthesis.write_wav(
            writing(path), *synthesis.synthesize(piece.sequence))


def _midi_bytes(sequence) -> bytes:
  """A Standard MIDI File; note_seq's own writer hides errors of the disk."""
  import note_seq

  midi = io.BytesIO()
  note_seq.note_sequence_to_pretty_midi(sequence).write(midi)
  return midi.getvalue()
