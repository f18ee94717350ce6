"""Pictures of meshes and pose vectors: panels, bars, sheets, GIFs."""
