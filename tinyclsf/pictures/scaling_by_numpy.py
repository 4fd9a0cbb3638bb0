"""The scaling of `read_picture` where there is no PyTorch: bit for bit the same, slower."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scaled(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture, (h, w, c), at another size: each pixel is a weighted mean of those that it stands for, as in PyTorch."""
    across = weighted_sums(pixels.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return weighted_sums(across, height)


def weighted_sums(pixels: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """A picture with another number of rows, in the whole numbers that PyTorch computes in."""
    if len(pixels) == count:
        return pixels
    scale = len(pixels) / count
    centre, reach = scale * (np.arange(count)[:, None] + 0.5), max(scale, 1.0)
    rows = np.arange(len(pixels))
    near = ((centre - reach + 0.5).astype(int) <= rows) & (rows < (centre + reach + 0.5).astype(int))
    weights = near * np.maximum(0, 1 - abs(rows + 0.5 - centre) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    bits = max(bits for bits in range(23) if weights.max() * 2**bits + 0.5 < 2**15)
    sums = np.tensordot(np.floor(weights * 2**bits + 0.5), pixels.astype(float), 1)
    means: NDArray[np.float64] = np.floor(sums / 2**bits + 0.5)
    return means.clip(0, 255).astype(np.uint8)
