"""What the models torchvision and timm share: their recipe, and the checks of an architecture, its weights and its images."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tinyclsf.plugin import ConfigurationError, did_you_mean, read_state_dict
from tinyclsf_plugins.models.sizes import shown

# Found on photographs and on CIFAR-10; docs/reproductions.md has what was tried.
_FROM_NOTHING: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 64,
    "optimizer": "adamw",
    "lr": 0.001,
    "schedule": "one-cycle",
    "augment": "crop",
}
_FINE_TUNED: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 16,
    "optimizer": "adam",
    "lr": 0.002,
    "backbone_lr": 0.05,
    "schedule": "one-cycle",
    "freeze": "backbone,batch-norm",
    "unfreeze_after": 3,
    "augment": "flip,resized-crop",
}


def settings(*, pretrained: bool, weights: Path | None, **others: object) -> dict[str, Any]:
    """The recipe: with weights to start from the network is fine-tuned, the head at a higher rate than the rest."""
    return _FINE_TUNED if pretrained or weights is not None else _FROM_NOTHING


def check_arch(library: str, arch: str, known: Collection[str]) -> None:
    """Check that a library has an architecture.

    Raises: ConfigurationError with the nearest name if it does not.
    """
    if arch not in known:
        raise ConfigurationError(
            f"{library} has no classification model '{arch}'; wanted one such as resnet18", tip=did_you_mean(arch, known)
        )


def check_weights(weights: Path | None, pretrained: Callable[[], Path] | None) -> None:
    """Find the file of weights, the given one or the one that `pretrained` downloads, and read it.

    Raises: ConfigurationError if both are given or the file is of another kind; ModelFileError if it cannot be read;
    DataError if it cannot be downloaded.
    """
    if pretrained is not None and weights is not None:
        raise ConfigurationError("pretrained and weights are both given; give one of them")
    if pretrained is not None:
        weights = pretrained()
    if weights is not None:
        read_state_dict(weights)


def tried(arch: str, image_shape: tuple[int, int, int], make: Callable[[], nn.Module]) -> nn.Module:
    """The network that `make` makes, in evaluation mode, after it was run on a blank image.

    Raises: ConfigurationError if either fails: each architecture fails in its own way on a size that it cannot take.
    """
    try:
        network = make().eval()
        with torch.no_grad():
            network(torch.zeros(1, *image_shape))
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigurationError(
            f"{arch} cannot take images of {shown(image_shape)}: {reason}; use images of another size or another arch"
        ) from error
    return network
