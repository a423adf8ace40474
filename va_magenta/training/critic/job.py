"""Fits the critic to what people feel in notes alone, and measures it.

People rated clips of EIMG. The top line of each, or its top and bottom lines,
played plainly (`voices.notes_of`), keep their clip's rating, and so do
excerpts: from these a student of `training.symbolic`, here the teacher, learns
what notes alone tell of VA. The teacher labels melodies of a corpus, or
melodies with their basses, and what chance makes of them; the critic, which is
differentiable, learns the labels.

What is called a melody here has one voice or two: int [steps, voices].

EIMG's groups are dealt into two halves. The teacher knows the half of the
student `generator`; people's ratings of the other, on which the student `judge`
was fitted, test what has been learned.
"""

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np

from va_magenta import checkpoints, processes
from va_magenta.music_to_va import symbolic
from va_magenta.training import cards
from va_magenta.training.critic import measure, train
from va_magenta.training.critic.pairs import (
  WINDOW_BARS,
  make_pairs,
  read_eimg,
  teach,
)
from va_magenta.training.critic.voices import features_of_many, one_hot
from va_magenta.va import AXES

# So many pairs of a melody and what was made of it, by the number of bars.
NUM_PAIRS = {2: 16_000, 4: 800, 8: 800, 16: 800}
NUM_TEST = {2: 1000, 16: 200}
# Training goes in rounds, each so large a share of the steps.
ROUNDS = .3, .2, .5
NUM_ASCENTS = 100  # Melodies that are moved along the gradient.
_TRANSPOSE = 6  # Semitones.

# What critics of one and of two voices read.
_LINES = {1: 'top line', 2: 'top and bottom lines'}
_TEXTS = {
    1: {
        'name': 'critic',
        'decoder': 'melody',
        'reads': "the first 90 of each step's depth: the melody, in all configs"
                 ' of\n  MusicVAE. Bass and drums of a trio are not read',
        'corpus': "melodies of Magenta's converter for `cat-mel_2bar_small`",
        'both': '',
    },
    2: {
        'name': 'trio_critic',
        'decoder': 'trio',
        'reads': "the first 180 of each step's depth: melody and bass of a "
                 'trio. Drums\n  are not read',
        'corpus': "melodies and basses of Magenta's converter for "
                  '`hierdec-trio_16bar`',
        'both': ', of one voice or of both',
    },
}


def run(
    *, melodies, eimg_dir: pathlib.Path, run_dir: pathlib.Path, seed: int,
    num_steps: int, report: Callable[[str], None]):
  """Trains, measures and writes the critic with its card to `run_dir`.

  Args:
    melodies: a corpus: `tokens`, int16 [n, 32, voices], of the voices that the
      critic shall read, the `piece` of each, int [n] in order, and
      `of_split(name)`, bool [n].
    eimg_dir: EIMG: labels.csv and midi/.
    run_dir: is made if it is not there.
    seed: of everything random.
    num_steps: of training.
    report: takes a line of progress.

  Raises:
    OSError, ValueError: if a file is missing or is not what it should be, or a
      split of the corpus is empty.
  """
  import keras

  from va_magenta.music_to_va import critic

  generator, judge = (
      checkpoints.path('symbolic_va') / name for name in ('generator', 'judge'))
  student = symbolic.load(generator)
  groups = json.loads((generator / 'config.json').read_text())['groups']
  splits = {}
  for split in ('train', 'test'):
    rows = melodies.of_split(split)
    if not rows.any():
      raise ValueError(f'the corpus has no melody in its {split} split')
    splits[split] = melodies.tokens[rows], melodies.piece[rows]
  num_voices = melodies.tokens.shape[-1]
  rng = np.random.default_rng(seed)
  with (
      processes.told_if_killed('read melodies'),
      processes.Pool(None, os.nice, 10) as pool,
  ):
    rated = read_eimg(eimg_dir, num_voices, seed)
    features = features_of_many(rated.melodies, pool, 'reading EIMG')
    report(f'the {_LINES[num_voices]} of {rated.is_whole.sum()} clips of EIMG, '
           f'{np.sum(~rated.is_whole)} excerpts of these')
    is_known = np.isin(rated.groups, groups)
    teacher = teach(rated[is_known], features[is_known], seed)
    pairs, tests = (
        make_pairs(*splits[name], *how)  # pyright: ignore
        for name, how in (
            ('train', (NUM_PAIRS, teacher, pool, rng, _TRANSPOSE)),
            ('test', (NUM_TEST, teacher, pool, rng, 0))))

    keras.utils.set_random_seed(seed)
    windows = pairs[WINDOW_BARS]
    num_made = len(windows.piece)
    scale = windows.va[:, 0].mean(axis=0), windows.va[:, 0].std(axis=0)
    model = critic.Critic(num_voices=num_voices)
    for i, share in enumerate(ROUNDS):
      if i:
        pairs = train.add_ascents(model, pairs, teacher, pool, rng)
      train.train(
          model, pairs, scale, max(1, int(share * num_steps)), rng, report)
    model = train.calibrated(
        model, scale, windows.tokens[:, 0],
        rated.ratings[rated.is_whole].std(axis=0))
    run_dir.mkdir(parents=True, exist_ok=True)
    critic.save(model, run_dir)
    model = critic.load(run_dir)  # As float16 has left it.
    report(f'wrote {run_dir}; measuring')

    def reader(predict):
      return lambda tokens: predict(
          features_of_many(tokens, pool, 'judging'))

    others = rated[~is_known]
    judged = features[~is_known]
    estimates = {
        'student': student.regress(judged),
        'teacher': teacher(judged),
        'critic': train.estimate_each(model, others.melodies),
    }
    windows = tests[WINDOW_BARS]
    measure.plot(run_dir / 'held_out.png', {
        'teacher, melodies of 2 bars': (
            windows.va[:, 0],
            train.estimate(model, one_hot(windows.tokens[:, 0]))),
        f'people, {_LINES[num_voices]}': (
            others.ratings[others.is_whole],
            estimates['critic'][others.is_whole]),
    }, AXES)
    cards.write(
        run_dir, 'critic', **_TEXTS[num_voices], lines=_LINES[num_voices],
        seed=seed, num_steps=num_steps,
        num_weights=f'{model.count_params():,}',
        num_pairs=', '.join(
            f'{len(p.tokens):,} of {n} bars' for n, p in pairs.items()),
        num_rounds=len(ROUNDS),
        num_climbed=f'{len(pairs[WINDOW_BARS].piece) - num_made:,}',
        num_groups=len(set(others.groups.tolist())),
        num_test=len(np.unique(windows.piece)),
        people=measure.against_people(others, estimates, seed),
        teacher=measure.against_teacher(model, tests, seed),
        climbs=measure.along_gradient(
            model, windows.tokens[:NUM_ASCENTS, 0],
            {'teacher': reader(teacher),
             'judge': reader(symbolic.load(judge).regress)}, seed),
        spread=measure.spread_of_estimates(model, tests),
        transpose=_TRANSPOSE, num_climbs=len(windows.tokens[:NUM_ASCENTS]),
        rated_spread=measure.numbers(rated.ratings[rated.is_whole].std(axis=0)),
        batch=measure.TIMED_BATCH,
        speed=f'{measure.milliseconds(model, 32):.0f}',
        speed_long=f'{measure.milliseconds(model, 256):.0f}')
  report(f'wrote {run_dir}')
