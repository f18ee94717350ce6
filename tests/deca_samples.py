"""DECA's coarse encoder as PyTorch names it, made by hand."""

from __future__ import annotations

_BLOCKS = (3, 4, 6, 3)


def shapes() -> dict[str, tuple[int, ...]]:
  """Names and shapes of every tensor of the coarse encoder."""
  found: dict[str, tuple[int, ...]] = {}

  def convolution(weight, norm, out, into, size):
    found[f'{weight}.weight'] = (out, into, size, size)
    for name in ('weight', 'bias', 'running_mean', 'running_var'):
      found[f'{norm}.{name}'] = (out,)
    found[f'{norm}.num_batches_tracked'] = ()

  encoder = 'E_flame.encoder'
  convolution(f'{encoder}.conv1', f'{encoder}.bn1', 64, 3, 7)
  into = 64
  for stage, count in enumerate(_BLOCKS):
    width = 64 * 2**stage
    for block in range(count):
      name = f'{encoder}.layer{stage + 1}.{block}'
      convolution(f'{name}.conv1', f'{name}.bn1', width, into, 1)
      convolution(f'{name}.conv2', f'{name}.bn2', width, width, 3)
      convolution(f'{name}.conv3', f'{name}.bn3', 4 * width, width, 1)
      if block == 0:
        shortcut = f'{name}.downsample'
        convolution(f'{shortcut}.0', f'{shortcut}.1', 4 * width, into, 1)
      into = 4 * width
  for index, (out, into) in {0: (1024, 2048), 2: (236, 1024)}.items():
    found[f'E_flame.layers.{index}.weight'] = (out, into)
    found[f'E_flame.layers.{index}.bias'] = (out,)
  return found
