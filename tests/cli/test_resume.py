"""`tinyclsf fit --resume` and `fit --config` as a person meets them: a run goes on, or is run again, to the same numbers."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.states import assert_equal
from tinyclsf.metrics import Epoch
from tinyclsf.runs.checkpoints import load_checkpoint, save_checkpoint
from tinyclsf.runs.folder import occupied

# Ten batches an epoch.
SMALL = ("mnist-logistic", "-d", "train_size=640")
QUIET = ("--progress", "none")
HALT = """
import os
import signal
from tinyclsf.plugin import Callback

class Halt(Callback):
    '''Ends the run by the signal that $HALT names after so many batches: TERM 3.'''

    def __init__(self, folder, model_name):
        self.name, _, batches = os.environ.get("HALT", "TERM 0").partition(" ")
        self.left = int(batches)

    def on_batch_end(self, trainer):
        self.left -= 1
        if self.left == 0:
            trainer.stop() if self.name == "STOP" else os.kill(os.getpid(), getattr(signal, f"SIG{self.name}"))

class Rates(Callback):
    '''Writes the learning rate of the next step.'''

    def __init__(self, folder, model_name):
        self.path = folder / "rates"

    def on_fit_start(self, trainer):
        self.on_batch_end(trainer)

    def on_batch_end(self, trainer):
        with self.path.open("a") as file:
            print(trainer.opt.param_groups[0]["lr"], file=file)
"""
Stop = Callable[..., Any]


@pytest.fixture
def stop(cli: Any, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Run `tinyclsf fit` and end it after so many batches."""
    install("theirs", HALT, module="theirs", callbacks={"halt": "theirs:Halt", "rates": "theirs:Rates"})

    def run(*args: str, after: int, by: str = "TERM") -> Any:
        monkeypatch.setenv("HALT", f"{by} {after}")
        result = cli("fit", *args, *QUIET, "--callback", "halt")
        monkeypatch.delenv("HALT")
        return result

    return run


def run_again(name: str, to: str) -> str:
    """A copy of a run."""
    shutil.copytree(Path("runs", name), Path("runs", to))
    return to


def rows(name: str) -> list[Any]:
    """A run's rows but for their seconds."""
    lines = Path("runs", name, "metrics.jsonl").read_text().splitlines()
    return [Epoch(**json.loads(line))._replace(seconds=0) for line in lines]


def state(name: str) -> dict[str, Any]:
    """A run's checkpoint but for its seconds."""
    checkpoint = load_checkpoint(Path("runs", name))
    assert checkpoint.warning is None
    found = checkpoint.state
    found["history"] = [row[:-1] for row in found["history"]]
    return found


def assert_same_end(found: str, wanted: str) -> None:
    """Two runs end in the same bits: weights, state, rows and predictions."""
    assert rows(found) == rows(wanted)
    assert_equal(state(found), state(wanted))
    for file in ("model.safetensors", "predictions.npz"):
        first, second = (Path("runs", name, file) for name in (found, wanted))
        if file.endswith("npz"):
            one, other = np.load(first), np.load(second)
            assert one.files == other.files == ["split", "logits", "labels"]
            for key in one.files:
                np.testing.assert_array_equal(one[key], other[key])
        else:
            assert first.read_bytes() == second.read_bytes()


def config(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("runs", name, "config.json").read_text())
    return found


def ended(name: str) -> tuple[str, str | None]:
    found = json.loads(Path("runs", name, "state.json").read_text())
    return found["state"], found["error"]


def contents(name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("runs", name).iterdir() if path.is_file()}


def test_a_stopped_run_goes_on_in_the_middle_of_an_epoch(cli: Any, stop: Stop) -> None:
    run = (*SMALL, "--epochs", "3", "--schedule", "one-cycle")
    assert cli("fit", *run, "--run", "whole").code == 0
    result = stop(*run, "--run", "parts", after=13)
    sentence = "terminated in epoch 2, after 3 of 10 batches; the run is saved in runs/parts"
    assert (result.code, result.out) == (143, "")
    assert result.err == f"error: {sentence}\ntip: tinyclsf fit --resume runs/parts\n"
    assert ended("parts") == ("stopped", sentence)
    before = config("parts")

    result = stop("--resume", "parts", after=7, by="INT")  # with the last batch of epoch 2: its validation is left
    sentence = "interrupted in epoch 2, after 10 of 10 batches; the run is saved in runs/parts"
    assert (result.code, result.err) == (130, f"error: {sentence}\ntip: tinyclsf fit --resume runs/parts\n")

    result = cli("fit", "--resume", "runs/parts")
    assert result.code == 0
    lines = [line.split(":")[0] for line in result.err.splitlines()]
    assert lines[-3:] == ["going on in epoch 2, after 10 of 10 batches", "epoch 2/3", "epoch 3/3"]
    assert result.out == cli("fit", "--resume", "whole", *QUIET).out.replace("whole", "parts")
    assert_same_end("parts", "whole")
    assert ended("parts") == ("done", None)
    before["settings"]["run"]["source"] = "--resume"
    before["commands"] += ["tinyclsf fit --resume parts --progress none --callback halt", "tinyclsf fit --resume runs/parts"]
    assert config("parts") == before


def test_a_run_with_everything_goes_on(cli: Any, stop: Stop) -> None:
    stepping = (
        "--accumulate",
        "4",
        "--clip-norm",
        "1",
        "--ema-decay",
        "0.99",
        "--augment",
        "mixup",
        "--label-smoothing",
        "0.1",
    )
    run = ("mnist-cnn", *SMALL[1:], "--epochs", "3", "--schedule", "cosine", "--precision", "bfloat16", *stepping)
    keeping = ("--patience", "2", "--checkpoint-every", "3", "--callback", "csv", "--callback", "tensorboard")
    assert cli("fit", *run, *keeping, "--run", "whole", *QUIET).code == 0
    result = stop(*run, *keeping, "--run", "parts", after=15)
    assert "terminated in epoch 2, after 8 of 10 batches" in result.err  # where a step was whole
    assert cli("fit", "--resume", "parts", *QUIET).code == 0
    assert_same_end("parts", "whole")
    lines = [Path("runs", name, "metrics.csv").read_text().splitlines() for name in ("parts", "whole")]
    found, wanted = ([line.rpartition(",")[0] for line in each] for each in lines)
    assert found == wanted
    assert len(found) == 4


def without_warm_up(name: str) -> None:
    """Make a run one from before averages were warmed up."""
    content = config(name)
    del content["settings"]["ema_warmup"]
    Path("runs", name, "config.json").write_text(json.dumps(content))
    if Path("runs", name, "checkpoint.pt").exists():
        saved = load_checkpoint(Path("runs", name)).state
        del saved["average_warms_up"]
        save_checkpoint(saved, Path("runs", name))


@pytest.mark.stress
def test_a_run_from_before_averages_were_warmed_up_goes_on_as_it_was(cli: Any, stop: Stop) -> None:
    run = (*SMALL, "--epochs", "3", "--ema-decay", "0.9")
    assert cli("fit", *run, "--run", "new", *QUIET).code == 0
    assert config("new")["settings"]["ema_warmup"] == {"value": True, "source": "default"}
    stop(*run, "--run", "parts", after=1)
    without_warm_up("parts")
    for path in Path("runs/parts").glob("*.pt"):  # it was killed before it saved anything
        path.unlink()
    whole = run_again("parts", "whole")
    assert cli("fit", "--resume", whole, *QUIET).code == 0
    assert config(whole)["settings"]["ema_warmup"]["value"] is False
    assert state(whole)["average_warms_up"] is False
    assert rows(whole) != rows("new")

    stop("--resume", "parts", after=14)
    without_warm_up("parts")
    assert cli("fit", "--resume", "parts", *QUIET).code == 0
    assert_same_end("parts", whole)
    assert cli("fit", "--config", f"runs/{whole}/config.json", "--run", "again", *QUIET).code == 0  # a new run is warmed up
    assert rows("again") == rows("new")


@pytest.mark.parametrize("settings", [("--schedule", "none"), ("--schedule", "step", "--optimizer", "adamw")])
def test_a_finished_run_is_extended(cli: Any, settings: tuple[str, ...]) -> None:
    cli("fit", *SMALL, *settings, "--epochs", "4", "--run", "whole", *QUIET)
    cli("fit", *SMALL, *settings, "--epochs", "2", "--run", "parts", *QUIET)
    result = cli("fit", "--resume", "parts", "--epochs", "4")
    assert result.code == 0
    lines = [line.split(":")[0] for line in result.err.splitlines()]
    assert lines[-3:] == ["going on after epoch 2", "epoch 3/4", "epoch 4/4"]
    assert_same_end("parts", "whole")
    assert config("parts")["settings"]["epochs"] == {"value": 4, "source": "--epochs"}


@pytest.mark.parametrize("schedule", [pytest.param("cosine", marks=pytest.mark.stress), "one-cycle"])
def test_the_schedule_of_an_extended_run_is_that_of_a_longer_one(cli: Any, stop: Stop, schedule: str) -> None:
    run = (*SMALL, "--schedule", schedule, "--callback", "rates")
    cli("fit", *run, "--epochs", "4", "--run", "whole", *QUIET)
    cli("fit", *run, "--epochs", "2", "--run", "short", *QUIET)
    long, parts, killed = (run_again("short", to) for to in ("long", "parts", "killed"))
    assert cli("fit", "--resume", long, "--epochs", "4", *QUIET).code == 0
    assert_equal(state(long)["schedule"], state("whole")["schedule"])
    short, extended, whole = (Path("runs", name, "rates").read_text().splitlines() for name in ("short", long, "whole"))
    assert extended == short + whole[20:]
    assert len(whole) == 41
    assert rows(long)[:2] == rows("short")

    # Stopped once more, it goes on as it was extended.
    stop("--resume", parts, "--epochs", "4", after=4)
    assert cli("fit", "--resume", parts, *QUIET).code == 0
    assert_same_end(parts, long)

    # Killed before it saved a checkpoint of its own, it has a checkpoint of the short run and the settings of the long one.
    path = Path("runs", killed, "config.json")
    longer = config(killed)
    longer["settings"]["epochs"]["value"] = 4
    path.write_text(json.dumps(longer))
    assert cli("fit", "--resume", killed, *QUIET).code == 0
    assert_same_end(killed, long)


def test_a_finished_run_that_is_resumed_stays_as_it_is(cli: Any) -> None:
    first = cli("fit", *SMALL, "--epochs", "2", "--run", "a", *QUIET)
    before = contents("a")
    result = cli("fit", "--resume", "a")
    assert (result.code, result.out) == (0, first.out)
    assert result.err.splitlines()[-1] == "nothing is left to train after epoch 2"
    after = contents("a")
    assert config("a")["commands"] == [
        f"tinyclsf fit {shlex.join(SMALL)} --epochs 2 --run a {shlex.join(QUIET)}",
        "tinyclsf fit --resume a",
    ]
    for name in ("config.json", "state.json"):  # in one the command and the source of `run` are others, in the other the time
        del after[name], before[name]
    assert after == before
    assert ended("a") == ("done", None)


def test_patience_that_ran_out_may_be_raised(cli: Any) -> None:
    run = (*SMALL, "--lr", "1e-9", "--epochs", "5")  # too little for the accuracy to change
    cli("fit", *run, "--run", "whole", *QUIET)
    cli("fit", *run, "--patience", "1", "--run", "parts", *QUIET)
    done = len(rows("parts"))
    assert done < 5
    assert cli("fit", "--resume", "parts").err.splitlines()[-1] == f"nothing is left to train after epoch {done}"
    assert cli("fit", "--resume", "parts", "--patience", "5", *QUIET).code == 0
    assert_same_end("parts", "whole")


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(cli: Any) -> None:
    cli("fit", *SMALL, "--epochs", "1", "--run", "whole", *QUIET)
    folder = Path("runs", run_again("whole", "parts"))
    for path in folder.iterdir():
        if path.name != "config.json":
            path.unlink()
    (folder / "config.json").write_text((folder / "config.json").read_text().replace(config("parts")["created"], "before"))
    result = cli("fit", "--resume", "parts", *QUIET)
    assert (result.code, result.err) == (0, "warning: runs/parts has no checkpoint yet, so its training begins anew\n")
    assert_same_end("parts", "whole")
    assert config("parts")["created"] == "before"


def test_a_run_that_a_callback_stops_is_scored_and_goes_on(cli: Any, stop: Stop) -> None:
    cli("fit", *SMALL, "--epochs", "2", "--run", "whole", *QUIET)
    assert stop(*SMALL, "--epochs", "2", "--run", "parts", after=15, by="STOP").code == 0
    assert len(rows("parts")) == 1
    cli("fit", "--resume", "parts", *QUIET)
    assert_same_end("parts", "whole")

    result = stop(*SMALL, "--epochs", "2", "--run", "early", after=5, by="STOP")
    assert result.code == 6
    assert result.err == (
        "error: training was stopped in epoch 1, after 5 of 10 batches, so there are no validated weights to score; "
        "go on with tinyclsf fit --resume runs/early\n"
    )
    cli("fit", "--resume", "early", *QUIET)
    assert_same_end("early", "whole")


REFUSED = [
    (("--seed", "3"), "seed was 0 and shall be 3"),
    (("mnist-cnn",), "model was mnist-logistic and shall be mnist-cnn"),
    (("lenet",), "model was mnist-logistic and shall be lenet"),
    (("--data", "mnist"), "data was digits and shall be mnist"),
    (
        ("-d", "train_size=9", "-d", "seed=1"),
        "data option train_size was 640 and shall be 9; data option seed was 0 and shall be 1",
    ),
    (("--lr", "0.5", "--ema-decay", "0.5"), "lr was 0.1 and shall be 0.5; ema-decay was none and shall be 0.5"),
    (("--optimizer", "adam"), "optimizer was sgd and shall be adam; lr was 0.1 and shall be 0.001"),
    (("--batch-size", "65"), "batch-size was 64 and shall be 65"),
    (("--compile",), "compile was false and shall be true"),
    (("--precision", "bfloat16"), "precision was float32 and shall be bfloat16"),
]


def test_a_run_does_not_go_on_as_another_one(cli: Any) -> None:
    cli("fit", *SMALL, "--epochs", "2", "--run", "a", *QUIET)
    before = contents("a")
    for args, difference in REFUSED:
        result = cli("fit", *args, "--resume", "a")
        assert (result.code, result.out) == (4, "")
        assert result.err == (
            f"error: run runs/a cannot go on as another one: {difference}; "
            "leave that out, or begin a new run with --config runs/a/config.json\n"
        )
    refused = "--resume goes on in its own run folder; leave out --config and --run"
    for args, message in (
        (("--epochs", "1"), "run runs/a has 2 epochs already; give --epochs 2 or more"),
        (("--run", "b"), refused),
        (("--config", "runs/a/config.json"), refused),
        (("-d", "train_sice=9"), "dataset digits has no option 'train_sice'; it takes train_size, normalize, mean, std, "),
    ):
        result = cli("fit", *args, "--resume", "a", *QUIET)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith(f"error: {message}")
    with occupied(Path("runs/a")):
        result = cli("fit", "--resume", "a", *QUIET)
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: run runs/a is being trained by another process; wait for it, or choose another run\n"
    assert contents("a") == before

    # Equal settings, given once more, are no others.
    assert cli("fit", "mnist-logistic", "--resume", "a", "--lr", "0.1", "-d", "train_size=640", *QUIET).code == 0


def test_a_run_in_the_middle_of_an_epoch_has_begun_it(cli: Any, stop: Stop) -> None:
    stop(*SMALL, "--epochs", "3", "--run", "a", after=15)
    before = contents("a")
    result = cli("fit", "--resume", "a", "--epochs", "1", *QUIET)
    assert (result.code, result.err) == (2, "error: run runs/a is in epoch 2 already; give --epochs 2 or more\n")
    assert contents("a") == before


def test_a_state_that_cannot_go_on_here_is_refused_before_anything_is_written(cli: Any) -> None:
    cli("fit", *SMALL, "--epochs", "1", "--run", "a", *QUIET)
    whole = load_checkpoint(Path("runs/a")).state
    for change, code, message in (
        (
            {"random": whole["random"] * 2},
            2,
            "training was stopped with 2 processes and cannot go on with 1; resume with as many",
        ),
        ({"steps": None}, 4, "run runs/a cannot go on from its checkpoint: the state has no steps; it is not one of a Trainer"),
    ):
        state = {key: value for key, value in (whole | change).items() if value is not None or key not in change}
        save_checkpoint(state, Path("runs/a"))
        before = contents("a")
        result = cli("fit", "--resume", "a", "--epochs", "2", *QUIET)
        assert (result.code, result.out, result.err) == (code, "", f"error: {message}\n")
        assert contents("a") == before


def test_a_run_that_is_not_there_is_answered_with_the_nearest(cli: Any) -> None:
    cli("fit", *SMALL, "--epochs", "1", "--run", "first", *QUIET)
    result = cli("fit", "--resume", "frist")
    assert (result.code, result.out) == (2, "")
    assert result.err == "error: there is no run 'frist' in runs; 'tinyclsf runs' shows all\ntip: did you mean 'first'?\n"


def write_idx(folder: Path, seed: int) -> None:
    folder.mkdir()
    generator = np.random.default_rng(seed)
    for part, count in (("train", 256), ("t10k", 64)):
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x0803, *pixels.shape) + pixels.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, count) + labels.tobytes())


def test_a_run_goes_on_from_another_folder_and_with_data_that_moved(
    cli: Any, stop: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(Path("files"), seed=0)
    run = ("mnist-logistic", "--data", "idx", "--data-dir", "files", "--batch-size", "16", "--epochs", "2")
    cli("fit", *run, "--run", "whole", *QUIET)
    stop(*run, "--run", "parts", after=5)
    assert config("parts")["data"]["options"]["data_dir"] == str(tmp_path / "files")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    result = stop("--resume", "../runs/parts", after=5)
    assert result.code == 143, result.err
    monkeypatch.chdir(tmp_path)

    shutil.copytree("files", "moved")
    write_idx(Path("others"), seed=1)
    result = cli("fit", "--resume", "parts", "--data-dir", "others", *QUIET)
    assert (result.code, result.out) == (4, "")
    assert re.fullmatch(
        r"error: the data is not what run runs/parts was begun with: (\w+ checksum was \w+ and is \w+; ){3}bring that back\n",
        result.err,
    )
    assert cli("fit", "--resume", "parts", "--data-dir", "moved", *QUIET).code == 0
    assert_same_end("parts", "whole")


def test_a_config_file_gives_the_same_numbers(cli: Any) -> None:
    settings = (
        "--epochs",
        "2",
        "--optimizer",
        "adam",
        "--lr",
        "0.01",
        "--seed",
        "3",
        "--augment",
        "affine",
        "--clip-norm",
        "0.1",
    )
    cli("fit", *SMALL, *settings, "--callback", "csv", "--run", "first", *QUIET)
    result = cli("fit", "--config", "runs/first/config.json", "--run", "second")
    assert result.code == 0
    assert_same_end("second", "first")
    assert Path("runs/second/metrics.csv").exists()
    # What the run chose for itself is chosen anew.
    assert [config("second")["settings"][name]["source"] for name in ("precision", "device", "lr")] == [
        "auto",
        "auto",
        "config",
    ]
    lines = [" ".join(line.split()) for line in cli("runs", "second").out.splitlines()]
    for line in ("data digits", "data train-size 640 config", "model mnist-logistic", "lr 0.01 config", "device cpu auto"):
        assert line in lines


def test_flags_come_before_the_file_and_that_before_the_recipe(cli: Any) -> None:
    Path("c.json").write_text(json.dumps({"model": "mnist-cnn", "settings": {"epochs": 1, "lr": 0.05}}))
    cli("fit", "--config", "c.json", "-d", "train_size=64", "--run", "a", *QUIET)
    found = {name: (entry["value"], entry["source"]) for name, entry in config("a")["settings"].items()}
    assert (found["epochs"], found["lr"], found["momentum"]) == ((1, "config"), (0.05, "config"), (0.9, "recipe"))
    assert config("a")["data"]["name"] == "digits"

    result = cli("fit", "lenet", "--config", "runs/a/config.json", "--optimizer", "adam", "--seed", "1", "--run", "b", *QUIET)
    assert (result.code, result.err) == (0, "")
    found = {name: (entry["value"], entry["source"]) for name, entry in config("b")["settings"].items()}
    assert (found["optimizer"], found["lr"]) == (("adam", "--optimizer"), (0.001, "default of adam"))
    assert (found["seed"], found["epochs"], "momentum" in found) == ((1, "--seed"), (1, "config"), False)
    assert (config("b")["model"]["name"], config("b")["data"]["options"]["train_size"]) == ("lenet", 64)


def test_a_config_file_warns_of_data_that_changed_and_not_of_data_that_was_asked_for(cli: Any) -> None:
    cli("fit", *SMALL, "--epochs", "1", "--run", "a", *QUIET)
    found = config("a")
    found["torch"] = "1.0"
    found["data"]["content"]["train_checksum"] = "00000000"
    Path("c.json").write_text(json.dumps(found))
    result = cli("fit", "--config", "c.json", *QUIET)
    first, second = result.err.splitlines()
    checksum = config("a")["data"]["content"]["train_checksum"]
    assert first == f"warning: the data is not that of c.json: train checksum was 00000000 and is {checksum}"
    assert second == (f"warning: c.json is of torch 1.0 and this is {torch.__version__}: figures may differ in the last digits")
    assert cli("fit", "--config", "c.json", "-d", "train_size=64", *QUIET).err == second + "\n"


def test_a_config_file_that_cannot_be_used_is_said(cli: Any, tmp_path: Path) -> None:
    for content, message in (
        ({}, "missing argument 'MODEL', and config file c.json names no model"),
        ({"model": "vgg", "settings": {"epoch": 1}}, "config file c.json has an unknown key 'epoch' in settings"),
        (
            {"model": "vgg", "settings": {"optimizer": "adam", "momentum": 0.9}},
            "optimizer adam does not use momentum of the config file; leave it out",
        ),
    ):
        Path("c.json").write_text(json.dumps(content))
        result = cli("fit", "--config", "c.json")
        assert (result.code, result.out, result.err.splitlines()[0]) == (2, "", f"error: {message}")
    assert not (tmp_path / "runs").exists()


def test_on_a_terminal_the_bar_begins_where_the_run_goes_on(cli: Any, stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    stop(*SMALL, "--epochs", "3", "--run", "a", after=13)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    result = cli("fit", "--resume", "a", "--progress", "bar")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", result.err)
    assert "going on in epoch 2, after 3 of 10 batches\n" in shown
    lines = [line.strip() for line in re.split(r"[\r\n]+", shown) if "batches, loss" in line]
    assert re.fullmatch(r"\S epoch 2/3 \S+ +3/10 batches, loss \d\.\d{4} -:--:--", lines[0]), lines[0]
    assert [line.split()[0] for line in shown.splitlines() if "%" in line] == ["2/3", "3/3"]
    assert max(map(len, shown.splitlines())) <= 80
    assert max(map(len, lines)) <= 77  # so that the ^C of a terminal does not begin a line of its own


def test_what_a_config_file_switches_on_can_be_switched_off(cli: Any) -> None:
    settings = {"epochs": 1, "patience": 3, "ema_decay": 0.9, "clip_norm": 1.0}
    Path("c.json").write_text(
        json.dumps({"model": "linear", "data": {"name": "digits", "options": {"train_size": 64}}, "settings": settings})
    )
    off = ("--patience", "none", "--ema-decay", "none")
    found = cli("fit", "--config", "c.json", *off, "--json").document["settings"]
    assert found["patience"] == {"value": None, "source": "--patience"}
    assert found["ema_decay"] == {"value": None, "source": "--ema-decay"}
    assert found["clip_norm"] == {"value": 1.0, "source": "config"}
    wrong = cli("fit", "linear", "--patience", "0")
    assert (
        wrong.err.splitlines()[-1]
        == "error: invalid value for '--patience': it is '0'; wanted a whole number of at least 1, or none"
    )


def test_a_terminal_of_few_columns_is_no_error(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "8")
    assert cli("fit", *SMALL, "--epochs", "1", "--progress", "bar", "--verbose").code == 0


def test_the_bar_tells_the_remaining_time_of_every_epoch(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyclsf.progress.display._REFRESH_SECONDS", 0)  # drawn at every batch
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = cli("fit", *SMALL, "--epochs", "3", "--progress", "bar")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", result.err)
    drawn = re.findall(r"epoch (\d)/3 \S+ +(\d+)/10 batches, loss (?:\S+ )?(-:--:--|\d:\d\d:\d\d)", shown)
    for epoch in "123":
        times = {int(batch): left for at, batch, left in drawn if at == epoch}
        assert set(times) >= set(range(1, 11))
        assert [batch for batch, left in times.items() if left == "0:00:00"] == [10]


def test_the_model_is_the_files_or_the_arguments(cli: Any) -> None:
    Path("own.json").write_text('{"model": "mlp", "settings": {"epochs": 1}}')
    for model in ((), ("linear",)):
        err = cli("fit", *model, "--config", "own.json", "-d", "train_size=64").err
        assert f"model     {(*model, 'mlp')[0]}: " in err
