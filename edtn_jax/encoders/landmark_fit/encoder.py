"""From face landmarks to FLAME codes, frame by frame.

  encoder = LandmarkEncoder(procedural_head())
  person = encoder.calibrate(points, lids)       # [T, 468, 3], [T, 2]
  codes = encoder.encode(points, lids, size=(width, height), person=person)

`encode` goes on where it stopped, so chunks and single frames give the same
numbers as the whole clip at once.
"""

from __future__ import annotations

import jax
import numpy as np

from data.facemesh import measures
from edtn_jax.encoders.landmark_fit import blocks as blocks_lib
from edtn_jax.encoders.landmark_fit import person as person_lib
from edtn_jax.encoders.landmark_fit import solver
from edtn_jax.encoders.landmark_fit.correspondence import (
  NUM_MESH,
  LandmarkMap,
  landmark_map,
)
from edtn_jax.encoders.landmark_fit.options import FitOptions, make_prior
from edtn_jax.encoders.landmark_fit.person import (
  NUM_SHAPE,
  CalibrationError,
  Person,
)
from flame_jax.assets import FlameAssets

NUM_EXPRESSION = 50
# Frames compiled into one call; single frames have a call of their own.
_BLOCK = 32
# Frames of a long clip that are looked at for a resting face.
_MOST_FRAMES = 600
# The finder of eyes leaves this opening, in eye widths, between closed lids;
# the mesh leaves more.
_CLOSED_BY_EYES, _CLOSED_BY_MESH = 0.09, 0.14
# Lids at rest of a person who was not calibrated.
_USUAL_OPENING = 0.30
_LARGEST_OPENING = 1.6


class LandmarkEncoder:
  """Fits a FLAME-format head to FaceMesh landmarks.

  Args:
    assets: the head model.
    landmarks: how the mesh relates to it; by default `landmark_map(assets)`.
    options: how far each thing is believed.
  """

  def __init__(
    self,
    assets: FlameAssets,
    landmarks: LandmarkMap | None = None,
    options: FitOptions | None = None,
  ):
    self._assets = assets
    self._landmarks = landmarks or landmark_map(assets)
    self._options = options or FitOptions()
    self._nobody = self.nobody()
    self._use(self._nobody)
    self._mean_face = self._blocks.linear[..., 0]
    self.reset()

  @property
  def lid_directions(self) -> np.ndarray:
    """[2, E] float32: what an expression adds to the opening of the lids.

    Left and right, over the opening at rest of the person encoded last:
    `1 + expression @ lid_directions.T` is 1 at rest and 0 with closed eyes.
    """
    return np.asarray(self._blocks.lids)

  def nobody(self) -> Person:
    """The mean head, for codes without calibration."""
    return Person(
      shape=np.zeros(NUM_SHAPE, np.float32),
      offsets=np.zeros((len(self._landmarks.mesh_index), 3), np.float32),
      open_lids=np.full(2, _USUAL_OPENING, np.float32),
    )

  def reset(self) -> None:
    """Forgets the frames seen so far: another clip begins."""
    self._state = solver.first_state(self._options.num_expression)

  def calibrate(
    self,
    points: np.ndarray,
    lids: np.ndarray | None = None,
    *,
    frames: list[int] | None = None,
  ) -> Person:
    """Learns a person's identity and resting face from a clip.

    Args:
      points: [T, 468, 3] float, landmarks in pixels (x right, y down, z away
        from the viewer); NaN where there is no face.
      lids: [T, 2] float, lid openings (the character's left, right) by the
        finder of eyes; None takes the mesh's. Give `encode` the same kind.
      frames: indices of frames in which the face rests; None finds them.

    Returns:
      The person; the codes of its resting face are near 0.

    Raises:
      CalibrationError: if no frame, or no frame named, has a face.
      ValueError: if shapes or indices are wrong.
    """
    points, lids = _check(points, lids)
    observed = self._picture_points(points, (1, 1))
    if frames is None:
      frames = self._resting_frames(points, lids, observed)
    else:
      frames = _named_frames(frames, observed)
    shape, offsets = person_lib.find_person(
      self._assets, self._landmarks, observed[frames]
    )
    # Eyes that were not found at rest are taken for usual ones.
    opened = np.where(np.isfinite(lids), lids, _USUAL_OPENING)[frames]
    return Person(
      shape=shape,
      offsets=offsets,
      open_lids=np.median(opened, axis=0).astype(np.float32),
      frames=tuple(int(i) for i in frames),
    )

  def encode(
    self,
    points: np.ndarray,
    lids: np.ndarray | None = None,
    *,
    size: tuple[int, int],
    person: Person | None = None,
  ) -> dict[str, np.ndarray]:
    """Codes of the next frames.

    Args:
      points: [T, 468, 3] float, landmarks in pixels; NaN where there is no
        face: the codes of the frame before are repeated there.
      lids: [T, 2] float, lid openings by the finder of eyes; None takes the
        mesh's.
      size: (width, height) of the picture in pixels.
      person: whom the frames show; None is a mean face.

    Returns:
      DECA's layout, float32: `expression` [T, 50], `jaw_pose` [T, 3],
      `global_pose` [T, 3] (axis-angle radians), `shape` [T, 100], `camera`
      [T, 3] of `flame_jax.orthographic_project`, whose picture coordinates
      span [-1, 1] along the longer side of the picture, 0 being its middle.

    Raises:
      ValueError: if shapes are wrong.
    """
    by_eyes = lids is not None
    points, lids = _check(points, lids)
    person = person or self._nobody
    if person is not self._person:
      self._use(person)
    observed = self._picture_points(points, size)
    closed = _CLOSED_BY_EYES if by_eyes else _CLOSED_BY_MESH
    opened = np.maximum(person.open_lids - closed, 0.05)
    relative = np.clip((lids - closed) / opened, 0, _LARGEST_OPENING)
    return self._codes(self._fit(observed, relative), person)

  def _use(self, person):
    """Prepares the blocks of a person's head."""
    options = self._options
    self._blocks = blocks_lib.head_blocks(
      self._assets,
      self._landmarks,
      options.num_expression,
      shape=person.shape,
      offsets=person.offsets,
    )
    self._prior = make_prior(options, self._landmarks, self._blocks)
    self._person = person

  def _picture_points(self, points, size):
    """[T, N, 3] float32 of [T, 468, 3]: picture units, y up, z to viewer."""
    middle = np.array([size[0] / 2, size[1] / 2, 0])
    unit = np.array([1, -1, -1]) * (2 / max(size))
    picked = (points[:, self._landmarks.mesh_index] - middle) * unit
    return picked.astype(np.float32)

  def _resting_frames(self, points, lids, observed):
    """Indices of the frames in which the face rests."""
    even = np.linspace(0, len(points) - 1, min(len(points), _MOST_FRAMES))
    even = np.unique(even.astype(int))
    placed = person_lib.frontal_points(
      self._mean_face, observed[even], self._landmarks.weight
    )
    mouths = [measures.mouth_opening(face) for face in points[even]]
    return even[
      person_lib.resting_frames(
        np.array(mouths), lids[even], np.asarray(placed)
      )
    ]

  def _fit(self, observed, relative):
    """Fits of all frames, block by block, as numpy arrays."""
    block = 1 if len(observed) == 1 else _BLOCK
    fits = []
    for start in range(0, len(observed), block):
      part, lids = (
        observed[start : start + block],
        relative[start : start + block],
      )
      # Frames without a face cost nothing, so a short block is filled up.
      missing = ((0, block - len(part)), (0, 0))
      self._state, fit = solver.fit_frames(
        self._blocks,
        self._prior,
        np.pad(part, (*missing, (0, 0)), constant_values=np.nan),
        np.pad(lids, missing, constant_values=np.nan),
        self._state,
        iterations=self._options.iterations,
      )
      fits.append(jax.tree.map(np.asarray, fit))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(observed)], *fits)

  def _codes(self, fit, person):
    """DECA's layout of fits."""
    count = len(fit.rotation)
    expression = np.zeros((count, NUM_EXPRESSION), np.float32)
    expression[:, : fit.expression.shape[1]] = fit.expression
    root = np.asarray(self._blocks.root)
    joint = root[:, 0] + fit.expression @ root[:, 1:].T
    # The layer turns the head about its root, the fit about the origin.
    shift = fit.shift - joint + np.einsum('tab,tb->ta', fit.rotation, joint)
    camera = np.stack([1 / fit.inverse_scale, *shift[:, :2].T], axis=-1)
    vectors = [measures.rotation_vector(r) for r in fit.rotation]
    return {
      'expression': expression,
      'jaw_pose': fit.jaw_pose,
      'global_pose': np.array(vectors, np.float32).reshape(-1, 3),
      'shape': np.broadcast_to(person.shape, (count, NUM_SHAPE)).copy(),
      'camera': camera.astype(np.float32),
    }


def _check(points, lids):
  """The arrays as float64; the mesh's lids where none are given."""
  points = np.asarray(points, np.float64)
  if points.ndim != 3 or points.shape[1:] != (NUM_MESH, 3):
    raise ValueError(
      f'points are {list(points.shape)}, wanted [T, {NUM_MESH}, 3]'
    )
  if lids is None:
    lids = [
      [measures.lid_opening(face, side) for side in ('left', 'right')]
      for face in points
    ]
  lids = np.asarray(lids, np.float64).reshape(-1, 2)
  if len(lids) != len(points):
    raise ValueError(f'lids are of {len(lids)} frames, points of {len(points)}')
  return points, lids


def _named_frames(frames, observed):
  """Checked indices of frames that show a face."""
  frames = np.asarray(frames, int).reshape(-1)
  count = len(observed)
  outside = frames[(frames < 0) | (frames >= count)]
  if outside.size or not frames.size:
    raise ValueError(
      f'resting frames {outside.tolist()} are not among the {count} frames'
    )
  seen = np.isfinite(observed[frames]).all((1, 2))
  if not seen.any():
    raise CalibrationError(
      f'none of the resting frames {frames.tolist()} shows a face; name '
      'another one'
    )
  return frames[seen]
