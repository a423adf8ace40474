"""Tests of lakh_va, on melodies of chance."""

import collections
import concurrent.futures
import contextlib
import hashlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
from unittest import mock

import numpy as np
import pandas as pd
import pretty_midi
import tensorflow_datasets as tfds

from va_magenta import processes
from va_magenta.datasets import picture_va_testing
from va_magenta.datasets.lakh_va import lakh_va_dataset_builder as builder
from va_magenta.datasets.lakh_va import pieces
from va_magenta.music.corpus import file_md5, split_of
from va_magenta.music_to_va import labelling

SPLITS = {'train': 3, 'validation': 1, 'test': 1}


def draw(path, seed, bars=2, meter=(4, 4), qpm=100, program=0, start=0.0):
  """Writes a melody of eighths, as long as `bars` bars of 4/4."""
  path.parent.mkdir(parents=True, exist_ok=True)
  step = 30 / qpm
  instrument = pretty_midi.Instrument(program)
  for i, pitch in enumerate(
      np.random.default_rng(seed).integers(60, 84, 8 * bars)):
    instrument.notes.append(pretty_midi.Note(
        90, int(pitch), start + i * step, start + (i + 0.9) * step))
  midi = pretty_midi.PrettyMIDI(initial_tempo=qpm)
  midi.time_signature_changes.append(pretty_midi.TimeSignature(*meter, 0))
  midi.instruments.append(instrument)
  midi.write(str(path))
  return path


def in_lakhs_layout(folder, path):
  """Moves a file to <first hex digit>/<md5>.mid."""
  md5 = file_md5(path)
  target = folder / md5[0] / f'{md5}.mid'
  target.parent.mkdir(parents=True, exist_ok=True)
  path.rename(target)
  return target


def label(paths, num_windows=1, window_seconds=4.8):
  """A table with labels of chance, that hang on the content only."""
  rows = []
  for md5 in sorted({file_md5(path) for path in paths}):
    random = np.random.default_rng(int(md5[:8], 16))
    for window in range(-1, num_windows):
      values = random.uniform(-1, 1, 8).round(2)
      values[6:] = abs(values[6:])
      rows.append({
          'md5': md5, 'window': window,
          'start_seconds': max(window, 0) * window_seconds,
          'end_seconds': (window + 1 if window >= 0 else num_windows) * (
              window_seconds),
          **dict(zip(
              (*labelling.ESTIMATES, *labelling.LABELS), values, strict=True)),
      })
  table = pd.DataFrame(rows)
  numbers = table.columns.difference(['md5', 'window'])
  return table.astype({name: np.float32 for name in numbers})


_POOL = processes.Pool


def threads(num_workers, start, *args):
  """Threads for processes: they need not import Magenta again."""
  start(*args)
  return concurrent.futures.ThreadPoolExecutor(1)


class LakhVaTest(picture_va_testing.TestCase):
  DATASET_CLASS = builder.Builder
  SPLITS = SPLITS
  ARCHIVE = 'lmd'

  @classmethod
  def make_archive(cls, folder):
    missing = collections.Counter(SPLITS)
    seed = 0
    while missing.total():
      path = draw(folder / 'new.mid', seed)
      split = split_of(file_md5(path))
      if missing[split]:
        missing[split] -= 1
        in_lakhs_layout(folder, path)
      seed += 1
    path.unlink(missing_ok=True)
    labelling.write(
        folder.parent / 'labels.parquet', label(folder.glob('*/*.mid')))

  def setUp(self):
    super().setUp()
    patcher = mock.patch.object(processes, 'Pool', threads)
    patcher.start()
    self.addCleanup(patcher.stop)

  def build(self, manual_dir, config='full', **options):
    """Split -> examples as a list, and what was printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
      splits = tfds.load(
          f'lakh_va/{config}', data_dir=self.make_folder(),
          download_and_prepare_kwargs={
              'download_config': tfds.download.DownloadConfig(
                  manual_dir=manual_dir, **options)})
    return {
        split: list(tfds.as_numpy(dataset))
        for split, dataset in splits.items()
    }, [line for line in printed.getvalue().splitlines() if 'lakh_va:' in line]

  def test_pieces(self):
    manual_dir = self.make_manual_dir()
    paths = {p.stem: p for p in (manual_dir / 'lmd').glob('*/*.mid')}
    (manual_dir / 'lmd/index.csv').write_text(
        f"md5,genre_topmagd\n{min(paths)},\"['Jazz', 'Pop_Rock', 'Pop_Rock']\""
        f'\n{max(paths)},\n')
    splits, printed = self.build(manual_dir)
    self.assertEmpty(printed)
    table = labelling.read(manual_dir / 'labels.parquet')
    found = {}
    for split, content in splits.items():
      for example in content:
        md5 = example['id'].decode()
        self.assertEqual(split_of(md5), split)
        found[md5] = example
    self.assertEqual(found.keys(), paths.keys())
    for md5, example in found.items():
      self.assertEqual(example['midi'], paths[md5].read_bytes())
      self.assertEqual(hashlib.md5(example['midi']).hexdigest(), md5)
      self.assertAlmostEqual(example['bpm'], 100, places=3)
      self.assertEqual(
          example['genre'], b'Pop_Rock' if md5 == min(paths) else b'')
      piece, window = table[table['md5'] == md5].itertuples()
      for name in (*labelling.ESTIMATES, *labelling.LABELS):
        self.assertEqual(example[name], getattr(piece, name))
      for name in labelling.LABELS:
        self.assertEqual(example['window'][name], [getattr(window, name)])
      self.assertEqual(example['window']['window'], [0])
      self.assertEqual(example['window']['end_seconds'], [np.float32(4.8)])

  def test_melodies(self):
    manual_dir = self.make_manual_dir()
    splits, printed = self.build(manual_dir, '2bar-melody')
    self.assertEmpty(printed)
    table = labelling.read(manual_dir / 'labels.parquet')
    for example in (e for content in splits.values() for e in content):
      path, = manual_dir.rglob(f'{example["id"].decode()}.mid')
      notes = pretty_midi.PrettyMIDI(str(path)).instruments[0].notes
      np.testing.assert_array_equal(
          example['tokens'][::2], [note.pitch - 19 for note in notes])
      self.assertEqual(example['window'], 0)
      _, window = table[table['md5'] == path.stem].itertuples()
      for name in labelling.LABELS:
        self.assertAlmostEqual(example[name], getattr(window, name), places=5)

  def test_a_plain_folder_will_do(self):
    manual_dir = self.make_folder()
    paths = [draw(manual_dir / f'My song {i}.MID', i) for i in range(3)]
    labelling.write(manual_dir / 'labels.parquet', label(paths))
    splits, _ = self.build(manual_dir, 'clean')
    self.assertEqual(
        {e['id'].decode() for content in splits.values() for e in content},
        {file_md5(path) for path in paths})

  def test_what_is_left_out_is_counted(self):
    manual_dir = self.make_manual_dir()
    lmd = manual_dir / 'lmd'
    waltz = draw(lmd / 'waltz.mid', 1, meter=(3, 4))
    drone = draw(lmd / 'drone.mid', 1, program=90)  # no melody for Magenta
    (lmd / 'broken.mid').write_bytes(b'MThd and no more')
    labelling.write(manual_dir / 'labels.parquet', label(lmd.rglob('*.mid')))
    (lmd / 'twin.mid').write_bytes(next(lmd.glob('?/*.mid')).read_bytes())
    draw(lmd / 'new.mid', 2, bars=3)
    for config, reasons, num_examples in (
        ('full', {'unparsable'}, 7),
        ('2bar-melody',
         {'unparsable', 'not in 4/4', 'no melody of 2 bars'}, 5)):
      splits, printed = self.build(manual_dir, config)
      files, *others = printed
      self.assertRegex(
          files, 'left out of files of .*lmd: 1 (duplicate|no label), 1 ')
      self.assertEqual(
          {part.partition(' ')[2] for line in others
           for part in line.rpartition(': ')[2].split(', ')}, reasons)
      self.assertLen(sum(splits.values(), []), num_examples)
    for path in (waltz, drone):
      path.unlink()

  def test_nothing_to_write_is_an_error(self):
    manual_dir = self.make_folder()
    waltz = draw(manual_dir / 'waltz.mid', 1, meter=(3, 4))
    labelling.write(manual_dir / 'labels.parquet', label([waltz]))
    with self.assertRaisesRegex(
        ValueError, '^none of 1 pieces of .*: not in 4/4$'):
      self.build(manual_dir, '2bar-melody')

  def test_labels_may_be_missing(self):
    manual_dir = self.make_manual_dir()
    labels = manual_dir / 'labels.parquet'
    old = labelling.read(labels)
    labelling.write(labels, old.assign(md5=old['md5'].str[::-1]))
    self.assert_load_fails(
        manual_dir, ValueError, 'no file of .*lmd has a label; va_magenta_lab')
    labels.write_bytes(b'PAR1 no')
    self.assert_load_fails(
        manual_dir, ValueError, 'labels.parquet is not a table of labels')
    labels.unlink()
    with mock.patch.object(builder, 'LABELS', labels):
      self.assert_load_fails(
          manual_dir, FileNotFoundError,
          'there are no labels: neither .*; va_magenta_label .* makes them')

  def test_labels_may_ship(self):
    manual_dir, package = self.make_manual_dir(), self.make_folder()
    labels = (manual_dir / 'labels.parquet').rename(package / 'labels.parquet')
    with mock.patch.object(builder, 'LABELS', labels):
      splits, _ = self.build(manual_dir)
    self.assertLen(sum(splits.values(), []), 5)

  def test_is_fetched_where_manual_dir_has_none(self):
    archive = self.make_manual_dir()
    manual_dir = self.make_folder()
    (archive / 'labels.parquet').rename(manual_dir / 'labels.parquet')
    for config, url in (
        ('full', builder.FULL.url), ('clean', builder.CLEAN.url)):
      with mock.patch.object(
          tfds.download.DownloadManager, 'download_and_extract',
          return_value=tfds.core.Path(archive)) as fetch:
        splits, _ = self.build(manual_dir, config)
      self.assertLen(sum(splits.values(), []), 5)
      self.assertEqual(fetch.call_args.args, (url,))
      self.assertLen(builder.Builder.url_infos[url].checksum, 64)
    with mock.patch.object(
        tfds.download.DownloadManager, 'download_and_extract',
        side_effect=tfds.download.DownloadError('status\n404')):
      self.assert_load_fails(
          manual_dir, ConnectionError,
          'cannot fetch Lakh from http://.*; .* into manual_dir/lmd')

  def test_a_killed_process_is_told(self):
    executor = _POOL(1, os._exit, 1)
    with self.assertRaisesRegex(OSError, 'was killed'):
      list(pieces.convert(
          [mock.sentinel], collections.Counter(), executor))

  def test_beam_makes_the_same_examples(self):
    try:
      from apache_beam.options import pipeline_options
    except ImportError:
      self.skipTest('apache-beam is not installed (the extra `beam`)')
    manual_dir = self.make_manual_dir()
    waltz = draw(manual_dir / 'lmd/waltz.mid', 1, meter=(3, 4))
    labelling.write(manual_dir / 'labels.parquet', label(
        manual_dir.rglob('*.mid')))
    split = split_of(file_md5(waltz))
    for config in ('full', '2bar-melody'):
      made = [
          self.build(manual_dir, config, **options) for options in (
              {}, {'beam_options': pipeline_options.PipelineOptions()},
              {'beam_runner': 'DirectRunner'})]
      (splits, printed), *others = made
      for other, other_printed in others:
        self.assertEqual(other_printed, printed)
        self.assertEqual(other.keys(), splits.keys())
        for name, content in splits.items():
          for example, same in zip(content, other[name], strict=True):
            self.assertAllEqualNested(example, same)
    self.assertEqual(printed, [
        f'lakh_va: left out of {len(splits[split]) + 1} pieces of {split}: '
        '1 not in 4/4'])

  def test_magenta_trains_on_it(self):
    """Three steps of Magenta's own music_vae_train, and of its count."""
    data_dir = self.make_folder()
    tfds.load('lakh_va/full', data_dir=data_dir, download_and_prepare_kwargs={
        'download_config': tfds.download.DownloadConfig(
            manual_dir=self.make_manual_dir())})
    code = textwrap.dedent('''
        import sys
        import va_magenta.magenta_compat
        from magenta.models.music_vae import data, music_vae_train
        import tensorflow.compat.v1 as tf
        tf.disable_v2_behavior()
        config = 'cat-mel_2bar_small'
        converter = music_vae_train.configs.CONFIG_MAP[config].data_converter
        assert data.count_examples(None, 'lakh_va', converter) == 1
        sys.argv = [
            'music_vae_train', f'--config={config}', f'--run_dir={sys.argv[1]}',
            '--mode=train', '--tfds_name=lakh_va', '--num_steps=3',
            '--hparams=batch_size=2,z_size=4,enc_rnn_size=[6],'
            'dec_rnn_size=[5]']
        music_vae_train.console_entry_point()
        ''')
    run_dir = self.make_folder()
    done = subprocess.run(
        [sys.executable, '-c', code, str(run_dir)], capture_output=True,
        text=True, env={
            **os.environ, 'TFDS_DATA_DIR': str(data_dir),
            'CUDA_VISIBLE_DEVICES': ''})
    self.assertEqual(done.returncode, 0, done.stderr[-3000:])
    self.assertTrue((run_dir / 'train/model.ckpt-3.index').exists())


def _melodies(path):
  import note_seq

  from va_magenta.va_to_music import configs

  return pieces.melodies(
      note_seq.midi_file_to_note_sequence(str(path)),
      configs.data_converter(pieces.MELODY_CONFIG))


class PiecesTest(tfds.testing.TestCase):

  def make_path(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return pathlib.Path(folder.name) / 'song.mid'

  def test_splits_are_for_ever(self):
    self.assertEqual(
        [split_of(f'{i:032x}') for i in range(12)],
        [*['train'] * 6, 'test', 'train', 'train', 'validation', 'train',
         'train'])

  def test_melodies_are_magentas(self):
    """The tokens of `to_tensors`, with times it does not tell."""
    import note_seq

    from va_magenta.va_to_music import configs

    path = draw(self.make_path(), 3, bars=5, start=4.8)
    found = _melodies(path)
    tensors = configs.data_converter(pieces.MELODY_CONFIG).to_tensors(
        note_seq.midi_file_to_note_sequence(str(path))).outputs
    self.assertEqual(
        {tuple(t.argmax(-1)) for t in tensors},
        {tuple(tokens) for _, _, tokens in found})
    # One from each bar line on; the song begins in the third bar.
    np.testing.assert_allclose(
        [(start, end) for start, end, _ in found],
        [(4.8 + 2.4 * i, 9.6 + 2.4 * i) for i in range(4)], atol=.01)

  def test_melodies_after_a_change_of_tempo(self):
    midi = pretty_midi.PrettyMIDI(initial_tempo=120, resolution=480)
    # 60 qpm from beat 16 on.
    midi._tick_scales.append((16 * 480, 60 / (60 * 480)))
    midi._update_tick_to_time(480 * 100)
    instrument = pretty_midi.Instrument(0)
    for beat in range(32):
      start, end = (midi.tick_to_time(480 * b) for b in (beat, beat + 1))
      instrument.notes.append(pretty_midi.Note(80, 60 + beat, start, end))
    midi.instruments.append(instrument)
    path = self.make_path()
    midi.write(str(path))
    found = {
        round(start, 3): (round(end - start, 3), tokens[0])
        for start, end, tokens in _melodies(path)}
    self.assertEqual(found, {
        # Pitch 60 is token 41.
        0.0: (4.0, 41), 2.0: (4.0, 45), 4.0: (4.0, 49),
        8.0: (8.0, 57), 12.0: (8.0, 61), 16.0: (8.0, 65)})

  def test_a_melody_between_two_windows_has_part_of_each(self):
    windows = {
        'start_seconds': np.array([0., 4, 12]),
        'end_seconds': np.array([4., 8, 16]),
        'valence': np.array([0, 1, .5]), 'arousal': np.array([-1, 1, .5]),
        'valence_std': np.array([.2, .4, .5]),
        'arousal_std': np.array([.2, .2, .5])}
    label = pieces.label_between(windows, 3, 7)
    self.assertAllClose(label, {
        'valence': .75, 'arousal': .5, 'valence_std': .35, 'arousal_std': .2})
    self.assertEqual(pieces.label_between(windows, 4, 8)['valence'], 1)
    # Nothing was played from 8 to 12: what is heard after it counts alone.
    self.assertEqual(pieces.label_between(windows, 10, 14)['valence'], .5)
    self.assertIsNone(pieces.label_between(windows, 8.01, 12.01))
    windows['valence'][2] = np.nan
    self.assertIsNone(pieces.label_between(windows, 10, 14))


if __name__ == '__main__':
  tfds.testing.test_main()
