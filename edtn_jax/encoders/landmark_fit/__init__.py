"""Face landmarks -> FLAME codes, by fitting the head itself.

`LandmarkEncoder` needs no trained network and no restricted file: it moves the
landmarks of any FLAME-format head onto those that FaceMesh finds.
"""

from edtn_jax.encoders.landmark_fit.correspondence import (
  LandmarkMap,
  LandmarkMapError,
  landmark_map,
  read_landmark_map,
)
from edtn_jax.encoders.landmark_fit.encoder import LandmarkEncoder
from edtn_jax.encoders.landmark_fit.options import (
  FitOptions,
  adapter_covariance,
)
from edtn_jax.encoders.landmark_fit.person import CalibrationError, Person

__all__ = [
  'CalibrationError',
  'FitOptions',
  'LandmarkEncoder',
  'LandmarkMap',
  'LandmarkMapError',
  'Person',
  'adapter_covariance',
  'landmark_map',
  'read_landmark_map',
]
