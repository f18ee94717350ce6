"""Characters from a user's own `.vrm`, `.glb` or `.gltf` file (extra `vrm`)."""
