"""Train what the course notes trained, by the command line alone, and print the table of what came out.

    python benchmarks/reproduce.py --mnist FOLDER --cifar FOLDER [--only lenet,linear] [--device cuda]

--mnist is a folder with MNIST/raw; --cifar one with train/<class>/* and test/<class>/*, CIFAR-10 as picture files.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torchvision

MLP = "--data mnist --epochs 50 --batch-size 500 --optimizer sgd --lr 0.1"
CIFAR = "--data image-folder -d size=32"
CLSF = f"torch-clsf {CIFAR} -d valid_ratio=0.2 -d split=tail --epochs 5 --batch-size 32 --optimizer rmsprop --lr 0.001"
TUTORIAL = "--data mnist --epochs 2 --batch-size 64 --optimizer sgd --lr 0.1 --momentum 0.9 --schedule none"


@dataclass(frozen=True)
class Reproduction:
    """A note's result and the command that is to reach it, under seed 0 or under so many seeds."""

    name: str
    note: str
    published: str
    command: str
    seeds: int = 1


REPRODUCTIONS = [
    Reproduction("torch-clsf", "TorchClassifier", "test 52.06 %, 59.8 s", CLSF),
    Reproduction("torch-clsf-inputs", "TorchClassifier", "", f"{CLSF} -m dropout=0 -m input_dropout=0.25"),
    Reproduction(
        "cifar-net",
        "CIFAR tutorial",
        "53 %",
        f"cifar-net {CIFAR} -d normalize=half -d valid_size=1000 --epochs 2 --batch-size 4 "
        "--optimizer sgd --lr 0.001 --momentum 0.9",
    ),
    Reproduction("lenet-note", "nn modules", "97.25 %, 18.2 s", "lenet --data mnist --lr 0.001 --schedule none", seeds=5),
    Reproduction("lenet", "nn modules", "", "lenet --data mnist", seeds=5),
    Reproduction("linear-mse", "MLP study", "all four in 25 min", f"linear {MLP} --loss mse"),
    Reproduction("linear", "MLP study", "", f"linear {MLP} --loss cross-entropy"),
    Reproduction("mlp-mse", "MLP study", "", f"mlp {MLP} --loss mse -m batch_norm=false"),
    Reproduction("mlp", "MLP study", "", f"mlp {MLP} --loss cross-entropy -m batch_norm=false"),
    Reproduction("mlp-bn-mse", "MLP study", "", f"mlp {MLP} --loss mse -m batch_norm=true"),
    Reproduction("mlp-bn", "MLP study", "best of all", f"mlp {MLP} --loss cross-entropy -m batch_norm=true"),
    Reproduction(
        "vgg11",
        "VGG",
        "the whole on a GPU: 5 min 35 s",
        f"vgg -m depth=11 {CIFAR} -d fraction=0.25 --epochs 2 --batch-size 64 --optimizer adam --lr 0.0001 "
        "--schedule step --gamma 0.9",
    ),
    Reproduction(
        "vgg16",
        "VGG",
        "falling test loss, 5 min 35 s",
        f"vgg -m depth=16 {CIFAR} --epochs 15 --batch-size 64 --optimizer adam --lr 0.0001 --schedule step --gamma 0.9",
    ),
    Reproduction("mnist-logistic", "torch.nn", "the loop runs", f"mnist-logistic {TUTORIAL}"),
    Reproduction("mnist-cnn", "torch.nn", "the loop runs", f"mnist-cnn {TUTORIAL}"),
]
NEED_A_GPU = {"vgg16"}


def main() -> None:
    """Run the reproductions that were asked for and print their rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--only", help="names, separated by commas: " + ", ".join(each.name for each in REPRODUCTIONS))
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    cuda = torch.cuda.is_available() and asked.device != "cpu"
    names = (
        asked.only.split(",") if asked.only else [each.name for each in REPRODUCTIONS if cuda or each.name not in NEED_A_GPU]
    )
    if unknown := set(names) - {each.name for each in REPRODUCTIONS}:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    print(f"{datetime.date.today()}, {machine(cuda)}, Python {platform.python_version()}, torch {torch.__version__}, ", end="")
    print(f"torchvision {torchvision.__version__}, {torch.get_num_threads()} threads\n")
    print("| note | `tinyclsf fit` | published | test accuracy (95 % interval) | training, whole run |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for each in REPRODUCTIONS:
        if each.name in names:
            reproduce(each, asked.cifar if "image-folder" in each.command else asked.mnist, asked.device)


def reproduce(each: Reproduction, data_dir: Path, device: str) -> None:
    """Print a row, of the seed of median accuracy where there are several; all of them are on stderr."""
    runs = [train(each, data_dir, device, seed) for seed in range(each.seeds)]
    found = sorted(runs, key=lambda run: run["accuracy"])[len(runs) // 2]
    low, high = (f"{share * 100:.2f}" for share in found["interval"])
    accuracy = f"{found['accuracy'] * 100:.2f} % ({low} to {high}, {found['images']:,} images)"
    seconds = f"{found['training']:.1f} s, {found['whole']:.1f} s"
    print(f"| {each.note} | `{each.command}` | {each.published} | {accuracy} | {seconds} |", flush=True)
    if len(runs) > 1:
        by_seed = ", ".join(f"{run['accuracy'] * 100:.2f}" for run in runs)
        print(f"{each.name}: {by_seed} % by seed", file=sys.stderr, flush=True)


def train(each: Reproduction, data_dir: Path, device: str, seed: int) -> dict[str, Any]:
    """Train in a process of its own, as a person would, to the held-out figures and seconds; on stderr the losses."""
    with TemporaryDirectory() as runs:
        flags = ["--data-dir", str(data_dir.resolve()), "--device", device, "--seed", str(seed), "--runs", runs, "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tinyclsf", "fit", *each.command.split(), *flags],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - start
        document = json.loads(done.stdout)
        by_class = accuracies(Path(document["run"])) if each.name == "cifar-net" else ""
    losses = ", ".join(f"{row['valid_loss']:.3f}" for row in document["history"][:: max(1, len(document["history"]) // 5)])
    print(f"{each.name}, seed {seed}: validation loss over the run {losses}; {by_class}", file=sys.stderr, flush=True)
    training = sum(row["seconds"] for row in document["history"])
    return {**document["held_out"], "training": training, "whole": seconds}


def accuracies(run: Path) -> str:
    """The accuracy of each class on the held-out images of a run."""
    classes = json.loads((run / "model.json").read_text())["classes"]
    saved = np.load(run / "predictions.npz")
    right = saved["logits"].argmax(1) == saved["labels"]
    return ", ".join(f"{name} {right[saved['labels'] == label].mean() * 100:.1f} %" for label, name in enumerate(classes))


def machine(cuda: bool) -> str:
    """The processor, or the accelerator where one is used."""
    if cuda:
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    main()
