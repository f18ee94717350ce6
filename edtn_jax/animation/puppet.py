"""The characters that a command moves: drawn, or one animated picture."""

from __future__ import annotations

import collections.abc
import dataclasses
from typing import Any

import numpy as np

from edtn_jax.animation.generator import AnimeGenerator, load_generator
from edtn_jax.animation.source import SourcePicture, open_source
from edtn_jax.config import ConfigError, Problem
from edtn_jax.engines import AUTO, check_engine
from edtn_jax.pictures.puppet import CharacterPuppet, Puppet

# Names of the two kinds, also of their files.
GENERATED, DRAWN = 'generated', 'puppet'
_MAX_BATCH = 256


@dataclasses.dataclass(frozen=True)
class CharacterChoice:
  """Which characters to move; both kinds at once stand side by side.

  Attributes:
    puppet: a character drawn by code or a 3D model, see `CharacterPuppet`, or
      ''.
    source: any picture of a character, moved by the generator, or ''.
    generator: bundle or workdir of the generator; '' takes the shipped one.
    crop: square of the source, see `open_source`, or ''.
    batch_size: pictures that the generator computes at once.
    engine: who runs the generator, see `engines.open_program`.
  """

  puppet: str = ''
  source: str = ''
  generator: str = ''
  crop: str = ''
  batch_size: int = 8
  engine: str = AUTO

  def problems(self) -> list[Problem]:
    """What is wrong with it, before anything is opened."""
    problems = [
      Problem(
        key,
        value,
        'has a meaning only with --source',
        'Give --source=PICTURE.',
      )
      for key, value in (('generator', self.generator), ('crop', self.crop))
      if value and not self.source
    ]
    if not 1 <= self.batch_size <= _MAX_BATCH:
      rule = f'must be 1 to {_MAX_BATCH}'
      remedy = 'The default is 8.'
      problems.append(Problem('batch_size', self.batch_size, rule, remedy))
    return problems

  def open(self, puppet_size: int) -> dict[str, Puppet]:
    """Opens what is chosen.

    Args:
      puppet_size: side of drawn pictures, pixels; generated ones are as
        large as the source allows, see `AnimeGenerator.largest`.

    Returns:
      The characters by name, `GENERATED` before `DRAWN`.

    Raises:
      ConfigError: if the choice contradicts itself or the crop is wrong.
      CharacterError, SourceError, CheckpointError: see there.
    """
    problems = self.problems()
    if problems:
      raise ConfigError(problems)
    check_engine(self.engine)
    opened: dict[str, Puppet] = {}
    if self.source:
      generator = load_generator(self.generator or None, engine=self.engine)
      source = open_source(
        self.source, generator.size, self.crop, largest=generator.largest
      )
      opened[GENERATED] = GeneratorPuppet(generator, source, self.batch_size)
    if self.puppet:
      opened[DRAWN] = CharacterPuppet(self.puppet, puppet_size)
    return opened


class GeneratorPuppet:
  """A picture that a generator moves; see `pictures.puppet.Puppet`.

  Attributes:
    size: side of its pictures, pixels.
    description: what a summary says of it: picture, crop, generator.
  """

  def __init__(
    self,
    generator: AnimeGenerator,
    source: SourcePicture,
    batch_size: int = 8,
  ):
    """Puts a picture into a generator.

    Args:
      generator: see `load_generator`.
      source: of a size that the generator takes.
      batch_size: pictures computed at once.
    """
    self._generator = generator
    self._source = source
    self._batch_size = batch_size
    self.size = len(source.image)
    self.description: dict[str, Any] = {
      'generated_size': self.size,
      **source.description,
      **generator.description,
    }

  def __call__(self, poses: np.ndarray) -> collections.abc.Iterator[np.ndarray]:
    """Draws the picture in some poses.

    Args:
      poses: [T, 20] float, pose vectors.

    Yields:
      [size, size, 3] uint8 RGB.
    """
    return self._generator.animate(self._source.image, poses, self._batch_size)
