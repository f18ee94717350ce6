"""Sizes of the first-order motion model."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class FOMMConfig:
  """Sizes of the first-order motion model; the defaults are the paper's.

  Attributes:
    num_keypoints: K, learned without labels.
    motion_downsample: keypoints and motion are found on the image this many
      times smaller.
    temperature: of the softmax that turns scores into keypoint heatmaps.
    heatmap_variance: of the Gaussians that show the motion network where the
      keypoints are; coordinates are in [-1, 1].
    keypoint_base: channels of the keypoint hourglass before doubling.
    keypoint_blocks: halvings of the keypoint hourglass.
    motion_base: channels of the motion hourglass before doubling.
    motion_blocks: halvings of the motion hourglass.
    hourglass_max: most channels of both hourglasses.
    generator_base: channels of the generator at full size.
    generator_max: most channels of the generator.
    generator_blocks: halvings of the generator.
    bottleneck_blocks: residual blocks at the generator's smallest size.
    compat: COMPAT: released weights take [-1, 1] for the centres of the
      outermost pixels where coordinates are made and for their outer edges
      where images are sampled, and stretch the keypoint heatmap, which is
      smaller than its feature map, over all of it. Without `compat` -1 and 1
      are the image's edges everywhere. Covered by
      `test_keypoints_of_single_peaks` and `test_no_motion_is_the_identity`.
  """

  num_keypoints: int = 10
  motion_downsample: int = 4
  temperature: float = 0.1
  heatmap_variance: float = 0.01
  keypoint_base: int = 32
  keypoint_blocks: int = 5
  motion_base: int = 64
  motion_blocks: int = 5
  hourglass_max: int = 1024
  generator_base: int = 64
  generator_max: int = 512
  generator_blocks: int = 2
  bottleneck_blocks: int = 6
  compat: bool = False


FULL = FOMMConfig()
TINY = FOMMConfig(
  keypoint_base=8,
  keypoint_blocks=3,
  motion_base=8,
  motion_blocks=3,
  hourglass_max=32,
  generator_base=8,
  generator_max=32,
  bottleneck_blocks=2,
)
