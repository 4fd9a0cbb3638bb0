"""What a short training takes: random images, and a model with its optimizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import TensorDataset


def images(n: int, seed: int, pixels: int = 784) -> TensorDataset:
    """Random pixels, with labels of 10 classes."""
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.rand(n, pixels, generator=generator), torch.randint(10, (n,), generator=generator))


def regularised(pixels: int = 784) -> nn.Module:
    """Layers that do one thing in training and another in evaluation."""
    return nn.Sequential(nn.Linear(pixels, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 10))


def begin(make: Callable[[], nn.Module], lr: float = 0.1) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model that begins with the same weights each time, and its optimizer."""
    torch.manual_seed(7)
    model = make()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
