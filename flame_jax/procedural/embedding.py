"""Where the 68 landmarks lie on the mesh, iBUG order.

Fixed points are vertices of the loops around eyes and mouth, of the brow and
of the midline. Contour points slide along curves that run from the cheek
round the jaw: each is where its curve turns away from the camera.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from flame_jax.procedural import geometry, layout

MAX_YAW_DEG = 39
NUM_CONTOUR = 17
_MM = 1e-3

# The curves of the left half: they leave a point (0, y) at an angle, seen
# from the front, and end where the ear or the angle of the jaw begins (z).
# y mm, degrees below the horizontal, z mm of the end; from chin to ear.
_CURVES = (
  (-3, 90, 66), (-3, 76, 63), (-3, 63, 52), (-3, 49, 34), (-3, 34, 19),
  (-3, 19, 12), (-3, 5, 12), (14, 0, 14), (30, 0, 14),
)  # fmt: skip
_SAMPLES = 400


@dataclasses.dataclass(frozen=True)
class Embedding:
  """Landmarks of the procedural head as plain arrays.

  Attributes:
    static: ([51] faces, [51, 3] barycentric).
    dynamic: ([79, 17] faces, [79, 17, 3] barycentric).
    full: ([68] faces, [68, 3] barycentric).
  """

  static: tuple[np.ndarray, np.ndarray]
  dynamic: tuple[np.ndarray, np.ndarray]
  full: tuple[np.ndarray, np.ndarray]


def landmark_embedding(head: geometry.Geometry) -> Embedding:
  """Builds the embedding of all landmarks."""
  static = _at_vertices(head, _static_vertices(head))
  left = _contour_table(head)
  right = _mirrored(head, *left)
  # Turned towards its left, the head shows its left cheek's outline; the
  # other side keeps the contour of the frontal head.
  rows = [(_side(right, 0), _side(left, turn)) for turn in range(40)]
  rows += [(_side(right, turn), _side(left, 0)) for turn in range(1, 40)]
  joined = [_join(right_side, left_side) for right_side, left_side in rows]
  faces = np.stack([row[0] for row in joined])
  weights = np.stack([row[1] for row in joined])
  full = (
    np.concatenate([faces[0], static[0]]),
    np.concatenate([weights[0], static[1]]),
  )
  return Embedding(static=static, dynamic=(faces, weights), full=full)


def _static_vertices(head):
  """[51] vertices of landmarks 17..67."""
  grid = head.half.grid
  eye, mouth = layout.EYE, layout.MOUTH
  other = head.mirror.opposite
  # The left brow from its inner end outwards.
  brow = grid[[4, 7, 10, 13, 16], layout.BROW_ROWS[1] - 1]
  midline = grid[0]
  heights = head.points[midline, 1]
  bridge = [
    midline[np.argmin(np.abs(heights - y * _MM))] for y in (35, 24, 13, 1)
  ]
  base = grid[[0, 2, 4], 27]
  middle = (eye.bottom + eye.top) // 2
  inner, outer = eye.left + 3, eye.right - 3
  # The left eye: inner corner, upper lid, outer corner, lower lid back.
  lids = grid[
    [eye.left, inner, outer, eye.right, outer, inner],
    [middle, eye.top, eye.top, middle, eye.bottom, eye.bottom],
  ]
  border_top = mouth.top + layout.LIP_RINGS
  border_bottom = mouth.bottom - layout.LIP_RINGS
  corner = grid[mouth.right, (mouth.top + mouth.bottom) // 2]
  # The left half of the mouth: upper border from the middle, corner, lower.
  upper = grid[[0, 2, 5], border_top]
  lower = grid[[5, 2, 0], border_bottom]
  inner_corner = grid[mouth.right - 1, mouth.top]
  inner_upper = grid[[0, 4], mouth.top]
  inner_lower = grid[[4, 0], mouth.bottom]
  return np.concatenate(
    [
      other[brow[::-1]],
      brow,
      bridge,
      other[base[:0:-1]],
      base,
      # Right eye from its outer corner: the mirror of 45, 44, 43, 42, 47, 46.
      other[lids[[3, 2, 1, 0, 5, 4]]],
      lids,
      [other[corner]],
      other[upper[:0:-1]],
      upper,
      [corner],
      lower,
      other[lower[1::-1]],
      [other[inner_corner], other[inner_upper[1]]],
      inner_upper,
      [inner_corner],
      inner_lower,
      [other[inner_lower[0]]],
    ]
  ).astype(int)


def _at_vertices(head, vertices):
  """An embedding that puts all weight on one corner of a triangle."""
  order = np.argsort(head.faces.ravel(), kind='stable')
  first = np.searchsorted(head.faces.ravel()[order], vertices)
  faces, corner = np.divmod(order[first], 3)
  return faces, np.eye(3)[corner]


def _contour_table(head):
  """The left contour, chin to ear: [40, 9] faces, [40, 9, 3] weights."""
  faces = np.zeros((MAX_YAW_DEG + 1, len(_CURVES)), int)
  weights = np.zeros((MAX_YAW_DEG + 1, len(_CURVES), 3))
  skin = _side_faces(head)
  for k, (y, angle_deg, end) in enumerate(_CURVES):
    angle = -np.deg2rad(angle_deg)
    direction = np.array([np.cos(angle), np.sin(angle)])
    curve = _cut(head, skin, y * _MM, direction, end * _MM)
    at = _turning_points(head, curve, y * _MM, direction)
    faces[:, k], weights[:, k] = _read_curve(curve, at)
  return faces, weights


def _side_faces(head):
  """Triangles of the left half's skin, without ear, lids and mouth."""
  grid = head.half.grid
  allowed = np.zeros(len(head.points), bool)
  allowed[grid[: layout.EAR.left + 2][grid[: layout.EAR.left + 2] >= 0]] = True
  left = np.arange(len(head.faces)) < len(head.faces) // 2
  return np.flatnonzero(left & allowed[head.faces].all(1))


def _cut(head, skin, y, direction, end):
  """The skin along a plane: segments from the front of the face outwards.

  Returns:
    faces [S] and weights [S, 2, 3] of both ends of each segment, in order.
  """
  points = head.points
  normal = np.array([-direction[1], direction[0]])
  # A tiny shift keeps the plane clear of vertices, and of the midline.
  height = (points[:, :2] - np.array([0, y])) @ normal - 1e-6
  reach = (points[:, :2] - np.array([0, y])) @ direction
  corners = head.faces[skin]
  above = height[corners] > 0
  inside = (reach[corners].min(1) > 0.020) & (points[corners, 2].max(1) > end)
  hit = np.flatnonzero(inside & (above.any(1) & ~above.all(1)))
  faces, corners, above = skin[hit], corners[hit], above[hit]
  # The corner that lies alone on its side of the plane.
  alone = np.argmax(above == (above.sum(1) == 1)[:, None], axis=1)
  row = np.arange(len(faces))
  weights = np.zeros((len(faces), 2, 3))
  for side, step in ((0, 1), (1, 2)):
    mate = (alone + step) % 3
    a, b = height[corners[row, alone]], height[corners[row, mate]]
    share = a / (a - b)
    weights[row, side, alone] = 1 - share
    weights[row, side, mate] = share
  ends = np.einsum('sek,skc->sec', weights, points[corners])
  # From the front backwards, within a segment and between segments.
  swap = ends[:, 0, 2] < ends[:, 1, 2]
  weights[swap] = weights[swap][:, ::-1]
  order = np.argsort(-ends[:, :, 2].mean(1), kind='stable')
  return faces[order], weights[order]


def _turning_points(head, curve, y, direction):
  """[40] places on the curve, in samples, where it leaves the view."""
  faces, weights = curve
  ends = np.einsum('sek,skc->sec', weights, head.points[head.faces[faces]])
  middle = ends.mean(1)
  length = np.append(
    0, np.linalg.norm(np.diff(middle, axis=0), axis=1).cumsum()
  )
  fine = np.linspace(0, length[-1], _SAMPLES)
  path = np.stack([np.interp(fine, length, middle[:, k]) for k in range(3)], 1)
  path = _smooth_path(path)
  turns = np.deg2rad(np.arange(MAX_YAW_DEG + 1))
  seen = path[:, :1] * np.cos(turns) + path[:, 2:] * np.sin(turns)
  outward = direction[0] * seen + direction[1] * (path[:, 1:2] - y)
  best = np.argmax(outward, axis=0).astype(np.float64)
  # The contour only ever moves forward as the head turns, and smoothly.
  best = np.minimum.accumulate(best)
  padded = np.pad(best, 4, mode='reflect', reflect_type='odd')
  best = np.convolve(padded, np.full(9, 1 / 9), mode='valid')
  at = np.interp(np.clip(best, 0, _SAMPLES - 1), np.arange(_SAMPLES), fine)
  return np.interp(at, length, np.arange(len(length)))


def _smooth_path(path):
  """Rounds off the corners of a polyline, ends held."""
  for _ in range(150):
    path[1:-1] += 0.5 * (0.5 * (path[:-2] + path[2:]) - path[1:-1])
  return path


def _read_curve(curve, at):
  """Triangles and weights at places given in segments from the first."""
  faces, weights = curve
  # Segment k is centred at place k and reaches half a place to both sides.
  index = np.clip(np.round(at).astype(int), 0, len(faces) - 1)
  share = np.clip(at - index + 0.5, 0, 1)[:, None]
  mixed = (1 - share) * weights[index, 0] + share * weights[index, 1]
  return faces[index], mixed


def _mirrored(head, faces, weights):
  """The same places on the right half."""
  # Right triangles follow the left ones in the same order, corners reversed.
  return faces + len(head.faces) // 2, weights[..., ::-1]


def _side(table, turn):
  return table[0][turn], table[1][turn]


def _join(right, left):
  """One row of 17: right ear to chin to left ear."""
  faces = np.concatenate([right[0][:0:-1], left[0]])
  weights = np.concatenate([right[1][:0:-1], left[1]])
  return faces, weights
