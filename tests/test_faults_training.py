"""What ends a run from within: a loss that is no number, no memory left, a loader process that dies; and how it goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
import torch

from tests.support.read_one_by_one import LAZY
from tests.support.runs import listed, results, rows_of
from tinyclsf.runs.checkpoints import load_checkpoint

# A model that fails as FAILURE says: from a batch of training on, "training 11:nan", or from one of evaluation on.
FRAGILE = """
import os
import torch
from torch import nn
from tinyclsf.plugin import recipe

def out_of(memory):
    if memory == "cuda":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 1 GiB")
    if memory == "cpu":
        torch.empty(1 << 50, dtype=torch.uint8)
    if memory == "python":
        raise MemoryError
    if memory == "mistake":
        raise KeyError("head")

class Fragile(nn.Linear):
    def forward(self, x):
        out = super().forward(x.flatten(1))
        if len(x) == 2:  # blank images, before there is any batch
            return out
        doing = "training" if self.training else "evaluation"
        self.done = {"training": 0, "evaluation": 0, **getattr(self, "done", {})}
        self.done[doing] += 1
        when, _, failure = os.environ.get("FAILURE", "").partition(":")
        if when and when.split()[0] == doing and self.done[doing] >= int(when.split()[1]):
            out_of(failure)
            return out * float(failure)
        return out

@recipe(lr=0.1, batch_size=64)
def fragile(image_shape, num_classes):
    return Fragile(image_shape[0] * image_shape[1] * image_shape[2], num_classes)
"""
FIT = ["fit", "fragile", "-d", "train_size=640", "--epochs", "3", "--run", "r", "--progress", "none"]
RESUME = ["fit", "--resume", "r", "--progress", "none"]
TOO_MUCH = (
    "out of memory in epoch 2 after step {step}, with batches of {images} images; "
    "use a smaller batch size: half of it with accumulate 2 trains the same"
)
NOT_FINITE = (
    "the {what} is {value} at learning rate 0.1; lower the learning rate, or look for values in the data that are not finite"
)
MISTAKE = "model 'fragile' of package frail (frail:fragile) failed in its forward pass: KeyError: 'head'"
# An epoch is ten batches of training and three of evaluation.
FAILURES = [
    ("training 11:nan", NOT_FINITE.format(what="training loss of epoch 2, batch 1", value="nan")),
    ("training 20:inf", NOT_FINITE.format(what="training loss of epoch 2, batch 10", value="nan")),
    ("evaluation 4:nan", NOT_FINITE.format(what="validation loss of epoch 2", value="nan")),
    ("training 13:cuda", TOO_MUCH.format(step=12, images=64)),
    ("training 11:cpu", TOO_MUCH.format(step=10, images=64)),
    ("training 11:python", TOO_MUCH.format(step=10, images=64)),
    ("evaluation 5:cuda", TOO_MUCH.format(step=20, images=64)),
    ("training 13:mistake", MISTAKE),
    ("evaluation 5:mistake", MISTAKE),
]


@pytest.fixture(autouse=True)
def fragile(install: Callable[..., None]) -> None:
    install("frail", FRAGILE, module="frail", models={"fragile": "frail:fragile"})


@pytest.mark.parametrize(("failure", "sentence"), FAILURES, ids=[failure for failure, _ in FAILURES])
def test_a_run_that_fails_keeps_its_best_epoch_and_goes_on(
    cli: Any, monkeypatch: pytest.MonkeyPatch, failure: str, sentence: str
) -> None:
    run = Path("runs/r")
    assert cli(*FIT, "--runs", "whole").code == 0
    monkeypatch.setenv("FAILURE", failure)
    code = 5 if sentence == MISTAKE else 6
    failed = cli(*FIT)
    tip = f"tip: look at {Path('frail/frail.py').absolute()}, line 15; --debug shows the traceback\n" if code == 5 else ""
    assert (failed.code, failed.out, failed.err) == (code, "", f"error: {sentence}\n{tip}")
    assert listed(cli) == ("failed", 1, sentence)
    with safetensors.safe_open(run / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"epoch": "1"}
        assert all(torch.isfinite(weights.get_tensor(key)).all() for key in weights.keys())  # noqa: SIM118
    assert rows_of(run) == rows_of(Path("whole/r"))[:1]
    assert len(load_checkpoint(run).state["history"]) == 1

    again = cli(*RESUME)  # and the cause is still there
    assert (again.code, again.out) == (code, "")

    monkeypatch.delenv("FAILURE")
    assert cli(*RESUME).code == 0
    assert results(run) == results(Path("whole/r"))
    assert listed(cli) == ("done", 3, None)


def test_a_run_that_diverges_in_its_first_epoch_keeps_nothing_that_is_no_number(cli: Any) -> None:
    diverged = cli(*FIT, "--optimizer", "sgd", "--lr", "1e38")
    assert (diverged.code, diverged.out) == (6, "")
    assert diverged.err.startswith("error: the training loss of epoch 1, batch 2 is ")
    assert diverged.err.endswith(
        " at learning rate 1e+38; lower the learning rate, or look for values in the data that are not finite\n"
    )
    assert [*Path("runs/r").glob("*.safetensors"), *Path("runs/r").glob("*.pt")] == []
    assert listed(cli)[:2] == ("failed", 0)
    again = cli(*RESUME)
    assert again.err == f"warning: runs/r has no checkpoint yet, so its training begins anew\n{diverged.err}"


SCORING = (
    "out of memory in scoring the test images, with batches of 128; "
    "use a smaller batch size: half of it with accumulate 2 trains the same"
)


@pytest.mark.parametrize(("failure", "code", "sentence"), [("cuda", 6, SCORING), ("mistake", 5, MISTAKE)])
def test_a_model_that_fails_when_it_is_scored(
    cli: Any, monkeypatch: pytest.MonkeyPatch, failure: str, code: int, sentence: str
) -> None:
    assert cli(*FIT, "--runs", "whole").code == 0
    monkeypatch.setenv("FAILURE", f"evaluation 10:{failure}")
    failed = cli(*FIT)
    tip = f"tip: look at {Path('frail/frail.py').absolute()}, line 15; --debug shows the traceback\n" if code == 5 else ""
    assert (failed.code, failed.out, failed.err) == (code, "", f"error: {sentence}\n{tip}")
    assert listed(cli) == ("failed", 3, sentence)
    monkeypatch.delenv("FAILURE")
    assert cli(*RESUME).code == 0
    assert results(Path("runs/r")) == results(Path("whole/r"))


# As PyTorch raises from its signal handler, a socket that was being opened may be left to be collected.
@pytest.mark.stress
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_loader_process_that_is_killed(
    cli: Any, install: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("late", LAZY, module="lazily", datasets={"lazy": "lazily:lazy"})
    fit = ["fit", "mnist-logistic", "--epochs", "3", "--batch-size", "4", "--run", "r", "--progress", "none", "--data", "lazy"]
    assert cli(*fit, "--runs", "whole").code == 0
    split = sys.modules["lazily"].Lazy
    fetch, parent, killed = split.__getitem__, os.getpid(), tmp_path / "killed"

    def die(self: Any, index: int) -> Any:
        rows_so_far = tmp_path / "runs/r/metrics.jsonl"
        if os.getpid() != parent and not killed.exists() and rows_so_far.exists() and rows_so_far.read_text():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return fetch(self, index)

    monkeypatch.setattr(split, "__getitem__", die)
    failed = cli(*fit)
    assert (failed.code, failed.out) == (6, "")
    assert failed.err.startswith("error: a process that loads data ended in epoch 2 after step ")
    assert failed.err.endswith(
        "often the memory is full: close other programs or use a smaller batch size, and resume the run\n"
    )
    assert failed.err.count("\n") == 1
    assert listed(cli)[:2] == ("failed", 1)
    assert cli(*RESUME).code == 0
    assert results(Path("runs/r")) == results(Path("whole/r"))
    assert listed(cli) == ("done", 3, None)
