"""What drives, and how its pictures become codes."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection

from data.drivers import Driver, holds_codes, open_driver
from edtn_jax.config import ConfigError, Problem
from edtn_jax.encoders.clip_encoders import ClipEncoder
from edtn_jax.encoders.opening import open_encoder, open_video_driver
from edtn_jax.network_choice import NO_ADAPTER, Network
from edtn_jax.reenact_options import ReenactOptions
from edtn_jax.reenact_process import ReenactError


@dataclasses.dataclass(frozen=True)
class DriverChoice:
  """What drives, and how its pictures become codes.

  Attributes:
    path: video, folder of pictures, folder of DECA .mat files, prepared data
      set, or .npz; live, also `webcam:N`.
    clip: of a data set: clip name, or ''.
    split: of a data set: its split, or ''.
    encoder: of pictures: one of `encoders.clip_encoders.ENCODERS`.
    encoder_weights: of `deca`: directory that `edtn convert` made, or ''.
    landmark_map: of pictures: where the landmarks lie on a FLAME file's head,
      or ''.
  """

  path: str | os.PathLike
  clip: str = ''
  split: str = ''
  encoder: str = 'landmarks'
  encoder_weights: str = ''
  landmark_map: str = ''

  def open(self, network: Network, options: ReenactOptions) -> Driver:
    """Opens codes, or a moving picture that is encoded.

    Args:
      network: what is to understand the codes.
      options: `fps` of a folder and `neutral_frames`.

    Returns:
      The driver.

    Raises:
      ConfigError: if it names what such a driver does not have.
      ReenactError: if no adapter relates a head to the network's codes.
      DriverError, VideoError, ModelError, CheckpointError, LandmarkMapError:
        see there.
    """
    if holds_codes(self.path):
      rule = 'is for moving pictures, and these are codes'
      self._refuse(('encoder_weights', 'landmark_map'), rule)
      return open_driver(
        self.path, split=self.split or None, clip=self.clip or None
      )
    return open_video_driver(
      self.path,
      self.open_encoder(network),
      fps=options.fps or None,
      resting=options.neutral_frames,
    )

  def open_encoder(self, network: Network, batch_size: int = 8) -> ClipEncoder:
    """Opens the encoder of a moving picture.

    Args:
      network: what is to understand the codes.
      batch_size: of `deca`: faces that are computed at once; 1 for live use.

    Returns:
      The encoder.

    Raises:
      ConfigError: if it names what a moving picture does not have, or options
        do not go together.
      ReenactError: if no adapter relates a head to the network's codes.
      CheckpointError, LandmarkMapError: see there.
    """
    rule = 'is for prepared data sets, and this is a moving picture'
    self._refuse(('split', 'clip'), rule)
    head = network.head()
    if head is None:
      raise ReenactError(f'{self.path} cannot be encoded: {NO_ADAPTER}')
    return open_encoder(
      self.encoder,
      head,
      encoder_weights=self.encoder_weights,
      landmark_map=self.landmark_map,
      batch_size=batch_size,
    )

  def _refuse(self, names: Collection[str], rule: str) -> None:
    """Refuses fields that are given."""
    problems = [
      Problem(name, value, rule, 'Leave it out.')
      for name in names
      if (value := getattr(self, name))
    ]
    if problems:
      raise ConfigError(problems)
