"""Fixtures of the picture model's tests."""

import keras
import numpy as np
import pytest


@pytest.fixture(scope='session')
def randomize():
  """Gives a network kernels so large that pictures differ at its end."""
  def function(network):
    rng = np.random.default_rng(0)
    for layer in network.layers:
      if layer.weights:
        kernel = layer.kernel
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        fan_in = np.prod(kernel.shape[:2]) * (
            1 if depthwise else kernel.shape[2])
        kernel.assign(rng.normal(0, (2 / fan_in)**0.5, kernel.shape))
    return network

  return function
