"""All triangles of a model in its rest pose, with what can move them.

Linear blend skinning (glTF 2.0 specification, "Skins") is carried out once for
the rest pose. In a portrait only neck and head turn, so afterwards a vertex
needs no more than how much of it follows each of the two.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters.model3d import errors
from data.characters.model3d.accessors import AccessorReader
from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import Fault
from data.characters.model3d.humanoid import Humanoid
from data.characters.model3d.nodes import NodeTree

# Morph rows that move less than this share of the model are not kept.
_STILL = 1e-7
# A target of a mesh: (index of the mesh, index of the target).
TargetKey = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Delta:
  """What a morph target does: `rows` of the model move by `positions`."""

  rows: np.ndarray
  positions: np.ndarray
  normals: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
  """Triangles of one material, [T, 3] indices into the model's vertices."""

  triangles: np.ndarray
  material: int | None


@dataclasses.dataclass(eq=False)
class Assembly:
  """A model in its rest pose, looking along +z, y up.

  Attributes:
    positions: [V, 3] float64.
    normals: [V, 3] float64, unit length.
    uvs: [V, 2] float32, origin at the texture's upper left.
    colors: [V, 4] float32 vertex colours, 1 without any.
    follow: [V, 3] share of each vertex that stays, follows the neck, follows
      the head (which moves with the neck).
    bones: node -> ([n] vertices, [n] shares) that follow it or what hangs on
      it, for the nodes that were asked for.
    parts: what is drawn, in the file's order.
    targets: what each morph target moves.
    names: name of each morph target.
  """

  positions: np.ndarray
  normals: np.ndarray
  uvs: np.ndarray
  colors: np.ndarray
  follow: np.ndarray
  bones: dict[int, tuple[np.ndarray, np.ndarray]]
  parts: list[Part]
  targets: dict[TargetKey, list[Delta]]
  names: dict[TargetKey, str]


def target_names(gltf, mesh_index: int) -> list[str]:
  """Names of a mesh's morph targets, '' where the file gives none."""
  mesh = gltf.meshes[mesh_index]
  count = max((len(p.targets or ()) for p in mesh.primitives), default=0)
  for extras in (*(p.extras for p in mesh.primitives), mesh.extras):
    names = (extras or {}).get('targetNames')
    if isinstance(names, list):
      names = [str(name) for name in names[:count]]
      return names + [''] * (count - len(names))
  return [''] * count


def _normals(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
  """Smooth normals for a mesh without any, weighted by area."""
  a, b, c = (positions[triangles[:, k]] for k in range(3))
  face = np.cross(b - a, c - a)
  normals = np.zeros_like(positions)
  for k in range(3):
    np.add.at(normals, triangles[:, k], face)
  return normals


def _unit(vectors: np.ndarray) -> np.ndarray:
  length = np.linalg.norm(vectors, axis=1, keepdims=True)
  return np.where(
    length > 1e-12, vectors / np.maximum(length, 1e-12), (0, 0, 1)
  )


def _triangles(mode: int, index: np.ndarray) -> np.ndarray:
  """[T, 3] triangles of a list, strip or fan."""
  if mode == 4:
    return index[: len(index) // 3 * 3].reshape(-1, 3)
  if len(index) < 3:
    return np.zeros((0, 3), np.int64)
  if mode == 5:
    found = np.stack([index[:-2], index[1:-1], index[2:]], 1)
    found[1::2] = found[1::2, ::-1]
    return found
  middle = np.full(len(index) - 2, index[0])
  return np.stack([middle, index[1:-1], index[2:]], 1)


class _Builder:
  """Collects primitives one after the other."""

  def __init__(
    self,
    container: Container,
    tree: NodeTree,
    humanoid: Humanoid,
    watched: list[int],
  ):
    self._gltf = container.gltf
    self._reader = AccessorReader(container)
    self._tree = tree
    self._group = np.zeros(len(tree.names), np.int64)
    if humanoid.neck is not None:
      self._group[list(tree.subtree(humanoid.neck))] = 1
    self._group[list(tree.subtree(humanoid.head))] = 2
    self._watched = {n: sorted(tree.subtree(n)) for n in watched}
    self._count = self._triangle_count = 0
    self.vertices: list[tuple[np.ndarray, ...]] = []
    self.bones = {n: ([], []) for n in watched}
    self.parts: list[Part] = []
    self.targets: dict[TargetKey, list[Delta]] = {}
    self._moved = 0
    self.names: dict[TargetKey, str] = {}

  def add_node(self, index: int) -> None:
    """Adds the mesh of a node."""
    node = self._gltf.nodes[index]
    if node.mesh is None:
      return
    mesh = at(self._gltf.meshes, node.mesh, 'mesh')
    for k, name in enumerate(target_names(self._gltf, node.mesh)):
      self.names[node.mesh, k] = name
    weights = mesh.weights or []
    for primitive in mesh.primitives or []:
      # Points and lines are not surfaces.
      if (4 if primitive.mode is None else primitive.mode) in (4, 5, 6):
        self._add(primitive, node, index, weights)

  def _skin(self, primitive, node, index: int, count: int):
    """[V, 4] nodes, [V, 4] weights, [n, 4, 4] transforms by node."""
    world = self._tree.world
    if node.skin is None:
      nodes = np.full((count, 1), index)
      return nodes, np.ones((count, 1)), world
    skin = at(self._gltf.skins, node.skin, 'skin')
    for joint in skin.joints:
      at(self._tree.names, joint, 'node')
    joints = np.array(skin.joints, np.int64)
    matrices = np.tile(np.eye(4), (len(joints), 1, 1))
    if skin.inverseBindMatrices is not None:
      inverse = self._reader.read(skin.inverseBindMatrices, 16, 'a skin')
      if len(inverse) < len(joints):
        raise Fault('a skin has fewer matrices than joints')
      matrices = inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)
    attributes = primitive.attributes
    if attributes.JOINTS_0 is None or attributes.WEIGHTS_0 is None:
      raise Fault('a skinned mesh has no joints or weights')
    local = self._reader.read(attributes.JOINTS_0, 4, 'joints')
    weights = self._reader.read(attributes.WEIGHTS_0, 4, 'weights')
    if len(local) != count or len(weights) != count:
      raise Fault('joints or weights do not fit the number of vertices')
    local = np.where(weights > 0, local, 0).astype(np.int64)
    if count and local.max() >= len(joints):
      raise Fault('a vertex refers to a joint that its skin does not have')
    weights = np.maximum(weights.astype(np.float64), 0)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.where(
      total > 0, weights / np.maximum(total, 1e-9), (1, 0, 0, 0)
    )
    bound = np.zeros_like(world)
    bound[joints] = world[joints] @ matrices
    return joints[local], weights, bound

  def _optional(self, index, width: int, count: int, what: str, missing):
    if index is None:
      return np.broadcast_to(np.asarray(missing, np.float32), (count, width))
    values = self._reader.read(index, width, what)
    if len(values) != count:
      raise Fault(f'{what} do not fit the number of vertices')
    return values

  def _index(self, primitive, count: int) -> np.ndarray:
    if primitive.indices is None:
      index = np.arange(count)
    else:
      index = self._reader.read(primitive.indices, 1, 'indices')[:, 0]
      if index.dtype.kind == 'f' or index.dtype.kind == 'i':
        raise Fault('indices are not unsigned whole numbers')
      index = index.astype(np.int64)
      if len(index) and index.max() >= count:
        raise Fault('a triangle refers to a vertex that does not exist')
    mode = 4 if primitive.mode is None else primitive.mode
    return _triangles(mode, index)

  def _color(self, index, count: int) -> np.ndarray:
    if index is None:
      return np.ones((count, 4), np.float32)
    kind = at(self._gltf.accessors, index, 'accessor').type
    width = 3 if kind == 'VEC3' else 4
    colors = self._optional(index, width, count, 'vertex colours', 1)
    full = np.ones((count, 4), np.float32)
    full[:, :width] = colors
    return full

  def _add(self, primitive, node, index: int, default_weights) -> None:
    attributes = primitive.attributes
    if attributes.POSITION is None:
      return
    positions = self._reader.read(attributes.POSITION, 3, 'positions')
    count, start = len(positions), self._count
    triangles = self._index(primitive, count)
    self._count += count
    self._triangle_count += len(triangles)
    if (
      self._count > errors.MAX_VERTICES
      or self._triangle_count > errors.MAX_TRIANGLES
    ):
      raise Fault(
        f'it has more than {errors.MAX_VERTICES} vertices or triangles',
        'reduce the model',
      )
    nodes, weights, transforms = self._skin(primitive, node, index, count)
    blend = np.zeros((count, 3, 4))
    for k in range(weights.shape[1]):
      blend += weights[:, k, None, None] * transforms[nodes[:, k], :3]
    if np.linalg.det(blend[:, :, :3]).sum() < 0:
      triangles = triangles[:, ::-1]
    linear = blend[:, :, :3]
    if attributes.NORMAL is None:
      normals = _normals(positions.astype(np.float64), triangles)
    else:
      normals = self._optional(attributes.NORMAL, 3, count, 'normals', 0)
    follow = np.stack(
      [(weights * (self._group[nodes] == g)).sum(1) for g in range(3)], 1
    )
    self.vertices.append((
      np.einsum('vab,vb->va', linear, positions) + blend[:, :, 3],
      np.einsum('vab,vb->va', linear, normals),
      self._optional(attributes.TEXCOORD_0, 2, count, 'texture coordinates', 0),
      self._color(attributes.COLOR_0, count),
      follow,
    ))  # fmt: skip
    self.parts.append(Part(triangles + start, primitive.material))
    for bone, below in self._watched.items():
      share = (weights * np.isin(nodes, below)).sum(1)
      rows = np.flatnonzero(share)
      self.bones[bone][0].append(rows + start)
      self.bones[bone][1].append(share[rows])
    self._add_targets(primitive, node.mesh, start, linear, default_weights)

  def _add_targets(
    self, primitive, mesh: int, start: int, linear: np.ndarray, default_weights
  ) -> None:
    count = len(linear)
    for k, target in enumerate(primitive.targets or []):
      position = self._optional(
        target.get('POSITION'), 3, count, 'a morph target', 0
      )
      normal = self._optional(
        target.get('NORMAL'), 3, count, 'a morph target', 0
      )
      moved = np.abs(position).max(1) > _STILL
      rows = np.flatnonzero(moved)
      self._moved += len(rows)
      if self._moved > errors.MAX_MOVED:
        raise Fault(
          f'its morph targets move more than {errors.MAX_MOVED} vertices',
          'reduce the model (fewer vertices or morph targets)',
        )
      delta = Delta(
        rows + start,
        np.einsum('vab,vb->va', linear[rows], position[rows]),
        np.einsum('vab,vb->va', linear[rows], normal[rows]),
      )
      self.targets.setdefault((mesh, k), []).append(delta)
      weight = float(default_weights[k]) if k < len(default_weights) else 0.0
      if weight and np.isfinite(weight):
        # Morphed from the start; targets stay relative to that.
        self.vertices[-1][0][rows] += weight * delta.positions
        self.vertices[-1][1][rows] += weight * delta.normals


def assemble(
  container: Container,
  tree: NodeTree,
  humanoid: Humanoid,
  watched: list[int],
) -> Assembly:
  """Puts all drawn meshes together in the rest pose.

  Args:
    container: the document.
    tree: its nodes, posed for a portrait.
    humanoid: which of them are neck and head.
    watched: nodes whose vertices must be known (bones of the brows).

  Raises:
    Fault: if a mesh is broken, or there is none.
  """
  builder = _Builder(container, tree, humanoid, watched)
  for index in tree.drawn:
    builder.add_node(index)
  if not sum(len(part.triangles) for part in builder.parts):
    raise Fault('it has nothing to draw (no triangles)')
  columns = [np.concatenate(c) for c in zip(*builder.vertices, strict=True)]
  positions, normals, uvs, colors, follow = columns
  return Assembly(
    positions,
    _unit(normals),
    uvs,
    colors,
    follow,
    {n: (np.concatenate(r), np.concatenate(s))
     for n, (r, s) in builder.bones.items()},
    builder.parts,
    builder.targets,
    builder.names,
  )  # fmt: skip
