"""What a MusicVAE is made of: sizes and schedules, by Magenta's config names.

`from_magenta` reads them from Magenta's own `CONFIG_MAP`; others in `REGISTRY`
extend one of those so that the music follows VA. A
trained checkpoint carries its own `config.json`, so that sampling needs no
Magenta.
"""

import copy
import dataclasses
import json
import math
import os
import pathlib
import re
from collections.abc import Mapping

from va_magenta.music import band

CHOICES = {
    'sampling_schedule': ('constant', 'inverse_sigmoid', 'exponential'),
    'objective': ('elbo', 'wae_mmd', 'wae_gan'),
}


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
      decoder; 0 for none, 2 for (valence, arousal), more with a context.
    context_depth: how many numbers of the control come after (valence,
      arousal) and are known of a piece, not asked of it: who plays, chords.
    conductor_control: whether the conductor of a hierarchy hears the control
      too, at each segment the mean of the segment's; each segment is then
      learned with its own. Magenta's own cannot.
    hierarchical_encoder: whether the encoder too reads segments first, and then
      what it made of each; if not, it reads the whole.
    z_size: depth of the latent vector.
    enc_rnn_size: LSTM units of each encoder layer, in each direction.
    dec_rnn_size: LSTM units of each layer of every decoder, and of the
      conductor unless that has sizes of its own.
    conductor_rnn_size: of the conductor; empty for `dec_rnn_size`.
    transpose_range: lowest and highest transposition in semitones that training
      applies at random.
    batch_size: examples a step.
    objective: what brings z to its prior: 'elbo', the KL divergence of each
      posterior; or of the batch's z together, Wasserstein autoencoders
      (Tolstikhin et al. 2018): 'wae_mmd', their maximum mean discrepancy, or
      'wae_gan', a discriminator.
    max_beta: weight of that in the loss, in the end. An MMD is a number below
      2, and a KL divergence in the hundreds: 'wae_mmd' wants some 100.
    beta_rate: at step t the weight is max_beta (1 - beta_rate^t).
    free_bits: bits of KL divergence an example that cost nothing.
    sampling_schedule: 'constant', 'inverse_sigmoid' or 'exponential': how the
      share of decoder inputs that are its own samples grows in training.
    sampling_rate: the parameter of that schedule.
    learning_rate: Adam's, at the start.
    decay_rate: decay of the learning rate a step.
    min_learning_rate: where that decay ends.
    grad_clip: largest global norm of the gradient.
    control_gain: what controls are multiplied with on their way in, so that
      Adam, which moves all weights at one pace, moves their rows the faster:
      beside those of a pretrained model they have the farthest to go. In files
      the rows are multiplied instead, and Magenta need not know.
    token_dropout: share of the tokens that a decoder is fed in training which
      are zeroed, so that it relies on z and the control (Bowman et al. 2016).
    latent_noise: training adds noise to the z that decoders are given, up to so
      many deviations of each dimension, so that they make music of a z that is
      a little off too, as those of a learned prior are.
    control_dropout: share of examples that training shows with the neutral
      control (0, 0), which so comes to mean "whatever you like".
    va_weight: weight in the loss of the distance between the VA asked for and
      the VA that the critic finds in what the decoder plays by itself.
    va_share: share of the batch that this is measured on.
    kl_control_weight: weight in the loss of what that costs in music: the KL
      divergence, in nats an example, of what the decoder plays from what the
      model of the warm start would, unasked. Counts where there is one.
    va_temperature: of the relaxation that carries its gradient; high is smooth
      and biased, low is exact and noisy.
    independence_weight: weight in the loss of the correlation of z with VA,
      which makes z forget VA.
    structure: what draws with it, see `composing.composer.STRUCTURES`.
  """

  name: str
  max_seq_len: int
  output_depths: tuple[int, ...]
  level_lengths: tuple[int, ...] | None
  z_size: int
  enc_rnn_size: tuple[int, ...]
  dec_rnn_size: tuple[int, ...]
  conductor_rnn_size: tuple[int, ...] = ()
  control_depth: int = 0
  context_depth: int = 0
  conductor_control: bool = False
  hierarchical_encoder: bool = False
  transpose_range: tuple[int, int] = (0, 0)
  batch_size: int = 512
  objective: str = 'elbo'
  max_beta: float = 1.0
  beta_rate: float = 0.0
  free_bits: float = 0.0
  sampling_schedule: str = 'constant'
  sampling_rate: float = 0.0
  learning_rate: float = 0.001
  decay_rate: float = 0.9999
  min_learning_rate: float = 0.00001
  grad_clip: float = 1.0
  control_gain: float = 1.0
  token_dropout: float = 0.0
  latent_noise: float = 0.0
  control_dropout: float = 0.0
  va_weight: float = 0.0
  va_share: float = 0.25
  kl_control_weight: float = 0.0
  va_temperature: float = 1.0
  independence_weight: float = 0.0
  structure: str = 'phrases'

  def __post_init__(self):
    for name in ('max_seq_len', 'output_depths', 'z_size', 'enc_rnn_size',
                 'dec_rnn_size', 'batch_size'):
      value = getattr(self, name)
      sizes = value if isinstance(value, tuple) else (value,)
      if not sizes or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(f'{name} must be positive and whole, got {value!r}')
    for name, known in CHOICES.items():
      if getattr(self, name) not in known:
        raise ValueError(
            f'unknown {name} {getattr(self, name)!r}; known are: '
            f'{", ".join(known)}')
    for name in ('token_dropout', 'control_dropout', 'va_share'):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f'{name} must lie in 0..1, got {getattr(self, name)}')
    for name in ('control_gain', 'va_temperature'):
      if not getattr(self, name) > 0:
        raise ValueError(f'{name} must be above 0, got {getattr(self, name)}')
    if self.control_depth < 0:
      raise ValueError(
          f'control_depth must not be negative, got {self.control_depth}')
    if self.context_depth and (
        not 0 < self.context_depth == self.control_depth - 2):
      raise ValueError(
          'a context comes after (valence, arousal): context_depth must be 0 '
          f'or control_depth - 2 = {self.control_depth - 2}, got '
          f'{self.context_depth}')
    if self.context_depth and any(self.transpose_range):
      raise ValueError(
          'a context is that of a piece as it is: set transpose_range=(0, 0), '
          f'got {self.transpose_range}')
    if (self.va_weight or self.independence_weight) and (
        self.control_depth - self.context_depth != 2):
      raise ValueError(
          'va_weight and independence_weight are for a control of (valence, '
          f'arousal): set control_depth=2, got {self.control_depth}')
    if self.conductor_control and not (
        self.level_lengths and self.control_depth):
      raise ValueError(
          'conductor_control is for a hierarchy with a control: '
          f'{self.name} has level_lengths {self.level_lengths} and '
          f'control_depth {self.control_depth}')
    if self.hierarchical_encoder and len(self.level_lengths or ()) != 2:
      raise ValueError(
          'hierarchical_encoder is for a hierarchy of two levels: '
          f'{self.name} has level_lengths {self.level_lengths}')

  @property
  def num_segments(self) -> int:
    """Segments that have an embedding of their own; 1 if flat."""
    return math.prod((self.level_lengths or (1,))[:-1])

  @property
  def embedding_depth(self) -> int:
    """Depth of what a decoder is given: z if flat, else of the conductor."""
    if not self.level_lengths:
      return self.z_size
    return (self.conductor_rnn_size or self.dec_rnn_size)[-1]

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
    content = path.read_bytes()
    try:
      values = json.loads(content)
      for field in dataclasses.fields(cls):
        if field.name in values:
          values[field.name] = _from_json(field, values[field.name])
      return cls(**values)
    except Exception as error:  # json and dataclasses each have their own.
      raise ValueError(
          f'{path} is not the config of a MusicVAE: {error}') from error


def _from_json(field: dataclasses.Field, value):
  """A value as a field of `Config` holds it."""
  if isinstance(value, list):
    value = tuple(value)
  if field.type is float and type(value) is int:
    value = float(value)  # Whole numbers may be written without a point.
  if field.type in (int, bool, str):
    fits = type(value) is field.type
  elif field.type is float:
    fits = type(value) is float and math.isfinite(value)
  elif value is None:  # Those that may be None say so.
    fits = field.type == (tuple[int, ...] | None)
  else:
    fits = isinstance(value, tuple) and all(type(n) is int for n in value)
  if not fits:
    raise ValueError(f'{field.name} is {value!r}')
  return value


_CONDITIONING = {
    'control_depth': 2,
    'control_gain': 10.0,
    'control_dropout': 0.1,
    'va_weight': 20.0,
    'kl_control_weight': 0.05,
    'va_share': 0.5,
    'independence_weight': 1.0,
    'max_beta': 0.05,
    'beta_rate': 0.0,
    'free_bits': 0.0,
    # The loop that it takes is as slow as all the rest of a step.
    'sampling_schedule': 'constant',
    'sampling_rate': 0.0,
}
# In the sizes of cat-mel_2bar_small, so that what was learned of two bars goes
# on in trios, and below the levels above them.
_SIZES = {
    **_CONDITIONING, 'z_size': 256, 'enc_rnn_size': [512],
    'dec_rnn_size': [256, 256]}
_SMALL = {**_SIZES, 'hierarchical_encoder': True, 'conductor_control': True}
_SEGMENTS = {'level_lengths': (8, 32), 'transpose_range': (-5, 5)}


@dataclasses.dataclass(frozen=True)
class Entry:
  """What the name of a config stands for.

  Attributes:
    extends: the config of Magenta's that it is, or extends: the same examples.
    changes: to hyperparameters, as on Magenta's command line.
    structure: fields of `Config` that Magenta says by classes, where they are
      not those of `extends`.
  """

  extends: str
  changes: Mapping = dataclasses.field(default_factory=dict)
  structure: Mapping = dataclasses.field(default_factory=dict)


# All that is known of a config: first Magenta's whose encoder and decoder this
# engine builds, then ours, that follow VA.
REGISTRY = {
    'cat-mel_2bar_small': Entry('cat-mel_2bar_small'),
    'cat-mel_2bar_big': Entry('cat-mel_2bar_big'),
    'hierdec-mel_16bar': Entry('hierdec-mel_16bar'),
    'hierdec-trio_16bar': Entry('hierdec-trio_16bar'),
    'va-cat-mel_2bar': Entry('cat-mel_2bar_small', _CONDITIONING),
    'va-cat-trio_2bar': Entry(
        'hierdec-trio_16bar', {**_SIZES, 'max_seq_len': 32},
        {**_SEGMENTS, 'level_lengths': None}),
    'va-hierdec-mel_16bar': Entry('hierdec-mel_16bar', _CONDITIONING),
    'va-hierdec-mel_16bar_small': Entry('hierdec-mel_16bar', _SMALL, _SEGMENTS),
    'va-hierdec-trio_16bar': Entry('hierdec-trio_16bar', _CONDITIONING),
    'va-hierdec-trio_16bar_small': Entry(
        'hierdec-trio_16bar', _SMALL, _SEGMENTS),
}
MAGENTAS = tuple(name for name, e in REGISTRY.items() if e.extends == name)
# What is no hyperparameter: Magenta says it by the classes of a config.
_STRUCTURE = (
    'name', 'output_depths', 'level_lengths', 'transpose_range',
    'conductor_rnn_size')


# Ours alone: four voices that hear who plays and the chords (`music.band`).
_BAND = Config(
    'va-cat-band_2bar', max_seq_len=32, output_depths=band.OUTPUT_DEPTHS,
    level_lengths=None, z_size=256, enc_rnn_size=(512,),
    dec_rnn_size=(384, 384), control_depth=2 + band.CONTEXT_DEPTH,
    context_depth=band.CONTEXT_DEPTH, batch_size=1024, max_beta=0.1,
    decay_rate=0.9993, token_dropout=0.15, control_dropout=0.15,
    structure='band')
BANDS = {
    config.name: config for config in (
        _BAND,
        dataclasses.replace(
            _BAND, name='va-hierdec-band_16bar', max_seq_len=256,
            level_lengths=(8, 32), hierarchical_encoder=True,
            conductor_control=True, conductor_rnn_size=(384, _BAND.z_size),
            max_beta=_CONDITIONING['max_beta'], batch_size=512),
    )
}


def get(name: str, hparams: str = '') -> Config:
  """A config by its name: one of ours alone, or see `from_magenta`.

  Args:
    name: of `BANDS` or `REGISTRY`.
    hparams: changes, 'batch_size=64,dec_rnn_size=[128,128]'.

  Raises:
    ValueError: for an unknown name or hyperparameter.
  """
  if name not in BANDS:
    return from_magenta(name, hparams)
  fields = {field.name: field for field in dataclasses.fields(Config)}
  changes = {}
  for part in filter(None, re.split(r',(?![^\[]*\])', hparams)):
    key, _, text = part.partition('=')
    if key not in fields or key in _STRUCTURE or key == 'max_seq_len':
      raise ValueError(
          f'--hparams={hparams}: {key} of {name} cannot be changed')
    try:
      if fields[key].type is str:
        changes[key] = text
        continue
      value = json.loads(text.lower())
      changes[key] = _from_json(
          fields[key], tuple(value) if isinstance(value, list) else value)
    except ValueError as error:
      raise ValueError(
          f'--hparams={hparams} cannot be read: {part}: {error}') from error
  return dataclasses.replace(BANDS[name], **changes)


def magenta_name(name: str) -> str:
  """The config of Magenta's that a config is or extends: same examples.

  Raises:
    ValueError: for an unknown name.
  """
  if name not in REGISTRY:
    raise ValueError(
        f'unknown config {name!r}; known are: '
        f'{", ".join([*REGISTRY, *BANDS])}')
  return REGISTRY[name].extends


def _magenta_config(name: str):
  from va_magenta import magenta_compat

  return magenta_compat.configs.CONFIG_MAP[magenta_name(name)]


def guess(arrays: Mapping, path: os.PathLike) -> Config:
  """The config of a checkpoint of Magenta's, which does not say it.

  Args:
    arrays: its weights, by Magenta's names.
    path: what errors call it.

  Raises:
    ValueError: if it is of none that is known.
  """
  biases = {name: len(a) for name, a in arrays.items() if name.endswith('bias')}
  shape = (
      biases.get('encoder/mu/bias'),
      sum(n for name, n in biases.items() if 'output_projection' in name),
      any('hierarchical_level' in name for name in biases))
  for name in MAGENTAS:
    config = from_magenta(name)
    if shape == (config.z_size, config.depth, bool(config.level_lengths)):
      return config
  raise ValueError(
      f'{path} is a checkpoint of none of the configs {", ".join(MAGENTAS)}')


def data_converter(name: str):
  """Magenta's converter of a config, with every example of a piece kept."""
  converter = copy.deepcopy(_magenta_config(name).data_converter)
  converter.set_mode('eval')
  converter.max_tensors_per_notesequence = None
  return converter


def from_magenta(name: str, hparams: str = '') -> Config:
  """A config of Magenta's `CONFIG_MAP`, or one that extends it, as ours.

  Args:
    name: of `REGISTRY`.
    hparams: changes to hyperparameters, Magenta's or ours, written as on
      Magenta's command line: 'batch_size=64,dec_rnn_size=[128,128]'.

  Raises:
    ValueError: for an unknown name or hyperparameter.
  """
  magenta = _magenta_config(name)
  from va_magenta.magenta_compat import structure_of

  # Some configs write 0 where others write 0.25, and HParams would take the
  # type of what is written.
  floats = {f.name for f in dataclasses.fields(Config) if f.type is float}
  values = type(magenta.hparams)(**{
      k: float(v) if k in floats else v
      for k, v in magenta.hparams.values().items()})
  fields = {f.name for f in dataclasses.fields(Config)}
  for field in dataclasses.fields(Config):
    if field.name not in (*values.values(), *_STRUCTURE):
      values.add_hparam(field.name, field.default)
  values.override_from_dict(dict(REGISTRY[name].changes))
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
  shared = {
      k: tuple(v) if isinstance(v, list) else v
      for k, v in values.values().items() if k in fields
  }
  structure = {**structure_of(magenta), **REGISTRY[name].structure}
  return Config(name=name, **structure, **shared)
