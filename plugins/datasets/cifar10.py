"""CIFAR-10 as torchvision keeps it on disk, downloaded on first use."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import Preparation, Splits, prepared, scripted
from tinyclsf_plugins.datasets.cifar_batches import cifar_parts


@scripted("tinyclsf_plugins.datasets.mnist_cifar_script:cifar10")
@prepared
def cifar10(prepare: Preparation, *, data_dir: Path) -> Splits:
    """Colour photographs of 10 kinds of things: 40,000 to train, 10,000 to validate, 1,000 of each class, and 10,000 to test.

    No code in the pickled files is ever run.
    Shapes: x (n, 3, 32, 32) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: Krizhevsky 2009; folder cifar-10-batches-py in data_dir, as torchvision lays it out.
    """
    train, test, classes = cifar_parts(
        "CIFAR10",
        data_dir / "cifar-10-batches-py",
        train=[f"data_batch_{number}" for number in range(1, 6)],
        test="test_batch",
        meta="batches.meta",
        labels="labels",
        classes="label_names",
    )
    return prepare.splits(train, test, classes)
