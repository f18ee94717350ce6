"""How far each thing is believed in the fit, with the reason."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from data import pose_vector
from edtn_jax.encoders.landmark_fit.blocks import HeadBlocks
from edtn_jax.encoders.landmark_fit.correspondence import LandmarkMap
from edtn_jax.encoders.landmark_fit.solver import Prior

# Root mean square of pose coefficients over time. People blink more often than
# they smile with closed eyes, and the lids' landmarks do not tell which it is.
_COMMON, _RARE = 0.3, 0.1


@dataclasses.dataclass(frozen=True)
class FitOptions:
  """Settings of `LandmarkEncoder`.

  Attributes:
    num_expression: E, expression coefficients that take part; the others of
      a code are 0.
    landmark_sigma: metres by which a landmark of weight 1 is off.
    depth_sigma: the same along the view, for points on bone. Trusted more
      than places in the picture: FaceMesh knows a turned head as such, and
      depth tells the turn from a face that only moves.
    lid_sigma: of a lid opening, relative to the open lid.
    expression_sigma: standard deviation of an expression coefficient. Bases
      are scaled so that 1 is natural; less leaves more to the jaw.
    expression_covariance: [E, E] instead, see `adapter_covariance`.
    jaw_sigma: radians about x (opening), y, z.
    jaw_low: bounds of the jaw, radians.
    jaw_high: bounds of the jaw, radians.
    expression_step: how far the expression moves in a frame, in standard
      deviations of the prior; lids are exempt. 0 switches the temporal prior
      of expression and jaw off.
    jaw_step: radians by which the jaw moves in a frame.
    iterations: Gauss-Newton steps a frame.
  """

  num_expression: int = 50
  landmark_sigma: float = 0.002
  depth_sigma: float = 0.001
  lid_sigma: float = 0.05
  expression_sigma: float = 0.5
  expression_covariance: np.ndarray | None = None
  jaw_sigma: tuple[float, float, float] = (0.15, 0.02, 0.02)
  jaw_low: tuple[float, float, float] = (-0.06, -0.1, -0.1)
  jaw_high: tuple[float, float, float] = (0.6, 0.1, 0.1)
  expression_step: float = 0.5
  jaw_step: float = 0.08
  iterations: int = 3

  def __post_init__(self):
    problems = [
      f'{name} is {getattr(self, name)}, wanted more than 0'
      for name in (
        'num_expression', 'landmark_sigma', 'depth_sigma', 'lid_sigma',
        'expression_sigma', 'jaw_step', 'iterations',
      )
      if not getattr(self, name) > 0
    ]  # fmt: skip
    if not self.expression_step >= 0:
      problems.append(
        f'expression_step is {self.expression_step}, wanted 0 or more'
      )
    if not min(self.jaw_sigma) > 0:
      problems.append(f'jaw_sigma is {self.jaw_sigma}, wanted more than 0')
    if not (np.array(self.jaw_low) < np.array(self.jaw_high)).all():
      problems.append('jaw_low must lie below jaw_high')
    wanted = (self.num_expression, self.num_expression)
    if self.expression_covariance is not None:
      found = np.shape(self.expression_covariance)
      if found != wanted:
        problems.append(
          f'expression_covariance is {list(found)}, wanted {list(wanted)}'
        )
    if problems:
      raise ValueError('fit options: ' + '; '.join(problems))


def make_prior(
  options: FitOptions, landmarks: LandmarkMap, blocks: HeadBlocks
) -> Prior:
  """The prior of the solver by the options.

  Args:
    options: the settings.
    landmarks: the N landmarks and their weights.
    blocks: the head; its lids tell which expressions may change at once.

  Returns:
    The prior.
  """
  count = options.num_expression
  if options.expression_covariance is None:
    expression = np.eye(count) / options.expression_sigma**2
  else:
    expression = np.linalg.inv(np.asarray(options.expression_covariance))
  continued = options.expression_step > 0
  step = np.zeros((count, count))
  if continued:
    step = _without(expression, np.asarray(blocks.lids, np.float64))
    step /= options.expression_step**2
  jaw_step = np.full(3, float(continued) / options.jaw_step**2)
  numbers = {
    'weight': landmarks.weight / options.landmark_sigma**2,
    'depth': landmarks.depth_weight / options.depth_sigma**2,
    'lid': 1 / options.lid_sigma**2,
    'expression': expression,
    'expression_step': step,
    'jaw': 1 / np.square(options.jaw_sigma),
    'jaw_step': jaw_step,
    'jaw_low': options.jaw_low,
    'jaw_high': options.jaw_high,
  }
  return Prior(
    **{name: jnp.asarray(n, jnp.float32) for name, n in numbers.items()}
  )


def adapter_covariance(
  pose_adapter: np.ndarray, *, rest: float = 0.1
) -> np.ndarray:
  """How expressions spread that a translator with this adapter knows.

  Use it as `FitOptions.expression_covariance`: of all expressions that explain
  the landmarks, the fit then prefers those that mean something.

  Args:
    pose_adapter: [17, E] float, expressions of the pose coefficients.
    rest: standard deviation of what the adapter does not span.

  Returns:
    [E, E] float64.
  """
  adapter = np.asarray(pose_adapter, np.float64)
  deviation = np.array(
    [
      _RARE if 'happy' in name else _COMMON
      for name in pose_vector.COEFFICIENT_NAMES
    ]
  )
  spread = deviation[:, None] * adapter
  return spread.T @ spread + rest**2 * np.eye(adapter.shape[1])


def _without(precision, gradients):
  """A precision [E, E] that leaves the response to [K, E] gradients free.

  The most probable expression that changes `gradients @ expression` is
  `inv(precision) @ gradients.T`; moving along it costs nothing afterwards, so
  a blink of three frames is not smoothed.
  """
  pull = np.linalg.inv(gradients @ np.linalg.solve(precision, gradients.T))
  return precision - gradients.T @ pull @ gradients
