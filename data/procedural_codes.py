"""Human codes made by code, so that everything runs with no download.

Smooth random coefficients b of many people (`procedural_motion`) go through
the pose adapter into expression codes; every person adds a constant offset (a
resting face is not 0), every frame some noise, and part of an open mouth is
the jaw's. The true b is kept, which is what recorded codes cannot give.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from data import codes, pose_vector, procedural_motion

# Frames computed at once; bounds memory to some tens of MB.
_FRAMES_AT_ONCE = 20_000

# A person's offset lies mostly outside what the adapter's rows span: this
# share of its inner part stays. Recorded faces have both (on a real clip the
# released network answers a resting face with raised brows).
_OFFSET_WITHIN = 0.3

_NOISE_CORRELATION = 0.8
# Radians of jaw noise (opening, the other axes) at noise_scale 1; at the
# default they are 0.01 and 0.003, a quarter of what a real clip varies.
_JAW_NOISE = (0.2, 0.06, 0.06)

# Spread of shape codes between people and within a clip, as in a real clip.
_SHAPE_STD = 0.6
_SHAPE_NOISE = 0.05


def procedural_clips(
  pose_adapter: np.ndarray,
  *,
  seed: int,
  num_identities: int,
  frames_per_identity: int,
  first_identity: int = 0,
  jaw_open_radians: float = 0.35,
  offset_scale: float = 0.3,
  noise_scale: float = 0.05,
  fps: float = 25.0,
) -> Iterator[codes.CodeClip]:
  """Makes one clip for each of many people.

  Identity i is the same for a given seed, however many others are made.

  Args:
    pose_adapter: [17, 50] expression code of every coefficient at 1.
    seed: 0 or more.
    num_identities: how many people.
    frames_per_identity: T frames a clip.
    first_identity: number of the first person.
    jaw_open_radians: jaw rotation of a `mouth_a` of 1 that is all jaw.
    offset_scale: rms of a person's offset, relative to the adapter's rows.
    noise_scale: rms of a frame's noise, relative to the adapter's rows; the
      jaw's noise grows with it too.
    fps: frames per second of the motion.

  Returns:
    Clips in the `procedural` expression space, with their true coefficients,
    sorted by identity. expression = b' @ pose_adapter + offset + noise, where
    b' is b with the share 1 - s of `mouth_a`, and jaw_pose x is the share s,
    a person's own, times `jaw_open_radians`.

  Raises:
    ValueError: with every wrong argument.
  """
  pose_adapter = np.asarray(pose_adapter, np.float64)
  problems = _adapter_problems(pose_adapter)
  for name, value, least in (
    ('seed', seed, 0),
    ('num_identities', num_identities, 1),
    ('frames_per_identity', frames_per_identity, 1),
    ('first_identity', first_identity, 0),
    ('offset_scale', offset_scale, 0),
    ('noise_scale', noise_scale, 0),
  ):
    if not value >= least:
      problems.append(f'{name} is {value}, wanted at least {least}')
  if not fps > 0:
    problems.append(f'fps is {fps}, wanted more than 0')
  if problems:
    raise ValueError('; '.join(problems))
  return _generate(
    pose_adapter,
    seed,
    range(first_identity, first_identity + num_identities),
    frames_per_identity,
    jaw_open_radians,
    offset_scale,
    noise_scale,
    fps,
  )


def _adapter_problems(pose_adapter: np.ndarray) -> list[str]:
  wanted = (pose_vector.NUM_COEFFICIENTS, codes.NUM_EXPRESSION)
  if pose_adapter.shape != wanted:
    return [
      f'pose_adapter is {list(pose_adapter.shape)}, wanted {list(wanted)}'
    ]
  if not np.isfinite(pose_adapter).all():
    return ['pose_adapter has NaN or inf']
  return []


def _generate(
  pose_adapter: np.ndarray,
  seed: int,
  people: range,
  num_frames: int,
  jaw_open_radians: float,
  offset_scale: float,
  noise_scale: float,
  fps: float,
) -> Iterator[codes.CodeClip]:
  at_once = max(1, _FRAMES_AT_ONCE // num_frames)
  frames = tuple(f'{t:07d}' for t in range(num_frames))
  for start in range(0, len(people), at_once):
    group = people[start : start + at_once]
    draws = procedural_motion.Draws(seed, group)
    coeffs = procedural_motion.pose_coefficients(draws, num_frames, fps)
    head = procedural_motion.head_rotation(draws, num_frames, fps)
    expression, jaw = _codes(
      pose_adapter, coeffs, draws, jaw_open_radians, offset_scale, noise_scale
    )
    shape, camera = _appearance(draws, num_frames)
    for i, person in enumerate(group):
      yield codes.CodeClip(
        identity=f'procedural_{person:06d}',
        name='clip_0000',
        frames=frames,
        expression=expression[i],
        jaw_pose=jaw[i],
        global_pose=head[i],
        shape=shape[i],
        camera=camera[i],
        true_pose_coeffs=coeffs[i],
        expression_space=codes.PROCEDURAL_SPACE,
      )


def _codes(
  pose_adapter: np.ndarray,
  coeffs: np.ndarray,
  draws: procedural_motion.Draws,
  jaw_open_radians: float,
  offset_scale: float,
  noise_scale: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Expression [people, T, 50] and jaw pose [people, T, 3] of coefficients."""
  num_frames = coeffs.shape[1]
  open_mouth = coeffs[..., pose_vector.POSE_INDEX['mouth_a']]
  jaw_share = draws.uniform(1)
  by_expression = coeffs.copy()
  by_expression[..., pose_vector.POSE_INDEX['mouth_a']] *= 1 - jaw_share
  row_rms = np.sqrt(np.mean(pose_adapter**2))
  offset = _offsets(pose_adapter, draws) * (offset_scale * row_rms)
  noise = procedural_motion.autoregressive_noise(
    draws.normal(num_frames, codes.NUM_EXPRESSION + 3), _NOISE_CORRELATION
  )
  noise *= noise_scale
  expression = by_expression @ pose_adapter + offset[:, None]
  expression += noise[..., :-3] * row_rms
  jaw = noise[..., -3:] * _JAW_NOISE
  jaw[..., 0] += jaw_share * open_mouth * jaw_open_radians
  return expression, jaw


def _offsets(
  pose_adapter: np.ndarray, draws: procedural_motion.Draws
) -> np.ndarray:
  """[people, 50] of rms 1, mostly orthogonal to the adapter's rows."""
  basis, sizes, _ = np.linalg.svd(pose_adapter.T, full_matrices=False)
  basis = basis[:, sizes > 1e-9 * sizes.max(initial=1e-300)]
  direction = draws.normal(codes.NUM_EXPRESSION)
  # Person by person: one product for all would round by the group's size.
  within = (direction[:, None] @ basis @ basis.T)[:, 0]
  direction -= (1 - _OFFSET_WITHIN) * within
  return direction / np.sqrt(np.mean(direction**2, axis=1, keepdims=True))


def _appearance(
  draws: procedural_motion.Draws, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
  """Shape [people, T, 100] and camera [people, T, 3], as DECA's look."""
  own = _SHAPE_STD * draws.normal(1, codes.NUM_SHAPE)
  # Later shape components matter less, in FLAME as in any such basis.
  own /= np.sqrt(1 + np.arange(codes.NUM_SHAPE) / 10)
  # One jitter a frame, not a number, keeps thousands of people cheap.
  shape = own * (1 + _SHAPE_NOISE * draws.normal(num_frames, 1))
  centre = np.array([9.5, 0.0, 0.02])
  camera = centre + draws.normal(1, 3) * (0.6, 0.01, 0.01)
  return shape, camera + draws.normal(num_frames, 3) * (0.05, 0.002, 0.002)
