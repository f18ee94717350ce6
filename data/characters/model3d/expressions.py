"""From a model's morph targets to our 17 coefficients."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from data import pose_vector
from data.characters.model3d import morph_table
from data.characters.model3d.assembly import Assembly, TargetKey
from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import Fault
from data.characters.model3d.face_marks import FaceMarks
from data.characters.model3d.humanoid import simplify, vrm_extension

# A morph that moves less than this share of the head's height does nothing.
_VISIBLE = 0.003
# Forward movement of a brow's bones as a share of the upward one.
_FORWARD = 0.3
_SIDES = ('left', 'right')
# Expressions whose targets are no part of the emotions that also use them.
_OWN_TARGETS = {
  'brows': 'a i u e o aa ih ou ee oh blink blinkl blinkr blinkleft blinkright '
  'lookup lookdown lookleft lookright',
  'eyes': 'a i u e o aa ih ou ee oh lookup lookdown lookleft lookright',
}
Binds = tuple[tuple[TargetKey, float], ...]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """A candidate of the table, taken apart."""

  parts: tuple[tuple[float, str], ...]
  marks: frozenset[str]
  text: str


def parse_recipe(text: str, side: str | None = None) -> Recipe:
  """Takes a candidate of `morph_table` apart, for one side of the face."""
  if side is not None:
    text = text.format(
      L=side[0].upper(),
      l=side[0],
      Left=side.title(),
      left=side,
      右='右' if side == 'right' else '',
    )
  marks, rest = re.fullmatch(r'(?:<([\w ]+)>)?\s*(.+)', text).groups()
  parts = []
  for part in rest.split(' + '):
    weight, star, name = part.rpartition('*')
    parts.append((float(weight) if star else 1.0, name.strip()))
  return Recipe(tuple(parts), frozenset((marks or '').split()), text)


def _aliases(name: str) -> set[str]:
  """Simplified forms of a target's name, without what tools put before it."""
  forms = {name, name.rpartition('.')[2]}
  if 'Fcl_' in name:
    forms.add(name[name.index('Fcl_') :])
  return {simplify(form) for form in forms} - {''}


class MorphNames:
  """Finds morph targets and VRM expressions by name."""

  def __init__(self, container: Container, assembly: Assembly):
    self._binds: dict[str, list[tuple[TargetKey, float]]] = {}
    for key, name in assembly.names.items():
      if key in assembly.targets:
        for alias in _aliases(name):
          self._binds.setdefault(alias, []).append((key, 1.0))
    kind, block = vrm_extension(container)
    read = {'VRM 0': _expressions0, 'VRM 1': _expressions1}.get(kind)
    found = read(container.gltf, block) if read else []
    # Presets before names that somebody chose.
    for name, binds, _ in sorted(found, key=lambda entry: not entry[2]):
      binds = [b for b in binds if b[0] in assembly.targets]
      self._binds.setdefault('vrm:' + simplify(name), binds)

  def find(self, name: str) -> Binds:
    """Targets and weights of a name, () if there is none."""
    head, colon, tail = name.rpartition(':')
    return tuple(self._binds.get(head + colon + simplify(tail), ()))

  def binds(self, recipe: Recipe) -> Binds:
    """Targets and weights of a recipe, () if a part of it is missing."""
    found: list[tuple[TargetKey, float]] = []
    for weight, name in recipe.parts:
      part = self.find(name)
      if not part:
        return ()
      found += [(key, weight * strength) for key, strength in part]
    for region in ('brows', 'eyes'):
      if region in recipe.marks:
        others = _OWN_TARGETS[region].split()
        taken = {key for n in others for key, _ in self.find('vrm:' + n)}
        found = [bind for bind in found if bind[0] not in taken]
    return tuple(found)


def _expressions0(gltf, block: dict[str, Any]) -> list:
  """(name, binds, is a preset) of VRM 0; weights are per cent."""
  found = []
  groups = (block.get('blendShapeMaster') or {}).get('blendShapeGroups') or []
  for group in groups:
    binds = []
    for bind in group.get('binds') or []:
      at(gltf.meshes, bind['mesh'], 'mesh')
      binds.append(((bind['mesh'], bind['index']), float(bind['weight']) / 100))
    preset = str(group.get('presetName') or 'unknown').lower()
    if preset != 'unknown':
      found.append((preset, binds, True))
    found.append((str(group.get('name', '')), binds, False))
  return found


def _expressions1(gltf, block: dict[str, Any]) -> list:
  """(name, binds, is a preset) of VRM 1."""
  found = []
  expressions = block.get('expressions') or {}
  for kind in ('preset', 'custom'):
    for name, expression in (expressions.get(kind) or {}).items():
      binds = []
      for bind in expression.get('morphTargetBinds') or []:
        mesh = at(gltf.nodes, bind['node'], 'node').mesh
        binds.append(((mesh, bind['index']), float(bind['weight'])))
      found.append((name, binds, kind == 'preset'))
  return found


class Displacement:
  """How far a model's vertices and normals move."""

  def __init__(self, count: int):
    self.positions = np.zeros((count, 3))
    self.normals = np.zeros((count, 3))

  def add(self, other: Displacement, weight: float) -> None:
    """Adds another displacement."""
    self.positions += weight * other.positions
    self.normals += weight * other.normals

  def masked(self, mask: np.ndarray) -> Displacement:
    """Only the share `mask` [V] of it."""
    result = Displacement(len(mask))
    result.positions = self.positions * mask[:, None]
    result.normals = self.normals * mask[:, None]
    return result

  def reach(self) -> float:
    """How far the farthest vertex goes."""
    return float(np.sqrt((self.positions**2).sum(1).max(initial=0)))


def displacement(assembly: Assembly, binds: Binds) -> Displacement:
  """Sum of morph targets."""
  total = Displacement(len(assembly.positions))
  for key, weight in binds:
    for delta in assembly.targets[key]:
      total.positions[delta.rows] += weight * delta.positions
      total.normals[delta.rows] += weight * delta.normals
  return total


@dataclasses.dataclass(eq=False)
class Expressions:
  """What each coefficient of the pose vector does to a model.

  Attributes:
    moves: displacement at 1 of each coefficient that does something.
    used: what each of these is made of.
    filled: the ones made of something else, and of what.
    missing: the ones that stay neutral, and why.
  """

  moves: dict[str, Displacement] = dataclasses.field(default_factory=dict)
  used: dict[str, str] = dataclasses.field(default_factory=dict)
  filled: dict[str, str] = dataclasses.field(default_factory=dict)
  missing: dict[str, str] = dataclasses.field(default_factory=dict)


def candidates(name: str) -> list[Recipe]:
  """The table's recipes of a coefficient, the best first."""
  stem, _, side = name.rpartition('_')
  if side in _SIDES:
    return [parse_recipe(t, side) for t in morph_table.PAIRED[stem]]
  return [parse_recipe(t) for t in morph_table.SINGLE[name]]


def movement(
  names: MorphNames, assembly: Assembly, coefficients: tuple[str, ...]
) -> np.ndarray | None:
  """[V, 3] movement of the best candidates of some coefficients together.

  Nothing is cut at the middle of the face, which is not yet known.
  """
  binds: dict[TargetKey, float] = {}
  for name in coefficients:
    for recipe in candidates(name):
      found = names.binds(recipe)
      if found:
        binds |= dict(found)
        break
  if not binds:
    return None
  return displacement(assembly, tuple(binds.items())).positions


class _Resolver:
  def __init__(self, names: MorphNames, assembly: Assembly, marks: FaceMarks):
    self._names = names
    self._assembly = assembly
    self._marks = marks
    self.result = Expressions()

  def _apply(self, recipe: Recipe, side: str) -> Displacement | None:
    binds = self._names.binds(recipe)
    if not binds:
      return None
    move = displacement(self._assembly, binds)
    mask = np.ones(len(self._assembly.positions))
    if 'split' in recipe.marks:
      mask = mask * self._marks.side(self._assembly.positions, side)
    for region in ('eyes', 'brows'):
      if region in recipe.marks:
        mask = mask * self._marks.region(self._assembly.positions, region)
    move = move.masked(mask)
    visible = move.reach() >= _VISIBLE * self._marks.height
    return move if visible else None

  def by_table(self, name: str) -> bool:
    side = name.rpartition('_')[2]
    for recipe in candidates(name):
      move = self._apply(recipe, side)
      if move is not None:
        self._take(name, move, recipe.text, 'instead' in recipe.marks)
        return True
    return False

  def by_bones(self, name: str) -> bool:
    stem, _, side = name.rpartition('_')
    bones = self._marks.brow_bones.get(side)
    if stem not in morph_table.BROW_BONES or not bones:
      return False
    inner, outer = morph_table.BROW_BONES[stem]
    move = Displacement(len(self._assembly.positions))
    for bone, place in bones.items():
      rows, share = self._assembly.bones[bone]
      up = inner + (outer - inner) * place.outward
      if place.above is not None:
        # What the bone above it already does.
        up -= inner + (outer - inner) * place.above
      up *= self._marks.height
      move.positions[rows, 1] += share * up
      # Straight up, a brow would cut into a forehead that bulges.
      move.positions[rows, 2] += share * abs(up) * _FORWARD
    if move.reach() < _VISIBLE * self._marks.height:
      return False
    self._take(name, move, 'moving the bones of the brow', True)
    return True

  def by_stand_in(self, name: str) -> bool:
    stem, _, side = name.rpartition('_')
    if side in _SIDES:
      parts = morph_table.STAND_INS.get(stem, ())
      parts = [(f'{part}_{side}', weight) for part, weight in parts]
    else:
      parts = morph_table.STAND_INS.get(name, ())
    if not parts or any(part not in self.result.moves for part, _ in parts):
      return False
    move = Displacement(len(self._assembly.positions))
    for part, weight in parts:
      move.add(self.result.moves[part], weight)
    text = ' + '.join(f'{weight:g} * {part}' for part, weight in parts)
    self._take(name, move, text, True)
    return True

  def _take(self, name: str, move: Displacement, text: str, fill: bool):
    self.result.moves[name] = move
    self.result.used[name] = text
    if fill:
      self.result.filled[name] = text

  def give_up(self, name: str) -> None:
    self.result.missing[name] = 'no morph target for it (looked for %s)' % (
      ', '.join(r.text for r in candidates(name)[:3]) + ', ...'
    )


def resolve(
  names: MorphNames, assembly: Assembly, marks: FaceMarks
) -> Expressions:
  """Finds what moves each of the 17 coefficients.

  Raises:
    Fault: if the model has no morph targets, or none that we know.
  """
  if not assembly.targets:
    raise Fault(
      'it has no morph targets (blend shapes), so its face cannot move',
      'export the model with its blend shapes',
    )
  resolver = _Resolver(names, assembly, marks)
  names_left = [
    name
    for name in pose_vector.COEFFICIENT_NAMES
    if not (resolver.by_table(name) or resolver.by_bones(name))
  ]
  for name in names_left:
    if not resolver.by_stand_in(name):
      resolver.give_up(name)
  result = resolver.result
  if not result.moves:
    known = sorted({n for n in assembly.names.values() if n})[:8]
    raise Fault(
      f'none of its morph targets has a name that we know (it has {known})',
      'name them as ARKit, VRM or MikuMikuDance does',
    )
  return result
