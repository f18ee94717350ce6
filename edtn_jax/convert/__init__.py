"""Conversion of published weights into this project's checkpoints."""
