"""Callbacks that steer training and keep what is worth keeping."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau, StepLR

from tinyclsf import Epoch, Trainer
from tinyclsf.callbacks import EarlyStopping, EpochSchedule
from tinyclsf.errors import ConfigurationError, PluginError, StorageError
from tinyclsf.runs.checkpoints import PREVIOUS, load_checkpoint
from tinyclsf.runs.keeping import BestModel, Checkpoints
from tinyclsf.runs.models import weights_epoch
from tinyclsf.trainer import Callback

BATCHES = [(torch.eye(4)[:3], torch.tensor([0, 1, 2]))] * 7
VALID = BATCHES[:1]


class Scripted(Trainer):
    """A trainer whose validation figures are given: a loss and an accuracy an epoch."""

    def __init__(self, figures: list[tuple[float, float | None]], *callbacks: Callback, **more: Any) -> None:
        torch.manual_seed(0)
        model = nn.Linear(4, 3)
        super().__init__(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu", **more)
        self.callbacks = [Figures(figures), *callbacks]

    def fit_all(self) -> list[Epoch]:
        return self.fit(len(self.callbacks[0].figures), BATCHES, VALID)  # type: ignore[attr-defined]

    def evaluate(self, dl: Any) -> Any:
        found = super().evaluate(dl)
        loss, accuracy = self.callbacks[0].figures[self.epoch - 1]  # type: ignore[attr-defined]
        return found._replace(loss=loss, accuracy=accuracy)


class Figures(Callback):
    """The figures, and the weights after each epoch."""

    def __init__(self, figures: list[tuple[float, float | None]]) -> None:
        self.figures = figures
        self.weights: list[dict[str, Tensor]] = []

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.weights.append({key: value.clone() for key, value in trainer.evaluated_model.state_dict().items()})


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ([(0.5, 0.8), (0.4, 0.9), (0.3, 0.9), (0.1, 0.7)], 3),  # the accuracy first, and then the loss
        ([(0.5, 0.9), (0.5, 0.9), (0.6, 0.9)], 1),  # of equals the first
        ([(0.5, None), (0.3, None), (0.4, None)], 2),
    ],
)
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_weights_of_the_best_epoch_are_saved(
    tmp_path: Path, figures: list[tuple[float, float | None]], best: int, ema_decay: float | None
) -> None:
    trainer = Scripted(figures, BestModel(tmp_path / "best"), ema_decay=ema_decay)
    trainer.fit_all()
    assert weights_epoch(tmp_path / "best") == best
    found, wanted = load_file(tmp_path / "best"), trainer.callbacks[0].weights[best - 1]  # type: ignore[attr-defined]
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize(
    ("patience", "losses", "epochs"),
    [(1, [3, 2, 2, 1], 3), (2, [3, 2, 4, 1, 5, 5, 0], 6), (2, [1, 2, 3, 0], 3), (3, [4, 3, 2, 1], 4)],
)
def test_training_ends_after_so_many_epochs_in_vain(patience: int, losses: list[float], epochs: int) -> None:
    history = Scripted([(loss, None) for loss in losses], EarlyStopping(patience)).fit_all()
    assert [row.valid_loss for row in history] == losses[:epochs]


@pytest.mark.parametrize(("kind", "number"), [("patience", 0), ("patience", -1), ("every", 0), ("every", -2)])
def test_numbers_below_one_are_refused(tmp_path: Path, kind: str, number: int) -> None:
    with pytest.raises(ConfigurationError) as error:
        EarlyStopping(number) if kind == "patience" else Checkpoints(tmp_path, number)
    assert str(error.value) == (
        f"patience is {number}; wanted at least 1 epoch"
        if kind == "patience"
        else f"a checkpoint every {number} batches cannot be; wanted a whole number of at least 1"
    )


class Rates(Callback):
    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        self.rates.append(trainer.opt.param_groups[0]["lr"])


def test_schedules_by_epoch_are_stepped_after_each_and_a_plateau_by_the_validation_loss() -> None:
    losses: list[tuple[float, float | None]] = [(loss, None) for loss in (3.0, 2.0, 2.5, 2.4, 1.0)]
    for kind, wanted in (
        (StepLR, [0.1, 0.1, 0.01, 0.01, 0.001]),
        (ReduceLROnPlateau, [0.1, 0.1, 0.1, 0.01, 0.001]),  # after the third and the fourth, which were no better
    ):
        trainer, rates = Scripted(losses), Rates()
        schedule: LRScheduler = (
            StepLR(trainer.opt, 2, 0.1) if kind is StepLR else ReduceLROnPlateau(trainer.opt, factor=0.1, patience=0)
        )
        trainer.callbacks += [EpochSchedule(schedule), rates]
        trainer.fit_all()
        assert rates.rates[::7] == pytest.approx(wanted)
        assert all(len(set(rates.rates[start : start + 7])) == 1 for start in range(0, 35, 7))


class Watched(Checkpoints):
    """Checkpoints, with where each was saved."""

    def __init__(self, folder: Path, every: int | None = None) -> None:
        super().__init__(folder, every)
        self.at: list[tuple[int, int, bool]] = []

    def _save(self, trainer: Trainer) -> None:
        super()._save(trainer)
        state = load_checkpoint(self.folder).state
        self.at.append((len(state["history"]), state["batch"], trainer.between_steps))


@pytest.mark.parametrize(
    ("every", "accumulate", "wanted"),
    [
        (None, 1, [(1, 0), (2, 0)]),
        (3, 1, [(0, 3), (0, 6), (1, 0), (1, 3), (1, 6), (2, 0)]),
        (7, 1, [(0, 7), (1, 0), (1, 7), (2, 0)]),
        (100, 1, [(1, 0), (2, 0)]),
        (3, 2, [(0, 4), (1, 0), (1, 4), (2, 0)]),  # not while a gradient waits for its step
        (1, 3, [(0, 3), (0, 6), (1, 0), (1, 3), (1, 6), (2, 0)]),
    ],
)
def test_checkpoints_are_saved_after_so_many_batches_and_every_epoch(
    tmp_path: Path, every: int | None, accumulate: int, wanted: list[tuple[int, int]]
) -> None:
    keeper = Watched(tmp_path, every)
    Scripted([(1.0, 0.5)] * 2, keeper, accumulate=accumulate).fit_all()
    assert keeper.at == [(*position, True) for position in wanted]
    before = torch.load(tmp_path / PREVIOUS, weights_only=True)
    assert (len(before["history"]), before["batch"]) == wanted[-2]


class StopAt(Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.moment = epoch, batch

    def on_batch_end(self, trainer: Trainer) -> None:
        if (trainer.epoch, trainer.batch) == self.moment:
            trainer.stop()


@pytest.mark.parametrize(
    ("every", "stop", "wanted"),
    [
        (None, (1, 2), [(0, 2)]),
        (2, (1, 5), [(0, 2), (0, 4), (0, 5)]),
        (2, (1, 4), [(0, 2), (0, 4)]),  # what is saved already is not saved once more
        (None, (2, 7), [(1, 0), (1, 7)]),
    ],
)
def test_where_training_is_stopped_only_what_is_new_is_saved(
    tmp_path: Path, every: int | None, stop: tuple[int, int], wanted: list[tuple[int, int]]
) -> None:
    keeper = Watched(tmp_path, every)
    Scripted([(1.0, 0.5)] * 2, StopAt(*stop), keeper).fit_all()
    assert [position[:2] for position in keeper.at] == wanted


def test_a_resumed_fit_that_does_nothing_saves_nothing(tmp_path: Path) -> None:
    Scripted([(1.0, 0.5)] * 2, StopAt(1, 4), Checkpoints(tmp_path)).fit_all()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    trainer = Scripted([(1.0, 0.5)] * 2, Checkpoints(tmp_path))
    trainer.stop()
    trainer.fit(2, BATCHES, VALID, resume=load_checkpoint(tmp_path).state)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


class TurnsToNumpy(Callback):
    """Its state is a number of Python's after the first epoch, and one of NumPy's from then on."""

    value: float = 0.0

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.value = 1.0 if row.epoch == 1 else np.float64(2.0)

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}


def test_a_state_that_no_checkpoint_can_hold_ends_training_and_leaves_what_was_saved(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"^the callback TurnsToNumpy has a numpy\.float64 in its state, at state"):
        Scripted([(1.0, 0.5)] * 3, TurnsToNumpy(), Checkpoints(tmp_path)).fit_all()
    checkpoint = load_checkpoint(tmp_path)
    assert (len(checkpoint.state["history"]), checkpoint.warning) == (1, None)
    assert checkpoint.state["callbacks"] == {"TurnsToNumpy": {"value": 1.0}}


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "gone"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["checkpoint.pt", "best"])
def test_what_cannot_be_written_ends_training(gone: Path, kind: str) -> None:
    keeper = Checkpoints(gone) if kind == "checkpoint.pt" else BestModel(gone / kind)
    with pytest.raises(StorageError) as error:
        Scripted([(1.0, 0.5)], keeper).fit_all()
    assert str(error.value) == (f"cannot write {gone / kind}: No such file or directory; what was there before is unchanged")


def test_a_callback_that_overrides_nothing_does_nothing() -> None:
    assert len(Scripted([(1.0, 0.5)], Callback()).fit_all()) == 1
    assert Callback().state_dict() == {}
