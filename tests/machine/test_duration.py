"""`DurationTime` against time that is known to have passed."""

from __future__ import annotations

import time

import pytest

from tinyclsf.machine.duration import DurationTime


def test_it_prints_and_keeps_the_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    start = time.perf_counter()
    with DurationTime("training") as timer:
        time.sleep(0.05)
    assert 0.05 <= timer.seconds <= time.perf_counter() - start
    assert capsys.readouterr() == (f"training: {timer.seconds:.2f} s\n", "")


def test_a_block_that_fails_is_timed_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), DurationTime("training") as timer:
        raise KeyError
    assert capsys.readouterr().out == f"training: {timer.seconds:.2f} s\n"
    assert timer.seconds > 0
