"""How a script makes the digits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinyclsf.plugin import ScriptReader


def reader(content: Mapping[str, Any], *, train_size: int, seed: int, **others: object) -> ScriptReader:
    """From scikit-learn, framed and jittered."""
    code = f'''
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from tinyclsf_plugins.datasets.digits import framed, jittered


def load_data() -> tuple[TensorDataset, TensorDataset, TensorDataset]:
    """The digits of scikit-learn: 360 to validate, 360 to test, and of the other 1,077 jittered images to train on."""
    digits = load_digits()
    generator = torch.Generator().manual_seed({seed})
    order = torch.randperm(len(digits.target), generator=generator)
    x, y = framed(torch.from_numpy(digits.images))[order], torch.from_numpy(digits.target)[order]
    # Split before jittering: no relative of a held-out digit may be trained on.
    valid, test = TensorDataset(x[:360], y[:360]), TensorDataset(x[360:720], y[360:720])
    x, y = x[720:], y[720:]
    size = {train_size:_}
    train = TensorDataset(jittered(x, size, generator), y[torch.arange(size) % len(y)])
    return train, valid, test
'''
    return ScriptReader(code, "digits of scikit-learn, read by the script")
