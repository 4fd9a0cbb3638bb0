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
from torch import nn

import tinyclsf
from tests.support.messages import message
from tinyclsf.cli.app import main
from tinyclsf.drawing.figures import draw_confusion, save_figure
from tinyclsf.errors import ConfigurationError
from tinyclsf.loop.evaluation import Predictions
from tinyclsf.machine.storage import check_target
from tinyclsf.modules import Preprocess
from tinyclsf.runs.checkpoints import load_checkpoint
from tinyclsf.runs.keeping import BestModel, Checkpoints

LOOSE: Any = tinyclsf  # called with what no type checker lets through
MODEL = tinyclsf.Classifier(Preprocess(), nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), "ab", (1, 4, 4))
PREDICTIONS = Predictions(torch.ones(1, 2), torch.ones(1))
PLUGIN = "a dictionary with name and options"
LOOSE_CHECKPOINTS: Any = Checkpoints


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
    tinyclsf.export_model(root / "small", "safetensors", root / "model.safetensors")
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
    "plot": lambda path: tinyclsf.plot([f"{path}/small", f"{path}/large"]),
    "predict_files": lambda path: list(tinyclsf.predict_files(classifier(path), f"{path}/photos/cat")),
    "save_model": lambda path: tinyclsf.save_model(classifier(path), f"{path}/copy"),
    "show_samples": lambda path: tinyclsf.show_samples(torch.zeros(1, 1, 4, 4), [0], ["a"], (1, 1), out=f"{path}/samples.png"),
    "write_report": lambda path: tinyclsf.write_report(f"{path}/small", f"{path}/page.html"),
    "write_script": lambda path: tinyclsf.write_script(f"{path}/small", f"{path}/train.py"),
    "check_target": lambda path: check_target(f"{path}/new"),
    "load_checkpoint": lambda path: load_checkpoint(f"{path}/small"),
    "save_figure": lambda path: save_figure(draw_confusion([(0, 0, 1)], ["a"]), f"{path}/confusion.svg"),
    "BestModel": lambda path: BestModel(f"{path}/best.safetensors").path / "",
    "Checkpoints": lambda path: Checkpoints(f"{path}/small").folder / "",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_path_may_be_text(runs: Path, call: Callable[[str], Any]) -> None:
    call(str(runs))


@pytest.mark.parametrize("odd", [3, None, b"runs", ["small"], "a\0b", float("nan")], ids=repr)
def test_what_is_no_path_is_said(runs: Path, odd: Any) -> None:
    """Every call names the argument, what it got and what it wanted."""
    model = classifier(str(runs))
    calls: dict[str, Callable[[], Any]] = {
        "a folder": lambda: tinyclsf.compare([runs / "small", odd]),
        "run": lambda: tinyclsf.export_model(odd),
        "path": lambda: tinyclsf.load_exported(odd),
        "folder": lambda: tinyclsf.load_model(odd),
        "folder ": lambda: tinyclsf.load_run(odd),
        "folder  ": lambda: tinyclsf.save_model(model, odd),
        "folder   ": lambda: tinyclsf.write_report(odd),
        "run_folder": lambda: tinyclsf.write_script(odd),
        "folder    ": lambda: load_checkpoint(odd),
        "folder     ": lambda: Checkpoints(odd),
        "path ": lambda: BestModel(odd),
    }
    if odd is not None:
        calls |= {
            "out": lambda: tinyclsf.write_report(runs / "small", odd),
            "out ": lambda: tinyclsf.write_script(runs / "small", odd),
            "out  ": lambda: tinyclsf.export_model(runs / "small", "safetensors", odd),
            "data_dir": lambda: tinyclsf.load_splits(tinyclsf.load_run(runs / "small"), data_dir=odd),
            "data_dir ": lambda: tinyclsf.train("linear", data="digits", data_dir=odd),
            "config": lambda: tinyclsf.train("linear", config=odd),
            "resume": lambda: tinyclsf.train(resume=odd),
            "runs": lambda: tinyclsf.train("linear", runs=odd),
        }
    wanted = f"of type {type(odd).__name__}; wanted a path as str or Path"
    if isinstance(odd, str):
        wanted = "'a\\x00b'; wanted a path, which has no NUL character"
    for name, call in calls.items():
        assert message(call, ConfigurationError) == f"{name.strip()} is {wanted}"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda path: LOOSE.compare(path), "compare needs at least two runs; got only {}; 'tinyclsf runs' shows all"),
        (lambda path: LOOSE.compare(3), "folders is of type int; wanted the folders of two runs or more"),
        (lambda path: LOOSE.save_model(3, path), "model is of type int; wanted a Classifier"),
        (lambda path: LOOSE.load_model(path, 3), "network is of type int; wanted an nn.Module"),
        (lambda path: LOOSE.load_splits(3), "run is of type int; wanted a TrainedRun, as load_run gives it"),
        (lambda path: LOOSE.predict_files(3, path), "model is of type int; wanted a Classifier, as load_model gives it"),
        (lambda path: LOOSE.assess(3, []), "predictions is of type int; wanted Predictions"),
        (
            lambda path: LOOSE.assess(Predictions(torch.ones(1, 2), torch.ones(1)), 2),
            "classes is of type int; wanted a list of names",
        ),
        (
            lambda path: LOOSE.save_model(MODEL, path, plugin="x"),
            "plugin is of type str; wanted a dictionary with name and options",
        ),
        (lambda path: LOOSE.predict_files(MODEL, path, device=0), "device is of type int; wanted text, such as cpu"),
        (lambda path: LOOSE.predict_files(MODEL, path, batch_size=0), "batch_size is 0; wanted a whole number of at least 1"),
        (lambda path: LOOSE.summarize(MODEL, 4), "image_shape is of type int; wanted channels, height and width"),
        (lambda path: LOOSE.summarize(MODEL, [1, 0, 4]), "image_shape is [1, 0, 4]; wanted channels, height and width"),
        (lambda path: LOOSE.summarize(3), "model is of type int; wanted an nn.Module"),
        (lambda path: LOOSE.train("linear", callbacks="csv"), "callbacks is of type str; wanted a list of names and callbacks"),
        (lambda path: LOOSE.train("linear", callbacks=[3]), "a callback is of type int; wanted a name or a Callback"),
        (lambda path: LOOSE.train("linear", run=3), "run is of type int; wanted the name of a run folder"),
        (
            lambda path: LOOSE_CHECKPOINTS(path, 1.5),
            "a checkpoint every 1.5 batches cannot be; wanted a whole number of at least 1",
        ),
    ],
)
def test_what_is_of_another_type_is_said(tmp_path: Path, call: Callable[[str], Any], sentence: str) -> None:
    assert message(lambda: call(str(tmp_path)), ConfigurationError) == sentence.format(tmp_path)


def test_every_public_call_that_takes_a_path_is_tried() -> None:
    plain = {"assess", "accuracy", "check", "fit", "get_data", "loss_batch", "summarize", "train"}
    calls = {name for name in tinyclsf.__all__ if name[0].islower()}
    assert calls - plain <= set(CALLS)
