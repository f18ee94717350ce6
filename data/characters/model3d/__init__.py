"""Characters from a user's own `.vrm`, `.glb` or `.gltf` file (extra `vrm`)."""

# `auto` takes OpenGL where there is a driver for it.
RENDERERS = ('auto', 'gl', 'software')
