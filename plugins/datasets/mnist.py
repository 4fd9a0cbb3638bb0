"""MNIST in torchvision's folder layout, downloaded on first use."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import Preparation, Splits, prepared, scripted
from tinyclsf_plugins.datasets.mnist_files import mnist_parts


@scripted("tinyclsf_plugins.datasets.mnist_cifar_script:mnist")
@prepared
def mnist(prepare: Preparation, *, data_dir: Path) -> Splits:
    """Handwritten digits: 50,000 for training, the last 10,000 of the training file for validation, 10,000 for testing.

    Shapes: x (n, 1, 28, 28) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: LeCun, Bottou, Bengio, Haffner 1998; files MNIST/raw/*-ubyte in data_dir, in torchvision's layout.
    """
    train, test = mnist_parts("MNIST", data_dir)
    return prepare.splits(train, test, tuple("0123456789"), own_size=10_000, own_split="tail")
