"""A band's prior is learned from segments that follow each other in one key."""

import dataclasses

import numpy as np
import pytest

from va_magenta.music import band, chords
from va_magenta.training import band_corpus
from va_magenta.training import latents as latents_of
from va_magenta.va_to_music import band_model, configs, forms, music_vae


@pytest.fixture(scope='module')
def corpus():
  """A held-out piece in C and one in D that moves to E flat after 20 bars."""
  def piece(num_bars, tonic):
    tokens = np.zeros((num_bars * 16, 4), np.uint16)
    steps = np.arange(0, num_bars * 16, 4)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    tokens[steps, band.MELODY] = 60 + tonic + scale[(steps // 4) % 8] - 19
    tokens[::16, band.BASS] = 36 + tonic - 19
    tokens[::16, band.COMPING] = band.STRUCK
    return tokens, np.full(num_bars * 2, chords.chord_of(tonic, 'maj'))
  parts = [piece(20, 0), piece(20, 2), piece(18, 3)]
  tokens, progression = (np.concatenate(x) for x in zip(*parts, strict=True))
  return band_corpus.Corpus(
      tokens, progression.astype(np.uint8), np.full((58, 2), 30, np.int8),
      np.repeat([0, 2, 3], [20, 20, 18]).astype(np.int8),
      np.array([20, 38], np.int32), np.full(2, 100, np.float32),
      ['00' + 'a' * 30, '01' + 'a' * 30])


@pytest.fixture(scope='module')
def vae():
  return music_vae.MusicVAE(configs.Config(
      name='va-cat-band_2bar', max_seq_len=32,
      output_depths=band.OUTPUT_DEPTHS, level_lengths=None, z_size=4,
      enc_rnn_size=(4,), dec_rnn_size=(8,), control_depth=31,
      context_depth=29, structure='band'))


def test_windows_are_of_one_key_and_one_split(corpus, vae, tmp_path):
  latents = latents_of.read(vae, corpus, tmp_path)
  # Of 20 bars 3 windows of 16, every 2 bars; of 18 bars 2.
  assert latents.rows['validation'].shape == (3, 8)
  assert latents.rows['train'].shape == (5, 8)
  assert latents.shares.tolist() == [1] * 5
  assert latents.context.shape[1] == band_model.context_depth(vae.config)
  # In the key without accidentals all are the same chord.
  features = latents.context[:, 4:104].reshape(-1, 25)
  assert (features == chords.FEATURES[chords.parse('C')]).all()
  # Melody, bass and comping play, drums do not.
  assert latents.context[:, :4].tolist() == [[1, 1, 0, 1]] * len(latents.mu)
  np.testing.assert_allclose(latents.va, 0.3)
  # Each piece has one first and one last segment.
  assert latents.context[:, 104].sum() == latents.context[:, 105].sum() == 2
  first = latents.rows['train'][0, 0]
  assert latents.context[first, 104] == 1
  again = latents_of.read(vae, corpus, tmp_path)
  np.testing.assert_array_equal(latents.mu, again.mu)
  np.testing.assert_array_equal(
      latents.mu[0].astype(np.float32),
      _encode_first(vae, corpus).astype(np.float16))


def _encode_first(vae, corpus):
  tokens, progression, va, plays = corpus.cut(np.array([0]), 2)
  return vae.encode(
      tokens, band.controls(va[:, 0], plays, progression))[0][0]


def test_a_corpus_without_windows_is_refused(corpus, vae):
  short = band_corpus.Corpus(
      corpus.tokens[:128], corpus.chords[:16], corpus.va[:8],
      corpus.signature[:8], np.array([8], np.int32), corpus.tempo_qpm[:1],
      corpus.names[:1])
  with pytest.raises(ValueError, match='no 16 bars'):
    latents_of.read(vae, short)


def test_segments_of_a_melody_are_alike_for_alike():
  melody = np.zeros(128, int)
  for segment, pitch in enumerate((60, 62, 60, 60)):
    melody[segment * 32:segment * 32 + 32:4] = pitch
  assert band_model.form_of(melody) == 'ABAA'
  melody[96] = 70  # One note of eight is another: 7 of 9 are alike.
  assert band_model.form_of(melody) == 'ABAC'


def test_forms_are_of_bands_that_all_play_and_are_not_held_out(
    corpus, tmp_path):
  with pytest.raises(ValueError, match='melody, bass, drums, comping play'):
    latents_of.find_forms(corpus)
  drums = corpus.tokens.copy()
  drums[::4, band.DRUMS] = 1
  found = latents_of.find_forms(dataclasses.replace(corpus, tokens=drums))
  # Two windows of the one piece.
  assert found.forms.shape == (2, len(forms.ROWS), 16)
  np.testing.assert_allclose(found.va, 0.3)
  # The scale fills two bars; its rhythm is always the same.
  np.testing.assert_array_equal(
      found.forms[0, 0, :4], [0, 1, 0, 1])
  np.testing.assert_array_equal(found.forms[0, 1], 0)
  forms.save(found, tmp_path)
  again = forms.load(tmp_path)
  np.testing.assert_array_equal(again.forms, found.forms)
  (tmp_path / 'forms.json').write_text('{"rows": ["melody"], "bars": 16}')
  with pytest.raises(ValueError, match='rows'):
    forms.load(tmp_path)
