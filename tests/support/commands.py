"""The command line as tests call it, and the installing of packages, as `conftest.py` has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


def write_package(site: Path, package: str, code: str, *, module: str, version: str = "1.0", **groups: dict[str, str]) -> None:
    """Write a package that is one module and registers names of it into a folder of modules."""
    info = site / f"{package}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"[tinyclsf.{group}]\n{name} = {target}\n" for group in groups for name, target in groups[group].items()]
    (info / "entry_points.txt").write_text("".join(lines))
    (site / f"{module}.py").write_text(code)
