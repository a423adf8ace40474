"""Weights between our MusicVAE and Magenta's checkpoints, both ways.

Two forms hold the same variables under Magenta's names: TensorFlow checkpoints
(`model.ckpt-1234.index`, `.data-...`), and plain arrays in one `.npz`, with `/`
written `|`, as this project ships them. Shapes and gate order are Magenta's on
both sides, so nothing is permuted. What a checkpoint lacks are the rows of a
control that was added later; they are filled with zeros, so that the model
starts out as the pretrained one. Likewise a trio may begin as a model of
melodies, which then plays its first part.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from va_magenta import checkpoints, files

_SHARD_BYTES = 4 * 2**20


def _variables(model) -> Iterator[tuple[str, Any, int | None]]:
  """(Magenta's name, Keras variable, row where a control begins or None)."""
  config = model.config
  encoder = model.encoder
  if config.hierarchical_encoder:
    scope = 'encoder/hierarchical_level_0'
    yield from _bidirectional(scope, encoder.segments, config.depth)
    yield from _dense(f'{scope}/embedding', encoder.embedding)
    encoder = encoder.above
    yield from _bidirectional('encoder/hierarchical_level_1', encoder, None)
  else:
    yield from _bidirectional('encoder', encoder, config.depth)
  yield from _dense('encoder/mu', encoder.mu)
  yield from _dense('encoder/sigma', encoder.sigma)

  decoder = model.decoder
  core_scope = ''
  if decoder.conductor is not None:
    scope = 'decoder/hierarchical_level_0'
    core_scope = 'core_decoder/'
    yield from _dense(f'{scope}/initial_state', decoder.conductor_state.dense)
    yield from _cells(scope, decoder.conductor,
                      1 if config.conductor_control else None)
  for i, core in enumerate(decoder.cores):
    scope = f'{core_scope}decoder'
    if len(decoder.cores) > 1:
      scope = f'{core_scope}core_decoder_{i}/decoder'
    yield from _dense(f'{scope}/z_to_initial_state', core.initial_state.dense)
    yield from _cells(
        f'{scope}/multi_rnn_cell', core.lstm, core.depth + core.z_size)
    yield from _dense(f'{scope}/output_projection', core.output_projection)


def _bidirectional(scope, encoder, control_row):
  for direction, stack in (('fw', encoder.forward), ('bw', encoder.backward)):
    for i, lstm in enumerate(stack):
      cell = (f'{scope}/cell_{i}/bidirectional_rnn/{direction}/'
              'multi_rnn_cell/cell_0/lstm_cell')
      yield f'{cell}/kernel', lstm.kernels[0], None if i else control_row
      yield f'{cell}/bias', lstm.biases[0], None


def _dense(scope, layer):
  yield f'{scope}/kernel', layer.kernel, None
  yield f'{scope}/bias', layer.bias, None


def _cells(scope, lstm, control_row):
  for i, (kernel, bias) in enumerate(
      zip(lstm.kernels, lstm.biases, strict=True)):
    cell = f'{scope}/cell_{i}/lstm_cell'
    yield f'{cell}/kernel', kernel, None if i else control_row
    yield f'{cell}/bias', bias, None


def load(model, path: str | os.PathLike, allow_missing: bool = False
        ) -> list[str]:
  """Fills a model with the weights of a checkpoint.

  Args:
    model: a `MusicVAE`.
    path: an `.npz`, a folder with `weights.npz`, the prefix of a TensorFlow
      checkpoint, or a folder of them, whose latest is taken.
    allow_missing: whether variables that the checkpoint lacks keep their
      values.

  Returns:
    Magenta's names of the variables that were missing.

  Raises:
    FileNotFoundError: if there is no such checkpoint.
    ValueError: if it is of another config, or cannot be read.
  """
  arrays = read(path)
  if allow_missing:
    arrays = _as_first_output(arrays, model.config)
  assigned, missing = [], []
  for name, variable, control_row in _variables(model):
    if name not in arrays:
      missing.append(name)
      continue
    array = arrays[name]
    control_depth = model.config.control_depth
    if control_row is not None and array.shape[:1] == (
        variable.shape[0] - control_depth,):
      zeros = np.zeros((control_depth, *array.shape[1:]))
      array = np.insert(array, [control_row] * control_depth, zeros, axis=0)
    if array.shape != tuple(variable.shape):
      raise ValueError(
          f'{path} is not a checkpoint of {model.config.name} in this size: '
          f'{name} has shape {list(arrays[name].shape)}, not '
          f'{list(variable.shape)}')
    if array.dtype.kind != 'f':
      raise ValueError(f'{path} is damaged: {name} is {array.dtype}, not float')
    if not np.isfinite(array).all():
      raise ValueError(f'{path} is damaged: {name} is not finite')
    assigned.append((variable, _multiply_controls(
        array, control_row, model.config, 1 / model.config.control_gain)))
  if missing and (not allow_missing or not assigned):
    raise ValueError(
        f'{path} is not a checkpoint of {model.config.name}: it lacks '
        f'{missing[0]}' + (f' and {len(missing) - 1} more variables'
                           if len(missing) > 1 else ''))
  for variable, array in assigned:
    variable.assign(array.astype(np.float32))
  return missing


def _as_first_output(arrays, config):
  """Weights of a flat model of melodies, for a trio's: what is added is silent.

  The trio's first output is a melody, too. What its encoder reads beside that
  has rows of zeros, so that z is that of the melody, and its melody decoder
  knows what to do with it.
  """
  first, *others = config.output_depths
  if not others or any('core_decoder' in name for name in arrays):
    return arrays
  adapted = {}
  for name, array in arrays.items():
    if name.startswith('decoder/'):
      name = f'core_decoder_0/{name}'
    elif name.startswith('encoder/cell_0/') and name.endswith('/kernel'):
      array = np.insert(array, [first] * sum(others), 0, axis=0)
    adapted[name] = array
  return adapted


def _multiply_controls(array, control_row, config, factor):
  """An array with its rows of the control, if it has any, times a factor."""
  if control_row is None or factor == 1:
    return array
  array = array.astype(np.float32)
  array[control_row:control_row + config.control_depth] *= factor
  return array


def _arrays(model) -> dict[str, np.ndarray]:
  """A model's weights by Magenta's names, for controls as they are."""
  return {
      name: _multiply_controls(
          np.asarray(variable.numpy(), np.float32), control_row, model.config,
          model.config.control_gain)
      for name, variable, control_row in _variables(model)
  }


def read(path: str | os.PathLike) -> Mapping[str, np.ndarray]:
  """All variables of a checkpoint, by Magenta's names.

  Raises:
    FileNotFoundError: if there is no such checkpoint.
    ValueError: if it cannot be read.
  """
  path = pathlib.Path(path)
  if (path / 'weights.npz').is_file():
    path = path / 'weights.npz'
  if path.suffix == '.npz':
    return {
        name.replace('|', '/'): array
        for name, array in files.read_npz(path).items()}
  import tensorflow as tf

  prefix = path
  if path.is_dir():
    prefix = tf.train.latest_checkpoint(str(path)) or _only_prefix(path)
  if not pathlib.Path(f'{prefix}.index').is_file():
    raise FileNotFoundError(
        f'no checkpoint at {path}: give an .npz, or what stands before .index')
  try:
    reader = tf.train.load_checkpoint(str(prefix))
    return {n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()
            if not n.endswith(('/Adam', '/Adam_1'))}
  # TensorFlow's reader turns 'out of range' into an IndexError.
  except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
    line = str(error).splitlines()[0]
    raise ValueError(
        f'{path} cannot be read as a checkpoint: {line}') from error


def _only_prefix(folder: pathlib.Path) -> pathlib.Path:
  """What stands before `.index`, in a folder without a `checkpoint` file."""
  indices = sorted(folder.rglob('*.index'))
  if len(indices) != 1:
    raise FileNotFoundError(
        f'{folder} holds {len(indices)} checkpoints: name one by what stands '
        'before .index')
  return indices[0].with_suffix('')


def save(model, path: str | os.PathLike, release: bool = False):
  """Writes a model's weights as plain arrays, or as Magenta's own checkpoint.

  Args:
    model: a `MusicVAE`.
    path: a name ending in `.npz`; or the prefix of a TensorFlow checkpoint,
      which Magenta's `TrainedModel` and its training open.
    release: whether an `.npz` is `checkpoints.rounded`, a third of the size.

  Raises:
    ValueError: if Magenta has no model of this kind.
  """
  path = pathlib.Path(path)
  if path.suffix != '.npz' and model.config.conductor_control:
    raise ValueError(
        f'Magenta cannot read {model.config.name} with conductor_control: its '
        'own conductor takes no control')
  arrays = _arrays(model)
  if path.suffix == '.npz':
    with files.writing(path) as temporary:
      np.savez_compressed(temporary, **{
          name.replace('/', '|'): checkpoints.rounded(a) if release else a
          for name, a in arrays.items()})
    return
  import tensorflow as tf

  arrays['global_step'] = np.int64(_step_of(model))
  tf.raw_ops.SaveV2(
      prefix=str(path), tensor_names=list(arrays),
      shape_and_slices=[''] * len(arrays), tensors=list(arrays.values()))
  # By its name alone, so that the folder may be moved.
  (path.parent / 'checkpoint').write_text(
      f'model_checkpoint_path: "{path.name}"\n'
      f'all_model_checkpoint_paths: "{path.name}"\n')


def save_javascript(model, folder: pathlib.Path):
  """Writes weights as magenta.js reads them.

  `config.json` is its `MusicVAESpec`; `weights_manifest.json` and the shards
  beside it are in the format of TensorFlow.js (`tf.io.loadWeights`): all
  weights end to end, float32, little endian, cut into files of 4 MB.

  Args:
    model: a `MusicVAE`.
    folder: an existing folder.

  Raises:
    ValueError: if magenta.js has no model of this kind.
  """
  config = model.config
  if config.level_lengths or len(config.enc_rnn_size) > 1:
    raise ValueError(
        f'magenta.js cannot read {config.name}: it has flat decoders with an '
        'encoder of one layer, such as cat-mel_2bar_small, and no others of '
        'ours')
  specification = {
      'type': 'MusicVAE',
      'dataConverter': {
          'type': 'MelodyConverter',
          # Pitches of the first and the last token.
          'args': {'numSteps': config.max_seq_len, 'minPitch': 21,
                   'maxPitch': 108}},
  }
  if config.control_depth:
    specification['extraControls'] = [
        {'name': 'va', 'depth': config.control_depth}]
  arrays = _arrays(model)
  content = b''.join(array.astype('<f4').tobytes() for array in arrays.values())
  shards = [content[i:i + _SHARD_BYTES]
            for i in range(0, len(content), _SHARD_BYTES)]
  paths = [f'group1-shard{i + 1}of{len(shards)}' for i in range(len(shards))]
  for path, shard in zip(paths, shards, strict=True):
    with files.writing(folder / path) as temporary:
      temporary.write_bytes(shard)
  for name, value in (
      ('weights_manifest.json', [{'paths': paths, 'weights': [
          {'name': name, 'shape': list(array.shape), 'dtype': 'float32'}
          for name, array in arrays.items()]}]),
      ('config.json', specification)):
    with files.writing(folder / name) as temporary:
      temporary.write_text(json.dumps(value))


def _step_of(model) -> int:
  optimizer = getattr(model, 'optimizer', None)
  return int(optimizer.iterations.numpy()) if optimizer is not None else 0
