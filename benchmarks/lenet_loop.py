"""The course note's LeNet in a plain loop at the note's settings: one epoch, batches of 50, Adam at 0.001, five seeds.

    python benchmarks/lenet_loop.py FOLDER [60000]

FOLDER has MNIST/raw. The number is that of training images; without it they are the 50,000 of `tinyclsf fit --data mnist`.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tinyclsf_plugins.datasets.idx import read_pair


def train(seed: int, dataset: TensorDataset) -> nn.Module:
    """One epoch under a seed."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16 * 4 * 4, 10)),
    )
    opt = torch.optim.Adam(model.parameters(), lr=0.001)
    for x, y in DataLoader(dataset, batch_size=50, shuffle=True):
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
    return model


def main() -> None:
    """Train and score under each seed."""
    raw, count = Path(sys.argv[1], "MNIST", "raw"), int((sys.argv[2:] or ["50000"])[0])
    parts = (read_pair(raw / f"{part}-images-idx3-ubyte", raw / f"{part}-labels-idx1-ubyte") for part in ("train", "t10k"))
    (x, y), (x_test, y_test) = ((part.x / 255, part.y) for part in parts)
    for seed in range(5):
        model = train(seed, TensorDataset(x[:count], y[:count]))
        with torch.no_grad():
            right = model(x_test).argmax(1) == y_test
        print(f"{count:,} training images, seed {seed}: test accuracy {right.float().mean() * 100:.2f} %", flush=True)


if __name__ == "__main__":
    main()
