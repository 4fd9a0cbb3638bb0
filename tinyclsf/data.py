"""Image sets in memory, the splits a dataset plugin gives, and loaders that take a whole batch at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from tinyclsf.errors import DataError
from tinyclsf.modules import Preprocess


class Images(TensorDataset):
    """Images and their labels as two tensors in memory.

    Shapes: x (n, c, h, w) uint8 or float32; y (n,) int64.
    Raises: DataError if the shapes, types or lengths are others.
    """

    def __init__(self, x: Tensor, y: Tensor) -> None:
        if x.ndim != 4 or x.dtype not in (torch.uint8, torch.float32):
            raise DataError(
                f"images are {_described(x)}; wanted four dimensions (number, channels, height, width) of uint8 or float32"
            )
        if y.ndim != 1 or y.dtype != torch.int64:
            raise DataError(f"labels are {_described(y)}; wanted one dimension of int64")
        if len(x) != len(y):
            raise DataError(f"there are {len(x):,} images and {len(y):,} labels; each image needs one label")
        super().__init__(x, y)

    @property
    def x(self) -> Tensor:
        """The images, (n, c, h, w)."""
        return self.tensors[0]

    @property
    def y(self) -> Tensor:
        """The labels, (n,)."""
        return self.tensors[1]


@dataclass(frozen=True)
class Splits:
    """What a dataset plugin gives: the parts of a data set and what a model needs to know of it.

    Shapes: each part yields x (c, h, w) = image_shape and y in 0..len(classes)-1; `preprocess` turns a batch of x as stored
    into float32 (n, c, h, w).
    Raises: DataError if a part is empty, differs from image_shape, or has a label without a class.
    """

    train: Dataset[Any]
    valid: Dataset[Any]
    test: Dataset[Any] | None
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    preprocess: Preprocess

    def __post_init__(self) -> None:
        for part in ("train", "valid", "test"):
            dataset = getattr(self, part)
            if isinstance(dataset, Sized) and len(dataset) == 0:
                raise DataError(f"the {part} part of the data is empty; wanted at least one image")
            if isinstance(dataset, Images):
                _check_part(part, dataset, self.classes, self.image_shape)


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
        # DataLoader draws a seed for its workers here; drawn as well, so that the sampler's own draw stays the same.
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        return self._batches()

    def _batches(self) -> Iterator[list[Tensor]]:
        tensors = self.dataset.tensors
        assert self.batch_sampler is not None
        for indices in self.batch_sampler:
            index = torch.frombuffer(array("q", indices), dtype=torch.int64)  # four times faster than torch.tensor
            yield [tensor.index_select(0, index.to(tensor.device)) for tensor in tensors]


class _WorkerLoader(DataLoader[Any]):
    """A `DataLoader` with workers that stay, whose epochs are in the order that they have without workers.

    Raises: DataError as a worker raised it, without the traceback that PyTorch puts before its sentence.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # a generator is all that a for loop needs
        if self._iterator is not None:  # from the second epoch on: workers that stay have the seed of the first
            torch.empty((), dtype=torch.int64).random_(generator=self.generator)
        return self._batches(super().__iter__())

    def _batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except DataError as error:
            # All that holds on to the workers is let go of, so that they end now; found later, by chance, they take 10 seconds.
            del batches
            error.__traceback__ = self._iterator = None
            raise DataError(str(error).rpartition(f"{DataError.__name__}: ")[2].rstrip()) from None


def loader(dataset: Dataset[Any], batch_size: int, *, shuffle: bool = False) -> DataLoader[Any]:
    """A loader of batches: by the whole batch from tensors in memory, by PyTorch's ordinary `DataLoader` from anything else.

    An `IterableDataset` keeps its own order. A data set that has `loader_workers` is read by as many processes.
    """
    if isinstance(dataset, IterableDataset):
        return DataLoader(dataset, batch_size)
    if workers := getattr(dataset, "loader_workers", 0):
        return _WorkerLoader(dataset, batch_size, shuffle=shuffle, num_workers=workers, persistent_workers=True)
    # A subclass may fetch its samples in another way than TensorDataset does.
    whole = isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__
    return (WholeBatchLoader if whole else DataLoader)(dataset, batch_size, shuffle=shuffle)


def _check_part(part: str, images: Images, classes: tuple[str, ...], image_shape: tuple[int, int, int]) -> None:
    if tuple(images.x.shape[1:]) != tuple(image_shape):
        raise DataError(f"the {part} images are {_by(images.x.shape[1:])}; wanted {_by(image_shape)} as the data set says")
    outside = ((images.y < 0) | (images.y >= len(classes))).nonzero()
    if len(outside):
        first = int(outside[0])
        raise DataError(
            f"label {first} of the {part} part is {int(images.y[first])}; "
            f"wanted 0 to {len(classes) - 1} for {len(classes)} classes"
        )


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
