import hashlib
import types

import numpy as np
import pytest

from va_magenta.music import band, chords
from va_magenta.training import (
  band_corpus,
  chord_recognition,
  harmony,
  pop909_cl,
)
from va_magenta.va_to_music.harmony import HarmonyConfig


def _song(progression, name='a'):
  """A song whose chords are its accompaniment."""
  labels, accompaniment, bass = [], [], []
  for i, chord in enumerate(progression):
    root = chords.root_of(chord)
    labels.append(f'{chords.pitch_name(root)}:{chords.quality_of(chord)}')
    accompaniment += [
        (8 * i, 8 * i + 8, 60 + p) for p in chords.pitch_classes(chord)]
    bass.append((8 * i, 8 * i + 8, 36 + root))
  melody = [(s, e, p + 12) for s, e, p in accompaniment[::3]]
  return pop909_cl.Song(
      types.SimpleNamespace(stem=name), *(
          np.array(n) for n in (melody, bass, accompaniment)), tuple(labels))


def test_chords_written_by_people_are_read(tmp_path, midi_file):
  def notes(*of):
    return [event for start, end, pitch in of for event in (
        (120 * start, bytes([0x90, pitch, 80])),
        (120 * end, bytes([0x80, pitch, 0])))]

  meter = (0, b'\xff\x58\x04\x04\x02\x18\x08')
  piano = notes((0, 8, 72), (0, 8, 64), (0, 8, 36), (8, 32, 74), (8, 16, 43))
  written = notes(
      *((0, 8, p) for p in (60, 64, 67)),  # C
      *((8, 16, p) for p in (59, 62, 67)),  # G, turned over
      *((16, 24, p) for p in (62, 64, 69)))  # Dsus2
  (tmp_path / '001.mid').write_bytes(midi_file([meter], piano, written))
  waltz = (0, b'\xff\x58\x04\x03\x02\x18\x08')
  (tmp_path / '002.mid').write_bytes(midi_file([waltz], piano, written))
  [song] = pop909_cl.read(tmp_path)
  assert song.labels == ('C:maj', 'G:maj', 'D:sus2', 'N')
  assert song.melody[:, 2].tolist() == [72, 74]
  assert song.bass[:, 2].tolist() == [36, 43]
  assert song.accompaniment.tolist() == [[0, 8, 64]]
  allowed = [np.flatnonzero(row).tolist() for row in song.targets()]
  assert allowed == [
      [chords.parse('C')], [chords.parse('G')],
      [chords.parse('D'), chords.parse('Dm')], [chords.NO_CHORD]]


def test_a_recogniser_learns_chords_and_is_the_same_in_every_key():
  rng = np.random.default_rng(0)
  triads = [chords.chord_of(r, q) for r in range(12) for q in ('maj', 'min')]
  songs = [_song(rng.choice(triads, 64)) for _ in range(6)]
  fitted = chord_recognition.fit(songs[:5], 60, seed=0)
  right = chord_recognition.accuracy(fitted, songs[5:])
  assert right['root'] > 0.9 and right['majmin'] > 0.9
  untrained = chord_recognition.fit(songs[:1], 1, seed=0)
  assert chord_recognition.accuracy(untrained, songs[5:])['majmin'] < 0.9


def _piece(progression, valence, name='ff', source=1):
  progression = np.asarray(progression)
  va = np.full((len(progression) // 2, 2), valence)
  return harmony.piece(name, source, progression, va, (1, 1, 0, 1))


def test_pieces_run_from_their_first_chord_to_their_last():
  told = chords.parse_progression('N.C. C Am F G C Am F G C N.C.')
  piece = _piece(told, 0.5)
  np.testing.assert_array_equal(
      piece.chords, chords.parse_progression('C Am F G C Am F G C C'))
  assert piece.va.shape == (5, 2)
  assert _piece(told[:8], 0.5) is None


def test_windows_know_where_they_lie():
  told = np.tile(chords.parse_progression('C G Am F'), 12)  # 24 segments
  x = harmony.windows([
      _piece(told, 0.5), _piece(told[:16], np.nan, '00', 0)])
  assert x['chords'].shape == (3, 64)
  assert x['position'][:, 0].tolist() == [0, 8, 0]
  assert x['is_last'].sum(1).tolist() == [0, 1, 1]
  assert x['is_last'][1, -1] and x['is_last'][2, 3]
  assert x['is_held_out'].tolist() == [False, False, True]
  assert (x['chords'][2] >= 0).tolist() == [True] * 16 + [False] * 48
  whole = harmony.batch(x, np.arange(3))
  assert whole['weight'].sum(1).tolist() == [64, 64, 16]
  assert whole['controls'][0, 0, :3].tolist() == [0.5, 0.5, 1]
  assert not whole['controls'][2, :, :3].any()
  assert not harmony.batch(x, np.arange(3), va=False)['controls'][..., :3].any()


def test_a_corpus_of_bands_is_brought_to_the_key_without_accidentals(tmp_path):
  told = chords.parse_progression('C F G C Am F G C')
  tokens = np.zeros((128, 4), np.uint16)
  tokens[0] = 30, 20, 1, band.STRUCK
  path = tmp_path / 'band.npz'
  band_corpus.save(band_corpus.Corpus(
      tokens, chords.transpose(told, 3).astype(np.uint8),
      np.full((8, 2), 25, np.int8), np.full(8, 3, np.int8),
      np.array([8], np.int32), np.full(1, 100, np.float32), ['ab']), path)
  [piece] = harmony.read_band(path)
  np.testing.assert_array_equal(piece.chords, told)
  assert (piece.va == 0.25).all() and piece.source == 0
  assert piece.present.all()
  np.savez(path, chords=told)
  with pytest.raises(ValueError, match='corpus of bands'):
    list(harmony.read_band(path))


def _examples():
  """Major where valence is high, minor where it is low."""
  happy = np.tile(chords.parse_progression('C F G C'), 8)
  sad = np.tile(chords.parse_progression('Am Dm Em Am'), 8)
  return harmony.windows([
      _piece(chord, valence, hashlib.md5(f'{i}{valence}'.encode()).hexdigest(),
             source=i % 2)
      for i in range(40) for chord, valence in ((happy, 0.5), (sad, -0.5))])


def test_harmony_learns_and_goes_on_where_it_stopped(tmp_path):
  examples, config = _examples(), HarmonyConfig(units=(16,))

  def train(run_dir, report=lambda line: None, num_steps=120):
    run_dir.mkdir(exist_ok=True)
    return harmony.train(
        examples, run_dir, num_steps=num_steps, batch_size=16,
        learning_rate=2e-2, seed=0, report=report, config=config)

  whole = train(tmp_path / 'whole')
  nats = harmony.held_out_nats(whole, examples)
  assert nats['people, with VA'] < 1.0

  class Stopped(Exception):
    pass

  harmony._SAVE_EVERY, before = 20, harmony._SAVE_EVERY
  try:
    def stop(line):
      raise Stopped
    with pytest.raises(Stopped):
      train(tmp_path / 'parts', stop)
    resumed = train(tmp_path / 'parts')
  finally:
    harmony._SAVE_EVERY = before
  for a, b in zip(whole.weights, resumed.weights, strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  with pytest.raises(ValueError, match='other settings'):
    train(tmp_path / 'parts', num_steps=50)
  drawn = {
      valence: whole.sample(
          np.full((8, 4, 2), valence), np.ones((8, 4)), seed=0, guidance=2.0)
      for valence in (-0.5, 0.5)}
  minor = {
      valence: np.mean([chords.mode_of(c) == 'minor' for c in of])
      for valence, of in drawn.items()}
  assert minor[-0.5] > minor[0.5]
