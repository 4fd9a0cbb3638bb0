"""Fashion-MNIST in torchvision's folder layout, downloaded on first use."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import Preparation, Splits, prepared, scripted
from tinyclsf_plugins.datasets.mnist_files import mnist_parts

_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@scripted("tinyclsf_plugins.datasets.mnist_cifar_script:fashion_mnist")
@prepared
def fashion_mnist(prepare: Preparation, *, data_dir: Path) -> Splits:
    """Pieces of clothing: 50,000 for training, 10,000 for validation (1,000 of each class), 10,000 for testing.

    Shapes: x (n, 1, 28, 28) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: Xiao, Rasul, Vollgraf 2017; files FashionMNIST/raw/*-ubyte in data_dir, in torchvision's layout.
    """
    train, test = mnist_parts("FashionMNIST", data_dir)
    return prepare.splits(train, test, _CLASSES, own_size=10_000)
