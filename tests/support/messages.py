"""What an error says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tinyclsf.errors import DataError


def message(call: Callable[[], object], error: type[Exception] = DataError) -> str:
    """The whole message of the error that a call raises."""
    with pytest.raises(error) as found:
        call()
    return str(found.value)
