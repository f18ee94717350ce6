"""The `demo` command: everything once, from nothing to a report."""

from edtn_jax.demo.run import run_demo

__all__ = ['run_demo']
