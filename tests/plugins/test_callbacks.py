"""Figures in files: what stands there is what was trained, also where a run was killed and resumed."""

from __future__ import annotations

import builtins
import copy
import csv
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.support.commands import Cli
from tinyclsf.errors import ConfigurationError, StorageError
from tinyclsf.metrics import Epoch
from tinyclsf.runs.keeping import history_lines
from tinyclsf.runs.lines import LineEachEpoch
from tinyclsf.trainer import Callback, Trainer
from tinyclsf_plugins.callbacks.csv import csv as csv_plugin
from tinyclsf_plugins.callbacks.tensorboard import TensorBoard

State = dict[str, Any]
Kind = Callable[[Path], LineEachEpoch]


def csv_lines(path: Path) -> LineEachEpoch:
    """What the plugin makes, in a file of any name."""
    lines = csv_plugin(path.parent, "model")
    lines.path = path
    return lines


KINDS = [history_lines, csv_lines]


class Remember(Callback):
    """Keeps the loss of every batch, and the state of training after one of them, or after epoch -at."""

    def __init__(self, at: int = 0) -> None:
        self.at = at
        self.losses: list[float] = []
        self.state: State = {}

    def on_batch_end(self, trainer: Trainer) -> None:
        self.losses.append(trainer.loss.item())
        if len(self.losses) == self.at:
            self.state = copy.deepcopy(trainer.state_dict())

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.at == -row.epoch:
            self.state = copy.deepcopy(trainer.state_dict())


class Kill(Callback):
    """Ends a process as if it had been killed, at the end of an epoch."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row.epoch == 2:
            raise KeyboardInterrupt


def trainer_with(*callbacks: Callback) -> Trainer:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return Trainer(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu", callbacks=callbacks)


def fit(trainer: Trainer, epochs: int, *, resume: State | None = None, labels: bool = True, batches: int = 12) -> list[Epoch]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batches * 2, 3, generator=generator)
    y = (x[:, 0] > 0).long() if labels else x[:, :2]
    train = TensorDataset(x, y)
    if not labels:
        trainer.loss_func = F.mse_loss
    return trainer.fit(epochs, DataLoader(train, batch_size=2), DataLoader(train, batch_size=8), resume=resume)


def read_json(path: Path) -> list[Epoch]:
    return [Epoch(**json.loads(line)) for line in path.read_text().splitlines()]


def read_csv(path: Path) -> list[Epoch]:
    with path.open(newline="") as file:
        return [
            Epoch(int(row["epoch"]), *(float(row[name]) if row[name] else None for name in Epoch._fields[1:]))  # type: ignore[arg-type]
            for row in csv.DictReader(file)
        ]


READ: dict[Kind, Callable[[Path], list[Epoch]]] = {history_lines: read_json, csv_lines: read_csv}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [True, False], ids=["accuracy", "none"])
def test_the_file_holds_the_history(kind: Kind, labels: bool, tmp_path: Path) -> None:
    history = fit(trainer_with(kind(tmp_path / "m")), 3, labels=labels)
    assert READ[kind](tmp_path / "m") == history
    assert (history[0].valid_accuracy is None) is not labels


def test_a_row_as_text(tmp_path: Path) -> None:
    trainer, row = trainer_with(), Epoch(1, 0.5, 2.25, None, 1e-05)
    for callback in (history_lines(tmp_path / "j"), csv_lines(tmp_path / "c")):
        callback.on_fit_start(trainer)
        callback.on_epoch_end(trainer, row)
    assert (tmp_path / "j").read_text() == (
        '{"epoch": 1, "train_loss": 0.5, "valid_loss": 2.25, "valid_accuracy": null, "seconds": 1e-05}\n'
    )
    assert (tmp_path / "c").read_bytes() == b"epoch,train_loss,valid_loss,valid_accuracy,seconds\n1,0.5,2.25,,1e-05\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [5, 17], ids=["first epoch", "second epoch"])
def test_what_was_written_after_the_checkpoint_is_not_there_twice(kind: Kind, at: int, tmp_path: Path) -> None:
    remember, path = Remember(at), tmp_path / "m"
    fit(trainer_with(kind(path), remember), 2)
    with path.open("a") as file:
        file.write('{"epoch": 3, "tr')  # torn by a full disk
    history = fit(trainer_with(kind(path)), 3, resume=remember.state)
    assert READ[kind](path) == history
    assert [row.epoch for row in history] == [1, 2, 3]


@pytest.mark.parametrize(("kind", "fresh"), [(history_lines, ""), (csv_lines, ",".join(Epoch._fields) + "\n")])
def test_a_fresh_run_starts_a_fresh_file(kind: Kind, fresh: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    kind(path).on_fit_start(trainer_with())
    assert (path.read_text() if path.exists() else "") == fresh
    path.write_text("of another run\n")
    kind(path).on_fit_start(trainer_with())
    assert path.read_text() == fresh


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_right_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    path, trainer = tmp_path / "m", trainer_with()
    for rows in ([], fit(trainer_with(kind(path)), 2)):
        trainer.history[:] = rows
        kind(path).on_fit_start(trainer)
        before = path.stat().st_mtime_ns if path.exists() else None  # the time of its last reading may change
        kind(path).on_fit_start(trainer)
        assert (path.stat().st_mtime_ns if path.exists() else None) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_cannot_be_written_is_named(kind: Kind, tmp_path: Path) -> None:
    trainer, row = trainer_with(), Epoch(1, 1.0, 1.0, 1.0, 1.0)
    trainer.history.append(row)
    for path, reason in ((tmp_path / "no" / "m", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(StorageError) as at_start:
            kind(path).on_fit_start(trainer)
        with pytest.raises(StorageError) as at_end:
            kind(path).on_epoch_end(trainer, row)
        assert {str(at_start.value), str(at_end.value)} == {
            f"cannot write {path}: {reason}; what was there before is unchanged"
        }


@pytest.fixture
def curves() -> Callable[[Path], dict[str, list[tuple[int, float]]]]:
    """What TensorBoard reads in a folder: the steps and values of each curve."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not here")

    def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
        events = reader.EventAccumulator(str(folder)).Reload()
        return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}

    return read


Curves = Callable[[Path], dict[str, list[tuple[int, float]]]]


def wanted(losses: list[float], history: list[Epoch], batches: int) -> dict[str, list[tuple[int, float]]]:
    """The curves of a run; event files hold float32."""

    def single(value: float) -> float:
        return torch.tensor(value, dtype=torch.float32).item()

    best = [max(history[: row.epoch], key=lambda row: (row.valid_accuracy, -row.valid_loss)) for row in history]
    return {
        "hparam/loss": [(at * batches, single(row.valid_loss)) for at, row in enumerate(best, start=1)],
        "hparam/accuracy": [(at * batches, single(row.valid_accuracy or 0.0)) for at, row in enumerate(best, start=1)],
        "net/Train_Loss": [(batch, single(loss)) for batch, loss in enumerate(losses, start=1)],
        "net/Test_Loss": [(row.epoch * batches, single(row.valid_loss)) for row in history],
        "net/Test_Accuracy": [(row.epoch * batches, single(row.valid_accuracy or 0.0)) for row in history],
    }


def age(folder: Path) -> None:
    """Make event files old: they are read in the order of their names, which hold the second."""
    for file in folder.iterdir():
        file.rename(folder / file.name.replace("tfevents.", "tfevents.0"))


@pytest.mark.parametrize("batches", [12, 230])
def test_tensorboard_reads_every_batch_and_every_epoch(curves: Curves, batches: int, tmp_path: Path) -> None:
    remember = Remember()
    history = fit(trainer_with(TensorBoard(tmp_path / "t", "net"), remember), 2, batches=batches)
    assert len(remember.losses) == 2 * batches
    assert curves(tmp_path / "t") == wanted(remember.losses, history, batches)


def test_without_labels_there_is_no_curve_of_accuracy(curves: Curves, tmp_path: Path) -> None:
    fit(trainer_with(TensorBoard(tmp_path, "net")), 1, labels=False)
    assert set(curves(tmp_path)) == {"net/Train_Loss", "net/Test_Loss", "hparam/loss"}


@pytest.mark.parametrize("at", [5, 12, -1, 17], ids=["first epoch", "its last batch", "its end", "second epoch"])
def test_a_resumed_run_has_the_curves_of_one_that_was_not_stopped(curves: Curves, at: int, tmp_path: Path) -> None:
    whole = Remember()
    history = fit(trainer_with(whole), 3)
    remember, board = Remember(at), TensorBoard(tmp_path, "net")
    with pytest.raises(KeyboardInterrupt):
        fit(trainer_with(board, remember, Kill()), 3)
    board.on_fit_end(trainer_with())  # closes the file, as the end of a process does
    age(tmp_path)
    fit(trainer_with(TensorBoard(tmp_path, "net")), 3, resume=remember.state)
    assert curves(tmp_path) == wanted(whole.losses, history, 12)


def test_the_best_epoch_so_far_is_what_runs_are_compared_by(curves: Curves, tmp_path: Path) -> None:
    board, trainer = TensorBoard(tmp_path, "net"), trainer_with()
    board.on_fit_start(trainer)
    for epoch, (loss, accuracy) in enumerate([(1.0, 0.5), (0.5, 0.75), (2.0, 0.25)], start=1):
        board.batches = epoch
        trainer.history.append(Epoch(epoch, loss, loss, accuracy, 1.0))
        board.on_epoch_end(trainer, trainer.history[-1])
    board.on_fit_end(trainer)
    found = curves(tmp_path)
    assert found["hparam/accuracy"] == [(1, 0.5), (2, 0.75), (3, 0.75)]
    assert found["hparam/loss"] == [(1, 1.0), (2, 0.5), (3, 0.5)]
    assert found["net/Test_Accuracy"][-1] == (3, 0.25)


def test_tensorboard_shows_the_settings_of_a_run_once_also_after_a_resume(cli: Cli) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_multiplexer", reason="tensorboard is not here")
    plugin = importlib.import_module("tensorboard.plugins.hparams.metadata")
    fit = ("fit", "lenet", "--epochs", "1", "-d", "train_size=100", "-m", "softmax=true", "--callback", "tensorboard")
    assert cli(*fit, "--run", "first", "--progress", "none").code == 0
    age(Path("runs/first/tensorboard"))
    assert cli("fit", "--resume", "first", "--epochs", "2", "--progress", "none").code == 0
    events = reader.EventMultiplexer().AddRunsFromDirectory("runs").Reload()
    assert set(events.Runs()) == {"first/tensorboard"}
    found = events.GetAccumulator("first/tensorboard").PluginTagToContent("hparams")
    # No list of columns: TensorBoard would take that of one run for all.
    assert set(found) == {plugin.SESSION_START_INFO_TAG}
    hparams = plugin.parse_session_start_info_plugin_data(found[plugin.SESSION_START_INFO_TAG]).hparams
    numbers = {name: hparams[name].number_value for name in ("epochs", "lr", "batch-size", "data train-size")}
    assert numbers == {"epochs": 2, "lr": 0.01, "batch-size": 50, "data train-size": 100}
    texts = {name: hparams[name].string_value for name in ("model", "data", "optimizer", "model softmax")}
    assert texts == {"model": "lenet", "data": "digits", "optimizer": "adam", "model softmax": "true"}
    assert not {"run", "clip-norm"} & set(hparams)  # its place, and what was not asked for
    assert [each.step for each in events.Scalars("first/tensorboard", "hparam/accuracy")] == [2, 4]


def test_losses_are_on_the_disk_after_a_hundred_batches_and_before_a_checkpoint(curves: Curves, tmp_path: Path) -> None:
    board, trainer = TensorBoard(tmp_path, "net"), trainer_with()
    board.on_fit_start(trainer)
    for _ in range(103):
        board.on_batch_end(trainer)
    assert len(curves(tmp_path)["net/Train_Loss"]) == 100
    assert board.state_dict() == {"batches": 103, "loss": 0.0}
    assert [batch for batch, _ in curves(tmp_path)["net/Train_Loss"]] == list(range(1, 104))
    board.on_fit_end(trainer)


def test_a_run_that_is_stopped_writes_its_last_batches(curves: Curves, tmp_path: Path) -> None:
    class Stop(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            trainer.stop()

    fit(trainer_with(TensorBoard(tmp_path, "net"), Stop()), 1)
    assert [batch for batch, _ in curves(tmp_path)["net/Train_Loss"]] == [1]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigurationError) as error:
        TensorBoard(tmp_path / "t", "net")
    assert str(error.value) == (f"writing {tmp_path / 't'} needs the package tensorboard; pip install 'tinyclsf[tensorboard]'")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not here")
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "t"
    with pytest.raises(StorageError) as error:
        TensorBoard(folder, "net").on_fit_start(trainer_with())
    assert str(error.value) == f"cannot write {folder}: Not a directory; what was there before is unchanged"
