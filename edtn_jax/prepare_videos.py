"""Makes a data set of codes from videos of people.

Every video becomes a clip. Its person's resting face is found in that video
alone, so codes of one person from two videos may differ a little. Frames
without a face, which a driver would bridge, are left out: nothing is learnt
from a guess. The names of the frames that stay count all frames of the video,
so gaps can be seen, and the manifest lists what is missing.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging

from data import codes, prepare_clips, video_tree
from data.facemesh.tracking import FaceTracker
from data.video import VideoError, VideoReader, open_video
from data.video.pyav import require_av
from edtn_jax.encoders.ahead import read_ahead
from edtn_jax.encoders.choice import EncoderChoice, file_stamps
from edtn_jax.encoders.clip_encoders import CODES, ClipEncoder
from edtn_jax.encoders.landmark_fit import CalibrationError
from edtn_jax.encoders.row_spool import RowSpool

# Part of every cached clip's signature: raise it when encoding changes.
_VERSION = 1
# In fewer, what a face does cannot be told from how it rests.
MIN_FRAMES = 10
# Frames that an encoder gets at once.
_BATCH = 8
_LOG_SECONDS = 5.0
# A process a core that computes with every core waits for the others, and
# several do not fit on an accelerator. PJRT takes NPROC for the cores.
_ENVIRONMENT = {'JAX_PLATFORMS': 'cpu', 'NPROC': '1'}
_NO_FACE = 'no face'
# What would befall every other video as well.
_FAULTS_OF_ALL = frozenset(
  {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


def prepare_videos(
  videos_dir: str | os.PathLike,
  output_dir: str | os.PathLike,
  *,
  encoder: EncoderChoice | None = None,
  validation_fraction: float = 0.02,
  num_processes: int = 1,
  overwrite: bool = False,
  progress: prepare_clips.Progress | None = None,
) -> dict[str, Any]:
  """Encodes a tree of videos for training.

  Videos that cannot be read, and those with a face in fewer than `MIN_FRAMES`
  frames, are left out and listed in the manifest with the reason, as are
  frames without a face. Killed at any point and started again, it encodes no
  finished video twice and ends with the same data set.

  Args:
    videos_dir: a tree in one of the layouts of `data.video_tree`.
    output_dir: where `deca_codes/1.0.0` shall be.
    encoder: from pictures to codes; None fits the procedural head to
      landmarks.
    validation_fraction: share of the training identities to hold out, in
      [0, 1); of two or more, at least one is held out unless it is 0.
    num_processes: processes that encode, each on one core; one alone uses
      what the machine has.
    overwrite: whether a finished data set may be replaced.
    progress: called with phase (`encode` or `write`), videos done, videos in
      all.

  Returns:
    The manifest, as stored in `manifest.json`.

  Raises:
    ConfigError: if options of the encoder do not go together.
    FileNotFoundError, NotADirectoryError: if the input is no folder.
    FileExistsError: if a finished data set is there already.
    ValueError: on a wrong option, if there is no video, or none is usable.
    VideoError, ModelError: if what reads videos or faces is not installed.
    CheckpointError, FlameFileError, LandmarkMapError: if a file of the encoder
      is wrong.
    OSError: if the output cannot be written.
  """
  prepare_clips.check_options(validation_fraction, num_processes)
  encoder = encoder or EncoderChoice()
  encoder.check()
  tree = video_tree.find_videos(videos_dir, exclude=output_dir)
  if not all(video.path.is_dir() for video in tree.videos):
    require_av('reading videos')
  # Here, so that what is missing is told once, and downloaded once.
  opened, _ = _tools(encoder)
  return prepare_clips.prepare_clips(
    videos_dir,
    output_dir,
    tree.videos,
    VideoClips(encoder, tuple(encoder.stamp())),
    source={
      'kind': 'videos',
      'splits_given': tree.has_splits,
      **opened.description,
      'min_frames': MIN_FRAMES,
      'frames_without_face': 'left out',
    },
    notes=tree.notes,
    phase='encode',
    validation_fraction=validation_fraction,
    num_processes=num_processes,
    environment=_ENVIRONMENT,
    overwrite=overwrite,
    progress=progress,
  )


@functools.lru_cache(maxsize=1)
def _tools(choice: EncoderChoice) -> tuple[ClipEncoder, FaceTracker]:
  """The encoder and the finder of faces, once a process."""
  return choice.open(), FaceTracker()


@dataclasses.dataclass(frozen=True)
class VideoClips(prepare_clips.ClipMaker):
  """Encodes videos.

  Attributes:
    encoder: makes the codes.
    encoder_stamp: what changes when the encoder does.
  """

  encoder: EncoderChoice
  encoder_stamp: tuple[object, ...]

  def stamp(self, source: video_tree.VideoSource) -> Iterator[object]:
    """The encoder, and size and time of every file."""
    yield _VERSION, MIN_FRAMES
    yield from self.encoder_stamp
    yield from file_stamps(source.path)

  def make(self, source: video_tree.VideoSource) -> prepare_clips.MadeClip:
    """Encodes a video; one that cannot be used becomes a reason.

    Raises:
      OSError: if it is not the video's fault, such as a full disk.
    """
    encoder, tracker = _tools(self.encoder)
    try:
      with open_video(source.path) as reader:
        return encode_clip(reader, source, encoder, tracker)
    except (VideoError, CalibrationError, OSError) as error:
      fault = _system_fault(error)
      if fault and fault.errno in _FAULTS_OF_ALL:
        raise
      reason = str(error).removeprefix(f'{source.path}: ')
      logging.warning('%s is left out: %s', source.name, reason)
      return prepare_clips.MadeClip(None, reason=reason, is_final=not fault)


def _system_fault(error: Exception) -> OSError | None:
  """What the system said, if that is why: it may be gone the next time."""
  for reason in (error, error.__cause__):
    if isinstance(reason, OSError):
      return reason
  return None


def encode_clip(
  reader: VideoReader,
  source: video_tree.VideoSource,
  encoder: ClipEncoder,
  tracker: FaceTracker,
) -> prepare_clips.MadeClip:
  """Codes of the frames of a video that show a face.

  Args:
    reader: the video.
    source: who it shows, and its name.
    encoder: makes the codes.
    tracker: finds the face.

  Returns:
    The clip, its frames named by their number in the video; none if there are
    fewer than `MIN_FRAMES`.

  Raises:
    VideoError: if nothing can be decoded.
    CalibrationError: if no resting face can be found.
  """
  tracker.reset()
  with RowSpool(encoder.row_size) as rows:
    seen = _look(reader, encoder, tracker, rows)
    if seen.sum() < MIN_FRAMES:
      reason = (
        f'too short: {seen.sum()} of {len(seen)} frames show a face, at least '
        f'{MIN_FRAMES} are needed'
      )
      return prepare_clips.MadeClip(None, reason=reason)
    chunks = list(encoder.codes(rows, reader.size))
  found = {name: np.concatenate([c[name] for c in chunks]) for name in CODES}
  names = [f'{i:07d}' for i in range(len(seen))]
  clip = codes.CodeClip(
    identity=source.identity,
    name=source.name,
    frames=tuple(itertools.compress(names, seen)),
    expression_space=encoder.expression_space,
    **{name: values[seen] for name, values in found.items()},
  )
  skipped = [(names[i], _NO_FACE) for i in np.flatnonzero(~seen)]
  skipped += [('not decoded', fault) for fault in reader.skipped]
  return prepare_clips.MadeClip(clip, tuple(skipped))


def _look(
  reader: VideoReader,
  encoder: ClipEncoder,
  tracker: FaceTracker,
  rows: RowSpool,
) -> np.ndarray:
  """Sees every frame once: [T] bool, whether it shows a face."""
  seen: list[bool] = []
  logged = time.perf_counter()
  frames = read_ahead(reader, 2 * _BATCH)
  while batch := list(itertools.islice(frames, _BATCH)):
    images = [frame.image for frame in batch]
    found = [tracker.update(image) for image in images]
    rows.add(encoder.rows(images, found))
    seen += [face.points is not None for face in found]
    if time.perf_counter() - logged > _LOG_SECONDS:
      logged = time.perf_counter()
      logging.info(
        '%s: frame %d of %s', reader.name, len(seen), reader.num_frames or '?'
      )
  return np.array(seen)
