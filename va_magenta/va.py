"""The valence-arousal (VA) plane: points, scales, quadrants, distances.

Every part of va_magenta translates to or from this plane. A point is written
`(valence, arousal)`, always in that order and always in [-1, 1] (Russell, "A
circumplex model of affect", 1980): valence runs from unpleasant to pleasant,
arousal from calm to excited. Other ranges exist only at the boundary, where
`Scale` converts them.

  >>> VA(0.5, -0.25).quadrant.value
  'high valence, low arousal'
  >>> Scale.OASIS.to_plane(7.0)
  1.0
"""

import dataclasses
import enum
import math

AXES = ('valence', 'arousal')


class Quadrant(enum.Enum):
  """Quadrants of the VA plane, numbered Q1 to Q4 counter-clockwise.

  The numbers are those of EMOPIA (Hung et al. 2021); a coordinate of exactly 0
  counts as high.
  """

  Q1 = 'high valence, high arousal'
  Q2 = 'low valence, high arousal'
  Q3 = 'low valence, low arousal'
  Q4 = 'high valence, low arousal'


@dataclasses.dataclass(frozen=True)
class VA:
  """A point on the valence-arousal plane.

  Attributes:
    valence: unpleasant (-1) to pleasant (1).
    arousal: calm (-1) to excited (1).

  Raises:
    ValueError: if a coordinate is not a number in [-1, 1].
  """

  valence: float
  arousal: float

  def __post_init__(self):
    for name in AXES:
      value = getattr(self, name)
      try:
        number = float(value)
      except (TypeError, ValueError):
        number = math.nan
      if not -1 <= number <= 1:  # NaN fails this too.
        raise ValueError(f'{name} must be a number in [-1, 1], got {value!r}')
      object.__setattr__(self, name, number)

  @property
  def quadrant(self) -> Quadrant:
    """The quadrant that this point lies in."""
    if self.arousal >= 0:
      return Quadrant.Q1 if self.valence >= 0 else Quadrant.Q2
    return Quadrant.Q4 if self.valence >= 0 else Quadrant.Q3

  def distance(self, other: 'VA') -> float:
    """Euclidean distance to `other`, in [0, 2 sqrt(2)]."""
    return math.hypot(
        self.valence - other.valence, self.arousal - other.arousal)

  @classmethod
  def clip(cls, valence: float, arousal: float) -> 'VA':
    """The point of the plane nearest to two finite coordinates.

    For estimates, which may leave [-1, 1] by a little; what a person enters is
    checked by `VA(...)` instead.

    Raises:
      ValueError: if a coordinate is NaN or infinite.
    """
    if not (math.isfinite(valence) and math.isfinite(arousal)):
      raise ValueError(
          f'valence and arousal must be finite, got ({valence}, {arousal})')
    return cls(min(1.0, max(-1.0, valence)), min(1.0, max(-1.0, arousal)))


class Scale(enum.Enum):
  """Rating scales of the datasets, as (lowest, highest) rating.

  OASIS: Kurdi et al. 2017. EMOTIC: Kosti et al. 2017. DEAM: Aljanaki et al.
  2017. EIMG: IEEE TMM 2023. EMOTION6: Peng et al. 2015. UNIT: the 0..1 scale
  of plots and reports. Both axes of a dataset share one scale.
  """

  OASIS = (1.0, 7.0)
  EMOTIC = (1.0, 10.0)
  # Distinct members need distinct values, so DEAM's 1..9 carries three names.
  DEAM = (1.0, 9.0)
  EIMG = DEAM
  EMOTION6 = DEAM
  UNIT = (0.0, 1.0)

  def to_plane(self, rating):
    """Ratings on this scale as coordinates in [-1, 1].

    Args:
      rating: a number or numpy array on this scale.

    Returns:
      The same shape, linearly mapped; NaN and ratings off the scale are not
      caught.
    """
    low, high = self.value
    return 2 * (rating - low) / (high - low) - 1

  def from_plane(self, coordinate):
    """Inverse of `to_plane`: coordinates in [-1, 1] as ratings."""
    low, high = self.value
    return low + (coordinate + 1) / 2 * (high - low)
