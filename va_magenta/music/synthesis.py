"""NoteSequence or MIDI -> audio, in memory, by FluidSynth.

  samples, sample_rate_hz = synthesis.synthesize(sequence)
  synthesis.write_wav('piece.wav', samples, sample_rate_hz)

Loudness is left as it was played, at one fixed gain: it carries arousal, and
pieces are compared with each other.
"""

import os
import pathlib
import wave
from functools import partial

import note_seq
import numpy as np

from va_magenta.music import midi

SAMPLE_RATE_HZ = 44100
# FluidSynth's `synth.gain`. Its own default, 0.2, leaves a melody faint; from
# here on orchestras would clip (a piano alone peaks at 0.2, a loud piece at 1).
GAIN = 0.8
TAIL_SECONDS = 1.0  # For the last notes to fade.
# Before what is asked for, so much is played unheard: notes ring on.
LEAD_SECONDS = 5.0
MAX_SECONDS = 600.0  # 100 MB of float32 samples at 44,100 Hz.
_DRUM_CHANNEL = 9  # MIDI's channel 10, counted from 0.
_DRUM_BANK = 128
_NUM_CHANNELS = 256
# Control changes that a player uses: modulation, volume, pan, expression,
# sustain, sostenuto and soft pedal. Not those that change banks or settings.
_CONTROLS = frozenset((1, 7, 10, 11, 64, 66, 67))


def synthesize(
    music: note_seq.NoteSequence | str | os.PathLike,
    *,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    soundfont: str | os.PathLike | None = None,
    start_seconds: float = 0.0,
    max_seconds: float = MAX_SECONDS,
) -> tuple[np.ndarray, int]:
  """Renders music with General MIDI instruments.

  Args:
    music: a NoteSequence or the path of a MIDI file. Drums play on channel 10.
    sample_rate_hz: 8,000..96,000.
    soundfont: an .sf2 file; by default TimGM6mb, which pretty_midi brings.
    start_seconds: where to begin.
    max_seconds: of a longer piece this much is rendered.

  Returns:
    float32 mono samples in [-1, 1] from `start_seconds` to `TAIL_SECONDS` after
    the last note, shape [samples], and `sample_rate_hz`. What is too loud is
    clipped.

  Raises:
    OSError: if the FluidSynth library is missing, or a file cannot be read.
    ValueError: if a file is not MIDI or not a soundfont, or if the piece has
      nothing so late as `start_seconds`.
  """
  fluidsynth = import_fluidsynth()
  sequence = midi.read(music).to_sequence() if isinstance(
      music, (str, os.PathLike)) else music
  soundfont = pathlib.Path(soundfont or _default_soundfont())
  if not soundfont.is_file():
    raise FileNotFoundError(f'there is no soundfont at {soundfont}')
  end = max((note.end_time for note in sequence.notes), default=0.0)
  end += TAIL_SECONDS
  if not 0 <= start_seconds < end:
    raise ValueError(
        f'a piece of {end:.2f} seconds cannot be heard from {start_seconds:g} '
        'seconds on')
  lead = min(start_seconds, LEAD_SECONDS)
  begin = start_seconds - lead
  seconds = lead + min(end - start_seconds, max_seconds)
  mono = np.empty(round(seconds * sample_rate_hz), np.float32)
  synth = fluidsynth.Synth(
      gain=GAIN, samplerate=sample_rate_hz, channels=_NUM_CHANNELS)
  try:
    soundfont_id = synth.sfload(str(soundfont))
    if soundfont_id < 0:
      raise ValueError(f'{soundfont} is not a soundfont (.sf2)')
    done = 0
    for time, _, play in _events(sequence, synth, soundfont_id, begin):
      until = min(round(max(0, time - begin) * sample_rate_hz), len(mono))
      _render(synth, mono[done:until])
      done = max(done, until)
      if done == len(mono):
        break
      play()
    _render(synth, mono[done:])
  finally:
    synth.delete()
  return mono[round(lead * sample_rate_hz):], sample_rate_hz


def write_wav(
    path: str | os.PathLike, samples: np.ndarray, sample_rate_hz: int):
  """Writes float mono samples in [-1, 1] as a WAV of 16 bits."""
  samples = np.rint(np.clip(samples, -1, 1) * (2**15 - 1)).astype('<i2')
  with wave.open(os.fspath(path), 'wb') as file:
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(sample_rate_hz)
    file.writeframes(samples.tobytes())


def import_fluidsynth():
  """The module `fluidsynth`.

  Raises:
    OSError: if the FluidSynth library, which is no Python package, is missing.
  """
  try:
    import fluidsynth
  except (ImportError, OSError, AttributeError) as error:
    raise OSError(
        'audio needs the FluidSynth library, install it by: apt-get install '
        'libfluidsynth3 (Debian, Ubuntu), brew install fluid-synth (macOS), '
        f'choco install fluidsynth (Windows) [{error}]') from error
  return fluidsynth


def _default_soundfont() -> pathlib.Path:
  import pretty_midi

  return pathlib.Path(pretty_midi.__file__).parent / 'TimGM6mb.sf2'


def _render(synth, out: np.ndarray):
  """Fills `out` with what sounds next; both sides mixed to one."""
  if out.size:
    stereo = synth.get_samples(len(out)).reshape(-1, 2)
    np.divide(stereo.sum(axis=1, dtype=np.float32), 2 * 2**15, out=out)


def _events(music, synth, soundfont_id, begin):
  """(time in seconds, rank, function that plays it), in playing order.

  All but the notes that end before the time `begin`.
  """
  channels = {}

  def channel_of(event):
    if event.is_drum:
      key, channel = 'drums', _DRUM_CHANNEL
    else:
      key = (event.instrument, event.program)
      channel = len(channels) + (len(channels) >= _DRUM_CHANNEL)
    if key not in channels:
      if channel >= _NUM_CHANNELS:
        raise ValueError(
            f'a piece may have {_NUM_CHANNELS - 1} instruments at most')
      channels[key] = channel
      bank = _DRUM_BANK if event.is_drum else 0
      if synth.program_select(channel, soundfont_id, bank, event.program) < 0:
        synth.program_select(channel, soundfont_id, bank, 0)
    return channels[key]

  events = []
  for note in music.notes:
    channel, pitch, velocity = channel_of(note), note.pitch, note.velocity
    # Else a note without length would be released before it is struck.
    end_time = max(note.end_time, note.start_time + 0.001)
    if end_time < begin:
      continue
    events += [
        (note.start_time, 2, partial(synth.noteon, channel, pitch, velocity)),
        # What ends makes way for what starts.
        (end_time, 0, partial(synth.noteoff, channel, pitch)),
    ]
  for bend in music.pitch_bends:
    events.append((
        bend.time, 1, partial(synth.pitch_bend, channel_of(bend), bend.bend)))
  for change in music.control_changes:
    number, value = change.control_number, change.control_value
    if number in _CONTROLS:
      events.append((
          change.time, 1, partial(synth.cc, channel_of(change), number, value)))
  return sorted(events, key=lambda event: event[:2])
