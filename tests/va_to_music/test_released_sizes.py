"""Magenta's released checkpoints in their own sizes begin our training.

The released files are not at hand, so Magenta's own code writes checkpoints of
its own configs, unchanged.
"""

import copy
import dataclasses

import numpy as np
import pytest

from va_magenta.music.corpus import split_of
from va_magenta.training.music_vae import examples
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import configs, magenta_weights

pytestmark = pytest.mark.slow


def _write_checkpoint(name, prefix):
  """Has Magenta build a config as it is and save it."""
  import tensorflow.compat.v1 as tf

  compat = pytest.importorskip('va_magenta.magenta_compat')
  config = copy.deepcopy(compat.configs.CONFIG_MAP[name])
  config.hparams.parse('batch_size=1')
  with tf.Graph().as_default(), tf.Session() as session:
    model = config.model
    model.build(
        config.hparams, config.data_converter.output_depth, is_training=False)
    # Its variables come to be when its parts are used.
    model.sample(1, max_length=config.hparams.max_seq_len, temperature=1.0)
    model.encode(
        tf.zeros([1, config.hparams.max_seq_len,
                  config.data_converter.output_depth]),
        tf.fill([1, *config.data_converter.length_shape],
                config.hparams.max_seq_len // int(np.prod(
                    config.data_converter.length_shape, dtype=int))))
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(
        session, str(prefix), global_step=0, write_meta_graph=False)


@pytest.mark.parametrize(
    'name', ['hierdec-mel_16bar', 'hierdec-trio_16bar'])
def test_a_checkpoint_in_magentas_sizes_begins_a_run(
    tmp_path, stand_in_critic, name):
  _write_checkpoint(name, tmp_path / 'model.ckpt')
  config = configs.from_magenta(f'va-{name}', 'batch_size=1,va_weight=0')
  random = np.random.default_rng(0)
  corpus = examples.Examples(
      np.stack([random.integers(0, depth, (1, config.max_seq_len))
                for depth in config.output_depths], axis=-1).astype(np.int16),
      np.zeros(1, np.int32), ['piece 2'])
  assert split_of('piece 2') == 'train'
  begun = magenta_weights.read(tmp_path)
  training.train(
      dataclasses.replace(config, kl_control_weight=0.0), corpus,
      tmp_path / 'run', num_steps=1, critic=stand_in_critic(config.depth),
      warm_start=str(tmp_path), freeze='encoder')
  trained = magenta_weights.read(tmp_path / 'run')
  moved = set()
  for kind, array in trained.items():
    before = begun[kind]
    if array.shape != before.shape:
      # The control's rows, between those of the input and of the state.
      row = config.depth if kind.startswith('encoder') else (
          array.shape[0] - 2 - array.shape[1] // 4)
      added = array[row:row + 2]
      array = np.delete(array, [row, row + 1], axis=0)
      if kind.startswith('encoder'):
        assert not added.any()
    # A step of Adam moves no weight by more than the learning rate.
    np.testing.assert_allclose(array, before, atol=2 * config.learning_rate)
    if (array != before).any():
      moved.add(kind.split('/')[0])
  assert moved == {'decoder'} | (
      {'core_decoder'} if any('core_decoder' in kind for kind in trained)
      else set())
