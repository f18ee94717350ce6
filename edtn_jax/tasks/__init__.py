"""What can be trained: each task is the only thing the loop knows."""

from edtn_jax.tasks.base import Task, TrainData
from edtn_jax.tasks.registry import (
  build_data,
  build_task,
  build_validation,
  task_names,
)

__all__ = [
  'Task',
  'TrainData',
  'build_data',
  'build_task',
  'build_validation',
  'task_names',
]
