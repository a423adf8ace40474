"""Starts Keras without the lines that TensorFlow prints meanwhile."""

import os
import sys


def start_keras():
  """Imports Keras without the lines that TensorFlow's C++ prints meanwhile.

  From 2.19 on it obeys no setting before its log is initialized, which it never
  is (github.com/tensorflow/tensorflow/issues/100442). Python's errors are
  raised as ever.

  Raises:
    ImportError: if Keras is set to a backend that is not installed.
  """
  if 'keras' in sys.modules:
    return
  if sys.stderr is not None:
    sys.stderr.flush()
  try:
    terminal = os.dup(2)
  except OSError:  # Stderr is closed: nothing can be printed there.
    terminal = None
  try:
    with open(os.devnull, 'wb') as null:
      os.dup2(null.fileno(), 2)
    import keras
    keras.ops.zeros(())  # Starts the devices: the last that prints.
  except ImportError as error:
    backend = os.environ.get('KERAS_BACKEND', 'tensorflow')
    if backend == 'tensorflow':
      raise
    raise ImportError(
        f'KERAS_BACKEND is {backend}, and cannot be imported ({error}): '
        'va_magenta is made for tensorflow') from error
  finally:
    if terminal is not None:
      os.dup2(terminal, 2)
      os.close(terminal)
