"""JSON as tinyclsf writes it, for files and for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def as_json(value: Any) -> Any:
    """A value as JSON holds it: named tuples become objects, numbers that are not finite null, anything unknown text."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (int, str)) else str(value)


def json_text(content: Any, *, readable: bool = False) -> str:
    """A JSON document as one line of ASCII; readable, with one key a line and letters as they are."""
    return json.dumps(as_json(content), indent=2 if readable else None, ensure_ascii=not readable, allow_nan=False)
