"""What PyTorch raises when a machine gives out is said as an error with what to do; all else goes through as it is."""

from __future__ import annotations

import gc
import os
import re
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, TensorDataset

from tinyclsf import Trainer
from tinyclsf.batches.loaders import loader
from tinyclsf.errors import DataError, TrainingError
from tinyclsf.machine.torch_errors import translated
from tinyclsf.trainer import Callback

WHERE = "epoch 2 after step 7, with batches of 64 images"
NO_MEMORY = f"out of memory in {WHERE}; use a smaller batch size: half of it with accumulate 2 trains the same"


def said(error: BaseException) -> str:
    with pytest.raises(TrainingError) as found, translated(lambda: WHERE):
        raise error
    assert found.value.exit_code == 6
    assert found.value.__cause__ is error
    return str(found.value)


def test_want_of_memory_names_the_batch_size() -> None:
    assert said(MemoryError()) == NO_MEMORY
    assert said(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")) == NO_MEMORY
    assert said(RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)")) == NO_MEMORY
    with pytest.raises(TrainingError) as found, translated(lambda: WHERE):
        torch.empty(2**56)
    assert str(found.value) == NO_MEMORY


@pytest.mark.parametrize("library", ["CUBLAS", "CUDNN"])
def test_a_library_of_cuda_that_finds_no_memory_says_it_in_its_own_way(library: str) -> None:
    call = f"CUDA error: {library}_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    assert said(RuntimeError(call)) == NO_MEMORY


def test_what_an_error_of_memory_found_is_not_held_on_to() -> None:
    held = []

    def forward() -> None:
        activations = torch.ones(3)
        held.append(weakref.ref(activations))
        try:
            later(activations + 1)
        except ValueError:
            raise MemoryError from None

    def later(more: Tensor) -> None:
        held.append(weakref.ref(more))
        raise ValueError

    with pytest.raises(TrainingError) as found, translated(lambda: WHERE):
        forward()
    assert str(found.value) == NO_MEMORY
    assert [each() for each in held] == [None, None]


def test_a_device_that_was_asked_for_what_is_not_there_says_where_to_find_it() -> None:
    assert said(RuntimeError("CUDA error: device-side assert triggered\nSearch for it on the web.")) == (
        f"the GPU was asked for an index that is not there in {WHERE}: a label that is none of the classes, most often; "
        "train on the CPU for a sentence that names it"
    )


def test_a_compiler_that_fails_is_named() -> None:
    class Failed(RuntimeError):
        pass

    Failed.__module__ = "torch._inductor.exc"
    assert said(Failed("InvalidCxxCompiler: No working C++ compiler found. See the log.")) == (
        "the model cannot be compiled (InvalidCxxCompiler: No working C++ compiler found); leave compile out"
    )


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 shapes differ"), DataError("broken"), KeyboardInterrupt()])
def test_other_errors_go_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as found, translated(lambda: WHERE):
        raise error
    assert found.value is error


class Fatal(Dataset[tuple[Tensor, int]]):
    """The process that reads image 9 dies."""

    loader_workers = 1

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if index == 9:
            os._exit(1)
        return torch.ones(3), 0


# PyTorch raises from its signal handler, wherever the main thread is: sockets and files that were being opened are left over.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("time", range(4))
def test_a_loader_process_that_dies_ends_training_at_once(time: int) -> None:
    model = nn.Linear(3, 2)
    trainer = Trainer(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr=0.1), device="cpu")
    with pytest.raises(TrainingError) as error:
        trainer.fit(1, loader(Fatal(), 4), [])
    assert re.fullmatch(
        r"a process that loads data ended in epoch 1 after step [0-2], with batches of [04] images "
        r"\(DataLoader worker (\(pid(\(s\))? \d+\) )?exited unexpectedly.*\); "
        "often the memory is full: close other programs or use a smaller batch size, and resume the run",
        str(error.value),
    )
    del error
    gc.collect()  # so that their warnings fall here


def test_a_fit_says_where_memory_ended() -> None:
    class Greedy(Callback):
        def on_batch_end(self, trainer: Trainer) -> None:
            if (trainer.epoch, trainer.batch) == (2, 2):
                torch.empty(2**56)

    model = nn.Linear(3, 2)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    data = TensorDataset(torch.ones(10, 3), torch.zeros(10, dtype=torch.int64))
    trainer = Trainer(model, F.cross_entropy, opt, device="cpu", callbacks=[Greedy()])
    with pytest.raises(TrainingError) as error:
        trainer.fit(3, loader(data, 4), loader(data, 4))
    assert str(error.value) == (
        "out of memory in epoch 2 after step 5, with batches of 4 images; "
        "use a smaller batch size: half of it with accumulate 2 trains the same"
    )
