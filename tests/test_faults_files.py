"""Files that fail: a disk that fills while a run writes, and checkpoints that are broken, foreign or of another run."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.resources import longest_file
from tests.support.runs import listed, results
from tests.support.states import assert_equal
from tinyclsf.cli.app import main
from tinyclsf.errors import ModelFileError
from tinyclsf.runs.checkpoints import load_checkpoint, save_checkpoint

# A callback that leaves no room when a run is where FULL says, for files longer than so many bytes or on its disk.
FULL = """
import os, resource, shutil
from pathlib import Path
from tinyclsf.plugin import Callback

def fill(path):
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                pass

class Full(Callback):
    def __init__(self, folder, model_name):
        self.folder = folder

    def at(self, place):
        wanted, _, size = os.environ.get("FULL", "").partition(":")
        if place == wanted:
            shutil.copytree(self.folder, os.environ["BEFORE"])
            if size == "disk":
                fill(self.folder.parent / "filler")
            else:
                size = os.path.getsize(self.folder / "metrics.jsonl") + 20 if size == "a line" else int(size)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    def on_batch_end(self, trainer):
        if trainer.batch == 1:
            self.at(f"epoch {trainer.epoch}")

    def on_fit_end(self, trainer):
        self.at("end")
"""
FIT = ["fit", "mnist-logistic", "-d", "train_size=640", "--callback", "full", "--run", "r", "--progress", "none"]
FIT += ["--epochs", "3"]
RESUME = ["fit", "--resume", "r", "--progress", "none"]
SAME = ("--lr", "1e-30")  # no epoch is better than the first, so that its weights are not saved again


@pytest.fixture(autouse=True)
def full(install: Callable[..., None]) -> None:
    install("filling", FULL, module="filling", callbacks={"full": "filling:Full"})


def files(run: Path) -> dict[str, bytes]:
    """The files of a run, but for what says how it ended."""
    return {
        path.name: path.read_bytes() for path in run.iterdir() if path.is_file() and path.name not in ("state.json", ".lock")
    }


def settings(config: bytes) -> dict[str, Any]:
    return {name: setting["value"] for name, setting in json.loads(config)["settings"].items() if name != "run"}


FULL_AT = [
    ("epoch 2:8000", (), "model.safetensors", 1),
    ("epoch 2:a line", SAME, "metrics.jsonl", 1),
    ("epoch 2:50000", (), "checkpoint.pt", 2),
    ("end:8000", (), "predictions.npz", 3),
]


@pytest.mark.parametrize(("full_at", "options", "file", "epochs"), FULL_AT, ids=[each[2] for each in FULL_AT])
def test_a_file_that_cannot_grow_ends_a_run_and_costs_nothing_that_was_saved(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_at: str, options: tuple[str, ...], file: str, epochs: int
) -> None:
    run, before = tmp_path / "runs/r", tmp_path / "before"
    assert cli(*FIT, *options, "--runs", "whole").code == 0
    monkeypatch.setenv("FULL", full_at)
    monkeypatch.setenv("BEFORE", str(before))
    with longest_file():
        failed = cli(*FIT, *options)
    sentence = f"cannot write runs/r/{file}: File too large; what was there before is unchanged"
    assert (failed.code, failed.out, failed.err) == (7, "", f"error: {sentence}\n")
    was, now = files(before), files(run)
    assert set(was) == set(now)
    for name in was:  # what is written in turn before that file is of the next epoch, and whole
        assert now[name] == was[name] or (name == "model.safetensors" and file == "checkpoint.pt") or name == "metrics.jsonl"
    assert now["metrics.jsonl"].startswith(was["metrics.jsonl"])
    # Where a line is too much there is no room for a word on how it ended either.
    assert listed(cli) == (("stopped", epochs, None) if file == "metrics.jsonl" else ("failed", epochs, sentence))

    monkeypatch.delenv("FULL")
    assert cli(*RESUME).code == 0
    assert results(run) == results(tmp_path / "whole/r")
    assert listed(cli) == ("done", 3, None)


def test_no_room_for_the_settings_leaves_no_folder(cli: Any, tmp_path: Path) -> None:
    with longest_file(100):
        failed = cli(*FIT)
    sentence = "cannot write runs/r/config.json: File too large; what was there before is unchanged"
    assert (failed.code, failed.out, failed.err) == (7, "", f"error: {sentence}\n")
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("full_at", "options", "file"),
    [("epoch 2:disk", (), "model.safetensors"), ("epoch 2:disk", SAME, "checkpoint.pt"), ("end:disk", (), "predictions.npz")],
)
def test_a_disk_that_is_full(
    cli: Any,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    full_at: str,
    options: tuple[str, ...],
    file: str,
) -> None:
    run, before = small_disk / "r", tmp_path / "before"
    assert cli(*FIT, *options, "--runs", "whole").code == 0
    monkeypatch.setenv("FULL", full_at)
    monkeypatch.setenv("BEFORE", str(before))
    failed = cli(*FIT, *options, "--runs", str(small_disk))
    sentence = f"cannot write {run}/{file}: {os.strerror(errno.ENOSPC)}; what was there before is unchanged"
    assert (failed.code, failed.out, failed.err) == (7, "", f"error: {sentence}\n")
    was, now = files(before), files(run)
    rows = now.pop("metrics.jsonl")
    assert rows.startswith(was.pop("metrics.jsonl"))
    assert now == was
    # Even for a word on how it ended there may be no room.
    assert listed(cli, "--runs", str(small_disk))[0] in ("failed", "stopped")

    monkeypatch.delenv("FULL")
    (small_disk / "filler").unlink()
    assert cli(*RESUME, "--runs", str(small_disk)).code == 0
    assert results(run) == results(tmp_path / "whole/r")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs, for copies to be broken."""
    runs = tmp_path_factory.mktemp("trained")
    fit = ["fit", "mnist-cnn", "-d", "train_size=320", "--epochs", "3", "--run", "r", "--progress", "none", "--runs"]
    assert main([*fit, str(runs)]) == 0
    return runs / "r"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a run, with its newest checkpoint alone."""
    shutil.copytree(trained, tmp_path / "runs/r")
    (tmp_path / "runs/r/checkpoint.previous.pt").unlink()
    return tmp_path / "runs/r"


def refused(cli: Any, run: Path, *args: str) -> str:
    """The sentence that a resumed run ends with, in exit code 4; what it holds stays as it is."""
    before = files(run)
    result = cli(*RESUME, *args)
    assert (result.code, result.out, result.err.count("\n")) == (4, "", 1)
    now = files(run)
    # Once its checkpoint can be read a run goes on, and then its settings say "--resume".
    assert settings(now.pop("config.json")) == settings(before.pop("config.json"))
    assert now == before
    sentence = str(result.err)
    return sentence.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize("percent", [0, 25, 50, 99])
def test_a_checkpoint_that_is_cut_off(cli: Any, run: Path, percent: int) -> None:
    path = run / "checkpoint.pt"
    os.truncate(path, path.stat().st_size * percent // 100)
    assert refused(cli, run) == "runs/r/checkpoint.pt is not a whole checkpoint (BadZipFile: File is not a zip file)"


def test_a_checkpoint_that_is_a_folder(cli: Any, run: Path) -> None:
    (run / "checkpoint.pt").unlink()
    (run / "checkpoint.pt").mkdir()
    assert refused(cli, run) == "cannot read runs/r/checkpoint.pt: Is a directory; wanted the checkpoint of a run"


def attempt(run: Path) -> dict[str, Any] | str:
    """The state of a checkpoint, or why it cannot be had."""
    try:
        return load_checkpoint(run).state
    except ModelFileError as error:
        return str(error)


def test_a_bit_that_flips_is_found_or_changes_nothing(run: Path) -> None:
    path = run / "checkpoint.pt"
    content, right = path.read_bytes(), load_checkpoint(run).state
    numbers = random.Random(0)
    # All over the file, and where the archive says what it holds.
    places = [numbers.randrange(len(content)) for _ in range(50)]
    with zipfile.ZipFile(path) as archive:
        places += [numbers.randrange(archive.start_dir, len(content)) for _ in range(50)]
    found = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << numbers.randrange(8)
        path.write_bytes(flipped)
        loaded = attempt(run)
        if isinstance(loaded, str):
            found += 1
            assert loaded.startswith(f"{path} is not a whole checkpoint (")
            assert "\n" not in loaded
        else:
            assert_equal(loaded, right, str(place))
    assert found >= len(places) / 2


class Calls:
    """Pickled, it is a call: of what makes a folder, when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("archive", [True, False])
def test_a_checkpoint_that_would_run_code_is_refused(cli: Any, run: Path, tmp_path: Path, archive: bool) -> None:
    state = {"version": 1, **load_checkpoint(run).state, "more": Calls(tmp_path / "made")}
    torch.save(state, run / "checkpoint.pt", _use_new_zipfile_serialization=archive)
    sentence = refused(cli, run)
    assert sentence.startswith("runs/r/checkpoint.pt is not a whole checkpoint (")
    assert not (tmp_path / "made").exists()
    torch.load(run / "checkpoint.pt", weights_only=False)
    assert (tmp_path / "made").exists()  # so the file was as bad as it should be


def change_state(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    state = load_checkpoint(run).state
    change(state)
    save_checkpoint(state, run)
    (run / "checkpoint.previous.pt").unlink()


CANNOT = "run runs/r cannot go on from its checkpoint: "
MISFITS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    (
        "shape",
        lambda model: model.update({"network.conv1.weight": torch.zeros(2, 3)}),
        "size mismatch for network.conv1.weight: copying a param with shape torch.Size([2, 3]) from checkpoint, "
        "the shape in current model is torch.Size([16, 1, 3, 3]).",
    ),
    ("missing", lambda model: model.pop("network.conv1.weight"), 'Missing key(s) in state_dict: "network.conv1.weight".'),
    ("extra", lambda model: model.update(more=torch.zeros(1)), 'Unexpected key(s) in state_dict: "more".'),
]


@pytest.mark.parametrize(("change", "said"), [each[1:] for each in MISFITS], ids=[each[0] for each in MISFITS])
def test_weights_that_do_not_fit(cli: Any, run: Path, change: Callable[[Any], object], said: str) -> None:
    change_state(run, lambda state: change(state["model"]))
    torch_says = f"Error(s) in loading state_dict for Classifier: {said}"
    assert refused(cli, run) == f"{CANNOT}the state of model does not fit: {torch_says}"


def within(*keys: Any, value: Any) -> Callable[[dict[str, Any]], object]:
    """A change of a state: what stands under these keys, one inside the other, is something else."""
    *above, last = keys
    return lambda state: functools.reduce(lambda found, key: found[key], above, state).__setitem__(last, value)


NO_TRAINER = "{} of the state is not what a Trainer saved; wanted {}"
NO_NUMBERS = "the random numbers of the state cannot be gone on with: "
STEPS = NO_TRAINER.format("steps", "a whole number of at least 0")
HISTORY = NO_TRAINER.format("history", "the figures of each epoch, from the first on")
NO_OPTIMIZER = "the state of optimizer does not fit: "
ODD: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (within("steps", value=torch.ones(3).to_sparse()), STEPS),
    (within("steps", value=-1), STEPS),
    (within("steps", value=10**12), "it has made 1000000000000 steps in 3 epochs of "),
    (within("batch", value=True), NO_TRAINER.format("batch", "a whole number of at least 0")),
    (within("history", value=torch.ones(3)), HISTORY),
    (within("history", 0, value=(2, 0.1, 0.1, 0.5, 1.0)), HISTORY),
    (within("history", 0, value=(1, float("nan"), 0.1, 0.5, 1.0)), HISTORY),
    (within("history", value=[3]), HISTORY),
    (within("callbacks", value=[]), NO_TRAINER.format("callbacks", "dictionaries")),
    (within("model", value=3), NO_TRAINER.format("model", "a dictionary or None")),
    (within("train_loss", value=[(1.0, 2, 3)]), NO_TRAINER.format("random_at_epoch_start", "one for each process")),
    (within("random", 0, "torch", value=torch.ones(9)), NO_NUMBERS + "RNG state must be a torch.ByteTensor"),
    (within("random", 0, "torch", value=torch.ones(9, dtype=torch.uint8)), NO_NUMBERS),
    (within("random", 0, "python", value="x"), NO_NUMBERS),
    (
        within("random", 0, "numpy", "state", "pos", value=10**6),
        NO_NUMBERS + "the state of NumPy's generator is at 1000000; wanted 0 to 624",
    ),
    (within("random", 0, value=None), NO_NUMBERS),
    (within("random", value=[]), NO_TRAINER.format("random", "one for each process")),
    (within("optimizer", "state", value=3), NO_OPTIMIZER),
    (within("optimizer", "param_groups", value=3), NO_TRAINER.format("optimizer", "groups of parameters")),
    (within("optimizer", "param_groups", 0, "momentum", value="x"), NO_OPTIMIZER + "a value is of type str; wanted float"),
    (within("optimizer", "param_groups", 0, "momentum", value=2**70), NO_OPTIMIZER + "a value is of type int; wanted float"),
    (within("optimizer", "param_groups", 0, "momentum", value=-1.0), NO_OPTIMIZER + "Invalid momentum value: -1.0"),
    (
        within("optimizer", "state", 0, "momentum_buffer", value=torch.ones(3, 1, 3, 3)),
        NO_OPTIMIZER + "momentum_buffer of a parameter of shape (16, 1, 3, 3) is none of its own",
    ),
    (within("optimizer", "state", 0, value=[]), NO_OPTIMIZER + "the state of a parameter is of type list"),
    (within("optimizer", "state", 0, value={"x": 1}), NO_OPTIMIZER),
]


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")
def test_a_state_that_is_whole_and_odd(cli: Any, run: Path) -> None:
    whole = (run / "checkpoint.pt").read_bytes()
    for change, said in ODD:
        (run / "checkpoint.pt").write_bytes(whole)
        change_state(run, change)
        assert refused(cli, run).startswith(CANNOT + said)


def test_an_odd_state_of_adam_with_a_schedule(cli: Any) -> None:
    fit = ("fit", "linear", "-d", "train_size=64", "--optimizer", "adam", "--schedule", "cosine")
    assert cli(*fit, "--epochs", "1", "--run", "r", "--progress", "none").code == 0
    whole = Path("runs/r/checkpoint.pt").read_bytes()
    for change, said in (
        (
            within("optimizer", value=None),
            "this Trainer has a state of optimizer and the state has none; make the Trainer as it was then",
        ),
        (
            within("optimizer", "state", 0, "step", value=torch.tensor(-1.0)),  # from which Adam would divide by zero
            NO_OPTIMIZER + "step of a parameter of shape (10, 784) is none of its own",
        ),
    ):
        Path("runs/r/checkpoint.pt").write_bytes(whole)
        change_state(Path("runs/r"), change)
        assert refused(cli, Path("runs/r"), "--epochs", "2") == CANNOT + said


def test_a_state_that_lacks_something(cli: Any, run: Path) -> None:
    whole = load_checkpoint(run).state
    for name in whole.keys() - {"schedule", "loss"}:  # made anew for the step that the run is at; of a loss that does not learn
        save_checkpoint({key: value for key, value in whole.items() if key != name}, run)
        (run / "checkpoint.previous.pt").unlink()
        assert refused(cli, run) == f"{CANNOT}the state has no {name}; it is not one of a Trainer"
    torch.save(whole, run / "checkpoint.pt")
    assert refused(cli, run) == "runs/r/checkpoint.pt has no version; it is not the checkpoint of a run"
    for version in (2, torch.ones(3)):
        torch.save({**whole, "version": version}, run / "checkpoint.pt")
        assert refused(cli, run) == (
            "runs/r/checkpoint.pt has another version than this tinyclsf reads, which is 1; upgrade tinyclsf"
        )


def test_the_checkpoint_before_takes_the_place_of_one_that_is_broken(cli: Any, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs/r"
    shutil.copytree(trained, run)
    os.truncate(run / "checkpoint.pt", 1000)
    broken = "runs/r/checkpoint.pt is not a whole checkpoint (BadZipFile: File is not a zip file)"
    result = cli(*RESUME)
    assert (result.code, result.err) == (0, f"warning: {broken}; going on from the one before, runs/r/checkpoint.previous.pt\n")
    assert results(run) == results(trained)
    assert_equal(load_checkpoint(run).state["model"], load_checkpoint(trained).state["model"])

    os.truncate(run / "checkpoint.pt", 1000)
    os.truncate(run / "checkpoint.previous.pt", 1000)
    other = broken.replace("checkpoint.pt", "checkpoint.previous.pt")
    assert refused(cli, run) == f"{broken}; and {other}"


OTHERS = [
    (("--seed", "1"), "seed was 0 and shall be 1"),
    (("--lr", "0.5", "--batch-size", "32"), "batch-size was 64 and shall be 32; lr was 0.1 and shall be 0.5"),
    (("mnist-logistic",), "model was mnist-cnn and shall be mnist-logistic"),
    (("-d", "train_size=321"), "data option train_size was 320 and shall be 321"),
    (("--data", "mnist"), "data was digits and shall be mnist"),
]


@pytest.mark.parametrize(("args", "difference"), OTHERS, ids=[each[0][0] for each in OTHERS])
def test_a_run_does_not_go_on_as_another_one(cli: Any, run: Path, args: tuple[str, ...], difference: str) -> None:
    assert difference in refused(cli, run, *args)
    assert refused(cli, run, *args).startswith("run runs/r cannot go on as another one: ")
    assert refused(cli, run, *args).endswith("; leave that out, or begin a new run with --config runs/r/config.json")


def test_data_that_has_changed_under_its_name(cli: Any, install: Callable[..., None], tmp_path: Path) -> None:
    code = """
from pathlib import Path
import torch
from tinyclsf.plugin import Images, Preprocess, Splits

def grey(*, file: str):
    shades = int(Path(file).read_text()) + 5 * torch.arange(24, dtype=torch.uint8)
    x = shades.view(8, 3, 1, 1, 1).transpose(0, 1).expand(3, 8, 1, 4, 4).clone()
    parts = [Images(each, torch.arange(8) % 2) for each in x]
    return Splits(*parts, ("a", "b"), (1, 4, 4), Preprocess(0.0, 255.0))
"""
    install("shades", code, module="shades", datasets={"grey": "shades:grey"})
    shade = tmp_path / "shade"
    shade.write_text("100")
    fit = ["fit", "mnist-logistic", "--data", "grey", "--epochs", "2", "--run", "r", "--progress", "none", "-d"]
    assert cli(*fit, f"file={shade}").code == 0
    checksum = json.loads(Path("runs/r/config.json").read_text())["data"]["content"]["train_checksum"]
    shade.write_text("101")
    sentence = refused(cli, Path("runs/r"), "--epochs", "3")
    assert sentence.startswith(f"the data is not what run runs/r was begun with: train checksum was {checksum} and is ")
    assert sentence.endswith("; bring that back")
    shade.write_text("100")
    assert cli(*RESUME, "--epochs", "3").code == 0

    for module in ("shades", "filling"):
        sys.path[:] = [path for path in sys.path if path != str(tmp_path / module)]
    gone = cli(*RESUME)
    assert (gone.code, gone.out) == (2, "")
    assert gone.err == "error: there is no dataset 'grey'; 'tinyclsf list datasets' shows all\n"
