"""A person's face codes drive an anime character: codes in, pose vectors out.

    driver -> translate -> smooth -> calibrate -> gain -> clamp -> files, GIF

Everything streams in chunks; memory does not grow with length. Where the
neutral face is wanted, the driver is read twice: once to find it, once to use
it.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from data import codes, files, pose_vector
from edtn_jax import reenact_summary as summary_lib
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.pictures.storyboard import FramePicture, Puppet, Storyboard
from edtn_jax.pose_files import CSV_NAME, NPZ_NAME, open_pose_files
from edtn_jax.signal import pose
from edtn_jax.signal.neutral import Neutral, NeutralFinder

GIF_NAME = 'reenactment.gif'
SUMMARY_NAME = 'summary.json'

NEUTRAL_MODES = ('output', 'code', 'none')
HEAD_POSES = ('absolute', 'relative')

Translate = collections.abc.Callable[[np.ndarray, np.ndarray], np.ndarray]


class ReenactError(ValueError):
  """A driver or a network that reenactment cannot work with."""


@dataclasses.dataclass(frozen=True)
class ReenactOptions:
  """How to reenact.

  Attributes:
    neutral: how a person's standing offset is removed. `output` (default)
      maps the network's output for the neutral face to 0 and keeps 1 at 1
      (`signal.pose.CalibrateNeutral`); `code` subtracts the neutral
      expression before the network; `none` leaves all as the network says.
      On 200 real frames the released weights hold the brows at 0.84 whatever
      the face does. `output` brings the picked neutral frames to 0 and keeps
      the blinks; `code` only trades one offset for another (0.7 brows, 0.5
      widened eyes), because those weights do not map a zero code to zero.
      For a network that does, `code` is the cleaner way.
    neutral_frames: names of frames that show the neutral face; empty picks
      the calmest tenth.
    mouth_gain: factor of the mouth coefficients.
    eye_gain: factor of the eye coefficients.
    smoothing: whether to run the one-euro filter (`signal.pose.SMOOTHING`).
    head_pose: `absolute` passes the head rotation on; `relative` measures it
      from the neutral frames, or from the first frame without calibration.
    angle_limit_deg: head angles are clamped to plus and minus this.
    fps: frames a second of the driver.
    gif: whether to draw a GIF.
    gif_every: take one frame in so many.
    gif_max_frames: stop drawing after so many pictures.
    panel_size: height of the GIF's panels, pixels.
  """

  neutral: str = 'output'
  neutral_frames: tuple[str, ...] = ()
  mouth_gain: float = 1.0
  eye_gain: float = 1.0
  smoothing: bool = True
  head_pose: str = 'absolute'
  angle_limit_deg: float = 35.0
  fps: float = 25.0
  gif: bool = True
  gif_every: int = 2
  gif_max_frames: int = 120
  panel_size: int = 240

  def validate(self) -> None:
    """Checks every option.

    Raises:
      ConfigError: with every problem: key, value, rule, remedy.
    """
    problems = []
    for key, allowed in (('neutral', NEUTRAL_MODES), ('head_pose', HEAD_POSES)):
      value = getattr(self, key)
      if value not in allowed:
        rule = f'must be one of {", ".join(allowed)}'
        problems.append(Problem(key, value, rule, f'Use {key}={allowed[0]}.'))
    for key, low, high in (
      ('mouth_gain', 0, 10),
      ('eye_gain', 0, 10),
      ('angle_limit_deg', 1, 180),
      ('fps', 1, 1000),
      ('gif_every', 1, 10_000),
      ('gif_max_frames', 1, 1000),
      ('panel_size', 128, 1024),
    ):
      value = getattr(self, key)
      if not low <= value <= high:
        rule = f'must be {low} to {high}'
        default = type(self).__dataclass_fields__[key].default
        problems.append(Problem(key, value, rule, f'The default is {default}.'))
    if self.neutral_frames and not self.needs_neutral:
      problems.append(
        Problem(
          'neutral_frames',
          self.neutral_frames,
          'has no effect with neutral=none and an absolute head pose',
          'Use neutral=output.',
        )
      )
    if problems:
      raise ConfigError(problems)

  @property
  def needs_neutral(self) -> bool:
    """Whether the driver must be read once before to find the neutral face."""
    named_head = self.head_pose == 'relative' and bool(self.neutral_frames)
    return self.neutral != 'none' or named_head


def reenact(
  driver: collections.abc.Iterable[codes.CodeClip],
  translate: Translate,
  output_dir: str | os.PathLike,
  *,
  options: ReenactOptions | None = None,
  scene: MeshScene | None = None,
  frame_picture: FramePicture | None = None,
  puppet: Puppet | None = None,
) -> dict[str, Any]:
  """Turns a driver into pose vectors, on disk and in a GIF.

  Writes `pose_vectors.csv`, `pose_vectors.npz` (see `pose_files`),
  `summary.json` and, if asked, `reenactment.gif`. Nothing is left half
  written.

  Args:
    driver: yields chunks of one person's video, such as
      `data.drivers.open_driver` gives; iterated twice when the neutral face
      is needed. One that bridges broken frames lists them in `skipped`.
    translate: network, from expression [T, 50] and jaw_pose [T, 3] (both
      float32, radians) to pose coefficients [T, 17] in [0, 1].
    output_dir: folder for the results, made if absent.
    options: see `ReenactOptions`; defaults when None.
    scene: draws the meshes of the GIF; without it the GIF shows only bars.
    frame_picture: gives the driving frame for a frame name, or None; such as
      `pictures.frames.FrameFolder`.
    puppet: draws the character that is driven, from a pose vector [20], such
      as `pictures.puppet.make_puppet`.

  Returns:
    The summary, as in `summary.json`: frames, skipped frames, statistics a
    coefficient, jitter before and after, closed eyes, clamped frames, times.

  Raises:
    ConfigError: if options are wrong.
    ReenactError: if the driver has no frames, holds several clips or cannot
      be read twice, or the network's output is wrong.
    NeutralError: if a named neutral frame is not there.
  """
  options = options or ReenactOptions()
  options.validate()
  output_dir = pathlib.Path(output_dir)
  if output_dir.exists() and not output_dir.is_dir():
    raise ReenactError(f'{output_dir} is a file; name a folder for the results')
  clock = summary_lib.Stopwatch()
  neutral = None
  if options.needs_neutral:
    neutral = _find_neutral(driver, translate, options, clock)
  output_dir.mkdir(parents=True, exist_ok=True)
  process = _Process(options, neutral)
  statistics = summary_lib.Statistics()
  with contextlib.ExitStack() as stack:
    pose_files = stack.enter_context(open_pose_files(output_dir))
    board = None
    if options.gif:
      board = stack.enter_context(
        _storyboard(output_dir, options, scene, frame_picture, puppet)
      )
    for chunk in clock.each('read', _one_clip(driver)):
      with clock('translate'):
        output = _translate(translate, chunk, process.code_offset)
      with clock('signal'):
        before, smoothed, poses = process(output, chunk.global_pose)
        statistics.add(before, smoothed, poses)
      with clock('write'):
        pose_files.add(chunk.frames, poses, output)
      if board:
        with clock('pictures'):
          shown = chunk.expression
          if scene and scene.is_approximate and neutral:
            shown = shown - neutral.expression
          board.add(
            chunk.frames, shown, chunk.jaw_pose, chunk.global_pose, poses
          )
    if not pose_files.frame_count:
      raise ReenactError('the driver has no frames')
    with clock('write'):
      stack.close()
  summary = {
    'frames': pose_files.frame_count,
    **_skipped_summary(driver),
    'gif_frames': board.picture_count if board else 0,
    'clamped_frames': process.clamp.clamped_frames,
    **statistics.summary(),
    **_neutral_summary(neutral),
    'options': {
      **dataclasses.asdict(options),
      'neutral_frames': list(options.neutral_frames),
    },
    'files': [CSV_NAME, NPZ_NAME, *([GIF_NAME] if options.gif else [])],
    'seconds': clock.seconds(),
  }
  files.write_json(output_dir / SUMMARY_NAME, summary)
  return summary


def _storyboard(
  output_dir, options, scene, frame_picture, puppet
) -> Storyboard:
  return Storyboard(
    output_dir / GIF_NAME,
    frame_rate=options.fps,
    scene=scene,
    frame_picture=frame_picture,
    puppet=puppet,
    every=options.gif_every,
    max_frames=options.gif_max_frames,
    size=options.panel_size,
  )


class _Process:
  """Everything between the network and the files, with its state."""

  def __init__(self, options: ReenactOptions, neutral: Neutral | None):
    self.code_offset = neutral.expression if options.neutral == 'code' else None
    self._head = None
    if options.head_pose == 'relative':
      reference = neutral.global_pose if neutral else None
      self._head = pose.RelativeHeadPose(reference)
    self._smooth = (
      pose.make_smoothing(options.fps) if options.smoothing else None
    )
    self.clamp = pose.ClampAngles(options.angle_limit_deg)
    steps = [
      pose.Gain(mouth=options.mouth_gain, eye=options.eye_gain),
      self.clamp,
    ]
    if options.neutral == 'output':
      # After the filter: the calibration enlarges what trembling is left.
      steps.insert(0, pose.CalibrateNeutral(neutral.pose_coeffs))
    self._finish = pose.chain(*steps)

  def __call__(
    self, pose_coeffs: np.ndarray, global_pose: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose vectors [T, 20] before the filter, after it, and finished."""
    if self._head:
      global_pose = self._head(global_pose)
    before = pose_vector.make_pose_vector(pose_coeffs, global_pose)
    smoothed = self._smooth(before) if self._smooth else before
    return before, smoothed, self._finish(smoothed)


def _one_clip(driver) -> collections.abc.Iterator[codes.CodeClip]:
  """The driver's chunks, refusing a second clip: state belongs to one face."""
  first = None
  for chunk in driver:
    clip = (chunk.identity, chunk.name)
    first = first or clip
    if clip != first:
      raise ReenactError(
        f'the driver holds several clips ({first[1]}, {clip[1]}); reenact '
        'them one at a time: each face has its own neutral expression'
      )
    yield chunk


def _translate(
  translate: Translate, chunk: codes.CodeClip, code_offset: np.ndarray | None
) -> np.ndarray:
  expression = chunk.expression
  if code_offset is not None:
    expression = expression - code_offset
  output = np.asarray(translate(expression, chunk.jaw_pose), np.float32)
  wanted = (len(chunk.frames), pose_vector.NUM_COEFFICIENTS)
  if output.shape != wanted:
    raise ReenactError(f'the network gave {output.shape}, wanted {wanted}')
  wrong = ~((output >= 0) & (output <= 1)).all(axis=1)
  if wrong.any():
    name = chunk.frames[int(wrong.argmax())]
    raise ReenactError(
      f'the network gave numbers outside [0, 1] or NaN in {wrong.sum()} of '
      f'{len(wrong)} frames, first in {name}'
    )
  return output


def _find_neutral(driver, translate, options, clock) -> Neutral:
  if iter(driver) is driver:
    raise ReenactError(
      'the neutral face needs a first look at the whole driver, which can be '
      'read only once; give a driver that starts anew at each iteration, or '
      'set neutral=none'
    )
  finder = NeutralFinder(options.neutral_frames)
  with clock('neutral'):
    for chunk in _one_clip(driver):
      output = _translate(translate, chunk, None)
      finder.add(chunk.frames, chunk.expression, chunk.global_pose, output)
    return finder.find()


def _skipped_summary(driver) -> dict[str, Any]:
  skipped = getattr(driver, 'skipped', ())
  return {
    'skipped_frames': len(skipped),
    'skipped': [f'{frame.path}: {frame.reason}' for frame in skipped],
  }


def _neutral_summary(neutral: Neutral | None) -> dict[str, Any]:
  if neutral is None:
    return {}
  named = zip(
    pose_vector.COEFFICIENT_NAMES, neutral.pose_coeffs.tolist(), strict=True
  )
  return {
    'neutral_frames': list(neutral.frames),
    'neutral_pose_coeffs': {name: round(value, 4) for name, value in named},
  }
