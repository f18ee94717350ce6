"""From the newest frame of a face to a pose vector."""

from __future__ import annotations

import numpy as np
from absl import logging

from data import pose_vector
from data.facemesh.tracking import SIDES, FaceFrame, FaceTracker
from data.video import VideoFrame
from edtn_jax.encoders.clip_encoders import NUM_POINTS, ClipEncoder
from edtn_jax.live.codes import LiveCodes
from edtn_jax.live.meter import Meter
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_process import PoseProcess, Translate, run_translator
from edtn_jax.signal.neutral import NeutralFinder

CALIBRATING, DRIVING, NO_FACE = 'calibrating', 'driving', 'no face'

# How long the face is watched at rest, and how many frames that takes at least
# where frames come slowly.
CALIBRATION_S = 2.5
_LEAST_FRAMES = 10
# Frames that the calibration looks at, some of them twice where there are
# fewer: always the same number, so that all is compiled before.
_LOOKED_AT = 48
# Outside these a time stamp is not to be believed.
_LOWEST_FPS, _HIGHEST_FPS = 1.0, 1000.0


class LiveDriver:
  """Watches a resting face, then turns every frame into a pose vector.

  Attributes:
    state: `CALIBRATING`, `DRIVING`, or `NO_FACE` in the latest frame; without
      a face the pose stays.
    pose: [20] float32, the pose vector; neutral while calibrating.
    calibrations: how many there were.
    clamped_frames: frames whose head angles were clamped.
  """

  def __init__(
    self,
    tracker: FaceTracker,
    encoder: ClipEncoder,
    translate: Translate,
    options: ReenactOptions,
    meter: Meter,
    *,
    calibration_s: float = CALIBRATION_S,
  ):
    """Begins with a calibration.

    Args:
      tracker: finds the face.
      encoder: makes the codes; used by nobody else.
      translate: network, see `reenact.reenact`.
      options: signal processing: neutral, gains, smoothing, head pose, limit.
      meter: is told the time of each stage.
      calibration_s: seconds for which the face is watched at rest.
    """
    self.calibrations = 0
    self.clamped_frames = 0
    self._tracker = tracker
    self._encoder = encoder
    self._translate = translate
    self._options = options
    self._meter = meter
    self._calibration_s = calibration_s
    self.calibrate()

  def calibrate(self) -> None:
    """Forgets the person; the next frames are to show a resting face."""
    self.state = CALIBRATING
    self.pose = np.zeros(pose_vector.NUM_POSE, np.float32)
    self._rows: list[np.ndarray] = []
    self._first_s = self._last_s = 0.0
    self._codes: LiveCodes | None = None
    self._process: PoseProcess | None = None

  def warm_up(self) -> None:
    """Compiles what the first frames would have to wait for."""
    # No face looks like this, but compilers do not mind.
    rng = np.random.default_rng(0)
    points = rng.uniform(50, 150, (NUM_POINTS, 3)).astype(np.float32)
    lids = dict.fromkeys(SIDES, 0.3)
    face = FaceFrame(points, lids, {}, {}, 'tracked', 1.0)
    self._encoder.observe([np.zeros((200, 200, 3), np.uint8)], [face])
    rows = rng.normal(100, 30, (_LOOKED_AT, self._encoder.row_size))
    rows = rows.astype(np.float32)
    self._begin(rows, (200, 200))
    self._output(['0'], self._codes(rows[0]), None)
    self.calibrations = 0
    self.calibrate()

  @property
  def calibration_left_s(self) -> float:
    """Seconds for which the face is yet to be watched."""
    if self._codes is not None:
      return 0.0
    return max(0.0, self._calibration_s - (self._last_s - self._first_s))

  def update(self, frame: VideoFrame) -> None:
    """Takes the next frame; `state` and `pose` tell what came of it.

    Raises:
      ReenactError: if the network's output is wrong.
    """
    with self._meter.stage('landmarks'):
      face = self._tracker.update(frame.image)
    if face.points is None:
      self.state = NO_FACE
      return
    with self._meter.stage('encoder'):
      [row] = self._encoder.observe([frame.image], [face])
    if self._codes is None:
      self.state = CALIBRATING
      self._collect(frame, row)
      return
    self.state = DRIVING
    self.pose = self._drive(frame, row)

  def _drive(self, frame: VideoFrame, row: np.ndarray) -> np.ndarray:
    with self._meter.stage('fit'):
      codes = self._codes(row)
    with self._meter.stage('translate'):
      output = self._output(
        [str(frame.index)], codes, self._process.code_offset
      )
    with self._meter.stage('signal'):
      since = max(frame.time_s - self._last_s, 1 / _HIGHEST_FPS)
      self._last_s = frame.time_s
      clamped = self._process.clamp.clamped_frames
      *_, [pose] = self._process(
        output, codes['global_pose'], fps=max(1 / since, _LOWEST_FPS)
      )
      self.clamped_frames += self._process.clamp.clamped_frames - clamped
    return pose

  def _collect(self, frame: VideoFrame, row: np.ndarray) -> None:
    self._first_s = self._first_s if self._rows else frame.time_s
    self._last_s = frame.time_s
    self._rows.append(row)
    if not self.calibration_left_s and len(self._rows) >= _LEAST_FRAMES:
      height, width = frame.image.shape[:2]
      with self._meter.stage('calibration'):
        self._begin(np.stack(self._rows), (width, height))
      logging.info(
        'Calibrated on %d frames of a resting face; driving from now on',
        len(self._rows),
      )

  def _begin(self, rows: np.ndarray, size: tuple[int, int]) -> None:
    """Calibrates on the rows of a resting face; drives from then on."""
    rows = rows[np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(int)]
    codes = LiveCodes(self._encoder, rows, size)
    found = [codes(row) for row in rows]
    found = {n: np.concatenate([f[n] for f in found]) for n in found[0]}
    names = [str(i) for i in range(len(rows))]
    output = self._output(names, found, None)
    finder = NeutralFinder()
    finder.add(names, found['expression'], found['global_pose'], output)
    # The rate is given anew with every frame.
    self._process = PoseProcess(self._options, finder.find(), _HIGHEST_FPS)
    self._codes = codes
    self.calibrations += 1

  def _output(self, names, codes, code_offset) -> np.ndarray:
    return run_translator(
      self._translate,
      names,
      codes['expression'],
      codes['jaw_pose'],
      code_offset,
    )
