"""The layers of networks against numbers by hand, and a model that is left as it was."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.notebooks import rows_of_table, said
from tinyclsf.analysis.summary import Layer, summarize
from tinyclsf.errors import ConfigurationError
from tinyclsf.modules import Classifier, Preprocess
from tinyclsf.registry.plugins import Plugin, find, load, plugins


def plain(name: str, kind: str, shape: tuple[int, ...], parameters: int) -> Layer:
    return Layer(name, kind, 0, shape, parameters, False)


def test_the_network_of_the_cifar_tutorial_has_the_numbers_of_its_course() -> None:
    network = load(find("model", "cifar-net"))((3, 32, 32), 10)
    found = summarize(Classifier(Preprocess(), network, [str(number) for number in range(10)], (3, 32, 32)))
    assert found.layers == (
        plain("conv1", "Conv2d", (6, 28, 28), 456),
        plain("pool", "MaxPool2d", (6, 14, 14), 0),
        plain("conv2", "Conv2d", (16, 10, 10), 2416),
        plain("pool", "MaxPool2d", (16, 5, 5), 0),
        plain("fc1", "Linear", (120,), 48120),
        plain("fc2", "Linear", (84,), 10164),
        plain("fc3", "Linear", (10,), 850),
    )
    assert (found.parameters, found.trainable, found.non_trainable, found.image_shape) == (62006, 62006, 0, (3, 32, 32))
    outputs = 6 * 28 * 28 + 6 * 14 * 14 + 16 * 10 * 10 + 16 * 5 * 5 + 120 + 84 + 10
    sizes = found.input_bytes, found.activation_bytes, found.parameter_bytes, found.total_bytes
    assert sizes == (4 * 3 * 32 * 32, 2 * 4 * outputs, 4 * 62006, 4 * 3 * 32 * 32 + 2 * 4 * outputs + 4 * 62006)
    assert [round(size / 2**20, 2) for size in sizes] == [0.01, 0.06, 0.24, 0.31]  # as torchsummary prints them


class Odd(nn.Module):
    """A parameter of its own, a layer that is called twice, one that is only read, one that is never used, and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(5))
        self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.read = nn.Linear(4, 4, bias=False)
        self.unused = nn.Linear(4, 2)
        self.pair = Pair()
        for parameter in self.block.parameters():
            parameter.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.block(self.block(x.flatten(1))))
        first, more = self.pair(F.linear(x, self.read.weight))
        y: Tensor = first + more["second"].sum() + self.shift.sum()
        return y


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.drop(x), {"second": x[:, :1]}


def test_odd_modules_by_hand() -> None:
    found = summarize(Odd(), (1, 2, 2))
    assert found.layers == (
        Layer("", "Odd", 0, (4,), 5 + 16 + 10, True),
        Layer("block", "Sequential", 1, (4,), 0, True),
        Layer("0", "Linear", 2, (4,), 20, False),
        Layer("1", "ReLU", 2, (4,), 0, False),
        Layer("block", "Sequential", 1, (4,), 0, True),
        Layer("0", "Linear", 2, (4,), 0, False),
        Layer("1", "ReLU", 2, (4,), 0, False),
        Layer("pair", "Pair", 1, (4,), 0, True),
        Layer("drop", "Dropout", 2, (4,), 0, False),
    )
    assert (found.parameters, found.trainable, found.non_trainable) == (51, 31, 20)
    assert (found.input_bytes, found.activation_bytes, found.parameter_bytes) == (16, 2 * 5 * 16, 4 * 51)


class Several(nn.Module):
    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"first": x.flatten(1), "more": [x[:, :, :1], (x[:, :, 0, 0],)], "name": "none of these"}


def test_all_tensors_of_an_output_take_memory() -> None:
    found = summarize(Several(), (1, 2, 2))
    assert found.layers == (Layer("", "Several", 0, (4,), 0, False),)
    assert found.activation_bytes == 2 * 4 * (4 + 2 + 1)


def test_tied_weights_and_half_precision() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).to(torch.bfloat16)
    network[2].weight = network[1].weight
    found = summarize(network, (1, 2, 2))
    assert [layer.parameters for layer in found.layers] == [0, 16, 0]
    assert (found.parameters, found.input_bytes, found.parameter_bytes) == (16, 8, 32)


def test_models_without_layers_or_parameters() -> None:
    single = summarize(nn.Linear(2, 3), (2,))
    assert single.layers == (plain("", "Linear", (3,), 9),)
    without = summarize(nn.Flatten(), (1, 2, 2))
    assert without.layers == (plain("", "Flatten", (4,), 0),)
    assert (without.parameters, without.parameter_bytes, without.total_bytes) == (0, 0, 16 + 32)


MODELS = [plugin for plugin in plugins("model") if plugin.package == "tinyclsf"]


@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("plugin", MODELS, ids=lambda plugin: plugin.name)
def test_every_model_has_layers_that_add_up_and_is_left_as_it_was(plugin: Plugin) -> None:
    torch.manual_seed(0)
    network = load(plugin)((3, 32, 32), 7)
    network.train()
    list(network.modules())[-1].eval()
    modes = [module.training for module in network.modules()]
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    random = torch.get_rng_state()
    found = summarize(network, (3, 32, 32))
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    expected = sum(prod(parameter.shape) for parameter in network.parameters())
    assert found.parameters == expected == sum(layer.parameters for layer in found.layers)


def test_a_model_that_draws_or_fails_is_left_as_it_was_too() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            torch.rand(3)
            return self.layer(x[0, 0, 0, 0, 0])  # type: ignore[no-any-return]

    network = Failing()
    random = torch.get_rng_state()
    with pytest.raises(IndexError):
        summarize(network, (1, 2, 2))
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_plain_network_needs_the_shape_of_images() -> None:
    with pytest.raises(ConfigurationError) as error:
        summarize(nn.Flatten())
    assert str(error.value) == "the shape of images is not known; give summarize an image_shape, such as (3, 32, 32)"


def test_a_summary_says_its_size_and_shows_its_layers() -> None:
    block = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU()).requires_grad_(False)
    found = summarize(nn.Sequential(block, nn.Flatten(), nn.Linear(8, 2)), (1, 4, 4))
    assert repr(found) == "5 layers, 36 parameters (18 are trained), 0.00 MB for an image of 1x4x4"
    assert rows_of_table(found) == [
        ["layer", "type", "output", "parameters"],
        ["0", "Sequential", "2x2x2", ""],
        ["· 0", "Conv2d", "2x2x2", "18"],
        ["· 1", "ReLU", "2x2x2", "0"],
        ["1", "Flatten", "8", "0"],
        ["2", "Linear", "2", "18"],
    ]
    deep = summarize(nn.Sequential(*(nn.ReLU() for _ in range(1000))), (1, 4, 4))
    assert len(rows_of_table(deep)) == 201
    assert "and 800 more" in said(deep)
