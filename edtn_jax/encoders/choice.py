"""An encoder by the files it is made from, where no network asks for codes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from configs import edtn as edtn_config
from edtn_jax import faces
from edtn_jax.config import ConfigError, Problem
from edtn_jax.encoders.clip_encoders import (
  ENCODERS,
  ClipEncoder,
  DecaClipEncoder,
)
from edtn_jax.encoders.deca import load_deca_encoder
from edtn_jax.encoders.opening import kind_problems, open_encoder

_LANDMARKS, _DECA = ENCODERS


@dataclasses.dataclass(frozen=True)
class EncoderChoice:
  """Which encoder, and of which head its codes are.

  Attributes:
    kind: one of `encoders.clip_encoders.ENCODERS`.
    weights: of `deca`: directory that `edtn convert` made.
    face: of `landmarks`: FLAME file to fit, or '' for the procedural head.
    landmarks: landmark files of `face`, comma-separated.
    landmark_map: of `face`: the public mediapipe_landmark_embedding.npz; ''
      uses the 68 landmarks alone.
  """

  kind: str = _LANDMARKS
  weights: str = ''
  face: str = ''
  landmarks: str = ''
  landmark_map: str = ''

  def check(self) -> None:
    """Checks that options go together.

    Raises:
      ConfigError: with every problem.
    """
    problems = kind_problems(self.kind, self.weights)
    for name in ('face', 'landmarks', 'landmark_map'):
      value = getattr(self, name)
      if value and self.kind == _DECA:
        rule = 'is for --encoder=landmarks; DECA knows its head'
        problems.append(Problem(name, value, rule, 'Leave it out.'))
      elif value and not self.face:
        rule = 'belongs to a FLAME file'
        problems.append(Problem(name, value, rule, 'Give --face=MODEL.pkl.'))
    if problems:
      raise ConfigError(problems)

  def open(self) -> ClipEncoder:
    """Opens it.

    Returns:
      The encoder.

    Raises:
      ConfigError: if options do not go together.
      CheckpointError, FlameFileError, LandmarkMapError: if a file is wrong.
    """
    self.check()
    if self.kind == _DECA:
      return DecaClipEncoder(load_deca_encoder(self.weights))
    config = edtn_config.get_config().face
    if self.face:
      config.model, config.landmarks = self.face, self.landmarks
    return open_encoder(
      self.kind, faces.load_face(config), landmark_map=self.landmark_map
    )

  def stamp(self) -> Iterator[object]:
    """Whatever changes when an encoder of these names gives other codes."""
    yield dataclasses.astuple(self)
    for path in (
      self.weights,
      self.face,
      *self.landmarks.split(','),
      self.landmark_map,
    ):
      if path:
        yield from file_stamps(path)


def file_stamps(path: str | os.PathLike) -> Iterator[object]:
  """Name, size and time of a file, or of all files below a folder.

  Args:
    path: it must exist.

  Yields:
    Something whose `repr` changes when a file does.
  """
  path = pathlib.Path(path)
  yield str(path.resolve())
  inside = path.is_dir()
  for file in sorted(path.rglob('*')) if inside else [path]:
    if file.is_file():
      stat = file.stat()
      name = str(file.relative_to(path)) if inside else ''
      yield name, stat.st_size, stat.st_mtime_ns
