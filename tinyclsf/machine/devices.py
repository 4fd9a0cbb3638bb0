"""Which device, memory layout and precision a model trains in, where nobody says so, and what is not there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tinyclsf.errors import ConfigurationError

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
_SMALL = 100_000  # parameters below which converting numbers takes a GPU longer than computing in fewer bits saves


def choose_device(device: str | torch.device) -> torch.device:
    """The device by its name, or as it is; "auto" is CUDA, then MPS, then the CPU.

    Raises: ConfigurationError if there is no such device; nothing falls back to the CPU unasked.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigurationError(f"'{device}' is not a device; use auto, cpu, cuda, cuda:0 or mps") from None
    known = {"cpu": 1, "cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}
    if isinstance(device, torch.device) and chosen.type not in known:
        return device
    there = known.get(chosen.type, 0)
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
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4:  # Module.to takes those of 3-D convolutions too, which have no such layout
                tensor.data = tensor.data.to(memory_format=torch.channels_last)


def bring_state(opt: Optimizer) -> None:
    """Move the state of an optimizer to where its parameters are; that of Adagrad is there before the first step."""
    tensors = [(each, value) for each, state in opt.state.items() for value in state.values() if isinstance(value, Tensor)]
    if any(value.ndim == each.ndim and value.device != each.device for each, value in tensors):
        opt.load_state_dict(opt.state_dict())  # by which PyTorch moves it


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. CUDA alone copies on while the program goes on: MPS may read from memory that is freed by then."""
    return tensor.to(device, non_blocking=device.type == "cuda")


def choose_precision(wanted: str, device: torch.device, model: nn.Module) -> str:
    """What training computes in; "auto" is bfloat16 for models that are not tiny on CUDA that has it in hardware, else float32.

    Raises: ConfigurationError if there is no such precision, or the device does not have it.
    """
    if wanted == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        large = sum(parameter.numel() for parameter in model.parameters()) >= _SMALL
        return "bfloat16" if fast and large else "float32"
    if wanted not in PRECISIONS:
        raise ConfigurationError(f"'{wanted}' is not a precision; use auto, {', '.join(PRECISIONS)}")
    if wanted == "tf32" and not (device.type == "cuda" and torch.cuda.is_tf32_supported()):
        raise ConfigurationError(f"precision tf32 needs an NVIDIA GPU of 2020 or later and the device is {device}; use float32")
    return wanted


def computing_in(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context, to be entered any number of times, in which a model computes outputs and loss in a precision."""
    if precision in ("float32", "tf32"):
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def multiplying_in(precision: str) -> contextlib.AbstractContextManager[object]:
    """A context, to be entered any number of times, for a whole step: with "tf32" products of matrices on CUDA round to it."""
    return _Tf32() if precision == "tf32" else contextlib.nullcontext()


class _Tf32(contextlib.AbstractContextManager[None]):
    def __enter__(self) -> None:
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self._before)


def compiled(model: nn.Module, device: torch.device, accumulate: int) -> Callable[[Tensor], Tensor]:
    """A model compiled for training; on CUDA its operations are recorded and started as one, in a graph."""
    # A graph writes the gradients of each batch to the same place, so none may wait there for a step.
    graphs = device.type == "cuda" and accumulate == 1
    return torch.compile(model, mode="reduce-overhead" if graphs else "default")
