"""MNIST to 99 % test accuracy: seconds from the start of the process, over several seeds.

    python benchmarks/mnist_99.py FOLDER [--seeds 10]

FOLDER has the four IDX files of MNIST. Each seed is a command in a process of its own, as a person would run it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from tempfile import TemporaryDirectory

RECIPE = "lenet -m padding=2 --data mnist --epochs 4 --batch-size 100"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="seeds from 0 on (default 10)")
    options = parser.parse_args()
    found, seconds = [], []
    print(f"tinyclsf fit {RECIPE}")
    for seed in range(options.seeds):
        with TemporaryDirectory() as runs:
            more = ["--seed", str(seed), "--data-dir", options.folder, "--runs", runs, "--device", "cpu", "--json"]
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "tinyclsf", "fit", *RECIPE.split(), *more], check=True, capture_output=True, text=True
            )
        seconds.append(time.perf_counter() - start)
        document = json.loads(done.stdout)
        found.append(document["held_out"]["accuracy"])
        training = sum(row["seconds"] for row in document["history"])
        print(f"seed {seed}: {found[-1]:.2%}, {seconds[-1]:.1f} s, of which training {training:.1f} s", flush=True)
    print(f"mean {statistics.mean(found):.3%}, standard deviation {statistics.pstdev(found):.3%}, lowest {min(found):.2%}")
    print(f"median {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")


if __name__ == "__main__":
    main()
