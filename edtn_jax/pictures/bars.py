"""Draws one pose vector: bars for the coefficients, a dial for the head."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from data import pose_vector
from edtn_jax.pictures import style

# Drawn at this many times the size and reduced: Pillow draws without
# anti-aliasing.
_SUPERSAMPLE = 2
# Layout of a panel 256 pixels high, scaled to the size asked for.
_ROW, _BAR, _GAP, _MARGIN, _LABEL, _DIAL = 14.0, 8.0, 7.0, 10.0, 86.0, 30.0
_DIAL_RANGE_DEG = 40.0


def row_labels() -> list[tuple[str, str, tuple[str, ...]]]:
  """The rows of the panel, derived from the pose-vector declaration.

  Returns:
    (label, group, names) a row. `names` is (right, left) for a pair, as the
    character faces us, or a single name.
  """
  rows = []
  for number in pose_vector.POSE_NUMBERS:
    if number.group == 'head' or number.side == 'right':
      continue
    stem = number.name.removesuffix(f'_{number.side}')
    label = stem.replace('eyebrow', 'brow').replace('_', ' ')
    names = (number.name,)
    if number.side == 'left':
      names = (f'{stem}_right', number.name)
    rows.append((label, number.group, names))
  return rows


class BarsPanel:
  """Draws [20] pose vectors as a picture of fixed size.

  Labels stand in the middle. Bars of the character's right side grow to the
  picture's left, those of its left side to the right, as on its face; mouth
  coefficients grow both ways. Below, a dial: the dot is where the nose points,
  the line through it tilts with the head.

  Example:
    >>> BarsPanel(256)(np.zeros(20)).shape
    (256, 256, 3)

  Attributes:
    size: (width, height), pixels.
  """

  def __init__(self, height: int = 256, width: int | None = None):
    """Makes the panel and draws all that stays.

    Args:
      height: pixels, at least 128 for legible labels.
      width: pixels; the height when None.
    """
    self.size = (width or height, height)
    self._scale = height / 256.0 * _SUPERSAMPLE
    self._width = self.size[0] * _SUPERSAMPLE
    self._tops: dict[str, float] = {}
    self._boxes: dict[tuple[str, int], tuple[float, float, float]] = {}
    self._labels = row_labels()
    self._background = self._draw_background()

  def __call__(self, pose: np.ndarray) -> np.ndarray:
    """Draws one frame.

    Args:
      pose: [20] float, pose vector; coefficients are clipped to [0, 1].

    Returns:
      [height, width, 3] uint8.

    Raises:
      ValueError: if `pose` is not 20 finite numbers.
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape != (pose_vector.NUM_POSE,) or not np.isfinite(pose).all():
      raise ValueError(
        f'pose is {pose.shape}, wanted {pose_vector.NUM_POSE} finite numbers'
      )
    image = self._background.copy()
    draw = ImageDraw.Draw(image)
    for name, side in self._boxes:
      number = pose_vector.POSE_NUMBERS[pose_vector.POSE_INDEX[name]]
      value = min(max(pose[pose_vector.POSE_INDEX[name]], 0.0), 1.0)
      left, top, right, bottom = self._bar(name, value, side)
      if right - left >= 1:
        draw.rectangle(
          (left, top, right - 1, bottom - 1), style.GROUP_COLORS[number.group]
        )
    self._draw_dial(draw, pose)
    return np.asarray(image.reduce(_SUPERSAMPLE))

  def _bar(self, name: str, value: float, side: int) -> tuple[float, ...]:
    if (name, side) not in self._boxes:
      side = 1 - side
    left, right, inner = self._boxes[name, side]
    top = self._tops[name]
    length = round((right - left) * value)
    # Bars grow outwards from the labels.
    left, right = (
      (inner - length, inner) if inner == right else (inner, inner + length)
    )
    return left, top, right, top + round(_BAR * self._scale)

  def _draw_background(self) -> Image.Image:
    scale, width = self._scale, self._width
    image = style.blank(width, self.size[1] * _SUPERSAMPLE)
    draw = ImageDraw.Draw(image)
    margin, label = round(_MARGIN * scale), round(_LABEL * scale)
    middle = width // 2
    sides = (
      (margin, middle - label // 2, middle - label // 2),
      (middle + label // 2, width - margin, middle + label // 2),
    )
    y, previous = 4.0 * scale, self._labels[0][1]
    for text, group, names in self._labels:
      y += _GAP * scale if group != previous else 0
      previous = group
      top = round(y + (_ROW - _BAR) / 2 * scale)
      for side in (0, 1):
        name = names[side % len(names)]
        self._tops[name] = top
        self._boxes[name, side] = sides[side]
        left, right, _ = sides[side]
        bottom = top + round(_BAR * scale)
        draw.rectangle((left, top, right - 1, bottom - 1), style.TRACK)
      draw.text(
        (middle, y + _ROW / 2 * scale),
        text,
        style.INK,
        style.font(10.5 * scale),
        anchor='mm',
      )
      y += _ROW * scale
    self._dial_top = y + _GAP * scale
    return image

  def _draw_dial(self, draw: ImageDraw.ImageDraw, pose: np.ndarray) -> None:
    scale = self._scale
    angles = {
      name: pose[pose_vector.POSE_INDEX[name]]
      for name in pose_vector.ANGLE_NAMES
    }
    radius = _DIAL * scale
    x = self._width / 2 - radius
    y = self._dial_top + radius + 4 * scale
    color = style.GROUP_COLORS['head']
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, style.TRACK)
    line = round(scale)
    draw.line((x - radius, y, x + radius, y), style.PAPER, line)
    draw.line((x, y - radius, x, y + radius), style.PAPER, line)
    reach = radius / _DIAL_RANGE_DEG
    offset = np.array([angles['yaw'], angles['pitch']]) * reach
    offset *= min(1.0, radius / max(np.linalg.norm(offset), 1e-9))
    dot_x, dot_y = x + offset[0], y + offset[1]
    # Positive roll turns the head counter-clockwise for the viewer.
    roll = math.radians(angles['roll'])
    dx, dy = math.cos(roll) * radius * 0.6, -math.sin(roll) * radius * 0.6
    draw.line((dot_x - dx, dot_y - dy, dot_x + dx, dot_y + dy), color, 2 * line)
    dot = 3.5 * scale
    draw.ellipse((dot_x - dot, dot_y - dot, dot_x + dot, dot_y + dot), color)
    for row, (name, value) in enumerate(angles.items()):
      text_y = y + (row - 1) * 15 * scale
      font = style.font(10.5 * scale)
      left = self._width / 2 + 16 * scale
      draw.text((left, text_y), name, style.INK, font, anchor='lm')
      right = left + 64 * scale
      text = f'{round(value) + 0}°'
      draw.text((right, text_y), text, style.INK, font, anchor='rm')
