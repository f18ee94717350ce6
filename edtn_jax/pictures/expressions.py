"""The 17 expressions of a pose adapter on one sheet."""

from __future__ import annotations

import numpy as np
from PIL import Image

from data import pose_vector
from edtn_jax.pictures import panels, style
from edtn_jax.pictures.meshes import MeshScene

_COLUMNS = 6


def expression_sheet(scene: MeshScene, strength: float = 1.0) -> Image.Image:
  """Draws each anime coefficient alone, and the neutral face.

  Six columns: the eyes, the brows, then neutral and the mouths. Pairs stand
  as declared, the character's left side first.

  Args:
    scene: head model and pose adapter.
    strength: value of the coefficient shown, in [0, 1].

  Returns:
    One RGB picture, 18 tiles with their names.
  """
  count = pose_vector.NUM_COEFFICIENTS
  mouth = pose_vector.group_indices('mouth')[0]
  rows = np.insert(strength * np.eye(count), mouth, 0.0, axis=0)
  numbers = list(pose_vector.POSE_NUMBERS[:count])
  labels = [number.name.replace('_', ' ') for number in numbers]
  colors = [style.GROUP_COLORS[number.group] for number in numbers]
  labels.insert(mouth, 'neutral')
  colors.insert(mouth, style.MUTED)
  return panels.contact_sheet(
    scene.predicted(rows), labels, columns=_COLUMNS, label_colors=colors
  )
