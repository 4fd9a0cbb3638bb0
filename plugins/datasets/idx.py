"""IDX byte files, the format that MNIST is published in."""

from __future__ import annotations

import os
from gzip import GzipFile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinyclsf.plugin import DataError, Images, Preparation, Splits, prepared
from tinyclsf_plugins.datasets.files import opened, read_up_to

# The third byte of the header names the elements' type; numbers are stored big-endian.
_ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_UNZIP_LIMIT = 4 << 30
_LARGEST_LABEL = 65_535  # each number up to the largest label is a class


@prepared
def idx(
    prepare: Preparation,
    *,
    data_dir: Path = Path("."),
    images: str = "train-images-idx3-ubyte",
    labels: str = "train-labels-idx1-ubyte",
    test_images: str | None = "t10k-images-idx3-ubyte",
    test_labels: str | None = "t10k-labels-idx1-ubyte",
) -> Splits:
    """Images and labels from IDX files of any name in data_dir, raw or gzipped; the last sixth is for validation.

    With test_images=none and test_labels=none there is no test split. Classes are the numbers 0 to the largest training label.
    Shapes: x (n, 1, h, w), uint8 as stored and any other element type as float32, with its largest absolute value as white;
    y (n,) int64.
    Raises: DataError if a file is missing or broken, or the files do not belong together.
    """
    if (test_images is None) != (test_labels is None):
        raise DataError("only one of test_images and test_labels is none; give both files or neither")
    both = read_pair(data_dir / images, data_dir / labels)
    test = None
    if test_images is not None and test_labels is not None:
        test = read_pair(data_dir / test_images, data_dir / test_labels)
        if test.x.dtype != both.x.dtype:
            one, other = (str(x.dtype).removeprefix("torch.") for x in (test.x, both.x))
            raise DataError(f"{data_dir / test_images} has images of {one} and {data_dir / images} of {other}; wanted one type")
    classes = tuple(str(number) for number in range(int(both.y.max()) + 1))
    white = 255.0 if both.x.dtype == torch.uint8 else float(both.x.abs().max()) or 1.0
    left = len(both) - round((prepare.test_ratio or 0) * len(both))
    # Of 60,000 these are the 10,000 that the torch.nn tutorial validates with.
    return prepare.splits(both, test, classes, own_size=left // 6, own_split="tail", white=white)


def read_pair(images: Path, labels: Path) -> Images:
    """The images of one IDX file with the labels of another.

    Raises: DataError if either file is missing or broken, or one has more entries than the other.
    """
    x, y = read_images(images), read_labels(labels)
    if len(x) != len(y):
        raise DataError(f"{images} has {len(x):,} images and {labels} has {len(y):,} labels; give two that belong together")
    return Images(x, y)


def read_images(path: Path) -> torch.Tensor:
    """Grey images of an IDX file: (n, 1, h, w), uint8 as stored, any other element type as float32.

    Raises: DataError if the file is missing, broken, not of three dimensions, or has a pixel that is not a finite float32.
    """
    array = read_idx(path, 3)
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        finite = np.isfinite(array)
        if not finite.all():
            first = int(np.argmin(finite.all(axis=(1, 2))))
            raise DataError(f"image {first:,} of {path} has a pixel that is no finite float32; mend it or leave the image out")
    return torch.from_numpy(array).unsqueeze(1)


def read_labels(path: Path) -> torch.Tensor:
    """Labels of an IDX file: (n,) int64.

    Raises: DataError if the file is missing, broken, not of one dimension, or has a label that no class can have.
    """
    array = read_idx(path, 1)
    if array.dtype.kind not in "iu":
        raise DataError(f"{path} holds {array.dtype.name}; wanted whole numbers as labels")
    labels = torch.from_numpy(array.astype(np.int64))
    outside = ((labels < 0) | (labels > _LARGEST_LABEL)).nonzero()
    if len(outside):
        first = int(outside[0])
        raise DataError(f"label {first:,} of {path} is {int(labels[first]):,}; wanted 0 to {_LARGEST_LABEL:,}")
    return labels


def read_idx(path: Path, dimensions: int) -> NDArray[Any]:
    """The array of an IDX file, raw or gzipped, in the machine's own byte order; `path` or `path`.gz.

    Raises: DataError if the file is missing, its header is wrong, or its length is not what the header says.
    """
    zipped = Path(f"{path}.gz")
    if not os.path.exists(path) and os.path.exists(zipped):
        path = zipped
    with opened(path) as file:
        dtype, shape = _parse_header(path, file.read(4 + 4 * dimensions), dimensions)
        wanted = prod(shape) * dtype.itemsize  # of Python's whole numbers, which do not overflow
        what = f"the {wanted:,} bytes of {'x'.join(f'{size:,}' for size in shape)} {dtype.name}"
        if isinstance(file, GzipFile) and wanted > _UNZIP_LIMIT:
            raise DataError(f"{path} promises {what}; at most {_UNZIP_LIMIT:,} are unpacked, so unzip the file first")
        content = read_up_to(file, wanted + 1)
    if len(content) != wanted:
        found = "more bytes" if len(content) > wanted else f"{len(content):,} bytes"
        raise DataError(f"{path} has {found} after its header; wanted {what}; fetch it again")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _parse_header(path: Path, header: bytes, dimensions: int) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(header) < 4:
        raise DataError(f"{path} has {len(header)} bytes; wanted an IDX file, whose header has at least 4")
    if header[:2] != b"\0\0":
        raise DataError(f"{path} starts with {header[:4].hex(' ')}; wanted an IDX file, which starts with 00 00")
    if header[2] not in _ELEMENTS:
        known = ", ".join(f"{code:02x}" for code in _ELEMENTS)
        raise DataError(f"{path} has element type {header[2]:02x}; wanted one of {known}")
    if header[3] != dimensions:
        what = {1: "1 as labels have", 3: "3 as images have"}[dimensions]
        raise DataError(f"{path} has {header[3]} as its number of dimensions; wanted {what}: are images and labels swapped?")
    if len(header) < 4 + 4 * dimensions:
        raise DataError(f"{path} has {len(header)} bytes; wanted {4 + 4 * dimensions} of header for {dimensions} dimensions")
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, len(header), 4))
    if 0 in shape:
        raise DataError(f"{path} holds nothing: its header says {'x'.join(f'{size:,}' for size in shape)}; wanted at least 1")
    return np.dtype(_ELEMENTS[header[2]]), shape
