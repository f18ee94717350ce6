"""Poses by name, and pictures looked up along a flow."""

from __future__ import annotations

import numpy as np

from data.pose_vector import NUM_POSE, POSE_INDEX


def pose_of(**numbers) -> np.ndarray:
  """[20] pose vector, 0 but for what is named."""
  pose = np.zeros(NUM_POSE)
  for name, value in numbers.items():
    pose[POSE_INDEX[name]] = value
  return pose


def look_up(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
  """Bilinear lookup of a picture at pixel plus flow."""
  size = len(picture)
  y, x = np.mgrid[:size, :size]
  x = np.clip(x + flow[..., 0], 0, size - 1.001)
  y = np.clip(y + flow[..., 1], 0, size - 1.001)
  left, top = x.astype(int), y.astype(int)
  u, v = (x - left)[..., None], (y - top)[..., None]
  upper = picture[top, left] * (1 - u) + picture[top, left + 1] * u
  lower = picture[top + 1, left] * (1 - u) + picture[top + 1, left + 1] * u
  return upper * (1 - v) + lower * v
