"""A clip of a real face in the demo: looked at before anything is trained."""

from __future__ import annotations

import os
import pathlib

from absl import logging

from data.drivers import DriverError
from data.facemesh.models import ModelError
from data.facemesh.tracking import FaceTracker
from data.video import VideoError, open_video
from data.video.pyav import require_av
from edtn_jax.config import ConfigError, Problem

_INSTALL = '"make demo DRIVING=..." installs what is missing.'


def check_clip(path: str | os.PathLike) -> None:
  """Tells now what driving by a clip would tell after the training.

  Args:
    path: video file or folder of pictures.

  Raises:
    ConfigError: if what reads videos or finds faces is not installed.
    VideoError: if the clip cannot be read.
    DriverError: if no frame shows a face.
  """
  path = pathlib.Path(path)
  problems = []
  try:
    if not path.is_dir():
      require_av('a video that drives')
  except VideoError as error:
    problems.append(Problem('driving', str(path), str(error), _INSTALL))
  try:
    tracker = FaceTracker(eyes=False)
  except ModelError as error:
    problems.append(Problem('driving', str(path), str(error), _INSTALL))
  if problems:
    raise ConfigError(problems)
  with open_video(path) as reader:
    count = 0
    for frame in reader:
      count += 1
      if tracker.update(frame.image).points is not None:
        logging.info('%s: a face in frame %d', path, frame.index)
        return
  raise DriverError(
    f'{path}: no face in any of {count} frames; a face must be upright, seen '
    'from the front half, and not much smaller than a tenth of the picture'
  )
