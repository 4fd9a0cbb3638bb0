"""Word of work that takes long before training begins, for whoever listens: the command line draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[str, int, int], None]  # what is being done, how much of it, of how much

_listeners: list[Listener] = []


def tell_progress(what: str, done: int, total: int) -> None:
    """Say how far some work has come; it is over where `done` is `total`."""
    for listener in _listeners:
        listener(what, done, total)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call a listener for all that is told inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@contextmanager
def within(what: str, done: int, total: int) -> Iterator[None]:
    """Inside the block, what is told counts as work on something larger, of which so much was done before."""
    listeners = _listeners[:]

    def pass_on(_: str, part: int, __: int) -> None:
        for listener in listeners:
            listener(what, done + part, total)

    _listeners[:] = [pass_on]
    try:
        yield
    finally:
        _listeners[:] = listeners
