"""EDTN: translation, losses, tasks, training, evaluation, use."""
