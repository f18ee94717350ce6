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
   of it (`--codes`; frames by number): do pitch, yaw, roll and the jaw's
   opening follow DECA's? Do the fitted head's lids follow those that the
   mesh of landmarks shows?
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
from absl import app, flags
from matplotlib import figure

from configs import edtn
from data import codes, files, pose_vector
from data.drivers import open_driver
from data.facemesh import measures
from data.facemesh.tracking import SIDES, FaceFrame, FaceTracker
from data.procedural_codes import procedural_clips
from data.video import VideoFrame, VideoReader, open_video
from edtn_jax import bundles, faces
from edtn_jax.encoders.opening import open_encoder
from edtn_jax.encoders.video_driver import VideoDriver
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.signal import rotation
from edtn_jax.translation.inference import make_translate
from flame_jax import FlameParams, flame_apply

_DRIVING = flags.DEFINE_string('driving', '', 'a video of a face')
_CODES = flags.DEFINE_string('codes', '', "folder of DECA's .mat files of it")
_WORKDIR = flags.DEFINE_string('workdir', '', 'trained network')
_PEOPLE = flags.DEFINE_integer('people', 6, 'procedural people')
_FRAMES = flags.DEFINE_integer('frames', 60, 'frames of each')
_OUTPUT = flags.DEFINE_string('output', None, 'folder for the results')

_SIZE = 256
_SEED = 3
_ANGLES = ('pitch', 'roll', 'yaw')


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
  if len(argv) > 1:
    raise app.UsageError(f'unknown arguments: {argv[1:]}')
  folder = pathlib.Path(_OUTPUT.value)
  folder.mkdir(parents=True, exist_ok=True)
  face = faces.load_face(edtn.get_config('').face)
  result: dict[str, Any] = {
    'heads': check_heads(face, _PEOPLE.value, _FRAMES.value)
  }
  if _DRIVING.value:
    result['clip'], curves = check_clip(
      face, _DRIVING.value, _CODES.value, _WORKDIR.value
    )
    draw_curves(curves).savefig(folder / 'encoder.png', dpi=110)
  files.write_json(folder / 'encoder.json', result)
  for part, numbers in result.items():
    print(part)
    for name, value in numbers.items():
      print(f'  {name}: {value}')


def check_heads(face: faces.Face, people: int, frames: int) -> dict[str, Any]:
  """Encodes drawn heads whose codes are known.

  Args:
    face: the procedural head.
    people: how many.
    frames: of each.

  Returns:
    Numbers over all frames with a face.
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
    encoded, seen = encode(
      Pictures(clip.name, [np.asarray(p) for p in pictures]), face
    )
    seen = np.isfinite(seen.by_mesh).all(1)
    found += int(seen.sum())
    turn = rotation.relative_rotation(
      encoded.global_pose[seen], clip.global_pose[seen]
    )
    rest = rotation.relative_rotation(rotation.mean_rotation(turn), turn)
    errors.append(np.degrees(np.linalg.norm(rest, axis=-1)))
    jaws.append(correlation(encoded.jaw_pose[seen, 0], clip.jaw_pose[seen, 0]))
  every = np.concatenate(errors)
  return {
    'people': people,
    'frames': people * frames,
    'frames_with_face': found,
    'rotation_error_deg_mean': round(float(every.mean()), 3),
    'rotation_error_deg_95': round(float(np.quantile(every, 0.95)), 3),
    'jaw_correlation_median': round(float(np.median(jaws)), 3),
  }


def check_clip(
  face: faces.Face, driving: str, deca: str, workdir: str
) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
  """Encodes a real clip and compares it with what else is known of it.

  Args:
    face: the head to fit; that of `workdir` where there is one.
    driving: the clip.
    deca: folder of DECA's codes of its frames, or ''.
    workdir: trained network, or ''.

  Returns:
    Numbers; and curves to draw, by quantity and name, [T] each.
  """
  translate = None
  if workdir:
    found = bundles.load_model(workdir)
    face = faces.load_face(found.config.face, found.constants['pose_adapter'])
    translate = make_translate(found)
  with open_video(driving) as reader:
    clip, seen = encode(reader, face)
  by_mesh, by_eyes = np.array(seen.by_mesh), np.array(seen.by_eyes)
  result: dict[str, Any] = {
    'frames': clip.num_frames,
    'frames_with_face': int(np.isfinite(by_mesh).all(1).sum()),
  }
  angles = pose_vector.head_angles_deg(clip.global_pose)
  curves = {name: {'landmarks': angles[:, i]} for i, name in enumerate(_ANGLES)}
  curves['jaw'] = {'landmarks': clip.jaw_pose[:, 0]}
  if deca:
    recorded = list(open_driver(deca))
    other = pose_vector.head_angles_deg(
      np.concatenate([c.global_pose for c in recorded])
    )
    jaw = np.concatenate([c.jaw_pose for c in recorded])[:, 0]
    for name, values in (*zip(_ANGLES, other.T, strict=True), ('jaw', jaw)):
      curves[name]['DECA'] = values
      result[f'{name}_correlation_to_deca'] = correlation(
        curves[name]['landmarks'][: len(values)], values[: clip.num_frames]
      )
    result['frames_with_deca'] = len(jaw)
  lids = fitted_lids(face, clip)
  for i, side in enumerate(SIDES):
    curves[f'lid {side}'] = {
      'fitted head': lids[:, i] / np.median(lids[:, i]),
      'mesh': by_mesh[:, i] / np.nanmedian(by_mesh[:, i]),
      'eye finder': by_eyes[:, i] / np.nanmedian(by_eyes[:, i]),
    }
    for name, other in (('mesh', by_mesh), ('eye_finder', by_eyes)):
      result[f'lid_{side}_correlation_to_{name}'] = correlation(
        lids[:, i], other[:, i]
      )
  if translate:
    coefficients = np.asarray(translate(clip.expression, clip.jaw_pose))
    for i, side in enumerate(SIDES):
      closed = closure(coefficients, side)
      curves[f'lid {side}']['1 - closure of the pose vector'] = 1 - closed
      result[f'closure_{side}_correlation_to_lids'] = -correlation(
        closed, by_eyes[:, i]
      )
      result[f'closure_{side}_most'] = round(float(closed.max()), 3)
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


def closure(coefficients: np.ndarray, side: str) -> np.ndarray:
  """How closed an eye is, by either way of closing it.

  Args:
    coefficients: [T, 17] in [0, 1].
    side: `left` or `right`.

  Returns:
    [T] float in [0, 1].
  """
  total = sum(
    coefficients[:, pose_vector.POSE_INDEX[f'{stem}_{side}']]
    for stem in ('eye_wink', 'eye_happy_wink')
  )
  return np.minimum(total, 1.0)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
  """Pearson's, over frames in which both are known."""
  known = np.isfinite(one) & np.isfinite(other)
  return round(float(np.corrcoef(one[known], other[known])[0, 1]), 3)


def draw_curves(curves: dict[str, dict[str, np.ndarray]]) -> figure.Figure:
  """One chart a quantity, one line a way to know it."""
  drawn = figure.Figure((9, 1.6 * len(curves)), layout='constrained')
  for axes, (name, lines) in zip(
    np.atleast_1d(drawn.subplots(len(curves), sharex=True)),
    curves.items(),
    strict=True,
  ):
    for label, values in lines.items():
      axes.plot(values, label=label, linewidth=1)
    axes.set_ylabel(name)
    axes.legend(loc='upper right', fontsize=7)
  axes.set_xlabel('frame')
  return drawn


if __name__ == '__main__':
  flags.mark_flag_as_required('output')
  app.run(main)
