"""NoteSequence or MIDI -> audio, in memory, by FluidSynth.

  samples, sample_rate_hz = synthesis.synthesize(sequence)
  soundfont = synthesis.save('piece.ogg', sequence)

`synthesize` is for models: loudness is left as it was played, at one
fixed gain, as it carries arousal, and pieces are compared with each other; and
the soundfont is the one that is there everywhere. `save` is for people: the
best soundfont of the system, in stereo, and every piece equally loud.
"""

import os
import pathlib
from functools import partial

import note_seq
import numpy as np

from va_magenta.music import midi, sound

SAMPLE_RATE_HZ = 44100
# FluidSynth's `synth.gain`. Its own default, 0.2, leaves a melody faint; from
# here on orchestras would clip (a piano alone peaks at 0.2, a loud piece at 1).
GAIN = 0.8
TAIL_SECONDS = 1.0  # For the last notes to fade.
# Before what is asked for, so much is played unheard: notes ring on.
LEAD_SECONDS = 5.0
MAX_SECONDS = 600.0  # 100 MB of float32 samples at 44,100 Hz.
# The best soundfonts of General MIDI first, by how their files are called; and
# where distributions, MuseScore and people put them.
SOUNDFONTS = (
    'MuseScore_General_HQ', 'MuseScore_General', 'FluidR3_GM', 'FluidR3Mono_GM',
    'GeneralUser-GS', 'GeneralUser_GS', 'Arachno', 'SGM-V2.01')
SOUNDFONT_FOLDERS = (
    '~/.local/share/soundfonts', '~/.local/share/sounds/sf2',
    '~/.local/share/sounds/sf3', '~/Library/Audio/Sounds/Banks',
    '/usr/local/share/soundfonts', '/usr/local/share/sounds/sf2',
    '/usr/local/share/sounds/sf3', '/usr/share/soundfonts',
    '/usr/share/sounds/sf2', '/usr/share/sounds/sf3',
    '/opt/homebrew/share/soundfonts', '/Library/Audio/Sounds/Banks',
    '/usr/share/mscore3-3.2/sounds', '/usr/share/mscore/sounds',
    '/usr/share/mscore-3.2/sounds')
_SOUNDFONT_ENDINGS = ('.sf2', '.sf3')
# A loop's tail is over where it is so much below full scale.
_SILENCE = 10**(-80 / 20)
_MAX_TAIL_SECONDS = 20.0
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
    stereo: bool = False,
    loop_seconds: float | None = None,
) -> tuple[np.ndarray, int]:
  """Renders music with General MIDI instruments.

  Args:
    music: a NoteSequence or the path of a MIDI file. Drums play on channel 10.
    sample_rate_hz: 8,000..96,000.
    soundfont: an .sf2 file; by default TimGM6mb, which pretty_midi brings.
    start_seconds: where to begin.
    max_seconds: of a longer piece this much is rendered.
    stereo: whether there are two channels.
    loop_seconds: the length after which the piece begins again, all of whose
      notes lie before it; what rings on after that sounds at the beginning.

  Returns:
    float32 samples in [-1, 1] from `start_seconds` to `TAIL_SECONDS` after the
    last note, or as many as a loop has, shape [samples] or [samples, 2], and
    `sample_rate_hz`. What is too loud is clipped.

  Raises:
    OSError: if the FluidSynth library is missing, or a file cannot be read.
    ValueError: if a file is not MIDI or not a soundfont, or if the piece has
      nothing so late as `start_seconds`.
  """
  fluidsynth = import_fluidsynth()
  sequence = midi.read(music).to_sequence() if isinstance(
      music, (str, os.PathLike)) else music
  soundfont = pathlib.Path(soundfont or small_soundfont())
  if not soundfont.is_file():
    raise FileNotFoundError(f'there is no soundfont at {soundfont}')
  end = max((note.end_time for note in sequence.notes), default=0.0)
  if loop_seconds is not None:
    if end > loop_seconds + 1e-6:
      raise ValueError(
          f'a note ends at {end:.2f} seconds, after the loop of '
          f'{loop_seconds:.2f}')
    end, max_seconds = loop_seconds + _MAX_TAIL_SECONDS, np.inf
  else:
    end += TAIL_SECONDS
  if not 0 <= start_seconds < end:
    raise ValueError(
        f'a piece of {end:.2f} seconds cannot be played from {start_seconds:g} '
        'seconds on')
  lead = min(start_seconds, LEAD_SECONDS)
  begin = start_seconds - lead
  seconds = lead + min(end - start_seconds, max_seconds)
  out = np.empty((round(seconds * sample_rate_hz), 2), np.float32)
  synth = fluidsynth.Synth(
      gain=GAIN, samplerate=sample_rate_hz, channels=_NUM_CHANNELS)
  try:
    soundfont_id = synth.sfload(str(soundfont))
    if soundfont_id < 0:
      raise ValueError(f'{soundfont} is not a soundfont (.sf2)')
    done = 0
    for time, _, play in _events(sequence, synth, soundfont_id, begin):
      until = min(round(max(0, time - begin) * sample_rate_hz), len(out))
      _render(synth, out[done:until])
      done = max(done, until)
      if done == len(out):
        break
      play()
    _render(synth, out[done:])
  finally:
    synth.delete()
  out = out[round(lead * sample_rate_hz):]
  if loop_seconds is not None:
    out = _wrapped(out, round(loop_seconds * sample_rate_hz))
  return out if stereo else out.mean(1), sample_rate_hz


def _wrapped(samples: np.ndarray, length: int) -> np.ndarray:
  """A loop: what comes after so many samples sounds at the beginning."""
  result = samples[:length].copy()
  for begin in range(length, len(samples), length):
    tail = samples[begin:begin + length]
    if np.abs(tail).max(initial=0) < _SILENCE:
      break
    result[:len(tail)] += tail
  return result


def save(
    path: str | os.PathLike, music: note_seq.NoteSequence, *,
    soundfont: str | os.PathLike | None = None,
    seconds: float | None = None, loops: bool = False,
    sample_rate_hz: int = SAMPLE_RATE_HZ) -> pathlib.Path:
  """Writes music as people hear it: in stereo, as loud as any other.

  Args:
    path: ends as `sound.FORMATS` has it.
    music: what is played.
    soundfont: an .sf2 file; by default `find_soundfont`.
    seconds: how long the sound is, to the sample; it fades at the end. None
      for as long as it rings.
    loops: whether it does not fade, but begins again after so many seconds; see
      `synthesize`.
    sample_rate_hz: see `synthesize`.

  Returns:
    The soundfont that it was played with.

  Raises:
    OSError, ValueError: as of `synthesize` and `sound.write`.
  """
  soundfont = pathlib.Path(soundfont or find_soundfont())
  samples, rate = synthesize(
      music, soundfont=soundfont, stereo=True,
      loop_seconds=seconds if loops else None,
      sample_rate_hz=sample_rate_hz, max_seconds=np.inf)
  if seconds is not None and not loops:
    length = round(seconds * rate)
    samples = np.pad(
        samples, [(0, max(length - len(samples), 0)), (0, 0)])[:length]
    fade = min(round(sound.FADE_SECONDS * rate), length)
    # As half a period of a cosine, which is smooth at both ends.
    samples[length - fade:] *= (
        0.5 + 0.5 * np.cos(np.pi * np.arange(fade) / fade))[:, None]
  sound.write(path, sound.master(samples, rate, wraps=loops), rate)
  return soundfont


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


def find_soundfont() -> pathlib.Path:
  """The best soundfont of the system; the small one if there is no other.

  By `SOUNDFONTS`, in `SOUNDFONT_FOLDERS`.
  """
  found = {}
  for folder in SOUNDFONT_FOLDERS:
    try:
      paths = sorted(pathlib.Path(folder).expanduser().iterdir())
    except (OSError, RuntimeError):  # It is not there, or nobody is at home.
      continue
    for path in paths:
      if path.suffix.lower() in _SOUNDFONT_ENDINGS and path.is_file():
        found.setdefault(path.stem.lower(), path)
  for name in SOUNDFONTS:
    if name.lower() in found:
      return found[name.lower()]
  return small_soundfont()


def small_soundfont() -> pathlib.Path:
  """TimGM6mb, which pretty_midi brings."""
  import pretty_midi

  return pathlib.Path(pretty_midi.__file__).parent / 'TimGM6mb.sf2'


def _render(synth, out: np.ndarray):
  """Fills `out` [samples, 2] with what sounds next."""
  if out.size:
    np.divide(synth.get_samples(len(out)).reshape(-1, 2), 2**15, out=out)


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
