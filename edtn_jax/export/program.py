"""A network with its parameters as one StableHLO program.

The serialised program ages (JAX promises months, not years), so parameters
and config travel with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.export
import numpy as np

PLATFORMS = ('cpu', 'cuda', 'tpu')
# Sizes of the batches that a program is tried with.
_TRIED = (1, 3)

Network = Callable[..., np.ndarray]


class ExportError(ValueError):
  """An export that cannot be made, or whose check failed."""


def make_program(network: Network, shapes: Sequence[tuple[int, ...]]) -> bytes:
  """Serialises a network for every platform and any batch size.

  Args:
    network: function of float32 arrays with a leading batch axis, as jax can
      trace it; its parameters become part of the program.
    shapes: of its arguments, without the batch axis.

  Returns:
    What `jax.export.deserialize` reads.
  """
  (batch,) = jax.export.symbolic_shape('batch')
  arguments = [
    jax.ShapeDtypeStruct((batch, *shape), np.float32) for shape in shapes
  ]
  exported = jax.export.export(jax.jit(network), platforms=PLATFORMS)
  return bytes(exported(*arguments).serialize())


def check_program(
  blob: bytes,
  reference: Network,
  examples: Sequence[np.ndarray],
  tolerance: float,
) -> float:
  """Compares a program with the network, at two batch sizes.

  Args:
    blob: of `make_program`.
    reference: the network as inference uses it.
    examples: arguments, with a batch of at least 3.
    tolerance: largest difference allowed.

  Returns:
    The largest difference.

  Raises:
    ExportError: if it is above the tolerance.
  """
  program = jax.export.deserialize(bytearray(blob))
  wanted, worst = reference(*examples), 0.0
  for size in _TRIED:
    difference = program.call(*(x[:size] for x in examples)) - wanted[:size]
    worst = max(worst, float(np.abs(difference).max()))
  # Written so that a NaN fails as well.
  if not worst <= tolerance:
    raise ExportError(
      f'the exported program differs from the network by {worst:.3g} '
      f'(allowed {tolerance:g}); nothing was written'
    )
  return worst
