"""A listening test to take away: one HTML page, and what its answers say.

`write` makes a page of pieces that nothing on it tells apart: those of
`va_magenta_generate`, and people's if some are given. Each listener hears them
in an order of their own, rates valence and arousal, says whether a person or a
machine wrote the piece, and chooses which of two pieces fits a picture. The
page needs no network, and answers leave it only as a CSV file. A second file,
the key, says what the pieces are, what they were asked for, and where the
judges place them. `read` reads the CSV files; `evaluate` compares them with the
key.

Figures come with an interval that holds 95 % of 1,000 bootstrap draws of
listeners and of pieces, so that it is about other listeners and other pieces.
"""

import base64
import csv
import hashlib
import html
import io
import itertools
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from importlib import resources

import numpy as np

from va_magenta import files
from va_magenta.evaluation import report
from va_magenta.figures import metrics, tables
from va_magenta.music import corpus, midi
from va_magenta.va import VA

PAGE, KEY = 'listening_test.html', 'listening_key.json'
RESULTS = 'listening_results.json', 'listening_results.md'
# Of what a listener answered; `about` is a piece, of pairs the one chosen.
COLUMNS = (
    'test', 'listener', 'question', 'about', 'over', 'picture', 'valence',
    'arousal', 'by', 'seconds')
MAX_SECONDS = 60.0  # Of a piece; listeners have little time.
_FADE_SECONDS = 1.5  # At the end of what was cut short.
_PICTURE_SIDE = 480
_COMPRESSION = 0.5  # Of MP3 at a variable rate, some 50 kbit/s.
_NUM_DRAWS = 1000


# --- The page.


def write(
    folders: Sequence[str | os.PathLike], output_dir: str | os.PathLike, *,
    people_midi: str | os.PathLike | None = None, num_pieces: int = 12,
    seed: int = 0, overwrite: bool = False,
    tell: Callable[[str], None] = print) -> dict:
  """Writes the page and its key.

  Args:
    folders: that `va_magenta_generate` wrote to. The pictures that NAME.json
      names are looked for where they were, and in the folder itself.
    output_dir: is given `PAGE` and `KEY`.
    people_midi: folder of MIDI files by people. Of each is played as much as
      ours are long in the mean, from its beginning.
    num_pieces: at most so many of ours, and of people's, drawn at random.
    seed: of all draws.
    overwrite: whether an earlier test is replaced.
    tell: is given lines about what takes long.

  Returns:
    The key.

  Raises:
    OSError, ValueError: if pieces or pictures are missing or damaged, or if the
      FluidSynth library is.
  """
  from va_magenta.music import synthesis

  synthesis.import_fluidsynth()
  output_dir = pathlib.Path(output_dir).expanduser()
  if output_dir.is_dir():
    files.check_outputs(
        [output_dir / PAGE, output_dir / KEY], overwrite=overwrite)
  rng = np.random.default_rng(seed)
  ours = _drawn(
      [piece for folder in folders for piece in _ours(folder)], num_pieces,
      rng)
  for piece in ours:
    piece['sequence'] = midi.read(piece['path']).to_sequence()
  theirs = []
  if people_midi is not None:
    theirs = _drawn(
        [{'path': path, 'by': 'people'}
         for path in corpus.find_midi(people_midi)], num_pieces, rng)
    seconds = min(MAX_SECONDS, np.mean(
        [piece['sequence'].total_time for piece in ours]))
    for piece in theirs:
      piece['sequence'] = _beginning(
          midi.read(piece['path']).to_sequence(), seconds)
  pieces = [(ours + theirs)[i] for i in rng.permutation(len(ours + theirs))]
  for number, piece in enumerate(pieces, 1):
    piece['name'] = f'piece-{number}'
  pictures = _number_pictures(pieces, rng)
  tell(f'{len(ours)} pieces of ours, {len(theirs)} by people, '
       f'{len(pictures)} pictures: playing and judging them')
  sound = {
      piece['name']: _mp3(piece['sequence']) for piece in pieces}
  key = {
      'seed': seed,
      'judges': _judge(pieces),
      'pieces': {piece['name']: {
          name: piece.get(name)
          for name in ('path', 'by', 'target', 'picture', 'judged')
      } for piece in pieces},
      'pictures': pictures,
      'pairs': _pairs(pieces, rng)}
  # A page of other sounds is another test; and so are other questions.
  key = {'test': hashlib.sha256(json.dumps(
      [sound, key['pairs'], seed]).encode()).hexdigest()[:12], **key}
  text = _page(key, sound)
  with files.writing_set(
      output_dir, overwrite=overwrite, inputs=[
          *(piece['path'] for piece in pieces),
          *(picture['path'] for picture in pictures.values())]) as new:
    (new / PAGE).write_text(text, encoding='utf-8')
    report.write_json(new / KEY, key)
  return key


def _ours(folder: str | os.PathLike) -> list[dict]:
  """Pieces in a folder that `va_magenta_generate` wrote to."""
  folder = pathlib.Path(folder).expanduser()
  if not folder.is_dir():
    raise FileNotFoundError(
        f'{folder} is no folder; give one that va_magenta_generate wrote to')
  found = []
  for path in sorted(folder.glob('*.json')):
    try:
      record = json.loads(path.read_bytes())
      target, image = record['target'], record['image']
      outputs = [output['midi'] for output in record['outputs']]
      target = VA(target['valence'], target['arousal'])
    except (KeyError, TypeError, ValueError):
      continue  # Another JSON file.
    # Of several pictures there is no one that a piece shall fit.
    image = image if isinstance(image, str) else None
    for name in outputs:
      found.append({
          'path': folder / name, 'by': 'machine',
          'target': [target.valence, target.arousal],
          'image': image and _find_picture(image, path)})
  if not found:
    raise ValueError(
        f'{folder} has no NAME.json of va_magenta_generate with its pieces')
  return found


def _find_picture(image: str, record: pathlib.Path) -> pathlib.Path:
  for path in (pathlib.Path(image), record.parent / pathlib.Path(image).name):
    if path.is_file():
      return path
  raise FileNotFoundError(
      f'{record} names the picture {image}, which is neither there nor in '
      f'{record.parent}; put a copy there')


def _drawn(pieces, num, rng):
  chosen = np.sort(rng.permutation(len(pieces))[:num])
  return [pieces[i] for i in chosen]


def _beginning(sequence, seconds: float):
  if sequence.total_time <= seconds:
    return sequence
  from note_seq import sequences_lib

  return sequences_lib.extract_subsequence(sequence, 0.0, float(seconds))


def _number_pictures(pieces, rng) -> dict[str, dict]:
  """Names the pictures of pieces: path and target of each."""
  found = {}
  images = list(dict.fromkeys(
      piece['image'] for piece in pieces if piece.get('image')))
  for number, i in enumerate(rng.permutation(len(images)), 1):
    name = f'picture-{number}'
    of_image = [p for p in pieces if p.get('image') == images[i]]
    for piece in of_image:
      piece['picture'] = name
    found[name] = {'path': images[i], 'target': of_image[0]['target']}
  return found


def _pairs(pieces, rng) -> list[dict]:
  """Of each piece with a picture, it and another picture's in either order."""
  pairs = []
  for piece in pieces:
    others = [
        other['name'] for other in pieces
        if other.get('picture') and other['picture'] != piece.get('picture')]
    if piece.get('picture') and others:
      both = [piece['name'], others[rng.integers(len(others))]]
      pairs.append({
          'picture': piece['picture'],
          'pieces': [both[i] for i in rng.permutation(2)]})
  return pairs


def _judge(pieces) -> dict:
  """Gives each piece `judged`; returns what is known of all together."""
  from va_magenta.evaluation import judges, people

  sequences = [piece['sequence'] for piece in pieces]
  student = judges.student(judges.JUDGE)
  by_notes = judges.Reader(student)(sequences)
  listener = judges.Listener(student)
  by_ear = listener.by_ear(
      np.array([listener.listen(sequence) for sequence in sequences]))
  for piece, notes, ear in zip(pieces, by_notes, by_ear, strict=True):
    piece['judged'] = {'notes': notes.tolist(), 'sound': ear.tolist()}
  area = None
  try:
    ours = people.measure(people.of_sequences(*zip(*(
        (piece['sequence'], i) for i, piece in enumerate(pieces)
        if piece['by'] == 'machine'), strict=True)))
    ours = ours[~np.isnan(ours.column('melody_range'))]
    area = people.told_apart(
        ours, people.shipped(), people.SETS['melody'], num_seeds=2)
  except ValueError:
    pass  # Shorter than 16 bars.
  return {'people or machine, AUC of a forest': area}


def _mp3(sequence) -> str:
  """A data URI of a piece as `--audio` has it sound, but mono."""
  import soundfile

  from va_magenta.music import sound, synthesis

  samples, sample_rate_hz = synthesis.synthesize(
      sequence, soundfont=synthesis.find_soundfont(), max_seconds=MAX_SECONDS)
  samples = sound.master(samples, sample_rate_hz)
  if len(samples) >= MAX_SECONDS * sample_rate_hz:
    num = round(_FADE_SECONDS * sample_rate_hz)
    samples[-num:] *= np.linspace(1, 0, num, dtype=np.float32)
  file = io.BytesIO()
  soundfile.write(
      file, samples, sample_rate_hz, format='MP3', subtype='MPEG_LAYER_III',
      compression_level=_COMPRESSION, bitrate_mode='VARIABLE')
  return _data_uri(file, 'audio/mpeg')


def _jpeg(path: str | os.PathLike) -> str:
  from PIL import Image

  from va_magenta.image_to_va import images

  picture = Image.fromarray(images.load_image(path))
  picture.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE))
  file = io.BytesIO()
  picture.save(file, 'JPEG', quality=85)
  return _data_uri(file, 'image/jpeg')


def _data_uri(file: io.BytesIO, kind: str) -> str:
  return f'data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}'


def _page(key: dict, sound: dict[str, str]) -> str:
  """The page; of the key it has nothing but names and pairs."""
  content = {
      'test': key['test'], 'sound': sound,
      'pictures': {
          name: _jpeg(picture['path'])
          for name, picture in key['pictures'].items()},
      'pairs': key['pairs'], 'columns': COLUMNS}
  template = resources.files('va_magenta.evaluation').joinpath(
      'listening.html').read_text(encoding='utf-8')
  # `<` would end the script that this stands in.
  return template.replace('{{content}}', json.dumps(content).replace(
      '<', '\\u003c')).replace('{{test}}', html.escape(key['test']))


# --- The answers.


def read(
    paths: Sequence[str | os.PathLike], key: dict
) -> dict[str, np.ndarray]:
  """Reads listeners' CSV files.

  Args:
    paths: of the files, each of one listener or of several.
    key: of the test.

  Returns:
    NaN where a listener said nothing: `va` [listeners, pieces, 2], `machine`
    [listeners, pieces], 1 for whoever said that a machine wrote it; `fits`
    [listeners, pairs], 1 for whoever chose the piece that was made for the
    picture. Pieces and pairs are in the order of the key.

  Raises:
    OSError: if a file cannot be read.
    ValueError: if one has no answers to this test.
  """
  names = list(key['pieces'])
  pairs = {
      (pair['picture'], *order): number
      for number, pair in enumerate(key['pairs'])
      for order in itertools.permutations(pair['pieces'])}
  found, origin = {}, {}
  for path in map(pathlib.Path, paths):
    try:
      rows = list(csv.DictReader(io.StringIO(
          path.read_text(encoding='utf-8-sig'))))
    except (UnicodeDecodeError, csv.Error) as error:
      raise ValueError(f'{path} is no CSV file of a listening test: {error}'
                       ) from error
    if not rows:
      raise ValueError(f'{path} has no answers')
    for number, row in enumerate(rows, 2):
      place = f'{path}, line {number}'
      missing = [name for name in COLUMNS if row.get(name) is None]
      if missing:
        raise ValueError(f'{place}: there is no {", ".join(missing)}')
      if row['test'] != key['test']:
        raise ValueError(
            f'{place}: these are answers to the test {row["test"]!r}, the key '
            f'is that of {key["test"]!r}')
      listener = row['listener']
      if origin.setdefault(listener, path) != path:
        raise ValueError(
            f'{place}: answers of the listener {listener!r} are also in '
            f'{origin[listener]}; give every listener a code of their own')
      answers = found.setdefault(listener, {
          'va': np.full((len(names), 2), np.nan),
          'machine': np.full(len(names), np.nan),
          'fits': np.full(len(key['pairs']), np.nan)})
      if row['question'] == 'piece' and row['about'] in names:
        piece = names.index(row['about'])
        answers['va'][piece] = [
            _number(row, axis, place) for axis in metrics.AXES]
        if row['by'] not in ('people', 'machine'):
          raise ValueError(
              f"{place}: by must be 'people' or 'machine', got {row['by']!r}")
        answers['machine'][piece] = row['by'] == 'machine'
      elif row['question'] == 'pair' and (
          row['picture'], row['about'], row['over']) in pairs:
        pair = pairs[row['picture'], row['about'], row['over']]
        answers['fits'][pair] = (
            key['pieces'][row['about']]['picture'] == row['picture'])
      else:
        raise ValueError(f'{place}: the test has no such question')
  return {
      name: np.stack([answers[name] for answers in found.values()])
      for name in ('va', 'machine', 'fits')}


def _number(row, axis: str, place: str) -> float:
  try:
    value = float(row[axis])
  except ValueError:
    value = float('nan')
  if not -1 <= value <= 1:
    raise ValueError(
        f'{place}: {axis} must be a number in [-1, 1], got {row[axis]!r}')
  return value


def evaluate(answers: dict[str, np.ndarray], key: dict, seed: int = 0) -> dict:
  """What listeners say, beside the judges.

  Args:
    answers: see `read`.
    key: of the test.
    seed: of the bootstrap.

  Returns:
    `num_listeners`, `num_pieces`, `num_answers`; `mood`: by whom and against
    what, r and CCC of each axis, quadrant and distance; `people or machine` and
    `fits the picture`: accuracies and areas; `judges`, from the key. Every
    figure has `value`, `low` and `high`.
  """
  rng = np.random.default_rng(seed)
  pieces = list(key['pieces'].values())
  rated = answers['va']
  is_ours = np.array([piece['target'] is not None for piece in pieces])
  target = np.array([
      piece['target'] or [np.nan, np.nan] for piece in pieces])
  judged = {
      f'the judge of {kind}': np.array(
          [piece['judged'][kind] for piece in pieces])
      for kind in ('notes', 'sound')}

  def draws(number=_NUM_DRAWS):
    num_listeners, num_pieces = rated.shape[:2]
    for _ in range(number):
      yield (rng.integers(num_listeners, size=num_listeners),
             rng.integers(num_pieces, size=num_pieces))

  def of_points(estimate, reference, chosen, number=_NUM_DRAWS):
    """`metrics.evaluate` of functions of (listeners, pieces)."""
    def figures(listeners, columns):
      columns = columns[chosen[columns]]
      both = np.stack([reference(listeners)[columns],
                       estimate(listeners)[columns]])
      both = both[:, np.isfinite(both).all(axis=(0, 2))]
      if both.shape[1] < 2:
        return None
      return {
          **{f'{axis}/{figure.__name__}': figure(*both[:, :, i])
             for figure in (metrics.pearson_r, metrics.ccc)
             for i, axis in enumerate(metrics.AXES)},
          'quadrant_accuracy': metrics.quadrant_accuracy(*both),
          'distance': float(np.linalg.norm(both[0] - both[1], axis=1).mean())}
    return _with_interval(figures, draws(number), *rated.shape[:2])

  def of_listeners(listeners):
    return _nanmean(rated[listeners])

  everything = np.ones(len(pieces), bool)
  mood = {
      'listeners, against what was asked for': of_points(
          of_listeners, lambda _: target, is_ours)}
  for name, points in judged.items():
    mood[f'{name}, against what was asked for'] = of_points(
        lambda _, points=points: points, lambda _: target, is_ours)
  for name, points in judged.items():
    mood[f'{name}, against listeners'] = of_points(
        lambda _, points=points: points, of_listeners, everything)
  if len(rated) > 1:
    mood['one listener, against the others'] = _mean_of(
        [of_points(
            lambda _, own=own: own,
            lambda _, i=i: _nanmean(np.delete(rated, i, axis=0)), everything,
            _NUM_DRAWS // 10)
         for i, own in enumerate(rated)])
  is_machine = np.array([piece['by'] == 'machine' for piece in pieces], float)
  right = np.where(
      np.isnan(answers['machine']), np.nan, answers['machine'] == is_machine)

  def area(listeners, columns):
    score = _nanmean(answers['machine'][listeners][:, columns])
    ours, theirs = (
        score[(is_machine[columns] == side) & np.isfinite(score)]
        for side in (1, 0))
    if not len(ours) or not len(theirs):
      return None
    difference = ours[:, None] - theirs
    return {'auc': float(
        (difference > 0).mean() + (difference == 0).mean() / 2)}

  def accuracy(columns_of):
    def figures(listeners, columns):
      found = columns_of[listeners][:, columns]
      if not np.isfinite(found).any():
        return None
      return {'accuracy': float(np.nanmean(found))}
    return figures

  def of_pairs():
    for _ in range(_NUM_DRAWS):
      yield (rng.integers(len(rated), size=len(rated)),
             rng.integers(len(key['pairs']), size=len(key['pairs'])))

  telling = {}
  if 0 < is_machine.sum() < len(pieces):
    telling = {
        **_with_interval(accuracy(right), draws(), *right.shape),
        **_with_interval(area, draws(), *right.shape)}
  fits = {}
  if key['pairs']:
    fits['listeners'] = _with_interval(
        accuracy(answers['fits']), of_pairs(), *answers['fits'].shape)
    for kind in ('notes', 'sound'):
      nearer = np.array([_nearer(pair, key, kind) for pair in key['pairs']])
      fits[f'the judge of {kind}'] = _with_interval(
          accuracy(np.tile(nearer, (len(rated), 1))), of_pairs(),
          *answers['fits'].shape)
  return {
      'test': key['test'], 'num_listeners': len(rated),
      'num_pieces': len(pieces),
      'num_answers': int(np.isfinite(rated[..., 0]).sum()),
      'mood': mood, 'people or machine': telling,
      'judges': key['judges'], 'fits the picture': fits}


def _nearer(pair, key, kind) -> float:
  """Whether the piece that a judge places nearer is the picture's own."""
  picture = np.array(key['pictures'][pair['picture']]['target'])
  own, other = sorted(
      (key['pieces'][name] for name in pair['pieces']),
      key=lambda piece: piece['picture'] != pair['picture'])
  return float(
      np.linalg.norm(np.array(own['judged'][kind]) - picture)
      < np.linalg.norm(np.array(other['judged'][kind]) - picture))


def _nanmean(values: np.ndarray) -> np.ndarray:
  number = np.isfinite(values).sum(axis=0)
  return np.nansum(values, axis=0) / np.where(number, number, np.nan)


def _with_interval(figures, draws, num_rows: int, num_columns: int) -> dict:
  """Figures of everything, and between what 95 % of those of draws lie."""
  found = figures(np.arange(num_rows), np.arange(num_columns))
  if found is None:
    return {}
  drawn = [
      figure for rows, columns in draws
      for figure in [figures(rows, columns)] if figure is not None]
  return {
      name: dict(zip(('value', 'low', 'high'), [value, *(
          np.nanpercentile([figure[name] for figure in drawn], [2.5, 97.5])
          if np.isfinite([figure[name] for figure in drawn]).any()
          else [float('nan')] * 2)], strict=True))
      for name, value in found.items()}


def _mean_of(found: Sequence[dict]) -> dict:
  found = [figures for figures in found if figures]
  if not found:
    return {}
  return {
      name: {
          part: float(np.mean([figures[name][part] for figures in found]))
          for part in ('value', 'low', 'high')}
      for name in found[0]}


def run(
    paths: Sequence[str | os.PathLike], output_dir: str | os.PathLike, *,
    seed: int = 0, overwrite: bool = False,
    tell: Callable[[str], None] = print) -> dict:
  """Reads answers, writes `RESULTS` beside the key, and tells what they say.

  Args:
    paths: CSV files of listeners.
    output_dir: where `write` left the key.
    seed: of the bootstrap.
    overwrite: whether earlier results are replaced.
    tell: is given the text.

  Returns:
    What `evaluate` does.

  Raises:
    OSError, ValueError: if key or answers are missing or damaged.
  """
  output_dir = pathlib.Path(output_dir).expanduser()
  key_path = output_dir / KEY
  if not key_path.is_file():
    raise FileNotFoundError(
        f'there is no {key_path}, the key of the test: give the --output_dir '
        'that --listening_test wrote to')
  try:
    key = json.loads(key_path.read_bytes())
    answers = read(paths, key)
  except (KeyError, TypeError, json.JSONDecodeError) as error:
    raise ValueError(f'{key_path} is not the key of a test: {error!r}'
                     ) from error
  found = evaluate(answers, key, seed)
  text = describe(found)
  with files.writing_set(
      output_dir, inputs=[*paths, key_path], overwrite=overwrite) as new:
    report.write_json(new / RESULTS[0], found)
    (new / RESULTS[1]).write_text(text, encoding='utf-8')
  tell(text)
  return found


_MOOD = (
    ('r, valence', 'valence/pearson_r'), ('r, arousal', 'arousal/pearson_r'),
    ('CCC, valence', 'valence/ccc'), ('CCC, arousal', 'arousal/ccc'),
    ('right quadrant', 'quadrant_accuracy'), ('distance', 'distance'))


def describe(found: dict) -> str:
  """What `evaluate` found, as tables in Markdown."""
  parts = [
      f'# Listening test {found["test"]}\n\n'
      f'{found["num_listeners"]} listeners, {found["num_pieces"]} pieces, '
      f'{found["num_answers"]} ratings. In brackets 95 % of bootstrap draws of '
      'listeners and pieces.',
      '## Mood\n\n' + tables.aligned(
          ['', *(heading for heading, _ in _MOOD)],
          [[name, *(_cell(figures.get(figure)) for _, figure in _MOOD)]
           for name, figures in found['mood'].items()])]
  telling = found['people or machine']
  if telling:
    area = next(iter(found['judges'].values()))
    parts.append(
        '## People or machine\n\nAccuracy of single answers, and AUC of the '
        'share of listeners who say "machine"; .5 is a guess. The forest tells '
        "our melodies from those of other people's pieces.\n\n"
        + tables.aligned(
            ['', 'accuracy', 'AUC'],
            [['listeners', *(_cell(telling.get(name))
                             for name in ('accuracy', 'auc'))],
             ['a forest', '–', _cell(
                 area and {**area, 'value': area['mean']})]]))
  if found['fits the picture']:
    parts.append(
        '## Which of two fits the picture\n\nShare of choices of the piece '
        'that was made for it; .5 is a guess.\n\n' + tables.aligned(
            ['', 'accuracy'],
            [[name, _cell(figures.get('accuracy'))]
             for name, figures in found['fits the picture'].items()]))
  return '\n\n'.join(parts) + '\n'


def _cell(figure: dict | None) -> str:
  if not figure or not np.isfinite(figure['value']):
    return '–'
  return '{value:.2f} ({low:.2f}..{high:.2f})'.format(**figure)
