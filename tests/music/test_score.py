"""Scores: what music21 reads again of what it was asked to write."""

import sys

import note_seq
import numpy as np
import pytest

from va_magenta.music import band, chords, score


@pytest.fixture(scope='module')
def piece():
  """Two bars in D major, with articulated notes, and slower at the end."""
  tokens = np.zeros((32, 4), int)
  tokens[:16:4, band.MELODY] = np.array([62, 66, 69, 74]) - 19
  tokens[16, band.MELODY] = 62 - 19
  tokens[::16, band.BASS] = 38 - 19
  tokens[::4, band.DRUMS] = 0b101  # Bass drum and hi-hat.
  tokens[::8, band.COMPING] = band.STRUCK
  progression = chords.parse_progression('D | Bm7 A7')
  heard = band.play(band.voice(tokens, progression), tempo_qpm=100)
  heard['end_beats'] -= .2 * (heard['part'] == band.MELODY)
  tempos = [100] * 6 + [70] * 2
  for edge in ('start', 'end'):
    heard[f'{edge}_seconds'] = band.seconds_at(heard[f'{edge}_beats'], tempos)
  return band.as_sequence(
      heard, chords=progression, key=chords.parse_key('D major'),
      tempo_qpm=tempos, sections=[(0, 'A'), (1, 'End')])


@pytest.fixture(scope='module')
def read(piece, tmp_path_factory):
  """What music21 finds in the file."""
  music21 = pytest.importorskip('music21')
  path = tmp_path_factory.mktemp('score') / 'piece.musicxml'
  score.write(path, piece, title='Meadow')
  return music21.converter.parse(path)


def test_parts_and_bars(read):
  assert [part.partName for part in read.parts] == [
      'Melody', 'Bass', 'Comping', 'Drums']
  for part in read.parts:
    bars = part.getElementsByClass('Measure')
    assert [bar.duration.quarterLength for bar in bars] == [4, 4]
  assert read.metadata.bestTitle == 'Meadow'


def test_notes_as_they_are_meant(read):
  melody, bass, comping, drums = read.parts
  notes = list(melody.flatten().notes)
  notes = [n for n in notes if n.isNote]
  assert [n.pitch.midi for n in notes] == [62, 66, 69, 74, 62]
  # Not as articulated, but to the next.
  assert [n.quarterLength for n in notes] == [1, 1, 1, 1, 4]
  assert [n.pitch.midi for n in bass.flatten().notes] == [38, 38]
  assert len(comping.flatten().notes) == 4
  assert len(drums.flatten().notes) == 8


def test_chords_key_tempo_and_sections(read):
  melody = read.parts[0].flatten()
  symbols = melody.getElementsByClass('ChordSymbol')
  assert [(s.offset, s.figure) for s in symbols] == [
      (0, 'D'), (4, 'Bm7'), (6, 'A7')]
  assert [k.sharps for k in melody.getElementsByClass('KeySignature')] == [2]
  assert [(m.offset, m.number) for m in melody.getElementsByClass(
      'MetronomeMark')] == [(0, 100), (6, 70)]
  assert [(m.offset, m.content) for m in melody.getElementsByClass(
      'RehearsalMark')] == [(0, 'A'), (4, 'End')]


def test_a_melody_alone(tmp_path):
  music21 = pytest.importorskip('music21')
  sequence = note_seq.NoteSequence()
  sequence.notes.add(pitch=60, velocity=80, start_time=0, end_time=.5)
  sequence.notes.add(pitch=64, velocity=80, start_time=.5, end_time=2)
  sequence.tempos.add(qpm=120)
  score.write(tmp_path / 'a.musicxml', sequence)
  [part] = music21.converter.parse(tmp_path / 'a.musicxml').parts
  assert [n.pitch.midi for n in part.flatten().notes] == [60, 64]


def test_without_music21_it_is_told_how_to_get_it(monkeypatch, tmp_path):
  monkeypatch.setitem(sys.modules, 'music21', None)
  with pytest.raises(ImportError, match=r'pip install "va_magenta\[score\]"'):
    score.write(tmp_path / 'a.musicxml', note_seq.NoteSequence())
