"""Composes, judges and compares: the job of `va_magenta_evaluate`."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tqdm

from va_magenta import checkpoints, files
from va_magenta.composing import models
from va_magenta.evaluation import (
  control,
  judges,
  people,
  pictures,
  quality,
  report,
  structure,
  systems,
  template,
)
from va_magenta.evaluation.cache import Cache
from va_magenta.figures import metrics, piano_roll, plots, tables
from va_magenta.figures.metrics import AXES

# Baselines that take no music of their own.
SHUFFLED, MIDDLE = 'shuffled targets', 'middle of the plane'
_NUM_REAL = 2000
# Pieces are compared with melodies by people of whichever length is the longest
# that is no longer than they are: bars, and the config whose examples they are.
_MELODY_CONFIGS = {
    template.NUM_BARS: 'cat-mel_2bar_small',
    structure.NUM_BARS: 'hierdec-mel_16bar'}
_NUM_RECONSTRUCTED = 1000
_TEXT = 'report.md'


@dataclasses.dataclass(frozen=True)
class Options:
  """What is measured, beside which systems.

  Attributes:
    grid: targets a side.
    num_seeds: how many pieces are composed for each target.
    seed: the first of them, and of all draws.
    num_heard: pieces of each system that are also judged by their sound; 0
      for none.
    emopia_dir: EMOPIA's label.csv and midi/, for quadrants; None for none.
    examples_path: MIDI files by people, as `examples.convert` takes them, whose
      test split melodies and reconstruction are measured on; None for none.
    cache_dir: where they are kept once converted; in the output if None.
    oasis_dir: OASIS.csv and images/, for pictures; None for none.
    image_model: name or path of what places them; what ships if None.
    num_pictures: so many of them, drawn at random.
    num_picture_seeds: pieces of music for each picture.
    audio: whether to write WAV files of the first system's grid.
    soundfont: to play them with; the best of the system if None.

  Raises:
    ValueError: if a number is out of range.
  """

  grid: int = 9
  num_seeds: int = 20
  seed: int = 0
  num_heard: int = 12
  emopia_dir: str | None = None
  examples_path: str | None = None
  cache_dir: str | None = None
  oasis_dir: str | None = None
  image_model: str | None = None
  num_pictures: int = 100
  num_picture_seeds: int = 4
  audio: bool = False
  soundfont: str | None = None

  def __post_init__(self):
    for name, low, high in (
        ('grid', 2, 101), ('num_seeds', 1, 10_000), ('seed', 0, 2**31),
        ('num_heard', 0, 10**6), ('num_pictures', 3, 10**6),
        ('num_picture_seeds', 1, 10_000)):
      if not low <= getattr(self, name) <= high:
        raise ValueError(
            f'{name} must lie in {low:,}..{high:,}, got {getattr(self, name)}')


def run(
    compared: Sequence[systems.System],
    output_dir: str | pathlib.Path,
    options: Options,
    tell: Callable[[str], None] = print,
) -> dict:
  """Evaluates systems and writes what it found.

  Args:
    compared: the first is the one that the others are baselines of; their names
      differ.
    output_dir: is given report.json, report.md, plots, index.html with midi/
      (and wav/), and `cache/`, from which a run that was stopped goes on.
    options: what is measured.
    tell: is given lines of text to print.

  Returns:
    What report.json holds.

  Raises:
    OSError, ValueError: if a checkpoint, a folder of data or the output is not
      what it should be.
  """
  names = [system.name for system in compared]
  if len(set(names)) < len(names) or {SHUFFLED, MIDDLE} & set(names):
    raise ValueError(f'systems need names of their own, got {names}')
  # Before the work, which may take hours: is everything there?
  for system in compared:
    if not isinstance(system, systems.Template):
      systems.check(system.settings)
  _check_data(options)
  judges.student(judges.SELECTOR)
  judge = judges.Reader(judges.student(judges.JUDGE))
  output_dir = pathlib.Path(output_dir).expanduser()
  work_dir = output_dir / 'cache'
  work_dir.mkdir(parents=True, exist_ok=True)

  targets = control.grid(options.grid)
  with contextlib.closing(Cache(work_dir / 'pieces.jsonl')) as cache:
    composer = systems.Composer(cache)
    music, redrawn = {}, {}
    for system in compared:
      before = composer.num_redrawn
      music[system.name] = _compose(
          system, targets, options.num_seeds, options.seed, composer)
      redrawn[system.name] = composer.num_redrawn - before
    obtained = {
        name: np.stack([judge(row) for row in rows])
        for name, rows in music.items()}
    found = {
        'judge': 'the student of one half of EIMG',
        'systems': {
            system.name: dataclasses.asdict(system) for system in compared},
        'options': dataclasses.asdict(options),
        'versions': _versions(),
        'control': _control(targets, obtained, options.seed),
        'redrawn': redrawn}
    if options.num_heard:
      found['heard'] = _heard(
          music, targets, judge.student, cache, options)
    if options.emopia_dir:
      found['emopia'] = _emopia(music, targets, work_dir, options, tell)
    lengths = {
        system.name: max(
            (n for n in _MELODY_CONFIGS if n <= system.num_bars),
            default=template.NUM_BARS)
        for system in compared}
    real = {}
    if options.examples_path:
      real = {
          n: _real(work_dir, options, n) for n in sorted(set(lengths.values()))}
      found['reconstruction'] = _reconstruction(compared, work_dir, options)
    melodies = {
        name: [quality.melody_of(piece) for row in rows for piece in row]
        for name, rows in music.items()}
    found['quality'] = _quality(melodies, lengths, real)
    whole = {
        name: own for name, own in melodies.items()
        if lengths[name] == structure.NUM_BARS}
    if whole:
      found['structure'] = _structure(whole, real.get(structure.NUM_BARS))
    compared_with_people = {
        system.name: music[system.name] for system in compared
        if system.num_bars >= people.NUM_BARS}
    if compared_with_people and len(targets) >= people.MIN_PIECES:
      found['people'] = _as_people_write(
          compared_with_people, composer, output_dir, options)
    if options.oasis_dir:
      found['pictures'] = _pictures(
          compared, judge, composer, work_dir, output_dir, options)
  text = describe(found)
  _write(output_dir, found, text, targets, obtained, music, options)
  tell(text)
  return found


def _check_data(options):
  for name, content in (
      ('emopia_dir', 'label.csv'), ('oasis_dir', 'OASIS.csv')):
    folder = getattr(options, name)
    if folder and not (pathlib.Path(folder) / content).is_file():
      raise FileNotFoundError(f'{folder}, the {name}, has no {content}')
  if options.examples_path:
    from va_magenta.training.music_vae import examples
    examples.find_pieces(options.examples_path)


def _compose(system, targets, num_seeds, seed, composer):
  """NoteSequences of all seeds and targets, a list a seed."""
  rows = []
  with tqdm.tqdm(
      total=num_seeds * len(targets), desc=system.name, unit='piece',
      mininterval=1) as progress:
    for s in range(seed, seed + num_seeds):
      row = []
      for piece in system.compose(targets, s, composer):
        row.append(piece)
        progress.update()
      rows.append(row)
  return rows


def _control(targets, obtained: Mapping, seed: int) -> dict:
  """Figures by system and by name, with the baselines that take no music."""
  first = next(iter(obtained.values()))
  everything = {
      **obtained, SHUFFLED: control.shuffled(first, seed),
      MIDDLE: np.zeros_like(first)}
  found = {}
  for name, points in everything.items():
    figures = control.figures(targets, points)
    found[name] = {
        figure: {**report.spread(values), 'by_seed': values.tolist()}
        for figure, values in figures.items()}
  return found


def _heard(music, targets, student, cache, options) -> dict:
  """Estimates by the audio teacher of some pieces of each system.

  Spread is over bootstrap draws of pieces.
  """
  listener = judges.Listener(student)
  pairs = list(itertools.product(range(options.num_seeds), range(len(targets))))
  rng = np.random.default_rng(options.seed)
  chosen = [pairs[i] for i in rng.permutation(len(pairs))[:options.num_heard]]
  wanted = targets[[t for _, t in chosen]]
  found = {}
  with tqdm.tqdm(
      total=len(chosen) * len(music), desc='listening', unit='piece',
      mininterval=1) as progress:
    for name, rows in music.items():
      pieces = [rows[s][t] for s, t in chosen]
      estimates = []
      for piece in pieces:
        estimates.append(cache.get(
            ['heard', _md5(piece)], functools.partial(listener.listen, piece)))
        progress.update()
      estimates = np.array(estimates)
      points = {
          'by ear': listener.by_ear(estimates),
          'fused': listener.fuse(pieces, estimates)}
      found[name] = {
          f'{how}/{axis}/pearson_r': _with_bootstrap(
              wanted[:, i], points[how][:, i], options.seed)
          for how in points for i, axis in enumerate(AXES)}
  return found


def _md5(sequence) -> str:
  return hashlib.md5(
      sequence.SerializeToString(deterministic=True)).hexdigest()


def _with_bootstrap(targets, obtained, seed: int) -> dict[str, float]:
  if len(targets) < 2:  # Of one piece there is no correlation.
    return {'mean': float('nan'), 'sd': float('nan')}
  return {
      'mean': metrics.pearson_r(targets, obtained),
      'sd': metrics.bootstrap(
          metrics.pearson_r, targets, obtained, seed=seed)}


def _emopia(music, targets, work_dir, options, tell) -> dict:
  """Shares of pieces that EMOPIA's classifier puts in the target's quadrant."""
  judge = judges.load_quadrant_judge(
      pathlib.Path(options.emopia_dir), work_dir / 'emopia.npz', options.seed,
      tell)
  inside = np.all(targets != 0, axis=1)
  right_half, upper_half = (targets[inside] > 0).T
  wanted = np.where(
      upper_half, np.where(right_half, 1, 2), np.where(right_half, 4, 3))
  found = {}
  for name, rows in music.items():
    guess = np.stack([
        judge(list(itertools.compress(row, inside))) for row in rows])
    found[name] = {
        'quadrant': report.spread((guess == wanted).mean(axis=1)),
        'valence': report.spread((
            np.isin(guess, (1, 4)) == right_half).mean(axis=1)),
        'arousal': report.spread(((guess <= 2) == upper_half).mean(axis=1))}
  return {'held_out_accuracy': judge.held_out, 'systems': found}


def _corpus(work_dir, options, config_name: str):
  """Music by people, as examples of a config."""
  from va_magenta.training.music_vae import examples

  return examples.convert(
      config_name, options.cache_dir or str(work_dir / 'examples'),
      examples_path=options.examples_path)


def _test_split(corpus, options) -> np.ndarray:
  """Tokens [n, steps, outputs] that were held out of training, in any order."""
  tokens = corpus.split('test')
  if not len(tokens):
    raise ValueError(
        f'{options.examples_path} has no melody in its test split, which is a '
        'tenth of the pieces: give more pieces')
  return np.random.default_rng(options.seed).permutation(tokens)


def _real(work_dir, options, num_bars: int) -> np.ndarray:
  """Melodies by people, held out of training: tokens [n, steps]."""
  corpus = _corpus(work_dir, options, _MELODY_CONFIGS[num_bars])
  return _test_split(corpus, options)[..., 0]


def _quality(melodies, lengths, real) -> dict:
  """Measures of the melodies of each system, and of real ones."""
  of_real = {
      n: [quality.of_tokens(row) for row in tokens[:_NUM_REAL]]
      for n, tokens in real.items()}
  found = {
      name: quality.compare(own, of_real.get(lengths[name]))
      for name, own in melodies.items()}
  for n, own in of_real.items():
    found[_by_people(n)] = quality.compare(own)
  return found


def _by_people(num_bars: int) -> str:
  return f'{num_bars} bars by people'


def _as_people_write(music, composer, output_dir, options) -> dict:
  """How well pieces are told from people's; those of bands are also kept."""
  windows = {}
  for name, rows in music.items():
    pieces = [(piece, i) for row in rows for i, piece in enumerate(row)]
    scores = [(composer.score(piece), i) for piece, i in pieces]
    if all(score for score, _ in scores):
      windows[name] = people.cut([(*score, i) for score, i in scores], name)
      people.save(output_dir / f'{name}.npz', windows[name])
    else:
      windows[name] = people.of_sequences(*zip(*pieces, strict=True))
  return people.compare_all(windows, people.shipped(), seed=options.seed)


def _structure(melodies, real) -> dict:
  """Measures of whole pieces: 'measures' and 'curves' by system.

  Real melodies are compared with others: no system can be expected to come
  nearer.
  """
  known = None
  if real is not None:
    of_real = [quality.of_tokens(row) for row in real[:2 * _NUM_REAL]]
    middle = (len(of_real) + 1) // 2
    known = of_real[:middle]
    melodies = {
        **melodies, _by_people(structure.NUM_BARS): of_real[middle:] or known}
  return {
      'measures': {
          name: structure.evaluate(own, known)
          for name, own in melodies.items()},
      'curves': {
          name: {kind: structure.curve(own, kind) for kind in structure.KINDS}
          for name, own in melodies.items()}}


def _reconstruction(compared, work_dir, options) -> dict:
  """How well each checkpoint gives back held-out music of its kind."""
  found, seen, corpora = {}, set(), {}
  for system in compared:
    if isinstance(system, systems.Template):
      continue
    checkpoint = {**systems.DEFAULTS, **system.settings}['checkpoint']
    path = checkpoints.resolve(checkpoint)
    if path in seen:
      continue
    seen.add(path)
    from va_magenta.training.music_vae import examples
    from va_magenta.training.music_vae import train as training
    from va_magenta.va_to_music import configs
    model = _with_critic(models.music_vae(checkpoint))
    config_name = configs.magenta_name(model.config.name)
    if config_name not in corpora:
      corpora[config_name] = _corpus(work_dir, options, config_name)
    tokens = np.random.default_rng(options.seed).permutation(_test_split(
        examples.cut(corpora[config_name], model.config.max_seq_len), options))
    values = training.evaluate(model, tokens[:_NUM_RECONSTRUCTED])
    found[str(checkpoint)] = {
        name.partition('/')[2]: {
            'mean': float(v.mean()), 'sd': float(v.std() / len(v)**.5)}
        for name, v in values.items()}
  return found


def _with_critic(model):
  """A conditioned model with the critic, which labels pieces."""
  if not model.config.control_depth:
    return model
  from va_magenta.music_to_va import critic
  from va_magenta.va_to_music import music_vae

  labelling = music_vae.MusicVAE(model.config, critic=critic.load(
      critic.shipped(len(model.config.output_depths))))
  labelling.set_weights(model.get_weights())
  return labelling


def _pictures(compared, judge, composer, work_dir, output_dir, options) -> dict:
  """From pictures to music, by each system."""
  shown = pictures.held_out(
      options.oasis_dir, work_dir, options.seed, options.image_model).some(
          options.num_pictures, options.seed)
  found = {'num_pictures': len(shown.rated), 'systems': {}}
  for i, system in enumerate(compared):
    rows = _compose(
        system, shown.estimated, options.num_picture_seeds, options.seed,
        composer)
    judged = np.stack([judge(row) for row in rows])
    figures = pictures.figures(
        shown.rated, shown.estimated, judged, options.seed)
    found['systems'][system.name] = {
        name: {'mean': value, 'sd': sd}
        for name, (value, sd) in figures.items()}
    if not i:
      titles = [
          f'{axis}: r {figures[f"{axis}/pearson_r"][0]:.2f}' for axis in AXES]
      plots.plot_pictures(
          output_dir / 'pictures.png', rated=shown.rated,
          judged=judged.mean(axis=0), titles=[
              *titles, f'mean distance {figures["distance"][0]:.2f} (music of '
              f'other pictures {figures["shuffled/distance"][0]:.2f})'])
  return found


def _versions() -> dict[str, str]:
  from importlib import metadata

  import va_magenta
  return {'va_magenta': va_magenta.__version__} | {
      name: metadata.version(name)
      for name in ('tensorflow', 'keras', 'numpy', 'lightgbm')}


# What is written.


def describe(found: Mapping) -> str:
  """The report as text: tables in Markdown."""
  options = found['options']
  side, num_seeds = options['grid'], options['num_seeds']
  first = next(iter(found['systems']))
  parts = [
      f'# Evaluation\n\n{side} x {side} targets, {num_seeds} seeds; mean ± '
      f'standard deviation over seeds. Judge: {found["judge"]}, which took no '
      'part in making the music; its card says how well it agrees with people.',
      '## Asked against obtained\n\n' + report.systems_table(
          found['control'], report.HEADLINES),
      '## Control\n\n' + report.systems_table(
          found['control'], report.CONTROL),
      "## Half planes\n\nShare of pieces that the judge places on the target's "
      'side of the middle. XMusic (Tian et al. 2025, Tables VI and VII) asks '
      'listeners for it; here a model says it, so the figures are not '
      'comparable.\n\n' + report.systems_table(
          found['control'], report.HALF_PLANES),
      'Pieces drawn again because they had hardly a note: ' + ', '.join(
          f'{name} {number}' for name, number in found['redrawn'].items())
      + '.']
  music = {
      name: figures for name, figures in found['control'].items()
      if name != SHUFFLED}
  better = report.winners(music, first)
  parts.append('\n'.join(f'- {line}' for line in better) if better else
               f'No other system is better than {first} in correlation, '
               'quadrants or distance.')
  if 'heard' in found:
    columns = [
        (' '.join(name.split('/')[:2]) + ' r', name, True)
        for name in next(iter(found['heard'].values()))]
    parts.append(
        f'## By ear\n\n{options["num_heard"]} pieces of each system, '
        'synthesised; ± over bootstrap draws of pieces.\n\n'
        + report.systems_table(found['heard'], columns))
  if 'emopia' in found:
    of = ', '.join(
        f'{kind} {value:.2f}'
        for kind, value in found['emopia']['held_out_accuracy'].items())
    parts.append(
        f"## EMOPIA's quadrants\n\nShare of pieces that a classifier trained "
        "on EMOPIA puts into the target's quadrant or half. Its own accuracy "
        f'on songs of EMOPIA that were held out: {of}.\n\n'
        + report.systems_table(found['emopia']['systems'], [
            (name, name, True) for name in ('quadrant', 'valence', 'arousal')]))
  else:
    parts.append(
        "EMOPIA's quadrants were left out: no --emopia_dir was given.")
  parts.append('## Melodies\n\n' + _quality_table(found['quality']))
  if 'people' in found:
    parts.append('#' + people.describe(found['people']).replace(
        '\n## ', '\n### ').rstrip())
  if 'structure' in found:
    parts.append(
        f'## Structure\n\nOf the melodies of {structure.NUM_BARS} bars: mean '
        'similarity of bars 1, 2, 4 and 8 apart, in rhythm and in pitch '
        'classes; share of bars that repeat an earlier one; distance of the '
        'similarities at all lags from those of people, among whom other '
        'melodies are the last line.\n\n'
        + _quality_table(found['structure']['measures']))
  if 'reconstruction' in found:
    header = list(dict.fromkeys(
        name for figures in found['reconstruction'].values()
        for name in figures))
    parts.append(
        '## Reconstruction of held-out music\n\nMean ± standard error.\n\n'
        + report.systems_table(
            found['reconstruction'],
            [(n.replace('_', ' '), n, True) for n in header], decimals=3))
  if 'pictures' in found:
    parts.append(_pictures_text(found['pictures'], options))
  return '\n\n'.join(parts) + '\n'


def _quality_table(found: Mapping) -> str:
  measures = [name for name in next(iter(found.values())) if '/' not in name]
  rows = []
  for system, values in found.items():
    row = [system]
    for name in measures:
      text = report.cell(values[name])
      if f'{name}/overlap' in values:
        text += f' ({report.cell(values[f"{name}/overlap"])})'
      row.append(text)
    rows.append(row)
  note = (
      '' if not any('/' in n for n in next(iter(found.values()))) else
      'In brackets: overlap with the distribution of as many bars by people.'
      '\n\n')
  return note + tables.aligned(
      ['', *(name.replace('_', ' ') for name in measures)], rows)


def _pictures_text(found: Mapping, options: Mapping) -> str:
  of_any = next(iter(found['systems'].values()))
  columns = [
      (f'{axis} {name}'.strip(), f'{prefix}{figure}', True)
      for prefix in ('', 'shuffled/', 'music/')
      for axis, name, figure in (
          (prefix.strip('/'), 'distance', 'distance'),
          *((f'{prefix.strip("/")} {axis}'.strip(), 'r', f'{axis}/pearson_r')
            for axis in AXES))]
  picture = ', '.join(
      f'{name} {report.cell(of_any[f"picture/{figure}"])}' for name, figure in (
          ('distance', 'distance'), ('valence r', 'valence/pearson_r'),
          ('arousal r', 'arousal/pearson_r')))
  return (
      f'## From picture to music\n\n{found["num_pictures"]} pictures of OASIS, '
      f'{options["num_picture_seeds"]} pieces each, every picture estimated by '
      "a head that did not see it. Between people's rating of the picture and "
      'the judged VA of its music; *shuffled*: the music of other pictures; '
      "*music*: between the picture's estimate, which was asked for, and the "
      'music. ± over bootstrap draws of pictures. For comparison, between '
      f'rating and estimate: {picture}; between rating and the mean of all '
      f'ratings: distance {report.cell(of_any["mean rating/distance"])}.\n\n'
      + report.systems_table(found['systems'], columns))


def _write(output_dir, found, text, targets, obtained, music, options):
  plots.plot_asked_against_obtained(
      output_dir / 'asked_against_obtained.png', targets=targets,
      obtained=obtained)
  plots.plot_arrows(
      output_dir / 'plane.png', targets=targets, obtained=obtained)
  grids = {
      name: _grid_files(
          output_dir, name, rows[0], targets, obtained[name][0],
          options, options.audio and not i)
      for i, (name, rows) in enumerate(music.items())}
  images = ['asked_against_obtained.png', 'plane.png']
  if 'structure' in found:
    images.append('structure.png')
    plots.plot_curves(
        output_dir / 'structure.png', curves=found['structure']['curves'])
  if 'pictures' in found:
    images.append('pictures.png')
  with files.writing(output_dir / 'index.html') as temporary:
    temporary.write_text(report.page('Evaluation', text, images, grids))
  with files.writing(output_dir / _TEXT) as temporary:
    temporary.write_text(text)
  report.write_json(output_dir / 'report.json', found)


def _grid_files(
    output_dir, name, pieces, targets, judged, options, audio) -> list[dict]:
  """Writes the MIDI (and WAV) files of a grid, and says where they are."""
  folder = ''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)
  grid = []
  for piece, target, point in tqdm.tqdm(
      list(zip(pieces, targets.tolist(), judged.tolist(), strict=True)),
      f'writing {name}', unit='piece', leave=False):
    stem = f'valence{target[0]:+.2f}_arousal{target[1]:+.2f}'
    cell = {'target': target, 'judged': point,
            'roll': piano_roll.svg(piece),
            'midi': f'midi/{folder}/{stem}.mid'}
    path = output_dir / cell['midi']
    path.parent.mkdir(parents=True, exist_ok=True)
    from va_magenta.music import midi
    with files.writing(path) as temporary:
      temporary.write_bytes(midi.to_bytes(piece))
    if audio:
      from va_magenta.music import synthesis
      cell['wav'] = f'wav/{folder}/{stem}.wav'
      path = output_dir / cell['wav']
      path.parent.mkdir(parents=True, exist_ok=True)
      with files.writing(path) as temporary:
        synthesis.save(temporary, piece, soundfont=options.soundfont)
    grid.append(cell)
  return grid
