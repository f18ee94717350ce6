"""Files of small generators as their authors' code would have saved them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import jax
import numpy as np

from edtn_jax.convert import networks
from tests import torch_samples as samples
from tests.golden_weights import draw

# Our path -> their name, one after the other.
_NAMES = (
  (r'mapping/first', 'mapping_net/first/0'),
  (r'mapping/layer_(\d+)', r'mapping_net/encoder\1/1'),
  (r'^(warping|editing)_anime', r'\1A'),
  (r'^(warping|editing)_human', r'\1V'),
  (r'^warping(A|V|)/input', r'warpping_net\1/hourglass/encoder/input_layer'),
  (r'^warping(A|V|)/flow_norm', r'warpping_net\1/flow_out/0'),
  (r'^warping(A|V|)/flow', r'warpping_net\1/flow_out/2'),
  (
    r'^warping(A|V|)/down_(\d+)',
    r'warpping_net\1/hourglass/encoder/encoder\2',
  ),
  (r'^warping(A|V|)/up_(\d+)', r'warpping_net\1/hourglass/decoder/decoder\2'),
  (r'^editing(A|V|)', r'editing_net\1'),
  (r'residual_(\d+)_(\d+)/(conv|norm)_0', r'res\1/res\2/\g<3>1'),
  (r'residual_(\d+)_(\d+)/(conv|norm)_1', r'res\1/res\2/\g<3>2'),
  (r'(encoder|decoder)/(first|final|down_\d+|up_\d+|skip_\d+)', r'\1/\2/model'),
  (r'model/(kernel|bias)$', r'model/conv/\1'),
  (r'model/conv', 'model/0'),
  (r'model/norm', 'model/1'),
  (r'coder/(down|up)_', r'coder/\1'),
  (r'coder/skip_', 'coder/jump'),
  (r'_skip', '_s'),
  (r'/shared', '/mlp_shared/0'),
  (r'/(gamma|beta)', r'/mlp_\1'),
  (r'(kernel|scale)$', 'weight'),
)


def foreign_shapes(network) -> dict[str, tuple[int, ...]]:
  """Names and shapes of a generator's weights in PyTorch.

  Args:
    network: `FaceGenerator` or `JointGenerator`.

  Returns:
    Shapes by name, without a prefix.
  """
  params = networks.expected_variables(network)['params']
  leaves, _ = jax.tree_util.tree_flatten_with_path(params)
  found = {}
  for path, leaf in leaves:
    name = jax.tree_util.keystr(path, simple=True, separator='/')
    found[_name(name)] = _shape(name, leaf.shape)
  return found


def _name(path: str) -> str:
  for ours, theirs in _NAMES:
    path = re.sub(ours, theirs, path)
  return path.replace('/', '.')


def _shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  if len(shape) == 4:
    height, width, into, out = shape
    doubled = re.search(r'warping\w*/up_\d+/conv_(1|skip)', path)
    first = (into, out) if doubled else (out, into)
    return (*first, height, width)
  if len(shape) == 1 and re.search(
    r'(flow_norm|(first|down_\d+|up_\d+|skip_\d+)/norm)/(scale|bias)', path
  ):
    return (*shape, 1, 1)
  return shape[::-1]


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
  """A state dict with values from the names."""
  return {name: draw(name, shape) for name, shape in shapes.items()}


def weights_file(
  arrays: Mapping[str, np.ndarray], *, lightning: bool = False
) -> bytes:
  """A file of torch.save with these weights.

  Args:
    arrays: by name.
    lightning: whether they stand under `state_dict`, beside an object of a
      class that must never be made.

  Returns:
    Its bytes.
  """
  tensors, stored = {}, {}
  for key, (name, array) in enumerate(arrays.items()):
    kind = 'Long' if array.dtype.kind == 'i' else 'Float'
    storage = samples.storage(f'torch.{kind}Storage', str(key), array.size)
    strides = [s // array.itemsize for s in np.ascontiguousarray(array).strides]
    tensors[name] = samples.tensor(storage, array.shape, strides[: array.ndim])
    stored[str(key)] = np.ascontiguousarray(array).tobytes()
  contents = samples.mapping(tensors)
  if lightning:
    stranger = b'cos\nsystem\n(' + samples.text('false') + b'tR'
    contents = samples.mapping({'callbacks': stranger, 'state_dict': contents})
  return samples.zip_file(contents, stored)
