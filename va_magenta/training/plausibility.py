"""Learns what tells pieces by people from generated ones, to choose by.

Pieces by people are windows of the corpus of bands, without those that are held
out, in which as many voices play as in the generated ones. Folds are grouped by
piece and by what was asked for; the figures of the card are of pieces that were
not learned from.
"""

import pathlib
from collections.abc import Callable

import numpy as np

from va_magenta import checkpoints, files
from va_magenta.evaluation import people
from va_magenta.figures import plots
from va_magenta.music import measures
from va_magenta.trees import Trees, from_lightgbm

_NUM_FOLDS = 5
_NUM_TREES = 200
_PARAMETERS = {
    'objective': 'binary', 'learning_rate': 0.05, 'num_leaves': 8,
    'min_data_in_leaf': 20, 'feature_fraction': 0.5, 'bagging_fraction': 0.7,
    'bagging_freq': 1, 'lambda_l2': 1.0, 'verbose': -1, 'num_threads': 1,
    'deterministic': True, 'force_row_wise': True}


def run(
    generated_path: str | pathlib.Path, band_path: str | pathlib.Path,
    run_dir: str | pathlib.Path, seed: int = 0,
    tell: Callable[[str], None] = print) -> dict:
  """Fits, measures and writes the model with its card.

  Args:
    generated_path: pieces of 16 bars; see `people.read`. Those of one target
      have one number in `groups`.
    band_path: the corpus of bands; see `people.Corpus`.
    run_dir: is given what `plausibility.load` reads, README.md and odds.png.
    seed: of all draws.
    tell: is given lines of text to print.

  Returns:
    The config that was written.

  Raises:
    OSError, ValueError: if the data are not what they should be.
  """
  from sklearn.metrics import roc_auc_score

  ours = people.measure(people.read(generated_path))
  bands = people.Corpus(band_path)
  theirs = people.alike(people.measure(
      bands.windows(~bands.is_held_out, a_piece=1, seed=seed)), ours)
  for name, side in (('generated', ours), ("people's", theirs)):
    if len(np.unique(side.groups)) < people.MIN_PIECES:
      raise ValueError(
          f'{len(side)} {name} pieces have the voices that are learned from, '
          f'and at least {people.MIN_PIECES} of different targets or pieces '
          'are needed')
  of_melody = np.array(
      [name.startswith('melody_') for name in measures.SELECTION])
  if (ours.playing.mean(0) > 0.5)[1:].any():
    parts = [of_melody, ~of_melody]
  else:  # Melodies without chords.
    parts = [np.isin(measures.SELECTION, measures.MELODY_JUDGE)]
  columns = [people.NAMES.index(name) for name in measures.SELECTION]
  x = np.concatenate([theirs.values, ours.values])[:, columns]
  is_people = np.repeat([1, 0], [len(theirs), len(ours)])
  # Both sides count alike.
  weights = np.where(is_people, len(ours) / len(theirs), 1.0)
  held_out = np.empty(len(x))
  folds = _folds(theirs.groups, ours.groups, seed)
  for fold in range(_NUM_FOLDS):
    trained = folds != fold
    held_out[~trained] = _fit(
        x[trained], is_people[trained], weights[trained], parts, seed).predict(
            x[~trained])
  trees = _fit(x, is_people, weights, parts, seed)
  config = {
      'measures': measures.SELECTION,
      'held_out_auc': float(roc_auc_score(is_people, held_out)),
      'num_generated': len(ours), 'num_people': len(theirs), 'seed': seed}
  run_dir = pathlib.Path(run_dir).expanduser()
  run_dir.mkdir(parents=True, exist_ok=True)
  checkpoints.write(run_dir, checkpoints.PLAUSIBILITY, config, trees.arrays)
  card = _CARD.format(
      **config, trees=_NUM_TREES, number=sum(map(np.sum, parts)),
      **(_BANDS if len(parts) == 2 else _MELODIES))
  _plot(run_dir / 'odds.png', held_out, is_people)
  with files.writing(run_dir / 'README.md') as temporary:
    temporary.write_text(card)
  tell(f'told from people by the chooser: AUC {config["held_out_auc"]:.3f}')
  return config


def _fit(x, is_people, weights, parts, seed) -> Trees:
  """Trees whose sum is the mean of what each part of the measures says.

  Of both together, the accompaniment would have nearly all the say.
  """
  import lightgbm

  return from_lightgbm([
      lightgbm.train(
          {**_PARAMETERS, 'seed': seed},
          # What is the same everywhere splits nothing.
          lightgbm.Dataset(np.where(seen, x, 0), is_people, weight=weights),
          _NUM_TREES)
      for seen in parts])


def _plot(path: pathlib.Path, held_out, is_people):
  """How likely pieces by people and generated ones are, of none fitted on."""
  with plots.drawing(path, 6, 3, dpi=80) as figure:
    axes = figure.subplots()
    for side, name in ((1, 'people'), (0, 'generated')):
      axes.hist(held_out[is_people == side], bins=50, density=True,
                histtype='step', label=name)
    axes.set(xlabel='log odds that people wrote it', ylabel='density')
    axes.legend()


def _folds(theirs, ours, seed: int) -> np.ndarray:
  """A fold of each row, the same of those of a group: int [n]."""
  rng = np.random.default_rng(seed)
  folds = []
  for groups in (theirs, ours):
    own = np.unique(groups, return_inverse=True)[1]
    of_group = rng.permutation(np.arange(own.max() + 1) % _NUM_FOLDS)
    folds.append(of_group[own])
  return np.concatenate(folds)


_BANDS = {
    'whose': "a band's",
    'mean': ": the mean of those by the melody's measures and by all others, "
            'on which as many trees are'}
_MELODIES = {'whose': "a melody model's or trio model's", 'mean': ''}
_CARD = '''# As people write: the chooser

**What it is for.** `va_magenta_generate` uses it to choose among {whose}
candidates: it keeps the one with the least distance in VA minus a share of the
log odds (`composing/plausibility.py`). It does not judge music: what it chose
is judged by measures that it does not see (`va_magenta_evaluate --people`).

**What it is.** {trees} boosted trees on {number} measures of
`measures.SELECTION`; they give the log odds that a piece of 16 bars is by
people{mean}.

**Data and licence.** Measures of {num_people} windows by people, one a piece
and none of the pieces held out for evaluation, from MIDI files of mostly
copyrighted works, none of which is here; and of {num_generated} generated
pieces. Apache-2.0.

| on other targets, and on people that it was not fitted on | |
|---|---|
| AUC, people against generated | {held_out_auc:.3f} |

![Log odds of pieces by people and of generated ones](odds.png)

It knows the generator that it was fitted on; for another, fit it anew.

**Made by**

    va_magenta_train_plausibility --generated_path=PIECES.npz \\
      --band_path=BAND.npz --run_dir=RUN --seed={seed}
'''
