"""The state of every random generator that training draws from, so that a stopped run can go on with the same numbers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RandomState = dict[str, Any]


def seed_all(seed: int) -> None:
    """Start PyTorch's, Python's and NumPy's generators from a seed below 2**32."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def draw_seed(generator: torch.Generator | None) -> int:
    """A seed of 64 bits from a generator, PyTorch's own one where that is None, as a `DataLoader` draws it."""
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


def random_state(device: torch.device, loader: object) -> RandomState:
    """The states of PyTorch's generators, the loader's own one, Python's and NumPy's: tensors, numbers and text alone."""
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    own = _own_generator(loader)
    return {
        "torch": torch.get_rng_state(),
        "device": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(*_index(device)),
        "device_type": device.type,
        "loader": None if own is None else own.get_state(),
        "python": (version, torch.tensor(words, device="cpu"), gauss),
        "numpy": {**numpy, "state": {**numpy["state"], "key": torch.from_numpy(numpy["state"]["key"].astype(np.int64))}},
    }


def set_random_state(state: RandomState, device: torch.device, loader: object) -> None:
    """Bring all generators to a state that `random_state` gave; that of another kind of device means nothing to this one."""
    torch.set_rng_state(state["torch"])
    if state["device"] is not None and state.get("device_type", device.type) == device.type != "cpu":
        torch.get_device_module(device).set_rng_state(state["device"], *_index(device))
    own = _own_generator(loader)
    if own is not None and state["loader"] is not None:
        own.set_state(state["loader"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(torch.as_tensor(words).tolist()), gauss))  # states from before have lists of numbers
    numpy = state["numpy"]["state"]
    if not 0 <= numpy["pos"] <= 624:  # NumPy would read beyond its numbers
        raise ValueError(f"the state of NumPy's generator is at {numpy['pos']}; wanted 0 to 624")
    np.random.set_state({**state["numpy"], "state": {**numpy, "key": np.asarray(numpy["key"])}})


@contextmanager
def without_trace() -> Iterator[None]:
    """Try something on the CPU: the random generators stay as they were, and warnings are not shown."""
    cpu = torch.device("cpu")
    before = random_state(cpu, None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        set_random_state(before, cpu, None)


def _own_generator(loader: object) -> torch.Generator | None:
    """The generator that draws the order of a loader, or of the one that it wraps; None if that is PyTorch's own one."""
    while hasattr(loader, "dl"):
        loader = loader.dl
    batches = getattr(loader, "batch_sampler", None)
    for owner in (getattr(batches, "sampler", None), batches, getattr(loader, "sampler", None), loader):
        found = getattr(owner, "generator", None)
        if isinstance(found, torch.Generator):
            return found
    return None


def _index(device: torch.device) -> tuple[torch.device, ...]:
    return (device,) if device.type == "cuda" else ()  # MPS has one device
