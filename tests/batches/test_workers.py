"""Batches read by other processes are those read by none, with the same random numbers, and all of them end in time."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from tinyclsf.batches.loaders import batches_from, loader, on_device
from tinyclsf.batches.workers import WorkerLoader
from tinyclsf.errors import DataError


class Drawn(Dataset[tuple[Tensor, int]]):
    """An image is its number and what the three generators give; how often each was fetched is counted for all processes."""

    def __init__(self, n: int, workers: int, *, at_once: bool = False) -> None:
        self.loader_workers = workers
        self.fetched = torch.zeros(n, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        if at_once:
            self.__getitems__ = lambda indices: [self[index] for index in indices]

    def __len__(self) -> int:
        return len(self.fetched)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.fetched[index] += 1
        return torch.tensor([index, torch.rand(()).item(), random.random(), np.random.rand()], dtype=torch.float64), index


def epochs(dl: Any, count: int) -> list[Tensor]:
    return [xb for _ in range(count) for xb, _ in dl]


def equal(found: list[Tensor], wanted: list[Tensor]) -> bool:
    return len(found) == len(wanted) and all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")
def test_with_workers_batches_are_those_without_and_random_numbers_are_the_same_for_any_number_of_them() -> None:
    torch.manual_seed(3)
    plain = DataLoader(TensorDataset(torch.arange(11)), 4, shuffle=True)
    order = [index for _ in range(2) for (index,) in plain]
    state = torch.get_rng_state()
    found = []
    for workers in (1, 2, 3):
        torch.manual_seed(3)
        random.seed(workers)
        np.random.seed(workers)
        dl = loader(Drawn(11, workers, at_once=workers == 3), 4, shuffle=True)
        assert isinstance(dl, WorkerLoader)
        assert (len(dl), dl.num_workers) == (3, workers)
        found.append(epochs(dl, 2))
        assert equal([xb[:, 0].long() for xb in found[-1]], order)
        assert torch.equal(torch.get_rng_state(), state)
    assert equal(found[1], found[0])
    assert equal(found[2], found[0])
    drawn = torch.cat(found[0])[:, 1:]
    assert len(torch.unique(drawn)) == drawn.numel() == 22 * 3


@pytest.mark.parametrize("epochs_before", [0, 1])
def test_an_epoch_goes_on_from_any_batch_without_fetching_what_was_before(epochs_before: int) -> None:
    def begun() -> tuple[Drawn, Any]:
        torch.manual_seed(3)
        data = Drawn(22, 2)
        dl = loader(data, 4, shuffle=True)
        epochs(dl, epochs_before)
        data.fetched.zero_()
        return data, dl

    _, dl = begun()
    whole, after = epochs(dl, 1), epochs(dl, 1)
    for start in (0, 2, 6):
        data, dl = begun()
        assert equal([xb for xb, _ in batches_from(dl, start)], whole[start:])
        assert int(data.fetched.sum()) == sum(len(xb) for xb in whole[start:])
        assert int(data.fetched.max()) <= 1
        assert equal(epochs(dl, 1), after)


def test_signals_of_a_terminal_leave_the_workers_at_work() -> None:
    data = Drawn(40, 2)
    dl: Any = loader(data, 4)
    batches = iter(dl)
    seen = [next(batches)[1] for _ in range(2)]  # one of each worker
    for worker in dl._iterator._workers:
        for name in ("-INT", "-TERM"):  # by another process: a worker does end where its parent says so
            subprocess.run(["kill", name, str(worker.pid)], check=True)
    seen += [yb for _, yb in batches]
    assert torch.cat(seen).tolist() == list(range(40))
    assert torch.cat([yb for _, yb in dl]).tolist() == list(range(40))


class Broken(Drawn):
    """A picture of it cannot be read."""

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 5:
            raise DataError("picture.png is broken; remove it")
        return super().__getitem__(index)


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda"])
def test_batches_are_pinned_for_cuda_alone(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # pinning opens a context there, whoever trains where
    dl = loader(Drawn(4, 1), 4)
    assert not dl.pin_memory
    assert on_device(dl, torch.device(device)) is dl
    assert dl.pin_memory == (device == "cuda")


def test_what_a_worker_finds_amiss_is_told_in_its_own_sentence_and_all_end() -> None:
    dl: Any = loader(Broken(40, 2), 4)
    batches = iter(dl)
    workers = dl._iterator._workers
    with pytest.raises(DataError) as error:
        list(batches)
    assert str(error.value) == "picture.png is broken; remove it"
    assert len(workers) == 2
    assert not any(worker.is_alive() for worker in workers)


def test_workers_of_a_loader_that_is_found_as_garbage_end_at_once() -> None:
    dl: Any = loader(Drawn(40, 2), 4)
    next(iter(dl))
    workers = dl._iterator._workers
    dl.itself = dl
    del dl
    begun = time.monotonic()
    gc.collect()
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - begun < 4


AT_EXIT = """
import torch
from torch.utils.data import Dataset
from tinyclsf.batches.loaders import loader

class Numbers(Dataset):
    loader_workers = 2
    def __len__(self):
        return 40
    def __getitem__(self, index):
        return torch.ones(2), index

loaders = [loader(Numbers(), 4, shuffle=True) for _ in range(2)]
print(sum(len(batch) for dl in loaders for batch in dl))
waiting = [iter(dl) for dl in loaders]
print([len(next(batches)) for batches in waiting])
"""


@pytest.mark.stress
def test_a_program_ends_though_its_loaders_are_still_there() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.stdout, done.stderr, done.returncode) == ("40\n[2, 2]\n", "", 0)
