"""Sizes of the generator."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class PIRendererConfig:
  """Sizes and switches; the defaults are the paper's.

  Attributes:
    pose_size: numbers of a pose.
    pose_window: frames the mapping network sees; 1 is a single pose [B, P],
      more is a window [B, T, P] (PIRenderer proper: 27 of 73 numbers).
    descriptor_size: width of the mapping network and of its result.
    mapping_layers: residual layers of the mapping network.
    warping_channels: channels of the warping network at full size; they
      double with every halving.
    warping_down: halvings of the warping network.
    warping_up: doublings; the flow's size is the image's by
      2 ** (warping_down - warping_up).
    editing_channels: channels of the editing network at full size.
    editing_levels: halvings, and doublings, of the editing network.
    editing_blocks: residual blocks before every doubling.
    max_channels: limit of the doubling in both networks.
    adain_hidden: hidden width of every AdaIN.
    image_channels: channels of the picture.
    blend: the editing network also says how much of its picture counts at
      each pixel; elsewhere the warped picture shows through. DEVIATION: the
      paper's network paints every pixel anew, which a small one does blurred.
      Test: `test_blend_starts_near_the_warp`.
    palette: colours that a network with `blend` takes from the warped picture,
      to mix what it paints of; 0 for none, see `pirenderer.palette`.
      DEVIATION: not in the paper. Test: `test_paint_by_hand`.
    compat: compute what the released weights were trained with. COMPAT: the
      warp mixes corner conventions (`ops.warp.warp_by_flow`), and residual
      blocks throw their first convolution away. Tests:
      `test_released_weights_small` and `test_compat_drops_a_convolution`.
    spectral_norm: spectral norm on the blocks' convolutions.
    remat: recompute blocks in the backward pass instead of keeping their
      features: less memory, about a third more time.
  """

  pose_size: int = 20
  pose_window: int = 1
  descriptor_size: int = 256
  mapping_layers: int = 3
  warping_channels: int = 32
  warping_down: int = 5
  warping_up: int = 3
  editing_channels: int = 64
  editing_levels: int = 3
  editing_blocks: int = 2
  max_channels: int = 256
  adain_hidden: int = 128
  image_channels: int = 3
  blend: bool = False
  palette: int = 0
  compat: bool = False
  spectral_norm: bool = False
  remat: bool = False

  def __post_init__(self):
    least = {'palette': 0}
    problems = [
      f'{field.name} = {getattr(self, field.name)} must be at least '
      f'{least.get(field.name, 1)}'
      for field in dataclasses.fields(self)
      if field.type == 'int'
      and getattr(self, field.name) < least.get(field.name, 1)
    ]
    if self.palette and not self.blend:
      problems.append(
        f'palette = {self.palette} is of networks that blend: set blend = True'
      )
    if self.warping_up > self.warping_down:
      problems.append(
        f'warping_up = {self.warping_up} must not exceed warping_down = '
        f'{self.warping_down}: the flow is no finer than the image'
      )
    shortest = 7 + 6 * self.mapping_layers
    if 1 < self.pose_window < shortest:
      problems.append(
        f'pose_window = {self.pose_window} must be 1, or at least {shortest}: '
        'each layer crops the window'
      )
    if problems:
      raise ValueError('PIRendererConfig: ' + '; '.join(problems))

  @property
  def size_multiple(self) -> int:
    """Height and width of a picture must be multiples of this."""
    return 2 ** max(self.warping_down, self.editing_levels)

  def channels(self, base: int, level: int) -> int:
    """Channels after `level` halvings of a network of `base` channels."""
    return min(base * 2**level, self.max_channels)


# The paper's, as trained on AnimeCeleb.
FULL = PIRendererConfig()
# For CPUs and browsers.
LITE = PIRendererConfig(
  descriptor_size=128,
  warping_channels=12,
  editing_channels=12,
  editing_blocks=1,
  max_channels=96,
  adain_hidden=64,
  blend=True,
  palette=8,
)
# For tests: few blocks to compile, sizes from 8 x 8.
TINY = PIRendererConfig(
  descriptor_size=16,
  mapping_layers=1,
  warping_channels=4,
  warping_down=3,
  warping_up=1,
  editing_channels=4,
  editing_levels=2,
  editing_blocks=1,
  max_channels=16,
  adain_hidden=8,
)
PRESETS = {'full': FULL, 'lite': LITE, 'tiny': TINY}
