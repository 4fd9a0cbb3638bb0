"""Every generator that training draws from goes on with the same numbers."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.support.states import through_a_file
from tinyclsf.machine.randomness import random_state, set_random_state

CPU, DATA = torch.device("cpu"), TensorDataset(torch.zeros(2))


def draws(generator: torch.Generator | None = None) -> list[Any]:
    """Numbers of every generator, an odd number of normal ones among them, of which NumPy and Python keep the second."""
    return [
        torch.rand(3).tolist(),
        torch.randn(1, generator=generator).item(),
        random.random(),
        random.gauss(0, 1),
        np.random.normal(),
        np.random.rand(),
    ]


@pytest.mark.parametrize("own", [False, True])
def test_all_generators_go_on_from_a_saved_state(own: bool) -> None:
    generator = torch.Generator().manual_seed(5) if own else None
    loader: Any = DataLoader(DATA, generator=generator)
    draws(generator)
    state = through_a_file(random_state(CPU, loader))
    assert (state["loader"] is not None, state["device"]) == (own, None)
    wanted = draws(generator)
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    if generator is not None:
        generator.manual_seed(99)
    set_random_state(state, CPU, loader)
    assert draws(generator) == wanted


def test_a_state_with_a_generator_that_the_loader_does_not_have_sets_the_others() -> None:
    own, none = DataLoader(DATA, generator=torch.Generator()), [1, 2]
    for before, after in ((own, none), (none, own)):
        state = random_state(CPU, before)
        wanted = draws()
        set_random_state(state, CPU, after)
        assert draws() == wanted


def test_another_kind_of_device_is_not_handed_a_state_that_is_not_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        """The generator of a device that is not here."""

        state = torch.tensor([7], dtype=torch.uint8)

        def get_rng_state(self, *device: torch.device) -> Any:
            return self.state

        def set_rng_state(self, state: Any, *device: torch.device) -> None:
            self.state = state

    module = Module()
    monkeypatch.setattr(torch, "get_device_module", lambda device: module)
    cuda, mps = torch.device("cuda"), torch.device("mps")
    state = through_a_file(random_state(cuda, None))
    own = module.state = torch.tensor([1, 2], dtype=torch.uint8)
    set_random_state(state, mps, None)
    assert module.state is own
    set_random_state(state, cuda, None)
    assert module.state.tolist() == [7]
    module.state = own
    # A state from before says nothing of the kind; it is that of the device.
    del state["device_type"]
    set_random_state(state, mps, None)
    assert module.state.tolist() == [7]


def test_a_state_from_before_has_lists_of_numbers() -> None:
    state = through_a_file(random_state(CPU, None))
    wanted = draws()
    version, words, gauss = state["python"]
    state["python"] = version, tuple(words.tolist()), gauss
    state["numpy"]["state"]["key"] = state["numpy"]["state"]["key"].tolist()
    set_random_state(state, CPU, None)
    assert draws() == wanted


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_a_device_goes_on_too() -> None:
    device = torch.device("cuda")
    state = through_a_file(random_state(device, None))
    wanted = torch.rand(3, device=device)
    set_random_state(state, device, None)
    assert torch.equal(torch.rand(3, device=device), wanted)
