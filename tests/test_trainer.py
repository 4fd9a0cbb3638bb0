"""`Trainer` against `fit` and PyTorch's own schedules, and what it does when it is stopped or fails."""

from __future__ import annotations

import contextlib
import gc
import shutil
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau
from torch.utils.data import TensorDataset

from tests.support.streams import Stream
from tests.support.training import begin, images, regularised
from tinyclsf import Epoch, Lambda, Trainer, fit, get_data
from tinyclsf.augment.named import AUGMENTATIONS, Augmentation
from tinyclsf.errors import ConfigurationError, ModelFileError, TrainingError
from tinyclsf.trainer import Callback
from tinyclsf_plugins.models.mnist_cnn import Mnist_CNN
from tinyclsf_plugins.models.mnist_logistic import Mnist_Logistic


@pytest.mark.parametrize("make", [Mnist_Logistic, Mnist_CNN, regularised])
def test_with_every_extra_off_it_ends_bit_for_bit_where_fit_ends(make: Callable[[], nn.Module]) -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    model, opt = begin(make)
    wanted = fit(3, model, F.cross_entropy, opt, *loaders, on_epoch=lambda row: None)
    state = model.state_dict()
    other, opt = begin(make)
    history = Trainer(other, F.cross_entropy, opt, device="cpu", memory_format="contiguous").fit(3, *loaders)
    assert all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    for ours, theirs in zip(history, wanted, strict=True):
        assert (ours.epoch, ours.valid_accuracy) == (theirs.epoch, theirs.valid_accuracy)
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-9)
        assert ours.valid_loss == pytest.approx(theirs.valid_loss, rel=1e-9)


def test_channels_last_trains_to_the_same_figures() -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    rows = []
    for memory_format in ("contiguous", "channels_last"):
        model, opt = begin(Mnist_CNN, lr=0.01)
        trainer = Trainer(model, F.cross_entropy, opt, device="cpu", memory_format=memory_format)
        rows.append(trainer.fit(1, *loaders)[0])
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=1e-4)
    assert rows[0].valid_loss == pytest.approx(rows[1].valid_loss, rel=1e-4)


def test_training_batches_alone_are_augmented_as_stored() -> None:
    seen: list[torch.Tensor] = []

    def darken(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert torch.is_grad_enabled()
        seen.append(x)
        return x // 2, y

    stored = torch.randint(256, (70, 784), dtype=torch.uint8)
    train, valid = TensorDataset(stored, torch.zeros(70).long()), TensorDataset(stored[:9], torch.zeros(9).long())
    model, opt = begin(lambda: nn.Sequential(Lambda(lambda x: x / 255), nn.Linear(784, 10)), lr=1e-12)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", augment=darken)
    (row,) = trainer.fit(1, *get_data(train, valid, 32))
    assert [len(x) for x in seen] == [32, 32, 6]
    assert torch.equal(torch.cat(seen).float().sum(1).sort().values, stored.float().sum(1).sort().values)
    with torch.no_grad():
        assert row.train_loss == pytest.approx(F.cross_entropy(model(stored // 2), train.tensors[1]).item(), rel=1e-5)
        assert row.valid_loss == pytest.approx(F.cross_entropy(model(stored[:9]), valid.tensors[1]).item(), rel=1e-5)


def test_a_loss_that_is_a_module_trains_and_evaluates_with_the_model() -> None:
    modes = []

    class Watched(nn.CrossEntropyLoss):
        def forward(self, out: torch.Tensor, yb: torch.Tensor) -> torch.Tensor:
            modes.append(self.training)
            return super().forward(out, yb)

    model, opt = begin(Mnist_Logistic)
    Trainer(model, Watched(), opt, device="cpu").fit(2, *get_data(images(40, 0), images(8, 1), 32))
    assert modes == [True, True, False] * 2


def test_the_schedule_is_stepped_after_every_batch() -> None:
    model, opt = begin(Mnist_Logistic)
    rates = []

    class Rates(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            rates.append(trainer.opt.param_groups[0]["lr"])

    schedule = OneCycleLR(opt, 0.1, total_steps=6)
    loaders = get_data(images(70, 0), images(8, 1), 32)
    Trainer(model, F.cross_entropy, opt, device="cpu", schedule=schedule, callbacks=[Rates()]).fit(2, *loaders)
    _, other = begin(Mnist_Logistic)
    reference = OneCycleLR(other, 0.1, total_steps=6)
    wanted = []
    for _ in range(6):
        other.step()
        reference.step()
        wanted.append(other.param_groups[0]["lr"])
    assert rates == wanted


def frozen() -> nn.Module:
    return Mnist_Logistic().requires_grad_(False)


@pytest.mark.parametrize(
    ("make", "optimized", "message"),
    [
        (
            Mnist_Logistic,
            Mnist_Logistic(),
            "optimizer SGD holds no parameter of model Mnist_Logistic that requires a gradient; "
            "make it with model.parameters() of this very model",
        ),
        (
            frozen,
            None,
            "model Mnist_Logistic has no parameter that requires a gradient, so there is nothing to train; "
            "call requires_grad_() on what is to be trained",
        ),
        (
            nn.Identity,
            Mnist_Logistic(),
            "model Identity has no parameter that requires a gradient, so there is nothing to train; "
            "call requires_grad_() on what is to be trained",
        ),
    ],
)
def test_what_could_learn_nothing_is_refused(make: Callable[[], nn.Module], optimized: nn.Module | None, message: str) -> None:
    model = make()
    opt = torch.optim.SGD((optimized or model).parameters(), lr=0.1)
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu")
    assert str(error.value) == message


def test_an_optimizer_of_the_frozen_half_is_refused_and_one_of_a_part_of_the_model_and_of_others_is_not() -> None:
    model, loss = regularised(), nn.CrossEntropyLoss(weight=torch.ones(10))
    loss.scale = nn.Parameter(torch.ones(()))
    first, last = model[0].requires_grad_(False), model[-1]  # type: ignore[index]
    with pytest.raises(ConfigurationError, match=r"^optimizer SGD holds no parameter of model Sequential that requires"):
        Trainer(model, loss, torch.optim.SGD(first.parameters(), lr=0.1), device="cpu")
    opt = torch.optim.SGD([{"params": [loss.scale]}, {"params": [last.bias]}], lr=0.1)
    before = last.bias.clone()
    Trainer(model, loss, opt, device="cpu").fit(1, *get_data(images(8, 0), images(8, 1), 8))
    assert not torch.equal(last.bias, before)


def test_a_schedule_that_waits_for_a_plateau_is_refused_as_one_by_step() -> None:
    model, opt = begin(Mnist_Logistic)
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu", schedule=ReduceLROnPlateau(opt))
    assert str(error.value) == (
        "schedule is a ReduceLROnPlateau, which needs the validation loss of an epoch and cannot be stepped after every step; "
        "leave schedule out and give callbacks=[EpochSchedule(schedule)]"
    )


@pytest.mark.parametrize("epochs", [0, -1, True, 2.0, "2", None, np.True_], ids=repr)
def test_epochs_that_are_no_positive_whole_number_are_refused(epochs: Any) -> None:
    model, opt = begin(Mnist_Logistic)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    with pytest.raises(ConfigurationError) as error:
        trainer.fit(epochs, *get_data(images(8, 0), images(8, 1), 8))
    assert str(error.value) == f"epochs is {epochs!r}; wanted a whole number of at least 1"


def test_epochs_may_be_an_integer_of_numpy() -> None:
    model, opt = begin(Mnist_Logistic)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    assert len(trainer.fit(np.int64(2), *get_data(images(8, 0), images(8, 1), 8))) == 2  # type: ignore[arg-type]
    assert type(trainer.epochs) is int


class Recorder(Callback):
    """Every moment of a fit with what a callback may read at it."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def on_fit_start(self, trainer: Trainer) -> None:
        self.seen.append(("start", trainer.epochs, trainer.batches))

    def on_batch_end(self, trainer: Trainer) -> None:
        self.seen.append(("batch", trainer.epoch, trainer.batch, trainer.running_loss > 0))

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        self.seen.append(("epoch", row.epoch))

    def on_fit_end(self, trainer: Trainer) -> None:
        self.seen.append(("end",))


def test_callbacks_see_four_moments() -> None:
    model, opt = begin(Mnist_Logistic)
    recorder = Recorder()
    loaders = get_data(images(70, 0), images(8, 1), 64)
    Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[recorder]).fit(2, *loaders)
    epochs = [("batch", 1, 1, True), ("batch", 1, 2, True), ("epoch", 1), ("batch", 2, 1, True), ("batch", 2, 2, True)]
    assert recorder.seen == [("start", 2, 2), *epochs, ("epoch", 2), ("end",)]


def test_a_stream_has_no_number_of_batches() -> None:
    data = images(70, 0)
    model, opt = begin(Mnist_Logistic)
    recorder = Recorder()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[recorder])
    (row,) = trainer.fit(1, *get_data(Stream(data), Stream(data), 64))
    assert recorder.seen[0] == ("start", 1, None)
    assert trainer.evaluate(get_data(data, data, 64)[1]).accuracy == row.valid_accuracy


def test_a_loss_that_is_not_finite_ends_the_run() -> None:
    model, opt = begin(Mnist_Logistic, lr=1e38)
    loaders = get_data(images(130, 0), images(8, 1), 64)
    with pytest.raises(TrainingError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu").fit(1, *loaders)
    assert str(error.value) == (
        "the training loss of epoch 1, batch 2 is nan at learning rate 1e+38; "
        "lower the learning rate, or look for values in the data that are not finite"
    )


def test_of_a_loss_that_is_not_finite_the_learning_rate_of_that_very_step_is_named() -> None:
    model, opt = begin(Mnist_Logistic)
    xb, yb = images(8, 0).tensors
    batches = [(xb, yb), (xb, yb), (xb * torch.inf, yb), (xb, yb), (xb, yb)]
    schedule = LambdaLR(opt, lambda step: 1 / 2**step)
    with pytest.raises(TrainingError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu", schedule=schedule).fit(1, batches, batches[:1])
    assert str(error.value).startswith("the training loss of epoch 1, batch 3 is nan at learning rate 0.025; ")
    model, opt = begin(Mnist_Logistic)
    with pytest.raises(TrainingError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu").fit(1, batches[:2], batches)
    assert str(error.value).startswith("the validation loss of epoch 1 is nan at learning rate 0.1; ")


@pytest.mark.parametrize(("precision", "wanted"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_training_computes_in_the_precision_and_evaluation_in_float32(precision: Any, wanted: torch.dtype) -> None:
    model, opt = begin(Mnist_CNN)
    seen = set()
    model.get_submodule("conv2").register_forward_hook(lambda module, _, out: seen.add((module.training, out.dtype)))
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", precision=precision)
    trainer.fit(1, *get_data(images(40, 0), images(8, 1), 32))
    assert seen == {(True, wanted), (False, torch.float32)}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert trainer.predict([images(8, 1).tensors]).logits.dtype == torch.float32


def test_tf32_rounds_products_in_steps_but_not_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyclsf.trainer.choose_precision", lambda *_: "tf32")  # which the CPU does not have
    model, opt = begin(Mnist_CNN)
    seen: list[tuple[str, str]] = []

    def note(moment: str) -> None:
        seen.append((moment, torch.get_float32_matmul_precision()))

    conv = model.get_submodule("conv2")
    conv.register_forward_hook(lambda module, *_: note("training" if module.training else "evaluation"))
    conv.register_full_backward_hook(lambda *_: note("backward"))
    Trainer(model, F.cross_entropy, opt, device="cpu").fit(1, *get_data(images(40, 0), images(8, 1), 64))
    assert seen == [("training", "high"), ("backward", "high"), ("evaluation", "highest")]


class Stops(Callback):
    """Stops a fit at a moment of its first or second epoch, and counts the ends."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.ends = 0

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.moment == "start":
            trainer.stop()

    def on_batch_end(self, trainer: Trainer) -> None:
        if self.moment == "batch" and (trainer.epoch, trainer.batch) == (2, 2):
            trainer.stop()

    def on_epoch_end(self, trainer: Trainer, row: Epoch) -> None:
        if self.moment == "epoch":
            trainer.stop()

    def on_fit_end(self, trainer: Trainer) -> None:
        assert trainer.stopping
        self.ends += 1


@pytest.mark.parametrize(
    ("moment", "rows", "epoch", "batch"), [("start", 0, 0, 0), ("before", 0, 0, 0), ("batch", 1, 2, 2), ("epoch", 1, 1, 3)]
)
def test_a_fit_that_is_stopped_ends_well_and_the_next_begins_anew(moment: str, rows: int, epoch: int, batch: int) -> None:
    model, opt = begin(Mnist_Logistic)
    stops = Stops(moment)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[stops])
    assert not trainer.stopping
    if moment == "before":
        trainer.stop()
    loaders = get_data(images(70, 0), images(8, 1), 32)
    assert len(trainer.fit(3, *loaders)) == rows == len(trainer.history)
    assert (trainer.epoch, trainer.batch, stops.ends, trainer.stopping) == (epoch, batch, 1, False)
    trainer.callbacks.clear()
    assert [row.epoch for row in trainer.fit(2, *loaders)] == [1, 2]
    assert trainer.steps == 6


def test_a_stop_in_the_validation_ends_it_without_a_row() -> None:
    model, opt = begin(Mnist_Logistic)
    evaluated = []

    def stop(module: nn.Module, *_: object) -> None:
        if not module.training:
            evaluated.append(trainer.epoch)
            trainer.stop()

    model.register_forward_hook(stop)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    assert trainer.fit(3, *get_data(images(70, 0), images(70, 1), 8)) == []
    assert evaluated == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_the_copies_of_the_images_on_a_device_end_with_the_fit(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    copies: list[weakref.ref[Any]] = []

    def copied(dl: Any, device: torch.device) -> Any:
        copy = [[xb.clone(), yb] for xb, yb in dl]
        copies.extend(weakref.ref(xb) for xb, _ in copy)
        return copy

    monkeypatch.setattr("tinyclsf.trainer.on_device", copied)
    model, opt = begin(Mnist_Logistic)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[Fails()] if fails else [])
    with pytest.raises(TrainingError) if fails else contextlib.nullcontext():
        trainer.fit(1, *get_data(images(70, 0), images(8, 1), 32))
    gc.collect()
    assert len(copies) == 4
    assert [copy() for copy in copies] == [None] * 4
    assert trainer.state_dict()["batch"] == (2 if fails else 0)


class Fails(Callback):
    """Ends a fit in its second batch."""

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.batch == 2:
            raise MemoryError


def test_an_error_leaves_no_stop_behind() -> None:
    model, opt = begin(Mnist_Logistic)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu")
    trainer.stop()
    with pytest.raises(ModelFileError):
        trainer.fit(1, [], [], resume={})
    assert not trainer.stopping


def test_a_callback_that_evaluates_leaves_training_as_it_was() -> None:
    class Evaluates(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            trainer.evaluate([images(8, 1).tensors])

    weights = []
    for callbacks in ([], [Evaluates()]):
        model, opt = begin(regularised)
        trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=callbacks)
        trainer.fit(1, *get_data(images(130, 0), images(8, 1), 32))
        weights.append(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.stress
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_trains_to_nearly_the_same_figures() -> None:
    loaders = get_data(images(96, 0), images(32, 1), 32)
    rows: list[Epoch] = []
    for compiled in (False, True):
        model, opt = begin(Mnist_Logistic)
        rows += Trainer(model, F.cross_entropy, opt, device="cpu", compile=compiled).fit(1, *loaders)
    assert rows[1].train_loss == pytest.approx(rows[0].train_loss, rel=1e-5)
    assert rows[1].valid_loss == pytest.approx(rows[0].valid_loss, rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_trains_to_the_figures_of_the_cpu() -> None:
    loaders = get_data(images(650, 0), images(130, 1), 64)
    rows = []
    for device in ("cpu", "cuda"):
        model, opt = begin(Mnist_CNN, lr=0.01)
        trainer = Trainer(model, F.cross_entropy, opt, device=device)
        rows.append(trainer.fit(2, *loaders)[-1])
        assert next(model.parameters()).device.type == device
        assert trainer.predict(loaders[1]).logits.device.type == "cpu"
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=1e-3)
    assert rows[0].valid_loss == pytest.approx(rows[1].valid_loss, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_takes_the_weights_of_a_loss_and_the_state_of_an_optimizer() -> None:
    losses = []
    for device in ("cpu", "cuda"):
        model, _ = begin(Mnist_Logistic)
        opt = torch.optim.Adagrad(model.parameters(), lr=0.01)  # has a state before its first step
        loss = nn.CrossEntropyLoss(weight=torch.arange(1.0, 11))
        losses.append(Trainer(model, loss, opt, device=device).fit(1, *get_data(images(650, 0), images(130, 1), 64))[0])
    assert losses[0].valid_loss == pytest.approx(losses[1].valid_loss, rel=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("changes", [{"precision": "tf32"}, {"compile": True}, {"compile": True, "accumulate": 2}])
def test_cuda_trains_nearly_alike_in_tf32_and_compiled(changes: dict[str, Any]) -> None:
    loaders = get_data(images(640, 0), images(130, 1), 64)
    rows: list[Epoch] = []
    for given in ({**changes, "precision": "float32", "compile": False}, changes):
        model, opt = begin(Mnist_CNN, lr=0.01)
        rows += Trainer(model, F.cross_entropy, opt, device="cuda", **given).fit(1, *loaders)
    assert rows[1].train_loss == pytest.approx(rows[0].train_loss, rel=1e-3)
    assert rows[1].valid_loss == pytest.approx(rows[0].valid_loss, rel=1e-3)


class WaitingIsAnError(Callback):
    """From the end of the first step to the begin of the last one, PyTorch raises where the program waits for the GPU."""

    def on_batch_end(self, trainer: Trainer) -> None:
        torch.cuda.set_sync_debug_mode("error" if trainer.batch < (trainer.batches or 0) - 1 else "default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augment", ["none", *AUGMENTATIONS])
def test_no_step_waits_for_the_gpu(augment: str) -> None:
    data = TensorDataset(torch.randint(256, (640, 3, 28, 28), dtype=torch.uint8), torch.randint(10, (640,)))
    model, opt = begin(lambda: nn.Sequential(Lambda(lambda x: x.float() / 255), nn.Conv2d(3, 1, 1), Mnist_CNN()), lr=0.01)
    trainer = Trainer(
        *(model, F.cross_entropy, opt),
        device="cuda",
        augment=Augmentation(augment, 10),
        clip_norm=1.0,
        ema_decay=0.9,
        callbacks=[WaitingIsAnError()],
    )
    assert len(trainer.fit(1, *get_data(data, data, 64), progress=False)) == 1
    assert torch.cuda.get_sync_debug_mode() == 0
