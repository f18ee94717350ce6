"""Joints, skinning weights and pose-corrective shapes of the head."""

from __future__ import annotations

import numpy as np

from flame_jax.procedural import features, geometry, topology

# Where the joints should lie, metres: base of the neck, base of the skull,
# hinge of the jaw below the ears. The eyes' joints are their centres.
_GLOBAL_Z = -0.030
_NECK_Z = -0.022
_JAW_YZ = np.array([0.002, 0.004])
NUM_JOINTS = 5
GLOBAL, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(NUM_JOINTS)


def joint_regressor(head: geometry.Geometry) -> np.ndarray:
  """[5, V] non-negative weights, rows sum to one, that give the joints."""
  regressor = np.zeros((NUM_JOINTS, len(head.points)))
  front, back = head.half.grid[0], head.half.grid[-1]
  for joint, row, z in ((GLOBAL, 0, _GLOBAL_Z), (NECK, 5, _NECK_Z)):
    a, b = front[row], back[row]
    ahead, behind = head.points[a, 2], head.points[b, 2]
    share = (z - behind) / (ahead - behind)
    regressor[joint, a], regressor[joint, b] = share, 1 - share
  skin = head.half.grid[head.half.grid >= 0]
  distance = np.linalg.norm(head.points[skin][:, 1:] - _JAW_YZ, axis=1)
  left = skin[np.argmin(distance)]
  regressor[JAW, [left, head.mirror.opposite[left]]] = 0.5
  # The widest loop of an eyeball; its mean is the centre.
  segments = topology.EYEBALL_SEGMENTS
  loop = topology.EYEBALL_POLAR_DEG.index(90.0)
  ball = head.half.loops['eyeball'][1 + loop * segments :][:segments]
  regressor[LEFT_EYE, ball] = 1 / segments
  regressor[RIGHT_EYE, head.mirror.opposite[ball]] = 1 / segments
  return regressor


def skinning_weights(head: geometry.Geometry) -> np.ndarray:
  """[V, 5] weights, rows sum to one."""
  half = head.half
  points = head.points[: half.count]
  weights = np.zeros((half.count, NUM_JOINTS))
  # A plane that leans with the chin: below it the skin stays with the trunk.
  height = points[:, 1] + 0.3 * points[:, 2]
  trunk = 1 - features.smooth_step((height + 0.150) / 0.065)
  weights[:, JAW] = head.jaw
  weights[:, GLOBAL] = trunk * (1 - head.jaw)
  weights[:, NECK] = (1 - trunk) * (1 - head.jaw)
  ball = half.loops['eyeball']
  weights[ball] = 0
  weights[ball, LEFT_EYE] = 1
  whole = head.mirror.spread(weights)
  swapped = whole[head.mirror.is_copy][:, [0, 1, 2, RIGHT_EYE, LEFT_EYE]]
  whole[head.mirror.is_copy] = swapped
  return whole
