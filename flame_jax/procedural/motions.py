"""Named elementary motions of the face: a displacement of every vertex each.

A motion of strength 1 is a full natural movement: a lid that closes, a wide
smile. Motions of one side exist for the left and, mirrored, for the right.
"""

from __future__ import annotations

import functools

import numpy as np

from flame_jax.procedural import features, geometry, layout, skinning

_MM = 1e-3
_JAW_DROP_RADIANS, _JAW_BACK_SHARE = 0.34, 0.30
# How far the loops around the eye turn with its rim: skin that unfolds, and
# a lid that slips below its fold.
_LID_PARTS = (1.0, 0.66, 0.26, 0.07)
_FOLD_PARTS = (1.0, 0.90, 0.60, 0.25)


@functools.lru_cache(maxsize=1)
def named_motions() -> dict[str, np.ndarray]:
  """All motions at strength 1: name -> [V, 3] displacement in metres."""
  face = Face(geometry.head_geometry())
  motions = {}
  for make in (_lids, _brows, _nose_and_cheeks, _mouth_sides):
    for name, field in make(face).items():
      motions[f'{name}_left'] = field
      motions[f'{name}_right'] = face.head.mirror.flip(field)
  motions.update(_mouth_whole(face))
  return motions


class Face:
  """What motions ask of the head: places, masks and local hills."""

  def __init__(self, head: geometry.Geometry):
    self.head = head
    half, mirror = head.half, head.mirror
    self.x, self.y = head.base[:, 0], head.base[:, 1]
    self.points = head.points
    soft = np.zeros(half.count)
    skin = half.grid[half.grid >= 0]
    soft[skin] = features.smooth_step(head.points[skin, 2] / 0.03 + 0.3)
    # Loops inside the mouth follow the lips less the deeper they lie.
    for name, share in (
      ('inner_lip', 1.0), ('vestibule', 0.8), ('pocket', 0.35),
    ):  # fmt: skip
      soft[half.loops[f'mouth_{name}']] = share
    rim = np.zeros(half.count)
    for name in ('eye_rim', 'eye_margin', 'eye_under', 'eye_behind'):
      rim[half.loops[name]] = 1
    for ring, share in ((1, 0.85), (2, 0.45)):
      i, j = layout.EYE.ring(ring).T
      rim[half.grid[i, j]] = share
    self.soft = mirror.spread(soft)
    self.off_lids = mirror.spread(soft * (1 - rim))
    self.jaw = mirror.spread(head.jaw)
    slit_x, slit_y = features.slit_line()
    self.above_slit = self.y - np.interp(np.abs(self.x), slit_x, slit_y)

  def hill(self, cx, cy, sx, sy, turn_deg=0.0, lids=False):
    """[V] Gaussian hill on the skin, centre and spreads in millimetres."""
    mask = self.soft if lids else self.off_lids
    return mask * features.bump(self.x, self.y, cx, cy, sx, sy, turn_deg)

  def push(self, amount, dx, dy, dz):
    """[V, 3] field: direction in millimetres times the [V] amount."""
    return _MM * np.asarray(amount)[:, None] * np.array([dx, dy, dz], float)

  def below_chin(self):
    """[V] soft skin between chin and throat."""
    return self._blob(0, -84, 50, 16)

  def throat(self):
    """[V] front of the neck."""
    return self._blob(0, -98, 25, 18)

  def neck_muscle(self):
    """[V] the left side of the neck, from behind the ear downwards."""
    return self._blob(40, -90, -12, 18)

  def _blob(self, cx, cy, cz, spread):
    square = ((self.points - _MM * np.array([cx, cy, cz])) ** 2).sum(1)
    outside = np.zeros(self.head.half.count)
    outside[self.head.half.grid[self.head.half.grid >= 0]] = 1
    skin = self.head.mirror.spread(outside)
    return skin * np.exp(-0.5 * square / (_MM * spread) ** 2)


def _lids(face):
  close = close_upper_lid(face.head, 1.0)
  raise_lower = _turn_lid(face.head, upper=False, share=-0.42)
  raise_lower += face.push(face.hill(32, 17, 12, 5), 0, 1.2, 0.8)
  widen = _turn_lid(face.head, upper=True, share=-0.20, parts=_FOLD_PARTS)
  widen += _turn_lid(face.head, upper=False, share=0.10)
  return {
    'upper_lid_close': close,
    'lower_lid_raise': raise_lower,
    'lid_widen': widen,
  }


def close_upper_lid(head: geometry.Geometry, share: float) -> np.ndarray:
  """[V, 3] field that brings the left upper lid down by `share` of the way.

  The rim goes to the partner of each of its vertices on the lower rim; the
  loops above it turn about the eye's horizontal axis and so stay on the ball.
  """
  field = _turn_lid(head, upper=True, share=share, rim=False)
  rim, margin = (head.half.loops[f'eye_{name}'] for name in ('rim', 'margin'))
  upper, lower = _lid_partners()
  forward = np.array([0, 0.15, 0.20]) * _MM
  for loop in (rim, margin):
    field[loop[upper]] = share * (
      head.points[loop[lower]] + forward - head.points[loop[upper]]
    )
  return field


def _lid_partners():
  """Places in the rim loop of upper vertices and those opposite to them."""
  ring = [tuple(point) for point in layout.EYE.ring()]
  middle = (layout.EYE.bottom + layout.EYE.top) // 2
  upper = [k for k, (_, j) in enumerate(ring) if j > middle]
  lower = [ring.index((ring[k][0], 2 * middle - ring[k][1])) for k in upper]
  return np.array(upper), np.array(lower)


def _turn_lid(head, upper, share, rim=True, parts=_LID_PARTS):
  """Turns the loops of one lid towards the other about the eye's axis.

  Args:
    head: the head.
    upper: which lid of the left eye.
    share: part of the opening that the rim crosses; negative opens the upper
      lid and raises the lower one.
    rim: whether the rim and its margin move too.
    parts: share of the rim's turn that the loops around the eye make.
  """
  field = np.zeros_like(head.points)
  middle = (layout.EYE.bottom + layout.EYE.top) // 2
  ups, lows = _lid_partners()
  loop = head.half.loops['eye_rim']
  rise = _elevation(head.points[loop[ups]]) - _elevation(
    head.points[loop[lows]]
  )
  along = head.points[loop[ups], 0]
  order = np.argsort(along)
  opening = share * rise[order]
  for ring, part in enumerate(parts):
    if ring == 0 and not rim:
      continue
    i, j = layout.EYE.ring(ring).T
    mine = j > middle if upper else j < middle
    index = head.half.grid[i[mine], j[mine]]
    if ring == 0:
      index = np.append(index, head.half.loops['eye_margin'][mine])
    angle = part * np.interp(
      head.points[index, 0], along[order], opening, left=0, right=0
    )
    offset = head.points[index] - features.EYE_CENTER
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = offset.copy()
    turned[:, 1] = cosine * offset[:, 1] - sine * offset[:, 2]
    turned[:, 2] = sine * offset[:, 1] + cosine * offset[:, 2]
    field[index] = turned - offset
  return field


def _elevation(points):
  offset = points - features.EYE_CENTER
  return np.arctan2(offset[:, 1], offset[:, 2])


def _brows(face):
  inner = face.push(face.hill(15, 53, 8.5, 10), -0.4, 6.5, 1.0)
  outer = face.push(face.hill(42, 54, 11, 10), 0.3, 6.5, 0.6)
  lower = face.push(face.hill(29, 51, 17, 8), -0.8, -5.0, 0.4)
  furrow = face.push(face.hill(14, 49, 8, 8), -3.2, -2.2, 0.6)
  furrow += face.push(face.hill(5, 52, 3.5, 8), -0.8, 0, 0.9)
  return {
    'brow_inner_raise': inner,
    'brow_outer_raise': outer,
    'brow_lower': lower,
    'brow_furrow': furrow,
  }


def _nose_and_cheeks(face):
  wrinkle = face.push(face.hill(14, -1, 6, 8), 0.6, 3.4, -0.3)
  wrinkle += face.push(face.hill(10, 17, 6, 8), 0, 2.0, 1.4)
  wrinkle += face.push(face.hill(14, 47, 8, 5), -0.6, -1.6, 0.4)
  raised = face.push(face.hill(39, 9, 13, 10), 0.4, 4.6, 2.2)
  raised += 0.3 * _turn_lid(face.head, upper=False, share=-0.42)
  puff = face.push(face.hill(43, -26, 13, 14), 6.5, 0, 5.0)
  puff += face.push(face.hill(14, -35, 16, 12), 0.0, 0, 1.2)
  return {
    'nose_wrinkle': wrinkle,
    'cheek_raise': raised,
    'cheek_puff': puff,
  }


def _mouth_sides(face):
  corner_up = face.push(face.hill(26, -34, 13, 10), 4.0, 7.5, -3.0)
  corner_up += face.push(face.hill(38, -8, 10, 11), 1.0, 2.8, 1.8)
  corner_down = face.push(face.hill(26, -39, 11, 9), 1.0, -6.0, -1.2)
  stretch = face.push(face.hill(27, -36, 13, 11), 7.0, -0.6, -4.0)
  upper = face.hill(12, -25, 9, 10) * (1 - face.jaw)
  lift = face.push(upper, 0.4, 5.8, 0.8)
  lower = face.hill(12, -44, 9, 9) * face.jaw
  depress = face.push(lower, 0.6, -6.0, 0.6)
  return {
    'lip_corner_up': corner_up,
    'lip_corner_down': corner_down,
    'mouth_stretch': stretch,
    'upper_lip_raise': lift,
    'lower_lip_depress': depress,
  }


def _mouth_whole(face):
  across = face.x / (25 * _MM)
  around = face.hill(0, -35, 21, 13)
  pucker = face.push(around, 0, 0, 6.5)
  pucker[:, 0] -= 9.0 * _MM * around * across
  lips = face.soft * _lips_only(face)
  pucker[:, 1] += lips * 0.12 * face.above_slit
  funnel = face.push(around, 0, 0, 5.0)
  funnel[:, 0] -= 6.5 * _MM * around * across
  near = face.hill(0, -35, 12, 10)
  funnel[:, 1] += _MM * near * (3.6 * (1 - face.jaw) - 5.4 * face.jaw)
  press = face.push(lips, 0, 0, -2.4)
  press[:, 1] -= 0.55 * lips * face.above_slit
  chin = face.push(face.hill(0, -62, 15, 10), 0, 4.6, 1.6)
  chin += face.push(face.hill(0, -42, 15, 7), 0, 2.2, 1.4)
  shift = face.push(face.hill(0, -38, 24, 16), 8.0, 0, 0)
  shift[:, 2] -= 1.5 * _MM * face.hill(0, -38, 24, 16) * across
  return {
    # Negative strength moves the mouth to the right.
    'mouth_shift': shift,
    'mouth_open': _drop_jaw(face.head),
    'pucker': pucker,
    'funnel': funnel,
    'lip_press': press,
    'chin_raise': chin,
  }


def _lips_only(face):
  width = layout.MOUTH_CORNER[0] + 0.002
  across = np.clip(1 - (face.x / width) ** 4, 0, 1)
  return across * np.exp(-0.5 * (face.above_slit / (5.5 * _MM)) ** 2)


def _drop_jaw(head):
  """The mouth opens; the jaw glides forward as it turns, as jaws do.

  So it falls more and goes back less than by the turn of `jaw_pose` alone.
  """
  joint = skinning.joint_regressor(head)[skinning.JAW] @ head.points
  offset = head.points - joint
  cosine, sine = np.cos(_JAW_DROP_RADIANS), np.sin(_JAW_DROP_RADIANS)
  move = np.zeros_like(offset)
  move[:, 1] = (cosine - 1) * offset[:, 1] - sine * offset[:, 2]
  move[:, 2] = sine * offset[:, 1] + (cosine - 1) * offset[:, 2]
  move[:, 2] *= _JAW_BACK_SHARE
  return head.mirror.spread(head.jaw)[:, None] * move
