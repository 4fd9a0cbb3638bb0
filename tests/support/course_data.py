"""Small data sets of digits and colours in the files that MNIST, its pickle and CIFAR-10 are published in."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import torch
from torch import Tensor

from tinyclsf_plugins.datasets.digits import digits

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_course_data(folder: Path) -> None:
    """What the course notes load, in the folder that TINYCLSF_DATA names."""
    splits = digits(train_size=4000)
    parts = [splits.by_name[name].tensors for name in ("train", "valid", "test")]  # type: ignore[attr-defined]
    raw, batches = folder / "MNIST" / "raw", folder / "cifar-10-batches-py"
    raw.mkdir(parents=True)
    for name, (x, y) in (("train", parts[0]), ("t10k", parts[2])):
        _write_idx(raw / f"{name}-images-idx3-ubyte", x[:, 0])
        _write_idx(raw / f"{name}-labels-idx1-ubyte", y)
    arrays = [((x.flatten(1) / 256).numpy(), y.numpy()) for x, y in parts]
    (folder / "mnist.pkl.gz").write_bytes(gzip.compress(pickle.dumps(arrays, 2), 1))
    batches.mkdir()
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}, 2))
    generator = torch.Generator().manual_seed(0)
    colours = torch.randint(2, (10, 3, 1), generator=generator) * 200
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        y = torch.arange(60) % 10
        x = colours[y] + torch.randint(56, (60, 3, 32 * 32), generator=generator)
        batch = {"data": x.to(torch.uint8).flatten(1).numpy(), "labels": y.tolist()}
        (batches / name).write_bytes(pickle.dumps(batch, 2))


def _write_idx(path: Path, values: Tensor) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.to(torch.uint8).numpy().tobytes())
