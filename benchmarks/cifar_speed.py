"""Accuracy against minutes on CIFAR-10: `cifar-speed`, the published recipe in a plain loop, and two other networks, in turn.

    python benchmarks/cifar_speed.py FOLDER [--seeds 3] [--only cifar-speed,loop,resnet18,torch-clsf]

FOLDER has train/<class>/* and test/<class>/*. Each run is a process of its own; a line follows each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

DATA = ["--data", "image-folder", "-d", "size=32", "-d", "valid_size=1000"]
COMMANDS = {
    "cifar-speed": ["cifar-speed", "--precision", "bfloat16"],
    "resnet18": [
        "torchvision",
        "-m",
        "arch=resnet18",
        "-d",
        "normalize=stats",
        "--augment",
        "flip,crop",
        "--precision",
        "bfloat16",
    ],
    "torch-clsf": ["torch-clsf", "--augment", "flip,crop", "--epochs", "20"],
}


def main() -> None:
    """Run seed after seed what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="cifar-speed,loop,resnet18,torch-clsf")
    asked = parser.parse_args()
    for seed in range(asked.seeds):
        for name in asked.only.split(","):
            if name == "loop":
                script = Path(__file__).with_name("cifar_speed_loop.py")
                subprocess.run(
                    [sys.executable, str(script), str(asked.folder), str(seed)], check=True, stderr=subprocess.DEVNULL
                )
            else:
                train(name, asked.folder, seed)


def train(name: str, folder: Path, seed: int) -> None:
    """Train by the command line, score once more with mirror images, and print both accuracies and the seconds of training."""
    with TemporaryDirectory() as runs:
        given = ["--data-dir", str(folder.resolve()), "--seed", str(seed), "--run", "run"]
        done = tinyclsf("fit", *COMMANDS[name], *DATA, *given, "--runs", runs)
        flipped = tinyclsf("evaluate", f"{runs}/run", "--tta", "flip")
    seconds = sum(row["seconds"] for row in done["history"])
    accuracies = f"{done['held_out']['accuracy'] * 100:.2f} %, with flips {flipped['accuracy'] * 100:.2f} %"
    print(f"{name}, seed {seed}: test accuracy {accuracies}; training {seconds:.0f} s", flush=True)


def tinyclsf(*words: str) -> Any:
    """The document that a command prints."""
    command = [sys.executable, "-m", "tinyclsf", *words, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
