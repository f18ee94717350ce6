"""Gauss-Newton for one frame after the other, compiled.

A frame's landmarks y (picture units, y up, z to the viewer) are explained by

  c y = R p(expression, jaw) + t

with c the inverse scale. Residuals are metres of the head; they are linear in
everything but the two rotations, so few iterations settle it. Priors are
Gaussian: expression and jaw around rest, and around the frame before. Normal
equations have 10 + E unknowns; nothing of the mesh takes part.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from edtn_jax.encoders.landmark_fit.blocks import (
  NUM_JAW_FEATURES,
  HeadBlocks,
)
from flame_jax.rotations import axis_angle_to_matrix, rotation_offset

# Unknowns before the expression: turn, shift, inverse scale, jaw.
_TURN, _SHIFT, _SCALE, _JAW = slice(0, 3), slice(3, 6), 6, slice(7, 10)
NUM_RIGID = 10
# A point that looks away counts this much; FaceMesh guesses it.
_HIDDEN = 0.1
# How hard the jaw's bounds are, radians.
_WALL = 0.005


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Prior:
  """What is believed before a frame is seen; precisions are 1 / variance.

  Attributes:
    weight: [N] float32, precision of the landmarks across the view, 1/m^2.
    depth: [N] float32, precision of their depth, 1/m^2.
    lid: float32, precision of lid openings, relative to the open lid.
    expression: [E, E] float32, precision of the expression around 0.
    expression_step: [E, E] float32, of its change from frame to frame.
    jaw: [3] float32, precision of the jaw around 0, 1/rad^2.
    jaw_step: [3] float32, of its change from frame to frame.
    jaw_low: [3] float32, bounds of the jaw, radians.
    jaw_high: [3] float32.
  """

  weight: jax.Array
  depth: jax.Array
  lid: jax.Array
  expression: jax.Array
  expression_step: jax.Array
  jaw: jax.Array
  jaw_step: jax.Array
  jaw_low: jax.Array
  jaw_high: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
  """What was found for a frame; also what is remembered for the next one.

  Attributes:
    rotation: [3, 3] float32, of the head.
    shift: [3] float32, t above, metres.
    inverse_scale: float32, metres a picture unit.
    jaw_pose: [3] float32, axis-angle radians.
    expression: [E] float32.
    started: bool, False until a first face was seen.
  """

  rotation: jax.Array
  shift: jax.Array
  inverse_scale: jax.Array
  jaw_pose: jax.Array
  expression: jax.Array
  started: jax.Array


def first_state(num_expression: int) -> Fit:
  """The state before any frame: at rest, upright, 0.1 m a picture unit."""
  return Fit(
    rotation=jnp.eye(3, dtype=jnp.float32),
    shift=jnp.zeros(3, jnp.float32),
    inverse_scale=jnp.float32(0.1),
    jaw_pose=jnp.zeros(3, jnp.float32),
    expression=jnp.zeros(num_expression, jnp.float32),
    started=jnp.bool_(False),
  )


@functools.partial(jax.jit, static_argnames='iterations')
def fit_frames(
  blocks: HeadBlocks,
  prior: Prior,
  points: jax.Array,
  lids: jax.Array,
  state: Fit,
  *,
  iterations: int,
) -> tuple[Fit, Fit]:
  """Fits frames in order.

  Args:
    blocks: the head.
    prior: what is believed beforehand.
    points: [T, N, 3] float32, landmarks in picture units: y up, z towards
      the viewer. A frame that is not finite has no face; what was found
      before is held, at no cost.
    lids: [T, 2] float32, lid openings (left, right) over those at rest; NaN
      where unknown.
    state: of the frame before, or `first_state`.
    iterations: of Gauss-Newton for each frame.

  Returns:
    The state after the last frame and the fits with leading dimension T.
  """

  def step(state, frame):
    seen = jnp.isfinite(frame[0]).all()
    found = jax.lax.cond(
      seen,
      lambda: _fit_frame(blocks, prior, *frame, state, iterations),
      lambda: state,
    )
    return found, found

  return jax.lax.scan(step, state, (points, lids))


def _fit_frame(blocks, prior, points, lids, state, iterations):
  """The fit of one frame; see `fit_frames`."""
  rest = _landmarks(blocks, state.expression, state.jaw_pose)[0]
  rotation, shift, inverse_scale = align(rest, points, prior.weight)
  start = Fit(
    rotation=rotation,
    shift=shift,
    inverse_scale=inverse_scale,
    jaw_pose=state.jaw_pose,
    expression=state.expression,
    started=jnp.bool_(True),
  )

  def iterate(_, fit):
    return _gauss_newton(blocks, prior, points, lids, state, fit)

  fit = jax.lax.fori_loop(0, iterations, iterate, start)
  jaw_pose = jnp.clip(fit.jaw_pose, prior.jaw_low, prior.jaw_high)
  return dataclasses.replace(fit, jaw_pose=jaw_pose)


def align(
  head: jax.Array, points: jax.Array, weight: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """The similarity that brings a head onto points, in closed form.

  Args:
    head: [N, 3] float, landmarks of the head, metres.
    points: [N, 3] float, the same in picture units.
    weight: [N] float.

  Returns:
    rotation [3, 3], shift [3] and inverse scale such that
    `inverse_scale * points` is about `head @ rotation.T + shift`.

  Source: Umeyama, "Least-squares estimation of transformation parameters
  between two point patterns" (1991).
  """
  weight = weight / weight.sum()
  head_center, center = weight @ head, weight @ points
  head, points = head - head_center, points - center
  products = (points * weight[:, None]).T @ head
  left, sizes, right = jnp.linalg.svd(products)
  # A reflection is no rotation: the least certain direction gives way.
  first, second, third = left @ right
  sign = jnp.sign(jnp.cross(first, second) @ third)
  signs = jnp.array([1.0, 1.0, 0.0]) + sign * jnp.array([0.0, 0.0, 1.0])
  rotation = (left * signs) @ right
  size = weight @ (points**2).sum(axis=1)
  inverse_scale = (sizes * signs).sum() / jnp.maximum(size, 1e-12)
  shift = inverse_scale * center - rotation @ head_center
  return rotation, shift, inverse_scale


def _landmarks(blocks, expression, jaw_pose):
  """Landmarks [N, 3], jaw's R - I and the skinned part [N, 3] of them."""
  offset = rotation_offset(jaw_pose)
  features = jnp.concatenate([jnp.ones(1), expression, offset.reshape(-1)])
  skinned = blocks.skinned @ features
  return blocks.linear @ features + skinned @ offset.T, offset, skinned


def _head_jacobians(blocks, jaw_pose, offset, skinned):
  """Of the unturned landmarks: by jaw [N, 3, 3], by expression [N, 3, E]."""
  moved = blocks.linear + jnp.einsum('ab,nbk->nak', offset, blocks.skinned)
  turns = _turn_gradients(jaw_pose, offset)
  by_jaw = jnp.einsum('nb,abk->nak', skinned, turns)
  by_jaw += moved[..., -NUM_JAW_FEATURES:] @ turns.reshape(-1, 3)
  return by_jaw, moved[..., 1:-NUM_JAW_FEATURES]


def _turn_gradients(axis_angle, offset):
  """[3, 3, 3 unknowns] derivatives of a rotation by its axis-angle vector.

  By the series of the left Jacobian, which for a jaw converges at once, and
  compiles in a tenth of the time of the exact formula's derivative.
  """
  (cross,) = _cross_matrices(axis_angle[None])
  eye = jnp.eye(3)
  left = eye + cross @ (eye + cross @ (eye + cross / 4) / 3) / 2
  turned = _cross_matrices(left.T) @ (eye + offset)
  return jnp.moveaxis(turned, 0, -1)


def _gauss_newton(blocks, prior, points, lids, state, fit):
  """One step from `fit`."""
  head, offset, skinned = _landmarks(blocks, fit.expression, fit.jaw_pose)
  by_jaw, by_expression = _head_jacobians(blocks, fit.jaw_pose, offset, skinned)
  turned = head @ fit.rotation.T
  residual = turned + fit.shift - fit.inverse_scale * points
  jacobian = jnp.concatenate(
    [
      _cross_matrices(-turned),
      jnp.broadcast_to(jnp.eye(3), (*turned.shape, 3)),
      -points[..., None],
      jnp.einsum(
        'ab,nbk->nak',
        fit.rotation,
        jnp.concatenate([by_jaw, by_expression], axis=-1),
      ),
    ],
    axis=-1,
  )
  facing = blocks.normals @ fit.rotation[2]
  seen = jnp.clip(facing + 0.4, _HIDDEN, 1.0)
  weight = jnp.stack([prior.weight, prior.weight, prior.depth], axis=-1)
  root = jnp.sqrt(seen[:, None] * weight)
  rows = (root[..., None] * jacobian).reshape(-1, jacobian.shape[-1])
  normal = rows.T @ rows
  gradient = (root * residual).reshape(-1) @ rows
  normal, gradient = _add_priors(
    normal, gradient, blocks, prior, lids, state, fit
  )
  factor = jax.scipy.linalg.cho_factor(normal)
  return _moved(fit, -jax.scipy.linalg.cho_solve(factor, gradient))


def _cross_matrices(points):
  """[N, 3, 3] matrices M with M w = points x w."""
  x, y, z = points.T
  zero = jnp.zeros_like(x)
  rows = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
  return rows.reshape(-1, 3, 3)


def _add_priors(normal, gradient, blocks, prior, lids, state, fit):
  """Adds lids, resting face, bounds and the frame before."""
  known = jnp.isfinite(lids)
  lid_weight = jnp.where(known, prior.lid, 0.0)
  lid_residual = 1 + blocks.lids @ fit.expression - jnp.where(known, lids, 1.0)
  continued = state.started.astype(jnp.float32)
  step = continued * prior.expression_step
  expression = prior.expression + step
  expression += (blocks.lids.T * lid_weight) @ blocks.lids
  pull = prior.expression @ fit.expression
  pull += step @ (fit.expression - state.expression)
  pull += blocks.lids.T @ (lid_weight * lid_residual)
  outside = fit.jaw_pose - jnp.clip(fit.jaw_pose, prior.jaw_low, prior.jaw_high)
  wall = jnp.where(outside != 0, 1 / _WALL**2, 0.0)
  jaw_step = continued * prior.jaw_step
  jaw_pull = prior.jaw * fit.jaw_pose + wall * outside
  jaw_pull += jaw_step * (fit.jaw_pose - state.jaw_pose)
  normal = normal.at[_JAW, _JAW].add(jnp.diag(prior.jaw + jaw_step + wall))
  normal = normal.at[NUM_RIGID:, NUM_RIGID:].add(expression)
  gradient = gradient.at[_JAW].add(jaw_pull).at[NUM_RIGID:].add(pull)
  return normal, gradient


def _moved(fit, step):
  """`fit` after a step of the unknowns."""
  return Fit(
    rotation=axis_angle_to_matrix(step[_TURN]) @ fit.rotation,
    shift=fit.shift + step[_SHIFT],
    inverse_scale=fit.inverse_scale + step[_SCALE],
    jaw_pose=fit.jaw_pose + step[_JAW],
    expression=fit.expression + step[NUM_RIGID:],
    started=fit.started,
  )
