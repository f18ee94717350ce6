"""Anime characters drawn by code from a pose vector."""

from data.characters.character import Character

__all__ = ['Character']
