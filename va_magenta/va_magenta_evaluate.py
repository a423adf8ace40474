r"""Measures how well music follows the VA that it was asked for.

The generator is asked for a grid of points of the plane, again and again, and
judges that had no part in making the music say where it lies:

  va_magenta_evaluate --output_dir=evaluation

Beside the generator stand what its parts do alone (unselected: one candidate;
plain: nothing but notes differs) and baselines: pieces drawn without knowing
the target, the nearest of 16 and of 64 of these, and a template made by hand.
Further systems are the generator with other settings:

  va_magenta_evaluate --output_dir=evaluation \
    --system='no va_loss:checkpoint=runs/no_va_loss' \
    --system='guided:guidance=3,candidates=1'

Whole pieces, of 16 bars or more, are also asked whether they come back to what
they played as pieces by people do (with --examples_path):

  va_magenta_evaluate --output_dir=evaluation --bars=16 \
    --checkpoint=hierdec-mel_16bar --examples_path=DATA/lmd \
    --system='chained:checkpoint=cat-mel_2bar'

With data at hand there is more to say: quadrants as EMOPIA's listeners rated
them, melodies and reconstruction against melodies that people wrote, and from
OASIS's rated pictures to music:

  va_magenta_evaluate --output_dir=evaluation --emopia_dir=DATA/emopia \
    --examples_path=DATA/lmd --oasis_dir=DATA/oasis --audio

How well music is told from music by people, without composing anything: of
folders of MIDI files (their melodies), or of .npz of bands' tokens

  va_magenta_evaluate --people=mine,pieces.npz --output_dir=people

writes people.md, people.json and people.png; with --band_path, the corpus, also
which runs of notes are copied from it, and people.npz.

A listening test to take away, one page that works without a network, of pieces
that va_magenta_generate wrote (and of MIDI files by people), and what listeners
answered, as they saved it:

  va_magenta_generate --image=a.jpg --output_dir=pieces
  va_magenta_generate --image=b.jpg --output_dir=pieces
  va_magenta_evaluate --listening_test=pieces --people_midi=midi \
    --output_dir=test
  va_magenta_evaluate --listening_answers=anna.csv,ben.csv --output_dir=test

It prints its tables and writes them to --output_dir, with report.json, plots
and index.html, a page of the grid's music to listen to. Started again, a run
that was killed goes on where it stood.
"""

from collections.abc import Sequence

from absl import flags

from va_magenta import command

# What is compared if --systems says nothing; 'asked' is the generator.
_BUILT_IN = (
    'asked', 'unselected', 'plain', 'unconditioned', 'best of 16', 'best of 64',
    'template')

_OUTPUT_DIR = command.DEFINE_path(
    'output_dir', 'va_magenta_evaluation', 'Folder to write to.')
_SYSTEMS = flags.DEFINE_list(
    'systems', list(_BUILT_IN),
    'Which of these to compare; the first is what the others are measured by.')
_SYSTEM = flags.DEFINE_multi_string(
    'system', [],
    'A further one, NAME:SETTING=VALUE,SETTING=VALUE with settings of '
    'va_magenta_generate, such as checkpoint, candidates, guidance, '
    'performance. May be given several times.')
_CHECKPOINT = command.DEFINE_path(
    'checkpoint', None, 'MusicVAE of the generator; see va_magenta_generate.')
_CANDIDATES = flags.DEFINE_integer(
    'candidates', None, 'Pieces that the generator makes for each that is kept '
    "(its own default if not given); the student of the generator's half of "
    'EIMG selects.')
_GUIDANCE = flags.DEFINE_float(
    'guidance', None, 'How clearly the generator says the target; see '
    'va_magenta_generate.')
_BARS = flags.DEFINE_integer(
    'bars', None, 'Length of all pieces; if not given, a phrase of each '
    'checkpoint.')
_PRIOR_CHECKPOINT = command.DEFINE_path(
    'prior_checkpoint', 'cat-mel_2bar_small',
    'MusicVAE of what is drawn without knowing the target.')
_GRID = flags.DEFINE_integer('grid', 9, 'Targets a side.')
_NUM_SEEDS = flags.DEFINE_integer(
    'num_seeds', 20, 'How often all targets are asked for.')
_SEED = flags.DEFINE_integer(
    'seed', 0, 'The first of the seeds, and of all that is drawn.')
_NUM_HEARD = flags.DEFINE_integer(
    'num_heard', 12, 'Pieces of each system that are judged by their sound, '
    'about a second each; 0 for none.')
_EMOPIA_DIR = command.DEFINE_path(
    'emopia_dir', None, 'Folder of EMOPIA: label.csv and midi/.')
_EXAMPLES_PATH = command.DEFINE_path(
    'examples_path', None,
    'MIDI files by people, as in va_magenta_train: the pieces that it holds '
    'out are compared with.')
_CACHE_DIR = command.DEFINE_path(
    'cache_dir', None, 'Folder of the converted examples, as in '
    'va_magenta_train; in output_dir if not given.')
_OASIS_DIR = command.DEFINE_path(
    'oasis_dir', None, 'Folder of OASIS: OASIS.csv and images/.')
_NUM_PICTURES = flags.DEFINE_integer(
    'num_pictures', 100, 'Of these so many, drawn at random.')
_NUM_PICTURE_SEEDS = flags.DEFINE_integer(
    'num_picture_seeds', 4, 'Pieces for each picture.')
_IMAGE_MODEL = command.DEFINE_path(
    'image_model', None, 'Image model of your own, for --oasis_dir: the '
    '--run_dir of va_magenta_train_image.')
_ESTIMATOR = command.DEFINE_path(
    'estimator', None, 'What selects among candidates: the --run_dir of '
    'va_magenta_train_midi --model=student. By default the one of half of '
    'EIMG that the judges do not know.')
_PERFORMANCE_MODEL = command.DEFINE_path(
    'performance_model', None, 'Model of performances of your own: the '
    '--run_dir of va_magenta_train_performance.')
_OVERWRITE = flags.DEFINE_boolean(
    'overwrite', False, 'Replace an earlier report.')
_AUDIO = flags.DEFINE_boolean(
    'audio', False, "Also write the first system's grid as .wav.")
_SOUNDFONT = command.DEFINE_path(
    'soundfont', None, '.sf2 file to play it with; by default the best of the '
    'system, or a small one.')
_PEOPLE = flags.DEFINE_list(
    'people', None, "Folders of MIDI files, or .npz of bands' tokens: only "
    'says how well these are told from music by people.')
_BAND_PATH = command.DEFINE_path(
    'band_path', None, 'With --people: the corpus of bands, .npz, in place of '
    'the table of its measures that ships.')

_LISTENING_TEST = flags.DEFINE_list(
    'listening_test', None, 'Folders that va_magenta_generate wrote to: only '
    'writes a page for listeners, and its key, to --output_dir.')
_PEOPLE_MIDI = command.DEFINE_path(
    'people_midi', None, 'With --listening_test: folder of MIDI files by '
    'people, which are played among ours.')
_NUM_LISTENED = flags.DEFINE_integer(
    'num_listened', 12, 'With --listening_test: at most so many pieces of '
    "ours, and of people's.", lower_bound=2)
_LISTENING_ANSWERS = flags.DEFINE_list(
    'listening_answers', None, 'CSV files that listeners saved: only says how '
    'they agree with what was asked for and with the judges; the key of the '
    'test is in --output_dir.')


def main(argv: Sequence[str]):
  """Evaluates as the flags say."""
  if sum(map(bool, (
      _PEOPLE.value, _LISTENING_TEST.value, _LISTENING_ANSWERS.value))) > 1:
    raise ValueError(
        'give one of --people, --listening_test and --listening_answers')
  if _PEOPLE.value:
    _as_people_write(_PEOPLE.value)
    return
  if _LISTENING_TEST.value or _LISTENING_ANSWERS.value:
    _listen()
    return
  import pathlib

  from va_magenta import files
  from va_magenta.evaluation import study

  report = pathlib.Path(_OUTPUT_DIR.value) / 'report.json'
  if report.exists():
    files.check_outputs([report], overwrite=_OVERWRITE.value)

  study.run(
      _systems(), _OUTPUT_DIR.value,
      study.Options(
          grid=_GRID.value,
          num_seeds=_NUM_SEEDS.value,
          seed=_SEED.value,
          num_heard=_NUM_HEARD.value,
          emopia_dir=_EMOPIA_DIR.value,
          examples_path=_EXAMPLES_PATH.value,
          cache_dir=_CACHE_DIR.value,
          oasis_dir=_OASIS_DIR.value,
          image_model=_IMAGE_MODEL.value,
          num_pictures=_NUM_PICTURES.value,
          num_picture_seeds=_NUM_PICTURE_SEEDS.value,
          audio=_AUDIO.value,
          soundfont=_SOUNDFONT.value))
  print(f'wrote {_OUTPUT_DIR.value}/index.html, report.json and report.md')


def _as_people_write(named: Sequence[str]):
  import pathlib

  from va_magenta.evaluation import people

  paths = {pathlib.Path(path).stem: path for path in named}
  if len(paths) < len(named):
    raise ValueError(
        '--people takes folders and files of different names, got '
        f'{", ".join(named)}')
  people.run(
      paths, _OUTPUT_DIR.value, band_path=_BAND_PATH.value, seed=_SEED.value)
  print(f'wrote {_OUTPUT_DIR.value}/people.md, people.json and people.png')


def _listen():
  import os

  from va_magenta.evaluation import listening

  if _LISTENING_ANSWERS.value:
    listening.run(
        list(map(os.path.expanduser, _LISTENING_ANSWERS.value)),
        _OUTPUT_DIR.value, seed=_SEED.value, overwrite=_OVERWRITE.value)
    names = listening.RESULTS
  else:
    listening.write(
        _LISTENING_TEST.value, _OUTPUT_DIR.value,
        people_midi=_PEOPLE_MIDI.value, num_pieces=_NUM_LISTENED.value,
        seed=_SEED.value, overwrite=_OVERWRITE.value)
    names = listening.PAGE, listening.KEY
  print('wrote ' + ' and '.join(
      os.path.join(_OUTPUT_DIR.value, name) for name in names))


def _systems() -> list:
  from va_magenta.evaluation import systems, template

  own = {
      name: value for name, value in (
          ('checkpoint', _CHECKPOINT.value),
          ('candidates', _CANDIDATES.value), ('guidance', _GUIDANCE.value),
          ('bars', _BARS.value), ('estimator', _ESTIMATOR.value),
          ('performance_model', _PERFORMANCE_MODEL.value))
      if value is not None}
  of_length = {'bars': _BARS.value} if _BARS.value else {}
  prior = {'checkpoint': _PRIOR_CHECKPOINT.value, **of_length}
  known = {
      'asked': systems.Asked('asked', own),
      'unselected': systems.Asked('unselected', {**own, 'candidates': 1}),
      'plain': systems.Asked('plain', {**own, 'performance': 'plain'}),
      'unconditioned': systems.Prior('unconditioned', prior),
      'best of 16': systems.Prior('best of 16', prior, 16),
      'best of 64': systems.Prior('best of 64', prior, 64),
      'template': systems.Template(num_bars=_BARS.value or template.NUM_BARS),
  }
  found = []
  for name in _SYSTEMS.value:
    if name not in known:
      raise ValueError(
          f'--systems knows {", ".join(known)}, not {name!r}: others are given '
          'by --system')
    found.append(known[name])
  found += [systems.parse(text, own) for text in _SYSTEM.value]
  if not found:
    raise ValueError('--systems or --system must name one system at least')
  return found


def console_entry_point():
  """The command `va_magenta_evaluate`."""
  command.run(main)


if __name__ == '__main__':
  console_entry_point()
