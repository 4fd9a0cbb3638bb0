"""Odd files of runs, through every command that reads them: none may end as a bug, hang, or touch what is not its own."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.commands import Install
from tests.support.mutants import damaged

DOTS = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def dots(*, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    def images(n):
        y = torch.arange(n) % 3
        x = torch.randint(0, 60, (n, 1, 4, 4), dtype=torch.uint8, generator=generator)
        x[torch.arange(n), 0, y, y] = 255
        return Images(x, y)
    return Splits(images(24), images(12), images(12), ("a", "b", "c"), (1, 4, 4), Preprocess(0.0, 255.0))
"""
QUIET = ("--progress", "none")
FIT = ["fit", "linear", "--data", "dots", "--epochs", "2", "--batch-size", "8", "--optimizer", "adam"]
FIT += [*QUIET, "--schedule", "cosine", "--patience", "3", "--ema-decay", "0.5"]
RUNS, PREDICT, SUMMARY = ["runs"], ["predict", "odd", "dot.png"], ["summary", "odd"]
SCRIPT, EXPORT = ["script", "odd", "--out", "train.py"], ["export", "odd", "--to", "safetensors"]
RESUME, AGAIN = ["fit", "--resume", "odd", "--epochs", "3", *QUIET], ["fit", "--config", "odd.json", *QUIET]
COMPARE, REPORT, EVALUATE = ["compare", "odd", "good"], ["report", "odd"], ["evaluate", "odd"]
DRAWING = (COMPARE, REPORT, EVALUATE)  # half a second each: rarer, for more of the others
READERS = {
    "config.json": (RUNS, COMPARE, EVALUATE, REPORT, PREDICT, SUMMARY, SCRIPT, EXPORT, RESUME, AGAIN),
    "state.json": (RUNS, COMPARE, REPORT, SCRIPT),
    "metrics.jsonl": (RUNS, COMPARE, REPORT, RESUME),
    "model.json": (EVALUATE, PREDICT, SUMMARY, EXPORT, REPORT, SCRIPT),
    "model.safetensors": (EVALUATE, PREDICT, SUMMARY, EXPORT, RESUME),
    "predictions.npz": (COMPARE, REPORT),
    "checkpoint.pt": (RESUME,),
}


@pytest.fixture
def runs(tmp_path: Path, install: Install, cli: Any) -> Path:
    """Two runs, and a picture."""
    install("dots-package", DOTS, module="dots_module", datasets={"dots": "dots_module:dots"})
    for name in ("good", "fine"):
        assert cli(*FIT, "--run", name).code == 0
    Image.new("L", (4, 4), 99).save(tmp_path / "dot.png")
    return Path("runs").absolute()


def digest(folder: Path) -> str:
    return hashlib.blake2b(b"".join(path.read_bytes() for path in sorted(folder.iterdir()))).hexdigest()


def refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def faults_of(seed: int, runs: Path, cli: Any) -> list[str]:
    """What is wrong with what a command makes of an odd run."""
    rng = random.Random(seed)
    odd, good = runs / "odd", digest(runs / "good")
    shutil.copytree(runs / "fine", odd)
    name = rng.choices(list(READERS), [1 if name == "predictions.npz" else 20 for name in READERS])[0]
    if name == "checkpoint.pt":
        (odd / "checkpoint.previous.pt").unlink()
    what = damaged(odd / name, seed)
    if (odd / "config.json").is_file():
        shutil.copy(odd / "config.json", "odd.json")
    readers = READERS[name]
    command = rng.choices(readers, [1 if each in DRAWING else 40 for each in readers])[0]
    as_json = rng.random() < 0.3
    start = time.monotonic()
    result = cli(*command, *(["--json"] if as_json else []))
    found = [] if result.code in (0, 2, 3, 4, 5, 6, 7) else [f"exit code {result.code}"]
    found += ["traceback"] if "Traceback" in result.err else []
    found += ["slow"] if time.monotonic() - start > 20 else []
    found += ["neighbour changed"] if digest(runs / "good") != good else []
    if as_json:
        try:
            json.loads(result.out, parse_constant=refuse)
        except ValueError as error:
            found.append(f"stdout: {error}")
    for folder in runs.iterdir():
        if folder.name not in ("good", "fine"):
            shutil.rmtree(folder)
    last = result.err.strip().splitlines()[-1:]
    return [f"{seed}: {fault}: {' '.join(command)} with {what}: {last}" for fault in found]


STRESS = [pytest.param(range(start, start + 2000), marks=pytest.mark.stress) for start in range(50, 20_000, 2000)]


@pytest.mark.parametrize("mutants", [range(50), *STRESS], ids=lambda seeds: f"{seeds.start}-{seeds.stop}")
def test_odd_files_of_a_run_end_in_a_sentence(mutants: range, runs: Path, cli: Any) -> None:
    faults = [fault for seed in mutants for fault in faults_of(seed, runs, cli)]
    assert not faults, "\n".join(faults)
