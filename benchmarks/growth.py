"""How processor time, memory and disk grow with images, pixels, classes, runs and epochs: whole processes of the command line.

All is made up in the current folder, 2 GB: grey noise in IDX files, and the files of one run again and again. Each row is the
least of two rounds, as other programs share the machine. The first row of a table does next to nothing; `more` is what a row
takes beyond it, and `growth` how many times as much that is as in the row above, where that is a tenth of a second at least.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyclsf.runs.ending import read_ending, write_state

ROUNDS = 2
TINYCLSF = str(Path(sys.executable).with_name("tinyclsf"))
RUNS = Path("runs")


def measured(*command: str) -> tuple[float, float]:
    """Processor seconds and peak memory in MB (2**20 bytes) of one process; this one is smaller."""
    process = subprocess.Popen([TINYCLSF, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def table(title: str, sizes: Sequence[str], run: Callable[[str], tuple[str, ...]]) -> None:
    """Run a command for each size, and print what it took."""
    rounds = [[measured(*run(size)) for size in sizes] for _ in range(ROUNDS)]
    seconds, peaks = zip(*(map(min, zip(*turns, strict=True)) for turns in zip(*rounds, strict=True)), strict=True)
    more = [each - seconds[0] for each in seconds]
    print(f"\n{title}\n{'':>22}   seconds      more    growth        MB   disk MB")
    for row, size in enumerate(sizes):
        growth = f"{more[row] / more[row - 1]:.1f}" if row and more[row - 1] >= 0.1 else ""
        print(f"{size:>22}{seconds[row]:10.2f}{more[row]:10.2f}{growth:>10}{peaks[row]:10.0f}{disk(RUNS / size):10.2f}")


def disk(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def fit(size: str) -> tuple[str, ...]:
    """One epoch of a linear model on images of a size such as 1000x28, with as many classes as follow it, else 10."""
    images, side, classes = [*map(int, size.split("x")), 10][:3]
    folder = Path(size)
    if not folder.exists():
        folder.mkdir()
        with (folder / "images").open("wb") as file:
            file.write(idx_header(0x08, images, side, side))
            for _ in range(images):
                file.write(random.randbytes(side * side))
        labels = array("i", (number % classes for number in range(images)))
        labels.byteswap()
        (folder / "labels").write_bytes(idx_header(0x0C, images) + labels.tobytes())
    shutil.rmtree(RUNS / size, ignore_errors=True)
    options = ["images=images", "labels=labels", "test_images=none", "test_labels=none", "split=stratified"]
    data = ["--data", "idx", "--data-dir", size, *(word for option in options for word in ("-d", option))]
    return ("fit", "mnist-logistic", *data, "--epochs", "1", "--run", size, "--device", "cpu")


def idx_header(kind: int, *shape: int) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def runs(size: str) -> tuple[str, ...]:
    """List so many runs of ten epochs."""
    for number in range(int(size.split("-")[0])):
        write_run(RUNS / size / f"run-{number}", 10)
    return ("runs", "--runs", str(RUNS / size))


def report(size: str) -> tuple[str, ...]:
    """Report a run of so many epochs."""
    write_run(RUNS / size, int(size.split("-")[0]))
    return ("report", size)


def write_run(folder: Path, epochs: int) -> None:
    if folder.exists():
        return
    shutil.copytree(RUNS / "1000x28", folder, ignore=lambda _, names: [name for name in names if ".json" not in name])
    [row] = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    lines = [json.dumps(row | {"epoch": epoch, "train_loss": row["train_loss"] / epoch}) for epoch in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, ""]))
    ending = read_ending(folder)
    assert ending is not None
    write_state(folder, "done", held_out=ending.held_out)  # with the outline of these epochs


if __name__ == "__main__":
    with TemporaryDirectory(dir=".") as scratch:
        os.chdir(scratch)
        table("fit, by images", ["100x28", "1000x28", "10000x28", "100000x28", "1000000x28"], fit)
        table("fit, by pixels", ["100x28", "2000x28", "2000x56", "2000x112", "2000x224", "2000x448"], fit)
        by_class = [f"20000x28x{classes}" for classes in (2, 10, 100, 1_000, 5_000)]
        table("fit, by classes", by_class, fit)
        table("evaluate --json, by classes", by_class, lambda size: ("evaluate", size, "--json"))
        table("report, by classes", by_class, lambda size: ("report", size))
        table("report, by epochs", [f"{number}-epochs" for number in (1, 10, 100, 1_000, 10_000)], report)
        table("runs, by runs", [f"{number}-runs" for number in (0, 10, 100, 1_000, 10_000)], runs)
        os.chdir("..")
