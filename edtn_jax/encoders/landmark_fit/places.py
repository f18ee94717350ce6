"""Where FaceMesh sees its points on the procedural head at rest.

Measured by us: the head at rest was drawn from the front in five sizes, the
landmarks found in the pictures were averaged and made symmetric. Only points
on plain skin are listed; brows, nose, eyes and lips have places of their own
in the 68-point embedding.
"""

from __future__ import annotations

import numpy as np

from flame_jax.assets import FlameAssets

_MM = 1e-3

# (landmark on the character's right, its mirror image, x mm, y mm of the
# latter); x is the distance from the midline, seen from the front.
_PAIRS = (
  # Forehead and temples.
  (67, 297, 32.8, 82.4),
  (109, 338, 17.7, 85.4),
  (108, 337, 15.7, 71.0),
  (69, 299, 29.6, 70.6),
  (104, 333, 43.1, 67.8),
  (68, 298, 52.1, 61.0),
  (54, 284, 55.6, 66.2),
  (21, 251, 60.9, 54.1),
  (162, 389, 63.8, 41.4),
  (127, 356, 64.8, 25.6),
  # Outline of the cheek and the jaw.
  (234, 454, 64.2, 11.1),
  (93, 323, 62.7, -3.6),
  (132, 361, 58.7, -19.4),
  (58, 288, 53.5, -35.6),
  (172, 397, 48.5, -48.5),
  (136, 365, 45.9, -58.0),
  (150, 379, 37.3, -66.5),
  (149, 378, 29.8, -72.4),
  (176, 400, 21.7, -77.4),
  (148, 377, 12.2, -80.9),
  # Cheek.
  (117, 346, 50.0, 15.8),
  (119, 348, 31.9, 14.8),
  (123, 352, 59.2, 1.6),
  (50, 280, 46.7, 0.2),
  (101, 330, 33.1, 7.9),
  (36, 266, 29.2, -0.2),
  (205, 425, 38.9, -8.0),
  (187, 411, 51.4, -14.5),
  (207, 427, 44.0, -18.8),
  # Around nose and mouth.
  (126, 355, 16.7, 9.9),
  (129, 358, 19.9, -3.2),
  (203, 423, 24.8, -8.6),
  (206, 426, 30.8, -15.1),
  (216, 436, 35.9, -23.4),
  (212, 432, 37.5, -35.4),
  (214, 434, 44.7, -37.5),
  (192, 416, 52.0, -30.8),
  (202, 422, 32.5, -43.9),
  (204, 424, 26.4, -51.4),
)
# (landmark on the midline, y mm).
_MIDLINE = (
  (10, 86.0),
  (151, 70.8),
  (9, 54.4),
  (164, -17.0),
  (18, -52.2),
  (200, -60.5),
  (199, -69.8),
  (175, -77.2),
  (152, -82.1),
)


def procedural_places(
  assets: FlameAssets,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The landmarks on plain skin of the procedural head.

  Args:
    assets: the procedural head.

  Returns:
    mesh_index [87] int32, faces [87] int32 (rows of `assets.faces`) and
    barycentric [87, 3] float32.
  """
  rows = [(right, -x, y) for right, _, x, y in _PAIRS]
  rows += [(left, x, y) for _, left, x, y in _PAIRS]
  rows += [(index, 0.0, y) for index, y in _MIDLINE]
  mesh_index = np.array([row[0] for row in rows], np.int32)
  places = _MM * np.array([row[1:] for row in rows])
  faces, barycentric = _front_surface(assets, places)
  return mesh_index, faces, barycentric


def _front_surface(assets, places):
  """Triangles [P] and weights [P, 3] that a line along z through [P, 2] hits.

  Of several triangles on the line the one nearest to the viewer counts.
  """
  corners = np.asarray(assets.v_template, np.float64)[np.asarray(assets.faces)]
  a, b, c = np.moveaxis(corners[:, :, :2], 1, 0)

  def cross(u, v):
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

  area = cross(b - a, c - a)
  to = places[:, None] - a[None]
  # A line that passes between two triangles by rounding still hits one.
  tolerance = 1e-6
  # Triangles seen edge-on are hit by no line.
  area = np.where(np.abs(area) > 1e-15, area, np.nan)
  second = cross(to, c - a) / area
  third = cross(b - a, to) / area
  weights = np.stack([1 - second - third, second, third], axis=-1)
  hit = np.isfinite(weights).all(-1) & (weights > -tolerance).all(-1)
  depth = np.where(hit, (np.nan_to_num(weights) * corners[:, :, 2]).sum(-1), 0)
  depth = np.where(hit, depth, -np.inf)
  faces = depth.argmax(axis=1)
  chosen = weights[np.arange(len(places)), faces].clip(0)
  chosen /= chosen.sum(axis=1, keepdims=True)
  return faces.astype(np.int32), chosen.astype(np.float32)
