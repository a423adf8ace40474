"""What a MusicVAE is made of: sizes and schedules, by Magenta's config names.

`from_magenta` reads them from Magenta's own `CONFIG_MAP`. A trained checkpoint
carries its own `config.json`, so that sampling needs no Magenta.
"""

import copy
import dataclasses
import json
import pathlib

SAMPLING_SCHEDULES = ('constant', 'inverse_sigmoid', 'exponential')


@dataclasses.dataclass(frozen=True)
class Config:
  """Hyperparameters of a MusicVAE; names and meaning as in Magenta.

  Attributes:
    name: Magenta's name of the config, for instance 'cat-mel_2bar_small'.
    max_seq_len: steps (sixteenth notes) an example.
    output_depths: tokens of each output: [90] for melody, [90, 90, 512] for the
      trio of melody, bass and drums.
    level_lengths: None for a flat decoder; else lengths of the hierarchy, for
      instance [16, 16]: 16 bars of 16 steps.
    control_depth: depth of the control fed at every step to encoder and
      decoder; 0 for none, 2 for (valence, arousal).
    z_size: depth of the latent vector.
    enc_rnn_size: LSTM units of each encoder layer, in each direction.
    dec_rnn_size: LSTM units of each layer of every decoder and of the
      conductor.
    transpose_range: lowest and highest transposition in semitones that training
      applies at random.
    batch_size: examples a step.
    max_beta: weight of the KL divergence in the loss, in the end.
    beta_rate: at step t the weight is max_beta (1 - beta_rate^t).
    free_bits: bits of KL divergence an example that cost nothing.
    sampling_schedule: 'constant', 'inverse_sigmoid' or 'exponential': how the
      share of decoder inputs that are its own samples grows in training.
    sampling_rate: the parameter of that schedule.
    learning_rate: Adam's, at the start.
    decay_rate: decay of the learning rate a step.
    min_learning_rate: where that decay ends.
    grad_clip: largest global norm of the gradient.
  """

  name: str
  max_seq_len: int
  output_depths: tuple[int, ...]
  level_lengths: tuple[int, ...] | None
  z_size: int
  enc_rnn_size: tuple[int, ...]
  dec_rnn_size: tuple[int, ...]
  control_depth: int = 0
  transpose_range: tuple[int, int] = (0, 0)
  batch_size: int = 512
  max_beta: float = 1.0
  beta_rate: float = 0.0
  free_bits: float = 0.0
  sampling_schedule: str = 'constant'
  sampling_rate: float = 0.0
  learning_rate: float = 0.001
  decay_rate: float = 0.9999
  min_learning_rate: float = 0.00001
  grad_clip: float = 1.0

  def __post_init__(self):
    for name in ('max_seq_len', 'output_depths', 'z_size', 'enc_rnn_size',
                 'dec_rnn_size', 'batch_size'):
      value = getattr(self, name)
      sizes = value if isinstance(value, tuple) else (value,)
      if not sizes or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(f'{name} must be positive and whole, got {value!r}')
    if self.sampling_schedule not in SAMPLING_SCHEDULES:
      raise ValueError(
          f'unknown sampling_schedule {self.sampling_schedule!r}; known are: '
          f'{", ".join(SAMPLING_SCHEDULES)}')

  @property
  def depth(self) -> int:
    """Depth of one step of an example: all outputs' one-hots side by side."""
    return sum(self.output_depths)

  def save(self, path: pathlib.Path):
    """Writes `config.json`."""
    path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + '\n')

  @classmethod
  def load(cls, path: pathlib.Path) -> 'Config':
    """Reads `config.json`.

    Raises:
      ValueError: if it is not one.
    """
    try:
      values = json.loads(path.read_text())
      return cls(**{
          k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
      })
    except (TypeError, AttributeError, ValueError) as error:
      raise ValueError(
          f'{path} is not the config of a MusicVAE: {error}') from error


# The configs whose encoder and decoder this engine builds.
SUPPORTED = (
    'cat-mel_2bar_small',
    'cat-mel_2bar_big',
    'hierdec-mel_16bar',
    'hierdec-trio_16bar',
)


def _magenta_config(name: str):
  from va_magenta.magenta_compat import configs

  if name not in SUPPORTED:
    raise ValueError(
        f'unknown config {name!r}; known are: {", ".join(SUPPORTED)}')
  return configs.CONFIG_MAP[name]


def data_converter(name: str):
  """Magenta's converter of a config, with every example of a piece kept."""
  converter = copy.deepcopy(_magenta_config(name).data_converter)
  converter.set_mode('eval')
  converter.max_tensors_per_notesequence = None
  return converter


def from_magenta(name: str, hparams: str = '') -> Config:
  """A config of Magenta's `CONFIG_MAP` as ours.

  Args:
    name: one of `SUPPORTED`.
    hparams: changes to Magenta's hyperparameters, written as on its command
      line: 'batch_size=64,dec_rnn_size=[128,128]'. `control_depth` may be set
      here too.

  Raises:
    ValueError: for an unknown name or hyperparameter.
  """
  magenta = _magenta_config(name)
  # Some configs write 0 where others write 0.25, and HParams would take the
  # type of what is written.
  floats = {f.name for f in dataclasses.fields(Config) if f.type is float}
  values = type(magenta.hparams)(**{
      k: float(v) if k in floats else v
      for k, v in magenta.hparams.values().items()})
  values.add_hparam('control_depth', 0)
  fields = {f.name for f in dataclasses.fields(Config)}
  before = values.values()
  try:
    values.parse(hparams)
  except ValueError as error:
    raise ValueError(
        f'--hparams={hparams} cannot be read: {error}; known are: '
        f'{", ".join(sorted(fields & set(before)))}') from error
  for key, value in values.values().items():
    # The length of the examples is in the converter; what is no field of ours
    # would be left out in silence.
    if value != before[key] and (key == 'max_seq_len' or key not in fields):
      raise ValueError(
          f'--hparams={hparams}: {key} of {name} cannot be changed from '
          f'{before[key]}')
  decoder = magenta.model.decoder
  level_lengths = getattr(decoder, '_level_lengths', None)
  core = getattr(decoder, '_core_decoder', decoder)
  output_depths = getattr(core, '_output_depths', None) or [
      magenta.data_converter.output_depth]
  augmenter = magenta.note_sequence_augmenter
  shared = {
      k: tuple(v) if isinstance(v, list) else v
      for k, v in values.values().items() if k in fields
  }
  return Config(
      name=name,
      output_depths=tuple(output_depths),
      level_lengths=tuple(level_lengths) if level_lengths else None,
      transpose_range=augmenter._transpose_range if augmenter else (0, 0),
      **shared)
