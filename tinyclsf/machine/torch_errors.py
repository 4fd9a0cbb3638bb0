"""What PyTorch raises when a machine gives out, said as an error of ours that names what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from tinyclsf.errors import TrainingError

_SMALLER = "use a smaller batch size: half of it with accumulate 2 trains the same"
# Of allocators of the CPU, of MPS, and of libraries of CUDA: what these raise is a plain RuntimeError.
_NO_MEMORY = ("can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


@contextmanager
def translated(where: Callable[[], str], *, advice: str = _SMALLER) -> Iterator[None]:
    """Turn want of memory, an index that a GPU has not, a dead loader process and a compiler that failed into a TrainingError.

    `where` says at what point, and with how many images a batch; `advice` what to do where the memory is too small.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(words in text for words in _NO_MEMORY):
            _let_go(error)
            raise TrainingError(f"out of memory in {where()}; {advice}") from error
        if "device-side assert" in text:  # PyTorch finds it after the fact, so nothing says which label it is
            raise TrainingError(
                f"the GPU was asked for an index that is not there in {where()}: "
                "a label that is none of the classes, most often; train on the CPU for a sentence that names it"
            ) from error
        if "cannot be converted to type" in text and "overflow" in text:
            raise TrainingError(f"a number is too large for its type in {where()}; lower the learning rate") from error
        if text.startswith("DataLoader worker"):
            raise TrainingError(
                f"a process that loads data ended in {where()} ({_first_sentence(text)}); "
                "often the memory is full: close other programs or use a smaller batch size, and resume the run"
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(f"the model cannot be compiled ({_first_sentence(text)}); leave compile out") from error
        raise


def _let_go(error: BaseException | None) -> None:
    """Empty the frames that an error came through: a notebook keeps the error, and with it all that they held in memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")
