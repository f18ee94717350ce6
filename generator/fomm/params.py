"""Names of released first-order-motion weights, and ours.

Sources begin with `kp_detector.` and `generator.`; targets are paths in the
variables (`params` and `batch_stats`).
"""

from __future__ import annotations

Row = tuple[str, str | None, str]


def _conv(source: str, target: str) -> tuple[Row, ...]:
  return (
    (rf'{source}\.weight', f'params/{target}/kernel', 'conv'),
    (rf'{source}\.bias', f'params/{target}/bias', 'same'),
  )


def _norm(source: str, target: str) -> tuple[Row, ...]:
  return (
    (rf'{source}\.weight', f'params/{target}/scale', 'same'),
    (rf'{source}\.bias', f'params/{target}/bias', 'same'),
    (rf'{source}\.running_mean', f'batch_stats/{target}/mean', 'same'),
    (rf'{source}\.running_var', f'batch_stats/{target}/var', 'same'),
    # A count that no computation uses.
    (rf'{source}\.num_batches_tracked', None, 'same'),
  )


def _block(source: str, target: str) -> tuple[Row, ...]:
  return (
    *_conv(rf'{source}\.conv', f'{target}/conv'),
    *_norm(rf'{source}\.norm', f'{target}/norm'),
  )


def _hourglass(source: str, target: str) -> tuple[Row, ...]:
  return (
    *_block(rf'{source}\.encoder\.down_blocks\.(\d+)', rf'{target}/encoder_\1'),
    *_block(rf'{source}\.decoder\.up_blocks\.(\d+)', rf'{target}/decoder_\1'),
  )


_MOTION = r'generator\.dense_motion_network'
_BOTTLENECK = r'generator\.bottleneck\.r(\d+)'

# (source regex, target path or None to ignore, layout).
TABLE = (
  *_hourglass(r'kp_detector\.predictor', 'keypoint_detector/hourglass'),
  *_conv(r'kp_detector\.kp', 'keypoint_detector/heatmap'),
  *_conv(r'kp_detector\.jacobian', 'keypoint_detector/jacobian'),
  *_hourglass(rf'{_MOTION}\.hourglass', 'generator/dense_motion/hourglass'),
  *_conv(rf'{_MOTION}\.mask', 'generator/dense_motion/mask'),
  *_conv(rf'{_MOTION}\.occlusion', 'generator/dense_motion/occlusion'),
  *_block(r'generator\.first', 'generator/first'),
  *_block(r'generator\.down_blocks\.(\d+)', r'generator/down_\1'),
  *_block(r'generator\.up_blocks\.(\d+)', r'generator/up_\1'),
  *_conv(rf'{_BOTTLENECK}\.conv(\d)', r'generator/bottleneck_\1/conv\2'),
  *_norm(rf'{_BOTTLENECK}\.norm(\d)', r'generator/bottleneck_\1/norm\2'),
  *_conv(r'generator\.final', 'generator/final'),
  # A constant: `generator.fomm.blocks.band_limit_kernel` computes it.
  (rf'(?:kp_detector|{_MOTION})\.down\.weight', None, 'same'),
)
