"""The translator that a command drives by, and the head of its codes."""

from __future__ import annotations

import dataclasses
import os

from data.codes import FLAME_SPACE
from edtn_jax import bundles, checkpoints, engines, faces
from edtn_jax.reenact_process import ReenactError
from edtn_jax.translation.pose_adapter import load_pose_adapter

NO_ADAPTER = (
  'this checkpoint carries no pose adapter. Give --pose_adapter=MATRIX.npy, or '
  'convert with it.'
)


@dataclasses.dataclass(frozen=True)
class NetworkChoice:
  """Which translator, who runs it, and of which head its codes are.

  Attributes:
    workdir: run of "edtn train" or "edtn convert", or bundle of "edtn
      export".
    step: checkpoint step; None takes the newest.
    engine: who runs it, see `engines.open_program`.
    face: FLAME file to draw with and to fit, or '' for the run's own head
      model.
    landmarks: landmark files of `face`, comma-separated.
    pose_adapter: .npy to use instead of the checkpoint's adapter, or ''.
  """

  workdir: str | os.PathLike
  step: int | None = None
  engine: str = engines.AUTO
  face: str = ''
  landmarks: str = ''
  pose_adapter: str = ''

  def open(self) -> Network:
    """Reads its checkpoint.

    Returns:
      The network; translator and head model are made when asked for.

    Raises:
      CheckpointError: see `bundles.load_model`.
    """
    return Network(self, bundles.load_model(self.workdir, step=self.step))


@dataclasses.dataclass(frozen=True)
class Network:
  """A translator that was read.

  Attributes:
    choice: where it comes from.
    found: its checkpoint.
  """

  choice: NetworkChoice
  found: checkpoints.Checkpoint

  def translator(self) -> engines.TranslatorRunner:
    """Makes the translator run, see `engines.open_translator`."""
    return engines.open_translator(self.found, self.choice.engine)

  def head(self) -> faces.Face | None:
    """Loads the head model.

    Returns:
      The head model, or None where no adapter relates it to codes.

    Raises:
      PoseAdapterError, FlameFileError: see there.
    """
    choice = self.choice
    with checkpoints.reading_config(self.found.path):
      config = self.found.config.face.copy_and_resolve_references()
      space = faces.expression_space(config)
    if choice.face:
      config.model, config.landmarks = choice.face, choice.landmarks
      space = faces.expression_space(config)
    adapter = self.found.constants.get('pose_adapter')
    if choice.pose_adapter:
      adapter = load_pose_adapter(choice.pose_adapter)
    if adapter is None and space == FLAME_SPACE:
      return None
    return faces.load_face(config, adapter)

  def check_codes(self, driving: str | os.PathLike, space: str) -> None:
    """Refuses codes that the network does not understand.

    Args:
      driving: where the codes come from, for the message.
      space: whose expression basis they belong to.

    Raises:
      ReenactError: if codes and network speak of different face models.
    """
    with checkpoints.reading_config(self.found.path):
      known = faces.expression_space(self.found.config.face)
    if space != known:
      raise ReenactError(
        f'{driving} holds {space!r} codes, the network in '
        f'{self.choice.workdir} was trained on {known!r} ones; their numbers '
        'mean different things. For DECA codes convert the released weights '
        '(edtn convert), or train with --config.face.expression_space=flame.'
      )
