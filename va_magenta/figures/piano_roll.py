"""Piano rolls as SVG, for pages; `plots.plot_piano_rolls` draws them as PNG."""

import html
from collections.abc import Iterator

import numpy as np

from va_magenta.figures.plots import INK, PART_COLORS

# Of what is written, in the units of the picture.
_TEXT, _LINE = 11, 14
_BEATS_PER_BAR = 4


def svg(
    sequence, width: int = 100, height: int = 34, *, labels: bool = False
) -> str:
  """Notes of a NoteSequence as SVG, a color each part; louder is darker.

  Each drum has a line of its own, below the pitches.

  Args:
    sequence: a `note_seq.NoteSequence`.
    width: of the picture.
    height: likewise.
    labels: whether bars are drawn, chord symbols stand above, and there is a
      line `.cursor` at the beginning, `data-seconds` saying how long the whole
      picture is.
  """
  notes = sequence.notes
  end = max((note.end_time for note in notes), default=0) or 1
  drums = sorted({note.pitch for note in notes if note.is_drum}, reverse=True)
  pitches = [note.pitch for note in notes if not note.is_drum] or [60]
  colors = {number: color for number, _, color in parts(sequence)}
  chords, top = (
      _chords(sequence, width / end) if labels else ('', 0))
  high = max(pitches) + 1
  rows = max(high - min(pitches) + 1, 24)
  row = (height - top) / (rows + len(drums))
  thickness = max(row, 1)

  def bar(note):
    line = (rows + drums.index(note.pitch)) if note.is_drum else (
        high - note.pitch)
    length = width * (note.end_time - note.start_time) / end - .5
    return (
        f'<rect x="{width * note.start_time / end:.1f}" '
        f'y="{min(top + row * line, height - thickness):.1f}" '
        f'width="{max(length, .5):.1f}" height="{thickness:.1f}" '
        f'fill="{INK if note.is_drum else colors[note.instrument]}" '
        f'opacity="{.25 + note.velocity / 170:.2f}"/>')

  content = ''.join(map(bar, notes))
  if labels:
    lines = ''.join(
        f'M{width * x / end:.1f} {top}V{height}'
        for x in _downbeats(sequence, end))
    content = (
        f'<path d="{lines}" stroke="#dcdce4" fill="none"/>{chords}{content}'
        f'<line class="cursor" y2="{height}" stroke="{INK}" '
        'stroke-width="2"/>')
  return (f'<svg viewBox="0 0 {width} {height}" width="{width}" '
          f'height="{height}" data-seconds="{end:.3f}">{content}</svg>')


def parts(sequence) -> Iterator[tuple[int, str, str]]:
  """Number, name and color of each part that has notes; drums are last."""
  names = {info.instrument: info.name for info in sequence.instrument_infos}
  numbers = {note.instrument: note.is_drum for note in sequence.notes}
  pitched = sorted(number for number in numbers if not numbers[number])
  for i, number in enumerate(pitched):
    yield number, names.get(number, ''), PART_COLORS[i % len(PART_COLORS)]
  for number in sorted(set(numbers) - set(pitched)):
    yield number, names.get(number, ''), INK


def _chords(sequence, scale: float) -> tuple[str, int]:
  """Chord symbols, and how high they stand; the next line if one is wide."""
  ends, written = [0.0], []
  for annotation in sequence.text_annotations:
    if annotation.annotation_type != annotation.CHORD_SYMBOL:
      continue
    x, text = scale * annotation.time, annotation.text
    line = next((i for i, end in enumerate(ends) if end <= x), len(ends))
    ends[line:line + 1] = [x + 0.65 * _TEXT * (len(text) + 0.5)]
    written.append(
        f'<text x="{x:.1f}" y="{_LINE * line + _TEXT}" font-size="{_TEXT}" '
        f'fill="{INK}">{html.escape(text)}</text>')
  return ''.join(written), _LINE * len(ends) if written else 0


def _downbeats(sequence, end: float) -> np.ndarray:
  """Seconds at which bars of 4/4 begin."""
  tempos = sorted((t.time, t.qpm) for t in sequence.tempos) or [(0, 120)]
  times, qpm = np.array(tempos, float).T
  beats = np.concatenate([[0], np.cumsum(np.diff(times) * qpm[:-1] / 60)])
  last = beats[-1] + (end - times[-1]) * qpm[-1] / 60
  bars = np.arange(0, last, _BEATS_PER_BAR)
  section = np.searchsorted(beats, bars, side='right') - 1
  return times[section] + (bars - beats[section]) * 60 / qpm[section]
