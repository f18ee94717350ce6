"""Metrics of a task over a split, and the `evaluate` command."""
