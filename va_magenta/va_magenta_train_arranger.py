r"""Trains what arranges a band: who comes in when, fills, an arc of loudness.

  va_magenta_train_arranger --band_path=band.npz --midi_dir=LAKH \
    --run_dir=checkpoints/arranger_va

Learns from a corpus of bands as `va_magenta_train --prior_of` writes it, and
from the loudness of the files it was read from (0/MD5.mid to f/MD5.mid). Writes
to --run_dir what `arranger.load` reads, with a card (README.md). Some minutes
on one core.
"""

from collections.abc import Sequence

from va_magenta import command

_BAND_PATH = command.DEFINE_path(
    'band_path', None, 'Corpus of bands, with labels.', required=True)
_MIDI_DIR = command.DEFINE_path(
    'midi_dir', None, 'Folder of the MIDI files: 0/MD5.mid to f/MD5.mid.',
    required=True)
_RUN_DIR = command.DEFINE_path(
    'run_dir', None, 'Where to write the model and its card.', required=True)


def main(argv: Sequence[str]):
  """Runs the command."""
  del argv  # Unused.
  import pathlib

  from va_magenta.training import arranging, band_corpus

  arranging.run(
      corpus=band_corpus.load(_BAND_PATH.value),
      midi_dir=pathlib.Path(_MIDI_DIR.value),
      run_dir=pathlib.Path(_RUN_DIR.value),
      command='va_magenta_train_arranger --band_path=BAND --midi_dir=LAKH \\\n'
              '      --run_dir=checkpoints/arranger_va',
      report=print)


def console_entry_point():
  """Entry point of the installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
