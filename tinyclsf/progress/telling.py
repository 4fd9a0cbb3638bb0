"""Word of work that takes long, for whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_SILENT_SECONDS = 1.0


def _nobody(what: str, done: int, total: int) -> None:
    pass


_listener: Listener = _nobody


def tell_progress(what: str, done: int, total: int) -> None:
    """Say how far some work has come; it is over where `done` is `total`."""
    _listener(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a listener, and no other, for all that is told inside the block."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def listen_by_default(listener: Listener) -> None:
    """Call a listener for all that is told where nobody else listens."""
    global _listener
    if _listener is _nobody:
        _listener = listener


@contextmanager
def within(what: str, done: int, total: int) -> Iterator[None]:
    """Inside the block, what is told counts as work on something larger, of which so much was done before."""
    outer = _listener
    with listening(lambda _, part, __: outer(what, done + part, total)):
        yield


def counted(batches: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    """Batches (xb, yb) as they are, of so many images in all; how many are done is told where it takes long."""
    start, done, told = time.monotonic(), 0, False
    for xb, yb in batches:
        yield xb, yb
        done += len(xb)
        if told or (done < total and time.monotonic() - start > _SILENT_SECONDS):
            told = True
            tell_progress(what, done, total)
