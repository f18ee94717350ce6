"""Signals over time: smoothing, calibration, head pose. numpy only."""
