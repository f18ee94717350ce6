"""Palettes and shapes of the shading styles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from data.characters.geometry import Clip, Color, Op, Paint, Patch, role_of
from data.characters.palette import IrisColors, Palette, Tone, mix
from data.characters.style import Look

_PAPER = (255, 255, 255)
# Wider ones are silhouettes that stick out of their fill, not pen lines.
_WIDEST_LINE = 4.0


def _flat(tone: Tone) -> Tone:
  return dataclasses.replace(tone, line=mix(tone.shade, tone.line, 0.3))


def _soft(tone: Tone) -> Tone:
  return dataclasses.replace(tone, line=mix(tone.line, tone.shade, 0.35))


def _line_art(tone: Tone) -> Tone:
  return Tone(
    base=_pale(tone.base, 0.72),
    shade=_pale(tone.shade, 0.58),
    light=_PAPER,
    line=mix(_vivid(tone), tone.line, 0.35),
  )


def _pale(color: Color, share: float) -> Color:
  """So much white in a colour, with some of its saturation kept."""
  mixed = mix(color, _PAPER, share)
  grey = sum(mixed) / 3
  red, green, blue = (
    min(max(round(grey + 1.5 * (c - grey)), 0), 255) for c in mixed
  )
  return red, green, blue


def _vivid(tone: Tone) -> Color:
  """The shade with its grey part taken out, dark enough to draw with."""
  low, high = min(tone.shade), max(tone.shade)
  share = 0.55 * low
  scale = min(1.0, 190.0 / max(high - share, 1.0))
  red, green, blue = (round(scale * (c - share)) for c in tone.shade)
  return red, green, blue


_TONES: dict[str, Callable[[Tone], Tone]] = {
  'flat': _flat,
  'cel': lambda tone: tone,
  'soft': _soft,
  'line_art': _line_art,
}


def _map_tones(palette: Palette, change: Callable[[Tone], Tone]) -> Palette:
  tones = {
    field.name: change(getattr(palette, field.name))
    for field in dataclasses.fields(palette)
    if isinstance(getattr(palette, field.name), Tone)
  }
  return dataclasses.replace(palette, **tones)


def feature_palette(palette: Palette, look: Look) -> Palette:
  """Colours of eyes, brows, nose and mouth, which every style keeps sharp.

  Args:
    palette: of the identity.
    look: style, light and line width.

  Returns:
    Plain colours; those of `line_art` are pale.
  """
  palette = dataclasses.replace(palette, look=look)
  if look.style != 'line_art':
    return palette
  line = _line_art(palette.hair).line
  pale = _map_tones(palette, _line_art)
  return dataclasses.replace(
    pale,
    white=dataclasses.replace(palette.white, shade=(234, 236, 246)),
    iris_left=_pale_iris(palette.iris_left),
    iris_right=_pale_iris(palette.iris_right),
    lash=mix(palette.lash, line, 0.55),
    brow=mix(palette.brow, line, 0.6),
    mouth=mix(palette.mouth, (255, 214, 214), 0.6),
    tongue=mix(palette.tongue, (255, 236, 236), 0.6),
  )


def _pale_iris(iris: IrisColors) -> IrisColors:
  return IrisColors(
    line=mix(iris.line, iris.top, 0.45),
    top=mix(iris.top, _PAPER, 0.25),
    bottom=mix(iris.bottom, _PAPER, 0.6),
    glow=mix(iris.glow, _PAPER, 0.7),
    pupil=mix(iris.pupil, iris.top, 0.3),
  )


def style_palette(palette: Palette, look: Look) -> Palette:
  """Colours of everything else, each marked with what it is for.

  Args:
    palette: of the identity.
    look: style, light and line width.

  Returns:
    A palette of `Paint`.
  """
  pale = look.style == 'line_art'
  styled = _map_tones(palette, lambda t: _marked(_TONES[look.style](t)))
  skin, hair = styled.skin.base, styled.hair.base
  tip = mix(palette.hair_tip, _PAPER, 0.6) if pale else palette.hair_tip
  if palette.hair_tip == palette.hair.base:
    tip = hair
  blush = mix(palette.blush, _PAPER, 0.5) if pale else palette.blush
  if look.style == 'soft':
    # A blush and a coloured tip melt into skin and hair like a shade.
    blush, tip = Paint(blush, 'shade', skin), Paint(tip, 'shade', hair)
  lip = mix(palette.lip, _PAPER, 0.4) if pale else palette.lip
  return dataclasses.replace(
    styled, blush=blush, hair_tip=tip, lip=lip, look=look
  )


def _marked(tone: Tone) -> Tone:
  names = ('base', 'shade', 'light', 'line')
  return Tone(*(Paint(getattr(tone, n), n, tone.base) for n in names))


def is_shading(patch: Patch) -> bool:
  """Whether a patch only shades or lights what it lies on."""
  return not patch.surface and role_of(patch.color) in ('shade', 'light')


def restyle(ops: Iterable[Op], look: Look) -> list[Op]:
  """Gives still parts the lines of a look, and takes shading off flat ones.

  Args:
    ops: what is painted, in painting order.
    look: style, light and line width.

  Returns:
    The same in the same order.
  """
  styled: list[Op] = []
  for op in without_shading(ops) if look.style == 'flat' else ops:
    if isinstance(op, Clip):
      content = tuple(_thin(patch, look.pen) for patch in op.content)
      styled.append(dataclasses.replace(op, content=content))
    else:
      styled.append(_thin(op, look.pen))
  return styled


def _thin(patch: Patch, pen: float) -> Patch:
  """A pen line with the look's width; other patches as they are."""
  if patch.points.shape[1] != 2 or role_of(patch.color) != 'line':
    return patch
  across = patch.points[:, 1, :2] - patch.points[:, 0, :2]
  if (across**2).sum(axis=-1).max() > _WIDEST_LINE**2:
    return patch
  center = patch.points.mean(axis=1, keepdims=True)
  points = center + pen * (patch.points - center)
  return dataclasses.replace(patch, points=points)


def without_shading(ops: Iterable[Op]) -> list[Op]:
  """What is left when everything that only shades or lights is taken off."""
  kept: list[Op] = []
  for op in ops:
    if isinstance(op, Clip):
      content = tuple(p for p in op.content if not is_shading(p))
      if content:
        kept.append(
          op
          if len(content) == len(op.content)
          else dataclasses.replace(op, content=content)
        )
    elif not is_shading(op):
      kept.append(op)
  return kept
