"""The first signal asks, the second ends, and what listened to them before listens again afterwards."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tinyclsf.machine.signals import SignalReceived, StopSignals

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def not_under_nohup() -> Iterator[None]:
    """The tests themselves may run where a closed terminal shall not end them."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in ALL]


@pytest.mark.parametrize("number", ALL)
def test_the_first_asks_and_the_second_ends(number: signal.Signals) -> None:
    before, asked = handlers(), []
    with StopSignals() as signals:
        signals.on_first = lambda: asked.append(signals.received)
        assert signals.received is None
        signal.raise_signal(number)
        assert asked == [number]
        with pytest.raises(SignalReceived) as second:
            signal.raise_signal(signal.SIGTERM)
        assert (second.value.number, str(second.value)) == (signal.SIGTERM, "SIGTERM")
        assert asked == [number]
    assert handlers() == before


@pytest.mark.parametrize("number", ALL)
def test_where_nobody_is_asked_the_first_ends(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(SignalReceived) as first, StopSignals() as signals:
        signal.raise_signal(number)
    assert (first.value.number, signals.received) == (number, number)
    assert isinstance(first.value, KeyboardInterrupt)
    assert handlers() == before


def test_once_asking_is_over_the_first_ends() -> None:
    with StopSignals() as signals:
        signals.on_first = None
        with pytest.raises(SignalReceived):
            signal.raise_signal(signal.SIGINT)


def test_under_nohup_a_terminal_may_be_closed() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.received is None
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_in_another_thread_signals_are_left_alone() -> None:
    before = handlers()
    within: list[object] = []

    def run() -> None:
        with StopSignals() as signals:
            within.extend(handlers())
            assert signals.received is None

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert within == before == handlers()


class Dying:
    """Something that a signal comes upon as it is thrown away, where Python lets nothing be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_python_lost_is_raised_later_and_is_no_error_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.unraisablehook
    with StopSignals() as signals:
        Dying()
        with pytest.raises(SignalReceived, match="SIGTERM"):
            signals.release()
    assert (sys.unraisablehook, capsys.readouterr().err) == (before, "")


def test_a_signal_that_python_lost_ends_what_waits() -> None:
    start = time.monotonic()
    with StopSignals():
        Dying()
        with pytest.raises(SignalReceived):
            time.sleep(20)
    assert time.monotonic() - start < 10
