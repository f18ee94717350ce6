"""Pictures of the driving face and of what the anime pose means for it."""

from __future__ import annotations

import functools

import jax
import numpy as np

from data import pose_vector
from edtn_jax.pictures import style
from flame_jax.assets import JOINT_NAMES, FlameAssets, FlameParams
from flame_jax.layer import flame_apply
from flame_jax.render import fit_view, render_mesh

# Frames are padded to a multiple of this, so that few sizes are compiled.
_BATCH = 16
# Half the picture's side, and how far its middle lies below the eyes, in
# distances between the eye joints: shows the whole head, turned or not, and
# leaves the shoulders out.
_HALF_SIDE, _BELOW_EYES = 2.3, 0.1
_LEFT_EYE, _RIGHT_EYE = (
  JOINT_NAMES.index(name) for name in ('left_eye', 'right_eye')
)


@functools.partial(jax.jit, static_argnames='landmarks')
def _apply(assets, params, landmarks=None):
  return flame_apply(assets, params, landmarks=landmarks).vertices


def axis_angle_from_head_angles(angles_deg: np.ndarray) -> np.ndarray:
  """Inverse of `data.pose_vector.head_angles_deg`.

  Args:
    angles_deg: [..., 3] float, degrees, in pose-vector order.

  Returns:
    [..., 3] float32, axis-angle (x, y, z), radians.
  """
  position = pose_vector.ANGLE_NAMES.index
  order = [position(name) for name in ('pitch', 'yaw', 'roll')]
  return np.deg2rad(np.asarray(angles_deg)[..., order]).astype(np.float32)


def face_view(assets: FlameAssets) -> tuple[np.ndarray, float]:
  """Framing on the face of a head model, for `render_mesh`.

  Args:
    assets: the head model.

  Returns:
    (center [2] in metres, scale), as `flame_jax.render.fit_view`, which is
    used where a model's eye joints coincide.
  """
  template = np.asarray(assets.v_template, np.float64)
  joints = np.asarray(assets.J_regressor, np.float64) @ template
  eyes = joints[[_LEFT_EYE, _RIGHT_EYE]]
  distance = np.linalg.norm(eyes[0] - eyes[1])
  if distance < 1e-6:
    return fit_view(template)
  center = eyes.mean(axis=0)[:2]
  center[1] -= _BELOW_EYES * distance
  return center, 1.0 / (_HALF_SIDE * distance)


class MeshScene:
  """One head model, one framing, one look.

  Example:
    >>> scene = MeshScene(assets, pose_adapter, size=240)
    >>> left = scene.driving(expression, jaw_pose)
    >>> right = scene.predicted(pose_coeffs)

  Attributes:
    assets: the head model.
    pose_adapter: [17, E] float32, expression of each anime coefficient.
    driving_assets: the head that answers to the driver's codes.
    size: side of the pictures, pixels.
  """

  def __init__(
    self,
    assets: FlameAssets,
    pose_adapter: np.ndarray,
    size: int = 240,
    *,
    driving_assets: FlameAssets | None = None,
  ):
    """Fixes the framing on the neutral head.

    Args:
      assets: the head model.
      pose_adapter: [17, E] float, E at most the model's expression basis.
      size: side of the pictures, pixels.
      driving_assets: the same head with a basis that only approximates the
        driver's codes, where those belong to another model; `assets` when
        None.

    Raises:
      ValueError: if the adapter does not fit the pose vector or the model.
    """
    pose_adapter = np.asarray(pose_adapter, np.float32)
    most = assets.expressiondirs.shape[2]
    rows = pose_vector.NUM_COEFFICIENTS
    if (
      pose_adapter.ndim != 2
      or pose_adapter.shape[0] != rows
      or pose_adapter.shape[1] > most
    ):
      raise ValueError(
        f'pose adapter is {pose_adapter.shape}, wanted ({rows}, at most {most})'
      )
    self.assets = assets
    self.pose_adapter = pose_adapter
    self.driving_assets = driving_assets or assets
    self.size = size
    self._faces = np.asarray(assets.faces)
    self._colors = assets.vertex_colors
    if self._colors is not None:
      self._colors = np.asarray(self._colors)
    self._center, self._scale = face_view(assets)

  @property
  def is_approximate(self) -> bool:
    """Whether the driving head only approximates the driver's codes.

    Such a head exaggerates a person's resting face, so it is better shown the
    expression relative to that.
    """
    return self.driving_assets is not self.assets

  def vertices(
    self,
    expression: np.ndarray,
    jaw_pose: np.ndarray | None = None,
    global_pose: np.ndarray | None = None,
    *,
    assets: FlameAssets | None = None,
  ) -> np.ndarray:
    """Meshes of a batch of codes.

    Args:
      expression: [T, <=E] float.
      jaw_pose: [T, 3] float, axis-angle radians, or None for closed.
      global_pose: [T, 3] float, axis-angle radians, or None for frontal.
      assets: head to use instead of the scene's.

    Returns:
      [T, V, 3] float32, metres.
    """
    count = len(expression)
    if not count:
      return np.zeros((0, self.assets.num_vertices, 3), np.float32)
    padding = -count % _BATCH

    def pad(array):
      if array is None:
        return None
      array = np.asarray(array, np.float32)
      return np.pad(array, [(0, padding), (0, 0)])

    params = FlameParams(
      expression=pad(expression),
      jaw_pose=pad(jaw_pose),
      global_pose=pad(global_pose),
    )
    return np.asarray(_apply(assets or self.assets, params))[:count]

  def render(self, vertices: np.ndarray) -> np.ndarray:
    """One picture of one mesh.

    Args:
      vertices: [V, 3] float, metres.

    Returns:
      [size, size, 3] uint8.
    """
    return render_mesh(
      vertices,
      self._faces,
      size=self.size,
      vertex_colors=self._colors,
      center=self._center,
      scale=self._scale,
      background=style.MESH_BACKGROUND,
    )

  def driving(
    self,
    expression: np.ndarray,
    jaw_pose: np.ndarray,
    global_pose: np.ndarray | None = None,
  ) -> list[np.ndarray]:
    """Pictures of the measured face.

    Args:
      expression: [T, 50] float.
      jaw_pose: [T, 3] float, axis-angle radians.
      global_pose: [T, 3] float, axis-angle radians; None shows it frontal.

    Returns:
      T pictures, [size, size, 3] uint8.
    """
    meshes = self.vertices(
      expression, jaw_pose, global_pose, assets=self.driving_assets
    )
    return [self.render(mesh) for mesh in meshes]

  def predicted(
    self, pose_coeffs: np.ndarray, angles_deg: np.ndarray | None = None
  ) -> list[np.ndarray]:
    """Pictures of the anime pose, carried back by the pose adapter.

    Args:
      pose_coeffs: [T, 17] float in [0, 1].
      angles_deg: [T, 3] float, head angles in pose-vector order, degrees;
        None shows the head frontal.

    Returns:
      T pictures, [size, size, 3] uint8.
    """
    expression = np.asarray(pose_coeffs, np.float32) @ self.pose_adapter
    head = None
    if angles_deg is not None:
      head = axis_angle_from_head_angles(angles_deg)
    meshes = self.vertices(expression, None, head)
    return [self.render(mesh) for mesh in meshes]
