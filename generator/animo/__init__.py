"""AniMo: anime heads and human faces moved by one description of motion.

Kim et al., "AnimeCeleb: Large-Scale Animation CelebHeads Dataset for Head
Reenactment" (ECCV 2022). The motion network is shared by both domains, warping
and editing networks are each domain's own.
"""

from generator.animo.config import FULL, LITE, TINY
from generator.animo.joint_generator import DOMAINS, JointGenerator
from generator.animo.pose import JOINT_POSE_SIZE, joint_pose

__all__ = [
  'DOMAINS',
  'FULL',
  'JOINT_POSE_SIZE',
  'LITE',
  'TINY',
  'JointGenerator',
  'joint_pose',
]
