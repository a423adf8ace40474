"""Trains a MusicVAE: from scratch, or warm-started from a checkpoint.

A run is a function of its seed: batch i holds the same examples, transposed by
the same semitones, whenever it is asked for, and the state that is saved holds
the step, the optimizer and the random generators. So a run that was killed goes
on as if nothing had been.
"""

import collections
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import time

import keras
import numpy as np
import tqdm

from va_magenta import files
from va_magenta.figures import metrics, plots
from va_magenta.music import grid
from va_magenta.training.music_vae import examples
from va_magenta.va_to_music import magenta_weights, tensors
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.music_vae import MusicVAE

# The first two tokens of a melody are hold and note-off; the rest are pitches.
_STEPS_A_BATCH = 2**14  # Of what is evaluated at once.

STRATEGIES = ('none', 'mirrored', 'multi_worker')
PRECISIONS = ('float32', 'mixed_bfloat16', 'mixed_float16')


class Strategy:
  """How each batch is dealt out, by `tf.distribute`.

  'mirrored' deals it out to all devices of this machine. 'multi_worker' deals
  it out to the processes that the environment variable TF_CONFIG names on any
  machines, each with one device (`CUDA_VISIBLE_DEVICES` tells which); it is
  made before anything else is done with TensorFlow, and waits for all of them.
  Keras 3 cannot `fit` under a `MultiWorkerMirroredStrategy`
  (github.com/keras-team/keras/issues/20585), so that each worker trains a model
  of its own, and only their gradients are made one by it. The workers' weights
  begin alike, and so they stay alike.

  Attributes:
    name: one of `STRATEGIES`.
    worker: index of this process among the workers. The chief is 0, and it
      alone writes files.
    num_workers: how many workers there are.
    num_mirrors: replicas in this process, whose gradients Keras adds.
  """

  def __init__(self, name: str = 'none'):
    if name not in STRATEGIES:
      raise ValueError(
          f'unknown strategy {name!r}; known are: {", ".join(STRATEGIES)}')
    self.name = name
    self.worker, self.num_workers, self.num_mirrors = 0, 1, 1
    self._mirrored = self._workers = None
    if name == 'mirrored':
      import tensorflow as tf
      self._mirrored = tf.distribute.MirroredStrategy()
      self.num_mirrors = self._mirrored.num_replicas_in_sync
    elif name == 'multi_worker':
      self.worker, self.num_workers = _place_among_workers()
      import tensorflow as tf
      tf.config.set_visible_devices(
          tf.config.list_physical_devices('GPU')[:1], 'GPU')
      try:
        self._workers = tf.distribute.MultiWorkerMirroredStrategy()
      except tf.errors.OpError as error:
        raise OSError(
            'cannot join the workers of TF_CONFIG: '
            f'{error.message.splitlines()[0]}') from error

  def scope(self):
    """Where a model is made."""
    if self._mirrored:
      return self._mirrored.scope()
    return contextlib.nullcontext()

  def average_gradients(self, optimizer):
    """Has an optimizer take the mean of all replicas' gradients.

    It does so before it clips them, as if they were of one batch. Keras would
    clip each replica's own.
    """
    if not (self._mirrored or self._workers):
      return
    import tensorflow as tf

    def mean(*gradients):
      return tf.distribute.get_replica_context().all_reduce(
          tf.distribute.ReduceOp.MEAN, [tf.identity(g) for g in gradients])

    def apply(gradients, variables=None):
      if self._workers:
        gradients = self._workers.run(mean, args=tuple(gradients))
      else:
        gradients = mean(*gradients)
      apply_mean(gradients, variables)

    apply_mean, optimizer.apply = optimizer.apply, apply

  def part_randomness(self, random: keras.random.SeedGenerator):
    """Lets each replica draw numbers of its own; the first's are as before."""
    def part(replica):
      random.state.assign(random.state + keras.ops.cast(
          [replica, 0], random.state.dtype))

    if not self._mirrored:
      part(self.worker)
      return
    import tensorflow as tf

    tensors.compiled(lambda: self._mirrored.run(lambda: part(
        tf.distribute.get_replica_context().replica_id_in_sync_group)))()


def _place_among_workers() -> tuple[int, int]:
  """Index of this process among the workers of TF_CONFIG; how many they are."""
  try:
    config = json.loads(os.environ['TF_CONFIG'])
    places = [(kind, i) for kind in ('chief', 'worker')
              for i in range(len(config['cluster'].get(kind, [])))]
    task = config['task']
    return places.index((task['type'], int(task['index']))), len(places)
  except (KeyError, ValueError, TypeError, AttributeError) as error:
    raise ValueError(
        '--strategy=multi_worker needs an environment variable TF_CONFIG such '
        'as {"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": '
        '"worker", "index": 0}}') from error


class Batches(keras.utils.PyDataset):
  """Batches of a run from one step to another, each a function of (seed, step).

  Attributes:
    tokens: int `[examples, steps, outputs]`.
    share: which of each batch's examples are given; all, or a worker's.
    controls: float `[examples, stretches, control_depth]`, or None.
  """

  def __init__(self, tokens: np.ndarray, config: Config, seed: int,
               first_step: int, last_step: int, share: slice = slice(None),
               controls: np.ndarray | None = None):
    super().__init__()
    self.share, self.controls = share, controls
    self.tokens, self.config, self.seed = tokens, config, seed
    self.first_step, self.last_step = first_step, last_step
    self._order = (None, None)

  def __len__(self):
    return self.last_step - self.first_step

  def __getitem__(self, index):
    step = self.first_step + index
    positions = np.arange(self.config.batch_size) + (
        step * self.config.batch_size)
    epochs, offsets = np.divmod(positions, len(self.tokens))
    rows = np.concatenate([
        self._epoch_order(epoch)[offsets[epochs == epoch]]
        for epoch in np.unique(epochs)])
    random = np.random.default_rng([self.seed, 1, step])
    tokens = self.tokens[rows].astype(np.int32)
    return (_inputs(
        transpose(tokens, self.config, random)[self.share],
        None if self.controls is None else self.controls[rows[self.share]]),)

  def _epoch_order(self, epoch):
    if self._order[0] != epoch:
      random = np.random.default_rng([self.seed, 0, int(epoch)])
      self._order = (epoch, random.permutation(len(self.tokens)))
    return self._order[1]


def _inputs(tokens, controls) -> dict[str, np.ndarray]:
  """What a model is called with."""
  if controls is None:
    return {'tokens': tokens}
  return {'tokens': tokens, 'controls': controls.astype(np.float32)}


def transpose(tokens: np.ndarray, config: Config, random) -> np.ndarray:
  """Transposes each example at random, as far as its pitches allow.

  As Magenta's NoteSequenceAugmenter does, but on tokens; drums stay as they
  are.

  Args:
    tokens: int `[batch, steps, outputs]`.
    config: its `transpose_range` is in semitones.
    random: numpy Generator.
  """
  low, high = config.transpose_range
  pitched = np.array(config.output_depths) == grid.NUM_TOKENS
  sounding = (tokens >= grid.FIRST_PITCH) & pitched
  pitch = np.where(sounding, tokens, grid.NUM_TOKENS // 2)
  low = np.maximum(low, grid.FIRST_PITCH - pitch.min((1, 2)))
  high = np.minimum(high, grid.NUM_TOKENS - 1 - pitch.max((1, 2)))
  shift = random.integers(low, high, endpoint=True)
  return np.where(
      sounding, tokens + shift[:, None, None], tokens).astype(tokens.dtype)


@keras.saving.register_keras_serializable('va_magenta')
class MagentaDecay(keras.optimizers.schedules.LearningRateSchedule):
  """Magenta's learning rate: (initial - minimum) decay^step + minimum."""

  def __init__(self, config: Config):
    self.config = config

  def __call__(self, step):
    """The rate at a step."""
    c = self.config
    return (c.learning_rate - c.min_learning_rate) * keras.ops.power(
        c.decay_rate, keras.ops.cast(step, 'float32')) + c.min_learning_rate


def check_origin(run_dir: pathlib.Path, identity: dict) -> bool:
  """Whether a folder holds a run to go on with, which must be this one.

  Args:
    run_dir: of the run; the folder `train` in it exists.
    identity: what makes the run, as JSON has it.

  Raises:
    ValueError: if the folder holds another run.
  """
  if not (run_dir / 'train' / 'state.npz').exists():
    return False
  began = json.loads((run_dir / 'train' / 'run.json').read_text())
  changed = [name for name in identity if identity[name] != began.get(name)]
  if changed:
    raise ValueError(
        f'{run_dir} holds a run with another {", ".join(changed)}: choose '
        'another --run_dir, or the flags that it was started with')
  return True


def check_steps(run_dir: pathlib.Path, first_step: int, num_steps: int):
  """Raises ValueError if a run has done more steps than it shall."""
  if first_step > num_steps:
    raise ValueError(
        f'{run_dir} has done {first_step} steps already: --num_steps must be '
        f'that or more, got {num_steps}')


def write_origin(run_dir: pathlib.Path, identity: dict, config: Config):
  """Writes what a run is made of, and what its checkpoint is."""
  with files.writing(run_dir / 'config.json') as temporary:
    config.save(temporary)
  write_identity(run_dir, identity)


def write_identity(run_dir: pathlib.Path, identity: dict):
  """Writes what a run is made of."""
  with files.writing(run_dir / 'train' / 'run.json') as temporary:
    temporary.write_text(json.dumps(identity, indent=2) + '\n')


def _save_state(model: keras.Model, step: int, path: pathlib.Path):
  variables = [*model.variables, *model.optimizer.variables]
  with files.writing(path) as temporary:
    np.savez(temporary, step=step, **{
        str(i): keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)})


def load_state(model: keras.Model, run_dir: pathlib.Path) -> int:
  """Restores what a run saved last, and gives the step."""
  path = run_dir / 'train' / 'state.npz'
  variables = [*model.variables, *model.optimizer.variables]
  try:
    saved = files.read_npz(path)
  except ValueError as error:
    raise ValueError(f'{error}; remove it to begin the run again') from error
  # No variable counts batches: `iterations` leaves out those that gradients are
  # accumulated over, or that a loss scale is too large for.
  step = saved.pop('step', None)
  if step is None or len(saved) != len(variables) or any(
      saved[str(i)].shape != tuple(v.shape) for i, v in enumerate(variables)):
    raise ValueError(
        f'{path} is the state of another run: choose another --run_dir, or '
        'the flags that this one was started with')
  for i, variable in enumerate(variables):
    variable.assign(saved[str(i)])
  return int(step)


class Progress(keras.callbacks.Callback):
  """Progress bar, TensorBoard scalars under Magenta's names, saved state.

  Args:
    run_dir: of the run.
    first_step: that is to be done.
    num_steps: in all.
    save_weights: writes the run's checkpoint.
    watch: called at each save, gives figures of the validation split.
    log_every: steps between scalars.
    save_every_seconds: time between saves.
  """

  def __init__(self, run_dir, first_step, num_steps, save_weights, watch,
               log_every, save_every_seconds):
    super().__init__()
    self.run_dir, self.step = run_dir, first_step
    self.num_steps, self.watch = num_steps, watch
    self.save_weights = save_weights
    self.log_every, self.save_every_seconds = log_every, save_every_seconds
    self.saved_at = time.monotonic()

  def on_train_begin(self, logs=None):
    """Opens the bar and the event files."""
    self.bar = tqdm.tqdm(
        total=self.num_steps, initial=self.step, desc='training', unit='step',
        mininterval=1)
    self.writers = {
        name: _ScalarWriter(self.run_dir / name) for name in ('train', 'eval')}

  def on_train_batch_end(self, batch, logs=None):
    """Counts a step; writes and saves when it is time."""
    self.step += 1
    self.bar.update()
    if self.step % self.log_every == 0 or self.step == self.num_steps:
      if not np.isfinite(logs['loss']):
        raise ValueError(
            f'the loss is {logs["loss"]} at step {self.step}: try a smaller '
            f'learning_rate; what was saved last in {self.run_dir} is whole')
    if self.step % self.log_every == 0:
      rate = float(keras.ops.convert_to_numpy(
          self.model.optimizer.learning_rate))
      self.writers['train'].write(self.step, {**logs, 'learning_rate': rate})
      self.bar.set_postfix({
          name.rpartition('/')[2]: f'{value:.3f}'
          for name, value in logs.items() if name in (
              'loss', 'losses/kl_bits') or name.startswith('metrics/')})
      self.model.reset_metrics()
    if time.monotonic() - self.saved_at > self.save_every_seconds:
      self.save()

  def save(self):
    """Saves weights and state, and says how the run is doing."""
    if keras.backend.backend() == 'jax':
      self.model.jax_state_sync()  # Keras keeps it apart during an epoch.
    # The state last: a run that is killed in between does these steps again.
    self.save_weights()
    _save_state(self.model, self.step, self.run_dir / 'train' / 'state.npz')
    figures = self.watch()
    if figures:
      self.writers['eval'].write(self.step, figures)
      tqdm.tqdm.write(f'step {self.step}, validation: ' + ', '.join(
          f'{k} {v:.3f}' for k, v in figures.items()))
    self.saved_at = time.monotonic()

  def on_train_end(self, logs=None):
    """Closes the bar."""
    self.bar.close()


def _tensorflow():
  """The module; None on a machine that trains without it."""
  try:
    import tensorflow as tf
  except ImportError:
    return None
  return tf


class _ScalarWriter:
  """TensorBoard's event files: TFRecords, so no TensorBoard is needed.

  They are of TensorFlow's format, and without it there are none.
  """

  def __init__(self, folder):
    tf = _tensorflow()
    folder.mkdir(parents=True, exist_ok=True)
    self.tf = tf and tf.compat.v1
    if not tf:
      return
    self.writer = tf.io.TFRecordWriter(
        str(folder / f'events.out.tfevents.{time.time():.6f}'))
    self._write(file_version='brain.Event:2')

  def write(self, step, scalars):
    """Writes what was measured at a step."""
    if not self.tf:
      return
    value = self.tf.Summary.Value
    self._write(step=step, summary=self.tf.Summary(
        value=[value(tag=k, simple_value=v) for k, v in scalars.items()]))

  def _write(self, **event):
    self.writer.write(
        self.tf.Event(wall_time=time.time(), **event).SerializeToString())
    self.writer.flush()


def write_report(
    run_dir: pathlib.Path, num_steps: int, figures: dict[str, float]):
  """Writes what came of a run, `figures.json`, and how, `curves.png`."""
  with files.writing(run_dir / 'figures.json') as temporary:
    temporary.write_text(
        json.dumps({'step': num_steps, **figures}, indent=2) + '\n')
  scalars = {name: read_scalars(run_dir / name) for name in ('train', 'eval')}
  if any(scalars.values()):
    plot_scalars(scalars, run_dir / 'curves.png')


def read_scalars(folder: pathlib.Path) -> dict[str, dict[int, float]]:
  """What TensorBoard's event files hold: by tag and step, the last written."""
  scalars = collections.defaultdict(dict)
  for path in sorted(folder.glob('events.out.tfevents.*')):
    import tensorflow as tf

    try:
      for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
          scalars[value.tag][event.step] = value.simple_value
    except tf.errors.DataLossError:
      pass  # The run was killed while it wrote its last.
  return {tag: dict(sorted(by_step.items()))
          for tag, by_step in sorted(scalars.items())}


def plot_scalars(
    scalars: dict[str, dict[str, dict[int, float]]], path: str | os.PathLike):
  """Writes a PNG with a panel for each tag.

  Args:
    scalars: by 'train' and 'eval', what `read_scalars` read.
    path: the file; it is replaced if it exists.
  """
  tags = sorted(set().union(*scalars.values()))
  num_columns = min(4, len(tags))
  num_rows = -(-len(tags) // num_columns)
  with plots.drawing(
      path, 3.2 * num_columns, 2.3 * num_rows, dpi=110) as figure:
    panels = figure.subplots(num_rows, num_columns, squeeze=False).ravel()
    for axes, tag in zip(panels, tags, strict=False):
      for split, color, marker in (
          ('train', '#00798c', None), ('eval', '#d1495b', '.')):
        found = scalars[split].get(tag, {})
        axes.plot(
            list(found), list(found.values()), color=color, marker=marker,
            label={'train': 'training', 'eval': 'validation'}[split])
      axes.set_title(tag, fontsize=9)
      axes.tick_params(labelsize=7)
    for axes in panels[len(tags):]:
      axes.remove()
    panels[0].legend(frameon=False, fontsize=8)
    figure.supxlabel('step', fontsize=9)


def evaluate(model: MusicVAE, tokens: np.ndarray,
             controls: np.ndarray | None = None) -> dict[str, np.ndarray]:
  """Reconstruction of each example from the mean of its posterior.

  Args:
    model: the model.
    tokens: int `[examples, steps, outputs]`.
    controls: float `[examples, stretches, control_depth]`, of a config with a
      context; of others they are what the critic finds.

  Returns:
    Each float `[examples]`. 'metrics/accuracy': share of steps whose likeliest
    token is right when all steps before it are given; 'metrics/free_accuracy':
    share of steps right when the decoder runs greedily on its own output;
    'metrics/free_exact': whether every step is then right; 'losses/r_loss':
    cross-entropy with teacher forcing, nats; 'losses/kl_bits': of the
    posterior.
  """
  teacher_forced = _teacher_forced(model)
  batch_size = max(_STEPS_A_BATCH // model.config.max_seq_len, 1)
  batches = []
  for i in range(0, len(tokens), batch_size):
    # All batches have one shape, so that nothing is compiled twice.
    rows = np.minimum(np.arange(i, i + batch_size), len(tokens) - 1)
    batch = np.asarray(tokens[i:i + batch_size], np.int32)
    inputs = _inputs(
        tokens[rows].astype(np.int32),
        None if controls is None else controls[rows])
    losses = {
        name: keras.ops.convert_to_numpy(values)[:len(batch)]
        for name, values in teacher_forced({
            name: keras.ops.convert_to_tensor(values)
            for name, values in inputs.items()}).items()}
    padded = inputs['tokens']
    va = inputs.get('controls')
    if va is None:
      va = model.critic_va(padded)
    free = model.sample(
        model.encode(padded, va)[0], temperature=0, controls=va)[:len(batch)]
    right = free == batch
    batches.append({
        'metrics/accuracy': losses['accuracy'],
        'metrics/free_accuracy': right.mean((1, 2)),
        'metrics/free_exact': right.all((1, 2)).astype(float),
        'losses/r_loss': losses['r_loss'],
        'losses/kl_bits': losses['kl_bits'],
    })
  return {
      name: np.concatenate([b[name] for b in batches]) for name in batches[0]}


def _teacher_forced(model):
  if not hasattr(model, 'teacher_forced_losses'):
    def losses(inputs):
      tokens = inputs['tokens']
      x = tensors.one_hot(tokens, model.config.output_depths)
      controls = model.broadcast_controls(
          model.label(x, inputs.get('controls')))
      mu, sigma = model.encoder.read(
          tokens, model.config.output_depths, controls)
      return model.losses_of(tokens, {
          'logits': model.decoder(x, mu, controls), 'mu': mu, 'sigma': sigma})

    model.teacher_forced_losses = tensors.compiled(losses)
  return model.teacher_forced_losses


def evaluate_control(model: MusicVAE, tokens=None, controls=None, *,
                     num_z: int = 16, num_targets: int = 5,
                     temperature: float = 0.5, guidance: float = 1.0,
                     seed: int = 0) -> dict[str, float]:
  """How well samples follow VA, in the eyes of the critic.

  They are of the prior; of a config with a context, of people's z. The critic
  taught the model, so this is to watch a run by, not to judge it.

  Args:
    model: with a critic.
    tokens: of a config with a context, examples to take z of, int `[num_z or
      more, steps, outputs]`.
    controls: likewise theirs, float `[..., stretches, control_depth]`.
    num_z: latent vectors, each decoded at every target.
    num_targets: on each axis, from -1 to 1.
    temperature: of the samples.
    guidance: of the samples.
    seed: of latent vectors and samples.

  Returns:
    'control/valence_r' and 'control/arousal_r', Pearson's correlation of
    targets and results; 'control/distance' between the two, mean.
  """
  line = np.linspace(-1, 1, num_targets)
  targets = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
  context = None
  if model.config.context_depth:
    tokens, controls = tokens[:num_z], controls[:num_z].astype(np.float32)
    num_z = len(tokens)
    z = model.encode(tokens, controls)[0]
    context = np.repeat(controls[..., 2:], len(targets), axis=0)
  else:
    z = np.random.default_rng(seed).normal(size=(num_z, model.config.z_size))
  z = np.repeat(z, len(targets), axis=0)
  conditioning = targets = np.tile(targets, (num_z, 1))
  if context is not None:
    conditioning = np.concatenate([
        np.repeat(targets[:, None], context.shape[1], axis=1), context],
        axis=-1)
  found = model.critic_va(model.sample(
      z, temperature=temperature, seed=seed, controls=conditioning,
      guidance=guidance), context).mean(1)
  return {
      **{f'control/{axis}_r': _correlation(targets[:, i], found[:, i])
         for i, axis in enumerate(('valence', 'arousal'))},
      'control/distance': float(
          np.linalg.norm(targets - found, axis=1).mean()),
  }


def _correlation(x, y):
  # A model that plays the same whatever it is asked for follows nothing.
  return float(np.nan_to_num(metrics.pearson_r(x, y)))


def _watch(model, tokens, controls) -> dict[str, float]:
  """Figures of examples of the validation split, if there are any."""
  if not len(tokens):
    return {}
  figures = {
      name: float(values.mean())
      for name, values in evaluate(model, tokens, controls).items()}
  if model.critic:
    figures |= evaluate_control(model, tokens, controls)
  return figures


def _test_figures(model, corpus: examples.Examples) -> dict[str, float]:
  """Means over the test split's examples; deviations over its pieces' means."""
  chosen = corpus.of_split('test')
  figures = {'test_examples': int(chosen.sum())}
  if not chosen.any():
    return figures
  _, piece = np.unique(corpus.piece[chosen], return_inverse=True)
  count = np.bincount(piece)
  figures['test_pieces'] = len(count)
  tokens = corpus.tokens[chosen]
  controls = None if corpus.controls is None else corpus.controls[chosen]
  if model.critic:
    figures |= evaluate_control(model, tokens, controls, num_z=64)
  for name, values in evaluate(model, tokens, controls).items():
    figures[name] = float(values.mean())
    figures[f'{name}/sd_over_pieces'] = float(
        (np.bincount(piece, values) / count).std())
  return figures


def digest(arrays) -> str:
  """A digest of arrays' contents, in hex."""
  md5 = hashlib.md5()
  for array in arrays:
    md5.update(np.ascontiguousarray(array).tobytes())
  return md5.hexdigest()


def train(config: Config, corpus: examples.Examples, run_dir: str, *,
          num_steps: int, critic=None, warm_start: str | None = None,
          freeze: str | None = None, seed: int = 0,
          strategy: Strategy | None = None, precision: str = 'float32',
          gradient_accumulation_steps: int = 1, log_every: int = 100,
          save_every_seconds: float = 300, num_validation: int = 1024
         ) -> dict[str, float]:
  """Trains a model, or goes on with the run that `run_dir` holds.

  Afterwards `run_dir` is a checkpoint: `config.json` and `weights.npz`; beside
  them the run's state and TensorBoard's events in `train/` and `eval/`.

  Args:
    config: of the model.
    corpus: its 'train' split is learned, 'validation' watched, 'test' reported.
    run_dir: folder of the run.
    num_steps: steps in all, those of earlier runs included.
    critic: a Keras model, one-hots `[batch, steps, depth]` -> VA `[batch, 2]`,
      for a config with a control: it labels the examples, and estimates whether
      the decoder follows. Of a config with a context, whose examples have
      labels, only the latter, if `va_weight` is not 0. It is not trained.
    warm_start: checkpoint to begin with; what it lacks begins at random, but
      for the rows of a control, which begin at zero.
    freeze: 'encoder' or 'decoder', to keep that part as it is.
    seed: of the initial weights, the order, the transposition and the sampling.
    strategy: how each batch is dealt out; None for not at all. Of several
      workers each calls this with the same arguments, and a `run_dir` that all
      can read; figures of training are those of the chief's share.
    precision: see `MusicVAE`; 'mixed_float16' goes with a loss scale
      (Micikevicius et al., "Mixed precision training", 2018). On a CPU both
      are slower than float32.
    gradient_accumulation_steps: batches whose mean gradient makes one change of
      the weights, for batches larger than memory. Steps count batches.
    log_every: steps between TensorBoard's scalars.
    save_every_seconds: time between saves of the state.
    num_validation: examples of the validation split that each save looks at.

  Returns:
    'test_examples', 'test_pieces', and of each figure of `evaluate` the mean
    over the test split's examples and, as NAME/sd_over_pieces, the standard
    deviation of the means of its pieces. `run_dir` holds them in
    `figures.json`. Of workers other than the chief, nothing.

  Raises:
    ValueError: if the split is empty, if there is a control and no critic or
      the other way round, likewise a context and controls, if batches cannot
      be dealt out that way, or if `run_dir` holds another run or one that has
      done more steps.
  """
  if bool(config.context_depth) != (corpus.controls is not None):
    raise ValueError(
        f'{config.name} has a context of depth {config.context_depth}: it is '
        f'trained {"with" if config.context_depth else "without"} controls in '
        'its examples')
  # Examples with controls have labels, which else are what a critic finds.
  needs_critic = bool(
      config.va_weight if config.context_depth else config.control_depth)
  if needs_critic != bool(critic):
    raise ValueError(
        f'{config.name} has a control of depth {config.control_depth} and a '
        f'va_weight of {config.va_weight:g}: it is trained '
        f'{"with" if needs_critic else "without"} a critic')
  if precision not in PRECISIONS:
    raise ValueError(
        f'unknown precision {precision!r}; known are: {", ".join(PRECISIONS)}')
  strategy = strategy or Strategy()
  if config.batch_size % strategy.num_workers:
    raise ValueError(
        f'a batch_size of {config.batch_size} cannot be dealt out evenly to '
        f'{strategy.num_workers} workers')
  if strategy.name == 'mirrored' and gradient_accumulation_steps > 1:
    raise ValueError(
        'Keras cannot accumulate gradients of mirrored devices: set '
        '--gradient_accumulation_steps=1, or --strategy=multi_worker')
  is_chief = not strategy.worker
  run_dir = pathlib.Path(run_dir).expanduser()
  if is_chief:
    (run_dir / 'train').mkdir(parents=True, exist_ok=True)
  rows = {name: np.flatnonzero(corpus.of_split(name))
          for name in ('train', 'validation')}
  tokens, controls = corpus.tokens[rows['train']], corpus.controls
  if controls is not None:
    controls = controls[rows['train']]
  if not len(tokens):
    raise ValueError('the corpus has no example in its train split')
  # What makes the run; it goes on only as it began.
  identity = json.loads(json.dumps({
      **dataclasses.asdict(config), 'seed': seed, 'freeze': freeze,
      'warm_start': str(warm_start) if warm_start else None,
      'precision': precision,
      'gradient_accumulation_steps': gradient_accumulation_steps,
      'critic': digest(critic.weights) if critic else None,
      'corpus': digest([tokens] if controls is None else [tokens, controls])}))
  goes_on = check_origin(run_dir, identity)
  keras.utils.set_random_seed(seed)
  with strategy.scope():
    reference = None
    if config.kl_control_weight and warm_start:
      reference = MusicVAE(config)
      magenta_weights.load(reference, warm_start, allow_missing=True)
    model = MusicVAE(config, seed=seed, critic=critic, reference=reference,
                     precision=precision)
    if warm_start and not goes_on:
      missing = magenta_weights.load(model, warm_start, allow_missing=True)
      for name in missing:
        print(f'{warm_start} lacks {name}: it begins at random')
    if freeze:
      getattr(model, freeze).trainable = False
    # Of what is added each replica gives its part.
    model.num_replicas = strategy.num_mirrors
    optimizer = keras.optimizers.Adam(
        MagentaDecay(config), epsilon=1e-8,
        global_clipnorm=config.grad_clip / strategy.num_mirrors,
        gradient_accumulation_steps=(
            gradient_accumulation_steps
            if gradient_accumulation_steps > 1 else None))
    if precision == 'mixed_float16':
      optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    optimizer.build(model.trainable_variables)
    strategy.average_gradients(optimizer)
    # XLA on a CPU was measured: slower to compile and slower to run.
    model.compile(optimizer, jit_compile=keras.backend.backend() == 'jax')
  first_step = load_state(model, run_dir) if goes_on else 0
  strategy.part_randomness(model.random)
  check_steps(run_dir, first_step, num_steps)
  callbacks = []
  if is_chief:
    write_origin(run_dir, identity, config)
    order = np.random.default_rng(seed).permutation(len(rows['validation']))
    watched = rows['validation'][order[:num_validation]]
    callbacks = [Progress(
        run_dir, first_step, num_steps,
        lambda: magenta_weights.save(model, run_dir / 'weights.npz'),
        lambda: _watch(
            model, corpus.tokens[watched],
            None if controls is None else corpus.controls[watched]),
        log_every, save_every_seconds)]
  if first_step < num_steps:
    model.fit(
        Batches(tokens, config, seed, first_step, num_steps,
                slice(strategy.worker, None, strategy.num_workers), controls),
        verbose=0, shuffle=False, callbacks=callbacks)
  if not is_chief:
    return {}
  if first_step < num_steps:
    callbacks[0].save()
  figures = _test_figures(model, corpus)
  write_report(run_dir, num_steps, figures)
  return figures
