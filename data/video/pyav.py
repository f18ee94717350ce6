"""PyAV (FFmpeg in a wheel), an extra of the installation."""

from __future__ import annotations

import types

from data.video.base import VideoError


def require_av(purpose: str) -> types.ModuleType:
  """PyAV.

  Args:
    purpose: what needs it, the subject of the error's sentence.

  Returns:
    The module `av`.

  Raises:
    VideoError: if it is not installed; says how to get it.
  """
  try:
    import av
  except ImportError as error:
    raise VideoError(
      f'{purpose} needs PyAV, which is not installed: '
      "pip install 'edtn-jax[video]'"
    ) from error
  return av
