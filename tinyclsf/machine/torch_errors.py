"""What PyTorch raises when a machine gives out, said as an error of ours that names what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from tinyclsf.errors import TrainingError

_SMALLER = "use a smaller batch size: half of it with accumulate 2 trains the same"


@contextmanager
def translated(where: Callable[[], str], *, advice: str = _SMALLER) -> Iterator[None]:
    """Turn want of memory, a loader process that died and a compiler that failed into a TrainingError.

    `where` says at what point, and with how many images a batch; `advice` what to do where the memory is too small.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        # What allocators of the CPU and of MPS raise is a plain RuntimeError.
        told = "can't allocate memory" in text or "out of memory" in text
        if told or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise TrainingError(f"out of memory in {where()}; {advice}") from error
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


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".")
