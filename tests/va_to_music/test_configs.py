"""Configs: Magenta's values, changes to them, the file of a checkpoint."""

import dataclasses
import json

import pytest

from va_magenta.va_to_music import configs

# Where and how Magenta's graph says it, in no hyperparameter.
_STRUCTURE = {
    'cat-mel_2bar_small': ((90,), None, (-5, 5)),
    'cat-mel_2bar_big': ((90,), None, (-5, 5)),
    'hierdec-mel_16bar': ((90,), (16, 16), (0, 0)),
    'hierdec-trio_16bar': ((90, 90, 512), (16, 16), (0, 0)),
}
# Ours, in sizes that Magenta has not.
_OWN_SIZES = ('va-cat-trio_2bar', 'va-hierdec-mel_16bar_small',
              'va-hierdec-trio_16bar_small')
_CONFIG = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
    level_lengths=None, z_size=8, enc_rnn_size=(16,), dec_rnn_size=(12, 12))


def _one_line(info):
  assert '\n' not in str(info.value)
  return str(info.value)


@pytest.mark.parametrize('name', configs.MAGENTAS)
def test_values_are_magentas(name):
  compat = pytest.importorskip('va_magenta.magenta_compat')
  magenta = compat.configs.CONFIG_MAP[name]
  hparams = magenta.hparams.values()
  config = configs.from_magenta(name)
  assert config.name == name
  assert config.control_depth == 0
  assert config.depth == magenta.data_converter.output_depth
  assert (config.output_depths, config.level_lengths,
          config.transpose_range) == _STRUCTURE[name]
  ours = dataclasses.asdict(config)
  shared = ours.keys() & hparams.keys()
  assert ours.keys() - shared == {
      'name', 'output_depths', 'level_lengths', 'transpose_range',
      'control_depth', 'context_depth', 'conductor_control',
      'hierarchical_encoder', 'conductor_rnn_size', 'control_gain',
      'control_dropout', 'token_dropout', 'latent_noise',
      'objective', 'va_weight', 'kl_control_weight', 'va_share',
      'va_temperature', 'independence_weight', 'structure'}
  for key in shared:
    theirs = hparams[key]
    assert ours[key] == (tuple(theirs) if isinstance(theirs, list) else theirs)


def test_hyperparameters_may_be_changed():
  pytest.importorskip('va_magenta.magenta_compat')
  name = 'cat-mel_2bar_small'
  config = configs.from_magenta(
      name, 'batch_size=64,dec_rnn_size=[128,96],learning_rate=3e-4,'
      'control_depth=2,sampling_schedule=constant')
  assert config == dataclasses.replace(
      configs.from_magenta(name), batch_size=64, dec_rnn_size=(128, 96),
      learning_rate=3e-4, control_depth=2, sampling_schedule='constant')
  # Magenta's own table is not touched by that.
  assert configs.from_magenta(name).batch_size == 512


@pytest.mark.parametrize(
    'name', [n for n in configs.REGISTRY if n not in configs.MAGENTAS])
def test_conditioned_configs_extend_magentas(name):
  pytest.importorskip('va_magenta.magenta_compat')
  base = configs.magenta_name(name)
  assert configs.magenta_name(base) == base
  config, plain = configs.from_magenta(name), configs.from_magenta(base)
  same = ['output_depths']
  if name not in _OWN_SIZES:
    same += ['z_size', 'enc_rnn_size', 'dec_rnn_size', 'level_lengths',
             'max_seq_len', 'transpose_range']
  for key in same:
    assert getattr(config, key) == getattr(plain, key)
  assert (config.name, config.control_depth) == (name, 2)
  assert config.va_weight > 0 and 0 < config.control_dropout < 1
  assert configs.from_magenta(
      name, 'va_weight=0,independence_weight=0,objective=wae_mmd,max_beta=100',
  ) == dataclasses.replace(
      config, va_weight=0.0, independence_weight=0.0, objective='wae_mmd',
      max_beta=100.0)
  # The same examples, whose converter is Magenta's.
  assert type(configs.data_converter(name)) is type(
      configs.data_converter(base))


@pytest.mark.parametrize(('hparams', 'complaint'), [
    ('batchsize=3', 'batchsize; known are: batch_size, beta_rate, '),
    ('z_size=many', "'z_size' of type 'int' with value 'many'"),
    ('z_size=2.5', "'z_size' of type 'int' with value '2.5'"),
    ('z_size', 'Malformed hyperparameter value: z_size'),
    ('z_size=1,z_size=2', "Multiple assignments to variable 'z_size'"),
    ('enc_rnn_size=12', 'Must pass a list'),
    ('z_size=-2', 'z_size must be positive and whole, got -2'),
    ('batch_size=0', 'batch_size must be positive and whole, got 0'),
    ('enc_rnn_size=[]', 'enc_rnn_size must be positive and whole, got ()'),
    ('dec_rnn_size=[8,0]', 'dec_rnn_size must be positive and whole'),
    ('sampling_schedule=often', 'constant, inverse_sigmoid, exponential'),
    ('objective=gan', "unknown objective 'gan'; known are: elbo, wae_mmd, wae"),
    ('control_dropout=1.5', 'control_dropout must lie in 0..1, got 1.5'),
    ('va_share=-1', 'va_share must lie in 0..1, got -1.0'),
    ('control_gain=0', 'control_gain must be above 0, got 0.0'),
    ('va_temperature=0', 'va_temperature must be above 0, got 0.0'),
    ('va_weight=1', 'set control_depth=2, got 0'),
    ('independence_weight=1', 'set control_depth=2, got 0'),
    ('context_depth=3', 'context_depth must be 0 or control_depth - 2 = -2'),
    ('conductor_control=True',
     'is for a hierarchy with a control: cat-mel_2bar_small has level_lengths'),
    ('hierarchical_encoder=True',
     'is for a hierarchy of two levels: cat-mel_2bar_small has level_lengths'),
    ('max_seq_len=16', 'max_seq_len of cat-mel_2bar_small cannot be changed'),
    # Magenta's encoder has it and ours has not: better told than left out.
    ('residual_encoder=True', 'residual_encoder of cat-mel_2bar_small cannot'),
])
def test_bad_hyperparameters_are_one_line(hparams, complaint):
  pytest.importorskip('va_magenta.magenta_compat')
  with pytest.raises(ValueError) as info:
    configs.from_magenta('cat-mel_2bar_small', hparams)
  assert complaint in _one_line(info)


def test_a_conductor_may_hear_the_control():
  pytest.importorskip('va_magenta.magenta_compat')
  name = 'va-hierdec-mel_16bar'
  config = configs.from_magenta(name, 'conductor_control=True')
  assert config == dataclasses.replace(
      configs.from_magenta(name), conductor_control=True)
  with pytest.raises(ValueError, match='and control_depth 0$'):
    dataclasses.replace(
        configs.from_magenta('hierdec-mel_16bar'), conductor_control=True)


def test_rates_may_be_fractions_where_magenta_writes_whole_numbers():
  pytest.importorskip('va_magenta.magenta_compat')
  config = configs.from_magenta(
      'cat-mel_2bar_small', 'sampling_rate=0.5,free_bits=1.5,max_beta=1')
  assert (config.sampling_rate, config.free_bits, config.max_beta) == (
      0.5, 1.5, 1.0)


def test_a_band_hears_va_players_and_chords():
  config = configs.get('va-cat-band_2bar')
  assert (config.control_depth, config.context_depth) == (31, 29)
  assert config.output_depths == (90, 90, 512, 7)
  changed = configs.get(
      'va-cat-band_2bar',
      'batch_size=8,dec_rnn_size=[4,4],max_beta=1,objective=wae_mmd')
  assert changed == dataclasses.replace(
      config, batch_size=8, dec_rnn_size=(4, 4), max_beta=1.0,
      objective='wae_mmd')


@pytest.mark.parametrize(('hparams', 'complaint'), [
    ('batch_size=many', 'cannot be read: batch_size=many'),
    ('batch_size=0.5', 'batch_size is 0.5'),
    ('max_seq_len=64', 'max_seq_len of va-cat-band_2bar cannot be changed'),
    ('colour=blue', 'colour of va-cat-band_2bar cannot be changed'),
])
def test_a_bands_bad_hyperparameters_are_one_line(hparams, complaint):
  with pytest.raises(ValueError) as info:
    configs.get('va-cat-band_2bar', hparams)
  assert complaint in _one_line(info)


@pytest.mark.parametrize('name', ['cat-mel_4bar', 'groovae_2bar_humanize', ''])
def test_an_unknown_name_lists_the_known(name):
  pytest.importorskip('va_magenta.magenta_compat')
  with pytest.raises(ValueError) as info:
    configs.from_magenta(name)
  assert _one_line(info) == (
      f'unknown config {name!r}; known are: cat-mel_2bar_small, '
      'cat-mel_2bar_big, hierdec-mel_16bar, hierdec-trio_16bar, '
      'va-cat-mel_2bar, va-cat-trio_2bar, va-hierdec-mel_16bar, '
      'va-hierdec-mel_16bar_small, va-hierdec-trio_16bar, '
      'va-hierdec-trio_16bar_small, va-cat-band_2bar, '
      'va-hierdec-band_16bar')


@pytest.mark.parametrize('config', [
    _CONFIG,
    dataclasses.replace(
        _CONFIG, output_depths=(90, 90, 512), level_lengths=(16, 16),
        control_depth=2, transpose_range=(-5, 5), max_beta=0.2,
        sampling_schedule='inverse_sigmoid', sampling_rate=1000),
])
def test_what_is_saved_is_loaded(tmp_path, config):
  config.save(tmp_path / 'config.json')
  loaded = configs.Config.load(tmp_path / 'config.json')
  assert loaded == config
  assert hash(loaded) == hash(config)  # Lists would have become tuples.


def test_fractions_may_be_written_without_a_point(tmp_path):
  (tmp_path / 'config.json').write_text(_saved(beta_rate=1))
  loaded = configs.Config.load(tmp_path / 'config.json')
  assert type(loaded.beta_rate) is float and loaded.beta_rate == 1


def _saved(**changes):
  values = dataclasses.asdict(_CONFIG) | changes
  return json.dumps({k: v for k, v in values.items() if v != 'gone'})


@pytest.mark.parametrize('text', [
    '', '{', '[1, 2]', '{}', '3', 'null', '\x00\x01',
    _saved(z_size='gone'), _saved(colour='blue'), _saved(z_size='8'),
    _saved(z_size=None), _saved(z_size=0), _saved(enc_rnn_size=[]),
    _saved(dec_rnn_size=[12, 'x']), _saved(sampling_schedule=7),
    _saved(max_beta='1'), _saved(control_depth=1.5), _saved(name=3),
    _saved(control_depth=-1), _saved(level_lengths=8),
    _saved(max_beta=float('inf')), _saved(max_beta=10**400),
    _saved(conductor_control='no'),
    _saved(transpose_range=None), _saved()[:-20],
])
def test_a_damaged_file_is_one_line(tmp_path, text):
  path = tmp_path / 'config.json'
  path.write_text(text)
  with pytest.raises(ValueError) as info:
    configs.Config.load(path)
  assert _one_line(info).startswith(f'{path} is not the config of a MusicVAE:')


def test_bytes_that_are_no_text_are_one_line(tmp_path):
  (tmp_path / 'config.json').write_bytes(b'\xff\xfe\x00{')
  with pytest.raises(ValueError, match='is not the config of a MusicVAE'):
    configs.Config.load(tmp_path / 'config.json')


def test_converters_keep_every_example_of_a_piece():
  compat = pytest.importorskip('va_magenta.magenta_compat')
  converter = configs.data_converter('cat-mel_2bar_small')
  assert isinstance(converter, compat.data.BaseNoteSequenceConverter)
  assert converter.max_tensors_per_notesequence is None
  assert not converter.is_training
  # And Magenta's own is as it was.
  magentas = compat.configs.CONFIG_MAP['cat-mel_2bar_small'].data_converter
  assert magentas.max_tensors_per_notesequence == 5
