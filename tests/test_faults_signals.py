"""A run that is told to stop, or is killed, at any moment: what is saved is whole, and the resumed run ends as any other."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.commands import write_package
from tests.support.forking import Forks
from tests.support.runs import rows_of
from tinyclsf.runs.checkpoints import load_checkpoint

# A data set and a callback that send their own process signals at the place that SIGNALS names: "training 2 3:SIGTERM".
PROBES = """
import os, signal, threading, time
import torch
from tinyclsf.plugin import Callback, Images, Preprocess, Splits

trainer = None
scoring = False

def at(place):
    wanted, _, names = os.environ["SIGNALS"].partition(":")
    if wanted == place:
        for name in names.split():
            os.kill(os.getpid(), getattr(signal, name))

class Scaling(Preprocess):
    def forward(self, x):
        if trainer is not None and not self.training:
            at("scoring" if scoring else f"evaluation {trainer.epoch}")
        return super().forward(x)

def noise():
    at("data")
    generator = torch.Generator().manual_seed(0)
    def part(n):
        return Images(torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(n) % 4)
    return Splits(part(256), part(128), part(128), tuple("abcd"), (1, 8, 8), Scaling(0.0, 255.0))

class Probe(Callback):
    def __init__(self, folder, model_name, *, megabytes: int = 0):
        self.folder = folder
        self.ballast = torch.ones(megabytes << 18)

    def on_fit_start(self, started):
        global trainer
        trainer = started

    def on_batch_end(self, trainer):
        at(f"training {trainer.epoch} {trainer.batch}")

    def on_fit_end(self, trainer):
        global scoring
        scoring = True

    def state_dict(self):
        if len(trainer.history) == 2 and os.environ["SIGNALS"].startswith("saving"):
            threading.Thread(target=self.interrupt_saving, daemon=True).start()
        return {"ballast": self.ballast}

    def interrupt_saving(self):
        while True:
            for torn in self.folder.glob(".checkpoint.pt.*"):
                if torn.stat().st_size > 1 << 20:
                    at("saving")
                    (self.folder / "hit").write_text(str(torn.exists()))
                    return
"""
SAVE_FOREVER = """
import os, sys, torch
from pathlib import Path
from tinyclsf.runs.checkpoints import save_checkpoint

count = int(sys.argv[1])
while True:
    count += 1
    save_checkpoint({"count": count, "tensor": torch.full((1 << 21,), float(count))}, Path())
    os.write(1, f"{count}\\n".encode())
"""
FIT = ["fit", "mnist-logistic", "--data", "noise", "--callback", "probe", "--run", "r", "--progress", "none"]
FIT += ["--epochs", "3", "--batch-size", "32"]
RESUME = ["fit", "--resume", "r", "--progress", "none"]


def with_path(site: Path) -> dict[str, str]:
    """The environment of a process that finds the modules of a folder before all others."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


Server = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def server(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Run `tinyclsf` with the probes installed; `act` is handed its process while it runs."""
    site = tmp_path_factory.mktemp("site")
    callbacks = {"probe": "probes:Probe"}
    write_package(site, "probes", PROBES, module="probes", datasets={"noise": "probes:noise"}, callbacks=callbacks)

    def run(folder: Path, *args: str, signals: str = "", act: Callable[[int], None] = lambda pid: None) -> tuple[int, str, str]:
        folder.mkdir(exist_ok=True)
        started = forks.start(folder, *args, path=site, environment={"SIGNALS": signals})
        act(started.pid)
        return started.finish()

    return run


@pytest.fixture(scope="module")
def uninterrupted(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    assert server(folder, *FIT)[0] == 0
    return folder / "runs" / "r"


def outcome(run: Path) -> dict[str, Any]:
    """All that a run ends with, but for times."""
    state = load_checkpoint(run).state
    return {
        "weights": (run / "model.safetensors").read_bytes(),
        "predictions": (run / "predictions.npz").read_bytes(),
        "rows": rows_of(run),
        "history": [row[:-1] for row in state["history"]],
        "held_out": json.loads((run / "state.json").read_text())["held_out"],
        **{part: plain(state[part]) for part in ("model", "optimizer", "schedule", "random", "steps", "batch")},
    }


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.dtype, value.shape, value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def hidden(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob(".*"))


def listed(server: Server, folder: Path) -> tuple[str, int]:
    """A run's state and how many epochs are done, as `tinyclsf runs` says."""
    code, out, _ = server(folder, "runs", "--json")
    [run] = json.loads(out)["runs"]
    assert code == 0
    return run["state"], run["epochs_done"]


def position(run: Path, file: str) -> tuple[int, int]:
    """Epochs done and batches of the next one, as a checkpoint says."""
    state = torch.load(run / file, weights_only=True)
    return len(state["history"]), state["batch"]


# Where the signal comes, what is said, and what the two checkpoints hold: one save after that of the last epoch, or none.
STOPS = [
    ("training 2 3:SIGTERM", 143, "terminated in epoch 2, after 3 of 8 batches", (1, 3), (1, 0)),
    ("training 2 3:SIGINT", 130, "interrupted in epoch 2, after 3 of 8 batches", (1, 3), (1, 0)),
    ("training 2 3:SIGHUP SIGHUP", 129, "its terminal was closed in epoch 2, after 3 of 8 batches", (1, 3), (1, 0)),
    ("evaluation 2:SIGTERM", 143, "terminated in epoch 2, after 8 of 8 batches", (1, 8), (1, 0)),
    ("saving:SIGTERM", 143, "terminated after epoch 2", (2, 0), (1, 0)),
    ("scoring:SIGTERM", 143, "terminated after training, before the model was scored", (3, 0), (2, 0)),
    ("scoring:SIGINT", 130, "interrupted after training, before the model was scored", (3, 0), (2, 0)),
    ("training 2 3:SIGINT SIGINT", 130, "interrupted at once, in epoch 2", (1, 0), None),
]


@pytest.mark.parametrize(("signals", "code", "said", "newest", "previous"), STOPS, ids=[stop[0] for stop in STOPS])
def test_a_run_that_is_told_to_stop_goes_on_as_if_it_had_not_been(
    server: Server,
    uninterrupted: Path,
    tmp_path: Path,
    signals: str,
    code: int,
    said: str,
    newest: tuple[int, int],
    previous: tuple[int, int] | None,
) -> None:
    run = tmp_path / "runs" / "r"
    large = ("-c", "probe.megabytes=32") if signals.startswith("saving") else ()
    found = server(tmp_path, *FIT, *large, signals=signals)
    sentence = f"{said}; the run is saved in runs/r"
    assert found == (code, "", f"error: {sentence}\ntip: tinyclsf fit --resume runs/r\n")
    state = json.loads((run / "state.json").read_text())
    assert (state["state"], state["error"], state["held_out"]) == ("stopped", sentence, None)
    assert position(run, "checkpoint.pt") == newest
    assert (position(run, "checkpoint.previous.pt") if (run / "checkpoint.previous.pt").exists() else None) == previous
    assert hidden(run) == [".lock"]
    assert listed(server, tmp_path) == ("stopped", newest[0])
    if signals.startswith("saving"):
        assert (run / "hit").read_text() == "True"  # the file was being written when the signal came

    code, out, err = server(tmp_path, *RESUME)
    assert (code, out.splitlines()[-1], err) == (0, "run   runs/r", "")
    assert outcome(run) == outcome(uninterrupted)
    assert listed(server, tmp_path) == ("done", 3)


@pytest.mark.parametrize(("name", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")])
def test_a_signal_while_data_is_read_leaves_no_folder(server: Server, tmp_path: Path, name: str, code: int, word: str) -> None:
    found = server(tmp_path, *FIT, signals=f"data:{name}")
    assert found == (code, "", f"error: {word} before training began; nothing was saved yet\n")
    assert list((tmp_path / "runs").iterdir()) == []


# Some command's arguments, a signal, and how it ends where there is no run yet, or none at all.
ENDS = [
    (("fit", "mnist-logistic"), "SIGTERM", 143, "terminated before training began"),
    (("fit", "mnist-logistic"), "SIGINT", 130, "interrupted before training began"),
    (("check", "mnist-logistic"), "SIGTERM", 143, "terminated"),
    (("show", "digits"), "SIGINT", 130, "interrupted"),
    (("summary", "mnist-logistic"), "SIGHUP", 129, "its terminal was closed"),
]


@pytest.mark.parametrize(("args", "name", "code", "sentence"), ENDS, ids=[f"{args[0]} {name}" for args, name, *_ in ENDS])
def test_a_signal_while_torch_is_imported_leaves_nothing(
    tmp_path: Path, args: tuple[str, ...], name: str, code: int, sentence: str
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "torch.py").write_text("import time\nprint('importing torch', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "tinyclsf", *args]
    with subprocess.Popen(
        command, cwd=tmp_path, env=with_path(site), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing torch\n"
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (code, "", f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == [site]


@pytest.mark.parametrize("rounds", [4, pytest.param(16, marks=pytest.mark.stress)])
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, {143, 0}), (signal.SIGKILL, {-signal.SIGKILL, 0})])
def test_a_run_that_is_stopped_at_any_moment_goes_on(
    server: Server, uninterrupted: Path, tmp_path: Path, number: int, codes: set[int], rounds: int
) -> None:
    start = time.monotonic()
    server(tmp_path / "whole", *FIT)
    seconds, resumed = time.monotonic() - start, 0
    for at in range(4 * rounds):
        if at >= rounds and resumed >= rounds / 4:
            break
        folder = tmp_path / str(at)
        # On a machine that has become slower since, the same moments lie earlier in a run: then later ones are tried.
        moment = seconds * (at % rounds + 0.5) / rounds * (1 + at // rounds)
        code, _, err = server(folder, *FIT, act=lambda pid, moment=moment: end(pid, number, moment))
        # Before its first line and after its last one a program ends by SIGTERM as any other does.
        assert code in codes | {-number}, err
        assert err.count("error: ") == (code == 143)
        assert "Traceback" not in err
        run = folder / "runs" / "r"
        if (run / "config.json").exists():
            resumed += 1
            assert server(folder, *RESUME)[0] == 0
            assert outcome(run) == outcome(uninterrupted)
            assert hidden(run) == [".lock"]
        elif number == signal.SIGTERM:
            assert not run.exists()
    assert resumed >= rounds / 4


def end(pid: int, number: int, seconds: float) -> None:
    """Send a process a signal after so many seconds; its parent has not waited for it before then."""
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@pytest.mark.parametrize("rounds", [8, pytest.param(50, marks=pytest.mark.stress)])
def test_no_kill_in_the_middle_of_a_save_loses_a_checkpoint(forks: Forks, tmp_path: Path, rounds: int) -> None:
    torn, count = 0, 0
    moments = random.Random(0)
    for _ in range(rounds):
        saving = forks.start(tmp_path, str(count), code=SAVE_FOREVER)
        deadline = time.monotonic() + 60
        while not saving.out.read_text() or not hidden(tmp_path):  # until one is saved and the next is being written
            assert time.monotonic() < deadline
            time.sleep(0.001)
        end(saving.pid, signal.SIGKILL, moments.random() * 0.01)
        code, out, err = saving.finish()
        assert (code, err) == (-signal.SIGKILL, "")
        announced = int(out.splitlines()[-1])
        torn += hidden(tmp_path) != []
        found = load_checkpoint(tmp_path)
        count = found.state["count"]
        assert announced <= count <= announced + 1
        assert torch.equal(found.state["tensor"], torch.full((1 << 21,), float(count)))
        assert found.warning is None
        if count > 1:
            previous = torch.load(tmp_path / "checkpoint.previous.pt", weights_only=True)
            assert count - 1 <= previous["count"] <= count
        assert hidden(tmp_path) == []
    assert torn >= rounds / 4
