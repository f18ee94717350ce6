"""Opens a driver that is a moving picture, with the encoder asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import logging

from data.codes import PROCEDURAL_SPACE
from data.facemesh.tracking import FaceTracker
from data.video import open_video
from edtn_jax import faces
from edtn_jax.config import ConfigError, Problem
from edtn_jax.encoders.clip_encoders import (
  ENCODERS,
  ClipEncoder,
  DecaClipEncoder,
  LandmarkClipEncoder,
)
from edtn_jax.encoders.deca import load_deca_encoder
from edtn_jax.encoders.landmark_fit import (
  FitOptions,
  LandmarkEncoder,
  adapter_covariance,
  read_landmark_map,
)
from edtn_jax.encoders.video_driver import VideoDriver


def open_video_driver(
  path: str | os.PathLike,
  encoder: ClipEncoder,
  *,
  fps: float | None = None,
  resting: Sequence[str] = (),
) -> VideoDriver:
  """Opens a moving picture as a driver.

  Args:
    path: video file or folder of pictures, see `data.video.open_video`.
    encoder: such as `open_encoder` gives.
    fps: pictures a second of a folder; None elsewhere.
    resting: names of frames in which the face rests; () finds them.

  Returns:
    The driver.

  Raises:
    ConfigError: if it is a camera, which has no end.
    VideoError: if it cannot be read.
    ModelError: if the landmark models cannot be had.
  """
  reader = open_video(path, fps=fps)
  if reader.is_live:
    reader.close()
    raise ConfigError(
      [
        Problem(
          'driving',
          os.fspath(path),
          'must have an end: its resting face is found in the whole clip',
          'Drive by a camera with --live.',
        )
      ]
    )
  return VideoDriver(reader, encoder, FaceTracker(), resting=resting)


def open_encoder(
  kind: str,
  face: faces.Face,
  *,
  encoder_weights: str = '',
  landmark_map: str = '',
  batch_size: int = 8,
) -> ClipEncoder:
  """Opens an encoder for a network that understands a face model's codes.

  Args:
    kind: one of `ENCODERS`.
    face: the head model whose codes are wanted.
    encoder_weights: of `deca`: directory that `edtn convert` made.
    landmark_map: of `landmarks` and a FLAME file: the public
      mediapipe_landmark_embedding.npz; '' uses the 68 landmarks alone.
    batch_size: of `deca`: faces that are computed at once; 1 for live use.

  Returns:
    The encoder.

  Raises:
    ConfigError: if options do not go together.
    CheckpointError, LandmarkMapError: see there.
  """
  _check(kind, face, encoder_weights, landmark_map)
  if kind == 'deca':
    return DecaClipEncoder(load_deca_encoder(encoder_weights), batch_size)
  assets = face.assets
  if face.shown_assets is not None:
    logging.warning(
      'Landmarks are fitted to the %s: its codes are FLAME codes along the 17 '
      'directions of the adapter only. Give a FLAME file (--face) or use '
      '--encoder=deca for better ones.',
      face.description,
    )
  landmarks = read_landmark_map(landmark_map, assets) if landmark_map else None
  # What faces do is spread along the anime expressions, not evenly.
  options = FitOptions(
    expression_covariance=adapter_covariance(face.pose_adapter)
  )
  return LandmarkClipEncoder(
    LandmarkEncoder(assets, landmarks, options),
    face.expression_space,
    face.description,
  )


def kind_problems(kind: str, encoder_weights: str) -> list[Problem]:
  """What is wrong with an encoder and its weights, before they are read.

  Args:
    kind: see `open_encoder`.
    encoder_weights: see `open_encoder`.

  Returns:
    Every problem.
  """
  problems = []
  if kind not in ENCODERS:
    rule = f'must be one of {", ".join(ENCODERS)}'
    problems.append(Problem('encoder', kind, rule, 'Leave it out.'))
  if kind == 'deca' and not encoder_weights:
    problems.append(
      Problem(
        'encoder_weights',
        encoder_weights,
        'must be given with --encoder=deca',
        'Convert the deca_model.tar that comes with DECA: edtn convert '
        '--input=deca_model.tar --workdir=runs/deca',
      )
    )
  if kind != 'deca' and encoder_weights:
    rule = 'is for --encoder=deca'
    problems.append(
      Problem('encoder_weights', encoder_weights, rule, 'Leave it out.')
    )
  return problems


def _check(
  kind: str, face: faces.Face, encoder_weights: str, landmark_map: str
) -> None:
  problems = kind_problems(kind, encoder_weights)
  if kind == 'deca' and face.expression_space == PROCEDURAL_SPACE:
    problems.append(
      Problem(
        'encoder',
        kind,
        'gives FLAME codes, which this network was not trained on',
        'Use --encoder=landmarks, or a network that speaks FLAME codes.',
      )
    )
  if kind != 'landmarks' and landmark_map:
    rule = 'is for --encoder=landmarks'
    problems.append(
      Problem('landmark_map', landmark_map, rule, 'Leave it out.')
    )
  if problems:
    raise ConfigError(problems)
