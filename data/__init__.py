"""Pose vectors, records, sources and pipelines; numpy only, no jax."""
