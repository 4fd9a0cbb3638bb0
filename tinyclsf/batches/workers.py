"""Batches that are read by processes of their own, in an order and with random numbers that do not depend on those."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from tinyclsf.batches.sharing import Share
from tinyclsf.errors import DataError
from tinyclsf.machine.randomness import draw_seed

# A terminal sends Ctrl-C to the workers too, and SIGHUP as it closes, a batch system SIGTERM: they go on until the parent has
# saved. Where a process cannot tell who sent a signal, SIGTERM has to end it, as it is what the parent ends it with.
_FOR_THE_PARENT = [signal.SIGINT]
if sys.platform == "linux":
    _FOR_THE_PARENT += [signal.SIGTERM, signal.SIGHUP]


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
            worker_init_fn=_hear_the_parent_alone,
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is all that a for loop needs
        return self.batches_from(0)

    def batches_from(self, start: int) -> Iterator[Any]:
        """The batches of an epoch from one on, without fetching those before."""
        before = torch.get_rng_state() if self.generator is None else self.generator.get_state()
        self._numbered.seed, self._numbered.start = draw_seed(self.generator), start
        starting = self._iterator is None
        if starting:  # PyTorch draws this very seed itself when it starts the workers
            torch.set_rng_state(before) if self.generator is None else self.generator.set_state(before)
        with _held_back(_FOR_THE_PARENT):
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


@contextmanager
def _held_back(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Keep signals waiting; a process that is started here keeps them so, from its first moment on. Windows cannot."""
    if sys.platform == "win32":
        yield
    else:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hear_the_parent_alone(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if signal.SIGTERM in _FOR_THE_PARENT:
        threading.Thread(target=_end_when_the_parent_says_so, daemon=True).start()


def _end_when_the_parent_says_so() -> None:
    if sys.platform == "linux":
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
