"""Word of work that takes long, for whoever listens; where nobody does, a notebook or a terminal shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

Listener = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_SILENT_SECONDS = 1.0
_listener: Listener | None = None


def tell_progress(what: str, done: int, total: int) -> None:
    """Say how far some work has come; it is over where `done` is `total`."""
    (_listener or _by_itself())(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a listener, and no other, for all that is told inside the block."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


@contextmanager
def within(what: str, done: int, total: int) -> Iterator[None]:
    """Inside the block, what is told counts as work on something larger, of which so much was done before."""
    outer = _listener or _by_itself()
    with listening(lambda _, part, __: outer(what, done + part, total)):
        yield


def counted(batches: Iterable[Any], what: str, total: int) -> Iterator[Any]:
    """Batches (xb, yb) as they are, of so many images in all; how many are done is told where it takes long."""
    start, done = time.monotonic(), 0
    for xb, yb in batches:
        yield xb, yb
        done += len(xb)
        if time.monotonic() - start > _SILENT_SECONDS:
            tell_progress(what, done, total)


@cache
def _by_itself() -> Listener:
    from tinyclsf.progress.display import Progress

    return Progress().work
