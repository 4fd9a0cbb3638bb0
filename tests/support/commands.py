"""The command line as tests call it, and the installing of packages, as `conftest.py` has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class Result:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document that stdout is, and nothing but it."""
        found: dict[str, Any] = json.loads(self.out)
        return found


Cli = Callable[..., Result]
Install = Callable[..., None]
