"""Which nodes are head, neck and arms, and where the character looks.

VRM says so itself; a plain glTF file is searched for the names that common
tools give. Sources: VRM 0 specification (`humanoid.humanBones`), VRM 1
specification (`VRMC_vrm.humanoid`); names of Mixamo, VRoid Studio, Blender,
Character Creator and MikuMikuDance exports.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from typing import Any

import numpy as np

from data.characters.model3d.container import Container, at
from data.characters.model3d.errors import Fault
from data.characters.model3d.nodes import NodeTree

# Simplified names (see `simplify`) in order of trust.
_HEADS = (
  *('head', 'mixamorighead', 'jbipchead', '頭', 'ccbasehead', 'bip01head'),
  *('bip001head', 'defhead', 'headbone', 'headarmature', 'atama', '頭部'),
)
_NECKS = ('neck', '首', 'kubi')
_NOT_HEADS = ('end', 'top', 'nub', 'fore', 'tip', 'tail')
_UPPER_ARMS = {
  'left': ('leftupperarm', 'leftarm', 'lupperarm', 'upperarml', '左腕'),
  'right': ('rightupperarm', 'rightarm', 'rupperarm', 'upperarmr', '右腕'),
}
_LOWER_ARMS = {
  'left': ('leftlowerarm', 'leftforearm', 'llowerarm', 'lowerarml', '左ひじ'),
  'right': (
    'rightlowerarm',
    'rightforearm',
    'rlowerarm',
    'lowerarmr',
    '右ひじ',
  ),
}
# Avatars stand with arms stretched out; in a portrait they hang, this steep.
_ARM_DOWN_DEG = 68.0


def simplify(name: str) -> str:
  """A name without case, spaces, punctuation and half-width letters."""
  name = unicodedata.normalize('NFKC', name).casefold()
  return ''.join(c for c in name if c.isalnum())


@dataclasses.dataclass(frozen=True)
class Humanoid:
  """What of a skeleton a portrait needs.

  Attributes:
    kind: `VRM 0`, `VRM 1` or `glTF`.
    head: node of the head.
    neck: node of the neck, None if the head turns alone.
    arms: upper and lower arm's node of each side that has both.
  """

  kind: str
  head: int
  neck: int | None
  arms: dict[str, tuple[int, int]]

  @property
  def faces_back(self) -> bool:
    """Whether the face looks along -z; VRM 0 does, the others along +z."""
    return self.kind == 'VRM 0'


def vrm_extension(container: Container) -> tuple[str, dict[str, Any]]:
  """The kind of the file, and its VRM block ({} for plain glTF)."""
  extensions = container.gltf.extensions or {}
  for kind, name in (('VRM 1', 'VRMC_vrm'), ('VRM 0', 'VRM')):
    block = extensions.get(name)
    if isinstance(block, dict):
      return kind, block
  return 'glTF', {}


def _declared(kind: str, block: dict[str, Any]) -> dict[str, Any]:
  """Bone name -> node, as VRM declares it."""
  bones = (block.get('humanoid') or {}).get('humanBones')
  if not bones:
    return {}
  if kind == 'VRM 0':
    return {bone.get('bone'): bone.get('node') for bone in bones}
  return {name: bone.get('node') for name, bone in bones.items()}


def _search(names: list[str], wanted: tuple[str, ...]) -> int | None:
  """The first node whose simplified name is or ends like a wanted one."""
  for match in (str.__eq__, str.endswith):
    for name in wanted:
      for i, candidate in enumerate(names):
        if match(candidate, name):
          return i
  return None


def _searched(tree: NodeTree) -> dict[str, int | None]:
  names = [simplify(name) for name in tree.names]
  heads = ['' if any(w in n for w in _NOT_HEADS) else n for n in names]
  found = {'head': _search(heads, _HEADS)}
  if found['head'] is not None:
    above = tree.ancestors(found['head'])
    necks = [i for i in above if any(w in names[i] for w in _NECKS)]
    found['neck'] = necks[0] if necks else None
  for side in ('left', 'right'):
    found[f'{side}UpperArm'] = _search(names, _UPPER_ARMS[side])
    found[f'{side}LowerArm'] = _search(names, _LOWER_ARMS[side])
  return found


def find_humanoid(container: Container, tree: NodeTree) -> Humanoid:
  """Finds the bones that a portrait needs.

  Raises:
    Fault: if there is no head bone.
  """
  kind, block = vrm_extension(container)
  bones = _declared(kind, block)
  for node in bones.values():
    at(tree.names, node, 'node')
  if bones.get('head') is None:
    bones = _searched(tree)
  head = bones.get('head')
  if head is None:
    raise Fault(
      'it has no head bone (VRM humanoid bone `head`, or a node named like '
      '"Head", "mixamorig:Head", "J_Bip_C_Head" or "頭")',
      'name the bone of the head "Head", or export it as VRM',
    )
  neck = bones.get('neck')
  if neck is not None and neck not in tree.ancestors(head):
    neck = None
  arms = {}
  for side in ('left', 'right'):
    pair = bones.get(f'{side}UpperArm'), bones.get(f'{side}LowerArm')
    if None not in pair and pair[1] in tree.subtree(pair[0]):
      arms[side] = pair
  return Humanoid(kind, head, neck, arms)


def rotation_about(rotation: np.ndarray, pivot: np.ndarray) -> np.ndarray:
  """[4, 4] transform that turns around a point."""
  matrix = np.eye(4)
  matrix[:3, :3] = rotation
  matrix[:3, 3] = pivot - rotation @ pivot
  return matrix


def pose_for_portrait(tree: NodeTree, humanoid: Humanoid) -> None:
  """Turns the character to the viewer (+z) and lowers stretched-out arms."""
  if humanoid.faces_back:
    tree.world = np.diag([-1.0, 1.0, -1.0, 1.0]) @ tree.world
  for upper, lower in humanoid.arms.values():
    shoulder = tree.world[upper, :3, 3]
    along = tree.world[lower, :3, 3] - shoulder
    sideways, down = abs(along[0]), -along[1]
    steep = np.rad2deg(np.arctan2(down, sideways))
    if sideways == 0 or steep >= _ARM_DOWN_DEG - 20:
      continue
    angle = np.deg2rad(_ARM_DOWN_DEG - steep) * -np.sign(along[0])
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    tree.move(upper, rotation_about(rotation, shoulder))
