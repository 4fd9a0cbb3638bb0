"""Odd plugins: whatever a data set, a model or a callback of another package does, a run ends in a sentence, or works."""

from __future__ import annotations

import re

import pytest
import torch

from tests.support.commands import Cli, Install

HEAD = """
import math, os, shutil, sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset
from tinyclsf.plugin import Callback, Images, Preprocess, Splits, recipe

class Net(nn.Module):
    def __init__(self, image_shape=(1, 4, 4), num_classes=3):
        super().__init__()
        self.linear = nn.Linear(math.prod(image_shape), num_classes)

    def forward(self, x):
        return self.linear(x.flatten(1))

def fine_splits(**changes):
    generator = torch.Generator().manual_seed(0)
    def images(n):
        return Images(torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=generator), torch.arange(n) % 3)
    given = {"train": images(24), "valid": images(12), "test": images(12), "classes": ("a", "b", "c"), "image_shape": (1, 4, 4)}
    return Splits(**{**given, "preprocess": Preprocess(0.0, 255.0), **changes})

def dots():
    return fine_splits()

class Odd(Callback):
    def __init__(self, folder, model_name):
        self.folder = folder
"""
# What a model's forward gives instead of `out`, the right logits.
OUTPUTS = {
    "nothing": "None",
    "list": "[out]",
    "tuple": "(out, out)",
    "tuple-in-training": "(out, out) if self.training else out",
    "text": "'a'",
    "array": "out.detach().numpy()",
    "flat": "out.flatten()",
    "one-more": "torch.cat([out, out[:, :1]], 1)",
    "first-image": "out[:1]",
    "whole-numbers": "out.long()",
    "true-or-false": "out > 0",
    "complex": "out.to(torch.complex64)",
    "double": "out.double()",
    "half": "out.half()",
    "sparse": "out.to_sparse()",
    "shares": "out.softmax(1)",
    "detached": "out.detach()",
    "not-a-number": "out * math.nan",
    "infinite": "out * math.inf",
    "nan-in-training": "out * math.nan if self.training else out",
    "huge": "out * 1e38",
    "raising": "1 / 0",
    "raising-in-training": "1 / 0 if self.training else out",
    "raising-in-evaluation": "out if self.training else {}['a']",
    "leaving": "sys.exit(3)",
    "printing": "(print('hello'), os.write(1, b'hello'), out)[2]",
    "endless": "self(x)",
    "without-gradient": "torch.zeros(len(x), 3)",
    "in-place": "self.linear(x.flatten(1).mul_(0))",
}
MODELS = {
    "no-module": "def NAME(image_shape, num_classes): return 3",
    "a-class-of-none": "def NAME(image_shape, num_classes): return Net",
    "too-few-arguments": "def NAME(image_shape): return Net()",
    "no-arguments": "def NAME(): return Net()",
    "any-arguments": "def NAME(*args, **options): return Net()",
    "no-callable": "NAME = 3",
    "nothing-at-all": "NAME = None",
    "fails": "def NAME(image_shape, num_classes): raise KeyError('a')",
    "leaves": "def NAME(image_shape, num_classes): sys.exit('bye')",
    "lazy": "def NAME(image_shape, num_classes): return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))",
    "no-weights": "def NAME(image_shape, num_classes): return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(num_classes))",
    "frozen": "def NAME(image_shape, num_classes): return Net().requires_grad_(False)",
    "nan-bias": "def NAME(image_shape, num_classes):\n    net = Net()\n    net.linear.bias.data[:] = math.nan\n    return net",
    "in-double": "def NAME(image_shape, num_classes): return Net().double()",
    "tied": "def NAME(image_shape, num_classes):\n    net = Net()\n    net.other = net.linear\n    return net",
    "unused": "def NAME(image_shape, num_classes):\n    net = Net()\n    net.other = nn.Linear(2, 2)\n    return net",
    "odd-state": "class NAME(Net):\n    def state_dict(self, *args, **options): return {'a': 1}",
    "no-state": "class NAME(Net):\n    def state_dict(self, *args, **options): return {}",
    "extra-state": "class NAME(Net):\n    def get_extra_state(self): return {'a': 1}",
    "no-gradients": "def NAME(image_shape, num_classes):\n    torch.set_grad_enabled(False)\n    return Net()",
    "scripted": "def NAME(image_shape, num_classes): return torch.jit.script(Net())",
    "odd-recipe": "@recipe(lr='fast', epochs=-1)\nclass NAME(Net): pass",
    "own-recipe": "class NAME(Net): recipe = 3",
    "odd-annotation": "def NAME(image_shape, num_classes, *, size: list = []): return Net()",
    "wanting": "def NAME(image_shape, num_classes, *, size: int): return Net()",
}
DATA = {
    "none": "None",
    "pair": "([], [])",
    "a-class": "Splits",
    "failing": "1 / 0",
    "leaving": "sys.exit(0)",
    "no-classes": "fine_splits(classes=())",
    "one-class-too-few": "fine_splits(classes=('a', 'b'))",
    "classes-of-numbers": "fine_splits(classes=(1, 2, 3))",
    "classes-alike": "fine_splits(classes=('a', 'a', 'b'))",
    "classes-as-list": "fine_splits(classes=['a', 'b', 'c'])",
    "other-shape": "fine_splits(image_shape=(1, 4, 5))",
    "flat-shape": "fine_splits(image_shape=(16,))",
    "shape-of-text": "fine_splits(image_shape='abc')",
    "white-zero": "fine_splits(white=0)",
    "white-nan": "fine_splits(white=math.nan)",
    "fit": "fine_splits(fit='middle')",
    "no-train": "fine_splits(train=None)",
    "train-of-lists": "fine_splits(train=[1, 2, 3])",
    "train-of-pairs": "fine_splits(train=[(torch.zeros(1, 4, 4), 0)] * 9)",
    "train-of-other-shapes": "fine_splits(train=[(torch.zeros(1, n % 3 + 3, 4), 0) for n in range(9)])",
    "labels-of-text": "fine_splits(train=[(torch.zeros(1, 4, 4), 'a')] * 9)",
    "labels-of-floats": "fine_splits(train=[(torch.zeros(1, 4, 4), 0.5)] * 9)",
    "labels-outside": "fine_splits(train=[(torch.zeros(1, 4, 4), 7)] * 9)",
    "labels-left-out": "fine_splits(train=[(torch.zeros(1, 4, 4), -100)] * 9)",
    "nan-pixels": "fine_splits(train=[(torch.full((1, 4, 4), math.nan), 0)] * 9)",
    "train-is-the-class": "fine_splits(train=Dataset)",
    "train-without-length": "fine_splits(train=Dataset())",
    "failing-preprocess": "fine_splits(preprocess=nn.Linear(2, 2))",
    "no-preprocess": "fine_splits(preprocess=None)",
    "preprocess-to-nan": "fine_splits(preprocess=Preprocess(math.nan, 1.0))",
    "preprocess-by-zero": "fine_splits(preprocess=Preprocess(0.0, 0.0))",
}
CALLBACKS = {
    "no-callback": "def NAME(folder, model_name): return 3",
    "failing-at-once": "def NAME(folder, model_name): raise OSError('a')",
    **{
        f"failing-in-{method}": f"class NAME(Odd):\n    def {method}(self, *given): 1 / 0"
        for method in ("on_fit_start", "on_batch_end", "on_epoch_end", "on_fit_end", "state_dict")
    },
    "state-of-arrays": "class NAME(Odd):\n    def state_dict(self): return {'a': np.zeros(3)}",
    "state-of-nothing": "class NAME(Odd):\n    def state_dict(self): return None",
    "stopping": "class NAME(Odd):\n    def on_fit_start(self, trainer): trainer.stop()",
    "spoiling": "class NAME(Odd):\n    def on_batch_end(self, trainer): trainer.model.network.linear.bias.data.fill_(math.nan)",
    "removing": "class NAME(Odd):\n    def on_epoch_end(self, trainer, row): shutil.rmtree(self.folder)",
}


def as_name(text: str) -> str:
    return re.sub(r"\W", "_", text)


@pytest.fixture
def plugins(install: Install) -> None:
    forward = "class NAME(Net):\n    def forward(self, x):\n        out = super().forward(x)\n        return "
    nets = {f"gives-{name}": forward + code for name, code in OUTPUTS.items()}
    sets = {name: f"def NAME():\n    return {code}" for name, code in DATA.items()}
    found: dict[str, dict[str, str]] = {}
    text = HEAD
    for group, codes in (("models", nets | MODELS), ("datasets", sets), ("callbacks", CALLBACKS)):
        found[group] = {}
        for name, code in codes.items():
            text += "\n" + code.replace("NAME", f"{group}_{as_name(name)}") + "\n"
            found[group][f"odd-{name}"] = f"odd_module:{group}_{as_name(name)}"
    found["datasets"]["dots"] = "odd_module:dots"
    found["models"]["net"] = "odd_module:Net"
    install("odd-package", text, module="odd_module", **found)


RUNS = [
    *([f"odd-gives-{name}", "dots", ()] for name in OUTPUTS),
    *([f"odd-{name}", "dots", ()] for name in MODELS),
    *(["net", f"odd-{name}", ()] for name in DATA),
    *(["net", "dots", ("--callback", f"odd-{name}")] for name in CALLBACKS),
]


@pytest.mark.stress
@pytest.mark.usefixtures("plugins")
def test_no_odd_plugin_is_taken_for_a_bug_of_tinyclsf(cli: Cli) -> None:
    faults = []
    for model, data, more in RUNS:
        result = cli("fit", model, "--data", data, "--epochs", "2", "--batch-size", "8", "--progress", "none", *more)
        torch.set_grad_enabled(True)
        last = result.err.strip().splitlines()[-1:]
        if result.code not in (0, 2, 3, 5, 6, 7) or "Traceback" in result.err:
            faults.append((model, data, more, result.code, last))
    assert faults == []
