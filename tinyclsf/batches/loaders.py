"""Loaders of batches: which one a data set gets, whole batches from memory, and an epoch from the middle on."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

from tinyclsf.batches.sharing import Share, ShareOfBatches
from tinyclsf.batches.workers import WorkerLoader
from tinyclsf.data import begin_reading
from tinyclsf.errors import ConfigurationError
from tinyclsf.machine.devices import moved
from tinyclsf.machine.randomness import draw_seed

_ROWS_MOVED = 1024  # to a device at a time


class WrappedDataLoader:
    """A data loader that applies a function to each batch, to move or reshape it.

    Source: "What is torch.nn really?", the PyTorch tutorial.
    """

    def __init__(self, dl: DataLoader[Any], func: Callable[..., Any]) -> None:
        self.dl = dl
        self.func = func

    def __len__(self) -> int:
        return len(self.dl)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.dl:
            yield self.func(*batch)


class Shuffled(Sampler[int]):
    """The order that `RandomSampler` has, whose seed is drawn from a generator, PyTorch's own one where that is None."""

    def __init__(self, count: int, generator: torch.Generator | None = None) -> None:
        self.count = count
        self.generator = generator

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def order(self) -> Tensor:
        """The numbers of an epoch at once, (n,) int64: one by one they take a tenth of the time of a small network."""
        return torch.randperm(self.count, generator=torch.Generator().manual_seed(draw_seed(self.generator)))


class WholeBatchLoader(DataLoader[Any]):
    """A `DataLoader` over a `TensorDataset` that copies a batch with one `index_select` a tensor.

    What shuffles draws from the same generator as PyTorch's sampler does, so under one seed the batches equal those of
    `DataLoader(dataset, batch_size, shuffle=...)`; only the way of fetching them is faster.
    """

    dataset: TensorDataset

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]  # a generator is all that a for loop needs
        return self.batches_from(0)

    def batches_from(self, start: int) -> Iterator[list[Tensor]]:
        """The batches of an epoch from one on, without fetching those before."""
        # DataLoader draws a seed for its workers here; drawn as well, so that the sampler's own draw stays the same.
        draw_seed(self.generator)
        batches = self.batch_sampler
        assert batches is not None
        if isinstance(batches, BatchSampler) and isinstance(batches.sampler, Shuffled):
            order, size = batches.sampler.order()[start * batches.batch_size :], batches.batch_size
            return self._fetch(order, [min(size, len(order) - at) for at in range(0, len(order), size)])
        lists = list(islice(batches, start, None))
        rows = array("q", chain.from_iterable(lists))
        order = torch.frombuffer(rows, dtype=torch.int64) if rows else torch.empty(0, dtype=torch.int64)
        return self._fetch(order, [len(each) for each in lists])

    def _fetch(self, order: Tensor, sizes: list[int]) -> Iterator[list[Tensor]]:
        tensors, rows = self.dataset.tensors, torch.split(order, sizes)
        # The rows of all batches go to the device at once: each copy there would wait for it.
        orders = [torch.split(moved(order, tensor.device), sizes) for tensor in tensors]
        for number, indices in enumerate(zip(*orders, strict=True)):
            for each in rows[number + (number > 0) : number + 2]:
                begin_reading(self.dataset, each.tolist())
            yield [self._rows(tensor, index) for tensor, index in zip(tensors, indices, strict=True)]

    def _rows(self, tensor: Tensor, index: Tensor) -> Tensor:
        if not self.pin_memory or tensor.is_cuda:
            return tensor.index_select(0, index)
        # PyTorch keeps such memory for the next batch, once the copy to the device has been made.
        rows = torch.empty(len(index), *tensor.shape[1:], dtype=tensor.dtype, pin_memory=True)
        return torch.index_select(tensor, 0, index, out=rows)


def loader(dataset: Dataset[Any], batch_size: int, *, shuffle: bool = False, share: Share | None = None) -> DataLoader[Any]:
    """A loader of batches: by the whole batch from tensors in memory, by PyTorch's ordinary `DataLoader` from anything else.

    An `IterableDataset` keeps its own order. A data set that has `loader_workers` is read by as many processes. With a share,
    batches are those of one process among several; together they are the batches that a single process has.
    Raises: ConfigurationError if the data or a batch cannot be shared.
    """
    batch_size = operator.index(batch_size)  # PyTorch takes no whole number of NumPy's
    if isinstance(dataset, IterableDataset):
        if share is not None:
            raise ConfigurationError("a data set that is a stream cannot be shared by several processes; train with one")
        return DataLoader(dataset, batch_size)
    size = len(dataset) if isinstance(dataset, Sized) else 0
    if share is not None and shuffle and min(batch_size, size) < share.size:
        raise ConfigurationError(
            f"batches of {batch_size} from {size:,} images cannot be shared by {share.size} processes; "
            "give a larger batch size, or fewer processes"
        )
    workers = getattr(dataset, "loader_workers", 0)
    # A subclass may fetch its samples in another way than TensorDataset does.
    whole = isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__
    if not workers and share is None:
        if not whole:
            return DataLoader(dataset, batch_size, shuffle=shuffle)
        return WholeBatchLoader(dataset, batch_size, sampler=Shuffled(size) if shuffle else None)
    batches = _batches(size, batch_size, shuffle, share)
    if workers:
        return WorkerLoader(dataset, batches, workers=workers, share=share)
    generator = None if share is None else share.generator
    return (WholeBatchLoader if whole else DataLoader)(dataset, batch_sampler=batches, generator=generator)


def batches_from(dl: Iterable[Any], start: int) -> Iterator[Any]:
    """The batches of an epoch from one on; those that are not of this package have to fetch those before as well."""
    if isinstance(dl, (WholeBatchLoader, WorkerLoader)):
        return dl.batches_from(start)
    return _without_first(iter(dl), start)


def on_device(dl: Iterable[Any], device: torch.device) -> Iterable[Any]:
    """The loader as it is best for a device.

    On CUDA images in memory are copied there, where they take at most half of what is free; batches of others are pinned, so
    that they are copied while the program goes on.
    """
    if not isinstance(dl, (WholeBatchLoader, WorkerLoader)):
        return dl
    dl.pin_memory = device.type == "cuda"  # nowhere else, as pinning opens a context on a GPU
    if not isinstance(dl, WholeBatchLoader) or device.type != "cuda":
        return dl
    tensors = dl.dataset.tensors
    free, _ = torch.cuda.mem_get_info(device)
    if sum(tensor.nbytes for tensor in tensors) > free / 2:
        return dl
    there = TensorDataset(*(_copied(dl.dataset, tensor, device) for tensor in tensors))
    return WholeBatchLoader(there, batch_sampler=dl.batch_sampler, generator=dl.generator)


def _copied(dataset: TensorDataset, tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of a data set on a device; some rows at a time, as not all of them may be in memory."""
    copied = torch.empty_like(tensor, device=device)
    for start in range(0, len(tensor), _ROWS_MOVED):
        rows = slice(start, min(start + _ROWS_MOVED, len(tensor)))
        begin_reading(dataset, range(rows.start, rows.stop))
        copied[rows] = tensor[rows]
    return copied


def batches_of(dl: Iterable[Any]) -> int | None:
    """How many batches a loader gives, or None where it cannot say, as over an `IterableDataset`."""
    try:
        return len(dl)  # type: ignore[arg-type]
    except TypeError:
        return None


def _batches(size: int, batch_size: int, shuffle: bool, share: Share | None) -> Sampler[list[int]]:
    order = Shuffled(size, None if share is None else share.generator) if shuffle else range(size)
    batches = BatchSampler(order, batch_size, drop_last=False)
    return batches if share is None else ShareOfBatches(batches, share)


def _without_first(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """What is left after so many have been taken, now and not when the rest is asked for."""
    for _ in islice(batches, count):
        pass
    return batches
