"""What a process takes: memory, and room for its files."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Found = TypeVar("Found")


@contextmanager
def longest_file(size: int | None = None) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes, nor beyond what is set inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def with_peak(call: Callable[[], Found]) -> tuple[Found, int]:
    """What a call returns, and the most bytes that Python held in it, without those that PyTorch holds."""
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
