"""Initial parameters of the anime generator."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data.pose_vector import POSE_NUMBERS
from generator.ops.conv import STDDEV

_CONSTANTS = {'scale': 1.0, 'bias': 0.0}


def draw_parameters(shapes: Any, rng: jax.Array) -> Any:
  """What `FaceGenerator.init` draws, in one call for all kernels.

  The modules' own `init` draws every kernel by itself. Compiled, that is one
  program of random bits a kernel: 15 seconds for the smallest network. Here all
  kernels are cut out of one sequence of normal numbers.

  Args:
    shapes: tree of `jax.ShapeDtypeStruct`, of `FaceGenerator`.
    rng: key.

  Returns:
    The tree with arrays: kernels from N(0, 0.02), scales 1, biases 0.

  Raises:
    ValueError: if there is a parameter of another name.
  """
  found, structure = jax.tree_util.tree_flatten_with_path(shapes)
  sizes = [
    math.prod(leaf.shape) if path[-1].key == 'kernel' else 0
    for path, leaf in found
  ]
  normal = STDDEV * jax.random.normal(rng, (sum(sizes),))
  ends = np.cumsum(sizes)
  leaves = []
  for (path, leaf), size, end in zip(found, sizes, ends, strict=True):
    name = path[-1].key
    if name == 'kernel':
      value = normal[end - size : end].reshape(leaf.shape).astype(leaf.dtype)
    elif name in _CONSTANTS:
      value = jnp.full(leaf.shape, _CONSTANTS[name], leaf.dtype)
    else:
      raise ValueError(
        f'{jax.tree_util.keystr(path)}: how a parameter of this name begins is '
        'not known; say it in _CONSTANTS'
      )
    leaves.append(value)
  return jax.tree.unflatten(structure, leaves)


def scale_by_inputs(params: Any) -> Any:
  """Scales what carries the pose by what goes in.

  DEVIATION: the paper draws all weights from N(0, 0.02): a coefficient of 1
  then hardly shows beside an angle of 20 degrees, and a small net takes
  thousands of steps to hear it. Here every dense layer's weights have the
  variance 1 / inputs, and those of the angles are divided by their range.
  Convolutions, which norms follow, stay. Test:
  `test_fan_in_hears_coefficients_and_angles_alike`.

  Args:
    params: of `FaceGenerator`, fresh.

  Returns:
    The parameters, scaled.
  """

  def scale(path, x):
    if x.ndim != 2:
      return x
    x = x / (STDDEV * np.sqrt(x.shape[0]))
    names = [getattr(key, 'key', '') for key in path]
    if 'mapping' in names and 'first' in names:
      ranges = np.array([n.high for n in POSE_NUMBERS], np.float32)
      x = x / ranges[:, None]
    return x

  return jax.tree_util.tree_map_with_path(scale, params)
