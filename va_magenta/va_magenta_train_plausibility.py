r"""Trains what chooses, among candidates, those that are as people write.

  va_magenta_train_plausibility --generated_path=PIECES.npz \
    --band_path=BAND.npz --run_dir=checkpoints/plausibility

PIECES.npz holds generated bands of 16 bars: tokens [n, steps, 4], chords
[n, steps / 8] and groups [n], one number a target; BAND.npz is the corpus of
bands. Writes to --run_dir what `plausibility.load` reads, with a card
(README.md). About a minute.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_GENERATED_PATH = command.DEFINE_path(
    'generated_path', None, 'Generated pieces: .npz of tokens, chords, groups.',
    required=True)
_BAND_PATH = command.DEFINE_path(
    'band_path', None, 'The corpus of bands, .npz.', required=True)
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Where to write the model and its card.', required=True)
_SEED = flags.DEFINE_integer('seed', 0, 'Of windows, folds and trees.')


def main(argv: Sequence[str]):
  """Runs the command."""
  from va_magenta.training import plausibility

  plausibility.run(
      _GENERATED_PATH.value, _BAND_PATH.value, _RUN_DIR.value, _SEED.value)


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
