"""Pretraining of a hierarchy on the latent vectors of its segments.

A MusicVAE of 16 bars of our own begins as one of 2 bars. That one's encoder
reads each of 8 segments, its decoder plays it, and between them stand the
levels above: an encoder of the row of 8 embeddings, z, and a conductor that
makes a row of 8 embeddings of z. These alone have to be learned, and for that
no note has to be read or played again and again: each segment is what the flat
model's posterior says of it, N(mu, sigma^2), and the levels above are a VAE of
rows of such posteriors. A step is so cheap that two cores see a million pieces
in the time in which they would see ten thousand in notes.

  flat = latent_pretraining.load_flat('va-cat-mel_2bar', config, critic)
  latents = latent_pretraining.read(flat, corpus, config)
  latent_pretraining.train(config, flat, latents, run_dir, num_steps=...)

The conductor's outputs lie in (-1, 1), the flat model's z about N(0, 1): an
embedding is z / `SCALE`, which the weights above and below take into account.
What comes of it is a `MusicVAE` like any other, and goes on learning in notes
by `training.train`, with the run as its `warm_start`.
"""

import dataclasses
import functools
import json
import os
import pathlib

import keras
import numpy as np
from keras import ops

from va_magenta import files
from va_magenta.training.music_vae import examples
from va_magenta.training.music_vae import train as training
from va_magenta.va_to_music import magenta_weights, tensors, va_losses
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.music_vae import MusicVAE

SCALE = 4.0
_BATCH_SIZE = 512


@dataclasses.dataclass(frozen=True)
class Latents:
  """What a flat model makes of the segments of a corpus.

  Attributes:
    mu: float16 `[segments, z_size]`, of the flat model's posterior.
    sigma: float16 `[segments, z_size]`.
    controls: float32 `[segments, control_depth]`, the critic's VA;
      or, of a config with a context, the mean of those of the examples.
    rows: int32 `[transpositions, examples, segments of one]`, of each example,
      transposed by as many different steps, its segments.
  """

  mu: np.ndarray
  sigma: np.ndarray
  controls: np.ndarray
  rows: np.ndarray

  def gather(self, rows: np.ndarray) -> dict[str, np.ndarray]:
    """'mu', 'sigma' and 'controls' of segments, each `[*rows.shape, depth]`."""
    return {
        name: getattr(self, name)[rows].astype(np.float32)
        for name in ('mu', 'sigma', 'controls')}


def load_flat(path: str | os.PathLike, config: Config, critic) -> MusicVAE:
  """The flat model whose segments a hierarchy shall have.

  Args:
    path: folder of its checkpoint.
    config: of the hierarchy.
    critic: as in `training.train`.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if it is none of the hierarchy's segments.
  """
  path = pathlib.Path(path)
  if not (path / 'config.json').is_file():
    raise FileNotFoundError(
        f'{path} is not the folder of a checkpoint: it has no config.json')
  flat = Config.load(path / 'config.json')
  if not config.hierarchical_encoder:
    raise ValueError(
        f'{config.name} is no hierarchy above segments: such are '
        'va-hierdec-mel_16bar_small and va-hierdec-trio_16bar_small')
  wanted = {
      'max_seq_len': config.max_seq_len // config.num_segments,
      'output_depths': config.output_depths,
      'level_lengths': None,
      'z_size': config.embedding_depth,
      'enc_rnn_size': config.enc_rnn_size,
      'dec_rnn_size': config.dec_rnn_size,
      'control_depth': config.control_depth}
  for name, value in wanted.items():
    if getattr(flat, name) != value:
      raise ValueError(
          f'{path} cannot play the segments of {config.name}: its {name} is '
          f'{getattr(flat, name)}, {value} is needed')
  model = MusicVAE(
      dataclasses.replace(flat, control_gain=config.control_gain),
      critic=critic)
  magenta_weights.load(model, path / 'weights.npz')
  return model


def read(
    flat: MusicVAE, corpus: examples.Examples, config: Config, *,
    num_transpositions: int = 3, seed: int = 0,
    cache_dir: str | os.PathLike | None = None) -> Latents:
  """Reads each segment of a corpus once.

  Args:
    flat: see `load_flat`.
    corpus: examples of the hierarchy.
    config: of the hierarchy; its `transpose_range` is used.
    num_transpositions: each example is read so often, as it is and transposed,
      if it may be.
    seed: of the transpositions.
    cache_dir: where what was read is kept, if given.
  """
  if not any(config.transpose_range):
    num_transpositions = 1
  key = training.digest([
      *(np.asarray(weight) for weight in flat.get_weights()),
      *(flat.critic.func.get_weights() if corpus.controls is None else
        [corpus.controls]), corpus.tokens,
      np.array([num_transpositions, seed, *config.transpose_range])])[:12]
  kept = pathlib.Path(cache_dir).expanduser() / f'latents-{key}.npz' if (
      cache_dir) else None
  if kept and kept.exists():
    try:
      return Latents(**files.read_npz(kept))
    except (ValueError, TypeError) as error:
      raise ValueError(
          f'{kept} is damaged ({error}): remove it, and it is made again'
      ) from error
  random = np.random.default_rng(seed)
  segments = [corpus.tokens] + [
      training.transpose(corpus.tokens, config, random)
      for _ in range(num_transpositions - 1)]
  segments = np.stack(segments).reshape(
      -1, flat.config.max_seq_len, len(config.output_depths))
  parts = [segments] if corpus.controls is None else [
      segments, corpus.controls.reshape(
          len(segments), -1, config.control_depth)]
  # As bytes, which sort faster than rows of numbers.
  as_bytes = np.concatenate([
      np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8)
      for part in parts], axis=1)
  as_bytes = as_bytes.view(f'V{as_bytes.shape[1]}').ravel()
  _, first, rows = np.unique(as_bytes, return_index=True, return_inverse=True)
  segments, *given = (part[first] for part in parts)

  progress = keras.utils.Progbar(len(segments), unit_name='segment')
  found = {'mu': [], 'sigma': [], 'controls': []}
  for i in range(0, len(segments), _BATCH_SIZE):
    # All batches have one shape, so that nothing is compiled twice.
    rows_read = np.arange(i, i + _BATCH_SIZE)
    count = (rows_read < len(segments)).sum()
    rows_read = np.minimum(rows_read, len(segments) - 1)
    batch = segments[rows_read].astype(np.int32)
    controls = given[0][rows_read].astype(np.float32) if given else (
        flat.critic_va(batch))
    mu, sigma = flat.encode(batch, controls)
    for name, values, dtype in (
        ('mu', mu, np.float16), ('sigma', sigma, np.float16),
        ('controls', controls.mean(1), np.float32)):
      found[name].append(values[:count].astype(dtype))
    progress.add(int(count))
  latents = Latents(
      **{name: np.concatenate(values) for name, values in found.items()},
      rows=rows.astype(np.int32).reshape(
          num_transpositions, len(corpus.tokens), config.num_segments))
  if kept:
    with files.writing(kept) as temporary, temporary.open('wb') as file:
      np.savez(file, **dataclasses.asdict(latents))
  return latents


def grow(model: MusicVAE, flat: MusicVAE):
  """Gives a hierarchy a flat model's encoder and decoders for its segments."""
  encoder, decoder = model.encoder, model.decoder
  for name in ('forward', 'backward'):
    for ours, theirs in zip(getattr(encoder.segments, name),
                            getattr(flat.encoder, name), strict=True):
      ours.set_weights(theirs.get_weights())
  encoder.embedding.set_weights(
      [weight / SCALE for weight in flat.encoder.mu.get_weights()])
  for ours, theirs in zip(decoder.cores, flat.decoder.cores, strict=True):
    ours.set_weights(theirs.get_weights())
    # What reads z now reads embeddings.
    kernel = np.array(theirs.lstm.kernels[0])
    kernel[ours.depth:ours.depth + ours.z_size] *= SCALE
    ours.lstm.kernels[0].assign(kernel)
    dense = ours.initial_state.dense
    dense.kernel.assign(SCALE * np.array(dense.kernel))


class Levels(keras.Model):
  """The levels above segments of a `MusicVAE`, as a VAE of their own.

  Its data are rows of the segments' posteriors. Given an embedding e, a segment
  is N(`SCALE` e, deviation^2), with a deviation learned for each dimension.
  """

  def __init__(self, vae: MusicVAE, seed: int = 0, **kwargs):
    super().__init__(**kwargs)
    self.config = vae.config
    self.above = vae.encoder.above
    self.conductor = vae.decoder.conductor
    self.conductor_state = vae.decoder.conductor_state
    # A partial, so that Keras does not take all of it for a part of this.
    self.conduct = functools.partial(vae.decoder.embed_segments)
    self.log_deviation = self.add_weight(
        shape=(vae.config.embedding_depth,), initializer='zeros',
        name='log_deviation')
    self.random = keras.random.SeedGenerator(seed)
    self.trackers = {
        name: keras.metrics.Mean(name=name) for name in (
            'losses/r_loss', 'losses/kl_loss', 'losses/kl_bits',
            'losses/independence_loss', 'metrics/explained')}
    self.built = True

  def call(self, inputs, training=False):
    """The forward pass.

    Args:
      inputs: dict of 'mu' and 'sigma' `[batch, segments, depth]` of segments'
        posteriors, and 'controls' `[batch, segments, control_depth]`.
      training: whether z is drawn, and the control dropped now and then.

    Returns:
      dict of 'expected' `[batch, segments, depth]`, of the segments; and of z
      'mu' and 'sigma' `[batch, z_size]`.
    """
    controls = inputs['controls']
    mu, sigma = self.above(inputs['mu'] / SCALE)
    z = mu
    if training:
      controls = tensors.drop_controls(
          controls, self.config.control_dropout, self.random,
          self.config.context_depth)
      z = mu + sigma * keras.random.normal(ops.shape(mu), seed=self.random)
    embeddings = self.conduct(z, controls * self.config.control_gain)
    return {'expected': SCALE * embeddings, 'mu': mu, 'sigma': sigma}

  def losses_of(self, inputs, outputs) -> dict:
    """The terms of the loss and what it is watched by, for each example.

    Returns:
      Each `[batch]`: 'r_loss', the KL divergence of the segments' posteriors
      from what is expected of them, in nats; 'kl_loss' and 'kl_bits', as in
      `MusicVAE.losses_of`; 'explained', the share of the variance of segments'
      mu (about 0, their prior's mean) that is expected.
    """
    mu, sigma = inputs['mu'], inputs['sigma']
    error = ops.square(mu - outputs['expected'])
    variance = ops.exp(2 * self.log_deviation)
    r_loss = ops.sum(
        self.log_deviation - ops.log(sigma + 1e-6)
        + (ops.square(sigma) + error) / (2 * variance) - 0.5, axis=(1, 2))
    kl = va_losses.kl_to_prior(outputs['mu'], outputs['sigma'])
    return {
        'r_loss': r_loss,
        'kl_loss': ops.maximum(
            kl - self.config.free_bits * np.log(2), 0.0),
        'kl_bits': kl / np.log(2),
        'explained': 1 - ops.sum(error, axis=(1, 2)) / ops.sum(
            ops.square(mu), axis=(1, 2)),
    }

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    """r_loss, kl_loss and independence_loss, weighed as in `MusicVAE`."""
    del y, sample_weight, training
    losses = {name: ops.mean(values)
              for name, values in self.losses_of(x, y_pred).items()}
    losses['independence_loss'] = va_losses.cross_correlation(
        y_pred['mu'], ops.mean(x['controls'][..., :2], axis=1))
    for name, tracker in self.trackers.items():
      tracker.update_state(losses[name.rpartition('/')[-1]])
    return (losses['r_loss'] + self.config.max_beta * losses['kl_loss']
            + self.config.independence_weight * losses['independence_loss'])


class Batches(keras.utils.PyDataset):
  """Batches of rows of segments, each a function of (seed, step)."""

  def __init__(self, latents: Latents, rows: np.ndarray, batch_size: int,
               seed: int, first_step: int, last_step: int):
    super().__init__()
    self.latents, self.rows, self.batch_size = latents, rows, batch_size
    self.seed, self.first_step, self.last_step = seed, first_step, last_step

  def __len__(self):
    return self.last_step - self.first_step

  def __getitem__(self, index):
    random = np.random.default_rng([self.seed, self.first_step + index])
    chosen = tuple(
        random.integers(0, n, self.batch_size) for n in self.rows.shape[:2])
    return (self.latents.gather(self.rows[chosen]),)


def train(
    config: Config, flat: MusicVAE, corpus: examples.Examples,
    latents: Latents, run_dir: str | os.PathLike, *, num_steps: int,
    seed: int = 0, log_every: int = 100, save_every_seconds: float = 300,
    num_validation: int = 2048) -> dict[str, float]:
  """Trains the levels above, or goes on with the run that `run_dir` holds.

  Afterwards `run_dir` is a checkpoint of a whole model, as of `training.train`.

  Args:
    config: of the hierarchy.
    flat: see `load_flat`.
    corpus: examples of the hierarchy.
    latents: what `read` read of it.
    run_dir: folder of the run.
    num_steps: steps in all.
    seed: of initial weights, order and sampling.
    log_every: steps between TensorBoard's scalars.
    save_every_seconds: time between saves.
    num_validation: examples of the validation split that each save looks at.

  Returns:
    Of the test split 'test_examples', and 'metrics/explained', 'losses/r_loss'
    and 'losses/kl_bits' (see `Levels.losses_of`); `run_dir` holds them in
    `figures.json`.

  Raises:
    ValueError: if a split is empty or `run_dir` holds another run.
  """
  run_dir = pathlib.Path(run_dir).expanduser()
  rows = {
      split: latents.rows[:, corpus.of_split(split)]
      for split in ('train', 'validation', 'test')}
  if not rows['train'].size:
    raise ValueError('the corpus has no example in its train split')
  (run_dir / 'train').mkdir(parents=True, exist_ok=True)
  identity = json.loads(json.dumps({
      **dataclasses.asdict(config), 'seed': seed,
      'segments': training.digest(flat.get_weights()),
      'corpus': training.digest([latents.rows, latents.controls])}))
  goes_on = training.check_origin(run_dir, identity)
  keras.utils.set_random_seed(seed)
  vae = MusicVAE(config, seed=seed)
  grow(vae, flat)
  model = Levels(vae, seed=seed)
  optimizer = keras.optimizers.Adam(
      training.MagentaDecay(config), epsilon=1e-8,
      global_clipnorm=config.grad_clip)
  optimizer.build(model.trainable_variables)
  model.compile(optimizer, jit_compile=keras.backend.backend() == 'jax')
  first_step = training.load_state(model, run_dir) if goes_on else 0
  training.check_steps(run_dir, first_step, num_steps)
  training.write_origin(run_dir, identity, config)
  if first_step < num_steps:
    progress = training.Progress(
        run_dir, first_step, num_steps,
        lambda: magenta_weights.save(vae, run_dir / 'weights.npz'),
        lambda: evaluate(model, latents, rows['validation'][0][
            :num_validation]), log_every, save_every_seconds)
    model.fit(
        Batches(latents, rows['train'], config.batch_size, seed, first_step,
                num_steps), verbose=0, shuffle=False, callbacks=[progress])
    progress.save()
  figures = {
      'test_examples': rows['test'].shape[1],
      **evaluate(model, latents, rows['test'][0])}
  training.write_report(run_dir, num_steps, figures)
  return figures


def evaluate(
    model: Levels, latents: Latents, rows: np.ndarray) -> dict[str, float]:
  """Mean figures of examples, from the mean of each one's z.

  Args:
    model: the levels above.
    latents: of segments.
    rows: int `[examples, segments]`.
  """
  found = []
  for i in range(0, len(rows), _BATCH_SIZE):
    inputs = {
        name: ops.convert_to_tensor(values)
        for name, values in latents.gather(rows[i:i + _BATCH_SIZE]).items()}
    found.append({
        name: ops.convert_to_numpy(values) for name, values in model.losses_of(
            inputs, model(inputs)).items()})
  return {
      f'{kind}/{name}': float(np.concatenate([f[name] for f in found]).mean())
      for kind, name in (
          ('metrics', 'explained'), ('losses', 'r_loss'), ('losses', 'kl_bits'))
  } if found else {}
