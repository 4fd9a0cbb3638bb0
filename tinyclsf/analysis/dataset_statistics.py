"""A data set at a glance: its sizes, the images of each class, some images, and the values that their pixels have."""

from __future__ import annotations

from collections.abc import Sized
from itertools import islice
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from tinyclsf.analysis.data_checks import labels_of
from tinyclsf.data import Splits
from tinyclsf.errors import ConfigurationError, DataError
from tinyclsf.metrics import Labelled
from tinyclsf.runs.trained_run import choose_split, paths_of


class Values(NamedTuple):
    """The range, mean and standard deviation of numbers."""

    low: float
    high: float
    mean: float
    deviation: float


class DataDescription(NamedTuple):
    """What there is in a data set, and in one split of it.

    `sizes` are by split, None for a stream, and without a test split where there is none; `counts` are by class, or None where
    the labels are only known image by image. `rows` are the places in the split of the images `x` with labels `y`; `paths` are
    their files, or None where they are no files. `stored` and `preprocessed` are of these images.
    Shapes: x (n, c, h, w), y (n,) int64.
    """

    split: str
    sizes: dict[str, int | None]
    counts: list[int] | None
    rows: list[int]
    x: Tensor
    y: Tensor
    paths: list[str] | None
    stored: Values
    preprocessed: Values


def describe_data(splits: Splits, split: str = "train", *, images: int = 12, seed: int | None = 0) -> DataDescription:
    """Look at a data set and at so many images of a split, drawn at random by the seed; its first ones without a seed.

    Raises: ConfigurationError if there is no such split, or it is a stream, of which only the first ones can be had;
    DataError if an image cannot be read or is not of the data set's shape.
    """
    name, dataset = choose_split(splits, split)
    if is_stream(dataset):
        if seed is not None:
            raise ConfigurationError(
                f"the {name} split is a stream, of which no images can be drawn by a seed; show its first ones"
            )
        samples = list(islice(iter(dataset), images))
        rows = list(range(len(samples)))
    else:
        size = len(dataset)  # type: ignore[arg-type]  # what is no stream has a length
        order = torch.arange(size) if seed is None else torch.randperm(size, generator=torch.Generator().manual_seed(seed))
        rows = order[:images].tolist()
        samples = [dataset[row] for row in rows]
    if not samples:
        raise DataError(f"the {name} split of the data has no images")
    x = torch.stack([_checked(row, image, splits.image_shape) for row, (image, _) in zip(rows, samples, strict=True)])
    files, labels = paths_of(dataset), labels_of(dataset)
    if labels is not None:
        Labelled(labels, len(splits.classes)).check(f"the {name} split")
    with torch.no_grad():
        preprocessed = _values(splits.preprocess(x))
    return DataDescription(
        split=name,
        sizes={name: len(each) if isinstance(each, Sized) else None for name, each in splits.by_name.items()},
        counts=None if labels is None else labels.bincount(minlength=len(splits.classes)).tolist(),
        rows=rows,
        x=x,
        y=torch.tensor([int(label) for _, label in samples]),
        paths=None if files is None else [files[row] for row in rows],
        stored=_values(x),
        preprocessed=preprocessed,
    )


def is_stream(dataset: Dataset[Any]) -> TypeGuard[IterableDataset[Any]]:
    """Whether the images come one after the other, and not by their number."""
    return isinstance(dataset, IterableDataset)


def _checked(row: int, image: Any, shape: tuple[int, int, int]) -> Tensor:
    if not isinstance(image, Tensor) or tuple(image.shape) != tuple(shape):
        found = f"of shape {tuple(image.shape)}" if isinstance(image, Tensor) else f"a {type(image).__name__}"
        raise DataError(f"image {row} is {found}; wanted a tensor of shape {tuple(shape)} as the data set says")
    return image


def _values(x: Tensor) -> Values:
    numbers = x.double()
    return Values(float(numbers.min()), float(numbers.max()), float(numbers.mean()), float(numbers.std(correction=0)))
