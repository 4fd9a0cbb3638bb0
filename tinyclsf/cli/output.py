"""What a command found, for a person and for a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

DOCUMENT_VERSION = 1


class Output(NamedTuple):
    """A command's result as text and as JSON; its exit code is another than 0 where a part of it failed."""

    text: str
    document: dict[str, Any]
    exit_code: int = 0


def document(command: str, **content: Any) -> dict[str, Any]:
    """The JSON document of a command."""
    return {"version": DOCUMENT_VERSION, "command": command, **content}


def columns(rows: Sequence[Sequence[str]], indent: str = "  ", *, numbers_from: int | None = None) -> list[str]:
    """Rows of text as lines with the columns under each other; those of numbers, from one column on, are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    edge = len(widths) if numbers_from is None else numbers_from
    return [
        (indent + "  ".join([*map(str.ljust, row[:edge], widths), *map(str.rjust, row[edge:], widths[edge:])])).rstrip()
        for row in rows
    ]


def percent(share: float | None) -> str:
    """A share as a person reads it, 97.22 %, or a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f} %"
