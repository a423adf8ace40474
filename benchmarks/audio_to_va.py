r"""Measures how fast music is labelled by its sound, against the report's way.

  python benchmarks/audio_to_va.py --midi_dir=FOLDER --num_files=20

Ours: `labelling.label` with the audio teacher, MIDI to VA in memory; it reads
the notes, too. The report's way: FluidSynth to a WAV file; openSMILE's
ComParE_2016 as its program SMILExtract runs it, from the WAV to CSV files of
descriptors and deltas; pandas, which reads them and takes windows. Both in this
run, on the same files, in as many processes, which spares the report's way the
start of two programs a file, and its notebook's model.

Prints seconds of music labelled a second, their ratio (in processor time, too,
which other work on the machine disturbs less), openSMILE's share of our time,
and peak memory; then labels --num_robust short files, a twentieth of
which are broken in five ways, and counts what is lost.
"""

import concurrent.futures
import functools
import multiprocessing
import os
import pathlib
import resource
import shutil
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import reporting
from absl import flags

from va_magenta import command

_MIDI_DIR = command.DEFINE_path(
    'midi_dir', None, 'Folder whose .mid files are labelled.', required=True)
_NUM_FILES = flags.DEFINE_integer(
    'num_files', 20, 'How many, evenly spread over the names.', lower_bound=2)
_MAX_SECONDS = flags.DEFINE_float('max_seconds', 30, 'Of each file.')
_NUM_WORKERS = flags.DEFINE_integer(
    'num_workers', os.cpu_count(), 'Processes of each way.', lower_bound=1)
_NUM_ROBUST = flags.DEFINE_integer(
    'num_robust', 1000, 'Short files, a twentieth of them broken.')


def _report_way(folder: str, max_seconds: float, path: str) -> np.ndarray:
  """Windows [windows, 260] by way of files, as the report made them."""
  import opensmile
  import pandas as pd
  from opensmile.core import lib

  from va_magenta.music import sound, synthesis

  stem = os.path.join(folder, pathlib.Path(path).stem)
  samples, rate = synthesis.synthesize(path, max_seconds=max_seconds)
  sound.write(f'{stem}.wav', samples, rate)
  config = pathlib.Path(opensmile.__file__).parent / 'core' / 'config'
  shared = config / 'shared'
  smile = lib.OpenSMILE()
  smile.initialize(str(config / 'compare' / 'ComParE_2016.conf'), {
      'source': shared / 'standard_wave_input.conf.inc',
      'sink': shared / 'standard_data_output.conf.inc',
      'bufferModeRbConf': shared / 'BufferModeRb.conf.inc',
      'filename': f'{stem}.wav',
      'lld_csv_output': f'{stem}.csv',
      'lld_de_csv_output': f'{stem}.deltas.csv',
  })
  smile.run()
  smile.free()
  tables = []
  for name in (f'{stem}.csv', f'{stem}.deltas.csv'):
    table = pd.read_csv(name, sep=';').drop(columns='name', errors='ignore')
    window = (table.pop('frameTime') / .5).astype(int)
    tables.append(table.groupby(window).agg(['mean', 'std']))
  return pd.concat(tables, axis=1).to_numpy()


def _label_all(folder: str, num_workers: int, max_seconds: float):
  """The table, and the report of what is not in it."""
  from va_magenta.music_to_va import fusion, labelling

  with tempfile.TemporaryDirectory() as output:
    path = os.path.join(output, 'labels.parquet')
    report = labelling.label(
        folder, path, fusion.load(), make_by_ear=labelling.teacher,
        settings=labelling.Settings(max_audio_seconds=max_seconds),
        num_workers=num_workers, overwrite=True)
    return labelling.read(path), report


def _report_all(paths: Sequence[str], num_workers: int, max_seconds: float):
  with tempfile.TemporaryDirectory() as folder:
    with concurrent.futures.ProcessPoolExecutor(
        num_workers, multiprocessing.get_context('spawn')) as pool:
      list(pool.map(
          functools.partial(_report_way, folder, max_seconds), paths))
    left = sum(f.stat().st_size for f in pathlib.Path(folder).iterdir())
  return left


def _seconds(function, *args):
  """Seconds by the clock, processor seconds of child processes, result."""
  def spent():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

  start, spent_before = time.perf_counter(), spent()
  result = function(*args)
  return time.perf_counter() - start, spent() - spent_before, result


def _shares(paths: Sequence[str], max_seconds: float) -> dict[str, float]:
  """Processor seconds of each step, in one process, once warm."""
  from va_magenta.music import synthesis
  from va_magenta.music_to_va import audio, audio_features

  estimator = audio.load()
  smile = audio_features._smile()
  synthesis.synthesize(paths[0], max_seconds=1)
  smile(np.zeros(synthesis.SAMPLE_RATE_HZ, np.float32), 44100)
  spent = dict.fromkeys(('FluidSynth', 'openSMILE', 'windows', 'model'), 0.0)

  def timed(step, function, *args, **kwargs):
    start = time.process_time()
    result = function(*args, **kwargs)
    spent[step] += time.process_time() - start
    return result

  for path in paths:
    samples, rate = timed(
        'FluidSynth', synthesis.synthesize, path, max_seconds=max_seconds)
    contours = timed('openSMILE', smile, samples, rate)[0].T
    windows = timed(
        'windows', audio_features._windows, contours.astype(np.float64))
    timed('model', estimator.of_piece, windows, audio.SYNTHESISED)
    timed('model', estimator.of_windows, windows, audio.SYNTHESISED)
  return spent


def _robust_files(folder: pathlib.Path, num_files: int) -> int:
  """Writes short pieces; every twentieth is broken, in five ways by turns."""
  import note_seq

  random = np.random.default_rng(0)
  for i in range(num_files):
    path = folder / f'{i:04d}.mid'
    piece = note_seq.NoteSequence()
    for pitch in (40 + i % 50, *random.integers(40, 90, 3)):
      start = float(random.uniform(0, .2))
      piece.notes.add(
          pitch=int(pitch), velocity=60 + i // 50 % 60, start_time=start,
          end_time=start + .2)
    note_seq.note_sequence_to_midi_file(piece, str(path))
    whole = path.read_bytes()
    if i % 20 == 0:
      match i // 20 % 5:
        case 0:
          path.write_bytes(random.bytes(i // 20))
        case 1:
          path.write_bytes(random.bytes(200))
        case 2:
          path.write_bytes(whole[:len(whole) // 2])
        case 3:  # Nothing sounds.
          path.write_bytes(whole[:14] + b'MTrk\0\0\0\4' + bytes(
              [i // 20, 255, 47, 0]))
        case 4:
          path.write_text(f'no music {i}')
  return -(-num_files // 20)


def main(argv: Sequence[str]):
  """Runs the benchmark."""
  del argv  # Unused.
  num_workers, max_seconds = _NUM_WORKERS.value, _MAX_SECONDS.value
  paths = sorted(map(str, pathlib.Path(_MIDI_DIR.value).rglob('*.mid')))
  paths = paths[::max(1, len(paths) // _NUM_FILES.value)][:_NUM_FILES.value]
  if len(paths) < 2:
    raise ValueError(f'{_MIDI_DIR.value}: holds fewer than 2 .mid files')

  with tempfile.TemporaryDirectory() as folder:
    for path in paths:
      shutil.copy(path, folder)
    our_seconds, our_work, (table, report) = _seconds(
        _label_all, folder, num_workers, max_seconds)
  peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
  bad = {pathlib.Path(path).name
         for path in (*report.unlabelled, *report.unheard, *report.duplicates)}
  good = [path for path in paths if pathlib.Path(path).name not in bad]
  pieces = table[(table['window'] == -1) & table['audio_valence'].notna()]
  music = (pieces['end_seconds'] - pieces['start_seconds']).clip(
      upper=max_seconds).sum()
  report_seconds, report_work, left = _seconds(
      _report_all, good, num_workers, max_seconds)
  print(f'{len(good)} files of {_MIDI_DIR.value}, {music:.0f} seconds of music '
        f'({len(paths) - len(good)} left out), {num_workers} processes, the '
        'start of the processes included')
  print(f'ours: {music / our_seconds:.1f} seconds of music a second, peak of a '
        f'process {peak_mib:.0f} MiB, nothing on disk')
  print(f"the report's way: {music / report_seconds:.1f} seconds of music a "
        f'second, {left / music / 1e6:.2f} MB on disk a second of music')
  print(f'ratio: {report_seconds / our_seconds:.2f} by the clock, '
        f'{report_work / our_work:.2f} in processor time')
  reporting.add({'processor time': report_work / our_work})

  spent = _shares(good, max_seconds)
  total = sum(spent.values())
  print('processor time of ours: ' + ', '.join(
      f'{step} {seconds / total:.1%}' for step, seconds in spent.items())
      + f'; {total / music:.3f} seconds a second of music')

  if _NUM_ROBUST.value:
    with tempfile.TemporaryDirectory() as folder:
      broken = _robust_files(pathlib.Path(folder), _NUM_ROBUST.value)
      seconds, _, (table, report) = _seconds(
          _label_all, folder, num_workers, 2.0)
    reasons = {**report.unlabelled, **report.unheard}
    heard = report.num_heard
    print(f'{_NUM_ROBUST.value} short files, {broken} of them broken: {heard} '
          f'labelled, {len(reasons)} with a reason, '
          f'{_NUM_ROBUST.value - heard - len(reasons)} lost, in {seconds:.0f} '
          'seconds')
    for line in report.lines()[1:]:
      print(f'  {line}')


def console_entry_point():
  """Runs the benchmark from the command line."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
