"""Reenactment from paths: opens driver, checkpoint and head model."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from data.codes import FLAME_SPACE
from data.drivers import Driver, holds_codes, open_driver
from edtn_jax import bundles, checkpoints, engines, faces
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.pictures.frames import FrameFolder
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.reenact import ReenactError, reenact
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.translation.pose_adapter import load_pose_adapter

_NO_ADAPTER = (
  'this checkpoint carries no pose adapter. Give --pose_adapter=MATRIX.npy, or '
  'convert with it.'
)


def reenact_run(
  driving: str | os.PathLike,
  workdir: str | os.PathLike,
  output: str | os.PathLike,
  *,
  options: ReenactOptions,
  step: int | None = None,
  frames: str = '',
  face: str = '',
  landmarks: str = '',
  pose_adapter: str = '',
  clip: str | None = None,
  split: str | None = None,
  characters: CharacterChoice | None = None,
  engine: str = engines.AUTO,
  encoder: str = 'landmarks',
  encoder_weights: str = '',
  landmark_map: str = '',
) -> dict[str, Any]:
  """Drives an anime pose by a moving picture of a face, or recorded codes.

  Args:
    driving: video, folder of pictures, folder of DECA .mat files, prepared
      data set, or .npz.
    workdir: run of "edtn train" or "edtn convert", or bundle of "edtn
      export".
    output: directory for the results.
    options: how to reenact.
    step: checkpoint step; None takes the newest.
    frames: directory of driving frames to show, or ''.
    face: FLAME file to draw with, or '' for the run's own head model.
    landmarks: landmark files of `face`, comma-separated.
    pose_adapter: .npy to use instead of the checkpoint's adapter, or ''.
    clip: clip name in a data set.
    split: split of a data set.
    characters: what to drive; nothing when None.
    engine: who runs the translator, see `engines.open_program`.
    encoder: of `encoders.clip_encoders.ENCODERS`, for pictures.
    encoder_weights: converted weights of `deca`, or ''.
    landmark_map: where the landmarks lie on a FLAME file's head, or ''.

  Returns:
    The summary, see `edtn_jax.reenact.reenact`.

  Raises:
    ConfigError: if options are wrong, or there is something to show but no
      moving picture.
    ReenactError: if codes and network speak of different face models.
    CheckpointError, PoseAdapterError, FlameFileError, CharacterError,
      SourceError, DriverError, VideoError, ModelError: see there.
  """
  characters = characters or CharacterChoice()
  options.validate()
  _check_pictures(
    options, frames=frames, puppet=characters.puppet, source=characters.source
  )
  puppets = characters.open(options.puppet_size)
  found = bundles.load_model(workdir, step=step)
  driver = _open_driver(
    driving,
    options,
    split=split,
    clip=clip,
    face=lambda: face_to_encode(
      driving,
      found,
      face=face,
      landmarks=landmarks,
      pose_adapter=pose_adapter,
    ),
    encoder=encoder,
    encoder_weights=encoder_weights,
    landmark_map=landmark_map,
  )
  check_expression_space(driving, driver.expression_space, workdir, found)
  translate = engines.open_translator(found, engine)
  pictures = getattr(driver, 'frame_picture', None)
  if frames:
    pictures = FrameFolder(frames)
  scene = None
  if options.media:
    scene = _scene(found, face, landmarks, pose_adapter, options.panel_size)
  return reenact(
    driver,
    translate,
    pathlib.Path(output),
    options=options,
    scene=scene,
    frame_picture=pictures,
    puppets=puppets,
  )


def check_expression_space(
  driving: str | os.PathLike,
  space: str,
  workdir: str | os.PathLike,
  found: checkpoints.Checkpoint,
) -> None:
  """Refuses codes that the network does not understand.

  Args:
    driving: where the codes come from, for the message.
    space: whose expression basis they belong to.
    workdir: where the network comes from, for the message.
    found: the network.

  Raises:
    ReenactError: if codes and network speak of different face models.
  """
  with checkpoints.reading_config(found.path):
    known = faces.expression_space(found.config.face)
  if space != known:
    raise ReenactError(
      f'{driving} holds {space!r} codes, the network in {workdir} was trained '
      f'on {known!r} ones; their numbers mean different things. For DECA codes '
      'convert the released weights (edtn convert), or train with '
      '--config.face.expression_space=flame.'
    )


def _check_pictures(options: ReenactOptions, **panels: str) -> None:
  """Refuses what is shown in moving pictures when there are none."""
  problems = [
    Problem(
      name,
      value,
      'is shown in moving pictures, of which there are none',
      'Leave out --media=none.',
    )
    for name, value in panels.items()
    if value and not options.media
  ]
  if problems:
    raise ConfigError(problems)


def _scene(
  found: checkpoints.Checkpoint,
  face: str,
  landmarks: str,
  pose_adapter: str,
  size: int,
) -> MeshScene | None:
  """Head model for the pictures, or None where no adapter relates it."""
  loaded = _face(found, face, landmarks, pose_adapter)
  if loaded is None:
    logging.warning('No meshes in the pictures: %s', _NO_ADAPTER)
    return None
  return face_scene(loaded, size)


def _face(
  found: checkpoints.Checkpoint, face: str, landmarks: str, pose_adapter: str
) -> faces.Face | None:
  """Head model of a run, or None where no adapter relates it to codes."""
  with checkpoints.reading_config(found.path):
    config = found.config.face.copy_and_resolve_references()
    space = faces.expression_space(config)
  if face:
    config.model, config.landmarks = face, landmarks
    space = faces.expression_space(config)
  adapter = found.constants.get('pose_adapter')
  if pose_adapter:
    adapter = load_pose_adapter(pose_adapter)
  if adapter is None and space == FLAME_SPACE:
    return None
  return faces.load_face(config, adapter)


def face_to_encode(
  driving: str | os.PathLike,
  found: checkpoints.Checkpoint,
  *,
  face: str,
  landmarks: str,
  pose_adapter: str,
) -> faces.Face:
  """The head model whose codes a moving picture is to become.

  Args:
    driving: the moving picture, for the message.
    found: the network that is to understand the codes.
    face: FLAME file, or '' for the run's own head model.
    landmarks: landmark files of `face`, comma-separated.
    pose_adapter: .npy to use instead of the checkpoint's adapter, or ''.

  Returns:
    The head model.

  Raises:
    ReenactError: if no adapter relates it to the network's codes.
  """
  known = _face(found, face, landmarks, pose_adapter)
  if known is None:
    raise ReenactError(f'{driving} cannot be encoded: {_NO_ADAPTER}')
  return known


def _open_driver(
  driving: str | os.PathLike,
  options: ReenactOptions,
  *,
  split: str | None,
  clip: str | None,
  face: Callable[[], faces.Face],
  encoder: str,
  **encoder_options: str,
) -> Driver:
  """Codes, or a moving picture that is encoded."""
  if holds_codes(driving):
    given = {k: v for k, v in encoder_options.items() if v}
    _refuse(given, 'is for moving pictures, and these are codes')
    return open_driver(driving, split=split, clip=clip)
  given = {k: v for k, v in (('split', split), ('clip', clip)) if v}
  _refuse(given, 'is for prepared data sets, and this is a moving picture')
  # Only here, so that codes need none of the packages it does.
  from edtn_jax.encoders.opening import open_encoder, open_video_driver

  return open_video_driver(
    driving,
    open_encoder(encoder, face(), **encoder_options),
    fps=options.fps or None,
    resting=options.neutral_frames,
  )


def _refuse(given: Mapping[str, str], rule: str) -> None:
  if given:
    raise ConfigError(
      [Problem(name, v, rule, 'Leave it out.') for name, v in given.items()]
    )
