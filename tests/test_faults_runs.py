"""Runs whose files are broken, odd or closed to their reader: one sentence and exit code 4, and nothing else is harmed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.commands import Cli
from tinyclsf.cli.app import main

FIT = ("fit", "mnist-logistic", "-d", "train_size=320", "--epochs", "1", "--progress", "none")
WEIGHTS = "runs/r/model.safetensors"
Change = Callable[[dict[str, torch.Tensor]], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs `r` and `s`, both done."""
    root = tmp_path_factory.mktemp("trained")
    for name in ("r", "s"):
        assert main([*FIT, "--runs", str(root), "--run", name]) == 0
    return root


@pytest.fixture
def run(cli: Cli, trained: Path) -> Path:
    """A copy of run `r`, beside `s`, in the folder runs here."""
    shutil.copytree(trained, "runs")
    return Path("runs", "r")


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda state: state["network.lin.bias"][3].fill_(float("nan")),
            "has values in network.lin.bias that are not finite numbers, so the model is of no use; train it again",
        ),
        (
            lambda state: state.pop("network.lin.bias"),
            "does not fit its network: Error(s) in loading state_dict for Classifier: "
            'Missing key(s) in state_dict: "network.lin.bias".',
        ),
        (
            lambda state: state.update({"network.lin.bias": torch.zeros(4)}),
            "does not fit its network: Error(s) in loading state_dict for Classifier: size mismatch for network.lin.bias: "
            "copying a param with shape torch.Size([4]) from checkpoint, the shape in current model is torch.Size([10]).",
        ),
    ],
    ids=["nan", "key", "shape"],
)
@pytest.mark.parametrize("more", [(), ("--epochs", "2")], ids=["done", "longer"])
def test_a_run_whose_best_weights_are_broken_does_not_go_on(
    cli: Cli, run: Path, change: Change, message: str, more: tuple[str, ...]
) -> None:
    state = load_file(WEIGHTS)
    change(state)
    save_file(state, WEIGHTS, metadata={"epoch": "1"})
    before = files(run)
    result = cli("fit", "--resume", "r", "--progress", "none", *more)
    assert (result.code, result.out, result.err) == (4, "", f"error: {WEIGHTS} {message}\n")
    assert files(run) == before


def test_one_broken_run_is_one_row_of_the_list(cli: Cli, run: Path) -> None:
    edit(run / "state.json", held_out={"split": "test", "accuracy": 0.5})
    message = "runs/r/state.json: held_out.images is null; wanted a whole number of at least 1"
    message += "; tinyclsf fit --resume runs/r writes it anew"
    listed = cli("runs", "--json").document["runs"]
    assert [(each["name"], each["state"], each["error"]) for each in listed] == [("r", "broken", message), ("s", "done", None)]
    assert cli("runs").code == 0
    for command in (("compare", "r", "s"), ("report", "r")):
        result = cli(*command)
        assert (result.code, result.out, result.err) == (4, "", f"error: {message}\n")
    assert cli("fit", "--resume", "r", "--progress", "none").code == 0
    assert [each["state"] for each in cli("runs", "--json").document["runs"]] == ["done", "done"]


def test_a_history_of_odd_numbers_is_written_anew_by_resuming(cli: Cli, run: Path) -> None:
    before = (run / "metrics.jsonl").read_bytes()
    row = json.loads(before)
    (run / "metrics.jsonl").write_text(json.dumps({**row, "valid_loss": float("inf")}) + "\n")
    result = cli("report", "r")
    message = "runs/r/metrics.jsonl has no epoch in line 1; tinyclsf fit --resume runs/r writes it anew"
    assert (result.code, result.err) == (4, f"error: {message}\n")
    assert cli("fit", "--resume", "r", "--progress", "none").code == 0
    assert (run / "metrics.jsonl").read_bytes() == before


def test_predictions_of_more_images_than_there_are_have_no_pictures(cli: Cli, run: Path) -> None:
    import numpy as np

    with np.load(run / "predictions.npz") as found:
        twice: dict[str, Any] = {name: found[name] if name == "split" else np.concatenate([found[name]] * 2) for name in found}
    np.savez(run / "predictions.npz", **twice)
    result = cli("report", "r", "--json")
    sentence = "The mistakes have no pictures, as the saved predictions are of 720 images and there are 360."
    assert (result.code, result.document["warnings"]) == (0, [sentence])


def test_a_class_that_is_no_utf_8_is_shown(cli: Cli, run: Path) -> None:
    edit(run / "model.json", classes=["\udcff", *"123456789"])
    assert cli("report", "r").code == 0
    assert "\\udcff" in (run / "report.html").read_text(encoding="utf-8")
    config = json.loads((run / "config.json").read_text())
    edit(run / "config.json", commands=["tinyclsf fit \udcff"])
    assert cli("fit", "--resume", "r", "--progress", "none").code == 0
    assert json.loads((run / "config.json").read_text())["commands"][0] == "tinyclsf fit \udcff" != config["commands"][0]


def test_a_script_is_made_of_plain_values_too(cli: Cli, run: Path) -> None:
    written = cli("script", "r").out
    config = json.loads((run / "config.json").read_text())
    plain = {name: entry["value"] for name, entry in config["settings"].items()}
    edit(run / "config.json", settings=plain)
    assert cli("script", "r").out == written
    for changes, message in (
        ({"optimizer": "gone"}, "there is no optimizer 'gone'; choose one of "),
        ({"accumulate": "1"}, 'accumulate is "1"; wanted a whole number of at least 1'),
    ):
        edit(run / "config.json", settings={**plain, **changes})
        result = cli("script", "r")
        assert (result.code, result.out) == (4, "")
        assert message in result.err
    for name in ("loss", "clip_norm"):
        edit(run / "config.json", settings={key: value for key, value in plain.items() if key != name})
        result = cli("script", "r")
        sentence = f"error: runs/r/config.json does not say the run's {name}, which a script is made of\n"
        assert (result.code, result.out, result.err) == (4, "", sentence)


def test_a_callback_that_writes_as_it_is_made_does_not_take_the_name(cli: Cli, install: Callable[..., None]) -> None:
    code = """
from tinyclsf.plugin import Callback, DataError

class Notes(Callback):
    def __init__(self, folder, model_name):
        (folder / "notes").mkdir()
        (folder / "notes/begun").write_text(model_name)

def gone():
    raise DataError("the data is gone")
"""
    install("odd", code, module="odd", callbacks={"notes": "odd:Notes"}, datasets={"gone": "odd:gone"})
    result = cli("fit", "mnist-logistic", "--data", "gone", "--callback", "notes", "--run", "first")
    assert (result.code, result.err.splitlines()[-1]) == (3, "error: the data is gone")
    assert list(Path("runs").iterdir()) == []


BRIGHT = """
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def bright():
    plain, y = torch.rand(40, 1, 4, 4), torch.arange(40) % 2
    return Splits(Images(plain, y), Images(plain, y), Images(plain * 1e38, y), ("a", "b"), (1, 4, 4), Preprocess(0, 1), 1.0)

def net(image_shape, num_classes):
    layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, num_classes))
    torch.nn.init.constant_(layers[1].weight, 9.0)
    return layers
"""


def test_a_score_that_is_no_number_is_not_written_down(cli: Cli, install: Callable[..., None]) -> None:
    install("bright", BRIGHT, module="bright", datasets={"bright": "bright:bright"}, models={"net": "bright:net"})
    result = cli("fit", "net", "--data", "bright", "--epochs", "1", "--progress", "none", "--run", "r")
    sentence = "the loss on the test images is nan; train again with a lower learning rate"
    assert (result.code, result.out, result.err.splitlines()[-1]) == (6, "", f"error: {sentence}")
    [run] = cli("runs", "--json").document["runs"]
    assert (run["state"], run["error"], run["held_out"]) == ("failed", sentence, None)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may not read what is closed, as root may."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_not_taken_for_missing(cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a file that is missing is absent; of any other, and of a folder, is said that it cannot be read."""
    with tempfile.TemporaryDirectory() as scratch:  # not in pytest's folder, which others may not enter
        Path(scratch).chmod(0o755)
        monkeypatch.chdir(scratch)
        Path("runs").mkdir()
        Path("open").mkdir()
        Path("open").chmod(0o777)
        closed = {"a": "state.json", "b": "metrics.jsonl", "c": "config.json", "d": "."}
        for name, file in closed.items():
            shutil.copytree(trained / "r", Path("runs", name))
            if name in "bc":
                Path("runs", name, "state.json").unlink()  # as where it was killed: then the list reads the others
            Path("runs", name, file).chmod(0)
        for command in (("runs",), ("report", "r", "--runs", str(trained), "--out", "x.html")):
            assert cli(*command).code == 0  # and so all that is imported is
        with as_nobody():
            listed = cli("runs", "--json").document["runs"]
            reported = {name: cli("report", name, "--out", "open/x.html") for name in closed}
        for name in closed:
            Path("runs", name).chmod(0o755)
    cannot = "Permission denied"
    wanted = {
        "a": f"cannot read runs/a/state.json: {cannot}; wanted the end of a run",
        "b": f"cannot read runs/b/metrics.jsonl: {cannot}; wanted the epochs of a run",
        "c": f"cannot read config file runs/c/config.json: {cannot}; wanted a run's config.json",
        "d": f"cannot read config file runs/d/config.json: {cannot}; wanted a run's config.json",
    }
    assert {name: (each.code, each.err) for name, each in reported.items()} == {
        n: (4, f"error: {m}\n") for n, m in wanted.items()
    }
    wanted["d"] = f"cannot read runs/d/state.json: {cannot}; wanted the end of a run"  # which the list reads first
    assert {each["name"]: (each["state"], each["error"]) for each in listed} == {n: ("broken", m) for n, m in wanted.items()}
