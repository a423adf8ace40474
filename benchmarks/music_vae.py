r"""Our MusicVAE against Magenta's own, in one run on one machine, as ratios.

  python benchmarks/music_vae.py --config=cat-mel_2bar_small
  python benchmarks/music_vae.py --config=hierdec-mel_16bar --batch_size=32 \
    --hparams=z_size=128,enc_rnn_size=[256,256],dec_rnn_size=[256,256]

Both sides hold the same weights and see the same random examples:

- sampling: `TrainedModel.sample` against `MusicVAE.sample` and conversion to
  NoteSequences, melodies a second;
- training: the train operation of Magenta's `music_vae_train` (gradients,
  clipping by the global norm, Adam), fed from memory, against one step of ours,
  examples a second.

The sides take turns, and the ratio is that of their best rounds, as another
load on the machine only ever slows a round down.

At released sizes (`--config=hierdec-mel_16bar --nosampling --batch_size=8
--rounds=2 --steps=1`) a step takes half a minute of a core, and both sides take
17 GB with one thread (`TF_NUM_INTRAOP_THREADS=1`), more than 23 with two.
"""

import copy
import tempfile
import time

import numpy as np
import reporting
from absl import app, flags

FLAGS = flags.FLAGS

flags.DEFINE_string('config', 'cat-mel_2bar_small', 'Magenta config.')
flags.DEFINE_string('hparams', '', 'Changes to its hyperparameters.')
flags.DEFINE_string(
    'precision', 'float32', 'Of our training, as in va_magenta_train.')
flags.DEFINE_integer('batch_size', 128, 'Examples a step, pieces a batch.')
flags.DEFINE_integer('rounds', 5, 'Rounds of each side.')
flags.DEFINE_integer('steps', 3, 'Steps or batches a round.')
flags.DEFINE_bool('sampling', True, 'Whether to measure sampling.')
flags.DEFINE_bool('training', True, 'Whether to measure training.')


def _compare(name, unit, theirs, ours) -> float:
  """Prints the best rates of two functions of one step; gives their ratio."""
  sides = {'Magenta': theirs, 'va_magenta': ours}
  best = dict.fromkeys(sides, 0.0)
  for step in sides.values():
    step()  # Compiles.
  for _ in range(FLAGS.rounds):
    for side, step in sides.items():
      start = time.perf_counter()
      for _ in range(FLAGS.steps):
        step()
      seconds = time.perf_counter() - start
      best[side] = max(best[side], FLAGS.batch_size * FLAGS.steps / seconds)
  ratio = best['va_magenta'] / best['Magenta']
  print(f'{FLAGS.config} {name}: ' + ', '.join(
      f'{side} {rate:.4g} {unit}' for side, rate in best.items())
      + f', ratio {ratio:.2f}', flush=True)
  return ratio


def _magenta_train_step(config, tokens_one_hot):
  """One step of Magenta's training; follows music_vae_train.train."""
  import tensorflow.compat.v1 as tf

  hparams, converter = config.hparams, config.data_converter
  with tf.Graph().as_default():
    model = config.model
    model.build(hparams, converter.output_depth, is_training=True)
    x = tf.constant(tokens_one_hot)
    optimizer = model.train(
        x, x, tf.fill([FLAGS.batch_size], hparams.max_seq_len))
    grads, variables = zip(
        *optimizer.compute_gradients(model.loss), strict=True)
    clipped, _ = tf.clip_by_global_norm(grads, hparams.grad_clip)
    train_op = optimizer.apply_gradients(
        list(zip(clipped, variables, strict=True)),
        global_step=model.global_step)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return lambda: session.run(train_op)


def main(argv):
  """Runs the comparisons that the flags ask for."""
  del argv
  import keras

  from va_magenta.magenta_compat import TrainedModel, configs
  from va_magenta.music import melody
  from va_magenta.training.music_vae import train as training
  from va_magenta.va_to_music import configs as our_configs
  from va_magenta.va_to_music import magenta_weights, music_vae

  hparams = ','.join(filter(None, [
      FLAGS.hparams, f'batch_size={FLAGS.batch_size}']))
  magenta = copy.deepcopy(configs.CONFIG_MAP[FLAGS.config])
  magenta.hparams.parse(hparams)
  config = our_configs.from_magenta(FLAGS.config, hparams)
  random = np.random.default_rng(0)
  figures = {}

  if FLAGS.sampling:
    model = music_vae.MusicVAE(config)
    with tempfile.TemporaryDirectory() as folder:
      magenta_weights.save(model, f'{folder}/model.ckpt-0')
      trained = TrainedModel(
          copy.deepcopy(magenta), FLAGS.batch_size, folder)

    def sample():
      z = random.standard_normal(
          (FLAGS.batch_size, config.z_size), np.float32)
      for tokens in model.sample(z)[..., 0]:
        melody.tokens_to_sequence(
            tokens, tempo_qpm=120, program=0, velocity=80)

    length = config.max_seq_len
    figures['sampling'] = _compare(
        'sampling', 'melodies/s',
        lambda: trained.sample(FLAGS.batch_size, length=length), sample)
    z = random.standard_normal((FLAGS.batch_size, config.z_size), np.float32)
    _compare('sampling, tensors alone', 'melodies/s',
             lambda: trained.decode_to_tensors(z, length),
             lambda: model.sample(z))

  if FLAGS.training:
    tokens = random.integers(
        0, 90, (FLAGS.batch_size, config.max_seq_len, 1)).astype(np.int32)
    one_hot = np.eye(90, dtype=np.float32)[tokens[..., 0]]
    model = music_vae.MusicVAE(config, precision=FLAGS.precision)
    model.compile(
        keras.optimizers.Adam(
            training.MagentaDecay(config), global_clipnorm=config.grad_clip),
        jit_compile=False)
    figures['training'] = _compare(
        'training', 'examples/s', _magenta_train_step(magenta, one_hot),
        lambda: model.train_on_batch({'tokens': tokens}))
  run = f'{FLAGS.config}, batches of {FLAGS.batch_size}'
  if FLAGS.precision != 'float32':
    run += f', {FLAGS.precision}'
  reporting.add(figures, run)


if __name__ == '__main__':
  app.run(main)
