"""What `launch.check_encoder` says of a clip's codes beside other sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import figure

from data import codes, pose_vector
from data.drivers import DriverError
from data.facemesh.tracking import SIDES
from launch.correlation import correlation

_ANGLES = ('pitch', 'roll', 'yaw')
Curves = dict[str, dict[str, np.ndarray]]


def movements(clips: Sequence[codes.CodeClip]) -> dict[str, np.ndarray]:
  """Head angles in degrees and the jaw's in radians, [T] each.

  Args:
    clips: one after the other, T frames in all.

  Returns:
    By `pitch`, `roll`, `yaw` and `jaw`.
  """
  angles = pose_vector.head_angles_deg(
    np.concatenate([clip.global_pose for clip in clips])
  )
  jaw = np.concatenate([clip.jaw_pose for clip in clips])[:, 0]
  return dict(zip((*_ANGLES, 'jaw'), (*angles.T, jaw), strict=True))


def check_movements(
  clip: codes.CodeClip,
  recorded: Sequence[codes.CodeClip],
  curves: Curves,
) -> dict[str, Any]:
  """Whether head and jaw follow DECA's codes of the same frames.

  Args:
    clip: T frames.
    recorded: by DECA, one after the other; of any of the frames.
    curves: by quantity; DECA's are added, NaN where it has no frame.

  Returns:
    Numbers.

  Raises:
    DriverError: if frames are not named by numbers.
  """
  rows, others = matching_frames(
    clip.frames, [name for part in recorded for name in part.frames]
  )
  result: dict[str, Any] = {}
  for name, values in movements(recorded).items():
    theirs = np.full(clip.num_frames, np.nan)
    theirs[rows] = values[others]
    result[f'{name}_correlation_to_deca'] = rounded(
      correlation(curves[name]['landmarks'], theirs)
    )
    curves[name]['DECA'] = theirs
  result['frames_with_deca'] = len(rows)
  return result


def matching_frames(
  first: Sequence[str], second: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
  """Where the frames stand that are in both of two lists.

  Args:
    first: names that are numbers, in any order, however many zeros lead.
    second: likewise.

  Returns:
    [n] int64 indices into the first, and into the second.

  Raises:
    DriverError: if a name is no number.
  """
  strange = [name for name in (*first, *second) if not name.isdecimal()]
  if strange:
    raise DriverError(
      f'{len(strange)} frames are not named by their number, such as '
      f'{strange[0]!r}; rename them, so that they can be matched'
    )
  numbers = [
    np.array([int(name) for name in names]) for names in (first, second)
  ]
  _, one, other = np.intersect1d(*numbers, return_indices=True)
  return one, other


def check_lids(
  lids: np.ndarray,
  by_mesh: np.ndarray,
  by_eyes: np.ndarray,
  curves: Curves,
) -> dict[str, Any]:
  """Whether the fitted head's lids follow those that are seen.

  Args:
    lids: [T, 2] float of the fitted head, left and right.
    by_mesh: [T, 2] float by the mesh of landmarks; NaN without a face.
    by_eyes: [T, 2] float by the eye finder, likewise.
    curves: those of the lids are added, relative to their medians.

  Returns:
    Numbers.
  """
  result: dict[str, Any] = {}
  for i, side in enumerate(SIDES):
    curves[f'lid {side}'] = {
      'fitted head': lids[:, i] / np.median(lids[:, i]),
      'mesh': by_mesh[:, i] / np.nanmedian(by_mesh[:, i]),
      'eye finder': by_eyes[:, i] / np.nanmedian(by_eyes[:, i]),
    }
    for name, other in (('mesh', by_mesh), ('eye_finder', by_eyes)):
      result[f'lid_{side}_correlation_to_{name}'] = rounded(
        correlation(lids[:, i], other[:, i])
      )
  return result


def check_closure(
  coefficients: np.ndarray,
  by_eyes: np.ndarray,
  curves: Curves,
) -> dict[str, Any]:
  """Whether the eye closure of pose vectors follows the lids.

  Args:
    coefficients: [T, 17] in [0, 1].
    by_eyes: [T, 2] float, how open the eye finder sees them.
    curves: those of the lids get the closure.

  Returns:
    Numbers.
  """
  result: dict[str, Any] = {}
  for i, side in enumerate(SIDES):
    closed = closure(coefficients, side)
    curves[f'lid {side}']['1 - closure of the pose vector'] = 1 - closed
    result[f'closure_{side}_correlation_to_lids'] = rounded(
      correlation(closed, -by_eyes[:, i])
    )
    result[f'closure_{side}_most'] = rounded(closed.max())
  return result


def closure(coefficients: np.ndarray, side: str) -> np.ndarray:
  """How closed an eye is, by either way of closing it.

  Args:
    coefficients: [T, 17] in [0, 1].
    side: `left` or `right`.

  Returns:
    [T] float in [0, 1].
  """
  total = sum(
    coefficients[:, pose_vector.POSE_INDEX[f'{stem}_{side}']]
    for stem in ('eye_wink', 'eye_happy_wink')
  )
  return np.minimum(total, 1.0)


def rounded(value: float | None) -> float | None:
  """To three digits; None stays."""
  return None if value is None else round(float(value), 3)


def draw_curves(curves: Curves) -> figure.Figure:
  """One chart a quantity, one line a way to know it."""
  drawn = figure.Figure((9, 1.6 * len(curves)), layout='constrained')
  for axes, (name, lines) in zip(
    np.atleast_1d(drawn.subplots(len(curves), sharex=True)),
    curves.items(),
    strict=True,
  ):
    for label, values in lines.items():
      axes.plot(values, label=label, linewidth=1)
    axes.set_ylabel(name)
    axes.legend(loc='upper right', fontsize=7)
  axes.set_xlabel('frame')
  return drawn
