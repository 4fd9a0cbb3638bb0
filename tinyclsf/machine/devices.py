"""Which device, memory layout and precision a model trains in, where nobody says so, and what is not there."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device: str | torch.device) -> torch.device:
    """The device by its name, or as it is; "auto" is CUDA, then MPS, then the CPU.

    Raises: ConfigurationError if there is no such device; nothing falls back to the CPU unasked.
    """
    if isinstance(device, torch.device):
        return device
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigurationError(f"'{device}' is not a device; use auto, cpu, cuda, cuda:0 or mps") from None
    there = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(chosen.type, 0)
    if (chosen.index or 0) >= there:
        raise ConfigurationError(
            f"device {device} was asked for and PyTorch {torch.__version__} finds {there} {chosen.type} devices here; "
            "use --device auto or cpu"
        )
    return chosen


def choose_memory_format(wanted: str, model: nn.Module, device: torch.device) -> str:
    """The layout of images and weights; "auto" is channels_last where it helps: 2-D convolutions on the CPU or CUDA.

    Raises: ConfigurationError if there is no such layout.
    """
    if wanted not in ("auto", "channels_last", "contiguous"):
        raise ConfigurationError(f"'{wanted}' is not a memory format; use auto, channels_last or contiguous")
    if wanted != "auto":
        return wanted
    convolutions = any(isinstance(module, nn.Conv2d) for module in model.modules())
    return "channels_last" if convolutions and device.type in ("cpu", "cuda") else "contiguous"


def place(model: nn.Module, device: torch.device, memory_format: str) -> None:
    """Move a model to a device and into a layout, in place."""
    model.to(device)
    if memory_format == "channels_last":
        model.to(memory_format=torch.channels_last)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. CUDA alone copies on while the program goes on: MPS may read from memory that is freed by then."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def choose_precision(wanted: str, device: torch.device) -> str:
    """What training computes in; "auto" is bfloat16 on CUDA that has it in hardware, float32 elsewhere.

    Raises: ConfigurationError if there is no such precision.
    """
    if wanted == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bfloat16" if fast else "float32"
    if wanted not in PRECISIONS:
        raise ConfigurationError(f"'{wanted}' is not a precision; use auto, {', '.join(PRECISIONS)}")
    return wanted


def computing_in(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context, to be entered any number of times, in which a model computes in a precision."""
    return contextlib.nullcontext() if precision == "float32" else torch.autocast(device.type, PRECISIONS[precision])
