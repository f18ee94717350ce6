"""Metrics: states that start empty, take batches, merge and compute."""

from edtn_jax.evaluation.metrics.means import Means
from edtn_jax.evaluation.metrics.pictures import PARTS, picture_values

__all__ = ['PARTS', 'Means', 'picture_values']
