"""The node tree of a glTF document."""

from __future__ import annotations

import numpy as np

from data.characters.model3d import errors
from data.characters.model3d.container import at
from data.characters.model3d.errors import Fault


def _local_matrix(node) -> np.ndarray:
  """[4, 4] transform of a node, from its matrix or its three parts."""
  if node.matrix:
    matrix = np.asarray(node.matrix, np.float64)
    if matrix.shape != (16,) or not np.all(np.isfinite(matrix)):
      raise Fault(f'matrix of node {node.name!r} is broken')
    return matrix.reshape(4, 4).T
  x, y, z, w = node.rotation or (0, 0, 0, 1)
  length = np.sqrt(x * x + y * y + z * z + w * w)
  if not (np.isfinite(length) and length > 0):
    raise Fault(f'rotation of node {node.name!r} is broken')
  x, y, z, w = (v / length for v in (x, y, z, w))
  rotation = np.array(
    [
      [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
      [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
      [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
  )
  matrix = np.eye(4)
  matrix[:3, :3] = rotation * np.asarray(node.scale or (1, 1, 1), np.float64)
  matrix[:3, 3] = node.translation or (0, 0, 0)
  if not np.all(np.isfinite(matrix)):
    raise Fault(f'transform of node {node.name!r} is not finite')
  return matrix


class NodeTree:
  """Who hangs on whom, and where everything rests.

  Attributes:
    names: name of each node, '' without one.
    world: [n, 4, 4] float64, each node's transform to the model.
    drawn: nodes of the default scene, parents first.
  """

  def __init__(self, gltf):
    nodes = gltf.nodes or []
    if not nodes:
      raise Fault('it has no nodes')
    if len(nodes) > errors.MAX_NODES:
      raise Fault(f'it has {len(nodes)} nodes, more than {errors.MAX_NODES}')
    self.names = [str(node.name or '') for node in nodes]
    self._children = [list(node.children or ()) for node in nodes]
    self.parent = self._parents()
    self._order = self._sorted()
    local = [_local_matrix(node) for node in nodes]
    self.world = np.empty((len(nodes), 4, 4))
    for i in self._order:
      up = self.parent[i]
      self.world[i] = local[i] if up < 0 else self.world[up] @ local[i]
    self.drawn = self._scene(gltf)

  def _parents(self) -> list[int]:
    parent = [-1] * len(self._children)
    for i, children in enumerate(self._children):
      for child in children:
        at(self._children, child, 'node')
        if parent[child] >= 0 or child == i:
          raise Fault(f'node {child} has two parents')
        parent[child] = i
    return parent

  def _sorted(self) -> list[int]:
    order = [i for i, up in enumerate(self.parent) if up < 0]
    for i in order:
      order.extend(self._children[i])
    if len(order) != len(self.parent):
      raise Fault('its node tree is a circle')
    return order

  def _scene(self, gltf) -> list[int]:
    scenes = gltf.scenes or []
    if not scenes:
      return self._order
    roots = at(scenes, gltf.scene or 0, 'scene').nodes or []
    inside = set()
    for root in roots:
      at(self.names, root, 'node')
      inside |= self.subtree(root)
    return [i for i in self._order if i in inside]

  def subtree(self, node: int) -> set[int]:
    """A node and all below it."""
    found = [node]
    for i in found:
      found.extend(self._children[i])
    return set(found)

  def ancestors(self, node: int) -> list[int]:
    """All above a node, nearest first."""
    found = []
    while (node := self.parent[node]) >= 0:
      found.append(node)
    return found

  def move(self, node: int, transform: np.ndarray) -> None:
    """Applies a [4, 4] model-space transform to a node and all below it."""
    below = list(self.subtree(node))
    self.world[below] = transform @ self.world[below]
