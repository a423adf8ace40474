"""From picture to music: is the music where people place the picture?

Pictures of OASIS (Kurdi et al. 2017) carry people's ratings. The shipped image
model was fitted to all of them, so here its head is fitted anew in folds, and
each picture is estimated by a head that saw neither it nor its like (pictures
of one theme, such as 'Acorns 1' and 'Acorns 2', are held out together). What
raters of further datasets would say is taken from the shipped head: it was not
learned from OASIS.

The mean distance between the picture's rated VA and the music's judged VA is
the measure of the whole product. Beside it stand what it is made of (the
picture's estimate against its ratings, the music against the estimate) and two
controls: the music of other pictures, and music that always lies where the mean
picture does.
"""

import dataclasses
import os
import pathlib

import numpy as np

from va_magenta import quiet
from va_magenta.figures import metrics
from va_magenta.figures.metrics import AXES

_DATASET = 'oasis_va'
_NUM_FOLDS = 5
_NUM_SHUFFLES = 20


@dataclasses.dataclass(frozen=True)
class Pictures:
  """Rated pictures and their held-out estimates.

  Attributes:
    rated: float64 [n, 2], people's mean ratings in [-1, 1].
    estimated: float64 [n, 2], by a head that was fitted without them.
  """

  rated: np.ndarray
  estimated: np.ndarray

  def some(self, num_pictures: int, seed: int) -> 'Pictures':
    """So many of them, drawn at random; all if there are no more."""
    n = len(self.rated)
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:num_pictures])
    return Pictures(self.rated[rows], self.estimated[rows])


def held_out(
    oasis_dir: str | os.PathLike, work_dir: str | os.PathLike, seed: int,
    image_model: str | os.PathLike | None = None,
) -> Pictures:
  """All pictures of OASIS, each estimated by a head that did not see it.

  Heads are fitted to OASIS alone, by its themes.

  The first time the backbones look at every picture (a tenth of a second each);
  what they saw is kept.

  Args:
    oasis_dir: holds OASIS.csv and images/.
    work_dir: keeps the prepared dataset and the features.
    seed: of the folds.
    image_model: name or path of the model whose head is fitted anew.

  Raises:
    OSError, ValueError: if it is not OASIS.
  """
  oasis_dir, work_dir = pathlib.Path(oasis_dir), pathlib.Path(work_dir)
  quiet.start_keras()
  from va_magenta.image_to_va import model as model_lib
  from va_magenta.training import image as training

  dataset = training.Dataset(_DATASET, work_dir / 'tfds', oasis_dir)
  model = model_lib.load(image_model)
  data = training.Data(
      dataset.ratings(), training.extract_features(
          model.features, model.config, dataset, work_dir / 'features'
      ).astype(np.float64), model_lib.depths(model.config, model.features))
  found = training.cross_validate(
      data, by_group=True, num_folds=_NUM_FOLDS, seed=seed,
      name='refitting the head')
  return Pictures(data.ratings.points, found.estimates[:, :2])


def figures(
    rated, estimated, judged, seed: int) -> dict[str, tuple[float, float]]:
  """How near the music comes to the pictures.

  Args:
    rated: [n, 2], people's ratings of each picture.
    estimated: [n, 2], the picture's estimate, the music's target.
    judged: [num_seeds, n, 2], where a judge places the music.
    seed: of controls and of draws for the spread.

  Returns:
    Name to (value, standard deviation over bootstrap draws of pictures).
    'distance' and 'AXIS/pearson_r' are of rated against judged, the mean over
    seeds; 'shuffled/...' of other pictures' music,
    the mean over shuffles; 'picture/...' of rated
    against estimated; 'music/...' of estimated against judged;
    'mean rating/distance' that of music which always lies at the mean rating.
  """
  rated, estimated, judged = map(np.asarray, (rated, estimated, judged))
  rng = np.random.default_rng(seed)
  music = np.moveaxis(judged, 0, 1)  # [n, num_seeds, 2], to be drawn in rows.
  other = np.concatenate(
      [music[rng.permutation(len(music))] for _ in range(_NUM_SHUFFLES)],
      axis=1)
  pairs = {
      '': (rated, music), 'shuffled/': (rated, other),
      'picture/': (rated, estimated[:, None]), 'music/': (estimated, music)}
  found = {}
  for prefix, (target, obtained) in pairs.items():
    for name, function in _FIGURES.items():
      found[prefix + name] = (
          function(target, obtained),
          metrics.bootstrap(function, target, obtained, seed=seed))
  # The ratings' own mean: more than any picture could know beforehand.
  mean = np.broadcast_to(rated.mean(axis=0), rated.shape)[:, None]
  found['mean rating/distance'] = (
      _distance(rated, mean),
      metrics.bootstrap(_distance, rated, mean, seed=seed))
  return found


def _distance(target, obtained) -> float:
  """Mean distance of target [n, 2] and obtained [n, num_seeds, 2]."""
  return float(np.linalg.norm(target[:, None] - obtained, axis=-1).mean())


def _correlation(axis: int):
  def function(target, obtained):
    """Pearson's r of the axis, the mean over seeds."""
    return float(np.mean([
        metrics.pearson_r(target[:, axis], of_seed)
        for of_seed in obtained[..., axis].T]))

  return function


_FIGURES = {
    'distance': _distance,
    **{f'{axis}/pearson_r': _correlation(i) for i, axis in enumerate(AXES)}}
