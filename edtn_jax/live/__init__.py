"""A camera drives a character that is watched in a browser."""
