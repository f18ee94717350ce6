"""The pose adapter A: anime pose coefficients -> FLAME expression.

`psi_hat = pose_coeffs @ pose_adapter`, a fixed [17, 50] matrix with one FLAME
expression vector for each of the 17 meanings. It is made as in section 2.2 of
the paper and T.0-T.3 of AnimeCeleb section 3.1: take the neutral landmarks,
displace them so that they show the meaning, and find the expression whose
landmarks come closest, with a penalty on its length. Landmarks of an unposed
head are linear in the expression, so the minimum has a closed form.
"""

from __future__ import annotations

import pathlib

import numpy as np

from data.pose_vector import COEFFICIENT_NAMES, NUM_COEFFICIENTS
from flame_jax.assets import NUM_LANDMARKS, FlameAssets
from flame_jax.landmarks import frontal_landmark_weights

# Landmarks of each part in the 68-point order; left is the character's left.
BROW = {'right': np.arange(17, 22), 'left': np.arange(26, 21, -1)}
UPPER_LID = {'right': np.array([37, 38]), 'left': np.array([44, 43])}
LOWER_LID = {'right': np.array([41, 40]), 'left': np.array([46, 47])}
EYE = {'right': np.arange(36, 42), 'left': np.arange(42, 48)}
CHIN = np.arange(5, 12)
MOUTH_CORNERS = {'right': np.array([48, 60]), 'left': np.array([54, 64])}
UPPER_LIP = np.array([49, 50, 51, 52, 53, 61, 62, 63])
LOWER_LIP = np.array([55, 56, 57, 58, 59, 65, 66, 67])

# Share of the lid opening that each lid travels: (upper down, lower up).
_LID_TRAVEL = {
  'eye_wink': (0.95, 0.05),
  'eye_surprised': (-0.45, -0.15),
  'eye_happy_wink': (0.35, 0.65),
}
# Rise of the (outer, inner) end of a brow, in eye distances.
_BROW_RISE = {
  'eyebrow_raised': (0.12, 0.12),
  'eyebrow_lowered': (-0.02, -0.13),
  'eyebrow_troubled': (-0.04, 0.13),
}
# In mouth widths: corners outward, corners up, upper lip up, lower lip down,
# lips forward, and the share of the lower lip's way that the chin follows.
# e raises the upper lip, o raises it further, a does not: else e would be a
# mixture of a and i, and o one of e and u, which no mesh could tell apart.
_MOUTH_SHAPES = {
  'mouth_a': (-0.04, -0.04, 0.01, 0.50, 0.00, 0.85),
  'mouth_e': (0.10, -0.03, 0.07, 0.16, 0.00, 0.60),
  'mouth_i': (0.13, 0.05, 0.02, 0.05, -0.02, 0.30),
  'mouth_o': (-0.13, 0.02, 0.13, 0.22, 0.10, 0.70),
  'mouth_u': (-0.21, 0.00, 0.00, 0.05, 0.13, 0.30),
}


class PoseAdapterError(ValueError):
  """A pose adapter file or matrix that cannot be used."""


def load_pose_adapter(
  path: str | pathlib.Path, *, num_expression: int = 50
) -> np.ndarray:
  """Reads a pose adapter matrix from a `.npy` file.

  Args:
    path: file with a [17, E] float array, E the number of expression
      coefficients.
    num_expression: E; 50 is the translator's and the released matrix's.

  Returns:
    [17, E] float32 array.

  Raises:
    PoseAdapterError: if the file is absent, is no plain array (nothing
      pickled is read), or has a wrong shape, values that are not finite or
      rows of zeros.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise PoseAdapterError(
      f'no pose adapter at {path}; give a .npy file with a '
      f'[{NUM_COEFFICIENTS}, 50] matrix, or "fit" to fit one to the face model'
    )
  try:
    matrix = np.load(path, allow_pickle=False)
  except (ValueError, OSError, EOFError) as error:
    raise PoseAdapterError(f'{path} is no plain .npy array: {error}') from error
  check_pose_adapter(matrix, str(path), num_expression)
  return np.asarray(matrix, np.float32)


def check_pose_adapter(
  matrix: np.ndarray, name: str, num_expression: int
) -> None:
  """Raises PoseAdapterError unless `matrix` is usable, [17, num_expression]."""
  if not isinstance(matrix, np.ndarray) or matrix.dtype.kind not in 'fiu':
    raise PoseAdapterError(f'pose adapter {name} is not a numeric array')
  wanted = (NUM_COEFFICIENTS, num_expression)
  if matrix.shape != wanted:
    raise PoseAdapterError(
      f'pose adapter {name}: shape is {matrix.shape}, wanted {wanted}: one '
      f'expression for each of {", ".join(COEFFICIENT_NAMES)}. '
      'Fit one with "edtn prepare --fit_adapter --output=adapter.npy".'
    )
  finite = np.isfinite(matrix).all(axis=1)
  if not finite.all():
    rows = np.flatnonzero(~finite).tolist()
    raise PoseAdapterError(
      f'pose adapter {name}: rows {rows} hold NaN or infinity'
    )
  if not matrix.any(axis=1).all():
    rows = np.flatnonzero(~matrix.any(axis=1)).tolist()
    raise PoseAdapterError(
      f'pose adapter {name}: rows {rows} are zero, their coefficients would '
      'move nothing'
    )


def target_displacements(neutral: np.ndarray) -> np.ndarray:
  """Displaces neutral landmarks so that they show each of the 17 meanings.

  All lengths are relative to the face (lid opening, eye distance, mouth
  width), so the same rules serve any head model.

  Args:
    neutral: [68, 3] float, neutral landmarks, metres, y up, z outward.

  Returns:
    [17, 68, 3] float64 displacements in the order of `COEFFICIENT_NAMES`.
  """
  neutral = np.asarray(neutral, np.float64)
  moved = np.zeros((NUM_COEFFICIENTS, NUM_LANDMARKS, 3))
  for row, name in enumerate(COEFFICIENT_NAMES):
    stem, _, side = name.rpartition('_')
    if stem in _LID_TRAVEL:
      _move_lids(moved[row], neutral, side, *_LID_TRAVEL[stem])
    elif stem in _BROW_RISE:
      _move_brow(moved[row], neutral, side, *_BROW_RISE[stem])
    else:
      _move_mouth(moved[row], neutral, *_MOUTH_SHAPES[name])
  return moved


def _move_lids(moved, neutral, side, upper_travel, lower_travel):
  upper, lower = UPPER_LID[side], LOWER_LID[side]
  opening = neutral[upper] - neutral[lower]
  moved[upper] = -upper_travel * opening
  moved[lower] = lower_travel * opening


def _move_brow(moved, neutral, side, outer_rise, inner_rise):
  eye_distance = np.linalg.norm(
    neutral[EYE['left']].mean(0) - neutral[EYE['right']].mean(0)
  )
  rise = np.linspace(outer_rise, inner_rise, len(BROW[side]))
  moved[BROW[side], 1] = rise * eye_distance


def _move_mouth(
  moved, neutral, outward, corners_up, upper_up, lower_down, forward, chin
):
  left, right = MOUTH_CORNERS['left'][0], MOUTH_CORNERS['right'][0]
  width = np.linalg.norm(neutral[left] - neutral[right])
  centre = (neutral[left] + neutral[right]) / 2
  lips = np.concatenate([UPPER_LIP, LOWER_LIP, *MOUTH_CORNERS.values()])
  # -1 at the right corner, 1 at the left one: lips open most in the middle.
  across = np.clip((neutral[lips, 0] - centre[0]) / (width / 2), -1, 1)
  moved[lips, 0] = outward * width * across
  moved[lips, 2] = forward * width
  moved[lips, 1] = corners_up * width * across**2
  bulge = {i: 1 - a**2 for i, a in zip(lips, across, strict=True)}
  for i in UPPER_LIP:
    moved[i, 1] += upper_up * width * bulge[i]
  for i in LOWER_LIP:
    moved[i, 1] -= lower_down * width * bulge[i]
  fall = np.sin(np.linspace(0, np.pi, len(CHIN) + 2)[1:-1])
  moved[CHIN, 1] -= chin * lower_down * width * fall


def landmark_basis(
  assets: FlameAssets, num_expression: int
) -> tuple[np.ndarray, np.ndarray]:
  """Neutral frontal landmarks and their derivative by the expression.

  Args:
    assets: a FLAME-format model with a landmark embedding.
    num_expression: number of expression coefficients used, E.

  Returns:
    neutral [68, 3] and basis [68, 3, E], float64, metres.

  Raises:
    PoseAdapterError: if the model has fewer expression components than E.
  """
  available = assets.expressiondirs.shape[-1]
  if num_expression > available:
    raise PoseAdapterError(
      f'the face model has {available} expression components, '
      f'{num_expression} are wanted'
    )
  faces, barycentric = frontal_landmark_weights(assets)
  corners = np.asarray(assets.faces)[faces]
  template = np.asarray(assets.v_template, np.float64)
  directions = np.asarray(
    assets.expressiondirs[..., :num_expression], np.float64
  )
  neutral = np.einsum('lc,lcx->lx', barycentric, template[corners])
  basis = np.einsum('lc,lcxe->lxe', barycentric, directions[corners])
  return neutral, basis


def fit_expressions(
  basis: np.ndarray, displacements: np.ndarray, penalty: float
) -> np.ndarray:
  """Expressions whose landmarks come closest to given displacements.

  Minimises, for each row k (paper, section 2.2),
  `sum |basis psi - displacements_k|^2 / trace + penalty |psi|^2 / E`, where
  `trace = sum basis^2` makes the penalty independent of the model's units.

  Args:
    basis: [68, 3, E] float, metres a unit of expression.
    displacements: [K, 68, 3] float, metres.
    penalty: weight of the squared length of psi, >= 0.

  Returns:
    [K, E] float64.
  """
  matrix = basis.reshape(-1, basis.shape[-1])
  wanted = displacements.reshape(len(displacements), -1)
  # The smallest ridge that keeps the system solvable when penalty is 0.
  floor = 1e-12
  ridge = (penalty + floor) * np.square(matrix).sum() / matrix.shape[-1]
  normal = matrix.T @ matrix + ridge * np.eye(matrix.shape[-1])
  return np.linalg.solve(normal, matrix.T @ wanted.T).T


def fit_pose_adapter(
  assets: FlameAssets, *, num_expression: int = 50, penalty: float = 1e-3
) -> np.ndarray:
  """Fits a pose adapter to a FLAME-format head.

  Args:
    assets: a FLAME-format model with a landmark embedding.
    num_expression: number of expression coefficients, E.
    penalty: weight of the L2 penalty on the expression, relative to the mean
      squared landmark motion of one basis component.

  Returns:
    [17, E] float32, one expression a meaning, in `COEFFICIENT_NAMES` order.

  Raises:
    PoseAdapterError: if the model has too few expression components.
  """
  neutral, basis = landmark_basis(assets, num_expression)
  wanted = target_displacements(neutral)
  return fit_expressions(basis, wanted, penalty).astype(np.float32)
