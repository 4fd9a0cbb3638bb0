"""Names of a module that are fetched from others when they are first used: to import PyTorch takes seconds."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping


def names_when_used(
    module: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """What a module takes as its `__getattr__`, `__dir__` and `__all__` to have names of other modules of the package.

    homes: the other modules by their names in the package, each with the names that are taken from it, separated by spaces.
    """
    home = {name: f"tinyclsf.{where}" for where, names in homes.items() for name in names.split()}

    def fetch(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        value = getattr(importlib.import_module(home[name]), name)
        setattr(sys.modules[module], name, value)
        return value

    return fetch, lambda: sorted({*vars(sys.modules[module]), *home}), sorted(home)
