"""Makes music that feels like a picture, or like a point of the VA plane.

  va_magenta_generate --image=picture.jpg
  va_magenta_generate --valence=0.6 --arousal=-0.4 --num_outputs=3 --bars=8
  va_magenta_generate --image=picture.jpg --program=11 --audio --overwrite

It writes NAME-1.mid and so on, NAME.json (where the picture and each piece lie
on the plane, the seed, versions) and NAME.png (the plane), and prints their
paths.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_IMAGE = flags.DEFINE_string(
    'image', None, 'Picture file that the music shall feel like.')
_VALENCE = flags.DEFINE_float(
    'valence', None,
    'Instead of --image: from -1 (unpleasant) to 1 (pleasant).')
_AROUSAL = flags.DEFINE_float(
    'arousal', None, 'Instead of --image: from -1 (calm) to 1 (excited).')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', 'cat-mel_2bar',
    "MusicVAE of melodies: cat-mel_2bar ships; Magenta's cat-mel_2bar_big and "
    'hierdec-mel_16bar are fetched; or the path of a folder, a .tar or the '
    'prefix of a TensorFlow checkpoint.')
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', 'va_magenta_output', 'Folder to write to.')
_NUM_OUTPUTS = flags.DEFINE_integer(
    'num_outputs', 1, 'How many pieces to write.')
_CANDIDATES = flags.DEFINE_integer(
    'candidates', 64, 'How many pieces to draw; the nearest are written.')
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 0.5, 'Of the draws; 0 takes the likeliest note every time.')
_SEED = flags.DEFINE_integer(
    'seed', None, 'The same seed gives the same notes; by default another one '
    'every time (the .json tells).')
_BARS = flags.DEFINE_integer(
    'bars', None, "Length of a piece: a multiple of the model's phrase, which "
    'is the default (2 bars; 16 for hierdec-mel_16bar).')
_TEMPO_QPM = flags.DEFINE_float(
    'tempo_qpm', None, 'Quarter notes a minute; by default each candidate '
    'draws its own.')
_PROGRAM = flags.DEFINE_integer(
    'program', 0, 'General MIDI program, from 0; 0 is the grand piano.')
_AUDIO = flags.DEFINE_boolean(
    'audio', False, 'Also write .wav, rendered by FluidSynth.')
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace files that exist.')


def main(argv: Sequence[str]):
  """Checks that there is nothing but flags, generates, prints the paths."""
  if argv[1:]:
    raise ValueError(
        f'unexpected argument {argv[1]!r}: a picture is given by --image')
  from va_magenta import generation

  saved = generation.generate_and_save(
      _IMAGE.value,
      valence=_VALENCE.value,
      arousal=_AROUSAL.value,
      output_dir=_OUTPUT_DIR.value,
      audio=_AUDIO.value,
      overwrite=_OVERWRITE.value,
      checkpoint=_CHECKPOINT.value,
      num_outputs=_NUM_OUTPUTS.value,
      candidates=_CANDIDATES.value,
      temperature=_TEMPERATURE.value,
      seed=_SEED.value,
      bars=_BARS.value,
      tempo_qpm=_TEMPO_QPM.value,
      program=_PROGRAM.value)
  print(f'target: {_coordinates(saved.target)}')
  for piece, path in zip(saved.pieces, saved.midi_paths, strict=True):
    print(
        f'{path}: {_coordinates(piece.va)}, '
        f'distance {piece.va.distance(saved.target):.2f}')
  for path in saved.paths[len(saved.pieces):]:
    print(path)


def _coordinates(va) -> str:
  return f'valence {va.valence:+.2f}, arousal {va.arousal:+.2f}'


def console_entry_point():
  """The installed command."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
