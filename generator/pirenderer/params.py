"""Where the weights of a public checkpoint go.

Names are those of PyTorch state dicts without the leading `generator.` or
`generator_ema.`; `edtn_jax.convert` applies the table.
"""

from __future__ import annotations


def norm_table(source: str, target: str) -> tuple[tuple[str, str, str], ...]:
  """Lines of an AdaIN."""
  return tuple(
    line
    for theirs, ours in (
      (r'mlp_shared\.0', 'shared'),
      ('mlp_gamma', 'gamma'),
      ('mlp_beta', 'beta'),
    )
    for line in (
      (rf'{source}\.{theirs}\.weight', f'{target}/{ours}/kernel', 'linear'),
      (rf'{source}\.{theirs}\.bias', f'{target}/{ours}/bias', 'same'),
    )
  )


def weight_table(
  source: str, target: str, layout: str = 'conv'
) -> tuple[tuple[str, str, str], ...]:
  """Lines of a convolution or a linear layer."""
  return (
    (rf'{source}\.weight', f'{target}/kernel', layout),
    (rf'{source}\.bias', f'{target}/bias', 'same'),
  )


def layer_norm_table(
  source: str, target: str
) -> tuple[tuple[str, str, str], ...]:
  """Lines of a `LayerNorm2d`."""
  return (
    (rf'{source}\.weight', f'{target}/scale', 'channel'),
    (rf'{source}\.bias', f'{target}/bias', 'channel'),
  )


def warping_table(source: str, target: str) -> tuple[tuple[str, str, str], ...]:
  """Lines of a warping network."""
  glass = rf'{source}\.hourglass'
  down, down_to = rf'{glass}\.encoder\.encoder(\d+)', rf'{target}/down_\1'
  up, up_to = rf'{glass}\.decoder\.decoder(\d+)', rf'{target}/up_\1'
  return (
    *weight_table(rf'{glass}\.encoder\.input_layer', f'{target}/input'),
    *weight_table(rf'{down}\.conv_([01])', rf'{down_to}/conv_\2'),
    *norm_table(rf'{down}\.norm_([01])', rf'{down_to}/norm_\2'),
    *weight_table(rf'{up}\.conv_0', f'{up_to}/conv_0'),
    *weight_table(rf'{up}\.conv_1', f'{up_to}/conv_1', 'conv_transpose'),
    *weight_table(rf'{up}\.conv_s', f'{up_to}/conv_skip', 'conv_transpose'),
    *norm_table(rf'{up}\.norm_([01])', rf'{up_to}/norm_\2'),
    *norm_table(rf'{up}\.norm_s', f'{up_to}/norm_skip'),
    *layer_norm_table(rf'{source}\.flow_out\.0', f'{target}/flow_norm'),
    *weight_table(rf'{source}\.flow_out\.2', f'{target}/flow'),
  )


def editing_table(source: str, target: str) -> tuple[tuple[str, str, str], ...]:
  """Lines of an editing network."""
  lines = []
  for theirs, ours in (
    (r'encoder\.first', 'encoder/first'),
    (r'encoder\.down(\d+)', r'encoder/down_\1'),
    (r'decoder\.up(\d+)', r'decoder/up_\1'),
    (r'decoder\.jump(\d+)', r'decoder/skip_\1'),
  ):
    theirs, ours = rf'{source}\.{theirs}\.model', f'{target}/{ours}'
    lines += weight_table(rf'{theirs}\.0', f'{ours}/conv')
    lines += layer_norm_table(rf'{theirs}\.1', f'{ours}/norm')
  block = rf'{source}\.decoder\.res(\d+)\.res(\d+)'
  ours = rf'{target}/decoder/residual_\1_\2'
  # They count from 1.
  for theirs, i in ((1, 0), (2, 1)):
    lines += weight_table(rf'{block}\.conv{theirs}', f'{ours}/conv_{i}')
    lines += norm_table(rf'{block}\.norm{theirs}', f'{ours}/norm_{i}')
  final = rf'{source}\.decoder\.final\.model\.0'
  lines += weight_table(final, f'{target}/decoder/final')
  return tuple(lines)


def mapping_table(
  source: str, target: str, layout: str = 'linear'
) -> tuple[tuple[str, str, str], ...]:
  """Lines of a mapping network; `conv1d` is the layout of a window's."""
  return (
    *weight_table(rf'{source}\.first\.0', f'{target}/first', layout),
    *weight_table(rf'{source}\.encoder(\d+)\.1', rf'{target}/layer_\1', layout),
  )


# (regular expression of a whole name, target path, layout)
TABLE = (
  *mapping_table('mapping_net', 'mapping'),
  *warping_table('warpping_net', 'warping'),
  *editing_table('editing_net', 'editing'),
)
