"""Reenactment from paths: opens driver, checkpoint and head model."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from absl import logging

from data.codes import FLAME_SPACE
from data.drivers import open_driver
from edtn_jax import bundles, checkpoints, faces
from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError, Problem
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.pictures.frames import FrameFolder
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.reenact import ReenactError, reenact
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.translation.inference import make_translate
from edtn_jax.translation.pose_adapter import load_pose_adapter


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
) -> dict[str, Any]:
  """Drives an anime pose by recorded codes.

  Args:
    driving: folder of DECA .mat files, prepared data set, or .npz.
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

  Returns:
    The summary, see `edtn_jax.reenact.reenact`.

  Raises:
    ConfigError: if options are wrong, or there is something to show but no
      moving picture.
    ReenactError: if codes and network speak of different face models.
    CheckpointError, PoseAdapterError, FlameFileError, CharacterError,
      SourceError: see there.
  """
  characters = characters or CharacterChoice()
  options.validate()
  _check_pictures(
    options, frames=frames, puppet=characters.puppet, source=characters.source
  )
  puppets = characters.open(options.puppet_size)
  found = bundles.load_model(workdir, step=step)
  driver = open_driver(driving, split=split, clip=clip)
  space = faces.expression_space(found.config.face)
  if driver.expression_space != space:
    raise ReenactError(
      f'{driving} holds {driver.expression_space!r} codes, the network in '
      f'{workdir} was trained on {space!r} ones; their numbers mean different '
      'things. For DECA codes convert the released weights (edtn convert), or '
      'train with --config.face.expression_space=flame.'
    )
  translate = make_translate(found)
  pictures = FrameFolder(frames) if frames else None
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
  config = found.config.face.copy_and_resolve_references()
  if face:
    config.model, config.landmarks = face, landmarks
  adapter = found.constants.get('pose_adapter')
  if pose_adapter:
    adapter = load_pose_adapter(pose_adapter)
  if adapter is None and faces.expression_space(config) == FLAME_SPACE:
    logging.warning(
      'No meshes in the pictures: this checkpoint carries no pose adapter. '
      'Give --pose_adapter=MATRIX.npy, or convert with it.'
    )
    return None
  return face_scene(faces.load_face(config, adapter), size)
