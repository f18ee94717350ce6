"""Where head, eyes and mouth of a model are.

A mesh does not say what its parts are, so they are found by what moves them:
eyes are where blinking happens, the mouth is where vowels happen, and the
head is what hangs on its bone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from data.characters.model3d import morph_table
from data.characters.model3d.assembly import Assembly
from data.characters.model3d.errors import Fault
from data.characters.model3d.humanoid import Humanoid, simplify
from data.characters.model3d.nodes import NodeTree

# In shares of the head's height, for models whose morphs do not tell; those of
# a usual anime head, from the chin up.
_EYE_LINE, _MOUTH_LINE, _EYE_DISTANCE, _EYE_OPENING = 0.38, 0.13, 0.35, 0.14
# The skull of an anime head ends at most so many times as far above the eyes
# as the chin is below them; what is higher is an ornament.
_CROWN_LEAST, _CROWN_MOST = 0.8, 2.6


def _smooth(low: float, high: float, x: np.ndarray) -> np.ndarray:
  t = np.clip((x - low) / max(high - low, 1e-9), 0, 1)
  return t * t * (3 - 2 * t)


@dataclasses.dataclass(frozen=True)
class BrowBone:
  """A bone of a brow: 0 at its inner end, 1 at its outer end.

  Attributes:
    outward: where this bone is.
    above: where the bone is that it hangs on, None if that is not of the brow.
  """

  outward: float
  above: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class FaceMarks:
  """Places on a face in its rest pose, in model units.

  Attributes:
    middle: x of the middle of the face.
    chin: y of the chin.
    crown: y of the top of the head.
    eyes: y of the line of the eyes.
    eye_distance: between the eyes.
    opening: height of an open eye.
    mouth: y of the mouth.
    brow_bones: side -> bone of that brow -> where on it.
  """

  middle: float
  chin: float
  crown: float
  eyes: float
  eye_distance: float
  opening: float
  mouth: float
  brow_bones: dict[str, dict[int, BrowBone]]

  @property
  def height(self) -> float:
    """From chin to crown."""
    return self.crown - self.chin

  def side(self, positions: np.ndarray, side: str) -> np.ndarray:
    """[V] in [0, 1], how much of a vertex belongs to a side of the face."""
    reach = 0.15 * self.eye_distance
    left = _smooth(-reach, reach, positions[:, 0] - self.middle)
    return left if side == 'left' else 1 - left

  def region(self, positions: np.ndarray, region: str) -> np.ndarray:
    """[V] in [0, 1], how much of a vertex belongs to `eyes` or `brows`."""
    y = positions[:, 1]
    low = self.eyes + 0.4 * self.opening
    above_eyes = _smooth(low, low + 0.4 * self.opening, y)
    if region == 'brows':
      return above_eyes
    cheek = (self.eyes + self.mouth) / 2
    reach = 0.1 * (self.eyes - self.mouth)
    return _smooth(cheek - reach, cheek + reach, y) * (1 - above_eyes)


def watched_bones(tree: NodeTree, humanoid: Humanoid) -> list[int]:
  """Bones right below the head, and those of the brows."""
  below = tree.subtree(humanoid.head) - {humanoid.head}
  return sorted(
    node
    for node in below
    if tree.parent[node] == humanoid.head or _is_brow(tree.names[node])
  )


def _is_brow(name: str) -> bool:
  return any(w in simplify(name) for w in morph_table.BROW_BONE_NAMES)


def _brow_bones(
  assembly: Assembly, tree: NodeTree, middle: float, distance: float
) -> dict[str, dict[int, BrowBone]]:
  """Side -> bone -> where on the brow; only bones that move something."""
  found: dict[str, dict[int, BrowBone]] = {'left': {}, 'right': {}}
  for node, (rows, _) in assembly.bones.items():
    if not _is_brow(tree.names[node]) or not len(rows):
      continue
    x = tree.world[node, 0, 3] - middle
    outward = float(np.clip((abs(x) / distance - 0.25) / 0.5, 0, 1))
    side = found['left' if x > 0 else 'right']
    # Parents come first: `watched_bones` sorts and files number top down.
    above = side.get(tree.parent[node])
    side[node] = BrowBone(outward, above and above.outward)
  return found


def _centre(
  assembly: Assembly, move: np.ndarray, rows: np.ndarray
) -> np.ndarray | None:
  """Middle of the way of the vertices that move, [3]."""
  reach = np.linalg.norm(move, axis=1) * rows
  reach = np.where(reach > 0.2 * reach.max(initial=0), reach, 0)
  if reach.sum() == 0:
    return None
  along = assembly.positions + move / 2
  return (along * reach[:, None]).sum(0) / reach.sum()


def _opening(positions: np.ndarray, move: np.ndarray) -> float:
  """Height of an open eye: the way of its lid, or both lids' distance."""
  way = np.abs(move[:, 1])
  lids = positions[way > 0.5 * way.max(), 1]
  return float(max(way.max(), np.ptp(lids)))


def _head_rows(assembly: Assembly, tree: NodeTree, humanoid: Humanoid):
  """Vertices of the head, and of these the ones on no bone below it."""
  whole = assembly.follow[:, 2] > 0.5
  own = assembly.follow[:, 2].copy()
  for node, (rows, share) in assembly.bones.items():
    if tree.parent[node] == humanoid.head:
      own[rows] -= share
  skull = own > 0.5
  return whole, skull if skull.any() else whole


def find_marks(
  assembly: Assembly,
  tree: NodeTree,
  humanoid: Humanoid,
  eye_move: np.ndarray | None,
  mouth_move: np.ndarray | None,
) -> FaceMarks:
  """Finds the places on the face.

  Args:
    assembly: the model.
    tree: its nodes.
    humanoid: its bones.
    eye_move: [V, 3] movement of blinking with both eyes, if known.
    mouth_move: [V, 3] movement of an open mouth, if known.

  Raises:
    Fault: if nothing hangs on the head bone.
  """
  positions = assembly.positions
  whole, skull = _head_rows(assembly, tree, humanoid)
  if not whole.any():
    raise Fault('nothing hangs on its head bone')
  low, high = positions[skull].min(0), positions[skull].max(0)
  middle = float(tree.world[humanoid.head, 0, 3])
  height = high[1] - low[1]
  if not height > 0:
    raise Fault('its head is flat')
  centres = []
  if eye_move is not None:
    for rows in (positions[:, 0] > middle, positions[:, 0] < middle):
      centres.append(_centre(assembly, eye_move, rows))
  if centres and None not in [c if c is None else 1 for c in centres]:
    left, right = centres
    middle = float((left[0] + right[0]) / 2)
    distance = float(left[0] - right[0])
    eyes = float((left[1] + right[1]) / 2)
    opening = _opening(positions, eye_move)
  else:
    eyes = low[1] + _EYE_LINE * height
    distance, opening = _EYE_DISTANCE * height, _EYE_OPENING * height
  centre = None
  if mouth_move is not None:
    centre = _centre(assembly, mouth_move, np.ones(len(positions), bool))
  mouth = low[1] + _MOUTH_LINE * height if centre is None else centre[1]
  if not mouth < eyes:
    mouth = eyes - 0.25 * height
  chin = _chin(positions[skull], middle, distance, eyes, mouth)
  crown = _crown(
    positions[skull], positions[whole], middle, distance, eyes, chin
  )
  bones = _brow_bones(assembly, tree, middle, distance)
  return FaceMarks(
    middle, chin, crown, eyes, distance, opening, float(mouth), bones
  )


def _chin(skull, middle, distance, eyes, mouth) -> float:
  """The lowest point of the face, in the middle and in front."""
  depth = (skull[:, 2].min() + skull[:, 2].max()) / 2
  lowest = mouth - 1.2 * (eyes - mouth)
  front = (
    (np.abs(skull[:, 0] - middle) < 0.5 * distance)
    & (skull[:, 2] > depth)
    & (skull[:, 1] > lowest)
    & (skull[:, 1] < mouth)
  )
  y = skull[front, 1]
  return float(y.min() if len(y) else mouth - 0.4 * (eyes - mouth))


def _crown(skull, whole, middle, distance, eyes, chin) -> float:
  """The top of the head; ornaments that stand out further do not count."""
  # Hair on bones of its own counts only where there is no skull under it.
  for rows, least in ((skull, 1.0), (whole, 0.0)):
    near = np.abs(rows[:, 0] - middle) < 0.5 * distance
    top = rows[near, 1].max(initial=eyes)
    if top > eyes + least * (eyes - chin):
      break
  limits = eyes + np.array([_CROWN_LEAST, _CROWN_MOST]) * (eyes - chin)
  return float(np.clip(top, *limits))
