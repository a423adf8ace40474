"""From a picture or a point to files of music that lie near it."""

import errno
import json
import os
import resource
import subprocess
import sys
import tarfile

import note_seq
import numpy as np
import pytest
from PIL import Image

import va_magenta
from va_magenta import generation
from va_magenta.evaluation import plots
from va_magenta.music_to_va import symbolic, synthesis
from va_magenta.va import VA
from va_magenta.va_to_music import configs, magenta_weights, melody, music_vae

TINY = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
    level_lengths=None, z_size=8, enc_rnn_size=(4,), dec_rnn_size=(16,))


def _save_model(folder, config):
  """A checkpoint with random weights, but of melodies with notes."""
  folder.mkdir()
  model = music_vae.MusicVae(config, seed=1)
  rng = np.random.default_rng(0)
  for core in model.decoder.cores:
    for variable in core.trainable_variables:
      variable.assign(rng.normal(0, 0.7, variable.shape))
  config.save(folder / 'config.json')
  magenta_weights.save(model, folder / 'weights.npz')
  return folder


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
  return _save_model(tmp_path_factory.mktemp('checkpoints') / 'tiny', TINY)


class _Ear:
  """Hears arousal in tempo and valence in register, so that a test can too."""

  def estimate_va(self, sequences):
    return [
        VA.clip(
            (np.mean([n.pitch for n in s.notes] or [64.5]) - 64.5) / 20,
            (s.tempos[0].qpm - 115) / 65) for s in sequences
    ]


@pytest.fixture
def ear(monkeypatch):
  ear = _Ear()
  monkeypatch.setattr(symbolic, 'load', lambda: ear)
  return ear


@pytest.fixture
def generate(tiny, ear, tmp_path):
  def function(**kwargs):
    return va_magenta.generate_and_save(**({
        'valence': 0.5, 'arousal': 0.5, 'checkpoint': tiny, 'seed': 1,
        'candidates': 16, 'output_dir': tmp_path / 'out'} | kwargs))

  return function


def _files(folder):
  return sorted(p.name for p in folder.rglob('*')) if folder.exists() else []


def test_pieces_are_the_nearest_of_all_candidates(tiny, ear):
  target = VA(0.2, -0.6)
  settings = {'checkpoint': tiny, 'candidates': 40, 'seed': 3}
  everything = generation.compose(
      target, generation.Settings(num_outputs=40, **settings))
  distances = [target.distance(piece.va) for piece in everything]
  assert distances == sorted(distances)
  assert distances[-1] > distances[0] + 0.5
  nearest = generation.compose(
      target, generation.Settings(num_outputs=3, **settings))
  assert [p.sequence for p in nearest] == [
      p.sequence for p in everything[:3]]
  for piece in nearest:
    assert [piece.va] == ear.estimate_va([piece.sequence])
    assert piece.sequence.tempos[0].qpm == piece.tempo_qpm
    assert {n.velocity for n in piece.sequence.notes} == {piece.velocity}


def test_tempo_and_velocity_are_drawn_over_their_ranges(tiny, ear):
  pieces = generation.compose(VA(0, 0), generation.Settings(
      checkpoint=tiny, candidates=200, num_outputs=150, seed=0))
  tempos = [piece.tempo_qpm for piece in pieces]
  assert 50 <= min(tempos) < 60
  assert 165 < max(tempos) <= 180
  assert np.mean(np.array(tempos) < 95) == pytest.approx(0.5, abs=0.12)
  velocities = [piece.velocity for piece in pieces]
  assert 40 <= min(velocities) < 45
  assert 105 < max(velocities) <= 110


def test_same_seed_same_notes(tiny, ear):
  def notes(**kwargs):
    return va_magenta.generate(
        valence=0, arousal=0, checkpoint=tiny, candidates=8, num_outputs=2,
        **kwargs)

  assert notes(seed=7) == notes(seed=7)
  assert notes(seed=7) != notes(seed=8)
  assert notes() != notes()


def test_outputs_are_different_pieces(tiny, ear):
  sequences = va_magenta.generate(
      valence=0, arousal=0, checkpoint=tiny, candidates=30, num_outputs=10)
  assert len({tuple(melody.sequence_to_tokens(s)) for s in sequences}) == 10


def test_fewer_different_pieces_than_asked_for_is_told(
    tiny, ear, monkeypatch):
  monkeypatch.setattr(
      generation, 'draw_chains',
      lambda rng, n, phrases, size: np.ones((n, phrases, size), np.float32))
  with pytest.raises(ValueError, match='only 1 different pieces .* 2 wanted'):
    va_magenta.generate(
        valence=0, arousal=0, checkpoint=tiny, temperature=0, candidates=4,
        num_outputs=2)


def test_settings_reach_the_music(tiny, ear):
  [sequence] = va_magenta.generate(
      valence=0, arousal=0, checkpoint=tiny, bars=8, tempo_qpm=90, program=11)
  assert sequence.tempos[0].qpm == 90
  assert {n.program for n in sequence.notes} == {11}
  seconds = 8 * 4 * 60 / 90
  assert 0.75 * seconds < sequence.total_time <= seconds + 1e-6


def test_phrases_stay_near_their_theme_and_in_the_prior():
  z = generation.draw_chains(np.random.default_rng(0), 200, 8, 64)
  assert z.shape == (200, 8, 64)
  assert z.dtype == np.float32

  def likeness(a, b):
    a, b = z[:, a], z[:, b]
    return np.mean(np.sum(a * b, 1) / np.linalg.norm(a, axis=1)
                   / np.linalg.norm(b, axis=1))

  # A A' B A'' A ...: the theme returns, the bridge is the furthest from it.
  assert likeness(0, 1) > 0.9
  assert likeness(0, 3) > 0.9
  assert likeness(0, 4) > likeness(0, 1)
  assert 0.3 < likeness(0, 2) < 0.8
  for phrase in range(8):
    assert z[:, phrase].std() == pytest.approx(1, abs=0.02)


def test_notes_sound_on_over_the_seam_of_phrases():
  class Model:

    def sample(self, z, *, temperature, seed):
      tokens = np.zeros((len(z), 32), int)
      tokens[::2, 30] = 50  # Starts in the first phrase, is never ended.
      return np.eye(90)[tokens]

  tokens = generation._decode(
      Model(), np.zeros((1, 2, 4)), 1.0, np.random.default_rng(0))
  assert tokens.shape == (1, 64)
  [note] = melody.tokens_to_sequence(tokens[0]).notes
  assert (note.start_time, note.end_time) == (30 / 8, 64 / 8)


def test_files_say_what_was_made(generate, tmp_path):
  saved = generate(num_outputs=2, program=5)
  folder = tmp_path / 'out'
  name = 'valence+0.50_arousal+0.50'
  assert _files(folder) == [
      f'{name}-1.mid', f'{name}-2.mid', f'{name}.json', f'{name}.png']
  assert sorted(p.name for p in saved.paths) == _files(folder)

  record = json.loads(saved.json_path.read_text())
  assert record['image'] is None
  assert record['image_va'] is None
  assert record['target'] == {'valence': 0.5, 'arousal': 0.5}
  assert record['seed'] == 1
  assert record['program'] == 5
  assert record['checkpoint'].endswith('tiny')
  assert set(record['versions']) == {
      'va_magenta', 'tensorflow', 'keras', 'numpy'}
  for piece, path, output in zip(
      saved.pieces, saved.midi_paths, record['outputs'], strict=True):
    assert output['midi'] == path.name
    assert output['wav'] is None
    va = VA(**output['estimated_va'])
    assert va == piece.va
    assert output['distance'] == va.distance(VA(0.5, 0.5))
    written = note_seq.midi_file_to_note_sequence(str(path))
    assert [n.pitch for n in written.notes] == [
        n.pitch for n in piece.sequence.notes]
    assert written.tempos[0].qpm == pytest.approx(piece.tempo_qpm, abs=0.01)
    assert {(n.program, n.velocity) for n in written.notes} == {
        (5, piece.velocity)}
    np.testing.assert_allclose(
        [n.start_time for n in written.notes],
        [n.start_time for n in piece.sequence.notes], atol=0.005)
  with Image.open(saved.png_path) as image:
    assert image.format == 'PNG'


def test_drawn_seed_is_recorded_and_repeats_the_piece(generate, tmp_path):
  first = generate(seed=None)
  seed = json.loads(first.json_path.read_text())['seed']
  again = generate(seed=seed, output_dir=tmp_path / 'again')
  assert again.midi_paths[0].read_bytes() == first.midi_paths[0].read_bytes()


def test_picture_gives_the_target(generate, tmp_path, monkeypatch):
  from va_magenta.image_to_va import model

  seen = []
  monkeypatch.setattr(
      model, 'estimate_va', lambda p: seen.append(p) or VA(-0.25, 0.75))
  picture = np.full((6, 9, 3), 77, np.uint8)
  Image.fromarray(picture).save(tmp_path / 'sky.png')
  point = {'valence': None, 'arousal': None}
  saved = generate(image=tmp_path / 'sky.png', **point)
  record = json.loads(saved.json_path.read_text())
  assert record['image'] == str(tmp_path / 'sky.png')
  assert record['image_va'] == record['target'] == {
      'valence': -0.25, 'arousal': 0.75}
  assert saved.midi_paths[0].name == 'sky-1.mid'
  array = generate(image=picture, **point)
  assert json.loads(array.json_path.read_text())['image'] is None
  assert array.midi_paths[0].name == 'picture-1.mid'
  for pixels in seen:
    np.testing.assert_array_equal(pixels, picture)


def test_audio_is_written_beside_the_midi(generate):
  try:
    synthesis.import_fluidsynth()
  except OSError as error:
    pytest.skip(str(error))
  saved = generate(audio=True)
  [wav] = saved.wav_paths
  assert wav == saved.midi_paths[0].with_suffix('.wav')
  assert json.loads(saved.json_path.read_text())['outputs'][0]['wav'] == (
      wav.name)
  seconds = saved.pieces[0].sequence.total_time + synthesis.TAIL_SECONDS
  assert wav.stat().st_size == pytest.approx(2 * 44100 * seconds, abs=100)


def test_without_fluidsynth_nothing_is_begun(generate, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'fluidsynth', None)
  monkeypatch.setattr(generation, 'compose', pytest.fail)
  with pytest.raises(OSError, match='libfluidsynth3'):
    generate(audio=True)
  assert not (tmp_path / 'out').exists()


def test_existing_files_are_refused_before_the_work(
    generate, tmp_path, monkeypatch):
  first = generate()
  before = {p: p.read_bytes() for p in first.paths}
  with monkeypatch.context() as patch:
    patch.setattr(generation, 'compose', pytest.fail)
    with pytest.raises(FileExistsError, match='-1.mid exists'):
      generate(seed=2)
    first.midi_paths[0].unlink()
    with pytest.raises(FileExistsError, match='.json exists'):
      generate(seed=2)
  assert len(_files(tmp_path / 'out')) == 2
  second = generate(seed=2, overwrite=True)
  assert second.midi_paths[0].read_bytes() != before[first.midi_paths[0]]


def test_folder_in_the_way_is_refused(generate, tmp_path):
  (tmp_path / 'out' / 'valence+0.50_arousal+0.50.png').mkdir(parents=True)
  with pytest.raises(IsADirectoryError, match='is a folder'):
    generate(overwrite=True)


def test_output_dir_that_cannot_be_written_is_told_before_the_work(
    generate, tmp_path, monkeypatch):
  monkeypatch.setattr(generation, 'compose', pytest.fail)
  (tmp_path / 'file').write_text('')
  for folder in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    with pytest.raises(OSError, match=f'cannot write to the folder {folder}'):
      generate(output_dir=folder)
  # Root may write anywhere but here.
  with pytest.raises(OSError, match='cannot write to the folder /proc/out'):
    generate(output_dir='/proc/out')
  if os.geteuid():
    (tmp_path / 'locked').mkdir(mode=0o500)
    with pytest.raises(OSError, match='Permission denied'):
      generate(output_dir=tmp_path / 'locked')


@pytest.mark.parametrize('error', [
    OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt()])
def test_failure_leaves_nothing(generate, tmp_path, monkeypatch, error):
  def fail(*args, **kwargs):
    raise error

  monkeypatch.setattr(plots, 'plot_va_plane', fail)
  with pytest.raises(type(error)):
    generate(output_dir=tmp_path / 'a' / 'b')
  assert _files(tmp_path) == []
  (tmp_path / 'out').mkdir()
  with pytest.raises(type(error)):
    generate()
  assert _files(tmp_path) == ['out']


def test_full_disk_leaves_what_was_there(generate, tmp_path):
  saved = generate()
  before = {p: p.read_bytes() for p in saved.paths}
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  largest = max(len(content) for content in before.values())
  resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, hard))
  try:
    with pytest.raises(OSError, match='File too large'):
      generate(seed=2, overwrite=True)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert {p: p.read_bytes() for p in (tmp_path / 'out').iterdir()} == before


@pytest.mark.parametrize(('settings', 'complaint'), [
    ({'candidates': 0}, r'candidates must lie in 1\.\.10,000, got 0'),
    ({'candidates': 4, 'num_outputs': 5}, r'num_outputs must lie in 1\.\.4'),
    ({'temperature': -0.1}, 'temperature'),
    ({'temperature': float('nan')}, 'temperature'),
    ({'seed': -1}, 'seed'),
    ({'bars': 0}, 'bars'),
    ({'bars': 3}, r'bars must be a multiple of 2 for .*tiny, got 3'),
    ({'tempo_qpm': 0}, 'tempo_qpm'),
    ({'tempo_qpm': float('inf')}, 'tempo_qpm'),
    ({'program': 128}, 'program'),
    ({'valence': 1.5}, r'valence must be a number in \[-1, 1\], got 1.5'),
    ({'arousal': float('nan')}, 'arousal must be a number .* got nan'),
    ({'arousal': None}, 'give both'),
    ({'valence': None, 'arousal': None}, 'either a picture'),
    ({'image': 'a.jpg'}, 'either a picture'),
    ({'image': 'a.jpg', 'arousal': None}, 'either a picture'),
])
def test_bad_arguments_are_one_line(generate, tmp_path, settings, complaint):
  with pytest.raises(ValueError, match=complaint) as error:
    generate(**settings)
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'out').exists()


def test_checkpoint_of_another_config_is_refused(generate, tmp_path):
  drums = _save_model(tmp_path / 'drums', configs.Config(
      name='cat-drums_2bar_small', max_seq_len=32, output_depths=(512,),
      level_lengths=None, z_size=8, enc_rnn_size=(4,), dec_rnn_size=(8,)))
  trio = _save_model(tmp_path / 'trio', configs.Config(
      name='hierdec-trio_16bar', max_seq_len=256, output_depths=(90, 90, 512),
      level_lengths=(16, 16), z_size=8, enc_rnn_size=(4,), dec_rnn_size=(8,)))
  for folder in (drums, trio):
    with pytest.raises(ValueError, match='is made by one of melodies: cat-mel'):
      generate(checkpoint=folder)
  # By name, without being fetched.
  with pytest.raises(ValueError, match='is a checkpoint of hierdec-trio_16bar'):
    generate(checkpoint='hierdec-trio_16bar')
  with pytest.raises(ValueError, match='is a checkpoint of no MusicVAE'):
    generate(checkpoint='image_va')
  with pytest.raises(FileNotFoundError, match='known names are cat-mel_2bar'):
    generate(checkpoint='cat-mel_99bar')
  assert not (tmp_path / 'out').exists()


def test_melodies_of_a_hierarchical_model(generate, tmp_path):
  folder = _save_model(tmp_path / 'mel', configs.Config(
      name='hierdec-mel_16bar', max_seq_len=256, output_depths=(90,),
      level_lengths=(16, 16), z_size=8, enc_rnn_size=(4,), dec_rnn_size=(16,)))
  saved = generate(checkpoint=folder, candidates=2, tempo_qpm=120)
  assert 24 < saved.pieces[0].sequence.total_time <= 32
  with pytest.raises(ValueError, match='multiple of 16'):
    generate(checkpoint=folder, bars=8, overwrite=True)


def test_magentas_own_checkpoint(generate, tmp_path, monkeypatch):
  pytest.importorskip('va_magenta.magenta_compat')
  config = configs.from_magenta('cat-mel_2bar_small')
  folder = tmp_path / 'magenta'
  folder.mkdir()
  magenta_weights.save(music_vae.MusicVae(config, seed=0), folder / 'a.ckpt')
  with tarfile.open(tmp_path / 'a.tar', 'w') as tar:
    for path in folder.glob('a.ckpt.*'):
      tar.add(path, path.name)
  monkeypatch.setenv('VA_MAGENTA_HOME', str(tmp_path / 'home'))
  by_prefix = generate(checkpoint=folder / 'a.ckpt', temperature=1)
  by_tar = generate(
      checkpoint=tmp_path / 'a.tar', temperature=1, output_dir=tmp_path / 'b')
  assert by_prefix.pieces[0].sequence == by_tar.pieces[0].sequence
  # Of none of the configs.
  magenta_weights.save(music_vae.MusicVae(TINY), folder / 'b.ckpt')
  with pytest.raises(ValueError, match='of none of the configs cat-mel'):
    generate(checkpoint=folder / 'b.ckpt', overwrite=True)


def test_shipped_models_reach_every_quadrant():
  """The whole path on real weights: selection brings music near its target.

  Over seeds the distance is .17, .15, .05 and .39 +- .03, that of one random
  piece .93, .75, .51 and .81.
  """
  for target, reach in (
      (VA(0.4, 0.6), 0.3), (VA(-0.4, 0.6), 0.3), (VA(-0.4, -0.5), 0.15),
      (VA(0.4, -0.5), 0.5)):
    pieces = generation.compose(target, generation.Settings(
        candidates=64, num_outputs=32, seed=0))
    distances = [target.distance(piece.va) for piece in pieces]
    assert distances[0] < reach
    assert distances[0] < 0.75 * np.median(distances)


def test_python_interface_is_lazy():
  code = ('import sys, va_magenta; va_magenta.generate; '
          'print([m for m in ("tensorflow", "keras", "note_seq", "matplotlib")'
          ' if m in sys.modules])')
  assert subprocess.check_output([sys.executable, '-c', code]) == b'[]\n'
