"""Expression is learned from people who played, and measured held out."""

import csv

import mido
import numpy as np
import pytest

from va_magenta.music import band
from va_magenta.training import expression as training
from va_magenta.va_to_music import expression


def _write(path, notes, qpm):
  """A MIDI file of (tick, length, pitch, velocity), 480 ticks a quarter."""
  file = mido.MidiFile(ticks_per_beat=480)
  track = mido.MidiTrack()
  file.tracks.append(track)
  track.append(mido.MetaMessage('set_tempo', tempo=mido.bpm2tempo(qpm)))
  track.append(mido.MetaMessage('time_signature', numerator=4, denominator=4))
  events = []
  for tick, length, pitch, velocity in notes:
    events += [(tick, 1, pitch, velocity), (tick + length, 0, pitch, 0)]
  last = 0
  for tick, is_on, pitch, velocity in sorted(events):
    track.append(mido.Message(
        'note_on' if is_on else 'note_off', note=pitch, velocity=velocity,
        time=tick - last))
    last = tick
  path.parent.mkdir(parents=True, exist_ok=True)
  file.save(path)


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """Songs whose high notes are loud, and drummers whose hi-hat is late."""
  folder = tmp_path_factory.mktemp('played')
  rng = np.random.default_rng(0)
  index, rows = [], []
  for i in range(1, 7):
    notes = []
    for beat in range(64):
      pitch = int(rng.choice([67, 72, 79]))
      notes.append((480 * beat, 400, pitch, 50 + 3 * (pitch - 67)))
      if beat % 2 == 0:
        notes += [(480 * beat, 800, 40, 50), (480 * beat, 800, 55, 40)]
    _write(folder / 'songs' / f'{i:03}.mid', notes, 100)
    index.append((f'md5-{i}', 'pop909', f'pop909/POP909/{i:03}/{i:03}.mid'))
    strokes = [
        (240 * k + (12 if k else 0), 60, 42, 60) for k in range(128)] + [
            (480 * k, 60, 36 if k % 2 == 0 else 38, 110) for k in range(64)]
    _write(folder / 'groove' / f'{i}.mid', strokes, 120)
    rows.append((f'{i}.mid', 120, 'beat', '4-4', 'drummer1', f'session{i}'))
  rows.append(('fill.mid', 120, 'fill', '4-4', 'drummer1', 'session1'))
  rows.append(('waltz.mid', 120, 'beat', '3-4', 'drummer1', 'session1'))
  for path, columns, content in (
      (folder / 'index.csv', ('md5', 'collection', 'source_path'), index),
      (folder / 'groove' / 'info.csv', (
          'midi_filename', 'bpm', 'beat_type', 'time_signature', 'drummer',
          'session'), rows)):
    with open(path, 'w', newline='') as file:
      writer = csv.writer(file)
      writer.writerow(columns)
      writer.writerows(content)
  return folder


LABELS = {f'md5-{i}': (.1 * i, -.1 * i) for i in range(1, 7)}


def test_what_is_read_of_drummers(folders):
  pieces = list(training.read_groove(folders / 'groove'))
  assert len(pieces) == 6  # No fill, and nothing in three.
  hats = pieces[0].heard['pitch'] == 42
  assert pieces[0].late[hats][1:] == pytest.approx(12.5, abs=.1)
  assert pieces[0].late[~hats] == pytest.approx(0)
  assert set(pieces[0].heard['part']) == {band.DRUMS}
  assert set(pieces[0].heard['velocity'][~hats]) == {110}


def test_what_is_read_of_pianists(folders):
  labels = training.labels_of_pop909(folders / 'index.csv', LABELS)
  assert labels['003'] == pytest.approx((.3, -.3))
  pieces = list(training.read_pop909(folders / 'songs', labels))
  assert len(pieces) == 6
  heard = pieces[0].heard
  melody = heard[heard['part'] == band.MELODY]
  assert len(melody) == 64
  np.testing.assert_array_equal(
      melody['velocity'], 50 + 3 * (melody['pitch'] - 67))
  assert set(heard['pitch'][heard['part'] == band.BASS]) == {40}
  assert set(heard['pitch'][heard['part'] == band.COMPING]) == {55}


def test_what_is_learned_is_played(folders, tmp_path, monkeypatch):
  monkeypatch.setitem(training._PARAMETERS, 'min_data_in_leaf', 5)
  monkeypatch.setattr(training, '_NUM_TREES', 60)
  said = []
  training.run(
      pop909_dir=folders / 'songs', groove_dir=folders / 'groove',
      index_path=folders / 'index.csv', labels=LABELS, run_dir=tmp_path / 'run',
      seed=0, command='made here', report=said.append)
  assert said[0] == '6 songs, 6 beats'
  model = expression.load(tmp_path / 'run')
  card = (tmp_path / 'run' / 'README.md').read_text()
  assert 'made here' in card and '| velocity, piano |' in card
  heard = list(training.read_groove(folders / 'groove'))[0].heard
  x = expression.drum_features(heard, 120)
  late = model.predict('drum_time', x)
  hats = heard['pitch'] == 42
  # In deviations: two strokes in three are of the hi-hat.
  assert late[hats].mean() - late[~hats].mean() == pytest.approx(2.1, abs=.3)
  # Held out, what depends on pitch and kind alone is known for sure.
  for line in said[1:4]:
    assert float(line.split(' r ')[1].split()[0]) > .9


def test_too_few_people_are_told(folders, tmp_path):
  with pytest.raises(ValueError, match='5 groups of pieces or more are needed'):
    training.run(
        pop909_dir=folders / 'songs', groove_dir=folders / 'groove',
        index_path=folders / 'index.csv', labels={'md5-1': (0, 0)},
        run_dir=tmp_path / 'run', seed=0, command='', report=print)
  assert not (tmp_path / 'run').exists()
