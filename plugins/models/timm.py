"""Any image model of timm, for images of any channels and any number of classes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from tinyclsf.plugin import ConfigurationError, ModelFileError, load_weights, recipe, scripted
from tinyclsf_plugins.models.architectures import check_arch, check_weights, settings, tried
from tinyclsf_plugins.models.pretrained import pretrained_file


def data_options(*, arch: str, pretrained: bool, **others: object) -> dict[str, Any]:
    """The size and scaling of the images that pretrained weights were trained on, without timm's crop."""
    if not pretrained:
        return {}
    found = _configuration(arch)
    return {"size": found.input_size[1], "mean": found.mean, "std": found.std}


@recipe(settings, data=data_options)
@scripted("tinyclsf_plugins.models.timm_script:network")
def timm(
    image_shape: tuple[int, int, int],
    num_classes: int,
    *,
    arch: str = "resnet18",
    pretrained: bool = False,
    weights: Path | None = None,
) -> nn.Module:
    """An image model of timm; `arch` is timm's name for it, such as resnet18, efficientnet_lite0 or vit_small_patch16_224.dino.

    pretrained=true starts from timm's weights: those named by the part after the dot, else the best ones; they are downloaded
    from Hugging Face once. `weights` is a local state dict (.pt, .pth or .safetensors) to start from. RGB weights are summed
    for images of one channel, and the last layer is newly initialised for another number of classes.
    With weights to start from, its recipe fine-tunes the network: the head learns at 0.002, the rest at a twentieth of that.
    Shapes: x (n, c, h, w) float32, to logits (n, num_classes).
    Raises: ConfigurationError if timm is missing or has no such model, or it cannot take the images; ModelFileError if the
    weights do not fit.
    Source: timm, the package; Wightman 2019, "PyTorch Image Models".
    """
    _check_arch(arch)
    from timm import create_model

    given = arguments(arch, image_shape)
    make: Callable[[], Any] = functools.partial(create_model, arch, num_classes=num_classes, **given)
    network: Any
    if pretrained:
        file = weights_file(arch)
        try:
            network = create_model(arch, pretrained=True, pretrained_cfg_overlay=begun_from(file), **given)
        except Exception as error:
            tried(arch, image_shape, make)  # for if the images are why
            reason = " ".join(str(error).split())
            raise ModelFileError(f"{file} does not fit {arch}: {reason}; remove it, and it is downloaded again") from error
        if network.num_classes != num_classes:
            network.reset_classifier(num_classes)
        network = tried(arch, image_shape, lambda: network)
    else:
        network = tried(arch, image_shape, make)
    if weights is not None:
        load_weights(network, weights)
    head = network.get_classifier()
    network.head_name = next((name for name, part in network.named_modules() if part is head), None)
    network.train()
    return network  # type: ignore[no-any-return]


def check_options(*, arch: str, pretrained: bool, weights: Path | None) -> None:
    """Check before any data is read that the model exists, and find its file of weights.

    Raises: ConfigurationError if timm is missing or has no such model, or the file is of another kind; ModelFileError if it
    cannot be read; DataError if it cannot be downloaded.
    """
    _check_arch(arch)
    check_weights(weights, functools.partial(weights_file, arch) if pretrained else None)


timm.check_options = check_options  # type: ignore[attr-defined]


def arguments(arch: str, image_shape: tuple[int, int, int]) -> dict[str, Any]:
    """The arguments of an architecture that depend on the images: the channels, and the size if it needs that."""
    from timm.models import get_pretrained_cfg

    channels, height, width = image_shape
    found = get_pretrained_cfg(arch)
    size = {"img_size": (height, width)} if found is not None and found.fixed_input_size else {}
    return {"in_chans": channels, **size}


def begun_from(file: Path) -> dict[str, Any]:
    """The arguments that make timm start from a file of its own weights."""
    return {"file": str(file), "custom_load": False}


def weights_file(arch: str) -> Path:
    """The file of an architecture's pretrained weights: the one in the cache of Hugging Face, else the one among torch's."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    found = _configuration(arch)
    repository, _, revision = found.hf_hub_id.partition("@")
    at = {"repo_id": repository, "filename": "model.safetensors", "revision": revision or None}
    cached = try_to_load_from_cache(**at)
    if isinstance(cached, str):
        return Path(cached)
    url = hf_hub_url(**at)
    return pretrained_file(url, f"{found.architecture}.{found.tag}.safetensors", lambda: str(get_hf_file_metadata(url).etag))


def _configuration(arch: str) -> Any:
    from timm.models import get_pretrained_cfg

    found = get_pretrained_cfg(arch)
    if found is None or not found.hf_hub_id:
        raise ConfigurationError(f"timm has no pretrained weights for {arch} at Hugging Face; choose another arch")
    return found


def _check_arch(arch: str) -> None:
    try:
        from timm import list_models, list_pretrained
    except ImportError as error:
        raise ConfigurationError("model timm needs the package timm; pip install 'tinyclsf[timm]'") from error

    check_arch("timm", arch, {*list_models(), *list_pretrained()})
