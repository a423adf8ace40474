r"""Trains or fine-tunes a MusicVAE on note sequences.

From scratch, in a Magenta config, on a folder of MIDI files:

  va_magenta_train --config=cat-mel_2bar_small --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --num_steps=20000

A released Magenta checkpoint goes on learning (any `.tar`, folder, prefix, or
name that `va_magenta_generate --checkpoint` knows):

  va_magenta_train --config=cat-mel_2bar_small --run_dir=/tmp/run \
    --examples_path=notesequences.tfrecord --warm_start=cat-mel_2bar_small \
    --hparams=learning_rate=0.0003,batch_size=128

A config that begins with va- learns to follow valence and arousal, as a critic
hears them. What its loss is made of are hyperparameters:

  va_magenta_train --config=va-cat-mel_2bar --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --warm_start=cat-mel_2bar_small \
    --hparams=learning_rate=0.0003,decay_rate=0.998,batch_size=64

In va-hierdec configs the conductor may hear the VA of each bar too, with
--hparams=conductor_control=True; Magenta cannot open what comes of it.

A hierarchy of 16 bars may begin with a model of 2 bars, which becomes what
reads and plays its segments: first the levels above them learn, from what that
one makes of segments, and then all goes on in notes:

  va_magenta_train --config=va-hierdec-mel_16bar_small --run_dir=/tmp/levels \
    --examples_path=my_midi_files/ --segments=va-cat-mel_2bar \
    --num_steps=20000
  va_magenta_train --config=va-hierdec-mel_16bar_small --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --warm_start=/tmp/levels --freeze=encoder \
    --num_steps=1000

A band's voices hear the VA of Lakh-VA's labels, who plays, and the chords,
which are read from the MIDI files; with va_weight, a critic hears what they
play:

  va_magenta_train --config=va-cat-band_2bar --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --labels=labels.parquet --num_steps=20000

On GPUs, --precision=mixed_bfloat16 is faster, and --strategy=mirrored takes all
of one machine. --strategy=multi_worker takes several machines: the same command
runs once for each GPU, with a run_dir that all see, and TF_CONFIG says which of
all it is:

  TF_CONFIG='{"cluster": {"worker": ["one:2222", "two:2222"]},
    "task": {"type": "worker", "index": 0}}' va_magenta_train \
    --strategy=multi_worker --cache_dir=/tmp/examples --config=... ...

Started again with the same flags, a run goes on where it stood. `run_dir` is a
checkpoint for `va_magenta_generate --checkpoint`; TensorBoard reads it too.
"""

import contextlib
import pathlib

from absl import flags

from va_magenta import command, files

FLAGS = flags.FLAGS

flags.DEFINE_string(
    'config', None,
    "Name of the config: Magenta's, or va- and Magenta's to follow VA.")
command.DEFINE_path('run_dir', None, 'Folder of the run.')
command.DEFINE_path(
    'examples_path', None,
    'Folder or glob of MIDI files, or glob of TFRecord files of NoteSequences.')
flags.DEFINE_string(
    'tfds_name', None,
    'Instead, a TensorFlow Dataset whose examples carry MIDI.')
command.DEFINE_path(
    'labels', None,
    'Of the corpus of a band, the table of its VA: labels.parquet of Lakh-VA.')
command.DEFINE_path(
    'cache_dir', None,
    'Folder for the converted examples; in run_dir if not given.')
flags.DEFINE_integer(
    'num_steps', 200000, 'Training steps in all.', lower_bound=1)
flags.DEFINE_string(
    'hparams', '',
    'Changes to the hyperparameters: name=value, separated by commas.')
flags.DEFINE_enum(
    'objective', None, ['elbo', 'wae_mmd', 'wae_gan'],
    'What brings z to its prior; the same as --hparams=objective=...')
command.DEFINE_path('warm_start', None, 'Checkpoint to begin with.')
command.DEFINE_path(
    'segments', None,
    'Instead, the checkpoint of a flat model that reads and plays the segments '
    'of a hierarchy; only the levels above it are trained.')
command.DEFINE_path(
    'critic', None,
    'Checkpoint of the critic that va- configs follow; by default critic_va, '
    'or, of trios, trio_critic_va.')
command.DEFINE_path(
    'prior_of', None,
    "Of a band, in place of a MusicVAE: learn the prior of this checkpoint's "
    'latents, and the forms of the corpus.')
flags.DEFINE_enum(
    'freeze', None, ['encoder', 'decoder'], 'Part to keep as it is.')
flags.DEFINE_integer(
    'max_per_piece', 64, 'Examples taken of a piece, at most.', lower_bound=1)
flags.DEFINE_enum(
    'strategy', 'none', ['none', 'mirrored', 'multi_worker'],
    'Whether batches are dealt out: to all devices of this machine, or to the '
    'processes that TF_CONFIG names.')
flags.DEFINE_enum(
    'precision', 'float32', ['float32', 'mixed_bfloat16', 'mixed_float16'],
    'Of the LSTMs in training; weights and losses are float32 in any case.')
flags.DEFINE_integer(
    'gradient_accumulation_steps', 1,
    'Batches that make one change of the weights.', lower_bound=1)
flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)


def main(argv):
  """Trains as the flags say."""
  for name in ('config', 'run_dir'):
    if not FLAGS[name].value:
      raise ValueError(f'--{name} must be given')
  from va_magenta import checkpoints
  from va_magenta.training.music_vae import examples
  from va_magenta.training.music_vae import train as training
  from va_magenta.va_to_music import configs

  if FLAGS.strategy == 'multi_worker' and not FLAGS.cache_dir:
    raise ValueError(
        '--strategy=multi_worker needs --cache_dir: only the chief writes to '
        '--run_dir')
  if FLAGS.segments and (
      FLAGS.warm_start or FLAGS.freeze or FLAGS.strategy != 'none'
      or FLAGS.precision != 'float32'
      or FLAGS.gradient_accumulation_steps > 1):
    raise ValueError(
        '--segments trains nothing but the levels above, on one device: leave '
        'out --warm_start, --freeze, --strategy, --precision and '
        '--gradient_accumulation_steps')
  # Workers meet before TensorFlow is used for anything else.
  strategy = training.Strategy(FLAGS.strategy)
  if FLAGS.prior_of and not configs.get(FLAGS.config).context_depth:
    raise ValueError(
        f'--prior_of is for bands, va-cat-band_2bar; {FLAGS.config} is none')
  hparams = FLAGS.hparams
  if FLAGS.objective:
    hparams = ','.join(filter(None, [hparams, f'objective={FLAGS.objective}']))
  config = configs.get(FLAGS.config, hparams)
  critic = None
  if config.context_depth:
    if config.va_weight:
      if not FLAGS.critic:
        raise ValueError('a band with va_weight needs --critic: none ships')
      from va_magenta.music_to_va import band_critic
      critic = band_critic.load(FLAGS.critic)
  elif config.control_depth:
    from va_magenta.music_to_va import critic as critics
    critic = critics.load(
        checkpoints.resolve(FLAGS.critic) if FLAGS.critic else
        critics.shipped(len(config.output_depths)))
  warm_start = FLAGS.warm_start and checkpoints.resolve(FLAGS.warm_start)
  cache_dir = FLAGS.cache_dir or f'{FLAGS.run_dir}/examples'
  if config.context_depth:
    from va_magenta.training import band_corpus
    num_bars = config.max_seq_len // 16
    bands = band_corpus.convert(
        cache_dir, examples_path=FLAGS.examples_path, labels=FLAGS.labels)
    if FLAGS.prior_of:
      _train_prior(bands, warm_start, cache_dir)
      return
    corpus = band_corpus.to_examples(
        bands, num_bars, num_bars, FLAGS.max_per_piece)
  else:
    corpus = examples.convert(
        configs.magenta_name(FLAGS.config), cache_dir,
        examples_path=FLAGS.examples_path, tfds_name=FLAGS.tfds_name,
        max_per_piece=FLAGS.max_per_piece)
    if corpus.tokens.shape[1] > config.max_seq_len:
      corpus = examples.cut(corpus, config.max_seq_len)
  print(f'{len(corpus.tokens)} examples of {len(corpus.names)} pieces')
  with contextlib.ExitStack() as stack:
    if not strategy.worker:  # The chief alone writes.
      stack.enter_context(files.held(pathlib.Path(FLAGS.run_dir).expanduser()))
    if FLAGS.segments:
      from va_magenta.training.music_vae import levels
      flat = levels.load_flat(
          checkpoints.resolve(FLAGS.segments), config, critic)
      figures = levels.train(
          config, flat, corpus, levels.read(
              flat, corpus, config, seed=FLAGS.seed, cache_dir=FLAGS.cache_dir),
          FLAGS.run_dir, num_steps=FLAGS.num_steps, seed=FLAGS.seed)
    else:
      figures = training.train(
          config, corpus, FLAGS.run_dir, num_steps=FLAGS.num_steps,
          critic=critic, warm_start=warm_start, freeze=FLAGS.freeze,
          seed=FLAGS.seed, strategy=strategy, precision=FLAGS.precision,
          gradient_accumulation_steps=FLAGS.gradient_accumulation_steps)
  for name, value in figures.items():
    print(f'test {name}: {value:.4f}'.removesuffix('.0000'))
  if figures:
    print(f'wrote {FLAGS.run_dir}/config.json and weights.npz')


def _train_prior(bands, warm_start, cache_dir):
  """Learns where a band's latents lie, and the forms of its corpus."""
  from va_magenta import checkpoints
  from va_magenta.training import band_prior
  from va_magenta.training.music_vae import prior
  from va_magenta.va_to_music import music_vae

  with files.held(pathlib.Path(FLAGS.run_dir).expanduser()):
    latents = band_prior.read(
        music_vae.load(checkpoints.resolve(FLAGS.prior_of)), bands, cache_dir)
    print(', '.join(
        f'{len(rows)} windows of 16 bars in {split}'
        for split, rows in latents.rows.items()))
    figures = prior.train(
        band_prior.CONFIG, latents, FLAGS.run_dir, num_steps=FLAGS.num_steps,
        warm_start=warm_start, seed=FLAGS.seed)
    band_prior.write_forms(bands, FLAGS.run_dir)
  for name, value in figures.items():
    print(f'validation {name}: {value:.4f}')
  print(f'wrote {FLAGS.run_dir}/prior.json, prior.npz and forms.json')


def console_entry_point():
  """The command `va_magenta_train`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
