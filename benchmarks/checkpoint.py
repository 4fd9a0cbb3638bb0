"""Saving the whole state of a run: a small network's, and that of a VGG of 134 million parameters against `torch.save`."""

import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tinyclsf import Trainer, get_data
from tinyclsf.runs.checkpoints import load_checkpoint, save_checkpoint
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.vgg import VGG

ROUNDS = 9


def state_after_a_step(model: torch.nn.Module, shape: tuple[int, ...]) -> dict:
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    images = TensorDataset(torch.rand(2, *shape), torch.zeros(2, dtype=torch.int64))
    trainer.fit(1, *get_data(images, images, 2))
    return trainer.state_dict()


def plain(state: dict, folder: Path) -> None:
    """Over what was there: its memory and its place on the disk are at hand."""
    with (folder / "plain.pt").open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def plain_and_anew(state: dict, folder: Path) -> None:
    """Into a new file that then takes the old one's name: as safe as can be with one generation."""
    plain(state, folder / "new")
    os.replace(folder / "new" / "plain.pt", folder / "new" / "kept.pt")


def seconds(save, state: dict, folder: Path) -> float:
    start = time.perf_counter()
    save(state, folder)
    return time.perf_counter() - start


if __name__ == "__main__":
    models = {"mnist-cnn": (Mnist_CNN(), (784,)), "VGG-16 at 224x224": (VGG((3, 224, 224), 10, depth=16), (3, 224, 224))}
    for name, (model, shape) in models.items():
        state = state_after_a_step(model, shape)
        count = sum(parameter.numel() for parameter in model.parameters())
        ways = {"torch.save and fsync": plain, "the same, into a new file": plain_and_anew, "a checkpoint": save_checkpoint}
        times: dict[str, list[float]] = {way: [] for way in ways}
        with TemporaryDirectory(dir=".") as scratch:
            folder = Path(scratch)
            (folder / "new").mkdir()
            for _ in range(ROUNDS):
                for way, save in ways.items():
                    times[way].append(seconds(save, state, folder))
            size = (folder / "checkpoint.pt").stat().st_size
            start = time.perf_counter()
            load_checkpoint(folder)
            loading = time.perf_counter() - start
        print(f"{name}: {count:,} parameters, with momentum {size / 1e6:.1f} MB (median of {ROUNDS})")
        for way, found in times.items():
            ratio = statistics.median(b / a for a, b in zip(times["torch.save and fsync"], found, strict=True))
            spread = f"{min(found) * 1000:.1f} to {max(found) * 1000:.1f}"
            print(f"  {way:<26} {statistics.median(found) * 1000:8.1f} ms  ({spread})  {ratio:.2f} times as long as the first")
        print(f"  reading it, checksums and all, {loading * 1000:.0f} ms")
