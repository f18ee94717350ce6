"""The renderer that uses OpenGL, through moderngl and EGL (no window).

A context belongs to the process that made it. Threads take turns: there is a
lock, and the context is made current for every frame. A spawned process makes a
context of its own. A forked one cannot: Mesa's own threads do not survive the
fork, and the next call would wait for them forever. `usable` says so, and
`ModelCharacter` then goes on with the software renderer.
"""

from __future__ import annotations

import os
import threading
import weakref

import moderngl
import numpy as np

from data.characters.model3d.shading import Frame
from data.characters.model3d.surface import Draw, Surface
from data.characters.model3d.textures import MIRROR, REPEAT, Texture

_VERTEX = """
#version 330
uniform vec2 canvas;
uniform vec2 depths;
in vec3 point;
in float light;
in vec2 uv;
in vec4 color;
out float v_light;
out vec2 v_uv;
out vec4 v_color;
void main() {
  v_light = light;
  v_uv = uv;
  v_color = color;
  float depth = (depths.x - point.z) / (depths.x - depths.y);
  // Row 0 of the framebuffer is the upper row of the picture.
  gl_Position = vec4(point.xy / canvas * 2.0 - 1.0, depth * 2.0 - 1.0, 1.0);
}
"""
_FRAGMENT = """
#version 330
uniform sampler2D lit_texture;
uniform sampler2D shade_texture;
uniform vec4 lit;
uniform vec3 shade;
uniform vec2 edge;
uniform float cutoff;
uniform bool blend;
uniform float texture_mix;
uniform bvec2 lit_mirrored;
uniform bvec2 shade_mirrored;
in float v_light;
in vec2 v_uv;
in vec4 v_color;
out vec4 result;
vec4 sample_level(sampler2D image, bvec2 mirrored) {
  vec2 size = vec2(textureSize(image, 0));
  vec2 across = dFdx(v_uv) * size, down = dFdy(v_uv) * size;
  float longest = max(max(dot(across, across), dot(down, down)), 1e-12);
  // Every other copy of a mirrored texture runs backwards.
  vec2 folded = 1.0 - abs(mod(v_uv, 2.0) - 1.0);
  vec2 uv = vec2(mirrored.x ? folded.x : v_uv.x,
                 mirrored.y ? folded.y : v_uv.y);
  return textureLod(image, uv, floor(0.5 * log2(longest) + 0.5));
}
void main() {
  vec4 in_light = sample_level(lit_texture, lit_mirrored) * v_color;
  vec3 in_shade = sample_level(shade_texture, shade_mirrored).rgb;
  in_shade *= v_color.rgb * shade;
  in_light.rgb = mix(vec3(1.0), in_light.rgb, texture_mix);
  in_shade = mix(shade, in_shade, texture_mix);
  in_light *= lit;
  if (in_light.a < cutoff) discard;
  float facing = gl_FrontFacing ? v_light : -v_light;
  float share = clamp((facing - edge.x) / (edge.y - edge.x), 0.0, 1.0);
  float alpha = blend ? in_light.a : 1.0;
  result = vec4(mix(in_shade, in_light.rgb, share) * alpha, alpha);
}
"""
_BYTES_A_VERTEX = 4 * 4
# The process in which OpenGL was started; a fork inherits it.
_started_in: int | None = None


def usable() -> bool:
  """Whether this process is not a fork of one that has started OpenGL."""
  return _started_in in (None, os.getpid())


class _Resources:
  """Everything that lives in one OpenGL context."""

  def __init__(self, surface: Surface):
    global _started_in
    if not usable():
      raise RuntimeError(
        'this process was forked from one that uses OpenGL; spawn it instead'
      )
    _started_in = os.getpid()
    self.context = moderngl.create_context(
      standalone=True, backend='egl', require=330
    )
    context = self.context
    self.program = context.program(_VERTEX, _FRAGMENT)
    self.program['lit_texture'].value = 0
    self.program['shade_texture'].value = 1
    count = len(surface.uvs)
    self.moving = context.buffer(reserve=count * _BYTES_A_VERTEX, dynamic=True)
    still = np.concatenate([surface.uvs, surface.colors], axis=1)
    still = context.buffer(still.astype('f4').tobytes())
    self.arrays = []
    for draw in surface.draws:
      index = context.buffer(draw.triangles.astype('i4').tobytes())
      self.arrays.append(
        context.vertex_array(
          self.program,
          [(self.moving, '3f 1f', 'point', 'light'),
           (still, '2f 4f', 'uv', 'color')],
          index,
        )
      )  # fmt: skip
    self.textures = [_upload(context, t) for t in surface.textures]
    self.white = context.texture((1, 1), 4, b'\xff' * 4)
    self._canvases: dict[int, moderngl.Framebuffer] = {}
    # Neither moderngl nor the driver frees a context that nobody has any more.
    weakref.finalize(self, _release, context, os.getpid()).atexit = False

  def canvas(self, side: int) -> moderngl.Framebuffer:
    if side not in self._canvases:
      self._canvases[side] = self.context.framebuffer(
        [self.context.texture((side, side), 4)],
        self.context.depth_texture((side, side)),
      )
    return self._canvases[side]


def _release(context: moderngl.Context, process: int) -> None:
  """Frees a context and all in it, unless this is a fork of its process."""
  if os.getpid() == process:
    context.release()


def _upload(context, texture: Texture):
  height, width = texture.levels[0].shape[:2]
  made = context.texture((width, height), 4, texture.levels[0].tobytes())
  # This sets aside all levels; ours then replace what it computed.
  made.build_mipmaps()
  for number, level in enumerate(texture.levels):
    made.write(level.tobytes(), level=number)
  made.filter = moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR
  # Mirrored coordinates are folded by the shader and stay inside.
  made.repeat_x, made.repeat_y = (w == REPEAT for w in texture.wrap)
  return made


class GlRenderer:
  """Draws one surface with OpenGL."""

  name = 'gl'

  def __init__(self, surface: Surface):
    """Makes the context at once, so that a missing driver shows here."""
    self._surface = surface
    self._lock = threading.Lock()
    self._resources = _Resources(surface)
    self.driver = self._resources.context.info['GL_RENDERER']

  def usable(self) -> bool:
    """Whether it can draw in this process, see `usable` of the module."""
    return usable()

  def __getstate__(self):
    return {'surface': self._surface, 'driver': self.driver}

  def __setstate__(self, state):
    self._surface, self.driver = state['surface'], state['driver']
    self._lock = threading.Lock()
    self._resources = None

  def draw(self, frame: Frame, side: int) -> np.ndarray:
    """Draws a frame, [side, side, 4] uint8 RGBA, alpha premultiplied."""
    with self._lock:
      if self._resources is None:
        self._resources = _Resources(self._surface)
      resources = self._resources
      with resources.context:
        return self._draw(resources, frame, side)

  def _draw(self, resources: _Resources, frame: Frame, side: int):
    context, program = resources.context, resources.program
    moving = np.concatenate([frame.points, frame.light[:, None]], axis=1)
    resources.moving.write(moving.astype('f4').tobytes())
    canvas = resources.canvas(side)
    canvas.use()
    context.depth_mask = True
    canvas.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
    context.enable(moderngl.DEPTH_TEST | moderngl.BLEND)
    context.depth_func = '<='
    context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
    # Rows count downwards here, which turns the sense of rotation around.
    context.front_face = 'cw'
    program['canvas'].value = (side, side)
    program['depths'].value = frame.depths()
    for draw, array in zip(self._surface.draws, resources.arrays, strict=True):
      self._set(resources, draw)
      array.render(moderngl.TRIANGLES)
    data = canvas.read(components=4, alignment=1)
    return np.frombuffer(data, np.uint8).reshape(side, side, 4)

  def _set(self, resources: _Resources, draw: Draw) -> None:
    context, program = resources.context, resources.program
    material = draw.material
    blend = material.mode == 'blend' and not draw.hull
    for unit, (name, place) in enumerate(
      zip(('lit_mirrored', 'shade_mirrored'), draw.textures(), strict=True)
    ):
      texture = resources.white if place is None else resources.textures[place]
      texture.use(unit)
      program[name].value = (
        (False, False)
        if place is None
        else tuple(w == MIRROR for w in self._surface.textures[place].wrap)
      )
    program['lit'].value, program['shade'].value = draw.factors()
    program['texture_mix'].value = draw.mix
    program['edge'].value = material.edge
    program['cutoff'].value = material.cutoff if material.mode == 'mask' else -1
    program['blend'].value = blend
    context.depth_mask = not blend or material.writes_depth
    if material.double_sided and not draw.hull:
      context.disable(moderngl.CULL_FACE)
    else:
      context.enable(moderngl.CULL_FACE)
