"""A picture larger than the network's, from what a blending network says."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from generator.ops.warp import warp_by_flow


def blend_with_detail(
  source: jax.Array, outputs: Mapping[str, jax.Array]
) -> jax.Array:
  """Warps and blends a source in its own size.

  A flow has no resolution of its own, so a network that has seen a source in
  its small size can move the large one. What it paints is enlarged; elsewhere
  the lines stay as sharp as the source's. DEVIATION: not in the paper. Test:
  `test_detail_of_a_blend_by_hand`.

  Args:
    source: [B, S, S, C] float, the picture whose smaller copy the network has
      seen.
    outputs: of a `FaceGenerator` with `config.blend`, of that copy: `flow`,
      `painted_image` and `share`.

  Returns:
    [B, S, S, C] float; of the copy itself its `image`, but for rounding.
  """
  shape = source.shape[:3]

  def enlarged(x):
    if x.shape[:3] == shape:
      return x
    return jax.image.resize(x, (*shape, x.shape[-1]), 'cubic')

  share = jnp.clip(enlarged(outputs['share']), 0, 1)
  warped = warp_by_flow(source, outputs['flow'])
  return share * enlarged(outputs['painted_image']) + (1 - share) * warped
