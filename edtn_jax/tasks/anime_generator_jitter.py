"""Colour jitter on the device: one draw for both frames of a pair."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# ITU-R BT.601, as every picture library weighs RGB to grey.
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


def color_jitter(
  rng: jax.Array, frames: jax.Array, strength: float
) -> jax.Array:
  """Changes brightness, contrast, saturation and hue of every sample.

  DEVIATION: the changes are made in that order, not in a random one, and
  contrast is stretched around the mean grey of both frames together: the same
  colour in both frames stays the same colour, so that one can still be warped
  onto the other. Test: `test_jitter_is_one_map_of_colours`.

  Args:
    rng: key.
    frames: [B, F, H, W, 3] float in [0, 1], F frames of each sample.
    strength: s; factors are U(1 - s, 1 + s), the hue turns by U(-s, s) of a
      full circle. EDTN: 0.1.

  Returns:
    [B, F, H, W, 3] float in [0, 1].
  """
  draws = jax.random.uniform(
    rng, (4, len(frames), 1, 1, 1, 1), minval=-strength, maxval=strength
  )
  brightness, contrast, saturation = 1 + draws[:3]
  frames = jnp.clip(frames * brightness, 0, 1)
  middle = _grey(frames).mean((1, 2, 3, 4), keepdims=True)
  frames = jnp.clip(middle + (frames - middle) * contrast, 0, 1)
  grey = _grey(frames)
  frames = jnp.clip(grey + (frames - grey) * saturation, 0, 1)
  return turn_hue(frames, draws[3, ..., 0])


def turn_hue(colors: jax.Array, turn: jax.Array | float) -> jax.Array:
  """Turns the hue, keeping value and saturation of the HSV model.

  Args:
    colors: [..., 3] float RGB in [0, 1].
    turn: broadcastable to [...], in full circles; 1/3 turns red to green.

  Returns:
    [..., 3] float RGB in [0, 1].
  """
  red, green, blue = (colors[..., i] for i in range(3))
  value = colors.max(-1)
  chroma = value - colors.min(-1)
  safe = jnp.where(chroma > 0, chroma, 1.0)
  sixth = jnp.where(
    value == red,
    (green - blue) / safe,
    jnp.where(
      value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe
    ),
  )
  sixth = sixth + 6 * turn

  def channel(offset):
    k = jnp.mod(offset + sixth, 6)
    return value - chroma * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)

  return jnp.stack([channel(offset) for offset in (5, 3, 1)], -1)


def _grey(frames: jax.Array) -> jax.Array:
  return (frames * _GREY).sum(-1, keepdims=True)
