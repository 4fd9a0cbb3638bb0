"""JSON as tinyclsf writes it, for files and for programs, and what it takes from a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

_LARGEST_WHOLE = 2**53  # beyond it programs that read JSON differ
_LARGEST = 3.4028235e38  # of float32


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
    text = json.dumps(as_json(content), indent=2 if readable else None, ensure_ascii=not readable, allow_nan=False)
    return text.encode(errors="backslashreplace").decode()  # what is no UTF-8 in the name of a file, as JSON escapes it too


def parse_json(content: bytes) -> Any:
    """What a JSON file holds, as its bytes.

    Raises: ValueError if it is no JSON, or has text that could not be written again.
    """
    try:
        found = json.loads(content)
        if b"\\" in content or not content.isascii():  # else no text in it is strange
            json.dumps(found, ensure_ascii=False).encode(errors="surrogateescape")
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    return found


def json_type(value: object) -> str:
    """The type of a value from a JSON file, as a person calls it."""
    words = {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return words.get(type(value), "a number")


def is_whole(value: object, least: int = 0, most: int = _LARGEST_WHOLE) -> TypeGuard[int]:
    """Whether a value from a file is a whole number in these limits."""
    return type(value) is int and least <= value <= most


def is_number(value: object, least: float = -_LARGEST, most: float = _LARGEST) -> TypeGuard[float]:
    """Whether a value from a file is a number in these limits; without them any that a loss may be."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most
