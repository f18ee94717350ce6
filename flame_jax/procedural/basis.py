"""Linear bases: expression, identity and pose-corrective shapes.

Coefficients of the expression and identity bases have unit variance: the
size of a component is the standard deviation of what it moves.
"""

from __future__ import annotations

import functools

import numpy as np

from flame_jax.procedural import features, geometry, motions

NUM_EXPRESSION = 100
NUM_SHAPE = 300
NUM_POSE_FEATURES = 36

# Standard deviation of each motion's strength in everyday expressions.
_MOTION_DEVIATION = {
  'upper_lid_close': 0.34,
  'lower_lid_raise': 0.26,
  'lid_widen': 0.50,
  'brow_inner_raise': 0.24,
  'brow_outer_raise': 0.24,
  'brow_lower': 0.26,
  'brow_furrow': 0.24,
  'nose_wrinkle': 0.24,
  'cheek_raise': 0.26,
  'cheek_puff': 0.22,
  'lip_corner_up': 0.38,
  'lip_corner_down': 0.26,
  'mouth_stretch': 0.28,
  'upper_lip_raise': 0.28,
  'lower_lip_depress': 0.28,
  'mouth_shift': 0.20,
  'mouth_open': 0.30,
  'pucker': 0.34,
  'funnel': 0.34,
  'lip_press': 0.28,
  'chin_raise': 0.28,
}
# Motions that are their own negative in the mirror.
_ODD_MOTIONS = ('mouth_shift',)
# Both sides of a face mostly move together.
_SIDE_CORRELATION = 0.7
_EVEN_SHARE = 0.88
# Share of a motion's variance that it has in common with other motions.
_MIXED_SHARE = 0.5
_MIXING_FACTORS = 8
_MM = 1e-3
_FLIP = np.array([-1.0, 1.0, 1.0])
_WAVE_START = 0.95
_DETAIL_START, _DETAIL_DECAY = 0.90, 0.985


@functools.lru_cache(maxsize=4)
def expression_basis(seed: int) -> np.ndarray:
  """Principal components of random faces made of the named motions.

  The strengths of the motions are correlated between sides and, through a
  few random factors, with each other, so each component mixes motions and
  is symmetric or antisymmetric. The named motions span the first components
  exactly; smooth local detail fills the rest.

  Args:
    seed: of the mixing and of the detail.

  Returns:
    [V, 3, 100] metres, ordered by falling size.
  """
  head = geometry.head_geometry()
  rng = np.random.default_rng([seed, 1])
  named = motions.named_motions()
  fields = np.stack([field.ravel() for field in named.values()])
  root = np.linalg.cholesky(_strength_covariance(list(named), rng))
  components, sizes = _principal(root.T @ fields)
  detail = _detail_fields(head, rng, NUM_EXPRESSION - len(components))
  unit = components / sizes[:, None]
  detail = detail - (detail @ unit.T) @ unit
  detail = _orthonormal(detail)
  fall = sizes[-1] * _DETAIL_START * _DETAIL_DECAY ** np.arange(len(detail))
  basis = np.concatenate([components, detail * fall[:, None]])
  return basis.T.reshape(len(head.points), 3, NUM_EXPRESSION)


def _strength_covariance(names, rng):
  """[M, M] covariance of the strengths of the named motions.

  Motions depend on common factors, most of them even (both sides alike), the
  others odd; what is left is their own, partly shared between the two sides.
  """
  stems = [_stem(name) for name in names]
  loading = {
    stem: _unit_rows(rng.normal(size=(2, _MIXING_FACTORS)))
    for stem in dict.fromkeys(stems)
  }
  factors, own = [], np.eye(len(names))
  for k, (name, stem) in enumerate(zip(names, stems, strict=True)):
    even, odd = loading[stem]
    if name in _ODD_MOTIONS:
      share, side = 0.0, 1.0
    elif name == stem:
      share, side = 1.0, 0.0
    else:
      share, side = _EVEN_SHARE, 1.0 if name.endswith('_left') else -1.0
      other = stem + ('_right' if side > 0 else '_left')
      own[k, names.index(other)] = _SIDE_CORRELATION
    factors.append(
      np.concatenate([share**0.5 * even, side * (1 - share) ** 0.5 * odd])
    )
  factors = np.stack(factors)
  correlation = _MIXED_SHARE * factors @ factors.T + (1 - _MIXED_SHARE) * own
  deviation = np.array([_MOTION_DEVIATION[stem] for stem in stems])
  return correlation * np.outer(deviation, deviation)


def _stem(name):
  return name.removesuffix('_left').removesuffix('_right')


def _principal(rows):
  """Orthogonal rows with the same Gram sum, by falling size, and the sizes."""
  # The small matrix of products has the same singular values, squared.
  squares, mixing = np.linalg.eigh(rows @ rows.T)
  sizes = np.sqrt(squares[::-1])
  components = mixing[:, ::-1].T @ rows
  # The sign of a singular vector is arbitrary; the largest entry decides. Of
  # two mirror images of equal size the first one does.
  relative = np.abs(components) / sizes[:, None]
  peak = np.argmax(relative.round(9), axis=1)
  sign = np.sign(components[np.arange(len(components)), peak])
  return components * sign[:, None], sizes


def _orthonormal(rows):
  """Gram-Schmidt in order: [K, N] rows of unit length."""
  rows = _unit_rows(rows)
  # By the Cholesky factor of the products: rows are far from dependent.
  lower = np.linalg.cholesky(rows @ rows.T)
  return np.linalg.inv(lower) @ rows


def _unit_rows(rows):
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _detail_fields(head, rng, count):
  """[K, 3V] smooth hills of the mobile face, in symmetric and odd pairs."""
  face = motions.Face(head)
  fields = []
  for k in range(count):
    cx, cy = rng.uniform(4, 48), rng.uniform(0, 75)
    spread = rng.uniform(9, 16)
    direction = rng.normal(size=3)
    field = face.push(
      face.hill(cx, cy, spread, spread),
      *(direction / np.linalg.norm(direction)),
    )
    side = 1 if k % 2 == 0 else -1
    fields.append((field + side * head.mirror.flip(field)).ravel())
  return np.stack(fields)


@functools.lru_cache(maxsize=4)
def shape_basis(seed: int) -> np.ndarray:
  """Identity: meaningful components first, then smooth random variation.

  Args:
    seed: of the random components.

  Returns:
    [V, 3, 300] metres, orthogonal, by falling size.
  """
  head = geometry.head_geometry()
  rng = np.random.default_rng([seed, 2])
  # The left half is enough: every component is even or odd in the mirror.
  at = _rigid_eye_places(head)[: head.half.count]
  named = _identity_fields(at)
  waves = NUM_SHAPE - len(named)
  # Faces are nearly symmetric: two thirds of the components are.
  sides = np.array([1] * len(named) + [(1, 1, -1)[k % 3] for k in range(waves)])
  rows = [field for field, _ in named.values()]
  rows += [_wave(at, rng, k, sides[len(named) + k]) for k in range(waves)]
  rows = _orthonormal_halves(np.stack(rows), sides, head.half.midline)
  reach = np.linalg.norm(rows[: len(named)], axis=2).max(1)
  size = _MM * np.array([peak for _, peak in named.values()]) / reach
  order = np.argsort(-size, kind='stable')
  rows[: len(named)] = rows[order]
  fall = _WAVE_START / (1 + np.arange(waves) / 40)
  size = np.concatenate([size[order], fall * size[order[-1]]])
  basis = (rows * size[:, None, None]).transpose(1, 2, 0)[head.mirror.source]
  basis[head.mirror.is_copy] *= np.outer([-1, 1, 1], sides)
  return basis


def _orthonormal_halves(rows, sides, midline):
  """Gram-Schmidt of fields given on the left half, [K, H, 3].

  Even and odd fields are orthogonal as they are. A vertex off the midline
  counts twice.
  """
  weight = np.sqrt(np.where(midline, 1, 2))[:, None]
  result = np.empty_like(rows)
  for side in (1, -1):
    group = rows[sides == side] * weight
    unit = _orthonormal(group.reshape(len(group), -1))
    result[sides == side] = unit.reshape(group.shape) / weight
  return result


def _rigid_eye_places(head):
  """[V, 3] where a smooth field is read: one place for a whole eyeball.

  Reading the field at the centre of the eye moves the ball rigidly, and the
  lids with it.
  """
  at = head.points.copy()
  for side in (1.0, -1.0):
    center = features.EYE_CENTER * np.array([side, 1, 1])
    distance = np.linalg.norm(head.points - center, axis=1)
    near = 1 - features.smooth_step((distance - 0.0165) / 0.016)
    at += near[:, None] * (center - at)
  return at


def _identity_fields(at):
  """Named identity variations: smooth field of place, largest move in mm.

  The second number is the standard deviation of the vertex that moves most.
  """
  x, y, z = at.T * 1e3
  zero = np.zeros_like(x)

  def hill(cx, cy, cz, spread):
    square = (np.abs(x) - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
    return np.exp(-0.5 * square / spread**2)

  def field(dx, dy, dz):
    return np.stack([dx + zero, dy + zero, dz + zero], axis=1)

  step = features.smooth_step
  side = np.tanh(x / 12)
  low = step((10 - y) / 60) * step((z + 30) / 60)
  front = step((z - 10) / 50)
  nose, lips = hill(0, 3, 98, 15), hill(0, -35, 88, 14)
  chin, cheek = hill(0, -70, 80, 20), hill(42, -12, 50, 20)
  neck = step((-70 - y) / 40)
  return {
    'head_size': (field(x, y, z), 5.0),
    'face_width': (field(x * front, 0, 0), 2.5),
    'face_length': (field(0, y * low, 0), 4.0),
    'jaw_width': (field(side * hill(50, -45, 20, 26), 0, 0), 3.0),
    'head_depth': (field(0, 0, z), 3.0),
    'nose_length': (field(0, -0.7 * nose, nose), 2.2),
    'nose_width': (field(side * hill(13, -2, 88, 12), 0, 0), 1.4),
    'eye_distance': (field(side * hill(31, 33, 58, 20), 0, 0), 1.5),
    'lip_fullness': (field(0, 0.5 * lips * np.tanh((y + 35) / 5), lips), 1.5),
    'chin': (field(0, -0.6 * chin, chin), 2.5),
    'cheeks': (field(side * cheek, 0, cheek), 2.2),
    'cheek_bones': (field(side * hill(57, 14, 35, 16), 0, 0), 1.6),
    'brow_ridge': (field(0, 0, hill(22, 53, 80, 16)), 1.4),
    'forehead': (field(0, 0, hill(0, 85, 70, 34)), 2.5),
    'neck_width': (field(x * neck, 0, (z + 25) * neck), 3.0),
    'ears': (field(side * hill(78, 27, -8, 18), 0, 0), 2.0),
    'nose_bridge': (field(0, 0, hill(0, 30, 85, 13)), 1.5),
    'mouth_width': (field(side * hill(24, -35, 80, 13), 0, 0), 1.6),
    'brow_height': (field(0, hill(28, 52, 74, 14), 0), 1.5),
    'skull_height': (field(0, step((y - 50) / 80), 0), 3.0),
  }


def _wave(at, rng, k, side):
  """A plane wave through the head plus its mirror image times `side`."""
  # Wave lengths from 0.35 m down to about 0.06 m.
  number = 2 * np.pi / (0.35 / (1 + k / 55))
  heading = rng.normal(size=3)
  heading *= number / np.linalg.norm(heading)
  direction = rng.normal(size=3)
  phase = rng.uniform(0, 2 * np.pi)
  here = np.cos(at @ heading + phase)
  there = np.cos((at * _FLIP) @ heading + phase)
  return here[:, None] * direction + side * there[:, None] * direction * _FLIP


def pose_basis(head: geometry.Geometry) -> np.ndarray:
  """Corrective shapes over the flattened (R_j - I) of joints 1..4.

  A turn by a small angle about x has sin(a) at matrix place (2, 1) and
  -sin(a) at (1, 2); about y at (0, 2) and (2, 0). A correction that grows
  with the sine of an angle is shared between the two places.

  Args:
    head: the head.

  Returns:
    [V, 3, 36] metres.
  """
  basis = np.zeros((len(head.points), 3, NUM_POSE_FEATURES))

  def add(joint, axis, field, at_radians):
    plus, minus = {'x': (7, 5), 'y': (2, 6)}[axis]
    field = field / (2 * np.sin(at_radians))
    basis[:, :, 9 * (joint - 1) + plus] += field
    basis[:, :, 9 * (joint - 1) + minus] -= field

  face = motions.Face(head)
  add(1, 'x', _neck_nod(face), 0.35)
  add(1, 'y', _neck_turn(face), 0.5)
  add(2, 'x', _jaw_open(face), 0.35)
  add(2, 'y', _jaw_side(face), 0.15)
  # The lids follow the gaze, mostly the upper one.
  follow = motions.close_upper_lid(head, 0.42)
  add(3, 'x', follow, 0.35)
  add(4, 'x', head.mirror.flip(follow), 0.35)
  return basis


def _jaw_open(face):
  """Cheeks go in, lip corners inwards, skin below the chin is pushed out."""
  field = np.zeros_like(face.points)
  for flip in (False, True):
    cheek = face.push(face.hill(44, -28, 10, 14), -1.8, 0, -1.4)
    cheek += face.push(face.hill(26, -36, 8, 8), -1.6, 0.6, -0.8)
    field += face.head.mirror.flip(cheek) if flip else cheek
  below = face.below_chin()
  return field + face.push(below, 0, -1.5, 2.5)


def _jaw_side(face):
  """The chin's soft parts trail the bone to the side."""
  return face.push(face.hill(0, -52, 20, 16), 0.8, 0, 0)


def _neck_nod(face):
  """The throat gives way when the chin goes down."""
  return face.push(face.throat(), 0, 0, 2.0)


def _neck_turn(face):
  """The muscle behind the far ear shows when the head turns."""
  right = face.push(face.neck_muscle(), 1.2, 0, 1.2)
  return right - face.head.mirror.flip(right)
