"""CIFAR-100 in torchvision's folder layout, downloaded on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tinyclsf.plugin import Preparation, Splits, prepared, scripted
from tinyclsf_plugins.datasets.cifar_batches import cifar_parts


@scripted("tinyclsf_plugins.datasets.mnist_cifar_script:cifar100")
@prepared
def cifar100(prepare: Preparation, *, data_dir: Path, labels: Literal["fine", "coarse"] = "fine") -> Splits:
    """Colour photographs in 100 classes: 40,000 for training, a fifth of each class for validation, and 10,000 for testing.

    With labels=coarse the classes are the 20 superclasses. No code in the pickled files is ever run.
    Shapes: x (n, 3, 32, 32) uint8 in 0..255; y (n,) int64 in 0..99, or 0..19.
    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    Source: Krizhevsky 2009; folder cifar-100-python in data_dir, in torchvision's layout.
    """
    train, test, classes = cifar_parts(
        "CIFAR100",
        data_dir / "cifar-100-python",
        train=["train"],
        test="test",
        meta="meta",
        labels=f"{labels}_labels",
        classes=f"{labels}_label_names",
    )
    return prepare.splits(train, test, classes)
