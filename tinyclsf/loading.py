"""Loaders of batches: whole ones from memory, streamed ones read by workers, and the share of one process among several."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
)

from tinyclsf.errors import ConfigurationError, DataError

# A terminal sends Ctrl-C to the workers too, and a batch system SIGTERM: they go on until the parent has saved. Where a process
# cannot tell who sent a signal, SIGTERM has to end it, as it is what the parent ends it with.
_OF_THE_PARENT = [signal.SIGINT, signal.SIGTERM] if sys.platform == "linux" else [signal.SIGINT]


class Share(NamedTuple):
    """Which part of every batch is this process's, of how many; all have generators in one state, so that all shuffle alike.

    The order is that of a single process whose PyTorch generator is in that state.
    """

    rank: int
    size: int
    generator: torch.Generator


class WrappedDataLoader:
    """A loader whose batches pass through a function, to move or reshape them.

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


class WholeBatchLoader(DataLoader[Any]):
    """A `DataLoader` over a `TensorDataset` that copies a batch with one `index_select` a tensor.

    The sampler is PyTorch's own and draws from the same generator in the same order, so under one seed the batches equal
    those of `DataLoader(dataset, batch_size, shuffle=...)`; only the way of fetching them is faster.
    """

    dataset: TensorDataset

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]  # a generator is all that a for loop needs
        return self.batches_from(0)

    def batches_from(self, start: int) -> Iterator[list[Tensor]]:
        """The batches of an epoch from one on, without fetching those before."""
        # DataLoader draws a seed for its workers here; drawn as well, so that the sampler's own draw stays the same.
        _draw_seed(self.generator)
        assert self.batch_sampler is not None
        return self._fetch(_without_first(iter(self.batch_sampler), start))

    def _fetch(self, batches: Iterator[Any]) -> Iterator[list[Tensor]]:
        tensors = self.dataset.tensors
        for indices in batches:
            index = torch.frombuffer(array("q", indices), dtype=torch.int64)  # four times faster than torch.tensor
            yield [tensor.index_select(0, index.to(tensor.device)) for tensor in tensors]


class WorkerLoader(DataLoader[Any]):
    """A `DataLoader` with workers that stay, whose epochs are in the order that they have without workers.

    What a data set draws at random in a worker depends on the run's seed and the number of the batch alone: not on how many
    workers there are, nor on where a stopped run goes on.
    Raises: DataError as a worker raised it, without the traceback that PyTorch puts before its sentence.
    """

    def __init__(self, dataset: Dataset[Any], batches: Sampler[list[int]], *, workers: int, share: Share | None = None) -> None:
        self._numbered = _SeededBatches(batches, share)
        super().__init__(
            _SeededByBatch(dataset),
            batch_sampler=self._numbered,
            num_workers=workers,
            generator=None if share is None else share.generator,
            persistent_workers=True,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_hear_the_parent_alone,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is all that a for loop needs
        return self.batches_from(0)

    def batches_from(self, start: int) -> Iterator[Any]:
        """The batches of an epoch from one on, without fetching those before."""
        before = torch.get_rng_state() if self.generator is None else self.generator.get_state()
        self._numbered.seed, self._numbered.start = _draw_seed(self.generator), start
        starting = self._iterator is None
        if starting:  # PyTorch draws this very seed itself when it starts the workers
            torch.set_rng_state(before) if self.generator is None else self.generator.set_state(before)
        with _held_back(_OF_THE_PARENT):
            batches: Any = super().__iter__()
        if starting:  # found as garbage, by chance, PyTorch would wait 5 seconds for each worker
            weakref.finalize(batches, _end, batches._workers)
        return self._without_tracebacks(batches)

    def _without_tracebacks(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except (DataError, RuntimeError) as error:  # what a worker raised, or that one was killed
            # All that holds on to the workers is let go of, so that they end now; found later, by chance, they take 10 seconds.
            del batches
            error.__traceback__ = error.__context__ = error.__cause__ = self._iterator = None
            if not isinstance(error, DataError):
                raise
            raise DataError(str(error).rpartition(f"{DataError.__name__}: ")[2].rstrip()) from None
        except (ConnectionError, EOFError) as error:
            if not _died(getattr(self._iterator, "_workers", [])):
                raise
            del batches
            error.__traceback__ = error.__context__ = self._iterator = None
            raise RuntimeError("DataLoader worker exited unexpectedly") from None


class _SeededBatches(Sampler[list[int]]):
    """Batches of indices, each with a seed before them that no other process has, from one batch on."""

    def __init__(self, batches: Sampler[list[int]], share: Share | None) -> None:
        self.batches = batches
        self.rank, self.size = (0, 1) if share is None else share[:2]
        self.seed = 0
        self.start = 0

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[int]]:
        for number, indices in enumerate(self.batches):
            if number >= self.start:
                yield [(self.seed + number * self.size + self.rank) % 2**63, *indices]


class _SeededByBatch(Dataset[Any]):
    """A data set whose random numbers start afresh with every batch."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitems__(self, seed_and_indices: list[int]) -> list[Any]:
        seed, *indices = seed_and_indices
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        fetch: Callable[[list[int]], list[Any]] | None = getattr(self.dataset, "__getitems__", None)
        return [self.dataset[index] for index in indices] if fetch is None else fetch(indices)


class _Shuffled(Sampler[int]):
    """The order that `RandomSampler` has, whose seed is drawn from a generator and not from PyTorch's own one."""

    def __init__(self, dataset: Sized, generator: torch.Generator) -> None:
        self.dataset = dataset
        self.generator = generator

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[int]:
        return iter(RandomSampler(self.dataset, generator=torch.Generator().manual_seed(_draw_seed(self.generator))))


class _ShareOfBatches(Sampler[list[int]]):
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


def loader(dataset: Dataset[Any], batch_size: int, *, shuffle: bool = False, share: Share | None = None) -> DataLoader[Any]:
    """A loader of batches: by the whole batch from tensors in memory, by PyTorch's ordinary `DataLoader` from anything else.

    An `IterableDataset` keeps its own order. A data set that has `loader_workers` is read by as many processes. With a share,
    batches are those of one process among several; together they are the batches that a single process has.
    Raises: ConfigurationError if the data or a batch cannot be shared.
    """
    if isinstance(dataset, IterableDataset):
        if share is not None:
            raise ConfigurationError("a data set that is a stream cannot be shared by several processes; train with one")
        return DataLoader(dataset, batch_size)
    if share is not None and shuffle and min(batch_size, _length(dataset)) < share.size:
        raise ConfigurationError(
            f"batches of {batch_size} from {_length(dataset):,} images cannot be shared by {share.size} processes; "
            "give a larger batch size, or fewer processes"
        )
    workers = getattr(dataset, "loader_workers", 0)
    # A subclass may fetch its samples in another way than TensorDataset does.
    whole = isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__
    if not workers and share is None:
        return (WholeBatchLoader if whole else DataLoader)(dataset, batch_size, shuffle=shuffle)
    batches = _batches(dataset, batch_size, shuffle, share)
    if workers:
        return WorkerLoader(dataset, batches, workers=workers, share=share)
    generator = None if share is None else share.generator
    return (WholeBatchLoader if whole else DataLoader)(dataset, batch_sampler=batches, generator=generator)


def batches_from(dl: Iterable[Any], start: int) -> Iterator[Any]:
    """The batches of an epoch from one on; loaders that are not of this file have to fetch those before as well."""
    if isinstance(dl, (WholeBatchLoader, WorkerLoader)):
        return dl.batches_from(start)
    return _without_first(iter(dl), start)


def on_device(dl: Iterable[Any], device: torch.device) -> Iterable[Any]:
    """The loader over a copy of its images on a CUDA device, where they take at most half of the memory that is free there."""
    if not isinstance(dl, WholeBatchLoader) or device.type != "cuda":
        return dl
    tensors = dl.dataset.tensors
    free, _ = torch.cuda.mem_get_info(device)
    if sum(tensor.nbytes for tensor in tensors) > free / 2:
        return dl
    moved = TensorDataset(*(tensor.to(device) for tensor in tensors))
    return WholeBatchLoader(moved, batch_sampler=dl.batch_sampler, generator=dl.generator)


def _batches(dataset: Dataset[Any], batch_size: int, shuffle: bool, share: Share | None) -> Sampler[list[int]]:
    assert isinstance(dataset, Sized)
    order: Sampler[int] = SequentialSampler(dataset)
    if shuffle:
        order = RandomSampler(dataset) if share is None else _Shuffled(dataset, share.generator)
    batches = BatchSampler(order, batch_size, drop_last=False)
    return batches if share is None else _ShareOfBatches(batches, share)


def _length(dataset: Dataset[Any]) -> int:
    assert isinstance(dataset, Sized)
    return len(dataset)


def _without_first(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """What is left after so many have been taken, now and not when the rest is asked for."""
    for _ in islice(batches, count):
        pass
    return batches


def _draw_seed(generator: torch.Generator | None) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


@contextmanager
def _held_back(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Keep signals waiting; a process that is started here keeps them so, from its first moment on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hear_the_parent_alone(worker: int) -> None:
    if signal.SIGTERM in _OF_THE_PARENT:
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)


def _end(workers: list[Any]) -> None:
    for worker in workers:
        worker.terminate()


def _died(workers: list[Any]) -> bool:
    """Whether a worker is dead or about to be, as where it ended while it was handing a batch over.

    It waits until PyTorch has been told so by a signal: later it would raise its error in the middle of anything.
    """
    sentinels = wait([worker.sentinel for worker in workers], timeout=1)
    for worker in workers:
        if worker.sentinel in sentinels:
            worker.join()
    return bool(sentinels)
