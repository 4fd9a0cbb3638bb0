"""Devices, memory layouts and precisions by their names, and what is chosen where nobody says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tinyclsf.errors import ConfigurationError
from tinyclsf.machine.devices import choose_device, choose_memory_format, choose_precision, compiled, moved, place

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
CONVOLUTIONS = nn.Sequential(nn.Sequential(nn.Conv2d(1, 1, 3)))


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "xpu"])
def test_a_device_that_is_not_there_is_an_error(device: str) -> None:
    kind, count = device.split(":")[0], torch.cuda.device_count() if device.startswith("cuda") else 0
    if kind == "mps" and torch.backends.mps.is_available():
        count = 1
    with pytest.raises(ConfigurationError) as error:
        choose_device(device)
    assert str(error.value) == (
        f"device {device} was asked for and PyTorch {torch.__version__} finds {count} {kind} devices here; "
        "use --device auto or cpu"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_given_as_an_object_is_there_too() -> None:
    with pytest.raises(ConfigurationError, match=r"^device cuda was asked for and PyTorch \S+ finds 0 cuda devices here; "):
        choose_device(CUDA)
    assert choose_device(CPU) is not None
    assert choose_device(torch.device("meta")) == torch.device("meta")


def test_a_word_that_is_no_device_is_an_error() -> None:
    with pytest.raises(ConfigurationError) as error:
        choose_device("gpu")
    assert str(error.value) == "'gpu' is not a device; use auto, cpu, cuda, cuda:0 or mps"


def test_a_device_is_the_one_that_was_asked_for() -> None:
    assert choose_device("cpu") == CPU
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto") == torch.device(best)


@pytest.mark.parametrize(("device", "waits_not"), [(CUDA, True), (MPS, False), (CPU, False)])
def test_a_copy_is_left_to_itself_on_cuda_alone(device: torch.device, waits_not: bool) -> None:
    class Asked(Tensor):
        """Says how it is copied, to a device that is not here."""

        def to(self, *args: object, **options: object) -> Any:
            return args, options

    assert moved(torch.ones(1).as_subclass(Asked), device) == ((device,), {"non_blocking": waits_not})


def test_memory_format_is_channels_last_only_where_there_are_convolutions() -> None:
    for device in (CPU, CUDA):
        assert choose_memory_format("auto", CONVOLUTIONS, device) == "channels_last"
        assert choose_memory_format("auto", nn.Linear(2, 2), device) == "contiguous"
    assert choose_memory_format("auto", CONVOLUTIONS, MPS) == "contiguous"
    assert choose_memory_format("contiguous", CONVOLUTIONS, CPU) == "contiguous"
    assert choose_memory_format("channels_last", nn.Linear(2, 2), CPU) == "channels_last"
    with pytest.raises(ConfigurationError) as error:
        choose_memory_format("nhwc", CONVOLUTIONS, CPU)
    assert str(error.value) == "'nhwc' is not a memory format; use auto, channels_last or contiguous"


def test_a_model_is_placed_in_place_whatever_its_dimensions() -> None:
    flat, solid = nn.Conv2d(2, 3, 2), nn.Conv3d(2, 3, 2)
    model = nn.Sequential(flat, solid, nn.Linear(2, 2))
    before = [*model.parameters()]
    place(model, CPU, "channels_last")
    assert all(own is other for own, other in zip(model.parameters(), before, strict=True))
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert solid.weight.is_contiguous()


@pytest.mark.parametrize("fast", [False, True])
def test_precision_is_float32_where_nothing_else_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: fast)
    tiny, large = nn.Linear(998, 100), nn.Linear(999, 100)
    assert choose_precision("auto", CPU, large) == choose_precision("auto", MPS, large) == "float32"
    assert choose_precision("auto", CUDA, tiny) == "float32"
    assert choose_precision("auto", CUDA, large) == ("bfloat16" if fast else "float32")
    for precision in ("float32", "bfloat16", "float16"):
        assert choose_precision(precision, CPU, tiny) == precision
    with pytest.raises(ConfigurationError) as error:
        choose_precision("half", CPU, tiny)
    assert str(error.value) == "'half' is not a precision; use auto, float32, tf32, bfloat16, float16"


def test_tf32_is_for_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for device, has in ((CPU, True), (MPS, True), (CUDA, False)):
        monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda has=has: has)
        with pytest.raises(ConfigurationError) as error:
            choose_precision("tf32", device, nn.Linear(2, 2))
        wanted = f"precision tf32 needs an NVIDIA GPU of 2020 or later and the device is {device}; use float32"
        assert str(error.value) == wanted
    monkeypatch.setattr(torch.cuda, "is_tf32_supported", lambda: True)
    assert choose_precision("tf32", CUDA, nn.Linear(2, 2)) == "tf32"


def test_operations_are_recorded_for_a_gpu_if_nothing_accumulates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, mode: mode)
    for device, accumulate, wanted in ((CUDA, 1, "reduce-overhead"), (CUDA, 2, "default"), (CPU, 1, "default")):
        found: Any = compiled(nn.Linear(2, 2), device, accumulate)
        assert found == wanted
