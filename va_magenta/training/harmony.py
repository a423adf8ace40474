"""Trains the model of harmony on people's chords.

Two corpora: chords that people wrote (POP909-CL), which make up most of what is
learned from; and chords that were recognised in a corpus of bands, of which
there are many more. VA of the former is what the student expects of their
notes, of the latter their labels.

Every bar is transposed to the key without accidentals by the key signature that
is found around it. Windows of 16 segments; a piece whose last segment is not
whole holds its last chord. Some examples go without VA, some without mode, and
of the chords before some are not seen.
"""

import collections
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np

from va_magenta import files
from va_magenta.figures import metrics
from va_magenta.music import band, chords, midi
from va_magenta.music.corpus import is_held_out
from va_magenta.music.grid import STEPS_PER_BAR, STEPS_PER_CHORD, token_of
from va_magenta.music.notes import NOTE_DTYPE, excerpt
from va_magenta.music_to_va import symbolic_features
from va_magenta.training import band_corpus, pop909_cl
from va_magenta.va_to_music import harmony
from va_magenta.va_to_music.harmony import SEGMENT_CHORDS, Harmony

WINDOW_SEGMENTS = 16
_STRIDE_SEGMENTS = 8
_HUMAN_SHARE = 0.6  # of the examples of a batch
_VA_DROPOUT, _MODE_DROPOUT, _CHORD_DROPOUT = 0.15, 0.25, 0.1
_MODE_MARGIN = 1.25
_VA_BARS = 8
_SAVE_EVERY = 250
_BATCH_SIZE, _LEARNING_RATE = 64, 6e-3
_BAND, _HUMAN = 0, 1  # sources


@dataclasses.dataclass(frozen=True)
class Piece:
  """A piece in the key without accidentals.

  Attributes:
    name: decides whether it is held out.
    source: whether people wrote the chords (1), or they were recognised (0).
    chords: int `[4 segments]`; -1 where they are unknown.
    va: float32 `[segments, 2]`.
    present: who plays, bool `[4]`.
  """

  name: str
  source: int
  chords: np.ndarray
  va: np.ndarray
  present: np.ndarray


def canonical(melody, bass, progression) -> np.ndarray:
  """A progression in the key without accidentals, by the key of each bar."""
  keys = chords.key_signatures(melody, bass, np.maximum(progression, 0))
  moved = chords.transpose(
      np.maximum(progression, 0), -np.repeat(keys, 2))
  return np.where(progression < 0, -1, moved)


def piece(name, source, progression, va, present) -> Piece | None:
  """A piece from its first chord to its last, in whole segments.

  Args:
    name: its md5.
    source: see `Piece`.
    progression: int `[2 bars]`, see `canonical`.
    va: of each bar, float `[bars, 2]`.
    present: bool `[4]`.

  Returns:
    None if it has less than four segments.
  """
  sounding = np.flatnonzero(progression.reshape(-1, 2).max(1) > 0)
  if not len(sounding):
    return None
  first, last = sounding[0], sounding[-1] + 1
  progression, va = progression[2 * first:2 * last], va[first:last]
  odd = len(va) % 2
  if len(va) + odd < 8:
    return None
  progression = np.append(progression, [progression[-1]] * 2 * odd)
  va = np.concatenate([va, va[len(va) - odd:]])
  return Piece(name, source, progression.astype(np.int16),
               va[::2].astype(np.float32), np.asarray(present, bool))


def read_band(path: str | os.PathLike) -> Iterator[Piece]:
  """Pieces of a corpus of bands.

  Args:
    path: see `band_corpus.load`.

  Raises:
    FileNotFoundError: if there is no such file.
    ValueError: if it is damaged or is no corpus.
  """
  corpus = band_corpus.load(path)
  for first, bars, name in zip(
      corpus.first_bars(), corpus.bars, corpus.names, strict=True):
    tokens = corpus.tokens[
        STEPS_PER_BAR * first:STEPS_PER_BAR * (first + bars)]
    progression = canonical(
        tokens[:, band.MELODY], tokens[:, band.BASS],
        corpus.chords[2 * first:2 * (first + bars)].astype(int))
    va = corpus.va[first:first + bars]
    va = np.where(va == band_corpus.NO_LABEL, np.nan, va / 100)
    found = piece(str(name), _BAND, progression, va.astype(np.float32),
                  band.who_plays(tokens))
    if found:
      yield found


def read_songs(
    folder: str | os.PathLike, estimate: Callable) -> Iterator[Piece]:
  """Songs of POP909-CL.

  Args:
    folder: see `pop909_cl.read`.
    estimate: song, number of bars -> VA of each bar, float `[bars, 2]`.
  """
  for song in pop909_cl.read(folder):
    targets = song.targets()
    any_of_them = np.where(targets.any(1), targets.argmax(1), -1)
    melody, bass = (
        _tokens(notes, len(targets)) for notes in (song.melody, song.bass))
    progression = canonical(melody, bass, any_of_them)
    # Where the third is open, it is that of the scale.
    for i in np.flatnonzero(targets.sum(1) > 1):
      other = chords.chord_of(chords.root_of(progression[i]), 'min')
      if _is_diatonic(other):
        progression[i] = other
    found = piece(
        hashlib.md5(song.name.encode()).hexdigest(), _HUMAN, progression,
        estimate(song, len(targets) // 2),
        (True, len(song.bass) > 0, False, len(song.accompaniment) > 0))
    if found:
      yield found


def _is_diatonic(chord: int) -> bool:
  return set(chords.pitch_classes(chord)) <= {0, 2, 4, 5, 7, 9, 11}


def _tokens(notes: np.ndarray, num_half_bars: int) -> np.ndarray:
  """A line on sixteenths as `chords.key_signatures` reads it."""
  tokens = np.zeros(STEPS_PER_CHORD * num_half_bars, int)
  for start, end, pitch in notes[np.argsort(notes[:, 0])].tolist():
    tokens[start] = token_of(pitch)
    following = tokens[start + 1:end + 1]
    following[:] = 0
    if end < len(tokens):
      tokens[end] = 1
  return tokens


def student_va(student) -> Callable:
  """What a student expects of each eight bars of a song, for `read_songs`.

  They are about as long as the clips that it learned from.

  Args:
    student: `music_to_va.symbolic.SymbolicVA`.
  """
  def estimate(song, num_bars):
    notes = midi.read_notes(song.path)
    notes = notes[notes['part'] == 0]  # The piano, without the chords.
    features = np.stack([
        symbolic_features.extract(excerpt(notes, 4 * bar, 4 * _VA_BARS))
        for bar in range(0, num_bars, _VA_BARS)])
    va = np.clip(student.regress(features), -1, 1)
    va[np.isnan(features).all(1)] = np.nan
    return np.repeat(va, _VA_BARS, axis=0)[:num_bars]

  return estimate


# --- Examples.


def windows(pieces: Iterable[Piece]) -> dict[str, np.ndarray]:
  """Windows of all pieces, as arrays by name.

  Returns:
    'chords' int16 `[n, 64]`, -1 where there is nothing to learn; 'va' float32
    `[n, 16, 2]`, NaN where not known; 'position' int16 `[n, 16]`, of each
    segment in its piece; 'is_last' bool of that shape; 'present' bool `[n, 4]`;
    'mode' int8 `[n]`, an index of `harmony.MODES`; 'source' and 'is_held_out'
    `[n]`.
  """
  rows = collections.defaultdict(list)
  for one in pieces:
    num_segments = len(one.va)
    last_start = max(num_segments - WINDOW_SEGMENTS, 0)
    mode = chords.mode_of(np.maximum(one.chords, 0), _MODE_MARGIN)
    for start in sorted({*range(0, last_start, _STRIDE_SEGMENTS), last_start}):
      at = np.arange(start, start + WINDOW_SEGMENTS)
      inside = np.minimum(at, num_segments - 1)
      steps = (SEGMENT_CHORDS * inside[:, None]
               + np.arange(SEGMENT_CHORDS)).reshape(-1)
      beyond = np.repeat(at >= num_segments, SEGMENT_CHORDS)
      rows['chords'].append(np.where(beyond, -1, one.chords[steps]))
      rows['va'].append(one.va[inside])
      rows['position'].append(at)
      rows['is_last'].append(at == num_segments - 1)
      rows['present'].append(one.present)
      rows['mode'].append(harmony.MODES.index(mode))
      rows['source'].append(one.source)
      rows['is_held_out'].append(is_held_out(one.name))
  if not rows:
    raise ValueError('no piece has eight bars with chords')
  types = {'chords': np.int16, 'position': np.int16, 'mode': np.int8,
           'source': np.int8, 'va': np.float32}
  return {name: np.array(values, types.get(name, bool))
          for name, values in rows.items()}


def batch(examples: dict, rows: np.ndarray, random=None, va=True) -> dict:
  """What `Harmony.call` takes.

  Args:
    examples: see `windows`.
    rows: which of them.
    random: numpy generator that drops VA, mode and chords; None drops nothing.
    va: whether VA is given at all.
  """
  x = {name: values[rows] for name, values in examples.items()}
  known = x['chords'] >= 0
  seen, mode = known, x['mode']
  given = ~np.isnan(x['va']).any(-1) & va
  if random is not None:
    given &= random.random((len(rows), 1)) >= _VA_DROPOUT
    mode = np.where(random.random(len(rows)) < _MODE_DROPOUT, 0, mode)
    seen = seen & (random.random(seen.shape) >= _CHORD_DROPOUT)
  return {
      'chords': np.maximum(x['chords'], 0).astype(np.int32),
      'seen': seen, 'weight': known.astype(np.float32),
      'piece': harmony.describe(
          x['present'], [harmony.MODES[m] for m in mode]),
      'controls': harmony.controls(
          np.nan_to_num(x['va']), x['position'], x['is_last'], given)}


def draw(examples: dict, batch_size: int, seed: int, step: int) -> dict:
  """The batch of a step; most of it are chords that people wrote."""
  random = np.random.default_rng((seed, step))
  human = random.random(batch_size) < _HUMAN_SHARE
  rows = np.zeros(batch_size, int)
  for source in (_BAND, _HUMAN):
    pool = np.flatnonzero(
        (examples['source'] == source) & ~examples['is_held_out'])
    if not len(pool):  # Of one corpus alone.
      pool = np.flatnonzero(~examples['is_held_out'])
    rows = np.where(human == source, random.choice(pool, batch_size), rows)
  return batch(examples, rows, random)


def held_out_nats(model: Harmony, examples: dict) -> dict[str, float]:
  """Nats a half bar of held-out pieces, by what is known of them."""
  result = {}
  for source, name in ((_HUMAN, 'people'), (_BAND, 'recognised')):
    rows = np.flatnonzero(
        examples['is_held_out'] & (examples['source'] == source))
    for va in (True, False):
      total = count = 0.0
      for start in range(0, len(rows), 64):
        # Of one shape, which is compiled once.
        part = np.resize(rows[start:start + 64], 64)
        x = batch(examples, part, va=va)
        x['weight'][len(rows) - start:] = 0
        weight = x['weight'].sum(1)
        nats = np.asarray(model.predict_on_batch(x))
        total, count = total + (nats * weight).sum(), count + weight.sum()
      if count:
        result[f"{name}, {'with' if va else 'without'} VA"] = total / count
  return result


# --- Training.


def train(
    examples: dict, run_dir: pathlib.Path, *, num_steps: int, batch_size: int,
    learning_rate: float, seed: int, report: Callable[[str], None],
    config: harmony.HarmonyConfig | None = None) -> Harmony:
  """Trains, or goes on from where a run in `run_dir` stopped.

  Args:
    examples: see `windows`.
    run_dir: for `state.npz`.
    num_steps: in all.
    batch_size: examples a step.
    learning_rate: at first; it falls to 0 along a cosine.
    seed: of weights and batches.
    report: is given lines of progress.
    config: sizes.

  Raises:
    ValueError: if the state there is that of another run.
  """
  keras.utils.set_random_seed(seed)
  model = Harmony(config)
  model.compile(keras.optimizers.Adam(
      keras.optimizers.schedules.CosineDecay(
          0.0, num_steps, warmup_target=learning_rate,
          warmup_steps=min(100, num_steps // 10)), global_clipnorm=1.0))
  model.optimizer.build(model.trainable_variables)
  variables = [*model.trainable_variables, *model.optimizer.variables]
  state_path, step = run_dir / 'state.npz', 0
  run = np.array([num_steps, batch_size, seed])
  if state_path.is_file():
    state = files.read_npz(state_path)
    step = int(state['step'])
    if (state['run'] != run).any() or any(
        state[f'v{i}'].shape != tuple(v.shape)
        for i, v in enumerate(variables)):
      raise ValueError(
          f'{state_path} is of a run with other settings: give these, or '
          'another --run_dir')
    for i, variable in enumerate(variables):
      variable.assign(state[f'v{i}'])
  while step < num_steps:
    model.train_on_batch(draw(examples, batch_size, seed, step))
    step += 1
    if step % _SAVE_EVERY == 0 or step == num_steps:
      with files.writing(state_path) as temporary:
        np.savez(temporary, step=step, run=run, **{
            f'v{i}': keras.ops.convert_to_numpy(v)
            for i, v in enumerate(variables)})
      nats = held_out_nats(model, examples)
      report(f'step {step} of {num_steps}: loss '
             f'{float(model.loss_tracker.result()):.3f}; held out '
             + ', '.join(f'{k} {v:.3f}' for k, v in nats.items()))
      model.loss_tracker.reset_state()
  return model


# --- What it learned.


def measure(model: Harmony, judge, seed: int = 0, repeats: int = 16) -> dict:
  """How harmony follows VA: 5 x 5 targets, 8 segments each, mode left open.

  Args:
    model: of harmony.
    judge: `music_to_va.symbolic.SymbolicVA`, reads block chords, half notes at
      100 quarters a minute on a piano.
    seed: of the draws.
    repeats: progressions of each target.

  Returns:
    By guidance: correlations of the valence asked for with the share of major
    thirds among chords ('major thirds') and with the valence judged
    ('judged'); shares of pieces in A minor at valence -0.8 and 0.8.
  """
  axis = np.linspace(-0.8, 0.8, 5)
  asked = np.repeat(
      np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), repeats, axis=0)
  va = np.repeat(asked[:, None], 8, axis=1)
  result = {}
  for guidance in (1.0, 3.0):
    drawn = model.sample(
        va, np.ones((len(va), 4)), seed=seed, guidance=guidance)
    # Of the pitch classes a major third above the root, whether one sounds.
    major = np.array([[
        chords.quality_of(c) in ('maj', '7', 'maj7') for c in piece_]
        for piece_ in drawn])
    minor = np.array([chords.mode_of(c) == 'minor' for c in drawn])
    judged = judge.regress(np.stack(
        [symbolic_features.extract(_block_chords(c)) for c in drawn]))
    low, high = (np.isclose(asked[:, 0], v) for v in (-0.8, 0.8))
    result[guidance] = {
        'r, valence asked and share of major thirds': metrics.pearson_r(
            asked[:, 0], major.mean(1)),
        'r, valence asked and judged': metrics.pearson_r(
            asked[:, 0], judged[:, 0]),
        'share in minor at valence -0.8': minor[low].mean(),
        'share in minor at valence 0.8': minor[high].mean(),
        'valence judged at 0.8 less that at -0.8': (
            judged[high, 0].mean() - judged[low, 0].mean()),
    }
  return result


def _block_chords(progression: np.ndarray) -> np.ndarray:
  """A progression as notes of a piano, half notes at 100 quarters a minute."""
  voiced = chords.voice(progression)
  at, voice = np.nonzero(voiced >= 0)
  notes = np.zeros(len(at), NOTE_DTYPE)
  notes['start_beats'], notes['end_beats'] = 2 * at, 2 * at + 2
  for edge in ('start', 'end'):
    notes[f'{edge}_seconds'] = notes[f'{edge}_beats'] * 0.6
  notes['pitch'], notes['velocity'] = voiced[at, voice], 80
  return notes


def run(
    *, pop909_cl_dir: str | os.PathLike, band_path: str | os.PathLike,
    run_dir: pathlib.Path, num_steps: int, seed: int, student, judge,
    command: str, report: Callable[[str], None]):
  """Trains, measures and writes the model of harmony with its card.

  Args:
    pop909_cl_dir: see `read_songs`.
    band_path: see `read_band`.
    run_dir: is made; a run that was stopped there goes on.
    num_steps: of training.
    seed: of everything random.
    student: `SymbolicVA` that labels the songs.
    judge: `SymbolicVA` that reads what is generated.
    command: that made it, for the card.
    report: is given lines of progress.

  Raises:
    FileNotFoundError: if a corpus is missing.
    ValueError: if one is damaged, or the run there has other settings.
  """
  examples_path = run_dir / 'examples.npz'
  if not examples_path.is_file():
    pieces = list(read_band(band_path))
    report(f'read {len(pieces)} bands')
    pieces += read_songs(pop909_cl_dir, student_va(student))
    run_dir.mkdir(parents=True, exist_ok=True)
    with files.writing(examples_path) as temporary:
      np.savez_compressed(temporary, **windows(pieces))
  examples = files.read_npz(examples_path)
  report(f'{len(examples["chords"])} windows')
  model = train(
      examples, run_dir, num_steps=num_steps, batch_size=_BATCH_SIZE,
      learning_rate=_LEARNING_RATE, seed=seed, report=report)
  harmony.save(model, run_dir)
  nats = held_out_nats(model, examples)
  figures = measure(model, judge, seed)
  with files.writing(run_dir / 'harmony.md') as temporary:
    temporary.write_text(_card(examples, nats, figures, command))
  report(f'wrote {run_dir}')


def _card(examples, nats, figures, command) -> str:
  counts = {
      name: (examples['source'] == source).sum()
      for source, name in ((_HUMAN, 'people'), (_BAND, 'recognised'))}
  nats_rows = '\n'.join(f'| {k} | {v:.3f} |' for k, v in nats.items())
  names = list(figures[1.0])
  rows = '\n'.join(
      f'| {name} | ' + ' | '.join(
          f'{values[name]:.2f}' for values in figures.values()) + ' |'
      for name in names)
  return f'''## Harmony

`harmony.json`, `harmony.npz`: chord progressions given VA, mode and who plays,
in the key without accidentals; `va_magenta.va_to_music.harmony.load` reads
them. Learned from POP909-CL (2026; MIT), whose chords people wrote
({counts['people']} windows of 32 bars, {_HUMAN_SHARE:.0%} of each batch), and
from chords that were recognised in a corpus of bands ({counts['recognised']}
windows; sequences of mostly copyrighted works, of which nothing is here). VA of
POP909-CL is what the shipped student expects of its notes.

Made by

    {command}

One piece of 20 is held out. Nats a half bar of its chords:

| chords by | |
|---|---|
{nats_rows}

How it follows VA: 5 x 5 targets, 16 progressions of 16 bars each, mode left
open; judged by the student that knows no clip of the generator's, from block
chords alone:

| guidance | {' | '.join(f'{g:g}' for g in figures)} |
|---|{'---|' * len(figures)}
{rows}
'''
