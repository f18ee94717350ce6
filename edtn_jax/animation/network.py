"""The generator that a config describes."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import ml_collections

from generator.pirenderer.config import PRESETS, PIRendererConfig
from generator.pirenderer.face_generator import FaceGenerator


def network_config(model: ml_collections.ConfigDict) -> PIRendererConfig:
  """Sizes of the network that `config.model` describes.

  Args:
    model: `preset` of `PRESETS`, `sizes` (any fields of `PIRendererConfig`,
      instead of the preset's) and `remat`.

  Raises:
    KeyError, ValueError, TypeError: on a preset or sizes that do not exist or
      do not fit.
  """
  return dataclasses.replace(
    PRESETS[model.preset], remat=model.remat, **model.sizes.to_dict()
  )


def build_generator(model: ml_collections.ConfigDict) -> FaceGenerator:
  """The network that `config.model` describes.

  Args:
    model: see `network_config`; and `dtype`, its compute type.

  Raises:
    KeyError, ValueError, TypeError: see `network_config`.
  """
  return FaceGenerator(network_config(model), jnp.dtype(model.dtype))
