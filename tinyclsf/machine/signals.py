"""Ctrl-C, SIGTERM and SIGHUP while a command goes on: the first asks a run to end well, the second ends it."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from tinyclsf.errors import HungUp, Interrupted, Terminated

# A terminal or a session of ssh that is closed sends SIGHUP, on Windows SIGBREAK.
_STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
_SOON = 0.02  # seconds


class SignalReceived(KeyboardInterrupt):
    """A signal that ends the run where it is, as there is nothing to save or it was the second."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def stopped_by(number: int, where: str = "", *, tip: str | None = None) -> Interrupted:
    """The error of a command that a signal ended."""
    if number == signal.SIGINT:
        return Interrupted(f"interrupted {where}".rstrip(), tip=tip)
    if number == signal.SIGTERM:
        return Terminated(f"terminated {where}".rstrip(), tip=tip)
    return HungUp(f"its terminal was closed {where}".rstrip(), tip=tip)


class StopSignals:
    """In its `with` block a signal calls `on_first`, once and where there is one; else it raises SignalReceived."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.on_first: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}
        self._again: threading.Timer | None = None

    def hold(self) -> None:
        """Let the first signal wait until `release`, where it would come between two things that belong together."""
        self.on_first = lambda: None

    def release(self) -> None:
        """Let signals end the run again.

        Raises: SignalReceived if one has come.
        """
        self.on_first = None
        if self.received is not None:
            raise SignalReceived(self.received)

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # elsewhere signals do not arrive
            # `nohup` has a program ignore SIGHUP, and so it does.
            heard = [each for each in _STOPPING if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._handle) for number in heard}
        self._tell_of_lost = sys.unraisablehook
        sys.unraisablehook = self._tell_of_other_lost
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._again is not None:
            self._again.cancel()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._tell_of_lost

    def _tell_of_other_lost(self, lost: Any) -> None:
        """Within what Python calls by itself nothing can be raised: `release` raises the signal, or it is sent once more."""
        if not isinstance(lost.exc_value, SignalReceived):
            self._tell_of_lost(lost)
        elif self.on_first is None:
            self._again = threading.Timer(_SOON, _send, (lost.exc_value.number,))
            self._again.start()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and self._again is None and signal.Signals(number).name == "SIGHUP":
            return  # the shell and the system both tell of one closed terminal
        first, self.received = self.received is None, number
        if not first or self.on_first is None:
            raise SignalReceived(number)
        self.on_first()


def _send(number: int) -> None:
    """Let the main thread have a signal, which ends its waiting where the system can do that."""
    if sys.platform == "win32":
        _thread.interrupt_main(signal.Signals(number))
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)
