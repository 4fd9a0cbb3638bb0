"""Image sets in memory, and the splits that a dataset plugin gives."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from tinyclsf.errors import DataError, join_names, printable, shape_as_text
from tinyclsf.machine.arguments import naming_arguments
from tinyclsf.metrics import Labelled
from tinyclsf.modules import Fit, Preprocess

_SHOWN = 16  # images in a notebook


class Images(TensorDataset):
    """Images and their labels as two tensors in memory; `paths` are the files of the images, if they came from files.

    What is known need not be found again: `file_sizes` are those of `paths` in bytes, `x_checksum` is zlib.crc32 of x.
    For an x that is mapped from the disk, `ahead` begins to read rows that will be needed soon.
    Shapes: x (n, c, h, w) uint8 or float32; y (n,) int64.
    Raises: DataError if shapes, types or lengths are wrong.
    """

    @naming_arguments
    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        paths: Sequence[str] | None = None,
        *,
        file_sizes: Sequence[int] | None = None,
        x_checksum: int | None = None,
        ahead: Callable[[Iterable[int]], None] | None = None,
    ) -> None:
        if x.ndim != 4 or x.dtype not in (torch.uint8, torch.float32):
            raise DataError(
                f"images are {_described(x)}; wanted four dimensions (number, channels, height, width) of uint8 or float32"
            )
        if y.ndim != 1 or y.dtype != torch.int64:
            raise DataError(f"labels are {_described(y)}; wanted one dimension of int64")
        if len(x) != len(y):
            raise DataError(f"there are {len(x):,} images and {len(y):,} labels; each image needs one label")
        super().__init__(x, y)
        self.paths = paths
        self.file_sizes = file_sizes
        self.ahead = ahead
        self._known = None if x_checksum is None else (x_checksum, x._version)

    @property
    def x(self) -> Tensor:
        """The images, (n, c, h, w)."""
        return self.tensors[0]

    @property
    def y(self) -> Tensor:
        """The labels, (n,)."""
        return self.tensors[1]

    def checksum(self) -> int:
        """zlib.crc32 of the images and then the labels."""
        x, y = (tensor.contiguous().numpy().data for tensor in self.tensors)
        if self._known is not None and self._known[1] == self.x._version:  # not changed since
            return zlib.crc32(y, self._known[0])
        return zlib.crc32(y, zlib.crc32(x))


@dataclass(frozen=True)
class Splits:
    """What a dataset plugin returns: the splits of a data set and what a model needs to know about it.

    Shapes: each split yields x (c, h, w) = image_shape and y in 0..len(classes)-1; `preprocess` turns a batch of stored x
    into float32 (n, c, h, w). A split of image files may have their `paths`, in its order; a split that reads one image at a
    time may have `labels`, a list of whole numbers. `fit` says how pictures were made square, `left_out` why files are in no
    split.
    Units: `white` is the stored value of a white pixel: 255 for uint8.
    Raises: DataError if a split is empty, differs from image_shape, or has a label without a class.
    """

    train: Dataset[Any]
    valid: Dataset[Any]
    test: Dataset[Any] | None
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    preprocess: Preprocess
    white: float = 255.0
    fit: Fit = "crop"
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, Dataset[Any]]:
        """The splits by name: train, valid, and test unless it is None."""
        given = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: dataset for name, dataset in given.items() if dataset is not None}

    @property
    def held_out(self) -> tuple[str, Dataset[Any]]:
        """The name and data of the split that scores a trained model: test, or valid if there is no test split."""
        return ("valid", self.valid) if self.test is None else ("test", self.test)

    def __repr__(self) -> str:
        known = {name: len(each) if isinstance(each, Sized) else None for name, each in self.by_name.items()}
        sizes = [f"a stream of {name}" if size is None else f"{size:,} {name}" for name, size in known.items()]
        images = f"{join_names(sizes)} images of {shape_as_text(self.image_shape)}"
        return f"{images}\n{len(self.classes):,} classes: {printable(join_names(self.classes))}"

    def _repr_html_(self) -> str:
        from tinyclsf.drawing.page import page, paragraph, pictures, table
        from tinyclsf.drawing.samples import as_pictures

        title, names = repr(self).split("\n")
        labels = train_labels(self)
        counts = [] if labels is None else labels.bincount(minlength=len(self.classes)).tolist()
        rows = [[name, f"{count:,}"] for name, count in zip(self.classes, counts, strict=False)]
        classes = table(("class", "train images"), rows) if rows else paragraph(names)
        if not isinstance(self.train, Sized):  # a stream gives no image a second time
            return page(title, classes)
        number = min(_SHOWN, len(self.train))
        samples = [self.train[at * len(self.train) // number] for at in range(number)]  # from all over it
        shown = [(as_pictures(x[None], self.white)[0], [self.classes[int(label)]]) for x, label in samples]
        return page(title, pictures(shown), classes)

    def __post_init__(self) -> None:
        if len(self.classes) == 0 or not all(isinstance(name, str) for name in self.classes):
            raise DataError(f"the classes of the data are {self.classes!r}; wanted the name of each as text")
        object.__setattr__(self, "classes", tuple(self.classes))  # a list is as good, but equals no tuple
        if not 0 < self.white < math.inf:
            raise DataError(f"white of the data is {self.white!r}; wanted a number above 0")
        if self.fit not in get_args(Fit):
            raise DataError(f"fit of the data is {self.fit!r}; wanted one of {'|'.join(get_args(Fit))}")
        means = self.preprocess.mean.numel() if isinstance(self.preprocess, Preprocess) else 1
        if means not in (1, self.image_shape[0]):
            raise DataError(
                f"the data is scaled by a mean for each of {means} channels and its images have {self.image_shape[0]}; "
                f"-d normalize=unit is for any images, or give -d channels={means} where the data set has that"
            )
        for split, dataset in {"train": self.train, "valid": self.valid, **self.by_name}.items():
            if not isinstance(dataset, (Sized, IterableDataset)):
                raise DataError(f"the {split} split of the data is {dataset!r}; wanted a data set with a length, or a stream")
            if isinstance(dataset, Sized) and len(dataset) == 0:
                raise DataError(f"the {split} split of the data is empty; wanted at least one image")
            if isinstance(dataset, Images):
                _check_split(split, dataset, self.classes, self.image_shape)


Splits.__init__ = naming_arguments(Splits.__init__)  # type: ignore[method-assign]


def begin_reading(dataset: Dataset[Any], rows: Iterable[int]) -> None:
    """Have the system read rows of a large data set that is mapped from the disk, as they will be needed soon."""
    if (ahead := getattr(dataset, "ahead", None)) is not None:
        ahead(rows)


def train_labels(splits: Splits) -> Tensor | None:
    """The labels of the training images, (n,) int64, or None where they are only known image by image.

    Raises: DataError if one is no class.
    """
    if isinstance(splits.train, Images):
        return splits.train.y
    labels = getattr(splits.train, "labels", None)
    if not isinstance(labels, list) or not all(type(each) is int for each in labels):
        return None
    found = torch.tensor(labels, dtype=torch.int64)
    Labelled(found, len(splits.classes)).check("the train split")
    return found


def fingerprint(splits: Splits) -> dict[str, Any]:
    """What tells one data set from another: classes, shape, and of each split its size and checksums.

    One checksum is of the pixels and labels, of images in memory; the other, `train_files` for one, is of the files that the
    images come from, where they do: it stays the same where they are read at another size, or their folder has moved.
    """
    datasets = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    return {
        **{name: len(each) if isinstance(each, Sized) else None for name, each in datasets.items()},
        "classes": list(splits.classes),
        "image_shape": list(splits.image_shape),
        **{f"{name}_checksum": _checksum(each) for name, each in datasets.items()},
        **{f"{name}_files": _files_checksum(each) for name, each in datasets.items() if getattr(each, "paths", None)},
    }


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what two fingerprints differ, in words; empty where they are equal.

    Checksums that only one of them has are no difference: earlier versions held fewer images in memory.
    """
    both = [key for key in now if not key.endswith(("_files", "_checksum")) or None not in (was.get(key), now[key])]
    keys = [key for key in both if was.get(key) != now[key]]
    return "; ".join(f"{key.replace('_', ' ')} was {was.get(key)} and is {now[key]}" for key in keys)


def _checksum(dataset: Dataset[Any] | None) -> str | None:
    return f"{dataset.checksum():08x}" if isinstance(dataset, Images) else None


def _files_checksum(dataset: Any) -> str:
    """A checksum of the names of its files, below the folder that holds all of them, and of their sizes."""
    paths, sizes = dataset.paths, getattr(dataset, "file_sizes", None)
    folder = os.path.dirname(os.path.commonprefix(paths))  # noqa: RUF071  # cut at the last separator
    inside = len(os.path.join(folder, ""))
    known = map(_size, paths) if sizes is None else sizes
    lines = (f"{os.sep}{path[inside:]}\0{size}\0" for path, size in zip(paths, known, strict=True))
    return f"{zlib.crc32(os.fsencode(''.join(lines))):08x}"


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # a name that is no file's
        return -1


def _check_split(split: str, images: Images, classes: tuple[str, ...], image_shape: tuple[int, int, int]) -> None:
    if tuple(images.x.shape[1:]) != tuple(image_shape):
        found, wanted = map(shape_as_text, (images.x.shape[1:], image_shape))
        raise DataError(f"the {split} images are {found}; wanted {wanted} as the data set says")
    Labelled(images.y, len(classes)).check(f"the {split} split")


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
