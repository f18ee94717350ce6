"""What a person sees on the terminal: our lines, and others' warnings."""

from __future__ import annotations

import logging as std_logging

from absl import logging

# Libraries that tell a dozen details of every save or start at INFO.
_CHATTY = ('/orbax/', '/jax/_src/', '/tensorflow_datasets/', '/grain/')
# Orbax warns of this for every item that is read on its own, as we do.
_HARMLESS = 'Metadata file does not exist'


class _OwnWords(std_logging.Filter):
  """Drops records below WARNING that chatty libraries wrote."""

  def filter(self, record: std_logging.LogRecord) -> bool:
    if not any(part in record.pathname for part in _CHATTY):
      return True
    expected = str(record.msg).startswith(_HARMLESS)
    return record.levelno >= std_logging.WARNING and not expected


def set_up() -> None:
  """Shows INFO of this project and warnings of everything else."""
  logging.set_verbosity(logging.INFO)
  logging.get_absl_handler().addFilter(_OwnWords())
