"""What changes of whole batches share: a number drawn for each image, and batches in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tinyclsf.machine.devices import moved

Change = Callable[..., Tensor]  # of (images, *amounts), each image with amounts of its own

_NUMBERS_AT_ONCE = 320_000  # two images of 3 x 224 x 224


def uniform_each(x: Tensor, low: float, high: float, *, generator: torch.Generator | None = None) -> Tensor:
    """A random number from low to high for each image, on the images' device.

    Shapes: x (n, c, h, w), to (n,) float32.
    """
    return moved(torch.rand(len(x), generator=generator) * (high - low) + low, x.device)


def change_some(x: Tensor, chosen: Tensor, change: Change, *amounts: Tensor) -> Tensor:
    """Put `change(images, *amounts)` in the place of those images of a batch that are chosen, and return the batch.

    Shapes: x (n, c, h, w), written into; chosen (n,) bool, on the CPU; each of amounts (n, ...), of which `change` gets the
    same rows.
    """
    rows = moved(chosen.nonzero().squeeze(1), x.device)
    if len(rows) > 0:
        x.index_copy_(0, rows, change(x[rows], *(amount[rows] for amount in amounts)))
    return x


def in_pieces(change: Change, x: Tensor, *amounts: Tensor) -> Tensor:
    """`change(piece, *amounts)` on a few images at a time, which it gets as float32 of its own to write into.

    Shapes: x (n, c, h, w) uint8, for which what `change` returns is rounded, or float32, and so the result; each of amounts
    (n, ...).
    """
    size = max(1, _NUMBERS_AT_ONCE // x[0].numel())
    changed = torch.empty_like(x)
    for start in range(0, len(x), size):
        at = slice(start, start + size)
        piece = change(x[at].to(torch.float32, copy=True), *(amount[at] for amount in amounts))
        changed[at] = piece.round_() if x.dtype == torch.uint8 else piece
    return changed
