"""Models of timm: what they take, begin with, and ask of the data; without a network."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.support.messages import message
from tinyclsf.errors import ConfigurationError, ModelFileError
from tinyclsf.finetuning import head_of
from tinyclsf.registry.components import load_component
from tinyclsf.registry.plugins import find
from tinyclsf_plugins.models.timm import timm


def create_model(*given: Any, **options: Any) -> nn.Module:
    """timm's own, imported where it is used: that takes a second."""
    import timm

    network: nn.Module = timm.create_model(*given, **options)
    return network


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
SUCH_AS = "wanted one such as resnet18"
FILES = {"test_vit": "test_vit.r160_in1k", "test_efficientnet": "test_efficientnet.r160_in1k"}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    """Networks whose weights are where a download leaves them, by architecture."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "torch/hub/checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    made = {arch: create_model(arch).eval() for arch in FILES}
    for arch, name in FILES.items():
        save_file(made[arch].state_dict(), folder / f"{name}.safetensors")
    return made


@pytest.mark.parametrize(
    ("arch", "head"),
    [("vit_tiny_patch16_224", "head"), ("test_resnet", "fc"), ("test_efficientnet", "classifier"), ("dla46_c", "fc")],
)
def test_an_architecture_takes_the_images_and_names_its_head(arch: str, head: str) -> None:
    network = timm((1, 32, 64), 4, arch=arch)
    assert network.training
    assert network.eval()(torch.randn(2, 1, 32, 64)).shape == (2, 4)
    assert head_of(network) == head


def test_a_network_of_two_heads_is_not_taken_for_one_of_one() -> None:
    network = timm((3, 224, 224), 4, arch="deit_tiny_distilled_patch16_224")
    found = message(partial(head_of, network), ConfigurationError)
    assert found.startswith("network VisionTransformerDistilled has no linear layer that could be its head; ")


def test_pretrained_weights_are_those_of_the_file_with_a_new_last_layer(kept: dict[str, nn.Module]) -> None:
    theirs = kept["test_efficientnet"]
    rgb = torch.rand(2, 3, 64, 64)
    whole = timm((3, 64, 64), 1000, arch="test_efficientnet", pretrained=True).eval()
    assert torch.equal(whole(rgb), theirs(rgb))
    ours: Any = timm((1, 64, 64), 4, arch="test_efficientnet", pretrained=True).eval()
    grey = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(ours.forward_features(grey), theirs.forward_features(grey.expand(-1, 3, -1, -1)))  # type: ignore[operator]
    assert ours(grey).shape == (2, 4)


def test_pretrained_weights_of_the_hubs_cache_are_used(kept: dict[str, nn.Module], tmp_path: Path) -> None:
    (tmp_path / "torch").rename(tmp_path / "elsewhere")
    repository = tmp_path / "hub/models--timm--test_vit.r160_in1k"
    for folder in ("refs", "snapshots/abc"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs/main").write_text("abc")
    file = tmp_path / "elsewhere/hub/checkpoints/test_vit.r160_in1k.safetensors"
    file.rename(repository / "snapshots/abc/model.safetensors")
    network = timm((3, 160, 160), 4, arch="test_vit.r160_in1k", pretrained=True)
    assert torch.equal(network.state_dict()["cls_token"], kept["test_vit"].state_dict()["cls_token"])


@pytest.mark.usefixtures("kept")
def test_pretrained_weights_are_brought_to_another_size_of_images() -> None:
    network = timm((3, 96, 64), 4, arch="test_vit", pretrained=True).eval()
    assert network(torch.rand(1, 3, 96, 64)).shape == (1, 4)


def test_a_file_of_another_architecture_is_named_and_an_image_that_is_too_small_too(kept: Any, tmp_path: Path) -> None:
    folder = tmp_path / "torch/hub/checkpoints"
    file = folder / "test_vit.r160_in1k.safetensors"
    (folder / "test_efficientnet.r160_in1k.safetensors").replace(file)
    found = message(lambda: timm((3, 160, 160), 4, arch="test_vit", pretrained=True), ModelFileError)
    assert found.startswith(f"{file} does not fit test_vit: Error(s) in loading state_dict for VisionTransformer: Missing ")
    assert found.endswith("; remove it, and it is downloaded again")
    for pretrained in (True, False):
        found = message(lambda: timm((3, 8, 8), 4, arch="test_vit", pretrained=pretrained), ConfigurationError)  # noqa: B023
        assert found.startswith("test_vit cannot take images of 3x8x8 (channels x height x width): ")
        assert found.endswith("; use images of another size or another arch")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"arch": "test_vit"}, {}),
        ({"arch": "test_vit", "pretrained": True}, {"size": 160, "mean": HALF[0], "std": HALF[1]}),
        ({"arch": "test_efficientnet", "pretrained": True}, {"size": 160, "mean": IMAGENET[0], "std": IMAGENET[1]}),
    ],
)
@pytest.mark.usefixtures("kept")
def test_the_data_that_pretrained_weights_want(options: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert load_component(find("model", "timm"), options).data_options == wanted


@pytest.mark.parametrize(
    ("options", "expected", "tip"),
    [
        ({"arch": "resnt18"}, f"timm has no classification model 'resnt18'; {SUCH_AS}", "resnet18"),
        ({"arch": "resnet18.a3_in1"}, f"timm has no classification model 'resnet18.a3_in1'; {SUCH_AS}", "resnet18.a3_in1k"),
        (
            {"arch": "gcvit_tiny", "pretrained": True},
            "timm has no pretrained weights for gcvit_tiny at Hugging Face; choose another arch",
            None,
        ),
        ({"pretrained": True, "weights": Path("own.pt")}, "pretrained and weights are both given; give one of them", None),
    ],
)
def test_what_timm_does_not_have_is_said_before_any_data_is_read(options: Any, expected: str, tip: str | None) -> None:
    with pytest.raises(ConfigurationError) as error:
        load_component(find("model", "timm"), options)
    assert (str(error.value), error.value.tip) == (expected, tip and f"did you mean '{tip}'?")


def test_the_package_that_is_missing_is_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    found = cli("fit", "timm", "--data", "image-folder", "--data-dir", "nowhere")
    assert (found.code, found.err) == (2, "error: model timm needs the package timm; pip install 'tinyclsf[timm]'\n")
    assert cli("info", "timm").code == 0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six pictures."""
    for label in ("dark", "light"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for at in range(6):
            colour = 40 * (label == "light") + 20 * at
            Image.new("RGB", (48, 40), (colour, 100, 100)).save(tmp_path / "photos" / label / f"{at}.png")
    return tmp_path / "photos"


@pytest.mark.usefixtures("kept")
def test_a_pretrained_run_says_what_it_took_and_is_written_as_a_script(cli: Any, photos: Path, tmp_path: Path) -> None:
    data = ("--data", "image-folder", "--data-dir", str(photos), "-d", "size=64", "--run", "a")
    result = cli("fit", "timm", "--pretrained", "-m", "arch=test_vit", "--epochs", "1", *data)
    assert result.code == 0, result.err
    assert "; mean 0.5,0.5,0.5, std 0.5,0.5,0.5, as the model wants\n" in result.err
    assert cli("script", "a", "--out", "a.py").code == 0
    file = tmp_path / "torch/hub/checkpoints/test_vit.r160_in1k.safetensors"
    assert f'PRETRAINED = {{"file": "{file}", "custom_load": False}}' in Path("a.py").read_text()
    file.unlink()
    assert cli("predict", "a", str(photos / "dark")).code == 0
