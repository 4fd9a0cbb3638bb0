"""Which rows of a set are drawn, the same share of every class, and how they are set aside in its own memory."""

from __future__ import annotations

import torch
from torch import Tensor

from tinyclsf.data import Images

_PIECE = 1 << 21  # numbers at a time, where a whole set at once would need its memory twice or more


def stratified(y: Tensor, size: int, seed: int) -> Tensor:
    """`size` rows, as nearly as whole numbers can the same share of every class."""
    shuffled = shuffled_by_class(y, seed)
    shares = [size * len(rows) / len(y) for rows in shuffled]
    takes = [int(share) for share in shares]
    # What rounding down left over goes to the largest remainders, but a class should keep an image to train on.
    by_remainder = sorted(range(len(shares)), key=lambda at: (takes[at] + 1 == len(shuffled[at]), takes[at] - shares[at]))
    for at in by_remainder[: size - sum(takes)]:
        takes[at] += 1
    return torch.cat([rows[:take] for rows, take in zip(shuffled, takes, strict=True)]).sort().values


def shuffled_by_class(y: Tensor, seed: int) -> list[Tensor]:
    """The rows of every class that there is, in a random order that only the labels and the seed decide."""
    generator = torch.Generator().manual_seed(seed)
    order = y.argsort(stable=True)
    starts = y[order].diff().nonzero().flatten() + 1
    by_class = order.tensor_split(starts.tolist())
    return [rows[torch.randperm(len(rows), generator=generator)] for rows in by_class]


def set_aside(images: Images, rows: Tensor) -> tuple[Images, Images]:
    """The images without the given rows (ascending), and those rows: two views of the same memory, reordered in place.

    Needs no more memory beside than the rows that are set aside.
    """
    edge = len(images) - len(rows)
    rest = torch.ones(len(images), dtype=torch.bool).index_fill_(0, rows, False).nonzero().squeeze(1)
    if not torch.equal(rows, torch.arange(edge, len(images))):  # otherwise they are the last ones already
        for tensor in images.tensors:
            aside = tensor.index_select(0, rows)
            _move_to_front(tensor, rest)
            tensor[edge:] = aside
    return (
        Images(images.x[:edge], images.y[:edge], _paths_at(images, rest)),
        Images(images.x[edge:], images.y[edge:], _paths_at(images, rows)),
    )


def moved_to_front(images: Images, rows: Tensor) -> Images:
    """The given rows (ascending) of images, in their memory: what lay there first is written over."""
    for tensor in images.tensors:
        _move_to_front(tensor, rows)
    return Images(images.x[: len(rows)], images.y[: len(rows)], _paths_at(images, rows))


def rows_a_piece(tensor: Tensor) -> int:
    """How many rows of a tensor (n, ...) to work on at a time, so that it takes little memory beside."""
    return max(1, _PIECE // tensor.shape[1:].numel())


def _paths_at(images: Images, rows: Tensor) -> list[str] | None:
    return None if images.paths is None else [images.paths[row] for row in rows.tolist()]


def _move_to_front(tensor: Tensor, rows: Tensor) -> None:
    # A row only moves towards the front, so that none is written over before it has been read.
    size = rows_a_piece(tensor)
    for at in range(0, len(rows), size):
        piece = rows[at : at + size]
        tensor[at : at + len(piece)] = tensor.index_select(0, piece)
