"""Image generators as Flax modules, one folder a model."""
