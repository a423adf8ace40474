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
estimates them. What its loss is made of are hyperparameters:

  va_magenta_train --config=va-cat-mel_2bar --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --warm_start=cat-mel_2bar_small \
    --hparams=learning_rate=0.0003,decay_rate=0.998,batch_size=64

In va-hierdec configs the conductor may be given the VA of each bar too, with
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

A band's voices are given the VA of Lakh-VA's labels, who plays, and the chords,
which are read from the MIDI files; with va_weight, a critic judges what they
play:

  va_magenta_train --config=va-cat-band_2bar --run_dir=/tmp/run \
    --examples_path=my_midi_files/ --labels=labels.parquet --num_steps=20000

So does one of 16 bars, with --config=va-hierdec-band_16bar
--segments=va-cat-band_2bar. KERAS_BACKEND=jax trains on JAX.

After the MusicVAE, the prior of its latents is learned, and the forms of the
corpus, in --prior_steps: music is drawn where people's lies. For a checkpoint
that is there already, such as Magenta's, that alone is done; run_dir then is a
checkpoint like it that has a prior:

  va_magenta_train --prior_of=cat-mel_2bar_big --run_dir=/tmp/big \
    --examples_path=my_midi_files/ --prior_steps=8000

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
import dataclasses
import pathlib

from absl import flags

from va_magenta import command, files

_CONFIG = flags.DEFINE_string(
    'config', None,
    "Name of the config: Magenta's, or va- and Magenta's to follow VA.")
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Folder of the run.', required=True)
_EXAMPLES_PATH = command.DEFINE_path(
    'examples_path', None,
    'Folder or glob of MIDI files, or glob of TFRecord files of NoteSequences; '
    'or bands.npz, the corpus that a run with a prior wrote.')
_TFDS_NAME = flags.DEFINE_string(
    'tfds_name', None,
    'Instead, a TensorFlow Dataset whose examples carry MIDI.')
_LABELS = command.DEFINE_path(
    'labels', None,
    'Of the corpus of a band, the table of its VA: labels.parquet of Lakh-VA.')
_CACHE_DIR = command.DEFINE_path(
    'cache_dir', None,
    'Folder for the converted examples; in run_dir if not given.')
_NUM_STEPS = flags.DEFINE_integer(
    'num_steps', 200000, 'Training steps in all.', lower_bound=1)
_HPARAMS = flags.DEFINE_string(
    'hparams', '',
    'Changes to the hyperparameters: name=value, separated by commas.')
_OBJECTIVE = flags.DEFINE_enum(
    'objective', None, ['elbo', 'wae_mmd', 'wae_gan'],
    'What brings z to its prior; the same as --hparams=objective=...')
_WARM_START = command.DEFINE_path(
    'warm_start', None, 'Checkpoint to begin with.')
_SEGMENTS = command.DEFINE_path(
    'segments', None,
    'Instead, the checkpoint of a flat model that reads and plays the segments '
    'of a hierarchy; only the levels above it are trained.')
_CRITIC = command.DEFINE_path(
    'critic', None,
    'Checkpoint of the critic that va- configs follow; by default critic_va, '
    'or, of trios, trio_critic_va; of bands, band_critic_va.')
_PRIOR_OF = command.DEFINE_path(
    'prior_of', None,
    'Checkpoint that is there already, in place of --config: only the prior of '
    'its latents is learned, and the forms of the corpus; run_dir is given '
    'them, and the checkpoint itself.')
_PRIOR_STEPS = flags.DEFINE_integer(
    'prior_steps', 8000,
    'Training steps of the prior that is learned after the MusicVAE; 0 for '
    'none.', lower_bound=0)
_FREEZE = flags.DEFINE_enum(
    'freeze', None, ['encoder', 'decoder'], 'Part to keep as it is.')
_MAX_PER_PIECE = flags.DEFINE_integer(
    'max_per_piece', 64, 'Examples taken of a piece, at most.', lower_bound=1)
_STRATEGY = flags.DEFINE_enum(
    'strategy', 'none', ['none', 'mirrored', 'multi_worker'],
    'Whether batches are dealt out: to all devices of this machine, or to the '
    'processes that TF_CONFIG names.')
_PRECISION = flags.DEFINE_enum(
    'precision', 'float32', ['float32', 'mixed_bfloat16', 'mixed_float16'],
    'Of the LSTMs in training; weights and losses are float32 in any case.')
_GRADIENT_ACCUMULATION_STEPS = flags.DEFINE_integer(
    'gradient_accumulation_steps', 1,
    'Batches that make one change of the weights.', lower_bound=1)
_SEED = flags.DEFINE_integer(
    'seed', 0, 'Seed of everything random.', lower_bound=0,
    upper_bound=2**32 - 1)


def main(argv):
  """Trains as the flags say."""
  from va_magenta import checkpoints
  from va_magenta.training.music_vae import examples
  from va_magenta.training.music_vae import train as training
  from va_magenta.va_to_music import configs

  if _STRATEGY.value == 'multi_worker' and not _CACHE_DIR.value:
    raise ValueError(
        '--strategy=multi_worker needs --cache_dir: only the chief writes to '
        '--run_dir')
  if _SEGMENTS.value and (
      _WARM_START.value or _FREEZE.value or _STRATEGY.value != 'none'
      or _PRECISION.value != 'float32'
      or _GRADIENT_ACCUMULATION_STEPS.value > 1):
    raise ValueError(
        '--segments trains nothing but the levels above, on one device: leave '
        'out --warm_start, --freeze, --strategy, --precision and '
        '--gradient_accumulation_steps')
  # Workers meet before TensorFlow is used for anything else.
  strategy = training.Strategy(_STRATEGY.value)
  if (_CONFIG.value is None) == (_PRIOR_OF.value is None):
    raise ValueError(
        'give either --config, of a MusicVAE to be trained, or --prior_of, '
        'the checkpoint of one')
  cache_dir = _CACHE_DIR.value or f'{_RUN_DIR.value}/examples'
  if _PRIOR_OF.value:
    from va_magenta.composing import models
    if not _PRIOR_STEPS.value:
      raise ValueError('--prior_of learns a prior: --prior_steps must not be 0')
    vae = models.music_vae(_PRIOR_OF.value)
    with files.held(pathlib.Path(_RUN_DIR.value).expanduser()):
      _learn_prior(vae, _read_bands(cache_dir), cache_dir)
    return
  hparams = _HPARAMS.value
  if _OBJECTIVE.value:
    hparams = ','.join(filter(None, [hparams, f'objective={_OBJECTIVE.value}']))
  config = configs.get(_CONFIG.value, hparams)
  critic = None
  if config.context_depth:
    if config.va_weight:
      from va_magenta.music_to_va import band_critic
      critic = band_critic.load(_CRITIC.value)
  elif config.control_depth:
    critic = _load_critic(config)
  warm_start = _WARM_START.value and checkpoints.resolve(_WARM_START.value)
  bands = None
  if config.context_depth or _is_corpus_of_bands():
    from va_magenta.training import band_corpus
    num_bars = config.max_seq_len // 16
    bands = _read_bands(cache_dir)
    # In the key without accidentals, in which priors and harmony learn.
    config = dataclasses.replace(config, transpose_range=(0, 0))
    corpus = band_corpus.to_examples(
        bands, num_bars, num_bars, _MAX_PER_PIECE.value,
        voices=len(config.output_depths))
  else:
    corpus = examples.convert(
        configs.magenta_name(_CONFIG.value), cache_dir,
        examples_path=_EXAMPLES_PATH.value, tfds_name=_TFDS_NAME.value,
        max_per_piece=_MAX_PER_PIECE.value)
    if corpus.tokens.shape[1] > config.max_seq_len:
      corpus = examples.cut(corpus, config.max_seq_len)
  print(f'{len(corpus.tokens)} examples of {len(corpus.names)} pieces')
  with contextlib.ExitStack() as stack:
    if not strategy.worker:  # The chief alone writes.
      stack.enter_context(files.held(pathlib.Path(_RUN_DIR.value).expanduser()))
    if _SEGMENTS.value:
      from va_magenta.training.music_vae import latent_pretraining
      flat = latent_pretraining.load_flat(
          checkpoints.resolve(_SEGMENTS.value), config, critic)
      figures = latent_pretraining.train(
          config, flat, corpus, latent_pretraining.read(
              flat, corpus, config, seed=_SEED.value,
              cache_dir=_CACHE_DIR.value),
          _RUN_DIR.value, num_steps=_NUM_STEPS.value, seed=_SEED.value)
    else:
      figures = training.train(
          config, corpus, _RUN_DIR.value, num_steps=_NUM_STEPS.value,
          critic=critic, warm_start=warm_start, freeze=_FREEZE.value,
          seed=_SEED.value, strategy=strategy, precision=_PRECISION.value,
          gradient_accumulation_steps=_GRADIENT_ACCUMULATION_STEPS.value)
    for name, value in figures.items():
      print(f'test {name}: {value:.4f}'.removesuffix('.0000'))
    if figures:
      print(f'wrote {_RUN_DIR.value}/config.json and weights.npz')
    if _PRIOR_STEPS.value and not strategy.worker:
      from va_magenta.va_to_music import music_vae
      try:
        _learn_prior(
            music_vae.load(pathlib.Path(_RUN_DIR.value).expanduser()),
            bands or _read_bands(cache_dir), cache_dir)
      except (ValueError, FileNotFoundError) as error:
        print(f'no prior is learned: {error}')


def _load_critic(config):
  """The critic of melodies or trios that --critic names, or that ships."""
  from va_magenta import checkpoints
  from va_magenta.music_to_va import critic as critics

  return critics.load(
      checkpoints.resolve(_CRITIC.value) if _CRITIC.value else
      critics.shipped(len(config.output_depths)))


def _is_corpus_of_bands() -> bool:
  return (_EXAMPLES_PATH.value or '').endswith('.npz')


def _read_bands(cache_dir):
  """The MIDI files at --examples_path as a `band_corpus.Corpus`."""
  from va_magenta.training import band_corpus

  if not _EXAMPLES_PATH.value:
    raise ValueError(
        'bands, and priors, are learned from a folder of MIDI files: give '
        '--examples_path')
  if _is_corpus_of_bands():
    return band_corpus.load(_EXAMPLES_PATH.value)
  return band_corpus.convert(
      cache_dir, examples_path=_EXAMPLES_PATH.value, labels=_LABELS.value)


def _learn_prior(vae, bands, cache_dir):
  """Learns where a MusicVAE's latents lie, and the forms of its corpus.

  Raises:
    ValueError: if the corpus has too little of what is needed.
  """
  from va_magenta import checkpoints
  from va_magenta.training import band_corpus, latents
  from va_magenta.training.music_vae import prior
  from va_magenta.va_to_music import forms, magenta_weights
  from va_magenta.va_to_music import prior as priors

  run_dir = pathlib.Path(_RUN_DIR.value).expanduser()
  config = vae.config
  forms_of = latents.find_forms(bands, len(config.output_depths))
  found = latents.read(
      vae, bands, cache_dir,
      None if config.context_depth else _load_critic(config))
  print(', '.join(
      f'{len(rows)} windows of {latents.WINDOW_BARS} bars in {split}'
      for split, rows in found.rows.items()))
  figures = prior.train(
      latents.config_of(config), found, run_dir / 'prior',
      num_steps=_PRIOR_STEPS.value, seed=_SEED.value,
      warm_start=(
          _PRIOR_OF.value and _WARM_START.value
          and checkpoints.resolve(_WARM_START.value)))
  if _PRIOR_OF.value:
    config.save(run_dir / 'config.json')
    magenta_weights.save(vae, run_dir / 'weights.npz')
  priors.save(priors.load(run_dir / 'prior'), run_dir)
  forms.save(forms_of, run_dir)
  band_corpus.save(bands, run_dir / 'bands.npz')
  for name, value in figures.items():
    print(f'prior: validation {name}: {value:.4f}')
  print(f'wrote prior.json, prior.npz, forms.json, forms.npz to '
        f'{_RUN_DIR.value}, and bands.npz, the corpus')


def console_entry_point():
  """The command `va_magenta_train`."""
  command.run(main, any_backend=True)


if __name__ == '__main__':
  console_entry_point()
