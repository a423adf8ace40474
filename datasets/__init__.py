"""TensorFlow Datasets builders of va_magenta, one folder each."""
