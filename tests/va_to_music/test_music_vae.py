"""The engine: what sampling means, shapes, errors, files of a checkpoint."""

import dataclasses
import zipfile

import numpy as np
import pytest

from va_magenta import checkpoints
from va_magenta.va_to_music import lstm, magenta_weights, music_vae
from va_magenta.va_to_music.configs import Config
from va_magenta.va_to_music.tensors import one_hot

_FLAT = Config(
    name='cat-mel_2bar_small', max_seq_len=8, output_depths=(12,),
    level_lengths=None, z_size=4, enc_rnn_size=(7,), dec_rnn_size=(10, 8))
_HIERARCHY = Config(
    name='hierdec-trio_16bar', max_seq_len=6, output_depths=(5, 7),
    level_lengths=(2, 3), z_size=4, enc_rnn_size=(7, 6), dec_rnn_size=(10, 8),
    control_depth=2)
_CONDUCTED = dataclasses.replace(_HIERARCHY, conductor_control=True)
_BAND = dataclasses.replace(
    _FLAT, name='va-cat-band_2bar', output_depths=(5, 7), control_depth=5,
    context_depth=3)


@pytest.fixture(scope='module')
def flat(random_music_vae):
  return random_music_vae(_FLAT)


@pytest.fixture(scope='module', params=['flat', 'hierarchy'])
def case(request, flat, random_music_vae):
  """(model, z, what `sample` and `encode` take besides)."""
  model = flat if request.param == 'flat' else random_music_vae(
      {'hierarchy': _HIERARCHY, 'conductor': _CONDUCTED}[request.param])
  random = np.random.default_rng(1)
  controls = random.uniform(-1, 1, (6, 2)).astype(np.float32)
  return (model, random.normal(size=(6, 4)).astype(np.float32),
          {'controls': controls} if model.config.control_depth else {})


def _likeliest(logits, config):
  ends = np.cumsum(config.output_depths)[:-1]
  return np.stack(
      [part.argmax(-1) for part in np.split(logits, ends, axis=-1)], axis=-1)


def _logits(model, tokens, z, controls=None):
  return np.array(model.decoder(
      one_hot(tokens, model.config.output_depths), z, controls))


def _teacher_forced(model, tokens, z, controls=None):
  if controls is not None:
    controls = np.repeat(controls[:, None], tokens.shape[1], axis=1)
  return _logits(model, tokens, z, controls)


def test_samples_are_tokens(case):
  model, z, more = case
  depths = model.config.output_depths
  tokens = model.sample(z, seed=0, **more)
  assert tokens.shape == (6, model.config.max_seq_len, len(depths))
  assert np.issubdtype(tokens.dtype, np.integer)
  assert tokens.min() == 0
  assert (tokens.max((0, 1)) == np.array(depths) - 1).all()


def test_a_seed_is_a_sample(case):
  model, z, more = case
  first = model.sample(z, seed=7, **more)
  np.testing.assert_array_equal(first, model.sample(z, seed=7, **more))
  assert (first != model.sample(z, seed=8, **more)).any()
  assert (model.sample(z, **more) != model.sample(z, **more)).any()


def test_a_piece_does_not_depend_on_those_beside_it(case):
  model, z, more = case
  whole = model.sample(z, seed=7, **more)
  some = model.sample(z[:2], seed=7, **{k: v[:2] for k, v in more.items()})
  np.testing.assert_array_equal(some, whole[:2])


def test_greedy_is_the_likeliest_token_after_those_before(case):
  model, z, more = case
  x = model.sample(z, temperature=0, **more)
  logits = _teacher_forced(model, x, z, **more)
  expected = _likeliest(logits, model.config)
  np.testing.assert_array_equal(x, expected)
  assert len(np.unique(expected)) > 2
  # No randomness is left.
  np.testing.assert_array_equal(
      x, model.sample(z, temperature=0, seed=3, **more))


@pytest.mark.parametrize('temperature', [0.5, 1.0])
def test_draws_follow_the_decoders_distribution(flat, temperature):
  # One z drawn many times: the first step's and, given the first token, the
  # second step's frequencies are the softmax of the teacher-forced logits.
  n = 4000
  z = np.tile(np.random.default_rng(2).normal(size=(1, 4)), (n, 1))
  x = flat.sample(z, temperature=temperature, seed=0)[..., 0]
  hot = np.eye(*flat.config.output_depths)[x]
  same = x[:, 0] == np.bincount(x[:, 0]).argmax()
  logits = _teacher_forced(
      flat, x[same][:1, :, None], z[:1].astype(np.float32))[0, :2] / temperature
  expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  # Five standard errors.
  np.testing.assert_allclose(hot[:, 0].mean(0), expected[0], atol=0.04)
  np.testing.assert_allclose(
      hot[same][:, 1].mean(0), expected[1], atol=2.5 / np.sqrt(same.sum()))
  assert expected.max() < 0.99


def test_a_temperature_near_zero_is_zero(case):
  model, z, more = case
  np.testing.assert_array_equal(
      model.sample(z, temperature=1e-40, seed=3, **more),
      model.sample(z, temperature=0, **more))


@pytest.mark.parametrize('case', ['hierarchy'], indirect=True)
def test_a_control_is_heard(case):
  model, z, more = case
  other = model.sample(z, temperature=0, controls=-more['controls'])
  assert (other != model.sample(z, temperature=0, **more)).any()
  steps = model.config.max_seq_len
  late = np.repeat(more['controls'][:, None], steps, axis=1)
  np.testing.assert_array_equal(
      model.sample(z, seed=0, controls=late), model.sample(z, seed=0, **more))
  late[:, -1] *= -5
  changed = model.sample(z, seed=0, controls=late)
  np.testing.assert_array_equal(
      changed[:, :-1], model.sample(z, seed=0, **more)[:, :-1])


@pytest.mark.parametrize('case', ['hierarchy', 'conductor'], indirect=True)
def test_guidance_moves_on_from_the_neutral_control(case):
  model, z, more = case
  asked, neutral = more['controls'], np.zeros_like(more['controls'])
  np.testing.assert_array_equal(
      model.sample(z, seed=0, controls=asked, guidance=1.0),
      model.sample(z, seed=0, controls=asked))
  np.testing.assert_array_equal(
      model.sample(z, seed=0, controls=asked, guidance=0),
      model.sample(z, seed=0, controls=neutral))
  x = model.sample(z, temperature=0, controls=asked, guidance=2.5)
  after = [_teacher_forced(model, x, z, c) for c in (asked, neutral)]
  np.testing.assert_array_equal(
      x, _likeliest(after[1] + 2.5 * (after[0] - after[1]), model.config))
  assert (x != model.sample(z, temperature=0, controls=asked)).any()
  np.testing.assert_array_equal(
      model.sample(z[:2], seed=0, controls=asked[:2], guidance=2.5),
      model.sample(z, seed=0, controls=asked, guidance=2.5)[:2])


def test_guidance_leaves_the_context_as_it_is(random_music_vae):
  model = random_music_vae(_BAND)
  random = np.random.default_rng(1)
  z = random.normal(size=(6, 4)).astype(np.float32)
  # Two stretches of four steps, each with VA and a context of its own.
  asked = random.uniform(-1, 1, (6, 2, 5)).astype(np.float32)
  neutral = asked * [0, 0, 1, 1, 1]
  np.testing.assert_array_equal(
      model.sample(z, seed=0, controls=asked, guidance=0),
      model.sample(z, seed=0, controls=neutral))
  other = asked * [1, 1, -1, -1, -1]
  assert (model.sample(z, seed=0, controls=asked, guidance=0)
          != model.sample(z, seed=0, controls=other, guidance=0)).any()


def test_a_conductor_hears_the_mean_of_each_segments_controls(
    random_music_vae):
  model = random_music_vae(_CONDUCTED)
  for core in model.decoder.cores:
    kernel = np.array(core.lstm.kernels[0])
    kernel[core.depth + core.z_size:core.lstm.input_depths[0]] = 0
    core.lstm.kernels[0].assign(kernel)
  random = np.random.default_rng(3)
  z = random.normal(size=(5, 4)).astype(np.float32)
  controls = random.uniform(-1, 1, (5, 6, 2)).astype(np.float32)
  x = model.sample(z, seed=0, controls=controls)

  def logits(controls):
    return _logits(model, x, z, controls)

  # The second of two segments of three steps: no other hears of it.
  late = controls.copy()
  late[:, 3:] = -late[:, 3:]
  changed = np.abs(logits(late) - logits(controls)).max((0, 2))
  assert (changed[:3] == 0).all() and changed[3:].min() > 1e-3
  reordered = controls[:, [2, 0, 1, 5, 3, 4]]
  np.testing.assert_allclose(logits(reordered), logits(controls), atol=1e-5)


def test_a_control_added_to_a_conductor_changes_nothing_at_first(
    tmp_path, random_music_vae):
  pretrained = random_music_vae(
      dataclasses.replace(_HIERARCHY, control_depth=0))
  magenta_weights.save(pretrained, tmp_path / 'weights.npz')
  wider = random_music_vae(_CONDUCTED, seed=7)
  magenta_weights.load(wider, tmp_path / 'weights.npz')
  random = np.random.default_rng(3)
  z, controls = random.normal(size=(5, 4)), random.uniform(-1, 1, (5, 6, 2))
  x = pretrained.sample(z, seed=0)
  np.testing.assert_array_equal(wider.sample(z, seed=0, controls=controls), x)
  z, controls = z.astype(np.float32), controls.astype(np.float32)
  np.testing.assert_allclose(
      _logits(wider, x, z, controls), _logits(pretrained, x, z), atol=1e-6)
  # Magenta's row of no input comes first.
  saved, kernel = (
      next(np.array(w) for w in m.decoder.conductor.weights if 'kernel' in
           w.name) for m in (pretrained, wider))
  np.testing.assert_array_equal(np.delete(kernel, [1, 2], axis=0), saved)
  assert (kernel[1:3] == 0).all()


def test_magenta_has_no_conductor_that_hears_a_control(tmp_path):
  with pytest.raises(ValueError, match='cannot read hierdec-trio_16bar with '
                     'conductor_control: its own conductor takes no control$'):
    magenta_weights.save(
        music_vae.MusicVAE(_CONDUCTED), tmp_path / 'model.ckpt-0')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('guidance', [-1, float('nan'), float('inf')])
@pytest.mark.parametrize('case', ['hierarchy'], indirect=True)
def test_bad_guidance_is_refused(case, guidance):
  model, z, more = case
  with pytest.raises(ValueError, match='guidance must be 0 or more'):
    model.sample(z, guidance=guidance, **more)


def test_posterior(case):
  model, z, more = case
  tokens = model.sample(z, seed=0, **more)
  mu, sigma = model.encode(tokens, **more)
  assert mu.shape == sigma.shape == (6, model.config.z_size)
  assert mu.dtype == sigma.dtype == np.float32
  assert (sigma > 0).all()
  assert mu.std(0).min() > 1e-3
  # First and last step alike are heard, in both directions.
  for step in (0, -1):
    other = tokens.copy()
    other[:, step, 0] = (other[:, step, 0] + 1) % model.config.output_depths[0]
    assert np.abs(model.encode(other, **more)[0] - mu).max(1).min() > 1e-5


def test_teacher_forcing_does_not_look_ahead(case):
  model, z, more = case
  x = model.sample(z, seed=0, **more)
  logits = _teacher_forced(model, x, z, **more)
  assert logits.shape == (*x.shape[:2], model.config.depth)
  other = x.copy()
  other[:, 4] = (other[:, 4] + 1) % model.config.output_depths
  changed = np.abs(_teacher_forced(model, other, z, **more) - logits)
  assert (changed[:, :5] == 0).all()
  assert changed[:, 5].max() > 1e-3


@pytest.mark.parametrize(('z', 'more', 'complaint'), [
    (np.zeros((2, 3)), {}, r'z must have shape \[n, 4\], got \[2, 3\]'),
    (np.zeros(4), {}, r'z must have shape \[n, 4\], got \[4\]'),
    (np.full((2, 4), np.nan), {}, 'z has numbers that are not finite'),
    (np.zeros((2, 4)), {'temperature': -0.1}, 'temperature'),
    (np.zeros((2, 4)), {'temperature': float('nan')}, 'temperature'),
    (np.zeros((2, 4)), {'temperature': float('inf')}, 'temperature'),
    (np.zeros((2, 4)), {'controls': np.zeros((2, 2))},
     r'\[2, 0\], .* got \[2, 2\]'),
    (np.zeros((2, 4)), {'guidance': 2}, 'takes no control: guidance must be 1'),
])
def test_what_cannot_be_sampled(flat, z, more, complaint):
  with pytest.raises(ValueError, match=complaint):
    flat.sample(z, **more)


@pytest.mark.parametrize('controls', [
    None, np.zeros((2, 3)), np.zeros((3, 2)), np.zeros((2, 5, 2)), np.zeros(2),
    np.full((2, 2), np.inf)])
def test_bad_controls_are_refused(controls):
  model = music_vae.MusicVAE(_HIERARCHY)
  with pytest.raises(ValueError, match='controls'):
    model.sample(np.zeros((2, 4)), controls=controls)
  with pytest.raises(ValueError, match='controls'):
    model.encode(np.zeros((2, 6, 2), int), controls)


@pytest.mark.parametrize('reverse', [False, True])
def test_gradient_of_an_lstm_layer_is_that_of_its_steps(reverse):
  import tensorflow as tf

  random = np.random.default_rng(0)
  steps, batch, units = 5, 3, 4
  layer = lstm.LSTM(2, (units,))
  x = tf.constant(random.normal(size=(steps, batch, 2)), 'float32')
  weights = random.normal(size=(steps, batch, units))
  state = [tuple(tf.constant(random.normal(size=(batch, units)), 'float32')
                 for _ in range(2))]

  def step_by_step():
    after, outputs = state, [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
      outputs[t], after = layer.step(
          layer.project(x[t]), after, layer.recurrent_kernel(0))
    return tf.stack(outputs)

  gradients = []
  for run in (lambda: layer.run(layer.project(x), state, reverse),
              step_by_step):
    with tf.GradientTape() as tape:
      tape.watch([x, *state[0]])
      loss = tf.reduce_sum(run() * weights)
    gradients.append(tape.gradient(
        loss, [x, *state[0], layer.kernels[0], layer.biases[0]]))
  for ours, theirs in zip(*gradients, strict=True):
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(('precision', 'tolerance'), [
    ('mixed_bfloat16', 0.05), ('mixed_float16', 0.006)])
def test_a_mixed_precision_is_near_float32_and_not_for_sampling(
    precision, tolerance):
  import tensorflow as tf

  config = dataclasses.replace(
      _CONDUCTED, output_depths=(12,), enc_rnn_size=(7,), dec_rnn_size=(8,))
  model = music_vae.MusicVAE(config)
  mixed = music_vae.MusicVAE(config, precision=precision)
  random = np.random.default_rng(1)
  for ours, theirs in zip(model.weights, mixed.weights, strict=True):
    if ours.dtype == 'float32':
      ours.assign(random.normal(size=ours.shape) * 0.3)
    assert theirs.dtype == ours.dtype
    theirs.assign(ours)
  z = random.normal(size=(9, 4)).astype(np.float32)
  controls = random.uniform(-1, 1, (9, 6, 2)).astype(np.float32)
  x = model.sample(z, seed=0, controls=controls)
  np.testing.assert_array_equal(mixed.sample(z, seed=0, controls=controls), x)

  def outputs(model):
    weights = [w.value for w in model.trainable_weights]
    with tf.GradientTape() as tape:
      outputs = [
          *model.encoder.read(x, (12,), controls),
          model.decoder(one_hot(x, (12,)), z, controls)]
      loss = sum(tf.reduce_sum(tf.square(y)) for y in outputs)
    return outputs + tape.gradient(loss, weights)

  differs = []
  for ours, theirs in zip(outputs(model), outputs(mixed), strict=True):
    assert theirs.dtype == 'float32'
    differs.append(np.linalg.norm(theirs - ours) / np.linalg.norm(ours))
  assert 0 < max(differs) < tolerance


def test_scheduled_sampling_is_for_flat_decoders():
  with pytest.raises(ValueError, match='set sampling_schedule=constant'):
    music_vae.MusicVAE(
        dataclasses.replace(_HIERARCHY, sampling_schedule='exponential'))


# --- Files.


def _weights(model):
  return [np.array(w) for w in model.encoder.weights + model.decoder.weights]


@pytest.fixture
def folder(flat, tmp_path):
  """A checkpoint of the flat model."""
  flat.config.save(tmp_path / 'config.json')
  magenta_weights.save(flat, tmp_path / 'weights.npz')
  return tmp_path


@pytest.mark.parametrize('config', [_FLAT, _HIERARCHY])
@pytest.mark.parametrize('form', ['float32', 'release', 'model.ckpt-0'])
def test_weights_are_read_as_written(tmp_path, config, form, random_music_vae):
  model, other = random_music_vae(config), random_music_vae(config, seed=5)
  release, npz = form == 'release', form != 'model.ckpt-0'
  path = tmp_path / ('weights.npz' if npz else form)
  magenta_weights.save(model, path, release=release)
  for where in [path] if npz else [path, tmp_path]:
    assert magenta_weights.load(other, where) == []
    for ours, theirs in zip(_weights(model), _weights(other), strict=True):
      assert theirs.dtype == np.float32
      np.testing.assert_array_equal(
          theirs, checkpoints.rounded(ours) if release else ours)
  if npz:
    assert {a.dtype.name for a in magenta_weights.read(path).values()} == {
        'float16' if release else 'float32'}


def test_a_gain_of_controls_is_no_matter_of_files(tmp_path, random_music_vae):
  # With the gain, or with rows that are as much larger: the same to whoever
  # samples or encodes, and in a file only the latter.
  louder = random_music_vae(dataclasses.replace(_HIERARCHY, control_gain=4.0))
  magenta_weights.save(louder, tmp_path / 'weights.npz')
  plain = music_vae.MusicVAE(_HIERARCHY)
  magenta_weights.load(plain, tmp_path / 'weights.npz')
  again = music_vae.MusicVAE(louder.config)
  magenta_weights.load(again, tmp_path / 'weights.npz')
  random = np.random.default_rng(3)
  z, controls = random.normal(size=(5, 4)), random.uniform(-1, 1, (5, 2))
  x = plain.sample(z, temperature=0, controls=controls)
  mu = plain.encode(x, controls)[0]
  for model in (louder, again):
    np.testing.assert_array_equal(
        model.sample(z, temperature=0, controls=controls), x)
    np.testing.assert_allclose(
        model.encode(x, controls)[0], mu, atol=1e-5)
  assert (x != plain.sample(z, temperature=0, controls=controls * 4)).any()


def test_a_loaded_model_samples_the_same(folder, flat):
  z = np.random.default_rng(4).normal(size=(6, 4))
  np.testing.assert_array_equal(
      music_vae.load(folder).sample(z, seed=1), flat.sample(z, seed=1))


def _check_refused(folder, complaint, error=ValueError):
  with pytest.raises(error) as info:
    music_vae.load(folder)
  assert '\n' not in str(info.value)
  assert str(folder) in str(info.value)
  assert complaint in str(info.value)


@pytest.mark.parametrize('name', ['config.json', 'weights.npz'])
def test_a_missing_file_is_told(folder, name):
  (folder / name).unlink()
  _check_refused(folder, f'it has no {name}', FileNotFoundError)


def test_a_missing_folder_is_told(tmp_path):
  _check_refused(tmp_path / 'nowhere', 'it has no config', FileNotFoundError)


def test_a_damaged_config_is_told(folder):
  (folder / 'config.json').write_text('{')
  _check_refused(folder, 'is not the config of a MusicVAE')


@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.99])
def test_truncated_weights_are_told(folder, share):
  content = (folder / 'weights.npz').read_bytes()
  (folder / 'weights.npz').write_bytes(content[:int(len(content) * share)])
  _check_refused(folder, 'is not a whole .npz of plain arrays')


def test_flipped_bytes_are_told(folder):
  content = bytearray((folder / 'weights.npz').read_bytes())
  random = np.random.default_rng(0)
  # The data of the arrays are under a checksum; each place has a way to fail.
  for position in random.integers(len(content) // 10, len(content) // 2, 30):
    damaged = content.copy()
    damaged[position] ^= 0xff
    (folder / 'weights.npz').write_bytes(damaged)
    _check_refused(folder, 'is not a whole .npz of plain arrays')


@pytest.mark.parametrize('kind', ['text', 'npy', 'pickle'])
def test_other_files_of_that_name_are_told(folder, kind):
  path = folder / 'weights.npz'
  path.unlink()
  if kind == 'text':
    path.write_text('These are no weights.')
  else:
    array = (np.zeros(3) if kind == 'npy'
             else np.array([{'a': 1}], dtype=object))
    with path.open('wb') as file:
      np.save(file, array, allow_pickle=True)
  _check_refused(folder, 'is not a whole .npz of plain arrays')


class _Bomb:

  def __reduce__(self):
    return (pytest.fail, ('unpickled',))


def test_pickles_in_an_npz_are_not_opened(folder):
  arrays = dict(np.load(folder / 'weights.npz'))
  arrays['encoder|mu|bias'] = np.array([_Bomb()], dtype=object)
  np.savez(folder / 'weights.npz', **arrays)
  _check_refused(folder, 'is not a whole .npz of plain arrays')


@pytest.mark.parametrize(('change', 'complaint'), [
    (lambda a: a * np.nan, 'encoder/mu/kernel is not finite'),
    (lambda a: a + np.inf, 'encoder/mu/kernel is not finite'),
    (lambda a: a[:, :-1], 'has shape [14, 3], not [14, 4]'),
    (lambda a: a[:-1], 'has shape [13, 4], not [14, 4]'),
    (lambda a: a.ravel(), 'has shape [56], not [14, 4]'),
    (lambda a: a[0, 0], 'has shape [], not [14, 4]'),
    (lambda a: a.astype(str), 'is damaged: encoder/mu/kernel is'),
    (lambda a: a.astype(int), 'is damaged: encoder/mu/kernel is int64'),
    (lambda a: None, 'it lacks encoder/mu/kernel'),
])
def test_weights_of_another_model_are_told(folder, change, complaint):
  arrays = dict(np.load(folder / 'weights.npz'))
  changed = change(arrays.pop('encoder|mu|kernel'))
  if changed is not None:
    arrays['encoder|mu|kernel'] = changed
  np.savez(folder / 'weights.npz', **arrays)
  _check_refused(folder, complaint)


def test_a_kernel_with_fewer_rows_is_no_control(folder):
  # Only the rows of the control may be lacking, and this model has none.
  arrays = dict(np.load(folder / 'weights.npz'))
  name, = (n for n in arrays if 'cell_0' in n and 'decoder' in n
           and n.endswith('kernel'))
  arrays[name] = arrays[name][2:]
  np.savez(folder / 'weights.npz', **arrays)
  _check_refused(folder, 'is not a checkpoint of cat-mel_2bar_small')


def test_no_array_is_assigned_before_all_are_checked(folder, random_music_vae):
  arrays = dict(np.load(folder / 'weights.npz'))
  arrays['decoder|output_projection|bias'] *= np.nan
  np.savez(folder / 'weights.npz', **arrays)
  model = random_music_vae(_FLAT, seed=5)
  before = _weights(model)
  with pytest.raises(ValueError, match='not finite'):
    magenta_weights.load(model, folder / 'weights.npz')
  for ours, theirs in zip(_weights(model), before, strict=True):
    np.testing.assert_array_equal(ours, theirs)


def test_arrays_are_plain_and_compressed(folder):
  with zipfile.ZipFile(folder / 'weights.npz') as archive:
    assert {i.compress_type for i in archive.infolist()} == {
        zipfile.ZIP_DEFLATED}
  assert all(
      name.split('|')[0] in ('encoder', 'decoder')
      for name in np.load(folder / 'weights.npz').files)


@pytest.mark.parametrize('part', ['.index', '.data-00000-of-00001'])
def test_a_damaged_tensorflow_checkpoint_is_told(flat, tmp_path, part):
  prefix = tmp_path / 'model.ckpt-3'
  magenta_weights.save(flat, prefix)
  path = tmp_path / f'model.ckpt-3{part}'
  path.write_bytes(path.read_bytes()[:100])
  with pytest.raises(ValueError, match='cannot be read as') as info:
    magenta_weights.read(prefix)
  assert '\n' not in str(info.value)


def test_a_missing_tensorflow_checkpoint_is_told(flat, tmp_path):
  with pytest.raises(FileNotFoundError, match='no checkpoint at'):
    magenta_weights.read(tmp_path / 'model.ckpt-3')
  with pytest.raises(FileNotFoundError, match='holds 0 checkpoints'):
    magenta_weights.read(tmp_path)
  for name in ('a', 'b'):
    magenta_weights.save(flat, tmp_path / name)
  (tmp_path / 'checkpoint').unlink()
  with pytest.raises(FileNotFoundError, match='holds 2 checkpoints'):
    magenta_weights.read(tmp_path)


def test_latent_noise_is_what_the_decoder_is_given_in_training_alone():
  import keras

  def outputs(level, training):
    keras.utils.set_random_seed(0)
    model = music_vae.MusicVAE(
        dataclasses.replace(_FLAT, latent_noise=level), seed=2)
    tokens = np.random.default_rng(0).integers(0, 12, (5, 8, 1))
    return {
        name: np.array(x) for name, x in model(
            {'tokens': tokens}, training=training).items() if x is not None}

  exact, noisy = outputs(0.0, True), outputs(1.5, True)
  for name in ('mu', 'sigma', 'z'):
    np.testing.assert_allclose(noisy[name], exact[name], rtol=1e-5)
  assert abs(noisy['logits'] - exact['logits']).max() > 1e-3
  np.testing.assert_allclose(
      outputs(1.5, False)['logits'], outputs(0.0, False)['logits'], rtol=1e-4,
      atol=1e-6)
