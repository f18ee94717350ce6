"""Training state and the one jitted training step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edtn_jax import devices, sharding
from edtn_jax.tasks.base import Task, TrainData


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that training changes.

  Attributes:
    step: int32 scalar, number of steps taken.
    params: parameters by group.
    opt_state: optimizer state by group.
    ema_params: moving average of `params`, or None.
    rng: key from which every step folds its own.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  ema_params: Any
  rng: jax.Array


def init_state(
  task: Task, optimizer: optax.GradientTransformation, seed: int, ema: bool
) -> TrainState:
  """Fresh state; a pure function of the seed.

  Args:
    task: what is trained.
    optimizer: applied to every group on its own.
    seed: of parameters and step keys.
    ema: whether to keep a moving average.
  """
  init_key, step_key = jax.random.split(jax.random.key(seed))
  params = task.init(init_key)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    opt_state={g: optimizer.init(params[g]) for g in task.groups},
    # A copy: the state is donated, and one buffer cannot be donated twice.
    ema_params=jax.tree.map(jnp.copy, params) if ema else None,
    rng=jax.random.key_data(step_key),
  )


def make_train_step(
  task: Task,
  data: TrainData,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  ema_decay: float,
  accumulation: int = 1,
  *,
  state_shardings: TrainState | None = None,
  batch_axes: Sequence[str] = (devices.DATA_AXIS,),
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Builds the jitted, data-parallel, state-donating step.

  The step refuses to change the state if the loss or a gradient is not
  finite, or if `expected_step` is not the state's step; so after a bad batch
  the last good state stays, however many steps are already under way.

  Args:
    task: what is trained.
    data: its input; `gather` runs inside the step.
    optimizer: applied to every group on its own.
    mesh: devices.
    ema_decay: decay of the moving average, 0 for none.
    accumulation: number of parts that a batch is cut into; gradients are
      averaged over them, so that only one part needs memory at a time.
    state_shardings: where the state lies; None is whole on every device.
    batch_axes: of the mesh, that the rows of a batch are split over.

  Returns:
    step(state, constants, resident, batch, expected_step) -> (state, scalars)
  """
  whole = devices.replicated(mesh)
  rows = devices.batch_sharded(mesh, batch_axes)
  spread = state_shardings is not None and sharding.is_sharded(state_shardings)

  def whole_params(params):
    """Parameters as computations use them: not split over `data`."""
    if not spread:
      return params
    shardings = sharding.gathered(state_shardings.params)
    return jax.lax.with_sharding_constraint(params, shardings)

  def step_fn(state, constants, resident, batch, expected_step):
    batch = task.encode(constants, data.gather(resident, batch))
    rng = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    params, opt_state, scalars = dict(state.params), {}, {}
    for group in task.groups:

      def loss_of(group_params, batch, rng, group=group, params=params):
        return task.losses(
          group,
          whole_params({**params, group: group_params}),
          constants,
          batch,
          rng,
          state.step,
        )

      grads, group_scalars, loss = _accumulated(
        loss_of, params[group], batch, rng, accumulation, rows
      )
      if spread:  # Every device updates its part.
        grads = jax.lax.with_sharding_constraint(
          grads, state_shardings.params[group]
        )
      updates, opt_state[group] = optimizer.update(
        grads, state.opt_state[group], params[group]
      )
      params[group] = optax.apply_updates(params[group], updates)
      prefix = '' if len(task.groups) == 1 else f'{group}/'
      scalars |= {f'{prefix}{k}': v for k, v in group_scalars.items()}
      scalars |= {
        f'{prefix}loss': loss,
        f'{prefix}grad_norm': optax.tree.norm(grads),
      }
    ema_params = state.ema_params
    if ema_params is not None:
      ema_params = optax.incremental_update(params, ema_params, 1 - ema_decay)
    new_state = TrainState(
      step=state.step + 1,
      params=params,
      opt_state=opt_state,
      ema_params=ema_params,
      rng=state.rng,
    )
    finite = jnp.stack([jnp.isfinite(v) for v in scalars.values()]).all()
    accepted = finite & (state.step == expected_step)
    kept = jax.tree.map(
      lambda new, old: jnp.where(accepted, new, old), new_state, state
    )
    return kept, {**scalars, 'accepted': accepted}

  state_at = state_shardings if spread else whole
  return jax.jit(
    step_fn,
    in_shardings=(state_at, whole, whole, rows, None),
    out_shardings=(state_at, whole),
    donate_argnums=0,
  )


def _accumulated(loss_of, params, batch, rng, parts, rows):
  """Gradient, scalars and loss, as means over the parts of a batch."""
  if parts == 1:
    return _value_and_grad(loss_of, params, batch, rng)
  pieces = jax.tree.map(lambda x: _cut(x, parts, rows), batch)

  def add(total, piece):
    number, part = piece
    found = _value_and_grad(
      loss_of, params, part, jax.random.fold_in(rng, number)
    )
    return jax.tree.map(jnp.add, total, found), None

  shapes = jax.eval_shape(
    lambda: _value_and_grad(
      loss_of, params, jax.tree.map(lambda x: x[0], pieces), rng
    )
  )
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  total, _ = jax.lax.scan(add, zeros, (jnp.arange(parts), pieces))
  return jax.tree.map(lambda x: x / parts, total)


def _cut(x, parts, rows):
  """[B, ...] to [parts, B / parts, ...]; every device cuts its own rows."""
  pieces = x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)
  spec = PartitionSpec(None, *rows.spec)
  return jax.lax.with_sharding_constraint(
    pieces, NamedSharding(rows.mesh, spec)
  )


def _value_and_grad(loss_of, params, batch, rng):
  (loss, scalars), grads = jax.value_and_grad(loss_of, has_aux=True)(
    params, batch, rng
  )
  return grads, scalars, loss
