"""Plugins of other packages on the command line: good ones run, a broken one ends in exit code 5 and breaks only itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import Install

HEAD = """
import sys
import torch
from torch import nn
from torch.utils.data import IterableDataset
from tinyclsf.plugin import Images, Preprocess, Splits, DataError

print("hello from a plugin")

def images(n):
    y = torch.arange(n) % 2
    return Images((y * 255).to(torch.uint8).view(n, 1, 1, 1).expand(n, 1, 4, 4).contiguous(), y)

def splits(train, test=None):
    return Splits(train, images(64), test, ("dark", "light"), (1, 4, 4), Preprocess())

class Stream(IterableDataset):
    def __iter__(self):
        data = images(100)
        return iter([data[i] for i in range(100)])
"""
DATA = """
def found(): return splits(images(100))
def streamed(): return splits(Stream())
def wrong_type(): return {"train": 1}
def divides(): return 1 / 0
def leaves(): sys.exit(3)
def missing(): raise DataError("pictures/ is empty; wanted at least one picture; fill it")
def wrong_label(): return splits(Images(torch.zeros(5, 1, 4, 4), torch.tensor([0, 1, 0, 7, 1])))
"""
MODELS = """
def plain(image_shape, num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
def too_wide(image_shape, num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes + 1))
def no_module(image_shape, num_classes): return lambda x: x
def other_size(image_shape, num_classes): raise ValueError("made for images of 28x28")
"""


def names(code: str) -> dict[str, str]:
    found = [line.split("(")[0].removeprefix("def ") for line in code.splitlines() if line.startswith("def ")]
    return {name.replace("_", "-"): f"theirs:{name}" for name in found}


@pytest.fixture(autouse=True)
def theirs(install: Install) -> None:
    install("theirs", HEAD + DATA + MODELS, module="theirs", datasets=names(DATA), models=names(MODELS))


@pytest.mark.parametrize("data", ["found", "streamed"])
def test_their_data_and_model_train_and_what_they_print_spoils_no_document(cli: Any, data: str) -> None:
    result = cli("fit", "plain", "--data", data, "--epochs", "20", "--batch-size", "8", "--json")
    assert result.code == 0
    assert result.document["held_out"] == {**result.document["held_out"], "split": "valid", "accuracy": 1.0}
    assert "hello from a plugin" in result.err


def test_a_stream_has_no_length_for_a_schedule(cli: Any, tmp_path: Path) -> None:
    result = cli("fit", "plain", "--data", "streamed", "--schedule", "cosine", "--progress", "none")
    assert (result.code, result.err.splitlines()[-1]) == (
        2,
        "error: schedule cosine has to know how many batches an epoch has, and this data set does not say; use --schedule none",
    )
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("model", "data", "code", "message"),
    [
        (
            "plain",
            "wrong-type",
            5,
            "dataset 'wrong-type' of package theirs (theirs:wrong_type) returned dict; wanted tinyclsf.data.Splits",
        ),
        (
            "plain",
            "divides",
            5,
            "dataset 'divides' of package theirs (theirs:divides) failed: ZeroDivisionError: division by zero",
        ),
        ("plain", "leaves", 5, "dataset 'leaves' of package theirs (theirs:leaves) failed: SystemExit: 3"),
        ("plain", "missing", 3, "pictures/ is empty; wanted at least one picture; fill it"),
        ("plain", "wrong-label", 3, "label 3 of the train split is 7; wanted 0 to 1 for 2 classes"),
        (
            "too-wide",
            "found",
            5,
            "model 'too-wide' of package theirs (theirs:too_wide) gave outputs of shape (2, 3) for 2 images; "
            "wanted logits of shape (2, 2)",
        ),
        (
            "no-module",
            "found",
            5,
            "model 'no-module' of package theirs (theirs:no_module) returned function; wanted torch.nn.modules.module.Module",
        ),
        (
            "other-size",
            "found",
            5,
            "model 'other-size' of package theirs (theirs:other_size) failed for 2 classes of images (1, 4, 4): "
            "ValueError: made for images of 28x28",
        ),
    ],
)
def test_a_plugin_that_fails_is_named(cli: Any, tmp_path: Path, model: str, data: str, code: int, message: str) -> None:
    result = cli("fit", model, "--data", data, "--json")
    assert result.code == code
    assert result.document["error"]["message"] == message
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_plugin_that_cannot_be_imported_breaks_only_itself(cli: Any, install: Install) -> None:
    install("broken", "import no_such_module", module="broken", models={"broken": "broken:Model"})
    assert "broken" in cli("list").out
    assert cli("info", "mnist-cnn").code == 0
    result = cli("fit", "broken")
    assert (result.code, result.out) == (5, "")
    assert result.err == (
        "error: model 'broken' of package broken (broken:Model) cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_module'\n"
        f"tip: look at {Path('broken/broken.py').absolute()}, line 1; --debug shows the traceback\n"
    )


CALLBACKS = """
from tinyclsf.plugin import Callback

class Every(Callback):
    '''Do nothing every so often.'''
    def __init__(self, folder, model_name, *, every: int, data_dir: str = "x"): pass
"""


def test_callbacks_are_listed_beside_data_sets_and_models(cli: Any, install: Install) -> None:
    install("watch", CALLBACKS, module="watch", callbacks={"every": "watch:Every"})
    document = cli("list", "callbacks", "--json").document
    own = {"package": "tinyclsf", "package_version": document["callbacks"][0]["package_version"]}
    assert document == {
        "version": 1,
        "command": "list",
        "callbacks": [
            {"name": "csv", **own},
            {"name": "every", "package": "watch", "package_version": "1.0"},
            {"name": "tensorboard", **own},
        ],
    }
    assert cli("list", "callbacks").out.splitlines()[::2] == ["callbacks", "  every        watch 1.0"]
    assert [key for key in cli("list", "--json").document if key.endswith("s")] == [
        "datasets",
        "models",
        "callbacks",
        "commands",
    ]
    assert "callbacks" not in cli("list", "models").out


def test_a_callback_says_how_its_options_are_given(cli: Any, install: Install) -> None:
    install("watch", CALLBACKS, module="watch", callbacks={"every": "watch:Every"})
    assert cli("info", "every").out.splitlines() == [
        "callback every (watch:Every, watch 1.0)",
        "  Do nothing every so often.",
        "options",
        "  -c every.every=...     int  required",
        "  -c every.data_dir=...  str  default x",
    ]
    (csv,) = cli("info", "csv", "--json").document["plugins"]
    assert (csv["kind"], csv["target"], csv["options"], csv["recipe"]) == (
        "callback",
        "tinyclsf_plugins.callbacks.csv:csv",
        [],
        None,
    )


BARE = """
from tinyclsf.plugin import Callback

class Bare(Callback):
    def __init__(self, folder, model_name): pass

def net(image_shape, num_classes):
    'Red \x1b[31m, turned \u202e.'
"""


def test_of_itself_a_plugin_says_what_its_own_docstring_says(cli: Any, install: Install) -> None:
    install("bare", BARE, module="bare", callbacks={"bare": "bare:Bare"}, models={"net": "bare:net"})
    assert cli("info", "bare").out == "callback bare (bare:Bare, bare 1.0)\n"
    assert cli("info", "net").out.splitlines()[1] == "  Red \\x1b[31m, turned \\u202e."  # and steers no terminal


def test_a_name_of_two_packages_is_named_with_both(cli: Any, install: Install) -> None:
    install("other", "def plain(): pass", module="other", models={"plain": "other:plain"})
    result = cli("fit", "plain")
    assert result.code == 5
    assert result.err == (
        "error: model 'plain' is registered twice, by other (other:plain) and theirs (theirs:plain); "
        "uninstall one of the packages\n"
    )
    assert cli("info", "mnist-cnn").code == 0
