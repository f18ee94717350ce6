"""The 236 numbers of DECA's coarse encoder, by name."""

from __future__ import annotations

from typing import TypeVar

Array = TypeVar('Array')

# In their order; `pose` is the global rotation, then the jaw's. Names are those
# of `data.codes` where it has them.
PARTS = {
  'shape': 100,
  'tex': 50,
  'expression': 50,
  'global_pose': 3,
  'jaw_pose': 3,
  'camera': 3,
  'light': 27,
}
NUM_CODES = sum(PARTS.values())
# Bands of spherical harmonics, by colour.
_LIGHT = (9, 3)


def split_codes(codes: Array) -> dict[str, Array]:
  """Names the encoder's numbers.

  Args:
    codes: [..., 236] float, numpy or JAX.

  Returns:
    `shape` [..., 100], `tex` [..., 50] and `expression` [..., 50],
    coefficients; `global_pose` and `jaw_pose` [..., 3], axis-angle radians;
    `camera` [..., 3], (scale, tx, ty) of `flame_jax.camera` over the crop's
    square; `light` [..., 9, 3], spherical harmonics by colour. Views where
    numpy can give them.

  Raises:
    ValueError: if the last dimension is not 236.
  """
  if codes.shape[-1] != NUM_CODES:
    raise ValueError(f'codes are {codes.shape}, wanted [..., {NUM_CODES}]')
  named, begin = {}, 0
  for name, size in PARTS.items():
    named[name] = codes[..., begin : begin + size]
    begin += size
  named['light'] = named['light'].reshape(*codes.shape[:-1], *_LIGHT)
  return named
