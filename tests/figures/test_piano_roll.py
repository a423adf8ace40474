"""Piano rolls as SVG: a rectangle a note, where it is and when."""

import re

import note_seq
import numpy as np
import pytest

from va_magenta.figures import piano_roll
from va_magenta.music import melody, trio


def _rectangles(roll):
  return [
      tuple(map(float, found)) for found in re.findall(
          r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" '
          r'height="([\d.]+)"', roll)]


@pytest.fixture
def band():
  """Two bars at 60 and 120 qpm, with chords."""
  sequence = note_seq.NoteSequence(total_time=6)
  sequence.tempos.add(time=0, qpm=60)
  sequence.tempos.add(time=4, qpm=120)
  for instrument, name, pitch in (
      (0, 'melody', 72), (1, 'bass', 40), (2, 'comping', 60)):
    sequence.instrument_infos.add(instrument=instrument, name=name)
    sequence.notes.add(
        instrument=instrument, pitch=pitch, velocity=90, start_time=3,
        end_time=6)
  for pitch in (36, 42):
    sequence.notes.add(instrument=9, is_drum=True, pitch=pitch, velocity=90,
                       start_time=0, end_time=0.1)
  for time, text in ((0, 'C'), (4, 'F#m7'), (4.1, 'G')):
    sequence.text_annotations.add(
        time=time, text=text,
        annotation_type=sequence.TextAnnotation.CHORD_SYMBOL)
  sequence.text_annotations.add(time=0, text='A')
  return sequence


def test_a_rectangle_a_note():
  tokens = np.zeros(32, np.int32)
  tokens[[0, 8, 16]] = 41, 53, 45
  rectangles = _rectangles(
      piano_roll.svg(melody.tokens_to_sequence(tokens)))
  assert len(rectangles) == 3
  first, second, third = rectangles
  assert first[0] < second[0] < third[0]
  assert second[1] < third[1] < first[1]  # The highest is at the top.
  assert not _rectangles(
      piano_roll.svg(melody.tokens_to_sequence(np.zeros(32, np.int32))))


def test_drums_lie_below_the_pitches_a_line_each():
  tokens = np.zeros((256, 3), np.int32)
  tokens[::8, 0], tokens[::16, 1], tokens[::4, 2] = 60, 20, 0b11
  rectangles = _rectangles(
      piano_roll.svg(trio.tokens_to_sequence(tokens), height=34))
  assert len(rectangles) == 32 + 16 + 2 * 64
  assert min(y for _, y, _, _ in rectangles) >= 0
  assert max(y + height for _, y, _, height in rectangles) <= 34 + .1
  drums, others = rectangles[48:], rectangles[:48]
  assert len({y for _, y, _, _ in drums}) == 2
  assert min(y for _, y, _, _ in drums) > max(y for _, y, _, _ in others)


def test_each_part_has_a_color(band):
  found = list(piano_roll.parts(band))
  assert [(number, name) for number, name, _ in found] == [
      (0, 'melody'), (1, 'bass'), (2, 'comping'), (9, '')]
  assert len({color for _, _, color in found}) == 4
  roll = piano_roll.svg(band)
  for _, _, color in found:
    assert f'fill="{color}"' in roll


def test_chords_stand_above_their_time_and_bars_where_they_begin(band):
  roll = piano_roll.svg(band, 600, 200, labels=True)
  texts = re.findall(r'<text x="([\d.]+)" y="(\d+)"[^>]*>([^<]+)<', roll)
  assert [(float(x), text) for x, _, text in texts] == [
      (0, 'C'), (400, 'F#m7'), (410, 'G')]
  lines = [int(y) for _, y, _ in texts]
  assert lines[0] == lines[1] < lines[2]  # There is no room beside.
  bars = re.findall(r'M([\d.]+) (\d+)V200', roll)
  assert [float(x) for x, _ in bars] == [0, 400]
  assert min(y for _, y, _, _ in _rectangles(roll)) >= int(bars[0][1])
  assert int(bars[0][1]) > lines[2]
  assert 'data-seconds="6.000"' in roll
  assert roll.count('class="cursor"') == 1
