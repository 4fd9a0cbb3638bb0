"""A fit that was stopped anywhere and resumed from its saved state ends, bit for bit, where the uninterrupted one ends."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

from tests.support.states import assert_equal, through_a_file
from tests.support.training import images, regularised
from tinyclsf import Trainer, get_data
from tinyclsf.batches.loaders import WrappedDataLoader
from tinyclsf.batches.workers import WorkerLoader
from tinyclsf.callbacks import EarlyStopping, EpochSchedule
from tinyclsf.errors import ModelFileError
from tinyclsf.metrics import Epoch
from tinyclsf.runs.keeping import BestModel
from tinyclsf.runs.models import weights_epoch
from tinyclsf.trainer import Callback

PIXELS, EPOCHS, BATCHES = 40, 3, 6  # the last batch of an epoch is a short one


class Shaken(Dataset[tuple[Tensor, Tensor]]):
    """Images that change at random, by all three generators, whenever they are read."""

    def __init__(self, data: TensorDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return shaken(*self.data[index])


class ReadByWorkers(Shaken):
    """The same, read by processes that `get_data` starts."""

    loader_workers = 2


def shaken(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if random.random() < 0.5:
        x = x.flip(-1)
    return x + torch.rand(1) * float(np.random.rand()), y


def in_memory() -> tuple[Any, Any]:
    return get_data(images(330, 0, PIXELS), images(130, 1, PIXELS), 64)


def own_generator() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(3)
    return DataLoader(images(330, 0, PIXELS), 64, shuffle=True, generator=generator), in_memory()[1]


def wrapped() -> tuple[Any, Any]:
    return WrappedDataLoader(own_generator()[0], lambda x, y: (2 * x, y)), in_memory()[1]


def own_sampler() -> tuple[Any, Any]:
    data = images(330, 0, PIXELS)
    return DataLoader(data, 64, sampler=RandomSampler(data, generator=torch.Generator().manual_seed(3))), in_memory()[1]


def plain_workers() -> tuple[Any, Any]:
    return DataLoader(Shaken(images(330, 0, PIXELS)), 64, shuffle=True, num_workers=2), in_memory()[1]


def own_workers() -> tuple[Any, Any]:
    found = get_data(ReadByWorkers(images(330, 0, PIXELS)), ReadByWorkers(images(130, 1, PIXELS)), 64)
    assert all(isinstance(dl, WorkerLoader) for dl in found)
    return found


def seed(number: int) -> None:
    torch.manual_seed(number)
    random.seed(number)
    np.random.seed(number)


class StopAt(Callback):
    """Stops a fit: after so many batches, in the validation of an epoch, or at an epoch's end."""

    def __init__(self, moment: str, number: int) -> None:
        self.moment, self.left = moment, number

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.moment == "validation":
            trainer.evaluated_model.register_forward_hook(lambda model, *_: None if model.training else self._count(trainer))

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.moment == "batch":
            self._count(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.moment == "epoch":
            self._count(trainer)

    def _count(self, trainer: Trainer) -> None:
        self.left -= 1
        if self.left == 0:
            trainer.stop()


def begin(*callbacks: Callback, **more: Any) -> Trainer:
    seed(1)
    model = regularised(PIXELS)
    opt = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = OneCycleLR(opt, 0.01, total_steps=EPOCHS * BATCHES)
    return Trainer(model, F.cross_entropy, opt, device="cpu", schedule=schedule, augment=shaken, callbacks=callbacks, **more)


def without_seconds(rows: list[Any]) -> list[Any]:
    return [tuple(row)[:4] for row in rows]


SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulated": {"accumulate": 4, "clip_norm": 1.0, "ema_decay": 0.9},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16", "accumulate": 2},
}
Loaders = Callable[[], tuple[Any, Any]]


@functools.cache
def uninterrupted(loaders: Loaders, settings: str) -> tuple[list[Any], dict[str, Any]]:
    trainer = begin(**SETTINGS[settings])
    history = trainer.fit(EPOCHS, *loaders())
    return without_seconds(history), trainer.state_dict()


# What was asked for, and where a fit with one batch a step has come by then: rows, and batches done in the epoch after them.
MOMENTS = {
    ("batch", 1): (0, 1),
    ("batch", 3): (0, 3),
    ("batch", 6): (0, 6),
    ("validation", 1): (0, 6),
    ("epoch", 1): (1, 0),
    ("batch", 8): (1, 2),
    ("validation", 4): (1, 6),
    ("epoch", 3): (3, 0),
}
CASES = [
    *((in_memory, settings, moment) for settings in SETTINGS for moment in MOMENTS),
    *((own_generator, "plain", moment) for moment in MOMENTS),
    *((loaders, "plain", ("batch", 8)) for loaders in (wrapped, own_sampler)),
    *((own_workers, "plain", moment) for moment in [("batch", 3), ("validation", 4)]),
    (plain_workers, "plain", ("batch", 3)),
]
SLOW_CASES = [  # workers start anew for each
    *((own_workers, "plain", moment) for moment in MOMENTS),
    *((plain_workers, "plain", moment) for moment in [("validation", 1), ("epoch", 1)]),
]


@pytest.mark.parametrize(
    ("loaders", "settings", "moment"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.stress) for case in SLOW_CASES if case not in CASES)],
    ids=lambda value: getattr(value, "__name__", str(value).replace("'", "")),
)
def test_a_resumed_fit_ends_where_the_uninterrupted_one_ends(loaders: Loaders, settings: str, moment: tuple[str, int]) -> None:
    wanted, state = uninterrupted(loaders, settings)
    stopped = begin(StopAt(*moment), **SETTINGS[settings])
    rows = stopped.fit(EPOCHS, *loaders())
    assert without_seconds(rows) == wanted[: len(rows)]
    saved = through_a_file(stopped.state_dict())
    assert saved.pop("loss") is None  # states of before a loss could learn have none
    if "accumulate" not in SETTINGS[settings]:
        assert (len(saved["history"]), saved["batch"]) == MOMENTS[moment]

    resumed = begin(**SETTINGS[settings])
    seed(99)  # another process has other random numbers
    assert without_seconds(resumed.fit(EPOCHS, *loaders(), resume=saved)) == wanted
    found = resumed.state_dict()
    found["history"], state = without_seconds(found["history"]), {**state, "history": wanted}
    assert_equal(found, state)


def test_a_fit_may_be_stopped_and_resumed_again_and_again() -> None:
    wanted, state = uninterrupted(in_memory, "plain")
    saved = None
    for _ in range(EPOCHS * BATCHES):
        trainer = begin(StopAt("batch", 1))
        trainer.fit(EPOCHS, *in_memory(), resume=saved)
        saved = through_a_file(trainer.state_dict())
    last = begin()
    assert without_seconds(last.fit(EPOCHS, *in_memory(), resume=saved)) == wanted
    assert_equal(last.state_dict()["model"], state["model"])


class Warmed(nn.Module):
    """A loss that learns its temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, out: Tensor, yb: Tensor) -> Tensor:
        return F.cross_entropy(out / self.temperature, yb)


def test_a_loss_that_learns_goes_on_too() -> None:
    def begin_warmed(*callbacks: Callback) -> Trainer:
        seed(1)
        model, loss = nn.Linear(PIXELS, 10), Warmed()
        opt = torch.optim.SGD([*model.parameters(), *loss.parameters()], lr=0.5)
        return Trainer(model, loss, opt, device="cpu", callbacks=callbacks)

    whole = begin_warmed()
    whole.fit(EPOCHS, *in_memory())
    stopped = begin_warmed(StopAt("batch", 8))
    stopped.fit(EPOCHS, *in_memory())
    saved = through_a_file(stopped.state_dict())
    resumed = begin_warmed()
    resumed.fit(EPOCHS, *in_memory(), resume=saved)
    assert_equal(resumed.state_dict()["model"], whole.state_dict()["model"])
    assert_equal(resumed.state_dict()["loss"], whole.state_dict()["loss"])
    assert float(whole.state_dict()["loss"]["temperature"]) != 1


@pytest.mark.parametrize("number", [1, 5, 7])
@pytest.mark.parametrize(("loaders", "where"), [(in_memory, "loss"), (in_memory, "backward"), (wrapped, "loss")])
def test_ctrl_c_in_a_batch_leaves_a_state_that_makes_it_again(loaders: Loaders, where: str, number: int) -> None:
    wanted, _ = uninterrupted(loaders, "plain")
    left = number

    def loss(out: Tensor, yb: Tensor) -> Tensor:
        nonlocal left
        left -= out.requires_grad
        if left == 0 and out.requires_grad:
            if where == "loss":
                raise KeyboardInterrupt
            out.register_hook(interrupt)  # type: ignore[no-untyped-call]
        return F.cross_entropy(out, yb)

    def interrupt(gradient: Tensor) -> None:
        raise KeyboardInterrupt

    trainer = begin()
    trainer.loss_func = loss
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(EPOCHS, *loaders())
    assert (trainer.between_steps, trainer.steps) == (True, number - 1)
    assert trainer.batch == (number - 1) % BATCHES
    saved = through_a_file(trainer.state_dict())
    resumed = begin()
    rows = resumed.fit(EPOCHS, *loaders(), resume=saved)
    assert (len(rows), resumed.steps) == (EPOCHS, EPOCHS * BATCHES)
    if number != 5:  # in the first batch of an epoch no random number counts as drawn yet
        assert [row.train_loss for row in rows] == [train_loss for _, train_loss, *_ in wanted]


def test_a_resumed_fit_that_is_stopped_before_its_first_batch_has_the_state_that_it_was_given() -> None:
    stopped = begin(StopAt("batch", 8))
    stopped.fit(EPOCHS, *own_generator())
    saved = through_a_file(stopped.state_dict())
    resumed = begin()
    seed(99)
    resumed.stop()
    assert len(resumed.fit(EPOCHS, *own_generator(), resume=saved)) == 1
    assert_equal(resumed.state_dict(), saved)
    # And what it was to go on from is not taken up by a fit that begins anew.
    fresh, _ = resumed.fit(1, *own_generator()), resumed.state_dict()
    assert (len(fresh), fresh[0].epoch, resumed.batch, resumed.steps) == (1, 1, BATCHES, BATCHES)


def test_a_finished_fit_goes_on_to_more_epochs() -> None:
    long = begin()
    wanted = without_seconds(long.fit(EPOCHS, *in_memory()))
    short = begin()
    short.fit(EPOCHS - 1, *in_memory())
    saved = through_a_file(short.state_dict())
    resumed = begin()
    seed(99)
    assert without_seconds(resumed.fit(EPOCHS, *in_memory(), resume=saved)) == wanted
    assert_equal(resumed.state_dict()["model"], long.state_dict()["model"])
    assert without_seconds(begin().fit(EPOCHS, *in_memory(), resume=resumed.state_dict())) == wanted


def steered(kind: type[LRScheduler], folder: Path, *more: Callback) -> tuple[Trainer, list[float]]:
    """A fit without weights that change: the first epoch is the best, and no later one is better."""
    torch.manual_seed(1)
    model = nn.Linear(40, 10)
    opt = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule: LRScheduler = StepLR(opt, 2, 0.1) if kind is StepLR else ReduceLROnPlateau(opt, factor=0.1, patience=1)
    rates: list[float] = []

    class Rates(Callback):
        def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
            rates.append(opt.param_groups[0]["lr"])

    def loss(out: Tensor, yb: Tensor) -> Tensor:
        return F.cross_entropy(out, yb) * 0 + 1

    callbacks = [EpochSchedule(schedule), Rates(), BestModel(folder / "best"), EarlyStopping(5), *more]
    return Trainer(model, loss, opt, device="cpu", callbacks=callbacks), rates


@pytest.mark.parametrize("kind", [StepLR, ReduceLROnPlateau])
@pytest.mark.parametrize("moment", [("batch", 8), ("epoch", 1), ("epoch", 3)])
def test_what_callbacks_know_survives(tmp_path: Path, kind: type[LRScheduler], moment: tuple[str, int]) -> None:
    trainer, wanted = steered(kind, tmp_path)
    history = trainer.fit(20, *in_memory())
    assert len(history) == 6  # the first, and five in vain
    by_epoch, by_plateau = [1, 0.1, 0.1, 0.01, 0.01, 0.001], [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert wanted == pytest.approx(by_epoch if kind is StepLR else by_plateau)

    stopped, before = steered(kind, tmp_path, StopAt(*moment))
    stopped.fit(20, *in_memory())
    resumed, after = steered(kind, tmp_path)
    rows = resumed.fit(20, *in_memory(), resume=through_a_file(stopped.state_dict()))
    assert without_seconds(rows) == without_seconds(history)
    assert before + after == wanted
    assert weights_epoch(tmp_path / "best") == 1
    # Training that has ended in vain does not begin again.
    again, _ = steered(kind, tmp_path)
    assert len(again.fit(20, *in_memory(), resume=through_a_file(resumed.state_dict()))) == 6


def test_a_schedule_by_epochs_may_come_later() -> None:
    model = regularised(PIXELS)
    opt = torch.optim.AdamW(model.parameters(), lr=0.01)
    plain = Trainer(model, F.cross_entropy, opt, device="cpu")
    plain.fit(1, *in_memory())
    later = torch.optim.AdamW(model.parameters(), lr=0.01)
    steps = EpochSchedule(StepLR(later, 1, 0.5))
    Trainer(model, F.cross_entropy, later, device="cpu", callbacks=[steps]).fit(2, *in_memory(), resume=plain.state_dict())
    assert later.param_groups[0]["lr"] == 0.005


def refusal(state: dict[str, Any], **more: Any) -> str:
    model = more.pop("model", None) or regularised(PIXELS)
    opt = torch.optim.AdamW(model.parameters())
    if "schedule" not in more:
        more["schedule"] = OneCycleLR(opt, 0.1, total_steps=9)
    with pytest.raises(ModelFileError) as error:
        Trainer(model, more.pop("loss", F.cross_entropy), opt, device="cpu", **more).fit(1, *in_memory(), resume=state)
    return str(error.value)


def test_a_state_of_other_parts_is_refused() -> None:
    state = begin().state_dict()
    assert refusal(state, schedule=None) == (
        "the state has a state of schedule and this Trainer has none; make the Trainer as it was then"
    )
    assert refusal({**state, "schedule": None}) == (
        "this Trainer has a state of schedule and the state has none; make the Trainer as it was then"
    )
    assert refusal(state, ema_decay=0.9) == (
        "this Trainer has a state of average and the state has none; make the Trainer as it was then"
    )
    assert refusal(begin(ema_decay=0.9).state_dict()) == (
        "the state has a state of average and this Trainer has none; make the Trainer as it was then"
    )
    assert refusal(state, precision="float16") == (
        "this Trainer has a state of scaler and the state has none; make the Trainer as it was then"
    )
    wider = nn.Sequential(nn.Linear(40, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 11, bias=False))
    assert refusal(state, model=wider) == (
        "the state of model does not fit: Error(s) in loading state_dict for Sequential: "
        'Unexpected key(s) in state_dict: "4.bias". '
        "size mismatch for 4.weight: copying a param with shape torch.Size([10, 16]) from checkpoint, "
        "the shape in current model is torch.Size([11, 16])."
    )
    other = torch.optim.AdamW(nn.Linear(2, 2, bias=False).parameters()).state_dict()
    assert refusal({**state, "optimizer": other}) == (
        "the state of optimizer does not fit: loaded state dict contains a parameter group that doesn't match "
        "the size of optimizer's group"
    )
    assert refusal(state, loss=Warmed()) == (
        "this Trainer has a state of loss and the state has none; make the Trainer as it was then"
    )
    assert refusal({**state, "loss": {}}) == (
        "the state has a state of loss and this Trainer has none; make the Trainer as it was then"
    )
    assert refusal({"version": 1}) == "the state has no model; it is not one of a Trainer"
