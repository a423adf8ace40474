"""The page's server: what it computes, what it refuses, what it keeps."""

import json
import pathlib
import socket
import uuid

import note_seq
import pytest

from va_magenta.composing import composer, request
from va_magenta.music import synthesis
from va_magenta.va import VA
from va_magenta.va_to_music import performance

pytest.importorskip('gradio', reason='the extra `app` is not installed')
import httpx

from va_magenta.app import page

SETTINGS = {
    'valence': 0.25, 'arousal': -0.5, 'checkpoint': 'va-cat-mel_2bar',
    'bars': 'one phrase', 'instrument': 'as suits the point', 'guidance': 1,
    'num_outputs': 2, 'candidates': 64, 'seed': None}


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
  """What `composer.compose` is asked for; it makes pieces of 4 notes."""
  asked = []

  def compose(target, settings):
    asked.append((target, settings))
    sequence = note_seq.NoteSequence()
    for i in range(4):
      sequence.notes.add(
          pitch=60 + i, velocity=80, start_time=i / 2, end_time=i / 2 + 0.4)
    sequence.total_time = 1.9
    return [
        composer.Piece(
            sequence, VA(0.1 * i, 0), 0.5, [performance.Performance()])
        for i in range(1, settings.num_outputs + 1)]

  monkeypatch.setattr(composer, 'compose', compose)
  return asked


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


def test_composes_as_the_controls_say(server, composed):
  done = _compose(
      server, bars=8, instrument='Flute', guidance=2.5, num_outputs=3,
      candidates=16, seed=7)
  assert done['success']
  assert composed == [(VA(0.25, -0.5), request.Settings(
      checkpoint='va-cat-mel_2bar', bars=8, program=73, guidance=2.5,
      num_outputs=3, candidates=16, seed=7))]


def test_what_is_left_open_suits_the_point(server, composed):
  assert _compose(server)['success']
  [(_, settings)] = composed
  assert settings.bars is settings.program is None


def test_shows_pieces_with_files_to_download(server, composed):
  plane, note, *cards = _compose(server)['output']['data']
  [(_, settings)] = composed
  assert plane['props']['pieces'] == [[0.1, 0], [0.2, 0]]
  assert note['value'] == f'Seed {settings.seed}.'
  column, roll, sound, midi, wav = cards[:5]
  assert column['visible']
  assert roll.count('<rect') == 4
  assert 'valence +0.10, arousal +0.00, distance 0.50' in roll
  assert 'Acoustic Grand Piano, 120 quarters' in roll
  content = httpx.get(midi['url'], trust_env=False).raise_for_status().content
  assert len(note_seq.midi_to_note_sequence(content).notes) == 4
  if sound['visible']:  # FluidSynth is installed.
    content = httpx.get(wav['value']['url'], trust_env=False).content
    assert content[:4] == b'RIFF'
  assert [card['visible'] for card in cards[::5]] == [True, True, False, False]


def test_without_fluidsynth_all_but_the_sound_is_there(
    server, composed, monkeypatch):
  def missing():
    raise OSError('audio needs the FluidSynth library,\n install it by: apt')

  monkeypatch.setattr(synthesis, 'import_fluidsynth', missing)
  _, note, _, _, sound, midi, wav, *_ = _compose(server)['output']['data']
  assert note['value'].endswith(
      ' No sound: audio needs the FluidSynth library, install it by: apt')
  assert not sound['visible']
  assert not wav['visible']
  assert httpx.get(midi['url'], trust_env=False).content[:4] == b'MThd'


def test_new_pieces_replace_those_before(server, composed, folder):
  visit = uuid.uuid4().hex
  for _ in range(2):
    data = _compose(server, visit, num_outputs=1)['output']['data']
  midi = pathlib.Path(data[5]['path'])
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
  error = _call(server, '_locate', [_file(path)])['output']['error']
  assert error.startswith('mine.png ')
  assert not path.exists()


def test_upload_is_bounded(server):
  with pytest.raises(httpx.HTTPStatusError, match='413'):
    _upload(server, 'large.png', bytes(page.MAX_UPLOAD_BYTES + 1))


def test_other_files_of_the_machine_are_out_of_reach(server, tmp_path):
  secret = tmp_path / 'secret.png'
  secret.write_bytes(b'mine')
  done = _call(server, '_locate', [_file(secret)])
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
