"""Options of a plugin, from wherever they come, how the plugin checks them, and how a component is written down."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from tests.support.commands import Install
from tinyclsf.data import Images, Splits
from tinyclsf.errors import ConfigurationError, PluginError, TrainingError
from tinyclsf.modules import Preprocess
from tinyclsf.recipes import Recipe
from tinyclsf.registry.components import Component, build_model, build_splits, load_component
from tinyclsf.registry.plugins import find, load
from tinyclsf.registry.signatures import attribute_of, options_of


def given(component: Component, *names: str) -> list[tuple[object, str]]:
    return [tuple(component.options[name]) for name in names]


def test_an_option_says_where_it_came_from() -> None:
    saved = {"train_size": "50000", "seed": "3", "fraction": "0.5"}
    component = load_component(find("dataset", "digits"), {"fraction": "0.25"}, saved=saved)
    # One that was saved and is the default is that.
    assert given(component, "train_size", "seed", "fraction") == [(50_000, "default"), (3, "config"), (0.25, "-d")]
    assert saved == {"train_size": "50000", "seed": "3", "fraction": "0.5"}
    assert given(load_component(find("model", "mlp"), {"batch_norm": "true"}), "batch_norm") == [(True, "-m")]


def test_a_run_from_before_an_option_has_what_was_done_then() -> None:
    plugin = find("model", "lenet")
    assert load_component(plugin, {}).values["padding"] == 0
    assert load_component(plugin, {}, saved={"softmax": False}).values == {"padding": 2, "softmax": False}
    assert load_component(plugin, {}, saved={"softmax": False, "padding": 0}).values["padding"] == 0


def test_options_come_in_the_order_of_the_plugin_and_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plugin = find("dataset", "image-folder")
    usual = load_component(plugin, {}, data_dir=tmp_path)
    component = load_component(plugin, {"size": "12"}, data_dir=Path("photos"))
    assert list(component.options) == list(usual.options) == list(component.values)
    mnist = load_component(find("dataset", "mnist"), {})  # whose data_dir has no default
    assert list(mnist.options) == list(options_of("dataset", "mnist", mnist.factory))
    described = component.described()
    assert (described["name"], described["package"]) == ("image-folder", "tinyclsf")
    assert (described["options"]["size"], described["options"]["data_dir"]) == (12, str(tmp_path / "photos"))


def test_without_a_home_the_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("TINYCLSF_DATA", raising=False)
    monkeypatch.setattr(Path, "expanduser", none)  # as where the system knows no such user, and HOME is not set
    with pytest.raises(ConfigurationError) as error:
        load_component(find("dataset", "mnist"), {})
    assert str(error.value) == (
        "there is no home folder that dataset mnist could be kept in; give its folder as --data-dir FOLDER"
    )


def test_where_the_files_of_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, saved = find("dataset", "mnist"), {"data_dir": "saved"}
    monkeypatch.delenv("TINYCLSF_DATA", raising=False)
    assert given(load_component(plugin, {}), "data_dir") == [(Path("~/.cache/tinyclsf").expanduser(), "default")]
    monkeypatch.setenv("TINYCLSF_DATA", str(tmp_path))
    assert given(load_component(plugin, {}), "data_dir") == [(tmp_path, "$TINYCLSF_DATA")]
    assert given(load_component(plugin, {}, saved=saved), "data_dir") == [(Path("saved"), "config")]
    assert given(load_component(plugin, {}, saved=saved, data_dir=Path("here")), "data_dir") == [(Path("here"), "--data-dir")]
    with pytest.raises(ConfigurationError) as error:
        load_component(find("dataset", "digits"), {}, data_dir=Path("here"))
    assert str(error.value) == (
        "dataset digits does not use --data-dir; leave it out, or name other data, as with --data image-folder"
    )
    with pytest.raises(ConfigurationError, match="data_dir"):  # an unknown option is never dropped
        load_component(find("dataset", "digits"), {}, saved=saved)


def test_options_are_values_or_text() -> None:
    component = load_component(
        find("dataset", "digits"),
        {"train_size": 900, "fraction": "0.5"},
        saved={"normalize": "half", "valid_size": None, "seed": 3},
    )
    assert given(component, "train_size", "fraction", "normalize", "valid_size", "seed") == [
        (900, "-d"),
        (0.5, "-d"),
        ("half", "config"),
        (None, "default"),
        (3, "config"),
    ]


NETS = """
import functools
from torch import nn
from tinyclsf.plugin import ConfigurationError, recipe

@recipe(epochs=3)
def net(shape, classes, *, width: int = 8, depth: int = 1):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[1] * shape[2], width), nn.Linear(width, classes))

def check_options(*, width, **others):
    if width < 1:
        raise ConfigurationError(f"width is {width}; wanted at least 1")
    width / (width - 13)

net.check_options = check_options
wide = functools.partial(net, width=64)
wrong = functools.partial(net)
wrong.recipe = "fast"
"""


def test_a_plugin_checks_its_own_options(install: Install) -> None:
    install("nets", NETS, module="nets", models={"net": "nets:net", "wide": "nets:wide"})
    assert load_component(find("model", "wide"), {"depth": 2}).values == {"width": 64, "depth": 2}
    with pytest.raises(ConfigurationError) as error:
        load_component(find("model", "wide"), {"width": "0"})
    assert str(error.value) == "width is 0; wanted at least 1"
    with pytest.raises(PluginError) as blamed:
        load_component(find("model", "net"), {"width": 13})
    assert str(blamed.value) == (
        "model 'net' of package nets (nets:net) failed in check_options: ZeroDivisionError: division by zero"
    )


def test_a_machine_without_memory_is_no_fault_of_a_plugin() -> None:
    def huge(*args: Any) -> Any:
        return torch.empty(1 << 60, dtype=torch.uint8)

    digits = load_component(find("dataset", "digits"), {})
    with pytest.raises(TrainingError) as error:
        build_splits(Component(digits.plugin, huge, {}))
    assert str(error.value) == "out of memory in data set digits; use fewer or smaller images, or close other programs"
    linear = load_component(find("model", "linear"), {})
    with pytest.raises(TrainingError) as error:
        build_model(Component(linear.plugin, huge, {}), build_splits(digits))
    assert str(error.value) == "out of memory in model linear; use a smaller model or smaller images"


class Looking(nn.Sequential):
    """Takes the mean image from what it gets."""

    mean: Tensor

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), classes))
        self.register_buffer("mean", torch.zeros(shape))
        self.seen: list[Tensor] = []

    def look_at(self, x: Tensor) -> None:
        assert not self.seen
        self.seen.append(x)
        self.mean += x.mean(0)
        if len(x) == 7:
            raise ValueError("seven")


@pytest.mark.parametrize(
    ("images", "side", "rows"), [(12, 6, range(12)), (2500, 6, range(0, 2500, 3)), (20, 1025, range(0, 20, 2))]
)
def test_a_network_looks_at_images_from_all_over_the_training_data(images: int, side: int, rows: range) -> None:
    x = torch.randint(256, (images, 1, side, side), dtype=torch.uint8)
    split = Images(x, torch.zeros(images, dtype=torch.int64))
    splits = Splits(split, split, None, ("a", "b"), (1, side, side), Preprocess(100.0, 50.0))
    network: Any = build_model(Component(find("model", "linear"), Looking, {}), splits).network
    assert torch.equal(network.seen[0], (x[list(rows)] - 100.0) / 50)


def test_a_network_that_cannot_look_at_images_is_told_of() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Any:
            raise NotImplementedError

    component = Component(find("model", "linear"), Looking, {})
    x, y = torch.zeros(7, 1, 6, 6), torch.zeros(7, dtype=torch.int64)
    splits = Splits(Images(x, y), Images(x, y), None, ("a", "b"), (1, 6, 6), Preprocess())
    with pytest.raises(PluginError) as blamed:
        build_model(component, splits)
    assert str(blamed.value).endswith(":LinearClassifier) failed in look_at: ValueError: seven")
    with pytest.raises(ConfigurationError) as error:
        build_model(component, dataclasses.replace(splits, train=Stream()))
    assert str(error.value) == (
        "model linear looks at training images before it trains, and this data set is a stream, which is read only once; "
        "choose another model, or other data"
    )


def test_earlier_defaults_are_options_by_their_names(install: Install) -> None:
    install("nets", NETS + "net.earlier_defaults = 3", module="nets", models={"net": "nets:net"})
    with pytest.raises(PluginError, match=r"^earlier_defaults of <function net at .*> is of type int; wanted options by their"):
        load_component(find("model", "net"), {}, saved={"width": 8})


def test_options_that_a_plugin_has_no_more_are_left_out_of_what_a_run_wrote_down(install: Install) -> None:
    install("nets", NETS + "net.former_options = ('height',)", module="nets", models={"net": "nets:net"})
    component = load_component(find("model", "net"), {}, saved={"width": 8, "height": 3})
    assert component.values == {"width": 8, "depth": 1}
    with pytest.raises(ConfigurationError, match="has no option 'height'"):
        load_component(find("model", "net"), {"height": 3})


def test_a_recipe_may_depend_on_the_options_of_its_model(install: Install, cli: Any) -> None:
    code = """
from torch import nn
from tinyclsf.plugin import recipe

@recipe(lambda deep: {"epochs": 9 if deep else 1})
def net(image_shape, num_classes, *, deep: bool = False):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

@recipe(lambda deep: {"epoch": 9})
def wrong(image_shape, num_classes, *, deep: bool = False): ...
"""
    install("nets", code, module="nets", models={"net": "nets:net", "wrong": "nets:wrong"})
    assert load_component(find("model", "net"), {}).recipe == Recipe(epochs=1)
    assert load_component(find("model", "net"), {"deep": True}).recipe == Recipe(epochs=9)
    assert re.search(r"^  epochs +1$", cli("info", "net").out, re.MULTILINE)
    with pytest.raises(PluginError) as error:
        _ = load_component(find("model", "wrong"), {}).recipe
    assert str(error.value).startswith("model 'wrong' of package nets (nets:wrong) failed to choose its recipe: TypeError: ")


def test_a_partial_has_the_recipe_of_its_model(install: Install, cli: Any) -> None:
    install("nets", NETS, module="nets", models={"wide": "nets:wide", "wrong": "nets:wrong"})
    assert load_component(find("model", "wide"), {}).recipe == Recipe(epochs=3)
    assert load_component(find("model", "mlp"), {}, saved={"batch_norm": True}).recipe == attribute_of(
        load(find("model", "mlp")), "recipe"
    )
    with pytest.raises(PluginError) as error:
        _ = load_component(find("model", "wrong"), {}).recipe
    assert str(error.value) == (
        "model 'wrong' of package nets (nets:wrong) has a recipe of type str; wanted one made by @recipe(...), "
        "and another name for an attribute that is no recipe"
    )
    result = cli("fit", "wide", "--data", "digits", "-d", "train_size=200", "--epochs", "1", "--json")
    config = json.loads(next(Path("runs").glob("*/config.json")).read_text())
    assert (result.code, config["model"]["options"]) == (0, {"width": 64, "depth": 1})
    result = cli("info", "wide")
    assert (result.code, "-m width=..." in result.out, "default 64" in result.out) == (0, True, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("arch=resnet99", "torchvision has no classification model 'resnet99'; wanted one such as resnet18"),
        ("weights=DEFAULT", "weights is 'DEFAULT'; wanted a .pt, .pth or .safetensors file"),
        ("weights=no.pth", "cannot read no.pth: No such file or directory; wanted a state dict"),
    ],
)
def test_a_bad_option_of_the_model_is_found_before_any_data_is_read(option: str, message: str, cli: Any) -> None:
    result = cli("fit", "torchvision", "-m", option, "--data", "image-folder", "--data-dir", "nowhere")
    assert (result.out, result.err.partition("; did")[0].splitlines()[0]) == ("", f"error: {message}")
    assert result.code in (2, 4)


WANTING = """
from torch import nn
from tinyclsf.plugin import recipe

def wanted(*, large):
    return {"size": 96 if large else 32, "normalize": "imagenet", "unknown": 1}

@recipe(data=wanted)
def net(image_shape, num_classes, *, large: bool = False):
    return nn.Linear(1, 1)
"""


def test_a_model_says_what_data_it_wants(install: Install) -> None:
    install("kit", WANTING, module="kit", models={"net": "kit:net"})
    wanted = load_component(find("model", "net"), {"large": "true"}).data_options
    data = load_component(find("dataset", "image-folder"), {"size": "64"}, wanted=wanted, data_dir=".")
    assert given(data, "size", "normalize") == [(64, "-d"), ("imagenet", "recipe")]
    again = load_component(find("dataset", "image-folder"), {}, saved={"normalize": "unit"}, wanted=wanted, data_dir=".")
    assert given(again, "size", "normalize") == [(96, "recipe"), ("unit", "default")]


STATS, OWN = {"normalize": "stats"}, {"mean": "0.1,0.2", "std": "1,2"}


@pytest.mark.parametrize(
    ("given", "saved", "found"),
    [
        ({}, {}, ("unit", (0.5,), (0.25,))),
        ({"size": "32"}, {}, ("unit", (0.5,), (0.25,))),
        ({"std": "2"}, {}, ("unit", (0.5,), (2.0,))),
        (STATS, {}, ("stats", None, None)),
        ({}, {"normalize": "unit"}, ("unit", None, None)),
        (OWN, {}, ("unit", (0.1, 0.2), (1.0, 2.0))),
        ({}, OWN, ("unit", (0.1, 0.2), (1.0, 2.0))),
        (OWN, STATS, ("unit", (0.1, 0.2), (1.0, 2.0))),
        (STATS, OWN, ("stats", None, None)),
    ],
    ids=str,
)
def test_a_scaling_that_is_given_takes_the_place_of_another_kind(given: Any, saved: Any, found: Any) -> None:
    wanted = {"mean": [0.5], "std": [0.25]}
    data = load_component(find("dataset", "image-folder"), given, saved=saved, wanted=wanted, data_dir=".")
    assert (data.values["normalize"], data.values["mean"], data.values["std"]) == found
    again = load_component(find("dataset", "image-folder"), {}, saved=data.described()["options"], wanted=wanted)
    assert again.described() == data.described()


def test_an_architecture_of_torchvision_is_a_model_by_its_name() -> None:
    component = load_component(find("model", "resnet34"), {})
    assert component.described()["name"] == "resnet34"
    assert given(component, "arch") == [("resnet34", "default")]
    assert component.recipe == load_component(find("model", "torchvision"), {}).recipe
    assert find("model", "vgg").target == "tinyclsf_plugins.models.vgg:VGG"
