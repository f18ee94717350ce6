r"""Asks a face-landmark model that nobody here wrote about drawn characters.

    python -m launch.check_characters --count=64 --output=checks
    python -m launch.check_characters --style=soft --output=checks_soft
    python -m launch.check_characters --puppet=her.vrm --output=checks_her
    python -m launch.check_characters --generator=shipped --output=checks_net

Two questions, both put to FaceMesh (needs the extra `edtn-jax[facemesh]`).

1. Is there a face? Of each character's neutral picture the head is cut out,
   `HEAD_CROPS`: squares of three sizes, of which the head with its hair takes
   about three quarters. A face is found where the model's presence is 0.5 or
   more in the region that the published detector chooses or in a whole crop,
   whichever is surest. Given too: the share that the detector alone finds,
   and, as a control, the share "found" in the same crops upside down, where
   a model that sees faces should see none.
2. Do yaw, roll and lids follow the truth? Poses with random yaw and roll
   within 20 degrees and random winks are measured in one fixed upright region,
   `FACE_REGION`, laid around the face without the hair; the lids by the
   model's second look at each eye. No picture is left out, found or not.
   Correlations are given over all pictures together, and as the median of
   those within one character.

With `--generator` the pictures are not drawn but generated: a network moves
each character's neutral picture, and the characters are those after the ones
that it knows. The size it works at is brought to that of drawn pictures.

Writes `check.json` and `check.png`: every character's neutral picture and the
first poses with the landmarks drawn in, failures framed in red.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from absl import app, flags
from PIL import Image

from data import files, pose_vector
from data.anime_tree import on_white
from data.characters import Character
from data.characters.style import STYLES, style_of
from data.facemesh import eyes, measures, mesh, models
from edtn_jax.animation.generator import (
  AnimeGenerator,
  load_generator,
  unseen_character,
)
from launch import check_sheet
from launch.correlation import correlation

# Squares of the picture as (x, y of the centre, side), in fractions. Chosen on
# the characters: presence falls fast as a crop leaves the head's hair out.
HEAD_CROPS = tuple((0.5, 138 / 256, side / 256) for side in (180, 190, 200))
FACE_REGION = (0.5, 158 / 256, 160 / 256)
# Of the picture that is drawn; the models see 128 to 192 pixels of it.
_SIZE = 384
_WHITE = (255, 255, 255)
# Drawn eyes are wider than the mesh makes them: see `eyes.eye_region`.
_EYE_SCALE = 2.8
_MAX_ANGLE_DEG = 20.0
_QUANTITIES = ('yaw', 'roll', 'lid_left', 'lid_right')

# Limits of the specification.
LEAST_FOUND = 0.9
LEAST_CORRELATION = 0.8


@dataclasses.dataclass
class CharacterCheck:
  """What was measured on one character.

  Attributes:
    name: its seed or file.
    style: empty for a file.
    detected: presence in the detector's region, 0 if it finds none.
    presence: highest presence, there or in a whole crop.
    control: the same with the crops upside down.
    truth: [poses, 4] float64, yaw and roll in degrees, opening of the lids.
    measured: [poses, 4] float64, the same by the model.
    tiles: the neutral picture and two poses with landmarks.
  """

  name: str
  style: str
  detected: float
  presence: float
  control: float
  truth: np.ndarray
  measured: np.ndarray
  tiles: list[Image.Image]

  @property
  def found(self) -> bool:
    """Whether there is a face."""
    return self.presence >= mesh.LEAST_PRESENCE


class Judge:
  """The models, and how they are asked.

  Raises:
    models.ModelError: if a model cannot be had or run.
  """

  def __init__(self):
    self._mesh = mesh.FaceMesh()
    self._eyes = eyes.EyeFinder()

  def presence(
    self, picture: np.ndarray, *, upside_down: bool = False
  ) -> tuple[float, float]:
    """How sure the model is of a face in a neutral picture.

    Args:
      picture: [S, S, 3] uint8.
      upside_down: whether to turn the crops over, as a control.

    Returns:
      Presence in the detector's region (0 if it finds none), and the highest
      of this and those in the whole crops.
    """
    detected, whole = [], []
    for square in HEAD_CROPS:
      head = mesh.crop(picture, _region(square), round(square[2] * _SIZE))
      if upside_down:
        head = np.ascontiguousarray(head[::-1])
      found = self._mesh.find(head)
      detected.append(found.presence if found else 0.0)
      everything = mesh.whole_picture(*head.shape[1::-1])
      whole.append(self._mesh.landmarks(head, everything).presence)
    return max(detected), max(*detected, *whole)

  def measure(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Yaw, roll and lid openings.

    Args:
      picture: [S, S, 3] uint8.

    Returns:
      [4] float64 yaw, roll, left and right lid, and the points to draw
      [n, 2].
    """
    face = self._mesh.landmarks(picture, _region(FACE_REGION))
    _, roll, yaw = measures.head_angles(face.points)
    both = [
      self._eyes.find(picture, face.points, side, scale=_EYE_SCALE)
      for side in ('left', 'right')
    ]
    shown = [face.points[:, :2], *(e.contour[:16] for e in both)]
    lids = [e.lid_opening for e in both]
    return np.array([yaw, roll, *lids]), np.concatenate(shown)


def _region(square: tuple[float, float, float]) -> mesh.Region:
  x, y, side = square
  return mesh.Region(np.array([x, y]) * _SIZE, side * _SIZE, 0.0)


def random_poses(seed: int, identity: int, count: int) -> np.ndarray:
  """Poses with yaw, roll and winks, everything else at rest.

  Args:
    seed: of all.
    identity: number of the character.
    count: how many.

  Returns:
    [count, 20] float64 pose vectors.
  """
  rng = np.random.default_rng([seed, identity])
  poses = np.zeros((count, pose_vector.NUM_POSE))
  for name in ('yaw', 'roll'):
    poses[:, pose_vector.POSE_INDEX[name]] = rng.uniform(
      -_MAX_ANGLE_DEG, _MAX_ANGLE_DEG, count
    )
  for side in ('left', 'right'):
    index = pose_vector.POSE_INDEX[f'eye_wink_{side}']
    poses[:, index] = rng.uniform(0, 1, count)
  return poses


def truth_of(poses: np.ndarray) -> np.ndarray:
  """What should be measured: [n, 20] poses -> [n, 4] in our order."""
  index = pose_vector.POSE_INDEX
  return np.stack(
    [
      poses[:, index['yaw']],
      poses[:, index['roll']],
      1 - poses[:, index['eye_wink_left']],
      1 - poses[:, index['eye_wink_right']],
    ],
    axis=-1,
  )


def check_character(
  judge: Judge, character, poses: np.ndarray, *, name: str, style: str = ''
) -> CharacterCheck:
  """Draws a character and asks the models.

  Args:
    judge: the models.
    character: has `render`.
    poses: [n, 20] pose vectors.
    name: what to call it.
    style: in which it is drawn.

  Returns:
    What was measured.
  """
  neutral = _draw(character, np.zeros(pose_vector.NUM_POSE))
  detected, presence = judge.presence(neutral)
  _, control = judge.presence(neutral, upside_down=True)
  pictures = [neutral, *(_draw(character, pose) for pose in poses)]
  answers = [judge.measure(picture) for picture in pictures]
  check = CharacterCheck(
    name=name,
    style=style,
    detected=detected,
    presence=presence,
    control=control,
    truth=truth_of(poses),
    measured=np.stack([values for values, _ in answers[1:]]),
    tiles=[],
  )
  for picture, (_, points) in list(zip(pictures, answers, strict=True))[:3]:
    tile = check_sheet.tile(picture, _region(HEAD_CROPS[-1]), points)
    check.tiles.append(tile)
  label = f'{name} {style} {presence:.2f}'
  check_sheet.mark(check.tiles[0], label, failed=not check.found)
  return check


class GeneratedCharacter:
  """A character whose neutral picture a generator moves.

  Args:
    generator: the generator.
    character: gives the neutral picture.
  """

  def __init__(self, generator: AnimeGenerator, character: Character):
    self._generator = generator
    picture = Image.fromarray(on_white(character.neutral()))
    side = (generator.largest, generator.largest)
    source = picture.resize(side, Image.Resampling.LANCZOS)
    self._source = np.asarray(source)

  def render(self, pose: np.ndarray, *, background=None) -> np.ndarray:
    """[S, S, 3] uint8, on white whatever the background."""
    del background
    [picture] = self._generator.animate(self._source, pose[None], batch_size=1)
    side = (_SIZE, _SIZE)
    large = Image.fromarray(picture).resize(side, Image.Resampling.LANCZOS)
    return np.asarray(large)


def _draw(character, pose: np.ndarray) -> np.ndarray:
  picture = character.render(pose, background=_WHITE)[..., :3]
  return np.ascontiguousarray(picture)


def summarize(checks: Sequence[CharacterCheck]) -> dict:
  """Shares and correlations, as written to `check.json`.

  Args:
    checks: of all characters.

  Returns:
    Plain numbers; a correlation is None where nothing varies.
  """
  truth = np.concatenate([c.truth for c in checks])
  measured = np.concatenate([c.measured for c in checks])
  correlations = {}
  for column, name in enumerate(_QUANTITIES):
    within = [
      correlation(c.truth[:, column], c.measured[:, column]) for c in checks
    ]
    known = [value for value in within if value is not None]
    correlations[name] = {
      'overall': correlation(truth[:, column], measured[:, column]),
      'median_within': float(np.median(known)) if known else None,
      'within': within,
    }
  limit = mesh.LEAST_PRESENCE
  return {
    'characters': len(checks),
    'pictures': len(truth),
    'found': float(np.mean([c.found for c in checks])),
    'control_found': float(np.mean([c.control >= limit for c in checks])),
    'found_by_detector': float(np.mean([c.detected >= limit for c in checks])),
    'not_found': [c.name for c in checks if not c.found],
    'correlation': correlations,
  }


def table(summary: dict) -> str:
  """The summary as Markdown."""

  def number(value: float | None) -> str:
    return 'none' if value is None else f'{value:.3f}'

  def verdict(value: float | None, limit: float) -> str:
    return 'yes' if value is not None and value >= limit else 'NO'

  lines = [
    '| measure | overall | median within a character | wanted | met |',
    '|---|---|---|---|---|',
    f'| face found ({summary["characters"]} neutral pictures) '
    f'| {summary["found"]:.1%} | | {LEAST_FOUND:.0%} '
    f'| {verdict(summary["found"], LEAST_FOUND)} |',
    f'| - by the detector alone | {summary["found_by_detector"]:.1%} | | | |',
    f'| - control: upside down | {summary["control_found"]:.1%} | | | |',
  ]
  for name, found in summary['correlation'].items():
    overall, within = found['overall'], found['median_within']
    lines.append(
      f'| {name}, correlation ({summary["pictures"]} pictures) '
      f'| {number(overall)} | {number(within)} | {LEAST_CORRELATION} '
      f'| {verdict(overall, LEAST_CORRELATION)} |'
    )
  return '\n'.join(lines)


def check_seeds(
  judge: Judge,
  seeds: Iterable[int],
  poses: int,
  style: str | None,
  seed: int,
  generator: AnimeGenerator | None = None,
) -> list[CharacterCheck]:
  """Checks characters drawn by code.

  Args:
    judge: the models.
    seeds: of the characters.
    poses: of each.
    style: of all; None for one each, as in data sets.
    seed: of poses and styles.
    generator: moves their neutral pictures; None draws every picture.

  Returns:
    What was measured, in the same order.
  """
  checks = []
  for identity in seeds:
    chosen = style or style_of(seed, identity)
    character = Character.from_seed(identity, _SIZE, style=chosen)
    if generator:
      character = GeneratedCharacter(generator, character)
    checks.append(
      check_character(
        judge,
        character,
        random_poses(seed, identity, poses),
        name=str(identity),
        style=chosen,
      )
    )
  return checks


def check_puppet(
  judge: Judge, puppet: str, poses: int, seed: int
) -> list[CharacterCheck]:
  """Checks one character by name, see `open_character`."""
  from data.characters.opening import open_character

  character = open_character(puppet, _SIZE)
  name = pathlib.Path(puppet).name
  drawn = random_poses(seed, 0, poses)
  return [check_character(judge, character, drawn, name=name)]


def write_results(
  folder: pathlib.Path, summary: dict, checks: Sequence[CharacterCheck]
) -> None:
  """Writes `check.json` and `check.png`."""
  folder.mkdir(parents=True, exist_ok=True)
  rows = [
    {
      'name': c.name,
      'style': c.style,
      'presence_detector': c.detected,
      'presence': c.presence,
      'presence_control': c.control,
      'truth': c.truth.tolist(),
      'measured': c.measured.tolist(),
    }
    for c in checks
  ]
  models_used = {name: model.sha256 for name, model in models.MODELS.items()}
  content = {
    **summary,
    'quantities': _QUANTITIES,
    'per_character': rows,
    'models': models_used,
  }
  files.write_json(folder / 'check.json', content)
  with files.atomic_writer(folder / 'check.png') as file:
    check_sheet.sheet([c.tiles for c in checks]).save(file, format='PNG')


def main(argv: list[str]) -> None:
  """Checks the chosen characters and prints a table."""
  if len(argv) > 1:
    raise app.UsageError(f'unknown arguments: {argv[1:]}')
  given = flags.FLAGS
  if given.count < 1 or given.poses < 2:
    raise app.UsageError('--count must be 1 or more, --poses 2 or more')
  if given.puppet and (given.style or given.generator):
    raise app.UsageError('--puppet goes without --style and --generator')
  if given.output and pathlib.Path(given.output).is_file():
    raise app.UsageError(f'--output={given.output}: a file is in the way')
  try:
    judge = Judge()
    if given.puppet:
      checks = check_puppet(judge, given.puppet, given.poses, given.seed)
    else:
      generator, first = None, 0
      if given.generator:
        shipped = given.generator == 'shipped'
        generator = load_generator(None if shipped else given.generator)
        first = unseen_character(generator.config)
      checks = check_seeds(
        judge,
        range(first, first + given.count),
        given.poses,
        given.style,
        given.seed,
        generator,
      )
  except (models.ModelError, ValueError) as error:
    raise app.UsageError(str(error)) from error
  summary = summarize(checks)
  print(table(summary))
  if summary['not_found']:
    print('\nno face in:', ', '.join(summary['not_found']))
  if given.output:
    write_results(pathlib.Path(given.output), summary, checks)
    print(f'\nwrote check.json and check.png into {given.output}')


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_integer('count', 64, 'characters: seeds 0, 1, ...')
  flags.DEFINE_integer('poses', 8, 'poses of each character')
  flags.DEFINE_enum(
    'style',
    None,
    STYLES,
    'style of all; by default one for each, chosen as for data sets',
  )
  flags.DEFINE_string(
    'puppet',
    None,
    'check this character instead: a seed or a .vrm or .glb file',
  )
  flags.DEFINE_string(
    'generator',
    None,
    'check what a generator draws: a bundle or run, or "shipped" for the one '
    'that comes with the project',
  )
  flags.DEFINE_integer('seed', 0, 'of poses and styles')
  flags.DEFINE_string('output', None, 'folder for the results')


if __name__ == '__main__':
  define_flags()
  app.run(main)
