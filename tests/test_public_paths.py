"""Every call in Python takes a path as text; and two runs on the same files are compared, whatever their size and place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tinyclsf
from tinyclsf.cli.app import main
from tinyclsf.drawing.figures import draw_confusion, save_figure
from tinyclsf.machine.storage import check_target
from tinyclsf.runs.checkpoints import load_checkpoint
from tinyclsf.runs.keeping import BestModel, Checkpoints


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs `small` and `large` of the same pictures, the second of a copy of their folder."""
    root = tmp_path_factory.mktemp("public")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (root / "photos" / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(random.integers(0, 256, (20, 20), np.uint8)).save(root / "photos" / name / f"{number}.png")
    shutil.copytree(root / "photos", root / "copy")
    for run, folder, size in (("small", "photos", 8), ("large", "copy", 16)):
        data = ("--data", "image-folder", "--data-dir", str(root / folder), "-d", f"size={size}", "-d", "channels=1")
        where = ("--runs", str(root), "--run", run, "--progress", "none")
        assert main(["fit", "linear", *data, "--epochs", "1", *where]) == 0
    return root


def test_runs_on_the_same_files_are_tested_though_their_sizes_differ(runs: Path) -> None:
    [pair] = tinyclsf.compare([runs / "small", runs / "large"]).pairs
    assert pair.test is not None
    assert sum(pair.test[:4]) == 4  # a fifth of the pictures validates


def classifier(path: str) -> tinyclsf.Classifier:
    return tinyclsf.load_model(f"{path}/small")


CALLS: dict[str, Callable[[str], Any]] = {
    "compare": lambda path: tinyclsf.compare([f"{path}/small", f"{path}/large"]),
    "export_model": lambda path: tinyclsf.export_model(f"{path}/small", "safetensors", f"{path}/model.safetensors"),
    "load_exported": lambda path: tinyclsf.load_exported(f"{path}/model.safetensors"),
    "load_model": classifier,
    "load_run": lambda path: tinyclsf.load_run(f"{path}/small"),
    "load_splits": lambda path: tinyclsf.load_splits(tinyclsf.load_run(f"{path}/small"), data_dir=f"{path}/copy"),
    "predict_files": lambda path: list(tinyclsf.predict_files(classifier(path), f"{path}/photos/cat")),
    "save_model": lambda path: tinyclsf.save_model(classifier(path), f"{path}/copy"),
    "show_samples": lambda path: tinyclsf.show_samples(torch.zeros(1, 1, 4, 4), [0], ["a"], (1, 1), out=f"{path}/samples.png"),
    "write_report": lambda path: tinyclsf.write_report(f"{path}/small", f"{path}/page.html"),
    "write_script": lambda path: tinyclsf.write_script(f"{path}/small", f"{path}/train.py"),
    "check_target": lambda path: check_target(f"{path}/new"),
    "load_checkpoint": lambda path: load_checkpoint(f"{path}/small"),
    "save_figure": lambda path: save_figure(draw_confusion([[1]], ["a"]), f"{path}/confusion.svg"),
    "BestModel": lambda path: BestModel(f"{path}/best.safetensors").path / "",
    "Checkpoints": lambda path: Checkpoints(f"{path}/small").folder / "",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_path_may_be_text(runs: Path, call: Callable[[str], Any]) -> None:
    call(str(runs))


def test_every_public_call_that_takes_a_path_is_tried() -> None:
    plain = {"assess", "accuracy", "check", "fit", "get_data", "loss_batch", "summarize", "train"}
    calls = {name for name in tinyclsf.__all__ if name[0].islower()}
    assert calls - plain <= set(CALLS)
