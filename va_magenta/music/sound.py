"""Sound for people: equally loud, never clipped, in the file they want.

  samples = sound.master(samples, sample_rate_hz)
  sound.write('piece.ogg', samples, sample_rate_hz)

Loudness is measured by pyloudnorm, files are written by libsndfile.
"""

import os
import pathlib

import numpy as np

# By the ending of a file's name: libsndfile's format and subtype.
FORMATS = {
    'wav': ('WAV', 'PCM_16'), 'flac': ('FLAC', 'PCM_16'),
    'ogg': ('OGG', 'VORBIS'), 'mp3': ('MP3', 'MPEG_LAYER_III')}
# What streaming services play at, and what they ask of peaks.
LOUDNESS_LUFS = -16.0
PEAK_DBFS = -1.0
# Where a length is asked for, sound fades so long after the last note.
FADE_SECONDS = 0.4
# Codecs and the limiter's own slopes move peaks a little.
_HEADROOM_DB = 0.5
_LOOK_AHEAD_SECONDS = 0.005
_OVERSAMPLING = 4
# Each round of limiting makes it a little softer.
_ROUNDS = 4
_NEAR_DB = 0.1
# Shorter sound has no loudness by the standard, which is said of blocks.
_BLOCK_SECONDS = 0.4
# libsndfile's Vorbis encoder keeps what it is given at once on its stack.
_FRAMES_A_WRITE = 2**14


def format_of(path: str | os.PathLike) -> str:
  """'wav', 'flac', 'ogg' or 'mp3', by a name's ending.

  Raises:
    ValueError: if it ends otherwise.
  """
  ending = pathlib.Path(path).suffix.lower().removeprefix('.')
  if ending not in FORMATS:
    raise ValueError(
        f'{path}: sound is written as {", ".join(FORMATS)}, by the ending')
  return ending


def loudness(samples: np.ndarray, sample_rate_hz: int) -> float:
  """Integrated loudness in LUFS, by ITU-R BS.1770-4; -inf of silence.

  Args:
    samples: float `[samples]` or `[samples, channels]`.
    sample_rate_hz: theirs.
  """
  import pyloudnorm

  short = round(_BLOCK_SECONDS * sample_rate_hz) + 1 - len(samples)
  if short > 0:
    samples = np.pad(samples, [(0, short)] + [(0, 0)] * (samples.ndim - 1))
  with np.errstate(divide='ignore'):
    return float(pyloudnorm.Meter(sample_rate_hz).integrated_loudness(
        samples.astype(np.float64)))


def true_peaks(samples: np.ndarray) -> np.ndarray:
  """Greatest size of the wave at and about each sample, over channels.

  Four times oversampled, as ITU-R BS.1770-4 has it.

  Args:
    samples: float `[samples]` or `[samples, channels]`.

  Returns:
    `[samples]`, 1 is full scale.
  """
  from scipy import signal

  if not len(samples):
    return np.zeros(0)
  between = np.abs(signal.resample_poly(samples, _OVERSAMPLING, 1, axis=0))
  between = between.reshape(len(samples), -1).max(1)
  # What lies after a sample lies before the next.
  return np.maximum(between, np.concatenate([[0.0], between[:-1]]))


def master(
    samples: np.ndarray, sample_rate_hz: int, *, wraps: bool = False
) -> np.ndarray:
  """Makes sound as loud as `LOUDNESS_LUFS`, with peaks below `PEAK_DBFS`.

  What would be higher is turned down, smoothly, for some milliseconds before
  and after.

  Args:
    samples: float `[samples]` or `[samples, channels]`.
    sample_rate_hz: theirs.
    wraps: whether the end is played on into the beginning.

  Returns:
    float32 of that shape; silence as it is.
  """
  result = np.asarray(samples, np.float64)
  for _ in range(_ROUNDS):
    gain_db = LOUDNESS_LUFS - loudness(result, sample_rate_hz)
    if not np.isfinite(gain_db) or abs(gain_db) < _NEAR_DB:
      break
    result = _limit(
        result * 10**(gain_db / 20), sample_rate_hz, wraps)
  return result.astype(np.float32)


def _limit(samples, sample_rate_hz, wraps) -> np.ndarray:
  """Turns down what would be too high."""
  from scipy import ndimage

  ceiling = 10**((PEAK_DBFS - _HEADROOM_DB) / 20)
  width = 2 * round(_LOOK_AHEAD_SECONDS * sample_rate_hz) + 1
  # So far the joint of a loop is no edge.
  margin = 4 * width if wraps else 0
  padded = np.pad(
      samples, [(margin, margin)] + [(0, 0)] * (samples.ndim - 1), mode='wrap')
  gain = np.minimum(ceiling / np.maximum(true_peaks(padded), ceiling), 1)
  # The mean of what is at most what is needed is at most what is needed.
  gain = ndimage.uniform_filter1d(
      ndimage.minimum_filter1d(gain, width, mode='nearest'), width,
      mode='nearest')
  gain = gain[margin:len(gain) - margin]
  return samples * gain.reshape(-1, *[1] * (samples.ndim - 1))


def write(
    path: str | os.PathLike, samples: np.ndarray, sample_rate_hz: int):
  """Writes sound as the name's ending says: WAV, FLAC, OGG Vorbis or MP3.

  Args:
    path: ends in `.wav`, `.flac`, `.ogg` or `.mp3`; the first two have 16 bits.
    samples: float `[samples]` or `[samples, channels]`; what lies beyond
      [-1, 1] is clipped.
    sample_rate_hz: theirs; of MP3 one of MPEG's.

  Raises:
    ValueError: if the name ends otherwise.
  """
  import soundfile

  kind, subtype = FORMATS[format_of(path)]
  samples = np.clip(samples, -1, 1)
  channels = samples.shape[1] if samples.ndim > 1 else 1
  with soundfile.SoundFile(
      os.fspath(path), 'w', sample_rate_hz, channels, subtype,
      format=kind) as file:
    for i in range(0, len(samples), _FRAMES_A_WRITE):
      file.write(samples[i:i + _FRAMES_A_WRITE])
