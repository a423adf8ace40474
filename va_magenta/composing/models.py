"""Models by name or path, as the product uses them; each is loaded once.

What is loaded stays, until its files change: thousands of pieces may be
composed in a process.
"""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

from va_magenta import checkpoints, quiet


def _remembered(
    kind: checkpoints.Kind) -> Callable[[Callable], Callable[..., Any]]:
  """Makes of a function of a path one of a name or path, that remembers."""
  def decorate(load):
    cached = functools.lru_cache(maxsize=2)(lambda path, changed: load(path))

    @functools.wraps(load)
    def of_name(name_or_path: str | os.PathLike | None = None):
      path = checkpoints.locate(name_or_path, kind)
      return cached(path, _changed(path))

    return of_name

  return decorate


def _changed(path: pathlib.Path) -> tuple:
  """When the files at a path were."""
  files = path.parent.glob(f'{path.name}*') if not path.is_dir() else (
      path.iterdir())
  return tuple(sorted(
      (p.name, p.stat().st_mtime_ns) for p in files if p.is_file()))


@_remembered(checkpoints.IMAGE)
def image_model(path):
  """The `image_to_va.model.ImageToVa` of a name or path; what ships if None."""
  quiet.start_keras()
  from va_magenta.image_to_va import model

  return model.load(path)


@_remembered(checkpoints.SYMBOLIC)
def estimator(path):
  """The `music_to_va.symbolic.SymbolicVA` of a name or path, likewise."""
  from va_magenta.music_to_va import symbolic

  return symbolic.load(path)


@_remembered(checkpoints.AUDIO)
def audio_model(path):
  """The `music_to_va.audio.AudioVA` of a name or path, likewise."""
  from va_magenta.music_to_va import audio

  return audio.load(path)


@_remembered(checkpoints.PERFORMANCE)
def performer(path):
  """The `va_to_music.performance.PerformanceModel`, likewise."""
  from va_magenta.va_to_music import performance

  return performance.load(path)


@_remembered(checkpoints.EXPRESSION)
def expression(path):
  """The `va_to_music.expression.Expression`, likewise."""
  from va_magenta.va_to_music import expression as expressions

  return expressions.load(path)


@_remembered(checkpoints.ARRANGER)
def arranger(path):
  """The `va_to_music.arranger.Arranger`, likewise."""
  from va_magenta.va_to_music import arranger as arrangers

  return arrangers.load(path)


@_remembered(checkpoints.CRITIC)
def critic(path):
  """The `music_to_va.critic.Critic` of a name or path, likewise."""
  quiet.start_keras()
  from va_magenta.music_to_va import critic as critics

  return critics.load(path)


@_remembered(checkpoints.MUSIC_VAE)
def music_vae(path):
  """The `va_to_music.music_vae.MusicVAE` of a name or path, likewise."""
  quiet.start_keras()
  from va_magenta.va_to_music import configs, magenta_weights
  from va_magenta.va_to_music.music_vae import MusicVAE

  if (path / 'config.json').is_file():
    config = configs.Config.load(path / 'config.json')
    path = path / 'weights.npz'
  else:
    config = configs.guess(magenta_weights.read(path), path)
  model = MusicVAE(config)
  magenta_weights.load(model, path)
  return model


@_remembered(checkpoints.MUSIC_VAE)
def band_model(path):
  """The `va_to_music.band_model.BandModel` of a name or path, likewise."""
  quiet.start_keras()
  from va_magenta.va_to_music import band_model

  return band_model.load(path)


def has_prior(checkpoint: str | os.PathLike) -> bool:
  """Whether a MusicVAE has a learned prior."""
  path = checkpoints.locate(checkpoint, checkpoints.MUSIC_VAE)
  return (path / checkpoints.PRIOR.config_file).is_file()


@_remembered(checkpoints.PLAUSIBILITY)
def plausibility(path):
  """The `plausibility.Plausibility` of a name or path, likewise."""
  from va_magenta.composing import plausibility

  return plausibility.load(path)
