"""Where the weights of a public DECA model go.

Names begin with `E_flame.`; targets are paths in the variables (`params` and
`batch_stats`). The detail encoder and decoder are not part of the coarse model.
"""

from __future__ import annotations

import itertools

from edtn_jax.encoders.deca.network import STAGES

Row = tuple[str, str | None, str]

_ENCODER = r'E_flame\.encoder'


def _convolution(convolution: str, norm: str, target: str) -> tuple[Row, ...]:
  return (
    (rf'{convolution}\.weight', f'params/{target}/conv/kernel', 'conv'),
    (rf'{norm}\.weight', f'params/{target}/norm/scale', 'same'),
    (rf'{norm}\.bias', f'params/{target}/norm/bias', 'same'),
    (rf'{norm}\.running_mean', f'batch_stats/{target}/norm/mean', 'same'),
    (rf'{norm}\.running_var', f'batch_stats/{target}/norm/var', 'same'),
    # A count that no computation uses.
    (rf'{norm}\.num_batches_tracked', None, 'same'),
  )


def _blocks() -> tuple[Row, ...]:
  """Every bottleneck: theirs by stage and block, ours counted through."""
  places = (
    (stage, block)
    for stage, (blocks, _) in enumerate(STAGES, start=1)
    for block in range(blocks)
  )
  rows = []
  for number, (stage, block) in enumerate(places):
    source, target = rf'{_ENCODER}\.layer{stage}\.{block}', f'stages_{number}'
    rows += [
      _convolution(
        rf'{source}\.conv{i}', rf'{source}\.bn{i}', f'{target}/block_{i}'
      )
      for i in (1, 2, 3)
    ]
    rows.append(
      _convolution(
        rf'{source}\.downsample\.0',
        rf'{source}\.downsample\.1',
        f'{target}/shortcut',
      )
    )
  return tuple(itertools.chain.from_iterable(rows))


def _dense(source: str, target: str) -> tuple[Row, ...]:
  return (
    (rf'{source}\.weight', f'params/{target}/kernel', 'linear'),
    (rf'{source}\.bias', f'params/{target}/bias', 'same'),
  )


# (regular expression of a whole name, target path or None to ignore, layout)
TABLE = (
  *_convolution(rf'{_ENCODER}\.conv1', rf'{_ENCODER}\.bn1', 'first'),
  *_blocks(),
  *_dense(r'E_flame\.layers\.0', 'hidden'),
  *_dense(r'E_flame\.layers\.2', 'codes'),
  # The detail model: wrinkles, which no generator here draws.
  (r'[ED]_detail\..*', None, 'same'),
)
