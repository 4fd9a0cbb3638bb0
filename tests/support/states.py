"""States of training: through a file as a checkpoint's, and compared bit for bit."""

from __future__ import annotations

import io
from typing import Any, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


def through_a_file(state: State) -> State:
    """What PyTorch reads of a state that it saved."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    found: State = torch.load(file, weights_only=True)
    return found


def assert_equal(found: Any, wanted: Any, where: str = "state") -> None:
    """Hold two states together: every number, and every tensor bit for bit."""
    assert type(found) is type(wanted), where
    if isinstance(wanted, Tensor):
        assert found.dtype == wanted.dtype, where
        assert torch.equal(found, wanted), where
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted), where
        for key in wanted:
            assert_equal(found[key], wanted[key], f"{where}.{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), where
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            assert_equal(one, other, f"{where}.{number}")
    else:
        assert found == wanted, where
