"""Callbacks that are right pass every check, and one that is broken in one way fails just the check for that."""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tinyclsf.plugin import Callback, Epoch, Trainer
from tinyclsf.testing import ChecksFailed, check_callback


class Right(Callback):
    """Lower the learning rate after each epoch without a lower loss, and keep what it draws and does."""

    def __init__(self, folder: Path, model_name: str, *, factor: float = 0.5) -> None:
        self.factor = factor
        self.best, self.batches, self.drawn = float("inf"), 0, torch.zeros(2)
        self.generator = torch.Generator().manual_seed(1)

    def on_batch_end(self, trainer: Trainer) -> None:
        self.batches += 1

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row.valid_loss >= self.best:
            trainer.opt.param_groups[0]["lr"] *= self.factor
        self.best = min(self.best, row.valid_loss)
        self.drawn = torch.rand(2, generator=self.generator)

    def state_dict(self) -> dict[str, Any]:
        so_far = {"best": self.best, "batches": self.batches}
        return {"so far": so_far, "drawn": (self.drawn, self.generator.get_state())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.batches = state["so far"]["best"], state["so far"]["batches"]
        self.drawn, generator = state["drawn"]
        self.generator.set_state(generator)


class Plain(Callback):
    """Do nothing."""

    def __init__(self, folder: Path, model_name: str) -> None:
        self.folder = folder


class Undescribed(Plain):
    def on_fit_start(self, trainer: Trainer) -> None:
        """The class itself has no docstring."""


Undescribed.__doc__ = None


class OddDefault(Plain):
    """Take an option whose default is no number."""

    def __init__(self, folder: Path, model_name: str, *, width: int = "wide") -> None:  # type: ignore[assignment]
        super().__init__(folder, model_name)


class Unbuilt(Plain):
    """Look for a file that no new run has."""

    def __init__(self, folder: Path, model_name: str) -> None:
        (folder / "notes.txt").read_text()


def hidden(folder: Path, model_name: str) -> Callback:
    """Make a callback that says what the function does not."""
    callback = Plain(folder, model_name)
    callback.every_process = True
    return callback


class Misspelt(Plain):
    """Wait for a moment that never comes."""

    def on_epoch_ends(self, trainer: Trainer, row: Epoch) -> None:
        """Nobody calls it."""


class Failing(Plain):
    """Divide by zero in the second epoch."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row.epoch == 2:
            1 / 0  # noqa: B018


class Unsaved(Plain):
    """Keep what no checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"folder": self.folder}


class Printing(Plain):
    """Print each epoch."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        print("epoch", row.epoch)


class Goal(Plain):
    """Stop at an accuracy, and take it for granted that there is one."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if row.valid_accuracy >= 0.99:  # type: ignore[operator]
            trainer.stop()


class Unloaded(Plain):
    """Give a state, and take none back."""

    epoch = 0

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.epoch = row.epoch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch}


class Forgetful(Plain):
    """Count epochs from the beginning of each fit."""

    epochs = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        self.epochs = 0

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.epochs += 1

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = state["epochs"]


class Stateless(Plain):
    """Change the learning rate by a count that is lost."""

    epochs = 0

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.epochs += 1
        trainer.opt.param_groups[0]["lr"] = 0.1 / self.epochs


class Drawing(Plain):
    """Say that it watches, and draw from the random numbers of training."""

    watches = True

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        torch.rand(1)


class Waiting(Plain):
    """Evaluate, which all processes have to do together."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        trainer.evaluate([(torch.zeros(1, 1, 8, 8), torch.tensor([0]))])


class Slow(Plain):
    """Sort many numbers at each batch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        numbers = random.Random(0)
        sorted(numbers.random() for _ in range(5_000))


BROKEN: dict[Callable[..., Any], tuple[str, str]] = {
    Undescribed: (
        "description",
        "it has no docstring; wanted a first sentence for 'tinyclsf info': write one below its def or class",
    ),
    OddDefault: (
        "options",
        "option width has the default 'wide', which is no int in Python; wanted a default of the annotated type",
    ),
    Unbuilt: ("builds", "callback 'Unbuilt' (HERE:Unbuilt) failed: FileNotFoundError: ..."),
    hidden: (
        "builds",
        "its callback has every_process = True and the plugin itself has not; "
        "wanted it on the function that makes the callback too, which is asked before there is one",
    ),
    Misspelt: (
        "moments",
        "nothing calls its method on_epoch_ends; wanted on_fit_start, on_batch_end, on_epoch_end and on_fit_end, "
        "and another beginning than on_ for a method of its own: did you mean 'on_epoch_end'?",
    ),
    Failing: ("trains", "callback 'Failing' (HERE:Failing) failed in on_epoch_end: ZeroDivisionError: division by zero"),
    Unsaved: (
        "trains",
        "the callback Unsaved has a ... in its state, at state['folder'], and a checkpoint with that could not be "
        "read back; wanted numbers of Python, text, None, tensors, and lists, tuples and dictionaries of those",
    ),
    Printing: (
        "trains",
        "training with it prints to stdout, 'epoch 1'; wanted stdout free for results: leave it out, or print to sys.stderr",
    ),
    Goal: (
        "targets-without-classes",
        "where targets are no classes: callback 'Goal' (HERE:Goal) failed in on_epoch_end: TypeError: '>=' not supported "
        "between instances of 'NoneType' and 'float'; wanted it to go on: row.valid_accuracy is None then",
    ),
    Unloaded: (
        "saved-state",
        "a new callback that loads its state from a checkpoint has another one: ['Unloaded']['epoch'] is 0 and not 3; "
        "wanted a load_state_dict that takes back all that state_dict gives",
    ),
    Forgetful: (
        "stopped-and-resumed",
        "a run that is stopped and resumed differs from one that is not in its own state: ['Forgetful']['epochs'] is 2 and "
        "not 3; wanted the same: give all that it goes on from in state_dict, and take it back in load_state_dict",
    ),
    Stateless: (
        "stopped-and-resumed",
        "a run that is stopped and resumed differs from one that is not in weights: ['network.0.weight'] is tensor(...) and "
        "not tensor(...); wanted the same: give all that it goes on from in state_dict, and take it back in load_state_dict",
    ),
    Drawing: (
        "watching",
        "it says watches = True, and training with it ends with other weights than without: ['network.0.weight'] is "
        "tensor(...) and not tensor(...); wanted the same: leave the model alone and draw random numbers from a generator of "
        "its own, or leave watches out",
    ),
    Waiting: (
        "first-process-alone",
        "callback 'Waiting' (HERE:Waiting) waits in on_epoch_end for all processes of a training, and only the first one has "
        "it; set every_process = True on its class or function, or leave the callback out",
    ),
    Slow: (
        "cost",
        "its on_batch_end takes ... microseconds, and the rest of a small step ...; "
        "wanted at most 20% of that, or 50: work once an epoch, or every so many batches",
    ),
}


@pytest.fixture(autouse=True)
def quick_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("plugin", BROKEN, ids=lambda plugin: plugin.__name__)
def test_each_fault_is_found_by_its_check_alone(plugin: Callable[..., Any]) -> None:
    check, sentence = BROKEN[plugin]
    with pytest.raises(ChecksFailed) as error:
        check_callback(plugin)
    head, *failed = str(error.value).splitlines()
    assert head == f"callback {plugin.__name__} fails 1 of 12 checks"
    wanted = re.escape(f"- {check}: {sentence.replace('HERE', __name__)}").replace(re.escape("..."), ".*")
    assert re.fullmatch(wanted, "\n".join(failed))


@pytest.mark.parametrize("name", ["csv", "tensorboard"])
def test_ours_pass(name: str) -> None:
    if name == "tensorboard":
        pytest.importorskip("tensorboard")
    assert {each.check: each.sentence for each in check_callback(name) if each.outcome == "not run"} == (
        {"saved-state": "it has no state"} if name == "csv" else {}
    )


def test_one_that_steers_and_keeps_a_state_passes() -> None:
    assert repr(check_callback(Right, factor=0.1)) == (
        "11 of 12 checks passed\n  not run  watching: it does not say watches = True"
    )


class Timed(Plain):
    """Keep a time, which no two runs have alike, in every process."""

    every_process = True
    seconds = 0.0

    def on_fit_end(self, trainer: Trainer) -> None:
        self.seconds = time.time()

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]


class Ending(Plain):
    """End training after an epoch."""

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        trainer.stop()


def test_what_cannot_be_told_says_why() -> None:
    def not_run(plugin: type[Callback]) -> dict[str, str]:
        return {each.check: each.sentence for each in check_callback(plugin) if each.outcome == "not run"}

    watching = {"watching": "it does not say watches = True"}
    assert not_run(Timed) == watching | {
        "stopped-and-resumed": "two equal runs with it differ in its own state, so a resumed one cannot be compared",
        "first-process-alone": "it says every_process = True, and here is one process alone",
    }
    assert not_run(Ending) == watching | {
        "saved-state": "it has no state",
        "stopped-and-resumed": "it ends training before batch 2 of epoch 2, where this check stops it",
    }


def test_the_quick_checks_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "fit", None)
    verdicts = [each.verdict() for each in check_callback.bound(Failing, quick=True)]
    assert [(each.check, each.outcome) for each in verdicts] == [
        (name, "passed") for name in ("imports", "description", "options", "builds", "moments")
    ]
