"""Optimizer and learning-rate schedule from a config."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import optax


def learning_rate(
  config: ml_collections.ConfigDict, num_steps: int
) -> optax.Schedule:
  """Learning rate as a function of the step.

  Args:
    config: the `optimizer` section: `schedule` is `constant`, `cosine` (to
      zero at the last step; with `restart_step` also to zero at that one, and
      from the whole rate again) or `drop` (times `drop_factor` from
      `drop_step` on); `warmup_steps` rise linearly from zero.
    num_steps: length of the run.

  Returns:
    A schedule.
  """
  rate, warmup = config.learning_rate, config.warmup_steps
  if config.schedule == 'cosine':
    # Absent in runs from before there were restarts.
    restart = config.get('restart_step', 0)
    ends = [restart, num_steps] if restart else [num_steps]
    parts = [
      optax.cosine_decay_schedule(rate, max(end - begin, 1))
      for begin, end in zip([warmup, *ends], ends, strict=False)
    ]
    main = optax.join_schedules(parts, [end - warmup for end in ends[:-1]])
  elif config.schedule == 'drop':
    main = optax.piecewise_constant_schedule(
      rate, {max(config.drop_step - warmup, 0): config.drop_factor}
    )
  else:
    main = optax.constant_schedule(rate)
  if not warmup:
    return main
  rise = optax.linear_schedule(0.0, rate, warmup)
  return optax.join_schedules([rise, main], [warmup])


def build_optimizer(
  config: ml_collections.ConfigDict, num_steps: int
) -> optax.GradientTransformation:
  """The optax chain: clip, Adam (or another), weight decay, rate.

  Args:
    config: the `optimizer` section of a config.
    num_steps: length of the run, for schedules.

  Returns:
    The gradient transformation.
  """
  # Something stands in the first place either way, so that a run can be
  # continued with clipping switched on, as the loop advises at a NaN.
  parts = [
    optax.clip_by_global_norm(config.clip_norm)
    if config.clip_norm
    else optax.identity()
  ]
  if config.name == 'staged_adam':
    parts.append(scale_by_staged_adam(b1=config.b1, b2=config.b2))
  elif config.name != 'sgd':
    parts.append(optax.scale_by_adam(b1=config.b1, b2=config.b2))
  if config.name == 'adamw':
    parts.append(optax.add_decayed_weights(config.weight_decay))
  parts.append(optax.scale_by_learning_rate(learning_rate(config, num_steps)))
  return optax.chain(*parts)


class StagedAdamState(NamedTuple):
  """State of `scale_by_staged_adam`.

  Attributes:
    counts: int32 scalar for every array, steps since its first gradient.
    mu: first moments.
    nu: second moments.
  """

  counts: Any
  mu: Any
  nu: Any


def scale_by_staged_adam(
  b1: float, b2: float, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam for networks whose parts join the training one after another.

  Adam divides early moments by how much of them is already filled, counted
  in steps. An array whose gradient was zero for a whole stage would miss that:
  with b2 = 0.999 its first step would be 16 times too long. Here every array
  counts from its first gradient that is not zero.

  Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1.

  Args:
    b1: decay of the first moment.
    b2: decay of the second moment.
    eps: added to the root of the second moment.

  Returns:
    The gradient transformation.
  """

  def init(params):
    return StagedAdamState(
      counts=jax.tree.map(lambda _: jnp.zeros((), jnp.int32), params),
      mu=jax.tree.map(jnp.zeros_like, params),
      nu=jax.tree.map(jnp.zeros_like, params),
    )

  def update(updates, state, params=None):
    del params
    counts = jax.tree.map(
      lambda n, g: n + ((n > 0) | jnp.any(g != 0)), state.counts, updates
    )
    mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, updates)
    nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, updates)

    def direction(m, v, count):
      filled = jnp.maximum(count, 1).astype(jnp.float32)
      root = jnp.sqrt(v / (1 - b2**filled))
      return m / (1 - b1**filled) / (root + eps)

    return jax.tree.map(direction, mu, nu, counts), StagedAdamState(
      counts, mu, nu
    )

  return optax.GradientTransformation(init, update)
