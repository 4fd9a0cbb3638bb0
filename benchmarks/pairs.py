"""Timing two or more ways of doing one thing side by side: in turn, round after round, quoted as medians of ratios."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tinyclsf_plugins.datasets.mnist import mnist

DATA_DIR = Path(os.environ.get("TINYCLSF_DATA") or "~/.cache/tinyclsf").expanduser()


def mnist_as_floats() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """MNIST as the tutorial has it: x (n, 784) float32 in 0..1, training then validation."""
    splits = mnist(data_dir=DATA_DIR)
    (x_train, y_train), (x_valid, y_valid) = splits.train.tensors, splits.valid.tensors
    return x_train.flatten(1) / 256, y_train, x_valid.flatten(1) / 256, y_valid


def compare(title: str, ways: dict[str, Callable[[], object]], *, rounds: int = 5) -> None:
    """Time every way once a round, after one to warm up, and print medians; ratios are to the first way, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    first = next(iter(seconds.values()))
    print(f"{title} (median of {rounds}; torch {torch.__version__}, {torch.get_num_threads()} threads)")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        spread = f"{min(times):.3f} to {max(times):.3f}"
        print(f"  {name:<40} {statistics.median(times):8.3f} s  ({spread})  {ratio:6.2f} times as fast")
