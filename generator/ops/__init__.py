"""Building blocks of the generators: warp, resize, norms, convolutions.

Images and features are [B, H, W, C]; positions and flows end in (x, y).
Everything here survives the conversion to ONNX.
"""
