"""What is said of a piece holds for the file that is written."""

import pytest

import va_magenta
from va_magenta import prediction


@pytest.mark.parametrize('settings', [
    {'valence': 0.4, 'arousal': 0.6, 'seed': 4},
    {'valence': -0.7, 'arousal': -0.2, 'seed': 1, 'num_outputs': 3},
    {'va_path': [(-0.6, -0.5), (0.5, 0.8)], 'seed': 2},
    {'valence': 0.1, 'arousal': 0.2, 'seed': 3, 'candidates': 4,
     'checkpoint': 'va-hierdec-trio_16bar_small'},
])
def test_va_of_a_piece_is_that_of_its_file(settings, tmp_path):
  saved = va_magenta.generate_and_save(
      output_dir=tmp_path, **{'candidates': 8, **settings})
  read = prediction.predict(saved.midi_paths)
  for piece, found in zip(saved.pieces, read, strict=True):
    assert found.va.valence == pytest.approx(piece.va.valence, abs=1e-6)
    assert found.va.arousal == pytest.approx(piece.va.arousal, abs=1e-6)
