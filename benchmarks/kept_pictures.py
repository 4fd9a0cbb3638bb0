"""Decoded pictures that are kept: what a second run saves, and a set that is larger than the memory.

`python benchmarks/kept_pictures.py start FOLDER SIZE`, where FOLDER has train/CLASS/* and test/CLASS/*, as CIFAR-10 saved as
files: the first run, later ones, and one that keeps nothing, each in a process of its own, in turn.

`python benchmarks/kept_pictures.py large FOLDER` makes pictures in FOLDER whose pixels take four times LIMIT, and fetches them
in shuffled batches. It needs root, and control groups of version 1 for the limit: `ulimit -v` would count all of a mapped file.
Warm means that another process has read the file before; cold, that the system has dropped it.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS, EPOCHS = 5, 3
LIMIT = 512 << 20  # bytes of memory
SIZE, PHOTO, DISTINCT = 224, (500, 375), 100
GROUP = Path("/sys/fs/cgroup/memory/kept_pictures")


def start(folder: Path, size: int, cache: str) -> None:
    from tinyclsf.data import fingerprint
    from tinyclsf_plugins.datasets.image_folder import image_folder

    begin = time.perf_counter()
    splits = image_folder(data_dir=folder, size=size, cache=cache if cache == "off" else Path(cache))
    read = time.perf_counter() - begin
    fingerprint(splits)
    print(read, time.perf_counter() - begin - read)


def compare_starts(folder: Path, size: int) -> None:
    ways = ("first run", "later run", "cache=off")
    found = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir=".") as place:
        run("start-here", folder, size, f"{place}/later run")
        for number in range(ROUNDS):
            for way in ways:
                cache = {"first run": f"{place}/{number}", "cache=off": "off"}.get(way, f"{place}/{way}")
                found[way].append(run("start-here", folder, size, cache))
    print(f"median (and range) of {ROUNDS}")
    for way, rows in found.items():
        read, check = zip(*rows, strict=True)
        ratio = statistics.median(a[0] / b[0] for a, b in zip(found["first run"], rows, strict=True))
        print(
            f"  {way:<10} {statistics.median(read):6.2f} s ({min(read):.2f} to {max(read):.2f}), {ratio:.1f} times as fast as "
            f"the first run; its fingerprint {statistics.median(check):.2f} s"
        )


def make_photos(folder: Path) -> None:
    """As many files as give pixels of four times the limit: some photographs, each many times with other bytes at its end."""
    import numpy as np
    from PIL import Image

    number = 4 * LIMIT // (3 * SIZE**2)
    random = np.random.default_rng(0)
    for at in range(DISTINCT):
        rough = Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).resize(PHOTO, Image.Resampling.BICUBIC)
        noisy = np.asarray(rough).astype(int) + random.integers(-12, 13, (*PHOTO[::-1], 3))
        place = folder / "train" / "ab"[at % 2]
        place.mkdir(parents=True, exist_ok=True)
        first = place / f"{at:03}-0.jpg"
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(first, quality=90)
        for copy in range(1, number // DISTINCT):
            (place / f"{at:03}-{copy}.jpg").write_bytes(first.read_bytes() + copy.to_bytes(4, "little"))


def fetch(folder: Path, way: str) -> None:
    """Images a second in epochs of shuffled batches, and the memory of its own that the process had."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)  # two wait for each other where other programs run too
    if way.startswith("DataLoader"):
        from torch.utils.data import DataLoader
        from torchvision.datasets import ImageFolder
        from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

        dataset = ImageFolder(folder / "train", Compose([Resize(SIZE), CenterCrop(SIZE), PILToTensor()]))
        dataset = torch.utils.data.Subset(dataset, range(0, len(dataset), 4))  # a part of it, as it takes long
        batches = DataLoader(dataset, 64, shuffle=True, num_workers=2)
    else:
        from tinyclsf import Images
        from tinyclsf.batches.loaders import loader
        from tinyclsf_plugins.datasets.image_folder import image_folder

        splits = image_folder(data_dir=folder, size=SIZE, valid_size=2, cache=folder.with_name(f"{folder.name}-kept"))
        train = Images(splits.train.x.clone(), splits.train.y) if way == "in memory" else splits.train
        batches = loader(train, 64, shuffle=True)
    begin = time.perf_counter()
    images = sum(len(xb) for _ in range(1 if way.startswith("DataLoader") else EPOCHS) for xb, _ in batches)
    print(images / (time.perf_counter() - begin), own_memory())


def own_memory() -> float:
    """Bytes that are this process's own, not the system's for files."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024


def limited() -> None:
    (GROUP / "cgroup.procs").write_text("0")


def forget(paths: list[Path]) -> None:
    os.sync()
    for path in paths:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compare_large(folder: Path) -> None:
    if not folder.exists():
        make_photos(folder)
    files = sorted(folder.glob("train/*/*"))
    GROUP.mkdir(exist_ok=True)
    (GROUP / "memory.limit_in_bytes").write_text(str(LIMIT))
    shutil.rmtree(folder.with_name(f"{folder.name}-kept"), ignore_errors=True)
    begin = time.perf_counter()
    run("fetch-here", folder, "mapped", before=limited)
    pixels = 3 * SIZE**2 * len(files)
    kept = list(folder.parent.glob(f"{folder.name}-kept/*"))
    compressed = sum(path.stat().st_size for path in files)
    print(f"{len(files):,} pictures, {pixels >> 20:,} MiB of pixels, {compressed >> 20:,} MiB of JPEG")
    print(f"memory limit {LIMIT >> 20} MiB; decoding and the epochs below it: {time.perf_counter() - begin:.0f} s")
    ways = ("in memory", "mapped, warm", "mapped, cold", "DataLoader, 2 workers, cold")
    found = {way: [] for way in ways}
    peaks = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            if "cold" in way:
                forget([*files, *kept])
            elif "warm" in way:
                for path in kept:
                    subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
            (GROUP / "memory.max_usage_in_bytes").write_text("0")
            speed, own = run("fetch-here", folder, way, before=None if way == "in memory" else limited)
            found[way].append(speed)
            peaks[way].append((own, int((GROUP / "memory.max_usage_in_bytes").read_text())))
    for way, speeds in found.items():
        ratio = statistics.median(b / a for a, b in zip(found["in memory"], speeds, strict=True))
        own, peak = (statistics.median(each) / 2**20 for each in zip(*peaks[way], strict=True))
        group = "" if way == "in memory" else f", peak of its group {peak:.0f} MiB"
        print(
            f"  {way:<28} {statistics.median(speeds):7,.0f} images/s ({min(speeds):,.0f} to {max(speeds):,.0f}), {ratio:.2f} "
            f"of those in memory; memory of its own {own:.0f} MiB{group}"
        )
    GROUP.rmdir()


def run(*words: object, before: object = None) -> tuple[float, ...]:
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=before)
    return tuple(map(float, done.stdout.split()))


if __name__ == "__main__":
    what, folder, *rest = sys.argv[1:]
    if what == "start":
        compare_starts(Path(folder), int(rest[0]))
    elif what == "start-here":
        start(Path(folder), int(rest[0]), rest[1])
    elif what == "large":
        compare_large(Path(folder))
    elif what == "fetch-here":
        fetch(Path(folder), rest[0])
