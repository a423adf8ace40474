"""Phrases come from a learned prior where a checkpoint has one."""

import dataclasses

import numpy as np
import pytest

from va_magenta.composing import composer, phrases, request
from va_magenta.music import band
from va_magenta.va import VA
from va_magenta.va_to_music import band_model, configs, forms, prior

_FLAT = configs.Config(
    name='cat-mel_2bar_small', max_seq_len=32, output_depths=(90,),
    level_lengths=None, z_size=8, enc_rnn_size=(4,), dec_rnn_size=(16,),
    control_depth=2)


def _with_prior(folder, config, length):
  keras = pytest.importorskip('keras')
  keras.utils.set_random_seed(0)
  prior.save(prior.LatentPrior(prior.PriorConfig(
      config.z_size, band_model.context_depth(config), length=length, width=8,
      num_blocks=1, num_heads=2)), folder)
  # The first two bars return, again and again; the third row is of no melody.
  form = np.tile(np.arange(16) % 2, (len(forms.ROWS), 1))
  forms.save(forms.Forms(form[None], np.zeros((1, 2))), folder)
  return folder


@pytest.fixture(scope='module')
def flat(tmp_path_factory, write_checkpoint):
  """Melodies of two bars, of which the prior knows four together."""
  return _with_prior(write_checkpoint(
      tmp_path_factory.mktemp('checkpoints') / 'flat', _FLAT), _FLAT, 4)


@pytest.fixture(scope='module')
def trios(tmp_path_factory, write_checkpoint):
  config = dataclasses.replace(
      _FLAT, name='hierdec-trio_16bar', output_depths=(90, 90, 512),
      max_seq_len=256, level_lengths=(8, 32), conductor_control=True)
  return _with_prior(write_checkpoint(
      tmp_path_factory.mktemp('checkpoints') / 'trios', config), config, 1)


def _draw(path=None, n=3, **settings):
  settings = request.Settings(performance='plain', seed=1, **settings)
  structure = phrases.Phrases.load(settings)
  return structure, structure.draw(
      np.random.default_rng(1), path or [VA(0.5, 0.5)], n, settings)


def _bars(candidate):
  return candidate.score[0].reshape(-1, 16, 4)


def test_a_piece_is_as_long_as_the_prior_knows_and_in_a_form(flat):
  structure, candidates = _draw(checkpoint=flat)
  assert structure.chooser == 'melody_plausibility'
  for candidate in candidates:
    bars = _bars(candidate)
    assert bars.shape == (8, 16, 4)
    # What returns does so note for note, but for the last bar.
    for i in range(2, 7):
      np.testing.assert_array_equal(bars[i], bars[i % 2])
    # Who is not there rests.
    assert not bars[..., 1:].any()
    assert candidate.score[1].shape == (16,)
  assert len({c.identity for c in candidates}) == 3


def test_fewer_and_more_phrases_than_the_prior_knows(flat):
  _, short = _draw(checkpoint=flat, bars=2)
  assert _bars(short[0]).shape == (2, 16, 4)
  _, long = _draw(checkpoint=flat, bars=18)
  assert _bars(long[0]).shape == (18, 16, 4)
  _, path = _draw(
      [VA(-.5, -.5), VA(0, 0), VA(.5, .5)], checkpoint=flat)
  assert _bars(path[0]).shape == (12, 16, 4)
  assert len(path[0].sections) == 6


def test_n_0_1_stays(flat):
  structure, candidates = _draw(checkpoint=flat, prior='normal')
  assert structure.chooser is None
  assert _bars(candidates[0]).shape == (2, 16, 4)


def test_drums_and_bass_return_as_the_melody(trios):
  _, candidates = _draw(checkpoint=trios)
  bars = _bars(candidates[0])
  assert bars.shape == (16, 16, 4)
  assert bars[..., band.DRUMS].any()
  np.testing.assert_array_equal(bars[2:14, :, :3], bars[:12, :, :3])


def test_the_likely_one_is_kept(flat, monkeypatch):
  from va_magenta.composing import models

  seen = []

  def likely(tokens, chords):
    seen.append(tokens)
    return 100.0 if len(seen) == 3 else 0.0

  monkeypatch.setattr(models, 'plausibility', lambda name: likely)
  piece, = composer.compose(VA(0.5, 0.5), request.Settings(
      checkpoint=flat, performance='plain', seed=1, candidates=4))
  assert len(seen) == 4
  np.testing.assert_array_equal(piece.score[0], seen[2])
