"""From a file to a model that can be drawn."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np

from data.characters.model3d import expressions as expression_tools
from data.characters.model3d import face_marks
from data.characters.model3d.assembly import Assembly, assemble
from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import CharacterError, Fault
from data.characters.model3d.expressions import Expressions
from data.characters.model3d.humanoid import (
  Humanoid,
  find_humanoid,
  pose_for_portrait,
)
from data.characters.model3d.materials import Material, read_materials
from data.characters.model3d.nodes import NodeTree
from data.characters.model3d.surface import Surface, make_surface
from data.characters.model3d.textures import Texture, TextureReader
from data.characters.model3d.view import View

# Of the head's turn, this much is in the neck.
_NECK_SHARE = 0.4
# What Python and numpy raise when a document is not what it should be. Every
# number of it is checked where it matters; this is for wrong types.
_MALFORMED = (
  TypeError,
  KeyError,
  IndexError,
  AttributeError,
  ValueError,
  OverflowError,
  RecursionError,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A model that was read.

  Attributes:
    surface: what is drawn.
    expressions: what moves each coefficient.
    view: the camera.
    marks: where the parts of the face are.
    kind: `VRM 0`, `VRM 1` or `glTF`.
  """

  surface: Surface
  expressions: Expressions
  view: View
  marks: face_marks.FaceMarks
  kind: str


def read_model(path: pathlib.Path) -> Model:
  """Reads a `.vrm`, `.glb` or `.gltf` file.

  Raises:
    CharacterError: if it does not exist, is damaged, or no character.
  """
  if not path.is_file():
    raise CharacterError(path, 'there is no such file', 'check the path')
  try:
    return _read(path)
  except Fault as fault:
    raise CharacterError(path, fault.fault, fault.remedy) from fault
  except json.JSONDecodeError as error:
    raise CharacterError(
      path, f'its JSON is damaged ({error})', 'download or export it again'
    ) from error
  except OSError as error:
    raise CharacterError(
      path, f'it cannot be read ({error})', 'check its permissions'
    ) from error
  except _MALFORMED as error:
    raise CharacterError(
      path,
      f'it is not built as glTF 2.0 asks ({type(error).__name__}: {error})',
      'export it again, or have it checked by a glTF validator',
    ) from error


def _read(path: pathlib.Path) -> Model:
  container = Container(path)
  tree = NodeTree(container.gltf)
  humanoid = find_humanoid(container, tree)
  pose_for_portrait(tree, humanoid)
  watched = face_marks.watched_bones(tree, humanoid)
  assembly = assemble(container, tree, humanoid, watched)
  names = expression_tools.MorphNames(container, assembly)
  eyes = expression_tools.movement(
    names, assembly, ('eye_wink_left', 'eye_wink_right')
  )
  mouth = expression_tools.movement(names, assembly, ('mouth_a',))
  marks = face_marks.find_marks(assembly, tree, humanoid, eyes, mouth)
  expressions = expression_tools.resolve(names, assembly, marks)
  materials, textures = _materials(container, assembly)
  pivots, neck_share = _pivots(tree, humanoid)
  view = View.of_face(marks)
  surface = make_surface(
    assembly, expressions, materials, textures, view, pivots, neck_share
  )
  return Model(surface, expressions, view, marks, humanoid.kind)


def _pivots(tree: NodeTree, humanoid: Humanoid) -> tuple[np.ndarray, float]:
  head = tree.world[humanoid.head, :3, 3]
  if humanoid.neck is None:
    return np.stack([head, head]), 0.0
  return np.stack([tree.world[humanoid.neck, :3, 3], head]), _NECK_SHARE


def _materials(
  container: Container, assembly: Assembly
) -> tuple[dict[int, Material], list[Texture]]:
  used = {p.material for p in assembly.parts if p.material is not None}
  for index in used:
    at(container.gltf.materials, index, 'material')
  reader = TextureReader(container)
  return read_materials(container, reader, used), reader.textures
