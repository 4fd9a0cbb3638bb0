"""Arguments of calls in Python: what was given and what was wanted, before anything is done with it."""

from __future__ import annotations

import os
from pathlib import Path

from tinyclsf.errors import ConfigurationError


def as_path(name: str, value: object) -> Path:
    """The path that an argument of that name is, text or a Path.

    Raises: ConfigurationError for anything else, and for text that no path holds.
    """
    check_type(name, value, str, os.PathLike, wanted="a path as str or Path")
    path = Path(value)  # type: ignore[arg-type]  # it has just been checked
    if "\0" in str(path):
        raise ConfigurationError(f"{name} is {str(path)!r}; wanted a path, which has no NUL character")
    return path


def check_type(name: str, value: object, *types: type, wanted: str) -> None:
    """Hold an argument to its types.

    Raises: ConfigurationError if it is of another one.
    """
    if not isinstance(value, types):
        raise ConfigurationError(f"{name} is of type {type(value).__name__}; wanted {wanted}")
