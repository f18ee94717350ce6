"""From human expression numbers to anime pose coefficients, and back."""

from edtn_jax.translation.network import ExpressionTranslator
from edtn_jax.translation.pose_adapter import (
  PoseAdapterError,
  fit_pose_adapter,
  load_pose_adapter,
)

__all__ = [
  'ExpressionTranslator',
  'PoseAdapterError',
  'fit_pose_adapter',
  'load_pose_adapter',
]
