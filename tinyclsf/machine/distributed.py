"""What changes where several processes train one model; without `torchrun` there is one, and nothing does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tinyclsf.errors import ConfigurationError, TinyclsfError, TrainingError
from tinyclsf.machine import launch

Value = TypeVar("Value")
# The others wait while one process downloads, decodes or scores. One that is killed is noticed at once by gloo; a machine that
# is cut off only after this time.
_LONGEST_WAIT = timedelta(hours=12)
# The error of what would wait for other processes, while code runs that they do not.
_waiting: ContextVar[TinyclsfError | None] = ContextVar("waiting", default=None)


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def summed(values: Sequence[float]) -> list[float]:
    """Each number summed over all processes."""
    _meet()
    if size() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return total.tolist()


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    return flag if size() == 1 else summed([flag])[0] > 0


def gathered(value: Value) -> list[Value]:
    """The value of every process, in the order of their ranks."""
    _meet()
    if size() == 1:
        return [value]
    values: list[Value | None] = [None] * size()
    dist.all_gather_object(values, value)
    return values  # type: ignore[return-value]  # each is filled in


def take_from_first(tensors: Iterable[Tensor]) -> None:
    """Copy the values that process 0 has into the tensors of the others."""
    _meet()
    if size() > 1:
        for tensor in tensors:
            values = tensor.detach().contiguous()  # another layout cannot be sent
            dist.broadcast(values, 0)
            tensor.data.copy_(values)


def sum_gradients(parameters: Sequence[Tensor], values: Sequence[float]) -> list[float]:
    """Sum the gradients over all processes in place, and return the sums of some numbers that travel with them.

    A parameter without a gradient in some of the processes counts as zero in those.
    """
    found = [parameter.grad is not None for parameter in parameters]
    totals = summed([*values, *found])
    if size() > 1:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for parameter, count in zip(parameters, totals[len(values) :], strict=True):
            if count:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                by_type.setdefault(parameter.dtype, []).append(parameter.grad)
        for gradients in by_type.values():  # all of a type in one message, as each message takes its time
            together = torch.cat([gradient.reshape(-1) for gradient in gradients])
            dist.all_reduce(together)
            pieces = torch.split(together, [gradient.numel() for gradient in gradients])
            torch._foreach_copy_(gradients, [each.view(own.shape) for each, own in zip(pieces, gradients, strict=True)])
    return totals[: len(values)]


@contextmanager
def alone(error: TinyclsfError) -> Iterator[None]:
    """Run code that the other processes do not run: where it would wait for them it raises the error."""
    token = _waiting.set(error)
    try:
        yield
    finally:
        _waiting.reset(token)


def _meet() -> None:
    if (error := _waiting.get()) is not None:
        raise error


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Be one of the processes that `torchrun` started, if it did; gloo carries what is on the CPU, NCCL what is on CUDA.

    Raises: ConfigurationError if the device is neither.
    """
    if launch.processes() == 1:
        yield
        return
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"several processes train on the CPU or on CUDA, not on {device.type}; use --device cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_LONGEST_WAIT)
    yield
    dist.destroy_process_group()  # after an error the others may never get there, so it is left to the system then


def own_device(device: str) -> str:
    """The device of this process: of several, "auto" and "cuda" are the GPU of its number on the machine, else the CPU.

    Raises: ConfigurationError if several processes of a machine would share a GPU.
    """
    if launch.processes() == 1:
        return device
    if device.startswith("cuda:") and launch.processes_here() > 1:
        raise ConfigurationError(
            f"device {device} was asked for by {launch.processes_here()} processes; use --device cuda, and each takes its own"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{launch.rank_here()}" if device == "cuda" else device


@contextmanager
def first_on_each_machine() -> Iterator[None]:
    """Let one process of each machine through before the others: to download what the others then find."""
    if launch.rank_here() > 0:
        any_of(False)
    yield
    if launch.rank_here() == 0:
        any_of(False)


@contextmanager
def diagnosed() -> Iterator[None]:
    """Turn what PyTorch raises where processes cannot go on together into a TrainingError."""
    try:
        yield
    except RuntimeError as error:
        if size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise TrainingError("another process of this training has ended; its own error says why") from error
        raise


def from_first(value: Value | None) -> Value:
    """What process 0 has, in all."""
    return gathered(value)[0]  # type: ignore[return-value]
