"""Where the weights of a public AniMo checkpoint go.

Names are those of the network's PyTorch state dict; A is its name for the
anime domain, V (VoxCeleb) for the human one.
"""

from __future__ import annotations

from generator.pirenderer.params import (
  editing_table,
  mapping_table,
  warping_table,
)

# (regular expression of a whole name, target path, layout)
TABLE = (
  *mapping_table('mapping_net', 'mapping'),
  *warping_table('warpping_netA', 'warping_anime'),
  *warping_table('warpping_netV', 'warping_human'),
  *editing_table('editing_netA', 'editing_anime'),
  *editing_table('editing_netV', 'editing_human'),
)
