"""Steps of several batches, clipping, float16 and moving averages, against PyTorch's own steps written by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tinyclsf import Trainer
from tinyclsf.errors import ConfigurationError, TrainingError
from tinyclsf.loop.steps import MovingAverage
from tinyclsf.trainer import Callback

Batch = tuple[Tensor, Tensor]


def ten_batches() -> list[Batch]:
    """Nine of 8 samples and a last one of 3."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(75, 6, generator=generator), torch.randint(4, (75,), generator=generator)
    return list(zip(torch.split(x, 8), torch.split(y, 8), strict=True))


def begin() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    return model, torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)


def train(epochs: int = 1, *callbacks: Callback, **more: Any) -> Trainer:
    model, opt = begin()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=callbacks, **more)
    trainer.fit(epochs, ten_batches(), ten_batches())
    return trainer


def joined(batches: list[Batch], size: int) -> list[Batch]:
    """Several batches in a row as one; the last is what is left."""
    windows = [batches[start : start + size] for start in range(0, len(batches), size)]
    return [(torch.cat([xb for xb, _ in window]), torch.cat([yb for _, yb in window])) for window in windows]


def by_hand(epochs: int, accumulate: int = 1, clip_norm: float | None = None) -> list[list[Tensor]]:
    """The parameters after each step on the joined batches."""
    model, opt = begin()
    after = []
    for _ in range(epochs):
        for xb, yb in joined(ten_batches(), accumulate):
            F.cross_entropy(model(xb), yb).backward()  # type: ignore[no-untyped-call]
            if clip_norm is not None:
                clip_grad_norm_(model.parameters(), clip_norm)
            opt.step()
            opt.zero_grad()
            after.append([parameter.detach().clone() for parameter in model.parameters()])
    return after


def assert_close(model: nn.Module, wanted: list[Tensor]) -> None:
    for found, right in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(found.detach(), right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("clip_norm", [None, 0.05])
@pytest.mark.parametrize("accumulate", [1, 2, 3, 20])
def test_a_step_is_that_of_its_batches_in_one(accumulate: int, clip_norm: float | None) -> None:
    wanted = by_hand(2, accumulate, clip_norm)
    trainer = train(2, accumulate=accumulate, clip_norm=clip_norm)
    assert_close(trainer.model, wanted[-1])
    assert trainer.steps == len(wanted) == 2 * -(-10 // accumulate)
    assert trainer.between_steps


def test_one_batch_a_step_is_bit_for_bit_the_step_by_hand() -> None:
    trainer = train(2, clip_norm=0.05)
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), by_hand(2, 1, 0.05)[-1], strict=True))


class Watch(Callback):
    """What each batch of a fit leaves."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.steps: list[int] = []
        self.between: list[bool] = []

    def on_batch_end(self, trainer: Trainer) -> None:
        self.rates.append(trainer.opt.param_groups[0]["lr"])
        self.steps.append(trainer.steps)
        self.between.append(trainer.between_steps)


def test_the_schedule_is_stepped_once_for_every_step_of_the_optimizer() -> None:
    model, opt = begin()
    watch = Watch()
    schedule = LambdaLR(opt, lambda step: 1 / (1 + step))
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", schedule=schedule, accumulate=3, callbacks=[watch])
    trainer.fit(2, ten_batches(), ten_batches())
    steps = [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, *[4, 4, 5, 5, 5, 6, 6, 6, 7, 7]]  # the tenth batch's step comes after its moment
    assert watch.steps == steps
    assert watch.rates == pytest.approx([0.3 / (1 + step) for step in steps])
    assert watch.between == [batch in (3, 6, 9) for batch in range(1, 11)] * 2
    assert (trainer.steps, opt.param_groups[0]["lr"]) == (8, pytest.approx(0.3 / 9))


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_moving_average_is_that_of_the_weights_after_each_step(accumulate: int) -> None:
    after = by_hand(2, accumulate)
    average = after[0]  # it begins with the weights of the first step
    shares = []
    for updates, weights in enumerate(after[1:], start=1):
        shares.append(min(0.6, (1 + updates) / (10 + updates)))
        average = [shares[-1] * a + (1 - shares[-1]) * w for a, w in zip(average, weights, strict=True)]
    assert shares[0] == 2 / 11
    assert (shares[-1] == 0.6) == (accumulate == 1)
    trainer = train(2, accumulate=accumulate, ema_decay=0.6)
    assert_close(trainer.evaluated_model, average)
    assert_close(trainer.model, after[-1])  # training does not see it


def test_an_average_that_was_begun_without_a_warm_up_goes_on_so() -> None:
    after = by_hand(2)
    average = after[0]
    for weights in after[1:]:
        average = [0.8 * a + 0.2 * w for a, w in zip(average, weights, strict=True)]
    model, opt = begin()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", ema_decay=0.8)
    assert trainer.averaged is not None
    trainer.averaged.warms_up = False
    trainer.fit(1, ten_batches(), ten_batches())
    state = trainer.state_dict()
    del state["average_warms_up"]  # as it was before there was one
    for _ in range(2):
        model, opt = begin()
        trainer = Trainer(model, F.cross_entropy, opt, device="cpu", ema_decay=0.8)
        trainer.fit(2, ten_batches(), ten_batches(), resume=state)
        assert_close(trainer.evaluated_model, average)
        state = trainer.state_dict()
    assert state["average_warms_up"] is False
    assert train(1, ema_decay=0.8).state_dict()["average_warms_up"] is True


def test_the_averaged_weights_are_what_is_evaluated() -> None:
    trainer = train(1, ema_decay=0.8)
    x, y = joined(ten_batches(), 10)[0]
    found = trainer.predict(ten_batches())
    with torch.no_grad():
        averaged, trained = trainer.evaluated_model(x), trainer.model(x)
    assert torch.allclose(found.logits, averaged, atol=1e-6)
    assert not torch.allclose(found.logits, trained, atol=1e-3)
    assert trainer.history[-1].valid_loss == pytest.approx(F.cross_entropy(averaged, y).item(), rel=1e-5)
    assert trainer.evaluate(ten_batches()).loss == trainer.history[-1].valid_loss
    assert train(1).evaluated_model is not trainer.evaluated_model
    plain = train(1)
    assert plain.evaluated_model is plain.model


def test_the_averaged_model_has_the_statistics_of_the_trained_one() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", ema_decay=0.9)
    trainer.fit(1, ten_batches(), ten_batches())
    for (name, found), wanted in zip(trainer.evaluated_model.named_buffers(), model.buffers(), strict=True):
        assert torch.equal(found, wanted), name


def test_float16_trains_to_nearly_the_figures_of_float32() -> None:
    half, whole = train(4, precision="float16", clip_norm=1.0), train(4, clip_norm=1.0)
    assert half.steps == whole.steps == 40
    assert half.history[-1].train_loss == pytest.approx(whole.history[-1].train_loss, rel=0.02)
    assert half.history[-1].valid_loss == pytest.approx(whole.history[-1].valid_loss, rel=0.02)
    assert not torch.equal(next(half.model.parameters()), next(whole.model.parameters()))


@pytest.mark.parametrize("accumulate", [2, 3])
def test_float16_loses_no_step_by_accumulating(accumulate: int) -> None:
    half, whole = train(4, precision="float16", accumulate=accumulate), train(4, accumulate=accumulate)
    assert half.steps == whole.steps == 4 * -(-10 // accumulate)
    assert half.history[-1].train_loss == pytest.approx(whole.history[-1].train_loss, rel=0.02)
    assert half.history[-1].valid_loss == pytest.approx(whole.history[-1].valid_loss, rel=0.02)


def test_a_fit_in_float16_begins_afresh_after_one_that_ended_within_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, opt = begin()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", precision="float16")
    trainer.fit(1, ten_batches(), ten_batches())
    scale = trainer.state_dict()["scaler"]

    def fail() -> None:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(opt, "step", fail)
        with pytest.raises(TrainingError):
            trainer.fit(1, ten_batches(), ten_batches())
    assert trainer.state_dict()["scaler"] == scale
    trainer.fit(1, ten_batches(), ten_batches())
    assert trainer.steps == 10


def test_a_step_that_float16_cannot_hold_is_no_step() -> None:
    model, opt = begin()
    before = copy.deepcopy(list(model.parameters()))
    watch = Watch()
    schedule = LambdaLR(opt, lambda step: 1 / (1 + step))
    trainer = Trainer(
        model,
        lambda out, yb: 50 * F.cross_entropy(out, yb),  # times 65536, the scale that PyTorch begins with, and then half that
        opt,
        device="cpu",
        precision="float16",
        schedule=schedule,
        ema_decay=0.9,
        callbacks=[watch],
    )
    trainer.fit(1, ten_batches()[:1] * 8, ten_batches())
    assert watch.steps[0] == 0
    assert 0 < trainer.steps == watch.steps[-1] < 8
    assert watch.rates == pytest.approx([0.3 / (1 + step) for step in watch.steps])
    assert trainer.averaged is not None
    assert trainer.averaged.n_averaged.item() == trainer.steps
    assert all(parameter.isfinite().all() for parameter in trainer.evaluated_model.parameters())
    assert not torch.equal(before[0], next(model.parameters()))


def test_the_moving_average_is_that_of_pytorch_step_by_step() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    ours, theirs = MovingAverage(model, 0.9), AveragedModel(model)
    states: list[dict[str, Tensor]] = []
    for step in [*range(120), *range(3, 20)]:
        if step == 3 and len(states) == 120:  # back to where it was after three steps
            ours.load_state_dict(states[3])
            theirs.load_state_dict(states[3])
        states.append(copy.deepcopy(ours.state_dict()))
        model(torch.randn(5, 1, 4, 4))  # which moves the buffers
        for parameter in model.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        theirs.multi_avg_fn = get_ema_multi_avg_fn(min(0.9, (1 + step) / (10 + step)))  # type: ignore[no-untyped-call]
        ours.update_parameters(model)
        theirs.update_parameters(model)
        pairs = zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"accumulate": 0}, "accumulate is 0; wanted at least 1 batch a step"),
        ({"clip_norm": 0}, "clip_norm is 0; wanted a norm above 0, or None"),
        ({"clip_norm": -1.5}, "clip_norm is -1.5; wanted a norm above 0, or None"),
        ({"clip_norm": float("nan")}, "clip_norm is nan; wanted a norm above 0, or None"),
        ({"ema_decay": 0}, "ema_decay is 0; wanted a share between 0 and 1, as 0.999, or None"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; wanted a share between 0 and 1, as 0.999, or None"),
        ({"ema_decay": float("nan")}, "ema_decay is nan; wanted a share between 0 and 1, as 0.999, or None"),
        ({"precision": "half"}, "'half' is not a precision; use auto, float32, tf32, bfloat16, float16"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    model, opt = begin()
    with pytest.raises(ConfigurationError) as error:
        Trainer(model, F.cross_entropy, opt, device="cpu", **given)
    assert str(error.value) == message


def test_a_fit_that_an_error_ended_within_a_step_leaves_nothing_to_the_next() -> None:
    class Fails(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if trainer.batch == 5:
                raise KeyboardInterrupt

    wanted = train(1, accumulate=3)
    model, opt = begin()
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", accumulate=3, callbacks=[Fails()])
    weights, momentum = copy.deepcopy(model.state_dict()), copy.deepcopy(opt.state_dict())
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(1, ten_batches(), ten_batches())
    assert not trainer.between_steps
    model.load_state_dict(weights)
    opt.load_state_dict(momentum)
    trainer.callbacks.clear()
    trainer.fit(1, ten_batches(), ten_batches())
    assert trainer.steps == 4
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), wanted.model.parameters(), strict=True))
