"""What is estimated and played stays what it is, whatever is moved about.

`golden.json` holds what stood when it was written. Who means to change it runs
`pytest tests/test_golden.py --write-golden`, and says why in the commit.
"""

import hashlib
import json
import pathlib
import struct

import numpy as np
import pytest

import va_magenta
from va_magenta.music.corpus import file_md5
from va_magenta.music.midi import read_notes

_GOLDEN = pathlib.Path(__file__).with_name('golden.json')
_PICTURE = pathlib.Path(__file__).parents[1] / 'examples' / 'rain.jpg'


@pytest.fixture
def golden(request):
  """Compares a value with the one that is kept under a name."""
  def function(name, value, tolerance=1e-4):
    kept = json.loads(_GOLDEN.read_text()) if _GOLDEN.exists() else {}
    if request.config.getoption('--write-golden'):
      kept[name] = value
      _GOLDEN.write_text('{\n' + ',\n'.join(
          f'{json.dumps(key)}: {json.dumps(kept[key])}'
          for key in sorted(kept)) + '\n}\n')
    elif isinstance(value, str):
      assert value == kept[name]
    else:
      np.testing.assert_allclose(
          np.array(value, float), np.array(kept[name], float), rtol=tolerance,
          atol=tolerance)

  return function


def _notes(notes, channel=0):
  """Events of notes (start, end, pitch, velocity) in ticks."""
  events = []
  for start, end, pitch, velocity in notes:
    events += [
        (end, bytes([0x80 | channel, pitch, 0])),
        (start, bytes([0x90 | channel, pitch, velocity]))]
  return events


def _tempo(tick, qpm):
  return tick, b'\xff\x51\x03' + struct.pack('>I', round(6e7 / qpm))[1:]


@pytest.fixture(scope='session')
def pieces(midi_file, tmp_path_factory):
  """Three MIDI files: a tune, a song that slows down, and a waltz."""
  scale = [60, 62, 64, 67, 69, 67, 64, 62, 60, 57, 60, 64]
  tune = [
      (240 * i, 240 * i + 200, pitch + 12 * (i % 5 == 0), 60 + 3 * i)
      for i, pitch in enumerate(scale)]
  chords = [
      (960 * i, 960 * i + 950, root + step, 50 + 4 * step)
      for i, root in enumerate([48, 45, 41, 43]) for step in (0, 4, 7)]
  drums = [
      (480 * i, 480 * i + 60, (36, 42, 38, 42)[i % 4], 90) for i in range(8)]
  waltz = [
      (480 * i, 480 * i + 400, (45, 57, 60)[i % 3] + 12 * (i % 3 == 2), 40 + i)
      for i in range(24)]
  contents = {
      'tune': midi_file([_tempo(0, 132), *_notes(tune)]),
      'song': midi_file(
          [_tempo(0, 96), _tempo(1920, 72)],
          [(0, b'\xc0\x19'), *_notes(chords)],
          [(0, b'\xc1\x49'), *_notes(tune, 1)], _notes(drums, 9)),
      'waltz': midi_file(
          [_tempo(0, 150), (0, b'\xff\x58\x04\x03\x02\x18\x08'),
           (0, b'\xc0\x30'), *_notes(waltz)], ticks=480),
  }
  folder = tmp_path_factory.mktemp('golden')
  for name, content in contents.items():
    (folder / f'{name}.mid').write_bytes(content)
  return folder


def test_point_of_a_picture(golden):
  from va_magenta.image_to_va import images, model

  va = model.estimate_va(images.load_image(_PICTURE))
  golden('rain.jpg', [va.valence, va.arousal])


@pytest.mark.parametrize('checkpoint', [
    'va-cat-mel_2bar', 'cat-mel_2bar_small', 'va-hierdec-mel_16bar_small',
    'va-hierdec-trio_16bar_small'])
def test_notes_of_a_seed(checkpoint, golden):
  plain, played = (
      va_magenta.generate(
          valence=0.4, arousal=0.3, checkpoint=checkpoint, seed=5,
          candidates=1, performance=performance)[0]
      for performance in ('plain', 'learned'))
  # A sixteenth note at 120 quarters a minute is an eighth of a second.
  notes = [
      (note.instrument, note.pitch, round(8 * note.start_time),
       round(8 * note.end_time)) for note in plain.notes]
  golden(
      f'notes of {checkpoint}',
      hashlib.md5(repr(sorted(notes)).encode()).hexdigest())
  golden(f'performance of {checkpoint}', [
      played.tempos[0].qpm, played.total_time,
      *(played.notes[0].program, played.notes[0].velocity)])


@pytest.mark.parametrize('name', ['tune', 'song', 'waltz'])
def test_features_of_a_midi_file(name, pieces, golden):
  from va_magenta.music_to_va import symbolic, symbolic_features

  path = pieces / f'{name}.mid'
  features = symbolic_features.extract(read_notes(path))
  # Seven digits of float32; NaN where a feature is undefined.
  golden(f'features of {name}', [float(f'{x:.7g}') for x in features])
  va, = symbolic.load().estimate_va_of_notes([read_notes(path)])
  golden(f'VA of {name}', [va.valence, va.arousal])


def test_label_of_a_midi_file(pieces, tmp_path, golden):
  from va_magenta.music_to_va import fusion, labelling

  output = tmp_path / 'labels.parquet'
  labelling.label(
      pieces, output, fusion.load(), make_by_ear=labelling.teacher,
      num_workers=1)
  md5 = file_md5(pieces / 'song.mid')
  rows = labelling.read(output).set_index('md5').loc[md5]
  golden('labels of song', rows.round(4).to_numpy().tolist())
