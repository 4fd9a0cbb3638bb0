"""CIFAR-10 in torchvision's folder layout, downloaded on first use."""

from __future__ import annotations

from pathlib import Path

from tinyclsf.plugin import Preparation, Splits, prepared, scripted
from tinyclsf_plugins.datasets.cifar_batches import cifar_parts


@scripted("tinyclsf_plugins.datasets.mnist_cifar_script:cifar10")
@prepared
def cifar10(prepare: Preparation, *, data_dir: Path) -> Splits:
    """Colour photographs in 10 classes: 40,000 for training, 10,000 for validation (1,000 of each class), 10,000 for testing.

    No code in the pickled files is ever run.
    Shapes: x (n, 3, 32, 32) uint8 in 0..255; y (n,) int64 in 0..9.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: Krizhevsky 2009; folder cifar-10-batches-py in data_dir, in torchvision's layout.
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
