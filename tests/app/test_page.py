"""The page's server: what it computes, what it refuses, what it keeps."""

import dataclasses
import json
import pathlib
import socket
import sys
import uuid

import note_seq
import numpy as np
import pytest

from va_magenta.composing import composer, models, request
from va_magenta.music import band, chords, synthesis
from va_magenta.va import VA
from va_magenta.va_to_music import performance

pytest.importorskip('gradio', reason='the extra `app` is not installed')
import httpx

from va_magenta.app import page

SETTINGS = {
    'plane': {'points': [{'valence': 0.25, 'arousal': -0.5}], 'chosen': 0},
    'checkpoint': 'va-cat-band_2bar', 'bars': 'as usual',
    'instrument': 'as suits the point', 'guidance': 1, 'num_outputs': 2,
    'candidates': None, 'seed': ' '}
# What `_compose` answers, in order; `_compose_again` leaves out the note.
NOTE, SHOWN, PLANE, STAGE, PIECE, ROLL, SOUND, HARMONY, KEY, CHORDS, FILES = (
    range(11))
MEADOW = pathlib.Path(__file__).parents[2] / 'examples' / 'meadow.jpg'


@pytest.fixture(scope='module')
def connections():
  """Where anything in this process connects to while the page is served."""
  return []


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('temporary')


@pytest.fixture(scope='module')
def server(connections, folder):
  """The served page's address."""
  with pytest.MonkeyPatch.context() as patch:
    connect = socket.socket.connect

    def recorded(self, address):
      connections.append(address)
      return connect(self, address)

    patch.setattr(socket.socket, 'connect', recorded)
    patch.setattr('tempfile.tempdir', str(folder))
    patch.setenv('GRADIO_TEMP_DIR', 'restored at the end')
    patch.setenv('GRADIO_ANALYTICS_ENABLED', 'restored at the end')
    with page.serve() as url:
      yield url
  assert not list(folder.iterdir())


@pytest.fixture
def composed(monkeypatch):
  """What `composer.compose` is called with; it gives pieces of a band."""
  calls = []

  def compose(target, settings):
    calls.append((target, settings))
    tokens = np.zeros((64, 4), int)
    tokens[::4, 0], tokens[0, 1], tokens[0, 3] = 50, 20, band.STRUCK
    written = chords.parse_progression(settings.chords or 'C G Am F')
    key = chords.parse_key(settings.key or 'C major')
    sequence = band.to_sequence(
        band.voice(tokens, written), chords=written, key=key)
    return [
        composer.Piece(
            sequence, VA(0.1 * i, 0), 0.5, i, [performance.Performance()],
            score=(tokens, written))
        for i in range(1, settings.num_outputs + 1)]

  monkeypatch.setattr(composer, 'compose', compose)
  return calls


def _call(url, function, values, visit=None):
  """The event that ends a call, as the page's JavaScript gets it."""
  visit = visit or uuid.uuid4().hex
  with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
    [number] = [
        d['id'] for d in client.get('config').json()['dependencies']
        if d['api_name'] == function]
    client.post('gradio_api/queue/join', json={
        'data': values, 'fn_index': number, 'session_hash': visit,
    }).raise_for_status()
    with client.stream(
        'GET', 'gradio_api/queue/data', params={'session_hash': visit}
    ) as events:
      for line in events.iter_lines():
        event = json.loads(line.partition(':')[2]) if line else {}
        if event.get('msg') == 'process_completed':
          return event
  raise AssertionError('the call did not end')


def _compose(url, visit=None, **settings):
  return _call(
      url, '_compose', list((SETTINGS | settings).values()), visit)


def _upload(url, name, content):
  path, = httpx.post(
      f'{url}gradio_api/upload', files={'files': (name, content)},
      trust_env=False).raise_for_status().json()
  return pathlib.Path(path)


def _file(path):
  return {'path': str(path), 'meta': {'_type': 'gradio.FileData'}}


def _content(file):
  return httpx.get(
      file['url'], trust_env=False).raise_for_status().content


def test_composes_as_the_controls_say(server, composed):
  done = _compose(
      server, bars=8, instrument='Flute', guidance=2.5, num_outputs=3,
      candidates='16', seed='7')
  assert done['success']
  assert composed == [([VA(0.25, -0.5)], request.Settings(
      checkpoint='va-cat-band_2bar', bars=8, program=73, guidance=2.5,
      num_outputs=3, candidates=16, seed=7))]


def test_what_is_left_open_suits_the_point(server, composed):
  assert _compose(server)['success']
  [(_, settings)] = composed
  assert settings.bars is settings.program is settings.candidates is None


def test_several_points_are_a_path(server, composed):
  points = [{'valence': v, 'arousal': 0, 'picture': 'data:', 'name': 'a.jpg'}
            for v in (-0.5, 0, 0.5)]
  assert _compose(server, plane={'points': points, 'chosen': 1})['success']
  [(path, _)] = composed
  assert path == [VA(-0.5, 0), VA(0, 0), VA(0.5, 0)]


def test_shows_a_piece_with_all_its_files(server, composed):
  data = _compose(server)['output']['data']
  [(_, settings)] = composed
  assert data[PLANE]['props']['pieces'] == [[0.1, 0], [0.2, 0]]
  assert data[NOTE]['value'].startswith(f'Seed {settings.seed}.')
  assert data[STAGE]['visible'] and data[HARMONY]['visible']
  assert [value for _, value in data[PIECE]['choices']] == [0, 1]
  assert data[PIECE]['value'] == 0
  assert data[ROLL].count('class="cursor"') == 1
  assert '>Am</text>' in data[ROLL]
  assert 'Valence +0.10, arousal +0.00, distance 0.50' in data[ROLL]
  assert (data[KEY], data[CHORDS]) == ('C major', 'C G Am F')
  files = {file['orig_name'].rpartition('-')[2]: file for file in data[FILES]}
  names = [file['orig_name'] for file in data[FILES]]
  stem = 'valence+0.25_arousal-0.50'
  assert {f'{stem}-1.mid', f'{stem}-1.png', f'{stem}.json', f'{stem}.png'} <= (
      set(names))
  assert not any(name.startswith(f'{stem}-2') for name in names)
  assert len(note_seq.midi_to_note_sequence(
      _content(files['1.mid'])).notes) == data[ROLL].count('<rect') > 16
  assert _content(files['1.png'])[:4] == b'\x89PNG'
  if 'music21' in sys.modules:
    assert b'<harmony' in _content(files['1.musicxml'])
  if data[SOUND]['visible']:  # FluidSynth is installed.
    assert _content(data[SOUND]['value'])[:4] == b'RIFF'
    assert '1.wav' in files


def test_without_fluidsynth_all_but_the_sound_is_there(
    server, composed, monkeypatch):
  def missing():
    raise OSError('audio needs the FluidSynth library,\n install it by: apt')

  monkeypatch.setattr(synthesis, 'import_fluidsynth', missing)
  data = _compose(server)['output']['data']
  assert ('No audio: audio needs the FluidSynth library, install it by: apt'
          in data[NOTE]['value'])
  assert not data[SOUND]['visible']
  assert _content(data[FILES][0])[:4] == b'MThd'


def test_a_melody_has_no_chords_to_edit(server, monkeypatch):
  def compose(target, settings):
    sequence = note_seq.NoteSequence(total_time=1)
    sequence.notes.add(pitch=60, velocity=80, start_time=0, end_time=1)
    return [composer.Piece(
        sequence, VA(0, 0), 0.5, 3, [performance.Performance()],
        score=(np.zeros((32, 4), int), np.zeros(4, int)))]

  monkeypatch.setattr(composer, 'compose', compose)
  data = _compose(server, num_outputs=1)['output']['data']
  assert not data[HARMONY]['visible']
  assert data[ROLL].count('<rect') == 1


@pytest.mark.parametrize(('key', 'chords', 'wanted'), [
    ('C major', 'C G Am E7', ('C major', 'C G Am E7')),
    # Chords that were left as they are move with the key.
    ('Eb major', 'C G Am F', ('Eb major', 'Eb Bb Cm Ab')),
    ('C minor', 'C G Am F', ('C minor', 'Eb Bb Cm Ab')),
    ('D major', 'D D A D', ('D major', 'D D A D')),
    ('', '', (None, None))])
def test_another_key_or_chords_make_one_piece_more(
    server, composed, key, chords, wanted):
  visit = uuid.uuid4().hex
  before = _compose(server, visit)['output']['data']
  data = [None, *_call(
      server, '_compose_again', [None, 1, key, chords], visit
  )['output']['data']]
  (path, first), (same_path, second) = composed
  assert path == same_path
  assert (second.key, second.chords) == wanted
  # It is the second piece, with nothing else changed.
  assert second == dataclasses.replace(
      first, num_outputs=1, candidate=2, key=wanted[0], chords=wanted[1])
  assert [value for _, value in data[PIECE]['choices']] == [0, 1, 2]
  assert data[PIECE]['value'] == 2
  assert data[CHORDS] == (wanted[1] or 'C G Am F')
  assert pathlib.Path(before[FILES][0]['path']).is_file()
  assert _call(
      server, '_choose', [None, 0], visit
  )['output']['data'][CHORDS - ROLL] == 'C G Am F'


def test_a_number_that_is_none_is_told(server, composed):
  assert _compose(server, seed='x')['output']['error'] == (
      'seed must be a whole number, got &#x27;x&#x27;')


def test_chords_that_are_none_are_told(server, composed):
  visit = uuid.uuid4().hex
  assert _compose(server, visit)['success']
  done = _call(server, '_compose_again', [None, 0, 'C major', 'C H'], visit)
  assert 'is not a chord' in done['output']['error']


def test_new_pieces_replace_those_before(server, composed, folder):
  visit = uuid.uuid4().hex
  for _ in range(2):
    data = _compose(server, visit, num_outputs=1)['output']['data']
  midi = pathlib.Path(data[FILES][0]['path'])
  assert midi.is_file()
  assert len(list(midi.parents[1].rglob('*.mid'))) == 1


def test_what_the_user_can_put_right_is_one_line(server, monkeypatch):
  def refuse(target, settings):
    raise ValueError('bars must be\n a multiple of <b>2</b>')

  monkeypatch.setattr(composer, 'compose', refuse)
  done = _compose(server)
  assert not done['success']
  assert done['output']['error'] == (
      'bars must be a multiple of &lt;b&gt;2&lt;/b&gt;')


def test_bug_is_not_shown_as_the_users_fault(server, monkeypatch, capfd):
  def fail(target, settings):
    raise KeyError('ours')

  monkeypatch.setattr(composer, 'compose', fail)
  assert _compose(server)['output']['error'] is None
  assert "KeyError: 'ours'" in capfd.readouterr().err


@pytest.mark.parametrize('content', [b'no picture', b'', b'\x89PNG\r\n\x1a\n'])
def test_upload_that_is_no_picture_is_told_and_removed(server, content):
  path = _upload(server, 'mine.png', content)
  error = _call(
      server, '_locate', [[_file(path)], SETTINGS['plane']])['output']['error']
  assert error.startswith('mine.png ')
  assert not path.exists()


def test_pictures_stand_in_a_row(server, monkeypatch):
  class Eye:

    def predict(self, pictures):
      return [VA(0.5, i / 10) for i in range(len(pictures))]

  monkeypatch.setattr(models, 'image_model', lambda path: Eye())
  plane = SETTINGS['plane']
  for _ in range(2):
    paths = [
        _upload(server, name, MEADOW.read_bytes())
        for name in ('a.jpg', '<b>.jpg')]
    plane, *point = _call(
        server, '_locate', [[*map(_file, paths)], plane])['output']['data']
    assert not any(path.exists() for path in paths)
  assert [p['arousal'] for p in plane['points']] == [0, 0.1, 0, 0.1]
  assert plane['points'][0]['picture'].startswith('data:image/jpeg;base64,')
  assert not any('<' in p['name'] for p in plane['points'])
  assert (plane['chosen'], point) == (3, [0.5, 0.1])
  plane['points'] *= 2
  path = _upload(server, 'a.jpg', MEADOW.read_bytes())
  error = _call(
      server, '_locate', [[_file(path)], plane])['output']['error']
  assert error.startswith('at most 8 pictures')


def test_upload_is_bounded(server):
  with pytest.raises(httpx.HTTPStatusError, match='413'):
    _upload(server, 'large.png', bytes(page.MAX_UPLOAD_BYTES + 1))


def test_other_files_of_the_machine_are_out_of_reach(server, tmp_path):
  secret = tmp_path / 'secret.png'
  secret.write_bytes(b'mine')
  done = _call(server, '_locate', [[_file(secret)], SETTINGS['plane']])
  assert not done['success']
  assert secret.exists()
  answer = httpx.get(f'{server}gradio_api/file={secret}', trust_env=False)
  assert answer.status_code == 403


def test_visit_named_like_a_path_stays_in_the_folder(
    server, composed, folder, tmp_path):
  (tmp_path / 'mine').touch()
  assert _compose(server, f'/../../../../../../../../..{tmp_path}')['success']
  assert [path.name for path in tmp_path.iterdir()] == ['mine']
  assert [path.name[:14] for path in folder.iterdir()] == ['va_magenta_app']


def test_own_checkpoint_is_offered_first():
  [checkpoint] = [
      block for block in page.build(['my_run']).blocks.values()
      if block.elem_id == 'checkpoint']
  values = [value for _, value in checkpoint.choices]
  assert values[0] == 'my_run'
  assert checkpoint.value in values


def test_nothing_is_asked_of_the_network(server, connections):
  assert connections
  assert {address[0] for address in connections} == {'127.0.0.1'}
