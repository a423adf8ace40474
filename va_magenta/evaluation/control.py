"""How well music follows its target VA.

Pieces are composed for a grid of targets again and again, each time with
another seed that all targets share. `targets` is [num_targets, 2], `obtained`
is [num_seeds, num_targets, 2]: where a judge places the music. Each figure is
measured for each seed, so that it has a spread.

Figures of each axis
--------------------
* `pearson_r`, `ccc`, `mae`: see `metrics`.
* `half_plane_accuracy`: the share of points on the target's side of the middle,
  over targets that do not lie on it. XMusic (Tian et al. 2025, Tables VI and
  VII) asks listeners for it; here a judge says it.
* `consistency`: the same request gives the same result. 1 minus the standard
  deviation of what is obtained about its mean for the same target of this axis
  (over seeds and over targets of the other axis), averaged over targets.
* `restrictiveness`: a request on this axis changes nothing else. 1 minus the
  standard deviation of what is obtained on the other axis while only this one's
  target varies (other target and seed fixed), averaged. Music that ignores its
  targets is perfectly restrictive.
* `linearity`: R2 of the regression line of what is obtained on the target, that
  is r squared.

The last three are those of Tan & Herremans, "Music FaderNets: controllable
music generation based on high-level features via low-level feature modelling"
(ISMIR 2020), where faders and attributes run from 0 to 1; so the standard
deviations are of the plane's coordinates halved. The linear relation between a
regularised latent dimension and its attribute is judged so by Pati & Lerch,
"Latent space regularization for explicit control of musical attributes" (ML4MD
at ICML 2019).

And of both: `quadrant_accuracy`, over targets that lie in a quadrant and not on
a border; `distance`, the mean Euclidean distance of what is obtained from the
target.
"""

import numpy as np

from va_magenta.figures import metrics
from va_magenta.figures.metrics import AXES

# Half the length of an axis: the plane's coordinates to attributes of 0..1.
_UNITS = 0.5
_DECIMALS = 9  # Targets that differ by less are the same.


def grid(side: int) -> np.ndarray:
  """Targets that cover the plane evenly: the middles of side x side cells.

  Args:
    side: at least 2.

  Returns:
    float64 [side**2, 2], arousal counting up within valence.

  Raises:
    ValueError: if the side is too short.
  """
  if side < 2:
    raise ValueError(f'a grid has 2 targets a side at least, got {side}')
  middles = ((np.arange(side) + 0.5) / side * 2 - 1).round(_DECIMALS)
  return np.stack(np.meshgrid(middles, middles, indexing='ij'), -1).reshape(
      -1, 2)


def figures(targets, obtained) -> dict[str, np.ndarray]:
  """Every figure of the module's docstring.

  Args:
    targets: [num_targets, 2] in [-1, 1]; both axes take several values.
    obtained: [num_seeds, num_targets, 2].

  Returns:
    Name, such as 'valence/pearson_r', to a value for each seed, [num_seeds].

  Raises:
    ValueError: if the shapes do not match.
  """
  targets = np.asarray(targets, np.float64)
  obtained = np.asarray(obtained, np.float64)
  if obtained.ndim != 3 or obtained.shape[1:] != targets.shape:
    raise ValueError(
        f'{list(targets.shape)} targets need as many points a seed, got '
        f'{list(obtained.shape)}')
  found = {}
  for i, axis in enumerate(AXES):
    for metric in (metrics.pearson_r, metrics.ccc, metrics.mae):
      found[f'{axis}/{metric.__name__}'] = np.array(
          [metric(targets[:, i], points[:, i]) for points in obtained])
    found[f'{axis}/consistency'] = _consistency(
        targets[:, i], obtained[..., i])
    found[f'{axis}/restrictiveness'] = _restrictiveness(
        targets[:, 1 - i], obtained[..., 1 - i])
    found[f'{axis}/linearity'] = found[f'{axis}/pearson_r']**2
    found[f'{axis}/half_plane_accuracy'] = quadrant_accuracy(
        targets[:, [i]], obtained[..., [i]])
  found['quadrant_accuracy'] = quadrant_accuracy(targets, obtained)
  found['distance'] = np.linalg.norm(obtained - targets, axis=-1).mean(axis=1)
  return found


def quadrant_accuracy(targets, obtained) -> np.ndarray:
  """Share of points in the target's quadrant, for each seed; see `figures`.

  Of points of one axis, [..., 1], the share in the target's half.
  """
  inside = np.all(targets != 0, axis=1)
  same = (obtained[:, inside] >= 0) == (targets[inside] >= 0)
  return same.all(axis=-1).mean(axis=1)


def _consistency(targets, obtained) -> np.ndarray:
  """Of one axis: targets [num_targets], obtained [num_seeds, num_targets]."""
  deviations = []
  for target in np.unique(targets):
    points = obtained[:, targets == target]
    deviations.append(np.sqrt(np.mean((points - points.mean())**2, axis=1)))
  return 1 - _UNITS * np.mean(deviations, axis=0)


def _restrictiveness(other_targets, other_obtained) -> np.ndarray:
  """Of one axis, from the other's targets and what was obtained of it."""
  return 1 - _UNITS * np.mean([
      other_obtained[:, other_targets == target].std(axis=1)
      for target in np.unique(other_targets)], axis=0)


def shuffled(obtained, seed: int) -> np.ndarray:
  """The same music for the wrong targets: permuted anew within each seed.

  The control that says what agreement comes about without listening.
  """
  rng = np.random.default_rng(seed)
  return np.stack([rng.permutation(points) for points in obtained])
