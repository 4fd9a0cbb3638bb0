"""The four IDX files of MNIST and of the sets that were made to replace it, in torchvision's folder layout."""

from __future__ import annotations

import os
from pathlib import Path

from tinyclsf.plugin import Images
from tinyclsf_plugins.datasets.downloads import download
from tinyclsf_plugins.datasets.idx import read_pair

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def mnist_parts(name: str, data_dir: Path) -> tuple[Images, Images]:
    """The training and test images in data_dir/`name`/raw; torchvision's class of that name downloads what is missing.

    Raises: DataError if a file is broken, or missing and cannot be downloaded.
    """
    raw = data_dir / name / "raw"
    missing = [file for file in FILES if not (os.path.exists(raw / file) or os.path.exists(raw / f"{file}.gz"))]
    if missing:
        otherwise = f"point --data-dir at a folder that holds {name}/raw"
        download(name, raw, lambda scratch: _fetch(name, scratch, missing), otherwise=otherwise)
    # Read here and not by torchvision: without its import, seconds earlier and in 100 MB less.
    return read_pair(raw / FILES[0], raw / FILES[1]), read_pair(raw / FILES[2], raw / FILES[3])


def _fetch(name: str, scratch: Path, files: list[str]) -> list[Path]:
    from torchvision import datasets  # type: ignore[import-untyped]

    getattr(datasets, name)(scratch, download=True)
    return [scratch / name / "raw" / file for file in files]
