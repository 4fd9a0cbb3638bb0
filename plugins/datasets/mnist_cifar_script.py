"""How a script reads MNIST, the sets that were made to replace it, and CIFAR: with torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tinyclsf.plugin import ScriptReader, as_source

_MNIST = "{split}.data.unsqueeze(1), {split}.targets"
_CIFAR = "torch.from_numpy({split}.data).permute(0, 3, 1, 2).contiguous(), torch.tensor({split}.targets)"
_TAIL = """    # The last of the training file validate.
    train, valid = TensorDataset(x[:50_000], y[:50_000]), TensorDataset(x[50_000:], y[50_000:])"""
_STRATIFIED = """    held_out = stratified(y, 10_000, seed={seed})  # the same share of every class validates
    rest = torch.ones(len(y), dtype=torch.bool).index_fill_(0, held_out, False)
    train, valid = TensorDataset(x[rest], y[rest]), TensorDataset(x[held_out], y[held_out])"""


def _reader(
    name: str,
    folder: str,
    last: str,
    pixels: str,
    train: str,
    split: str,
    content: Mapping[str, Any],
    /,
    *,
    data_dir: Path,
    seed: int,
    **others: Any,
) -> ScriptReader | None:
    if others.get("labels", "fine") != "fine":
        return None
    code = f'''
from pathlib import Path

import torch
from torch.utils.data import TensorDataset
from torchvision import datasets

from tinyclsf.plugin import stratified

DATA = {as_source(str(data_dir))}


def load_data() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """{name}: {train} images to train, 10,000 to validate, 10,000 to test; downloaded where it is not there yet."""
    # Files of your own are never replaced.
    missing = not any(Path(DATA, {as_source(folder)}).glob({as_source(last)}))
    train_set = datasets.{name}(DATA, train=True, download=missing)
    test_set = datasets.{name}(DATA, train=False, download=missing)
    x, y = {pixels.format(split="train_set")}
{split.format(seed=seed)}
    return train, valid, TensorDataset({pixels.format(split="test_set")})
'''
    return ScriptReader(code, f"{name} in {data_dir}, read by torchvision", data_dir / folder)


mnist = partial(_reader, "MNIST", "MNIST/raw", "t10k-labels*", _MNIST, "50,000", _TAIL)
fashion_mnist = partial(_reader, "FashionMNIST", "FashionMNIST/raw", "t10k-labels*", _MNIST, "50,000", _STRATIFIED)
kmnist = partial(_reader, "KMNIST", "KMNIST/raw", "t10k-labels*", _MNIST, "50,000", _STRATIFIED)
cifar10 = partial(_reader, "CIFAR10", "cifar-10-batches-py", "test_batch", _CIFAR, "40,000", _STRATIFIED)
cifar100 = partial(_reader, "CIFAR100", "cifar-100-python", "test", _CIFAR, "40,000", _STRATIFIED)
