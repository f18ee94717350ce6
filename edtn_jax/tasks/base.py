"""The contract between a task and the training loop.

The loop knows no faces, networks or losses. It knows a pytree of parameters
split into groups, one scalar loss a group, and named scalars to log. Adding a
model to the project means adding a task, not a loop.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

Params = dict[str, Any]
Batch = dict[str, Any]


class Task(abc.ABC):
  """A trainable problem.

  Attributes:
    groups: names of the parameter groups; `params` is a dict with exactly
      these keys, and each group has its own loss and optimizer state.
    best_metric: key of `evaluate`'s result that decides the best checkpoint
      (smaller is better).
  """

  groups: tuple[str, ...] = ('model',)
  best_metric: str = 'loss'

  @property
  @abc.abstractmethod
  def constants(self) -> Any:
    """Pytree of arrays that are never optimised (head model, VGG weights).

    Passed to jitted functions as an argument, never closed over.
    """

  def portable_constants(self) -> dict[str, np.ndarray]:
    """Small arrays that inference needs; stored in every checkpoint."""
    return {}

  def notes(self) -> dict[str, str]:
    """What a reader of a run's numbers has to know; kept beside them."""
    return {}

  @abc.abstractmethod
  def init(self, rng: jax.Array) -> Params:
    """Returns freshly initialised parameters, keyed by group."""

  def encode(self, constants: Any, batch: Batch) -> Batch:
    """Adds to a batch what does not depend on parameters.

    Applied once to data that lives on the device, or in every step to data
    that is streamed; must leave an encoded batch as it is.
    """
    del constants
    return batch

  def stage(self, step: int) -> int:
    """Stage of the training that a step belongs to, counted from 0."""
    del step
    return 0

  def at_stage(self, stage: int) -> Task:
    """The task whose `losses` are those of one stage.

    The loop compiles a step for each stage. A branch inside one step would
    do on a GPU; on a CPU, XLA computes convolutions in branches and loops ten
    times slower than outside.
    """
    del stage
    return self

  @abc.abstractmethod
  def losses(
    self,
    group: str,
    params: Params,
    constants: Any,
    batch: Batch,
    rng: jax.Array,
    step: jax.Array,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Loss of one parameter group on one batch.

    Args:
      group: which of `groups` the gradient is taken for.
      params: all parameters, by group.
      constants: see `constants`.
      batch: nested dict of arrays with `_mask` [B] float32.
      rng: key of this step.
      step: int32 scalar; see `at_stage` for what depends on the stage.

    Returns:
      The scalar loss and a dict of scalars to log.
    """

  @abc.abstractmethod
  def predict(
    self, params: Params, constants: Any, batch: Batch
  ) -> dict[str, jax.Array]:
    """Named outputs (see design: image, pose_coeffs, vertices, ...)."""

  @abc.abstractmethod
  def evaluate(
    self, params: Params, constants: Any, batches: Iterator[Batch]
  ) -> Mapping[str, float]:
    """Validation metrics over masked batches."""

  def pictures(
    self, params: Params, constants: Any, batch: Batch
  ) -> dict[str, np.ndarray]:
    """Named [H, W, 3] uint8 pictures of a batch for the event files."""
    del params, constants, batch
    return {}


class TrainData(abc.ABC):
  """The input of a run: what each step trains on, and the validation split.

  Every batch is a pure function of the step, so that a resumed run sees what
  an uninterrupted one sees.

  Attributes:
    examples_per_pass: global number of examples in one pass (epoch).
    resident: pytree of arrays that live on every device, or `()`.
  """

  examples_per_pass: int
  resident: Any = ()

  @abc.abstractmethod
  def batches(self, step: int) -> Iterator[Batch]:
    """This process's rows of every batch from `step` on, numpy arrays.

    The iterator has a `close()`, as generators do.
    """

  def gather(self, resident: Any, batch: Batch) -> Batch:
    """Turns what `batches` yields into a batch; runs inside the step."""
    del resident
    return batch

  @abc.abstractmethod
  def position(self, step: int) -> dict[str, int]:
    """JSON-able position of the pipeline once `step` steps are done."""

  @abc.abstractmethod
  def validation(self) -> Iterator[Batch]:
    """This process's rows of the validation split's batches.

    The batches are padded, with `_mask`; every process gets equally many.
    """
