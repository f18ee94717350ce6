"""From pictures of people to FLAME codes."""
