"""Anime characters drawn by code from a pose vector."""

from data.characters.character import Character
from data.characters.style import STYLES, style_of

__all__ = ['STYLES', 'Character', 'style_of']
