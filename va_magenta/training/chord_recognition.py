"""Fits the recogniser of chords to the chords that people wrote (POP909-CL).

Logistic regression through one hidden layer, on half bars; where a chord may
count as two (`pop909_cl`), either is right. Folds by song measure it: half bars
whose root is right, and of those with a major or minor third, those where root
and third are (mir_eval's `root` and `majmin`).
"""

import os
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from va_magenta import files
from va_magenta.music import chord_recognition, chords
from va_magenta.music.chord_recognition import ChordRecogniser
from va_magenta.training import pop909_cl

_UNITS = 96
_DROPOUT = 0.2
_BATCH_SIZE = 256
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-3
_MINORS = ('min', 'min7')
_OF_THIRDS = ('maj', 'min', '7', 'maj7', 'min7')  # The chords `majmin` tells.


def fit(songs: Sequence[pop909_cl.Song], num_epochs: int, seed: int
        ) -> ChordRecogniser:
  """A recogniser of songs.

  Args:
    songs: to learn from.
    num_epochs: over their half bars.
    seed: of weights and order.
  """
  keras.utils.set_random_seed(seed)
  x, second, targets = [], [], []
  for song in songs:
    allowed = song.targets()[:, 1:]
    known = allowed.any(1)
    x.append(chord_recognition.features(
        song.accompaniment, song.bass, song.melody, len(allowed))[known])
    second.append(np.arange(len(allowed))[known] % 2)
    targets.append(allowed[known])
  x, second, targets = map(np.concatenate, (x, second, targets))
  roots = (np.arange(12)[:, None] + np.arange(12)) % 12

  pitch_classes = keras.Input(x.shape[1:])
  is_second = keras.Input(())
  rolled = ops.take(pitch_classes, roots, axis=2)
  rolled = ops.reshape(
      ops.transpose(rolled, (0, 2, 1, 3)),
      (-1, 12, chord_recognition.NUM_FEATURES - 1))
  inputs = ops.concatenate([
      rolled, ops.zeros_like(rolled[..., :1]) + is_second[:, None, None]],
      axis=-1)
  layers = (keras.layers.Dense(_UNITS, 'relu'),
            keras.layers.Dense(len(chords.QUALITIES)))
  hidden = keras.layers.Dropout(_DROPOUT)(layers[0](inputs))
  odds = ops.softmax(ops.reshape(
      layers[1](hidden), (-1, chords.NUM_CHORDS - 1)))
  model = keras.Model([pitch_classes, is_second], odds)
  model.compile(
      keras.optimizers.AdamW(
          keras.optimizers.schedules.CosineDecay(
              _LEARNING_RATE, num_epochs * -(-len(x) // _BATCH_SIZE)),
          weight_decay=_WEIGHT_DECAY),
      loss=lambda truth, odds: -ops.log(
          ops.sum(truth * odds, axis=-1) + 1e-7))
  model.fit(
      [x, second.astype(np.float32)], targets.astype(np.float32),
      batch_size=_BATCH_SIZE, epochs=num_epochs, verbose=0)
  return ChordRecogniser(*(
      tuple(ops.convert_to_numpy(getattr(layer, part)) for layer in layers)
      for part in ('kernel', 'bias')))


def accuracy(
    recogniser: ChordRecogniser, songs: Sequence[pop909_cl.Song]
) -> dict[str, float]:
  """Shares of half bars that are right: 'majmin' and 'root'."""
  right = {'majmin': [], 'root': []}
  for song in songs:
    found = recogniser.recognise(
        song.accompaniment, song.bass, song.melody, len(song.labels))
    for label, chord in zip(song.labels, found, strict=True):
      if label in (pop909_cl.NONE, pop909_cl.UNKNOWN):
        continue
      root, quality = label.split(':')
      same = bool(chord) and chords.root_of(chord) == chords.root_of(
          chords.parse(root))
      right['root'].append(same)
      if quality in _OF_THIRDS or quality in ('maj6', 'min6', 'minmaj7'):
        played = chords.quality_of(chord)
        right['majmin'].append(
            same and played in _OF_THIRDS
            and (played in _MINORS) == quality.startswith('min'))
  return {name: float(np.mean(values)) for name, values in right.items()}


def run(
    *, pop909_cl_dir: str | os.PathLike, run_dir: pathlib.Path, num_folds: int,
    num_epochs: int, seed: int, command: str, report: Callable[[str], None]):
  """Measures by folds, fits to all songs, writes the recogniser and its card.

  Args:
    pop909_cl_dir: NNN.mid.
    run_dir: is made.
    num_folds: of songs; a fold is left out of each fit but the last.
    num_epochs: of each fit.
    seed: of weights and order.
    command: that made it, for the card.
    report: is given lines of progress.

  Raises:
    FileNotFoundError: if there are no songs.
    ValueError: if a file is damaged or there are fewer songs than folds.
  """
  songs = list(pop909_cl.read(pop909_cl_dir))
  if len(songs) < num_folds:
    raise ValueError(
        f'{pop909_cl_dir} has {len(songs)} songs in 4/4, fewer than '
        f'{num_folds} folds')
  report(f'read {len(songs)} songs')
  folds = []
  for fold in range(num_folds):
    kept = [s for i, s in enumerate(songs) if i % num_folds != fold]
    left = [s for i, s in enumerate(songs) if i % num_folds == fold]
    folds.append(accuracy(fit(kept, num_epochs, seed), left))
    report(f'fold {fold + 1} of {num_folds}: ' + ', '.join(
        f'{name} {value:.3f}' for name, value in folds[-1].items()))
  figures = {
      name: [fold[name] for fold in folds] for name in ('majmin', 'root')}
  run_dir.mkdir(parents=True, exist_ok=True)
  chord_recognition.save(
      run_dir, fit(songs, num_epochs, seed),
      {'songs': len(songs), 'epochs': num_epochs, 'seed': seed,
       'folds': figures})
  with files.writing(run_dir / 'README.md') as temporary:
    temporary.write_text(_card(songs, figures, command))
  report(f'wrote {run_dir}')


def _card(songs, figures, command) -> str:
  rows = '\n'.join(
      f'| {name} | {np.mean(values):.3f} ± {np.std(values):.3f} |'
      for name, values in figures.items())
  return f'''# Chords of a piece

**What it is for.** It tells which of 97 chords (none, or 12 roots x major,
minor, diminished, augmented, 7, maj7, m7, sus4) sounds in each half bar, from
the notes of accompaniment, bass and melody, when a corpus is read for training.
`va_magenta.music.chord_recognition.load()` loads it.

**Data and licence.** POP909-CL is MIT; the weights are Apache-2.0.

**What it is.** A network with one hidden layer and the same weights for every
root: transposing a piece transposes its chords.

Fitted to {len(songs)} songs in 4/4 of POP909-CL (2026; MIT), piano arrangements
with chords that people wrote, {sum(len(s.labels) for s in songs)} half bars.
Its input was a piano split by rule into melody, bass and the rest; on bands,
where other instruments play these, it was not measured.

**Made by**

    {command}

Songs held out ({len(figures['root'])} folds by song, mean ± standard deviation
over folds), share of half bars:

| right are | |
|---|---|
{rows}

'majmin': root and third, where people wrote a chord with a third (as mir_eval
counts); 'root': the root, of all chords. Sixths count as their triads, half
diminished chords as diminished; a suspended second as a triad on its root.
'''
