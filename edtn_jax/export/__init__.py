"""From a workdir to files that another program can use."""

from edtn_jax.export.bundle import ExportError, export_translator

__all__ = ['ExportError', 'export_translator']
