"""A model that could not be trained, saved or opened again is its plugin's fault, and is found before training."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.commands import Install

ODD = """
import math
import torch
from torch import nn
from tinyclsf.plugin import recipe

class Net(nn.Sequential):
    def __init__(self, image_shape, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(math.prod(image_shape), num_classes))

def frozen(image_shape, num_classes):
    return Net(image_shape, num_classes).requires_grad_(False)

def switched_off(image_shape, num_classes):
    torch.set_grad_enabled(False)
    return Net(image_shape, num_classes)

class SwitchesOff(Net):
    def forward(self, x):
        torch.set_grad_enabled(False)
        return super().forward(x)

class Detached(Net):
    def forward(self, x):
        return super().forward(x).detach()

class Whole(Net):
    def forward(self, x):
        return super().forward(x).long()

class Empty(Net):
    def state_dict(self, *args, **more):
        return {}

class Noted(Net):
    def get_extra_state(self):
        return {"a": 1}

class Sparse(Net):
    def __init__(self, image_shape, num_classes):
        super().__init__(image_shape, num_classes)
        self.register_buffer("edges", torch.eye(3).to_sparse())

def begun(image_shape, num_classes):
    net = Net(image_shape, num_classes)
    nn.init.constant_(net[1].bias, math.nan)
    return net

def make(**settings):
    @recipe(**settings)
    def net(image_shape, num_classes):
        return Net(image_shape, num_classes)
    return net

text, listed, nothing, augmented = make(epochs="three"), make(optimizer=["sgd"]), make(loss=None), make(augment="x")

def own(image_shape, num_classes):
    return Net(image_shape, num_classes)

own.recipe = own
"""
HIDES = "gives outputs that do not depend on its parameters for PyTorch; leave torch.no_grad(), inference_mode() and detach()"
OFF = "turns gradients off for all; use 'with torch.no_grad():' around what needs none"
HOLDS = "which no saved model can hold; wanted tensors alone of state_dict and get_extra_state, that are not sparse"
SENTENCES = {
    "frozen": "{} has no parameter that requires a gradient, so there is nothing to train; "
    "leave requires_grad True for some of them",
    "switched_off": f"{{}} {OFF}",
    "SwitchesOff": f"{{}} {OFF}",
    "Detached": f"{{}} {HIDES} out of its forward",
    "Whole": "{} gave outputs of type torch.int64 for 2 images; wanted logits of shape (2, 10)",
    "Empty": "{} cannot take back its own state: RuntimeError: Error(s) in loading state_dict for Classifier: "
    'Missing key(s) in state_dict: "network.1.weight", "network.1.bias".',
    "Noted": f"{{}} has a dict in its state, at _extra_state, {HOLDS}",
    "Sparse": f"{{}} has a sparse tensor in its state, at edges, {HOLDS}",
    "begun": "{} begins with values in 1.bias that are not finite numbers; mend how it fills them",
    "text": "the recipe of {} cannot be used: epochs is 'three'; wanted a whole number of at least 1",
    "listed": "the recipe of {} cannot be used: optimizer is ['sgd']; wanted text",
    "nothing": "the recipe of {} cannot be used: loss is None; wanted text",
    "augmented": "the recipe of {} cannot be used: there is no augmentation 'x'; "
    "choose one of affine, alternating-flip, blur, crop, cutmix, cutout, erase, flip, grey, jitter, mixup, randaugment, "
    "resized-crop, rotate, shift, trivialaugment",
    "own": "{} has a recipe of type function; wanted one made by @recipe(...), "
    "and another name for an attribute that is no recipe",
}


@pytest.mark.parametrize("target", SENTENCES)
def test_an_odd_model_is_its_plugins_fault(cli: Any, install: Install, target: str) -> None:
    install("odd", ODD, module="odd_models", models={"odd": f"odd_models:{target}"})
    result = cli("fit", "odd", "-d", "train_size=64", "--json")
    name = f"model 'odd' of package odd (odd_models:{target})"
    assert (result.code, result.document["error"]["message"]) == (5, SENTENCES[target].format(name))
    # And it leaves nothing to the model after it.
    install("even", ODD, module="even_models", models={"even": "even_models:Net"})
    assert cli("fit", "even", "-d", "train_size=64", "--epochs", "1", "--progress", "none").code == 0
