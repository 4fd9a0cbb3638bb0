"""Losses, optimizers and schedules by name, against PyTorch's own and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from tinyclsf.errors import ConfigurationError, pick
from tinyclsf.recipes import (
    LOSSES,
    SCHEDULES,
    STEPPED_BY_EPOCH,
    CrossEntropy,
    Recipe,
    balanced_weights,
    make_loss,
    make_optimizer,
    make_schedule,
    mse,
    optimizers,
    options_with_defaults,
    recipe,
)

EVERY_OPTIMIZER = ", ".join(sorted(optimizers()))


def sgd(lr: float = 0.1) -> torch.optim.Optimizer:
    return make_optimizer("sgd", [nn.Parameter(torch.ones(2))], lr=lr, momentum=0.9)


def rates(opt: torch.optim.Optimizer, schedule: LRScheduler, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(opt.param_groups[0]["lr"]))
        opt.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", sorted(set(optimizers()) - {"muon"}))
def test_every_optimizer_trains_a_convolution(name: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    opt = make_optimizer(name, network.parameters())
    loss = F.cross_entropy(network(torch.randn(8, 1, 4, 4)), torch.randint(3, (8,)))
    loss.backward()  # type: ignore[no-untyped-call]
    opt.step()
    after = list(network.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_an_optimizer_for_matrices_alone_refuses_a_convolution() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_optimizer("muon", nn.Conv2d(1, 4, 3).parameters())
    assert str(error.value) == (
        "optimizer muon cannot be used here: "
        "Muon only supports 2D parameters whereas we found a parameter with size: torch.Size([4, 1, 3, 3])"
    )


@pytest.mark.parametrize(("name", "cls"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_an_optimizer_is_pytorchs_own_with_its_arguments(name: str, cls: type[torch.optim.Optimizer]) -> None:
    opt = make_optimizer(name, [nn.Parameter(torch.ones(2))], lr=0.25, weight_decay=0.5)
    assert isinstance(opt, cls)
    assert (opt.param_groups[0]["lr"], opt.param_groups[0]["weight_decay"]) == (0.25, 0.5)


def test_optimizer_defaults_are_pytorchs() -> None:
    defaults = options_with_defaults("optimizer", "sgd")
    group = torch.optim.SGD([nn.Parameter(torch.ones(1))]).param_groups[0]
    assert {name: defaults[name] for name in ("lr", "momentum", "weight_decay")} == {
        name: group[name] for name in ("lr", "momentum", "weight_decay")
    }
    assert "params" not in defaults


def test_mse_is_between_shares_and_one_hot_labels() -> None:
    out, yb = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([0, 1])
    by_hand = ((0.5 - 1) ** 2 + 0.5**2 + 0.75**2 + (0.25 - 1) ** 2) / 4
    assert mse(out, yb).item() == pytest.approx(by_hand, abs=1e-7)
    assert make_loss("mse") is mse
    assert make_loss("cross-entropy")(out, yb).item() == pytest.approx((math.log(2) + math.log(4)) / 2, abs=1e-6)


def test_mse_does_not_round_shares_to_the_precision_of_the_outputs() -> None:
    out, shares = torch.zeros(1, 2, dtype=torch.bfloat16, requires_grad=True), torch.tensor([[0.7001, 0.2999]])
    loss = mse(out, shares)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(0.2001**2, rel=1e-5)  # 0.7001 would be 0.6992
    labels = torch.tensor([0])
    assert mse(out, labels).dtype == torch.bfloat16
    assert mse(out.double(), shares).item() == pytest.approx(0.2001**2, rel=1e-6)


def test_labels_are_smoothed_in_training_alone() -> None:
    out, yb = torch.randn(6, 4), torch.randint(4, (6,))
    loss = make_loss("cross-entropy", label_smoothing=0.2)
    assert isinstance(loss, nn.Module)
    shares = F.one_hot(yb, 4) * 0.8 + 0.2 / 4
    by_hand = -(shares * out.log_softmax(1)).sum(1).mean()
    assert loss(out, yb).item() == pytest.approx(by_hand.item(), abs=1e-6)
    loss.eval()
    assert torch.equal(loss(out, yb), F.cross_entropy(out, yb))


def test_balanced_weights_are_sklearns_and_1_on_average() -> None:
    labels = torch.tensor([0] * 70 + [2] * 20 + [3] * 10)  # none of class 1
    weights = balanced_weights(labels, 4)
    wanted = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=labels.numpy())
    assert weights[[0, 2, 3]].tolist() == pytest.approx(wanted)
    assert weights[1] == 0
    assert weights[labels].mean().item() == pytest.approx(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_classes_are_weighed_in_training_alone(smoothing: float) -> None:
    out, yb, weights = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 2, 3]), torch.tensor([0.5, 1.5, 1.5, 1.5])
    loss = make_loss("cross-entropy", label_smoothing=smoothing, class_weights=weights)
    assert isinstance(loss, nn.Module)
    smoothed = F.one_hot(yb, 4) * (1 - smoothing) + smoothing / 4
    by_hand = -(weights * smoothed * out.log_softmax(1)).sum(1).mean()
    assert loss(out, yb).item() == pytest.approx(by_hand.item(), abs=1e-6)
    mixed = torch.rand(6, 4).softmax(1)
    smoothed = mixed * (1 - smoothing) + smoothing / 4
    by_hand = -(weights * smoothed * out.log_softmax(1)).sum(1).mean()
    assert loss(out, mixed).item() == pytest.approx(by_hand.item(), abs=1e-6)
    parts = (loss(out[:2], yb[:2]) * 2 + loss(out[2:], yb[2:]) * 4) / 6  # as accumulated batches are put together
    assert parts.item() == pytest.approx(loss(out, yb).item(), abs=1e-6)
    assert loss(out.bfloat16(), yb).dtype == torch.float32
    loss.eval()
    assert torch.equal(loss(out, yb), F.cross_entropy(out, yb))


def test_one_cycle_is_pytorchs_and_leaves_momentum_alone() -> None:
    opt, other = sgd(), sgd()
    schedule = make_schedule("one-cycle", opt, epochs=4, batches=5)
    assert schedule is not None
    found = rates(opt, schedule, 20)
    assert found == rates(other, OneCycleLR(other, 0.1, total_steps=20, cycle_momentum=False), 20)
    assert [found[0], found[5], max(found), found[-1]] == pytest.approx([0.1 / 25, 0.1, 0.1, 0.1 / 25 / 1e4])
    assert opt.param_groups[0]["momentum"] == 0.9


def test_one_cycle_over_a_single_step_makes_it_at_the_given_rate() -> None:
    opt = sgd()
    schedule = make_schedule("one-cycle", opt, epochs=1, batches=1)
    assert schedule is not None
    assert rates(opt, schedule, 1) == [0.1]


def test_cosine_is_pytorchs_and_the_formula() -> None:
    opt, other = sgd(), sgd()
    schedule = make_schedule("cosine", opt, epochs=2, batches=7)
    assert schedule is not None
    found = rates(opt, schedule, 14)
    assert found == rates(other, CosineAnnealingLR(other, 14), 14)
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 14)) for step in range(14)])


@pytest.mark.parametrize(
    ("name", "options", "factors"),
    [
        ("step", {}, [1, 0.9, 0.81, 0.729]),
        ("step", {"gamma": 0.5, "step_size": 2}, [1, 1, 0.5, 0.5]),
        ("exponential", {"gamma": 0.1}, [1, 0.1, 0.01, 0.001]),
    ],
)
def test_steps_by_epoch_need_no_number_of_batches(name: str, options: dict[str, float], factors: list[float]) -> None:
    opt = sgd(lr=1.0)
    schedule = make_schedule(name, opt, epochs=4, batches=None, **options)
    assert schedule is not None
    assert rates(opt, schedule, 4) == pytest.approx(factors)


def test_a_plateau_is_pytorchs() -> None:
    schedule = make_schedule("plateau", sgd(), epochs=4, batches=7, gamma=0.5, plateau_patience=3)
    assert isinstance(schedule, ReduceLROnPlateau)
    assert (schedule.factor, schedule.patience, schedule.mode) == (0.5, 3, "min")
    assert options_with_defaults("schedule", "plateau") == {"gamma": 0.1, "plateau_patience": 10}


def test_every_group_keeps_its_own_highest_rate() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.1, 0.5)]
    opt = torch.optim.SGD(groups)
    schedule = make_schedule("one-cycle", opt, epochs=1, batches=10)
    assert schedule is not None
    highest = [0.0, 0.0]
    for _ in range(10):
        highest = [max(most, group["lr"]) for most, group in zip(highest, opt.param_groups, strict=True)]
        opt.step()
        schedule.step()
    assert highest == pytest.approx([0.1, 0.5])


def test_no_schedule_needs_no_length() -> None:
    assert make_schedule("none", sgd(), epochs=1, batches=None) is None


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"none"} - STEPPED_BY_EPOCH))
def test_a_schedule_over_a_stream_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_schedule(name, sgd(), epochs=1, batches=None)
    assert str(error.value) == (
        f"schedule {name} has to know how many batches an epoch has, and this data set does not say; use --schedule none"
    )


def test_unknown_names_are_answered_with_the_known_and_the_nearest() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_optimizer("adamm", [nn.Parameter(torch.ones(1))])
    assert str(error.value) == f"there is no optimizer 'adamm'; choose one of {EVERY_OPTIMIZER}"
    assert error.value.tip == "did you mean 'adam'?"
    with pytest.raises(ConfigurationError) as error:
        make_schedule("onecycle", sgd(), 1, 1)
    assert (
        str(error.value) == "there is no schedule 'onecycle'; choose one of cosine, exponential, none, one-cycle, plateau, step"
    )
    assert error.value.tip == "did you mean 'one-cycle'?"
    with pytest.raises(ConfigurationError) as error:
        pick("loss", "zzz", LOSSES)
    assert (str(error.value), error.value.tip) == ("there is no loss 'zzz'; choose one of cross-entropy, mse", None)


@pytest.mark.parametrize("name", ["lbfgs", "sparseadam", "optimizer"])
def test_what_cannot_train_here_is_no_optimizer(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        options_with_defaults("optimizer", name)
    assert str(error.value) == f"there is no optimizer '{name}'; choose one of {EVERY_OPTIMIZER}"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("sgd", {"lr": -1.0}, "optimizer sgd cannot be used here: Invalid learning rate: -1.0"),
        (
            "adam",
            {"momentum": 0.9},
            "optimizer adam cannot be used here: Adam.__init__() got an unexpected keyword argument 'momentum'",
        ),
    ],
)
def test_arguments_that_pytorch_refuses(name: str, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_optimizer(name, [nn.Parameter(torch.ones(1))], **arguments)
    assert str(error.value) == message


def test_a_network_without_parameters_cannot_be_trained() -> None:
    with pytest.raises(ConfigurationError) as error:
        make_optimizer("sgd", nn.Flatten().parameters())
    assert str(error.value) == "optimizer sgd cannot be used here: optimizer got an empty parameter list"


def test_recipe_is_attached_and_the_model_stays_itself() -> None:
    class Network(nn.Module):
        pass

    assert recipe(optimizer="sgd", lr=0.1, epochs=2)(Network) is Network
    assert vars(Network)["recipe"] == Recipe(epochs=2, optimizer="sgd", lr=0.1)


def test_a_misspelt_recipe_key_is_an_error() -> None:
    with pytest.raises(TypeError, match="learning_rate"):
        recipe(learning_rate=0.1)


@pytest.mark.parametrize("loss", [mse, CrossEntropy(0.1)])
def test_losses_take_shares_of_classes_as_they_take_labels(loss: Any) -> None:
    out, y = torch.randn(6, 4), torch.arange(6) % 4
    assert loss(out, torch.eye(4)[y]).item() == pytest.approx(loss(out, y).item(), rel=1e-6)
