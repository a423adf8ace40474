"""Where in a picture the model finds what its estimate hangs on.

SmoothGrad squared (Smilkov et al. 2017, "SmoothGrad: removing noise by adding
noise"; squared as in Hooker et al. 2019, "A Benchmark for Interpretability
Methods in Deep Neural Networks", which finds it the better for it): the
gradient of the estimate with respect to the pixels, squared, and averaged over
noisy copies of the picture. What is large is where a small change of the
picture would change the estimate most. It does not say in which direction, and
nothing about what people look at.

  from va_magenta.image_to_va import images, model, saliency
  of_valence, of_arousal = saliency.saliency(
      model.load(), images.load_image('picture.jpg'))
"""

import numpy as np
from PIL import Image

# Standard deviation of the noise as a share of the picture's range of levels
# (Smilkov et al. recommend 0.1 to 0.2).
NOISE = 0.15
# Twice as many take twice as long and change the maps by hardly 1% (r > 0.98).
NUM_SAMPLES = 8
# Single pixels' gradients say nothing; this is the standard deviation of the
# blur as a share of the network's shorter side.
BLUR = 0.035
# Copies a call of the network: a gradient keeps every layer's activations.
_BATCH_SIZE = 4


def saliency(
    model,
    image: np.ndarray,
    *,
    num_samples: int = NUM_SAMPLES,
    seed: int = 0,
) -> np.ndarray:
  """How much valence and arousal hang on each position of a picture.

  Args:
    model: what `model.load` gives; its `network` and `config` are used.
    image: uint8 RGB [height, width, 3].
    num_samples: noisy copies to average over.
    seed: of the noise; the same seed gives the same maps.

  Returns:
    float32 [2, image_height, image_width] in the network's own size, to be
    stretched over the picture: for valence and for arousal, each position's
    share. A map sums to 1, or is 0 throughout where the estimate does not
    depend on the picture.
  """
  from scipy import ndimage

  size = (model.config.image_width, model.config.image_height)
  pixels = np.asarray(
      Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float32)
  rng = np.random.default_rng(seed)
  # A picture of one color has no range, and needs noise all the same.
  noise_std = NOISE * max(np.ptp(pixels), 16)
  total = np.zeros((2, *pixels.shape[:2]))
  for start in range(0, num_samples, _BATCH_SIZE):
    noise = rng.standard_normal(
        (min(_BATCH_SIZE, num_samples - start), *pixels.shape), np.float32)
    gradients = _gradients(
        model.network, np.float32(pixels + noise_std * noise))
    total += np.square(gradients, dtype=np.float64).sum(axis=(1, 4))
  magnitude = np.sqrt(total)
  maps = np.stack([
      ndimage.gaussian_filter(m, BLUR * min(size)) for m in magnitude])
  sums = maps.sum(axis=(1, 2), keepdims=True)
  return np.float32(maps / np.where(sums > 0, sums, 1))


def _gradients(network, batch: np.ndarray) -> np.ndarray:
  """Of both outputs with respect to pixels: [2, *batch.shape].

  Keras has no gradients of its own, so here is TensorFlow.
  """
  import tensorflow as tf

  batch = tf.convert_to_tensor(batch)
  with tf.GradientTape(
      persistent=True, watch_accessed_variables=False) as tape:
    tape.watch(batch)
    outputs = network(batch, training=False)
    axes = [outputs[:, axis] for axis in range(2)]
  return np.stack([
      tape.gradient(  # pyright: ignore
          axis, batch, unconnected_gradients=tf.UnconnectedGradients.ZERO)
      for axis in axes])
