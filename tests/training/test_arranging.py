"""Arrangements are learned from a corpus of bands."""

import numpy as np
import pytest

from va_magenta.music import band, chords, grid, midi
from va_magenta.training import arranging, band_corpus
from va_magenta.va_to_music import arranger

_BEAT = (0b101, 0, 0b100, 0, 0b110, 0, 0b100, 0)
_SNARE, _TOM = 0b10, 0b10000
_BARS = 36


def _tokens():
  """The melody waits four bars; a fill and a crash every eight; drums late."""
  tokens = np.zeros((_BARS, 16, 4), int)
  tokens[4:, ::4, band.MELODY] = grid.token_of(67 + 2)
  tokens[3, 12:16:2, band.MELODY] = grid.token_of(64 + 2), grid.token_of(67)
  tokens[:, ::8, band.BASS] = grid.token_of(38)
  tokens[:, 0, band.COMPING] = band.STRUCK
  tokens[8:, :, band.DRUMS] = np.resize(_BEAT, 16)
  tokens[11::8, 12:, band.DRUMS] = _SNARE, _TOM, _SNARE, _TOM
  tokens[12::8, 0, band.DRUMS] |= arranger.CRASH
  return tokens


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  """Pieces in D major, and a folder of their files, the second half louder."""
  names = [f'{i % 40:02x}{"0" * 28}{i:02x}' for i in range(60)]
  progression = np.full(2 * _BARS, chords.parse('D'), np.uint8)
  tokens = _tokens().reshape(-1, 4)
  folder = tmp_path_factory.mktemp('midi')
  notes = band.voice(tokens, progression)
  heard = band.play(notes, tempo_qpm=120, velocities=[60] * 4)
  heard['velocity'] += (20 * (heard['start_beats'] >= 80)).astype(np.uint8)
  content = midi.to_bytes(band.as_sequence(heard, tempo_qpm=120))
  for name in names:
    (folder / name[0]).mkdir(exist_ok=True)
    (folder / name[0] / f'{name}.mid').write_bytes(content)
  n = len(names)
  va = np.repeat(np.linspace(-50, 50, n).astype(np.int8), _BARS)
  return band_corpus.Corpus(
      np.tile(tokens, (n, 1)).astype(np.uint16), np.tile(progression, n),
      np.stack([va, va], 1), np.full(n * _BARS, 2, np.int8),
      np.full(n, _BARS, np.int32), np.full(n, 120, np.float32), names), folder


def test_what_is_learned_is_arranged(corpus, tmp_path):
  told = []
  arranging.run(
      corpus=corpus[0], midi_dir=corpus[1], run_dir=tmp_path / 'run',
      command='made here', report=told.append)
  # Those are held out whose MD5 begins with a byte that 20 divides.
  assert told[0] == '57 pieces, 3 held out'
  model = arranger.load(tmp_path / 'run')
  pieces = model._pieces
  np.testing.assert_allclose(pieces['waits'], 3 / 36, atol=1e-3)
  assert (pieces['opens'] == [True, False, True]).all()
  drums = pieces['plays'][0, :, arranger.VOICES.index(band.DRUMS)]
  assert drums.tolist() == [False] + [True] * 7
  assert pieces['has_dynamics'].all()
  louder = pieces['louder'][0].astype(int)
  assert louder[-1] - louder[1] == pytest.approx(20, abs=3)
  # One end in two is that of a second phrase, with a fill and a crash.
  for is_eighth in (False, True):
    chance = model.chance('fill', (0, 0), is_eighth)
    assert chance > .9 if is_eighth else chance < .1
  played = model.fills.draw(np.resize(_BEAT, 16), np.random.default_rng(0))
  assert set((played[12:] & arranger.STRUCK).tolist()) == {_SNARE, _TOM}
  assert played[:12].tolist() == [*_BEAT, *_BEAT[:4]]
  # From e and f sharp to g, in the key without accidentals.
  assert model._pickup == 1
  assert model._pickups['steps'].tolist() == [[-4, -2, 0, 0]]
  assert model._pickups['degrees'].tolist() == [[-2, -1, 0, 0]]
  card = (tmp_path / 'run' / 'README.md').read_text()
  assert 'made here' in card and 'nan' not in card


def test_a_corpus_that_lacks_something_is_one_line(corpus, tmp_path):
  bands = corpus[0]
  tokens = bands.tokens.copy()
  tokens[:, band.DRUMS] = 0
  import dataclasses

  with pytest.raises(ValueError, match='no phrases that drums play'):
    arranging.run(
        corpus=dataclasses.replace(bands, tokens=tokens), midi_dir=corpus[1],
        run_dir=tmp_path / 'run', command='', report=print)
  assert not (tmp_path / 'run').exists()
