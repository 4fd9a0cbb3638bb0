"""What a command found, and the options that every command has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

DOCUMENT_VERSION = 1
Command = TypeVar("Command", bound=Callable[..., Any])


class Report(NamedTuple):
    """A command's result, for a person and for a program."""

    text: str
    document: dict[str, Any]


def common_options(command: Command) -> Command:
    """Add `--json` and `--debug`, which `main` reads off the command line itself: they hold for errors in parsing too."""
    command = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)
    return click.option("--json", is_flag=True, expose_value=False, help="Print one JSON document, errors included.")(command)


def document(command: str, **content: Any) -> dict[str, Any]:
    """The JSON document of a command."""
    return {"version": DOCUMENT_VERSION, "command": command, **content}


def columns(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Rows of text as lines with the columns under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip() for row in rows]


def percent(share: float | None) -> str:
    """A share as a person reads it, 97.22 %, or a dash where there is none."""
    return "-" if share is None else f"{share * 100:.2f} %"
