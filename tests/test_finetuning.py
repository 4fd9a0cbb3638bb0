"""Fine-tuning: what a head is, what stands still while it learns, and how fast each part learns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models  # type: ignore[import-untyped]

import tinyclsf
from tests.support.messages import message
from tinyclsf.callbacks import Unfreeze
from tinyclsf.errors import ConfigurationError, TinyclsfWarning
from tinyclsf.finetuning import (
    freeze_backbone,
    freeze_backbone_and_batch_norm,
    freeze_batch_norm,
    head_of,
    parameter_groups,
    put_in_training,
)
from tinyclsf.runs.models import read_weights
from tinyclsf.trainer import Callback, Trainer


class Small(nn.Sequential):
    """A network with batch norm and dropout in its backbone, and dropout beside its last layer."""

    def __init__(self, num_classes: int = 10) -> None:
        backbone = nn.Sequential(nn.Conv2d(1, 6, 5, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        super().__init__(backbone, nn.Sequential(nn.Dropout(0.5), nn.Linear(864, num_classes)))


@pytest.mark.parametrize(
    ("arch", "head"),
    [
        ("resnet18", "fc"),
        ("efficientnet_b0", "classifier"),
        ("mobilenet_v3_small", "classifier.3"),
        ("vgg11", "classifier.6"),
        ("vit_b_32", "heads"),
        ("googlenet", "fc"),
    ],
)
def test_the_head_is_the_last_layer_and_what_has_no_parameters_beside_it(arch: str, head: str) -> None:
    with torch.device("meta"):
        network = models.get_model(arch, num_classes=10, **({"init_weights": False} if arch == "googlenet" else {}))
    assert head_of(network) == head


def test_a_network_names_its_head_itself() -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 10, 24), nn.Flatten())
    found = message(lambda: head_of(network), ConfigurationError)
    assert found.startswith("network Sequential has no linear layer that could be its head; ")
    network.head_name = "1"  # type: ignore[assignment]
    assert head_of(network) == "1"
    freeze_backbone(network)
    assert [parameter.requires_grad for parameter in network.parameters()] == [False, False, True, True]


def test_groups_have_their_rates_and_decay() -> None:
    network = Small()
    kernel, bias, scale, shift, weight, last = network.parameters()
    groups = parameter_groups(network, 0.1, backbone_lr=0.5, decayed="weights")
    assert [list(map(id, group.pop("params"))) for group in groups] == [
        list(map(id, each)) for each in ([weight], [last], [kernel], [bias, scale, shift])
    ]
    assert groups == [{"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.05}, {"lr": 0.05, "weight_decay": 0.0}]
    assert len(parameter_groups(nn.Linear(2, 2), 0.1, decayed="weights")) == 2  # which needs no head


def test_a_network_says_the_rates_of_its_parameters() -> None:
    network = Small()
    kernel, bias, scale, shift, weight, last = network.parameters()
    network.lr_shares = {"0.0.bias": 4, "0.1.bias": 4, "1.1.bias": 2}  # type: ignore[assignment]
    groups = parameter_groups(network, 0.1, backbone_lr=0.5)
    assert [[*map(id, group["params"])] for group in groups] == [
        [*map(id, each)] for each in ([weight], [last], [kernel, scale], [bias, shift])
    ]
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.2, 0.05, 0.2])
    network.lr_shares = {"0.0.bais": 4}  # type: ignore[assignment]
    assert message(lambda: parameter_groups(network, 0.1), ConfigurationError) == (
        "network Small gives '0.0.bais' a rate in lr_shares, and has no such parameter; wanted names of its named_parameters()"
    )


class Rates(Callback):
    """Notes the rates of the optimizer's groups."""

    def on_fit_start(self, trainer: Trainer) -> None:
        self.rates = [(len(group["params"]), group["lr"], group["nesterov"]) for group in trainer.opt.param_groups]


def test_a_run_has_the_rates_of_its_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def make(shape: tuple[int, int, int], classes: int) -> nn.Module:
        network = Small(classes)
        network.lr_shares = {"0.0.bias": 4}  # type: ignore[assignment]
        return network

    rates = Rates()
    sgd: Any = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.5, "nesterov": True}
    tinyclsf.train(make, data_options={"train_size": 100}, epochs=1, callbacks=[rates], progress=False, **sgd)
    assert rates.rates == [(5, 0.01, True), (1, 0.04, True)]


class Modes(Callback):
    """Notes which modules train."""

    def on_batch_end(self, trainer: Trainer) -> None:
        self.training = {name for name, module in trainer.model.named_modules() if module.training}


def test_what_is_frozen_stands_still() -> None:
    network, modes = Small(), Modes()
    freeze_backbone(network)
    before = {name: value.clone() for name, value in network[0].state_dict().items()}
    batches = [(torch.randn(8, 1, 28, 28), torch.randint(10, (8,)))]
    opt = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    Trainer(network, F.cross_entropy, opt, device="cpu", callbacks=[modes]).fit(2, batches, batches)
    assert all(torch.equal(before[name], value) for name, value in network[0].state_dict().items())
    assert modes.training == {"", "1", "1.0", "1.1"}
    layers = [nn.Linear(9, 9), nn.Dropout(), nn.Linear(9, 9), nn.Dropout(), nn.Linear(9, 2)]
    layers[0].requires_grad_(False)
    put_in_training(nn.Sequential(*layers))
    assert [layer.training for layer in layers] == [False, False, True, True, True]
    head = [nn.BatchNorm1d(9).requires_grad_(False), nn.Dropout(), nn.Linear(9, 2)]  # as fastai's begins
    put_in_training(nn.Sequential(*head))
    assert [layer.training for layer in head] == [False, True, True]


@pytest.mark.parametrize("after", [0, 1])
def test_batch_norm_stands_still_where_the_rest_is_trained(after: int) -> None:
    network, modes = Small(), Modes()
    unfreeze = [Unfreeze(freeze_backbone_and_batch_norm(network), after)] if after else []
    freeze_batch_norm(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batches = [(torch.randn(8, 1, 28, 28), torch.randint(10, (8,)))]
    opt = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    Trainer(network, F.cross_entropy, opt, device="cpu", callbacks=[*unfreeze, modes]).fit(2, batches, batches)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {"0.0.weight", "0.0.bias", "1.1.weight", "1.1.bias"}
    assert modes.training == {"", "0", "0.0", "0.2", "0.3", "0.4", "1", "1.0", "1.1"}, "all but batch norm, dropout too"


def small(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    return Small(num_classes)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def train(run: str, model: Any = small, **options: Any) -> dict[str, Tensor]:
    settings: Any = {"epochs": 3, "freeze": "backbone", "optimizer": "sgd", "lr": 0.1, "progress": False, **options}
    tinyclsf.train(model, data_options={"train_size": 320}, run=run, **settings)
    return read_weights(Path("runs", run, "model.safetensors"))


def plain(image_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Without dropout, whose random numbers differ with what is computed."""
    network = Small(num_classes)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network


def test_a_backbone_that_is_computed_once_gives_what_one_in_each_epoch_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))  # type: ignore[func-returns-value]
    monkeypatch.setattr("tinyclsf.experiments.building.quick_check", lambda *arguments: [])  # which looks at some images
    once = train("once", model=plain)
    assert sum(size for size in seen if size > 2) == 320 + 360 + 360, "each image of train, valid and test, one time"
    monkeypatch.setattr("tinyclsf.experiments.building._on_features", lambda *arguments: None)
    each = train("each", model=plain)
    assert once.keys() == each.keys()
    for name in once:
        torch.testing.assert_close(once[name], each[name])
    one, other = (json.loads(Path("runs", run, "state.json").read_text())["held_out"] for run in ("once", "each"))
    assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_a_frozen_backbone_of_random_weights_is_told_of() -> None:
    def begun(image_shape: tuple[int, int, int], num_classes: int, *, pretrained: bool = False) -> nn.Module:
        return plain(image_shape, num_classes)

    with pytest.warns(TinyclsfWarning) as told:
        train("random", model=begun, epochs=1)
    assert "the frozen backbone has random weights, so it has learned nothing; add --pretrained" in map(
        str, [each.message for each in told]
    )
    train("pretrained", model=begun, epochs=1, pretrained=True)


class Stop(Callback):
    """Stops after the first epoch."""

    def on_epoch_end(self, trainer: Trainer, row: tinyclsf.Epoch) -> None:
        trainer.stop()


@pytest.mark.parametrize("options", [{}, {"unfreeze_after": 1}, {"augment": "flip", "backbone_lr": 0.1, "ema_decay": 0.9}])
def test_a_resumed_run_ends_with_the_same_weights(options: Any) -> None:
    whole = train("whole", **options)
    train("resumed", **options, callbacks=[Stop()])
    tinyclsf.train(small, resume="resumed", progress=False)
    resumed = read_weights(Path("runs/resumed/model.safetensors"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_backbone_is_trained_from_an_epoch_on() -> None:
    first = "network.0.0.weight"
    begun, frozen = train("begun", epochs=1)[first], train("frozen", epochs=2)[first]
    assert torch.equal(begun, frozen)
    assert not torch.equal(begun, train("later", epochs=2, unfreeze_after=1)[first])


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("lenet", "--unfreeze-after", "2"), "--unfreeze-after needs --freeze backbone; leave it out"),
        (("mnist-logistic", "--freeze", "backbone"), "network Mnist_Logistic has no backbone: its head is all that it has; "),
        (
            ("mlp", "-m", "batch_norm=true", "--freeze", "batch-norm", "--unfreeze-after", "2"),
            "--unfreeze-after needs --freeze backbone; leave it out",
        ),
        (("lenet", "--freeze", "batch-norm"), "network LeNet has no batch norm; give --freeze none"),
        (("mnist-cnn", "--backbone-lr", "0.1"), "network Mnist_CNN has no linear layer that could be its head; "),
        (
            ("lenet", "--freeze", "head"),
            "invalid value for '--freeze': it is 'head'; wanted one of none, batch-norm, backbone, backbone,batch-norm",
        ),
    ],
)
def test_what_does_not_go_together_is_a_sentence(cli: Any, args: tuple[str, ...], expected: str) -> None:
    result = cli("fit", *args, "-d", "train_size=64", "--epochs", "1", "--progress", "none")
    assert result.code == 2
    assert result.err.startswith(f"error: {expected}")


def test_the_header_counts_what_is_trained(cli: Any) -> None:
    result = cli("fit", "lenet", "--freeze", "backbone", "-d", "train_size=64", "--epochs", "1")
    assert re.search(
        r"5,142 parameters, of which 2,570 are trained; the frozen part is computed once, before the first", result.err
    )
    result = cli(
        "fit", "lenet", "--freeze", "backbone", "-d", "train_size=64", "--epochs", "1", "--augment", "flip", "--run", "flips"
    )
    assert "of which 2,570 are trained; the frozen part is computed in every epoch" in result.err
    options = ("-m", "batch_norm=true", "--freeze", "batch-norm", "-d", "train_size=64", "--epochs", "1", "--run", "norms")
    assert "of which 109,386 are trained; batch norm stays as it is" in cli("fit", "mlp", *options).err
    assert "parameters  5,142: 2,570 trainable, 2,572 non-trainable" in cli("summary", "flips").out
    assert "parameters  109,770: 109,386 trainable, 384 non-trainable" in cli("summary", "norms").out


def test_a_network_that_goes_on_after_its_head_is_computed_in_every_epoch(cli: Any) -> None:
    options = ("--freeze", "backbone", "-d", "train_size=64", "--epochs", "1")
    result = cli("fit", "lenet", "-m", "softmax=true", *options)
    assert "the frozen part is computed in every epoch" in result.err


@pytest.mark.parametrize(("freeze", "code"), [("none", 2), ("batch-norm", 0), ("backbone", 0)])
def test_a_last_batch_of_one_is_too_little_for_batch_norm_that_learns(cli: Any, freeze: str, code: int) -> None:
    words = ("mlp", "-m", "batch_norm=true", "-d", "train_size=65", "--batch-size", "64", "--epochs", "1")
    assert cli("fit", *words, "--freeze", freeze, "--progress", "none").code == code
    if freeze == "backbone":  # which learns later
        assert cli("fit", *words, "--freeze", freeze, "--unfreeze-after", "1", "--progress", "none").code == 2


def test_a_summary_says_what_was_frozen_to_the_end(cli: Any) -> None:
    words = ("lenet", "--freeze", "backbone", "--unfreeze-after", "1", "-d", "train_size=64", "--progress", "none")
    frozen, whole = 2_572, 0
    for epochs, expected in (("1", frozen), ("2", whole)):
        assert cli("fit", *words, "--epochs", epochs, "--run", f"of-{epochs}").code == 0
        assert cli("summary", f"of-{epochs}", "--json").document["parameters"]["non_trainable"] == expected
