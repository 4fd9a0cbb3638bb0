"""mnist.pkl.gz, the file of the torch.nn tutorial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tinyclsf.plugin import DataError, Images, Preparation, Splits, prepared
from tinyclsf_plugins.datasets.files import opened, read_up_to
from tinyclsf_plugins.datasets.numpy_pickle import parse_numpy_pickle

_LIMIT = 512 << 20  # the real file unpacks to 220 MB
_WHITE = 255 / 256  # the file was written as pixel / 256


@prepared
def mnist_pickle(prepare: Preparation, *, path: Path) -> Splits:
    """The tutorial's pickled MNIST: ((x, y), (x, y), (x, y)) for training, validation and testing; no code in it is ever run.

    Shapes: x (n, 1, 28, 28) float32 in 0..1; y (n,) int64 in 0..9.
    Raises: DataError if the file is missing, broken, or holds anything but these six arrays.
    Source: "What is torch.nn really?", the PyTorch tutorial.
    """
    with opened(path) as file:
        content = read_up_to(file, _LIMIT + 1)
    if len(content) > _LIMIT:
        raise DataError(f"{path} holds more than {_LIMIT:,} bytes, the most that is read; fetch the real file, of 220 MB")
    parts = parse_numpy_pickle(content, str(path))
    if not isinstance(parts, (tuple, list)) or len(parts) != 3:
        raise DataError(f"{path} does not hold three parts; wanted ((x, y), (x, y), (x, y)); fetch the real file")
    train, valid, test = (_images(path, name, part) for name, part in zip(("first", "second", "third"), parts, strict=True))
    splits = prepare.splits(train, test, tuple("0123456789"), valid=valid, white=1.0)
    return replace(splits, white=_WHITE)


def _images(path: Path, name: str, part: object) -> Images:
    if not isinstance(part, (tuple, list)) or len(part) != 2 or not all(isinstance(each, np.ndarray) for each in part):
        raise DataError(f"the {name} part of {path} is not a pair of arrays; wanted ((x, y), (x, y), (x, y))")
    x, y = part
    if x.ndim != 2 or x.shape[1] != 784 or x.dtype.kind != "f" or y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise DataError(
            f"the {name} part of {path} has x {x.dtype} {x.shape} and y {y.dtype} {y.shape}; "
            "wanted floats (n, 784) and whole numbers (n,)"
        )
    low, high = x.min(), x.max()
    if not (low >= 0 and high <= 1):
        raise DataError(f"the {name} part of {path} has pixels from {low:g} to {high:g}; wanted 0 to 1")
    pixels = torch.from_numpy(x.astype(np.float32, copy=False)).view(-1, 1, 28, 28)
    return Images(pixels, torch.from_numpy(y.astype(np.int64, copy=False)))
