"""Colours that are taken from a picture instead of being made up."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# A fresh network hardly tints: sigmoid(3).
TINT_START = 3.0


def num_channels(colors: int) -> int:
  """Channels of the maps that `paint` reads, for so many colours."""
  return 2 * colors


def paint(tint: jax.Array, maps: jax.Array, image: jax.Array) -> jax.Array:
  """Mixes some colours of the picture at each pixel, and tints the mixture.

  Each colour is a mean of the picture that a map of keys is the weight of: a
  network that has found the skin has its colour, whatever that is. Features
  cannot carry it, because norms take away what is the same in a whole picture.
  What no picture shows, such as the inside of a closed mouth, is some colour
  tinted. A tint only takes away: where the blend lets half of an iris through,
  a lid would otherwise be painted lighter than the skin to make up for it.
  DEVIATION: not in the paper. Test: `test_paint_by_hand`.

  Args:
    tint: [B, H, W, C] float, logit of what is left of each channel, less
      `TINT_START`.
    maps: [B, H, W, 2 K] float: keys of K colours, then the logarithms of their
      shares in the mixture.
    image: [B, H, W, C] float in [0, 1], the picture.

  Returns:
    [B, H, W, C] float in [0, 1].
  """
  keys, shares = jnp.split(maps, 2, axis=-1)
  keys = jax.nn.softmax(keys, axis=(1, 2))
  palette = jnp.einsum('bhwk,bhwc->bkc', keys, image)
  shares = jax.nn.softmax(shares, axis=-1)
  mixed = jnp.einsum('bhwk,bkc->bhwc', shares, palette)
  return mixed * jax.nn.sigmoid(tint + TINT_START)
