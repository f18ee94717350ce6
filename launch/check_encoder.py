r"""Measures how well the landmark encoder follows faces.

    python -m launch.check_encoder --output=checks
    python -m launch.check_encoder --driving=clip.mp4 --codes=deca/clip.mp4 \
      --workdir=runs/edtn --output=checks

Needs the extras `edtn-jax[video,facemesh]`. Three questions:

1. Heads with known codes: procedural heads, each another person with another
   face at rest, are drawn in motion and encoded like a video. How far is the
   recovered head rotation from the true one (degrees, each person's constant
   difference taken off), and how do jaw and lids follow?
2. A real clip (`--driving`): in how many frames is a face? With DECA's codes
   of it (`--codes`; frames are matched by the numbers they are named by, from
   0): do pitch, yaw, roll and the jaw's opening follow DECA's? Do the fitted
   head's lids follow those that the mesh of landmarks shows?
3. With a trained network (`--workdir`): does the eye closure of the pose
   vectors follow the lids?

Correlations are Pearson's. Writes `encoder.json`, and `encoder.png` with the
curves of the clip.
"""

from __future__ import annotations

import fractions
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import app, flags, logging

from configs import edtn
from data import codes, files
from data.drivers import DriverError, open_driver
from data.facemesh import measures, models
from data.facemesh.tracking import SIDES, FaceFrame, FaceTracker
from data.procedural_codes import procedural_clips
from data.video import VideoFrame, VideoReader, open_video
from edtn_jax import bundles, faces
from edtn_jax.encoders.landmark_fit import CalibrationError
from edtn_jax.encoders.opening import open_encoder
from edtn_jax.encoders.video_driver import VideoDriver
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.signal import rotation
from edtn_jax.translation.inference import make_translate
from flame_jax import FlameParams, flame_apply
from launch import check_clip
from launch.correlation import correlation

_SIZE = 256
_SEED = 3


class Pictures(VideoReader):
  """Pictures in memory as a clip."""

  def __init__(self, name: str, pictures: list[np.ndarray]):
    super().__init__(
      name,
      fps=fractions.Fraction(25),
      size=pictures[0].shape[1::-1],
      num_frames=len(pictures),
    )
    self._pictures = pictures

  def _frames(self) -> Iterator[VideoFrame]:
    for index, picture in enumerate(self._pictures):
      yield VideoFrame(index, index / float(self.fps), picture)


class Witness:
  """A tracker that keeps how open the lids were: [T, 2] each."""

  def __init__(self):
    self.by_mesh: list[list[float]] = []
    self.by_eyes: list[list[float]] = []
    self._tracker = FaceTracker()
    self.reset = self._tracker.reset

  def update(self, image: np.ndarray) -> FaceFrame:
    """See `FaceTracker.update`."""
    face = self._tracker.update(image)
    openings = [np.nan, np.nan]
    if face.points is not None:
      openings = [measures.lid_opening(face.points, side) for side in SIDES]
    self.by_mesh.append(openings)
    self.by_eyes.append([face.lids.get(side, np.nan) for side in SIDES])
    return face


def main(argv: list[str]) -> None:
  """Checks what the flags name and prints the numbers."""
  problems = _flag_problems(argv)
  if problems:
    raise app.UsageError('; '.join(problems))
  given = flags.FLAGS
  folder = pathlib.Path(given.output)
  face = faces.load_face(edtn.get_config('').face)
  result: dict[str, Any] = {}
  curves: check_clip.Curves = {}
  try:
    # First, so that what is wrong with the files is told at once.
    if given.driving:
      result['clip'], curves = check_driving(
        face, given.driving, given.codes, given.workdir
      )
    result['heads'] = check_heads(face, given.people, given.frames)
  except (models.ModelError, ValueError, FileNotFoundError) as error:
    raise app.UsageError(str(error)) from error
  folder.mkdir(parents=True, exist_ok=True)
  files.write_json(folder / 'encoder.json', result)
  if curves:
    with files.atomic_writer(folder / 'encoder.png') as file:
      check_clip.draw_curves(curves).savefig(file, format='png', dpi=110)
  for part, numbers in result.items():
    print(part)
    for name, value in numbers.items():
      print(f'  {name}: {"none" if value is None else value}')


def _flag_problems(argv: list[str]) -> list[str]:
  given, problems = flags.FLAGS, []
  if len(argv) > 1:
    problems.append(f'unknown arguments: {argv[1:]}')
  if not given.driving:
    problems += [
      f'--{name} is about a clip: name it by --driving'
      for name in ('codes', 'workdir')
      if given[name].value
    ]
  if given.people < 1 or given.frames < 2:
    problems.append('--people must be 1 or more, --frames 2 or more')
  if pathlib.Path(given.output).is_file():
    problems.append(f'--output={given.output}: a file is in the way')
  return problems


def check_heads(face: faces.Face, people: int, frames: int) -> dict[str, Any]:
  """Encodes drawn heads whose codes are known.

  Args:
    face: the procedural head.
    people: how many.
    frames: of each.

  Returns:
    Numbers over all frames with a face, None where there are too few; of a
    head without any, nothing is found.
  """
  scene = face_scene(face, _SIZE)
  errors, jaws, found = [], [], 0
  clips = procedural_clips(
    face.pose_adapter,
    seed=_SEED,
    num_identities=people,
    frames_per_identity=frames,
  )
  for clip in clips:
    pictures = scene.driving(clip.expression, clip.jaw_pose, clip.global_pose)
    reader = Pictures(clip.name, [np.asarray(p) for p in pictures])
    try:
      encoded, seen = encode(reader, face)
    except (DriverError, CalibrationError) as error:
      logging.warning('%s', error)
      continue
    seen = np.isfinite(seen.by_mesh).all(1)
    found += int(seen.sum())
    turn = rotation.relative_rotation(
      encoded.global_pose[seen], clip.global_pose[seen]
    )
    rest = rotation.relative_rotation(rotation.mean_rotation(turn), turn)
    errors.append(np.degrees(np.linalg.norm(rest, axis=-1)))
    jaws.append(correlation(encoded.jaw_pose[seen, 0], clip.jaw_pose[seen, 0]))
  every = np.concatenate(errors) if errors else np.zeros(0)
  known = [jaw for jaw in jaws if jaw is not None]
  return {
    'people': people,
    'frames': people * frames,
    'frames_with_face': found,
    'rotation_error_deg_mean': check_clip.rounded(
      np.mean(every) if errors else None
    ),
    'rotation_error_deg_95': check_clip.rounded(
      np.quantile(every, 0.95) if errors else None
    ),
    'jaw_correlation_median': check_clip.rounded(
      np.median(known) if known else None
    ),
  }


def check_driving(
  face: faces.Face, driving: str, deca: str, workdir: str
) -> tuple[dict[str, Any], check_clip.Curves]:
  """Encodes a real clip and compares it with what else is known of it.

  Args:
    face: the head to fit; that of `workdir` where there is one.
    driving: the clip.
    deca: folder of DECA's codes of its frames, or ''.
    workdir: trained network, or ''.

  Returns:
    Numbers; and curves to draw, by quantity and name, [T] each.

  Raises:
    VideoError, DriverError, CalibrationError, CheckpointError,
      FileNotFoundError: if one of them cannot be used, or there is no face.
    ModelError: if the models that find faces cannot be had.
  """
  translate = None
  if workdir:
    found = bundles.load_model(workdir)
    face = faces.load_face(found.config.face, found.constants['pose_adapter'])
    translate = make_translate(found)
  recorded = list(open_driver(deca)) if deca else []
  with open_video(driving) as reader:
    clip, seen = encode(reader, face)
  by_mesh, by_eyes = np.array(seen.by_mesh), np.array(seen.by_eyes)
  result: dict[str, Any] = {
    'frames': clip.num_frames,
    'frames_with_face': int(np.isfinite(by_mesh).all(1).sum()),
  }
  curves = {
    name: {'landmarks': v} for name, v in check_clip.movements([clip]).items()
  }
  if recorded:
    result |= check_clip.check_movements(clip, recorded, curves)
  lids = fitted_lids(face, clip)
  result |= check_clip.check_lids(lids, by_mesh, by_eyes, curves)
  if translate:
    coefficients = np.asarray(translate(clip.expression, clip.jaw_pose))
    result |= check_clip.check_closure(coefficients, by_eyes, curves)
  return result, curves


def encode(
  reader: VideoReader, face: faces.Face
) -> tuple[codes.CodeClip, Witness]:
  """Codes of a clip, and what the tracker saw."""
  witness = Witness()
  driver = VideoDriver(
    reader, open_encoder('landmarks', face), witness, chunk_frames=1 << 30
  )
  [clip] = driver
  return clip, witness


def fitted_lids(face: faces.Face, clip: codes.CodeClip) -> np.ndarray:
  """Lid openings of the fitted head, [T, 2] metres: left, right."""
  params = FlameParams(expression=clip.expression, jaw_pose=clip.jaw_pose)
  marks = np.asarray(flame_apply(face.assets, params).landmarks)
  # Of the 68 landmarks: upper and lower lid of each eye.
  left = marks[:, [43, 44]] - marks[:, [47, 46]]
  right = marks[:, [37, 38]] - marks[:, [41, 40]]
  return np.stack(
    [np.linalg.norm(eye, axis=-1).mean(-1) for eye in (left, right)], -1
  )


def define_flags() -> None:
  """Defines the flags; only of the module that is run."""
  flags.DEFINE_string('driving', '', 'a video of a face')
  flags.DEFINE_string('codes', '', "folder of DECA's .mat files of it")
  flags.DEFINE_string('workdir', '', 'trained network')
  flags.DEFINE_integer('people', 6, 'procedural people')
  flags.DEFINE_integer('frames', 60, 'frames of each')
  flags.DEFINE_string('output', None, 'folder for the results')


if __name__ == '__main__':
  define_flags()
  flags.mark_flag_as_required('output')
  app.run(main)
