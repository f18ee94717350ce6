"""Colours that are taken from a picture instead of being made up."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def num_channels(colors: int) -> int:
  """Channels of the maps that `paint` reads, for so many colours."""
  return 2 * colors + 1


def paint(own: jax.Array, maps: jax.Array, image: jax.Array) -> jax.Array:
  """Mixes, at each pixel, some colours of the picture and one of its own.

  Each colour is a mean of the picture that a map of keys is the weight of: a
  network that has found the skin has its colour, whatever that is. Features
  cannot carry it, because norms take away what is the same in a whole picture.
  DEVIATION: not in the paper. Test: `test_paint_by_hand`.

  Args:
    own: [B, H, W, C] float, colour that the network makes up at each pixel.
    maps: [B, H, W, 2 K + 1] float: keys of K colours, then the logarithms of
      their shares in the mixture, then that of `own`.
    image: [B, H, W, C] float, the picture.

  Returns:
    [B, H, W, C] float, between the least and the greatest of what is mixed.
  """
  colors = maps.shape[-1] // 2
  keys = jax.nn.softmax(maps[..., :colors], axis=(1, 2))
  palette = jnp.einsum('bhwk,bhwc->bkc', keys, image)
  shares = jax.nn.softmax(maps[..., colors:], axis=-1)
  mixed = jnp.einsum('bhwk,bkc->bhwc', shares[..., :-1], palette)
  return mixed + shares[..., -1:] * own
