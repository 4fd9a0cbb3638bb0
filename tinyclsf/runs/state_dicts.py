"""A state dict from anywhere, for a network whose channels and classes may be others than the file's."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError, DataWarning, ModelFileError, join_names

_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # second heads that only helped GoogLeNet and Inception to train
_SHOWN = 3  # of the names in an error


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a state dict, a .pt, .pth or .safetensors file, into a network for images.

    RGB weights are summed for images of one channel. A last layer for another number of classes is newly initialised, with a
    DataWarning.
    Raises: ConfigurationError if the file is of another kind; ModelFileError if it is missing or broken, or does not fit.
    """
    state, own = read_state_dict(path), network.state_dict()
    layers = [name for name, layer in network.named_modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    _fit_channels(state, own, f"{layers[0]}.weight", path)
    classes = _fit_head(state, own, layers[-1])
    _load(network, state, own, path)
    if classes is not None:
        wanted = len(own[f"{layers[-1]}.weight"])
        message = f"{path} is for {classes:,} classes and these images have {wanted:,}, so the last layer is newly initialised"
        warnings.warn(DataWarning(message), stacklevel=2)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .pt, .pth or .safetensors file by name, on the CPU.

    Raises: ConfigurationError if the file is of another kind; ModelFileError if it is missing, broken or no state dict.
    """
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        raise ConfigurationError(f"weights is '{path}'; wanted a .pt, .pth or .safetensors file")
    found: Any
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch  # which importing tinyclsf.plugin need not wait for

            found = safetensors.torch.load(path.read_bytes())
        else:
            with path.open("rb") as file:
                found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}; wanted a state dict") from error
    except Exception as error:  # a broken file makes torch.load raise nearly anything
        raise ModelFileError(
            f"{path} cannot be read as a state dict ({type(error).__name__}): it is broken or holds more than tensors; "
            "save model.state_dict() again"
        ) from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{path} holds a {type(found).__name__}; wanted a state dict: save model.state_dict() alone")
    others = [key for key, value in found.items() if not _is_plain(value)]
    if others:
        raise ModelFileError(
            f"{path} holds {len(others)} values that are no plain tensors ({join_names(others, _SHOWN)}); "
            "wanted a state dict: save model.state_dict() alone"
        )
    # torchvision's own DenseNet files are from when the name of a layer could have a dot.
    undotted = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", str(key)): value for key, value in found.items()}
    return {key: value for key, value in undotted.items() if not key.startswith(_AUXILIARY)}


def _is_plain(value: Any) -> bool:
    """Whether a value is a tensor of numbers in memory: not sparse, without data, complex or quantized."""
    return (
        isinstance(value, Tensor)
        and (value.layout, value.device.type) == (torch.strided, "cpu")
        and not (value.is_complex() or value.is_quantized)
    )


def _fit_channels(state: dict[str, Tensor], own: dict[str, Tensor], first: str, path: Path) -> None:
    """Sum the first convolution's weights for red, green and blue where the images have one channel."""
    found, wanted = state.get(first, own[first]).shape, own[first].shape
    if found[1:2] == wanted[1:2] or (found[:1], found[2:]) != (wanted[:1], wanted[2:]):
        return
    if (found[1], wanted[1]) != (3, 1):
        raise ModelFileError(
            f"{path} is for images of {found[1]} channels and these have {wanted[1]}; "
            "only weights for 3 channels can be turned into weights for 1"
        )
    state[first] = state[first].sum(dim=1, keepdim=True)


def _fit_head(state: dict[str, Tensor], own: dict[str, Tensor], layer: str) -> int | None:
    """Put the network's own head in place of one for another number of classes, which is returned; None where it fits."""
    key = f"{layer}.weight"
    if key not in state or state[key].shape[1:] != own[key].shape[1:] or len(state[key]) == len(own[key]):
        return None
    classes = len(state[key])
    state |= {name: own[name] for name in (key, f"{layer}.bias") if name in state}
    return classes


def _load(network: nn.Module, state: dict[str, Tensor], own: dict[str, Tensor], path: Path) -> None:
    misfits = [key for key, value in state.items() if key in own and value.shape != own[key].shape]
    # Not strict, so that all that is wrong can be told; torch itself knows which old names it still reads.
    found = network.load_state_dict({key: value for key, value in state.items() if key not in misfits}, strict=False)
    missing = [key for key in found.missing_keys if key not in misfits]
    kinds = {"missing": missing, "unexpected": found.unexpected_keys, "of another shape": misfits}
    if any(kinds.values()):
        problems = "; ".join(f"{len(keys)} {kind} ({join_names(keys, _SHOWN)})" for kind, keys in kinds.items() if keys)
        raise ModelFileError(
            f"{path} does not fit the network, in tensors: {problems}; "
            "choose the architecture and the image size that it was saved from"
        )
