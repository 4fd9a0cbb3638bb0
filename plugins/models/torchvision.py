"""Any classification model of torchvision, for images of any channels and any number of classes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from torch import nn

from tinyclsf.plugin import ConfigurationError, load_weights, recipe, scripted
from tinyclsf_plugins.models.architectures import check_arch, check_weights, settings, tried
from tinyclsf_plugins.models.pretrained import pretrained_file


def data_options(*, arch: str, pretrained: bool, **others: object) -> dict[str, Any]:
    """The size and scaling of the images that pretrained weights were trained on."""
    if not pretrained:
        return {}
    found = _best_weights(arch).transforms()
    # torchvision gives two networks a first step, with their weights alone, that turns ImageNet's scaling into -1..1.
    half = arch in ("googlenet", "inception_v3") or set(found.mean) == {0.5}
    return {"size": found.crop_size[0], "normalize": "half" if half else "imagenet"}


@recipe(settings, data=data_options)
@scripted("tinyclsf_plugins.models.torchvision_script:network")
def torchvision(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    arch: str = "resnet18",
    pretrained: bool = False,
    weights: Path | None = None,
) -> nn.Module:
    """A classification model of torchvision; `arch` is torchvision's name for it, such as resnet18, densenet121 or vit_b_16.

    pretrained=true starts from torchvision's best weights for it, from ImageNet, which are downloaded once. `weights` is a
    local state dict (.pt, .pth or .safetensors) to start from. RGB weights are summed for images of one channel, and the last
    layer is newly initialised for another number of classes.
    With weights to start from, its recipe fine-tunes the network: the head learns at 0.002, the rest at a twentieth of that.
    Shapes: x (n, c, h, w) float32, to logits (n, num_classes).
    Raises: ConfigurationError if there is no such model or it cannot take the images; ModelFileError if the weights do not fit.
    Source: torchvision.models.
    """
    from torchvision import models  # type: ignore[import-untyped]

    _check_arch(arch)

    def make() -> nn.Module:
        network: nn.Module = models.get_model(arch, num_classes=num_classes, **_arguments(arch, image_shape))
        take_channels(network, image_shape[0])
        return network

    network = tried(arch, image_shape, make)
    if arch.startswith("mnasnet"):
        # It refuses a state dict that does not tell its version, and a safetensors file cannot.
        network._load_from_state_dict = functools.partial(nn.Module._load_from_state_dict, network)  # type: ignore[method-assign]
    if arch.startswith("squeezenet"):
        network.head_name = "classifier"  # type: ignore[assignment]  # a convolution, while all others end in a linear layer
    if pretrained:
        weights = _pretrained_file(arch)
    if weights is not None:
        load_weights(network, weights)
    return network.train()


def check_options(*, arch: str, pretrained: bool, weights: Path | None) -> None:
    """Check before any data is read that the model exists, and find its file of weights.

    Raises: ConfigurationError if there is no such model, or the file is of another kind; ModelFileError if it cannot be read;
    DataError if it cannot be downloaded.
    """
    _check_arch(arch)
    check_weights(weights, functools.partial(_pretrained_file, arch) if pretrained else None)


torchvision.check_options = check_options  # type: ignore[attr-defined]


def _check_arch(arch: str) -> None:
    from torchvision import models

    check_arch("torchvision", arch, models.list_models(module=models))


def _best_weights(arch: str) -> Any:
    from torchvision import models

    try:
        return models.get_model_weights(arch).DEFAULT
    except (AttributeError, ValueError):
        raise ConfigurationError(f"torchvision has no pretrained weights for {arch}; choose another arch") from None


def _pretrained_file(arch: str) -> Path:
    """The best weights' file; its hash begins with the digits at the end of its name."""
    url = _best_weights(arch).url
    name = url.rpartition("/")[2]
    return pretrained_file(url, name, lambda: name.rpartition("-")[2].partition(".")[0])


def _arguments(arch: str, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """What an architecture needs besides the number of classes."""
    if arch.startswith("vit_"):
        return {"image_size": image_shape[1]}
    if arch.startswith("maxvit_"):
        return {"input_size": image_shape[1:]}
    if arch in ("googlenet", "inception_v3"):
        return {"aux_logits": False, "init_weights": True}
    return {}


def take_channels(network: nn.Module, channels: int) -> None:
    """Give the first convolution the number of channels that the images have."""
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    if first.in_channels != channels:
        first.in_channels = channels
        first.weight = nn.Parameter(first.weight.new_empty(first.out_channels, channels, *first.kernel_size))
        first.reset_parameters()
