"""MNIST as torchvision keeps it on disk, downloaded on first use."""

from __future__ import annotations

import os
import tempfile
from http.client import HTTPException
from pathlib import Path

from tinyclsf.plugin import DataError, Preparation, Splits, prepared
from tinyclsf_plugins.datasets.idx import read_pair

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@prepared
def mnist(prepare: Preparation, *, data_dir: Path) -> Splits:
    """Handwritten digits: 50,000 to train, the last 10,000 of the training file to validate, 10,000 to test.

    Shapes: x (n, 1, 28, 28) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: LeCun, Bottou, Bengio, Haffner 1998; files MNIST/raw/*-ubyte in data_dir, as torchvision lays them out.
    """
    raw = data_dir / "MNIST" / "raw"
    if not all(os.path.exists(raw / name) for name in FILES):
        _download(data_dir, raw)
    # Read here and not by torchvision: without its import, seconds earlier and in 100 MB less.
    train_x, train_y, test_x, test_y = raw / FILES[0], raw / FILES[1], raw / FILES[2], raw / FILES[3]
    train, test = read_pair(train_x, train_y), read_pair(test_x, test_y)
    return prepare.splits(train, test, tuple("0123456789"), own_size=10_000, own_split="tail")


def _download(data_dir: Path, raw: Path) -> None:
    from torchvision.datasets import MNIST  # type: ignore[import-untyped]

    try:
        raw.mkdir(parents=True, exist_ok=True)
        # In a folder beside and moved when whole: a download that breaks off leaves nothing under the final names.
        with tempfile.TemporaryDirectory(dir=raw, prefix=".download-") as scratch:
            MNIST(scratch, download=True)
            for name in FILES:
                os.replace(Path(scratch, "MNIST", "raw", name), raw / name)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"MNIST is not in {raw} and cannot be downloaded ({reason}); "
            "check the network, or point --data-dir at a folder that holds MNIST/raw"
        ) from error
