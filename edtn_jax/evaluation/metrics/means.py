"""The state of every metric that is a mean over samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

# A value and its weight, [B] each.
Weighted = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Means:
  """Weighted sums by name; adds up over batches and devices in any order.

  Example:
    >>> state = Means.empty()
    >>> state = state.update({'l1': (values, mask)})
    >>> state.compute()
    {'l1': 0.25}

  Attributes:
    sums: scalars by name, of values times weights.
    weights: scalars by name.
  """

  sums: dict[str, jax.Array]
  weights: dict[str, jax.Array]

  @classmethod
  def empty(cls) -> Means:
    """The state before any sample."""
    return cls(sums={}, weights={})

  def update(self, values: Mapping[str, Weighted]) -> Means:
    """The state with a batch added.

    Args:
      values: by name, values [B] and their weights [B], 0 or more. A value
        of weight 0 is left out, whatever it is.
    """
    sums = {
      name: jnp.where(weight > 0, value * weight, 0.0).sum()
      for name, (value, weight) in values.items()
    }
    weights = {name: weight.sum() for name, (_, weight) in values.items()}
    return self.merge(Means(sums, weights))

  def merge(self, other: Means) -> Means:
    """The state of both sets of samples together."""
    return Means(
      _added(self.sums, other.sums), _added(self.weights, other.weights)
    )

  def compute(self) -> dict[str, float]:
    """Means by name; a name without any weight is left out.

    Raises:
      ValueError: if no sample was seen at all.
    """
    found = {
      name: float(self.sums[name]) / float(weight)
      for name, weight in self.weights.items()
      if float(weight) > 0
    }
    if not found:
      raise ValueError('no sample was evaluated: the split is empty')
    return found


def _added(one: Mapping, other: Mapping) -> dict:
  return {
    name: one.get(name, 0.0) + other.get(name, 0.0)
    for name in (*one, *(n for n in other if n not in one))
  }
