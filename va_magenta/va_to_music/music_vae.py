"""MusicVAE in Keras 3, in Magenta's sizes and with Magenta's weights.

Roberts et al., "A Hierarchical Latent Vector Model for Learning Long-Term
Structure in Music" (2018). A bidirectional LSTM encodes a piece into a latent
vector z; an LSTM decodes z, flat for two bars, or through a conductor LSTM that
gives every bar an embedding of its own.

Every variable has the shape and the gate order (i, j, f, o; forget bias 1 added
at run time) that it has in Magenta's checkpoints, so that weights travel both
ways unchanged (`magenta_weights.py`). What differs is the order of the work:

- The conductor is not fed what the bars play (Magenta's
  `disable_autoregression`), so with teacher forcing all bars decode side by
  side, as one batch.
- What is known before a loop is projected before it: the whole input at once
  with teacher forcing, z and the control once a sequence when sampling. The
  loop itself multiplies by the recurrent part alone.

Everything here is `keras.ops`, so the same file runs on any Keras backend.

Shapes: a batch is tokens int `[batch, steps, outputs]` or their one-hots side
by side, float `[batch, steps, depth]`. Controls are float `[batch, steps,
control_depth]`, fed to encoder and decoder at every step: (valence, arousal) in
[-1, 1] where a config is conditioned, and then (0, 0) is also what stands for
"unconditional"; after that, of a config with a context, what is known of the
piece and not asked of it, as are who plays and the chords.
"""

import functools
import math
import os
import pathlib

import keras
import numpy as np
from keras import ops

from va_magenta.va_to_music import va_losses
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.decoders import Decoder
from va_magenta.va_to_music.encoders import make_encoder
from va_magenta.va_to_music.tensors import (
  compiled,
  compiled_sampler,
  drop_controls,
  drop_tokens,
  one_hot,
  split_outputs,
  unconditional,
)

# What brings z to its prior, by objective.
_PRIOR_LOSSES = {
    'elbo': 'kl_loss', 'wae_mmd': 'mmd_loss', 'wae_gan': 'gan_loss'}


def _hides_the_step() -> bool:
  """Whether a loss cannot read `optimizer.iterations`."""
  return keras.backend.backend() == 'jax'


class MusicVAE(keras.Model):
  """A MusicVAE: encoder, decoder, loss, sampling.

  Args:
    config: its sizes and schedules.
    seed: of the initial weights' and the training's randomness.
    critic: a Keras model that estimates VA, one-hots `[batch, steps, depth]`,
      and of a config with a context that, `[batch, stretches, context_depth]`,
      -> `[batch, 2]`. Training a conditioned config takes it. It is left as it
      is.
    reference: another model of the same config. The decoder is kept close to
      what it plays unconditionally (see `Config.kl_control_weight`). It is left
      as it is too.
    precision: Keras' dtype policy of the LSTMs where the steps to come are
      known, which is what training spends its time on: 'float32',
      'mixed_bfloat16' or 'mixed_float16'. All else, sampling, logits and losses
      among it, is float32.
  """

  def __init__(self, config: Config, seed: int = 0, critic=None,
               reference=None, precision: str = 'float32', **kwargs):
    super().__init__(**kwargs)
    if (config.sampling_rate or config.sampling_schedule != 'constant') and (
        config.level_lengths or len(config.output_depths) > 1):
      raise ValueError(
          'scheduled sampling is for flat decoders of one output: set '
          'sampling_schedule=constant,sampling_rate=0')
    if _hides_the_step() and (
        config.beta_rate or config.sampling_schedule != 'constant'):
      raise ValueError(
          'on JAX Keras does not tell a loss its step: set beta_rate=0,'
          'sampling_schedule=constant')
    self.config = config
    # How many there are that share a batch, whose losses Keras adds.
    self.num_replicas = 1
    self.random = keras.random.SeedGenerator(seed)
    self.encoder = make_encoder(config, precision)
    self.decoder = Decoder(config, precision, name='decoder')
    # Partials, so that Keras does not take them for parts of the model: their
    # weights are neither trained nor saved.
    self.critic = critic and functools.partial(critic)
    self.reference = reference and functools.partial(reference.decoder)
    if config.objective == 'wae_gan':
      self.discriminator = va_losses.Discriminator(
          config.z_size, name='discriminator')
    self.trackers = {
        name: keras.metrics.Mean(name=name)
        for name in (
            *(f'losses/{name}' for name in self._loss_weights()),
            'losses/kl_loss', 'losses/kl_bits', 'losses/kl_beta',
            'metrics/accuracy')
    }
    self._encode = compiled(lambda tokens, controls: self.encoder.read(
        tokens, config.output_depths, controls))
    self._label = compiled(self._clipped_critic_va)
    self._sample = compiled_sampler(self.decoder.sample)
    self.built = True

  # --- Training.

  def label(self, x, controls=None):
    """The controls that pieces are learned with.

    A config with a context is given them with its examples. Of others they are
    the VA that the critic finds in the very tokens: transposition changes it.
    Without a critic it is neutral, and of a config without control it is None.

    Args:
      x: one-hots `[batch, steps, depth]`.
      controls: those of the examples, `[batch, stretches, control_depth]`, of a
        config with a context.

    Returns:
      `controls`; or `[batch, stretches, 2]`: of each segment with
      `conductor_control`, and of the whole, as one stretch, without.
    """
    if not self.config.control_depth:
      return None
    if self.config.context_depth:
      return controls
    return ops.stop_gradient(self._clipped_critic_va(x))

  def _clipped_critic_va(self, x, context=None):
    """As `_critic_va`, in [-1, 1]; neutral without a critic."""
    if self.critic is None:
      return ops.zeros((ops.shape(x)[0], self._num_stretches, 2))
    return ops.clip(self._critic_va(x, context), -1.0, 1.0)

  @property
  def _num_stretches(self):
    """How many stretches of a piece have a VA of their own."""
    return self.config.num_segments if self.config.conductor_control else 1

  def _critic_va(self, x, context=None):
    """The critic's VA of each stretch: one-hots -> `[batch, stretches, 2]`."""
    if context is not None:
      return self.critic(x, context)[:, None]
    stretches = ops.reshape(
        x, (-1, x.shape[1] // self._num_stretches, x.shape[2]))
    return ops.reshape(self.critic(stretches), (-1, self._num_stretches, 2))

  def call(self, inputs, training=False):
    """The forward pass of training.

    Args:
      inputs: dict of 'tokens' int `[batch, steps, outputs]`, and of a config
        with a context 'controls', see `label`.
      training: whether control dropout and scheduled sampling apply, and
        whether the decoder plays by itself too.

    Returns:
      dict of 'logits' `[batch, steps, depth]`; 'mu', 'sigma' and 'z' `[batch,
      z_size]`; 'va', the controls, `[batch, stretches, control_depth]` or
      None; and, in training, if
      `va_weight` is not 0, for each example that was played 'va_loss' and, with
      a reference, 'kl_control_loss'.
    """
    tokens = inputs['tokens']
    x = one_hot(tokens, self.config.output_depths)
    va = self.label(x, inputs.get('controls'))
    conditioning = va
    if training and self.config.control_dropout:
      conditioning = drop_controls(
          va, self.config.control_dropout, self.random,
          self.config.context_depth)
    controls = self.broadcast_controls(conditioning)
    mu, sigma = self.encoder.read(tokens, self.config.output_depths, controls)
    z = mu + sigma * keras.random.normal(ops.shape(mu), seed=self.random)
    decoded = z
    if training and self.config.latent_noise:
      level = self.config.latent_noise * keras.random.uniform(
          (ops.shape(mu)[0], 1), seed=self.random)
      decoded = z + level * ops.stop_gradient(
          ops.std(z, axis=0)) * keras.random.normal(
              ops.shape(mu), seed=self.random)
    x_target = x
    if training and self._sampling_probability() is not None:
      # Scheduled sampling (Bengio et al. 2015): the decoder is fed some of its
      # own samples. No gradient goes through them, so they are drawn ahead.
      shape = (tokens.shape[1], ops.shape(tokens)[0])
      teacher_forced = keras.random.uniform(shape, seed=self.random) >= (
          self._sampling_probability())
      x_target = one_hot(ops.stop_gradient(self.decoder.cores[0].sample(
          decoded[None], keras.random.uniform(shape, seed=self.random), 1.0,
          controls,
          truth=ops.transpose(tokens[..., 0]),
          teacher_forced=teacher_forced))[..., None], self.config.output_depths)
    if training and self.config.token_dropout:
      x_target = drop_tokens(
          x_target, self.config.output_depths, self.config.token_dropout,
          self.random)
    outputs = {'logits': self.decoder(x_target, decoded, controls), 'mu': mu,
               'sigma': sigma, 'z': z, 'va': va}
    if training and self.config.va_weight:
      outputs |= self._play(decoded, va)
    return outputs

  def broadcast_controls(self, va):
    """Controls of stretches, or None, as those of each step.

    Args:
      va: `[batch, stretches, control_depth]`.
    """
    if va is None:
      return None
    return ops.repeat(
        va * self.config.control_gain, self.config.max_seq_len // va.shape[1],
        axis=1)

  def _play(self, z, va):
    """How far what the decoder plays by itself is from what it was asked for.

    VA is drawn independently of z, so that the decoder learns to follow VA, not
    to find it in z. Of each axis VA is spread as among the batch's own pieces:
    what no piece has, no piece can be made to have. z is people's: music is
    drawn where that lies, and not from N(0, 1). A context stays that of the
    piece. The decoder is fed its own samples, drawn ahead; the gradient goes
    through its outputs and not through its inputs.

    Args:
      z: `[batch, z_size]`, as the decoder is given it.
      va: `[batch, stretches, control_depth]`, of the pieces.

    Returns:
      Of each example of the share of the batch that is played, 'va_loss', the
      mean of its stretches' distances on the VA plane, where one that has
      hardly a note counts 0; and, with a
      reference, 'kl_control_loss': how far the decoder's choices are, in nats,
      from those of the unconditional reference (KL-control:
      Jaques et al., "Sequence Tutor", 2017). Music that is only to please the
      critic is no music.
    """
    config = self.config
    count = ops.shape(z)[0]
    if isinstance(count, int):  # JAX slices by numbers that are known.
      count = math.ceil(config.va_share * count)
    else:
      count = ops.cast(
          ops.ceil(config.va_share * ops.cast(count, 'float32')), 'int32')
    z, context = ops.stop_gradient(z[:count]), None
    if config.context_depth:
      context = va[..., 2:][:count]
      # One VA for all stretches of an example.
      va = ops.mean(va[..., :2], axis=1, keepdims=True)
    target = asked = ops.stack([
        keras.random.shuffle(axis, seed=self.random)[:count]
        for axis in ops.unstack(va, axis=-1)], axis=-1)
    if context is not None:
      asked = ops.concatenate(
          [ops.repeat(target, context.shape[1], axis=1), context], axis=-1)
    controls = self.broadcast_controls(asked)
    uniform = keras.random.uniform(
        (count, config.max_seq_len, len(config.output_depths)),
        seed=self.random)
    x = one_hot(
        self._sample(z, uniform, ops.convert_to_tensor(1.0), controls, None),
        config.output_depths)
    logits = self.decoder(x, z, controls)
    played = ops.concatenate([
        va_losses.straight_through(
            one_hots, of_output, config.va_temperature, self.random)
        for one_hots, of_output in zip(
            split_outputs(x, config.output_depths),
            split_outputs(logits, config.output_depths), strict=True)], axis=-1)
    distance = va_losses.distance(self._critic_va(played, context), target)
    melody = ops.reshape(
        split_outputs(x, config.output_depths)[0],
        (-1, self._num_stretches, config.max_seq_len // self._num_stretches,
         config.output_depths[0]))
    losses = {'va_loss': ops.mean(
        distance * va_losses.is_audible(melody), axis=-1)}
    if self.reference:
      without_va = self.reference(
          x, z, unconditional(controls, config.context_depth))
      losses['kl_control_loss'] = sum(
          va_losses.divergence(*pair) for pair in zip(
              split_outputs(logits, config.output_depths),
              split_outputs(without_va, config.output_depths), strict=True))
    return losses

  def _sampling_probability(self):
    """Share of inputs that are samples, as Magenta schedules it, or None."""
    schedule, rate = self.config.sampling_schedule, self.config.sampling_rate
    if schedule == 'constant':
      return rate or None
    step = ops.cast(self.optimizer.iterations, 'float32')
    if schedule == 'inverse_sigmoid':
      return 1.0 - rate / (rate + ops.exp(step / rate))
    if schedule == 'exponential':
      return 1.0 - ops.power(rate, step)
    raise ValueError(
        f'unknown sampling_schedule {schedule!r}: constant, inverse_sigmoid or '
        'exponential')

  def losses_of(self, tokens, outputs) -> dict:
    """The terms of the loss and what it is watched by, for each example.

    Args:
      tokens: int `[batch, steps, outputs]`, the truth.
      outputs: what `call` returned.

    Returns:
      Each `[batch]`: 'r_loss', the reconstruction's cross-entropy in nats;
      'kl_loss', the KL divergence above the free bits, in nats, unweighted;
      'kl_bits', all of it, in bits; 'accuracy', the share of steps whose
      likeliest token is right, averaged over the outputs.
    """
    depths = self.config.output_depths
    r_loss, accuracy = 0.0, 0.0
    for i, logits in enumerate(split_outputs(outputs['logits'], depths)):
      truth = tokens[..., i]
      r_loss += ops.sum(keras.losses.sparse_categorical_crossentropy(
          truth, logits, from_logits=True), axis=-1)
      hit = ops.equal(ops.cast(ops.argmax(logits, -1), truth.dtype), truth)
      accuracy += ops.mean(ops.cast(hit, 'float32'), axis=-1) / len(depths)
    kl = va_losses.kl_to_prior(outputs['mu'], outputs['sigma'])
    return {
        'r_loss': r_loss,
        'kl_loss': ops.maximum(
            kl - self.config.free_bits * math.log(2), 0.0),
        'kl_bits': kl / math.log(2),
        'accuracy': accuracy,
    }

  def _loss_weights(self) -> dict:
    """The terms of the loss by name, and their weights at this step."""
    config = self.config
    beta = config.max_beta
    if getattr(self, 'optimizer', None) and not _hides_the_step():
      step = ops.cast(self.optimizer.iterations, 'float32')
      beta = (1.0 - ops.power(config.beta_rate, step)) * config.max_beta
    weights = {
        'r_loss': 1.0,
        _PRIOR_LOSSES[config.objective]: beta}
    if config.va_weight:
      weights['va_loss'] = config.va_weight
      if self.reference:
        weights['kl_control_loss'] = config.kl_control_weight
    if config.independence_weight:
      weights['independence_loss'] = config.independence_weight
    return weights

  def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                   training=True):
    """The sum of all terms by their weights, with Magenta's schedule of beta.

    Beside those of `losses_of`: 'mmd_loss' or 'gan_loss', which bring z to its
    prior where that is not left to 'kl_loss'; 'va_loss', distance between the
    VA asked for and played; 'kl_control_loss', which keeps what is played to
    music; 'independence_loss', which makes z forget VA.
    """
    del y, sample_weight, training
    config, outputs = self.config, y_pred
    losses = {
        name: ops.mean(values)
        for name, values in self.losses_of(x['tokens'], outputs).items()
    }
    if config.objective != 'elbo':
      prior = keras.random.normal(ops.shape(outputs['z']), seed=self.random)
    if config.objective == 'wae_mmd':
      losses['mmd_loss'] = va_losses.mmd(outputs['z'], prior)
    elif config.objective == 'wae_gan':
      # Cross-entropy of telling z from draws of the prior.
      losses['gan_loss'] = ops.mean(
          ops.softplus(self.discriminator(
              va_losses.reverse_gradient(outputs['z'])))
          + ops.softplus(-self.discriminator(prior)))
    if config.va_weight:
      losses['va_loss'] = ops.mean(outputs['va_loss'])
      if self.reference:
        losses['kl_control_loss'] = ops.mean(outputs['kl_control_loss'])
    if config.independence_weight:
      losses['independence_loss'] = va_losses.cross_correlation(
          outputs['mu'], ops.mean(outputs['va'][..., :2], axis=1))
    weights = self._loss_weights()
    watched = {
        'kl_beta': weights[_PRIOR_LOSSES[config.objective]], **losses}
    for name, tracker in self.trackers.items():
      tracker.update_state(watched[name.rpartition('/')[-1]])
    return sum(
        weight * losses[name] for name, weight in weights.items()
    ) / self.num_replicas

  # --- Use.

  def encode(self, tokens, controls=None) -> tuple[np.ndarray, np.ndarray]:
    """The posterior of pieces.

    Args:
      tokens: int `[n, steps, outputs]`.
      controls: float `[n, control_depth]`, or `[n, stretches, control_depth]`
        of stretches of equal length.

    Returns:
      mu and sigma, float32 `[n, z_size]`.
    """
    tokens = ops.convert_to_tensor(tokens, 'int32')
    mu, sigma = self._encode(
        tokens, self._check_controls(controls, *tokens.shape[:2]))
    return ops.convert_to_numpy(mu), ops.convert_to_numpy(sigma)

  def critic_va(self, tokens, context=None) -> np.ndarray:
    """The critic's VA of pieces, in [-1, 1]; neutral without a critic.

    Args:
      tokens: int `[n, steps, outputs]`.
      context: float `[n, stretches, context_depth]`, of a config with one.

    Returns:
      float32 `[n, stretches, 2]`: of each segment with `conductor_control`, and
      of the whole, as one stretch, without; None of a config without control.
    """
    if not self.config.control_depth:
      return None
    x = one_hot(
        ops.convert_to_tensor(tokens, 'int32'), self.config.output_depths)
    if context is not None:
      context = ops.convert_to_tensor(context, 'float32')
    return ops.convert_to_numpy(self._label(x, context))

  def sample(
      self, z, *, temperature: float = 1.0, seed: int | None = None,
      controls=None, guidance: float = 1.0) -> np.ndarray:
    """Decodes latent vectors by drawing one token after the other.

    Args:
      z: float `[n, z_size]`.
      temperature: divides the logits; 0 takes the likeliest token every time.
      seed: of the draws; None for another one every time.
      controls: as in `encode`.
      guidance: how strongly the controls are followed (Ho & Salimans,
        "Classifier-free diffusion guidance", 2022): 1 as the model learned, 0
        not at all, and above 1 more than it learned, at twice the time.

    Returns:
      int `[n, max_seq_len, outputs]`.

    Raises:
      ValueError: if a shape or the temperature is wrong.
    """
    config = self.config
    z = np.asarray(z, np.float32)
    if z.ndim != 2 or z.shape[1] != config.z_size:
      raise ValueError(
          f'z must have shape [n, {config.z_size}], got {list(z.shape)}')
    if not np.isfinite(z).all():
      raise ValueError('z has numbers that are not finite')
    if not 0 <= temperature < math.inf:
      raise ValueError(f'temperature must be 0 or more, got {temperature}')
    if not 0 <= guidance < math.inf:
      raise ValueError(f'guidance must be 0 or more, got {guidance}')
    if guidance != 1 and not config.control_depth:
      raise ValueError(
          f'{config.name} takes no control: guidance must be 1, got {guidance}')
    controls = self._check_controls(controls, len(z), config.max_seq_len)
    shape = (len(z), config.max_seq_len, len(config.output_depths))
    if temperature:
      uniform = np.random.default_rng(seed).random(shape, np.float32)
    else:
      # The middle of a distribution that is all on the likeliest token.
      uniform = np.full(shape, 0.5, np.float32)
    tokens = self._sample(
        ops.convert_to_tensor(z), ops.convert_to_tensor(uniform),
        ops.convert_to_tensor(max(temperature, 1e-6), 'float32'), controls,
        None if guidance == 1 else ops.convert_to_tensor(guidance, 'float32'))
    return ops.convert_to_numpy(tokens)

  def _check_controls(self, controls, n, num_steps):
    depth = self.config.control_depth
    if controls is None:
      if depth:
        raise ValueError(
            f'{self.config.name} needs controls of depth {depth}')
      return None
    controls = np.asarray(controls, np.float32)
    given, controls = controls.shape, (
        controls[:, None] if controls.ndim == 2 else controls)
    stretches = controls.shape[1] if controls.ndim == 3 else 0
    if controls.shape != (n, stretches, depth) or (
        not stretches or num_steps % stretches):
      raise ValueError(
          f'controls must have shape [{n}, {depth}], or [{n}, stretches, '
          f'{depth}] with stretches that divide {num_steps} steps, got '
          f'{list(given)}')
    if not np.isfinite(controls).all():
      raise ValueError('controls have numbers that are not finite')
    return self.broadcast_controls(ops.convert_to_tensor(controls))


def load(path: str | os.PathLike) -> MusicVAE:
  """A trained model from the folder of a checkpoint.

  Args:
    path: folder with `config.json` and `weights.npz`.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if the weights are not those of the config.
  """
  from va_magenta.va_to_music import magenta_weights

  path = pathlib.Path(path)
  for name in ('config.json', 'weights.npz'):
    if not (path / name).is_file():
      raise FileNotFoundError(
          f'{path} is not the folder of a checkpoint: it has no {name}')
  model = MusicVAE(Config.load(path / 'config.json'))
  magenta_weights.load(model, path / 'weights.npz')
  return model
