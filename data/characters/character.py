"""A character: an identity that can be drawn in any pose."""

from __future__ import annotations

import numpy as np

from data import pose_vector
from data.characters import (
  accessories,
  clothes,
  draw,
  face,
  hair,
  hair_back,
  hair_front,
  hair_tied,
  tint,
  turn,
)
from data.characters.boxes import Box, PartBoxes
from data.characters.checked_pose import checked_pose
from data.characters.eyes import Eye, EyeState
from data.characters.flow import PosedScene, backward_flow
from data.characters.geometry import Op
from data.characters.identity import Identity, make_identity
from data.characters.mouth import Mouth
from data.characters.palette import Palette, make_palette
from data.characters.soft import SoftShading, shading_size
from data.characters.style import DEFAULT_STYLE, Look, make_look

_SIDES = {'left': 1, 'right': -1}
_MOUTH = pose_vector.group_indices('mouth')
_HEAD = pose_vector.group_indices('head')


class Character:
  """An anime character drawn by code.

  Example:
    character = Character.from_seed(7)
    pose = np.zeros(20)
    pose[data.pose_vector.POSE_INDEX['yaw']] = 15
    picture = character.render(pose)  # [256, 256, 4] uint8

  Attributes:
    identity: its traits.
    palette: its colours, before the style changes them.
    look: how it is drawn: style, light, line width.
    size: height and width of its pictures in pixels.
  """

  def __init__(
    self,
    identity: Identity,
    palette: Palette,
    size: int = 256,
    look: Look | None = None,
  ):
    if not 16 <= size <= 2048:
      raise ValueError(f'size is {size}, wanted 16 to 2048 pixels')
    self.identity = identity
    self.palette = palette
    self.look = look or Look()
    self.size = int(size)
    features = tint.feature_palette(palette, self.look)
    self._eyes = {
      side: Eye(identity.eyes, features, sign) for side, sign in _SIDES.items()
    }
    self._mouth = Mouth(identity.face, features)
    styled = tint.style_palette(palette, self.look)
    self._build(styled, features)
    self._soft = None
    if self.look.style == 'soft':
      self._soft = SoftShading(styled, [*self._below, *self._above])
    self._boxes = PartBoxes(self._eyes.values(), self._mouth)

  @classmethod
  def from_seed(
    cls, seed: int, size: int = 256, style: str = DEFAULT_STYLE
  ) -> Character:
    """The character of a seed, the same on every machine.

    Args:
      seed: of the identity.
      size: height and width of its pictures, 16 to 2048 pixels.
      style: one of `data.characters.style.STYLES`; the seed also chooses
        light and line width, another one for each style.

    Returns:
      The character.

    Raises:
      ValueError: on a size or style that does not exist.
    """
    look = make_look(seed, style)
    return cls(make_identity(seed), make_palette(seed), size, look)

  def _build(self, palette: Palette, features: Palette) -> None:
    """Builds what no expression changes, in three painting steps."""
    identity = self.identity
    head = face.make_face(identity, palette, features)
    fringe = hair_front.fringe_locks(identity)
    fringe_ops = hair.group_ops(fringe, palette)
    sides = hair.group_ops(hair_front.side_locks(identity), palette)
    casters = [op for op in fringe_ops + sides if op.surface]
    skin = face.skin_clip(tuple(casters), head, palette)
    below: list[Op] = [
      *hair_back.back_ops(identity, palette),
      *accessories.behind_ops(identity, palette),
      *hair_tied.bun_ops(identity, palette),
      *clothes.neck_ops(identity, palette),
      *clothes.clothes_ops(identity, palette),
      *head.under,
      *head.ears,
      *accessories.ear_ops(identity, palette),
      head.skin,
      skin,
      *head.marks,
    ]
    above: list[Op] = [
      *accessories.before_hair_ops(identity, palette),
      *hair_tied.braid_ops(identity, palette),
      *hair_tied.ringlet_ops(identity, palette),
      *sides,
      hair_front.cap_patch(identity, palette),
      *hair_front.combed_ops(identity, palette),
      *fringe_ops,
      *hair_front.ahoge_ops(identity, palette),
      *accessories.front_ops(identity, palette),
    ]
    self._below = tint.restyle(below, self.look)
    self._above = tint.restyle(above, self.look)
    self._detail = draw.outline_detail(self.size)
    self._pool = draw.PointPool(self._below + self._above, self._detail)

  def _expression(self, pose: np.ndarray) -> tuple[list[Op], list[Op]]:
    """Eyes, brows and mouth, and what of the brows is seen through hair."""
    index = pose_vector.POSE_INDEX
    ops: list[Op] = []
    brows: list[Op] = []
    for side, eye in self._eyes.items():
      names = (
        'eye_wink',
        'eye_surprised',
        'eye_happy_wink',
        'eyebrow_raised',
        'eyebrow_lowered',
        'eyebrow_troubled',
      )
      state = EyeState(*(float(pose[index[f'{n}_{side}']]) for n in names))
      ops += eye.eye_ops(state)
      on_skin, through_hair = eye.brow_ops(state)
      ops += on_skin
      brows += through_hair
    ops += self._mouth.ops(pose[_MOUTH])
    return ops, brows

  def _scene(self, pose: np.ndarray) -> tuple[list[Op], list[tuple]]:
    """Operations in painting order; pools of points and where they are."""
    expression, brows = self._expression(pose)
    ops = [*self._below, *expression, *self._above, *brows]
    pools = (self._pool, draw.PointPool([*expression, *brows], self._detail))
    return ops, [(pool, pool.place(pose[_HEAD])) for pool in pools]

  def _polygons(self, pools: list[tuple], side: int = 0) -> draw.Polygons:
    """Outlines on a canvas of some side, otherwise the picture's own."""
    side = side or self.size * draw.supersampling(self.size)
    polygons = {}
    for pool, placed in pools:
      polygons |= pool.polygons(placed, side / draw.REST_SIZE)
    return polygons

  def render(
    self, pose: np.ndarray, *, background: tuple[int, int, int] | None = None
  ) -> np.ndarray:
    """Draws the character.

    Args:
      pose: [20] float pose vector; coefficients are clamped to [0, 1].
      background: RGB 0..255 behind the character; transparent if None.

    Returns:
      [size, size, 4] uint8 RGBA, alpha not premultiplied.

    Raises:
      ValueError: if the pose is not 20 finite numbers.
    """
    pose = checked_pose(pose)
    ops, pools = self._scene(pose)
    if self._soft:
      return self._render_soft(pose, ops, pools, background)
    return self._paint(ops, pools, background)

  def _paint(
    self,
    ops: list[Op],
    pools: list[tuple],
    background: tuple[int, int, int] | None,
  ) -> np.ndarray:
    polygons = self._polygons(pools)
    canvas = draw.new_canvas(self.size)
    if background is not None:
      canvas.paste((*background, 255), (0, 0, *canvas.size))
    draw.paint(canvas, ops, polygons, draw.color_fill(polygons))
    return draw.finish(canvas, self.size)

  def _render_soft(
    self,
    pose: np.ndarray,
    ops: list[Op],
    pools: list[tuple],
    background: tuple[int, int, int] | None,
  ) -> np.ndarray:
    bare = self._paint(tint.without_shading(ops), pools, None)
    small = self._polygons(pools, shading_size(self.size))
    center = turn.turn_points(np.zeros((1, 3)), np.ones(1), pose[_HEAD])[0]
    picture = self._soft(bare, ops, small, center)
    # Shading belongs to the character, not to what is behind it.
    return picture if background is None else draw.put_on(picture, background)

  def part_boxes(self, pose: np.ndarray) -> dict[str, Box]:
    """Where the parts of the face that expressions move can be.

    A box holds its part in every expression, for the head turn of the pose.

    Args:
      pose: [20] float pose vector.

    Returns:
      `eyes` (both eyes and brows) and `mouth`: x0, y0, x1, y1 in fractions of
      the picture, in [0, 1].

    Raises:
      ValueError: if the pose is not 20 finite numbers.
    """
    return self._boxes.place(checked_pose(pose)[_HEAD])

  def flow(
    self, pose_from: np.ndarray, pose_to: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """True backward flow between two poses.

    Shadows and highlights belong to the surface that they lie on.

    Args:
      pose_from: [20] float pose vector of the picture that is warped.
      pose_to: [20] float pose vector of the picture that is wanted.

    Returns:
      [size, size, 2] float32 flow in pixels (x, y): for each pixel of the `to`
      picture where it comes from in the `from` picture, minus its own
      position, 0 on the background; and [size, size] float32 occlusion, 1
      where the same surface is seen in both pictures.

    Raises:
      ValueError: if a pose is not 20 finite numbers.
    """
    return backward_flow(
      self._posed(pose_from), self._posed(pose_to), self.size
    )

  def _posed(self, pose: np.ndarray) -> PosedScene:
    ops, pools = self._scene(checked_pose(pose))
    grids = {}
    for pool, placed in pools:
      grids |= pool.grids(placed)
    return PosedScene(ops, grids, self._polygons(pools))

  def neutral(self) -> np.ndarray:
    """The neutral frontal picture, [size, size, 4] uint8 RGBA."""
    return self.render(np.zeros(pose_vector.NUM_POSE))
