"""Scenes and comparison pictures of a face that a config names."""

from __future__ import annotations

import numpy as np

from edtn_jax.faces import Face
from edtn_jax.pictures import panels
from edtn_jax.pictures.meshes import MeshScene


def face_scene(face: Face, size: int) -> MeshScene:
  """A scene that draws measured and predicted faces.

  Args:
    face: head model and adapter; where it only approximates the codes,
      predictions are drawn by the head that does not.
    size: side of the pictures, pixels.

  Returns:
    The scene.
  """
  if face.shown_assets is None:
    return MeshScene(face.assets, face.pose_adapter, size)
  return MeshScene(
    face.shown_assets,
    face.shown_adapter,
    size,
    driving_assets=face.assets,
  )


def target_and_predicted(
  face: Face,
  expression: np.ndarray,
  jaw_pose: np.ndarray,
  pose_coeffs: np.ndarray,
  *,
  size: int = 192,
) -> np.ndarray:
  """Measured faces above the predicted ones.

  Args:
    face: head model and adapter.
    expression: [T, 50] float, measured.
    jaw_pose: [T, 3] float, axis-angle radians, measured.
    pose_coeffs: [T, 17] float in [0, 1], predicted.
    size: side of each picture, pixels.

  Returns:
    [H, W, 3] uint8.
  """
  scene = face_scene(face, size)
  top = scene.driving(expression, jaw_pose)
  bottom = scene.predicted(pose_coeffs)
  labels = ['target'] * len(top) + ['predicted'] * len(bottom)
  sheet = panels.contact_sheet([*top, *bottom], labels, columns=len(top))
  return np.asarray(sheet)
