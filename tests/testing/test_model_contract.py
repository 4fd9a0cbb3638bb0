"""The checks of a model: each finds the model that is broken in its way and no other, and all let sound ones through."""

from __future__ import annotations

import functools
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.support.broken_models import GALLERY, Shape, Sound, ending, nothing_taken
from tinyclsf.errors import ConfigurationError
from tinyclsf.plugin import load_weights
from tinyclsf.registry.plugins import plugins
from tinyclsf.testing import ChecksFailed, check_model, parametrize_with_checks

EXPORTS = {"onnx-export", "pt2-export"}


def failing(plugin: Any, *, exports: bool = True, **options: Any) -> dict[str, str]:
    bound = check_model.bound(plugin, **options)
    verdicts = [each.verdict() for each in bound if exports or each.name not in EXPORTS]
    return {each.check: each.sentence for each in verdicts if each.outcome == "failed"}


@pytest.mark.stress
@pytest.mark.parametrize("name", GALLERY)
def test_a_broken_model_fails_in_its_own_check_and_no_other(name: str) -> None:
    plugin, expected = GALLERY[name]
    found = failing(plugin)
    random = EXPORTS if name == "dropout" else set()  # outputs that no file can give again
    assert set(found) == set(expected) | random
    for check, sentence in expected.items():
        assert sentence in found[check]


def test_each_check_has_a_model_that_it_finds() -> None:
    shown = {check for _, expected in GALLERY.values() for check in expected}
    assert shown | EXPORTS | {"imports"} == {each.name for each in check_model.bound(Sound)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param(
            lambda _, y: y if y.sum() > 0 else y * 1, "; export to safetensors, or change its code", marks=pytest.mark.stress
        ),
        (
            lambda _, y: y.view(len(y), -1),
            "; wanted any number of images: take it from x.shape[0] in forward, and not as len(x)",
        ),
    ],
    ids=["depends on values", "len"],
)
def test_what_cannot_be_exported_is_told(change: Any, sentence: str) -> None:
    found = failing(ending(change))
    assert set(found) == EXPORTS
    assert found["pt2-export"].startswith("model 'Changed' cannot be exported to pt2: ")
    assert found["pt2-export"].endswith(sentence)


@pytest.mark.stress
def test_what_onnx_alone_cannot_say_is_told() -> None:
    assert set(failing(ending(lambda _, y: y * torch.special.i0(y * 0)))) == {"onnx-export"}


@parametrize_with_checks(check_model, Sound, width=4)
def test_a_sound_model_passes(check: Any) -> None:
    check()


def test_the_error_lists_each_check_that_failed() -> None:
    with pytest.raises(ChecksFailed) as failed:
        check_model(nothing_taken)
    first, second = str(failed.value).splitlines()
    assert first == "model nothing_taken fails 1 of 21 checks"
    assert second.startswith("- logits: it takes none of 1x28x28")


def test_a_plugin_that_is_not_installed_yet() -> None:
    with pytest.raises(ConfigurationError) as error:
        check_model.bound("mnist-cn")
    assert str(error.value) == (
        "there is no model 'mnist-cn'; 'tinyclsf list models' shows all; if it is in this package, run "
        "python -m pip install -e . first"
    )
    assert error.value.tip == "did you mean 'mnist-cnn'?"


def test_in_pytest_the_traceback_has_the_line_of_the_plugin() -> None:
    def torn(image_shape: Shape, num_classes: int) -> nn.Module:
        """A network that cannot be built."""
        raise KeyError("layer")

    check = next(each for each in check_model.bound(torn) if each.name == "logits")
    with pytest.raises(ChecksFailed) as failed:
        check()
    frames, error = [], failed.value.__cause__
    while error is not None:
        frames += [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        error = error.__cause__
    assert "torn" in frames


def test_the_quick_checks_build_once() -> None:
    built: list[Shape] = []

    def counted(image_shape: Shape, num_classes: int) -> nn.Module:
        """A network that is counted."""
        built.append(image_shape)
        return Sound(image_shape, num_classes)

    checks = check_model.bound(counted, quick=True)
    assert [each.verdict().outcome for each in checks] == ["passed"] * 4
    assert [each.name for each in checks] == ["imports", "description", "options", "logits"]
    assert built == [(1, 28, 28)]


def test_a_model_names_the_shapes_that_it_takes() -> None:
    def wide(image_shape: Shape, num_classes: int) -> nn.Module:
        """A network for images of two channels."""
        if image_shape[0] != 2:
            raise ConfigurationError("only two channels will do")
        return Sound(image_shape, num_classes)

    wide.image_shapes = ((2, 20, 30),)  # type: ignore[attr-defined]
    assert failing(wide, exports=False) == {}


def test_a_relu_that_is_meant_is_no_fault() -> None:
    verdicts = {each.name: each.verdict() for each in check_model.bound("mnist-cnn") if each.name == "unclipped-logits"}
    assert str(verdicts["unclipped-logits"]) == (
        "unclipped-logits: its logits come out of a ReLU on purpose, as its attribute ends_in_relu says"
    )


class Transformer(nn.Module):
    """Patches of 4x4 pixels as tokens, with their places, and a head of another name."""

    head_name = "to_classes"

    def __init__(self, image_shape: Shape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.patches = nn.Conv2d(channels, 16, kernel_size=4, stride=4)
        self.first = nn.Parameter(torch.zeros(1, 1, 16))
        self.places = nn.Parameter(torch.randn(1, 1 + height // 4 * (width // 4), 16) / 50)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.to_classes = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], dim=1) + self.places
        return self.to_classes(self.layers(tokens)[:, 0])  # type: ignore[no-any-return]


def with_a_frozen_part(image_shape: Shape, num_classes: int) -> nn.Module:
    """A network whose convolution and its batch norm stay as they are."""
    network = Sound(image_shape, num_classes)
    network.conv.requires_grad_(False)
    network.norm.requires_grad_(False)
    return network


class Made:
    """An object that makes networks."""

    __name__ = "made"

    def __call__(self, image_shape: Shape, num_classes: int, *, norm: bool = True) -> nn.Module:
        """A convolution, a norm in groups, and an average."""
        layers = [nn.Conv2d(image_shape[0], 8, kernel_size=3), nn.GroupNorm(2, 8), nn.GELU(), nn.AdaptiveAvgPool2d(1)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, num_classes))


@pytest.mark.parametrize("exports", [False, pytest.param(True, marks=pytest.mark.stress)])
@pytest.mark.parametrize("plugin", [Transformer, with_a_frozen_part, functools.partial(Sound, width=3, dropout=0.5), Made()])
def test_models_in_other_styles_pass(plugin: Any, exports: bool) -> None:
    assert failing(plugin, exports=exports) == {}


@pytest.mark.parametrize(("factor", "expected"), [(1.0, set()), (2.0, {"saved-weights"})])
def test_saved_weights_are_loaded_without_the_file_that_a_model_began_from(
    factor: float, expected: set[str], tmp_path: Path
) -> None:
    def begun(image_shape: Shape, num_classes: int, *, weights: Path | None = None) -> nn.Module:
        """A network that starts from a file of weights, with logits times a factor then."""
        network = scaled(image_shape, num_classes)
        network.factor = 1.0
        if weights is not None:
            load_weights(network, weights)
            network.factor = factor
        return network  # type: ignore[no-any-return]

    scaled = ending(lambda network, y: y * network.factor)
    torch.save(Sound((1, 28, 28), 10).state_dict(), tmp_path / "weights.pt")
    assert set(failing(begun, exports=False, weights=tmp_path / "weights.pt")) == expected


OURS = [plugin.name for plugin in plugins("model") if plugin.package == "tinyclsf"]
LARGE = {"torchvision", "timm", "vgg"}


@pytest.mark.parametrize("name", sorted({*OURS} - LARGE))
def test_our_small_models_pass(name: str) -> None:
    assert failing(name, exports=False) == {}


@pytest.mark.stress
@pytest.mark.usefixtures("narrow_vgg")
@pytest.mark.parametrize("name", OURS)
def test_our_models_pass_with_exports(name: str) -> None:
    check_model(name)


@pytest.mark.stress
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mnist-cnn", {"manual": True}),
        ("mnist-logistic", {"manual": True}),
        ("mlp", {"batch_norm": True}),
        ("torch-clsf", {"mixed": True}),
        ("torchvision", {"arch": "mobilenet_v3_small"}),
        ("torchvision", {"arch": "mnasnet0_5"}),
        ("timm", {"arch": "resnet10t"}),
        ("timm", {"arch": "vit_tiny_patch16_224"}),
    ],
    ids=str,
)
def test_our_models_pass_with_other_options(name: str, options: dict[str, Any]) -> None:
    check_model(name, **options)


def test_shares_on_purpose_are_found() -> None:
    assert set(failing("linear", exports=False, softmax=True)) == {"logits"}
