"""Building blocks of the generators: warp, resize, norms, convolutions.

Images and features are [B, H, W, C]; positions and flows end in (x, y).
Only forms that convert to ONNX are used: no `jax.image.resize`, no transposed
kernels, no `avg_pool`. With a fixed batch jax2onnx 0.17.1 converts a whole
generator and ONNX Runtime 1.31 gives its picture to 2e-5; with a symbolic
batch jax2onnx stops at `lax.pad`.
"""
