"""A pure-functional FLAME head: arrays in, mesh and landmarks out."""
