"""Loaders give PyTorch's own batches, and go on within an epoch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from tests.support.streams import Stream
from tinyclsf import Images, WrappedDataLoader
from tinyclsf.batches import loaders
from tinyclsf.batches.loaders import WholeBatchLoader, batches_from, loader, on_device

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here"))


def test_a_data_set_is_moved_to_a_device_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_ROWS_MOVED", 4)
    asked: list[Any] = []
    x, y = torch.arange(36, dtype=torch.uint8).reshape(9, 1, 2, 2), torch.arange(9)
    images = Images(x, y, ahead=asked.append)
    assert torch.equal(loaders._copied(images, x, torch.device("cpu")), x)
    assert asked == [range(4), range(4, 8), range(8, 9)]


def test_wrapped_loader_passes_every_batch_through_the_function() -> None:
    x, y = torch.arange(10.0).reshape(5, 2), torch.arange(5)
    wrapped = WrappedDataLoader(DataLoader(TensorDataset(x, y), 2), lambda xb, yb: (xb * 10, yb + 1))
    for _ in range(2):
        batches = list(wrapped)
        assert len(batches) == len(wrapped) == 3
        assert torch.equal(torch.cat([xb for xb, _ in batches]), x * 10)
        assert torch.equal(torch.cat([yb for _, yb in batches]), y + 1)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_whole_batches_are_those_of_the_ordinary_loader(shuffle: bool, device: str) -> None:
    dataset = TensorDataset(torch.randn(11, 1, 2, 2, device=device), torch.arange(11, device=device))
    torch.manual_seed(3)
    right = [batch for _ in range(2) for batch in DataLoader(dataset, 4, shuffle=shuffle)]
    state = torch.get_rng_state()
    torch.manual_seed(3)
    dl = loader(dataset, 4, shuffle=shuffle)
    found = [batch for _ in range(2) for batch in dl]
    assert isinstance(dl, WholeBatchLoader)
    assert len(dl) == 3
    assert [len(batch) for batch in found] == [2] * 6
    assert all(torch.equal(a, b) for one, two in zip(found, right, strict=True) for a, b in zip(one, two, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_batches_for_cuda_are_fetched_into_pinned_memory(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    pinned: list[tuple[int, ...]] = []
    empty_of_torch = torch.empty

    def empty(*shape: Any, pin_memory: bool = False, **options: Any) -> Tensor:
        if pin_memory:  # which PyTorch does only where there is a GPU
            pinned.append(shape)
        return empty_of_torch(*shape, **options)

    x, y = torch.randn(11, 1, 2, 2, device=device), torch.arange(11)
    wanted = list(loader(TensorDataset(x, y), 4))
    dl = loader(TensorDataset(x, y), 4)
    assert not dl.pin_memory
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (x.nbytes, x.nbytes))
    assert on_device(dl, torch.device("cpu")) is dl
    assert not dl.pin_memory
    assert on_device(dl, torch.device("cuda")) is dl
    monkeypatch.setattr(torch, "empty", empty)
    found = list(dl)
    assert [shape for shape in pinned if len(shape) == 1] == [(4,), (4,), (3,)]
    on_gpu = device == "cuda"  # images there already are not pinned
    assert [shape for shape in pinned if len(shape) > 1] == [] if on_gpu else [(4, 1, 2, 2), (4, 1, 2, 2), (3, 1, 2, 2)]
    assert all(torch.equal(a, b) for one, two in zip(found, wanted, strict=True) for a, b in zip(one, two, strict=True))


class Doubled(TensorDataset):
    """A data set that fetches its samples in its own way."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        x, y = (tensor[index] for tensor in self.tensors)
        return x * 2, y


X, Y = torch.arange(5.0).reshape(5, 1), torch.arange(5)
STREAM = Stream([(torch.tensor([float(i)]), i) for i in (4, 2, 0, 1, 3)])


@pytest.mark.parametrize(
    ("dataset", "xs", "ys"),
    [
        (TensorDataset(X, Y), [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        (Subset(TensorDataset(X, Y), [3, 1, 4]), [3, 1, 4], [3, 1, 4]),
        (Doubled(X, Y), [0, 2, 4, 6, 8], [0, 1, 2, 3, 4]),
        (STREAM, [4, 2, 0, 1, 3], [4, 2, 0, 1, 3]),
    ],
    ids=["TensorDataset", "Subset", "Doubled", "Stream"],
)
def test_every_kind_of_data_set_is_loaded_in_its_order(dataset: Dataset[Any], xs: list[int], ys: list[int]) -> None:
    batches = list(loader(dataset, 2))
    assert torch.cat([xb for xb, _ in batches]).flatten().tolist() == xs
    assert torch.cat([yb for _, yb in batches]).tolist() == ys
    if not isinstance(dataset, Stream):
        torch.manual_seed(0)
        assert torch.cat([yb for _, yb in loader(dataset, 2, shuffle=True)]).sort().values.tolist() == sorted(ys)


def test_a_stream_keeps_its_order_where_shuffling_is_asked_for() -> None:
    assert torch.cat([yb for _, yb in loader(STREAM, 2, shuffle=True)]).tolist() == [4, 2, 0, 1, 3]


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_changing_a_batch_leaves_the_data_alone(batch_size: int) -> None:
    x = torch.ones(5, 1, 2, 2)
    for xb, yb in loader(Images(x, Y), batch_size):
        xb.zero_()
        yb.fill_(9)
    assert torch.equal(x, torch.ones(5, 1, 2, 2))
    assert Y.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", [TensorDataset, Doubled])
def test_other_loaders_go_on_from_any_batch_as_well(kind: type[TensorDataset]) -> None:
    data = kind(torch.arange(11.0).reshape(11, 1), torch.arange(11))
    torch.manual_seed(3)
    dl = loader(data, 4, shuffle=True)
    whole, after = ([yb.tolist() for _, yb in dl] for _ in range(2))
    for start in range(4):
        torch.manual_seed(3)
        dl = loader(data, 4, shuffle=True)
        assert [yb.tolist() for _, yb in batches_from(dl, start)] == whole[start:]
        assert [yb.tolist() for _, yb in dl] == after
    assert [xb for xb, _ in batches_from([(1, 2), (3, 4)], 1)] == [3]


def test_what_was_before_is_not_copied_from_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    dl = loader(TensorDataset(X, Y), 2)
    assert isinstance(dl, WholeBatchLoader)
    fetch = dl._fetch
    monkeypatch.setattr(dl, "_fetch", lambda order, sizes: fetch(order, asked.extend(sizes) or sizes))  # type: ignore[func-returns-value]
    assert [yb.tolist() for _, yb in dl.batches_from(2)] == [[4]]
    assert asked == [1]
