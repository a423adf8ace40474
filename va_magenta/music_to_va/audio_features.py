"""Audio -> openSMILE's features, in memory.

  samples, sample_rate_hz = audio_features.read('song.mp3')
  features = audio_features.extract(samples, sample_rate_hz)  # [windows, 260]

The features are those that DEAM was released with (Aljanaki et al., "Developing
a benchmark for emotional analysis of music", PLOS ONE 2017): the 65 low-level
descriptors of openSMILE's ComParE set and their deltas, 130 contours at 100 Hz,
and the mean and the standard deviation of each in windows of half a second that
do not overlap.

Window i begins at i * `WINDOW_SECONDS`. A contour's value at frame j describes
60 ms of sound from j * 10 ms on (20 ms for spectrum and loudness) and belongs
to the window in which it begins. The last window takes what is left, about a
quarter of a second at least and three quarters at most.

Loudness is left as it is, because it carries arousal. Other sample rates are
brought to DEAM's 44,100 Hz, because several descriptors of the spectrum depend
on the rate.
"""

import concurrent.futures
import ctypes
import functools
import importlib.util
import io
import math
import os
import pathlib
import re

import numpy as np

SAMPLE_RATE_HZ = 44100
WINDOW_SECONDS = 0.5
MAX_SECONDS = 600.0
# Sound that never gets louder than -60 dB of full scale is silence.
SILENCE = 1e-3
_FRAMES_PER_WINDOW = 50
# How WAV, FLAC, OGG and MP3 (with a tag, or with a frame) begin.
HEAD_BYTES = 12
_HEAD = re.compile(
    rb'RIFF....WAVE|fLaC|OggS|ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa\xfb]', re.DOTALL)

_DESCRIPTORS = (
    'F0final_sma', 'voicingFinalUnclipped_sma', 'jitterLocal_sma',
    'jitterDDP_sma', 'shimmerLocal_sma', 'logHNR_sma',
    'audspec_lengthL1norm_sma', 'audspecRasta_lengthL1norm_sma',
    'pcm_RMSenergy_sma', 'pcm_zcr_sma',
    *(f'audSpec_Rfilt_sma[{i}]' for i in range(26)),
    *(f'pcm_fftMag_{name}_sma' for name in (
        'fband250-650', 'fband1000-4000', 'spectralRollOff25.0',
        'spectralRollOff50.0', 'spectralRollOff75.0', 'spectralRollOff90.0',
        'spectralFlux', 'spectralCentroid', 'spectralEntropy',
        'spectralVariance', 'spectralSkewness', 'spectralKurtosis',
        'spectralSlope', 'psySharpness', 'spectralHarmonicity')),
    *(f'pcm_fftMag_mfcc_sma[{i}]' for i in range(1, 15)))
# As DEAM writes them. openSMILE has since shortened `pcm_fftMag_mfcc`.
CONTOUR_NAMES = _DESCRIPTORS + tuple(
    name.replace('_sma', '_sma_de') for name in _DESCRIPTORS)
# Sizes from here on are promised by who does not know: sox says 0x7ffff024.
_MOST_PROMISED = 0x7ffff000
_CANCELLED = 0.01  # Share of the channels' power that is left of their mean.
_LOUDEST = 16.0  # No mastering goes so far beyond 1.
FEATURE_NAMES = (
    *(f'{name}_amean' for name in CONTOUR_NAMES),
    *(f'{name}_stddev' for name in CONTOUR_NAMES))


def begins_as_sound(head: bytes) -> bool:
  """Whether a file whose first `HEAD_BYTES` these are may be for `read`."""
  return bool(_HEAD.match(head))


def read(
    path: str | os.PathLike,
    *,
    start_seconds: float = 0.0,
    max_seconds: float = MAX_SECONDS,
) -> tuple[np.ndarray, int]:
  """Reads WAV, FLAC, OGG or MP3.

  Args:
    path: of the file.
    start_seconds: where to begin.
    max_seconds: of a longer file this much is read.

  Returns:
    float32 [samples], the mean of the channels (of those that cancel each
    other out the loudest), in [-1, 1] if the file's format has bounds; and the
    sample rate in Hz.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is not audio, is damaged, or has nothing so late.
  """
  import soundfile

  path = pathlib.Path(path)
  with open(path, 'rb') as file:  # libsndfile does not say what is missing.
    head = file.read(HEAD_BYTES)
  size = path.stat().st_size
  source = path
  if head[:4] == b'RIFF' and head[8:] == b'WAVE':
    promised = 8 + int.from_bytes(head[4:8], 'little')
    # Programs that write to a pipe promise the most that can be written, or
    # nothing.
    if size < promised < _MOST_PROMISED:
      raise ValueError(f'{path} is cut off: {size:,} of {promised:,} bytes')
    source = _with_length(path)
  try:
    with soundfile.SoundFile(source) as file:
      rate = file.samplerate
      begin = round(start_seconds * rate)
      if begin >= file.frames:
        raise ValueError(
            f'{path} has no sound after {start_seconds:g} seconds: it lasts '
            f'{file.frames / rate:.2f}')
      wanted = min(file.frames - begin, round(max_seconds * rate))
      file.seek(begin)
      samples = file.read(wanted, dtype='float32', always_2d=True)
  except soundfile.SoundFileError as error:
    raise ValueError(
        f'{path} is not a whole WAV, FLAC, OGG or MP3 file: {error}'
    ) from error
  if len(samples) < wanted:
    raise ValueError(
        f'{path} is cut off: {len(samples) / rate:.2f} of '
        f'{wanted / rate:.2f} seconds')
  return _mono(samples), rate


def _with_length(path: pathlib.Path):
  """A WAV file; with the length that it does not say, if it says 0."""
  with open(path, 'rb') as file:
    file.seek(12)
    while len(chunk := file.read(8)) == 8:
      length = int.from_bytes(chunk[4:], 'little')
      if chunk[:4] == b'data':
        break
      file.seek(length + length % 2, os.SEEK_CUR)
    else:
      return path
    begin = file.tell()
    rest = path.stat().st_size - begin
    if length or not rest:
      return path
    file.seek(0)
    content = bytearray(file.read())
  content[4:8] = (len(content) - 8).to_bytes(4, 'little')
  content[begin - 4:begin] = rest.to_bytes(4, 'little')
  return io.BytesIO(content)


def _mono(samples: np.ndarray) -> np.ndarray:
  """The mean of channels [samples, channels], or the loudest of them.

  Where channels cancel each other out (one is the other upside down, as
  some effects and faulty cables have it), the mean is not what people hear.
  """
  mean = samples.mean(axis=1)
  power = np.mean(samples.astype(np.float64)**2, axis=0)
  if np.mean(mean.astype(np.float64)**2) < _CANCELLED * power.mean():
    return samples[:, power.argmax()]
  return mean


def extract(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
  """Features of every window.

  Args:
    samples: float [samples], mono, in [-1, 1]; what is a little outside is
      clipped.
    sample_rate_hz: of any sampling; made `SAMPLE_RATE_HZ` here.

  Returns:
    float32 [windows, 260]: the means of `CONTOUR_NAMES`, then the standard
    deviations, as `FEATURE_NAMES` says. All finite.

  Raises:
    ValueError: if samples are not finite floats, not mono, in another scale, or
      shorter than a quarter of a second; or if all is silence, of which
      openSMILE's numbers say nothing.
  """
  samples = np.asarray(samples)
  if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
    raise ValueError(
        'samples must be mono, floats of shape [samples], got '
        f'{samples.dtype} {list(samples.shape)}')
  samples = samples.astype(np.float32, copy=False)
  if not np.isfinite(samples).all():
    raise ValueError('samples hold NaN or infinity')
  if len(samples) < WINDOW_SECONDS / 2 * sample_rate_hz:
    raise ValueError(
        f'{len(samples) / sample_rate_hz:.3f} seconds of sound are too short: '
        f'at least {WINDOW_SECONDS / 2:g} are needed')
  largest = np.abs(samples).max()
  if largest < SILENCE:
    raise ValueError('there is only silence')
  if largest > _LOUDEST:
    raise ValueError(
        f'samples reach {largest:,.0f}: floats must lie in [-1, 1]; those in '
        'the scale of 16 bits are to be divided by 32,768')
  samples = _resample(samples, sample_rate_hz)
  # openSMILE's 16 bits would turn +1 into -1.
  largest = 1 - 2.0**-15
  samples = samples.clip(-largest, largest)
  # openSMILE calls back into Python, and what a signal raises there is lost:
  # in a thread of its own it is not, as the main thread handles signals.
  with concurrent.futures.ThreadPoolExecutor(1) as thread:
    contours = thread.submit(_smile(), samples, SAMPLE_RATE_HZ).result()[0]
  return _windows(contours.T.astype(np.float64))


def _resample(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
  if sample_rate_hz == SAMPLE_RATE_HZ:
    return samples
  from scipy import signal

  common = math.gcd(SAMPLE_RATE_HZ, sample_rate_hz)
  return signal.resample_poly(
      samples, SAMPLE_RATE_HZ // common, sample_rate_hz // common
  ).astype(np.float32)


def _windows(contours: np.ndarray) -> np.ndarray:
  """Mean and deviation of [frames, 130] in windows, float32 [windows, 260]."""
  num_windows = max(1, round(len(contours) / _FRAMES_PER_WINDOW))
  starts = _FRAMES_PER_WINDOW * np.arange(num_windows)
  lengths = np.diff(starts, append=len(contours))[:, None]
  mean = np.add.reduceat(contours, starts) / lengths
  deviation = contours - mean.repeat(lengths[:, 0], axis=0)
  variance = np.add.reduceat(deviation**2, starts) / lengths
  return np.concatenate([mean, np.sqrt(variance)], axis=1).astype(np.float32)


@functools.cache
def _smile():
  """openSMILE: float32 [samples] -> contours [1, 130, frames]."""
  package = pathlib.Path(importlib.util.find_spec('opensmile').origin).parent
  # openSMILE and TensorFlow both export Ooura's FFT as `rdft`, of floats and of
  # doubles. Where TensorFlow came first, openSMILE would call the wrong one and
  # overwrite memory: it is told to keep to its own. macOS does so by itself.
  for library in package.glob('core/bin/*/libSMILEapi.so'):
    ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
  import opensmile

  config = package / 'core' / 'config'
  return opensmile.Smile(
      str(pathlib.Path(__file__).with_name('contours.conf')), 'contours',
      options={
          'descriptors': str(
              config / 'compare' / 'ComParE_2016_core.lld.conf.inc'),
          **{f'buffer{mode}Conf': str(
              config / 'shared' / f'Buffer{mode}.conf.inc')
             for mode in ('Mode', 'ModeRb', 'ModeRbLag')},
      })
