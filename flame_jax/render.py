"""Pictures of meshes with numpy alone: a z-buffer scan-line rasteriser.

The camera is orthographic and looks along -z, so a FLAME head faces it: +x
is the picture's right (the character's left), +y is up. There is no loop over
triangles: rows of triangles, then samples of rows, are laid out in flat
arrays, and the nearest sample of every pixel is found with one scatter.
"""

from __future__ import annotations

import numpy as np

# Warm grey of unglazed clay, used when the mesh has no colours of its own.
CLAY = (0.80, 0.74, 0.69)
LANDMARK_COLOR = (28, 200, 120)

# Direction towards the light, strength. The key comes from the upper left,
# the fill from the right, the rim from behind and above.
_LIGHTS = (
  ((-0.45, 0.55, 0.75), 0.62),
  ((0.80, 0.05, 0.55), 0.28),
  ((0.10, 0.75, -0.65), 0.16),
)
_AMBIENT_UP, _AMBIENT_DOWN = 0.36, 0.22
_GLOSS, _SHININESS = 0.07, 24.0
# Light reaches this far round the terminator, which keeps skin soft.
_WRAP = 0.18
_FRAME_MARGIN = 1.08


def fit_view(vertices: np.ndarray) -> tuple[np.ndarray, float]:
  """The framing that shows a whole mesh; reuse it for every frame.

  Args:
    vertices: [..., 3] points in metres; leading axes may hold many frames.

  Returns:
    (center, scale): the [2] point (x, y) in metres at the middle of the
    picture, and the factor from metres to the range [-1, 1] of the picture's
    shorter side.

  Raises:
    ValueError: there is no point, or one is not finite.
  """
  points = np.asarray(vertices, np.float64).reshape(-1, np.shape(vertices)[-1])
  if not points.size or not np.isfinite(points).all():
    raise ValueError('fit_view needs at least one point, all finite')
  low, high = points[:, :2].min(0), points[:, :2].max(0)
  half = max(float((high - low).max()) / 2, 1e-9)
  return (low + high) / 2, 1 / (half * _FRAME_MARGIN)


def render_mesh(
  vertices: np.ndarray,
  faces: np.ndarray,
  *,
  size: int | tuple[int, int] = 256,
  vertex_colors: np.ndarray | None = None,
  landmarks: np.ndarray | None = None,
  center: np.ndarray | None = None,
  scale: float | None = None,
  background: tuple[int, int, int] = (255, 255, 255),
  supersample: int = 2,
  landmark_color: tuple[int, int, int] = LANDMARK_COLOR,
  landmark_radius: float = 1.6,
  hide_occluded_landmarks: bool = False,
) -> np.ndarray:
  """Draws a smooth-shaded mesh, its landmarks on top.

  Args:
    vertices: [V, 3] points in metres; y up, the camera looks along -z.
    faces: [F, 3] integer triangles, counter-clockwise seen from outside.
    size: side of the square picture in pixels, or (height, width).
    vertex_colors: [V, 3] in [0, 1]; clay when None.
    landmarks: [L, 3] points in metres drawn as dots, or None.
    center: [2] or [3] point at the middle of the picture, metres; of this
      mesh when None (`fit_view`).
    scale: factor from metres to [-1, 1] of the shorter side; of this mesh
      when None. Pass both for an animation, or each frame is framed anew.
    background: colour in [0, 255] where nothing is drawn.
    supersample: samples per pixel along each axis; 1 switches smoothing off.
    landmark_color: colour of the dots in [0, 255].
    landmark_radius: radius of the dots in pixels.
    hide_occluded_landmarks: leave out dots that lie behind the mesh.

  Returns:
    [height, width, 3] uint8 picture.

  Raises:
    ValueError: an array has the wrong shape, a face names no vertex, or a
      number is not finite; all problems are listed.
  """
  vertices = np.asarray(vertices, np.float64)
  faces = np.asarray(faces)
  height, width = (size, size) if np.ndim(size) == 0 else size
  _check_inputs(vertices, faces, vertex_colors, landmarks, (height, width))
  if center is None or scale is None:
    fitted_center, fitted_scale = fit_view(vertices)
    center = fitted_center if center is None else center
    scale = fitted_scale if scale is None else scale
  grid = (int(height) * supersample, int(width) * supersample)
  points = _to_pixels(vertices, center, scale, grid)
  face_index, depth = rasterize(points, faces, grid)
  colors = _lit_colors(vertices, faces, vertex_colors)
  picture = _shade(points, faces, face_index, colors, background)
  picture = _average(picture, supersample)
  if landmarks is not None and len(landmarks):
    dots = _to_pixels(np.asarray(landmarks, np.float64), center, scale, grid)
    if hide_occluded_landmarks:
      dots = dots[_is_visible(dots, depth, supersample)]
    dots[:, :2] /= supersample
    _draw_dots(picture, dots, landmark_color, landmark_radius)
  return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def rasterize(
  points: np.ndarray, faces: np.ndarray, grid: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
  """Which triangle is in front at each pixel centre.

  Pixel (row, column) is sampled at (column + 0.5, row + 0.5). Spans are half
  open in both directions and both triangles at an edge compute its crossings
  from the same ordered end points, so a shared edge leaves neither a hole nor
  a pixel drawn twice.

  Args:
    points: [V, 3] (column, row, depth) in pixels; larger depth is nearer.
    faces: [F, 3] integer triangles, either winding.
    grid: (height, width) in pixels.

  Returns:
    ([height, width] int32 triangle or -1, [height, width] float64 depth or
    -inf).
  """
  height, width = grid
  corners = points[faces]
  order = np.argsort(corners[:, :, 1], axis=1, kind='stable')
  corners = np.take_along_axis(corners, order[:, :, None], axis=1)
  face, row, start, stop = _spans(corners, height, width)
  sample_span, offset = _expand(stop - start)
  face = face[sample_span]
  column = start[sample_span] + offset
  row = row[sample_span]
  origin, slope = _depth_planes(corners)
  depth = (
    origin[face]
    + slope[face, 0] * (column + 0.5)
    + slope[face, 1] * (row + 0.5)
  )
  pixel = row * width + column
  nearest = np.full(height * width, -np.inf)
  np.maximum.at(nearest, pixel, depth)
  front = depth == nearest[pixel]
  face_index = np.full(height * width, -1, np.int32)
  # Reversed, so that of two equally near triangles the first one stays.
  face_index[pixel[front][::-1]] = face[front][::-1]
  return face_index.reshape(grid), nearest.reshape(grid)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
  """Area-weighted unit normals of the vertices.

  Args:
    vertices: [V, 3] points.
    faces: [F, 3] triangles, counter-clockwise seen from outside.

  Returns:
    [V, 3] float64 unit vectors; zero where a vertex has no triangle.
  """
  a, b, c = (vertices[faces[:, k]] for k in range(3))
  face_normals = np.cross(b - a, c - a)
  flat = faces.reshape(-1)
  normals = np.stack(
    [
      np.bincount(flat, np.repeat(face_normals[:, k], 3), len(vertices))
      for k in range(3)
    ],
    axis=1,
  )
  length = np.linalg.norm(normals, axis=1, keepdims=True)
  return normals / np.where(length > 0, length, 1)


def _check_inputs(vertices, faces, vertex_colors, landmarks, size):
  problems = []
  if vertices.ndim != 2 or vertices.shape[1] != 3:
    problems.append(f'vertices must be [V, 3], not {list(vertices.shape)}')
  elif not np.isfinite(vertices).all():
    problems.append('vertices holds numbers that are not finite')
  if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in 'iu':
    problems.append(
      f'faces must be integers [F, 3], not {faces.dtype} {list(faces.shape)}'
    )
  elif faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
    problems.append(
      f'faces names vertices {faces.min()}..{faces.max()}, '
      f'the mesh has {len(vertices)}'
    )
  if vertex_colors is not None and np.shape(vertex_colors) != vertices.shape:
    problems.append(
      f'vertex_colors must be {list(vertices.shape)} like vertices, '
      f'not {list(np.shape(vertex_colors))}'
    )
  if landmarks is not None and np.shape(landmarks)[1:] != (3,):
    problems.append(f'landmarks must be [L, 3], not {np.shape(landmarks)}')
  if min(size) < 1:
    problems.append(f'size must be at least 1 pixel, not {size}')
  if problems:
    raise ValueError('render_mesh: ' + '; '.join(problems))


def _to_pixels(points, center, scale, grid):
  height, width = grid
  factor = scale * min(height, width) / 2
  return np.stack(
    [
      (points[:, 0] - center[0]) * factor + width / 2,
      (center[1] - points[:, 1]) * factor + height / 2,
      points[:, 2] * factor,
    ],
    axis=1,
  )


def _expand(counts):
  """For ragged rows: the row of every element and its place in that row."""
  owner = np.repeat(np.arange(len(counts)), counts)
  first = np.cumsum(counts) - counts
  return owner, np.arange(len(owner)) - first[owner]


def _crossing(low, high, y):
  """Column where the edge from `low` to `high` crosses height y."""
  rise = high[:, 1] - low[:, 1]
  part = (y - low[:, 1]) / np.where(rise > 0, rise, 1)
  return low[:, 0] + part * (high[:, 0] - low[:, 0])


def _spans(corners, height, width):
  """Runs of pixels of each triangle in each row: face, row, start, stop.

  Args:
    corners: [F, 3, 3] with the corners of each triangle sorted by row.
    height: rows of the picture.
    width: columns of the picture.

  Returns:
    Four [R] integer arrays; start <= column < stop is inside.
  """
  top = np.clip(np.ceil(corners[:, 0, 1] - 0.5), 0, height).astype(np.int64)
  end = np.clip(np.ceil(corners[:, 2, 1] - 0.5), 0, height).astype(np.int64)
  face, offset = _expand(end - top)
  row = top[face] + offset
  y = row + 0.5
  a, b, c = (corners[face, k] for k in range(3))
  long_edge = _crossing(a, c, y)
  upper = (y < b[:, 1])[:, None]
  short_edge = _crossing(np.where(upper, a, b), np.where(upper, b, c), y)
  left = np.minimum(long_edge, short_edge)
  right = np.maximum(long_edge, short_edge)
  start = np.clip(np.ceil(left - 0.5), 0, width).astype(np.int64)
  stop = np.clip(np.ceil(right - 0.5), 0, width).astype(np.int64)
  keep = stop > start
  return face[keep], row[keep], start[keep], stop[keep]


def _depth_planes(corners):
  """Depth of each triangle as a plane: value at (0, 0) and two slopes."""
  a = corners[:, 0]
  ab, ac = corners[:, 1] - a, corners[:, 2] - a
  area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
  inverse = np.divide(1.0, area, out=np.zeros_like(area), where=area != 0)
  slope = np.stack(
    [
      (ab[:, 2] * ac[:, 1] - ac[:, 2] * ab[:, 1]) * inverse,
      (ac[:, 2] * ab[:, 0] - ab[:, 2] * ac[:, 0]) * inverse,
    ],
    axis=1,
  )
  return a[:, 2] - (slope * a[:, :2]).sum(1), slope


def _lit_colors(vertices, faces, vertex_colors):
  """[V, 3] colour of each vertex under the lights, in [0, 255]."""
  normals = vertex_normals(vertices, faces)
  # A back face is only seen through an opening; light it from inside.
  light = _AMBIENT_DOWN + (_AMBIENT_UP - _AMBIENT_DOWN) * (
    (normals[:, 1] + 1) / 2
  )
  gloss = np.zeros(len(vertices))
  for direction, strength in _LIGHTS:
    direction = np.array(direction) / np.linalg.norm(direction)
    cosine = normals @ direction
    light += strength * np.clip((cosine + _WRAP) / (1 + _WRAP), 0, None)
    halfway = direction + np.array([0.0, 0.0, 1.0])
    halfway /= max(np.linalg.norm(halfway), 1e-6)
    gloss += strength * np.clip(normals @ halfway, 0, 1) ** _SHININESS
  colors = (
    np.array(CLAY) if vertex_colors is None else np.asarray(vertex_colors)
  )
  lit = colors * light[:, None] + _GLOSS * gloss[:, None]
  return 255 * np.clip(lit, 0, 1)


def _shade(points, faces, face_index, colors, background):
  """Interpolates vertex colours over the visible samples."""
  height, width = face_index.shape
  picture = np.empty((height * width, 3), np.float32)
  picture[:] = background
  pixel = np.flatnonzero(face_index >= 0)
  face = face_index.reshape(-1)[pixel]
  row, column = np.divmod(pixel, width)
  weights = _barycentric(points, faces, face, column + 0.5, row + 0.5)
  colors = colors.astype(np.float32)
  corners = faces[face]
  shaded = weights[0][:, None] * colors[corners[:, 0]]
  for k in (1, 2):
    shaded += weights[k][:, None] * colors[corners[:, k]]
  picture[pixel] = shaded
  return picture.reshape(height, width, 3)


def _barycentric(points, faces, face, x, y):
  """Weights of the corners of `face` at (x, y), kept inside the triangle."""
  a, b, c = (points[faces[:, k], :2] for k in range(3))
  ab, ac = b - a, c - a
  area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
  inverse = np.divide(1.0, area, out=np.zeros_like(area), where=area != 0)
  planes = np.stack(
    [
      a[:, 0],
      a[:, 1],
      ac[:, 1] * inverse,
      -ac[:, 0] * inverse,
      -ab[:, 1] * inverse,
      ab[:, 0] * inverse,
    ],
    axis=1,
  )[face]
  x, y = x - planes[:, 0], y - planes[:, 1]
  second = np.clip(planes[:, 2] * x + planes[:, 3] * y, 0, 1)
  third = np.clip(planes[:, 4] * x + planes[:, 5] * y, 0, 1)
  third = np.minimum(third, 1 - second)
  return [w.astype(np.float32) for w in (1 - second - third, second, third)]


def _average(picture, supersample):
  """Mean of the samples of each pixel."""
  total = picture[::supersample, ::supersample].copy()
  for k in range(1, supersample**2):
    down, right = divmod(k, supersample)
    total += picture[down::supersample, right::supersample]
  return total / supersample**2


def _is_visible(dots, depth, supersample):
  """Dots that are not behind the mesh by more than about two pixels."""
  height, width = depth.shape
  column = np.clip(dots[:, 0].astype(int), 0, width - 1)
  row = np.clip(dots[:, 1].astype(int), 0, height - 1)
  return dots[:, 2] >= depth[row, column] - 2 * supersample


def _draw_dots(picture, dots, color, radius):
  """Blends round dots with soft edges into a float picture, in place."""
  height, width = picture.shape[:2]
  reach = int(np.ceil(radius + 1))
  step = np.arange(-reach, reach + 1)
  column = np.floor(dots[:, 0, None, None]).astype(int) + step[None, None, :]
  row = np.floor(dots[:, 1, None, None]).astype(int) + step[None, :, None]
  distance = np.hypot(
    column + 0.5 - dots[:, 0, None, None], row + 0.5 - dots[:, 1, None, None]
  )
  row, column = np.broadcast_arrays(row, column)
  inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
  cover = np.zeros((height, width))
  opacity = np.clip(radius + 0.5 - distance, 0, 1)
  np.maximum.at(cover, (row[inside], column[inside]), opacity[inside])
  picture += cover[:, :, None] * (np.array(color, np.float32) - picture)
