"""DECA's coarse encoder, for a user who has its weights."""

from edtn_jax.encoders.deca.codes import split_codes
from edtn_jax.encoders.deca.crop import FaceCrop, camera_in_picture, face_crop
from edtn_jax.encoders.deca.encoder import (
  CoarseEncoder,
  encode,
  load_deca_encoder,
)
from edtn_jax.encoders.deca.network import DecaEncoder

__all__ = [
  'CoarseEncoder',
  'DecaEncoder',
  'FaceCrop',
  'camera_in_picture',
  'encode',
  'face_crop',
  'load_deca_encoder',
  'split_codes',
]
