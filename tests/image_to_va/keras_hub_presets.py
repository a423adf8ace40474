"""Backbones of KerasHub; `test_backbones.py` runs this file."""

import keras
import keras_hub
import numpy as np
import pytest

from va_magenta.image_to_va import model


@pytest.fixture
def clip_preset(tmp_path):
  """A folder with a tiny random CLIP, as KerasHub saves it."""
  keras.utils.set_random_seed(0)
  sizes = dict(num_layers=1, num_heads=2, intermediate_dim=8)
  backbone = keras_hub.models.CLIPBackbone(
      keras_hub.models.CLIPVisionEncoder(
          patch_size=8, hidden_dim=8, image_shape=(32, 32, 3), name='vision',
          **sizes),
      keras_hub.models.CLIPTextEncoder(
          vocabulary_size=9, embedding_dim=8, hidden_dim=8,
          max_sequence_length=4, name='text', **sizes),
      projection_dim=6)
  backbone.save_to_preset(tmp_path / 'clip')
  keras_hub.layers.ImageConverter(
      image_size=(32, 32), scale=1 / 255).save_to_preset(tmp_path / 'clip')
  return tmp_path / 'clip', backbone


def test_a_preset_of_keras_hub(clip_preset):
  folder, backbone = clip_preset
  config = model.Config(
      backbones=(str(folder),), image_height=48, image_width=64)
  features = model.build_features(config, pretrained=True)
  assert features.output_shape == (None, 2 * 8 + 6)
  picture = np.full((1, 48, 64, 3), (200, 20, 90), np.float32)
  embedding = backbone.get_vision_embeddings(picture[:, :32, :32] / 255)
  np.testing.assert_allclose(
      features(picture)[:, -6:], embedding, rtol=1e-3, atol=1e-4)
  # Without what was learned it is another: weights come with a checkpoint.
  random = model.build_features(config)
  assert np.abs(random(picture) - features(picture)).max() > 1e-3
  random.set_weights(features.get_weights())
  np.testing.assert_allclose(random(picture), features(picture), atol=1e-5)


def test_a_preset_that_is_not(tmp_path):
  with pytest.raises(ValueError, match='cannot load the preset') as error:
    model.build_features(model.Config(backbones=(str(tmp_path / 'none'),)))
  assert '\n' not in str(error.value)
