"""Data sets that are streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import Dataset, IterableDataset


class Stream(IterableDataset[Any]):
    """Samples in their own order, without a length."""

    def __init__(self, samples: Iterable[Any] | Dataset[Any]) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return iter(self.samples)
