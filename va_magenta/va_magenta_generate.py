r"""Makes music that feels like a picture, or like a point of the VA plane.

  va_magenta_generate --image=picture.jpg
  va_magenta_generate --valence=0.6 --arousal=-0.4 --num_outputs=3 --bars=8
  va_magenta_generate --image=picture.jpg --program=11 --audio=ogg --overwrite

Says the target more clearly; looks for the notes that say it best; lets nothing
but the notes say it:

  va_magenta_generate --valence=-0.5 --arousal=0.7 --guidance=2
  va_magenta_generate --valence=-0.5 --arousal=0.7 --mode=search \
    --checkpoint=cat-mel_2bar
  va_magenta_generate --valence=-0.5 --arousal=0.7 --performance=plain

A band plays: melody, bass, drums and comping. Chords, key, form and who plays
can be given; or a melody alone, of one of Magenta's configs:

  va_magenta_generate --image=picture.jpg --chords="C G Am F" --key="C major"
  va_magenta_generate --image=picture.jpg --voices=melody,comping --form=AABA
  va_magenta_generate --image=picture.jpg --checkpoint=cat-mel_2bar

Leads from mood to mood, by points or pictures; and accompanies a melody of
yours as a mood asks:

  va_magenta_generate --va_path=-0.5,-0.5:0.2,0.1:0.6,0.7 --bars=16
  va_magenta_generate --image=rain.jpg --image=meadow.jpg
  va_magenta_generate --image=clip.gif --frames=8
  va_magenta_generate --input=melody.mid --valence=-0.6 --arousal=-0.5

It writes NAME-1.mid and so on, NAME.json (where the picture and each piece lie
on the plane, how far people are expected to be from the picture's point
(image_spread), how it is played, the seed, versions) and NAME.png (the plane,
with that spread as an ellipse), and prints their paths.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

_IMAGE = command.DEFINE_multi_path(
    'image', None, 'Picture file that the music shall feel like; may be given '
    'again, and the music leads from one picture to the next.')
_FRAMES = flags.DEFINE_integer(
    'frames', None, 'Of an animated --image (GIF, WEBP, PNG): how many frames, '
    'from the first to the last, the music follows.')
_VALENCE = flags.DEFINE_float(
    'valence', None,
    'Instead of --image: from -1 (unpleasant) to 1 (pleasant).')
_AROUSAL = flags.DEFINE_float(
    'arousal', None, 'Instead of --image: from -1 (calm) to 1 (excited).')
_VA_PATH = flags.DEFINE_string(
    'va_path', None, 'Instead of one point, several that the music leads to in '
    'turn: valence,arousal:valence,arousal and so on.')
_INPUT = command.DEFINE_path(
    'input', None, 'MIDI file with a melody, in 4/4. A band keeps it note for '
    'note, harmonised and accompanied as suits the target; a model of melodies '
    'plays it again in that mood; not for trios.')
_CHECKPOINT = command.DEFINE_path(
    'checkpoint', 'band',
    'What writes the notes: band, for melody, bass, drums and comping; '
    'cat-mel_2bar or hierdec-mel_16bar, for a melody; hierdec-trio_16bar, for '
    'melody, bass and drums; or the path of a folder, a .tar or the prefix of '
    'a TensorFlow checkpoint.')
_CHORDS = flags.DEFINE_string(
    'chords', None, 'Chords that a band keeps to the letter, one a bar, "C G '
    'Am F", or with bar lines up to two in each, "C | Am G | F"; repeated to '
    'the end.')
_KEY = flags.DEFINE_string(
    'key', None, 'Key of a band: "A minor", "Eb"; by default as suits the '
    'target.')
_FORM = flags.DEFINE_string(
    'form', None, 'Form of a band: a letter for each two bars, AABA; those of '
    "the same letter return. By default drawn as people's music has it.")
_VOICES = flags.DEFINE_list(
    'voices', None, 'Which voices of a band play, of melody, bass, drums and '
    'comping; by default all, drums as is usual for the target.')
_BAND = flags.DEFINE_list(
    'band', None, 'Who plays in a band, by the names of General MIDI: '
    'piano,strings,bass,drums. Of those that are no bass or drums the first '
    'plays the melody, the second the comping; who is not named rests.')
_PRIOR = flags.DEFINE_enum(
    'prior', 'learned', ['learned', 'normal'], 'Where latent vectors come '
    "from: the checkpoint's prior, learned of music, if it has one; or N(0, 1)."
    )
_LOOP = flags.DEFINE_boolean(
    'loop', False, 'Of a band: no ending, the end leads back to the beginning; '
    '.wav is exact to the sample, with what rings on wrapped round.')
_OUTPUT_DIR = command.DEFINE_path(
    'output_dir', 'va_magenta_output', 'Folder to write to.')
_NUM_OUTPUTS = flags.DEFINE_integer(
    'num_outputs', 1, 'How many pieces to write.')
_CANDIDATES = flags.DEFINE_integer(
    'candidates', None, 'How many pieces to make; the nearest are written. By '
    'default 16 of a band, 64 of others.')
_CANDIDATE = flags.DEFINE_integer(
    'candidate', None, 'Write this one of the candidates, as the .json of an '
    'earlier run has it: with its --seed, the same piece with other --chords '
    'or another --key.')
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 0.5, 'Of the draws; 0 takes the likeliest note every time.')
_GUIDANCE = flags.DEFINE_float(
    'guidance', 1.0, 'How clearly the target is said: 1 as in the music that '
    'was learned from, 2 or 3 exaggerate, 0 ignores it.')
_MODE = flags.DEFINE_enum(
    'mode', 'sample', ['sample', 'search'], 'Whether to draw latent vectors, '
    'or to search for those whose notes come nearest the target; slower.')
_PERFORMANCE = flags.DEFINE_enum(
    'performance', 'learned', ['learned', 'plain'], 'Whether tempo, loudness, '
    'articulation, register and instruments suit the target, or nothing but '
    'notes differs between pieces.')
_SEED = flags.DEFINE_integer(
    'seed', None, 'The same seed gives the same notes; by default another one '
    'every time (the .json tells).')
_BARS = flags.DEFINE_integer(
    'bars', None, "Length of a piece: a multiple of the model's phrase, of 2 "
    'bars, or 16 of hierdec models; by default 16, of slow music of a band 12 '
    'or 8, in 40 seconds at most; one phrase of a checkpoint without a prior. '
    'Of several points or pictures at least two phrases each, or, of hierdec '
    'models, a segment each.')
_SECONDS = flags.DEFINE_float(
    'seconds', None, 'Of a band, instead of --bars: how long a piece is; bars '
    'and tempo are what brings it there.')
_TEMPO_QPM = flags.DEFINE_float(
    'tempo_qpm', None, 'Quarter notes a minute; by default as suits the '
    'target.')
_PROGRAM = flags.DEFINE_integer(
    'program', None, 'General MIDI program of the melody, from 0; 0 is the '
    'grand piano; by default as suits the target.')
_IMAGE_MODEL = command.DEFINE_path(
    'image_model', None, 'Image model of your own: the --run_dir of '
    'va_magenta_train_image.')
_ESTIMATOR = command.DEFINE_path(
    'estimator', None, 'Model that selects among candidates: the --run_dir of '
    'va_magenta_train_midi --model=student.')
_PERFORMANCE_MODEL = command.DEFINE_path(
    'performance_model', None, 'Model of performances: the --run_dir of '
    'va_magenta_train_performance.')
_CRITIC = command.DEFINE_path(
    'critic', None, 'Critic for --mode=search and --input: the --run_dir of '
    'va_magenta_train_midi --model=critic.')
_AUDIO = command.DEFINE_optional_enum(
    'audio', ['wav', 'flac', 'ogg', 'mp3'], 'Also write sound, played by '
    'FluidSynth; all pieces equally loud.')
_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play it with; by default the best of the '
    'system, or a small one (the .json tells).')
_SCORE = flags.DEFINE_boolean(
    'score', False, 'Also write .musicxml, with parts, chords and tempo, which '
    'notation programs open: pip install "va_magenta[score]".')
_VIDEO = flags.DEFINE_boolean(
    'video', False, 'Also write .mp4 of the picture and the sound; several '
    'pictures fade where the music turns: pip install "va_magenta[video]".')
_ROLL = flags.DEFINE_boolean(
    'roll', False, 'Also write .png of each piece: its piano roll, chords '
    'above.')
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace files that exist.')


def main(argv: Sequence[str]):
  """Checks that there is nothing but flags, generates, prints the paths."""
  if argv[1:]:
    raise ValueError(
        f'unexpected argument {argv[1]!r}: a picture is given by --image')
  from va_magenta import generation

  generation.generate_and_save(
      _one_or_all(_IMAGE.value),
      valence=_VALENCE.value,
      arousal=_AROUSAL.value,
      va_path=_VA_PATH.value and _points(_VA_PATH.value),
      frames=_FRAMES.value,
      output_dir=_OUTPUT_DIR.value,
      audio=_AUDIO.value,
      soundfont=_SOUNDFONT.value,
      score=_SCORE.value,
      video=_VIDEO.value,
      roll=_ROLL.value,
      overwrite=_OVERWRITE.value,
      checkpoint=_CHECKPOINT.value,
      num_outputs=_NUM_OUTPUTS.value,
      candidates=_CANDIDATES.value,
      candidate=_CANDIDATE.value,
      temperature=_TEMPERATURE.value,
      guidance=_GUIDANCE.value,
      mode=_MODE.value,
      performance=_PERFORMANCE.value,
      seed=_SEED.value,
      bars=_BARS.value,
      seconds=_SECONDS.value,
      tempo_qpm=_TEMPO_QPM.value,
      program=_PROGRAM.value,
      input=_INPUT.value,
      chords=_CHORDS.value,
      key=_KEY.value,
      form=_FORM.value,
      voices=_VOICES.value,
      band=_BAND.value,
      prior=_PRIOR.value,
      loop=_LOOP.value,
      image_model=_IMAGE_MODEL.value,
      estimator=_ESTIMATOR.value,
      performance_model=_PERFORMANCE_MODEL.value,
      critic=_CRITIC.value,
      report=_report)


def _report(saved):
  command.print_all(
      'target: ' + '; '.join(map(_coordinates, saved.path)),
      *(f'{path}: {_coordinates(piece.va)}, distance {piece.distance:.2f}'
        for piece, path in zip(saved.pieces, saved.midi_paths, strict=True)),
      *map(str, saved.paths[len(saved.pieces):]))


def _one_or_all(values):
  return values[0] if values and len(values) == 1 else values


def _points(text: str) -> list[tuple[float, float]]:
  try:
    points = [
        tuple(map(float, point.split(','))) for point in text.split(':')]
  except ValueError:
    points = []
  if not points or any(len(point) != 2 for point in points):
    raise ValueError(
        '--va_path must be valence,arousal:valence,arousal and so on, got '
        f'{text!r}')
  return points


def _coordinates(va) -> str:
  return f'valence {va.valence:+.2f}, arousal {va.arousal:+.2f}'


def console_entry_point():
  """The installed command."""
  command.run(main, takes_arguments=True)


if __name__ == '__main__':
  console_entry_point()
