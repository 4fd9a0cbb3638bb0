"""A sound model, and a gallery of models each broken in one way, with the check that finds it and what that says."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyclsf.errors import ConfigurationError

Shape = tuple[int, int, int]


class Sound(nn.Module):
    """A convolution with batch norm, dropout, and a linear layer."""

    def __init__(self, image_shape: Shape, num_classes: int, *, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(image_shape[0], width, kernel_size=3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(16 * width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.dropout(self.pool(F.relu(self.norm(self.conv(x)))).flatten(1))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.features(x))  # type: ignore[no-any-return]


def ending(change: Callable[[Any, Tensor], Any], *, begin: Callable[[Any], Any] = lambda network: None) -> Any:
    """A model whose logits are changed, with what is done to it as it is built."""

    class Changed(Sound):
        """A network that is changed in one way."""

        def __init__(self, image_shape: Shape, num_classes: int) -> None:
            super().__init__(image_shape, num_classes)
            begin(self)

        def forward(self, x: Tensor) -> Tensor:
            return change(self, super().forward(x))  # type: ignore[no-any-return]

    return Changed


def built(begin: Callable[[Any], Any]) -> Any:
    """A model to which something is done as it is built."""
    return ending(lambda network, logits: logits, begin=begin)


class WrongSign(torch.autograd.Function):
    """A backward that goes the wrong way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class OnePixelSize(nn.Module):
    """A linear layer on 784 pixels."""

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(784, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


class Viewing(Sound):
    """A network that reads what a convolution gives as if it lay in one order."""

    def features(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.norm(self.conv(x)))).view(x.shape[0], -1)  # type: ignore[no-any-return]


class Auxiliary(Sound):
    """A network with a second output in training."""

    def forward(self, x: Tensor) -> Any:
        return (super().forward(x), 0) if self.training else super().forward(x)


def no_words(image_shape: Shape, num_classes: int) -> nn.Module:
    return Sound(image_shape, num_classes)


def odd_default(image_shape: Shape, num_classes: int, *, width: int = "wide") -> nn.Module:  # type: ignore[assignment]
    """A network whose default is no number."""
    return Sound(image_shape, num_classes)


def any_classes(image_shape: Shape, num_classes: int) -> nn.Module:
    """A network with the classes of ImageNet, whatever is asked for."""
    return Sound(image_shape, 1000)


def one_for_two(image_shape: Shape, num_classes: int) -> nn.Module:
    """A network with one output for two classes."""
    return Sound(image_shape, 1 if num_classes == 2 else num_classes)


def nothing_taken(image_shape: Shape, num_classes: int) -> nn.Module:
    """A network for images of 48 pixels."""
    raise ConfigurationError("only images of 48x48 will do; use -d size=48")


def printing(image_shape: Shape, num_classes: int) -> nn.Module:
    """A network that says that it was built."""
    print("8 channels")
    return Sound(image_shape, num_classes)


def frozen(network: nn.Module) -> None:
    network.requires_grad_(False)


def own_seed(network: Sound) -> None:
    nn.init.normal_(network.linear.weight, generator=torch.Generator().manual_seed(time.perf_counter_ns()))


def seeds_all(network: Sound) -> None:
    torch.manual_seed(0)


def two_threads_more(network: Sound) -> None:
    torch.set_num_threads(torch.get_num_threads() + 2)


def random_number(network: Any) -> None:
    network.factor = random.random()


def keeps(make: Callable[[int], Tensor]) -> Callable[[Sound], None]:
    return lambda network: setattr(network, "turn", make(network.linear.out_features))


def dead_layer(network: Sound) -> None:
    network.dead = nn.Linear(network.linear.out_features, 1)


def scattered(network: Sound, logits: Tensor) -> Tensor:
    places = torch.arange(logits.shape[1], device=logits.device).expand_as(logits)
    return torch.zeros(logits.shape, device=logits.device).scatter(1, places, logits)


UNSAVED = "its weights, loaded into a model that was built anew, give outputs that differ by up to "
MIXED = "on a GPU its forward would mix tensors of the GPU and the CPU; wanted register_buffer for "
GALLERY: dict[str, tuple[Any, dict[str, str]]] = {
    "no docstring": (no_words, {"description": "it has no docstring; wanted a first sentence for 'tinyclsf info'"}),
    "odd default": (
        odd_default,
        {
            "options": "option width has the default 'wide', which is no int in Python; wanted a default of the annotated type",
            "saved-weights": "option width of model odd_default is 'wide'; wanted a whole number",
        },
    ),
    "other classes": (any_classes, {"logits": "gave outputs of shape (2, 1000) for 2 images; wanted logits of shape (2, 10)"}),
    "no shape": (
        nothing_taken,
        {
            "logits": "it takes none of 1x28x28, 3x32x32, 3x64x64 and 3x224x224: only images of 48x48 will do; use -d size=48; "
            "wanted one of them: give it an attribute image_shapes with shapes that it takes, "
            "such as ((1, 64, 64), (1, 128, 128))"
        },
    ),
    "softmax": (ending(lambda _, y: y.softmax(1)), {"logits": "a model should give logits: leave its softmax out"}),
    "log-softmax": (ending(lambda _, y: y.log_softmax(1)), {"logits": "the exponentials of the outputs sum to one already"}),
    "one size": (
        OnePixelSize,
        {
            "image-shapes": "shapes cannot be multiplied (2x3072 and 784x10); wanted logits, or "
            "tinyclsf.plugin.ConfigurationError that says which images it takes"
        },
    ),
    "two classes": (one_for_two, {"class-counts": "gave outputs of shape (2, 1) for 2 images; wanted logits of shape (2, 2)"}),
    "relu": (ending(lambda _, y: y.relu()), {"unclipped-logits": "leave out the ReLU before the outputs"}),
    "dropout": (
        ending(lambda _, y: F.dropout(y, 0.2)),
        {"evaluation-mode": "turn dropout off there: nn.Dropout does it, and F.dropout needs training=self.training"},
    ),
    "batch": (ending(lambda _, y: y - y.mean(0)), {"evaluation-mode": "an image's output depends on the others of its batch"}),
    "frozen": (built(frozen), {"training": "has no parameter that requires a gradient, so there is nothing to train"}),
    "second output": (
        Auxiliary,
        {"training": "wanted logits (n, classes) in training mode as in evaluation mode, and a loss that can go backward"},
    ),
    "dead layer": (
        ending(lambda network, y: y + F.relu(network.dead(y) - 1e6), begin=dead_layer),
        {"gradients": "the gradient is exactly zero for network.dead.weight and network.dead.bias"},
    ),
    "unused layer": (built(dead_layer), {"gradients": "the loss does not depend on network.dead.weight and network.dead.bias"}),
    "wrong sign": (
        ending(lambda _, y: WrongSign.apply(y)),
        {"one-step": "look for a backward of its own that is wrong, or weights that forward changes"},
    ),
    "other weights": (
        built(own_seed),
        {
            "same-seed": "built twice from one seed it begins with other values in network.linear.weight; wanted the same: "
            "draw them from the global generators of torch, random or numpy, and seed none with the time"
        },
    ),
    "own seed": (
        built(seeds_all),
        {
            "global-state": "building it seeds the global generator of PyTorch, so runs with different seeds draw the same; "
            "wanted the seed left to the run"
        },
    ),
    "threads": (
        built(two_threads_more),
        {"global-state": "building it calls torch.set_num_threads for the whole program; wanted it left out"},
    ),
    "complex": (
        built(lambda network: network.register_buffer("turn", torch.ones(2, dtype=torch.complex128))),
        {"saved-state": "its state cannot be saved as safetensors"},
    ),
    "random number": (
        ending(lambda network, y: y * network.factor, begin=random_number),
        {"saved-weights": "; wanted the same: make all that its outputs depend on part of the state, as nn.Parameter or with"},
    ),
    "buffer not saved": (
        ending(
            lambda network, y: y * network.factor,
            begin=lambda network: network.register_buffer("factor", torch.rand(1), persistent=False),
        ),
        {"saved-weights": "make factor part of the state, as nn.Parameter or with register_buffer"},
    ),
    "plain random tensor": (
        ending(lambda network, y: y @ network.turn, begin=keeps(lambda classes: torch.rand(classes, classes))),
        {"saved-weights": UNSAVED, "other-devices": MIXED + "turn, and device=x.device for those made in forward"},
    ),
    "plain tensor": (
        ending(lambda network, y: y @ network.turn, begin=keeps(torch.eye)),
        {"other-devices": MIXED + "turn, and device=x.device for those made in forward"},
    ),
    "tensor of the CPU": (
        ending(lambda _, y: y + torch.ones(y.shape[1])),
        {"other-devices": MIXED + "the tensors that it keeps, and device=x.device for those made in forward"},
    ),
    "one number type": (
        ending(scattered),
        {"bfloat16": "wanted no error: take the type of what comes in, as in torch.zeros(..., dtype=x.dtype)"},
    ),
    "view": (Viewing, {"channels-last": "wanted no error: use flatten or reshape in place of view"}),
    "printing": (
        printing,
        {
            "stdout": "building it prints to stdout, '8 channels'; wanted stdout free for results: leave it out, "
            "or print to sys.stderr"
        },
    ),
}
