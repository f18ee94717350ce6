"""Reenactment from paths: opens driver, network and characters."""

from __future__ import annotations

import os
import pathlib
from typing import Any

from absl import logging

from edtn_jax.animation.puppet import CharacterChoice
from edtn_jax.config import ConfigError, Problem
from edtn_jax.driver_choice import DriverChoice
from edtn_jax.network_choice import NO_ADAPTER, Network, NetworkChoice
from edtn_jax.pictures.face_scene import face_scene
from edtn_jax.pictures.frames import FrameFolder
from edtn_jax.pictures.meshes import MeshScene
from edtn_jax.reenact import reenact
from edtn_jax.reenact_options import ReenactOptions


def reenact_run(
  driving: DriverChoice,
  network: NetworkChoice,
  output: str | os.PathLike,
  *,
  options: ReenactOptions,
  frames: str = '',
  characters: CharacterChoice | None = None,
) -> dict[str, Any]:
  """Drives an anime pose by a moving picture of a face, or recorded codes.

  Args:
    driving: what drives, and how its pictures become codes.
    network: what turns codes into pose vectors.
    output: directory for the results.
    options: how to reenact.
    frames: directory of driving frames to show, or ''.
    characters: what to drive; nothing when None.

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
  opened = network.open()
  driver = driving.open(opened, options)
  opened.check_codes(driving.path, driver.expression_space)
  translate = opened.translator()
  pictures = getattr(driver, 'frame_picture', None)
  if frames:
    pictures = FrameFolder(frames)
  return reenact(
    driver,
    translate,
    pathlib.Path(output),
    options=options,
    scene=_scene(opened, options.panel_size) if options.media else None,
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


def _scene(network: Network, size: int) -> MeshScene | None:
  """Head model for the pictures, or None where no adapter relates it."""
  head = network.head()
  if head is None:
    logging.warning('No meshes in the pictures: %s', NO_ADAPTER)
    return None
  return face_scene(head, size)
