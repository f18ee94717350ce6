"""Sheets of samples: source, driving, warped, result and flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.colors
import numpy as np
from PIL import Image

_ROWS = 8
# White lines between the pictures.
_GAP = 2


def sample_sheets(
  *,
  self_batch: Mapping[str, Any],
  self_out: Mapping[str, Any],
  cross_batch: Mapping[str, Any],
  cross_out: Mapping[str, Any],
) -> dict[str, np.ndarray]:
  """One sheet for each kind of reenactment.

  Args:
    self_batch: `source_image` and `driving_image`, [B, H, W, 3] in [0, 1], of
      the same identity.
    self_out: outputs of the task for it.
    cross_batch: the same with driving frames of other identities.
    cross_out: outputs of the task for it.

  Returns:
    `self_reenactment` and `cross_identity`, uint8 [H', W', 3]; a row is
    source | driving | warped | result | flow.
  """
  return {
    'self_reenactment': _sheet(self_batch, self_out),
    'cross_identity': _sheet(cross_batch, cross_out),
  }


def _sheet(batch: Mapping[str, Any], out: Mapping[str, Any]) -> np.ndarray:
  size = np.asarray(batch['source_image']).shape[1]
  rows = []
  for i in range(min(_ROWS, len(batch['source_image']))):
    row = [
      _as_bytes(values[i])
      for values in (
        batch['source_image'],
        batch['driving_image'],
        out['warped_image'],
        out['image'],
      )
    ]
    flow = Image.fromarray(flow_picture(np.asarray(out['flow'][i])))
    row.append(np.asarray(flow.resize((size, size), Image.Resampling.NEAREST)))
    rows.append(_joined(row, 1))
  return _joined(rows, 0)


def flow_picture(flow: np.ndarray, longest: float | None = None) -> np.ndarray:
  """A flow as colours: direction is hue, length is saturation.

  Args:
    flow: [h, w, 2] float, (x, y) in pixels.
    longest: length of full saturation; None takes the longest in the flow,
      but at least one pixel.

  Returns:
    [h, w, 3] uint8 RGB; white where nothing moves, red to the right, then
    yellow-green, cyan and violet for down, left and up.
  """
  flow = np.asarray(flow, np.float64)
  length = np.hypot(flow[..., 0], flow[..., 1])
  longest = max(1.0, float(length.max())) if longest is None else longest
  hue = np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi) % 1
  saturation = np.clip(length / longest, 0, 1)
  hsv = np.stack([hue, saturation, np.ones_like(hue)], -1)
  return np.round(255 * matplotlib.colors.hsv_to_rgb(hsv)).astype(np.uint8)


def _as_bytes(picture: Any) -> np.ndarray:
  scaled = np.clip(np.asarray(picture, np.float32), 0, 1) * 255
  return np.round(scaled).astype(np.uint8)


def _joined(pictures: list[np.ndarray], axis: int) -> np.ndarray:
  """Pictures side by side (1) or below each other (0)."""
  shape = list(pictures[0].shape)
  shape[axis] = _GAP
  gap = np.full(shape, 255, np.uint8)
  parts = [p for picture in pictures for p in (picture, gap)][:-1]
  return np.concatenate(parts, axis)
