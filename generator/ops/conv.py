"""Convolutions with PyTorch's meaning of padding."""

from __future__ import annotations

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Of all weights of PIRenderer and AniMo; biases start at 0.
STDDEV = 0.02
NORMAL_INIT = nn.initializers.normal(STDDEV)
_DIMENSIONS = ('NHWC', 'HWIO', 'NHWC')
# [parity, tap, row of a 3x3 kernel]: an even pixel of a doubled map sees the
# pixel above once and its own twice, an odd one its own twice and that below.
_TAPS = np.array([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], np.float32)


class Conv2d(nn.Module):
  """Convolution: zeros around, `padding` of them on every side.

  Attributes:
    features: channels of the result.
    kernel_size: side of the kernel.
    stride: step between outputs.
    padding: zeros on every side.
    use_bias: whether to add a bias.
    spectral_norm: divides the kernel by its largest singular value, estimated
      by one power iteration a call; see `normalized_kernel`.
    dtype: compute type, None for that of the input.
    param_dtype: type of the parameters `kernel` (HWIO) and `bias`.
    kernel_init: initialiser of the kernel.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  use_bias: bool = True
  spectral_norm: bool = False
  dtype: Any = None
  param_dtype: Any = jnp.float32
  kernel_init: nn.initializers.Initializer = NORMAL_INIT

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, (H + 2 padding - kernel) // stride + 1, ..., F]."""
    kernel, bias, x = _parameters(self, x)
    y = jax.lax.conv_general_dilated(
      x,
      kernel,
      (self.stride, self.stride),
      ((self.padding, self.padding),) * 2,
      dimension_numbers=_DIMENSIONS,
    )
    return y if bias is None else y + bias


class ConvTranspose2d(nn.Module):
  """Transposed convolution (PyTorch's `ConvTranspose2d`).

  The kernel is stored as that of the equivalent convolution of the input with
  zeros between its pixels; `edtn_jax.convert.table` turns PyTorch's by 180
  degrees. In this form it converts to ONNX.

  Attributes:
    features: channels of the result.
    kernel_size: side of the kernel.
    stride: factor of enlargement.
    padding: rows that the result loses on every side.
    output_padding: rows that it gains at the end.
    use_bias: whether to add a bias.
    spectral_norm: as in `Conv2d`.
    dtype: compute type, None for that of the input.
    param_dtype: type of the parameters `kernel` (HWIO) and `bias`.
    kernel_init: initialiser of the kernel.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  output_padding: int = 0
  use_bias: bool = True
  spectral_norm: bool = False
  dtype: Any = None
  param_dtype: Any = jnp.float32
  kernel_init: nn.initializers.Initializer = NORMAL_INIT

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, (H-1) stride - 2 padding + kernel + output, ...]."""
    kernel, bias, x = _parameters(self, x)
    heights, widths = (list(self._phases(size)) for size in x.shape[1:3])
    parts = [
      _convolve(x, kernel[rows][:, columns], above, beside)
      for rows, above in heights
      for columns, beside in widths
    ]
    y = _interleave(parts, self.stride)
    y = y[:, : self._length(x.shape[1]), : self._length(x.shape[2])]
    return y if bias is None else y + bias

  def _length(self, size: int) -> int:
    """Pixels along an axis of the result."""
    size = (size - 1) * self.stride + self.kernel_size
    return size - 2 * self.padding + self.output_padding

  def _phases(self, size: int):
    """Per pixel modulo the stride: taps of the kernel, padding of the input.

    Every stride-th pixel of the result sees the same taps. One convolution for
    each, instead of one of the input with zeros in between: the same
    operations, but XLA's CPU computes the kernel's gradient of the latter 10
    to 30 times more slowly (33 against 889 ms of one core's time for
    32 x 32 x 512 -> 128).
    """
    stride, kernel = self.stride, self.kernel_size
    rows = -(-self._length(size) // stride)
    for phase in range(stride):
      shift = phase - (kernel - 1 - self.padding)
      first = -shift % stride
      taps = max(-(-(kernel - first) // stride), 0)
      start = (shift + first) // stride
      after = start + rows + taps - 1 - size
      yield slice(first, None, stride), (-start, after)


class UpConv2d(nn.Module):
  """Doubles the size by repeating pixels, then convolves 3x3 with padding 1.

  Computed on the small map: every second pixel of the result sees the same
  2x2 pixels below, so one 2x2 convolution with four times the channels does
  it with 4/9 of the operations. On a CPU that takes 0.4 to 0.5 of the time of
  `Conv2d` after `upsample_nearest` (61 against 144 ms of one core's time for
  128 x 128 x 128 -> 64 channels, 30 against 61 ms for 32 x 32 x 256 -> 256).

  Attributes:
    features: channels of the result.
    use_bias: whether to add a bias.
    spectral_norm: as in `Conv2d`.
    dtype: compute type, None for that of the input.
    param_dtype: type of the parameters `kernel` (3x3, HWIO) and `bias`.
    kernel_init: initialiser of the kernel.
  """

  features: int
  use_bias: bool = True
  spectral_norm: bool = False
  dtype: Any = None
  param_dtype: Any = jnp.float32
  kernel_init: nn.initializers.Initializer = NORMAL_INIT

  kernel_size: ClassVar[int] = 3

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """[B, H, W, C] -> [B, 2H, 2W, F]."""
    kernel, bias, x = _parameters(self, x)
    height, width, channels = x.shape[1:]
    kernel = jnp.einsum(
      'aik,bjl,klcf->ijcabf',
      _TAPS.astype(kernel.dtype),
      _TAPS.astype(kernel.dtype),
      kernel,
      precision=jax.lax.Precision.HIGHEST,
    )
    kernel = kernel.reshape(2, 2, channels, 4 * self.features)
    y = _convolve(x, kernel, (1, 1), (1, 1))
    # Channels are (row parity, column parity, feature).
    quarters = [
      y[:, a : a + height, b : b + width][..., i : i + self.features]
      for i, (a, b) in zip(
        range(0, 4 * self.features, self.features),
        ((0, 0), (0, 1), (1, 0), (1, 1)),
        strict=True,
      )
    ]
    y = _interleave(quarters, 2)
    return y if bias is None else y + bias


def _convolve(x, kernel, above, beside):
  """Convolution with stride 1; padding (before, after) along both axes."""
  shape = x.shape[:1] + tuple(
    size + sum(padding) - taps + 1
    for size, padding, taps in zip(
      x.shape[1:3], (above, beside), kernel.shape[:2], strict=True
    )
  )
  if not kernel.size:  # a stride longer than the kernel leaves gaps
    return jnp.zeros((*shape, kernel.shape[-1]), x.dtype)
  # Padded beforehand: where the result is larger than the input, XLA's CPU
  # computes the kernel's gradient 15 times more slowly otherwise.
  zero = jnp.zeros((), x.dtype)
  none = (0, 0, 0)
  x = jax.lax.pad(x, zero, (none, (*above, 0), (*beside, 0), none))
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'VALID', dimension_numbers=_DIMENSIONS
  )


def _interleave(parts, factor):
  """Maps [B, h, w, F] by (row, column) modulo the factor -> one larger map."""
  height, width, features = parts[0].shape[1:]
  y = jnp.stack(parts, axis=3)
  y = y.reshape(-1, height, width, factor, factor, features)
  y = y.transpose(0, 1, 3, 2, 4, 5)
  return y.reshape(-1, factor * height, factor * width, features)


def _parameters(module, x):
  """Kernel, bias or None, and the input, in one type."""
  x = jnp.asarray(x)
  size, features = module.kernel_size, module.features
  kernel = module.param(
    'kernel',
    module.kernel_init,
    (size, size, x.shape[-1], features),
    module.param_dtype,
  )
  if module.spectral_norm:
    kernel = normalized_kernel(module, kernel)
  dtype = module.dtype or x.dtype
  bias = None
  if module.use_bias:
    bias = module.param(
      'bias', nn.initializers.zeros, (features,), module.param_dtype
    ).astype(dtype)
  return kernel.astype(dtype), bias, x.astype(dtype)


def normalized_kernel(module: nn.Module, kernel: jax.Array) -> jax.Array:
  """Divides a kernel by an estimate of its largest singular value.

  The left singular vector is kept in the collection `spectral`; it moves one
  power iteration a call where the caller makes that collection mutable, and
  stays as it is elsewhere.

  Args:
    module: the module to keep the vector in.
    kernel: [..., features].

  Returns:
    The kernel, its spectral norm about 1 as a matrix [rest, features].
  """
  matrix = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.float32)

  def unit(vector):
    return vector / (jnp.linalg.norm(vector) + 1e-12)

  def first():
    key = module.make_rng('params')
    return unit(jax.random.normal(key, matrix.shape[1:], jnp.float32))

  stored = module.variable('spectral', 'u', first)
  fixed = jax.lax.stop_gradient(matrix)
  v = unit(fixed @ stored.value)
  u = stored.value
  if module.is_mutable_collection('spectral'):
    u = unit(v @ fixed)
    stored.value = u
  return (kernel / (v @ (matrix @ u))).astype(kernel.dtype)
