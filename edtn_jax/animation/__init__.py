"""One picture of an anime character, moved by pose vectors."""
