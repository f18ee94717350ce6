"""One training loop for every task."""

from edtn_jax.training.loop import TrainResult, train_and_evaluate

__all__ = ['TrainResult', 'train_and_evaluate']
