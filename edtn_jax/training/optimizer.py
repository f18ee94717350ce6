"""Optimizer and learning-rate schedule from a config."""

from __future__ import annotations

import ml_collections
import optax


def learning_rate(
  config: ml_collections.ConfigDict, num_steps: int
) -> optax.Schedule:
  """Learning rate as a function of the step.

  Args:
    config: the `optimizer` section: `schedule` is `constant`, `cosine` (to
      zero at the last step) or `drop` (times `drop_factor` from `drop_step`
      on); `warmup_steps` rise linearly from zero.
    num_steps: length of the run.

  Returns:
    A schedule.
  """
  rate, warmup = config.learning_rate, config.warmup_steps
  if config.schedule == 'cosine':
    main = optax.cosine_decay_schedule(rate, max(num_steps - warmup, 1))
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
  if config.name != 'sgd':
    parts.append(optax.scale_by_adam(b1=config.b1, b2=config.b2))
  if config.name == 'adamw':
    parts.append(optax.add_decayed_weights(config.weight_decay))
  parts.append(optax.scale_by_learning_rate(learning_rate(config, num_steps)))
  return optax.chain(*parts)
