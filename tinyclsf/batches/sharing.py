"""How several processes share out the batches that a single one would have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import BatchSampler, Sampler


class Share(NamedTuple):
    """Which images of every batch are this process's.

    rank: which of the processes this is, from 0.
    size: how many there are.
    generator: what shuffles, in one state in all of them; the order is that of a single process whose PyTorch generator is so.
    """

    rank: int
    size: int
    generator: torch.Generator


class ShareOfBatches(Sampler[list[int]]):
    """This process's indices of each batch; a short last batch with too few for two a process joins the one before it."""

    def __init__(self, batches: BatchSampler, share: Share) -> None:
        self.batches = batches
        self.share = share
        full, rest = divmod(len(batches.sampler), batches.batch_size)  # type: ignore[arg-type]
        self._last_joins = bool(full) and 0 < rest < 2 * share.size

    def __len__(self) -> int:
        return len(self.batches) - self._last_joins

    def __iter__(self) -> Iterator[list[int]]:
        batches = iter(self.batches)
        for number, indices in enumerate(batches, start=1):
            if self._last_joins and number == len(self):
                indices = indices + next(batches)
            if mine := indices[self.share.rank :: self.share.size]:  # none, of a set smaller than there are processes
                yield mine
