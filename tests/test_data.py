"""Image sets refuse what does not fit, and loaders give PyTorch's own batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from tinyclsf import Images, Preprocess, Splits, WrappedDataLoader
from tinyclsf.data import WholeBatchLoader, loader
from tinyclsf.errors import DataError

CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here"))


def images(n: int = 4, *, label: int = 0) -> Images:
    return Images(torch.zeros(n, 1, 2, 3, dtype=torch.uint8), torch.full((n,), label))


def splits(**parts: Any) -> Splits:
    given = {"train": images(), "valid": images(), "test": None, "classes": ("a", "b"), "image_shape": (1, 2, 3)}
    return Splits(**{**given, "preprocess": Preprocess(), **parts})


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            torch.zeros(3, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            "images are uint8 of shape (3, 4, 4); wanted four dimensions (number, channels, height, width) of uint8 or float32",
        ),
        (
            torch.zeros(3, 1, 4, 4, dtype=torch.float64),
            torch.zeros(3, dtype=torch.int64),
            "images are float64 of shape (3, 1, 4, 4); "
            "wanted four dimensions (number, channels, height, width) of uint8 or float32",
        ),
        (
            torch.zeros(3, 1, 4, 4),
            torch.zeros(3, dtype=torch.uint8),
            "labels are uint8 of shape (3,); wanted one dimension of int64",
        ),
        (
            torch.zeros(3, 1, 4, 4),
            torch.zeros(3, 10, dtype=torch.int64),
            "labels are int64 of shape (3, 10); wanted one dimension of int64",
        ),
        (
            torch.zeros(60_000, 1, 1, 1),
            torch.zeros(59_999, dtype=torch.int64),
            "there are 60,000 images and 59,999 labels; each image needs one label",
        ),
    ],
)
def test_images_refuse_other_shapes_types_and_lengths(x: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(DataError) as error:
        Images(x, y)
    assert (str(error.value), error.value.tip) == (message, None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_images_hand_on_their_tensors(dtype: torch.dtype) -> None:
    x, y = torch.ones(2, 3, 4, 5, dtype=dtype), torch.tensor([1, 0])
    found = Images(x, y)
    assert found.x is x
    assert found.y is y
    assert len(found) == 2


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (images(0), "the {} part of the data is empty; wanted at least one image"),
        (Subset(images(), []), "the {} part of the data is empty; wanted at least one image"),
        (
            Images(torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64)),
            "the {} images are 3x2x2; wanted 1x2x3 as the data set says",
        ),
        (
            Images(torch.zeros(3, 1, 2, 3), torch.tensor([1, 2, -1])),
            "label 1 of the {} part is 2; wanted 0 to 1 for 2 classes",
        ),
        (
            Images(torch.zeros(3, 1, 2, 3), torch.tensor([0, 1, -1])),
            "label 2 of the {} part is -1; wanted 0 to 1 for 2 classes",
        ),
    ],
)
def test_splits_refuse_a_part_that_does_not_fit(part: str, dataset: Dataset[Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        splits(**{part: dataset})
    assert (str(error.value), error.value.tip) == (message.format(part), None)


def test_splits_take_what_fits() -> None:
    assert splits(test=images(label=1)).test is not None
    assert splits(image_shape=[1, 2, 3], train=Stream()).test is None


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


class Doubled(TensorDataset):
    """A data set that fetches its samples in its own way."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        x, y = (tensor[index] for tensor in self.tensors)
        return x * 2, y


class Stream(IterableDataset[Any]):
    """Five samples in an order of their own, without a length."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return ((torch.tensor([float(i)]), i) for i in (4, 2, 0, 1, 3))


X, Y = torch.arange(5.0).reshape(5, 1), torch.arange(5)


@pytest.mark.parametrize(
    ("dataset", "xs", "ys"),
    [
        (TensorDataset(X, Y), [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        (Subset(TensorDataset(X, Y), [3, 1, 4]), [3, 1, 4], [3, 1, 4]),
        (Doubled(X, Y), [0, 2, 4, 6, 8], [0, 1, 2, 3, 4]),
        (Stream(), [4, 2, 0, 1, 3], [4, 2, 0, 1, 3]),
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
    assert torch.cat([yb for _, yb in loader(Stream(), 2, shuffle=True)]).tolist() == [4, 2, 0, 1, 3]


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_changing_a_batch_leaves_the_data_alone(batch_size: int) -> None:
    x = torch.ones(5, 1, 2, 2)
    for xb, yb in loader(Images(x, Y), batch_size):
        xb.zero_()
        yb.fill_(9)
    assert torch.equal(x, torch.ones(5, 1, 2, 2))
    assert Y.tolist() == [0, 1, 2, 3, 4]
