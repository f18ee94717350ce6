"""Sizes of AniMo: PIRenderer's, but for the pose."""

from __future__ import annotations

import dataclasses

from generator.animo.pose import JOINT_POSE_SIZE
from generator.pirenderer import config as pirenderer

FULL, LITE, TINY = (
  dataclasses.replace(config, pose_size=JOINT_POSE_SIZE)
  for config in (pirenderer.FULL, pirenderer.LITE, pirenderer.TINY)
)
