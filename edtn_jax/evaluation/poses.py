"""Human and anime pose vectors in one plane (the EDTN paper's figure 4)."""

from __future__ import annotations

import dataclasses

import numpy as np

from data import anime_sampling
from data.pose_vector import NUM_COEFFICIENTS

# Identities whose poses AnimeCeleb's rule draws, and frames of each.
_IDENTITIES, _FRAMES = 100, 20


@dataclasses.dataclass(frozen=True)
class PosePlane:
  """Two sets of pose vectors, projected.

  Attributes:
    human: [N, 2] float, what the network made of human codes.
    anime: [M, 2] float, drawn as AnimeCeleb draws them.
    variance: share of the anime vectors' variance that the plane shows.
    distance: mean over human vectors of the distance to the nearest anime
      one, divided by the same of anime vectors among themselves; 1 is as near
      as the anime vectors are to one another.
  """

  human: np.ndarray
  anime: np.ndarray
  variance: float
  distance: float


def anime_coefficients(seed: int = 0) -> np.ndarray:
  """[2000, 17] float32 coefficients, drawn as AnimeCeleb draws them."""
  poses = [
    anime_sampling.identity_poses(seed, identity, _FRAMES, False)
    for identity in range(_IDENTITIES)
  ]
  return np.concatenate(poses)[:, :NUM_COEFFICIENTS]


def pose_plane(human: np.ndarray, anime: np.ndarray) -> PosePlane:
  """Projects both sets on the first principal components of the anime one.

  The paper shows t-SNE, which pulls clusters apart whatever their distance;
  principal components keep distances, and are the same at every run.

  Args:
    human: [N, 17] float.
    anime: [M, 17] float, M at least 3.

  Returns:
    The plane.
  """
  centre = anime.mean(0)
  _, singular, axes = np.linalg.svd(anime - centre, full_matrices=False)
  within = _nearest(anime, anime, skip_self=True).mean()
  return PosePlane(
    human=(human - centre) @ axes[:2].T,
    anime=(anime - centre) @ axes[:2].T,
    variance=float((singular[:2] ** 2).sum() / (singular**2).sum()),
    distance=float(_nearest(human, anime).mean() / within),
  )


def _nearest(points, others, *, skip_self=False) -> np.ndarray:
  square = (
    (points**2).sum(1)[:, None]
    + (others**2).sum(1)[None]
    - 2 * points @ others.T
  )
  if skip_self:
    np.fill_diagonal(square, np.inf)
  return np.sqrt(np.maximum(square.min(1), 0))
