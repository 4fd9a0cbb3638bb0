"""Pictures that are nearly the same: compressed anew, resized, made lighter or cropped a little.

Each picture becomes a sketch of 16x16 greys. A hash of 64 bits, where it gets lighter from left to right, brings pairs together
without comparing all with all; how alike the edges of both sketches are decides.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

SIDE = 16  # of a sketch
_FLAT, _STEP = 4, 2  # of 255: less is no edge, or not lighter
# How alike the edges of two pictures are at least, and in how many bits their hashes differ at most. Where little is in them,
# as in handwritten digits, pictures are alike by nature: one of which so much is flat has to be the same, nearly to the pixel.
_PLAIN = 0.25
_ALIKE, _ALIKE_PLAIN = 0.9, 0.999
_BITS, _BITS_PLAIN = 12, 2
_ORDERS, _NEIGHBOURS = 12, 16  # how often the hashes are sorted, and with how many that follow each one is compared
_AT_ONCE = 1 << 12  # pairs
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


def sketch(x: Tensor, white: float = 255.0) -> Tensor:
    """Images of at least 16x16 pixels as greys of 0 to 255.

    Shapes: x (n, c, h, w) as stored, to (n, 16, 16) float32.
    """
    grey = x[:, 0].float() if x.shape[1] == 1 else x.float().mean(dim=1)
    return (_means(x.shape[2], SIDE).T * (255 / white)) @ grey @ _means(x.shape[3], SIDE)


def near_copies(sketches: Tensor) -> NDArray[np.int64]:
    """Pairs of pictures that are nearly the same, by their numbers, the lower one first; those without any edge are left out.

    It may miss some, the more so the more their hashes differ.
    Shapes: sketches (n, 16, 16), to (pairs, 2).
    """
    across, down = sketches.diff(dim=2), sketches.diff(dim=1)
    flat = (across[:, :-1].abs() < _FLAT) & (down[:, :, :-1].abs() < _FLAT)
    plain = flat.float().mean(dim=(1, 2)) >= _PLAIN
    edges = F.normalize(torch.cat([across.flatten(1), down.flatten(1)], dim=1))
    lighter = (_means(SIDE, 8).T @ sketches @ _means(SIDE, 9)).diff(dim=2) > _STEP
    first, second = (torch.from_numpy(each) for each in _alike_by_hash(lighter.flatten(1).numpy(), plain.numpy()))
    kept = []
    for one, other in zip(torch.split(first, _AT_ONCE), torch.split(second, _AT_ONCE), strict=True):
        least = torch.where(plain[one] | plain[other], _ALIKE_PLAIN, _ALIKE)
        alike = (edges[one] * edges[other]).sum(dim=1) >= least
        kept.append(torch.stack([one[alike], other[alike]], dim=1))
    return torch.cat(kept).numpy()


def _alike_by_hash(bits: NDArray[np.bool_], plain: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs whose hashes differ in few bits, as far as they come to lie close together where the hashes are sorted.

    They are sorted several times, by other bits first each time, so that what differs comes late in one of them.
    """
    random, found = np.random.default_rng(0), [np.empty(0, np.int64)]
    for _ in range(_ORDERS):
        words = np.packbits(bits[:, random.permutation(64)], axis=1)
        order = np.ascontiguousarray(words).view(">u8")[:, 0].argsort(kind="stable")
        words, is_plain = words[order], plain[order]
        for step in range(1, min(_NEIGHBOURS, len(order) - 1) + 1):
            differing = _ONES[words[:-step] ^ words[step:]].sum(axis=1)
            near = np.flatnonzero(differing <= np.where(is_plain[:-step] | is_plain[step:], _BITS_PLAIN, _BITS))
            pairs = np.sort([order[near], order[near + step]], axis=0)
            found.append(pairs[0] * len(order) + pairs[1])
    first, second = np.divmod(np.unique(np.concatenate(found)), len(bits))
    return first, second


@functools.cache
def _means(pixels: int, cells: int) -> Tensor:
    """The matrix (pixels, cells) that takes a line of pixels to the means of its cells."""
    return F.adaptive_avg_pool1d(torch.eye(pixels), cells)
