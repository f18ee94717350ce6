"""Shading styles: how a character is drawn, apart from who it is.

AnimeCeleb renders its characters with four shaders (Kim et al., ECCV 2022).
Ours are four ways of painting the same shapes.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable

from data.characters.identity import Dice

# flat: one colour a material, thin lines of nearly that colour.
# cel: hard-edged shadows and highlights, dark lines.
# soft: the same shadows melted into gradients, light lines.
# line_art: coloured lines on pale fills.
STYLES = ('flat', 'cel', 'soft', 'line_art')
DEFAULT_STYLE = 'cel'

# Outline width as a factor, least and most.
_PEN = {
  'flat': (0.45, 0.8),
  'cel': (0.8, 1.25),
  'soft': (0.55, 0.9),
  'line_art': (0.85, 1.35),
}


@dataclasses.dataclass(frozen=True)
class Look:
  """How one identity is drawn in one style.

  Attributes:
    style: one of `STYLES`.
    light: where the light comes from, -1 the picture's left to 1 its right;
      always from above and in front.
    pen: factor of every outline's width.
  """

  style: str = DEFAULT_STYLE
  light: float = -0.5
  pen: float = 1.0


def check_style(style: str) -> str:
  """Returns a style's name.

  Args:
    style: its name.

  Returns:
    The same.

  Raises:
    ValueError: if there is no such style; names those that exist.
  """
  if style in STYLES:
    return style
  close = difflib.get_close_matches(str(style), STYLES, 1, 0.5)
  hint = f'; did you mean {close[0]!r}?' if close else ''
  raise ValueError(
    f'style is {style!r}, wanted one of {", ".join(STYLES)}{hint}'
  )


def check_styles(styles: Iterable[str]) -> tuple[str, ...]:
  """Returns the styles of a data set, in the order of `STYLES`, each once.

  Args:
    styles: their names.

  Returns:
    The names.

  Raises:
    ValueError: on none, or on unknown ones, all named at once.
  """
  if isinstance(styles, str):
    raise ValueError(
      f'styles are {styles!r}, wanted a sequence of names, such as {STYLES}'
    )
  wanted, problems = [], []
  for style in styles:
    try:
      wanted.append(check_style(style))
    except ValueError as error:
      problems.append(str(error))
  if problems:
    raise ValueError('; '.join(problems))
  if not wanted:
    raise ValueError(f'styles are empty, wanted some of {", ".join(STYLES)}')
  return tuple(style for style in STYLES if style in wanted)


def style_of(seed: int, identity: int, styles: Iterable[str] = STYLES) -> str:
  """The style of an identity in a data set, the same on every machine.

  Args:
    seed: of the data set.
    identity: seed of the character.
    styles: those of the data set, in any order.

  Returns:
    One of them, each as likely.

  Raises:
    ValueError: see `check_styles`.
  """
  return Dice(seed, f'style/{int(identity)}').pick(check_styles(styles))


def make_look(seed: int, style: str) -> Look:
  """Light and line width of an identity in a style; deterministic.

  Args:
    seed: of the character.
    style: one of `STYLES`.

  Returns:
    The look.

  Raises:
    ValueError: if there is no such style.
  """
  dice = Dice(seed, f'look/{check_style(style)}')
  return Look(style, dice.uniform(-1.0, 1.0), dice.uniform(*_PEN[style]))
