"""Which argument of a call was of another type."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tinyclsf.errors import DataError
from tinyclsf.machine.arguments import naming_arguments


@naming_arguments
def total(numbers: Sequence[float], *, scale: float = 1.0) -> float:
    """A sum."""
    if len(numbers) == 0:
        raise DataError("there are no numbers")
    return sum(numbers) * scale


class Counter:
    @naming_arguments
    def __init__(self, start: int) -> None:
        self.start = start + 0


def test_a_call_that_works_is_as_it_was() -> None:
    assert total([1, 2.5], scale=2) == 7
    assert total.__doc__ == "A sum."


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: total(5), "numbers of total is 5; wanted Sequence[float]"),  # type: ignore[arg-type]
        (lambda: total([1, "a"]), "numbers of total is [1, 'a']; wanted Sequence[float]"),  # type: ignore[list-item]
        (lambda: total([1.5], scale="a" * 99), "scale of total is 'aaaaaaaaaaaa...aaaaaaaaaaaaa'; wanted float"),  # type: ignore[arg-type]
        (lambda: Counter("a"), "start of Counter is 'a'; wanted int"),  # type: ignore[arg-type]
    ],
)
def test_one_that_fails_names_the_argument_of_another_type(call: object, message: str) -> None:
    with pytest.raises(TypeError) as found:
        call()  # type: ignore[operator]
    assert str(found.value) == message
    assert found.value.__cause__ is not None


def test_errors_of_another_cause_stay_as_they_are() -> None:
    with pytest.raises(DataError, match="there are no numbers"):
        total([])
    with pytest.raises(OverflowError):
        total([10**400], scale=0.5)
    with pytest.raises(OverflowError):
        total([10**400], scale=np.float32(0.5))  # type: ignore[arg-type]  # NumPy's numbers are as good
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'numbers'"):
        total()  # type: ignore[call-arg]
