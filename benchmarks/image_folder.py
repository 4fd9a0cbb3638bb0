"""Decoding a folder of pictures: image-folder against torchvision's ImageFolder under a DataLoader with workers.

`python benchmarks/image_folder.py FOLDER SIZE`, where FOLDER has train/CLASS/* and test/CLASS/*, as CIFAR-10 saved as files.
Each way runs in a process of its own, and the ways take turns. Growth is that of peak memory since torch was imported.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import PIL
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

from tinyclsf_plugins.datasets.image_folder import image_folder

WORKERS, ROUNDS = 2, 7
WAYS = (f"ImageFolder, {WORKERS} workers", "image-folder", "image-folder, stats")


def read_by_torchvision(folder: Path, size: int) -> int:
    """Bytes of pixels, none of which are kept."""
    first = next(folder.glob("train/*/*"))
    fitting = [] if Image.open(first).size == (size, size) else [Resize(size), CenterCrop(size)]
    total = 0
    for part in ("train", "test"):
        dataset = ImageFolder(folder / part, Compose([*fitting, PILToTensor()]))
        total += sum(xb.numel() for xb, _ in DataLoader(dataset, 256, num_workers=WORKERS))
    return total


def read_by_image_folder(folder: Path, size: int, normalize: str) -> int:
    splits = image_folder(data_dir=folder, size=size, cache="off", normalize=normalize)
    return sum(part.x.numel() for part in (splits.train, splits.valid, splits.test))


def peak() -> float:
    """Peak resident memory so far, in MB (2**20 bytes)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def measure(folder: Path, size: int, way: str) -> None:
    before, start = peak(), time.perf_counter()
    if way == WAYS[0]:
        pixels = read_by_torchvision(folder, size)
    else:
        pixels = read_by_image_folder(folder, size, "stats" if way == WAYS[2] else "unit")
    print(time.perf_counter() - start, peak() - before, pixels)


def main(folder: Path, size: int) -> None:
    seconds, growth, pixels = {way: [] for way in WAYS}, {way: [] for way in WAYS}, set()
    for _ in range(ROUNDS):
        for way in WAYS:
            command = [sys.executable, __file__, str(folder), str(size), way]
            took, grown, count = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            seconds[way].append(float(took))
            growth[way].append(float(grown))
            pixels.add(int(count))
    (tensor,) = (count / 2**20 for count in pixels)  # all ways give the same number of pixels
    print(f"{tensor:.0f} MB of pixels from files (median of {ROUNDS}; torch {torch.__version__}, Pillow {PIL.__version__})")
    for way, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds[WAYS[0]], times, strict=True))
        spread = f"{min(times):.2f} to {max(times):.2f}"
        grown = statistics.median(growth[way])
        print(
            f"  {way:<24} {statistics.median(times):6.2f} s  ({spread})  {ratio:5.2f} times as fast; "
            f"peak memory grew by {grown:.0f} MB, {grown / tensor:.2f} of the pixels"
        )


if __name__ == "__main__":
    folder, size, *way = sys.argv[1:]
    measure(Path(folder), int(size), *way) if way else main(Path(folder), int(size))
